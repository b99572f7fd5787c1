//! What the switch is to reach, as ratios of figures of one run.

use super::{Figure, Through};
use crate::report::Goal;

/// The goals, from the medians that `median` knows.
pub fn goals(median: impl Fn(Through, Figure) -> Option<f64>) -> Vec<Goal> {
    let small = Figure::Frames(60, 1);
    let many = Figure::Frames(60, 10_000);
    let ratio = |name: &str, factor, (ours, figure), (theirs, other)| {
        Goal::ratio(name, median(ours, figure), factor, median(theirs, other))
    };
    // TCP does not get through Open vSwitch at default offloads without the option.
    let ovs_round_trips =
        [Through::Ovs, Through::OvsTso].map(|through| median(through, Figure::RoundTrips));
    let ovs_round_trips = ovs_round_trips.into_iter().flatten().reduce(f64::max);
    let round_trips = median(Through::Switchd, Figure::RoundTrips);
    let quick = median(Through::KernelCache, Figure::RoundTrips);
    let of_bridge = median(Through::Bridge, Figure::RoundTrips);
    let of_tc = median(Through::TcRedirect, Figure::RoundTrips);
    use Through::{
        Bridge, Cable, KernelCache, KernelCachePeer, Ovs, OvsNat, OvsTso, Switchd, SwitchdCt,
        SwitchdNat, SwitchdRules, Tap, TapLoop,
    };
    let (tcp, calls) = (Figure::Tcp(1), Figure::Calls);
    let idle = median(Switchd, Figure::IdleCpu);
    let of_bridge_time = |name: &str, through, flows, most| {
        let time = |through| median(through, Figure::CpuPerFrame(flows));
        let share = time(through).zip(time(Bridge)).map(|(ours, theirs)| ours / theirs);
        Goal::at_most(name, share, most)
    };
    vec![
        ratio("60 B frames, against OVS userspace", 2.2, (Switchd, small), (Ovs, small)),
        ratio(
            "60 B frames of 10,000 flows, against 1 flow",
            0.95,
            (Switchd, many),
            (Switchd, small),
        ),
        ratio("1 TCP stream, against OVS with its TSO option", 1.5, (Switchd, tcp), (OvsTso, tcp)),
        ratio("1 TCP stream, against the Linux bridge", 0.75, (Switchd, tcp), (Bridge, tcp)),
        Goal::ratio("round trips, against OVS userspace", round_trips, 2.5, ovs_round_trips),
        ratio("1 TCP stream through ct, against without", 0.9, (SwitchdCt, tcp), (Switchd, tcp)),
        ratio(
            "TCP connections through ct and NAT, against OVS",
            2.0,
            (SwitchdNat, calls),
            (OvsNat, calls),
        ),
        ratio("60 B frames on TAP, against a read/write loop", 1.0, (Tap, small), (TapLoop, small)),
        ratio(
            "60 B frames, 1,000 rules against NORMAL alone",
            0.95,
            (SwitchdRules, many),
            (Switchd, many),
        ),
        ratio(
            "1 TCP stream in the kernel cache, against the Linux bridge",
            1.0,
            (KernelCache, tcp),
            (Bridge, tcp),
        ),
        ratio(
            "1 TCP stream in the kernel cache, against a bare veth pair",
            0.9,
            (KernelCache, tcp),
            (Cable, tcp),
        ),
        Goal::ratio(
            "round trips in the kernel cache, against the Linux bridge",
            quick,
            1.05,
            of_bridge,
        ),
        Goal::ratio("round trips in the kernel cache, against tc redirect", quick, 0.97, of_tc),
        Goal::ratio(
            "round trips in the kernel cache, against the switch without",
            quick,
            1.5,
            round_trips,
        ),
        of_bridge_time(
            "CPU of 60 B frames in the kernel cache, against the Linux bridge",
            KernelCache,
            1,
            0.75,
        ),
        of_bridge_time(
            "CPU of 60 B frames of 10,000 flows in the kernel cache, against the Linux bridge",
            KernelCache,
            10_000,
            0.75,
        ),
        of_bridge_time(
            "CPU of 60 B frames handed over to the peer, against the Linux bridge",
            KernelCachePeer,
            1,
            0.6,
        ),
        Goal::below(
            "the switch's CPU while the kernel cache forwards, % of a core",
            median(KernelCache, Figure::SwitchCpu),
            1.0,
        ),
        Goal::below("idle CPU, % of a core", idle, 1.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_compared_with_the_better_open_vswitch() {
        let goals = goals(|through, figure| match (through, figure) {
            (Through::Switchd, Figure::RoundTrips) => Some(30.0),
            (Through::Ovs, Figure::RoundTrips) => Some(5.0),
            (Through::OvsTso, Figure::RoundTrips) => Some(10.0),
            _ => None,
        });
        let measured: Vec<_> = goals.iter().filter_map(|goal| goal.measured).collect();
        assert_eq!(measured, [3.0]);
    }
}
