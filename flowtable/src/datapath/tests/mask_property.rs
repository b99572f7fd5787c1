//! Whatever the rules: a packet that agrees with another in the bits of its mask gets the same verdict.
//!
//! An over-wide cached flow is how switches let packets pass that no rule lets pass (CVE-2023-1668,
//! CVE-2023-5366), so this is tried with rules and groups that read and write every kind of header.

use crate::conntrack::{Connections, Tracker};
use crate::datapath::{Egress, Env, Recirculation, execute};
use crate::policy::ports::PortInfo;
use crate::policy::tests::{add, add_groups, add_to, policy};
use crate::policy::*;
use flow::compose::compose;
use flow::extract::{Arrival, extract};
use flow::key::{FLOW_WORDS, Segment};
use flow::types::{MacAddr, OfPort, PortNo};
use flow::verdict::DpAction;
use flow::{FlowKey, Headers};
use packet::{Batch, Frame, FrameId, Offload};
use proptest::prelude::*;
use std::time::Duration;

/// Rules that read, write, branch and loop: everything a mask must account for.
const RULES: &[&str] = &[
    "table=0,priority=90,ip,nw_dst=10.0.0.0/8,actions=dec_ttl,set_field:1->reg0,resubmit(,1)",
    "table=0,priority=85,tcp,tcp_flags=+syn-ack,actions=mod_tp_dst:80,resubmit(,1),normal",
    "table=0,priority=80,udp,tp_dst=0x100/0xff00,actions=move:NXM_OF_UDP_SRC[]->NXM_NX_REG1[0..15],resubmit(,1)",
    "table=0,priority=70,dl_vlan=5,actions=pop_vlan,set_field:3->reg0,resubmit(,1)",
    "table=0,priority=60,ipv6,ipv6_src=fe80::/10,actions=set_field:::1/::ff->ipv6_dst,2,clone(mod_dl_src:02:00:00:00:00:77,3)",
    "table=0,priority=50,arp,arp_op=1,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:2->arp_op,in_port",
    "table=0,priority=40,ip,nw_frag=later,actions=4",
    "table=0,priority=30,mpls,mpls_label=3,actions=dec_mpls_ttl,1,pop_mpls:0x0800,resubmit(,2)",
    "table=0,priority=20,ip,actions=push_mpls:0x8847,set_field:17->mpls_label,output:2",
    "table=0,priority=10,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=flood",
    "table=0,priority=0,actions=normal",
    "table=1,priority=9,reg0=1,tcp,tp_dst=80,actions=mod_nw_src:1.2.3.4,output:NXM_NX_REG0[]",
    "table=1,priority=8,reg1=0x35/0xff,actions=push:NXM_NX_REG1[],pop:NXM_NX_REG2[],output:3",
    "table=1,priority=7,reg0=3,actions=push_vlan:0x88a8,set_field:4100->vlan_vid,output:4",
    "table=1,priority=6,ip,nw_tos=0xb8,actions=check_pkt_larger(100)->NXM_NX_REG3[0],resubmit(,2)",
    "table=1,priority=1,actions=write_actions(mod_dl_dst:02:00:00:00:00:66,output:1),goto_table:2",
    "table=2,priority=5,reg3=1/1,actions=2",
    "table=2,priority=4,ip,nw_ttl=9,actions=3",
    "table=2,priority=1,actions=4",
    "table=0,priority=88,vlan_tci=0x1007/0x1fff,actions=pop_vlan,resubmit(,1)",
    "table=0,priority=64,icmp6,icmp_type=136,icmp_code=0,actions=set_field:02:00:00:00:00:09->nd_tll,2",
    "table=0,priority=63,icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::/16,actions=move:NXM_NX_ND_SLL[]->NXM_OF_ETH_DST[],in_port",
    "table=0,priority=29,mpls,mpls_bos=0,actions=pop_mpls:0x8847,set_mpls_tc:2,3,resubmit(,1)",
    "table=0,priority=28,mpls,actions=push_mpls:0x8847,set_mpls_ttl:9,4,clone(pop_mpls:0x8847,1),2",
    "table=1,priority=10,ip,nw_dst=10.0.0.0/9,actions=group:1,2",
    "table=2,priority=9,dl_vlan=5,actions=group:2",
    "table=2,priority=8,udp,actions=set_field:7->udp_src,group:3",
    "table=2,priority=7,tcp,actions=group:4",
    "table=2,priority=20,ip,nw_src=10.0.0.0/9,actions=conjunction(1,1/2),conjunction(2,1/3)",
    "table=2,priority=20,tcp,actions=conjunction(1,2/2)",
    "table=2,priority=20,ip,nw_dst=10.0.0.0/10,actions=conjunction(2,2/3)",
    "table=2,priority=20,ip,nw_ttl=9,actions=conjunction(2,3/3)",
    "table=2,priority=19,conj_id=1,ip,actions=2",
    "table=2,priority=19,ip,conj_id=2,actions=mod_nw_src:10.3.3.3,resubmit(,1),4",
    "table=0,priority=95,ip,ct_state=+trk+est,ct_mark=1/1,actions=move:NXM_NX_CT_MARK[0..15]->NXM_NX_REG1[0..15],ct(commit,zone=NXM_NX_REG1[0..15],table=2),resubmit(,1)",
    "table=0,priority=94,ip,ct_state=+trk+rpl-inv,ct_nw_src=10.0.0.0/8,actions=ct_clear,group:4,4",
    "table=0,priority=97,tun_id=5/0xf,actions=move:NXM_NX_TUN_ID[0..31]->NXM_NX_REG0[],set_field:1.2.3.4->tun_src,resubmit(,1)",
    "table=1,priority=14,tun_src=1.2.0.0/16,actions=set_tunnel:3,2,output:5,resubmit(,2)",
    "table=1,priority=13,tun_ipv6_dst=fe80::/10,actions=controller,group:4,4",
    "table=2,priority=11,tun_id=3,ip,actions=move:NXM_NX_TUN_GBP_ID[]->NXM_NX_TUN_ID[0..15],ct(table=1),3",
    "table=2,priority=10,tun_flags=+oam,actions=group:4,1",
    "table=1,priority=12,ip,ct_state=-trk,nw_tos=0xb8,actions=ct(commit,exec(move:NXM_OF_IP_SRC[0..15]->NXM_NX_CT_MARK[0..15],set_field:5->ct_label)),2",
];

/// Groups of each kind.
const GROUPS: &[&str] = &[
    "group_id=1,type=select,bucket=weight:1,output:1,bucket=weight:2,mod_nw_dst:10.1.1.1,output:3",
    "group_id=2,type=all,bucket=pop_vlan,output:3,bucket=dec_ttl,group:1",
    "group_id=3,type=ff,bucket=watch_port:2,push_vlan:0x8100,output:2,bucket=watch_port:3,output:3",
    "group_id=4,type=select,selection_method=hash,fields(ip_src=255.255.0.0,tcp_dst),\
     bucket=output:1,bucket=output:4",
];

/// Rules of the first bridge that lead to the second one, or back from there.
const PATCH_RULES: &[&str] = &[
    "table=0,priority=87,udp,tp_src=0x35,actions=mod_nw_tos:8,output:5,mod_dl_src:02:00:00:00:00:55,1",
    "table=1,priority=11,ip,nw_ttl=10,actions=set_field:1->reg0,output:5,4",
    "table=2,priority=3,in_port=5,actions=mod_dl_src:02:00:00:00:00:56,3",
];

/// A second bridge, with ports 1 and 2, behind a patch that is port 5 of either.
fn add_second_bridge(policy: &Policy, rules: &[&str]) {
    let second = policy.add_bridge("br1").unwrap();
    let patch = |bridge, name, peer| {
        policy.bridge(bridge).with_ports(|ports| {
            ports.insert(PortInfo::patch(OfPort(5), name, peer, MacAddr::default()));
        });
    };
    patch(BridgeId::FIRST, "pa", "pb");
    patch(second, "pb", "pa");
    policy.bridge(second).with_ports(|ports| {
        for n in 1..=2 {
            ports.insert(PortInfo::new(PortNo(3 + n), OfPort(n), "q", MacAddr::default()));
        }
    });
    add(policy, PATCH_RULES).unwrap();
    let without_groups = rules.iter().copied().filter(|rule| !rule.contains("group:"));
    let rules: Vec<&str> = without_groups.chain(["priority=1,actions=NORMAL"]).collect();
    add_to(policy, second, &rules).unwrap();
}

prop_compose! {
    /// Packets near the rules: values that they look at are likely.
    fn packet()(
        in_port in 0u16..4,
        dl_type in prop_oneof![
            4 => Just(0x0800u16), 2 => Just(0x86dd), 1 => Just(0x0806), 1 => Just(0x8847), 1 => any::<u16>()
        ],
        macs: [u8; 12],
        tci in prop_oneof![3 => Just(0u16), 1 => Just(0x1005), 1 => Just(0x1007), 1 => any::<u16>().prop_map(|t| t | 0x1000)],
        tpid in prop_oneof![2 => Just(0u16), 1 => Just(0x88a8)],
        inner in prop_oneof![2 => Just((0u16, 0u16)), 1 => (Just(0x8100), any::<u16>().prop_map(|t| t | 0x1000))],
        proto in prop_oneof![3 => Just(6u8), 3 => Just(17), 1 => Just(1), 1 => Just(58), 1 => any::<u8>()],
        tos in prop_oneof![Just(0u8), Just(0xb8), any::<u8>()],
        ttl in prop_oneof![Just(64u8), Just(1), Just(10), any::<u8>()],
        nw_frag in prop_oneof![6 => Just(0u8), 1 => Just(1), 1 => Just(3)],
        addrs: [u8; 32],
        near: bool,
        ports in prop_oneof![Just([0x35u16, 80]), Just([53, 0x1ff]), Just([135, 0]), Just([136, 0]), any::<[u16; 2]>()],
        flags in prop_oneof![Just(2u16), Just(0x12), 0u16..4096],
        ct in prop_oneof![Just([0u16, 0]), Just([0x22, 1]), Just([0x2a, 3]), any::<[u16; 2]>()],
        tunnel in prop_oneof![2 => Just(None), 1 => any::<[u8; 6]>().prop_map(Some)],
        lse in prop_oneof![Just([0x3140u32, 0, 0]), any::<[u32; 3]>()],
        nd: [u8; 28],
    ) -> FlowKey {
        let mut key = Headers::default();
        key.dl_type.set(dl_type);
        key.dl_dst.copy_from_slice(&macs[..6]);
        key.dl_src.copy_from_slice(&macs[6..]);
        key.vlan_tci.set(tci);
        if tci != 0 {
            key.vlan_tpid.set(tpid);
            key.vlan2_tpid.set(inner.0);
            key.vlan2_tci.set(inner.1);
        }
        if matches!(dl_type, 0x0800 | 0x86dd) {
            key.ct_state.set(ct[0] & 0xff);
            key.ct_mark.set(ct[1].into());
            key.ct_nw_src.set(u32::from_be_bytes([10, 0, macs[0], macs[1]]));
        }
        if let Some([id, src, dst, flags, gbp_id, v6]) = tunnel {
            key.segments = key.segments.or(Segment::TUNNEL.id).or(Segment::TUNNEL_IPV6.id);
            key.tun_id.set([3, 5, id.into()][usize::from(id % 3)]);
            key.tun_src.set([0x0102_0304, src.into()][usize::from(src % 2)]);
            key.tun_dst.set(dst.into());
            key.tun_flags.set(u16::from(flags) & 1);
            key.tun_gbp_id.set(gbp_id.into());
            key.tun_ipv6_dst[..2].copy_from_slice(&[0xfe, v6]);
        }
        match dl_type {
            0x0800 | 0x86dd | 0x0806 => {
                (key.nw_proto, key.nw_tos, key.nw_ttl) = (proto, tos, ttl);
                key.nw_addrs = addrs;
                if dl_type != 0x86dd {
                    key.nw_addrs[8..].fill(0);
                    if near {
                        key.nw_addrs[4] = 10;
                    }
                } else if near {
                    key.nw_addrs[..2].copy_from_slice(&[0xfe, 0x80]);
                }
                if dl_type != 0x0806 {
                    key.nw_frag = nw_frag;
                    if nw_frag & 2 == 0 {
                        key.tp_src.set(ports[0]);
                        key.tp_dst.set(ports[1]);
                        if dl_type == 0x86dd && proto == 58 && ports[1] == 0 {
                            key.nd_target.copy_from_slice(&nd[..16]);
                            if near {
                                key.nd_target[..2].copy_from_slice(&[0xfe, 0x80]);
                            }
                            key.arp_sha.copy_from_slice(&nd[16..22]);
                            key.arp_tha.copy_from_slice(&nd[22..]);
                        }
                        if proto == 6 {
                            key.tcp_flags.set(flags);
                        }
                    }
                }
            }
            0x8847 => {
                for (slot, lse) in key.mpls_lse.iter_mut().zip(lse) {
                    slot.set(lse);
                }
            }
            _ => {}
        }
        FlowKey { port_no: PortNo(in_port).into(), headers: key, ..FlowKey::default() }
    }
}

/// What leaves where, and the ids of other passes, when the steps are done to a frame with this key.
pub(super) fn effect(actions: &[DpAction], key: &Headers) -> (Vec<(u16, Vec<u8>)>, Vec<u32>) {
    let mut batch = Batch::new();
    let bytes = compose(key);
    batch.push(Frame::owned(&bytes, Offload::NONE));
    let id = FrameId::received(0);
    (_, batch.frame_mut(id).layers) = extract(Arrival::default(), &bytes, 2);
    let mut egress = Egress::new(6);
    let mut asked = Vec::new();
    let (table, mut found) = (Connections::new(1), Vec::new());
    let env = Env {
        batch: &mut batch,
        egress: &mut egress,
        recirculations: &mut asked,
        punts: None,
        meters: &[],
        tracker: Tracker { table: &table, in_port: PortNo(0), is_trial: false, budget: None },
        found: &mut found,
        now: Duration::ZERO,
    };
    execute(actions, env, Recirculation { frame: id, recirc_id: 0, found: 0 }, 0);
    let sent = (0..6).flat_map(|port| {
        egress.queue(PortNo(port)).iter().map(move |&id| (port, id)).collect::<Vec<_>>()
    });
    let sent = sent.map(|(port, id)| (port, batch.frame(id).bytes().to_vec())).collect();
    (sent, asked.iter().map(|asked| asked.recirc_id).collect())
}

/// Bits to flip: about half of all, or a few.
pub(super) fn noise() -> impl Strategy<Value = [u64; FLOW_WORDS]> {
    let few = proptest::collection::vec((0..FLOW_WORDS, 0u32..64), 1..4).prop_map(|bits| {
        let mut words = [0; FLOW_WORDS];
        bits.iter().for_each(|&(word, bit)| words[word] |= 1 << bit);
        words
    });
    prop_oneof![any::<[u64; FLOW_WORDS]>(), few]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn bits_outside_the_mask_do_not_matter(
        packet in packet(),
        noise in noise(),
        as_ovs: bool,
        rules in proptest::sample::subsequence(RULES, 0..=RULES.len()),
        behind in proptest::sample::subsequence(RULES, 0..=RULES.len()),
    ) {
        let conduct = if as_ovs { Conduct::AsOvs } else { Conduct::Sensible };
        let p = policy(&[]).with_conduct(conduct);
        add_groups(&p, GROUPS);
        add(&p, &rules).unwrap();
        add_second_bridge(&p, &behind);
        let verdict = p.translate(&packet);
        let mut other = packet;
        let words = other.words_mut().iter_mut().zip(noise);
        for ((word, noise), mask) in words.zip(verdict.mask.words()) {
            *word ^= noise & !mask;
        }
        // These two are no properties of the packet.
        other.recirc_id = packet.recirc_id;
        other.headers.segments = packet.headers.segments;
        if !packet.headers.segments.meets(Segment::TUNNEL.id) {
            // The port decides whether there is a tunnel.
            other.headers.copy_tunnel(&packet.headers);
        }
        let again = p.translate(&other);
        // Not the lists are compared: a bit that the second translation looked at may be written as
        // it is, which changes nothing.
        prop_assert_eq!((again.drop, again.flood), (verdict.drop, verdict.flood));
        prop_assert_eq!(
            effect(&verdict.actions, &other.headers),
            effect(&again.actions, &other.headers),
            "{:?}\n{:?}\nmask {:?}", packet, other, verdict.mask
        );
    }
}
