//! Cached frames that go through a meter, which drops none of them, and the same frames without a meter.
//!
//! Both are measured in turn, so that what disturbs the machine disturbs both. With one flow, whole batches are
//! charged at once; with many, each frame.

use crate::Bench;
use crate::recirculation::Side;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::rules::{add, output, policy};
use benches::workload::Family;
use flow::Match;
use flow::action::Action;
use flow::meter::MeterMod;
use flow::text::{MeterCommand, parse_meter};
use flow::types::MeterId;
use flowtable::policy::{BridgeId, Policy};
use std::time::Duration;

const FLOWS: [(&str, u32); 3] = [("1 flow", 1), ("1,000 flows", 1_000), ("100,000 flows", 100_000)];
/// Meters whose rates no traffic reaches.
const METERS: [(&str, &str); 3] = [
    ("pktps", "meter=1,pktps,burst,bands=type=drop,rate=1000000000,burst_size=1000000000"),
    ("kbps", "meter=1,kbps,burst,bands=type=drop,rate=4000000000,burst_size=4000000000"),
    (
        "kbps, two bands",
        "meter=1,kbps,burst,bands=type=dscp_remark,rate=3000000000,burst_size=4000000000,prec_level=1,type=drop,rate=4000000000,burst_size=4000000000",
    ),
];

pub(crate) fn run(bench: &mut Bench) {
    let mut results = Table::new("meter", "cached frames through a meter, and without one");
    let without = results.column("without", "Mpps", Better::Higher);
    let with = results.column("with", "Mpps", Better::Higher);
    let cost = results.column("cost", "ns/frame", Better::Lower);
    for (meter, text) in METERS {
        for (flows, count) in FLOWS {
            let name = format!("{meter}, {flows}");
            progress(&format!("meter: {name}"));
            let row = results.row(&name, Role::Ours);
            let mut plain = Side::new(policy_with(None), Family::V4, count);
            let mut metered = Side::new(policy_with(Some(text)), Family::V4, count);
            for _ in 0..bench.args.runs {
                let (a, b) = (plain.rate(bench.args.seconds), metered.rate(bench.args.seconds));
                results.record(row, without, a);
                results.record(row, with, b);
                results.record(row, cost, 1e3 / b - 1e3 / a);
            }
            let name = format!("a meter costs at most 15 ns a frame: {name}");
            bench.goal(Goal::at_most(&name, results.median(row, cost), 15.0));
        }
    }
    bench.report.add(results);
}

/// A policy with one rule, whose first action is the meter, if there is one.
fn policy_with(meter: Option<&str>) -> Policy {
    let policy = policy(3);
    let mut transaction = policy.bridge(BridgeId::FIRST).begin();
    let mut actions = output(2);
    if let Some(text) = meter {
        let request: MeterMod = parse_meter(text, MeterCommand::Add).expect("the meter is valid");
        transaction.apply_meter(&request, Duration::ZERO).expect("there is no other meter");
        actions.insert(0, Action::Meter(MeterId(1)));
    }
    let rule = add(0, 1, Match::any(), actions);
    transaction.apply_all(&[rule], Duration::ZERO).expect("the rule is valid");
    transaction.commit();
    policy
}
