//! Additions of rules outside of bundles and nothing else, for tools that look at a whole process:
//!
//! ```text
//! cargo build --release -p benches --example flow_mods
//! valgrind --tool=callgrind target/release/examples/flow_mods 4000 in-turn
//! ```
//!
//! Arguments are the number of filters of an access list, and `alone` or `in-turn`: each rule is added by a
//! transaction of its own, or 64 rules in turn share transactions, as flow mods do that come together. What is
//! counted for 8,000 filters and not for 4,000 is what the rules of 4,000 filters cost.

use anyhow::{Context, bail};
use benches::classbench_like::{self, SetKind};
use benches::generate::RuleSet;
use benches::rules::{add, output, policy};
use flow::flow_mod::FlowMod;
use flowtable::policy::BridgeId;
use std::time::Duration;

/// How many flow mods of a connection are carried out together at most.
const TOGETHER: usize = 64;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [filters, way] = &arguments[..] else {
        bail!("two arguments are needed: FILTERS alone|in-turn");
    };
    let filters = filters.parse().with_context(|| format!("FILTERS: \"{filters}\""))?;
    let together = match way.as_str() {
        "alone" => 1,
        "in-turn" => TOGETHER,
        other => bail!("\"{other}\" is neither alone nor in-turn"),
    };
    let rules: Vec<FlowMod> = RuleSet::from(&classbench_like::set(SetKind::Acl, filters))
        .rules
        .into_iter()
        .map(|(priority, matching)| add(0, priority, matching, output(2)))
        .collect();
    let rules: Vec<&FlowMod> = rules.iter().collect();
    let policy = policy(2);
    let bridge = policy.bridge(BridgeId::FIRST);
    for part in rules.chunks(together) {
        let mut done = 0;
        while done < part.len() {
            let (count, refused) = bridge.apply_in_turn(&part[done..], Duration::ZERO);
            if let Some(error) = refused {
                bail!("a rule is refused: {error}");
            }
            done += count;
        }
    }
    println!("{} rules added", rules.len());
    Ok(())
}
