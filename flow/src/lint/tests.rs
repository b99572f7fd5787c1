use super::*;
use crate::flow_mod::FlowMod;
use crate::text::{ParseContext, parse_flow};
use crate::types::OfVersion;

fn parse(rules: &[&str]) -> Vec<FlowMod> {
    let context = ParseContext { version: OfVersion::OpenFlow13, ..ParseContext::default() };
    rules.iter().map(|r| parse_flow(r, &context).expect(r)).collect()
}

fn report(rules: &[FlowMod], steps: u64) -> Report {
    let rules: Vec<LintRule<'_>> = rules.iter().map(LintRule::from).collect();
    let around =
        Surroundings { ports: Some([OfPort(1), OfPort(2)].into()), groups: Some(BTreeSet::new()) };
    lint(&rules, &around, steps)
}

fn findings(rules: &[&str]) -> Vec<(usize, String)> {
    let report = report(&parse(rules), MAX_STEPS);
    assert!(report.unfinished.is_empty());
    report.findings.into_iter().map(|f| (f.rule, f.problem.name().to_owned())).collect()
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
fn a_packet_is_not_new_and_established() {
    let rule = |state: &str, port| format!("priority=5,ip,ct_state={state},actions={port}");
    check(&[&rule("+trk+new", 1), &rule("+trk+est", 2), &rule("+trk+inv", 1)], &[]);
    check(&[&rule("+trk+new", 1), &rule("+trk+rel", 2)], &[(1, "ambiguous")]);
}

#[test]
fn conjunctions_hide_no_rules_and_need_all_their_clauses() {
    let first = "priority=9,ip,actions=conjunction(7,1/2)";
    let second = "priority=9,tcp,actions=conjunction(7,2/2)";
    let winner = "priority=9,conj_id=7,actions=output:2";
    check(&[first, second, "priority=5,ip,nw_src=10.0.0.1,actions=1", winner], &[]);
    check(&[first, winner], &[(0, "missing_clause")]);
    check(&[first, second], &[(0, "idle_conjunction")]);
    let of_another_priority = "priority=8,tcp,actions=conjunction(7,2/2)";
    let expected = [(0, "missing_clause"), (1, "missing_clause")];
    check(&[first, of_another_priority, winner], &expected);
}

#[test]
fn the_first_rule_that_overlaps_is_named() {
    let rules = parse(&[
        "priority=5,tcp,tp_src=1,actions=1",
        "priority=5,tcp,tp_src=2,actions=2",
        "priority=5,ip,nw_dst=10.0.0.1,actions=1",
        "priority=5,ip,nw_src=10.0.0.1,actions=1",
    ]);
    let withs: Vec<_> = report(&rules, MAX_STEPS).findings.into_iter().map(|f| f.problem).collect();
    assert_eq!(withs, [Problem::Ambiguous { with: 1 }, Problem::Ambiguous { with: 1 }]);
}

#[test]
fn a_rule_that_is_hidden_is_not_ambiguous_too() {
    let hidden = "priority=5,tcp,tp_dst=80,actions=2";
    check(
        &["priority=9,tcp,actions=1", hidden, "priority=5,ip,nw_dst=10.0.0.1,actions=1"],
        &[(1, "shadowed")],
    );
}

#[test]
fn a_rule_that_is_given_twice_is_replaced() {
    check(&["tcp,actions=1", "udp,actions=1", "tcp,actions=2"], &[(0, "replaced")]);
    check(&["tcp,actions=1", "table=1,tcp,actions=1", "priority=1,udp,actions=1"], &[]);
}

/// The problems found by comparing each rule with each other rule, straight from the definitions: the oracle.
fn by_comparing_all(rules: &[FlowMod]) -> Vec<(usize, &'static str)> {
    let is_shadowed = |r: &FlowMod| {
        rules.iter().any(|b| b.priority > r.priority && b.matching.covers(&r.matching))
    };
    let mut found = Vec::new();
    for (i, rule) in rules.iter().enumerate() {
        if is_shadowed(rule) {
            found.push((i, "shadowed"));
        } else if rules[..i].iter().any(|b| {
            b.priority == rule.priority
                && b.actions != rule.actions
                && b.matching.overlaps(&rule.matching)
                && !is_shadowed(b)
        }) {
            found.push((i, "ambiguous"));
        }
    }
    found
}

#[test]
fn masks_find_what_comparing_all_rules_finds() {
    let mut texts = Vec::new();
    // A fixed seed: every run sees the same rules.
    let mut state = 1u32;
    let mut random = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % n
    };
    let mut seen = BTreeSet::new();
    while texts.len() < 300 {
        let mut matching = format!("priority={},ip", random(4));
        for (field, bits) in [("nw_src", random(3)), ("nw_dst", random(3))] {
            if bits > 0 {
                let (second, third) = (random(2), random(2) * (bits - 1));
                matching += &format!(",{field}=10.{second}.{third}.0/{}", bits * 8 + 8);
            }
        }
        let context = ParseContext { version: OfVersion::OpenFlow13, ..ParseContext::default() };
        let text = format!("{matching},actions={}", 1 + random(2));
        let rule = parse_flow(&text, &context).expect(&text);
        if seen.insert(format!("{} {:?}", rule.priority, rule.matching)) {
            texts.push(text);
        }
        if seen.len() > 150 {
            break;
        }
    }
    let rules = parse(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let found: Vec<_> =
        report(&rules, MAX_STEPS).findings.iter().map(|f| (f.rule, f.problem.name())).collect();
    assert_eq!(found, by_comparing_all(&rules));
    assert!(found.iter().any(|f| f.1 == "ambiguous") && found.iter().any(|f| f.1 == "shadowed"));
}

#[test]
fn a_check_that_takes_too_long_is_given_up_and_reported() {
    let rules = parse(&["priority=9,ip,actions=1", "priority=5,tcp,actions=2"]);
    let report = report(&rules, 1);
    assert_eq!(report.unfinished, ["rules that hide or overlap each other"]);
    assert_eq!(report.findings, []);
}

#[test]
fn outputs_must_lead_somewhere() {
    check(&["actions=1,77"], &[(0, "missing_port")]);
    check(&["actions=normal,in_port,controller"], &[]);
    check(&["actions=local"], &[(0, "missing_port")]);
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
fn a_resubmit_that_cannot_come_back_is_no_loop() {
    // The resubmit pretends another ingress port, which the rule does not match.
    check(&["in_port=1,actions=resubmit(2,0)", "in_port=2,actions=1"], &[]);
    check(&["in_port=1,actions=resubmit(2,0)", "in_port=2,actions=resubmit(1,0)"], &[(1, "loop")]);
    // The rule sets a register that it does not match again.
    check(
        &["priority=9,reg0=1,actions=2", "priority=1,actions=set_field:1->reg0,resubmit(,0)"],
        &[],
    );
    // The second rule matches other packets than the first one sends.
    check(&["tcp,actions=resubmit(,1)", "table=1,udp,actions=resubmit(,0)"], &[]);
    check(&["ip,actions=dec_ttl,resubmit(,0)"], &[(0, "loop")]);
    check(&["ip,nw_ttl=1,actions=mod_nw_ttl:2,resubmit(,0)", "udp,nw_ttl=2,actions=1"], &[]);
    check(&["actions=clone(resubmit(,0))"], &[(0, "loop")]);
}

#[test]
fn problems_read_as_sentences() {
    let tables = vec![TableId::new(1).unwrap(), TableId::default()];
    let looped = Problem::Loop { rules: vec![5, 3], tables, len: 2 };
    assert_eq!(looped.to_string(), "its packets can go round: tables 1 → 0 → 1");
    assert_eq!(looped.others(), [3]);
}

#[test]
fn a_long_loop_names_some_of_its_rules_and_takes_short() {
    // Every rule leads to every rule, so that there are 36 million ways from one to the next.
    let n = 6000;
    let rules: Vec<FlowMod> = (0..n)
        .map(|i| {
            let text = format!("priority=5,reg0={i},actions=pop:NXM_NX_REG0[],resubmit(,0)");
            parse_flow(&text, &ParseContext::default()).expect(&text)
        })
        .collect();
    let rules: Vec<LintRule<'_>> = rules.iter().map(LintRule::from).collect();
    let report = lint(&rules, &Surroundings::default(), MAX_STEPS);
    assert_eq!(report.unfinished, [] as [&str; 0]);
    assert_eq!(report.findings.len(), n);
    let mut unnamed = 0;
    for finding in &report.findings {
        let Problem::Loop { rules, tables, .. } = &finding.problem else { panic!("{finding:?}") };
        assert!(rules.len() <= 10 && rules.len() == tables.len());
        assert_eq!(rules[0], finding.rule);
        assert!(finding.problem.to_string().len() < 200);
        unnamed = unnamed.max(finding.problem.unnamed());
    }
    assert_eq!(unnamed, n - 10);
}

#[test]
fn a_learner_needs_a_table_that_packets_come_to() {
    let learner =
        "actions=learn(table=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])";
    check(&[learner], &[(0, "idle_learning")]);
    // A table that packets add rules to is not empty.
    check(&[&format!("{learner},resubmit(,1)")], &[]);
    check(&["actions=learn(table=0,priority=9,NXM_OF_ETH_SRC[]),output:1"], &[]);
}

#[test]
fn what_was_found_of_a_connection_is_to_be_asked_for() {
    let look_up = "priority=9,ip,ct_state=-trk,actions=ct(table=1)";
    let unused = [(0, "unused_connection")];
    check(&[look_up, "table=1,ip,actions=output:1"], &unused);
    check(&[look_up, "table=1,ip,ct_state=+trk+est,actions=output:1"], &[]);
    check(&[look_up, "table=1,ip,actions=move:NXM_NX_CT_MARK[]->NXM_NX_REG0[],output:1"], &[]);
    let further = ["table=1,actions=resubmit(,2)", "table=2,ct_mark=1,actions=output:1"];
    check(&[look_up, further[0], further[1]], &[]);
    check(&[look_up, further[0], "table=2,actions=output:1"], &unused);
    check(&["priority=9,ip,actions=ct(nat,table=1)", "table=1,ip,actions=output:1"], &[]);
    check(&["priority=9,ip,actions=ct(commit,table=1)", "table=1,ip,actions=output:1"], &[]);
}

#[test]
fn somebody_translates_answers_back() {
    let look_up = "priority=9,ip,ct_state=-trk,actions=ct(table=1)";
    let commit =
        "table=1,priority=9,ip,ct_state=+trk+new,actions=ct(commit,nat(src=192.0.2.1)),output:2";
    let answers = "table=1,priority=9,ip,ct_state=+trk+est,actions=output:1";
    check(&[look_up, commit, answers], &[(1, "one_way_nat")]);
    let back = "priority=9,ip,ct_state=-trk,actions=ct(nat,table=1)";
    check(&[back, commit, answers], &[]);
    let elsewhere = back.replace("nat,", "nat,zone=1,");
    check(&[&elsewhere, commit, answers], &[(1, "one_way_nat")]);
    let somewhere = back.replace("nat,", "nat,zone=NXM_NX_REG0[0..15],");
    check(&[&somewhere, commit, answers], &[]);
    check(&["ip,actions=ct(commit,nat(src=192.0.2.1),table=1)", answers], &[]);
}
