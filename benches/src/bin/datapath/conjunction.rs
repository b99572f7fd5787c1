//! Conjunctions: a table of 1,000 sources and 1,000 destinations whose pairs are accepted, against the same
//! 2,000 matches as rules without a conjunction. No caches, so that each frame is looked up.

use crate::Bench;
use benches::null_port::NullSwitch;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::rules::pipeline_with;
use benches::workload::{Family, SplitMix, Tuple, Workload};
use flow::flow_mod::FlowMod;
use flow::metric::CacheMetric;
use flow::text::{ParseContext, parse_flow};
use flowtable::datapath::{CacheConfig, Datapath};
use packet::wire::ip_proto;
use std::net::Ipv4Addr;
use std::sync::Arc;

const CLAUSES: u32 = 1_000;
const FLOWS: usize = 10_000;
/// The part of the rate without conjunctions that is wanted with them.
const WANTED: f64 = 0.3;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let about = "frames between 1,000 sources and 1,000 destinations, without caches";
    let mut results = Table::new("conjunction", about);
    let without = results.column("without", "Mpps", Better::Higher);
    let with = results.column("with", "Mpps", Better::Higher);
    let ratio = results.column("ratio", "", Better::Higher);
    let masks = results.column("masks", "", Better::Neither);
    progress("conjunction");
    let row = results.row("2 x 1,000 clauses", Role::Ours);
    let mut plain = switch(&rules(false)?, CacheConfig::OFF);
    let mut clauses = switch(&rules(true)?, CacheConfig::OFF);
    let mut cached = switch(&rules(true)?, CacheConfig { upcalls: None, ..CacheConfig::default() });
    let mut random = SplitMix(5);
    let flows: Vec<Tuple> = (0..FLOWS).map(|_| pair(&mut random)).collect();
    cached.warm_up(&mut Workload::listed(flows.clone()));
    results.record(row, masks, cached.datapath.stats()[CacheMetric::Masks].get() as f64);
    let mut workload = Workload::listed(flows);
    for _ in 0..bench.args.runs {
        let rates =
            [&mut plain, &mut clauses].map(|switch| switch.rate(&mut workload, bench.args.seconds));
        results.record(row, without, rates[0]);
        results.record(row, with, rates[1]);
        results.record(row, ratio, rates[1] / rates[0]);
    }
    let goal = "conjunction: 2 x 1,000 clauses against rules without";
    bench.goal(Goal::at_least(goal, results.median(row, ratio), WANTED));
    bench.report.add(results);
    Ok(())
}

fn switch(rules: &[FlowMod], caches: CacheConfig) -> NullSwitch {
    let policy = Arc::new(pipeline_with(3, rules));
    NullSwitch::new(Datapath::new(policy, caches, 1, 42), Family::V4)
}

fn source(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 | n)
}

fn destination(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0b00_0000 | n)
}

/// The table, with conjunctions, or with an output at each clause.
fn rules(has_conjunctions: bool) -> anyhow::Result<Vec<FlowMod>> {
    let action = |clause: u32| match has_conjunctions {
        true => format!("conjunction(1,{clause}/2)"),
        false => "output:2".to_owned(),
    };
    let mut texts = vec!["priority=10,ip,conj_id=1,actions=output:2".to_owned()];
    for n in 0..CLAUSES {
        texts.push(format!("priority=10,ip,nw_src={},actions={}", source(n), action(1)));
        texts.push(format!("priority=10,ip,nw_dst={},actions={}", destination(n), action(2)));
    }
    let parse = |text: &String| parse_flow(text, &ParseContext::default());
    Ok(texts.iter().map(parse).collect::<Result<_, _>>()?)
}

/// A packet from any source to any destination.
fn pair(random: &mut SplitMix) -> Tuple {
    let mut below = || (((random.next() >> 32) * u64::from(CLAUSES)) >> 32) as u32;
    Tuple {
        src: source(below()).into(),
        dst: destination(below()).into(),
        sport: 1024,
        dport: 80,
        proto: ip_proto::UDP,
    }
}
