//! Rules as the benchmarks need them, in few words.

use flow::action::Action;
use flow::flow_mod::{Command, FlowMod};
use flow::types::{MacAddr, OfPort, PortNo, TableId};
use flow::{Match, PipelineKey, PipelineMask};
use flowtable::policy::BridgeId;
use flowtable::policy::Policy;
use flowtable::policy::ports::PortInfo;
use packet::wire::eth_type;
use std::time::Duration;

/// Adds a rule to a table.
pub fn add(table: u8, priority: u16, matching: Match, actions: Vec<Action>) -> FlowMod {
    let table = TableId::new(table);
    FlowMod { table, ..FlowMod::new(Command::Add, priority, matching, actions) }
}

/// Deletes exactly one rule.
pub fn delete(table: u8, priority: u16, matching: Match) -> FlowMod {
    FlowMod { command: Command::DeleteStrict, ..add(table, priority, matching, Vec::new()) }
}

/// A match on what `set` writes into key and mask.
pub fn matching(set: impl FnOnce(&mut PipelineKey, &mut PipelineMask)) -> Match {
    let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
    set(&mut key, &mut mask);
    Match::new(&key, &mask)
}

/// The actions `output:PORT`.
pub fn output(port: u16) -> Vec<Action> {
    vec![Action::output(OfPort(port))]
}

/// `pop_mpls:0x0800,resubmit(,1)`: table 1 needs to see what is behind the label, so the frame is looked
/// up a second time.
pub fn pop_label() -> Vec<Action> {
    let table = TableId::new(1);
    vec![Action::PopMpls(eth_type::IPV4), Action::Resubmit { in_port: None, table }]
}

/// Nothing but ports 1 to `ports` with the datapath's numbers 0 and up.
pub fn policy(ports: u16) -> Policy {
    let policy = Policy::with_one_bridge(7);
    policy.bridge(BridgeId::FIRST).with_ports(|table| {
        for n in 0..ports {
            let mac = MacAddr([2, 0, 0, 0, 0xff, n as u8]);
            table.insert(PortInfo::new(PortNo(n), OfPort(n + 1), &format!("null{n}"), mac));
        }
    });
    policy
}

/// A pipeline with `ports` ports and these rules.
///
/// # Panics
/// If a rule is refused.
pub fn pipeline_with(ports: u16, rules: &[FlowMod]) -> Policy {
    let policy = policy(ports);
    let mut transaction = policy.bridge(BridgeId::FIRST).begin();
    transaction.apply_all(rules, Duration::ZERO).expect("the rules are valid");
    transaction.commit();
    policy
}
