//! eBPF programs and maps that somebody else has loaded (bpf(2)): the memory of maps, links to devices, filters
//! of sockets, and runs of a program on a frame.

use super::check;
use super::packet::set;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

// linux/bpf.h: none of them is in libc.
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const BPF_F_BEFORE: u32 = 1 << 3;

/// The start of `union bpf_attr` for `BPF_LINK_CREATE` of a TCX program, as far as it is not zero.
#[repr(C)]
struct LinkTcx {
    prog_fd: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    pad: u32,
    expected_revision: u64,
}

/// The frames of a device that a program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Those that the device has received.
    Ingress,
    /// Those that the device is to send.
    Egress,
}

/// Attaches a program of the type `BPF_PROG_TYPE_SCHED_CLS` to a device in the calling thread's network
/// namespace, before all others there. The program stays until the descriptor that is returned is closed.
///
/// # Errors
/// `EINVAL` from a kernel older than Linux 6.6, `EPERM` without `CAP_NET_ADMIN`.
pub(crate) fn attach(
    program: BorrowedFd<'_>,
    ifindex: u32,
    direction: Direction,
) -> io::Result<OwnedFd> {
    let request = LinkTcx {
        prog_fd: program.as_raw_fd() as u32,
        ifindex,
        attach_type: match direction {
            Direction::Ingress => BPF_TCX_INGRESS,
            Direction::Egress => BPF_TCX_EGRESS,
        },
        flags: BPF_F_BEFORE,
        relative_fd: 0,
        pad: 0,
        expected_revision: 0,
    };
    // SAFETY: the request is valid for reads of the size given during the call; the kernel takes
    // what is behind for zero.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const request, size_of::<LinkTcx>())
    };
    let fd = check(fd as libc::c_int)?;
    // SAFETY: the descriptor is open, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The start of `union bpf_attr` for `BPF_PROG_TEST_RUN`, as far as it is not zero.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
}

/// The start of `struct __sk_buff`, up to the words that a program may use as it likes.
#[repr(C)]
struct SkBuff {
    before: [u32; 12],
    cb: [u32; 5],
}

/// Runs a program of the type `BPF_PROG_TYPE_SCHED_CLS` once, on this thread, on a packet with the bytes of
/// `frame`. The program finds `cb` in the control block. What it sends is really sent.
///
/// # Errors
/// `EINVAL` if the frame is shorter than an Ethernet header, or does not fit into a page with what the kernel
/// adds. The program has not run then.
pub(crate) fn run(program: BorrowedFd<'_>, frame: &[u8], cb: [u32; 2]) -> io::Result<()> {
    let context = SkBuff { before: [0; 12], cb: [cb[0], cb[1], 0, 0, 0] };
    let mut request = TestRun {
        prog_fd: program.as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat: 1,
        ctx_size_in: size_of::<SkBuff>() as u32,
        ctx_in: &raw const context as u64,
        ..TestRun::default()
    };
    // SAFETY: the request, the frame and the context are valid for reads of the sizes given during the call,
    // and the request, in which the kernel leaves the result, for writes.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut request, size_of::<TestRun>())
    };
    check(done as libc::c_int).map(drop)
}

/// Makes a program of the type `BPF_PROG_TYPE_SOCKET_FILTER` the filter of a socket, in place of
/// the one that it has.
pub(crate) fn set_filter(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_BPF, &program.as_raw_fd())
}

// linux/membarrier.h
const MEMBARRIER_CMD_QUERY: libc::c_long = 0;
const MEMBARRIER_CMD_GLOBAL: libc::c_long = 1;

/// Waits until no processor runs an eBPF program any more that it ran when the call began (`synchronize_rcu`),
/// which takes some 10 ms.
///
/// # Errors
/// `EINVAL` where [`can_wait_for_programs`] says no.
pub fn wait_for_programs() -> io::Result<()> {
    membarrier(MEMBARRIER_CMD_GLOBAL).map(drop)
}

/// Whether [`wait_for_programs`] can wait. It cannot on a machine with processors that the scheduler's clock
/// leaves alone (`nohz_full`).
///
/// # Errors
/// `ENOSYS` if the kernel has no membarrier(2).
pub fn can_wait_for_programs() -> io::Result<bool> {
    Ok(membarrier(MEMBARRIER_CMD_QUERY)? & MEMBARRIER_CMD_GLOBAL != 0)
}

fn membarrier(command: libc::c_long) -> io::Result<libc::c_long> {
    // SAFETY: no memory is passed.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    check(done as libc::c_int)?;
    Ok(done)
}

/// The memory of an array map (`BPF_MAP_TYPE_ARRAY` with `BPF_F_MMAPABLE`), which eBPF programs read and write
/// at any time.
#[derive(Debug)]
pub struct SharedWords {
    base: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping belongs to this value, is not tied to a thread, and is reached as atomics only.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps the first `words` words of a map.
    ///
    /// # Errors
    /// The map is smaller, or of a kind that cannot be mapped; or there is no address space left.
    pub fn map(map: BorrowedFd<'_>, words: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let size = words * size_of::<AtomicU64>();
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), size, access, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, words })
    }

    /// The word at an index.
    ///
    /// # Panics
    /// The index is behind the words that were mapped.
    #[inline]
    pub fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.words, "word {index} of {}", self.words);
        // SAFETY: the word lies in the mapping, which begins at a page and lives as long as `self`; every bit
        // pattern is a value.
        unsafe { self.base.add(index).as_ref() }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's alone, and no reference into it outlives the value.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.words * size_of::<AtomicU64>()) };
    }
}
