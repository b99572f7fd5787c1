//! Frames of established connections, by number of connections: not tracked, tracked, and with source NAT.
//!
//! The three take turns, so that what disturbs the machine disturbs all. Frames are of all connections one after the
//! other, which is what a table of connections likes least.

use super::{PLAIN, TRACKED, TRANSLATED, ensure_begun, establish, own_memory, policy, switch};
use crate::Bench;
use benches::null_port::NullSwitch;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::workload::{Order, Workload};
use flowtable::policy::Policy;
use std::sync::Arc;

/// How many connections, and the Mpps that are wanted.
const CASES: [(&str, u32, Option<f64>); 5] = [
    ("1 connection", 1, Some(10.0)),
    ("1,000 connections", 1_000, Some(9.0)),
    ("10,000 connections", 10_000, Some(6.5)),
    ("100,000 connections", 100_000, Some(4.5)),
    ("1,000,000 connections", 1_000_000, None),
];
/// The part of the rate without NAT that is wanted with NAT.
const TRANSLATED_PART: f64 = 0.8;
/// The part of the rate of 100,000 connections that is wanted of 1,000,000.
const MANY_PART: f64 = 0.5;
/// Bytes of memory for a connection, both directions, NAT included.
const BYTES: f64 = 320.0;

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let about = "frames of established connections, one after the other";
    let mut results = Table::new("connections", about);
    let [plain, tracked, translated] = ["not tracked", "tracked", "source NAT"]
        .map(|name| results.column(name, "Mpps", Better::Higher));
    let ratio = results.column("NAT/tracked", "", Better::Higher);
    let [bytes, nat_bytes] = ["memory", "memory, NAT"]
        .map(|name| results.column(name, "bytes/connection", Better::Lower));
    let mut rates = Vec::new();
    for (name, count, wanted) in CASES {
        progress(&format!("connections: {name}"));
        let row = results.row(name, Role::Ours);
        let mut sides = Vec::new();
        for rules in [PLAIN, TRACKED, TRANSLATED] {
            sides.push(Side::new(rules, count)?);
        }
        let [own, with, nat] = &mut sides[..] else { unreachable!("there are three") };
        for _ in 0..bench.args.runs {
            let rates = [&mut *own, with, nat].map(|side| side.rate(bench.args.seconds));
            for (column, rate) in [plain, tracked, translated].into_iter().zip(rates) {
                results.record(row, column, rate);
            }
            results.record(row, ratio, rates[2] / rates[1]);
        }
        for side in [&*with, nat] {
            ensure_begun(&side.policy, count)?;
        }
        if count >= 100_000 {
            results.record(row, bytes, with.bytes);
            results.record(row, nat_bytes, nat.bytes);
        }
        let rate = results.median(row, tracked);
        if let Some(wanted) = wanted {
            bench.goal(Goal::at_least(&format!("connections, {name}: Mpps"), rate, wanted));
        }
        let goal = format!("connections, {name}: with source NAT against without");
        bench.goal(Goal::at_least(&goal, results.median(row, ratio), TRANSLATED_PART));
        rates.push((rate, results.median(row, nat_bytes)));
    }
    if let [.., (fewer, _), (many, bytes)] = rates[..] {
        let goal = "connections: 1,000,000 against 100,000";
        bench.goal(Goal::ratio(goal, many, MANY_PART, fewer));
        let goal = "connections: bytes for one of 1,000,000 with NAT";
        bench.goal(Goal::at_most(goal, bytes, BYTES));
    }
    bench.report.add(results);
    Ok(())
}

/// A switch with connections.
struct Side {
    policy: Arc<Policy>,
    switch: NullSwitch,
    workload: Workload,
    /// Memory that the connections took, in bytes for each.
    bytes: f64,
}

impl Side {
    fn new(rules: &[&str], count: u32) -> anyhow::Result<Self> {
        let policy = policy(rules)?;
        let mut switch = switch(&policy, 42);
        let before = own_memory()?;
        if rules != PLAIN {
            drop(establish(&policy, &mut switch, count)?);
        }
        let bytes = own_memory()?.saturating_sub(before) as f64 / f64::from(count);
        let mut workload = Workload::numbered(count, Order::Rotation);
        switch.rate(&mut workload, 0.05);
        Ok(Self { policy, switch, workload, bytes })
    }

    /// Millions of frames per second of time on the core.
    fn rate(&mut self, seconds: f64) -> f64 {
        self.switch.rate(&mut self.workload, seconds)
    }
}
