//! Property tests of the parser and the printer together: printed rules parse back to themselves, and no text
//! makes the parser panic.

use super::print::write_actions;
use super::*;
use crate::action::{Action, SetFieldForm, Subfield};
use crate::fields::{FieldId, TextForm, ones};
use crate::flow_mod::{FlowFlags, FlowMod};
use crate::key::{PipelineKey, PipelineMask};
use crate::types::{Cookie, GroupId, MacAddr, OfPort};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn version() -> impl Strategy<Value = OfVersion> {
    prop_oneof![
        Just(OfVersion::OpenFlow10),
        Just(OfVersion::OpenFlow11),
        Just(OfVersion::OpenFlow12),
        Just(OfVersion::OpenFlow13),
        Just(OfVersion::OpenFlow14),
        Just(OfVersion::OpenFlow15),
    ]
}

fn any_field() -> impl Strategy<Value = FieldId> {
    let all: Vec<_> = FieldId::all().collect();
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
fn matching() -> impl Strategy<Value = Match> {
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
            let is_port =
                matches!(field, FieldId::InPort | FieldId::InPortOxm | FieldId::ActsetOutput);
            let is_met = def.prerequisite.implied_by(&key, &mask);
            if depends || is_icmp || is_vlan || !is_met {
                continue;
            }
            let bits = if is_exact || !def.maskable { def.legal } else { bits & def.legal };
            // Text has a word for five of the values and masks of `ip_frag`, and the generator makes only these.
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

fn port() -> impl Strategy<Value = OfPort> {
    prop_oneof![(1u16..0xff00).prop_map(OfPort), Just(OfPort::LOCAL), Just(OfPort::IN_PORT)]
}

fn table() -> impl Strategy<Value = TableId> {
    (0u8..254).prop_map(|n| TableId::new(n).unwrap())
}

fn subfield() -> impl Strategy<Value = Subfield> {
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
        output.prop_map(|port| Action::Output { port }),
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
        Just(Action::Exit),
        vec(any::<u8>(), 0..20).prop_map(Action::Note),
    ];
    prop_oneof![outputs, vlan, header, other]
}

fn action() -> impl Strategy<Value = Action> {
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
fn acceptable(list: Vec<Action>, matching: &Match, version: OfVersion) -> Vec<Action> {
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

fn flow_mod() -> impl Strategy<Value = (OfVersion, FlowMod)> {
    let attributes = (
        option::of(table()),
        any::<u16>(),
        option::of(any::<u64>()),
        any::<(u16, u16)>(),
        any::<(bool, bool)>(),
        option::of("[a-z][a-z0-9_.-]{0,20}"),
    );
    (version(), matching(), vec(action(), 0..5), instructions(), attributes).prop_map(
        |(version, matching, actions, instructions, attributes)| {
            let (table, priority, cookie, (idle_timeout, hard_timeout), flags, name) = attributes;
            let (send_flow_rem, check_overlap) = flags;
            let list = actions.into_iter().chain(instructions).collect();
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

/// Whether a message of the version can carry the request: `goto_table` must go forward, and some matches need
/// extensible formats, which 1.1 lacks.
fn can_be_asked_for(version: OfVersion, flow_mod: &FlowMod) -> bool {
    let from = flow_mod.table.unwrap_or_default();
    let goes_forward = |a: &Action| !matches!(a, Action::GotoTable(to) if *to <= from);
    version != OfVersion::OpenFlow11 && flow_mod.actions.iter().all(goes_forward)
}

fn config(cases: u32) -> ProptestConfig {
    let max_global_rejects = 10 * cases;
    ProptestConfig { cases, max_global_rejects, failure_persistence: None, ..Default::default() }
}

/// The error as a user sees it, for the message of a failed test.
fn shown(text: &str, error: &TextError) -> String {
    error.render(text)
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn a_printed_request_parses_back_to_itself((version, flow_mod) in flow_mod()) {
        prop_assume!(can_be_asked_for(version, &flow_mod));
        let options = PrintOptions { version, ports: &NoPortNames, stats: false, ages: true };
        let text = flow_mod.to_text(&options);
        let context = ParseContext { version, ..ParseContext::default() };
        match parse_flow(&text, &context) {
            Ok(parsed) => prop_assert_eq!(parsed, flow_mod, "{}", text),
            Err(error) => prop_assert!(false, "{}", shown(&text, &error)),
        }
    }

    #[test]
    fn a_match_of_any_version_can_be_said_in_1_5((_, flow_mod) in flow_mod()) {
        let mut text = String::new();
        write_match(&mut text, &flow_mod.matching, DEFAULT_PRIORITY, &NoPortNames);
        for lenient in [false, true] {
            let version = OfVersion::OpenFlow15;
            let context = ParseContext { version, lenient, ..ParseContext::default() };
            match parse_match(&text, &context) {
                Ok(parsed) => prop_assert_eq!(parsed, flow_mod.matching, "{}", text),
                Err(error) => prop_assert!(false, "{}", shown(&text, &error)),
            }
        }
    }

    #[test]
    fn actions_are_the_same_after_serialisation((_, flow_mod) in flow_mod()) {
        let text = serde_json::to_string(&flow_mod.actions).unwrap();
        let read: Vec<Action> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read, flow_mod.actions, "{}", text);
    }

    #[test]
    fn a_line_of_a_dump_parses_back((version, flow_mod) in flow_mod(), stats: bool) {
        prop_assume!(can_be_asked_for(version, &flow_mod));
        let line = FlowLine {
            cookie: flow_mod.cookie,
            table: flow_mod.table.unwrap_or_default(),
            priority: flow_mod.priority,
            matching: &flow_mod.matching,
            actions: &flow_mod.actions,
            idle_timeout: flow_mod.idle_timeout,
            hard_timeout: flow_mod.hard_timeout,
            importance: 0,
            flags: flow_mod.flags,
            name: flow_mod.name.as_deref(),
            label: None,
            duration: std::time::Duration::from_millis(1038),
            packets: 7,
            bytes: 420,
            idle_age: std::time::Duration::from_secs(1),
            hard_age: std::time::Duration::from_secs(3),
        };
        let mut text = String::new();
        line.write(&mut text, &PrintOptions { version, ports: &NoPortNames, stats, ages: true });
        let context = ParseContext { version, ..ParseContext::default() };
        let parsed = parse_flow(&text, &context);
        let parsed = parsed.map_err(|e| TestCaseError::fail(shown(&text, &e)))?;
        prop_assert_eq!(parsed.matching, flow_mod.matching, "{}", text);
        prop_assert_eq!(parsed.actions, flow_mod.actions, "{}", text);
        prop_assert_eq!(parsed.priority, flow_mod.priority);
        prop_assert_eq!(parsed.name, flow_mod.name);
    }

    #[test]
    fn a_valid_match_parses_alike_strictly_and_leniently(matching in matching()) {
        let mut text = String::new();
        write_match(&mut text, &matching, DEFAULT_PRIORITY, &NoPortNames);
        for lenient in [false, true] {
            let context = ParseContext { lenient, ..ParseContext::default() };
            prop_assert_eq!(parse_match(&text, &context), Ok(matching), "{}", text);
        }
    }

    #[test]
    fn valid_actions_parse_alike_strictly_and_leniently(list in vec(action(), 0..4)) {
        let version = OfVersion::OpenFlow15;
        let list = dialect::actions(&list, version, &Match::any()).into_owned();
        let is_writable = |a: &Action| match a {
            Action::SetField { field, .. } => field.def().writable,
            _ => true,
        };
        prop_assume!(list.iter().all(is_writable));
        let options = PrintOptions { version, ports: &NoPortNames, stats: false, ages: true };
        let mut text = String::new();
        write_actions(&mut text, &list, &options);
        let read = |lenient| {
            let context = ParseContext { version, lenient, ..ParseContext::default() };
            parse_actions(&text, &context)
        };
        // In 1.5, Open vSwitch prints masks of some fields that its own parser refuses.
        if let Ok(lenient) = read(true) {
            prop_assert_eq!(read(false), Ok(lenient), "{}", text);
        }
    }
}

/// Pieces of rules, which a test joins at random.
const PIECES: &[&str] = &[
    ",",
    " ",
    "=",
    ":",
    "(",
    ")",
    "/",
    "->",
    "[",
    "]",
    "..",
    "|",
    "+",
    "-",
    "*",
    "\"",
    "0x",
    "0",
    "1",
    "255",
    "65536",
    "99999999999999999999999999999999999999999",
    "10.0.0.1",
    "::",
    "00:00:00:00:00:01",
    "é",
    "\u{0}",
    "tcp",
    "ip",
    "icmp6",
    "nw_src",
    "tp_dst",
    "in_port",
    "vlan_tci",
    "tcp_flags",
    "reg0",
    "NXM_NX_REG0",
    "xxreg0",
    "actions=",
    "action",
    "output",
    "controller",
    "set_field",
    "load",
    "move",
    "resubmit",
    "clone",
    "write_actions",
    "learn",
    "note",
    "dec_ttl",
    "enqueue",
    "cookie",
    "table",
    "priority",
    "name",
    "drop",
    "bucket=",
    "group_id",
    "type",
    "select",
    "weight",
    "fields",
    "delete",
];

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn no_text_makes_a_parser_panic(
        pieces in vec(any::<proptest::sample::Index>(), 0..25),
        noise in ".{0,20}",
        lenient: bool,
        version in version(),
    ) {
        let glued: String = pieces.iter().map(|i| PIECES[i.index(PIECES.len())]).collect();
        for text in [glued.as_str(), noise.as_str(), &format!("{glued}{noise}")] {
            for command in [Command::Add, Command::Modify, Command::Delete, Command::DeleteStrict] {
                let context = ParseContext { version, command, lenient, ..ParseContext::default() };
                for result in [parse_flow(text, &context), parse_flow_file_line(text, &context)] {
                    if let Err(error) = result {
                        prop_assert!(text.get(error.span()).is_some());
                        error.render(text);
                    }
                }
            }
            let context = ParseContext { version, lenient, ..ParseContext::default() };
            let _ = parse_match(text, &context);
            let _ = parse_actions(text, &context);
            let _ = parse_group_file_line(text, &context);
            let _ = describe_flows([text], Protocols::of_version(version), &context);
        }
    }
}

#[test]
fn masks_of_every_field_survive_printing() {
    for field in FieldId::all().filter(|f| f.def().maskable) {
        for bits in [1, 3, ones(field.def().bits / 2)] {
            let mut text = String::new();
            print::value(&mut text, field, bits & 1, bits, &NoPortNames);
            let read = value::parse(field, &text, &NoPortNames, false).unwrap();
            assert_eq!((read.value & read.mask, read.mask), (bits & 1, bits), "{text}");
        }
    }
}

#[test]
fn an_exact_field_takes_no_mask_but_all_ones() {
    let parse =
        |text: &str| parse_flow(text, &ParseContext::default()).map_err(|e| e.message().to_owned());
    assert_eq!(parse("ip,nw_ecn=2/3,actions=drop"), Err("nw_ecn: the field takes no mask".into()));
    assert!(parse("mpls,mpls_bos=1/1,actions=drop").is_err());
    assert_eq!(parse("ip,nw_proto=6/0xff,actions=drop"), parse("tcp,actions=drop"));
}

#[test]
fn lenient_reading_finds_actions_where_open_vswitch_does() {
    let context = ParseContext { lenient: true, ..ParseContext::default() };
    let parse = |text: &str| parse_flow(text, &context).unwrap();
    assert_eq!(parse("tcpactionable=output:1"), parse("tcp,actions=output:1"));
    assert_eq!(parse("tcp,actions=dec_ttl(x)"), parse("tcp,actions=dec_ttl(0)"));
    assert!(parse_flow("tcpactionable=output:1", &ParseContext::default()).is_err());
}

#[test]
fn a_rule_without_a_word_has_no_actions() {
    let error = describe_flow("", Protocols::ANY, &ParseContext::default()).unwrap_err();
    assert_eq!(error.message(), "the actions are missing");
}

#[test]
fn an_assignment_to_bits_that_the_field_lacks_is_refused() {
    let context = ParseContext { version: OfVersion::OpenFlow15, ..ParseContext::default() };
    let error = parse_flow("ip,actions=load:0->NXM_OF_IP_TOS[0..1]", &context).unwrap_err();
    assert_eq!(error.message(), "changes no bit of nw_tos");
}

/// A match of the field: the protocol words that it needs, and a value.
fn in_words(field: FieldId) -> String {
    let def = field.def();
    let needed = match def.prerequisite.keywords().first() {
        None => String::new(),
        Some(&"dl_vlan") => "dl_vlan=5,".to_owned(),
        Some(keywords) => format!("{keywords},"),
    };
    let value = match field {
        FieldId::EthType => "0x88cc",
        FieldId::NwTos => "8",
        FieldId::VlanTci | FieldId::VlanVid => "0x1001",
        _ => match def.form {
            TextForm::Ipv4 => "10.0.0.1",
            TextForm::Ipv6 => "2001:db8::1",
            TextForm::Ethernet => "02:00:00:00:00:01",
            TextForm::Frag => "first",
            TextForm::TcpFlags => "+syn",
            TextForm::Decimal | TextForm::Hexadecimal | TextForm::Port | TextForm::Port32 => "1",
        },
    };
    format!("{needed}{}={value}", def.name)
}

#[test]
fn every_field_is_parsed_and_printed() {
    let mut faults = Vec::new();
    for field in FieldId::all() {
        let words = in_words(field);
        let wanted = match parse_match(&words, &ParseContext::default()) {
            Ok(wanted) => wanted,
            Err(error) => {
                faults.push(format!("{words}: {error:?}"));
                continue;
            }
        };
        let mut printed = String::new();
        write_match(&mut printed, &wanted, DEFAULT_PRIORITY, &NoPortNames);
        let again = parse_match(&printed, &ParseContext::default());
        if field.get_mask(wanted.mask()) == 0 || again.ok() != Some(wanted) {
            faults.push(format!("{words} is printed as {printed}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
