//! What a bridge does with IP fragments, from the cache and without.

use super::*;
use flow::types::Fragments;

/// A fragment of a UDP packet; only the first one has ports.
fn fragment(is_first: bool) -> Headers {
    let mut headers = udp(1, 2, 80);
    headers.nw_frag = if is_first { 1 } else { 3 };
    if !is_first {
        headers.tp_src.set(0);
        headers.tp_dst.set(0);
    }
    headers
}

#[test]
fn the_bridge_decides_whether_rules_see_the_ports_of_fragments() {
    for config in [CacheConfig::default(), CacheConfig::OFF] {
        let rules =
            ["priority=9,udp,tp_dst=80,actions=output:2", "priority=5,udp,actions=output:3"];
        let mut bench = Bench::new(config, &rules);
        let mut ports = |fragments| {
            bench.bridge(0).handle_fragments(fragments);
            // Twice, so that a cached flow is used.
            let [first, again] = [(); 2].map(|()| {
                [udp(1, 2, 80), fragment(true), fragment(false)].map(|p| bench.ports(1, p))
            });
            assert_eq!(first, again, "{fragments:?}");
            first
        };
        assert_eq!(ports(Fragments::Normal), [[2], [3], [3]]);
        assert_eq!(ports(Fragments::NxMatch), [[2], [2], [3]]);
        assert_eq!(ports(Fragments::Drop), [&[2][..], &[], &[]]);
        assert_eq!(ports(Fragments::Normal), [[2], [3], [3]]);
        assert_eq!(bench.counters[0].rx_dropped(DropReason::Fragment).get(), 4);
    }
}
