//! Whatever field rules match, set, move, hash or send to: a packet that agrees with another in the bits of its
//! mask gets the same verdict, and no action writes a bit that [`Action::writes`] does not name.
//!
//! [`mask_property`](super::mask_property) tries rules that people write. Here the rules are made from the
//! field table, one field after the other, so that no field escapes that the table will have.

use super::mask_property::{effect, noise};
use crate::policy::tests::fields::packet_with;
use crate::policy::tests::policy;
use crate::policy::xlate::{Note, TranslationObserver, Won};
use crate::policy::{BridgeId, Conduct, TableRef};
use flow::action::{Action, SetFieldForm, Subfield};
use flow::compose::compose;
use flow::extract::{Arrival, extract};
use flow::fields::FieldId;
use flow::flow_mod::{Command, FlowMod};
use flow::group::{Bucket, Group, GroupMod, GroupType, Selection};
use flow::key::{FLOW_WORDS, HEADER_WORDS};
use flow::types::{GroupId, OfPort, PortNo, TableId};
use flow::{FlowKey, FlowMask, Headers, Match, PipelineKey, PipelineMask};
use packet::wire::eth_type;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Cases for each of the fields, of which there are more than a hundred.
const CASES: u32 = 60;

/// What a case is made of.
#[derive(Clone, Debug)]
struct Case {
    filler: [u64; HEADER_WORDS],
    /// The table's index of a second field, which rules use, too.
    other: usize,
    values: [u128; 4],
    /// Which of its actions the first rule has: a bit for each.
    actions: u8,
    noise: [u64; FLOW_WORDS],
    as_ovs: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let all = noise().prop_map(|_| [u64::MAX; FLOW_WORDS]);
    let noise = prop_oneof![4 => noise(), 1 => all];
    let fields = FieldId::all().count();
    let parts = (any::<[u64; HEADER_WORDS]>(), 0..fields, any::<[u128; 4]>());
    (parts, any::<u8>(), noise, any::<bool>()).prop_map(
        |((filler, other, values), actions, noise, as_ovs)| Case {
            filler,
            other,
            values,
            actions,
            noise,
            as_ovs,
        },
    )
}

/// A match on bits of a field that the packet has, or that differ from the packet's in the lowest of them.
fn matching(packet: &PipelineKey, field: FieldId, random: u128, is_equal: bool) -> Match {
    let bits = if field.def().maskable { random } else { u128::MAX } & field.full_mask();
    let value = field.read(packet) ^ if is_equal { 0 } else { bits & bits.wrapping_neg() };
    let (mut key, mut mask) = (*packet, PipelineMask::default());
    field.prerequisite_mask(&mut mask);
    field.set_mask(&mut mask, bits);
    field.write(&mut key, value, bits);
    Match::new(&key, &mask)
}

fn rule(table: u8, priority: u16, matching: Match, actions: Vec<Action>) -> FlowMod {
    let table = TableId::new(table);
    FlowMod { table, ..FlowMod::new(Command::Add, priority, matching, actions) }
}

fn output(port: u16) -> Action {
    Action::output(OfPort(port))
}

fn set(field: FieldId, value: u128, mask: u128) -> Action {
    let mask = if field.def().maskable { mask } else { u128::MAX } & field.full_mask();
    Action::SetField { field, value: value & mask, mask, form: SetFieldForm::SetField }
}

/// As many bits of one field as fit the other.
fn copy(src: FieldId, dst: FieldId) -> Action {
    let n_bits = src.def().bits.min(dst.def().bits);
    let [src, dst] = [src, dst].map(|field| Subfield { field, offset: 0, n_bits });
    Action::Move { src, dst }
}

/// Rules that look at the field in each of the ways that there are.
fn rules(packet: &PipelineKey, field: FieldId, case: &Case) -> Vec<FlowMod> {
    let other = FieldId::all().nth(case.other).unwrap_or(field);
    let [a, b, c, d] = case.values;
    let is = |bit: u32| case.actions >> bit & 1 != 0;
    let whole = Subfield::whole(field);
    let (resubmit, reg) =
        (Action::Resubmit { in_port: None, table: TableId::new(1) }, FieldId::Reg);
    let mut actions = vec![copy(field, reg(0))];
    for (bit, field) in [field, other].into_iter().enumerate() {
        if is(bit as u32) && field.def().writable {
            actions.push(set(field, a, b));
        }
    }
    if is(2) && field.def().writable {
        actions.push(copy(other, field));
    }
    if is(3) && other.def().writable {
        actions.extend([copy(field, other), output(2)]);
    }
    if is(4) {
        let dst = Subfield { n_bits: whole.n_bits.min(32), ..Subfield::whole(reg(1)) };
        actions.extend([Action::StackPush(whole), Action::StackPop(dst)]);
    }
    if is(5) {
        let src = Subfield { n_bits: whole.n_bits.min(3), ..whole };
        actions.push(Action::OutputReg { src, max_len: 100 });
    }
    if is(6) {
        actions.push(Action::Group(GroupId(1)));
    }
    actions.extend([resubmit.clone(), output(3)]);
    let mut written = *packet;
    field.write(&mut written, a, b & field.full_mask());
    reg(0).write(&mut written, field.read(packet), u128::MAX);
    vec![
        rule(0, 9, matching(packet, other, d, false), vec![output(1)]),
        rule(0, 8, matching(packet, field, c, false), vec![output(4)]),
        rule(0, 7, matching(packet, field, d, true), actions),
        rule(0, 6, matching(packet, other, c, true), vec![Action::DecTtl(vec![]), resubmit]),
        rule(0, 1, Match::any(), vec![Action::output(OfPort::NORMAL)]),
        rule(1, 9, matching(&written, other, a, false), vec![output(2)]),
        rule(1, 8, matching(&written, field, c, true), vec![output(1)]),
        rule(1, 7, matching(&written, reg(0), d, true), vec![Action::StripVlan, output(3)]),
        rule(1, 1, Match::any(), vec![output(4)]),
    ]
}

/// A group that chooses by the field.
fn group(field: FieldId, bits: u128) -> GroupMod {
    let bits = if field.def().maskable { bits } else { u128::MAX } & field.full_mask();
    let selection = Selection { method: "hash".into(), param: 1, fields: vec![(field, bits)] };
    let bucket = |id: u32| Bucket {
        id,
        weight: None,
        watch_port: None,
        watch_group: None,
        actions: vec![output(1 + id as u16)],
    };
    let buckets = (0..4).map(bucket).collect();
    GroupMod::Add(Group { id: GroupId(1), kind: GroupType::Select, selection, buckets })
}

/// Fails if an action writes what it does not say.
#[derive(Default)]
struct WritesAsSaid(Vec<Action>);

impl TranslationObserver for WritesAsSaid {
    const LISTENS: bool = true;

    fn begin_action(&mut self, action: &Action) {
        self.0.push(action.clone());
    }

    fn end_action(&mut self, written: &PipelineMask) {
        let action = self.0.pop().expect("an action that has begun");
        let said = action.writes().bits();
        let is_said = written.words().iter().zip(said.words()).all(|(w, said)| w & !said == 0);
        assert!(is_said, "{action:?} writes {written:?}");
    }

    fn read(&mut self, _: &PipelineMask) {}
    fn enter_bridge(&mut self, _: &Arc<str>) {}
    fn look_up(&mut self, _: TableRef, _: &PipelineKey) {}
    fn enter_rule(&mut self, _: &Won<'_>) {}
    fn miss(&mut self, _: TableId) {}
    fn resume(&mut self, _: TableId) {}
    fn enter_bucket(&mut self, _: usize) {}
    fn enter_action_set(&mut self) {}
    fn leave(&mut self) {}
    fn note(&mut self, _: impl FnOnce() -> Note) {}
    fn finish(&mut self, _: &PipelineKey) {}
}

/// A packet that agrees with `packet` in the bits of `mask` and differs from it in others. `None` if no frame
/// has such headers.
fn other_packet(packet: &FlowKey, mask: &FlowMask, noise: &[u64; FLOW_WORDS]) -> Option<FlowKey> {
    let mut other = *packet;
    let words = other.words_mut().iter_mut().zip(noise).zip(mask.words());
    words.for_each(|((word, noise), mask)| *word ^= noise & !mask);
    let (headers, mask_of) = (&mut other.headers, &mask.bits.headers);
    if mask_of.vlan_tpid.get() == 0 {
        headers.vlan_tpid.set([0, eth_type::VLAN_8021AD][usize::from(headers.vlan_tpid.get() % 2)]);
    }
    if mask_of.vlan2_tpid.get() == 0 {
        headers.vlan2_tpid.set(eth_type::VLAN);
    }
    let (key, _) = extract(Arrival::default(), &compose(headers), 2);
    let other = FlowKey { port_no: packet.port_no, ..key };
    let words = other.words().iter().zip(packet.words()).zip(mask.words());
    words.into_iter().all(|((a, b), mask)| (a ^ b) & mask == 0).then_some(other)
}

/// Whether there was another packet to compare with.
fn check(field: FieldId, case: &Case) -> Result<bool, TestCaseError> {
    let headers = packet_with(field, &case.filler);
    let packet = FlowKey { port_no: PortNo(0).into(), headers, ..FlowKey::default() };
    let seen = PipelineKey { in_port: OfPort(1).into(), headers, ..PipelineKey::default() };
    let conduct = if case.as_ovs { Conduct::AsOvs } else { Conduct::Sensible };
    let p = policy(&[]).with_conduct(conduct);
    let mut transaction = p.bridge(BridgeId::FIRST).begin();
    transaction.apply_group(&group(field, case.values[2]), Duration::ZERO).unwrap();
    transaction.commit();
    p.bridge(BridgeId::FIRST).apply(&rules(&seen, field, case), Duration::ZERO).unwrap();
    let verdict = p.translate(&packet);
    let observed = p.translate_observed(&packet, &mut WritesAsSaid::default());
    prop_assert_eq!((&observed.actions, observed.mask), (&verdict.actions, verdict.mask));
    let Some(other) = other_packet(&packet, &verdict.mask, &case.noise) else { return Ok(false) };
    let again = p.translate(&other);
    prop_assert_eq!((again.drop, again.flood), (verdict.drop, verdict.flood));
    prop_assert_eq!(
        effect(&verdict.actions, &other.headers),
        effect(&again.actions, &other.headers),
        "{:?}\n{:?}\nmask {:?}",
        packet,
        other,
        verdict.mask
    );
    Ok(true)
}

#[test]
fn bits_outside_the_mask_do_not_matter_whatever_field_rules_use() {
    for field in FieldId::all() {
        let name = field.def().name;
        let config = Config { failure_persistence: None, ..Config::with_cases(CASES) };
        let compared = Cell::new(0);
        let result = TestRunner::new(config).run(&case(), |case| {
            compared.set(compared.get() + u32::from(check(field, &case)?));
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(compared.get() > CASES / 4, "{name}: {} of {CASES}", compared.get());
    }
}

/// The headers of a frame that has these ones; others than these if no frame can have them.
fn on_the_wire(headers: &Headers) -> PipelineKey {
    let (key, _) = extract(Arrival::default(), &compose(headers), 2);
    PipelineKey { in_port: OfPort(1).into(), headers: key.headers, ..PipelineKey::default() }
}

#[test]
fn what_a_rule_writes_into_a_header_is_in_the_frame_that_leaves() {
    let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
    let mut tried = HashSet::new();
    for field in FieldId::all().filter(|field| field.def().writable) {
        for case in 0..16u64 {
            let filler: [u64; HEADER_WORDS] = std::array::from_fn(|i| hasher.hash_one((case, i)));
            let headers = packet_with(field, &filler);
            let seen = on_the_wire(&headers);
            let old = field.read(&seen);
            // A field that is zero may be in no header of the frame, as an address in an option of neighbour
            // discovery. The operation 0 of ARP is how a key says that the header is not sound.
            let other = [old ^ 1, old ^ 3]
                .into_iter()
                .filter(|value| old != 0 && *value != 0)
                .find(|value| {
                    let mut wanted = seen;
                    field.write(&mut wanted, *value, field.full_mask());
                    field.read(&on_the_wire(&wanted.headers)) == *value
                });
            let Some(value) = other else { continue };
            let p = policy(&[]);
            let actions = vec![set(field, value, field.full_mask()), output(2)];
            p.bridge(BridgeId::FIRST)
                .apply(&[rule(0, 9, Match::any(), actions)], Duration::ZERO)
                .unwrap();
            let packet = FlowKey { port_no: PortNo(0).into(), headers, ..FlowKey::default() };
            let (sent, _) = effect(&p.translate(&packet).actions, &headers);
            let [(_, frame)] = &sent[..] else { panic!("{}: {sent:?}", field.def().name) };
            let (key, _) = extract(Arrival::default(), frame, 2);
            let got = PipelineKey { headers: key.headers, ..PipelineKey::default() };
            assert_eq!(field.read(&got), value, "{} was {old:#x}: {seen:?}", field.def().name);
            tried.insert(field.def().name);
        }
    }
    assert!(tried.len() > 30, "{} fields: {tried:?}", tried.len());
}
