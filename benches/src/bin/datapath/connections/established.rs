//! Frames of established connections, by number of connections: not tracked, tracked, and with source NAT.
//!
//! The three take turns, so that what disturbs the machine disturbs all. Frames are of all connections one
//! after the other, which is what a table of connections likes least.

use super::{
    PLAIN, TRACKED, TRANSLATED, ensure_begun, establish, own_memory, policy, switch, switch_with,
};
use crate::Bench;
use benches::null_port::NullSwitch;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::workload::{Order, Workload};
use flowtable::datapath::CacheConfig;
use flowtable::policy::Policy;
use ports::give_back_memory;
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
    let columns = ["memory", "in caches", "memory, NAT", "in caches, NAT"]
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
        drop(sides);
        if count >= 100_000 {
            let bytes = [memory(TRACKED, count)?, memory(TRANSLATED, count)?];
            for (column, bytes) in columns.into_iter().zip(bytes.as_flattened()) {
                results.record(row, column, *bytes);
            }
        }
        let rate = results.median(row, tracked);
        if let Some(wanted) = wanted {
            bench.goal(Goal::at_least(&format!("connections, {name}: Mpps"), rate, wanted));
        }
        let goal = format!("connections, {name}: with source NAT against without");
        bench.goal(Goal::at_least(&goal, results.median(row, ratio), TRANSLATED_PART));
        rates.push((rate, results.median(row, columns[2])));
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
    count: u32,
}

impl Side {
    fn new(rules: &[&str], count: u32) -> anyhow::Result<Self> {
        let policy = policy(rules)?;
        let mut switch = switch(&policy, 42);
        if rules != PLAIN {
            drop(establish(&policy, &mut switch, count)?);
        }
        let mut workload = Workload::numbered(count, Order::Rotation);
        // The cache grows until it has room for all connections, and learns each of them.
        switch.warm_up(&mut workload);
        Ok(Self { policy, switch, workload, count })
    }

    /// Millions of frames per second of time on the core.
    fn rate(&mut self, seconds: f64) -> f64 {
        // The worker looks a connection up again after some seconds, in which the other switches had their
        // turns. One round in which it does so with all of them is not measured.
        self.switch.run(&mut self.workload, self.count as usize);
        self.switch.rate(&mut self.workload, seconds)
    }
}

/// What one of `count` connections takes, in bytes: in the table of connections, and in
/// the caches of the worker.
fn memory(rules: &[&str], count: u32) -> anyhow::Result<[f64; 2]> {
    let without = CacheConfig { emc_entries: 0, ..CacheConfig::default() };
    let own = memory_with(without, rules, count)?;
    Ok([own, memory_with(CacheConfig::default(), rules, count)? - own])
}

/// The bytes by which this program grows for each of `count` connections, in a switch with these caches.
fn memory_with(caches: CacheConfig, rules: &[&str], count: u32) -> anyhow::Result<f64> {
    // Otherwise the allocator would use what earlier measurements have freed, and the program would not grow.
    give_back_memory();
    let before = own_memory()?;
    let policy = policy(rules)?;
    let mut switch = switch_with(&policy, caches, 42);
    drop(establish(&policy, &mut switch, count)?);
    switch.warm_up(&mut Workload::numbered(count, Order::Rotation));
    give_back_memory();
    Ok(own_memory()?.saturating_sub(before) as f64 / f64::from(count))
}
