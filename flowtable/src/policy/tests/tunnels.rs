//! What rules read and write of the tunnel that a packet goes through: `tun_id` and its relatives.

use super::ports::{Inherited, TunnelEgress, TunnelLocal};
use super::*;
use crate::policy::xlate::Translation;
use flow::Headers;
use flow::key::Segment;
use packet::TunnelKey;
use packet::wire::vxlan::GroupPolicy;

/// The key of a packet that came through a tunnel, in the words of a match.
fn tunneled(packet: &str) -> FlowKey {
    let mut key = key(packet);
    let headers = &mut key.headers;
    headers.segments = headers.segments.or(Segment::TUNNEL.id).or(Segment::TUNNEL_IPV6.id);
    key
}

/// What the mask says of the tunnel: its other bits are zero.
fn tunnel_of_mask(translation: &Translation) -> Headers {
    let mut headers = Headers::default();
    headers.copy_tunnel(&translation.mask.bits.headers);
    headers
}

/// The next pass of a packet.
fn next_pass(policy: &Policy, first: &Translation, packet: &FlowKey) -> Translation {
    let [.., DpAction::Recirculate(id)] = first.actions[..] else { panic!("{:?}", first.actions) };
    policy.translate(&FlowKey { recirc_id: id.into(), ..*packet })
}

#[test]
fn rules_of_later_tables_see_the_tunnel_that_earlier_ones_wrote() {
    let rules = [
        "table=0,actions=set_tunnel:5,set_field:192.0.2.7->tun_dst,resubmit(,1)",
        "table=1,priority=9,tun_id=5,tun_dst=192.0.2.0/24,actions=move:NXM_NX_TUN_ID[0..15]->NXM_NX_REG0[0..15],resubmit(,2)",
        "table=2,reg0=5,actions=2",
    ];
    check(&rules, "in_port=1,tcp", &[2]);
}

/// Nothing is emitted for a tunnel's fields, so a packet that has the value already needs no
/// cached flow of its own.
#[test]
fn to_write_a_tunnel_does_not_read_it_and_emits_nothing() {
    let policy =
        policy(&["actions=set_tunnel:5,load:1->NXM_NX_TUN_ID[8],set_field:::1->tun_ipv6_src,2"]);
    let translation = policy.translate(&tunneled("in_port=1,tcp,tun_id=5"));
    assert_eq!(tunnel_of_mask(&translation), Headers::default());
    assert!(matches!(translation.actions[..], [DpAction::Output(PortNo(1))]));
}

#[test]
fn the_bits_of_a_tunnel_that_rules_read_are_in_the_mask() {
    let policy = policy(&["priority=9,tun_id=0x5/0xff,actions=3", "priority=1,actions=2"]);
    for (packet, port) in [("in_port=1,tcp,tun_id=0x105", 3), ("in_port=1,tcp,tun_id=0x106", 2)] {
        let translation = policy.translate(&tunneled(packet));
        assert_eq!(outputs(&translation.actions), [port]);
        let read = tunnel_of_mask(&translation);
        assert!(read.tun_id.get() & 0xff != 0 && read.tun_id.get() & !0xff == 0, "{read:?}");
        assert_eq!(read, Headers { tun_id: read.tun_id, ..Headers::default() });
    }
}

#[test]
fn the_next_pass_has_the_tunnel_that_rules_wrote() {
    let rules = ["table=0,ip,actions=set_tunnel:5,ct(table=1)", "table=1,tun_id=5,actions=2"];
    let policy = policy(&rules);
    for packet in [key("in_port=1,tcp"), tunneled("in_port=1,tcp,tun_id=9,tun_src=192.0.2.1")] {
        let first = policy.translate(&packet);
        assert_eq!(outputs(&next_pass(&policy, &first, &packet).actions), [2]);
    }
    // The state of the next pass has every bit of the tunnel, once rules have changed one.
    let mut all = Headers::default();
    all.mark_tunnel();
    let came_through_one = policy.translate(&tunneled("in_port=1,tcp"));
    assert_eq!(tunnel_of_mask(&came_through_one), all);
}

#[test]
fn the_next_pass_finds_a_tunnel_that_no_rule_changed_with_the_frame() {
    let policy = policy(&["table=0,ip,actions=ct(table=1)", "table=1,tun_id=9,actions=3"]);
    let packet = tunneled("in_port=1,tcp,tun_id=9");
    let first = policy.translate(&packet);
    assert_eq!(tunnel_of_mask(&first), Headers::default());
    assert_eq!(outputs(&next_pass(&policy, &first, &packet).actions), [3]);
}

#[test]
fn a_label_hides_no_tunnel() {
    let rules = ["table=0,ip,actions=push_mpls:0x8847,resubmit(,1)", "table=1,tun_id=9,actions=4"];
    let translation = policy(&rules).translate(&tunneled("in_port=1,tcp,tun_id=9"));
    assert_eq!(outputs(&translation.actions), [4]);
}

#[test]
fn the_last_tunnel_of_an_action_set_is_written_before_the_output() {
    let rules = [
        "table=0,actions=write_actions(set_field:7->tun_id,resubmit(,2)),goto_table:1",
        "table=1,actions=write_actions(set_field:8->tun_id)",
        "table=2,tun_id=8,actions=3",
    ];
    check(&rules, "in_port=1,tcp", &[3]);
}

#[test]
fn controllers_are_told_of_the_tunnel() {
    let policy = policy(&["actions=set_field:192.0.2.7->tun_dst,controller"]);
    let translation = policy.translate(&tunneled("in_port=1,tcp,tun_id=9"));
    let [DpAction::Controller(meta)] = &translation.actions[..] else { panic!("{translation:?}") };
    assert_eq!(meta.state.headers.tun_id.get(), 9);
    assert_eq!(meta.state.headers.tun_dst.get(), 0xc000_0207);
    assert_eq!(tunnel_of_mask(&translation).tun_id.get(), u64::MAX);
}

/// A policy with a tunnel port, 9, beside the other ones.
fn with_tunnel(rules: &[&str], tunnel: TunnelEgress) -> Policy {
    let policy = policy(rules);
    policy.bridge(BridgeId::FIRST).with_ports(|ports| {
        let port = PortInfo::new(PortNo(8), OfPort(9), "t9", MacAddr([2, 0, 0, 0, 0, 9]));
        ports.insert(PortInfo { tunnel: Some(Arc::new(tunnel)), ..port });
    });
    policy
}

#[test]
fn a_truncated_copy_goes_through_a_tunnel() {
    let policy = with_tunnel(&["actions=push_vlan:0x8100,output(port=9,max_len=64),3"], fixed());
    let translation = policy.translate(&key("in_port=1,tcp,nw_ecn=2"));
    let [
        DpAction::PushVlan { .. },
        DpAction::TunnelTrunc { port, key: outer, max_len },
        DpAction::Output(PortNo(2)),
    ] = &translation.actions[..]
    else {
        panic!("{translation:?}")
    };
    // The length counts without the tag.
    assert_eq!((*port, *max_len), (PortNo(8), 68));
    assert_eq!((outer.id, outer.tos), (7, 0x22));
    assert_eq!(translation.mask.bits.headers.nw_tos, 3);
    let nowhere = with_tunnel(&["actions=output(port=9,max_len=64)"], from_packet());
    assert_eq!(nowhere.translate(&key("in_port=1,tcp")).drop, Some(DropReason::TunnelNoRemote));
}

/// What decides all of the outer header, but for ECN.
fn fixed() -> TunnelEgress {
    TunnelEgress {
        key: Some(7),
        remote: Some([192, 0, 2, 2].into()),
        local: TunnelLocal::Any,
        tos: Inherited::Fixed(0x20),
        ttl: Inherited::Fixed(64),
        has_group_policy: false,
        options: Arc::default(),
    }
}

fn from_packet() -> TunnelEgress {
    TunnelEgress {
        key: None,
        remote: None,
        local: TunnelLocal::Flow,
        tos: Inherited::FromPacket,
        ttl: Inherited::FromPacket,
        has_group_policy: true,
        options: Arc::default(),
    }
}

fn sent_key(translation: &Translation) -> TunnelKey {
    match &translation.actions[..] {
        [DpAction::Tunnel { port: PortNo(8), key }] => (**key).clone(),
        actions => panic!("{actions:?}, {:?}", translation.drop),
    }
}

#[test]
fn the_port_decides_whatever_rules_have_written() {
    let rule = "actions=set_tunnel:5,set_field:192.0.2.9->tun_dst,output:9";
    let translation =
        with_tunnel(&[rule], fixed()).translate(&key("in_port=1,tcp,nw_tos=0xb8,nw_ecn=1"));
    let expected = TunnelKey {
        id: 7,
        destination: [192, 0, 2, 2].into(),
        tos: 0x21,
        ttl: 64,
        ..TunnelKey::default()
    };
    assert_eq!(sent_key(&translation), expected);
    let mask = translation.mask.bits.headers;
    assert_eq!((mask.nw_tos, mask.nw_ttl), (3, 0), "ECN, and nothing else of the packet, decides");
}

#[test]
fn what_the_port_leaves_open_comes_from_the_packet_and_is_in_the_mask() {
    let rule = "actions=set_tunnel:5,set_field:192.0.2.9->tun_dst,set_field:192.0.2.1->tun_src,\
                set_field:3->tun_gbp_id,set_field:1->tun_flags,output:9";
    let policy = with_tunnel(&[rule], from_packet());
    let translation = policy.translate(&key("in_port=1,tcp,nw_tos=0xb8,nw_ecn=2,nw_ttl=9"));
    let expected = TunnelKey {
        id: 5,
        source: [192, 0, 2, 1].into(),
        destination: [192, 0, 2, 9].into(),
        tos: 0xba,
        ttl: 9,
        is_oam: true,
        group_policy: GroupPolicy { id: 3, flags: 0 },
        options: None,
    };
    assert_eq!(sent_key(&translation), expected);
    let mask = translation.mask.bits.headers;
    assert_eq!((mask.nw_tos, mask.nw_ttl), (0xff, 0xff));
    let arp = policy.translate(&key("in_port=1,arp"));
    assert_eq!((sent_key(&arp).tos, sent_key(&arp).ttl), (0, 64));
}

#[test]
fn a_tunnel_needs_another_end_than_our_own() {
    let drop_of = |rule: &str, packet: &FlowKey| {
        let translation = with_tunnel(&[rule], from_packet()).translate(packet);
        assert!(translation.actions.is_empty());
        translation.drop
    };
    let plain = key("in_port=1,tcp");
    assert_eq!(drop_of("actions=output:9", &plain), Some(DropReason::TunnelNoRemote));
    let received = tunneled("in_port=1,tcp,tun_src=192.0.2.2,tun_dst=192.0.2.1");
    assert_eq!(drop_of("actions=output:9", &received), Some(DropReason::TunnelToSelf));
    let back = "actions=move:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[],output:9";
    let translation = with_tunnel(&[back], from_packet()).translate(&received);
    assert_eq!(sent_key(&translation).destination, std::net::IpAddr::from([192, 0, 2, 2]));
}

#[test]
fn protected_tunnels_forward_nothing_to_each_other() {
    let policy = with_tunnel(&["actions=normal"], fixed());
    policy.bridge(BridgeId::FIRST).with_ports(|ports| {
        for (port_no, of_port) in [(8, 9), (9, 10)] {
            let port = PortInfo::new(
                PortNo(port_no),
                OfPort(of_port),
                &format!("t{of_port}"),
                MacAddr([2; 6]),
            );
            ports.insert(PortInfo { tunnel: Some(Arc::new(fixed())), protected: true, ..port });
        }
    });
    let flooded = |in_port: u16| {
        let packet = format!("in_port={in_port},dl_src=02:00:00:00:00:77,dl_dst=ff:ff:ff:ff:ff:ff");
        let actions = policy.translate(&key(&packet)).actions;
        actions.iter().filter(|action| matches!(action, DpAction::Tunnel { .. })).count()
    };
    assert_eq!((flooded(1), flooded(9), flooded(10)), (2, 0, 0));
}

#[test]
fn a_sender_is_not_learned_if_the_tunnels_header_says_so() {
    let learned = |has_group_policy: bool, flags: &str| {
        // What a rule writes for the next tunnel says nothing of the one that the packet came through.
        let rule = "actions=set_field:0x40->tun_gbp_flags,normal";
        let policy = with_tunnel(&[rule], TunnelEgress { has_group_policy, ..fixed() });
        let packet = format!("in_port=9,dl_src=02:00:00:00:00:77,tun_gbp_flags={flags}");
        let translation = policy.translate(&tunneled(&packet));
        let read = tunnel_of_mask(&translation).tun_gbp_flags;
        assert_eq!(read & 0x40 != 0, has_group_policy, "{read:#x}");
        translation.learn.len()
    };
    assert_eq!((learned(true, "0x8"), learned(true, "0x48")), (1, 0));
    assert_eq!(learned(false, "0x48"), 1, "without the extension nobody looks");
}

#[test]
fn floods_and_fast_failover_leave_out_a_port_whose_peer_is_down() {
    let policy = policy(&[]);
    add_groups(
        &policy,
        &[
            "group_id=1,type=ff,bucket=watch_port:2,actions=output:2,bucket=watch_port:3,actions=output:3",
        ],
    );
    let rules = [
        "priority=9,ip,actions=group:1",
        "priority=5,arp,actions=flood",
        "priority=1,actions=normal",
    ];
    add(&policy, &rules).unwrap();
    let sent = |packet: &str| outputs(&policy.translate(&key(packet)).actions);
    let frames =
        ["in_port=1,tcp", "in_port=1,arp", "in_port=1,dl_src=02:00:00:00:00:77,dl_type=0x88b5"];
    assert_eq!(frames.map(sent), [vec![2], vec![2, 3, 4], vec![2, 3, 4]]);
    let hear = |is_peer_down| {
        policy.bridge(BridgeId::FIRST).with_ports(|ports| {
            ports.get_mut(OfPort(2)).unwrap().is_peer_down = is_peer_down;
        });
    };
    hear(true);
    assert_eq!(frames.map(sent), [vec![3], vec![3, 4], vec![3, 4]]);
    hear(false);
    assert_eq!(frames.map(sent), [vec![2], vec![2, 3, 4], vec![2, 3, 4]]);
}

/// A packet that came through a tunnel with some options, in the words of a match.
fn with_options(packet: &str) -> FlowKey {
    let mut key = tunneled(packet);
    key.headers.segments = key.headers.segments.or(Segment::TUNNEL_OPTIONS.id);
    key
}

#[test]
fn an_option_is_matched_moved_written_and_taken_away() {
    let rules = [
        "table=0,priority=9,tun_metadata0=0x5,actions=move:tun_metadata0[0..31]->reg0[],set_field:7->tun_metadata1,delete_field:tun_metadata0,resubmit(,1)",
        "table=0,priority=8,tun_metadata0=0,actions=4",
        "table=0,priority=7,tun_metadata0,actions=2,3",
        "table=0,priority=1,actions=3",
        "table=1,priority=9,tun_metadata0,actions=drop",
        "table=1,priority=8,reg0=5,tun_metadata1=7,tun_options=0x2/0x3,actions=2",
    ];
    let policy = policy(&rules);
    for (packet, ports) in [
        ("in_port=1,tcp,tun_metadata0=5", &[2][..]),
        ("in_port=1,tcp,tun_metadata0=0", &[4]),
        ("in_port=1,tcp,tun_metadata0=6", &[2, 3]),
        ("in_port=1,tcp", &[3]),
    ] {
        let translation = policy.translate(&with_options(packet));
        assert_eq!(outputs(&translation.actions), ports, "{packet}");
    }
}

#[test]
fn a_rule_with_an_option_that_is_not_mapped_is_refused() {
    let policy = policy(&[]);
    let map = vec![MappedOption { class: 0x102, option_type: 0x80, size: 4, field: 0 }];
    policy.bridge(BridgeId::FIRST).map_options(OptionMap::new(map).into());
    let refused = |rule: &str| add(&policy, &[rule]).map_err(|(_, error)| error);
    let short = FlowModError::OptionTooShort { field: 0, size: 4 };
    for (rule, expected) in [
        ("tun_metadata0=0xffffffff,actions=2", Ok(())),
        ("tun_metadata0=0x100000000,actions=2", Err(short.clone())),
        ("tun_metadata0=0/0x100000000,actions=2", Err(short.clone())),
        ("actions=move:tun_metadata0[1..32]->reg0[],2", Err(short.clone())),
        ("actions=clone(set_field:0x100000000->tun_metadata0,2)", Err(short)),
        ("tun_metadata1,actions=2", Err(FlowModError::UnmappedOption(1))),
        ("actions=delete_field:tun_metadata9", Err(FlowModError::UnmappedOption(9))),
        (
            "actions=learn(table=1,tun_metadata2[0..7],output:in_port)",
            Err(FlowModError::UnmappedOption(2)),
        ),
        ("actions=push:tun_metadata0[0..31],pop:reg0[],2", Ok(())),
    ] {
        assert_eq!(refused(rule), expected, "{rule}");
    }
    let used = policy.bridge(BridgeId::FIRST).used_options();
    assert_eq!(used, 1);
}

#[test]
fn options_that_a_packet_has_are_sent() {
    let map = vec![
        MappedOption { class: 0x102, option_type: 0x80, size: 4, field: 0 },
        MappedOption { class: 0xffff, option_type: 1, size: 8, field: 3 },
        MappedOption { class: 0xffff, option_type: 2, size: 0, field: 9 },
    ];
    let tunnel = TunnelEgress { options: OptionMap::new(map).into(), ..fixed() };
    let sent = |rule: &str, packet: &str| {
        let policy = with_tunnel(&[rule], tunnel.clone());
        let translation = policy.translate(&with_options(packet));
        sent_key(&translation).options.map(|options| options.to_vec())
    };
    assert_eq!(sent("actions=9", "in_port=1,tcp"), None);
    // What came with the packet stays with it, but for what is not mapped here.
    let first = [1, 2, 0x80, 1, 0, 0, 0, 5];
    assert_eq!(
        sent("actions=9", "in_port=1,tcp,tun_metadata0=5,tun_metadata7=1"),
        Some(first.to_vec())
    );
    let rule = "actions=set_field:0x203->tun_metadata3,set_field:0->tun_metadata9,9";
    let behind = [0xff, 0xff, 1, 2, 0, 0, 0, 0, 0, 0, 2, 3, 0xff, 0xff, 2, 0];
    let both = [&first[..], &behind].concat();
    assert_eq!(sent(rule, "in_port=1,tcp,tun_metadata0=5"), Some(both));
    assert_eq!(sent("actions=delete_field:tun_metadata0,9", "in_port=1,tcp,tun_metadata0=5"), None);
}
