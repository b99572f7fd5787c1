//! The target for whole files of groups and rules, as `check`, `lint` and a switch read them.

use flow::flow_mod::FlowMod;
use flow::key::FlowKey;
use flow::lint::{LintRule, Surroundings, lint};
use flow::text::{
    GroupCommand, ParseContext, parse_flow_file_line, parse_group_file_line, parse_match,
    strip_comment,
};
use flow::types::{MacAddr, OfPort, OfVersion, PortNo};
use flowtable::policy::ports::PortInfo;
use flowtable::policy::xlate::MAX_STEPS;
use flowtable::policy::{BridgeId, Policy};
use std::time::Duration;

/// How many comparisons `lint` may make for one input.
const LINT_STEPS: u64 = 100_000;
/// The packets whose translation is bounded, whatever the file says.
const PACKETS: [&str; 4] = ["arp", "udp,nw_ttl=64", "tcp6,dl_vlan=5", "mpls"];

/// Target: reads text as a file, applies every line that is a change of groups or rules to a policy, compares
/// the rules with each other, and translates packets. No translation may exceed its budget.
///
/// The first byte of the input chooses version and leniency. The rest is the text.
pub fn file(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let version = match choice & 3 {
        0 => OfVersion::OpenFlow10,
        1 => OfVersion::OpenFlow13,
        _ => OfVersion::OpenFlow15,
    };
    let context = ParseContext { version, lenient: choice & 0x80 != 0, ..ParseContext::default() };
    let policy = policy();
    let bridge = policy.bridge(BridgeId::FIRST);
    let mut rules = Vec::new();
    for line in text.lines().filter_map(strip_comment) {
        if let Ok(change) = parse_group_file_line(line, GroupCommand::Add, &context) {
            let mut transaction = bridge.begin();
            if transaction.apply_group(&change, Duration::ZERO).is_ok() {
                transaction.commit();
            }
        }
        match parse_flow_file_line(line, &context) {
            Ok(rule) => {
                let _ = bridge.apply(std::slice::from_ref(&rule), Duration::ZERO);
                rules.push(rule);
            }
            Err(error) => assert!(error.render_in_file("f", 1, line).starts_with("f:1: ")),
        }
    }
    compare(&rules);
    for packet in PACKETS {
        let key = *parse_match(packet, &ParseContext::default()).expect("it is ours").key();
        let key = FlowKey { port_no: PortNo(1).into(), headers: key.headers, ..FlowKey::default() };
        let steps = policy.translate(&key).steps;
        // Datapath actions count as well, half as many at most; and the last step may be a list that is copied.
        assert!(steps <= 2 * MAX_STEPS, "{packet}: {steps} steps");
    }
}

fn compare(rules: &[FlowMod]) {
    let rules: Vec<LintRule<'_>> = rules.iter().map(LintRule::from).collect();
    for finding in lint(&rules, &Surroundings::default(), LINT_STEPS).findings {
        assert!(finding.rule < rules.len());
        assert!(finding.problem.others().len() < 10 && !finding.problem.to_string().is_empty());
    }
}

/// A policy with one bridge of four ports.
fn policy() -> Policy {
    let policy = Policy::with_one_bridge(1);
    policy.bridge(BridgeId::FIRST).with_ports(|ports| {
        for n in 1..=4 {
            ports.insert(PortInfo::new(PortNo(n), OfPort(n), "p", MacAddr::default()));
        }
    });
    policy
}
