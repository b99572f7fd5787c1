use super::*;
use crate::policy::BridgeId;
use crate::policy::Policy;
use crate::policy::ports::PortInfo;
use flow::flow_mod::Command;
use flow::text::{NoPortNames, ParseContext, parse_flow, parse_match};
use flow::types::{MacAddr, OfVersion};
use std::time::Duration;

/// Packet, megaflow and datapath actions, a line each.
fn traced(rules: &[&str], packet: &str) -> String {
    let context = ParseContext {
        version: OfVersion::OpenFlow13,
        command: Command::Add,
        ..ParseContext::default()
    };
    let policy = Policy::with_one_bridge(1);
    policy.bridge(BridgeId::FIRST).with_ports(|ports| {
        for n in 1..=3 {
            ports.insert(PortInfo::new(PortNo(n), OfPort(n), "p", MacAddr::default()));
        }
    });
    let rules: Vec<_> = rules.iter().map(|r| parse_flow(r, &context).expect(r)).collect();
    policy.bridge(BridgeId::FIRST).apply(&rules, Duration::ZERO).unwrap();
    let key = *parse_match(packet, &context).expect(packet).key();
    let port_no = PortNo(key.in_port.get().0).into();
    let flow_key = FlowKey { port_no, headers: key.headers, ..FlowKey::default() };
    let verdict = policy.translate(&flow_key);
    let mut out = String::new();
    write_packet(&mut out, &key, &NoPortNames);
    out.push('\n');
    write_megaflow(&mut out, 0, &key, &verdict.mask, &NoPortNames);
    out.push('\n');
    write_datapath_actions(&mut out, &verdict.actions, &|no| Some(OfPort(no.0)));
    out
}

#[test]
fn a_rewrite_reads_as_in_open_vswitch() {
    let rules = ["tcp,tp_dst=80,actions=dec_ttl,mod_nw_src:1.2.3.4,output:2"];
    insta::assert_snapshot!(traced(&rules, "in_port=1,tcp,nw_dst=10.0.0.5,nw_ttl=64,tp_dst=80"), @r"
    tcp,in_port=1,vlan_tci=0x0000,dl_src=00:00:00:00:00:00,dl_dst=00:00:00:00:00:00,nw_src=0.0.0.0,nw_dst=10.0.0.5,nw_tos=0,nw_ecn=0,nw_ttl=64,nw_frag=no,tp_src=0,tp_dst=80,tcp_flags=0
    recirc_id=0,eth,tcp,in_port=1,nw_src=0.0.0.0,nw_ttl=64,nw_frag=no,tp_dst=80
    set(ipv4(src=1.2.3.4,ttl=63)),2
    ");
}

#[test]
fn a_popped_tag_reads_as_in_open_vswitch() {
    insta::assert_snapshot!(traced(&["dl_vlan=5,actions=pop_vlan,2"], "in_port=1,dl_vlan=5,dl_vlan_pcp=0,dl_type=0x9000"), @r"
    in_port=1,dl_vlan=5,dl_vlan_pcp=0,dl_src=00:00:00:00:00:00,dl_dst=00:00:00:00:00:00,dl_type=0x9000
    recirc_id=0,eth,in_port=1,dl_vlan=5,dl_vlan_pcp=0,dl_type=0x9000
    pop_vlan,2
    ");
}

#[test]
fn nothing_is_called_drop() {
    assert!(traced(&[], "in_port=1,arp").ends_with("\ndrop"));
}
