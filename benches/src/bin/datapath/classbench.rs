//! ClassBench sets as rules, and the headers of their traces as traffic, in their order, caches warm.
//! What no rule matches is dropped.

use crate::Bench;
use crate::sets::Wanted;
use benches::classbench::Header;
use benches::classbench_like::SetKind;
use benches::generate::RuleSet;
use benches::null_port::NullSwitch;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::rules::{add, output, pipeline_with};
use benches::workload::{Family, Tuple, Workload};
use flow::flow_mod::FlowMod;
use flow::metric::CacheMetric;
use flowtable::datapath::{CacheConfig, Datapath};
use std::sync::Arc;

/// The sets that are made, and the Mpps that are wanted of them and of the ClassBench files
/// of their kinds and sizes.
const SETS: [(SetKind, usize, Option<f64>); 5] = [
    (SetKind::Acl, 1_000, None),
    (SetKind::Acl, 10_000, Some(9.0)),
    (SetKind::Acl, 100_000, Some(4.0)),
    (SetKind::Fw, 10_000, Some(8.0)),
    (SetKind::Ipc, 10_000, Some(7.0)),
];

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let about = match bench.args.classbench {
        Some(_) => "traces of ClassBench sets",
        None => "traces of sets that are made like those of ClassBench",
    };
    let mut results = Table::new("classbench", about);
    let rate = results.column("rate", "Mpps", Better::Higher);
    let facts = ["rules", "headers", "flows", "masks"]
        .map(|name| results.column(name, "", Better::Neither));
    for wanted in Wanted::all(bench, SETS.map(|(kind, size, _)| (kind, size)))? {
        let name = wanted.name();
        if !bench.wants(&name) {
            continue;
        }
        progress(&format!("classbench: {name}"));
        let row = results.row(&name, Role::Ours);
        let set = match wanted.get() {
            Ok(set) => set,
            Err(error) => {
                results.miss(row, rate, format!("{error:#}"));
                continue;
            }
        };
        let rules: Vec<FlowMod> = RuleSet::from(&set)
            .rules
            .into_iter()
            .map(|(priority, m)| add(0, priority, m, output(2)))
            .collect();
        let policy = Arc::new(pipeline_with(3, &rules));
        let datapath = Datapath::new(policy, CacheConfig::default(), 1, 42);
        let mut switch = NullSwitch::new(datapath, Family::V4);
        let mut workload = Workload::listed(set.trace.iter().map(tuple).collect());
        switch.warm_up(&mut workload);
        for _ in 0..bench.args.runs {
            results.record(row, rate, switch.rate(&mut workload, bench.args.seconds));
        }
        let stats = switch.datapath.stats();
        let [flows, masks] = [&stats[CacheMetric::Flows], &stats[CacheMetric::Masks]]
            .map(|counter| counter.get() as f64);
        let values = [rules.len() as f64, workload.len() as f64, flows, masks];
        facts.into_iter().zip(values).for_each(|(fact, value)| results.record(row, fact, value));
        let goal = SETS.iter().find(|(kind, size, _)| wanted.is(*kind, *size));
        if let Some((_, _, Some(limit))) = goal {
            let name = format!("classbench, {}: Mpps", wanted.goal_name());
            bench.goal(Goal::at_least(&name, results.median(row, rate), *limit));
        }
    }
    bench.report.add(results);
    Ok(())
}

fn tuple(&Header { src, dst, sport, dport, proto }: &Header) -> Tuple {
    Tuple { src, dst, sport, dport, proto }
}
