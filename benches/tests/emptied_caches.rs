//! A cache that has emptied gives its memory back: what is allocated is counted, so the
//! test depends on no clock.

use benches::null_port::NullSwitch;
use benches::rules::{add, pipeline_with};
use benches::workload::{Family, Order, Workload};
use flow::Match;
use flow::metric::CacheMetric;
use flow::text::{ParseContext, parse_actions};
use flowtable::datapath::{CacheConfig, Datapath};
use std::sync::Arc;
use std::time::Duration;

const FLOWS: u32 = 20_000;

#[test]
fn a_cache_that_has_emptied_has_no_memory_left() {
    // The rule reads the source address, so that each packet has a flow of its own. It learns no hosts, which
    // would have memory too.
    let actions = "move:NXM_OF_IP_SRC[]->NXM_NX_REG0[],output:2";
    let actions = parse_actions(actions, &ParseContext::default()).expect("two actions");
    let policy = Arc::new(pipeline_with(3, &[add(0, 1, Match::any(), actions)]));
    let config = CacheConfig { upcalls: None, ..CacheConfig::default() };
    let datapath = Datapath::new(Arc::clone(&policy), config, 1, 42);
    let mut switch = NullSwitch::new(datapath, Family::V4);
    let fill = |switch: &mut NullSwitch| {
        let mut workload = Workload::numbered(FLOWS, Order::Rotation);
        for _ in 0..FLOWS.div_ceil(64) {
            switch.poll(&mut workload);
        }
    };
    let empty = |switch: &mut NullSwitch| {
        let later = switch.now() + Duration::from_secs(60);
        switch.datapath.registry().sweep(&policy, later, Duration::from_secs(10));
        while switch.datapath.tidy() {}
        assert_eq!(switch.datapath.stats()[CacheMetric::Flows].get(), 0);
    };
    let full = allocation_counter::measure(|| fill(&mut switch));
    assert!(full.bytes_current > 400 * i64::from(FLOWS), "{full:?}");
    let emptied = allocation_counter::measure(|| empty(&mut switch));
    let left = full.bytes_current + emptied.bytes_current;
    assert!(left < 100_000, "{left} bytes of {} are left", full.bytes_current);
}
