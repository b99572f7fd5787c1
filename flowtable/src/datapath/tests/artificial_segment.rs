//! A key can grow: a rare segment of 56 words, which no frame has, costs frames without it nothing, and masks,
//! hashes and dependencies work with it.
//!
//! With this segment a key has more than 64 words, so that a set or a number with room for 64 of them shows up,
//! too. The tests need a key of another size, and so a build of their own:
//! `cargo test -p flowtable --features artificial-segment`.

use crate::datapath::cached_flow::{CachedFlow, MaskedHash};
use crate::datapath::signatures::KeyHasher;
use crate::policy::changes::RecentRules;
use crate::policy::tests::policy;
use crate::policy::{BridgeId, Policy};
use flow::action::Action;
use flow::flow_mod::{Command, FlowMod};
use flow::key::{FLOW_WORDS, HotKey, KeyRef, RareHeaders, Segment};
use flow::types::{OfPort, PortNo, TableId};
use flow::verdict::DpAction;
use flow::{FlowKey, Match, PipelineKey, PipelineMask};
use std::time::Duration;

const _: () = assert!(FLOW_WORDS > 64);

/// The key of a frame that has the segment, with a value in its last word.
fn key(value: u64) -> FlowKey {
    let mut hot = HotKey { port_no: PortNo(0).into(), ..HotKey::default() };
    hot.dl_type.set(0x88cc);
    let mut rare = RareHeaders::default();
    hot.begin(&mut rare, Segment::ARTIFICIAL);
    rare.artificial[1][27].set(value);
    KeyRef { hot: &hot, rare: &rare }.join()
}

/// Adds to a table a rule on the last word of the segment.
fn add(policy: &Policy, table: u8, value: u64, actions: Vec<Action>) {
    let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
    key.headers.artificial[1][27].set(value);
    mask.bits.headers.artificial[1][27].set(u64::MAX);
    let rule = FlowMod::new(Command::Add, 9, Match::new(&key, &mask), actions);
    let rule = FlowMod { table: TableId::new(table), ..rule };
    policy.bridge(BridgeId::FIRST).apply(&[rule], Duration::ZERO).unwrap();
}

fn output(port: u16) -> Vec<Action> {
    vec![Action::output(OfPort(port))]
}

fn cached(policy: &Policy, key: &FlowKey) -> CachedFlow {
    let translation = policy.translate(key);
    let watched = policy.changes().watch(
        &translation.hosts,
        &translation.rules_to_learn,
        &translation.depends,
    );
    let generation = policy.generation();
    CachedFlow::new(key, translation, generation, Duration::ZERO, MaskedHash::default(), watched)
}

#[test]
fn a_frame_without_the_segment_does_not_pay_for_it() {
    assert_eq!(size_of::<HotKey>(), 72, "what a batch holds for each frame, close together");
    let mut hot = HotKey { port_no: PortNo(0).into(), ..HotKey::default() };
    hot.dl_type.set(0x0800);
    let (none, mut before) = (RareHeaders::default(), RareHeaders::default());
    // What another frame has left in the array is not looked at.
    before.artificial[1][27].set(7);
    let [clean, dirty] = [&none, &before].map(|rare| KeyRef { hot: &hot, rare });
    let hasher = KeyHasher::new(1);
    assert_eq!(hasher.hash(clean), hasher.hash(dirty));
    assert_eq!(clean.join(), dirty.join());
    let p = policy(&["priority=1,actions=3"]);
    add(&p, 0, 7, output(2));
    let flow = cached(&p, &clean.join());
    assert!(flow.covers(clean) && flow.covers(dirty));
    assert_eq!(*flow.actions, [DpAction::Output(PortNo(2))]);
}

#[test]
fn masks_and_hashes_tell_values_in_the_segment_apart() {
    let p = policy(&["priority=1,actions=3"]);
    add(&p, 0, 7, output(2));
    let [seven, eight] = [7, 8].map(key);
    let flows = [&seven, &eight].map(|key| cached(&p, key));
    assert_eq!(*flows[0].actions, [DpAction::Output(PortNo(1))]);
    assert_eq!(*flows[1].actions, [DpAction::Output(PortNo(2))]);
    assert_eq!(flows[0].mask().bits.headers.artificial[1][27].get(), u64::MAX);
    for (flow, own, other) in [(&flows[0], &seven, &eight), (&flows[1], &eight, &seven)] {
        assert!(flow.covers(own.parts()) && !flow.covers(other.parts()));
    }
    let hasher = KeyHasher::new(1);
    assert_ne!(hasher.hash(seven.parts()), hasher.hash(eight.parts()));
}

#[test]
fn a_change_of_rules_concerns_the_flows_with_its_value_in_the_segment() {
    let p = policy(&["priority=1,actions=3"]);
    add(&p, 0, 7, output(2));
    let [seven, eight] = [7, 8].map(key).map(|key| cached(&p, &key));
    let mut recent = RecentRules::default();
    p.changes().follow(&mut recent);
    let concerned =
        |recent: &RecentRules| [&seven, &eight].map(|flow| flow.is_concerned(p.changes(), recent));
    assert_eq!(concerned(&recent), [false, false]);
    add(&p, 0, 7, output(4));
    p.changes().follow(&mut recent);
    assert_eq!(concerned(&recent), [true, false]);
}
