//! The verb `dump-cached-flows`, after the switch has received frames.

use crate::bench::Bench;
use lab::eventually;

/// A TCP segment without data to port 80 of host `dst`.
fn segment(dst: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, dst]);
    frame.extend([0x30, 0x39, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    frame.resize(60, 0);
    frame
}

/// A switch that has cached two flows, one of which is dropped.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.ok(&["del-flows"]);
    bench.ok(&["add-flow", "priority=100,tcp,tp_dst=80,actions=resubmit(,1)"]);
    bench.ok(&["add-flow", "cookie=7,table=1,ip,dl_dst=2:0:0:0:0:2,actions=dec_ttl,output:2"]);
    bench.ok(&["add-flow", "table=1,priority=9,arp,actions=output:3"]);
    for dst in [2, 2, 3] {
        bench.ports[0].inject(&segment(dst));
    }
    // The worker has cached the flows when the counters show every frame.
    eventually("all frames are counted", || bench.ok(&["dump-ports", "p1"]).contains("rx pkts=3,"))
        .expect("the worker forwards");
    bench
}

/// The output with every time replaced, so that it can be compared.
fn timeless(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split("used:").enumerate() {
        let rest = part.trim_start_matches(|c: char| i > 0 && (c.is_ascii_digit() || c == '.'));
        out.push_str(if i > 0 { "used:0.000" } else { "" });
        out.push_str(rest);
    }
    out
}

#[test]
fn flows_are_listed_in_the_words_of_the_datapath() {
    let bench = bench();
    insta::assert_snapshot!(timeless(&bench.ok(&["dump-cached-flows"])), @r"
    recirc_id(0),in_port(1),eth(dst=02:00:00:00:00:02),eth_type(0x0800),ipv4(proto=6,ttl=64,frag=no),tcp(dst=80), packets:2, bytes:120, used:0.000s, actions:set(ipv4(ttl=63)),2
    recirc_id(0),in_port(1),eth(dst=02:00:00:00:00:03/00:00:00:00:ff:ff),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(dst=80), packets:1, bytes:60, used:0.000s, actions:drop
    ");
    insta::assert_snapshot!(timeless(&bench.ok(&["dump-cached-flows", "dl_dst=2:0:0:0:0:2", "--names"])), @r"
    recirc_id(0),in_port(p1),eth(dst=02:00:00:00:00:02),eth_type(0x0800),ipv4(proto=6,ttl=64,frag=no),tcp(dst=80), packets:2, bytes:120, used:0.000s, actions:set(ipv4(ttl=63)),p2
    ");
    assert_eq!(bench.ok(&["dump-cached-flows", "br0", "arp"]), "");
    assert_eq!(bench.ok(&["dump-cached-flows", "in_port=3"]), "");
}

#[test]
fn each_bit_that_matters_has_a_reason() {
    let bench = bench();
    insta::assert_snapshot!(timeless(&bench.ok(&["dump-cached-flows", "--why"])), @r"
    recirc_id(0),in_port(1),eth(dst=02:00:00:00:00:02),eth_type(0x0800),ipv4(proto=6,ttl=64,frag=no),tcp(dst=80), packets:2, bytes:120, used:0.000s, actions:set(ipv4(ttl=63)),2
        recirc_id(0),in_port(1),eth_type(0x0800),ipv4(frag=no)  always
        ipv4(proto=6),tcp(dst=80)                               table 0: tcp,tp_dst=80, priority 100
        eth(dst=02:00:00:00:00:02)                              table 1: ip,dl_dst=02:00:00:00:00:02, priority 32768, cookie 0x7
        ipv4(ttl=64)                                            action dec_ttl
    recirc_id(0),in_port(1),eth(dst=02:00:00:00:00:03/00:00:00:00:ff:ff),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(dst=80), packets:1, bytes:60, used:0.000s, actions:drop
        recirc_id(0),in_port(1),eth_type(0x0800),ipv4(frag=no)  always
        ipv4(proto=6),tcp(dst=80)                               table 0: tcp,tp_dst=80, priority 100
        eth(dst=02:00:00:00:00:03/00:00:00:00:ff:ff)            table 1: rules out all rules
        dropped: the rule that matched has no output (rule_drop)
    ");
    let json = bench.ok(&["dump-cached-flows", "--json", "--why", "tcp,dl_dst=2:0:0:0:0:3"]);
    let flows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let flow = &flows[0];
    assert_eq!(
        (&flow["worker"], &flow["n_packets"], &flow["n_bytes"]),
        (&0.into(), &1.into(), &60.into())
    );
    assert_eq!(flow["dropped"]["reason"], "rule_drop");
    assert_eq!(flow["why"][0]["cause"], "always");
}

#[test]
fn what_no_cached_flow_can_have_is_refused() {
    let bench = Bench::new();
    assert_eq!(bench.ok(&["dump-cached-flows"]), "");
    assert_eq!(bench.ok(&["dump-cached-flows", "--json"]), "[]\n");
    let refused = |filter| {
        let (status, _, errors) = bench.run(&["dump-cached-flows", filter]);
        assert_eq!(status, 1);
        errors.lines().next().unwrap_or_default().to_owned()
    };
    assert!(refused("reg0=1").contains("no registers"));
    assert!(refused("in_port=9").contains("9"));
    assert!(refused("tp_dst=80").contains("needs"));
}
