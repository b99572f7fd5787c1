//! What a trace says, in the words of Open vSwitch, and that it says it of every field.

use super::*;
use crate::policy::ports::PortInfo;
use crate::policy::tests::every_option;
use crate::policy::tests::fields::packet_with;
use crate::policy::xlate::{MAX_TOLD, TraceEvent};
use crate::policy::{BridgeId, Policy, PortRef};
use flow::action::{Action, SetFieldForm};
use flow::compose::compose;
use flow::ct_filter::CtFilter;
use flow::extract::{Arrival, extract};
use flow::flow_mod::Command;
use flow::key::{HEADER_WORDS, ct_state, frag};
use flow::prerequisite::Prerequisite;
use flow::text::{
    NoPortNames, ParseContext, PrintOptions, parse_flow, parse_match, write_actions, write_packet,
};
use flow::types::{MacAddr, OfVersion};
use flow::verdict::{CtAction, CtCommit, DpAction, Rewrite};
use packet::wire::{eth_type, ip_proto};
use packet::{Frame, Offload};
use std::time::Duration;

/// Three ports with the same number in OpenFlow and in the datapath.
fn three_ports(rules: &[&str], context: &ParseContext<'_>) -> Policy {
    let policy = Policy::with_one_bridge(1);
    policy.bridge(BridgeId::FIRST).with_ports(|ports| {
        for n in 1..=3 {
            ports.insert(PortInfo::new(PortNo(n), OfPort(n), "p", MacAddr::default()));
        }
    });
    policy.bridge(BridgeId::FIRST).map_options(every_option().into());
    let rules: Vec<_> = rules.iter().map(|r| parse_flow(r, context).expect(r)).collect();
    policy.bridge(BridgeId::FIRST).apply(&rules, Duration::ZERO).unwrap();
    policy
}

/// Packet, megaflow and datapath actions, a line each.
fn traced(rules: &[&str], packet: &str) -> String {
    let context = ParseContext {
        version: OfVersion::OpenFlow13,
        command: Command::Add,
        ..ParseContext::default()
    };
    let policy = three_ports(rules, &context);
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

/// A frame of a host.
fn frame_of<'a>(bytes: &'a [u8], tunnel: &'a Headers) -> TracedFrame<'a> {
    TracedFrame { bytes, tunnel, has_sender: true }
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
    in_port=1,dl_vlan=5,dl_vlan_pcp=0,vlan_tci1=0x0000,dl_src=00:00:00:00:00:00,dl_dst=00:00:00:00:00:00,dl_type=0x9000
    recirc_id=0,eth,in_port=1,dl_vlan=5,dl_vlan_pcp=0,dl_type=0x9000
    pop_vlan,2
    ");
}

/// The expected actions are the output of `ofproto/trace` of Open vSwitch 3.1.
#[test]
fn datapath_actions_read_as_in_open_vswitch() {
    let check = |rule: &str, packet: &str, expected: &str| {
        let text = traced(&[rule], packet);
        assert_eq!(text.lines().last(), Some(expected), "{rule}");
    };
    let macs = "in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02";
    let tcp = &format!("{macs},tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_tos=4,nw_ttl=64,tp_src=1000");
    let tcp6 = &format!("{macs},tcp6,ipv6_dst=::2,ipv6_label=5,nw_ecn=1,nw_ttl=64");
    check(
        "ip,actions=set_field:02:00:00:00:00:01->eth_src,set_field:02:00:00:00:00:09->eth_dst,2",
        tcp,
        "set(eth(dst=02:00:00:00:00:09)),2",
    );
    check(
        "ip,actions=set_field:0->ip_dscp,dec_ttl,set_field:10.0.0.2->ip_dst,2",
        tcp,
        "set(ipv4(tos=0/0xfc,ttl=63)),2",
    );
    check("tcp,actions=set_field:1000->tcp_src,set_field:5->tcp_dst,2", tcp, "set(tcp(dst=5)),2");
    check(
        "ipv6,actions=set_field:0->ipv6_label,set_field:0->nw_ecn,set_field:::2->ipv6_dst,2",
        tcp6,
        "set(ipv6(label=0,tclass=0/0x3)),2",
    );
    check(
        "actions=clone(set_field:02:00:00:00:00:09->eth_dst,output(port=2,max_len=100)),3",
        tcp,
        "clone(trunc(100),set(eth(dst=02:00:00:00:00:09)),2),3",
    );
    check(
        "actions=push_vlan:0x8100,set_field:4097->vlan_vid,output(port=2,max_len=100),3",
        tcp,
        "trunc(100),push_vlan(vid=1,pcp=0),2,3",
    );
}

/// The expected words are those of `ofproto/trace` of Open vSwitch 3.1.
#[test]
fn inner_headers_are_shown_and_transport_headers_of_later_fragments_are_not() {
    let written = |change: fn(&mut Headers)| {
        let mut packet = PipelineKey::default();
        change(&mut packet.headers);
        let mut out = String::new();
        write_packet(&mut out, &packet, &NoPortNames);
        out
    };
    let labels = written(|headers| {
        headers.dl_type.set(eth_type::MPLS);
        headers.mpls_lse = [0x0006_4040, 0x000c_8140, 7].map(Into::into);
    });
    assert!(labels.ends_with(",mpls_bos=0,mpls_lse1=819520"), "{labels}");
    let tags = written(|headers| {
        (headers.vlan_tci, headers.vlan2_tci) = (0x100a.into(), 0x3014.into());
    });
    assert!(tags.contains(",dl_vlan=10,dl_vlan_pcp=0,dl_vlan1=20,dl_vlan_pcp1=1,"), "{tags}");
    let fragment = written(|headers| {
        headers.dl_type.set(eth_type::IPV4);
        (headers.nw_proto, headers.nw_frag) = (ip_proto::TCP, frag::ANY | frag::LATER);
    });
    assert!(fragment.ends_with(",nw_frag=later"), "{fragment}");
}

#[test]
fn nothing_is_called_drop() {
    assert!(traced(&[], "in_port=1,arp").ends_with("\ndrop"));
}

/// One field after the other goes all the way: printed, parsed, added as a rule, found in a frame, traced.
#[test]
fn every_field_is_printed_parsed_and_traced() {
    let context = ParseContext {
        version: OfVersion::OpenFlow15,
        command: Command::Add,
        ..ParseContext::default()
    };
    for field in FieldId::all() {
        let name = field.def().name;
        let headers = packet_with(field, &[0x0115_0301_0105_0301; HEADER_WORDS]);
        let mut seen = PipelineKey { in_port: OfPort(1).into(), headers, ..PipelineKey::default() };
        seen.actset_output.set(2);
        let mut own = PipelineMask::default();
        field.set_mask(&mut own, field.full_mask());
        // Port numbers have 32 bits in OpenFlow, of which a key has 16.
        let is_exact = |mask: &PipelineMask| field.get_mask(mask) == field.get_mask(&own);
        let is_beside = own.bits.headers == Headers::default() || field.is_of_tunnel();
        let is_state = is_beside
            && field.def().writable
            && field != FieldId::InPort
            && field != FieldId::InPortOxm;
        // State beside the headers is what a rule before sets it to.
        let mut before = String::new();
        if is_state {
            let value = 0x0105_0301_0105_0301_0105_0301_0105_0301 & field.full_mask();
            field.write(&mut seen, value, u128::MAX);
            let (mask, form) = (field.full_mask(), SetFieldForm::SetField);
            let set = Action::SetField { field, value, mask, form };
            let options =
                PrintOptions { version: OfVersion::OpenFlow15, ..PrintOptions::default() };
            write_actions(&mut before, &[set], &options);
            before.push(',');
        }
        let is_of_connection = field.def().prerequisite == Prerequisite::Ct;
        if is_of_connection {
            seen.headers.ct_state.set(ct_state::TRACKED | ct_state::ESTABLISHED);
        }
        let mut mask = own;
        field.prerequisite_mask(&mut mask);
        if field.is_vlan() {
            // Nobody matches a part of a tag without its presence.
            Prerequisite::VlanVid.mark(&mut mask);
        }
        let print = |matching: &Match| {
            let mut text = String::new();
            write_match(&mut text, matching, DEFAULT_PRIORITY, &NoPortNames);
            text
        };
        let text = print(&Match::new(&seen, &mask));
        let matching = parse_match(&text, &context).expect(&text);
        assert_eq!(print(&matching), text, "{name}");
        assert!(matching.matches(&seen) && is_exact(matching.mask()), "{name}: {text}");

        if field.is_of_tunnel() && !field.def().writable {
            // No rule writes these two fields.
            continue;
        }
        if is_of_connection {
            // A frame that comes in belongs to no connection yet.
            // `datapath::tests::connections` finds these fields.
            continue;
        }
        let policy = three_ports(
            &[
                &format!("table=0,actions={before}write_actions(output:2),goto_table:1"),
                &format!("table=1,{text},actions=output:3"),
            ],
            &context,
        );
        let in_port = PortRef { bridge: BridgeId::FIRST, port: OfPort(1) };
        let tunnel = Headers::default();
        let passes =
            walk(&policy, in_port, &frame_of(&compose(&headers), &tunnel), 2, Duration::ZERO, &[]);
        let [Pass { key, translation, steps }] = &passes[..] else { panic!("{name}: {passes:?}") };
        assert_eq!(key.headers, headers, "{name}");
        let won = steps.iter().filter(|step| matches!(step.event, TraceEvent::Rule(..))).count();
        assert_eq!(won, 2, "{name}: {text} in {steps:?}");

        // What a frame cannot say is no part of the mask.
        let mut read = PipelineMask::default();
        read.bits.headers = translation.mask.bits.headers;
        read.bits.in_port = KeyOfPort::ALL_BITS;
        assert!(is_beside || is_exact(&read), "{name}: {:?}", translation.mask);
        let mut megaflow = String::new();
        write_megaflow(&mut megaflow, 0, &seen, &translation.mask, &NoPortNames);
        let parsed = parse_match(megaflow.trim_start_matches("recirc_id=0,eth,"), &context);
        let parsed = parsed.unwrap_or_else(|error| panic!("{name}: {megaflow}: {error:?}"));
        assert!(parsed.matches(&seen), "{name}: {megaflow}");
        assert!(is_beside || is_exact(parsed.mask()), "{name}: {megaflow}");
    }
}

#[test]
fn a_trace_tells_which_better_rules_overlap_with_the_winner_and_what_each_action_writes() {
    let context = ParseContext { version: OfVersion::OpenFlow13, ..ParseContext::default() };
    let rules = [
        "priority=9,tcp,tp_dst=80,actions=1",
        "priority=8,udp,actions=1",
        "priority=7,arp,actions=1",
        "priority=5,ip,actions=dec_ttl,set_field:7->reg0,3",
        "priority=4,ip,nw_dst=10.0.0.0/8,actions=2",
    ];
    let policy = three_ports(&rules, &context);
    let packet = parse_match("in_port=1,tcp,tp_dst=22,nw_ttl=64", &context).unwrap();
    let key =
        FlowKey { port_no: PortNo(1).into(), headers: packet.key().headers, ..FlowKey::default() };
    let (_, steps) = policy.trace(&key);
    let found = steps.iter().find_map(|step| match &step.event {
        TraceEvent::Overlaps { rules, is_complete } => Some((rules, *is_complete)),
        _ => None,
    });
    let (better, is_complete) = found.expect("a rule won");
    let mut priorities: Vec<u16> =
        better.iter().filter_map(|rule| Some(policy.match_of(rule)?.0)).collect();
    priorities.sort_unstable();
    assert_eq!((priorities, is_complete), (vec![8, 9], true), "no packet is both ARP and IPv4");

    let written = steps.iter().filter(|step| matches!(step.event, TraceEvent::Action(_)));
    let written: Vec<&PipelineMask> = written.map(|step| &step.writes).collect();
    let [ttl, register, output] = written[..] else { panic!("{written:?}") };
    assert_eq!(ttl.bits.headers.nw_ttl, 64 ^ 63);
    assert_eq!(register.bits.regs[0].get(), 7);
    assert_eq!(*output, PipelineMask::default());
}

#[test]
fn values_that_come_from_the_packet_are_told_as_in_open_vswitch() {
    let rule = concat!(
        "ip,actions=push:NXM_NX_REG0[],pop:NXM_OF_IP_SRC[],pop:NXM_NX_REG1[],move:NXM_OF_IP_DST[]->NXM_OF_IP_SRC[],",
        "move:NXM_OF_IP_DST[0..7]->NXM_NX_REG1[4..11],move:NXM_NX_REG0[]->NXM_NX_REG2[],",
        "load:0x10000->NXM_NX_REG3[],output:NXM_NX_REG3[]"
    );
    let context = ParseContext::default();
    let policy = three_ports(&[rule], &context);
    let packet = parse_match("in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2", &context).unwrap();
    let key =
        FlowKey { port_no: PortNo(1).into(), headers: packet.key().headers, ..FlowKey::default() };
    let options = PrintOptions { ports: &NoPortNames, ..PrintOptions::default() };
    let (_, steps) = policy.trace(&key);
    let told: Vec<String> = steps
        .iter()
        .filter_map(|step| match &step.event {
            TraceEvent::Note(note) => note_text(note, &options),
            _ => None,
        })
        .collect();
    let expected = [
        "-> NXM_OF_IP_SRC[] is now 0.0.0.0",
        ">>>> stack underflow <<<<",
        "-> NXM_OF_IP_SRC[] is now 10.0.0.2",
        "-> NXM_NX_REG1[4..11] is now 0x2",
        "-> NXM_NX_REG2[] is now 0",
        ">> output port 65536 is out of range",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_packet_that_spends_the_budget_is_told_with_the_rule() {
    let list = vec!["check_pkt_larger(100)->reg0[0]"; 40].join(",");
    let rules = ["actions=resubmit(,3)", &format!("table=3,priority=7,actions={list},output:2")];
    let policy = three_ports(&rules, &ParseContext::default());
    let verdict = policy.translate(&FlowKey { port_no: PortNo(1).into(), ..FlowKey::default() });
    let reason = verdict.drop.expect("no packet gets through");
    assert_eq!(
        drop_meaning(&verdict, reason),
        "the rules ask for more steps than one frame may take, the last of them by the rule of table 3: \
         priority=7"
    );
}

/// A rule that resubmits ten times to a rule that resubmits ten times, and so on: 11,111 look-ups.
#[test]
fn an_account_has_a_limit_and_tells_what_it_leaves_out() {
    let context = ParseContext { version: OfVersion::OpenFlow13, ..ParseContext::default() };
    let ten = |table: u8| vec![format!("resubmit(,{table})"); 10].join(",");
    let mut rules: Vec<String> =
        (0..3).map(|table| format!("table={table},actions={}", ten(table + 1))).collect();
    rules.push("table=3,tcp,actions=2".to_owned());
    rules.push("table=3,udp,tp_dst=53,actions=3".to_owned());
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let policy = three_ports(&rules, &context);
    let packet = parse_match("in_port=1,udp,tp_dst=53", &context).unwrap();
    let key =
        FlowKey { port_no: PortNo(1).into(), headers: packet.key().headers, ..FlowKey::default() };
    let (translation, steps) = policy.trace(&key);
    assert_eq!(translation.mask, policy.translate(&key).mask);
    assert_eq!(steps.len(), MAX_TOLD + 2, "the last two tell what is left out, and the packet");
    let [.., omitted, last] = &steps[..] else { panic!("{steps:?}") };
    let TraceEvent::Omitted(count) = omitted.event else { panic!("{omitted:?}") };
    assert!(count > 100, "{count}");
    assert!(matches!(last.event, TraceEvent::Final(_)), "{last:?}");
}

#[test]
fn a_trace_finds_the_connection_and_changes_nothing() {
    let context = ParseContext::default();
    let rules = [
        "ip,ct_state=-trk,actions=ct(table=1)",
        "table=1,ct_state=+trk+est+rpl,actions=1",
        "table=1,priority=1,actions=drop",
    ];
    let policy = three_ports(&rules, &context);
    let packet = |ends: &str| compose(&parse_match(ends, &context).unwrap().key().headers);
    let request = packet("udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,tp_dst=53");
    let answer = packet("udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=53,tp_dst=1000");
    let mut frame = Frame::owned(&request, Offload::NONE);
    (_, frame.layers) = extract(Arrival::default(), &request, 1);
    let commit =
        CtCommit { force: false, mark: Rewrite::default(), label: Rewrite::default(), alg: None };
    let action = CtAction { zone: 0, commit: Some(commit), nat: None };
    let _ = policy.connections().track(Duration::ZERO, &frame, &action, None);
    let in_port = PortRef { bridge: BridgeId::FIRST, port: OfPort(2) };
    let no_tunnel = Headers::default();
    for _ in 0..2 {
        let passes =
            walk(&policy, in_port, &frame_of(&answer, &no_tunnel), 1, Duration::from_secs(1), &[]);
        let states: Vec<u16> = passes.iter().map(|p| p.key.headers.ct_state.get()).collect();
        let found = ct_state::TRACKED | ct_state::ESTABLISHED | ct_state::REPLY;
        assert_eq!(states, [0, found]);
        assert!(matches!(passes[1].translation.actions[..], [DpAction::Output(_)]));
    }
    // The user may say what the look-up finds.
    let states = [ct_state::TRACKED | ct_state::NEW];
    let now = Duration::from_secs(1);
    let passes = walk(&policy, in_port, &frame_of(&answer, &no_tunnel), 1, now, &states);
    assert_eq!(passes[1].key.headers.ct_state.get(), states[0]);
    assert!(passes[1].translation.actions.is_empty());
    let left = policy.connections().dump(Duration::ZERO, CtFilter::default())[0].left;
    assert_eq!(left.as_secs(), 60, "one packet alone has come");
}
