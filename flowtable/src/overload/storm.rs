//! Storm control: limits the rate at which `NORMAL` floods the frames of a port.
//!
//! A loop of two cables between switches, or a faulty host, can cause so many broadcasts that no other traffic
//! gets through. Therefore `NORMAL` floods a limited number of frames a second of each kind ([`Flood::limit`])
//! from each port. Frames beyond the limit are dropped and counted as `storm`. Outputs to named ports and to
//! `FLOOD` are not limited.
//!
//! Each port and kind has credit for one second, which is refilled at a constant rate. All workers share the credit
//! ([`StormControl`]). It is an atomic that only flooded frames touch.
//!
//! The cost of a flooded frame depends on the number of ports: one copy costs a worker about a microsecond, so
//! that on a switch of 200 ports the default limit of frames would keep two workers busy. Therefore each port also
//! has credit for copies, which all kinds share. [`COPIES`] a second take about a tenth of a worker.

use flow::types::PortNo;
use flow::verdict::Flood;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time that full credit lasts at the limit, in nanoseconds.
const BURST: u64 = 1_000_000_000;

/// How many copies of a port's flooded frames may be made in a second.
const COPIES: u64 = 100_000;
/// How many copies may be made at once: the number for a quarter of a second. On a switch of 1,000 ports these are
/// 25 frames.
const COPIES_AT_ONCE: u64 = COPIES / 4;

/// Successive frames of one flow that are to be flooded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames {
    /// How many frames there are.
    pub(crate) number: u64,
    /// To how many ports each frame goes.
    pub(crate) copies: u32,
}

/// The spent credit of a port: for each [`FloodKind`](flow::verdict::FloodKind), and for copies, the time in
/// nanoseconds up to which credit is spent. It may be one burst ahead of the clock.
#[derive(Debug, Default)]
struct Credit {
    frames: [AtomicU64; 3],
    copies: AtomicU64,
}

impl Credit {
    /// Returns how many of the frames may be flooded now, and spends their credit.
    fn admit(&self, flood: Flood, now: Duration, frames: Frames) -> u64 {
        let now = now.as_nanos() as u64;
        let cost = (BURST / u64::from(flood.limit.max(1))).max(1);
        let admitted = spend(&self.frames[flood.kind as usize], now, BURST, cost, frames.number);
        // With full credit, at least one frame is flooded, whatever the number of ports.
        let copies = u64::from(frames.copies).clamp(1, COPIES_AT_ONCE);
        let cost = copies * (BURST / COPIES);
        spend(&self.copies, now, COPIES_AT_ONCE * (BURST / COPIES), cost, admitted)
    }
}

/// Spends `cost` nanoseconds of credit for each of up to `wanted` items, and returns for how many the credit
/// sufficed. `spent` is the time up to which credit is spent. It may be `burst` nanoseconds ahead of `now`.
fn spend(spent: &AtomicU64, now: u64, burst: u64, cost: u64, wanted: u64) -> u64 {
    let mut seen = spent.load(Ordering::Relaxed);
    loop {
        // Unspent credit of the past is lost.
        let begin = seen.max(now);
        let admitted = wanted.min((now + burst).saturating_sub(begin) / cost);
        let end = begin + admitted * cost;
        // No other memory depends on this number, so relaxed order is enough.
        match spent.compare_exchange_weak(seen, end, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return admitted,
            Err(changed) => seen = changed,
        }
    }
}

/// The credit of all ports, by the datapath's number. A port that gets the number of a removed port inherits its
/// credit, which makes a difference for a second at most.
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

/// One worker's references to the credit of ports. The worker takes the lock of [`StormControl`] only at a port's
/// first flooded frame.
#[derive(Debug, Default)]
pub(crate) struct Storm(Vec<Option<Arc<Credit>>>);

impl Storm {
    /// Returns how many of the frames from `port` may be flooded now, and spends their credit.
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
