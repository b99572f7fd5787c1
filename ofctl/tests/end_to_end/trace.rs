//! The verb `trace`: of hosts (`--from`, `--to`), of bytes (`--packet`), and in sentences (`--explain`).

use crate::bench::Bench;

const HOST_1: &str = "02:00:00:00:00:01";
const HOST_2: &str = "02:00:00:00:00:02";

/// The standard error of a command, which has to fail.
fn refused(bench: &Bench, arguments: &[&str]) -> String {
    let (status, _, errors) = bench.run(&[&["trace"], arguments].concat());
    assert_eq!(status, 1, "{arguments:?}: {errors}");
    errors
}

/// No byte of a packet says through which tunnel it came, so a trace is told.
#[test]
fn a_packet_may_come_through_a_tunnel() {
    let bench = Bench::new();
    bench.ok(&["add-flow", "tun_id=0x5,tun_src=192.0.2.0/24,actions=set_tunnel:7,resubmit(,1)"]);
    bench.ok(&["add-flow", "table=1,tun_id=7,actions=3"]);
    for flow in ["in_port=1,tun_id=5,tun_src=192.0.2.1,arp", "in_port=1,tun_id=6,arp"] {
        let text = bench.ok(&["trace", flow]);
        let sent =
            if flow.contains("tun_id=5") { "Datapath actions: 3" } else { "Datapath actions: 2,3" };
        assert!(text.contains(sent), "{flow}: {text}");
        assert!(text.contains("tun_id="), "{flow}: {text}");
    }
    let text = bench.ok(&["trace", "in_port=1,tun_id=5,tun_src=192.0.2.1,arp"]);
    assert!(text.contains("set_tunnel:0x7"), "{text}");
    let packet = "02000000000202000000000188cc";
    let text = bench.ok(&["trace", "in_port=1,tun_id=5,tun_src=192.0.2.1", "--packet", packet]);
    assert!(text.contains("Datapath actions: 3"), "{text}");
}

#[test]
fn an_explanation_names_the_rules_that_lost() {
    let bench = Bench::new();
    bench.ok(&["add-flow", "priority=20,tcp,tp_dst=80,actions=drop"]);
    bench.ok(&["add-flow", "priority=10,ip,actions=resubmit(,1),output:3"]);
    bench.ok(&["add-flow", "priority=5,tcp,tp_dst=443,actions=2"]);
    bench.ok(&["add-flow", "table=1,dl_vlan=5,actions=1"]);
    let flow = "in_port=1,tcp,nw_dst=10.0.0.2,tp_dst=443";
    let text = bench.ok(&["trace", flow, "--explain"]);
    let told: Vec<&str> =
        text.lines().skip(2).take_while(|line| !line.starts_with("Every")).collect();
    assert_eq!(
        told,
        [
            "Table 0: the rule \"ip, priority 10\" matches.",
            "  not \"tcp,tp_dst=443, priority 5\", which lost on priority: it matches too, but its priority is lower",
            "  not \"tcp,tp_dst=80, priority 20\", which lost on tcp_dst: the packet has tp_dst=443, the rule wants tp_dst=80",
            "  resubmit(,1): look it up in table 1",
            "    Table 1: no rule matches.",
            "      not \"dl_vlan=5, priority 32768\", which lost on vlan_tci: the packet has no VLAN tag, the rule wants dl_vlan=5",
            "  output:3: send it to port 3",
            "",
            "It is sent to port 3.",
        ]
    );
    let json = bench.ok(&["--json", "trace", flow, "--explain"]);
    let trace: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(trace["steps"][1]["lost"]["rules"][0]["on"], "priority");
}

#[test]
fn a_flood_is_explained_port_by_port() {
    let bench = Bench::new();
    bench.ok(&["set-port", "p1", "protected=true"]);
    bench.ok(&["set-port", "p3", "protected=true"]);
    bench.ok(&["mod-port", "p2", "no-flood"]);
    let text =
        bench.ok(&["trace", &format!("in_port=1,dl_src={HOST_1},dl_dst={HOST_2}"), "--explain"]);
    assert!(text.contains("    port 2 is left out: it is configured with no-flood\n"), "{text}");
    assert!(text.contains("    port 3 is protected, as is the ingress port: left out\n"), "{text}");
    let why =
        "\nIt is dropped: the ingress port and the egress port are both protected (protected).\n";
    assert!(text.contains(why), "{text}");
    let learned = format!("the switch learns that {HOST_1} is at port 1, VLAN 0.\n");
    assert!(text.contains(&learned), "{text}");
    assert!(bench.ok(&["--json", "fdb-show"]).starts_with("[]"), "a trace teaches nothing");
}

#[test]
fn hosts_give_the_port_the_vlan_and_the_addresses() {
    let bench = Bench::new();
    bench.ok(&["fdb-add", "p1", "10", HOST_1]);
    bench.ok(&["fdb-add", "p3", "10", HOST_2]);
    let between = ["trace", "--from", HOST_1, "--to", HOST_2];
    let text = bench.ok(&between);
    assert!(text.starts_with(&format!(
        "Flow: icmp,in_port=1,dl_vlan=10,dl_vlan_pcp=0,vlan_tci1=0x0000,dl_src={HOST_1},dl_dst={HOST_2},"
    )));
    assert!(text.ends_with("\nDatapath actions: 3\n"), "{text}");
    let text = bench.ok(&[&between[..], &["br0", "tcp,tcp_dst=80"]].concat());
    assert!(text.contains(",nw_ttl=64,") && text.contains(",tp_dst=80,"), "{text}");
    // Frames of an access port have no VLAN tag.
    bench.ok(&["set-port", "p1", "tag=10"]);
    assert!(bench.ok(&between).contains(",vlan_tci=0x0000,dl_src"));
    assert!(bench.ok(&between).ends_with("push_vlan(vid=10,pcp=0),3\n"));

    let errors = refused(&bench, &["--from", "02:00:00:00:00:09"]);
    assert!(
        errors.starts_with("ofctl: no host 02:00:00:00:00:09 was learned\nhint: 02:00:00:00:00:0")
    );
    assert!(refused(&bench, &["--from", "10.9.8.7"]).contains("no frame from 10.9.8.7"));
    assert!(refused(&bench, &["--from", "fred"]).contains("neither a MAC address"));
    assert!(refused(&bench, &["in_port=2", "--from", HOST_1]).contains("another in_port"));
    bench.ok(&["fdb-add", "p2", "20", HOST_1]);
    assert!(refused(&bench, &["--from", HOST_1]).contains("VLAN 10 (port 1) and VLAN 20 (port 2)"));
    assert!(bench.ok(&["trace", "in_port=2", "--from", HOST_1]).contains(",dl_vlan=20,"));
}

#[test]
fn what_was_not_given_is_assumed_and_said() {
    let bench = Bench::new();
    let flow = "in_port=1,tcp,nw_dst=10.0.0.2";
    // The text is that of Open vSwitch: the packet does not teach its own source.
    let text = bench.ok(&["trace", flow]);
    assert!(
        text.contains("    NORMAL\n     -> no learned MAC for destination, flooding\n"),
        "{text}"
    );
    assert!(text.ends_with("\nDatapath actions: 2,3\n"), "{text}");
    assert_eq!(
        bench.notes(&["trace", flow]),
        [
            "the result depends on fields that were not given, and were taken as \
             dl_src=00:00:00:00:00:00,dl_dst=00:00:00:00:00:00",
            "no host has the address 00:00:00:00:00:00: --from HOST and --to HOST fill in those of hosts",
        ]
    );
    let explained = bench.ok(&["trace", flow, "--explain"]);
    assert!(!explained.contains("the switch learns"), "{explained}");
    let json = bench.ok(&["--json", "trace", flow]);
    let trace: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(trace["notes"].as_array().map(Vec::len), Some(2));
    bench.ok(&["add-flow", "priority=1,ip,actions=dec_ttl,2"]);
    bench.ok(&["del-flows", "--strict", "priority=0"]);
    assert_eq!(
        bench.notes(&["trace", flow]),
        ["the result depends on fields that were not given, and were taken as nw_ttl=0"]
    );
    let whole = &format!("{flow},nw_ttl=64,dl_src={HOST_1},dl_dst={HOST_2}");
    assert_eq!(bench.notes(&["trace", whole]), [""; 0]);
}

#[test]
fn a_packet_may_come_from_no_port() {
    let bench = Bench::new();
    let flow = format!("dl_src={HOST_1},dl_dst={HOST_2},dl_type=0x88b5");
    let text = bench.ok(&["trace", &flow]);
    assert!(text.starts_with("Flow: in_port=ANY,vlan_tci=0x0000,"), "{text}");
    assert!(text.contains("\nMegaflow: recirc_id=0,eth,in_port=ANY,"), "{text}");
    assert!(text.ends_with("\nDatapath actions: 1,2,3\n"), "{text}");
    let notes = bench.notes(&["trace", &flow]);
    assert!(notes.len() == 1 && notes[0].starts_with("in_port was not given"), "{notes:?}");
    assert_eq!(bench.ok(&["trace", &format!("in_port=none,{flow}")]), text);
}

#[test]
fn hosts_are_named_by_addresses_that_were_seen() {
    let bench = Bench::new();
    // 10.0.0.2 at port 2 asks for 10.0.0.1.
    let question = "ffffffffffff020000000002080600010800060400010200000000020a000002\
                    0000000000000a000001";
    let bytes: Vec<u8> = (0..question.len() / 2)
        .map(|i| u8::from_str_radix(&question[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    bench.ports[1].inject(&bytes);
    bench.ok(&["fdb-add", "p1", "0", HOST_1]);
    let is_known = || bench.ok(&["fdb-show"]).contains(HOST_2);
    while !is_known() {
        std::thread::yield_now();
    }
    let text = bench.ok(&["trace", "--from", HOST_1, "--to", "10.0.0.2"]);
    assert!(text.contains(&format!("dl_dst={HOST_2},nw_src=0.0.0.0,nw_dst=10.0.0.2")), "{text}");
    assert!(text.ends_with("\nDatapath actions: 2\n"), "{text}");
    let notes = bench.notes(&["trace", "in_port=1,tcp,nw_dst=10.0.0.2"]);
    let told = format!(
        "10.0.0.2 is the host {HOST_2} at port 2: --to 10.0.0.2 (or dl_dst={HOST_2}) means a packet to it"
    );
    assert!(notes[1].starts_with(&told), "{notes:?}");
    // The host has left its port.
    bench.ok(&["fdb-flush"]);
    assert!(refused(&bench, &["--from", "10.0.0.2"]).contains("no frame from 10.0.0.2"));
}

#[test]
fn a_packet_is_taken_as_bytes() {
    let bench = Bench::new();
    bench.ok(&["add-flow", "arp,actions=output:3"]);
    let dump = "\t0x0000:  ffff ffff ffff 0200 0000 0001 0806 0001\n\
                \t0x0010:  0800 0604 0001 0200 0000 0001 0a00 0001\n\
                \t0x0020:  0000 0000 0000 0a00 0002\n";
    let (status, text, _) = bench.run_with(&["trace", "in_port=p2", "--packet", "-"], dump);
    assert_eq!(status, 0);
    assert!(text.contains("Flow: arp,in_port=2,") && text.contains("arp_tpa=10.0.0.2"), "{text}");
    let hex = "ffffffffffff02000000000108060001";
    assert!(refused(&bench, &["--packet", hex]).contains("was not learned"));
    bench.ok(&["fdb-add", "p1", "0", HOST_1]);
    assert!(bench.ok(&["trace", "--packet", hex]).contains("in_port=1,"));
    assert!(bench.ok(&["trace", "br0", "in_port=1", hex]).contains("in_port=1,"));
    assert!(
        refused(&bench, &["tcp", "--packet", hex])
            .contains("the packet has arp, the flow says tcp")
    );
    assert!(refused(&bench, &["in_port=1", "--packet", "020"]).contains("half a byte"));
    assert!(refused(&bench, &["in_port=1", "--packet", "0200"]).contains("has 2 bytes"));
    assert_eq!(bench.run(&["trace", "--packet", hex, "--from", HOST_1]).0, 2);
    assert_eq!(bench.run(&["trace"]).0, 2);
}

#[test]
fn what_comes_back_is_followed_again() {
    let bench = Bench::new();
    bench.ok(&["add-flow", "mpls,actions=pop_mpls:0x0800,resubmit(,1)"]);
    bench.ok(&["add-flow", "table=1,udp,tp_dst=53,actions=dec_ttl,output:2"]);
    let hex = "0200000000020200000000018847 00064140 4500001c000000004011 66ce 0a000001 0a000002 \
               03e8003500080000";
    let text = bench.ok(&["trace", "in_port=1", "--packet", hex]);
    let (first, second) = text.split_once(&"=".repeat(79)).expect("two passes");
    assert!(first.contains("\nDatapath actions: pop_mpls(eth_type=0x800),recirc(0x"), "{first}");
    assert!(second.starts_with("\nrecirc(0x"), "{second}");
    assert!(second.contains("\nFlow: recirc_id=0x"), "{second}");
    assert!(second.contains("\nthaw\n        Resuming from table 0\n"), "{second}");
    assert!(second.ends_with("\nDatapath actions: set(ipv4(ttl=63)),2\n"), "{second}");
    let text = bench.ok(&["trace", "in_port=1", "--explain", "--packet", hex]);
    assert!(
        text.contains(
            "\nThe packet is recirculated and looked up again:\n\nThe packet: recirc_id=0x"
        ),
        "{text}"
    );
}
