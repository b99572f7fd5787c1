//! The verbs about bridges and the configuration, with several bridges.

use super::bench::Bench;
use lab::eventually;

/// Exit status of `ofctl`, and the first line that it prints to standard error.
fn refused(bench: &Bench, arguments: &[&str]) -> (i32, String) {
    let (status, _, errors) = bench.run(arguments);
    (status, errors.trim_start_matches("ofctl: ").trim_end().to_owned())
}

#[test]
fn bridges_come_and_go() {
    let bench = Bench::new();
    assert_eq!(bench.ok(&["list-br"]), "br0\n");
    bench.ok(&["add-br", "br1"]);
    bench.ok(&["add-br", "br2", "datapath-id=00000000000000aa"]);
    assert_eq!(bench.ok(&["list-br"]), "br0\nbr1\nbr2\n");
    assert!(bench.ok(&["show", "br2"]).contains("dpid:00000000000000aa"));
    let list = bench.ok(&["list-br", "--json"]);
    assert!(list.contains("\"bridge\": \"br2\""), "{list}");

    let exists = (1, "there is a bridge \"br1\" already".to_owned());
    assert_eq!(refused(&bench, &["add-br", "br1"]), exists);
    let (status, message) = refused(&bench, &["add-br", "a/b"]);
    assert_eq!((status, message.starts_with("bridge \"a/b\": not a bridge's name")), (1, true));
    let (status, message) = refused(&bench, &["add-br", "p1"]);
    assert_eq!(
        (status, message.as_str()),
        (1, "bridge \"p1\": bridge \"br0\" has a port of that name")
    );
    let (status, message) = refused(&bench, &["add-br", "x", "datapath-id=7"]);
    assert!(status == 1 && message.contains("16 hexadecimal digits"), "{message}");
    assert_eq!(
        refused(&bench, &["del-br", "br7"]),
        (1, "there is no bridge \"br7\"\nhint: this switch has br0, br1, br2".to_owned())
    );
    let quotes = "there is no bridge \"ip\"\nhint: this switch has br0, br1, br2; a rule with blanks has to be in quotes";
    assert_eq!(refused(&bench, &["add-flow", "ip", "actions=drop"]), (1, quotes.to_owned()));
    assert_eq!(bench.run(&["add-br"]).0, 2);

    bench.ok(&["del-br", "br1"]);
    bench.ok(&["del-br", "br0"]);
    assert_eq!(bench.ok(&["list-br"]), "br2\n");
    assert!(bench.ok(&["show"]).contains("dpid:00000000000000aa"), "the only one is meant");
    bench.ok(&["del-br", "br2"]);
    assert_eq!(
        refused(&bench, &["show"]),
        (1, "this switch has no bridge\nhint: ofctl add-br NAME adds one".to_owned())
    );
}

#[test]
fn each_bridge_has_rules_ports_and_numbers_of_its_own() {
    let bench = Bench::new();
    bench.ok(&["add-br", "br1"]);
    bench.ok(&["add-port", "br1", "dummy:q1"]);
    bench.ok(&["add-port", "br1", "dummy:q2", "tag=10"]);
    assert_eq!(bench.ok(&["list-ports", "br0"]), "p1\np2\np3\n");
    assert_eq!(bench.ok(&["list-ports", "br1"]), "q1\nq2\n");
    bench.ok(&["add-flow", "br1", "priority=7,in_port=1,actions=drop"]);
    let rules = |bridge| bench.ok(&["--no-stats", "dump-flows", bridge]);
    assert_eq!(rules("br1"), " priority=0 actions=NORMAL\n priority=7,in_port=1 actions=drop\n");
    assert_eq!(rules("br0"), " priority=0 actions=NORMAL\n");

    let several = "this switch has several bridges: name the one that is meant\n\
                   hint: this switch has br0, br1";
    for verb in ["dump-flows", "show", "fdb-show", "dump-cached-flows"] {
        assert_eq!(refused(&bench, &[verb]), (1, several.to_owned()), "{verb}");
    }
    for verb in ["workers", "cache-show", "drops", "show-config", "list-br"] {
        bench.ok(&[verb]);
    }
    let (status, message) = refused(&bench, &["add-port", "br1", "dummy:p1"]);
    assert_eq!(
        (status, message.as_str()),
        (
            1,
            "port \"p1\": bridge \"br0\" has a port of that name; give this one another: name=NAME"
        )
    );
    bench.ok(&["fdb-add", "br1", "q1", "10", "02:00:00:00:00:07"]);
    assert_eq!(bench.ok(&["fdb-show", "br0"]).lines().count(), 1);
    assert_eq!(bench.ok(&["fdb-show", "br1"]).lines().count(), 2);
    assert!(refused(&bench, &["del-port", "br0", "q1"]).1.starts_with("there is no port \"q1\""));
    let stats = bench.ok(&["fdb-stats", "br1"]);
    assert!(stats.starts_with("Statistics for bridge \"br1\":\n"), "{stats}");
}

/// A broadcast frame from the MAC address 02:00:00:00:00:`src`.
fn broadcast(src: u8) -> Vec<u8> {
    [&[0xff; 6][..], &[2, 0, 0, 0, 0, src, 0x88, 0xb5], &[0; 46]].concat()
}

#[test]
fn a_patch_joins_two_bridges() {
    let bench = Bench::new();
    bench.ok(&["add-br", "br1"]);
    bench.ok(&["add-port", "br1", "dummy:q1"]);
    bench.ok(&["add-port", "br0", "patch:to-br1", "peer=to-br0"]);
    let show = bench.ok(&["show", "br0"]);
    assert!(show.contains("(to-br1)") && show.contains("waiting"), "{show}");
    bench.ok(&["add-port", "br1", "patch:to-br0", "peer=to-br1"]);
    let show = bench.ok(&["show", "br0"]);
    assert!(!show.contains("waiting"), "{show}");

    bench.ports[0].inject(&broadcast(1));
    for (bridge, port, what) in [
        ("br1", "q1", "tx pkts=1,"),
        ("br0", "to-br1", "tx pkts=1,"),
        ("br1", "to-br0", "rx pkts=1,"),
    ] {
        let counted = || bench.ok(&["dump-ports", bridge, port]).contains(what);
        eventually(&format!("{port} to count"), counted).unwrap();
    }
    let hosts = bench.ok(&["fdb-show", "br1"]);
    assert!(hosts.contains("02:00:00:00:00:01"), "both bridges learn: {hosts}");
    bench.ok(&["del-br", "br1"]);
    assert!(bench.ok(&["show", "br0"]).contains("waiting"));
}

#[test]
fn what_is_wanted_is_shown_as_a_file() {
    let bench = Bench::new();
    bench.ok(&["add-br", "br1", "datapath-id=00000000000000aa"]);
    bench.ok(&["add-port", "br1", "dummy:q1", "number=7", "tag=10"]);
    bench.ok(&["set-port", "br0", "p1", "trunks=1,2", "protected=true"]);
    bench.ok(&["mod-port", "br0", "p2", "no-flood"]);
    bench.ok(&["fdb-config", "br1", "ageing=30"]);
    bench.ok(&["del-port", "br0", "p3"]);
    let wanted = "\
[[bridge]]
name = \"br0\"

[[bridge.port]]
device = \"dummy:p1\"
number = 1
vlan_mode = \"trunk\"
trunks = [1, 2]
protected = true

[[bridge.port]]
device = \"dummy:p2\"
number = 2
no-flood = true

[[bridge]]
name = \"br1\"
datapath-id = \"00000000000000aa\"
mac-ageing = 30

[[bridge.port]]
device = \"dummy:q1\"
number = 7
vlan_mode = \"access\"
tag = 10
";
    assert_eq!(bench.ok(&["show-config"]), wanted);
    let json = bench.ok(&["show-config", "--json"]);
    assert!(json.contains("\"trunks\": [") && json.starts_with("{\n  \"bridge\": ["), "{json}");
    let again = switchd::desired::file::read(wanted, "wanted.toml").unwrap();
    assert_eq!(serde_json::to_string_pretty(&again).unwrap() + "\n", json);
}

/// Two bridges with a patch between them: `to-br1` in br0 and `to-br0` in br1, each the bridge's last port.
fn joined() -> Bench {
    let bench = Bench::new();
    bench.ok(&["add-br", "br1"]);
    bench.ok(&["add-port", "br1", "dummy:q1"]);
    bench.ok(&["add-port", "br0", "patch:to-br1", "peer=to-br0"]);
    bench.ok(&["add-port", "br1", "patch:to-br0", "peer=to-br1"]);
    bench
}

#[test]
fn a_patch_port_has_no_speed() {
    let bench = joined();
    let ports = bench.ok(&["dump-ports-desc", "br0"]);
    let (device, patch) =
        ports.split_once(" 4(to-br1): addr:").expect("the patch is the last port");
    assert!(
        device
            .contains("     current:    10GB-FD COPPER\n     speed: 10000 Mbps now, 0 Mbps max\n")
    );
    assert!(
        patch.ends_with(
            "\n     config:     0\n     state:      0\n     speed: 0 Mbps now, 0 Mbps max\n"
        ),
        "as with Open vSwitch 3.1: {patch}"
    );
}

#[test]
fn a_trace_can_begin_at_a_patch_port() {
    let bench = joined();
    bench.ok(&["add-flow", "br1", "arp,in_port=to-br0,actions=output:q1"]);
    let text = bench.ok(&["trace", "br1", "in_port=to-br0,arp"]);
    assert!(text.starts_with("Flow: arp,in_port=2,"), "{text}");
    assert!(
        text.contains(
            "\n\nbridge(\"br1\")\n-------------\n 0. arp,in_port=2, priority 32768\n    output:1\n"
        ),
        "{text}"
    );
    assert!(text.contains("\nMegaflow: recirc_id=0,eth,arp,in_port=2\n"), "{text}");
    assert!(text.ends_with("\nDatapath actions: 1\n"), "{text}");
    // Back through the patch, and looked up again there.
    bench.ok(&["add-flow", "br1", "mpls,actions=pop_mpls:0x0800,resubmit(,1)"]);
    bench.ok(&["add-flow", "br1", "table=1,ip,nw_ttl=64,actions=in_port"]);
    let hex = "0200000000020200000000018847 00064140 4500001c000000004011 66ce 0a000001 0a000002 \
               03e8003500080000";
    let text = bench.ok(&["trace", "br1", "in_port=to-br0", "--packet", hex]);
    let (_, second) = text.split_once(&"=".repeat(79)).expect("two passes");
    assert!(second.contains(",in_port=2,"), "{second}");
    assert!(second.contains("\nbridge(\"br1\")\n"), "{second}");
    assert_eq!(
        refused(&bench, &["dump-cached-flows", "br1", "in_port=to-br0"]),
        (
            1,
            "no cached flow begins at port 2, which is a patch port\n\
             hint: ask the bridge of the port where the packets are received"
                .to_owned()
        )
    );
}

#[test]
fn an_explanation_goes_on_in_the_second_bridge() {
    let bench = joined();
    bench.ok(&["add-flow", "br0", "arp,actions=output:to-br1,output:p2"]);
    bench.ok(&["add-flow", "br1", "priority=7,arp,arp_op=2,actions=output:q1"]);
    bench.ok(&["add-flow", "br1", "priority=5,arp,actions=drop"]);
    let text = bench.ok(&["trace", "br0", "in_port=p1,arp,arp_op=1", "--explain"]);
    let told: Vec<&str> = text.lines().skip(2).take_while(|line| !line.is_empty()).collect();
    assert_eq!(
        told,
        [
            "Table 0: the rule \"arp, priority 32768\" matches.",
            "  output:4: send it to port 4",
            "    The packet comes in at bridge br1:",
            "        Table 0: the rule \"arp, priority 5\" matches.",
            "          The rule has no actions, so it drops the packet.",
            "          not \"arp,arp_op=2, priority 7\", which lost on arp_op: the packet has arp_op=1, the rule wants arp_op=2",
            "  output:2: send it to port 2",
        ]
    );
}

#[test]
fn a_trace_names_the_ports_of_each_bridge() {
    let bench = joined();
    bench.ok(&["add-flow", "br0", "arp,actions=output:to-br1,output:p2"]);
    bench.ok(&["add-flow", "br1", "arp,in_port=to-br0,actions=output:q1"]);
    let text = bench.ok(&["trace", "br0", "in_port=p1,arp", "--names"]);
    assert!(text.contains("arp,in_port=\"to-br0\", priority 32768\n"), "{text}");
    assert!(text.contains("    output:q1\n") && text.contains("    output:p2\n"), "{text}");
    assert!(text.ends_with("\nDatapath actions: q1,2\n"), "{text}");
    let text = bench.ok(&["trace", "br0", "in_port=p1,arp", "--explain"]);
    assert!(text.contains("\nIt is sent to port q1 of bridge br1 and port 2.\n"), "{text}");
}

#[test]
fn a_bridge_is_told_what_to_do_with_fragments() {
    let bench = Bench::new();
    bench.ok(&["add-flow", "priority=5,udp,tp_dst=80,actions=output:2"]);
    assert_eq!(bench.ok(&["get-frags", "br0"]), "normal\n");
    let trace = |bench: &Bench| bench.ok(&["trace", "in_port=1,udp,nw_frag=first,tp_dst=80"]);
    assert!(!trace(&bench).contains("Datapath actions: 2\n"));
    bench.ok(&["set-frags", "br0", "nx-match"]);
    assert_eq!(bench.ok(&["get-frags"]), "nx-match\n");
    assert!(bench.ok(&["show"]).contains("frags=nx-match miss_send_len=0"));
    assert!(bench.ok(&["show-config"]).contains("frags = \"nx-match\"\n"));
    assert!(trace(&bench).contains("Datapath actions: 2\n"));
    bench.ok(&["set-frags", "drop"]);
    let text = trace(&bench);
    assert!(text.contains("the fragment handling mode is \"drop\""), "{text}");
    let (status, message) = refused(&bench, &["set-frags", "reassemble"]);
    assert_eq!(status, 1);
    assert!(message.contains("this switch has no mode \"reassemble\""), "{message}");
    let (status, message) = refused(&bench, &["set-frags", "keep"]);
    assert_eq!(status, 2);
    assert!(message.starts_with("\"keep\" must be normal, drop or nx-match"), "{message}");
    assert_eq!(bench.ok(&["get-frags"]), "drop\n");
    bench.ok(&["set-frags", "normal"]);
    assert!(!bench.ok(&["show-config"]).contains("frags"));
}
