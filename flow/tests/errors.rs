//! The error messages for refused rules, word for word.

use flow::flow_mod::Command;
use flow::text::{ParseContext, parse_flow, parse_flow_file_line};
use flow::types::{Cookie, OfPort, OfVersion};

fn error(rule: &str, context: &ParseContext<'_>) -> String {
    match parse_flow(rule, context) {
        Ok(_) => panic!("accepted: {rule}"),
        Err(error) => error.render(rule),
    }
}

fn check(rule: &str, expected: &[&str]) {
    let shown = error(rule, &ParseContext::default());
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines, expected, "{rule}");
}

#[test]
fn values_that_do_not_fit_are_marked() {
    check(
        "ip,nw_dst=10.0.0.300,actions=output:2",
        &[
            r#"nw_dst: "10.0.0.300" is not an IPv4 address or prefix"#,
            "  ip,nw_dst=10.0.0.300,actions=output:2",
            "            ^^^^^^^^^^",
        ],
    );
    check(
        "dl_vlan=5000,actions=drop",
        &[
            "dl_vlan: 5000 is too large",
            "  dl_vlan=5000,actions=drop",
            "          ^^^^",
            "hint: the largest value is 4095",
        ],
    );
    check(
        "ip,nw_tos=3,actions=drop",
        &[
            "nw_tos: 3 has ECN bits, which nw_tos does not match",
            "  ip,nw_tos=3,actions=drop",
            "            ^",
            "hint: write nw_tos=0,nw_ecn=3",
        ],
    );
    check(
        "tcp,tp_src=80/0xff00,actions=drop",
        &[
            "tp_src: 80 has bits outside its mask",
            "  tcp,tp_src=80/0xff00,actions=drop",
            "             ^^^^^^^^^",
            "hint: only 0/0xff00 would count: write that, or another mask",
        ],
    );
}

#[test]
fn what_is_not_a_number_comes_with_what_is_right() {
    check(
        "priority=-1,actions=drop",
        &[
            "priority: -1 is less than 0",
            "  priority=-1,actions=drop",
            "           ^^",
            "hint: write a number from 0 to 65535",
        ],
    );
    check(
        "tcp,tp_dst=80-90,actions=drop",
        &[
            r#"tp_dst: "80-90" is a range, and a match has one value"#,
            "  tcp,tp_dst=80-90,actions=drop",
            "             ^^^^^",
            "hint: write a rule for each of tcp_dst=80/0xfff8, tcp_dst=88/0xfffe, tcp_dst=90",
        ],
    );
    for (rule, hint) in [
        ("ip,nw_proto=6-17,actions=drop", "write one rule for each value, from nw_proto=6"),
        (
            "udp,udp_src=1-65534,actions=drop",
            "write a rule for each of udp_src=1, udp_src=2/0xfffe, udp_src=4/0xfffc, udp_src=8/0xfff8, \
             udp_src=16/0xfff0, udp_src=32/0xffe0, udp_src=64/0xffc0, udp_src=128/0xff80 and so on",
        ),
        ("tcp,tp_dst=0-65535,actions=drop", "leave it out to match every value"),
        ("tcp,tp_dst=90-80,actions=drop", "write a number from 0 to 65535"),
        ("tcp,tp_dst=http,actions=drop", "write a number from 0 to 65535"),
        ("idle_timeout=1s,actions=drop", "write a number from 0 to 65535"),
    ] {
        let error = parse_flow(rule, &ParseContext::default()).unwrap_err();
        assert_eq!(error.hint(), Some(hint), "{rule}");
    }
}

#[test]
fn missing_protocols_come_with_the_corrected_rule() {
    check(
        "priority=5,tcp_dst=80,actions=drop",
        &[
            r#"tcp_dst needs tcp or tcp6: add "tcp" to the match"#,
            "  priority=5,tcp_dst=80,actions=drop",
            "             ^^^^^^^^^^",
            "hint: write priority=5,tcp,tcp_dst=80,actions=drop",
        ],
    );
    check(
        "ip,tcp_dst=80,actions=drop",
        &[
            r#"tcp_dst needs tcp or tcp6: add "tcp" to the match"#,
            "  ip,tcp_dst=80,actions=drop",
            "     ^^^^^^^^^^",
            "hint: write tcp,tcp_dst=80,actions=drop",
        ],
    );
    check(
        "ipv6,tp_dst=80,actions=drop",
        &[
            r#"tp_dst needs tcp, tcp6, udp, udp6, sctp or sctp6: add "tcp6" to the match"#,
            "  ipv6,tp_dst=80,actions=drop",
            "       ^^^^^^^^^",
            "hint: write tcp6,tp_dst=80,actions=drop",
        ],
    );
    check(
        "nw_dst=10.0.0.1,actions=drop",
        &[
            r#"nw_dst needs ip, arp or rarp: add "ip" to the match"#,
            "  nw_dst=10.0.0.1,actions=drop",
            "  ^^^^^^^^^^^^^^^",
            "hint: write ip,nw_dst=10.0.0.1,actions=drop",
        ],
    );
    check(
        "udp,tcp_dst=80,actions=drop",
        &[
            "tcp_dst needs tcp or tcp6, but the rest of the match is for other packets",
            "  udp,tcp_dst=80,actions=drop",
            "      ^^^^^^^^^^",
        ],
    );
}

#[test]
fn contradictions_are_not_settled_by_order() {
    check(
        "in_port=1,in_port=2,actions=drop",
        &[
            "in_port is given twice",
            "  in_port=1,in_port=2,actions=drop",
            "            ^^^^^^^^^",
            "hint: remove one of them",
        ],
    );
    check(
        "ip,arp,actions=drop",
        &["arp contradicts an earlier part of the match", "  ip,arp,actions=drop", "     ^^^"],
    );
    check(
        "dl_vlan=5,vlan_tci=0,actions=drop",
        &[
            "vlan_tci=0 contradicts an earlier part of the match",
            "  dl_vlan=5,vlan_tci=0,actions=drop",
            "            ^^^^^^^^^^",
        ],
    );
}

#[test]
fn misspelt_words_get_a_suggestion() {
    check(
        "ip,nw_dts=10.0.0.1,actions=drop",
        &[
            r#"unknown keyword "nw_dts""#,
            "  ip,nw_dts=10.0.0.1,actions=drop",
            "     ^^^^^^",
            "hint: did you mean nw_dst?",
        ],
    );
    check(
        "actions=outptu:1",
        &[
            r#"there is no action "outptu""#,
            "  actions=outptu:1",
            "          ^^^^^^",
            "hint: did you mean output?",
        ],
    );
    check(
        "actions=load:1->NXM_NX_REGO[]",
        &[
            r#"there is no field "NXM_NX_REGO""#,
            "  actions=load:1->NXM_NX_REGO[]",
            "               ^^^^^^^^^^^^^^^^",
            "hint: did you mean NXM_NX_REG0?",
        ],
    );
    let ports = vec![(OfPort(1), "veth0".to_owned())];
    let context = ParseContext { ports: &ports, ..ParseContext::default() };
    let shown = error("in_port=vet0,actions=drop", &context);
    assert!(shown.starts_with(r#"in_port: there is no port "vet0""#), "{shown}");
    assert!(shown.ends_with(r#"hint: did you mean "veth0"?"#), "{shown}");
}

#[test]
fn actions_must_suit_the_match_from_1_1_on() {
    let context = ParseContext { version: OfVersion::OpenFlow13, ..ParseContext::default() };
    let rule = "actions=mod_nw_src:10.0.0.1,output:1";
    assert_eq!(
        error(rule, &context).lines().collect::<Vec<_>>(),
        [
            "mod_nw_src needs ip, which the match does not say (OFPBAC_MATCH_INCONSISTENT)",
            "  actions=mod_nw_src:10.0.0.1,output:1",
            "          ^^^^^^^^^^^^^^^^^^^",
            "hint: add ip to the match",
        ]
    );
    assert!(parse_flow(rule, &ParseContext::default()).is_ok(), "1.0 lets it do nothing");
    check(
        "actions=push_vlan:0x8100,output:1",
        &[
            "none of the usable flow formats (OXM,OpenFlow11) is among the allowed flow formats \
             (OpenFlow10,NXM)",
            "  actions=push_vlan:0x8100,output:1",
            "  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
            "hint: choose another version, like -O OpenFlow13",
        ],
    );
}

#[test]
fn instructions_have_an_order() {
    check(
        "actions=goto_table:5,output:1",
        &[
            "an action must come before goto_table",
            "  actions=goto_table:5,output:1",
            "                       ^^^^^^^^",
        ],
    );
    check(
        "actions=output:1,drop",
        &[
            "drop must not be accompanied by other actions",
            "  actions=output:1,drop",
            "                   ^^^^",
            "hint: remove drop",
        ],
    );
    check(
        "table=3,actions=goto_table:3",
        &[
            "goto_table:3 does not go forward (OFPBIC_BAD_TABLE_ID)",
            "  table=3,actions=goto_table:3",
            "                  ^^^^^^^^^^^^",
            "hint: use resubmit to go back",
        ],
    );
}

#[test]
fn attributes_belong_to_commands() {
    check(
        "ip",
        &[
            "the actions are missing",
            "  ip",
            "  ^^",
            "hint: add actions=output:PORT, or actions=drop",
        ],
    );
    let context = ParseContext { command: Command::Delete, ..ParseContext::default() };
    let shown = |rule: &str| error(rule, &context).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        shown("ip,actions=drop"),
        [
            "this command takes no actions",
            "  ip,actions=drop",
            "     ^^^^^^^^^^^^",
            "hint: leave the actions out",
        ]
    );
    assert_eq!(
        shown("priority=5,ip"),
        [
            "priority has no meaning in this command",
            "  priority=5,ip",
            "  ^^^^^^^^^^",
            "hint: leave it out to select rules of every priority; del-flows --strict (in a file: delete_strict) \
             deletes the one rule with this match and priority",
        ]
    );
    assert!(error("cookie=5", &context).starts_with("cookie: a mask is missing"));
    assert!(parse_flow("cookie=5/-1,out_port=2,table=255", &context).is_ok());
}

#[test]
fn actions_without_an_equals_sign_come_with_the_corrected_rule() {
    check(
        "ip actions drop",
        &[
            "actions needs an equals sign in front of the list",
            "  ip actions drop",
            "     ^^^^^^^",
            "hint: write ip actions=drop",
        ],
    );
    for (rule, hint) in [
        ("ip,action,output:1,output:2", "write ip,actions=output:1,output:2"),
        ("ip,actions(output:1)", "write ip,actions=output:1"),
        ("ip,actions", "write ip,actions=drop"),
    ] {
        let error = parse_flow(rule, &ParseContext::default()).unwrap_err();
        assert_eq!(error.hint(), Some(hint), "{rule}");
    }
}

#[test]
fn lines_of_files_name_their_place() {
    let line = "delete_strict priority=5,nw_dst=1.2.3.4";
    let error = parse_flow_file_line(line, &ParseContext::default()).unwrap_err();
    let shown = error.render_in_file("flows.txt", 12, line);
    assert!(shown.starts_with("flows.txt:12: nw_dst needs ip"), "{shown}");
    assert_eq!(&line[error.span()], "nw_dst=1.2.3.4");
    let parsed = parse_flow_file_line("modify ip actions=drop", &ParseContext::default()).unwrap();
    assert_eq!(parsed.command, Command::Modify);
}

#[test]
fn a_cookie_that_selects_stands_beside_a_cookie_that_is_given() {
    let context = |command| ParseContext {
        command,
        version: OfVersion::OpenFlow10,
        ..ParseContext::default()
    };
    for text in
        ["cookie=0x31/-1,cookie=0x77,actions=drop", "cookie=0x77,cookie=0x31/-1,actions=drop"]
    {
        let fm = parse_flow(text, &context(Command::Modify)).unwrap();
        let filter = Some((Cookie(0x31), Cookie(u64::MAX)));
        assert_eq!((fm.cookie, fm.modify_cookie, fm.cookie_filter), (Cookie(0x77), true, filter));
    }
    for (command, text) in [
        (Command::Modify, "cookie=1,cookie=2,actions=drop"),
        (Command::Modify, "cookie=1/-1,cookie=2/-1,actions=drop"),
        (Command::Delete, "cookie=1/-1,cookie=2/-1"),
        (Command::Delete, "cookie=1/-1,cookie=2"),
    ] {
        assert!(parse_flow(text, &context(command)).is_err(), "{text}");
    }
}

#[test]
fn what_only_open_vswitch_has_is_named_as_such() {
    for (rule, name) in [
        ("nsh_mdtype=1,actions=drop", "nsh_mdtype"),
        ("ip,actions=load:1->NXM_NX_DP_HASH[]", "NXM_NX_DP_HASH"),
        ("ip,actions=set_field:5->tun_erspan_idx", "tun_erspan_idx"),
        ("NXM_NX_DP_HASH[0..3]=1,actions=drop", "NXM_NX_DP_HASH"),
    ] {
        let error = parse_flow(rule, &ParseContext::default()).unwrap_err();
        let expected = format!("{name} is a field of Open vSwitch that this switch does not have");
        assert!(error.message().ends_with(&expected), "{rule}: {error}");
        assert_eq!(error.hint(), None);
    }
    let error = parse_flow("ip,actions=encap(mpls)", &ParseContext::default()).unwrap_err();
    assert_eq!(
        error.message(),
        "encap is an action of Open vSwitch that this switch does not have"
    );
    assert!(parse_flow("ip,actions=dec_ttl(,)", &ParseContext::default()).is_err());
}

#[test]
fn lists_and_groups_have_the_length_that_open_vswitch_allows() {
    use flow::text::{GroupCommand, parse_group};
    let context = ParseContext { version: OfVersion::OpenFlow13, ..ParseContext::default() };
    let rule = |action: &str, n: usize| format!("actions={}", vec![action; n].join(","));
    assert!(parse_flow(&rule("output:1", 4095), &context).is_ok());
    for lenient in [false, true] {
        let context = ParseContext { lenient, ..context };
        for text in [
            rule("output:1", 4096),
            rule("set_field:1->reg0", 2048),
            format!("actions=clone({})", vec!["output:1"; 4095].join(",")),
            format!("actions=note:{}", "00".repeat(65_536)),
            format!("ip,actions=dec_ttl({})", vec!["1"; 40_000].join(",")),
        ] {
            let error = parse_flow(&text, &context).unwrap_err();
            assert!(error.message().starts_with("the list of actions is too long"), "{error}");
        }
        let group = |n| format!("group_id=1,type=all{}", ",bucket=output:1".repeat(n));
        assert!(parse_group(&group(2047), GroupCommand::Add, &context).is_ok());
        let error = parse_group(&group(2048), GroupCommand::Add, &context).unwrap_err();
        assert!(error.message().starts_with("the group has too many buckets"), "{error}");
    }
}

#[test]
fn connections_are_tracked_as_far_as_the_switch_can() {
    let message = |rule: &str| match parse_flow(rule, &ParseContext::default()) {
        Ok(_) => panic!("accepted: {rule}"),
        Err(error) => error.message().to_owned(),
    };
    for (rule, part) in [
        ("ip,actions=ct(commit,nat(frob))", "nat: there is no argument \"frob\""),
        (
            "ip,actions=ct(commit,nat(src=10.0.0.1,dst=10.0.0.2))",
            "src and dst cannot stand together",
        ),
        ("ip,actions=ct(commit,nat(src=10.0.0.1,hash,random))", "by hash or at random"),
        ("ip,actions=ct(nat(random))", "need src or dst"),
        ("ip,actions=ct(commit,nat(src=10.0.0.2-10.0.0.1))", "its last address before the first"),
        ("ip,actions=ct(commit,nat(src=10.0.0.1:9-8))", "its last port before the first"),
        ("ip,actions=ct(commit,nat(src=10.0.0.1:0))", "0 is not a port"),
        ("ip,actions=ct(commit,nat(src=10.0.0.300))", "has no IPv4 address"),
        ("ip,actions=ct(commit,nat(src=2001:db8::g))", "has no IPv6 address"),
        ("ip,actions=ct(nat(src=10.0.0.1))", "begins a translation, which needs commit"),
        ("ip,actions=ct(commit,nat(src=fe80::1))", "nat needs ipv6, which the match does not say"),
        ("ipv6,actions=ct(commit,nat(src=10.0.0.1))", "nat needs ip, which the match does not say"),
        ("ip,actions=nat", "nat is an argument of ct"),
        ("tcp,actions=ct(commit,alg=sip)", "alg: there is no helper \"sip\""),
        ("ip,actions=ct(commit,alg=ftp)", "alg needs tcp, which the match does not say"),
        ("tcp,actions=ct(commit,alg=tftp)", "alg needs udp, which the match does not say"),
        ("ip,actions=ct(frob)", "there is no argument \"frob\""),
        ("ip,actions=ct(force)", "force needs commit"),
        ("ip,actions=ct(exec(set_field:1->ct_mark))", "needs commit"),
        ("ip,actions=ct(commit,exec(output:1))", "exec takes set_field, load and move"),
        ("ip,actions=ct(commit,exec(set_field:1->reg0))", "exec cannot change reg0"),
        ("ip,actions=set_field:1->ct_mark", "cannot be changed here"),
        ("ip,actions=move:NXM_NX_REG0[]->NXM_NX_CT_MARK[]", "cannot be changed here"),
        ("ip,actions=ct(zone=70000)", "too large"),
        ("ip,actions=ct(zone=reg0)", "32 bits are not the number of a zone"),
        ("ip,actions=ct(table=255)", "all tables"),
        ("arp,actions=ct(commit)", "OFPBAC_MATCH_INCONSISTENT"),
        ("ip,ct_state=+inv,actions=ct(commit)", "OFPBAC_MATCH_INCONSISTENT"),
        ("ip,ct_state=+frob,actions=drop", "is not a connection state"),
        ("ip,ct_nw_src=10.0.0.1,actions=drop", "ct_nw_src needs ct_state"),
    ] {
        assert!(message(rule).contains(part), "{rule}: {}", message(rule));
    }
}
