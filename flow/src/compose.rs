//! Key to bytes: a frame that has the headers a key describes. The reverse of extraction.
//!
//! For tests, `trace` and packets that users describe in words. Payloads are empty or zero; lengths
//! and checksums are right.

use super::key::{ETH_TYPE_NONE, FlowKey, VLAN_CFI, frag};
use packet::checksum;
use packet::wire::{eth_type, icmpv6_type, ip_proto};

/// Smallest frame on a wire, without FCS.
const MIN_FRAME: usize = 60;

/// Builds a frame. What contradicts itself in the key (ports of a protocol without ports) is left
/// out. Only the first of the label stack entries up to the bottom are used.
pub fn compose(key: &FlowKey) -> Vec<u8> {
    let mut frame = Vec::with_capacity(128);
    frame.extend(key.dl_dst);
    frame.extend(key.dl_src);
    if key.vlan_tci.get() & VLAN_CFI != 0 {
        let tpid = match key.vlan_tpid.get() {
            0 => eth_type::VLAN,
            tpid => tpid,
        };
        push_tag(&mut frame, tpid, key.vlan_tci.get());
        if key.vlan2_tci.get() & VLAN_CFI != 0 {
            push_tag(&mut frame, key.vlan2_tpid.get(), key.vlan2_tci.get());
        }
    }
    let dl_type = key.dl_type.get();
    if dl_type == ETH_TYPE_NONE {
        // An 802.3 frame with an LLC header that is not SNAP.
        frame.extend([0, 3, 0x42, 0x42, 0x03]);
    } else {
        frame.extend(dl_type.to_be_bytes());
        match dl_type {
            eth_type::IPV4 => ipv4(&mut frame, key),
            eth_type::IPV6 => ipv6(&mut frame, key),
            eth_type::ARP | eth_type::RARP => arp(&mut frame, key),
            t if eth_type::is_mpls(t) => labels(&mut frame, key),
            _ => {}
        }
    }
    if frame.len() < MIN_FRAME {
        frame.resize(MIN_FRAME, 0);
    }
    frame
}

fn push_tag(frame: &mut Vec<u8>, tpid: u16, tci: u16) {
    frame.extend(tpid.to_be_bytes());
    frame.extend((tci & !VLAN_CFI).to_be_bytes());
}

fn labels(frame: &mut Vec<u8>, key: &FlowKey) {
    for (i, lse) in key.mpls_lse.iter().enumerate() {
        frame.extend(lse.get().to_be_bytes());
        if lse.get() & 0x100 != 0 || i == 2 {
            break;
        }
    }
}

fn arp(frame: &mut Vec<u8>, key: &FlowKey) {
    frame.extend([0, 1, 8, 0, 6, 4, 0, key.nw_proto]);
    frame.extend(key.arp_sha);
    frame.extend(key.nw_src().to_be_bytes());
    frame.extend(key.arp_tha);
    frame.extend(key.nw_dst().to_be_bytes());
}

fn ipv4(frame: &mut Vec<u8>, key: &FlowKey) {
    let l4 = transport(key);
    let start = frame.len();
    let offset: u16 = match key.nw_frag {
        f if f & frag::LATER != 0 => 0x2001,
        f if f & frag::ANY != 0 => 0x2000,
        _ => 0,
    };
    frame.extend([0x45, key.nw_tos]);
    frame.extend((20 + l4.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(offset.to_be_bytes());
    frame.extend([key.nw_ttl, key.nw_proto, 0, 0]);
    frame.extend(&key.nw_addrs[..8]);
    let sum = !checksum::sum(&frame[start..]);
    frame[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(with_checksum(key, l4, &key.nw_addrs[..4], &key.nw_addrs[4..8]));
}

fn ipv6(frame: &mut Vec<u8>, key: &FlowKey) {
    let l4 = transport(key);
    let is_later = key.nw_frag & frag::LATER != 0;
    let fragment: &[u8] = match key.nw_frag {
        // The protocol of a later fragment is the fragment header itself.
        f if f & frag::LATER != 0 => &[59, 0, 0, 0x09, 0, 0, 0, 1],
        f if f & frag::ANY != 0 => &[key.nw_proto, 0, 0, 0x01, 0, 0, 0, 1],
        _ => &[],
    };
    let next = if fragment.is_empty() || is_later { key.nw_proto } else { ip_proto::FRAGMENT };
    let first = 6 << 28 | u32::from(key.nw_tos) << 20 | key.ipv6_label.get() & 0x000f_ffff;
    frame.extend(first.to_be_bytes());
    frame.extend(((fragment.len() + l4.len()) as u16).to_be_bytes());
    frame.extend([next, key.nw_ttl]);
    frame.extend(key.nw_addrs);
    frame.extend(fragment);
    frame.extend(with_checksum(key, l4, &key.nw_addrs[..16], &key.nw_addrs[16..]));
}

/// The transport header, without checksum.
fn transport(key: &FlowKey) -> Vec<u8> {
    if key.nw_frag & frag::LATER != 0 {
        return vec![0; 8];
    }
    let is_ipv4 = key.dl_type.get() == eth_type::IPV4;
    let (src, dst) = (key.tp_src.get(), key.tp_dst.get());
    let mut l4 = Vec::new();
    match key.nw_proto {
        ip_proto::TCP => {
            l4.extend(src.to_be_bytes());
            l4.extend(dst.to_be_bytes());
            l4.extend([0; 8]);
            l4.extend((0x5000 | key.tcp_flags.get() & 0x0fff).to_be_bytes());
            l4.extend([0; 6]);
        }
        ip_proto::UDP => {
            l4.extend(src.to_be_bytes());
            l4.extend(dst.to_be_bytes());
            l4.extend([0, 8, 0, 0]);
        }
        ip_proto::SCTP => {
            l4.extend(src.to_be_bytes());
            l4.extend(dst.to_be_bytes());
            l4.extend([0; 8]);
        }
        ip_proto::ICMP | ip_proto::IGMP if is_ipv4 => {
            l4.extend([src as u8, dst as u8, 0, 0, 0, 0, 0, 0]);
        }
        ip_proto::ICMPV6 if !is_ipv4 => {
            l4.extend([src as u8, dst as u8, 0, 0]);
            let is_nd = [icmpv6_type::ND_SOLICIT, icmpv6_type::ND_ADVERT].contains(&(src as u8))
                && dst == 0;
            if is_nd {
                neighbour_discovery(&mut l4, key);
            } else {
                l4.extend([0; 4]);
            }
        }
        _ => {}
    }
    l4
}

fn neighbour_discovery(l4: &mut Vec<u8>, key: &FlowKey) {
    l4.extend(key.nd_reserved.get().to_be_bytes());
    l4.extend(key.nd_target);
    let mut options = [(1, key.arp_sha), (2, key.arp_tha)];
    if key.nd_options_type == 2 {
        options.reverse();
    }
    for (kind, mac) in options {
        if mac != [0; 6] || key.nd_options_type == kind {
            l4.extend([kind, 1]);
            l4.extend(mac);
        }
    }
}

fn with_checksum(key: &FlowKey, mut l4: Vec<u8>, src: &[u8], dst: &[u8]) -> Vec<u8> {
    if key.nw_frag & frag::LATER != 0 {
        return l4;
    }
    let (at, pseudo) = match (key.nw_proto, key.dl_type.get()) {
        (ip_proto::TCP, _) => (16, true),
        (ip_proto::UDP, _) => (6, true),
        (ip_proto::ICMPV6, eth_type::IPV6) => (2, true),
        (ip_proto::ICMP | ip_proto::IGMP, eth_type::IPV4) => (2, false),
        (ip_proto::SCTP, _) => {
            let crc = checksum::crc32c([&l4]);
            l4[8..12].copy_from_slice(&crc.to_le_bytes());
            return l4;
        }
        _ => return l4,
    };
    let mut sum = checksum::sum(&l4);
    if pseudo {
        let header = checksum::pseudo_header(src, dst, key.nw_proto, l4.len() as u32);
        sum = checksum::add(sum, header);
    }
    let sum = if !sum == 0 && key.nw_proto == ip_proto::UDP { 0xffff } else { !sum };
    l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    l4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::extract;
    use crate::types::PortNo;
    use proptest::prelude::*;

    fn addrs() -> impl Strategy<Value = [u8; 32]> {
        any::<[u8; 32]>()
    }

    prop_compose! {
        fn l2()(
            dst: [u8; 6], src: [u8; 6],
            tag in prop_oneof![Just(None), any::<(u16, bool)>().prop_map(Some)],
        ) -> FlowKey {
            let mut key = FlowKey { dl_dst: dst, dl_src: src, ..FlowKey::default() };
            key.shape.set(FlowKey::L2_WORDS as u16);
            key.dl_type.set(0x9000);
            if let Some((tci, service)) = tag {
                key.vlan_tci.set(tci | VLAN_CFI);
                if service {
                    key.vlan_tpid.set(eth_type::VLAN_8021AD);
                    key.shape.set(16);
                }
            }
            key
        }
    }

    prop_compose! {
        fn ip()(
            mut key in l2(), v6: bool, addrs in addrs(), tos: u8, ttl: u8, label in 0u32..1 << 20,
            proto in prop_oneof![Just(6u8), Just(17), Just(132), Just(1), Just(58), Just(47)],
            src: u16, dst: u16, flags in 0u16..1 << 12, fragment in 0u8..3,
        ) -> FlowKey {
            key.dl_type.set(if v6 { eth_type::IPV6 } else { eth_type::IPV4 });
            (key.nw_tos, key.nw_ttl, key.nw_proto) = (tos, ttl, proto);
            if v6 {
                key.nw_addrs = addrs;
                key.ipv6_label.set(label);
            } else {
                key.nw_addrs[..8].copy_from_slice(&addrs[..8]);
            }
            let words = if v6 { FlowKey::IPV6_WORDS } else { FlowKey::IPV4_WORDS } as u16;
            key.shape.set(key.shape.get().max(words));
            key.nw_frag = [0, frag::ANY, frag::ANY | frag::LATER][fragment as usize];
            if key.nw_frag & frag::LATER != 0 {
                if v6 {
                    key.nw_proto = ip_proto::FRAGMENT;
                }
                return key;
            }
            let icmp = if v6 { 58 } else { 1 };
            if matches!(proto, 6 | 17 | 132) {
                key.tp_src.set(src);
                key.tp_dst.set(dst);
            } else if proto == icmp {
                // Not neighbour discovery, which has more to it.
                key.tp_src.set(src & 0x7f);
                key.tp_dst.set(dst & 0xff);
            }
            if proto == 6 {
                key.tcp_flags.set(flags);
            }
            key
        }
    }

    prop_compose! {
        fn nd()(
            mut key in l2(), addrs in addrs(), solicit: bool, target: [u8; 16], reserved: u32,
            sll: [u8; 6], tll: [u8; 6], which in 0u8..4,
        ) -> FlowKey {
            key.dl_type.set(eth_type::IPV6);
            key.shape.set(16);
            key.nw_addrs = addrs;
            key.nw_proto = ip_proto::ICMPV6;
            key.nw_ttl = 255;
            key.tp_src.set(if solicit { 135 } else { 136 });
            key.nd_target = target;
            key.nd_reserved.set(reserved);
            if which & 1 != 0 && sll != [0; 6] { key.arp_sha = sll; key.nd_options_type = 1; }
            if which & 2 != 0 && tll != [0; 6] {
                key.arp_tha = tll;
                if key.nd_options_type == 0 { key.nd_options_type = 2; }
            }
            key
        }
    }

    prop_compose! {
        fn arp_key()(
            mut key in l2(), reverse: bool, op: u8, sha: [u8; 6], tha: [u8; 6], a: [u8; 8],
        ) -> FlowKey {
            key.dl_type.set(if reverse { eth_type::RARP } else { eth_type::ARP });
            key.shape.set(16);
            key.nw_proto = op;
            key.arp_sha = sha;
            key.arp_tha = tha;
            key.nw_addrs[..8].copy_from_slice(&a);
            key
        }
    }

    prop_compose! {
        fn mpls_key()(mut key in l2(), n in 1usize..4, lse: [u32; 3], multicast: bool) -> FlowKey {
            key.dl_type.set(if multicast { eth_type::MPLS_MCAST } else { eth_type::MPLS });
            key.shape.set(16);
            for (i, lse) in lse.iter().enumerate().take(n) {
                let bos = if i + 1 == n { 0x100 } else { 0 };
                key.mpls_lse[i].set(lse & !0x100 | bos);
            }
            key
        }
    }

    proptest! {
        #[test]
        fn extraction_finds_what_was_composed(
            key in prop_oneof![l2(), ip(), nd(), arp_key(), mpls_key()]
        ) {
            let frame = compose(&key);
            let (found, _) = extract(PortNo(0), 0, &frame, 1);
            prop_assert_eq!(found, key);
        }

        #[test]
        fn extraction_takes_anything(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (key, _) = extract(PortNo(1), 0, &frame, 2);
            let used = key.shape.get() as usize;
            let mut key = key;
            key.shape.set(0);
            prop_assert!(key.words()[used..].iter().all(|&w| w == 0));
        }
    }

    #[test]
    fn composed_checksums_convince_an_independent_reader() {
        use pnet_packet::{Packet, ethernet, ipv4, tcp};
        let mut key = FlowKey::default();
        key.dl_type.set(eth_type::IPV4);
        key.nw_proto = ip_proto::TCP;
        key.nw_addrs[..8].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        key.tp_src.set(1000);
        key.tp_dst.set(80);
        let frame = compose(&key);
        let eth = ethernet::EthernetPacket::new(&frame).unwrap();
        let ip = ipv4::Ipv4Packet::new(eth.payload()).unwrap();
        assert_eq!(ip.get_checksum(), ipv4::checksum(&ip));
        let tcp = tcp::TcpPacket::new(ip.payload()).unwrap();
        let sum = tcp::ipv4_checksum(&tcp, &ip.get_source(), &ip.get_destination());
        assert_eq!(tcp.get_checksum(), sum);
    }
}
