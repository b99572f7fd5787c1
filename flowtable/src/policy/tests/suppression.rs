//! Answers to ARP and neighbour discovery, in place of floods.

use super::ports::{AnswerCount, Suppression};
use super::*;
use flow::types::MacAddr;

/// Ports 1 and 2 are ordinary ones; what is behind ports 3 and 4 is answered for.
fn policy_with(neighbours: &[(&str, u8)]) -> Policy {
    let policy = policy(&["actions=normal"]);
    let neighbours =
        neighbours.iter().map(|(ip, host)| (ip.parse().unwrap(), mac(*host))).collect();
    let mut suppression = Suppression { neighbours };
    policy.bridge(BridgeId::FIRST).with_ports(|ports| {
        for number in [3, 4] {
            let port = ports.get_mut(OfPort(number)).unwrap();
            let suppression = std::mem::take(&mut suppression);
            port.suppression = Some(Arc::new(suppression));
            port.answered = Some(Arc::new(AnswerCount::default()));
            port.protected = true;
        }
    });
    policy
}

fn mac(host: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, host])
}

/// What becomes of a packet, whose sender is learned.
fn forward(policy: &Policy, packet: &str) -> Vec<String> {
    let translation = policy.translate(&key(packet));
    policy.learn(&translation.learn, NOW);
    policy.learn_neighbour(translation.neighbour.as_ref(), NOW);
    let told = |action: &DpAction| match action {
        DpAction::Output(port) => format!("{}", port.0 + 1),
        DpAction::Answer { port, mac } => format!("{} is answered {}", port.0 + 1, mac.0[5]),
        other => format!("{other:?}"),
    };
    translation.actions.iter().map(told).collect()
}

fn request(port: u16, host: u8, from: &str, to: &str) -> String {
    format!(
        "in_port={port},arp,dl_src={0},dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_sha={0},arp_spa={from},arp_tpa={to}",
        mac(host)
    )
}

fn reply(port: u16, host: u8, from: &str) -> String {
    format!(
        "in_port={port},arp,dl_src={0},dl_dst=02:00:00:00:00:01,arp_op=2,arp_sha={0},arp_spa={from},arp_tpa=10.0.0.1",
        mac(host)
    )
}

#[test]
fn a_question_is_flooded_until_the_answer_is_known() {
    let policy = policy_with(&[]);
    let question = request(1, 1, "10.0.0.1", "10.0.0.9");
    assert_eq!(forward(&policy, &question), ["2", "3", "4"]);
    assert_eq!(forward(&policy, &reply(3, 9, "10.0.0.9")), ["1"]);
    assert_eq!(forward(&policy, &question), ["1 is answered 9"]);
    assert_eq!(forward(&policy, &request(2, 2, "10.0.0.2", "10.0.0.9")), ["2 is answered 9"]);
    // Hosts behind ordinary ports answer for themselves, to everybody.
    assert_eq!(forward(&policy, &request(2, 2, "10.0.0.2", "10.0.0.1")), ["1", "3", "4"]);
    assert_eq!(forward(&policy, &request(4, 8, "10.0.0.8", "10.0.0.1")), ["1", "2"]);
    // What a peer asks is no question for another peer.
    assert_eq!(forward(&policy, &request(4, 8, "10.0.0.8", "10.0.0.9")), ["1", "2"]);
    // An announcement is for everybody.
    assert_eq!(forward(&policy, &request(1, 1, "10.0.0.1", "10.0.0.1")), ["2", "3", "4"]);
    // The address moves to another host, and that host goes.
    forward(&policy, &reply(4, 7, "10.0.0.9"));
    assert_eq!(forward(&policy, &question), ["1 is answered 7"]);
    policy.bridge(BridgeId::FIRST).flush_hosts(Some(OfPort(4)));
    assert_eq!(forward(&policy, &question), ["2", "3", "4"]);
}

#[test]
fn an_answer_depends_on_what_it_tells() {
    let policy = policy_with(&[]);
    let question = key(&request(1, 1, "10.0.0.1", "10.0.0.9"));
    let watched = |translation: &Translation| {
        let watch = policy.changes();
        watch.watch(&translation.hosts, &translation.rules_to_learn, &translation.depends)
    };
    let flooded = policy.translate(&question);
    policy.learn(&flooded.learn, NOW);
    let generation = policy.generation();
    let before = watched(&flooded);
    forward(&policy, &reply(3, 9, "10.0.0.9"));
    assert!(policy.changes().concern(&before, generation), "the answer is known");
    let answered = policy.translate(&question);
    let (generation, before) = (policy.generation(), watched(&answered));
    forward(&policy, &reply(4, 7, "10.0.0.7"));
    policy.bridge(BridgeId::FIRST).flush_hosts(Some(OfPort(3)));
    assert!(policy.changes().concern(&before, generation), "the host is gone");
    let mask = answered.mask.bits.headers;
    assert_eq!(mask.nw_addrs[..8], [0xff; 8]);
}

#[test]
fn what_somebody_has_given_is_answered_at_once() {
    let policy = policy_with(&[("10.0.0.5", 5), ("fe80::5", 5)]);
    assert_eq!(forward(&policy, &request(1, 1, "10.0.0.1", "10.0.0.5")), ["1 is answered 5"]);
    let solicit = |asked: &str, more: &str| {
        format!(
            "in_port=1,icmp6,dl_src={0},dl_dst=33:33:ff:00:00:05,ipv6_src=fe80::1,icmpv6_type=135,icmpv6_code=0,\
             nd_target={asked},nd_sll={0},nd_options_type=1{more}",
            mac(1)
        )
    };
    assert_eq!(forward(&policy, &solicit("fe80::5", "")), ["1 is answered 5"]);
    assert_eq!(forward(&policy, &solicit("fe80::6", "")), ["2", "3", "4"]);
    // A host that looks whether its address is free has none to be answered at.
    let probe = solicit("fe80::5", "").replace("ipv6_src=fe80::1", "ipv6_src=::");
    assert_eq!(forward(&policy, &probe), ["2", "3", "4"]);
    // Without ports that suppress nobody looks at the body.
    policy.bridge(BridgeId::FIRST).with_ports(|ports| {
        [3, 4].iter().for_each(|n| ports.get_mut(OfPort(*n)).unwrap().suppression = None);
    });
    let translation = policy.translate(&key(&request(1, 1, "10.0.0.1", "10.0.0.5")));
    assert_eq!(translation.mask.bits.headers.nw_addrs, [0; 32]);
}

#[test]
fn advertisements_tell_addresses() {
    let policy = policy_with(&[]);
    let advert = format!(
        "in_port=3,icmp6,dl_src={0},dl_dst=02:00:00:00:00:01,ipv6_src=fe80::9,icmpv6_type=136,icmpv6_code=0,\
         nd_target=2001:db8::9,nd_tll={0},nd_options_type=2",
        mac(9)
    );
    forward(&policy, &advert);
    let question = format!(
        "in_port=1,icmp6,dl_src={0},dl_dst=33:33:ff:00:00:09,ipv6_src=fe80::1,icmpv6_type=135,icmpv6_code=0,\
         nd_target=2001:db8::9,nd_sll={0},nd_options_type=1",
        mac(1)
    );
    assert_eq!(forward(&policy, &question), ["1 is answered 9"]);
}
