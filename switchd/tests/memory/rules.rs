//! What a rule change guarantees.

use crate::bench::{Bench, frame, wait};

/// When a change has returned, every frame received later sees it. Frames are numbered; the first one
/// injected after the change returned must already be judged by the new rule, at full rate and with
/// the old verdict cached.
#[test]
fn no_frame_is_judged_by_a_rule_that_is_gone() {
    let bench = Bench::new(3);
    let mut number = 0;
    let mut outs = [0u64; 2];
    bench.add(&["priority=9,in_port=1,actions=2"]);
    for round in 0..200 {
        let (new, port) = if round % 2 == 0 { ("actions=3", 1) } else { ("actions=2", 0) };
        bench.add(&[&format!("priority=9,in_port=1,{new}")]);
        // After the change: all of these must leave by the new port.
        let first = number;
        for _ in 0..50 {
            bench.ports[0].inject(&frame(1, 2, number));
            number += 1;
        }
        outs[port] += 50;
        wait(|| bench.ports[1 + port].sent_count() == outs[port]);
        let sent = bench.ports[1 + port].sent();
        let numbers: Vec<u32> = sent
            .iter()
            .map(|f| u32::from_be_bytes(f.bytes[14..18].try_into().expect("four bytes")))
            .collect();
        assert_eq!(numbers, (first..number).collect::<Vec<_>>(), "in order, none by the old way");
    }
}

#[test]
fn deleting_all_rules_stops_everything() {
    let bench = Bench::new(2);
    bench.ports[0].inject(&frame(1, 2, 0));
    wait(|| bench.ports[1].sent_count() == 1);
    bench.delete(&[""]);
    bench.ports[0].inject(&frame(1, 2, 1));
    bench.settle(2);
    assert_eq!(bench.ports[1].sent_count(), 1);
}
