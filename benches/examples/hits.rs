//! Cached traffic between null ports and nothing else, for tools that look at a whole process:
//!
//! ```text
//! cargo build --release -p benches --example hits
//! valgrind --tool=callgrind target/release/examples/hits 1000 v4 2000
//! ```
//!
//! Arguments are the number of flows, `v4`, `v6`, `arp` or `mpls`, and the number of batches of 64 frames. What
//! is counted for 2,000 batches and not for 1,000 is what 64,000 frames cost. Words behind them change
//! what is measured: with `miss` nothing is cached and each frame is translated; with `normal` the rule
//! says `NORMAL` instead of `output:2`; with `pop` it is `pop_mpls:0x0800,resubmit(,1)`, so that frames
//! with labels are looked up twice.

use anyhow::{Context, bail};
use benches::null_port::NullSwitch;
use benches::rules::{add, output, pipeline_with, pop_label};
use benches::workload::{Family, Order, Workload};
use flow::Match;
use flow::action::Action;
use flow::types::OfPort;
use flowtable::datapath::{CacheConfig, Datapath};
use std::sync::Arc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [flows, family, batches, options @ ..] = &arguments[..] else {
        bail!("three arguments are needed: FLOWS v4|v6|arp|mpls BATCHES [miss] [normal|pop]");
    };
    let flows = flows.parse().with_context(|| format!("FLOWS: \"{flows}\""))?;
    let batches: usize = batches.parse().with_context(|| format!("BATCHES: \"{batches}\""))?;
    let family = match family.as_str() {
        "v4" => Family::V4,
        "v6" => Family::V6,
        "arp" => Family::Arp,
        "mpls" => Family::Mpls,
        other => bail!("\"{other}\" is none of v4, v6, arp and mpls"),
    };
    let (mut caches, mut actions) = (CacheConfig::default(), output(2));
    for option in options {
        match option.as_str() {
            "miss" => caches = CacheConfig::OFF,
            "normal" => actions = vec![Action::output(OfPort::NORMAL)],
            "pop" => actions = pop_label(),
            other => bail!("\"{other}\" is none of miss, normal and pop"),
        }
    }
    let rules = [add(0, 1, Match::any(), actions), add(1, 1, Match::any(), output(2))];
    let policy = Arc::new(pipeline_with(2, &rules));
    let datapath = Datapath::new(policy, caches, 1, 1);
    let mut switch = NullSwitch::new(datapath, family);
    let mut workload = Workload::numbered(flows, Order::Rotation);
    for _ in 0..batches {
        switch.poll(&mut workload);
    }
    println!("{} frames sent", switch.sent);
    Ok(())
}
