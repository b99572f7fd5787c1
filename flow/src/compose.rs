//! Composition: builds a frame from a key, the reverse of [`extract`](crate::extract).
//!
//! `trace` and tests use such frames. Their payloads are empty or zero, and their lengths and checksums are
//! right. Composition is not on the fast path, so this code is written for brevity.

use super::key::{ETH_TYPE_NONE, Headers, VLAN_CFI, frag};
use packet::checksum;
use packet::wire::{
    ArpPacket, IcmpPacket, Icmpv6Packet, Ipv4Packet, Ipv6Extension, Ipv6Packet, NdOption, NdPacket,
    SctpPacket, TcpPacket, UdpPacket, VlanTag, arp, eth_type, ethernet, icmp, ip_proto, ipv4, ipv6,
    ipv6_extension, mpls, nd, nd_option, sctp, tcp, udp, vlan,
};

/// Builds a frame of at least 60 bytes, from which extraction reads `key` again.
///
/// Fields of the key that its other fields rule out (ports of a protocol without ports) have no place in the
/// frame and are left out. The label stack ends with the first entry that has the bottom-of-stack bit; later
/// entries are left out.
pub fn compose(key: &Headers) -> Vec<u8> {
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
    frame.resize(frame.len().max(ethernet::MIN_FRAME_SIZE), 0);
    frame
}

fn push_tag(frame: &mut Vec<u8>, tpid: u16, tci: u16) {
    let mut tag = VlanTag::new_unchecked([0; vlan::HEADER_SIZE]);
    tag.set_tpid(tpid);
    tag.set_tci(tci & !VLAN_CFI);
    frame.extend(tag.into_inner());
}

fn labels(frame: &mut Vec<u8>, key: &Headers) {
    for lse in &key.mpls_lse {
        frame.extend(lse.get().to_be_bytes());
        if lse.get() & mpls::BOTTOM != 0 {
            break;
        }
    }
}

fn arp(frame: &mut Vec<u8>, key: &Headers) {
    let mut arp = ArpPacket::new_unchecked([0; arp::HEADER_SIZE]);
    arp.set_ethernet_ipv4();
    arp.set_operation(key.nw_proto.into());
    arp.set_sender_hardware(key.arp_sha);
    arp.set_sender_protocol(key.nw_src().into());
    arp.set_target_hardware(key.arp_tha);
    arp.set_target_protocol(key.nw_dst().into());
    frame.extend(arp.into_inner());
}

fn ipv4(frame: &mut Vec<u8>, key: &Headers) {
    let l4 = transport(key);
    let mut ip = Ipv4Packet::new_unchecked([0; ipv4::HEADER_SIZE]);
    ip.set_version_and_header_size(ipv4::HEADER_SIZE);
    ip.set_tos(key.nw_tos);
    ip.set_total_size((ipv4::HEADER_SIZE + l4.len()) as u16);
    ip.set_flags_and_offset(match key.nw_frag {
        f if f & frag::LATER != 0 => ipv4::MORE_FRAGMENTS | 1,
        f if f & frag::ANY != 0 => ipv4::MORE_FRAGMENTS,
        _ => 0,
    });
    ip.set_ttl(key.nw_ttl);
    ip.set_protocol(key.nw_proto);
    ip.set_src_addr(key.nw_src().into());
    ip.set_dst_addr(key.nw_dst().into());
    ip.fill_checksum();
    frame.extend(ip.into_inner());
    frame.extend(with_checksum(key, l4, &key.nw_addrs[..4], &key.nw_addrs[4..8]));
}

fn ipv6(frame: &mut Vec<u8>, key: &Headers) {
    let l4 = transport(key);
    let fragment = (key.nw_frag & (frag::ANY | frag::LATER) != 0).then(|| fragment_header(key));
    let fragment_size = fragment.map_or(0, |header| header.len());
    let mut ip = Ipv6Packet::new_unchecked([0; ipv6::HEADER_SIZE]);
    ip.set_version_class_label(key.nw_tos, key.ipv6_label.get());
    ip.set_payload_size((fragment_size + l4.len()) as u16);
    ip.set_next_header(if fragment.is_some() { ip_proto::FRAGMENT } else { key.nw_proto });
    ip.set_hop_limit(key.nw_ttl);
    let mut header = ip.into_inner();
    header[ipv6::field::ADDRESSES].copy_from_slice(&key.nw_addrs);
    frame.extend(header);
    frame.extend(fragment.into_iter().flatten());
    frame.extend(with_checksum(key, l4, &key.nw_addrs[..16], &key.nw_addrs[16..]));
}

/// The IPv6 fragment header (RFC 8200 §4.5) of a first or a later fragment, with the
/// flag that more fragments follow.
fn fragment_header(key: &Headers) -> [u8; ipv6_extension::HEADER_SIZE] {
    let bytes = [0; ipv6_extension::HEADER_SIZE];
    let mut fragment = Ipv6Extension::new_unchecked(ip_proto::FRAGMENT, bytes);
    // Rules see protocol 44, the fragment header, in later fragments: `key.nw_proto` does not say what follows.
    let (next_header, offset) = match key.nw_frag & frag::LATER {
        0 => (key.nw_proto, 0),
        _ => (ip_proto::NO_NEXT_HEADER, 8),
    };
    fragment.set_next_header(next_header);
    fragment.set_offset_and_flags(offset | ipv6_extension::MORE_FRAGMENTS);
    fragment.set_identification(1);
    fragment.into_inner()
}

/// The transport header with a checksum of zero; 8 bytes of zero for a later fragment, which has none.
fn transport(key: &Headers) -> Vec<u8> {
    if key.nw_frag & frag::LATER != 0 {
        return vec![0; 8];
    }
    let is_ipv4 = key.dl_type.get() == eth_type::IPV4;
    let (src, dst) = (key.tp_src.get(), key.tp_dst.get());
    match key.nw_proto {
        ip_proto::TCP => {
            let mut tcp = TcpPacket::new_unchecked([0; tcp::HEADER_SIZE]);
            tcp.set_src_port(src);
            tcp.set_dst_port(dst);
            tcp.set_header_size(tcp::HEADER_SIZE);
            tcp.set_flags(key.tcp_flags.get());
            tcp.into_inner().to_vec()
        }
        ip_proto::UDP => {
            let mut udp = UdpPacket::new_unchecked([0; udp::HEADER_SIZE]);
            udp.set_src_port(src);
            udp.set_dst_port(dst);
            udp.set_size(udp::HEADER_SIZE as u16);
            udp.into_inner().to_vec()
        }
        ip_proto::SCTP => {
            let mut sctp = SctpPacket::new_unchecked([0; sctp::HEADER_SIZE]);
            sctp.set_src_port(src);
            sctp.set_dst_port(dst);
            sctp.into_inner().to_vec()
        }
        ip_proto::ICMP | ip_proto::IGMP if is_ipv4 => icmp_header(src as u8, dst as u8).to_vec(),
        ip_proto::ICMPV6 if !is_ipv4 => {
            let header = icmp_header(src as u8, dst as u8);
            match Icmpv6Packet::new_unchecked(header).is_nd() {
                true => neighbour_discovery(header, key),
                false => header.to_vec(),
            }
        }
        _ => Vec::new(),
    }
}

/// The header that ICMP, IGMP and ICMPv6 share: type, code and a checksum of zero.
fn icmp_header(icmp_type: u8, code: u8) -> [u8; icmp::HEADER_SIZE] {
    let mut icmp = IcmpPacket::new_unchecked([0; icmp::HEADER_SIZE]);
    icmp.set_icmp_type(icmp_type);
    icmp.set_code(code);
    icmp.into_inner()
}

/// A neighbour discovery message with its target and options (RFC 4861). A link-layer address option is there
/// if its address in the key is not zero, or if `nd_options_type` names it.
fn neighbour_discovery(header: [u8; icmp::HEADER_SIZE], key: &Headers) -> Vec<u8> {
    let mut l4 = header.to_vec();
    l4.resize(nd::HEADER_SIZE, 0);
    let mut message = NdPacket::new_unchecked(&mut l4);
    message.set_reserved(key.nd_reserved.get());
    message.set_target(key.nd_target.into());
    let mut options =
        [(nd_option::SOURCE_LINK_LAYER, key.arp_sha), (nd_option::TARGET_LINK_LAYER, key.arp_tha)];
    if key.nd_options_type == nd_option::TARGET_LINK_LAYER {
        options.reverse();
    }
    for (option_type, mac) in options {
        if mac != [0; 6] || key.nd_options_type == option_type {
            let mut option = NdOption::new_unchecked([0; nd::OPTION_SIZE]);
            option.set_mac(option_type, mac);
            l4.extend(option.into_inner());
        }
    }
    l4
}

/// Writes the checksum into the transport packet `l4`; `src` and `dst` are the IP addresses of the pseudo
/// header. Later fragments and protocols without a checksum are returned as they are.
fn with_checksum(key: &Headers, mut l4: Vec<u8>, src: &[u8], dst: &[u8]) -> Vec<u8> {
    if key.nw_frag & frag::LATER != 0 {
        return l4;
    }
    let (field, has_pseudo_header) = match (key.nw_proto, key.dl_type.get()) {
        (ip_proto::TCP, _) => (tcp::field::CHECKSUM, true),
        (ip_proto::UDP, _) => (udp::field::CHECKSUM, true),
        (ip_proto::ICMPV6, eth_type::IPV6) => (icmp::field::CHECKSUM, true),
        (ip_proto::ICMP | ip_proto::IGMP, eth_type::IPV4) => (icmp::field::CHECKSUM, false),
        (ip_proto::SCTP, _) => {
            SctpPacket::new_unchecked(&mut l4).fill_checksum();
            return l4;
        }
        _ => return l4,
    };
    let mut sum = checksum::sum(&l4);
    if has_pseudo_header {
        let header = checksum::pseudo_header(src, dst, key.nw_proto, l4.len() as u32);
        sum = checksum::add(sum, header);
    }
    let is_udp = key.nw_proto == ip_proto::UDP;
    let checksum = if is_udp { checksum::nonzero(!sum) } else { !sum };
    l4[field].copy_from_slice(&checksum.to_be_bytes());
    l4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::{Arrival, extract, extract_into};
    use crate::key::{HotKey, KeyRef, RareHeaders, Segment, Segments};
    use crate::types::PortNo;
    use proptest::prelude::*;
    use zerocopy::transmute;

    fn addrs() -> impl Strategy<Value = [u8; 32]> {
        any::<[u8; 32]>()
    }

    prop_compose! {
        fn l2()(
            dst: [u8; 6], src: [u8; 6],
            tag in prop_oneof![Just(None), any::<(u16, bool)>().prop_map(Some)],
        ) -> Headers {
            let mut key = Headers { dl_dst: dst, dl_src: src, ..Headers::default() };
            key.dl_type.set(0x9000);
            if let Some((tci, service)) = tag {
                key.vlan_tci.set(tci | VLAN_CFI);
                if service {
                    key.vlan_tpid.set(eth_type::VLAN_8021AD);
                    key.segments = Segment::TAGS.id;
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
        ) -> Headers {
            key.dl_type.set(if v6 { eth_type::IPV6 } else { eth_type::IPV4 });
            (key.nw_tos, key.nw_ttl, key.nw_proto) = (tos, ttl, proto);
            if v6 {
                key.nw_addrs = addrs;
                key.ipv6_label.set(label);
            } else {
                key.nw_addrs[..8].copy_from_slice(&addrs[..8]);
            }
            let segments = if v6 { Segment::IPV6.id } else { Segments::NONE };
            key.segments = key.segments.or(Segments::NETWORK).or(segments);
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
                // Types below 128 are no neighbour discovery, for which there is `nd`.
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
        ) -> Headers {
            key.dl_type.set(eth_type::IPV6);
            let network = Segments::NETWORK.or(Segment::IPV6.id);
            key.segments = key.segments.or(network).or(Segment::ARP.id).or(Segment::ND.id);
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
        ) -> Headers {
            key.dl_type.set(if reverse { eth_type::RARP } else { eth_type::ARP });
            key.segments = key.segments.or(Segments::NETWORK).or(Segment::ARP.id);
            key.nw_proto = op;
            key.arp_sha = sha;
            key.arp_tha = tha;
            key.nw_addrs[..8].copy_from_slice(&a);
            key
        }
    }

    prop_compose! {
        fn mpls_key()(mut key in l2(), n in 1usize..4, lse: [u32; 3], multicast: bool) -> Headers {
            key.dl_type.set(if multicast { eth_type::MPLS_MCAST } else { eth_type::MPLS });
            key.segments = key.segments.or(Segment::MPLS.id);
            for (i, lse) in lse.iter().enumerate().take(n) {
                let bos = if i + 1 == n { 0x100 } else { 0 };
                key.mpls_lse[i].set(lse & !0x100 | bos);
            }
            key
        }
    }

    proptest! {
        #[test]
        fn extracting_a_composed_frame_gives_the_key_again(
            key in prop_oneof![l2(), ip(), nd(), arp_key(), mpls_key()]
        ) {
            let frame = compose(&key);
            let (found, _) = extract(Arrival::default(), &frame, 1);
            prop_assert_eq!(found.headers, key);
        }

        #[test]
        fn extraction_accepts_any_bytes(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (key, layers) = extract(Arrival::on(PortNo(1)), &frame, 2);
            // Extraction must clear what a key held before, here all ones.
            let mut hot: HotKey = transmute!([0xff_u8; size_of::<HotKey>()]);
            let mut rare: RareHeaders = transmute!([0xff_u8; size_of::<RareHeaders>()]);
            let again = extract_into(&mut hot, &mut rare, Arrival::on(PortNo(1)), &frame, 2);
            prop_assert_eq!(KeyRef { hot: &hot, rare: &rare }.join(), key);
            prop_assert_eq!(again, layers);
        }
    }

    #[test]
    fn composed_checksums_convince_an_independent_reader() {
        use pnet_packet::{Packet, ethernet, ipv4, tcp};
        let mut key = Headers::default();
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
