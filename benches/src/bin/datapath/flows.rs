//! Cached traffic, by number of flows.
//!
//! Under sixteen rules all flows share sixteen cached flows. With verdicts of their own, because an
//! action reads the 5-tuple, each is cached by itself.

use crate::Bench;
use crate::rules::{reading_rule, sixteen_rules};
use benches::null_port::NullSwitch;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::rules::pipeline_with;
use benches::workload::{Family, Order, Workload};
use flow::flow_mod::FlowMod;
use flowtable::datapath::{CacheConfig, Datapath};
use std::sync::Arc;

/// How many flows, how their frames come, and the Mpps that are wanted.
const CASES: [(&str, u32, Order, Option<f64>); 7] = [
    ("1 flow", 1, Order::Rotation, Some(25.0)),
    ("100 flows", 100, Order::Rotation, None),
    ("1,000 flows", 1_000, Order::Rotation, Some(20.0)),
    ("10,000 flows", 10_000, Order::Rotation, Some(15.0)),
    ("100,000 flows", 100_000, Order::Rotation, Some(11.0)),
    ("100,000 random", 100_000, Order::Random, Some(10.0)),
    ("1,000,000 flows", 1_000_000, Order::Rotation, None),
];

pub(crate) fn run(bench: &mut Bench) {
    let tables: [(&str, Family, Vec<FlowMod>); 3] = [
        ("16 rules, IPv4", Family::V4, sixteen_rules(Family::V4)),
        ("16 rules, IPv6", Family::V6, sixteen_rules(Family::V6)),
        ("own verdicts", Family::V4, vec![reading_rule()]),
    ];
    let mut results = Table::new("flows", "frames of cached flows, one after the other or random");
    let rows = CASES.map(|(name, ..)| results.row(name, Role::Ours));
    for (table, family, rules) in tables {
        let column = results.column(table, "Mpps", Better::Higher);
        for (row, (name, count, order, wanted)) in rows.into_iter().zip(CASES) {
            progress(&format!("flows: {table}, {name}"));
            let policy = Arc::new(pipeline_with(3, &rules));
            let datapath = Datapath::new(policy, CacheConfig::default(), 1, 42);
            let mut switch = NullSwitch::new(datapath, family);
            let mut workload = Workload::numbered(count, order);
            switch.warm_up(&mut workload);
            for _ in 0..bench.args.runs {
                results.record(row, column, switch.rate(&mut workload, bench.args.seconds));
            }
            if let Some(wanted) = wanted {
                let name = format!("flows, {table}, {name}: Mpps");
                bench.goal(Goal::at_least(&name, results.median(row, column), wanted));
            }
        }
    }
    bench.report.add(results);
}
