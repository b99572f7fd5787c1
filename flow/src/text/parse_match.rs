//! Builds a match from its fields, one after the other.
//!
//! Strict parsing refuses a field that is given twice, fields that contradict each other, and a field whose
//! [`Prerequisite`] the match does not imply. Lenient parsing does as Open vSwitch: the last of several values
//! counts, and a field whose prerequisite is not implied is dropped.

use super::error::{Fault, TextError};
use super::protocol::Protocols;
use super::value::Masked;
use crate::action::Subfield;
use crate::fields::FieldId;
use crate::key::{Headers, VLAN_CFI, frag};
use crate::matching::Match;
use crate::prerequisite::Prerequisite;
use arrayvec::ArrayVec;
use packet::wire::ip_proto;

/// The largest number of fields that one match can name: all options, all registers in every width, and the
/// fields that a packet has at a time would be little more.
const MAX_FIELDS: usize = 128;

/// The value of `dl_vlan` that selects untagged frames (OpenFlow 1.0 `OFP_VLAN_NONE`).
const DL_VLAN_NONE: u128 = 0xffff;

/// A field as the user wrote it.
#[derive(Clone, Copy)]
struct Seen<'a> {
    field: FieldId,
    /// The name or alias that the user chose.
    name: &'a str,
    /// Name, sign and value in the text.
    whole: &'a str,
    /// Whether the user wrote a subfield: `reg0[0..7]=5`.
    is_part: bool,
}

/// A match under construction.
pub(super) struct MatchBuilder<'a> {
    /// The text that error messages show.
    text: &'a str,
    lenient: bool,
    /// The fields collected so far, without IPv6 addresses.
    matching: Match,
    /// IPv6 source and destination address. They have the same place in the key as IPv4 addresses, and go there
    /// in [`MatchBuilder::finish`], when the EtherType is known.
    ipv6_key: [u128; 2],
    ipv6_mask: [u128; 2],
    /// The fields in the order in which the user wrote them.
    seen: ArrayVec<Seen<'a>, MAX_FIELDS>,
    /// The flow formats that can carry the fields collected so far.
    usable: Protocols,
}

impl<'a> MatchBuilder<'a> {
    /// An empty match, whose fields are parts of `text`.
    #[inline]
    pub(super) fn new(text: &'a str, lenient: bool) -> Self {
        Self {
            text,
            lenient,
            matching: Match::any(),
            ipv6_key: [0; 2],
            ipv6_mask: [0; 2],
            seen: ArrayVec::new(),
            usable: Protocols::ANY,
        }
    }

    fn error(&self, part: &str, fault: impl Into<Fault>) -> TextError {
        TextError::at(self.text, part, fault)
    }

    /// Adds the EtherType and IP protocol of a protocol word such as `tcp`.
    pub(super) fn protocol(
        &mut self,
        word: &'a str,
        dl_type: u16,
        nw_proto: Option<u8>,
    ) -> Result<(), TextError> {
        let seen = |field| Seen { field, name: word, whole: word, is_part: false };
        self.put(&seen(FieldId::EthType), &exactly(FieldId::EthType, dl_type.into()))?;
        if let Some(proto) = nw_proto {
            self.put(&seen(FieldId::IpProto), &exactly(FieldId::IpProto, proto.into()))?;
        }
        Ok(())
    }

    /// Adds a field; `pair` is the part of the text that has the name and the value.
    pub(super) fn field(
        &mut self,
        field: FieldId,
        masked: &Masked,
        name: &'a str,
        pair: &'a str,
    ) -> Result<(), TextError> {
        self.add(Seen { field, name, whole: pair, is_part: false }, masked)
    }

    fn add(&mut self, seen: Seen<'a>, masked: &Masked) -> Result<(), TextError> {
        self.usable = self.usable.and(Protocols::for_match(seen.field, masked));
        self.remember(&seen)?;
        self.put(&seen, masked)
    }

    /// Adds some bits of a field: `name[a..b]=value`, which is `pair` in the text.
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
        self.add(Seen { field, name, whole: pair, is_part: true }, &masked)
    }

    fn remember(&mut self, seen: &Seen<'a>) -> Result<(), TextError> {
        let is_twice =
            |other: &Seen<'_>| other.field == seen.field && !(other.is_part && seen.is_part);
        if !self.lenient && self.seen.iter().any(is_twice) {
            let fault = Fault::new(format!("{} is given twice", seen.name));
            return Err(self.error(seen.whole, fault.hint("remove one of them")));
        }
        match self.seen.try_push(*seen) {
            Ok(()) => Ok(()),
            // Lenient parsing does not need the list: it never looks for a field given twice.
            Err(_) if self.lenient => Ok(()),
            Err(_) => Err(self.error(seen.whole, "too many fields")),
        }
    }

    #[cold]
    fn contradiction(&self, pair: &str) -> TextError {
        self.error(pair, format!("{pair} contradicts an earlier part of the match"))
    }

    /// Value and mask that the match has of a field so far.
    fn get(&self, field: FieldId) -> (u128, u128) {
        match field {
            FieldId::Ipv6Src => (self.ipv6_key[0], self.ipv6_mask[0]),
            FieldId::Ipv6Dst => (self.ipv6_key[1], self.ipv6_mask[1]),
            _ => (field.read(self.matching.key()), field.get_mask(self.matching.mask())),
        }
    }

    /// Writes a field into the match. Strictly, bits that contradict those written before are an error.
    fn put(&mut self, seen: &Seen<'_>, masked: &Masked) -> Result<(), TextError> {
        use FieldId::*;
        let Masked { value, mask } = *masked;
        let (field, value, mask, replaced) = match seen.field {
            Ipv6Src | Ipv6Dst => {
                let slot = usize::from(seen.field == Ipv6Dst);
                (self.ipv6_key[slot], self.ipv6_mask[slot]) = (value & mask, mask);
                return Ok(());
            }
            VlanTci | DlVlan | VlanVid | DlVlanPcp | VlanPcp => {
                let (tci, bits, replaced) = vlan_bits(seen.field, value, mask);
                (VlanTci, tci.into(), bits.into(), replaced.into())
            }
            // In Open vSwitch, an ICMP type has all 16 bits of the source port, and a code
            // those of the destination port.
            IcmpType | Icmpv6Type if self.lenient && mask != 0 => {
                (TcpSrc, value, u128::MAX, u128::MAX)
            }
            IcmpCode | Icmpv6Code if self.lenient && mask != 0 => {
                (TcpDst, value, u128::MAX, u128::MAX)
            }
            field => (field, value, mask, u128::MAX),
        };
        if self.lenient {
            self.matching.set(field, value, mask, replaced);
            return Ok(());
        }
        let mask = mask & field.full_mask();
        let common = mask & field.get_mask(self.matching.mask());
        let is_missing = self.is_without(field);
        if is_missing || common != 0 && (field.read(self.matching.key()) ^ value) & common != 0 {
            return Err(self.contradiction(seen.whole));
        }
        self.matching.set(field, value, mask, mask);
        Ok(())
    }

    /// Whether the match so far is for packets without the option that the field is.
    fn is_without(&self, field: FieldId) -> bool {
        let (key, mask) = (&self.matching.key().headers, &self.matching.mask().bits.headers);
        field.option_bit() & mask.tun_options.get() & !key.tun_options.get() != 0
    }

    /// Checks the match, after which [`MatchBuilder::matching`] is complete. Returns the flow
    /// formats that can carry it.
    pub(super) fn finish(&mut self) -> Result<Protocols, TextError> {
        if self.is_ipv6() {
            // Only extensible matches (NXM, OXM) have these fields in IPv6 packets.
            let mask = &self.matching.mask().bits.headers;
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
        Ok(self.usable)
    }

    /// The match. It lacks IPv6 addresses until [`MatchBuilder::finish`] is called.
    pub(super) fn matching(&self) -> &Match {
        &self.matching
    }

    fn is_ipv6(&self) -> bool {
        self.matching.implies(Prerequisite::Ipv6)
    }

    fn put_ipv6_addresses(&mut self) {
        for (slot, field) in [FieldId::Ipv6Src, FieldId::Ipv6Dst].into_iter().enumerate() {
            self.matching.set(field, self.ipv6_key[slot], self.ipv6_mask[slot], u128::MAX);
        }
    }

    fn check_headers(&self) -> Result<(), TextError> {
        for seen in &self.seen {
            if needed(seen).iter().any(|p| self.matching.implies(*p)) {
                continue;
            }
            let (_, bits) = self.get(seen.field);
            if bits != 0 {
                return Err(self.missing_header(seen, &self.matching.key().headers));
            }
        }
        Ok(())
    }

    fn missing_header(&self, seen: &Seen<'_>, key: &Headers) -> TextError {
        let needed = needed(seen);
        let is_later = self.matching.mask().bits.headers.nw_frag & key.nw_frag & frag::LATER != 0;
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

    /// Whether the match stays free of contradictions if the protocol word is added.
    fn agrees_with(&self, words: &str) -> bool {
        let word = words.split(',').next().unwrap_or_default();
        let Some(&super::words::Word::Protocol { dl_type, nw_proto }) = super::words::lookup(word)
        else {
            return true;
        };
        let (key, mask) = (&self.matching.key().headers, &self.matching.mask().bits.headers);
        let type_agrees = mask.dl_type.get() == 0 || key.dl_type.get() == dl_type;
        let proto_agrees = mask.nw_proto == 0 || nw_proto.is_none_or(|p| p == key.nw_proto);
        type_agrees && proto_agrees
    }

    /// The text of the rule with the protocol word added in front of the field. A protocol word that already
    /// stands there, such as `ip`, is replaced.
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

    /// Refuses matches that `ovs-ofctl` sends and Open vSwitch's switch refuses.
    fn refuse_what_the_receiver_refuses(&self) -> Result<(), TextError> {
        let (key, mask) = (&self.matching.key().headers, &self.matching.mask().bits.headers);
        let has_ports = mask.tp_src.get() | mask.tp_dst.get() | mask.tcp_flags.get() != 0;
        let is_transport = has_ports && ip_proto::has_ports(key.nw_proto);
        if is_transport && key.nw_frag & frag::LATER != 0 {
            return Err(self.error(self.text, "ports are not in later fragments"));
        }
        if mask.ipv6_label.get() != 0 && !self.is_ipv6() {
            return Err(self.error(self.text, "ipv6_label needs ipv6"));
        }
        Ok(())
    }

    /// Drops each field whose prerequisite the match does not imply, as `ovs-ofctl` does when it writes a match
    /// into a message.
    fn drop_what_lacks_its_header(&mut self) {
        let (key, mut mask) = (*self.matching.key(), *self.matching.mask());
        let has = |p: Prerequisite| p.met(&key);
        if !Prerequisite::Ct.implied_by(&key, &mask) {
            let bits = &mut mask.bits.headers;
            (bits.ct_nw_src, bits.ct_nw_dst) = (0.into(), 0.into());
            (bits.ct_ipv6_src, bits.ct_ipv6_dst) = ([0; 16], [0; 16]);
            (bits.ct_tp_src, bits.ct_tp_dst, bits.ct_nw_proto) = (0.into(), 0.into(), 0);
        }
        let (flow, bits) = (&key.headers, &mut mask.bits.headers);
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
        self.matching = Match::new(&key, &mask);
    }
}

fn exactly(field: FieldId, value: u128) -> Masked {
    Masked { value, mask: field.def().whole }
}

/// Turns a value and mask of a VLAN field into bits of `vlan_tci`: the value, the mask, and the bits of the
/// match so far that they replace. A VLAN id or priority implies the tag-present bit.
fn vlan_bits(field: FieldId, value: u128, mask: u128) -> (u16, u16, u16) {
    const ID: u16 = 0x0fff;
    const PCP: u16 = 0xe000;
    let (value16, mask16) = (value as u16, mask as u16);
    let has_mask = mask != 0;
    let pick = |bits: u16| if has_mask { bits } else { 0 };
    match field {
        FieldId::DlVlan if has_mask && value == DL_VLAN_NONE => (0, u16::MAX, u16::MAX),
        FieldId::DlVlan => (pick(value16 & ID | VLAN_CFI), pick(ID | VLAN_CFI), ID | VLAN_CFI),
        FieldId::VlanVid => {
            let bits = mask16 & (ID | VLAN_CFI);
            (value16 & bits, bits, ID | VLAN_CFI)
        }
        FieldId::DlVlanPcp | FieldId::VlanPcp => {
            (pick((value16 & 7) << 13 | VLAN_CFI), pick(PCP | VLAN_CFI), pick(PCP | VLAN_CFI))
        }
        _ => (value16 & mask16, mask16, u16::MAX),
    }
}

/// The prerequisites of a field, of which the match must imply one. They depend on the name too, because names
/// such as `tp_src` serve several protocols.
fn needed(seen: &Seen<'_>) -> &'static [Prerequisite] {
    use Prerequisite::*;
    match (seen.field, seen.name) {
        (FieldId::TcpSrc | FieldId::TcpDst, "tp_src" | "tp_dst") => &[Tcp, Udp, Sctp],
        (FieldId::IcmpType | FieldId::IcmpCode, _) => &[Icmpv4, Icmpv6],
        (FieldId::Ipv4Src | FieldId::Ipv4Dst, _) => &[Ipv4, Arp],
        (FieldId::IpProto, _) => &[Ip, Arp],
        // A match of `vlan_pcp` implies the tag that the field needs.
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
            Ct => &[Ct],
        },
    }
}
