//! Property tests of the parser and the printer together: printed rules parse back to themselves, and no text
//! makes the parser panic.

use super::arbitrary::{acceptable, action, flow_mod, matching, port, version};
use super::print::write_actions;
use super::*;
use crate::action::{Action, Clause};
use crate::fields::{FieldId, TextForm, ones};
use crate::flow_mod::{FlowFlags, FlowMod};
use crate::group::{Bucket, Group, GroupType, Selection};
use crate::types::{GroupId, OfPort};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Whether a message of the version can carry the request: `goto_table` must go forward, and some matches need
/// extensible formats, which 1.1 lacks.
fn can_be_asked_for(version: OfVersion, flow_mod: &FlowMod) -> bool {
    version != OfVersion::OpenFlow11 && goes_forward(flow_mod)
}

/// Whether each `goto_table` of the rule leads to a later table.
fn goes_forward(flow_mod: &FlowMod) -> bool {
    let from = flow_mod.table.unwrap_or_default();
    let is_forward = |a: &Action| !matches!(a, Action::GotoTable(to) if *to <= from);
    flow_mod.actions.iter().all(is_forward)
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
            learned_by: None,
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
    fn a_saved_rule_is_read_as_it_was((_, flow_mod) in flow_mod(), importance: u16) {
        prop_assume!(goes_forward(&flow_mod));
        let flags = FlowFlags { check_overlap: false, reset_counts: false, ..flow_mod.flags };
        let flow_mod = FlowMod { importance, flags, ..flow_mod };
        let mut text = String::new();
        let place = FlowLine::of(&flow_mod).write_saved(&mut text);
        let mut matching = String::new();
        write_match(&mut matching, &flow_mod.matching, flow_mod.priority, &NoPortNames);
        prop_assert_eq!(&text[place], &matching);
        let read = parse_saved_flow(&text, &NoPortNames);
        let read = read.map_err(|e| TestCaseError::fail(shown(&text, &e)))?;
        prop_assert_eq!(&read.matching, &flow_mod.matching, "{}", text);
        prop_assert_eq!(&read.actions, &flow_mod.actions, "{}", text);
        let mut again = String::new();
        FlowLine::of(&read).write_saved(&mut again);
        prop_assert_eq!(again, text);
    }

    #[test]
    fn a_saved_group_is_read_as_it_was(
        buckets in vec((vec(action(), 1..4), option::of(0u16..9), option::of(port())), 1..4),
        id in 0..GroupId::MAX.0,
    ) {
        let bucket = |(n, (list, weight, watch_port)): (usize, (Vec<Action>, _, Option<OfPort>))| {
            let watch_port = watch_port.filter(|port| *port < OfPort::MAX);
            let actions = acceptable(list, &Match::any(), OfVersion::OpenFlow15);
            Bucket { id: 3 * n as u32, weight, watch_port, watch_group: None, actions }
        };
        let selection = Selection { method: "hash".into(), param: 7, fields: Vec::new() };
        let buckets = buckets.into_iter().enumerate().map(bucket).collect();
        let group = Group { id: GroupId(id), kind: GroupType::Select, selection, buckets };
        let mut text = String::new();
        write_saved_group(&mut text, &group);
        let read = parse_saved_group(&text, &NoPortNames);
        let read = read.map_err(|e| TestCaseError::fail(shown(&text, &e)))?;
        let actions = |group: &Group| -> Vec<Vec<Action>> {
            group.buckets.iter().map(|bucket| bucket.actions.clone()).collect()
        };
        prop_assert_eq!(actions(&read), actions(&group), "{}", text);
        let mut again = String::new();
        write_saved_group(&mut again, &read);
        prop_assert_eq!(again, text);
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
            let _ = parse_group_file_line(text, GroupCommand::Add, &context);
            let _ = describe_flows([text], Protocols::of_version(version), &context);
        }
    }
}

#[test]
fn masks_of_every_field_survive_printing() {
    for field in FieldId::all().filter(|f| f.def().maskable) {
        let all = ones(field.def().bits);
        for bits in [1, 3 & all, ones(field.def().bits.div_ceil(2))] {
            let mut text = String::new();
            print::value(&mut text, field, bits & 1, bits, &NoPortNames);
            let read = value::parse(field, &text, &NoPortNames, false).unwrap();
            // The mask of an exact match has bits that no value has, too.
            let legal = field.full_mask();
            let read = (read.value & read.mask, read.mask & legal);
            assert_eq!(read, (bits & 1, bits & legal), "{text}");
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
fn members_can_stand_in_brackets() {
    for (bare, bracketed) in [
        ("bundle(eth_src,0,hrw,ofport,members:1,2)", "bundle(eth_src,0,hrw,ofport,members:[1,2])"),
        ("bundle(eth_src,0,hrw,ofport,members:)", "bundle(eth_src,0,hrw,ofport,slaves:[])"),
        (
            "bundle_load(eth_src,0,hrw,ofport,NXM_NX_REG0[0..15],members:3)",
            "bundle_load(eth_src,0,hrw,ofport,NXM_NX_REG0[0..15],members:[3])",
        ),
    ] {
        let read = |actions| parse_flow(&format!("actions={actions}"), &ParseContext::default());
        assert_eq!(read(bracketed).unwrap(), read(bare).unwrap(), "{bracketed}");
    }
}

#[test]
fn a_rule_without_a_word_has_no_actions() {
    let error = describe_flow("", Protocols::ANY, &ParseContext::default()).unwrap_err();
    assert_eq!(error.message(), "the actions are missing");
}

#[test]
fn an_assignment_that_changes_no_bit_is_read_as_it_was_written() {
    for version in [OfVersion::OpenFlow10, OfVersion::OpenFlow15] {
        let context = ParseContext { version, ..ParseContext::default() };
        let rule = parse_flow("ip,actions=set_field:0/0->reg0,output:1", &context).unwrap();
        let mut text = String::from("ip,actions=");
        write_actions(&mut text, &rule.actions, &PrintOptions::default());
        assert_eq!(parse_flow(&text, &context).unwrap(), rule, "{text}");
        let error = parse_flow("ip,actions=set_field:0/3->nw_tos", &context).unwrap_err();
        assert_eq!(error.message(), "set_field: 0/3 changes no bit of nw_tos");
    }
}

#[test]
fn a_conjunction_names_a_clause_and_stands_alone() {
    let parse = |actions: &str| {
        let text = format!("ip,actions={actions}");
        parse_flow(&text, &ParseContext::default()).map_err(|e| e.message().to_owned())
    };
    let rule = parse("conjunction(7, 2 / 3),note:01,conjunction(0xffffffff,1/64)").unwrap();
    let clauses: Vec<_> = Clause::all_in(&rule.actions).collect();
    let expected =
        [Clause { id: 7, clause: 2, clauses: 3 }, Clause { id: u32::MAX, clause: 1, clauses: 64 }];
    assert_eq!(clauses, expected);
    for (actions, message) in [
        ("conjunction(7)", "conjunction needs a number, a clause and how many there are"),
        ("conjunction(7,1/1)", "a conjunction cannot have 1 clauses"),
        ("conjunction(7,1/65)", "a conjunction cannot have 65 clauses"),
        ("conjunction(7,0/2)", "there is no clause 0 of 2"),
        ("conjunction(7,3/2)", "there is no clause 3 of 2"),
        (
            "output:1,conjunction(7,1/2)",
            "only note can stand beside conjunction (NXBAC_BAD_CONJUNCTION)",
        ),
        (
            "clone(conjunction(7,1/2),output:1)",
            "only note can stand beside conjunction (NXBAC_BAD_CONJUNCTION)",
        ),
    ] {
        assert_eq!(parse(actions), Err(message.to_owned()), "{actions}");
    }
}

/// OpenFlow 1.5 has `set_field` in place of `load`, and the mask of such a `set_field` may be wider than the
/// field's legal bits.
#[test]
fn the_mask_of_a_set_field_keeps_bits_that_the_field_does_not_use() {
    let version = OfVersion::OpenFlow15;
    let context = ParseContext { version, ..ParseContext::default() };
    let options = PrintOptions { version, ..PrintOptions::default() };
    for (text, expected) in [
        ("arp,actions=set_field:1/0x1ff->arp_op", (1, 0x1ff)),
        ("dl_vlan=1,actions=set_field:4096/0x1031->vlan_vid", (0x1000, 0x1031)),
        ("dl_vlan=1,actions=set_field:0x1005/0x1fff->vlan_vid", (0x1005, 0x1fff)),
    ] {
        let rule = parse_flow(text, &context).unwrap();
        let [Action::SetField { value, mask, .. }] = rule.actions[..] else { panic!("{rule:?}") };
        assert_eq!((value, mask), expected);
        let mut printed = String::new();
        write_actions(&mut printed, &rule.actions, &options);
        let again = parse_flow(&format!("dl_vlan=1,arp,actions={printed}"), &context).unwrap();
        assert_eq!(again.actions, rule.actions, "{printed}");
    }
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
            TextForm::CtState => "+trk",
            TextForm::TunFlags => "+oam",
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

#[test]
fn tables_have_numbers_and_names() {
    let names = BridgeNames {
        ports: vec![(OfPort(1), "veth0".to_owned())],
        tables: vec![
            (TableId::new(5).unwrap(), "five".to_owned()),
            (TableId::new(6).unwrap(), "a-b".to_owned()),
        ],
    };
    let context =
        ParseContext { version: OfVersion::OpenFlow13, ports: &names, ..ParseContext::default() };
    let text = "table=five,priority=7,in_port=veth0,actions=resubmit(,five),learn(table=\"a-b\",in_port=1),goto_table:a-b";
    let rule = parse_flow(text, &context).unwrap();
    assert_eq!(rule.table, TableId::new(5));
    let print = |ports: &dyn PortNames| {
        let options =
            PrintOptions { version: OfVersion::OpenFlow13, ports, stats: false, ages: true };
        let mut text = String::new();
        FlowLine::of(&rule).write(&mut text, &options);
        text
    };
    assert_eq!(
        print(&names),
        "table=five, priority=7,in_port=veth0 actions=resubmit(,five),learn(table=\"a-b\",in_port=veth0),goto_table:\"a-b\""
    );
    assert_eq!(
        print(&NoPortNames),
        "table=5, priority=7,in_port=1 actions=resubmit(,5),learn(table=6,in_port=1),goto_table:6"
    );
    let unknown = parse_flow("table=four,actions=drop", &context).unwrap_err();
    assert!(unknown.to_string().contains("\"four\" is not a table"), "{unknown}");
}
