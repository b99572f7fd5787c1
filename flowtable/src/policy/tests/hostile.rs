//! Rules and groups that make a packet cause work without end: the work is bounded, whatever they say.

use super::groups::change;
use super::*;
use crate::policy::xlate::Translation;
use crate::policy::xlate::budget::{MAX_EMITTED, MAX_STEPS};
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::RangeInclusive;
use std::time::Instant;

/// The bytes that a translation may allocate, whether it frees them again or not: for each step, which copies
/// at most 16 elements of a list or emits an action, and for what every translation allocates.
const BYTES_A_STEP: usize = 1024;
const BASE: usize = 4096;

/// Datapath actions, nested ones included.
fn emitted(actions: &[DpAction]) -> usize {
    let nested = |action: &DpAction| match action {
        DpAction::Clone(inner) => emitted(inner),
        DpAction::CheckLen { longer, fits, .. } => emitted(longer) + emitted(fits),
        _ => 0,
    };
    actions.iter().map(|action| 1 + nested(action)).sum()
}

/// Translates a packet of this flow, and checks that the translation stays within its bounds.
fn bounded(policy: &Policy, flow: &str) -> Translation {
    let mut translation = Translation::default();
    let key = key(flow);
    let allocated = allocation_counter::measure(|| translation = policy.translate(&key));
    let bytes = allocated.bytes_total as usize;
    assert!(bytes <= BASE + BYTES_A_STEP * translation.steps, "{bytes} bytes");
    // The step that spends the budget may be a list that is copied, and a flood sends to four ports.
    let most = MAX_STEPS + MAX_STEPS / 8 + MAX_EMITTED + 64;
    assert!(translation.steps <= most, "{} steps", translation.steps);
    assert!(emitted(&translation.actions) <= MAX_EMITTED + 64);
    let lists = [translation.rules.len(), translation.groups.len(), translation.misses.len()];
    assert!(lists.iter().all(|len| *len <= MAX_STEPS), "{lists:?}");
    translation
}

fn assert_exhausted(policy: &Policy, flow: &str) -> Translation {
    let translation = bounded(policy, flow);
    assert_eq!(translation.drop, Some(DropReason::TooManyActions));
    assert_eq!(translation.actions, []);
    translation
}

/// Adds the groups of a chain: one that is given, and one for each of `numbers`, which refers
/// to the group before it.
fn add_chain(
    policy: &Policy,
    first: &str,
    numbers: RangeInclusive<u32>,
    group: impl Fn(u32) -> String,
) {
    let groups: Vec<String> = std::iter::once(first.to_owned()).chain(numbers.map(group)).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    add_groups(policy, &groups);
}

fn repeated(what: &str, n: usize) -> String {
    vec![what; n].join(",")
}

#[test]
fn branches_that_double_are_bounded_and_the_rule_is_named() {
    let list = repeated("check_pkt_larger(100)->reg0[0]", 40);
    let p = policy(&[&format!("priority=7,actions={list},output:2")]);
    let translation = assert_exhausted(&p, "in_port=1,tcp");
    assert_eq!(translation.exhausted_by.unwrap().priority, 7);
    // Eight branches are 256 lists, which the budget allows.
    let list = repeated("check_pkt_larger(100)->reg0[0]", 8);
    let p = policy(&[&format!("actions={list},output:2")]);
    assert_eq!(bounded(&p, "in_port=1,tcp").drop, None);
}

/// NORMAL looks through what the same translation has learned.
#[test]
fn hosts_that_branches_learn_are_paid_for() {
    let same = repeated("check_pkt_larger(100)->reg0[0]", 10);
    let p = policy(&[&format!("actions={same},NORMAL")]);
    assert_eq!(bounded(&p, "in_port=1,tcp,dl_src=02:00:00:00:00:01").learn.len(), 1);
    // Each branch has a source address of its own.
    let other: Vec<String> =
        (0..20).map(|bit| format!("check_pkt_larger(100)->NXM_OF_ETH_SRC[{bit}]")).collect();
    let p = policy(&[&format!("actions={},NORMAL", other.join(","))]);
    let translation = assert_exhausted(&p, "in_port=1,tcp,dl_src=02:00:00:00:00:01");
    assert!(translation.learn.len() < 2000, "{} hosts", translation.learn.len());
}

#[test]
fn groups_that_double_are_added_quickly_and_bounded() {
    let p = policy(&[]);
    add_chain(&p, "group_id=0,type=all,bucket=output:2", 1..=60, |n| {
        let bucket = format!("bucket=group:{}", n - 1);
        format!("group_id={n},type=all,{bucket},{bucket}")
    });
    add(&p, &["table=1,actions=group:60", "actions=resubmit(,1),output:3"]).unwrap();
    let translation = assert_exhausted(&p, "in_port=1,tcp");
    assert_eq!(translation.exhausted_by.unwrap().table.get(), 1);
}

#[test]
fn long_lists_that_lead_to_each_other_are_bounded() {
    for list in [
        repeated("resubmit(,1)", 4000),
        repeated("clone(resubmit(,1))", 2000),
        repeated("resubmit(,2)", 4000),
        repeated("resubmit(,3)", 4000),
    ] {
        let pushes = repeated("push:reg0[]", 4000);
        let p = policy(&[
            &format!("actions={list}"),
            &format!("table=1,actions={pushes}"),
            &format!("table=2,actions={}", repeated("set_field:1->reg0", 2000)),
            &format!("table=3,actions=write_actions({})", repeated("set_field:1->reg0", 2000)),
        ]);
        let translation = bounded(&p, "in_port=1,tcp");
        assert!(translation.drop.is_some(), "{list:.20}");
    }
}

/// As in Open vSwitch, which counts the actions of clones, too.
#[test]
fn resubmits_behind_many_datapath_actions_are_left_out() {
    let list = repeated("resubmit(,1)", 10);
    let clones = repeated("clone(output(port=2,max_len=100))", 1000);
    let p = policy(&[&format!("actions={list},output:3"), &format!("table=1,actions={clones}")]);
    let translation = bounded(&p, "in_port=1,tcp");
    // A clone is two datapath actions with its output, so that the sixth resubmit has 10,000 in front of it.
    assert_eq!((translation.drop, translation.actions.len()), (None, 5 * 1000 + 1));
}

/// Each state that waits for another pass has a copy of the rest of the list, and of all lists in it.
#[test]
fn lists_that_wait_for_another_pass_are_paid_for_with_all_that_they_contain() {
    let sets = repeated("set_field:1->reg0", 1900);
    let p = policy(&[
        &format!("actions={}", repeated("resubmit(,1)", 3000)),
        &format!("table=1,mpls,actions=clone(pop_mpls:0x0800,resubmit(,2),clone({sets}))"),
        "table=2,actions=output:2",
    ]);
    assert_exhausted(&p, "in_port=1,mpls,mpls_label=5,mpls_bos=1");
}

/// Each state that waits for another pass has a copy of the stack.
#[test]
fn stacks_that_wait_for_another_pass_are_paid_for() {
    let p = policy(&[
        &format!("actions={},resubmit(,1)", repeated("push:reg1[]", 4000)),
        &format!("table=1,actions={}", repeated("resubmit(,2)", 4000)),
        "table=2,mpls,actions=clone(push:reg1[],pop_mpls:0x0800,resubmit(,3))",
        "table=3,actions=output:2",
    ]);
    assert_exhausted(&p, "in_port=1,mpls,mpls_label=5,mpls_bos=1");
}

#[test]
fn the_stack_is_bounded_at_every_push() {
    let p = policy(&[
        &format!("actions={}", repeated("resubmit(,1)", 2)),
        &format!("table=1,actions={}", repeated("push:reg0[]", 4000)),
    ]);
    assert_eq!(bounded(&p, "in_port=1,tcp").drop, Some(DropReason::StackTooDeep));
}

#[test]
fn circles_of_watching_groups_are_refused() {
    let p = policy(&[]);
    let ff = |id: u32, watched: u32| {
        format!("add group_id={id},type=ff,bucket=watch_group:{watched},output:2")
    };
    let refused = |id: u32, watched: u32| {
        assert_eq!(change(&p, &ff(id, watched), false), Err(FlowModError::WatchLoop(id)));
    };
    refused(1, 1);
    change(&p, &ff(1, 2), false).unwrap();
    change(&p, &ff(2, 3), false).unwrap();
    refused(3, 1);
    refused(3, 2);
    change(&p, &ff(3, 4), false).unwrap();
    // A group may execute a group that watches it.
    change(&p, "add group_id=9,type=all,bucket=group:8", false).unwrap();
    change(&p, "add group_id=8,type=ff,bucket=watch_group:9,watch_port:1,output:2", false).unwrap();
    let error = change(&p, "add group_id=7,type=all,bucket=clone(group:7)", false);
    assert_eq!(error, Err(FlowModError::GroupLoop(7)));
}

#[test]
fn the_life_of_groups_that_watch_each_other_is_looked_at_once() {
    let p = policy(&[]);
    add_chain(&p, "group_id=1,type=ff,bucket=watch_port:2,output:2", 2..=2000, |n| {
        // The port 9 does not exist, so that the first bucket alone does not decide.
        let bucket = format!("bucket=watch_port:9,watch_group:{},output:3", n - 1);
        format!("group_id={n},type=ff,{bucket},{bucket}")
    });
    add(&p, &["actions=group:2000"]).unwrap();
    let alive = bounded(&p, "in_port=1,tcp");
    assert_eq!(outputs(&alive.actions), [3]);
    assert!(alive.steps < 10_000, "{} steps", alive.steps);
    p.bridge(BridgeId::FIRST).with_ports(|ports| ports.remove(OfPort(2)));
    let dead = bounded(&p, "in_port=1,tcp");
    assert_eq!(dead.drop, Some(DropReason::NoLiveBucket));
    assert!(dead.steps < 10_000, "{} steps", dead.steps);
}

/// Later translations look up what the first one found out, until groups or ports change.
#[test]
fn the_life_of_a_group_is_found_out_once_for_each_change() {
    let p = policy(&[]);
    add_chain(&p, "group_id=1,type=ff,bucket=watch_port:2,output:2", 2..=1000, |n| {
        format!("group_id={n},type=select,bucket=watch_group:{},output:3", n - 1)
    });
    add(&p, &["actions=group:1000"]).unwrap();
    let check = |is_first: bool, sent_to: &[u16]| {
        let translation = bounded(&p, "in_port=1,tcp");
        assert_eq!(outputs(&translation.actions), sent_to);
        assert_eq!(translation.steps > 1000, is_first, "{} steps", translation.steps);
    };
    check(true, &[3]);
    check(false, &[3]);
    // Rules have nothing to do with it, nor has a change of groups that is refused.
    add(&p, &["table=9,actions=drop"]).unwrap();
    let transaction = {
        let context = ParseContext { version: OfVersion::OpenFlow15, ..context(Command::Add) };
        let request =
            parse_group("group_id=5000,type=all", flow::text::GroupCommand::Add, &context).unwrap();
        let bridge = p.bridge(BridgeId::FIRST);
        let mut transaction = bridge.begin();
        transaction.apply_group(&request, NOW).unwrap();
        check(false, &[3]);
        transaction
    };
    drop(transaction);
    check(false, &[3]);
    p.bridge(BridgeId::FIRST).with_ports(|ports| ports.get_mut(OfPort(2)).unwrap().link_up = false);
    check(true, &[]);
    check(false, &[]);
    change(&p, "modify group_id=1,type=ff,bucket=watch_port:1,output:2", false).unwrap();
    check(true, &[3]);
    check(false, &[3]);
}

/// A chain that is longer than the budget allows is found out by several translations, and
/// none of them is cached.
#[test]
fn a_budget_that_ends_among_watched_groups_is_no_verdict_for_others() {
    let p = policy(&[]);
    let many = repeated("bucket=watch_port:9,output:2", 900);
    add_chain(&p, &format!("group_id=1,type=ff,{many},bucket=watch_port:1,2"), 2..=100, |n| {
        format!("group_id={n},type=ff,{many},bucket=watch_group:{},output:3", n - 1)
    });
    // The budget is enough for about 72 of these groups.
    let all: String = (1..=100).map(|n| format!("group:{n},")).collect();
    add(&p, &[&format!("udp,actions={all}")]).unwrap();
    let first = assert_exhausted(&p, "in_port=1,udp");
    assert!(first.is_passing);
    let second = bounded(&p, "in_port=1,udp");
    assert_eq!((second.drop, second.is_passing), (None, false));
}

/// Actions that lead to the tables 0 to 3, to the groups 0 to 3, and to themselves.
fn action() -> impl Strategy<Value = String> {
    let simple = prop_oneof![
        (0u8..4).prop_map(|table| format!("resubmit(,{table})")),
        (0u8..4).prop_map(|group| format!("group:{group}")),
        (1u8..5).prop_map(|port| format!("output:{port}")),
        Just("NORMAL".to_owned()),
        Just("ALL".to_owned()),
        Just("TABLE".to_owned()),
        Just("check_pkt_larger(100)->reg0[0]".to_owned()),
        Just("push:xxreg0[],push:xxreg1[]".to_owned()),
        Just("pop:reg1[]".to_owned()),
        Just("dec_ttl".to_owned()),
        Just("set_field:5->reg2".to_owned()),
        Just("push_vlan:0x8100".to_owned()),
        Just("push_mpls:0x8847".to_owned()),
        Just("controller(userdata=01.02.03)".to_owned()),
    ];
    let nested = simple.prop_recursive(3, 12, 4, |inner| {
        vec(inner, 1..4).prop_map(|list| format!("clone({})", list.join(",")))
    });
    (nested, prop_oneof![9 => Just(1usize), 1 => 1usize..400])
        .prop_map(|(action, n)| repeated(&action, n))
}

fn actions() -> impl Strategy<Value = String> {
    vec(action(), 1..8).prop_map(|list| list.join(","))
}

fn hostile_policy() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let rule = (0u8..4, actions(), proptest::option::of(vec(action(), 1..4)));
    let rules = vec(rule, 1..8).prop_map(|rules| {
        let text = |(table, actions, set): (u8, String, Option<Vec<String>>)| {
            let set = set.map_or(String::new(), |set| format!(",write_actions({})", set.join(",")));
            format!("table={table},ip,actions={actions}{set}")
        };
        rules.into_iter().map(text).collect()
    });
    let group = (0u8..4, actions(), 1usize..40, proptest::option::of(0u8..4));
    let groups = vec(group, 0..5).prop_map(|groups| {
        let text = |(id, actions, n, watched): (u8, String, usize, Option<u8>)| {
            let (kind, watch) = match watched {
                Some(group) => ("ff", format!("watch_group:{group},watch_port:9,")),
                None => ("all", String::new()),
            };
            let bucket = format!(",bucket={watch}actions={actions}");
            format!("group_id={id},type={kind}{}", bucket.repeat(n))
        };
        groups.into_iter().map(text).collect()
    });
    (rules, groups)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_rules_and_groups_make_a_translation_exceed_its_budget((rules, groups) in hostile_policy()) {
        let p = policy(&[]);
        let began = Instant::now();
        for group in &groups {
            // Groups that exist, are in a circle or are too large are refused.
            let _ = try_change(&p, group);
        }
        for rule in &rules {
            if let Ok(request) = parse_flow(rule, &context(Command::Add)) {
                let _ = p.bridge(BridgeId::FIRST).apply(&[request], NOW);
            }
        }
        bounded(&p, "in_port=1,tcp");
        bounded(&p, "in_port=2,udp,dl_vlan=5");
        prop_assert!(began.elapsed() < Duration::from_secs(20));
    }
}

/// Adds a group, unless the text or the switch refuses it.
fn try_change(policy: &Policy, group: &str) -> Option<()> {
    let context = ParseContext { version: OfVersion::OpenFlow15, ..context(Command::Add) };
    let request = parse_group(group, flow::text::GroupCommand::Add, &context).ok()?;
    let mut transaction = policy.bridge(BridgeId::FIRST).begin();
    transaction.apply_group(&request, NOW).ok()?;
    transaction.commit();
    Some(())
}
