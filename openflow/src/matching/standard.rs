//! The matches of fixed size of OpenFlow 1.0 (`ofp_match`, §5.2.3) and 1.1 (`ofp_match`, §A.2.3).
//!
//! A match that such a structure cannot express loses what it cannot express, as in Open vSwitch.

use super::builder::MatchBuilder;
use crate::error::ErrorCode;
use crate::input::Input;
use crate::output::Encoder;
use crate::port;
use flow::Match;
use flow::fields::FieldId;
use flow::key::{Headers, VLAN_CFI, VLAN_PCP_MASK, VLAN_VID_MASK};
use flow::prerequisite::Prerequisite;
use packet::wire::{eth_type, ip_proto};

/// Size in bytes of the match of OpenFlow 1.1, with the type and the length in front.
pub(super) const SIZE_11: usize = 88;

/// `dl_vlan` of a match of frames without a tag.
const NO_TAG: u16 = 0xffff;
/// `dl_vlan` of a match of frames with any tag, in 1.1.
const ANY_TAG: u16 = 0xfffe;
/// The bits of `nw_tos` that a match looks at.
const DSCP: u8 = 0xfc;
/// Shift that takes a priority to its place in a tag.
const PCP_SHIFT: u32 = 13;

/// The bits of `wildcards` in 1.0.
mod wild10 {
    pub(super) const IN_PORT: u32 = 1;
    pub(super) const DL_VLAN: u32 = 1 << 1;
    pub(super) const DL_SRC: u32 = 1 << 2;
    pub(super) const DL_DST: u32 = 1 << 3;
    pub(super) const DL_TYPE: u32 = 1 << 4;
    pub(super) const NW_PROTO: u32 = 1 << 5;
    pub(super) const TP_SRC: u32 = 1 << 6;
    pub(super) const TP_DST: u32 = 1 << 7;
    /// Six bits: how many of the lowest bits of the address may be anything; all of them from 32 on.
    pub(super) const NW_SRC_SHIFT: u32 = 8;
    pub(super) const NW_DST_SHIFT: u32 = 14;
    pub(super) const DL_VLAN_PCP: u32 = 1 << 20;
    pub(super) const NW_TOS: u32 = 1 << 21;
    pub(super) const ALL: u32 = (1 << 22) - 1;
}

/// The bits of `wildcards` in 1.1.
mod wild11 {
    pub(super) const IN_PORT: u32 = 1;
    pub(super) const DL_VLAN: u32 = 1 << 1;
    pub(super) const DL_VLAN_PCP: u32 = 1 << 2;
    pub(super) const DL_TYPE: u32 = 1 << 3;
    pub(super) const NW_TOS: u32 = 1 << 4;
    pub(super) const NW_PROTO: u32 = 1 << 5;
    pub(super) const TP_SRC: u32 = 1 << 6;
    pub(super) const TP_DST: u32 = 1 << 7;
    pub(super) const MPLS_LABEL: u32 = 1 << 8;
    pub(super) const MPLS_TC: u32 = 1 << 9;
    pub(super) const ALL: u32 = (1 << 10) - 1;
}

/// The fields that both structures have, apart from addresses and tags.
struct Common {
    dl_type: Option<u16>,
    nw_tos: Option<u8>,
    nw_proto: Option<u8>,
    tp_src: Option<u16>,
    tp_dst: Option<u16>,
    /// The IPv4 or ARP addresses with their masks.
    nw_src: (u32, u32),
    nw_dst: (u32, u32),
}

impl Common {
    /// Checks what OpenFlow 1.1 says of IPv4, as Open vSwitch does, and forgets the fields of IPv6, which
    /// OpenFlow 1.1 does not know.
    fn check_11(&mut self) -> Result<(), ErrorCode> {
        match self.dl_type {
            Some(eth_type::IPV4) => {
                if self.nw_tos.is_some_and(|tos| tos & !DSCP != 0) {
                    return Err(ErrorCode::BadValue);
                }
                let has_icmp_numbers = self.nw_proto == Some(ip_proto::ICMP);
                let is_wide = |number: Option<u16>| number.is_some_and(|number| number > 0xff);
                if has_icmp_numbers && (is_wide(self.tp_src) || is_wide(self.tp_dst)) {
                    return Err(ErrorCode::BadField);
                }
            }
            Some(eth_type::IPV6) => (self.nw_tos, self.nw_proto) = (None, None),
            _ => {}
        }
        Ok(())
    }

    /// Adds the fields for which the match has what they need. Those in a packet that has no such header are
    /// left out, as Open vSwitch does.
    fn add_to(&self, builder: &mut MatchBuilder) {
        use FieldId::*;
        let full = u128::MAX;
        if let Some(dl_type) = self.dl_type {
            builder.set(EthType, dl_type.into(), full);
        }
        let has = |builder: &MatchBuilder, prerequisite: Prerequisite| {
            prerequisite.implied_by(&builder.key, &builder.mask)
        };
        let is_arp = has(builder, Prerequisite::Arp);
        if let Some(proto) = self.nw_proto
            && (is_arp || has(builder, Prerequisite::Ip))
        {
            builder.set(if is_arp { ArpOp } else { IpProto }, proto.into(), full);
        }
        if let Some(tos) = self.nw_tos
            && has(builder, Prerequisite::Ip)
        {
            builder.set(NwTos, (tos & DSCP).into(), DSCP.into());
        }
        if is_arp || has(builder, Prerequisite::Ipv4) {
            let ((src, src_mask), (dst, dst_mask)) = (self.nw_src, self.nw_dst);
            builder.set(Ipv4Src, (src & src_mask).into(), src_mask.into());
            builder.set(Ipv4Dst, (dst & dst_mask).into(), dst_mask.into());
        }
        let transports = [Prerequisite::Tcp, Prerequisite::Udp, Prerequisite::Sctp];
        let (src, dst) = if transports.iter().any(|p| has(builder, *p)) {
            (TcpSrc, TcpDst)
        } else if has(builder, Prerequisite::Icmpv4) || has(builder, Prerequisite::Icmpv6) {
            (IcmpType, IcmpCode)
        } else {
            return;
        };
        if let Some(port) = self.tp_src {
            builder.set(src, port.into(), full);
        }
        if let Some(port) = self.tp_dst {
            builder.set(dst, port.into(), full);
        }
    }
}

/// Whether the match of OpenFlow 1.0 that comes next leaves out no field and no bit.
pub(super) fn is_exact_10(mut input: Input<'_>) -> bool {
    input.u32().is_ok_and(|wildcards| wildcards & wild10::ALL == 0)
}

/// Reads the match of OpenFlow 1.0.
pub(super) fn decode_10(input: &mut Input<'_>) -> Result<Match, ErrorCode> {
    let wildcards = input.u32()?;
    let (in_port, dl_src, dl_dst) = (input.u16()?, input.integer(6)?, input.integer(6)?);
    let (dl_vlan, pcp) = (input.u16()?, input.u8()?);
    input.skip(1)?;
    let (dl_type, nw_tos, nw_proto) = (input.u16()?, input.u8()?, input.u8()?);
    input.skip(2)?;
    let (nw_src, nw_dst, tp_src, tp_dst) = (input.u32()?, input.u32()?, input.u16()?, input.u16()?);
    let is_set = |bit: u32| wildcards & bit == 0;
    let mut builder = MatchBuilder::default();
    if is_set(wild10::IN_PORT) {
        builder.set(FieldId::InPort, in_port.into(), u128::MAX);
    }
    if is_set(wild10::DL_SRC) {
        builder.set(FieldId::EthSrc, dl_src, u128::MAX);
    }
    if is_set(wild10::DL_DST) {
        builder.set(FieldId::EthDst, dl_dst, u128::MAX);
    }
    match (is_set(wild10::DL_VLAN), is_set(wild10::DL_VLAN_PCP)) {
        (false, false) => {}
        (true, _) if dl_vlan == NO_TAG => builder.set_tci(0, u16::MAX),
        (has_vid, has_pcp) => {
            let mask = VLAN_CFI
                | if has_vid { VLAN_VID_MASK } else { 0 }
                | if has_pcp { VLAN_PCP_MASK } else { 0 };
            let tci = VLAN_CFI | dl_vlan & VLAN_VID_MASK | u16::from(pcp) << PCP_SHIFT;
            builder.set_tci(tci & mask, mask);
        }
    }
    let address = |address: u32, shift: u32| {
        let wild = wildcards >> shift & 0x3f;
        (address, u32::MAX.checked_shl(wild).unwrap_or(0))
    };
    let common = Common {
        dl_type: is_set(wild10::DL_TYPE).then_some(dl_type),
        nw_tos: is_set(wild10::NW_TOS).then_some(nw_tos),
        nw_proto: is_set(wild10::NW_PROTO).then_some(nw_proto),
        tp_src: is_set(wild10::TP_SRC).then_some(tp_src),
        tp_dst: is_set(wild10::TP_DST).then_some(tp_dst),
        nw_src: address(nw_src, wild10::NW_SRC_SHIFT),
        nw_dst: address(nw_dst, wild10::NW_DST_SHIFT),
    };
    common.add_to(&mut builder);
    Ok(builder.build())
}

/// Writes the match of OpenFlow 1.0.
pub(super) fn put_10(out: &mut Encoder, matching: &Match) {
    let (key, mask) = (matching.key(), matching.mask());
    let (head, bits) = (&key.headers, &mask.bits.headers);
    let mut wildcards = 0;
    let mut wild_unless = |is_matched: bool, bit: u32| {
        if !is_matched {
            wildcards |= bit;
        }
    };
    let field_is_matched = |field: FieldId| field.get_mask(mask) != 0;
    wild_unless(field_is_matched(FieldId::InPort), wild10::IN_PORT);
    wild_unless(field_is_matched(FieldId::EthSrc), wild10::DL_SRC);
    wild_unless(field_is_matched(FieldId::EthDst), wild10::DL_DST);
    wild_unless(field_is_matched(FieldId::EthType), wild10::DL_TYPE);
    wild_unless(bits.nw_proto != 0, wild10::NW_PROTO);
    wild_unless(bits.nw_tos & DSCP != 0, wild10::NW_TOS);
    wild_unless(bits.tp_src.get() != 0, wild10::TP_SRC);
    wild_unless(bits.tp_dst.get() != 0, wild10::TP_DST);
    let (tci, tci_mask) = (head.vlan_tci.get(), bits.vlan_tci.get());
    let (mut dl_vlan, mut pcp) = (0, 0);
    if tci_mask & VLAN_CFI != 0 && tci & VLAN_CFI == 0 {
        dl_vlan = NO_TAG;
    } else {
        wild_unless(tci_mask & VLAN_VID_MASK != 0, wild10::DL_VLAN);
        wild_unless(tci_mask & VLAN_PCP_MASK != 0, wild10::DL_VLAN_PCP);
        dl_vlan |= tci & tci_mask & VLAN_VID_MASK;
        pcp |= (tci & tci_mask) >> PCP_SHIFT;
    }
    let (src, dst) = ipv4_addresses(matching);
    let wild_bits = |(_, mask): (u32, u32)| mask.trailing_zeros();
    wildcards |= wild_bits(src) << wild10::NW_SRC_SHIFT | wild_bits(dst) << wild10::NW_DST_SHIFT;
    out.u32(wildcards);
    out.u16(key.in_port.get().0);
    out.bytes(&head.dl_src);
    out.bytes(&head.dl_dst);
    out.u16(dl_vlan);
    out.u8(pcp as u8);
    out.zeros(1);
    out.u16(head.dl_type.get());
    out.u8(head.nw_tos & DSCP);
    out.u8(head.nw_proto);
    out.zeros(2);
    out.u32(src.0);
    out.u32(dst.0);
    out.u16(head.tp_src.get());
    out.u16(head.tp_dst.get());
}

/// The IPv4 or ARP addresses of a match with their masks; all zeros in matches of other packets.
fn ipv4_addresses(matching: &Match) -> ((u32, u32), (u32, u32)) {
    if !matching.implies(Prerequisite::Ipv4) && !matching.implies(Prerequisite::Arp) {
        return ((0, 0), (0, 0));
    }
    let get = |field: FieldId| {
        (field.read(matching.key()) as u32, field.get_mask(matching.mask()) as u32)
    };
    (get(FieldId::Ipv4Src), get(FieldId::Ipv4Dst))
}

/// Reads the match of OpenFlow 1.1 behind its type and its length.
pub(super) fn decode_11(input: &mut Input<'_>) -> Result<Match, ErrorCode> {
    let (in_port, wildcards) = (input.u32()?, input.u32()?);
    let macs = [input.integer(6)?, input.integer(6)?, input.integer(6)?, input.integer(6)?];
    let (dl_vlan, pcp) = (input.u16()?, input.u8()?);
    input.skip(1)?;
    let (dl_type, nw_tos, nw_proto) = (input.u16()?, input.u8()?, input.u8()?);
    let addresses = [input.u32()?, input.u32()?, input.u32()?, input.u32()?];
    let (tp_src, tp_dst, mpls_label) = (input.u16()?, input.u16()?, input.u32()?);
    let mpls_tc = input.u8()?;
    input.skip(3)?;
    let (metadata, metadata_mask) = (input.u64()?, !input.u64()?);
    let is_set = |bit: u32| wildcards & bit == 0;
    let mut builder = MatchBuilder::default();
    if is_set(wild11::IN_PORT) {
        let port = port::decode_32(in_port, ErrorCode::BadValue)?;
        builder.set(FieldId::InPort, port.0.into(), u128::MAX);
    }
    for (field, value, wild) in [(FieldId::EthSrc, 0, 1), (FieldId::EthDst, 2, 3)]
        .map(|(field, value, wild)| (field, macs[value], macs[wild]))
    {
        let mask = !wild & field.full_mask();
        builder.set(field, value & mask, mask);
    }
    if is_set(wild11::DL_VLAN) {
        let (mut tci, mut mask) = match dl_vlan {
            NO_TAG => (0, u16::MAX),
            ANY_TAG => (VLAN_CFI, VLAN_CFI),
            vid if vid <= VLAN_VID_MASK => (VLAN_CFI | vid, VLAN_CFI | VLAN_VID_MASK),
            _ => return Err(ErrorCode::BadValue),
        };
        if is_set(wild11::DL_VLAN_PCP) && dl_vlan != NO_TAG {
            if pcp > 7 {
                return Err(ErrorCode::BadValue);
            }
            (tci, mask) = (tci | u16::from(pcp) << PCP_SHIFT, mask | VLAN_PCP_MASK);
        }
        builder.set_tci(tci, mask);
    }
    let mut common = Common {
        dl_type: is_set(wild11::DL_TYPE).then_some(dl_type),
        nw_tos: is_set(wild11::NW_TOS).then_some(nw_tos),
        nw_proto: is_set(wild11::NW_PROTO).then_some(nw_proto),
        tp_src: is_set(wild11::TP_SRC).then_some(tp_src),
        tp_dst: is_set(wild11::TP_DST).then_some(tp_dst),
        nw_src: (addresses[0], !addresses[1]),
        nw_dst: (addresses[2], !addresses[3]),
    };
    common.check_11()?;
    common.add_to(&mut builder);
    if Prerequisite::Mpls.implied_by(&builder.key, &builder.mask) {
        if is_set(wild11::MPLS_LABEL) {
            let field = FieldId::MplsLabel;
            builder.set(field, u128::from(mpls_label) & field.full_mask(), field.full_mask());
        }
        if is_set(wild11::MPLS_TC) {
            let field = FieldId::MplsTc;
            builder.set(field, u128::from(mpls_tc) & field.full_mask(), field.full_mask());
        }
    }
    let mask = u128::from(metadata_mask);
    builder.set(FieldId::Metadata, u128::from(metadata) & mask, mask);
    Ok(builder.build())
}

/// Writes the match of OpenFlow 1.1 behind its type and its length.
pub(super) fn put_11(out: &mut Encoder, matching: &Match) {
    let (key, mask) = (matching.key(), matching.mask());
    let (head, bits) = (&key.headers, &mask.bits.headers);
    let mut wildcards = wild11::ALL;
    let mut matched = |is_matched: bool, bit: u32| {
        if is_matched {
            wildcards &= !bit;
        }
    };
    matched(FieldId::InPort.get_mask(mask) != 0, wild11::IN_PORT);
    matched(bits.dl_type.get() != 0, wild11::DL_TYPE);
    let (tci, tci_mask) = (head.vlan_tci.get(), bits.vlan_tci.get());
    let (mut dl_vlan, mut pcp) = (0, 0);
    if tci_mask & VLAN_CFI != 0 && tci & VLAN_CFI == 0 {
        dl_vlan = NO_TAG;
        matched(true, wild11::DL_VLAN);
    } else if tci_mask != 0 {
        let has_vid = tci_mask & VLAN_VID_MASK != 0;
        dl_vlan = if has_vid { tci & VLAN_VID_MASK } else { ANY_TAG };
        matched(true, wild11::DL_VLAN);
        matched(tci_mask & VLAN_PCP_MASK != 0, wild11::DL_VLAN_PCP);
        pcp = (tci & tci_mask) >> PCP_SHIFT;
    }
    matched(bits.nw_tos & DSCP != 0, wild11::NW_TOS);
    matched(bits.nw_proto != 0, wild11::NW_PROTO);
    matched(bits.tp_src.get() != 0, wild11::TP_SRC);
    matched(bits.tp_dst.get() != 0, wild11::TP_DST);
    let is_mpls = matching.implies(Prerequisite::Mpls);
    let mpls = |field: FieldId| match is_mpls {
        true => (field.read(key) as u32, field.get_mask(mask) != 0),
        false => (0, false),
    };
    let ((label, has_label), (tc, has_tc)) = (mpls(FieldId::MplsLabel), mpls(FieldId::MplsTc));
    matched(has_label, wild11::MPLS_LABEL);
    matched(has_tc, wild11::MPLS_TC);
    let in_port = FieldId::InPort.get_mask(mask) != 0;
    out.u32(if in_port { port::encode_32(key.in_port.get()) } else { 0 });
    out.u32(wildcards);
    put_mac(out, &head.dl_src, &bits.dl_src);
    put_mac(out, &head.dl_dst, &bits.dl_dst);
    out.u16(dl_vlan);
    out.u8(pcp as u8);
    out.zeros(1);
    out.u16(head.dl_type.get());
    out.u8(head.nw_tos & DSCP);
    out.u8(head.nw_proto);
    let (src, dst) = ipv4_addresses(matching);
    for (address, mask) in [src, dst] {
        out.u32(address);
        out.u32(!mask);
    }
    put_ports(out, head);
    out.u32(label);
    out.u8(tc as u8);
    out.zeros(3);
    out.u64(key.metadata.get());
    out.u64(!mask.bits.metadata.get());
}

fn put_mac(out: &mut Encoder, mac: &[u8; 6], mask: &[u8; 6]) {
    out.bytes(mac);
    out.bytes(&mask.map(|byte| !byte));
}

fn put_ports(out: &mut Encoder, head: &Headers) {
    out.u16(head.tp_src.get());
    out.u16(head.tp_dst.get());
}
