//! The system calls that the process can make, enforced by seccomp.
//!
//! The list allows what the switch, the standard library and libc use, and their relatives that do no harm, so
//! that another version of libc works. It leaves out what changes the machine (`mount`, `reboot`, modules,
//! clocks, keys), what looks into other processes (`ptrace`, `process_vm_readv`), and large surfaces without
//! use here (`io_uring`, `perf_event_open`, `userfaultfd`). Of `bpf` it allows the two commands that attach and
//! run programs which were loaded before, in a switch with a kernel cache.
//!
//! Another call fails with `EPERM`, which the operation that wanted it reports: the switch goes on, and the
//! operator reads which operation failed. To learn the call, `--sandbox log` lets all calls through, and the
//! kernel logs the others.
//!
//! The kernel remembers which calls are allowed whatever their arguments are (since Linux 5.11), and does not
//! run the filter for these: so the calls that carry frames have no conditions.

use control::record::Enforcement;
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};
use std::collections::BTreeMap;

/// System calls that are allowed with any arguments.
#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    // Frames, and whatever else is read and written.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2,
    libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg,
    libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime, libc::SYS_signalfd4,
    // Sockets and devices. socket(2) itself is among the calls with conditions.
    libc::SYS_socketpair, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4, libc::SYS_connect,
    libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_setsockopt, libc::SYS_getsockopt, libc::SYS_shutdown,
    libc::SYS_ioctl, libc::SYS_fcntl,
    // Files.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_close, libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3,
    libc::SYS_pipe2, libc::SYS_lseek, libc::SYS_flock, libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx,
    libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_readlinkat,
    libc::SYS_getdents64, libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_fchdir, libc::SYS_ftruncate, libc::SYS_truncate,
    libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync_file_range,
    libc::SYS_syncfs, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_unlinkat, libc::SYS_mkdirat, libc::SYS_linkat,
    libc::SYS_symlinkat, libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_umask,
    libc::SYS_utimensat, libc::SYS_copy_file_range, libc::SYS_sendfile, libc::SYS_splice, libc::SYS_memfd_create,
    libc::SYS_inotify_init1, libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch,
    // Memory.
    libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_msync,
    libc::SYS_mincore, libc::SYS_brk, libc::SYS_mlock, libc::SYS_mlock2, libc::SYS_munlock, libc::SYS_membarrier,
    libc::SYS_get_mempolicy,
    // Threads. clone(2) is among the calls with conditions.
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_futex, libc::SYS_set_robust_list, libc::SYS_get_robust_list,
    libc::SYS_set_tid_address, libc::SYS_rseq, libc::SYS_gettid, libc::SYS_sched_yield, libc::SYS_sched_setaffinity,
    libc::SYS_sched_getaffinity, libc::SYS_sched_getparam, libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min, libc::SYS_getcpu, libc::SYS_restart_syscall,
    // Processes: a successor is started, watched and signalled.
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_wait4, libc::SYS_waitid, libc::SYS_kill, libc::SYS_tkill,
    libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_getpid,
    libc::SYS_getppid, libc::SYS_getpgid, libc::SYS_setpgid, libc::SYS_getsid, libc::SYS_setsid, libc::SYS_getuid,
    libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid, libc::SYS_getresgid,
    libc::SYS_getgroups, libc::SYS_capget, libc::SYS_capset, libc::SYS_prctl, libc::SYS_prlimit64,
    libc::SYS_getrlimit, libc::SYS_setrlimit, libc::SYS_getrusage, libc::SYS_getpriority, libc::SYS_setpriority,
    libc::SYS_seccomp,
    // Signals.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigpending, libc::SYS_rt_sigsuspend, libc::SYS_sigaltstack,
    // Time, and the machine.
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_gettimeofday, libc::SYS_times, libc::SYS_setitimer, libc::SYS_getitimer, libc::SYS_uname,
    libc::SYS_sysinfo, libc::SYS_getrandom,
];

/// System calls that only older architectures have.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLD: &[i64] = &[
    libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_rename,
    libc::SYS_unlink, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_link, libc::SYS_symlink, libc::SYS_chmod,
    libc::SYS_chown, libc::SYS_lchown, libc::SYS_creat, libc::SYS_dup2, libc::SYS_pipe, libc::SYS_poll,
    libc::SYS_select, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd, libc::SYS_fork, libc::SYS_vfork,
    libc::SYS_getpgrp, libc::SYS_getdents, libc::SYS_time, libc::SYS_alarm, libc::SYS_pause, libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

/// The families of sockets that the switch has.
const FAMILIES: [libc::c_int; 6] =
    [libc::AF_UNIX, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_INET, libc::AF_INET6, libc::AF_XDP];

/// The commands of bpf(2) that attach a loaded program, and run one on a frame (linux/bpf.h).
const BPF_LINK_CREATE: u64 = 28;
const BPF_PROG_TEST_RUN: u64 = 10;

/// The flags of clone(2) that make namespaces.
const NEW_NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

/// Restricts all threads of the process, and the programs that they start. With `is_logged` the other calls
/// work, and the kernel logs them. `enters_namespaces` allows to enter network namespaces, and `uses_programs`
/// to attach eBPF programs that were loaded before, and to run them.
///
/// # Errors
/// The kernel has no seccomp or refuses.
pub(super) fn restrict(
    is_logged: bool,
    enters_namespaces: bool,
    uses_programs: bool,
) -> anyhow::Result<Enforcement> {
    let otherwise = match is_logged {
        true => SeccompAction::Log,
        false => SeccompAction::Errno(libc::EPERM as u32),
    };
    // The flags of clone3(2) are in memory, where no filter can look. libc does without the call
    // if the kernel has none.
    let no_clone3 = SeccompAction::Errno(libc::ENOSYS as u32);
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    apply(SeccompFilter::new(
        clone3,
        SeccompAction::Allow,
        no_clone3,
        std::env::consts::ARCH.try_into()?,
    )?)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(OLD).map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone3, Vec::new());
    let families: Result<Vec<_>, _> =
        FAMILIES.map(|family| rule(0, SeccompCmpOp::Eq, family as u64)).into_iter().collect();
    rules.insert(libc::SYS_socket, families?);
    let no_namespace = rule(0, SeccompCmpOp::MaskedEq(NEW_NAMESPACES), 0)?;
    rules.insert(libc::SYS_clone, vec![no_namespace]);
    if enters_namespaces {
        let network = rule(1, SeccompCmpOp::Eq, libc::CLONE_NEWNET as u64)?;
        rules.insert(libc::SYS_setns, vec![network]);
    }
    if uses_programs {
        let commands = [BPF_LINK_CREATE, BPF_PROG_TEST_RUN].into_iter();
        let commands: Result<_, _> = commands.map(|c| rule(0, SeccompCmpOp::Eq, c)).collect();
        rules.insert(libc::SYS_bpf, commands?);
    }
    let allow = SeccompAction::Allow;
    apply(SeccompFilter::new(rules, otherwise, allow, std::env::consts::ARCH.try_into()?)?)?;
    Ok(if is_logged { Enforcement::Logged } else { Enforcement::On })
}

fn apply(filter: SeccompFilter) -> anyhow::Result<()> {
    Ok(apply_filter_all_threads(&BpfProgram::try_from(filter)?)?)
}

/// The rule that an argument of a call, counted from 0, compares so with `value`. The kernel takes the lower 32
/// bits of these arguments.
fn rule(argument: u8, compare: SeccompCmpOp, value: u64) -> anyhow::Result<SeccompRule> {
    let length = SeccompCmpArgLen::Dword;
    let condition = SeccompCondition::new(argument, length, compare, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}
