//! Rules with `conjunction`, and the rules with `conj_id` to which they lead.

use super::*;

const SOURCE: &str = "priority=9,ip,nw_src=10.0.0.1,actions=conjunction(7,1/2)";
const PORT: &str = "priority=9,udp,tp_dst=53,actions=conjunction(7,2/2)";
const ACCEPT: &str = "priority=9,conj_id=7,actions=output:2";
const ELSE: &str = "priority=1,actions=output:3";

#[test]
fn a_packet_that_meets_each_clause_gets_the_actions_of_the_rule_with_the_number() {
    let mut bench = Bench::cached(&[SOURCE, PORT, ACCEPT, ELSE]);
    assert_eq!(bench.ports(1, udp(1, 2, 53)), [2]);
    assert_eq!(bench.ports(1, udp(1, 2, 54)), [3], "another port");
    assert_eq!(bench.ports(1, udp(3, 2, 53)), [3], "another source");
}

#[test]
fn each_change_of_a_conjunction_concerns_the_cached_flows() {
    let mut bench = Bench::cached(&[SOURCE, ELSE]);
    assert_eq!(bench.ports(1, udp(1, 2, 53)), [3]);
    bench.change(Command::Add, ACCEPT);
    assert_eq!(bench.ports(1, udp(1, 2, 53)), [3], "a clause is missing");
    bench.change(Command::Add, PORT);
    assert_eq!(bench.ports(1, udp(1, 2, 53)), [2]);
    bench.change(Command::Add, "priority=9,conj_id=7,actions=output:4");
    assert_eq!(bench.ports(1, udp(1, 2, 53)), [4]);
    bench.change(Command::DeleteStrict, SOURCE);
    assert_eq!(bench.ports(1, udp(1, 2, 53)), [3]);
    bench.change(Command::Add, SOURCE);
    bench.change(Command::DeleteStrict, ACCEPT);
    assert_eq!(bench.ports(1, udp(1, 2, 53)), [3], "nothing matches the number");
}

#[test]
fn priorities_of_the_clauses_decide() {
    let mut bench = Bench::cached(&[SOURCE, PORT, ELSE, "priority=2,conj_id=7,actions=output:2"]);
    assert_eq!(
        bench.ports(1, udp(1, 2, 53)),
        [2],
        "the rule with the number may have any priority"
    );
    bench.change(Command::Add, "priority=10,ip,actions=output:4");
    assert_eq!(bench.ports(1, udp(1, 2, 53)), [4]);
    bench.change(Command::DeleteStrict, "priority=10,ip,actions=drop");
    bench.change(Command::DeleteStrict, PORT);
    bench.change(Command::Add, "priority=8,udp,tp_dst=53,actions=conjunction(7,2/2)");
    assert_eq!(bench.ports(1, udp(1, 2, 53)), [3], "clauses of different priorities");
}

#[test]
fn a_conjunction_that_leads_to_no_rule_leaves_the_packet_to_the_next() {
    let lower = [
        "priority=5,ip,actions=conjunction(8,1/2)",
        "priority=5,udp,actions=conjunction(8,2/2)",
        "priority=5,conj_id=8,actions=output:4",
    ];
    let mut bench = Bench::cached(&[&[SOURCE, PORT], &lower[..]].concat());
    assert_eq!(bench.ports(1, udp(1, 2, 53)), [4]);
    bench.change(Command::Add, ACCEPT);
    assert_eq!(bench.ports(1, udp(1, 2, 53)), [2]);
}
