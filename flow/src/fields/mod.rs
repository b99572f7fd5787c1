//! The field table: one entry for each field that rules can match or set (ovs-fields(7)).
//!
//! The text parser, the printer, `trace` and the actions that name fields read this table. A [`FieldId`] names
//! a field, and its [`FieldDef`] says which bits of a [`PipelineKey`] the field has. Values and masks of all
//! fields are host integers of type `u128`: bit 0 of the field is bit 0 of the integer.
//!
//! - Some fields share bits: `vlan_tci` contains `dl_vlan`, and `tcp_src` is in the same place as `udp_src`.
//!   Which of them a packet has is the field's [`Prerequisite`].
//! - Fields of a VLAN tag imply that there is a tag: see [`FieldId::write`].
//! - `in_port_oxm` and `actset_output` are 32 bits wide in text and messages but have 16 bits
//!   of the key: see [`TextForm::Port32`].

mod table;

pub use table::FieldId;

use crate::key::{PipelineKey, PipelineMask, VLAN_CFI};
use crate::prerequisite::Prerequisite;
use crate::types::OfVersion;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::ops::Range;
use table::{PLAIN, REGS, TUN_METADATA, WIDE, XREGS, XXREGS};
use zerocopy::IntoBytes;

/// The notation of a field's values in rules and dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    /// A decimal number: `80`. Reading accepts hexadecimal numbers too.
    Decimal,
    /// A hexadecimal number: `0x800`. Reading accepts decimal numbers too.
    Hexadecimal,
    /// The number or name of a port, or a reserved port: `1`, `veth0`, `LOCAL`. 16 bits wide in messages.
    Port,
    /// A port as in [`TextForm::Port`], but 32 bits wide in messages. A reserved port such as `LOCAL` (0xfffe
    /// in the key) is 0xfffffffe there.
    Port32,
    /// An IPv4 address with an optional prefix length or mask: `10.0.0.0/8`, `10.0.0.0/255.0.0.0`.
    Ipv4,
    /// An IPv6 address with an optional prefix length or mask: `fe80::/64`, `::1/::1`.
    Ipv6,
    /// A MAC address with an optional mask: `01:00:00:00:00:00/01:00:00:00:00:00`.
    Ethernet,
    /// A word for fragments: `no`, `yes`, `first`, `later` or `not_later`.
    Frag,
    /// TCP flags: `+syn-ack` for some of them, `syn|ack` for all.
    TcpFlags,
    /// Flags of a connection's state: `+trk-new` for some of them, `trk|est` for all.
    CtState,
    /// Flags of a tunnel's header: `+oam` or `-oam`.
    TunFlags,
}

/// A name and number that a field has in OpenFlow messages (NXM or OXM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireName {
    /// The name, such as `NXM_OF_IN_PORT`. Actions accept it in text, matches do not.
    pub name: &'static str,
    /// The class (`oxm_class`), for example 0x8000 for `OXM_OF_*`; 0xffff for experimenter fields.
    pub class: u16,
    /// The number in the class (`oxm_field`), 0 to 127.
    pub number: u8,
    /// The experimenter of a field of class 0xffff; 0 for fields of other classes.
    pub experimenter: u32,
    /// The first OpenFlow version whose messages use this name.
    pub since: OfVersion,
}

/// The entry of the field table that describes one field.
#[derive(Debug)]
pub struct FieldDef {
    /// The name that dumps use, as in Open vSwitch. Unique among all names, aliases and wire names.
    pub name: &'static str,
    /// A second name that rules may use; `None` if there is no other.
    pub alias: Option<&'static str>,
    /// How many bits the field has for users: in text, and for subfields such as `reg0[4..7]`.
    pub bits: u16,
    /// Size of a value in an OpenFlow message, in bytes.
    wire_size: usize,
    /// A mask of all bits of a value in a message, where a value has whole bytes.
    pub whole: u128,
    /// The bits of a value that may be one. These are fewer than `bits` in `nw_tos` (0xfc), `arp_op` and
    /// `ct_state` (0xff). They are one more in `vlan_vid`, because of the tag-present bit.
    pub legal: u128,
    /// Offset in bytes of the field's first byte in a [`PipelineKey`].
    pub offset: u16,
    /// How many bytes of the key contain the field: up to 8 within one 64-bit word, or 16. They
    /// are in network byte order.
    pub len: u8,
    /// How far to the right a 64-bit word of the key, read as big-endian, must be shifted for the field to be
    /// right-aligned. 0 for fields of 16 bytes.
    pub shift: u8,
    /// One-bits from bit 0 on, as many as the field's bytes have behind that shift. All ones
    /// for fields of 16 bytes.
    pub room: u64,
    /// Whether a match may have any mask of the field. Otherwise a match gives all bits of the field or none.
    pub maskable: bool,
    /// Whether actions can change the field.
    pub writable: bool,
    /// The packets that have the field.
    pub prerequisite: Prerequisite,
    /// How values are written in rules and dumps.
    pub form: TextForm,
    /// The names that the field has in OpenFlow messages, oldest first. Empty for `dl_vlan` and `dl_vlan_pcp`,
    /// which only matches can name.
    pub wire: &'static [WireName],
    /// What the field says of a packet, for users: whole sentences, each line with a blank in front. Backticks
    /// stand around words of the language.
    pub meaning: &'static str,
    /// A rule that matches the field.
    pub example: &'static str,
}

impl FieldDef {
    /// How many bytes a value of the field has in an OpenFlow message: 1, 2, 4, 6, 8 or 16.
    pub const fn wire_len(&self) -> usize {
        self.wire_size
    }

    /// The bytes of the key that contain the field, for fields of [`WIDE`] bytes only.
    fn wide(&self) -> Range<usize> {
        usize::from(self.offset)..usize::from(self.offset) + usize::from(WIDE)
    }

    /// The field's bits in `key`, right-aligned.
    #[inline]
    pub(super) fn get(&self, key: &PipelineKey) -> u128 {
        if self.len == WIDE {
            let bytes = &key.as_bytes()[self.wide()];
            return u128::from_be_bytes(bytes.try_into().expect("a range of this size"));
        }
        let word = u64::from_be(key.words()[usize::from(self.offset / 8)]);
        (word >> self.shift & self.room & self.legal as u64).into()
    }

    /// Gives the field's bits in `mask` the values that they have in `value`. Both are right-aligned.
    #[inline]
    pub(super) fn put(&self, key: &mut PipelineKey, value: u128, mask: u128) {
        if self.len == WIDE {
            let bytes = &mut key.as_mut_bytes()[self.wide()];
            let old = u128::from_be_bytes((&*bytes).try_into().expect("a range of this size"));
            bytes.copy_from_slice(&(old & !mask | value & mask).to_be_bytes());
            return;
        }
        let mask = (mask as u64 & self.legal as u64 & self.room) << self.shift;
        let value = (value as u64) << self.shift;
        let word = &mut key.words_mut()[usize::from(self.offset / 8)];
        *word = *word & !mask.to_be() | (value & mask).to_be();
    }
}

/// How many bytes a value of `bits` bits has in an OpenFlow message, unless the field's line in
/// the table says another size.
const fn wire_len(bits: u16) -> usize {
    match bits {
        0..=8 => 1,
        9..=16 => 2,
        17..=32 => 4,
        n => n as usize / 8,
    }
}

/// The integer whose lowest `n` bits are one and whose other bits are zero; all ones from `n = 128` on.
pub const fn ones(n: u16) -> u128 {
    if n >= 128 { u128::MAX } else { (1 << n) - 1 }
}

/// The prefix length of a mask of `width` bits (32 for IPv4, 128 for IPv6): the number of its ones if all of
/// them stand above its zeros, as in CIDR notation (RFC 4632 §3.1). `None` for any other mask.
pub(crate) fn prefix_len(mask: u128, width: u16) -> Option<u16> {
    let zeros = mask.trailing_zeros().min(width.into()) as u16;
    (mask == ones(width) & !ones(zeros)).then_some(width - zeros)
}

impl FieldId {
    /// Every field of the field table, registers last.
    pub fn all() -> impl Iterator<Item = Self> {
        let plain = PLAIN.iter().copied();
        let regs = (0..REGS.len() as u8).map(Self::Reg);
        let xregs = (0..XREGS.len() as u8).map(Self::XReg);
        let xxregs = (0..XXREGS.len() as u8).map(Self::XxReg);
        plain.chain(Self::tun_metadata()).chain(regs).chain(xregs).chain(xxregs)
    }

    /// The fields `tun_metadata0` to `tun_metadata63`.
    pub fn tun_metadata() -> impl Iterator<Item = Self> {
        (0..TUN_METADATA.len() as u8).map(Self::TunMetadata)
    }

    /// The bit of `tun_options` that says whether a packet has the field; 0 unless the field is an option.
    #[inline]
    pub const fn option_bit(self) -> u64 {
        match self {
            Self::TunMetadata(n) => 1 << (n % 64),
            _ => 0,
        }
    }

    /// Whether the field is an option of Geneve (`tun_metadata0` to `tun_metadata63`), which a
    /// packet has or has not.
    pub const fn is_option(self) -> bool {
        self.option_bit() != 0
    }

    /// The options whose bits are one in `options`, which is as `tun_options`.
    pub fn options_in(options: u64) -> impl Iterator<Item = Self> {
        // Most packets have none, and do not pay for a look at each of them.
        let end = (u64::BITS - options.leading_zeros()) as usize;
        Self::tun_metadata().take(end).filter(move |field| options & field.option_bit() != 0)
    }

    /// Whether a field that is kept beside the packet's bytes says something: an option, if the packet has it;
    /// any other field, if its value is not zero.
    pub fn says_something(self, packet: &PipelineKey) -> bool {
        match self.option_bit() {
            0 => self != Self::TunOptions && self.read(packet) != 0,
            bit => packet.headers.tun_options.get() & bit != 0,
        }
    }

    /// The mask of an exact match: every bit of the field that may be one ([`FieldDef::legal`]).
    #[inline]
    pub fn full_mask(self) -> u128 {
        self.def().legal
    }

    /// The field's value in `key`, right-aligned. The value means nothing if the packet lacks
    /// the field: ask [`FieldId::prerequisite_met`] first.
    #[inline]
    pub fn read(self, key: &PipelineKey) -> u128 {
        let def = self.def();
        let value = def.get(key);
        match def.form {
            TextForm::Port32 => widen_port(value),
            _ => value,
        }
    }

    /// Gives the field's bits in `mask` the values that they have in `value`. Both are right-aligned.
    ///
    /// Writing `dl_vlan`, `dl_vlan_pcp` or `vlan_pcp` also sets the tag-present bit of the key, as in Open
    /// vSwitch; values of `vlan_tci` and `vlan_vid` contain that bit. Writing an option gives the packet the
    /// option. Prerequisites are not checked: ask [`FieldId::prerequisite_met`] first.
    #[inline]
    pub fn write(self, key: &mut PipelineKey, value: u128, mask: u128) {
        self.def().put(key, value, mask);
        if matches!(self, Self::DlVlan | Self::DlVlanPcp | Self::VlanPcp) {
            key.headers.vlan_tci |= VLAN_CFI;
        }
        if mask != 0 {
            self.mark_option(key);
        }
    }

    /// Sets the field's `bits` (right-aligned) in a mask. Of an option, also the bit that says whether a packet
    /// has it, unless `bits` is zero.
    #[inline]
    pub fn set_mask(self, mask: &mut PipelineMask, bits: u128) {
        self.def().put(&mut mask.bits, u128::MAX, bits);
        if bits != 0 {
            self.mark_option(&mut mask.bits);
        }
    }

    /// Takes the field away from a packet, if it is an option: the packet does not have it then.
    pub fn delete(self, key: &mut PipelineKey) {
        let bit = self.option_bit();
        if bit != 0 {
            self.def().put(key, 0, u128::MAX);
            key.headers.tun_options = (key.headers.tun_options.get() & !bit).into();
        }
    }

    /// Says in `key` that the packet has the option, if the field is one.
    #[inline]
    pub(crate) fn mark_option(self, key: &mut PipelineKey) {
        let bit = self.option_bit();
        if bit != 0 {
            key.headers.tun_options = (key.headers.tun_options.get() | bit).into();
        }
    }

    /// Clears the field's `bits` (right-aligned) in a mask.
    #[inline]
    pub fn clear_mask(self, mask: &mut PipelineMask, bits: u128) {
        self.def().put(&mut mask.bits, 0, bits);
    }

    /// The field's bits that are set in a mask, right-aligned.
    #[inline]
    pub fn get_mask(self, mask: &PipelineMask) -> u128 {
        self.def().get(&mask.bits)
    }

    /// Whether all bits of the field are set in a mask.
    pub fn is_exact(self, mask: &PipelineMask) -> bool {
        self.get_mask(mask) == self.full_mask()
    }

    /// Whether a packet with this key has the field.
    pub fn prerequisite_met(self, key: &PipelineKey) -> bool {
        self.def().prerequisite.met(key)
    }

    /// Whether the field is one of the two of a connection that actions
    /// change, inside `ct(commit,exec(...))` only.
    pub fn is_of_connection(self) -> bool {
        matches!(self, Self::CtMark | Self::CtLabel)
    }

    /// Whether the field says of which tunnel the packet comes, or what the next tunnel port is to send.
    pub fn is_of_tunnel(self) -> bool {
        matches!(self, Self::TunMetadata(_)) || Self::TUNNEL.contains(&self)
    }

    /// The fields of the tunnel that a packet goes through, in the order of the
    /// field table, without its options.
    pub const TUNNEL: [Self; 11] = [
        Self::TunId,
        Self::TunSrc,
        Self::TunDst,
        Self::TunIpv6Src,
        Self::TunIpv6Dst,
        Self::TunFlags,
        Self::TunTtl,
        Self::TunTos,
        Self::TunGbpId,
        Self::TunGbpFlags,
        Self::TunOptions,
    ];

    /// The fields of the connection that a packet belongs to, in the order of the field table.
    pub const CONNECTION: [Self; 11] = [
        Self::CtState,
        Self::CtZone,
        Self::CtMark,
        Self::CtLabel,
        Self::CtNwProto,
        Self::CtNwSrc,
        Self::CtNwDst,
        Self::CtIpv6Src,
        Self::CtIpv6Dst,
        Self::CtTpSrc,
        Self::CtTpDst,
    ];

    /// The fields that a message about a packet carries beside the packet's bytes, apart from the ingress port:
    /// 32-bit registers, `metadata`, `pkt_mark`, and those of the tunnel that messages have names for; of the
    /// options, those that `key` has.
    pub fn beside_packet(key: &PipelineKey) -> impl Iterator<Item = Self> + use<> {
        let has_name = |field: &Self| !field.def().wire.is_empty();
        (0..REGS.len() as u8)
            .map(Self::Reg)
            .chain([Self::Metadata, Self::PktMark])
            .chain(Self::TUNNEL.into_iter().filter(has_name))
            .chain(Self::options_in(key.headers.tun_options.get()))
    }

    /// Whether the field is a part of the outer VLAN tag. These fields share bits with the one that says that
    /// there is a tag.
    pub fn is_vlan(self) -> bool {
        self.def().offset == Self::VlanTci.def().offset
    }

    /// Adds to `mask` every bit that the answer of [`FieldId::prerequisite_met`] can depend on.
    pub fn prerequisite_mask(self, mask: &mut PipelineMask) {
        self.def().prerequisite.mark(mask);
    }

    /// The field with this name or alias; `None` if there is none. Wire names are not found.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|f| f.def().name == name || f.def().alias == Some(name))
    }

    /// The wire name that messages of `version` use: the newest one of that version or an earlier one, else the
    /// oldest. `None` for fields that only matches can name.
    pub fn wire_name(self, version: OfVersion) -> Option<&'static WireName> {
        let names = self.def().wire;
        names.iter().rev().find(|w| w.since <= version).or(names.first())
    }
}

impl Serialize for FieldId {
    /// A field is serialised as its name: numbers of variants change when the table grows.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.def().name)
    }
}

impl<'de> Deserialize<'de> for FieldId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| de::Error::custom(format!("unknown field \"{name}\"")))
    }
}

/// The 32-bit form of a 16-bit port number: reserved ports get 0xffff in the upper half.
fn widen_port(port: u128) -> u128 {
    let port = port & 0xffff;
    if port >= 0xff00 { port | 0xffff_0000 } else { port }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Subfield;
    use crate::types::OfPort;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique() {
        let mut seen = HashSet::new();
        for field in FieldId::all() {
            let def = field.def();
            let wire = def.wire.iter().map(|w| w.name);
            for name in [def.name].into_iter().chain(def.alias).chain(wire) {
                assert!(seen.insert(name), "{name} twice");
            }
            assert_eq!(FieldId::from_name(def.name), Some(field));
        }
    }

    #[test]
    fn a_write_changes_the_bits_of_its_field_only() {
        for field in FieldId::all() {
            let def = field.def();
            let full = field.full_mask();
            let value = match def.form {
                TextForm::Port32 => 0xffff_fffe,
                _ => 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef & full,
            };
            let mut key = PipelineKey::default();
            field.write(&mut key, value, full);
            assert_eq!(field.read(&key), value, "{}", def.name);
            let mut mask = PipelineMask::default();
            field.set_mask(&mut mask, full);
            key.headers.vlan_tci &= mask.bits.headers.vlan_tci;
            assert_eq!(key.masked(&mask), key, "{}", def.name);
        }
    }

    #[test]
    fn wide_registers_are_runs_of_narrow_ones() {
        let mut key = PipelineKey::default();
        FieldId::Reg(4).write(&mut key, 1, u128::MAX);
        FieldId::Reg(7).write(&mut key, 2, u128::MAX);
        assert_eq!(FieldId::XReg(2).read(&key), 1 << 32);
        assert_eq!(FieldId::XxReg(1).read(&key), 1 << 96 | 2);
        FieldId::Reg(31).write(&mut key, 3, u128::MAX);
        assert_eq!(FieldId::XxReg(7).read(&key), 3);
    }

    #[test]
    fn fields_sit_where_the_key_has_them() {
        let mut key = PipelineKey::default();
        FieldId::IpDscp.write(&mut key, 46, u128::MAX);
        FieldId::IpEcn.write(&mut key, 1, u128::MAX);
        assert_eq!(key.headers.nw_tos, 46 << 2 | 1);
        assert_eq!(FieldId::NwTos.read(&key), 46 << 2);
        FieldId::IcmpType.write(&mut key, 8, u128::MAX);
        assert_eq!(key.headers.tp_src.get(), 8);
        FieldId::MplsLabel.write(&mut key, 0xabcde, u128::MAX);
        FieldId::MplsTtl.write(&mut key, 64, u128::MAX);
        assert_eq!(key.headers.mpls_lse[0].get(), 0xabcde040);
        FieldId::Ipv4Dst.write(&mut key, 0x0a00_0001, u128::MAX);
        assert_eq!(key.headers.nw_dst(), 0x0a00_0001);
    }

    #[test]
    fn setting_a_vlan_id_makes_a_frame_tagged() {
        let mut key = PipelineKey::default();
        FieldId::DlVlan.write(&mut key, 5, u128::MAX);
        assert_eq!(key.headers.vlan_tci.get(), 0x1005);
        assert_eq!(FieldId::VlanVid.read(&key), 0x1005);
        assert_eq!(FieldId::DlVlan.read(&key), 5);
        FieldId::DlVlanPcp.write(&mut key, 3, u128::MAX);
        assert_eq!(key.headers.vlan_tci.get(), 0x7005);
    }

    #[test]
    fn reserved_ports_have_two_widths() {
        let mut key = PipelineKey::default();
        FieldId::InPortOxm.write(&mut key, 0xffff_fffe, u128::MAX);
        assert_eq!(FieldId::InPort.read(&key), 0xfffe);
        assert_eq!(key.in_port.get(), OfPort::LOCAL);
    }

    #[test]
    fn subfields_are_cut_out() {
        let mut key = PipelineKey::default();
        let sub = Subfield { field: FieldId::Reg(1), offset: 4, n_bits: 8 };
        sub.write(&mut key, 0xfff);
        assert_eq!(key.regs[1].get(), 0xff0);
        assert_eq!(sub.read(&key), 0xff);
        let mut mask = PipelineMask::default();
        sub.set_mask(&mut mask);
        assert_eq!(mask.bits.regs[1].get(), 0xff0);
    }
}
