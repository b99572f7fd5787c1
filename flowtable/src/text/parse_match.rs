//! Collects the fields of a match.
//!
//! Strictly: a field twice, two fields that contradict each other, and a field whose header the
//! match does not ask for are errors. Leniently, as Open vSwitch does: the last one wins, and what
//! lacks its header is dropped without a word.

use super::error::{Fault, TextError};
use super::protocol::Protocols;
use super::value::Masked;
use crate::action::Subfield;
use crate::flow::fields::{FieldId, ones};
use crate::flow::key::{FlowKey, PipelineKey, PipelineMask, VLAN_CFI, frag};
use crate::flow::matching::Match;
use crate::flow::prerequisite::Prerequisite;
use arrayvec::ArrayVec;

/// Fields that one match can name; there are fewer that do not contradict each other.
const MAX_FIELDS: usize = 64;

/// `dl_vlan=0xffff`: no tag (OpenFlow 1.0 `OFP_VLAN_NONE`).
const DL_VLAN_NONE: u128 = 0xffff;

/// A field as the user named it.
#[derive(Clone, Copy)]
struct Seen<'a> {
    field: FieldId,
    name: &'a str,
    whole: &'a str,
    is_part: bool,
}

/// A match under construction. IPv6 addresses wait beside the key, where they would overlap with
/// IPv4 ones; which of them count is known at the end.
pub(super) struct MatchBuilder<'a> {
    text: &'a str,
    lenient: bool,
    key: PipelineKey,
    mask: PipelineMask,
    ipv6_key: [u128; 2],
    ipv6_mask: [u128; 2],
    seen: ArrayVec<Seen<'a>, MAX_FIELDS>,
    usable: Protocols,
}

impl<'a> MatchBuilder<'a> {
    /// `text` is what error messages are about.
    pub(super) fn new(text: &'a str, lenient: bool) -> Self {
        Self {
            text,
            lenient,
            key: PipelineKey::default(),
            mask: PipelineMask::default(),
            ipv6_key: [0; 2],
            ipv6_mask: [0; 2],
            seen: ArrayVec::new(),
            usable: Protocols::ANY,
        }
    }

    fn error(&self, part: &str, fault: impl Into<Fault>) -> TextError {
        TextError::at(self.text, part, fault)
    }

    /// `tcp` and the like.
    pub(super) fn protocol(
        &mut self,
        word: &'a str,
        dl_type: u16,
        nw_proto: Option<u8>,
    ) -> Result<(), TextError> {
        self.put(FieldId::EthType, whole(FieldId::EthType, dl_type.into()), word, word)?;
        if let Some(proto) = nw_proto {
            self.put(FieldId::IpProto, whole(FieldId::IpProto, proto.into()), word, word)?;
        }
        Ok(())
    }

    /// `name=value`, which is `pair` in the text.
    pub(super) fn field(
        &mut self,
        field: FieldId,
        masked: Masked,
        name: &'a str,
        pair: &'a str,
    ) -> Result<(), TextError> {
        self.usable = self.usable.and(Protocols::for_match(field, masked));
        self.remember(Seen { field, name, whole: pair, is_part: false })?;
        self.put(field, masked, name, pair)
    }

    /// `name[a..b]=value`
    pub(super) fn subfield(
        &mut self,
        sub: Subfield,
        value: u128,
        name: &'a str,
        pair: &'a str,
    ) -> Result<(), TextError> {
        let field = sub.field;
        let (old_value, old_mask) = self.get(field);
        let mask = old_mask | sub.mask();
        let bits = value << sub.offset;
        if !self.lenient && (old_value ^ bits) & old_mask & sub.mask() != 0 {
            return Err(self.contradiction(pair));
        }
        let def = field.def();
        if mask & def.legal != def.legal && !def.maskable {
            return Err(self.error(pair, format!("{} can only be matched as a whole", def.name)));
        }
        let masked = Masked { value: old_value & !sub.mask() | bits, mask };
        self.usable = self.usable.and(Protocols::for_match(field, masked));
        self.remember(Seen { field, name, whole: pair, is_part: true })?;
        self.put(field, masked, name, pair)
    }

    fn remember(&mut self, seen: Seen<'a>) -> Result<(), TextError> {
        let is_twice =
            |other: &Seen<'_>| other.field == seen.field && !(other.is_part && seen.is_part);
        if !self.lenient && self.seen.iter().any(is_twice) {
            let fault = Fault::new(format!("{} is given twice", seen.name));
            return Err(self.error(seen.whole, fault.hint("remove one of them")));
        }
        match self.seen.try_push(seen) {
            Ok(()) => Ok(()),
            // The lenient reader sets fields without looking back.
            Err(_) if self.lenient => Ok(()),
            Err(_) => Err(self.error(seen.whole, "too many fields")),
        }
    }

    fn contradiction(&self, pair: &str) -> TextError {
        self.error(pair, format!("{pair} contradicts an earlier part of the match"))
    }

    /// The bits set so far.
    fn get(&self, field: FieldId) -> (u128, u128) {
        match ipv6_slot(field) {
            Some(slot) => (self.ipv6_key[slot], self.ipv6_mask[slot]),
            None => (field.read(&self.key), field.read(&self.mask)),
        }
    }

    fn put(
        &mut self,
        field: FieldId,
        masked: Masked,
        name: &str,
        pair: &str,
    ) -> Result<(), TextError> {
        let Masked { value, mask } = masked;
        if let Some(slot) = ipv6_slot(field) {
            self.ipv6_key[slot] = value & mask;
            self.ipv6_mask[slot] = mask;
            return Ok(());
        }
        if let Some((tci, bits, replaced)) = vlan_bits(field, value, mask) {
            return self.put_vlan(tci, bits, replaced, pair);
        }
        // Leniently, an ICMP type is all of what is the source port elsewhere.
        let (field, mask) = match field {
            FieldId::IcmpType | FieldId::Icmpv6Type if self.lenient && mask != 0 => {
                (FieldId::TcpSrc, u128::MAX)
            }
            FieldId::IcmpCode | FieldId::Icmpv6Code if self.lenient && mask != 0 => {
                (FieldId::TcpDst, u128::MAX)
            }
            _ => (field, mask),
        };
        let mask = mask & field.full_mask();
        let (old_value, old_mask) = (field.read(&self.key), field.read(&self.mask));
        if !self.lenient && (old_value ^ value) & old_mask & mask != 0 {
            let is_protocol = matches!(field, FieldId::EthType | FieldId::IpProto);
            return Err(if is_protocol && name == pair {
                self.error(pair, format!("{name} contradicts an earlier part of the match"))
            } else {
                self.contradiction(pair)
            });
        }
        // Leniently, what was set before is replaced.
        let (value, mask) = match self.lenient {
            true => (value & mask, mask),
            false => (old_value & old_mask | value & mask, old_mask | mask),
        };
        field.write(&mut self.key, value, u128::MAX);
        field.write(&mut self.mask, mask, u128::MAX);
        Ok(())
    }

    fn put_vlan(
        &mut self,
        tci: u16,
        bits: u16,
        replaced: u16,
        pair: &str,
    ) -> Result<(), TextError> {
        let flow_key = &mut self.key.flow.vlan_tci;
        let flow_mask = &mut self.mask.flow.vlan_tci;
        let (old, old_bits) = (flow_key.get(), flow_mask.get());
        if self.lenient {
            *flow_key = (old & !replaced | tci).into();
            *flow_mask = (old_bits & !replaced | bits).into();
        } else if (old ^ tci) & old_bits & bits != 0 {
            return Err(self.contradiction(pair));
        } else {
            *flow_key = (old | tci).into();
            *flow_mask = (old_bits | bits).into();
        }
        Ok(())
    }

    /// The match, and the formats that can carry it.
    pub(super) fn finish(&mut self) -> Result<(Match, Protocols), TextError> {
        if self.is_ipv6() {
            // Only extensible matches have these fields of IPv6.
            let mask = &self.mask.flow;
            let has_inner = mask.nw_proto != 0
                || mask.nw_tos != 0
                || mask.tp_src.get() != 0
                || mask.tp_dst.get() != 0;
            if has_inner {
                self.usable = self.usable.and(Protocols::NXM_OXM);
            }
        }
        if self.lenient {
            self.drop_what_lacks_its_header();
            self.refuse_what_the_receiver_refuses()?;
        } else {
            self.check_headers()?;
        }
        if self.is_ipv6() {
            self.put_ipv6_addresses();
        }
        Ok((Match::new(&self.key, &self.mask), self.usable))
    }

    fn is_ipv6(&self) -> bool {
        Prerequisite::Ipv6.implied(&self.key.flow, &self.mask.flow)
    }

    fn put_ipv6_addresses(&mut self) {
        for (slot, field) in [FieldId::Ipv6Src, FieldId::Ipv6Dst].into_iter().enumerate() {
            field.write(&mut self.key, self.ipv6_key[slot], u128::MAX);
            field.write(&mut self.mask, self.ipv6_mask[slot], u128::MAX);
        }
    }

    fn check_headers(&self) -> Result<(), TextError> {
        let (key, mask) = (&self.key.flow, &self.mask.flow);
        for seen in &self.seen {
            let (_, bits) = self.get(seen.field);
            if bits == 0 || needed(seen).iter().any(|p| p.implied(key, mask)) {
                continue;
            }
            return Err(self.missing_header(seen, key));
        }
        Ok(())
    }

    fn missing_header(&self, seen: &Seen<'_>, key: &FlowKey) -> TextError {
        let needed = needed(seen);
        let is_later = self.mask.flow.nw_frag & key.nw_frag & frag::LATER != 0;
        let is_transport =
            matches!(needed[0], Prerequisite::Tcp | Prerequisite::Udp | Prerequisite::Sctp);
        if is_later && is_transport {
            let fault = Fault::new(format!("{} is not in later fragments", seen.name));
            return self.error(seen.whole, fault.hint("remove nw_frag=later or the field"));
        }
        let words: Vec<_> = needed.iter().flat_map(|p| p.keywords()).copied().collect();
        let list = match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.concat(),
        };
        let fault = match words.iter().copied().find(|word| self.agrees_with(word)) {
            _ if needed[0] == Prerequisite::VlanVid => {
                Fault::new(format!("{} needs a VLAN tag", seen.name))
                    .hint("add dl_vlan=ID, or vlan_tci=0x1000/0x1000 for any tag")
            }
            Some(word) => {
                Fault::new(format!("{} needs {list}: add \"{word}\" to the match", seen.name))
                    .hint(format!("write {}", self.with_word(word, seen)))
            }
            None => Fault::new(format!(
                "{} needs {list}, but the rest of the match is for other packets",
                seen.name
            )),
        };
        self.error(seen.whole, fault)
    }

    /// Whether adding the protocol word would not contradict what there is.
    fn agrees_with(&self, words: &str) -> bool {
        let word = words.split(',').next().unwrap_or_default();
        let Some(super::words::Word::Protocol { dl_type, nw_proto }) = super::words::lookup(word)
        else {
            return true;
        };
        let (key, mask) = (&self.key.flow, &self.mask.flow);
        let type_agrees = mask.dl_type.get() == 0 || key.dl_type.get() == dl_type;
        let proto_agrees = mask.nw_proto == 0 || nw_proto.is_none_or(|p| p == key.nw_proto);
        type_agrees && proto_agrees
    }

    /// The text with a protocol word put in, or in place of a weaker one.
    fn with_word(&self, word: &str, seen: &Seen<'_>) -> String {
        let position = |part: &str| part.as_ptr() as usize - self.text.as_ptr() as usize;
        let weaker = super::pairs::Pairs::new(self.text)
            .take_while(|p| position(p.key) < position(seen.whole))
            .find(|p| {
                p.value.is_empty()
                    && matches!(
                        super::words::lookup(p.key),
                        Some(super::words::Word::Protocol { .. })
                    )
            });
        let (start, end, separator) = match weaker {
            Some(pair) => (position(pair.key), position(pair.key) + pair.key.len(), ""),
            None => (position(seen.whole), position(seen.whole), ","),
        };
        format!("{}{word}{separator}{}", &self.text[..start], &self.text[end..])
    }

    /// Open vSwitch sends these, and its switch refuses them.
    fn refuse_what_the_receiver_refuses(&self) -> Result<(), TextError> {
        let (key, mask) = (&self.key.flow, &self.mask.flow);
        let has_ports = mask.tp_src.get() | mask.tp_dst.get() | mask.tcp_flags.get() != 0;
        let is_transport = has_ports && matches!(key.nw_proto, 6 | 17 | 132);
        if is_transport && key.nw_frag & frag::LATER != 0 {
            return Err(self.error(self.text, "ports are not in later fragments"));
        }
        if mask.ipv6_label.get() != 0 && !self.is_ipv6() {
            return Err(self.error(self.text, "ipv6_label needs ipv6"));
        }
        Ok(())
    }

    /// What Open vSwitch does when it writes a match into a message: only the fields of the
    /// protocol at hand have a place there.
    fn drop_what_lacks_its_header(&mut self) {
        let key = self.key;
        let (flow, bits) = (&key.flow, &mut self.mask.flow);
        let has = |p: Prerequisite| p.met(&key);
        if !has(Prerequisite::Ip) {
            (bits.nw_tos, bits.nw_ttl, bits.nw_frag) = (0, 0, 0);
        }
        if !has(Prerequisite::Ip) && !has(Prerequisite::Arp) {
            bits.nw_proto = 0;
        }
        if !has(Prerequisite::Ipv4) && !has(Prerequisite::Arp) {
            bits.nw_addrs = [0; 32];
        }
        if !has(Prerequisite::Ip) {
            bits.ipv6_label = 0.into();
        }
        if !has(Prerequisite::Mpls) {
            bits.mpls_lse = Default::default();
        }
        let has_proto = |list: &[u8]| {
            Prerequisite::Ip.met(&key) && list.contains(&flow.nw_proto) && bits.nw_proto != 0
        };
        let is_icmp6 = has(Prerequisite::Icmpv6) && bits.nw_proto != 0;
        let is_icmp = has(Prerequisite::Icmpv4) && bits.nw_proto != 0;
        if !has_proto(&[6, 17, 132]) && !is_icmp && !is_icmp6 {
            (bits.tp_src, bits.tp_dst) = (0.into(), 0.into());
        }
        if is_icmp || is_icmp6 {
            for part in [&mut bits.tp_src, &mut bits.tp_dst] {
                *part = if part.get() == 0 { 0 } else { 0xff }.into();
            }
        }
        if !has_proto(&[6]) {
            bits.tcp_flags = 0.into();
        }
        let is_nd = is_icmp6 && has(Prerequisite::Nd);
        if !is_nd {
            bits.nd_target = [0; 16];
            (bits.nd_reserved, bits.nd_options_type) = (0.into(), 0);
        }
        if !has(Prerequisite::Arp) {
            if !is_nd || !has(Prerequisite::NdSolicit) {
                bits.arp_sha = [0; 6];
            }
            if !is_nd || !has(Prerequisite::NdAdvert) {
                bits.arp_tha = [0; 6];
            }
        }
        self.key = key.masked(&self.mask);
    }
}

fn whole(field: FieldId, value: u128) -> Masked {
    Masked { value, mask: ones(8 * field.def().wire_len() as u16) }
}

fn ipv6_slot(field: FieldId) -> Option<usize> {
    match field {
        FieldId::Ipv6Src => Some(0),
        FieldId::Ipv6Dst => Some(1),
        _ => None,
    }
}

/// For the VLAN fields: bits of the tag control information, which of them count, and which
/// earlier ones they replace. A VLAN id or priority implies the tag-present bit.
fn vlan_bits(field: FieldId, value: u128, mask: u128) -> Option<(u16, u16, u16)> {
    const ID: u16 = 0x0fff;
    const PCP: u16 = 0xe000;
    let (value16, mask16) = (value as u16, mask as u16);
    let has_mask = mask != 0;
    let pick = |bits: u16| if has_mask { bits } else { 0 };
    Some(match field {
        FieldId::VlanTci => (value16 & mask16, mask16, u16::MAX),
        FieldId::DlVlan if has_mask && value == DL_VLAN_NONE => (0, u16::MAX, u16::MAX),
        FieldId::DlVlan => (pick(value16 & ID | VLAN_CFI), pick(ID | VLAN_CFI), ID | VLAN_CFI),
        FieldId::VlanVid => {
            let bits = mask16 & (ID | VLAN_CFI);
            (value16 & bits, bits, ID | VLAN_CFI)
        }
        FieldId::DlVlanPcp | FieldId::VlanPcp => {
            (pick((value16 & 7) << 13 | VLAN_CFI), pick(PCP | VLAN_CFI), pick(PCP | VLAN_CFI))
        }
        _ => return None,
    })
}

/// What one of must hold for the field, by the name that the user gave it: some names serve several
/// protocols.
fn needed(seen: &Seen<'_>) -> &'static [Prerequisite] {
    use Prerequisite::*;
    match (seen.field, seen.name) {
        (FieldId::TcpSrc | FieldId::TcpDst, "tp_src" | "tp_dst") => &[Tcp, Udp, Sctp],
        (FieldId::IcmpType | FieldId::IcmpCode, _) => &[Icmpv4, Icmpv6],
        (FieldId::Ipv4Src | FieldId::Ipv4Dst, _) => &[Ipv4, Arp],
        (FieldId::IpProto, _) => &[Ip, Arp],
        // `vlan_pcp` brings the tag that it needs.
        (FieldId::VlanPcp, _) => &[None],
        (field, _) => match field.def().prerequisite {
            None => &[None],
            VlanVid => &[VlanVid],
            Mpls => &[Mpls],
            Arp => &[Arp],
            Ipv4 => &[Ipv4],
            Ipv6 => &[Ipv6],
            Ip => &[Ip],
            Tcp => &[Tcp],
            Udp => &[Udp],
            Sctp => &[Sctp],
            Icmpv4 => &[Icmpv4],
            Icmpv6 => &[Icmpv6],
            Nd => &[Nd],
            NdSolicit => &[NdSolicit],
            NdAdvert => &[NdAdvert],
        },
    }
}
