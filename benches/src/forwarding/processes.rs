//! What the processes of a switch take of the machine, and where threads run.

use anyhow::Context;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

/// Runs `f` on one of the processors this thread may use: the first, the second ... A process started
/// there stays there.
pub fn on_core<T>(core: usize, f: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let this_thread = Pid::from_raw(0);
    let all = sched_getaffinity(this_thread)?;
    let available: Vec<_> =
        (0..CpuSet::count()).filter(|&core| all.is_set(core).unwrap_or(false)).collect();
    let mut one = CpuSet::new();
    one.set(available[core % available.len()])?;
    sched_setaffinity(this_thread, &one)?;
    let result = f();
    sched_setaffinity(this_thread, &all)?;
    result
}

/// Time that all threads of these processes, ended ones too, have been on a processor so far.
///
/// # Errors
/// One of the processes has ended.
pub(crate) fn cpu_time(pids: &[u32]) -> anyhow::Result<Duration> {
    pids.iter().map(|pid| cpu_time_of(*pid)).sum()
}

fn cpu_time_of(pid: u32) -> anyhow::Result<Duration> {
    // The kernel takes negative numbers for other clocks.
    let number = i32::try_from(pid).with_context(|| format!("{pid} is no number of a process"))?;
    let clock = clock_getcpuclockid(Pid::from_raw(number))
        .with_context(|| format!("process {pid}: clock of its processor time"))?;
    Ok(clock_gettime(clock)?.into())
}

/// Time that all processors of the machine have been busy so far, whoever had them busy.
///
/// # Errors
/// `/proc` is not mounted.
pub(crate) fn busy_time() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    busy_ticks(&text).map(|ticks| Duration::from_millis(10 * ticks)).context("no cpu in /proc/stat")
}

/// Hundredths of a second that processors did something, from the first line of `/proc/stat` (proc_stat(5)).
fn busy_ticks(stat: &str) -> Option<u64> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq; time in guests is part of that of users.
    let [user, nice, system, _idle, _waiting, irq, softirq, ..] = numbers[..] else { return None };
    Some(user + nice + system + irq + softirq)
}

/// The processes that spend the processor time of frames that this process sends and the kernel forwards: this
/// process, and the kernel's threads of [`softirq_threads`].
pub(crate) fn senders() -> Vec<u32> {
    [softirq_threads(), vec![std::process::id()]].concat()
}

/// The kernel's threads for work that interrupts leave behind. Some of the forwarding is done there,
/// when it is too much for the thread that was interrupted.
fn softirq_threads() -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_softirq = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.starts_with("ksoftirqd/"))
    };
    pids.filter(is_softirq).collect()
}

/// Bytes that these processes occupy; what they share with others counts by share (proc(5), `Pss`).
///
/// # Errors
/// One of them has ended.
pub(crate) fn memory(pids: &[u32]) -> anyhow::Result<u64> {
    pids.iter().map(|pid| memory_of(*pid)).sum()
}

fn memory_of(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next());
    let kib: u64 =
        kib.and_then(|kib| kib.parse().ok()).with_context(|| format!("no Pss in {path}"))?;
    Ok(kib * 1024)
}

/// The most memory, in bytes, that a process has occupied since [`reset_peak`].
///
/// # Errors
/// The process has ended.
pub(crate) fn peak(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    let kib: u64 =
        kib.and_then(|kib| kib.parse().ok()).with_context(|| format!("no VmHWM in {path}"))?;
    Ok(kib * 1024)
}

/// Makes the memory that a process occupies now its peak.
///
/// # Errors
/// The process has ended, or is somebody else's.
pub(crate) fn reset_peak(pid: u32) -> anyhow::Result<()> {
    // proc(5): 5 resets the peak.
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("reset the peak of memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_that_wait_are_not_busy() {
        let stat = "cpu  100 20 3 7000 800 4 5 600 70 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(132));
        assert_eq!(busy_ticks("intr 7\n"), None);
    }

    #[test]
    fn a_process_has_used_time_and_memory() {
        let this = [std::process::id()];
        assert!(cpu_time(&this).unwrap() > Duration::ZERO);
        assert!(memory(&this).unwrap() > 100_000);
        assert!(cpu_time(&[u32::MAX]).is_err());
    }
}
