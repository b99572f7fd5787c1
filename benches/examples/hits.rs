//! Cached traffic between null ports and nothing else, for tools that look at a whole process:
//!
//! ```text
//! cargo build --release -p benches --example hits
//! valgrind --tool=callgrind target/release/examples/hits 1000 v4 2000
//! ```
//!
//! Arguments are the number of flows, `v4` or `v6`, and the number of batches of 64 frames. What is
//! counted for 2,000 batches and not for 1,000 is what 64,000 frames cost.

use anyhow::{Context, bail};
use benches::null_port::NullSwitch;
use benches::rules::{add, matching, output, pipeline_with};
use benches::workload::{Family, Order, Workload};
use flowtable::datapath::{CacheConfig, Datapath};
use std::sync::Arc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [flows, family, batches] = &arguments[..] else {
        bail!("three arguments are needed: FLOWS v4|v6 BATCHES");
    };
    let flows = flows.parse().with_context(|| format!("FLOWS: \"{flows}\""))?;
    let batches: usize = batches.parse().with_context(|| format!("BATCHES: \"{batches}\""))?;
    let family = match family.as_str() {
        "v4" => Family::V4,
        "v6" => Family::V6,
        other => bail!("\"{other}\" is neither v4 nor v6"),
    };
    let policy = Arc::new(pipeline_with(2, &[add(0, 1, matching(|_, _| {}), output(2))]));
    let datapath = Datapath::new(policy, CacheConfig::default(), 1, 1);
    let mut switch = NullSwitch::new(datapath, family);
    let mut workload = Workload::numbered(flows, Order::Rotation);
    for _ in 0..batches {
        switch.poll(&mut workload);
    }
    println!("{} frames sent", switch.sent);
    Ok(())
}
