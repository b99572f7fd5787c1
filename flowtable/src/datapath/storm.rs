//! Storm control: a limit to what a port may have flooded.
//!
//! Two switches joined by two cables, or one host gone mad, make frames that everybody gets, and
//! soon nothing else gets through. So `NORMAL` floods no more than so many frames a second of each
//! kind from each port; the rest is dropped and counted as `storm`. Rules that name ports or FLOOD
//! are obeyed to the letter.
//!
//! The limit is a second's worth of credit for each port and kind that comes back evenly. Every worker
//! has its own, for its share of the port's frames.

use crate::types::PortNo;
use std::time::Duration;

/// Frames a second of each kind that a port may have flooded, unless configured otherwise: far more
/// than a healthy network asks for, far less than a loop makes.
pub const DEFAULT_LIMIT: u32 = 10_000;

/// Why everybody gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloodKind {
    /// It is addressed to everybody.
    Broadcast,
    /// It is addressed to a group.
    Multicast,
    /// Nobody knows where its destination is.
    UnknownUnicast,
}

/// A verdict floods, and may do so this often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flood {
    /// What.
    pub kind: FloodKind,
    /// Frames a second, all verdicts of this kind and port together.
    pub limit: u32,
}

/// Credit covers this much time.
const BURST: Duration = Duration::from_secs(1);

/// What the ports of one worker have flooded. For each port and [`FloodKind`] the time up to which its
/// credit is spent, one [`BURST`] ahead of the clock.
#[derive(Debug, Default)]
pub(super) struct Storm(Vec<[Duration; 3]>);

impl Storm {
    /// How many of `frames` frames may be flooded now. Their credit is spent.
    pub(super) fn admit(&mut self, port: PortNo, flood: Flood, now: Duration, frames: u64) -> u64 {
        let index = usize::from(port.0);
        if self.0.len() <= index {
            self.0.resize(index + 1, [Duration::ZERO; 3]);
        }
        let spent = &mut self.0[index][flood.kind as usize];
        // Credit older than a burst is lost; `spent` runs a burst ahead so as not to begin below zero.
        *spent = now.max(*spent);
        let credit = (now + BURST).saturating_sub(*spent).as_nanos();
        let cost = BURST.as_nanos() / u128::from(flood.limit.max(1));
        let admitted = u128::from(frames).min(credit / cost.max(1)) as u64;
        *spent += Duration::from_nanos(admitted.saturating_mul(cost as u64));
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortNo = PortNo(3);
    const BROADCAST: Flood = Flood { kind: FloodKind::Broadcast, limit: 100 };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_of_a_second_passes_and_then_the_limit() {
        let mut storm = Storm::default();
        assert_eq!(storm.admit(PORT, BROADCAST, at(0), 64), 64);
        assert_eq!(storm.admit(PORT, BROADCAST, at(0), 64), 36);
        assert_eq!(storm.admit(PORT, BROADCAST, at(5), 64), 0);
        assert_eq!(storm.admit(PORT, BROADCAST, at(100), 64), 10);
        assert_eq!(storm.admit(PORT, BROADCAST, at(60_000), 1000), 100, "no more than a burst");
    }

    #[test]
    fn ports_and_kinds_have_credit_of_their_own() {
        let mut storm = Storm::default();
        assert_eq!(storm.admit(PORT, BROADCAST, at(0), 1000), 100);
        assert_eq!(storm.admit(PortNo(0), BROADCAST, at(0), 1), 1);
        let unknown = Flood { kind: FloodKind::UnknownUnicast, ..BROADCAST };
        assert_eq!(storm.admit(PORT, unknown, at(0), 1), 1);
        assert_eq!(storm.admit(PORT, BROADCAST, at(0), 1), 0);
    }
}
