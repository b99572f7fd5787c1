#![allow(missing_docs, clippy::all)]
use benches::classbench::Set;
use benches::generate::RuleSet;
use flow::Match;
use flow::action::Action;
use flow::flow_mod::{Command, FlowMod};
use flow::group::GroupMod;
use flow::text::{GroupCommand, ParseContext, parse_group};
use flow::types::{GroupId, OfPort, OfVersion};
use flowtable::holdlog::{phase, report};
use flowtable::policy::{BridgeId, Policy};
use std::path::Path;
use std::time::Duration;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let set =
        RuleSet::from(&Set::load(Path::new("/work/shared/data/classbench"), &args[1]).unwrap());
    let now = Duration::from_secs(1);
    let policy = Policy::with_one_bridge(7);
    let b = policy.bridge(BridgeId::FIRST);
    let context = ParseContext { version: OfVersion::OpenFlow15, ..ParseContext::default() };
    phase("1 groups");
    let mut t = b.begin();
    for n in 1..=10_000 {
        let g = parse_group(
            &format!("group_id={n},type=all,bucket=output:1,bucket=output:2"),
            GroupCommand::Add,
            &context,
        )
        .unwrap();
        t.apply_group(&g, now).unwrap();
    }
    t.commit();
    let rules: Vec<FlowMod> = set
        .rules
        .iter()
        .enumerate()
        .map(|(n, (p, m))| {
            let mut a = vec![Action::Output { port: OfPort(1 + (n % 4) as u16) }];
            if n % 10 == 0 {
                a.push(Action::Group(GroupId((n / 10 % 10_000 + 1) as u32)));
            }
            FlowMod::new(Command::Add, *p, *m, a)
        })
        .collect();
    println!("{} rules", rules.len());
    for name in ["2 add", "3 replace"] {
        phase(name);
        let mut t = b.begin();
        let step = rules.len() / 4096 + 1;
        let sample: Vec<FlowMod> = rules.iter().step_by(step).cloned().collect();
        t.expect(&sample, rules.len());
        for batch in rules.chunks(256) {
            t.apply_all(batch, now).unwrap();
        }
        t.commit();
        phase(&format!("{name} purge"));
        while policy.purge() {}
    }
    phase("4 walk");
    let every = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
    let mut w = b.walk(&every);
    while w.next_slice(|_| ()) {}
    drop(w);
    phase("5 delgroups");
    let mut t = b.begin();
    t.apply_group(&GroupMod::Delete(GroupId::ALL), now).unwrap();
    t.commit();
    phase("5 purge");
    while policy.purge() {}
    phase("6 del");
    b.apply(&[every], now).unwrap();
    phase("6 purge");
    while policy.purge() {}
    report();
}
