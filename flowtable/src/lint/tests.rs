use super::*;
use crate::flow_mod::FlowMod;
use crate::text::{ParseContext, parse_flow};
use crate::types::OfVersion;

fn findings(rules: &[&str]) -> Vec<(usize, String)> {
    let context = ParseContext { version: OfVersion::OpenFlow13, ..ParseContext::default() };
    let rules: Vec<FlowMod> = rules.iter().map(|r| parse_flow(r, &context).expect(r)).collect();
    let rules: Vec<LintRule<'_>> = rules
        .iter()
        .map(|r| LintRule {
            table: r.table.unwrap_or_default(),
            priority: r.priority,
            matching: &r.matching,
            actions: &r.actions,
        })
        .collect();
    let around =
        Surroundings { ports: Some([OfPort(1), OfPort(2)].into()), groups: Some(BTreeSet::new()) };
    let found = lint(&rules, &around);
    found.into_iter().map(|f| (f.rule, f.problem.name().to_owned())).collect()
}

fn check(rules: &[&str], expected: &[(usize, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(i, p)| (*i, (*p).to_owned())).collect();
    assert_eq!(findings(rules), expected, "{rules:?}");
}

#[test]
fn a_rule_behind_a_wider_one_never_matches() {
    check(&["priority=9,ip,actions=1", "priority=5,tcp,actions=2"], &[(1, "shadowed")]);
    check(&["priority=5,ip,actions=1", "priority=9,tcp,actions=2"], &[]);
    check(&["table=1,priority=9,ip,actions=1", "priority=5,tcp,actions=2"], &[]);
}

#[test]
fn overlap_at_one_priority_matters_if_the_actions_differ() {
    let (a, b) = ("priority=5,tcp,tp_dst=80", "priority=5,ip,nw_dst=10.0.0.1");
    check(&[&format!("{a},actions=1"), &format!("{b},actions=2")], &[(1, "ambiguous")]);
    check(&[&format!("{a},actions=1"), &format!("{b},actions=1")], &[]);
    check(&["priority=5,tcp,actions=1", "priority=5,udp,actions=2"], &[]);
}

#[test]
fn outputs_must_lead_somewhere() {
    check(&["actions=1,77"], &[(0, "missing_port")]);
    check(&["actions=normal,in_port,local,controller"], &[]);
    check(&["actions=group:5"], &[(0, "missing_group")]);
    check(&["ip,actions=goto_table:5"], &[(0, "empty_table")]);
    check(&["ip,actions=write_actions(output:9)"], &[(0, "missing_port")]);
}

#[test]
fn a_way_back_to_the_same_table_is_a_loop() {
    check(&["actions=resubmit(,0)"], &[(0, "loop")]);
    check(&["actions=resubmit(,1)", "table=1,actions=resubmit(,0)"], &[(1, "loop")]);
    check(&["actions=resubmit(,1)", "table=1,actions=2"], &[]);
}

#[test]
fn problems_read_as_sentences() {
    let looped = Problem::Loop { tables: vec![TableId::new(1).unwrap(), TableId::default()] };
    assert_eq!(looped.to_string(), "its packets can go round: tables 1 → 0 → 1");
}
