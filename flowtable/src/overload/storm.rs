//! Storm control: a limit to what ports may have flooded.
//!
//! Two switches joined by two cables, or one host gone mad, make frames that every port gets, and soon
//! nothing else gets through. `NORMAL` therefore floods a limited number of frames a second of each
//! kind from each port; frames beyond the limit are dropped and counted as `storm`. Rules that name
//! ports or FLOOD have no limit.
//!
//! What a frame costs depends on how many ports get it: a copy takes a worker about a microsecond. So there are
//! three limits, and a frame is flooded if all of them allow it:
//!
//! - *Frames of a port, of one kind*: a second's worth of credit, which comes back evenly.
//! - *Copies of a port, of all kinds together*: [`COPIES`] a second, less than a tenth of a worker.
//! - *Copies that one worker makes, of all ports together*: [`COPIES_OF_WORKER`] a second, about a third of the
//!   worker, however many ports flood. Ports share them fairly (see [`Usage`]).
//!
//! The first two are shared by all workers ([`StormControl`]), as atomics that only flooded frames touch. The
//! third belongs to the worker.

use flow::types::PortNo;
use flow::verdict::Flood;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time that full credit lasts at the limit, in nanoseconds.
const BURST: u64 = 1_000_000_000;

/// Copies a second that a port may have made of flooded frames.
const COPIES: u64 = 32_000;
/// Copies that a port may have made at once. A switch of 1,000 ports floods 20 frames then.
const COPIES_AT_ONCE: u64 = 20_000;

/// Copies a second that a worker makes of the flooded frames of all ports.
const COPIES_OF_WORKER: f64 = 200_000.0;
/// Seconds after which a copy counts for 37 % (one divided by e) of what it counted for when it was made.
const MEMORY: f64 = 0.25;

/// Frames of one flow that are to be flooded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames {
    /// Number of frames of one flow that came in a row.
    pub(crate) number: u64,
    /// To how many ports each frame goes.
    pub(crate) copies: u32,
}

impl Frames {
    /// Copies that each frame counts for. A frame to more ports than a burst has room for counts as a whole
    /// burst, so that one frame can pass however many ports there are.
    fn cost(self) -> u64 {
        u64::from(self.copies).clamp(1, COPIES_AT_ONCE)
    }
}

/// Copies that were made lately: each counts for less as time goes by. At a steady rate the number is
/// [`MEMORY`] times the copies of a second.
///
/// A worker keeps one for each port and one for all of them. The copies that it may still make are those that
/// [`COPIES_OF_WORKER`] allows less those of all ports. A port may have made as many as may still be made, and
/// no more. A port that floods alone therefore gets half of the worker's limit, `n` ports get the `n+1`th part
/// each, and a part is always left for a port that has not flooded lately. Switches with shared buffers divide
/// them between queues in this way (Choudhury and Hahne, "Dynamic queue length thresholds", 1998).
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    copies: f64,
    /// The time of which `copies` tells.
    at: Duration,
}

impl Usage {
    /// The copies that count at `now`.
    fn at(self, now: Duration) -> f64 {
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        self.copies * (-elapsed / MEMORY).exp()
    }

    fn add(&mut self, copies: f64, now: Duration) {
        *self = Self { copies: self.at(now) + copies, at: now.max(self.at) };
    }
}

/// The spent credit of a port: for each [`FloodKind`](flow::verdict::FloodKind), and for copies, the time in
/// nanoseconds up to which credit is spent. It may be one burst ahead of the clock.
#[derive(Debug, Default)]
struct Credit {
    frames: [AtomicU64; 3],
    copies: AtomicU64,
}

impl Credit {
    /// How many of the frames both limits of the port allow to be flooded now. Their credit is spent.
    fn admit(&self, flood: Flood, now: Duration, frames: Frames) -> u64 {
        let now = now.as_nanos() as u64;
        let cost = (BURST / u64::from(flood.limit.max(1))).max(1);
        let admitted = spend(&self.frames[flood.kind as usize], now, BURST, cost, frames.number);
        let cost = frames.cost() * (BURST / COPIES);
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

/// The credit of all ports, by the datapath's number. A port that gets the number of a removed port inherits
/// its credit, which makes a difference for a second at most.
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

/// What one worker knows of floods: the way to the credit of each port, without a lock from the second time on,
/// and the copies that this worker has made.
#[derive(Debug, Default)]
pub(crate) struct Storm {
    ports: Vec<Option<PortStorm>>,
    all: Usage,
}

#[derive(Debug)]
struct PortStorm {
    credit: Arc<Credit>,
    usage: Usage,
}

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
        if self.ports.len() <= index {
            self.ports.resize_with(index + 1, || None);
        }
        let port = self.ports[index].get_or_insert_with(|| PortStorm {
            credit: control.credit(port),
            usage: Usage::default(),
        });
        let cost = frames.cost() as f64;
        let left = COPIES_OF_WORKER * MEMORY - self.all.at(now);
        // The port may make up to `left` copies in all, and each frame makes `left` less by its cost.
        let fair = ((left - port.usage.at(now)) / cost + 1.0) / 2.0;
        let number = frames.number.min(fair.max(0.0) as u64);
        let admitted = port.credit.admit(flood, now, Frames { number, ..frames });
        let copies = admitted as f64 * cost;
        port.usage.add(copies, now);
        self.all.add(copies, now);
        admitted
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
        // To 200 ports: 100 at once, and 160 a second.
        assert_eq!(storm.admit_copies(PORT, flood, at(0), 1000, 200), 100);
        assert_eq!(storm.admit_copies(PORT, flood, at(100), 1000, 200), 16);
        // Kinds share it, ports do not.
        let unknown = Flood { kind: FloodKind::UnknownUnicast, ..flood };
        assert_eq!(storm.admit_copies(PORT, unknown, at(100), 1, 200), 0);
        assert_eq!(storm.admit_copies(PortNo(0), flood, at(100), 1, 200), 1);
        // However many ports there are, one frame can pass.
        assert_eq!(storm.admit_copies(PORT, flood, at(10_000), 5, 60_000), 1);
        // On a few ports frames are the limit.
        assert_eq!(storm.admit_copies(PortNo(1), flood, at(20_000), 20_000, 2), 10_000);
    }

    /// Copies that each of `ports` ports has had made in each second, of ten seconds after the first. Every
    /// port offers far more than its share, except the last, which offers a frame every 100 ms.
    fn copies_a_second(ports: u16, copies: u32) -> Vec<f64> {
        let mut storm = Alone::new();
        let flood = Flood { limit: 10_000, ..BROADCAST };
        let mut made = vec![0.0; usize::from(ports)];
        for ms in 0..11_000 {
            for port in 0..ports {
                let number = if port + 1 < ports { 20 } else { u64::from(ms % 100 == 0) };
                let admitted = storm.admit_copies(PortNo(port), flood, at(ms), number, copies);
                if ms >= 1000 {
                    made[usize::from(port)] += (admitted * u64::from(copies)) as f64 / 10.0;
                }
            }
        }
        made
    }

    #[test]
    fn ports_that_flood_together_share_the_limit_of_the_worker() {
        // Alone beside a port that hardly floods: the limit of the port.
        let alone = copies_a_second(2, 200)[0];
        assert!((0.95..=1.0).contains(&(alone / COPIES as f64)), "{alone}");
        for flooding in [4, 8, 50] {
            let made = copies_a_second(flooding + 1, 200);
            let total: f64 = made.iter().sum();
            let limit = COPIES_OF_WORKER.min(f64::from(flooding) * COPIES as f64 + 2000.0);
            // What was left of the burst of the first second comes on top.
            assert!((0.7..=1.01).contains(&(total / limit)), "{flooding}: {made:?}");
            let (modest, floods) = made.split_last().unwrap();
            assert_eq!(*modest, 2000.0, "what a port floods in passing is not refused");
            let fair = total / f64::from(flooding);
            let is_fair = |copies: &&f64| (0.8..=1.2).contains(&(**copies / fair));
            assert_eq!(floods.iter().filter(is_fair).count(), floods.len(), "{made:?}");
        }
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
