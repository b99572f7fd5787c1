//! Tests of `ofctl` as users run it: as a process that talks to a switch with ports in memory.

mod bench;
mod bridges;
mod cached_flows;
mod connection_events;
mod hostile;
mod json;
mod lint;
mod monitor;
mod saved;
mod socket;
mod trace;

use bench::Bench;

#[test]
fn rules_come_back_as_they_went_in() {
    let bench = Bench::new();
    bench.ok(&["add-flow", "br0", "priority=5,tcp,in_port=p1,actions=output:p2"]);
    bench.ok(&["add-flow", "cookie=0x2a,table=1,ip,nw_dst=10.0.0.0/24,actions=2"]);
    let rules = " priority=0 actions=NORMAL\n priority=5,tcp,in_port=1 actions=output:2\n";
    assert_eq!(bench.ok(&["dump-flows", "--no-stats", "table=0"]), rules);
    assert_eq!(
        bench.ok(&["dump-flows", "br0", "--no-stats", "--names", "tcp"]),
        " priority=5,tcp,in_port=p1 actions=output:p2\n"
    );
    assert_eq!(
        bench.ok(&["--no-stats", "dump-flows", "cookie=0x2a/-1"]),
        " cookie=0x2a, table=1, ip,nw_dst=10.0.0.0/24 actions=output:2\n"
    );
    bench.ok(&["-O", "OpenFlow13", "mod-flows", "tcp,actions=drop"]);
    assert!(bench.ok(&["dump-flows", "tcp"]).contains("priority=5,tcp,in_port=1 actions=drop\n"));
    bench.ok(&["--strict", "del-flows", "priority=6,tcp,in_port=1"]);
    assert!(bench.ok(&["dump-aggregate"]).ends_with("flow_count=3\n"));
    bench.ok(&["del-flows"]);
    assert_eq!(bench.ok(&["dump-flows"]), "NXST_FLOW reply (xid=0x4):\n");
}

#[test]
fn headers_depend_on_the_version_and_on_who_reads() {
    let bench = Bench::new();
    let first_line = |arguments: &[&str]| {
        let text = bench.ok(arguments);
        text.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(first_line(&["dump-flows"]), "NXST_FLOW reply (xid=0x4):");
    assert_eq!(first_line(&["-OOpenFlow13", "dump-flows"]), "OFPST_FLOW reply (OF1.3) (xid=0x2):");
    for plain in ["--names", "--sort", "--no-stats"] {
        let line = first_line(&["dump-flows", plain]);
        assert!(line.ends_with("priority=0 actions=NORMAL"), "{line}");
        assert!(!line.contains("idle_age"), "{line}");
    }
    assert!(first_line(&["dump-flows"]).starts_with("NXST"));
    assert!(first_line(&["dump-aggregate"]).starts_with("NXST_AGGREGATE reply (xid=0x4): packet_"));
    assert_eq!(first_line(&["dump-tables"]), "OFPST_TABLE reply (xid=0x2):");
    assert_eq!(first_line(&["dump-ports"]), "OFPST_PORT reply (xid=0x2): 3 ports");
}

#[test]
fn a_file_is_applied_whole_or_not_at_all() {
    let bench = Bench::new();
    let good =
        bench.file("good", "# two rules\nip,actions=1\n\ndelete priority=0\narp,actions=2 # 2\n");
    let bad = bench.file("bad.txt", "udp,actions=1\nip,nw_dst=10.0.0.300,actions=drop\n");
    bench.ok(&[
        "--bundle",
        "-OOpenFlow14",
        "add-flows",
        &bench.file("g", "ip,actions=1\narp,actions=2\n"),
    ]);
    let (status, _, errors) = bench.run(&["add-flows", &good]);
    assert_eq!(status, 1, "a match has no priority here: {errors}");
    let (status, _, errors) = bench.run(&["add-flows", &bad]);
    assert_eq!(status, 1);
    insta::assert_snapshot!(errors.replace(&bench.folder(), ""), @r#"
    ofctl: /bad.txt:2: nw_dst: "10.0.0.300" is not an IPv4 address or prefix
      ip,nw_dst=10.0.0.300,actions=drop
                ^^^^^^^^^^
    hint: ofctl check /bad.txt shows all mistakes of the file at once
    "#);
    assert!(bench.ok(&["dump-aggregate"]).ends_with("flow_count=3\n"));
    let (status, _, errors) = bench.run_with(&["add-flows", "-"], "udp,actions=3\nfrob\n");
    assert_eq!(status, 1);
    assert!(errors.starts_with("ofctl: <stdin>:2: unknown keyword \"frob\"\n"), "{errors}");
}

#[test]
fn what_is_no_file_of_rules_is_named() {
    let bench = Bench::new();
    let folder = bench.folder();
    let binary = format!("{folder}/binary");
    std::fs::write(&binary, b"ip,actions=1\n\x7fELF\xff\xfe\n").unwrap();
    for verb in ["add-flows", "replace-flows", "add-groups", "plan", "apply", "diff-flows", "lint"]
    {
        let (status, _, errors) = bench.run(&[verb, &folder]);
        let expected = format!("ofctl: read {folder}: Is a directory (os error 21)\n");
        assert_eq!((status, errors), (1, expected), "{verb}");
        let (status, _, errors) = bench.run(&[verb, &binary]);
        let expected = format!("ofctl: {binary}: line 2 is not UTF-8 text\n");
        assert_eq!((status, errors), (1, expected), "{verb}");
    }
}

#[test]
fn the_check_of_a_file_has_the_options_of_the_verb() {
    let bench = Bench::new();
    let bad = bench.file("bad", "ip,nw_dts=10.0.0.1,actions=drop\n");
    let (_, _, errors) = bench.run(&["-O", "OpenFlow13", "--lenient", "replace-flows", &bad]);
    let hints: Vec<_> = errors.lines().filter(|line| line.starts_with("hint: ")).collect();
    assert_eq!(
        hints,
        [
            "hint: did you mean nw_dst?",
            &format!(
                "hint: ofctl -O OpenFlow13 --lenient check {bad} shows all mistakes of the file at once"
            ),
        ]
    );
}

#[test]
fn the_switch_refuses_in_the_words_of_openflow() {
    let bench = Bench::new();
    let (status, _, errors) = bench.run(&["add-flow", "actions=group:99"]);
    assert_eq!(status, 1);
    assert!(errors.starts_with("ofctl: OFPBAC_BAD_OUT_GROUP: group 99 does not exist"), "{errors}");
    let (status, _, errors) = bench.run(&["dump-flows", "br7", "tcp"]);
    assert_eq!((status, errors.lines().next()), (1, Some("ofctl: there is no bridge \"br7\"")));
}

#[test]
fn sorted_lists_are_in_order() {
    let bench = Bench::new();
    let rules = "priority=7,in_port=2,actions=drop\npriority=3,in_port=3,actions=drop\n\
                 priority=9,udp,actions=drop\n";
    bench.ok(&["replace-flows", &bench.file("r", rules)]);
    let sorted = |option: &str| bench.ok(&["--no-stats", "dump-flows", option]);
    assert_eq!(
        sorted("--sort"),
        " priority=3,in_port=3 actions=drop\n priority=7,in_port=2 actions=drop\n \
         priority=9,udp actions=drop\n"
    );
    assert_eq!(
        sorted("--rsort=in_port"),
        " priority=3,in_port=3 actions=drop\n priority=7,in_port=2 actions=drop\n \
         priority=9,udp actions=drop\n"
    );
    assert!(sorted("--sort=in_port").starts_with(" priority=7,in_port=2"));
    assert_eq!(bench.run(&["dump-flows", "--sort=nonsense"]).0, 2);
}

#[test]
fn replacing_keeps_what_stays_and_diff_tells_what_differs() {
    let bench = Bench::new();
    let old = bench.file("old", "cookie=1,ip,actions=1\nipv6,actions=1\ntable=1,arp,actions=2\n");
    let new = bench.file("new", "cookie=1,ip,actions=1\nipv6,actions=2\ntable=2,arp,actions=2\n");
    bench.ok(&["replace-flows", &old]);
    assert_eq!(bench.ok(&["diff-flows", &old]), "");
    let (status, text, _) = bench.run(&["diff-flows", "br0", &new]);
    assert_eq!(status, 2);
    assert_eq!(
        text,
        "-ipv6 actions=output:1\n+ipv6 actions=output:2\n-table=1 arp actions=output:2\n\
         +table=2 arp actions=output:2\n"
    );
    assert_eq!(bench.run(&["diff-flows", &old, &new]), (2, text, String::new()));
    // Rules that look at the same bits stand together, those of the highest priority first.
    let left = "tcp,actions=1\nactions=1\npriority=7,in_port=2,actions=1\nudp,actions=1\n";
    let right = "priority=9,in_port=3,actions=1\nipv6,actions=1\npriority=40000,icmp,actions=1\n";
    let (status, text, _) =
        bench.run(&["diff-flows", &bench.file("a", left), &bench.file("b", right)]);
    assert_eq!(status, 2);
    assert_eq!(
        text,
        "-tcp actions=output:1\n-udp actions=output:1\n+priority=40000,icmp actions=output:1\n\
         - actions=output:1\n+ipv6 actions=output:1\n-priority=7,in_port=2 actions=output:1\n\
         +priority=9,in_port=3 actions=output:1\n"
    );
    bench.ok(&["replace-flows", &new]);
    assert_eq!(bench.ok(&["diff-flows", &new, "br0"]), "");
    assert_eq!(bench.run(&["diff-flows", &new, "/nonexistent"]).0, 1);
    let (status, _, errors) = bench.run(&["diff-flows", "-", "-"]);
    assert!(status == 1 && errors.contains("standard input can be one"), "{errors}");
}

#[test]
fn meters_are_shown_as_open_vswitch_shows_them() {
    let bench = Bench::new();
    bench.ok(&["add-meter", "meter=1,kbps,burst,stats,bands=type=drop,rate=1000,burst_size=100"]);
    bench.ok(&["add-meter", "meter=controller,pktps,bands=type=drop,rate=10"]);
    bench.ok(&["-OOpenFlow13", "add-flow", "priority=7,actions=meter:1,output:2"]);
    let expected = "OFPST_METER_CONFIG reply (OF1.3) (xid=0x2):\n\
                    meter=1 kbps burst stats bands=\ntype=drop rate=1000 burst_size=100\n\n\
                    meter=controller pktps bands=\ntype=drop rate=10\n";
    assert_eq!(bench.ok(&["dump-meters"]), expected);
    let stats = bench.ok(&["meter-stats", "meter=1"]);
    let expected = "OFPST_METER reply (OF1.3) (xid=0x2):\n\
                    meter:1 flow_count:1 packet_in_count:0 byte_in_count:0 duration:";
    assert!(stats.starts_with(expected), "{stats}");
    assert!(stats.ends_with("s bands:\n0: packet_count:0 byte_count:0\n"), "{stats}");
    let features = bench.ok(&["meter-features"]);
    assert!(features.contains("\nmax_meter:262144 max_bands:8 max_color:0\n"), "{features}");
    bench.ok(&["del-meters", "meter=1"]);
    assert!(!bench.ok(&["-OOpenFlow13", "dump-flows"]).contains("meter:"), "the rule went, too");
    bench.ok(&["del-meters"]);
    assert_eq!(bench.ok(&["dump-meters"]), "OFPST_METER_CONFIG reply (OF1.3) (xid=0x2):\n");
}

#[test]
fn groups_are_shown_in_the_dialect_that_is_asked_for() {
    let bench = Bench::new();
    let group = "group_id=1,type=select,bucket=weight:2,actions=output:1,bucket=actions=output:2";
    bench.ok(&["-O", "OpenFlow13", "add-group", "br0", group]);
    assert_eq!(
        bench.ok(&["-O", "OpenFlow13", "dump-groups"]),
        format!("OFPST_GROUP_DESC reply (OF1.3) (xid=0x2):\n {group}\n")
    );
    assert!(bench.ok(&["dump-groups", "1"]).contains("bucket=bucket_id:0,weight:2,actions"));
    bench.ok(&["-OOpenFlow13", "add-flow", "icmp,actions=group:1"]);
    let stats = bench.ok(&["-OOpenFlow13", "dump-group-stats", "group_id=1"]);
    assert!(stats.starts_with("OFPST_GROUP reply (OF1.3) (xid=0x6):\n group_id=1,duration="));
    assert!(stats.contains(",ref_count=1,packet_count=0,byte_count=0,bucket0:"), "{stats}");
    let (status, _, errors) = bench.run(&["-OOpenFlow13", "add-group", group]);
    assert_eq!(status, 1);
    assert!(errors.contains("OFPGMFC_GROUP_EXISTS"), "{errors}");
    bench.ok(&["-O", "OpenFlow13", "del-groups"]);
    assert!(!bench.ok(&["dump-flows"]).contains("icmp"), "its rules go with it");
}

#[test]
fn traces_show_what_goes_through_a_tunnel() {
    let bench = Bench::new();
    bench.ok(&["add-tlv-map", "br0", "{class=0xffff,type=0,len=4}->tun_metadata0"]);
    bench.ok(&["add-port", "vxlan:v", "number=8", "remote_ip=192.0.2.2", "dst_port=14790"]);
    bench.ok(&["add-port", "geneve:g", "number=9", "remote_ip=192.0.2.3", "dst_port=16082"]);
    let actions = "set_field:5->tun_metadata0,output:8,output(port=9,max_len=64),output:8";
    bench.ok(&["add-flow", &format!("in_port=1,ip,actions={actions}")]);
    // Only Geneve has options.
    let plain = "tunnel(tun_id=0x0,dst=192.0.2.2,ttl=64,8)";
    let option = "options({class=0xffff,type=0x0,len=4,0x00000005})";
    let cut = format!("trunc(64),tunnel(tun_id=0x0,dst=192.0.2.3,ttl=64,{option},9)");
    let traced = bench.ok(&["trace", "in_port=1,tcp,nw_ecn=0"]);
    let expected = format!("Datapath actions: {plain},{cut},{plain}\n");
    assert!(traced.contains(&expected), "{traced}");
}

#[test]
fn ports_are_changed_and_shown() {
    let bench = Bench::new();
    bench.ok(&["set-port", "p1", "tag=10 vlan_mode=access"]);
    bench.ok(&["mod-port", "br0", "p2", "no-flood"]);
    let shown = bench.ok(&["show"]);
    assert!(shown.contains(" 1(p1): addr:"), "{shown}");
    assert!(shown.contains("vlan: vlan_mode=access tag=10"), "{shown}");
    let port = bench.ok(&["dump-ports-desc", "2"]);
    assert!(port.contains("config:     NO_FLOOD\n"), "{port}");
    for word in ["no-stp", "no-receive-stp"] {
        bench.ok(&["mod-port", "p2", word]);
    }
    let port = bench.ok(&["dump-ports-desc", "2"]);
    assert!(port.contains("config:     NO_STP NO_RECV_STP NO_FLOOD\n"), "{port}");
    for word in ["stp", "receive-stp"] {
        bench.ok(&["mod-port", "p2", word]);
    }
    bench.ok(&["set-port", "p1", ""]);
    bench.ok(&["mod-port", "p2", "flood"]);
    assert!(!bench.ok(&["show"]).contains("vlan:"));
    assert_eq!(bench.ok(&["list-ports"]), "p1\np2\np3\n");
    // A port has the name of the bridge, as the LOCAL port usually has.
    bench.ok(&["add-port", "dummy:br0", "number=LOCAL"]);
    bench.ok(&["mod-port", "br0", "no-flood"]);
    bench.ok(&["set-port", "br0", "tag=5", "protected=true"]);
    let port = bench.ok(&["dump-ports-desc", "LOCAL"]);
    assert!(port.contains("config:     NO_FLOOD\n") && port.contains("tag=5"), "{port}");
    // Words for VLANs are one setting, and the other settings stay.
    bench.ok(&["set-port", "br0", "vlan_mode=native-tagged", "tag=6"]);
    bench.ok(&["set-port", "br0", "tag=7"]);
    let port = bench.ok(&["dump-ports-desc", "LOCAL"]);
    assert!(port.contains("vlan: vlan_mode=access tag=7 protected=true\n"), "{port}");
    bench.ok(&["set-port", "br0", "protected=false"]);
    let port = bench.ok(&["dump-ports-desc", "LOCAL"]);
    assert!(port.contains("vlan: vlan_mode=access tag=7\n"), "{port}");
    let help = bench.ok(&["help", "set-port"]);
    assert!(
        help.contains("priority-tags, of which those that are not given get their defaults"),
        "{help}"
    );
    bench.ok(&["set-port", "br0", "br0", ""]);
    bench.ok(&["del-port", "br0"]);
    assert_eq!(bench.ok(&["list-ports", "br0"]), "p1\np2\np3\n");
    assert_eq!(bench.run(&["mod-port", "p9", "up"]).0, 1);
    assert_eq!(bench.run(&["mod-port", "p1", "sideways"]).0, 2);
}

#[test]
fn hosts_are_added_listed_and_removed() {
    let bench = Bench::new();
    bench.ok(&["fdb-add", "p2", "5", "02:00:00:00:00:01"]);
    assert_eq!(
        bench.ok(&["fdb-show"]),
        " port  VLAN  MAC                Age\n    2     5  02:00:00:00:00:01  static\n"
    );
    assert!(bench.ok(&["fdb-stats"]).contains("Current static MAC entries in the table : 1\n"));
    bench.ok(&["fdb-flush"]);
    bench.ok(&["fdb-del", "5", "02:00:00:00:00:01"]);
    assert_eq!(bench.run(&["fdb-del", "5", "02:00:00:00:00:01"]).0, 1);
}

#[test]
fn a_packet_is_followed_through_the_tables() {
    let bench = Bench::new();
    bench.ok(&["add-flow", "in_port=1,ip,actions=resubmit(,1),output:3"]);
    bench.ok(&["add-flow", "table=1,tcp,cookie=7,actions=mod_nw_dst:10.1.1.1,output:2"]);
    insta::assert_snapshot!(bench.ok(&["trace", "in_port=p1,tcp,nw_dst=10.0.0.1"]), @r#"
    Flow: tcp,in_port=1,vlan_tci=0x0000,dl_src=00:00:00:00:00:00,dl_dst=00:00:00:00:00:00,nw_src=0.0.0.0,nw_dst=10.0.0.1,nw_tos=0,nw_ecn=0,nw_ttl=0,nw_frag=no,tp_src=0,tp_dst=0,tcp_flags=0

    bridge("br0")
    -------------
     0. ip,in_port=1, priority 32768
        resubmit(,1)
         1. tcp, priority 32768, cookie 0x7
                mod_nw_dst:10.1.1.1
                output:2
        output:3

    Final flow: tcp,in_port=1,vlan_tci=0x0000,dl_src=00:00:00:00:00:00,dl_dst=00:00:00:00:00:00,nw_src=0.0.0.0,nw_dst=10.1.1.1,nw_tos=0,nw_ecn=0,nw_ttl=0,nw_frag=no,tp_src=0,tp_dst=0,tcp_flags=0
    Megaflow: recirc_id=0,eth,tcp,in_port=1,nw_dst=10.0.0.1,nw_frag=no
    Datapath actions: set(ipv4(dst=10.1.1.1)),2,3
    "#);
}

#[test]
fn every_dump_is_json_when_asked() {
    let bench = Bench::new();
    bench.ok(&["-O", "OpenFlow13", "add-group", "group_id=1,type=all,bucket=output:1"]);
    bench.ok(&["add-flow", "cookie=0x2a,priority=5,tcp,actions=output:p2"]);
    bench.ok(&["fdb-add", "p1", "0", "02:00:00:00:00:01"]);
    for verb in [
        "dump-flows",
        "dump-aggregate",
        "dump-tables",
        "dump-groups",
        "dump-group-stats",
        "show",
        "dump-ports",
        "dump-ports-desc",
        "list-ports",
        "fdb-show",
        "fdb-stats",
        "cache-show",
        "drops",
    ] {
        let text = bench.ok(&["--json", verb]);
        let value: serde_json::Value = serde_json::from_str(&text).expect(verb);
        assert!(!value.is_null(), "{verb}");
    }
    let text = bench.ok(&["--json", "--names", "dump-flows", "tcp"]);
    let flows: serde_json::Value = serde_json::from_str(&text).unwrap();
    let flow = &flows[0];
    assert_eq!(flow["match"], "tcp");
    assert_eq!(flow["actions"], "output:p2");
    assert_eq!((flow["cookie"].as_str(), flow["priority"].as_u64()), (Some("0x2a"), Some(5)));
    let text = bench.ok(&["--json", "trace", "in_port=1,tcp"]);
    let trace: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(trace["steps"][0]["rule"]["cookie"], "0x2a");
}

#[test]
fn statuses_tell_usage_from_failure() {
    let bench = Bench::new();
    for (arguments, status) in [
        (&["frob"][..], 2),
        (&["add-flow"], 2),
        (&["add-flow", "br0"], 2),
        (&["add-flow", "a", "b", "c"], 2),
        (&["-O", "OpenFlow99", "show"], 2),
        (&["add-flow", "frob"], 1),
        (&["add-flows", "/nonexistent"], 1),
        (&["show", "--socket", "/nonexistent"], 1),
        (&["--help"], 0),
    ] {
        assert_eq!(bench.run(arguments).0, status, "{arguments:?}");
    }
}

#[test]
fn a_packet_out_is_sent_or_says_why_not() {
    const FRAME: &str = "ffffffffffff02000000000188b50000";
    let bench = Bench::new();
    let text = format!("in_port=p1,packet={FRAME},actions=TABLE");
    assert_eq!(bench.run(&["packet-out", "br0", &text]), (0, String::new(), String::new()));
    assert!(bench.ok(&["dump-tables"]).contains("active=1, lookup=1, matched=1"));
    assert!(bench.ok(&["dump-flows"]).contains("n_packets=1, n_bytes=16,"));
    // The old form of the verb, with several packets.
    bench.ok(&["packet-out", "NONE", "2,3", FRAME, FRAME]);
    assert!(bench.ok(&["dump-ports", "p2"]).contains("tx pkts=3, bytes=48,"));
    let sent = bench.ok(&["--json", "packet-out", &format!("packet={FRAME} actions=p1,3")]);
    assert_eq!(sent, "[\n  {\n    \"sent_to\": [\n      \"p1\",\n      \"p3\"\n    ]\n  }\n]\n");
    let (status, _, errors) = bench.run(&["packet-out", &format!("packet={FRAME} actions=77")]);
    assert_eq!(status, 0);
    assert!(errors.starts_with("ofctl: the packet was dropped: every output "), "{errors}");
    let (status, _, errors) = bench.run(&["packet-out", &format!("in_port=9,{text}")]);
    assert_eq!(status, 1);
    assert!(errors.starts_with("ofctl: in_port: given twice\n"), "{errors}");
    let nowhere = format!("in_port=9,packet={FRAME},actions=2");
    assert!(bench.run(&["packet-out", &nowhere]).2.starts_with("ofctl: there is no port \"9\"\n"));
    assert_eq!(bench.run(&["packet-out", "1", "2"]).0, 2);
}

#[test]
fn words_are_quoted_once_and_numbers_keep_to_their_bounds() {
    let bench = Bench::new();
    bench.ok(&["mod-port", "\"p3\"", "no-flood"]);
    for (arguments, message) in [
        (["mod-port", "\"p88\"", "up"].as_slice(), "there is no port \"p88\""),
        (&["add-flow", "actions=\"p88\""], "there is no action \"p88\""),
        (&["add-flow", "\"ip\",actions=drop"], "unknown keyword \"ip\""),
        (&["add-flow", "priority=-1,actions=drop"], "priority: -1 is less than 0"),
        (&["del-flows", "cookie=5/4"], "cookie: 5 has bits outside its mask"),
    ] {
        let (status, _, errors) = bench.run(arguments);
        assert_eq!(status, 1, "{arguments:?}");
        assert!(errors.starts_with(&format!("ofctl: {message}\n")), "{arguments:?}: {errors}");
    }
    bench.ok(&["--lenient", "del-flows", "cookie=5/4"]);
    let (status, _, errors) = bench.run(&["add-flow", "in_port=88,actions=drop"]);
    assert_eq!((status, errors.starts_with("note: the bridge has no port 88: rules ")), (0, true));
}

#[test]
fn names_and_labels_select_rules() {
    let bench = Bench::new();
    bench.ok(&["add-flow", "name=web,label=shop,priority=7,tcp,tp_dst=80,actions=2"]);
    bench.ok(&["add-flow", "name=tls,label=shop,priority=7,tcp,tp_dst=443,actions=2"]);
    let web = " name=web, label=shop, priority=7,tcp,tp_dst=80 actions=output:2\n";
    assert_eq!(bench.ok(&["--no-stats", "dump-flows", "name=web"]), web);
    assert!(bench.ok(&["dump-aggregate", "label=shop"]).ends_with("flow_count=2\n"));
    let (status, _, errors) = bench.run(&["add-flow", "name=web,udp,actions=drop"]);
    assert_eq!(status, 1);
    assert!(errors.contains("name=\"web\" is the name of another rule"), "{errors}");
    // A dump is a file of rules that `ofctl` reads again.
    bench.ok(&["del-flows", "name=web"]);
    bench.ok(&["add-flow", web.trim()]);
    bench.ok(&["mod-flows", "name=web,actions=drop"]);
    bench.ok(&["mod-flows", "name=nobody,actions=drop"]);
    assert!(bench.ok(&["dump-flows", "name=web"]).contains("tp_dst=80 actions=drop\n"));
    assert!(bench.ok(&["dump-aggregate"]).ends_with("flow_count=3\n"));
    bench.ok(&["del-flows", "label=shop"]);
    assert!(bench.ok(&["dump-aggregate"]).ends_with("flow_count=1\n"));
}

/// Rules that together have every field and every action, as a file for `add-flows`, of one version.
fn every_word(version: &str) -> String {
    let lines = include_str!("../../../flow/tests/data/every-word.txt").lines();
    lines
        .filter_map(|line| line.strip_prefix(version))
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn a_table_with_every_field_and_action_is_listed_in_every_way_in_every_version() {
    let bench = Bench::new();
    bench.ok(&["del-flows"]);
    bench.ok(&["-OOpenFlow13", "add-group", "group_id=1,type=all,bucket=output:1"]);
    bench.ok(&["add-meter", "meter=1,kbps,bands=type=drop,rate=1"]);
    let option = |n| format!("{{class=0xff00,type={n},len=4}}->tun_metadata{n}");
    bench.ok(&["add-tlv-map", "br0", &(0..64).map(option).collect::<Vec<_>>().join(",")]);
    bench.ok(&["-OOpenFlow10", "add-flows", &bench.file("10", &every_word("10 "))]);
    bench.ok(&["-OOpenFlow13", "add-flows", &bench.file("13", &every_word("13 "))]);
    let count = every_word("").lines().filter(|line| line.starts_with('1')).count();
    let ways: [&[&str]; 9] = [
        &["dump-flows"],
        &["dump-flows", "--names"],
        &["dump-flows", "--no-stats"],
        &["dump-flows", "--sort"],
        &["dump-flows", "--rsort=in_port"],
        &["dump-flows", "--sort=nw_src", "--names", "--no-stats"],
        &["dump-flows", "--json"],
        &["dump-flows", "--json", "--rsort=tcp_dst"],
        &["lint"],
    ];
    for version in ["10", "11", "12", "13", "14", "15"] {
        let version = format!("-OOpenFlow{version}");
        for way in ways {
            let (status, text, errors) = bench.run(&[&[version.as_str()], way].concat());
            assert_eq!(errors, "", "{version} {way:?}");
            if way[0] == "dump-flows" {
                let rules = match way.contains(&"--json") {
                    true => text.matches("\"priority\"").count(),
                    false => text.matches("actions=").count(),
                };
                assert_eq!((status, rules), (0, count), "{version} {way:?}: {text}");
            }
        }
        let plain = bench.ok(&[&version, "--no-stats", "--sort", "dump-flows"]);
        let sorted: Vec<u16> = plain.lines().filter_map(priority).collect();
        assert!(sorted.is_sorted() && sorted.len() == count, "{version}: {plain}");
    }
}

/// The priority in a line of `dump-flows`.
fn priority(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("priority=")?;
    rest.split([',', ' ']).next()?.parse().ok()
}

#[test]
fn of_several_versions_and_formats_the_first_that_can_say_the_rule_is_chosen() {
    let bench = Bench::new();
    let chosen = |options: &[&str], rule: &str| {
        let (status, text, errors) = bench.run(&[options, &["parse-flow", rule]].concat());
        let chosen = text.lines().find_map(|line| line.strip_prefix("chosen protocol: "));
        assert_eq!(status, i32::from(chosen.is_none()), "{errors}");
        chosen.unwrap_or("none").to_owned()
    };
    let both = ["-OOpenFlow10,OpenFlow13"];
    // What ovs-ofctl 3.1 chooses.
    assert_eq!(chosen(&both, "ip,actions=output:1"), "OpenFlow10-table_id");
    assert_eq!(chosen(&both, "ip,actions=write_metadata:1"), "NXM-table_id");
    assert_eq!(chosen(&both, "ip,actions=push_vlan:0x8100"), "OXM-OpenFlow13");
    assert_eq!(chosen(&["-OOpenFlow13,OpenFlow12"], "actions=push_vlan:0x8100"), "OXM-OpenFlow12");
    assert_eq!(chosen(&[], "ip,actions=push_vlan:0x8100"), "none");
    assert_eq!(chosen(&["-F", "NXM+table_id", "-m"], "ip,actions=output:1"), "NXM+table_id");
    assert_eq!(chosen(&["-FOXM", "-OOpenFlow10,OpenFlow14"], "actions=1"), "OXM-OpenFlow14");
    assert_eq!(chosen(&["-F", "OpenFlow10"], "ip,reg0=1,actions=output:1"), "none");
    assert_eq!(chosen(&["-F", "OpenFlow10,NXM-table_id"], "reg0=1,actions=1"), "NXM-table_id");
    assert_eq!(bench.run(&["-F", "foo", "parse-flow", "actions=1"]).0, 2);
    let (status, text, errors) = bench.run(&["-F", "oxm", "parse-flow", "ip,actions=1"]);
    assert_eq!((status, text.as_str()), (2, ""));
    assert_eq!(
        errors,
        "ofctl: None of the enabled OpenFlow versions (OpenFlow10) supports any of the enabled flow formats (OXM).  (Use -O \
         to enable additional OpenFlow versions or -F to enable additional flow formats.)\n"
    );
    // The switch obeys the formats, too.
    assert_eq!(bench.run(&["-F", "OpenFlow10", "add-flow", "reg0=1,actions=1"]).0, 1);
    bench.ok(&["-F", "NXM", "add-flow", "reg0=1,actions=1"]);
}

#[test]
fn files_are_checked_and_compared_as_json() {
    let bench = Bench::new();
    let file = bench.file("rules", "in_port=p1,actions=p2\nip,actions=drp\n");
    let parse = |text: &str| -> serde_json::Value { serde_json::from_str(text).expect(text) };
    let (status, text, _) = bench.run(&["--json", "check", &file]);
    let report = parse(&text);
    assert_eq!((status, report["errors"][0]["place"]["line"].as_u64()), (1, Some(2)));
    assert_eq!(report["unchecked_ports"].as_array().map(Vec::len), Some(2));
    let good = bench.file("good", "in_port=p1,actions=p2\n");
    bench.ok(&["check", &good, "--ports", "p1,p2,p3"]);
    assert_eq!(bench.run(&["check", &good, "--ports", "p1"]).0, 1);
    let parsed = parse(&bench.ok(&["--json", "parse-flow", "ip,actions=drop"]));
    assert_eq!(parsed["messages"].as_array().map(Vec::len), Some(1));
    let (status, text, _) = bench.run(&["--json", "diff-flows", "br0", &good]);
    assert_eq!((status, parse(&text).as_array().map(Vec::len)), (2, Some(2)), "{text}");
}

#[test]
fn a_list_of_groups_can_be_added_again() {
    let bench = Bench::new();
    let of13 = ["-O", "OpenFlow13"];
    bench.ok(&[&of13[..], &["add-group", "group_id=3,type=all,bucket=output:2"]].concat());
    let list = bench.ok(&[&of13[..], &["dump-groups"]].concat());
    bench.ok(&[&of13[..], &["del-groups"]].concat());
    let file = bench.file("groups", &list);
    bench.ok(&[&of13[..], &["add-groups", &file]].concat());
    assert_eq!(bench.ok(&[&of13[..], &["dump-groups"]].concat()), list);
}

#[test]
fn a_port_whose_device_is_missing_is_added_with_a_note() {
    let bench = Bench::new();
    let notes = bench.notes(&["add-port", "nosuch0"]);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("port nosuch0 is added, and not in use yet: "), "{notes:?}");
    assert_eq!(bench.notes(&["add-port", "dummy:d1"]), [""; 0]);
}

#[test]
fn actions_that_have_no_effect_are_accepted_with_notes() {
    let bench = Bench::new();
    let missing = |ports: &str| format!("the bridge has no {ports} no effect until ");
    for (rule, told) in [
        ("in_port=1,actions=output:77", missing("port 77: outputs to it have")),
        (
            "in_port=2,actions=CONTROLLER",
            "no controller that wants packets is connected: ".to_owned(),
        ),
        ("in_port=3,actions=enqueue:1:1", "port 1 has no queues: ".to_owned()),
        ("in_port=3,actions=set_queue:1,output:1", "port 1 has no queues: ".to_owned()),
    ] {
        for verb in ["add-flow", "mod-flows"] {
            let notes = bench.notes(&[verb, rule]);
            assert!(notes.len() == 1 && notes[0].starts_with(&told), "{verb} {rule}: {notes:?}");
        }
    }
    assert_eq!(bench.notes(&["add-flow", "actions=NORMAL"]), [""; 0]);

    // The rules fill several batches, and the last one names a port of its own.
    let mut rules: String =
        (0..2000).map(|n| format!("tcp,tp_dst={n},actions=output:{}\n", 70 + n % 5)).collect();
    rules += "udp,actions=output:90\n";
    let file = bench.file("rules", &rules);
    for verb in ["add-flows", "replace-flows"] {
        let notes = bench.notes(&[verb, &file]);
        assert_eq!(notes.len(), 1, "{notes:?}");
        let told = missing("ports 70, 71, 72 and 3 more: outputs to them have");
        assert!(notes[0].starts_with(&told), "{notes:?}");
    }

    let of13 = |words: &[&str]| bench.notes(&[&["-O", "OpenFlow13"], words].concat());
    let told = missing("port 77: outputs to it have");
    let group = "group_id=1,type=all,bucket=output:77,bucket=output:1";
    for (verb, group) in [("add-group", group), ("mod-group", group)] {
        let notes = of13(&[verb, group]);
        assert!(notes.len() == 1 && notes[0].starts_with(&told), "{verb}: {notes:?}");
    }
    assert_eq!(of13(&["mod-group", "group_id=1,type=all,bucket=output:1"]), [""; 0]);
}

#[test]
fn a_conjunction_is_listed_and_explained_as_one_rule() {
    let bench = Bench::new();
    let rules = "priority=9,ip,nw_src=10.0.0.1,actions=conjunction(7,1/2)\n\
                 priority=9,ip,nw_src=10.0.0.2,actions=conjunction(7,1/2)\n\
                 priority=9,tcp,tp_dst=80,actions=conjunction(7,2/2)\n\
                 priority=9,conj_id=7,ip,actions=output:2\n\
                 priority=1,actions=drop\n";
    bench.ok(&["replace-flows", &bench.file("r", rules)]);
    let clauses = "(ip,nw_src=10.0.0.1 or ip,nw_src=10.0.0.2) and (tcp,tp_dst=80)";
    assert_eq!(
        bench.ok(&["--no-stats", "dump-flows", "--conjunctions", "--rsort"]),
        format!(
            " priority=9,conj_id=7,ip if {clauses} actions=output:2\n priority=1 actions=drop\n"
        )
    );
    // Clauses are found whatever the list is restricted to.
    let selected = bench.ok(&["--no-stats", "dump-flows", "--conjunctions", "out_port=2"]);
    assert!(selected.contains(clauses), "{selected}");
    let packet = "in_port=1,tcp,nw_src=10.0.0.2,tp_dst=80";
    let explained = bench.ok(&["trace", packet, "--explain", "--conjunctions"]);
    assert!(explained.contains(&format!("the packet is {clauses}")), "{explained}");
}

#[test]
fn files_for_tls_that_cannot_be_used_are_noted() {
    let bench = Bench::new();
    let certificate = bench.file("cert.pem", "no certificate");
    let (key, ca) = (format!("{}/key.pem", bench.folder()), format!("{}/ca.pem", bench.folder()));
    let (status, _, errors) = bench.run(&["set-ssl", &key, &certificate, &ca]);
    let expected = format!("note: certificate {certificate}: no certificate in PEM format\n");
    assert_eq!((status, errors), (0, expected));
    assert!(bench.ok(&["get-ssl"]).contains(&certificate), "the files may come later");
}
