//! Prints packets: every field that a packet of its kind has.

use super::{put, write_match};
use crate::extract::{Arrival, extract};
use crate::fields::FieldId;
use crate::key::{Headers, PipelineKey, PipelineMask, frag};
use crate::matching::Match;
use crate::text::{DEFAULT_PRIORITY, NoPortNames, PortNames};
use crate::types::PortNo;
use packet::wire::{MplsEntry, eth_type, ip_proto};
use std::fmt::Write;

/// Writes all fields of a packet: `tcp,in_port=1,vlan_tci=0x0000,dl_src=...`. Metadata,
/// registers and what is known of a tunnel are written if they are not zero.
pub fn write_packet(out: &mut String, packet: &PipelineKey, names: &dyn PortNames) {
    let mut mask = PipelineMask::default();
    let state = FieldId::all().filter(|field| is_state(*field) && field.says_something(packet));
    for field in packet_fields(&packet.headers).into_iter().chain(state) {
        field.set_mask(&mut mask, field.full_mask());
    }
    mask_inner_headers(&packet.headers, &mut mask.bits.headers);
    write_match(out, &Match::new(packet, &mask), DEFAULT_PRIORITY, names);
}

/// Marks what extraction reads of a packet, and no rule can match: the tag behind the outer one, and the labels
/// behind the outermost one, up to the one that says that it is the last.
pub fn mask_inner_headers(packet: &Headers, mask: &mut Headers) {
    if packet.vlan_tci.get() != 0 {
        mask.vlan2_tci.set(u16::MAX);
    }
    if eth_type::is_mpls(packet.dl_type.get()) {
        let is_last = |lse: u32| MplsEntry::new_unchecked(lse.to_be_bytes()).is_bottom();
        let above = packet.mpls_lse.iter().position(|lse| is_last(lse.get()));
        let count = above.map_or(packet.mpls_lse.len(), |last| last + 1);
        mask.mpls_lse.iter_mut().take(count).skip(1).for_each(|entry| entry.set(u32::MAX));
    }
}

/// Whether a field is kept beside the packet's bytes. Registers count under their 32-bit names only, not as
/// parts of `xreg` and `xxreg`.
fn is_state(field: FieldId) -> bool {
    field.is_of_tunnel()
        || matches!(field, FieldId::Metadata | FieldId::PktMark | FieldId::ConjId | FieldId::Reg(_))
}

/// The fields that a packet of this kind has.
pub fn packet_fields(flow: &Headers) -> Vec<FieldId> {
    use FieldId::*;
    let mut fields = vec![InPort, EthSrc, EthDst, EthType, VlanTci];
    match flow.dl_type.get() {
        eth_type::IPV4 => fields.extend([Ipv4Src, Ipv4Dst]),
        eth_type::IPV6 => fields.extend([Ipv6Src, Ipv6Dst, Ipv6Label]),
        eth_type::ARP | eth_type::RARP => {
            fields.extend([ArpSpa, ArpTpa, ArpOp, ArpSha, ArpTha]);
        }
        t if eth_type::is_mpls(t) => fields.extend([MplsLabel, MplsTc, MplsBos, MplsTtl]),
        _ => {}
    }
    if matches!(flow.dl_type.get(), eth_type::IPV4 | eth_type::IPV6) {
        fields.extend([IpProto, NwTos, IpEcn, IpTtl, IpFrag]);
        match flow.nw_proto {
            // The transport header is in the first fragment.
            _ if flow.nw_frag & frag::LATER != 0 => {}
            ip_proto::TCP => fields.extend([TcpSrc, TcpDst, TcpFlags]),
            ip_proto::UDP => fields.extend([UdpSrc, UdpDst]),
            ip_proto::SCTP => fields.extend([SctpSrc, SctpDst]),
            ip_proto::ICMP => fields.extend([IcmpType, IcmpCode]),
            ip_proto::ICMPV6 => {
                fields.extend([Icmpv6Type, Icmpv6Code]);
                match flow.tp_src.get() {
                    135 => fields.extend([NdTarget, NdSll]),
                    136 => fields.extend([NdTarget, NdTll]),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    fields
}

/// How many VLAN tags of a frame [`write_frame`] reads.
const VLAN_LIMIT: u8 = 2;

/// Writes the headers of a frame as `ovs-ofctl` shows packets in messages: `tcp,vlan_tci=0x0000,dl_src=...`,
/// and behind the fields the checksum of the transport header: ` tcp_csum:abcd`.
pub fn write_frame(out: &mut String, frame: &[u8]) {
    let (key, layers) = extract(Arrival::on(PortNo(0)), frame, VLAN_LIMIT);
    let headers = &key.headers;
    let packet = PipelineKey { headers: *headers, ..PipelineKey::default() };
    let mut mask = PipelineMask::default();
    for field in packet_fields(headers).into_iter().filter(|field| *field != FieldId::InPort) {
        field.set_mask(&mut mask, field.full_mask());
    }
    let is_ip = matches!(headers.dl_type.get(), eth_type::IPV4 | eth_type::IPV6);
    let has_transport = is_ip && headers.nw_frag & frag::LATER == 0;
    if has_transport
        && headers.nw_proto == ip_proto::ICMPV6
        && matches!(headers.tp_src.get(), 135 | 136)
    {
        // Open vSwitch keeps both link-layer addresses of neighbour discovery, of which a packet has one.
        for field in [FieldId::NdSll, FieldId::NdTll] {
            field.set_mask(&mut mask, field.full_mask());
        }
    }
    mask_inner_headers(headers, &mut mask.bits.headers);
    write_match(out, &Match::new(&packet, &mask), DEFAULT_PRIORITY, &NoPortNames);
    // A later fragment has the checksum at the place of its payload, as Open vSwitch reads it.
    if !is_ip || layers.l4 == 0 {
        return;
    }
    let (name, at, size) = match (headers.dl_type.get(), headers.nw_proto) {
        (_, ip_proto::TCP) => ("tcp", 16, 20),
        (_, ip_proto::UDP) => ("udp", 6, 8),
        (_, ip_proto::SCTP) => ("sctp", 8, 12),
        (eth_type::IPV4, ip_proto::ICMP) => ("icmp", 2, 4),
        (eth_type::IPV6, ip_proto::ICMPV6) => ("icmp6", 2, 4),
        _ => return,
    };
    let Some(header) = frame.get(usize::from(layers.l4)..).filter(|rest| rest.len() >= size) else {
        return;
    };
    let checksum = match name {
        "sctp" => header[at..at + 4].iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)),
        _ => u32::from(u16::from_be_bytes([header[at], header[at + 1]])),
    };
    put!(out, " {name}_csum:{checksum:x}");
}
