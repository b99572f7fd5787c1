//! Storm control: a limit to what a port may have flooded.
//!
//! Two switches joined by two cables, or one host gone mad, make frames that everybody gets, and
//! soon nothing else gets through. So `NORMAL` floods no more than so many frames a second of each
//! kind from each port; the rest is dropped and counted as `storm`. Rules that name ports or FLOOD
//! are obeyed to the letter.
//!
//! The limit is a second's worth of credit for each port and kind that comes back evenly. All workers
//! draw on the same ([`StormControl`]), by an atomic that only flooded frames touch.
//!
//! What a frame costs depends on how many ports get it: a copy takes a worker about a microsecond, so that
//! the usual limit of frames on a switch of 200 ports would take two workers. So a port has credit for
//! copies, too, of all kinds together: [`COPIES`] a second are about a tenth of a worker.

use flow::types::PortNo;
use flow::verdict::Flood;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Nanoseconds that credit covers.
const BURST: u64 = 1_000_000_000;

/// Copies a second that a port may have made of flooded frames.
const COPIES: u64 = 100_000;
/// Copies that it may have made at once, a quarter of a second's worth. A switch of 1,000 ports floods 25
/// frames then.
const COPIES_AT_ONCE: u64 = COPIES / 4;

/// Frames of one flow that are to be flooded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames {
    /// How many there are.
    pub(crate) number: u64,
    /// Ports that each of them goes to.
    pub(crate) copies: u32,
}

/// What a port has had flooded: for each [`FloodKind`](flow::verdict::FloodKind) the time in nanoseconds up to which its credit
/// is spent, one [`BURST`] ahead of the clock.
#[derive(Debug, Default)]
struct Credit {
    frames: [AtomicU64; 3],
    copies: AtomicU64,
}

impl Credit {
    /// How many of the frames may be flooded now. Their credit is spent.
    fn admit(&self, flood: Flood, now: Duration, frames: Frames) -> u64 {
        let now = now.as_nanos() as u64;
        let cost = (BURST / u64::from(flood.limit.max(1))).max(1);
        let admitted = spend(&self.frames[flood.kind as usize], now, BURST, cost, frames.number);
        // The first frame is never too much, however many ports there are.
        let copies = u64::from(frames.copies).clamp(1, COPIES_AT_ONCE);
        let cost = copies * (BURST / COPIES);
        spend(&self.copies, now, COPIES_AT_ONCE * (BURST / COPIES), cost, admitted)
    }
}

/// Takes `cost` nanoseconds of credit for each of as many things as there is credit for, and returns how
/// many these are, `wanted` at most. `spent` is the time up to which credit is spent, `burst` ahead of the
/// clock at most.
fn spend(spent: &AtomicU64, now: u64, burst: u64, cost: u64, wanted: u64) -> u64 {
    let mut seen = spent.load(Ordering::Relaxed);
    loop {
        // Credit older than a burst is lost.
        let begin = seen.max(now);
        let admitted = wanted.min((now + burst).saturating_sub(begin) / cost);
        let end = begin + admitted * cost;
        // Nothing else depends on the number, and no worker waits for another.
        match spent.compare_exchange_weak(seen, end, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return admitted,
            Err(changed) => seen = changed,
        }
    }
}

/// The credit of all ports, by number. A port that gets the number of another begins with what that
/// one left, which is a second's matter.
#[derive(Debug, Default)]
pub struct StormControl(Mutex<Vec<Arc<Credit>>>);

impl StormControl {
    fn credit(&self, port: PortNo) -> Arc<Credit> {
        let mut credits = self.0.lock();
        let index = usize::from(port.0);
        if credits.len() <= index {
            credits.resize_with(index + 1, Arc::default);
        }
        Arc::clone(&credits[index])
    }
}

/// One worker's way to the credit of the ports, without a lock from the second time on.
#[derive(Debug, Default)]
pub(crate) struct Storm(Vec<Option<Arc<Credit>>>);

impl Storm {
    /// How many of `frames` frames from `port` may be flooded now. Their credit is spent.
    pub(crate) fn admit(
        &mut self,
        control: &StormControl,
        port: PortNo,
        flood: Flood,
        now: Duration,
        frames: Frames,
    ) -> u64 {
        let index = usize::from(port.0);
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        let credit = self.0[index].get_or_insert_with(|| control.credit(port));
        credit.admit(flood, now, frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::verdict::FloodKind;

    const PORT: PortNo = PortNo(3);
    const BROADCAST: Flood = Flood { kind: FloodKind::Broadcast, limit: 100 };

    const FRAME: Frames = Frames { number: 1, copies: 1 };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A worker on its own.
    struct Alone(Storm, StormControl);

    impl Alone {
        fn new() -> Self {
            Self(Storm::default(), StormControl::default())
        }

        fn admit(&mut self, port: PortNo, flood: Flood, now: Duration, frames: u64) -> u64 {
            self.admit_copies(port, flood, now, frames, 1)
        }

        fn admit_copies(
            &mut self,
            port: PortNo,
            flood: Flood,
            now: Duration,
            number: u64,
            copies: u32,
        ) -> u64 {
            self.0.admit(&self.1, port, flood, now, Frames { number, copies })
        }
    }

    #[test]
    fn a_burst_of_a_second_passes_and_then_the_limit() {
        let mut storm = Alone::new();
        assert_eq!(storm.admit(PORT, BROADCAST, at(0), 64), 64);
        assert_eq!(storm.admit(PORT, BROADCAST, at(0), 64), 36);
        assert_eq!(storm.admit(PORT, BROADCAST, at(5), 64), 0);
        assert_eq!(storm.admit(PORT, BROADCAST, at(100), 64), 10);
        assert_eq!(storm.admit(PORT, BROADCAST, at(60_000), 1000), 100, "no more than a burst");
    }

    #[test]
    fn ports_and_kinds_have_credit_of_their_own() {
        let mut storm = Alone::new();
        assert_eq!(storm.admit(PORT, BROADCAST, at(0), 1000), 100);
        assert_eq!(storm.admit(PortNo(0), BROADCAST, at(0), 1), 1);
        let unknown = Flood { kind: FloodKind::UnknownUnicast, ..BROADCAST };
        assert_eq!(storm.admit(PORT, unknown, at(0), 1), 1);
        assert_eq!(storm.admit(PORT, BROADCAST, at(0), 1), 0);
    }

    #[test]
    fn copies_count_as_well_as_frames() {
        let mut storm = Alone::new();
        let flood = Flood { limit: 10_000, ..BROADCAST };
        // To 200 ports: 125 at once, and 500 a second.
        assert_eq!(storm.admit_copies(PORT, flood, at(0), 1000, 200), 125);
        assert_eq!(storm.admit_copies(PORT, flood, at(100), 1000, 200), 50);
        // Kinds share it, ports do not.
        let unknown = Flood { kind: FloodKind::UnknownUnicast, ..flood };
        assert_eq!(storm.admit_copies(PORT, unknown, at(100), 1, 200), 0);
        assert_eq!(storm.admit_copies(PortNo(0), flood, at(100), 1, 200), 1);
        // However many ports there are, one frame can pass.
        assert_eq!(storm.admit_copies(PORT, flood, at(10_000), 5, 60_000), 1);
        // On a few ports frames are the limit.
        assert_eq!(storm.admit_copies(PortNo(1), flood, at(0), 20_000, 2), 10_000);
    }

    #[test]
    fn workers_share_the_credit_of_a_port() {
        let control = StormControl::default();
        let admitted: u64 = std::thread::scope(|scope| {
            let work = || {
                let mut storm = Storm::default();
                (0..100).map(|_| storm.admit(&control, PORT, BROADCAST, at(0), FRAME)).sum::<u64>()
            };
            let workers = [(); 4].map(|()| scope.spawn(work));
            workers.into_iter().map(|w| w.join().unwrap()).sum()
        });
        assert_eq!(admitted, 100);
    }
}
