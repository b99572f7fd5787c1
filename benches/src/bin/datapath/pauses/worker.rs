//! A worker that watches the clock, and the kernel's account of it.

use benches::null_port::NullSwitch;
use benches::workload::{Family, MACS, Order, Tuple, Workload};
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::policy::Policy;
use nix::unistd::gettid;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A worker that forwards hits, and one new flow a batch, which has to ask the tables.
#[derive(Default)]
pub(super) struct Worker {
    /// The longest time between two batches since it was last read, in nanoseconds.
    longest: AtomicU64,
    /// The same without the time in which the worker could have run and had no core.
    longest_of_switch: AtomicU64,
    stop: AtomicBool,
    /// The number of its thread, as the kernel has it.
    id: AtomicI32,
}

impl Worker {
    /// Forwards until [`stop`](Self::stop) is called.
    pub(super) fn forward(&self, policy: Arc<Policy>) {
        self.id.store(gettid().as_raw(), Ordering::Relaxed);
        let datapath = Datapath::new(policy, CacheConfig::default(), 1, 1);
        let mut switch = NullSwitch::new(datapath, Family::V4);
        let mut known = Workload::numbered(1000, Order::Rotation);
        let mut fresh = 1000;
        let account = Account::open();
        let (mut last, mut last_waited) = (Instant::now(), account.waited());
        while !self.stop.load(Ordering::Relaxed) {
            switch.poll_with(32, |n| {
                if n > 0 {
                    return (known.next_flow(), MACS);
                }
                fresh += 1;
                (Tuple::numbered(fresh), MACS)
            });
            let (now, waited) = (Instant::now(), account.waited());
            let time = (now - last).as_nanos() as u64;
            self.longest.fetch_max(time, Ordering::Relaxed);
            let of_switch = time.saturating_sub(waited - last_waited);
            self.longest_of_switch.fetch_max(of_switch, Ordering::Relaxed);
            (last, last_waited) = (now, waited);
        }
    }

    /// Makes [`forward`](Self::forward) return after its current batch.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The longest time between two batches since the last call, and the longest one without the time in which
    /// the worker could have run and had no core.
    pub(super) fn take_longest(&self) -> (Duration, Duration) {
        let take = |longest: &AtomicU64| Duration::from_nanos(longest.swap(0, Ordering::Relaxed));
        (take(&self.longest), take(&self.longest_of_switch))
    }

    /// How often the worker was taken off its core without having asked for it, so far (proc(5)). Gaps that
    /// are neither the switch's nor the scheduler's are the hypervisor's.
    pub(super) fn times_taken_off(&self) -> Option<u64> {
        let path = format!("/proc/self/task/{}/status", self.id.load(Ordering::Relaxed));
        let status = fs::read_to_string(path).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
        line?.trim().parse().ok()
    }
}

/// The kernel's account of the calling thread (`/proc/thread-self/schedstat`).
struct Account(Option<File>);

impl Account {
    fn open() -> Self {
        Self(File::open("/proc/thread-self/schedstat").ok())
    }

    /// Nanoseconds in which the thread could have run and had no core, so far; 0 where the
    /// kernel does not count them.
    fn waited(&self) -> u64 {
        let mut text = [0; 64];
        let read = self.0.as_ref().and_then(|file| file.read_at(&mut text, 0).ok());
        let text = read.and_then(|size| str::from_utf8(&text[..size]).ok()).unwrap_or_default();
        text.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}
