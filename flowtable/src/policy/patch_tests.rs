//! Two bridges that are joined by a patch: what each sees, and what comes out.

use super::*;
use flow::FlowKey;
use flow::action::Action;
use flow::flow_mod::{Command, FlowMod};
use flow::table_mod::{TableMiss, TableSettings};
use flow::text::{ParseContext, parse_flow, parse_match};
use flow::types::{MacAddr, OfPort, OfVersion, TableId};
use flow::verdict::{DpAction, DropReason};
use mac_table::MacKey;
use ports::VlanMode;

const NOW: Duration = Duration::from_secs(1);
/// The number of the patch port in either bridge.
const PATCH: OfPort = OfPort(10);

/// `br0` with ports 1 and 2, `br1` with ports 1 and 2, and port 10 of each joined to port 10 of the other. The
/// datapath numbers of the four ports are 0 to 3.
struct Pair {
    policy: Policy,
    first: BridgeId,
    second: BridgeId,
}

impl Pair {
    fn new(first_rules: &[&str], second_rules: &[&str]) -> Self {
        let policy = Policy::new(7);
        let first = policy.add_bridge("br0").unwrap();
        let second = policy.add_bridge("br1").unwrap();
        let pair = Self { policy, first, second };
        pair.add_ports(first, 0, "pa", "pb");
        pair.add_ports(second, 2, "pb", "pa");
        pair.add(first, first_rules);
        pair.add(second, second_rules);
        pair
    }

    fn add_ports(&self, bridge: BridgeId, first_number: u16, patch: &str, peer: &str) {
        self.policy.bridge(bridge).with_ports(|ports| {
            for n in 0..2 {
                let (port_no, mac) = (PortNo(first_number + n), MacAddr::default());
                ports.insert(PortInfo::new(port_no, OfPort(1 + n), &format!("p{port_no:?}"), mac));
            }
            ports.insert(PortInfo::patch(PATCH, patch, peer, MacAddr::default()));
        });
    }

    fn add(&self, bridge: BridgeId, rules: &[&str]) {
        let context = ParseContext {
            version: OfVersion::OpenFlow13,
            command: Command::Add,
            ..Default::default()
        };
        let rules: Vec<FlowMod> =
            rules.iter().map(|rule| parse_flow(rule, &context).expect(rule)).collect();
        self.policy.bridge(bridge).apply(&rules, NOW).unwrap();
    }

    /// What becomes of a packet that comes in at port 1 of the first bridge.
    fn translate(&self, packet: &str) -> Translation {
        let context = ParseContext::default();
        let headers = parse_match(packet, &context).expect(packet).key().headers;
        self.policy.translate(&FlowKey { headers, ..FlowKey::default() })
    }

    fn outputs(&self, packet: &str) -> Vec<u16> {
        let ports = self.translate(packet).actions.into_iter().filter_map(|action| match action {
            DpAction::Output(port) => Some(port.0),
            _ => None,
        });
        ports.collect()
    }
}

const PACKET: &str = "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,dl_type=0x0800,nw_proto=6";

#[test]
fn a_flood_goes_through_the_patch_and_is_flooded_there() {
    let pair = Pair::new(&["actions=NORMAL"], &["actions=NORMAL"]);
    assert_eq!(pair.outputs(PACKET), [1, 2, 3]);
    let translation = pair.translate(PACKET);
    let learned: Vec<_> =
        translation.learn.iter().map(|learn| (learn.host.bridge, learn.port)).collect();
    assert_eq!(learned, [(pair.first, OfPort(1)), (pair.second, PATCH)]);
    assert_eq!(translation.patches.len(), 1);
}

#[test]
fn hosts_are_found_through_the_patch() {
    let pair = Pair::new(&["actions=NORMAL"], &["actions=NORMAL"]);
    let there = MacKey { vlan: 0, mac: MacAddr([2, 0, 0, 0, 0, 2]) };
    for (bridge, port) in [(pair.first, PATCH), (pair.second, OfPort(2))] {
        pair.policy.bridge(bridge).with_macs(|macs| macs.learn(there, port, NOW));
    }
    assert_eq!(pair.outputs(PACKET), [3]);
}

#[test]
fn the_second_bridge_sees_its_own_port_and_nothing_that_the_first_wrote_beside_the_packet() {
    let pair = Pair::new(
        &["actions=set_field:7->reg0,set_field:9->metadata,set_tunnel:5,output:10"],
        &["in_port=10,reg0=0,metadata=0,tun_id=0,actions=2", "priority=1,actions=1"],
    );
    assert_eq!(pair.outputs(PACKET), [3]);
}

#[test]
fn what_the_second_bridge_does_to_the_packet_does_not_last() {
    let pair = Pair::new(
        &["tcp,actions=output:10,set_field:5->reg0,output:2"],
        &["actions=mod_dl_dst:02:00:00:00:00:66,output:1,exit"],
    );
    let [set, to_second, back, to_first] = &pair.translate(PACKET).actions[..] else {
        panic!("{:?}", pair.translate(PACKET).actions);
    };
    assert_eq!((to_second, to_first), (&DpAction::Output(PortNo(2)), &DpAction::Output(PortNo(1))));
    assert!(matches!((set, back), (DpAction::SetEth { .. }, DpAction::SetEth { .. })));
}

#[test]
fn labels_that_the_second_bridge_pops_are_still_there_for_the_first() {
    let pair =
        Pair::new(&["actions=output:10,output:2"], &["mpls,actions=pop_mpls:0x0800,output:1"]);
    let packet = "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,dl_type=0x8847,mpls_label=3";
    let actions = pair.translate(packet).actions;
    let [DpAction::Clone(inner), DpAction::Output(PortNo(1))] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert!(matches!(inner[..], [DpAction::PopMpls { .. }, DpAction::Output(PortNo(2))]));
}

#[test]
fn the_action_set_of_the_second_bridge_is_its_own() {
    let pair = Pair::new(
        &["actions=output:10,write_actions(output:2)"],
        &[
            "actions=write_actions(output:1),goto_table:3",
            "table=3,actions=write_actions(output:2)",
        ],
    );
    assert_eq!(pair.outputs(PACKET), [3, 1]);
}

#[test]
fn a_patch_that_nobody_answers_drops_until_its_peer_comes() {
    let pair = Pair::new(&["actions=output:10"], &["actions=output:1"]);
    let second = pair.policy.bridge(pair.second);
    let peer = second.with_ports(|ports| ports.remove(PATCH)).unwrap();
    let dropped = pair.translate(PACKET);
    assert_eq!(dropped.drop, Some(DropReason::NoPatchPeer));

    let changes = pair.policy.changes();
    let watched = changes.watch(&dropped.hosts, &[], &dropped.depends);
    let before = pair.policy.generation();
    second.with_ports(|ports| {
        ports.insert(PortInfo::patch(PATCH, "pb", "somebody else", MacAddr::default()));
    });
    assert_eq!(pair.translate(PACKET).drop, Some(DropReason::NoPatchPeer), "it names another peer");
    second.with_ports(|ports| ports.insert(peer));
    assert!(changes.concern(&watched, before), "a cached verdict is stale now");
    assert_eq!(pair.outputs(PACKET), [2]);
}

#[test]
fn a_change_of_either_bridge_concerns_a_packet_that_went_through_both() {
    let pair = Pair::new(&["actions=output:10"], &["actions=output:1"]);
    let translation = pair.translate(PACKET);
    let watched = pair.policy.changes().watch(&translation.hosts, &[], &translation.depends);
    let mut recent = changes::RecentRules::default();
    for (bridge, table, expected) in [
        (pair.first, 0, true),
        (pair.second, 0, true),
        (pair.first, 1, false),
        (pair.second, 1, false),
    ] {
        let before = pair.policy.generation();
        pair.add(bridge, &[&format!("table={table},priority=9,udp,actions=drop")]);
        pair.policy.changes().follow(&mut recent);
        let concerns = recent.any_since(before, translation.depends.tables, |_| (0, 0));
        assert_eq!(concerns, expected, "bridge {bridge}, table {table}");
        assert!(!pair.policy.changes().concern(&watched, before), "no port has changed");
    }
    let before = pair.policy.generation();
    let second = pair.policy.bridge(pair.second);
    second.with_ports(|ports| ports.get_mut(PATCH).unwrap().config.no_recv = true);
    assert!(pair.policy.changes().concern(&watched, before));
    assert_eq!(pair.translate(PACKET).drop, Some(DropReason::PortNoReceive));
}

#[test]
fn a_loop_of_bridges_ends() {
    let back = "priority=40000,in_port=10,actions=IN_PORT";
    let pair = Pair::new(&["actions=output:10", back], &["actions=IN_PORT"]);
    assert_eq!(pair.translate(PACKET).drop, Some(DropReason::RecursionTooDeep));
    // With each round one more copy for a port beside the loop.
    let pair = Pair::new(&["actions=output:10", &format!("{back},output:2")], &["actions=IN_PORT"]);
    let outputs = pair.outputs(PACKET);
    assert!(outputs.len() > 1 && outputs.iter().all(|port| *port == 1), "{outputs:?}");
}

#[test]
fn vlans_are_translated_at_both_ends() {
    let pair = Pair::new(&["actions=NORMAL"], &["actions=NORMAL"]);
    let set = |bridge, port, vlan| {
        let set = |ports: &mut PortTable| ports.get_mut(port).unwrap().vlan = vlan;
        pair.policy.bridge(bridge).with_ports(set);
    };
    set(pair.first, OfPort(1), VlanMode::Access(5));
    set(pair.first, OfPort(2), VlanMode::Access(6));
    set(pair.second, OfPort(1), VlanMode::Access(5));
    set(pair.second, OfPort(2), VlanMode::Access(6));
    assert_eq!(pair.outputs(PACKET), [2], "only the access port of the same VLAN");
    // The patch carries the VLAN untagged, and the second bridge knows it under another number.
    set(pair.first, PATCH, VlanMode::Access(5));
    set(pair.second, PATCH, VlanMode::Access(6));
    assert_eq!(pair.outputs(PACKET), [3]);
}

#[test]
fn the_reason_of_a_drop_is_that_of_the_bridge_that_dropped() {
    let flooded = |rules: &[&str]| {
        let pair = Pair::new(&["actions=NORMAL"], rules);
        let first = pair.policy.bridge(pair.first);
        first.with_ports(|ports| ports.remove(OfPort(2)));
        pair.translate(PACKET).drop
    };
    assert_eq!(flooded(&["tcp,actions=drop"]), Some(DropReason::RuleDrop));
    assert_eq!(flooded(&[]), Some(DropReason::TableMiss));
    assert_eq!(flooded(&["actions=output:9"]), Some(DropReason::NoOutput));
}

#[test]
fn whole_packets_only_go_through_a_patch() {
    let pair = Pair::new(&["actions=output(port=10,max_len=64)"], &["actions=output:1"]);
    assert_eq!(pair.translate(PACKET).drop, Some(DropReason::NoOutput));
}

#[test]
fn a_pass_that_begins_in_the_second_bridge_goes_on_there() {
    let pair = Pair::new(
        &["actions=output:10"],
        &["mpls,actions=pop_mpls:0x0800,resubmit(,1)", "table=1,ip,in_port=10,actions=output:2"],
    );
    let packet = "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,dl_type=0x8847,mpls_label=3";
    let first = pair.translate(packet);
    let Some(DpAction::Recirculate(id)) = first.actions.last() else {
        panic!("{:?}", first.actions);
    };
    let headers = parse_match(PACKET, &ParseContext::default()).unwrap().key().headers;
    let key = FlowKey { recirc_id: (*id).into(), headers, ..FlowKey::default() };
    let again = pair.policy.translate(&key);
    assert_eq!(again.actions, [DpAction::Output(PortNo(3))]);
}

#[test]
fn a_port_number_of_another_bridge_is_not_the_packets_own() {
    // The second bridge looks the packet up as if it had come in at a port that has, by chance, the number of
    // the first bridge's port where it did. A change of a rule for that port is about this packet.
    let pair = Pair::new(&["actions=output:10"], &["actions=resubmit(1,1)"]);
    assert!(pair.translate(PACKET).depends.rewritten.contains(0));
    let pair = Pair::new(&["actions=resubmit(,1)"], &[]);
    assert!(!pair.translate(PACKET).depends.rewritten.contains(0));
}

#[test]
fn bridges_come_and_go_without_a_trace() {
    let policy = Policy::new(7);
    let first = policy.add_bridge("br0").unwrap();
    assert!(matches!(policy.add_bridge("br0"), Err(AddBridgeError::Exists(_))));
    let second = policy.add_bridge("br1").unwrap();
    let rule = FlowMod::new(Command::Add, 5, flow::Match::any(), vec![Action::Exit]);
    policy.bridge(second).apply(&[rule], NOW).unwrap();
    policy.bridge(second).with_ports(|ports| {
        ports.insert(PortInfo::new(PortNo(4), OfPort(1), "p", MacAddr::default()));
    });
    assert_eq!(policy.port_ref(PortNo(4)), Some(PortRef { bridge: second, port: OfPort(1) }));
    let settings = TableSettings {
        miss: Some(TableMiss::Drop),
        flow_limit: Some(4),
        ..TableSettings::default()
    };
    policy.bridge(second).configure_table(TableId::default(), &settings);
    policy.remove_bridge(second, NOW);
    assert_eq!(policy.bridges().len(), 1);
    assert_eq!(policy.port_ref(PortNo(4)), None);
    let third = policy.add_bridge("br1").unwrap();
    assert_eq!(third, second, "the free number is used again");
    let snapshot = policy.bridge(third).snapshot();
    assert!(snapshot.tables().rules(None, snapshot.version()).next().is_none());
    assert!(snapshot.ports().is_empty() && snapshot.macs().is_empty());
    assert_eq!(snapshot.tables().miss(TableId::default()), None);
    drop(snapshot);
    let rules =
        (0..5).map(|n| FlowMod::new(Command::Add, n, flow::Match::any(), vec![Action::Exit]));
    policy.bridge(third).apply(&rules.collect::<Vec<_>>(), NOW).expect("the table has room");
    assert_ne!(first, third);
}
