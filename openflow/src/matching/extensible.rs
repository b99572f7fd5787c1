//! Extensible matches: a list of fields with values and masks (OXM, OpenFlow 1.3.5 §7.2.3; Nicira's NXM in 1.0).
//!
//! The order of the fields is the one in which Open vSwitch writes them.

use super::builder::MatchBuilder;
use super::field::{self, FieldHeader};
use crate::error::ErrorCode;
use crate::input::Input;
use crate::output::Encoder;
use flow::Match;
use flow::fields::FieldId;
use flow::key::{FLOW_WORDS, Segment, VLAN_CFI, VLAN_PCP_MASK, VLAN_VID_MASK};
use flow::prerequisite::Prerequisite;
use flow::types::{Cookie, OfVersion};

/// The cookie in extensible matches of Nicira's messages (`NXM_NX_COOKIE`): class, number and size.
const COOKIE: (u16, u8, usize) = (1, 30, 8);
/// The type of packets (`OXM_OF_PACKET_TYPE`): class, number and size.
const PACKET_TYPE: (u16, u8, usize) = (0x8000, 44, 4);
/// The type of Ethernet frames, the only packets of this switch.
const ETHERNET: u32 = 0;

/// The value and the mask of a filter for cookies.
pub(crate) type CookieFilter = (Cookie, Cookie);

/// Writes the fields of a match, without padding. [`OfVersion::OpenFlow10`] stands for Nicira's form.
pub(crate) fn put(
    out: &mut Encoder,
    matching: &Match,
    version: OfVersion,
    cookie: Option<CookieFilter>,
) {
    let mut fields = Fields { out, matching, version };
    fields.put_all();
    if let Some((Cookie(value), Cookie(mask))) = cookie {
        let (class, number, size) = COOKIE;
        let has_mask = mask != u64::MAX;
        out.u16(class);
        out.u8(number << 1 | u8::from(has_mask));
        out.u8((size << u8::from(has_mask)) as u8);
        out.u64(value & mask);
        if has_mask {
            out.u64(mask);
        }
    }
}

struct Fields<'a> {
    out: &'a mut Encoder,
    matching: &'a Match,
    version: OfVersion,
}

impl Fields<'_> {
    fn put_all(&mut self) {
        use FieldId::*;
        let is_oxm = self.version > OfVersion::OpenFlow10;
        self.put(ConjId);
        self.put(if is_oxm { InPortOxm } else { InPort });
        [ActsetOutput, EthSrc, EthDst, EthType].into_iter().for_each(|field| self.put(field));
        if is_oxm {
            self.put_tag()
        } else {
            self.put(VlanTci)
        }
        for field in [MplsTc, MplsBos, MplsTtl, MplsLabel] {
            self.put_if(Prerequisite::Mpls, field);
        }
        if self.matching.implies(Prerequisite::Ip) {
            self.put_ip(is_oxm);
        } else if self.matching.implies(Prerequisite::Arp) {
            [ArpOp, ArpSpa, ArpTpa, ArpSha, ArpTha].into_iter().for_each(|field| self.put(field));
        }
        // Most matches have none of these dozens of fields.
        let mask = self.matching.mask();
        // The words of connections and of tunnels are the last ones of a frame.
        let has_tunnel_or_connection =
            mask.words()[Segment::CT.start..FLOW_WORDS].iter().any(|word| *word != 0);
        let has_registers = mask.bits.regs.iter().any(|reg| reg.get() != 0);
        if has_tunnel_or_connection {
            [TunId, TunFlags, TunSrc, TunDst, TunIpv6Src, TunIpv6Dst, TunGbpId, TunGbpFlags]
                .into_iter()
                .for_each(|field| self.put(field));
            self.put_options();
        }
        if has_registers && self.version < OfVersion::OpenFlow15 {
            (0..32).for_each(|n| self.put(Reg(n)));
        } else if has_registers {
            (0..16).for_each(|n| self.put(XReg(n)));
        }
        self.put(PktMark);
        if has_tunnel_or_connection {
            [CtState, CtZone, CtMark, CtLabel].into_iter().for_each(|field| self.put(field));
            [CtNwSrc, CtIpv6Src, CtNwDst, CtIpv6Dst, CtNwProto, CtTpSrc, CtTpDst]
                .into_iter()
                .for_each(|field| self.put(field));
        }
        self.put(Metadata);
    }

    fn put_ip(&mut self, is_oxm: bool) {
        use FieldId::*;
        let (src, dst) = match self.matching.implies(Prerequisite::Ipv4) {
            true => (Ipv4Src, Ipv4Dst),
            false => (Ipv6Src, Ipv6Dst),
        };
        [src, dst, IpFrag, if is_oxm { IpDscp } else { NwTos }, IpEcn, IpTtl]
            .into_iter()
            .for_each(|field| self.put(field));
        self.put_if(Prerequisite::Ipv6, Ipv6Label);
        self.put(IpProto);
        let by_protocol = [
            (Prerequisite::Tcp, &[TcpSrc, TcpDst, TcpFlags][..]),
            (Prerequisite::Udp, &[UdpSrc, UdpDst]),
            (Prerequisite::Sctp, &[SctpSrc, SctpDst]),
            (Prerequisite::Icmpv4, &[IcmpType, IcmpCode]),
            (Prerequisite::Icmpv6, &[Icmpv6Type, Icmpv6Code]),
            (Prerequisite::Nd, &[NdTarget, NdReserved, NdOptionsType]),
            (Prerequisite::NdSolicit, &[NdSll]),
            (Prerequisite::NdAdvert, &[NdTll]),
        ];
        for (prerequisite, fields) in by_protocol {
            fields.iter().for_each(|field| self.put_if(prerequisite, *field));
        }
    }

    fn put_tag(&mut self) {
        let tci = self.matching.key().headers.vlan_tci.get();
        let mask = self.matching.mask().bits.headers.vlan_tci.get();
        const ID: u16 = VLAN_VID_MASK | VLAN_CFI;
        if mask & ID != 0 {
            let (value, mask) = (u128::from(tci & mask & ID), u128::from(mask & ID));
            field::put(self.out, FieldId::VlanVid, self.version, value, mask);
        }
        if tci & ID != 0 && mask & VLAN_PCP_MASK != 0 {
            self.put_whole(FieldId::VlanPcp);
        }
    }

    fn put_if(&mut self, prerequisite: Prerequisite, field: FieldId) {
        if self.matching.implies(prerequisite) {
            self.put(field);
        }
    }

    /// Writes a field, if the match looks at any bit of the field.
    fn put(&mut self, field: FieldId) {
        let mask = field.get_mask(self.matching.mask());
        if mask == 0 {
            return;
        }
        if field.def().maskable {
            let value = field.read(self.matching.key()) & mask;
            field::put(self.out, field, self.version, value, mask);
        } else {
            self.put_whole(field);
        }
    }

    /// Writes the options that the match wants; one whose value does not matter has a mask of zeros.
    fn put_options(&mut self) {
        let (key, mask) = (self.matching.key(), self.matching.mask());
        let wanted = key.headers.tun_options.get() & mask.bits.headers.tun_options.get();
        for field in FieldId::options_in(wanted) {
            let mask = field.get_mask(mask);
            field::put(self.out, field, self.version, field.read(key) & mask, mask);
        }
    }

    fn put_whole(&mut self, field: FieldId) {
        let value = field.read(self.matching.key());
        field::put(self.out, field, self.version, value, field.full_mask());
    }
}

/// Reads the fields of a match up to the end of `input`, and the filter for cookies that Nicira's messages have among
/// the fields.
pub(crate) fn decode(input: Input<'_>) -> Result<(Match, Option<CookieFilter>), ErrorCode> {
    let mut matching = Match::any();
    let cookie = decode_into(input, &mut matching)?;
    Ok((matching, cookie))
}

/// As [`decode`], into a match that is there already.
pub(crate) fn decode_into(
    input: Input<'_>,
    matching: &mut Match,
) -> Result<Option<CookieFilter>, ErrorCode> {
    decode_fields(input, true, matching)
}

/// As [`decode`], but ignores fields that are not known, and what fields need.
pub(crate) fn decode_loosely(input: Input<'_>) -> Result<Match, ErrorCode> {
    let mut matching = Match::any();
    decode_fields(input, false, &mut matching)?;
    Ok(matching)
}

fn decode_fields(
    mut input: Input<'_>,
    is_strict: bool,
    matching: &mut Match,
) -> Result<Option<CookieFilter>, ErrorCode> {
    let mut builder = MatchBuilder::default();
    let mut cookie = None;
    while !input.is_empty() {
        let header = FieldHeader::decode(&mut input)?;
        let size = header.size >> u8::from(header.has_mask);
        let mut value = input.part(header.size, ErrorCode::BadMatchLength)?;
        let (class, number, cookie_size) = COOKIE;
        if (header.class, header.number, size) == (class, number, cookie_size) {
            let (bits, mask) =
                (value.u64()?, if header.has_mask { value.u64()? } else { u64::MAX });
            if cookie.replace((Cookie(bits), Cookie(mask))).is_some() {
                return Err(ErrorCode::DuplicateField);
            }
            continue;
        }
        // ovs-ofctl names the type where a match had a field without what the field needs.
        if (header.class, header.number, header.size) == PACKET_TYPE && value.u32()? == ETHERNET {
            continue;
        }
        // The length is part of what names a field.
        let field = header.field.filter(|field| {
            let is_size = field.is_option() || size == field.def().wire_len();
            is_size && size << u8::from(header.has_mask) == header.size
        });
        let Some(field) = field else {
            if is_strict {
                return Err(ErrorCode::BadField);
            }
            continue;
        };
        let def = field.def();
        let mut next = || field::take_value(&mut value, size, ErrorCode::BadValue);
        let bits = next()?;
        let mask = if header.has_mask { next()? } else { def.whole };
        builder.add(field, bits, mask, is_strict)?;
    }
    builder.build_into(matching);
    Ok(cookie)
}
