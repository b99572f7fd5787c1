//! Translation against its definition: a packet that is translated, answered, and whose answer is translated
//! back is the answer to the packet; and the checksums are right on the way.

use super::connections::headers;
use super::*;
use crate::datapath::nat;
use flow::ct_filter::CtFilter;
use flow::extract::{Arrival, extract};
use flow::key::ct_state;
use flow::verdict::{CtAction, CtCommit, Rewrite};
use packet::Layers;
use packet::wire::{icmp, icmp_type, icmpv6_type, ip_proto, tcp};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What a rule may ask for: `V4` and `V6` are replaced by ranges of addresses.
const NATS: &[&str] = &[
    "nat(src=V4)",
    "nat(dst=V4)",
    "nat(src=V4:1-9)",
    "nat(src=V4:40000-65535,random)",
    "nat(dst=V4:80,persistent)",
    "nat(dst=V4:500-700,hash)",
    "nat(src=0.0.0.0)",
];

/// The match of a request, without addresses and ports, and whether its protocol has ports.
const PROTOCOLS: &[(&str, bool)] = &[
    ("udp", true),
    ("tcp,tcp_flags=syn", true),
    ("icmp,icmp_type=8", false),
    ("ip,nw_proto=47", false),
    SCTP,
];

/// A protocol whose checksum is another one when the ports are swapped.
const SCTP: (&str, bool) = ("sctp", true);

/// A frame that a host sends.
fn request(protocol: (&str, bool), is_ipv6: bool, hosts: (u8, u8), ports: (u16, u16)) -> Vec<u8> {
    let (name, has_ports) = protocol;
    let (source, destination) = hosts;
    let mut text = match (name, is_ipv6) {
        (name, false) => name.to_owned(),
        ("icmp,icmp_type=8", true) => "icmp6,icmp_type=128".to_owned(),
        ("ip,nw_proto=47", true) => "ipv6,nw_proto=47".to_owned(),
        (name, true) => match name.split_once(',') {
            Some((name, rest)) => format!("{name}6,{rest}"),
            None => format!("{name}6"),
        },
    };
    text += &match is_ipv6 {
        true => format!(",ipv6_src=fd00::{source:x},ipv6_dst=2001:db8::{destination:x}"),
        false => format!(",nw_src=10.0.0.{source},nw_dst=198.51.100.{destination}"),
    };
    text += ",nw_ttl=64,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02";
    if has_ports {
        text += &format!(",tp_src={},tp_dst={}", ports.0, ports.1);
    }
    let mut frame = compose(&headers(&text));
    if name.starts_with("icmp") {
        let l4 = usize::from(layers_of(&frame).l4);
        let message = &mut frame[l4..];
        let identifier = ports.0.to_be_bytes();
        message[icmp::field::IDENTIFIER].copy_from_slice(&identifier);
        packet::checksum::update(&mut message[icmp::field::CHECKSUM], &[0, 0], &identifier);
    }
    frame
}

fn layers_of(frame: &[u8]) -> Layers {
    extract(Arrival::default(), frame, 2).1
}

/// The answer to a request: with the addresses and the ports swapped, and of a ping the type of the answer.
fn answer_to(request: &[u8]) -> Vec<u8> {
    let mut frame = request.to_vec();
    let (key, layers) = extract(Arrival::default(), request, 2);
    let (l3, l4) = (usize::from(layers.l3), usize::from(layers.l4));
    let is_ipv6 = request[l3] >> 4 == 6;
    let (at, size) = if is_ipv6 { (l3 + 8, 16) } else { (l3 + 12, 4) };
    let (source, destination) = frame[at..at + 2 * size].split_at_mut(size);
    source.swap_with_slice(destination);
    match key.headers.nw_proto {
        ip_proto::ICMP | ip_proto::ICMPV6 => {
            let answer = if is_ipv6 { icmpv6_type::ECHO_REPLY } else { icmp_type::ECHO_REPLY };
            let (old, new) = ([frame[l4], 0], [answer, 0]);
            frame[l4] = answer;
            packet::checksum::update(&mut frame[l4..][icmp::field::CHECKSUM], &old, &new);
        }
        protocol if ip_proto::has_ports(protocol) => {
            let (source, destination) = frame[l4..l4 + 4].split_at_mut(2);
            source.swap_with_slice(destination);
            if protocol == ip_proto::TCP {
                // The sequence number of the SYN is 0.
                frame[l4..][tcp::field::ACKNOWLEDGEMENT].copy_from_slice(&1u32.to_be_bytes());
                let flags = l4 + tcp::field::OFFSET_AND_FLAGS.start;
                let (old, new) = ([0x50, 0x02, 0, 0, 0, 0], [0x50, 0x12, 0, 0, 0, 1]);
                frame[flags..flags + 2].copy_from_slice(&new[..2]);
                packet::checksum::update(&mut frame[l4..][tcp::field::CHECKSUM], &old, &new);
            }
        }
        _ => {}
    }
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn an_answer_translated_back_answers_the_request(
        requests in proptest::collection::vec(
            (select(PROTOCOLS).prop_filter("answers", |p| *p != SCTP), any::<bool>(), (1u8..4, 1u8..3), (1u16..5, 1u16..5)),
            1..12,
        ),
        nat in select(NATS),
        last in 1u8..4,
        order in any::<Index>(),
    ) {
        let ranges = (format!("192.0.2.1-192.0.2.{last}"), format!("[2001:db8:1::1]-[2001:db8:1::{last}]"));
        let [v4, v6] = [nat.replace("V4", &ranges.0), nat.replace("V4", &ranges.1).replace("0.0.0.0", "::")];
        let rules = [
            format!("ip,in_port=1,actions=ct(commit,table=1,{v4})"),
            format!("ipv6,in_port=1,actions=ct(commit,table=1,{v6})"),
            "ip,in_port=2,actions=ct(nat,table=1)".to_owned(),
            "ipv6,in_port=2,actions=ct(nat,table=1)".to_owned(),
            "table=1,in_port=1,ct_state=-inv,actions=2".to_owned(),
            "table=1,in_port=2,ct_state=+rpl-inv,actions=1".to_owned(),
        ];
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let mut bench = Bench::cached(&rules);
        let mut translated = Vec::new();
        for (protocol, is_ipv6, hosts, ports) in requests {
            let sent = request(protocol, is_ipv6, hosts, ports);
            let mut left = bench.send_frames(0, std::slice::from_ref(&sent));
            // A connection may find no free address and port.
            if let Some(outside) = left[1].pop() {
                translated.push((sent, outside));
            }
        }
        let exhausted = bench.policy.connections().stats().nat_exhausted;
        prop_assert_eq!(exhausted, bench.counters[0].rx_dropped(DropReason::NatExhausted).get());
        // In another order than that of the requests.
        let middle = order.index(translated.len() + 1);
        translated.rotate_left(middle);
        for (sent, outside) in &translated {
            let left = bench.send_frames(1, &[answer_to(outside)]);
            prop_assert_eq!(&left[0], &[answer_to(sent)]);
            // No two connections look the same from outside.
            let same = translated.iter().filter(|(other, seen)| seen == outside && other != sent);
            prop_assert_eq!(same.count(), 0);
        }
        let known = bench.policy.connections().dump(bench.now, CtFilter::default());
        for connection in &known {
            prop_assert!(known.iter().filter(|other| other.reply == connection.reply).count() == 1);
        }
    }

    #[test]
    fn the_reverse_translation_restores_every_byte(
        protocol in select(PROTOCOLS),
        is_ipv6 in any::<bool>(),
        hosts in (1u8..255, 1u8..255),
        ports in (1u16.., 1u16..),
        is_source in any::<bool>(),
        is_partial in any::<bool>(),
    ) {
        let sent = request(protocol, is_ipv6, hosts, ports);
        let ip = if is_ipv6 { "ipv6" } else { "ip" };
        let target = if is_ipv6 { "[2001:db8:1::1]-[2001:db8:1::ffff]" } else { "192.0.2.1-192.0.2.254" };
        let rule = format!("{ip},actions=ct(commit,nat({}={target}:1-65535,random))", if is_source { "src" } else { "dst" });
        let rule = parse_flow(&rule, &ParseContext::default()).expect("a rule");
        let [Action::Ct(ct)] = &rule.actions[..] else { panic!("one action") };
        let commit = CtCommit {
            force: false,
            mark: Rewrite::default(),
            label: Rewrite::default(),
            alg: None,
        };
        let action = CtAction { zone: 0, commit: Some(commit), nat: ct.nat };
        let mut offload = Offload::NONE;
        let layers = layers_of(&sent);
        if is_partial && protocol.1 {
            offload.set_needs_checksum(layers.l4, 6);
        }
        let mut frame = Frame::owned(&sent, offload);
        frame.layers = layers;
        let policy = one_bridge();
        let tracked = policy.connections().track(Duration::ZERO, &frame, &action, None).expect("a free port");
        prop_assert!(tracked.found.state & ct_state::NEW != 0);
        let translation = tracked.translation.expect("another address");
        let mut quick = Frame::owned(&sent, offload);
        quick.layers = layers;
        let translator = nat::QuickTranslation::new(&translation);
        prop_assert_eq!(translator.is_some(), !is_ipv6 && ["udp", "tcp,tcp_flags=syn"].contains(&protocol.0));
        nat::translate(&mut frame, &translation);
        prop_assert_ne!(frame.bytes(), &sent[..]);
        if let Some(translator) = translator {
            translator.apply(&mut quick);
            prop_assert_eq!(quick.bytes(), frame.bytes());
        }
        let back = crate::conntrack::CtTranslation { from: translation.to, to: translation.from, ..translation };
        nat::translate(&mut frame, &back);
        prop_assert_eq!(frame.bytes(), &sent[..]);
    }
}
