//! Tables as the agents of clouds install them: a security group of a virtual machine, a network policy with a
//! service, and a load balancer of a logical router. The rules are our own, with the tables, registers and
//! actions that such agents use.

use super::connections::{headers, recipe, with_and_without_caches};
use super::*;
use crate::conntrack::ConnectionInfo;
use flow::extract::{Arrival, extract};
use flow::text::{GroupCommand, parse_group};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A machine at port 1 (10.0.0.1) that may open any connection, and one at port 2 (10.0.0.2) that lets in DNS,
/// as the firewall of Neutron has it. Table 60 finds out whose packet it is (register 5) and in which network
/// (register 6, the zone); tables 71 to 73 are the sender's rules, 81 and 82 the receiver's. A connection that
/// is allowed no more gets mark 1.
const SECURITY_GROUPS: &[&str] = &[
    "priority=0,actions=resubmit(,60)",
    "table=60,priority=100,in_port=1,actions=load:0x1->NXM_NX_REG5[],load:0x7->NXM_NX_REG6[],resubmit(,71)",
    "table=60,priority=100,in_port=2,actions=load:0x2->NXM_NX_REG5[],load:0x7->NXM_NX_REG6[],resubmit(,71)",
    "table=60,priority=3,actions=NORMAL",
    "table=71,priority=95,arp,reg5=0x1,in_port=1,actions=resubmit(,94)",
    "table=71,priority=95,arp,reg5=0x2,in_port=2,actions=resubmit(,94)",
    "table=71,priority=65,ip,ct_state=-trk,reg5=0x1,in_port=1,nw_src=10.0.0.1,actions=ct(table=72,zone=NXM_NX_REG6[0..15])",
    "table=71,priority=65,ip,ct_state=-trk,reg5=0x2,in_port=2,nw_src=10.0.0.2,actions=ct(table=72,zone=NXM_NX_REG6[0..15])",
    "table=71,priority=10,ct_state=-trk,actions=resubmit(,93)",
    "table=72,priority=74,ct_state=+est-rel-rpl,ip,reg5=0x1,actions=resubmit(,73)",
    "table=72,priority=74,ct_state=+new-est,ip,reg5=0x1,actions=resubmit(,73)",
    "table=72,priority=50,ct_state=+inv+trk,actions=resubmit(,93)",
    "table=72,priority=50,ct_mark=0x1,actions=resubmit(,93)",
    "table=72,priority=50,ct_state=+est-rel+rpl,ct_zone=7,ct_mark=0,actions=resubmit(,94)",
    "table=72,priority=50,ct_state=-new-est+rel-inv,ct_zone=7,ct_mark=0,actions=resubmit(,94)",
    "table=72,priority=40,ct_state=-est,actions=resubmit(,93)",
    "table=72,priority=40,ct_state=+est,ip,actions=ct(commit,zone=NXM_NX_REG6[0..15],exec(set_field:0x1->ct_mark))",
    "table=73,priority=100,reg6=0x7,dl_dst=02:00:00:00:00:02,actions=load:0x2->NXM_NX_REG5[],resubmit(,81)",
    "table=73,priority=100,reg6=0x7,dl_dst=02:00:00:00:00:01,actions=load:0x1->NXM_NX_REG5[],resubmit(,81)",
    "table=73,priority=90,ct_state=+new-est,ip,actions=ct(commit,zone=NXM_NX_REG6[0..15]),resubmit(,94)",
    "table=73,priority=80,actions=resubmit(,94)",
    "table=81,priority=100,arp,actions=resubmit(,94)",
    "table=81,priority=95,ct_state=-trk,ip,actions=ct(table=82,zone=NXM_NX_REG6[0..15])",
    "table=81,priority=90,ct_state=+trk,actions=resubmit(,82)",
    "table=82,priority=77,ct_state=+est-rel-rpl,udp,reg5=0x2,tp_dst=53,actions=output:2",
    "table=82,priority=77,ct_state=+new-est,udp,reg5=0x2,tp_dst=53,actions=ct(commit,zone=NXM_NX_REG6[0..15]),output:2",
    "table=82,priority=50,ct_state=+inv+trk,actions=resubmit(,93)",
    "table=82,priority=50,ct_mark=0x1,actions=resubmit(,93)",
    "table=82,priority=50,ct_state=+est-rel+rpl,ct_zone=7,ct_mark=0,reg5=0x1,actions=output:1",
    "table=82,priority=50,ct_state=+est-rel+rpl,ct_zone=7,ct_mark=0,reg5=0x2,actions=output:2",
    "table=82,priority=40,ct_state=-est,actions=resubmit(,93)",
    "table=82,priority=40,ct_state=+est,ip,actions=ct(commit,zone=NXM_NX_REG6[0..15],exec(set_field:0x1->ct_mark))",
    "table=93,actions=drop",
    "table=94,priority=12,dl_dst=02:00:00:00:00:01,actions=output:1",
    "table=94,priority=12,dl_dst=02:00:00:00:00:02,actions=output:2",
    "table=94,priority=0,actions=NORMAL",
];

/// A datagram between the machines with these numbers.
fn datagram(src: u8, dst: u8, ports: (u16, u16)) -> Headers {
    let mut key = udp(src, dst, ports.1);
    key.tp_src.set(ports.0);
    key
}

#[test]
fn security_groups_let_in_what_is_allowed_and_its_answers() {
    with_and_without_caches(SECURITY_GROUPS, |bench| {
        let (question, answer) = (datagram(1, 2, (1000, 53)), datagram(2, 1, (53, 1000)));
        assert_eq!(bench.ports(2, answer), [0; 0], "machine 2 may not begin");
        assert_eq!(bench.ports(1, question), [2]);
        assert_eq!(bench.ports(2, answer), [1]);
        assert_eq!(bench.ports(1, question), [2]);
        assert_eq!(bench.ports(1, datagram(1, 2, (1000, 54))), [0; 0], "another port");
        assert_eq!(bench.ports(1, datagram(3, 2, (1000, 53))), [0; 0], "a source that is made up");
        // What is allowed no more is cut off, established or not, in both directions.
        for state in ["+est-rel-rpl", "+new-est"] {
            bench.delete(&format!("table=82,priority=77,ct_state={state},udp,reg5=0x2,tp_dst=53"));
        }
        assert_eq!(bench.ports(1, question), [0; 0]);
        assert_eq!(bench.ports(2, answer), [0; 0]);
        let known = bench.policy.connections().dump(bench.now, Default::default());
        assert!(known.iter().any(|c| c.original.zone == 7 && c.mark == 1), "{known:?}");
    });
}

/// Clients at port 1 use the service 10.96.0.10:80, which pods at the ports 2 and 3 offer, as Antrea has it. A
/// group chooses a pod and keeps it in registers 3 and 4, and a further table commits that. A conjunction says
/// who may open connections to the pods.
const NETWORK_POLICY: &[&str] = &[
    "priority=200,ip,actions=ct(table=10,zone=65520,nat)",
    "priority=0,actions=drop",
    "table=10,priority=190,ct_state=+inv+trk,ip,actions=drop",
    "table=10,priority=10,ct_state=-new+trk,ip,actions=resubmit(,40)",
    "table=10,priority=0,actions=resubmit(,20)",
    "table=20,priority=200,tcp,nw_dst=10.96.0.10,tp_dst=80,actions=group:10",
    "table=20,priority=0,actions=resubmit(,30)",
    "table=30,priority=200,tcp,reg3=0x0a000002,reg4=0x21f90/0x3ffff,actions=ct(commit,table=40,zone=65520,nat(dst=10.0.0.2:8080),exec(set_field:0x10/0x10->ct_mark))",
    "table=30,priority=200,tcp,reg3=0x0a000003,reg4=0x21f90/0x3ffff,actions=ct(commit,table=40,zone=65520,nat(dst=10.0.0.3:8080),exec(set_field:0x10/0x10->ct_mark))",
    "table=30,priority=0,actions=resubmit(,40)",
    "table=40,priority=210,ct_state=-new+est,ip,actions=resubmit(,60)",
    "table=40,priority=200,ip,nw_src=10.0.0.101,actions=conjunction(5,1/3)",
    "table=40,priority=200,ip,nw_src=10.0.0.102,actions=conjunction(5,1/3)",
    "table=40,priority=200,ip,nw_dst=10.0.0.2,actions=conjunction(5,2/3)",
    "table=40,priority=200,ip,nw_dst=10.0.0.3,actions=conjunction(5,2/3)",
    "table=40,priority=200,tcp,tp_dst=8080,actions=conjunction(5,3/3)",
    "table=40,priority=200,conj_id=5,ip,actions=set_field:0x5->reg5,ct(commit,table=60,zone=65520,exec(set_field:0x5/0xffffffff->ct_label))",
    "table=40,priority=100,ip,nw_dst=10.0.0.2,actions=drop",
    "table=40,priority=100,ip,nw_dst=10.0.0.3,actions=drop",
    "table=40,priority=0,ip,actions=ct(commit,table=60,zone=65520)",
    "table=60,priority=10,ip,nw_dst=10.0.0.2,actions=output:2",
    "table=60,priority=10,ip,nw_dst=10.0.0.3,actions=output:3",
    "table=60,priority=0,ip,actions=output:1",
];

/// A client that no clause names.
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

const SERVICE: &str = "group_id=10,type=select,\
    bucket=bucket_id:0,weight:100,actions=set_field:0xa000002->reg3,set_field:0x21f90/0x3ffff->reg4,resubmit(,30),\
    bucket=bucket_id:1,weight:100,actions=set_field:0xa000003->reg3,set_field:0x21f90/0x3ffff->reg4,resubmit(,30)";

/// As [`with_and_without_caches`], with a group, which the rules need.
fn with_group(rules: &[&str], group: &str, check: impl Fn(&mut Bench)) {
    let context = ParseContext { version: OfVersion::OpenFlow15, ..ParseContext::default() };
    let group = parse_group(group, GroupCommand::Add, &context).expect(group);
    for config in [CacheConfig::default(), CacheConfig::OFF] {
        let mut bench = Bench::new(config, &[]);
        bench.change_groups(0, &group).expect("the group is valid");
        rules.iter().for_each(|rule| bench.change(Command::Add, rule));
        check(&mut bench);
    }
}

/// A segment between these ends, each an address and a port.
fn segment(src: (&str, u16), dst: (&str, u16), flags: &str) -> Headers {
    headers(&format!(
        "tcp,nw_src={},nw_dst={},nw_ttl=64,tp_src={},tp_dst={},tcp_flags={flags}",
        src.0, dst.0, src.1, dst.1
    ))
}

/// Sends a packet. Returns the port where it leaves, and its ends then; `None` if it is dropped.
fn pass(bench: &mut Bench, in_port: u16, key: Headers) -> Option<(u16, [(String, u16); 2])> {
    let sent = bench.send(in_port - 1, &[key]);
    let mut left = (1..).zip(sent).filter(|(_, frames)| !frames.is_empty());
    let (port, frames) = left.next()?;
    assert!(frames.len() == 1 && left.next().is_none(), "the packet leaves at one port");
    let key = extract(Arrival::default(), &frames[0], 1).0.headers;
    let address = |n: usize| {
        let bytes: [u8; 4] = key.nw_addrs[n..n + 4].try_into().expect("four bytes");
        Ipv4Addr::from(bytes).to_string()
    };
    Some((port, [(address(0), key.tp_src.get()), (address(4), key.tp_dst.get())]))
}

/// Has clients open connections to `service`, one for each source port, and exchange segments. Each has to stay
/// with the server that its first segment has reached, a port and an address with a port, and see answers from
/// the service only. Returns how many connections each server has got.
fn balance(
    bench: &mut Bench,
    client: &str,
    service: (&str, u16),
    ports: std::ops::Range<u16>,
) -> BTreeMap<u16, usize> {
    let mut reached = BTreeMap::new();
    for own in ports {
        let me = (client, own);
        let (port, [from, to]) =
            pass(bench, 1, segment(me, service, "syn")).expect("the connection begins");
        assert_eq!(from, (client.to_owned(), own));
        let server = (to.0.as_str(), to.1);
        for flags in ["syn|ack", "ack", "ack"] {
            let back = pass(bench, port, segment(server, me, flags)).expect("an answer");
            let service = (service.0.to_owned(), service.1);
            assert_eq!(back, (1, [service, (client.to_owned(), own)]));
            let again = pass(bench, 1, segment(me, (service_of(&back), back.1[0].1), "ack"));
            assert_eq!(again, Some((port, [from.clone(), to.clone()])), "the same server");
        }
        *reached.entry(port).or_default() += 1;
    }
    reached
}

fn service_of(back: &(u16, [(String, u16); 2])) -> &str {
    &back.1[0].0
}

#[test]
fn a_service_has_its_pods_and_a_policy_says_who_reaches_them() {
    with_group(NETWORK_POLICY, SERVICE, |bench| {
        let service = ("10.96.0.10", 80);
        let reached = balance(bench, "10.0.0.101", service, 2000..2064);
        assert_eq!(reached.values().sum::<usize>(), 64);
        assert!(reached[&2] >= 8 && reached[&3] >= 8, "{reached:?}");
        let stranger = segment((&STRANGER.to_string(), 2000), service, "syn");
        assert_eq!(pass(bench, 1, stranger), None, "no clause has this source");
        let other = segment(("10.0.0.101", 2000), ("10.0.0.2", 8081), "syn");
        assert_eq!(pass(bench, 1, other), None, "no clause has this port");
        let direct = segment(("10.0.0.102", 2000), ("10.0.0.3", 8080), "syn");
        assert!(pass(bench, 1, direct).is_some(), "the pod itself may be called");
        let known = bench.policy.connections().dump(bench.now, Default::default());
        let is_stranger = |c: &&ConnectionInfo| c.original.address(&c.original.source) == STRANGER;
        let (strange, allowed): (Vec<_>, Vec<_>) = known.iter().partition(is_stranger);
        assert!(allowed.iter().all(|c| c.label == 5), "the policy's number is with them");
        assert!(strange.iter().all(|c| c.label == 0));
        assert_eq!((allowed.len(), strange.len()), (65, 1));
    });
}

/// A logical router with a load balancer as OVN has it: the zones of its two translations are in the registers
/// 11 and 12, the buckets of a group commit, and each table knows the next one by its number.
const LOGICAL_ROUTER: &[&str] = &[
    "priority=100,ip,in_port=1,actions=load:0xb->NXM_NX_REG11[],load:0xc->NXM_NX_REG12[],load:0x1->NXM_NX_REG14[],resubmit(,8)",
    "priority=100,ip,actions=load:0xb->NXM_NX_REG11[],load:0xc->NXM_NX_REG12[],load:0x2->NXM_NX_REG14[],resubmit(,8)",
    "table=8,priority=100,ip,reg14=0x2,actions=ct(table=9,zone=NXM_NX_REG12[0..15],nat)",
    "table=8,priority=0,actions=resubmit(,9)",
    "table=9,priority=100,ip,nw_dst=172.16.0.9,actions=ct(table=10,zone=NXM_NX_REG11[0..15],nat)",
    "table=9,priority=90,ip,reg14=0x2,actions=ct(table=10,zone=NXM_NX_REG11[0..15],nat)",
    "table=9,priority=0,actions=resubmit(,10)",
    "table=10,priority=120,ct_state=+new+trk,tcp,nw_dst=172.16.0.9,tp_dst=80,actions=group:1",
    "table=10,priority=0,actions=resubmit(,11)",
    "table=11,priority=100,ip,reg14=0x1,nw_dst=10.0.0.0/24,actions=ct(commit,table=12,zone=NXM_NX_REG12[0..15],nat(src=10.0.0.254))",
    "table=11,priority=0,actions=resubmit(,12)",
    "table=12,priority=100,ip,nw_dst=10.0.0.2,actions=dec_ttl,output:2",
    "table=12,priority=100,ip,nw_dst=10.0.0.3,actions=dec_ttl,output:3",
    "table=12,priority=50,ip,actions=dec_ttl,output:1",
];

const BACKENDS: &str = "group_id=1,type=select,selection_method=dp_hash,\
    bucket=bucket_id:0,weight:100,actions=ct(commit,table=11,zone=NXM_NX_REG11[0..15],nat(dst=10.0.0.2:8080),exec(set_field:0x2/0x2->ct_mark)),\
    bucket=bucket_id:1,weight:100,actions=ct(commit,table=11,zone=NXM_NX_REG11[0..15],nat(dst=10.0.0.3:8080),exec(set_field:0x2/0x2->ct_mark))";

#[test]
fn a_logical_router_balances_and_hides_the_client() {
    with_group(LOGICAL_ROUTER, BACKENDS, |bench| {
        let (client, service) = ("203.0.113.5", ("172.16.0.9", 80));
        let mut reached = BTreeMap::<u16, usize>::new();
        for own in 3000..3064 {
            let me = (client, own);
            let first = pass(bench, 1, segment(me, service, "syn")).expect("it begins");
            let (port, [from, to]) = first.clone();
            assert_eq!((from.0.as_str(), to.1), ("10.0.0.254", 8080), "both ends are translated");
            let (server, router) = ((to.0.as_str(), to.1), (from.0.as_str(), from.1));
            let back = pass(bench, port, segment(server, router, "syn|ack"));
            let expected = [(service.0.to_owned(), service.1), (client.to_owned(), own)];
            assert_eq!(back, Some((1, expected)), "both are translated back");
            assert_eq!(pass(bench, 1, segment(me, service, "ack")), Some(first));
            *reached.entry(port).or_default() += 1;
        }
        assert!(reached[&2] >= 8 && reached[&3] >= 8, "{reached:?}");
        let known = bench.policy.connections().dump(bench.now, Default::default());
        assert!(known.iter().all(|c| c.mark == if c.original.zone == 11 { 2 } else { 0 }));
    });
}

#[test]
fn the_load_balancer_of_the_documentation_keeps_connections_with_their_servers() {
    let [group] = recipe("A load balancer", "add-group")[..] else { panic!("one group") };
    with_group(&recipe("A load balancer", "add-flow"), group, |bench| {
        let reached = balance(bench, "10.0.0.1", ("192.0.2.10", 80), 4000..4064);
        assert!(reached[&2] >= 8 && reached[&3] >= 8, "{reached:?}");
    });
}
