//! The pipeline as a whole: rules as text in, verdicts out.

pub(crate) mod fields;
mod groups;
mod holds;
mod hostile;
mod in_turn;
mod own_host;
mod suppression;
mod table_settings;
mod tunnels;

use super::effects::tests::told;
use super::*;
use flow::action::Action;
use flow::flow_mod::{Command, FlowMod};
use flow::key::{FlowKey, PipelineKey};
use flow::text::{ParseContext, parse_flow, parse_group, parse_match};
use flow::types::{MacAddr, OfPort, OfVersion, PortNo, TableId};
use flow::verdict::{DpAction, DropReason};
use mac_table::MacKey;
use packet::{MappedOption, OptionMap};
use ports::{PortConfig, PortInfo, VlanMode};

const NOW: Duration = Duration::from_secs(1);

fn context(command: Command) -> ParseContext<'static> {
    ParseContext { version: OfVersion::OpenFlow13, command, ..ParseContext::default() }
}

/// Every field `tun_metadataN` as an option of Geneve, which has as many bytes as there is room for.
pub(crate) fn every_option() -> OptionMap {
    let option = |field| {
        let size = flow::key::option_size(field);
        MappedOption { class: 0xff00, option_type: field, size, field }
    };
    OptionMap::new((0..64).map(option).collect())
}

/// Four ports, 1 to 4, with datapath numbers 0 to 3. Every option of Geneve is a field.
pub(crate) fn policy(rules: &[&str]) -> Policy {
    let policy = Policy::with_one_bridge(7);
    policy.bridge(BridgeId::FIRST).with_ports(|ports| {
        for n in 1..=4 {
            let mac = MacAddr([2, 0, 0, 0, 0, n as u8]);
            ports.insert(PortInfo::new(PortNo(n - 1), OfPort(n), &format!("p{n}"), mac));
        }
    });
    policy.bridge(BridgeId::FIRST).map_options(every_option().into());
    add(&policy, rules).unwrap();
    policy
}

pub(crate) fn add(policy: &Policy, rules: &[&str]) -> Result<(), (usize, FlowModError)> {
    add_to(policy, BridgeId::FIRST, rules)
}

pub(crate) fn add_to(
    policy: &Policy,
    bridge: BridgeId,
    rules: &[&str],
) -> Result<(), (usize, FlowModError)> {
    let rules: Vec<FlowMod> =
        rules.iter().map(|r| parse_flow(r, &context(Command::Add)).expect(r)).collect();
    policy.bridge(bridge).apply(&rules, NOW).map(drop)
}

pub(crate) fn add_groups(policy: &Policy, groups: &[&str]) {
    let mut transaction = policy.bridge(BridgeId::FIRST).begin();
    let context = ParseContext { version: OfVersion::OpenFlow15, ..context(Command::Add) };
    for text in groups {
        let group = parse_group(text, flow::text::GroupCommand::Add, &context);
        transaction.apply_group(&group.expect(text), NOW).expect(text);
    }
    transaction.commit();
}

fn delete(policy: &Policy, matching: &str) {
    let request = parse_flow(matching, &context(Command::Delete)).expect(matching);
    policy.bridge(BridgeId::FIRST).apply(&[request], NOW).unwrap();
}

/// The key of a packet in the words of a match; `in_port` is given by its OpenFlow number.
fn key(packet: &str) -> FlowKey {
    let matching = parse_match(packet, &context(Command::Add)).expect(packet);
    let &PipelineKey { in_port, headers, .. } = matching.key();
    FlowKey { port_no: PortNo(in_port.get().0 - 1).into(), headers, ..FlowKey::default() }
}

fn outputs(actions: &[DpAction]) -> Vec<u16> {
    let mut ports: Vec<u16> = actions
        .iter()
        .flat_map(|a| match a {
            DpAction::Output(no) => vec![no.0 + 1],
            DpAction::Clone(inner) => outputs(inner),
            _ => vec![],
        })
        .collect();
    ports.sort_unstable();
    ports
}

fn check(rules: &[&str], packet: &str, expected: &[u16]) {
    let translation = policy(rules).translate(&key(packet));
    assert_eq!(outputs(&translation.actions), expected, "{packet} through {rules:?}");
}

#[test]
fn the_best_rule_wins() {
    let rules = ["priority=1,actions=1", "priority=9,tcp,actions=2", "priority=5,ip,actions=3"];
    check(&rules, "in_port=4,tcp", &[2]);
    check(&rules, "in_port=4,udp", &[3]);
    check(&rules, "in_port=4,arp", &[1]);
}

#[test]
fn outputs_that_lead_nowhere_are_left_out() {
    check(&["actions=1,2,77"], "in_port=1,tcp", &[2]);
    check(&["actions=in_port"], "in_port=1,tcp", &[1]);
    check(&["actions=flood"], "in_port=3,tcp", &[1, 2, 4]);
}

#[test]
fn protected_ports_exchange_nothing_whatever_the_rules_say() {
    let reached = |rule: &str| {
        let p = policy(&[rule]);
        p.bridge(BridgeId::FIRST).with_ports(|ports| {
            for n in [1, 2] {
                ports.get_mut(OfPort(n)).unwrap().protected = true;
            }
        });
        let translation = p.translate(&key("in_port=1,tcp"));
        (outputs(&translation.actions), translation.drop)
    };
    let nowhere = (vec![], Some(DropReason::Protected));
    assert_eq!(reached("actions=flood"), (vec![3, 4], None));
    assert_eq!(reached("actions=2"), nowhere);
    assert_eq!(reached("actions=in_port"), nowhere);
    assert_eq!(reached("actions=output(port=2,max_len=20)"), nowhere);
    assert_eq!(reached("actions=load:3->NXM_OF_IN_PORT[],2"), (vec![2], None));
}

#[test]
fn registers_carry_what_one_table_tells_the_next() {
    let rules = [
        "table=0,ip,actions=load:2->NXM_NX_REG0[0..15],resubmit(,1)",
        "table=0,arp,actions=move:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15],resubmit(,1)",
        "table=1,reg0=2,actions=output:NXM_NX_REG0[]",
        "table=1,reg0=4,actions=in_port",
    ];
    check(&rules, "in_port=4,tcp", &[2]);
    check(&rules, "in_port=4,arp", &[4]);
    check(&rules, "in_port=3,arp", &[]);
}

#[test]
fn the_action_set_comes_last_and_in_its_own_order() {
    let rules = [
        "table=0,ip,actions=write_actions(output:2,mod_dl_src:02:00:00:00:00:09),goto_table:1",
        "table=1,tcp,actions=write_actions(output:3)",
        "table=1,udp,actions=clear_actions",
    ];
    check(&rules, "in_port=1,tcp", &[3]);
    check(&rules, "in_port=1,udp", &[]);
    check(&rules, "in_port=1,icmp", &[2]);
}

#[test]
fn a_loop_of_resubmits_drops_the_frame_with_its_reason() {
    let p = policy(&["actions=2,resubmit(,0)"]);
    let translation = p.translate(&key("in_port=1,tcp"));
    assert_eq!(translation.drop, Some(DropReason::RecursionTooDeep));
    assert!(translation.actions.is_empty());
}

#[test]
fn reasons_tell_why_nothing_is_sent() {
    let reason = |rules: &[&str], packet: &str| policy(rules).translate(&key(packet)).drop;
    assert_eq!(reason(&[], "in_port=1,tcp"), Some(DropReason::TableMiss));
    assert_eq!(reason(&["actions=drop"], "in_port=1,tcp"), Some(DropReason::RuleDrop));
    assert_eq!(reason(&["actions=1"], "in_port=1,tcp"), Some(DropReason::NoOutput));
    let bpdu = "in_port=1,dl_dst=01:80:c2:00:00:0e,dl_type=0x88cc";
    assert_eq!(reason(&["actions=normal"], bpdu), Some(DropReason::ReservedMulticast));
    let tired = "in_port=1,ip,nw_ttl=1";
    assert_eq!(reason(&["ip,actions=dec_ttl,2"], tired), Some(DropReason::InvalidTtl));
}

#[test]
fn what_a_port_does_not_receive_is_counted_by_the_rule_that_it_meets() {
    let p = policy(&["tcp,actions=resubmit(,1)", "table=1,actions=2"]);
    p.bridge(BridgeId::FIRST)
        .with_ports(|ports| ports.get_mut(OfPort(1)).unwrap().config.no_recv = true);
    let met = |packet: &str| {
        let translation = p.translate(&key(packet));
        assert_eq!(
            (translation.drop, translation.actions),
            (Some(DropReason::PortNoReceive), vec![])
        );
        (translation.rules.len(), translation.misses.len())
    };
    assert_eq!(met("in_port=1,tcp"), (1, 0));
    assert_eq!(met("in_port=1,arp"), (0, 1));
}

#[test]
fn frames_of_spanning_trees_have_a_flag_of_their_own() {
    let bpdu = "in_port=1,dl_dst=01:80:c2:00:00:00,dl_type=0x5ff";
    let other_group = "in_port=1,dl_dst=01:80:c2:00:00:01,dl_type=0x5ff";
    let other_type = "in_port=1,dl_dst=01:80:c2:00:00:00,dl_type=0x88cc";
    let received = |change: fn(&mut PortConfig)| {
        let p = policy(&["actions=2"]);
        let bridge = p.bridge(BridgeId::FIRST);
        bridge.with_ports(|ports| change(&mut ports.get_mut(OfPort(1)).unwrap().config));
        [bpdu, other_group, other_type].map(|packet| {
            let translation = p.translate(&key(packet));
            let is_received = translation.drop.is_none();
            assert_eq!(outputs(&translation.actions), if is_received { vec![2] } else { vec![] });
            let packet = parse_match(packet, &ParseContext::default()).unwrap();
            let sent = bridge.translate_packet_out(packet.key(), &[Action::output(OfPort(2))]);
            (is_received, sent.drop.is_none())
        })
    };
    let (yes, no) = ((true, true), (false, false));
    assert_eq!(received(|config| config.no_stp = true), [yes, yes, yes]);
    assert_eq!(received(|config| config.no_recv_stp = true), [no, yes, yes]);
    assert_eq!(received(|config| config.no_recv = true), [yes, no, no]);
    assert_eq!(
        received(|config| (config.no_recv, config.no_recv_stp) = (true, true)),
        [no, no, no]
    );
    let down = (false, true);
    assert_eq!(received(|config| config.down = true), [down, down, down]);
    // What the verdict depends on is part of the mask.
    let p = policy(&["actions=2"]);
    p.bridge(BridgeId::FIRST)
        .with_ports(|ports| ports.get_mut(OfPort(1)).unwrap().config.no_recv = true);
    assert_eq!(p.translate(&key(bpdu)).mask.bits.headers.dl_dst, [0xff; 6]);
}

#[test]
fn a_packet_out_may_come_from_a_port_that_is_down_but_not_from_one_that_receives_nothing() {
    let p = policy(&["actions=2"]);
    let bridge = p.bridge(BridgeId::FIRST);
    let packet = parse_match("in_port=1,tcp", &ParseContext::default()).unwrap();
    let sent = |change: fn(&mut PortConfig)| {
        bridge.with_ports(|ports| {
            let config = &mut ports.get_mut(OfPort(1)).unwrap().config;
            *config = PortConfig::default();
            change(config);
        });
        let table = [Action::output(OfPort::TABLE), Action::output(OfPort(3))];
        let translation = bridge.translate_packet_out(packet.key(), &table);
        (outputs(&translation.actions), translation.drop)
    };
    assert_eq!(sent(|config| config.down = true), (vec![2, 3], None));
    let refused = (vec![], Some(DropReason::PortNoReceive));
    assert_eq!(sent(|config| config.no_recv = true), refused);
}

#[test]
fn normal_learns_and_then_knows() {
    let p = policy(&["actions=normal"]);
    let (a, b) = ("dl_src=02:00:00:00:00:0a", "dl_dst=02:00:00:00:00:0b");
    let there = p.translate(&key(&format!("in_port=1,{a},{b},tcp")));
    assert_eq!(outputs(&there.actions), [2, 3, 4], "unknown: flooded");
    p.learn(&there.learn, NOW);
    let back = p.translate(&key("in_port=2,dl_src=02:00:00:00:00:0b,dl_dst=02:00:00:00:00:0a,tcp"));
    assert_eq!(outputs(&back.actions), [1]);
    let same = p.translate(&key("in_port=1,dl_src=02:00:00:00:00:0c,dl_dst=02:00:00:00:00:0a,tcp"));
    assert_eq!(same.drop, Some(DropReason::SamePort));
    let group = p.translate(&key("in_port=2,dl_src=03:00:00:00:00:0b,tcp"));
    assert!(group.learn.is_empty(), "nothing is learned from a group address");
}

#[test]
fn normal_knows_what_it_learns_from_the_same_frame() {
    let p = policy(&[
        "priority=1,actions=mod_dl_dst:02:00:00:00:00:03,normal,set_field:02:00:00:00:00:04->eth_src,normal",
        "priority=2,dl_dst=02:00:00:00:00:03,actions=normal",
    ]);
    let from_3 = "in_port=1,dl_src=02:00:00:00:00:03";
    let to = |dst: &str| outputs(&p.translate(&key(&format!("{from_3},dl_dst={dst}"))).actions);
    assert_eq!(to("02:00:00:00:00:03"), [0u16; 0], "its own address");
    assert_eq!(
        to("02:00:00:00:00:09"),
        [0u16; 0],
        "made its own address, and again from another source"
    );
    let host = MacKey { vlan: 0, mac: MacAddr([2, 0, 0, 0, 0, 3]) };
    assert!(p.bridge(BridgeId::FIRST).with_macs(|macs| macs.add_static(
        host,
        OfPort(2),
        Duration::ZERO
    )));
    assert_eq!(to("02:00:00:00:00:03"), [2], "a user knows better");
}

#[test]
fn access_ports_keep_vlans_apart() {
    let p = policy(&["actions=normal"]);
    p.bridge(BridgeId::FIRST).with_ports(|ports| {
        ports.get_mut(OfPort(1)).unwrap().vlan = VlanMode::Access(10);
        ports.get_mut(OfPort(2)).unwrap().vlan = VlanMode::Access(20);
        ports.get_mut(OfPort(3)).unwrap().vlan = VlanMode::Access(10);
    });
    let t = p.translate(&key("in_port=1,dl_dst=02:00:00:00:00:0b,tcp"));
    assert_eq!(outputs(&t.actions), [3, 4], "port 4 is a trunk");
    assert!(t.actions.contains(&DpAction::PushVlan { tpid: 0x8100, tci: 10 }));
    let tagged = p.translate(&key("in_port=1,dl_vlan=10,tcp"));
    assert_eq!(tagged.drop, Some(DropReason::VlanNotAllowed));
}

#[test]
fn a_file_with_one_bad_rule_changes_nothing() {
    let p = policy(&["priority=1,actions=1"]);
    let before = p.generation();
    let error = add(&p, &["priority=1,actions=2", "tcp,actions=group:9"]).unwrap_err();
    assert_eq!(error, (1, FlowModError::UnknownGroup(9)));
    assert_eq!(outputs(&p.translate(&key("in_port=4,tcp")).actions), [1]);
    assert_eq!(p.generation(), before);
    assert_eq!(p.bridge(BridgeId::FIRST).snapshot().tables().len(TableId::default()), 1);
}

#[test]
fn a_transaction_is_invisible_until_it_is_committed() {
    let p = policy(&["priority=1,actions=1"]);
    let mut transaction = p.bridge(BridgeId::FIRST).begin();
    let rule = parse_flow("priority=2,actions=2", &context(Command::Add)).unwrap();
    transaction.apply(&rule, NOW).unwrap();
    assert_eq!(outputs(&p.translate(&key("in_port=4,tcp")).actions), [1]);
    transaction.commit();
    assert_eq!(outputs(&p.translate(&key("in_port=4,tcp")).actions), [2]);
}

#[test]
fn deleted_rules_are_freed_once_nobody_can_see_them() {
    let p = policy(&["priority=1,actions=1", "priority=2,tcp,actions=2"]);
    delete(&p, "tcp");
    assert_eq!(p.bridge(BridgeId::FIRST).snapshot().tables().removed_len(), 1);
    assert_eq!(p.rule_count(), 2);
    while p.purge() {}
    assert_eq!(p.bridge(BridgeId::FIRST).snapshot().tables().removed_len(), 0);
    assert_eq!(p.rule_count(), 1);
    assert_eq!(outputs(&p.translate(&key("in_port=4,tcp")).actions), [1]);
}

#[test]
fn tables_are_tidied_when_nobody_is_at_them() {
    let p = policy(&["priority=1,actions=1", "priority=2,tcp,actions=2"]);
    delete(&p, "tcp");
    let reading = p.bridge(BridgeId::FIRST).snapshot();
    assert_eq!((p.try_purge(), reading.tables().removed_len()), (None, 1));
    drop(reading);
    while p.try_purge().unwrap() {}
    assert_eq!(p.bridge(BridgeId::FIRST).snapshot().tables().removed_len(), 0);
}

/// So many rules, with cookies from `first` on.
fn numbered(first: usize, count: usize) -> Vec<FlowMod> {
    let rule =
        |n| format!("cookie={n},priority=7,ip,nw_dst=10.0.{}.{},actions=1", n / 256, n % 256);
    let rules = (first..first + count).map(rule);
    rules.map(|rule| parse_flow(&rule, &context(Command::Add)).expect(&rule)).collect()
}

#[test]
fn a_walk_shows_the_rules_as_they_were_when_it_began() {
    let p = policy(&[]);
    p.bridge(BridgeId::FIRST).apply(&numbered(0, 5 * SLICE), NOW).unwrap();
    let every = parse_flow("", &context(Command::Delete)).unwrap();
    let mut walk = p.bridge(BridgeId::FIRST).walk(&every);
    let mut seen = Vec::new();
    assert!(walk.next_slice(|entry| seen.push(entry.value.cookie.0)));
    // Some are replaced, all others deleted and their places given to new ones.
    delete(&p, "");
    while p.purge() {}
    p.bridge(BridgeId::FIRST).apply(&numbered(3 * SLICE, 5 * SLICE), NOW).unwrap();
    while walk.next_slice(|entry| seen.push(entry.value.cookie.0)) {}
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..5 * SLICE as u64));
    drop(walk);
    while p.purge() {}
    assert_eq!(
        p.bridge(BridgeId::FIRST).snapshot().tables().removed_len(),
        0,
        "nobody looks at them any more"
    );
}

#[test]
fn a_walk_shows_what_its_filter_names() {
    let p = policy(&["cookie=1,tcp,actions=1", "cookie=2,udp,actions=2", "table=3,tcp,actions=2"]);
    let count = |filter| {
        let filter = parse_flow(filter, &context(Command::Delete)).unwrap();
        let (mut walk, mut count) = (p.bridge(BridgeId::FIRST).walk(&filter), 0);
        while walk.next_slice(|_| count += 1) {}
        count
    };
    let counts = ["", "tcp", "table=0", "cookie=2/-1", "out_port=2", "table=9", "arp"].map(count);
    assert_eq!(counts, [3, 2, 2, 1, 2, 0, 0]);
}

#[test]
fn a_change_of_many_slices_can_be_taken_back() {
    let p = policy(&["cookie=7,priority=7,ip,nw_dst=10.0.0.5,actions=2", "priority=1,actions=3"]);
    let mut transaction = p.bridge(BridgeId::FIRST).begin();
    transaction.apply_all(&numbered(0, 3 * SLICE + 1), NOW).unwrap();
    transaction.apply(&parse_flow("udp", &context(Command::Delete)).unwrap(), NOW).unwrap();
    drop(transaction);
    while p.purge() {}
    assert_eq!(outputs(&p.translate(&key("in_port=4,ip,nw_dst=10.0.0.5")).actions), [2]);
    assert_eq!(outputs(&p.translate(&key("in_port=4,ip,nw_dst=10.0.0.6")).actions), [3]);
    let snapshot = p.bridge(BridgeId::FIRST).snapshot();
    assert_eq!(
        (snapshot.tables().len(TableId::default()), snapshot.tables().removed_len()),
        (2, 0)
    );
}

#[test]
fn what_was_expected_need_not_come() {
    let p = policy(&["table=3,udp,actions=output:2"]);
    let sample = numbered(0, 1000);
    for (count, is_committed) in [(2000, false), (4000, true)] {
        let mut transaction = p.bridge(BridgeId::FIRST).begin();
        transaction.expect(&sample, count);
        transaction.apply_all(&numbered(0, 2000), NOW).unwrap();
        if is_committed {
            transaction.commit();
        }
    }
    while p.purge() {}
    let filter = parse_flow("table=0,ip", &context(Command::Delete)).unwrap();
    let mut walk = p.bridge(BridgeId::FIRST).walk(&filter);
    let mut count = 0;
    while walk.next_slice(|_| count += 1) {}
    assert_eq!(count, 2000);
}

#[test]
fn timeouts_count_from_the_last_packet_and_from_the_beginning() {
    let p =
        policy(&["priority=1,idle_timeout=10,actions=1", "priority=2,hard_timeout=30,actions=2"]);
    let rules = p.translate(&key("in_port=4,tcp")).rules;
    assert!(p.expire(NOW + Duration::from_secs(9)).is_empty());
    let idle = p.expire(NOW + Duration::from_secs(10));
    assert_eq!(told(&p, &idle[0]), ["removed idle in 0: 1"]);
    rules[0].stats.add(1, 60, NOW + Duration::from_secs(29));
    let hard = p.expire(NOW + Duration::from_secs(30));
    assert_eq!(told(&p, &hard[0]), ["removed hard in 0: 2"]);
}

/// Cookies and actions of the rules of table 0 after a modification in a version.
fn modified(version: OfVersion, rule: &str, modification: &str) -> Vec<(u64, usize)> {
    let policy = policy(&[rule]);
    let context = ParseContext { version, ..context(Command::Modify) };
    let request = parse_flow(modification, &context).unwrap();
    policy.bridge(BridgeId::FIRST).apply(&[request], NOW).unwrap();
    let snapshot = policy.bridge(BridgeId::FIRST).snapshot();
    let rules = snapshot.tables().rules(None, snapshot.version());
    rules.map(|rule| (rule.value.cookie.0, rule.value.actions.len())).collect()
}

#[test]
fn what_a_modification_does_depends_on_the_version() {
    use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow15};
    // Nothing to modify: only the first versions add.
    for (version, rules) in [(OpenFlow10, 2), (OpenFlow11, 2), (OpenFlow12, 1), (OpenFlow15, 1)] {
        let result = modified(version, "tcp,actions=1", "udp,actions=2");
        assert_eq!(result.len(), rules, "{version:?}");
        let result = modified(version, "tcp,actions=1", "cookie=5/-1,udp,actions=2");
        assert_eq!(result.len(), 1, "{version:?}");
    }
    // A new cookie: only the first version sets it, and there none is 0.
    assert_eq!(modified(OpenFlow10, "cookie=3,tcp,actions=1", "tcp,actions=2"), [(0, 1)]);
    assert_eq!(modified(OpenFlow10, "cookie=3,actions=1", "cookie=3/-1,actions=2"), [(3, 1)]);
    for (version, cookie) in [(OpenFlow10, 7), (OpenFlow11, 3), (OpenFlow12, 3)] {
        let result = modified(version, "cookie=3,tcp,actions=1", "cookie=7,tcp,actions=2,3");
        assert_eq!(result, [(cookie, 2)], "{version:?}");
    }
}

#[test]
fn which_tables_are_meant_without_one_depends_on_the_version() {
    use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow15};
    let left = |version, command, text: &str| {
        let policy = policy(&["tcp,actions=1", "table=2,tcp,actions=1"]);
        let request = parse_flow(text, &ParseContext { version, ..context(command) }).unwrap();
        policy.bridge(BridgeId::FIRST).apply(&[request], NOW).unwrap();
        let snapshot = policy.bridge(BridgeId::FIRST).snapshot();
        let rules = snapshot.tables().rules(None, snapshot.version());
        rules.filter(|rule| rule.value.outputs_to(OfPort(1))).count()
    };
    for (version, deleted, modified) in
        [(OpenFlow10, 0, 0), (OpenFlow11, 1, 1), (OpenFlow12, 0, 1), (OpenFlow15, 0, 1)]
    {
        assert_eq!(left(version, Command::Delete, "tcp"), deleted, "{version:?}");
        assert_eq!(left(version, Command::Modify, "tcp,actions=2"), modified, "{version:?}");
    }
}

#[test]
fn a_rule_that_takes_the_place_of_another_may_overlap() {
    let policy = policy(&["priority=3,tcp,actions=1", "priority=3,ip,actions=1"]);
    assert!(add(&policy, &["check_overlap,priority=3,ip,actions=2"]).is_ok());
    assert!(add(&policy, &["check_overlap,priority=3,tcp,tp_dst=5,actions=2"]).is_err());
}

#[test]
fn deleting_a_group_takes_its_rules_along() {
    let p = policy(&[]);
    add_groups(&p, &["group_id=1,type=all,bucket=output:2,bucket=output:3"]);
    add(&p, &["tcp,actions=group:1", "udp,actions=4"]).unwrap();
    assert_eq!(outputs(&p.translate(&key("in_port=1,tcp")).actions), [2, 3]);
    let mut transaction = p.bridge(BridgeId::FIRST).begin();
    let all = flow::group::GroupMod::Delete(flow::types::GroupId::ALL);
    transaction.apply_group(&all, NOW).unwrap();
    transaction.commit();
    assert_eq!(p.translate(&key("in_port=1,tcp")).drop, Some(DropReason::TableMiss));
    assert_eq!(outputs(&p.translate(&key("in_port=1,udp")).actions), [4]);
}

#[test]
fn exit_in_a_clone_ends_all_lists_and_in_a_bucket_only_the_bucket() {
    let p = policy(&[]);
    add_groups(&p, &["group_id=1,type=all,bucket=resubmit(,1),bucket=output:4"]);
    let rules = [
        "table=0,tcp,actions=clone(resubmit(,1)),output:2",
        "table=0,udp,actions=group:1,output:2",
        "table=1,actions=output:3,exit,output:4",
    ];
    add(&p, &rules).unwrap();
    assert_eq!(outputs(&p.translate(&key("in_port=1,tcp")).actions), [3]);
    assert_eq!(outputs(&p.translate(&key("in_port=1,udp")).actions), [2, 3, 4]);
}

#[test]
fn buckets_leave_what_they_push_and_take_back_what_they_set() {
    let p = policy(&[]);
    add_groups(&p, &["group_id=1,type=all,bucket=resubmit(,1)"]);
    let rules = [
        "table=0,actions=group:1,pop:NXM_NX_REG1[],output:NXM_NX_REG1[],output:NXM_NX_REG0[]",
        "table=1,actions=set_field:3->reg0,push:NXM_NX_REG0[],write_actions(output:4)",
    ];
    add(&p, &rules).unwrap();
    assert_eq!(outputs(&p.translate(&key("in_port=1,tcp")).actions), [3, 4]);
}

#[test]
fn the_queue_of_a_bucket_ends_with_the_bucket() {
    let p = policy(&[]);
    add_groups(&p, &["group_id=1,type=all,bucket=set_queue:1,output:2,bucket=output:3"]);
    add(&p, &["actions=group:1,output:4"]).unwrap();
    let actions = p.translate(&key("in_port=1,tcp")).actions;
    let queued = |action: &DpAction| matches!(action, DpAction::OutputQueued { .. });
    assert_eq!(actions.iter().filter(|action| queued(action)).count(), 1, "{actions:?}");
    assert_eq!(outputs(&actions[1..]), [3, 4]);
}

#[test]
fn a_bucket_may_name_a_group_that_comes_later_but_not_itself() {
    let p = policy(&[]);
    let groups = [
        "group_id=1,type=all,bucket=group:2,bucket=output:3",
        "group_id=2,type=indirect,bucket=output:2",
    ];
    add_groups(&p, &groups[..1]);
    add(&p, &["actions=group:1"]).unwrap();
    assert_eq!(outputs(&p.translate(&key("in_port=1,tcp")).actions), [3]);
    add_groups(&p, &groups[1..]);
    assert_eq!(outputs(&p.translate(&key("in_port=1,tcp")).actions), [2, 3]);
    let circle = "group_id=2,type=all,bucket=group:1";
    let group = parse_group(circle, flow::text::GroupCommand::Modify, &context(Command::Add));
    let refused = p.bridge(BridgeId::FIRST).begin().apply_group(&group.unwrap(), NOW);
    assert_eq!(refused, Err(FlowModError::GroupLoop(2)));
}

#[test]
fn too_many_labels_are_the_trouble_of_one_bucket() {
    let p = policy(&[]);
    let push = "push_mpls:0x8847,".repeat(4);
    add_groups(&p, &["group_id=1,type=all,bucket=resubmit(,1),bucket=output:3"]);
    add(&p, &["actions=group:1,2", &format!("table=1,actions={push}output:4")]).unwrap();
    assert_eq!(outputs(&p.translate(&key("in_port=1,tcp")).actions), [2, 3]);
}

/// What a rule with a clone around a group does, and whether the packet goes round.
fn clone_around(group: &str, conduct: Conduct) -> (Vec<u16>, bool) {
    let p = policy(&[]).with_conduct(conduct);
    add_groups(&p, &[&format!("group_id=1,type=select,{group}")]);
    add(&p, &["actions=clone(group:1),output:2"]).unwrap();
    let actions = p.translate(&key("in_port=1,tcp")).actions;
    let goes_round = actions.iter().any(|a| matches!(a, DpAction::Recirculate(_)));
    (outputs(&actions), goes_round)
}

#[test]
fn only_a_switch_like_open_vswitch_recirculates_for_a_select_group() {
    let buckets = |weight: u16| format!("bucket=weight:{weight},output:3,bucket=weight:1,output:3");
    for group in [buckets(1), buckets(255), format!("selection_method=dp_hash,{}", buckets(7))] {
        assert_eq!(clone_around(&group, Conduct::Sensible), (vec![2, 3], false), "{group}");
        assert_eq!(clone_around(&group, Conduct::AsOvs), (vec![], true), "{group}");
    }
    for group in [buckets(256), format!("selection_method=hash,fields=eth_dst,{}", buckets(1))] {
        assert_eq!(clone_around(&group, Conduct::AsOvs), (vec![2, 3], false), "{group}");
    }
}

#[test]
fn what_waits_for_a_pass_waits_for_the_next_one_too() {
    let p = policy(&[]).with_conduct(Conduct::AsOvs);
    add_groups(&p, &["group_id=1,type=select,bucket=output:3"]);
    let rules = [
        "table=0,mpls,actions=resubmit(,1),output:2",
        "table=1,mpls,actions=pop_mpls:0x0800,resubmit(,2),output:4",
        "table=2,actions=group:1",
    ];
    add(&p, &rules).unwrap();
    let mut packet = key("in_port=1,mpls,mpls_label=5,mpls_bos=1");
    let (mut sent, mut passes, mut held) = (Vec::new(), 0, Vec::new());
    loop {
        passes += 1;
        let translation = p.translate(&packet);
        sent.extend(outputs(&translation.actions));
        let Some(DpAction::Recirculate(id)) = translation.actions.last() else { break };
        packet = key("in_port=1,ip");
        packet.recirc_id.set(*id);
        // An id is good as long as the flow that names it lives.
        held.push(translation);
    }
    assert_eq!((passes, sent), (3, vec![2, 3, 4]), "labels, then the hash, then the rest");
}
