//! Divides the memory for receive rings among ports.
//!
//! All rings of the process together have a budget (`switchd --ring-memory`). As long as large rings, of 32 MiB
//! for a port, fit into the budget for all ports, every port has one. With more ports, half of the budget is
//! divided evenly: each port has a small ring of the same size. What is left of the budget makes rings larger
//! for ports that are in use, first for those that receive the most. A small ring becomes a large one, and a
//! large ring gets two or four times its slots. A larger ring bears a longer time in which no processor is free
//! for the worker.
//!
//! A ring whose size was given with the port (`slots=`, `slot-size=`) keeps it, and is
//! paid from the budget first.

use ::ports::RingSize;
use flowtable::policy::PortRef;
use std::cmp::Reverse;

/// Slots of the small rings, from the largest to the smallest.
const SMALL_SLOTS: [u32; 7] = [4096, 2048, 1024, 512, 256, 128, 64];

/// How many times the slots of a large ring a port in use can have, from the most to the fewest.
const LARGE_TIMES: [u32; 2] = [4, 2];

/// The smallest ring that a plan gives: 128 KiB. A port for which nothing was planned yet counts as having it.
pub(crate) const SMALLEST: RingSize = RingSize::small(SMALL_SLOTS[SMALL_SLOTS.len() - 1]);

/// Frames a second from which on a port can be said to be in use, and gets a large ring.
const LEAST_RATE: u64 = 1_000;
/// Frames a second from which on a large ring can be too small. To get four times the slots takes a
/// quarter of a second of a processor, which the first frames of a stream are not worth that the
/// kernel forwards from then on.
const LEAST_RATE_OF_LARGE: u64 = 10_000;
/// While another program takes over, frames wait in a ring about ten times as long as for a worker that has no
/// processor. So the plan for that time takes each rate for ten times as much.
pub(crate) const WAIT_OF_RESTART: u64 = 10;
/// A port with a larger ring than others keeps it until another one receives this many times as much.
const LOYALTY: u64 = 4;

/// A port whose rings are to be planned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) at: PortRef,
    /// Receive queues, each with a ring.
    pub(crate) queues: usize,
    /// The rate at which the port receives, in frames a second.
    pub(crate) rate: u64,
    /// The size that was planned for it the last time.
    pub(crate) planned: RingSize,
}

impl Demand {
    /// The port with the largest number gets a larger ring first, one with 0 none at all. `smallest` is the
    /// ring that every port has at least, and `least_rate` the rate of a port that may get another one.
    fn rank(&self, smallest: RingSize, least_rate: u64) -> u64 {
        let is_ahead = self.planned.bytes() > smallest.bytes();
        let rate = if self.rate < least_rate { 0 } else { self.rate };
        // A port that is no longer in use keeps its larger ring until another port wants the memory.
        if is_ahead { (rate * LOYALTY).max(1) } else { rate }
    }
}

/// The size of the rings of each port, in the order of `demands`, of `budget` bytes in all.
///
/// The smallest rings are given even where the budget does not suffice for them.
pub(crate) fn plan(budget: u64, demands: &[Demand]) -> Vec<RingSize> {
    let cost = |size: RingSize, queues: usize| size.bytes() * queues as u64;
    let sum = |size: &dyn Fn(usize) -> RingSize| -> u64 {
        demands.iter().map(|d| cost(size(d.queues), d.queues)).sum()
    };
    if sum(&RingSize::large) <= budget {
        let larger =
            |queues| LARGE_TIMES.map(|times| RingSize::large_times(times, queues)).to_vec();
        return grown(budget, demands, LEAST_RATE_OF_LARGE, &RingSize::large, &larger);
    }
    let sizes = SMALL_SLOTS.map(RingSize::small);
    let floor = sizes.into_iter().find(|size| sum(&|_| *size) <= budget / 2);
    let floor = floor.unwrap_or(SMALLEST);
    let larger = |queues| std::iter::once(RingSize::large(queues)).chain(sizes).collect();
    grown(budget, demands, LEAST_RATE, &|_| floor, &larger)
}

/// The ring of `floor` for each port, and the first ring of `larger` that the budget has left for a port that
/// receives at `least_rate` or more. Both rings are asked for with the number of queues of a port.
fn grown(
    budget: u64,
    demands: &[Demand],
    least_rate: u64,
    floor: &dyn Fn(usize) -> RingSize,
    larger: &dyn Fn(usize) -> Vec<RingSize>,
) -> Vec<RingSize> {
    let cost = |size: RingSize, queues: usize| size.bytes() * queues as u64;
    let mut plan: Vec<RingSize> = demands.iter().map(|d| floor(d.queues)).collect();
    let taken: u64 = demands.iter().zip(&plan).map(|(d, size)| cost(*size, d.queues)).sum();
    let mut left = budget.saturating_sub(taken);
    let rank = |i: usize| demands[i].rank(plan[i], least_rate);
    let mut order: Vec<usize> = (0..demands.len()).filter(|&i| rank(i) > 0).collect();
    order.sort_by_key(|&i| (Reverse(rank(i)), demands[i].at));
    for i in order {
        let queues = demands[i].queues;
        let extra = |size: RingSize| cost(size, queues).saturating_sub(cost(plan[i], queues));
        if let Some(size) = larger(queues).into_iter().find(|size| extra(*size) <= left) {
            left -= extra(size);
            plan[i] = size;
        }
    }
    plan
}

/// The rate at which a port receives, as its counters tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Activity {
    frames: u64,
    rate: u64,
}

impl Activity {
    /// The activity of a port that has received at this rate, in frames a second, in another program.
    pub(crate) fn of_rate(rate: u64) -> Self {
        Self { frames: 0, rate }
    }

    /// The port's counter has `frames` frames more than it would have without those of another program.
    pub(crate) fn begin_at(&mut self, frames: u64) {
        self.frames += frames;
    }

    /// Notes how many frames the port has received so far, `seconds` after the last time. The rate follows
    /// a port that receives more at once, and one that receives less by half each time.
    pub(crate) fn note(&mut self, frames: u64, seconds: f64) {
        let rate = (frames.saturating_sub(self.frames) as f64 / seconds.max(0.001)) as u64;
        self.frames = frames;
        self.rate = rate.max(self.rate / 2);
    }

    /// The rate at which the port receives, in frames a second.
    pub(crate) fn rate(&self) -> u64 {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::types::OfPort;
    use flowtable::policy::BridgeId;

    const MIB: u64 = 1 << 20;
    const BUDGET: u64 = 256 * MIB;

    fn ports(count: u16, queues: usize) -> Vec<Demand> {
        let at = |n| PortRef { bridge: BridgeId::FIRST, port: OfPort(n) };
        let demand = |n| Demand { at: at(n), queues, rate: 0, planned: SMALLEST };
        (1..=count).map(demand).collect()
    }

    /// How many ports get rings of how many KiB each.
    fn census(plan: &[RingSize]) -> Vec<(usize, u64)> {
        let mut sizes: Vec<u64> = plan.iter().map(|size| size.bytes() / 1024).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.chunk_by(|a, b| a == b).map(|same| (same.len(), same[0])).collect()
    }

    fn total(demands: &[Demand], plan: &[RingSize]) -> u64 {
        demands.iter().zip(plan).map(|(d, size)| size.bytes() * d.queues as u64).sum()
    }

    #[test]
    fn few_ports_get_large_rings_and_many_get_small_ones() {
        let check = |count, expected: &[(usize, u64)]| {
            assert_eq!(census(&plan(BUDGET, &ports(count, 1))), expected, "{count} ports");
        };
        check(2, &[(2, 32_768)]);
        check(8, &[(8, 32_768)]);
        check(9, &[(9, 8192)]);
        check(100, &[(100, 1024)]);
        check(1000, &[(1000, 128)]);
    }

    #[test]
    fn the_budget_is_kept_as_long_as_the_smallest_rings_fit_into_it() {
        for queues in 1..=4 {
            for count in [1, 2, 3, 7, 8, 9, 31, 100, 333, 500] {
                for budget in [16, 100, 256, 1024] {
                    let demands = ports(count, queues);
                    let plan = plan(budget * MIB, &demands);
                    let least = RingSize::small(64).bytes() * (count as usize * queues) as u64;
                    let total = total(&demands, &plan);
                    assert!(total <= (budget * MIB).max(least), "{count} x {queues}: {total}");
                }
            }
        }
        let demands = ports(4000, 1);
        assert_eq!(census(&plan(BUDGET, &demands)), [(4000, 128)]);
    }

    #[test]
    fn few_ports_share_what_is_left_when_they_are_in_use() {
        let mut demands = ports(3, 1);
        let mut sizes = |rates: [u64; 3]| -> Vec<u64> {
            demands.iter_mut().zip(rates).for_each(|(demand, rate)| demand.rate = rate);
            let plan = plan(BUDGET, &demands);
            demands.iter_mut().zip(&plan).for_each(|(demand, size)| demand.planned = *size);
            plan.iter().map(|size| size.bytes() / MIB).collect()
        };
        assert_eq!(sizes([0, 0, LEAST_RATE_OF_LARGE - 1]), [32, 32, 32]);
        assert_eq!(sizes([0, LEAST_RATE_OF_LARGE, 0]), [32, 128, 32]);
        assert_eq!(sizes([200_000, 100_000, 0]), [64, 128, 32], "the second port keeps its slots");
        assert_eq!(sizes([500_000, 100_000, 0]), [128, 64, 32]);
    }

    #[test]
    fn ports_that_receive_the_most_get_the_large_rings_and_keep_them() {
        let mut demands = ports(100, 1);
        let is_large = |plan: &[RingSize], n: usize| plan[n] == RingSize::large(1);
        let replan = |demands: &mut Vec<Demand>| {
            let plan = plan(BUDGET, demands);
            demands.iter_mut().zip(&plan).for_each(|(d, size)| d.planned = *size);
            plan
        };
        assert!(!is_large(&replan(&mut demands), 0), "nothing is in use");
        for demand in &mut demands[..9] {
            demand.rate = 20_000;
        }
        let planned = replan(&mut demands);
        assert!(is_large(&planned, 4) && !is_large(&planned, 5));
        demands[70].rate = 100_000;
        let planned = replan(&mut demands);
        assert!(is_large(&planned, 70) && is_large(&planned, 3) && !is_large(&planned, 4));
        // Nobody else receives four times as much as the one that has it.
        for demand in &mut demands[71..80] {
            demand.rate = 390_000;
        }
        assert!(is_large(&replan(&mut demands), 70));
        for demand in &mut demands[71..80] {
            demand.rate = 410_000;
        }
        assert!(!is_large(&replan(&mut demands), 70));
        // What hardly receives anything is no reason to change.
        demands.iter_mut().for_each(|d| d.rate = 0);
        let before = replan(&mut demands);
        assert!(is_large(&before, 71), "a port that is not in use any more keeps its ring");
        demands[99].rate = LEAST_RATE - 1;
        assert_eq!(replan(&mut demands), before);
    }

    #[test]
    fn a_rate_rises_at_once_and_falls_by_half() {
        let mut activity = Activity::default();
        activity.note(50_000, 0.5);
        assert_eq!(activity.rate(), 100_000);
        activity.note(50_000, 0.5);
        assert_eq!(activity.rate(), 50_000);
    }
}
