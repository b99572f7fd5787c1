//! Random rules for property tests: matches and lists of actions that a switch accepts.
//!
//! Other crates enable the feature `arbitrary` for their tests.

use super::*;
use crate::action::{Clause, SetFieldForm, Subfield};
use crate::fields::{FieldId, ones};
use crate::flow_mod::{FlowFlags, FlowMod};
use crate::key::{PipelineKey, PipelineMask};
use crate::learn::{LearnSource, LearnedPart, Learner};
use crate::members::{HashFields, LinkAlgorithm, MemberAlgorithm, Multipath, PortBundle};
use crate::sampling::{FlowSampling, SampledDirection};
use crate::types::{Cookie, GroupId, MacAddr, MeterId, OfPort};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// A version of OpenFlow.
pub fn version() -> impl Strategy<Value = OfVersion> {
    prop_oneof![
        Just(OfVersion::OpenFlow10),
        Just(OfVersion::OpenFlow11),
        Just(OfVersion::OpenFlow12),
        Just(OfVersion::OpenFlow13),
        Just(OfVersion::OpenFlow14),
        Just(OfVersion::OpenFlow15),
    ]
}

/// A field of the field table.
pub fn any_field() -> impl Strategy<Value = FieldId> {
    // Of the options, those at the ends of the two kinds of places: otherwise most fields would be options.
    let is_further = |f: &FieldId| matches!(f, FieldId::TunMetadata(1..7 | 9..63));
    let all: Vec<_> = FieldId::all().filter(|field| !is_further(field)).collect();
    any::<proptest::sample::Index>().prop_map(move |i| all[i.index(all.len())])
}

/// The protocol of a packet that has some fields: EtherType, IP protocol and ICMP type. `None` is any.
fn protocol() -> impl Strategy<Value = (Option<u16>, Option<u8>, Option<u16>)> {
    let ip = || prop_oneof![Just(0x0800), Just(0x86dd)];
    prop_oneof![
        Just((None, None, None)),
        any::<u16>().prop_map(|t| (Some(t), None, None)),
        ip().prop_map(|t| (Some(t), None, None)),
        (ip(), any::<u8>()).prop_map(|(t, p)| (Some(t), Some(p), None)),
        (ip(), prop_oneof![Just(6), Just(17), Just(132)]).prop_map(|(t, p)| (
            Some(t),
            Some(p),
            None
        )),
        Just((Some(0x0800), Some(1), None)),
        Just((Some(0x86dd), Some(58), None)),
        prop_oneof![Just(135), Just(136)].prop_map(|t| (Some(0x86dd), Some(58), Some(t))),
        prop_oneof![Just(0x0806), Just(0x8035)].prop_map(|t| (Some(t), None, None)),
        prop_oneof![Just(0x8847), Just(0x8848)].prop_map(|t| (Some(t), None, None)),
    ]
}

/// A match that can be written in every version.
pub fn matching() -> impl Strategy<Value = Match> {
    let fields = vec((any_field(), any::<u128>(), any::<u128>(), any::<bool>()), 0..6);
    let tag = option::of((0u16..4096, option::of(0u16..8)));
    (protocol(), fields, tag).prop_map(|((dl_type, nw_proto, icmp_type), fields, tag)| {
        let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
        let mut set = |field: FieldId, value: u128, bits: u128| {
            field.write(&mut key, value & bits, bits);
            field.set_mask(&mut mask, bits);
        };
        if let Some(ty) = dl_type {
            set(FieldId::EthType, ty.into(), u128::MAX);
        }
        if let Some(proto) = nw_proto {
            set(FieldId::IpProto, proto.into(), u128::MAX);
        }
        if let Some(ty) = icmp_type {
            set(FieldId::Icmpv6Type, ty.into(), u128::MAX);
        }
        let mut tci = (0u16, 0u16);
        if let Some((vid, pcp)) = tag {
            tci = (0x1000 | vid, 0x1fff);
            if let Some(pcp) = pcp {
                tci = (tci.0 | pcp << 13, 0xffff);
            }
        }
        for (field, value, bits, is_exact) in fields {
            let def = field.def();
            let depends = [FieldId::EthType, FieldId::IpProto, FieldId::ArpOp].contains(&field);
            let is_icmp = def.name.starts_with("icmp");
            let is_vlan = def.name.contains("vlan");
            // Messages leave out a field that they have no name for.
            let is_unsaid = def.wire.is_empty();
            let is_port =
                matches!(field, FieldId::InPort | FieldId::InPortOxm | FieldId::ActsetOutput);
            let is_met = def.prerequisite.implied_by(&key, &mask);
            if depends || is_unsaid || is_icmp || is_vlan || !is_met {
                continue;
            }
            let bits = if is_exact || !def.maskable { def.legal } else { bits & def.legal };
            // Text has a word for five of the values and masks of `ip_frag`, and
            // the generator makes only these.
            let (value, bits) = match field {
                FieldId::IpFrag => {
                    let has_ports = mask.bits.headers.tp_src.get() | mask.bits.headers.tp_dst.get()
                        != 0
                        || mask.bits.headers.tcp_flags.get() != 0;
                    let words = [(0, 3), (1, 1), (1, 3), (0, 2), (3, 3)];
                    words[value as usize % if has_ports { 4 } else { 5 }]
                }
                _ => (if is_port { value % 0xff00 } else { value }, bits),
            };
            field.write(&mut key, value & bits, bits);
            field.set_mask(&mut mask, bits);
        }
        key.headers.vlan_tci = tci.0.into();
        mask.bits.headers.vlan_tci = tci.1.into();
        Match::new(&key, &mask)
    })
}

/// A port that packets can be sent to.
pub fn port() -> impl Strategy<Value = OfPort> {
    prop_oneof![(1u16..0xff00).prop_map(OfPort), Just(OfPort::LOCAL), Just(OfPort::IN_PORT)]
}

/// A table of a bridge.
pub fn table() -> impl Strategy<Value = TableId> {
    (0u8..254).prop_map(|n| TableId::new(n).unwrap())
}

/// Bits of a field that has a name in actions.
pub fn subfield() -> impl Strategy<Value = Subfield> {
    let has_wire_name = |f: &FieldId| !f.def().wire.is_empty();
    let field = any_field().prop_filter("has a name in actions", has_wire_name);
    (field, any::<(u16, u16)>(), any::<bool>()).prop_map(|(field, (a, b), is_whole)| {
        let bits = field.def().bits;
        let (a, b) = (a % bits, b % bits);
        let (offset, n_bits) = (a.min(b), a.abs_diff(b) + 1);
        if is_whole { Subfield::whole(field) } else { Subfield { field, offset, n_bits } }
    })
}

fn assignment() -> impl Strategy<Value = Action> {
    let form = prop_oneof![Just(SetFieldForm::SetField), Just(SetFieldForm::Load)];
    (subfield(), any::<u128>(), any::<u128>(), form).prop_map(|(sub, value, bits, form)| {
        let def = sub.field.def();
        let is_port = matches!(sub.field, FieldId::InPort | FieldId::InPortOxm);
        let value = if is_port { value % 0xff00 } else { value };
        let form = match form {
            SetFieldForm::Load => SetFieldForm::of_load(sub.field),
            form => form,
        };
        let mask = match form {
            SetFieldForm::Load => sub.mask(),
            _ if def.maskable && bits % 3 == 0 => (bits & def.legal).max(1),
            _ => def.legal,
        };
        let keep = if form == SetFieldForm::Load { u128::MAX } else { def.legal };
        Action::SetField { field: sub.field, value: value & mask & keep, mask, form }
    })
}

fn simple_action() -> impl Strategy<Value = Action> {
    let mac = || any::<[u8; 6]>().prop_map(MacAddr);
    let output = prop_oneof![
        port(),
        Just(OfPort::NORMAL),
        Just(OfPort::FLOOD),
        Just(OfPort::ALL),
        Just(OfPort::TABLE)
    ];
    let to_controller = (
        any::<u16>(),
        0u8..6,
        any::<u16>(),
        vec(any::<u8>(), 0..4),
        any::<bool>(),
        option::of(any::<u32>()),
    )
        .prop_map(|(max_len, reason, controller_id, userdata, pause, meter_id)| {
            Action::Controller { max_len, reason, controller_id, userdata, pause, meter_id }
        });
    let real_port = || (1u16..0xff00).prop_map(OfPort);
    let outputs = prop_oneof![
        output.prop_map(Action::output),
        to_controller,
        subfield()
            .prop_filter("fits a port", |s| s.n_bits <= 64)
            .prop_map(|src| Action::OutputReg { src, max_len: u16::MAX }),
        (real_port(), 14u32..).prop_map(|(port, max_len)| Action::OutputTrunc { port, max_len }),
        (port(), any::<u32>()).prop_map(|(port, queue)| Action::Enqueue { port, queue }),
        any::<u32>().prop_map(Action::SetQueue),
        Just(Action::PopQueue),
        any::<u32>().prop_map(|id| Action::Group(GroupId(id))),
        (option::of(port()), option::of(table())).prop_map(|(in_port, table)| {
            let in_port = in_port.filter(|p| *p != OfPort::IN_PORT);
            let table = if in_port.is_none() { table.or(TableId::new(1)) } else { table };
            Action::Resubmit { in_port, table }
        }),
    ];
    let vlan = prop_oneof![
        (0u16..4096, any::<bool>())
            .prop_map(|(vid, push_if_untagged)| Action::SetVlanVid { vid, push_if_untagged }),
        (0u8..8, any::<bool>())
            .prop_map(|(pcp, push_if_untagged)| Action::SetVlanPcp { pcp, push_if_untagged }),
        Just(Action::StripVlan),
        prop_oneof![Just(0x8100), Just(0x88a8)].prop_map(Action::PushVlan),
    ];
    let header = prop_oneof![
        mac().prop_map(Action::SetEthSrc),
        mac().prop_map(Action::SetEthDst),
        any::<u32>().prop_map(Action::SetIpv4Src),
        any::<u32>().prop_map(Action::SetIpv4Dst),
        (0u8..64).prop_map(|dscp| Action::SetIpDscp(dscp << 2)),
        (0u8..4).prop_map(Action::SetIpEcn),
        any::<u8>().prop_map(Action::SetIpTtl),
        any::<u16>().prop_map(Action::SetL4Src),
        any::<u16>().prop_map(Action::SetL4Dst),
        vec(any::<u16>(), 0..3).prop_map(Action::DecTtl),
        (0u32..1 << 20).prop_map(Action::SetMplsLabel),
        (0u8..8).prop_map(Action::SetMplsTc),
        any::<u8>().prop_map(Action::SetMplsTtl),
        Just(Action::DecMplsTtl),
        prop_oneof![Just(0x8847), Just(0x8848)].prop_map(Action::PushMpls),
        any::<u16>().prop_map(Action::PopMpls),
        (any::<u64>(), any::<bool>(), any::<bool>()).prop_map(|(id, is_long, has_64)| {
            let id = if is_long { id } else { id >> 32 };
            Action::SetTunnel { id, is_wide: has_64 || id > u32::MAX.into() }
        }),
    ];
    let other = prop_oneof![
        assignment(),
        assignment(),
        (subfield(), subfield()).prop_map(|(src, dst)| {
            let n_bits = src.n_bits.min(dst.n_bits);
            Action::Move { src: Subfield { n_bits, ..src }, dst: Subfield { n_bits, ..dst } }
        }),
        subfield().prop_map(Action::StackPush),
        subfield().prop_map(Action::StackPop),
        (any::<u16>(), subfield()).prop_map(|(len, dst)| {
            Action::CheckPktLarger { len, dst: Subfield { n_bits: 1, ..dst } }
        }),
        choice(),
        learner().prop_map(|learner| Action::Learn(Box::new(learner))),
        Just(Action::Exit),
        vec(any::<u8>(), 0..20).prop_map(Action::Note),
        clause().prop_map(Action::Conjunction),
    ];
    prop_oneof![outputs, vlan, header, other]
}

/// Bits of a field, no more than a short action can name.
fn narrow() -> impl Strategy<Value = Subfield> {
    subfield().prop_filter("has at most 64 bits", |sub| sub.n_bits <= 64)
}

/// `multipath`, `bundle`, `bundle_load`, `sample` and `fin_timeout`.
fn choice() -> impl Strategy<Value = Action> {
    let multipath =
        (select(HashFields::ALL), select(LinkAlgorithm::ALL), any::<(u16, u16, u32)>(), narrow());
    let multipath = multipath.prop_map(|(fields, algorithm, (basis, links, arg), dst)| {
        let max_link = links & ones(dst.n_bits) as u16;
        Action::Multipath(Box::new(Multipath { fields, basis, algorithm, max_link, arg, dst }))
    });
    let wide = |dst: Option<Subfield>| dst.filter(|dst| (16..=64).contains(&dst.n_bits));
    let members = vec((1u16..0xff00).prop_map(OfPort), 0..5);
    let bundle = (
        select(HashFields::ALL),
        select(MemberAlgorithm::ALL),
        any::<u16>(),
        members,
        option::of(subfield()),
    );
    let bundle = bundle.prop_map(move |(fields, algorithm, basis, members, dst)| {
        let dst = wide(dst);
        Action::Bundle(Box::new(PortBundle { fields, basis, algorithm, members, dst }))
    });
    let directions =
        [SampledDirection::Unsaid, SampledDirection::Ingress, SampledDirection::Egress];
    let sample =
        (1u16.., any::<(u32, u32, u32)>(), option::of(port()), select(directions.to_vec()));
    let sample = sample.prop_map(|(probability, (set, domain, point), port, direction)| {
        Action::Sample(Box::new(FlowSampling {
            probability,
            collector_set_id: set,
            obs_domain_id: domain,
            obs_point_id: point,
            sampling_port: port.unwrap_or(OfPort::NONE),
            direction,
        }))
    });
    let fin_timeout =
        any::<(u16, u16)>().prop_map(|(idle, hard)| Action::FinTimeout { idle, hard });
    prop_oneof![multipath, bundle, sample, fin_timeout]
}

/// The arguments of `learn`. Its parts may need headers that the packets lack.
fn learner() -> impl Strategy<Value = Learner> {
    let source = (any::<u128>(), narrow(), any::<bool>());
    let part = (narrow(), source, 0u8..5).prop_map(|(dst, (value, src, is_value), kind)| {
        let n_bits = src.n_bits.min(dst.n_bits);
        let (src, dst) = (Subfield { n_bits, ..src }, Subfield { n_bits, ..dst });
        let ports = [FieldId::InPort, FieldId::InPortOxm, FieldId::ActsetOutput];
        let is_port = ports.contains(&dst.field);
        let legal = dst.field.def().legal >> dst.offset & ones(n_bits);
        let from = match is_value {
            true if is_port => LearnSource::Value(value & 0xff & ones(n_bits)),
            true => LearnSource::Value(value & legal),
            false => LearnSource::Field(src),
        };
        match kind {
            0 => LearnedPart::Output(src),
            1 | 2 => LearnedPart::Load { dst, from },
            _ => LearnedPart::Match { dst, from },
        }
    });
    let attributes = (
        table(),
        any::<u16>(),
        any::<u64>(),
        any::<[u16; 4]>(),
        any::<(bool, bool)>(),
        any::<u32>(),
    );
    let result = option::of(subfield());
    (attributes, result, vec(part, 0..4)).prop_map(|(attributes, result, parts)| {
        let (table, priority, cookie, timeouts, (send_flow_rem, delete_learned), limit) =
            attributes;
        let [idle_timeout, hard_timeout, fin_idle_timeout, fin_hard_timeout] = timeouts;
        let result = result.filter(|dst| dst.field.def().writable);
        Learner {
            table,
            priority,
            cookie: Cookie(cookie),
            idle_timeout,
            hard_timeout,
            fin_idle_timeout,
            fin_hard_timeout,
            send_flow_rem,
            delete_learned,
            limit,
            result_dst: result.map(|dst| Subfield { n_bits: 1, ..dst }),
            parts,
        }
    })
}

/// A clause of a conjunction.
pub fn clause() -> impl Strategy<Value = Clause> {
    let clauses = (2..=Clause::MAX).prop_flat_map(|clauses| (1..=clauses, Just(clauses)));
    (any::<u32>(), clauses).prop_map(|(id, (clause, clauses))| Clause { id, clause, clauses })
}

/// An action, and actions in it.
pub fn action() -> impl Strategy<Value = Action> {
    simple_action().prop_recursive(2, 8, 3, |inner| vec(inner, 0..3).prop_map(Action::Clone))
}

fn instructions() -> impl Strategy<Value = Vec<Action>> {
    (
        any::<bool>(),
        option::of(vec(simple_action(), 0..3)),
        option::of(any::<(u64, u64)>()),
        option::of(table()),
    )
        .prop_map(|(clear, write, metadata, goto)| {
            let mut list = Vec::new();
            list.extend(clear.then_some(Action::ClearActions));
            list.extend(write.map(Action::WriteActions));
            list.extend(metadata.map(|(v, mask)| Action::WriteMetadata { value: v & mask, mask }));
            list.extend(goto.map(Action::GotoTable));
            list
        })
}

/// The actions of a list that a switch accepts in a rule with this match in this version.
pub(super) fn acceptable(list: Vec<Action>, matching: &Match, version: OfVersion) -> Vec<Action> {
    let mut kept = Vec::new();
    for action in list {
        kept.push(action);
        let carried = dialect::actions(&kept, version, matching).into_owned();
        let fits = |list: &[Action]| {
            consistency::check(list, matching, None)
                .is_ok_and(|verdict| !verdict.usable.and(Protocols::of_version(version)).is_empty())
        };
        let is_good = order::check(&carried, order::Nesting::Outermost).is_ok()
            && fits(&kept)
            && fits(&carried)
            && request::receivable(&carried, version).is_ok();
        if !is_good {
            kept.pop();
        }
    }
    dialect::actions(&kept, version, matching).into_owned()
}

/// A request to add a rule that a switch accepts in a message of the version.
pub fn flow_mod() -> impl Strategy<Value = (OfVersion, FlowMod)> {
    let attributes = (
        option::of(table()),
        any::<u16>(),
        option::of(any::<u64>()),
        any::<(u16, u16)>(),
        any::<(bool, bool)>(),
        option::of("[a-z][a-z0-9_.-]{0,20}"),
    );
    let meter = option::of((1..=MeterId::MAX.0).prop_map(|id| Action::Meter(MeterId(id))));
    let actions = (meter, vec(action(), 0..5), instructions());
    (version(), matching(), actions, attributes).prop_map(
        |(version, matching, (meter, actions, instructions), attributes)| {
            let (table, priority, cookie, (idle_timeout, hard_timeout), flags, name) = attributes;
            let (send_flow_rem, check_overlap) = flags;
            let list = meter.into_iter().chain(actions).chain(instructions).collect();
            let reset_counts = version <= OfVersion::OpenFlow11;
            let flow_mod = FlowMod {
                command: Command::Add,
                table,
                matching,
                priority,
                cookie: Cookie(cookie.unwrap_or_default()),
                cookie_filter: None,
                modify_cookie: cookie.is_some(),
                adds_if_none: false,
                idle_timeout,
                hard_timeout,
                importance: 0,
                flags: FlowFlags {
                    send_flow_rem,
                    check_overlap,
                    reset_counts,
                    ..FlowFlags::default()
                },
                out_port: None,
                out_group: None,
                actions: acceptable(list, &matching, version),
                name: name.map(Into::into),
                label: None,
            };
            (version, flow_mod)
        },
    )
}
