//! Extensible matches: a list of fields with values and masks (OXM, OpenFlow 1.3.5
//! §7.2.3; Nicira's NXM in 1.0).
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

/// Reads the fields of a match up to the end of `input`, and the filter for cookies that Nicira's messages have
/// among the fields.
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
    decode_fields(input, Mode::Strict, matching)
}

/// Reads the fields of the match of a packet-out, as [`decode`], but ignores fields that are not known, and
/// what fields need.
pub(crate) fn decode_of_packet_out(input: Input<'_>) -> Result<Match, ErrorCode> {
    let mut matching = Match::any();
    decode_fields(input, Mode::PacketOut, &mut matching)?;
    Ok(matching)
}

/// What the match is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A rule, or a selection of rules: each field has to be known, and the match has to
    /// have what the field needs.
    Strict,
    /// A packet-out: fields that are not known mean nothing, and the others may not be about
    /// the bytes of the packet.
    PacketOut,
}

/// Whether the value of `size` bytes in front of a mask has no bit that the mask leaves out.
fn is_within_mask(mut entry: Input<'_>, size: usize) -> Result<bool, ErrorCode> {
    let (value, mask) = (entry.take(size)?, entry.take(size)?);
    Ok(value.iter().zip(mask).all(|(value, mask)| value & !mask == 0))
}

/// Whether a packet-out cannot have the field, because the field is about the packet's bytes or about what the
/// tables have found out.
fn is_of_packet(field: FieldId) -> bool {
    use FieldId::*;
    let is_beside = matches!(
        field,
        InPort | InPortOxm | Reg(_) | XReg(_) | XxReg(_) | Metadata | PktMark | TunMetadata(_)
    );
    !is_beside && !FieldId::TUNNEL.contains(&field)
}

fn decode_fields(
    mut input: Input<'_>,
    mode: Mode,
    matching: &mut Match,
) -> Result<Option<CookieFilter>, ErrorCode> {
    let mut builder = MatchBuilder::default();
    let mut cookie = None;
    while !input.is_empty() {
        let header = FieldHeader::decode(&mut input)?;
        let size = header.value_size();
        let mut value = input.part(header.size, ErrorCode::BadMatchLength)?;
        // Open vSwitch checks that before it asks whether there is such a field.
        if header.has_mask && !is_within_mask(value, size)? {
            return Err(ErrorCode::BadWildcards);
        }
        let (class, number, cookie_size) = COOKIE;
        let is_cookie = (header.class, header.number, size) == (class, number, cookie_size);
        if is_cookie && mode == Mode::Strict {
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
        let Some(field) = header.fitting_field() else {
            match mode {
                Mode::Strict => return Err(ErrorCode::BadField),
                Mode::PacketOut => continue,
            }
        };
        let def = field.def();
        let mut next = || field::take_value(&mut value, size, ErrorCode::BadValue);
        let bits = next()?;
        let mask = if header.has_mask { next()? } else { def.whole };
        builder.add(field, bits, mask, mode == Mode::Strict)?;
        if mode == Mode::PacketOut && is_of_packet(field) {
            return Err(ErrorCode::RequestPipelineFieldsOnly);
        }
    }
    builder.build_into(matching);
    Ok(cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_PORT: &[u8] = b"\x80\0\0\x04\0\0\0\x06";

    fn check(behind: &[u8], as_rule: Result<(), ErrorCode>, as_packet_out: Result<(), ErrorCode>) {
        let bytes = [IN_PORT, behind].concat();
        let input = Input::new(&bytes, ErrorCode::BadMatchLength);
        assert_eq!(decode(input).map(|_| ()), as_rule, "{behind:x?}");
        assert_eq!(decode_of_packet_out(input).map(|_| ()), as_packet_out, "{behind:x?}");
    }

    #[test]
    fn a_value_with_bits_outside_its_mask_is_refused_before_the_field_is_looked_for() {
        use ErrorCode::{BadField, BadWildcards};
        // A field that nobody knows, and the metadata with four bytes instead of eight.
        check(b"\x80\0\xb5\x04\0\x01\0\x01", Err(BadField), Ok(()));
        check(b"\x80\0\xb5\x04\0\x01\0\0", Err(BadWildcards), Err(BadWildcards));
        check(b"\x80\0\x05\x08\0\0\0\x01\0\0\0\x01", Err(BadField), Ok(()));
        check(b"\x80\0\x05\x08\0\0\0\x01\0\0\0\0", Err(BadWildcards), Err(BadWildcards));
    }

    #[test]
    fn a_byte_behind_value_and_mask_means_nothing() {
        check(b"\0\x01\x01\x09\0\0\0\x01\0\0\0\x01\x07", Ok(()), Ok(()));
    }

    #[test]
    fn packet_outs_have_no_field_of_the_packet_even_with_an_empty_mask() {
        let only = Err(ErrorCode::RequestPipelineFieldsOnly);
        check(&[&b"\x80\0\x09\x0c"[..], &[0; 12]].concat(), Ok(()), only);
        check(&[&b"\0\x01\xd3\x08"[..], &[0; 8]].concat(), Ok(()), only);
        check(&[&b"\x80\0\x05\x10"[..], &[0; 16]].concat(), Ok(()), Ok(()));
    }
}
