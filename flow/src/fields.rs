//! The field table: one entry for each field that rules can match or set (ovs-fields(7)).
//!
//! The text parser, the printer, `trace` and the actions that name fields read this table. A [`FieldId`] names a
//! field, and its [`FieldDef`] says which bits of a [`PipelineKey`] the field has. Values and masks of all fields
//! are host integers of type `u128`: bit 0 of the field is bit 0 of the integer.
//!
//! - Some fields share bits: `vlan_tci` contains `dl_vlan`, and `tcp_src` is in the same place as `udp_src`. Which
//!   of them a packet has is the field's [`Prerequisite`].
//! - Fields of a VLAN tag imply that there is a tag: see [`FieldId::write`].
//! - `in_port_oxm` and `actset_output` are 32 bits wide in text and messages but have 16 bits of the key: see
//!   [`TextForm::Port32`].

use super::key::{Headers, PipelineKey, PipelineMask, VLAN_CFI};
use super::prerequisite::Prerequisite;
use crate::types::OfVersion;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::mem::offset_of;
use std::ops::Range;
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
    /// A port as in [`TextForm::Port`], but 32 bits wide in messages. A reserved port such as `LOCAL` (0xfffe in the
    /// key) is 0xfffffffe there.
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
    /// A mask of all bits of a value in a message, where a value has whole bytes.
    pub whole: u128,
    /// The bits of a value that may be one. These are fewer than `bits` in `nw_tos` (0xfc) and `arp_op` (0xff).
    /// They are one more in `vlan_vid`, because of the tag-present bit.
    pub legal: u128,
    /// Offset in bytes of the field's first byte in a [`PipelineKey`].
    pub offset: u16,
    /// How many bytes of the key contain the field: up to 8 within one 64-bit word, or 16. They are in network
    /// byte order.
    pub len: u8,
    /// How far to the right a 64-bit word of the key, read as big-endian, must be shifted for the field to be
    /// right-aligned. 0 for fields of 16 bytes.
    pub shift: u8,
    /// One-bits from bit 0 on, as many as the field's bytes have behind that shift. All ones for fields of 16 bytes.
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
}

impl FieldDef {
    /// How many bytes a value of the field has in an OpenFlow message: 1, 2, 4, 6, 8 or 16.
    pub const fn wire_len(&self) -> usize {
        wire_len(self.bits)
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

/// The prefix length of a mask of `width` bits (32 for IPv4, 128 for IPv6): the number of its ones if all of them
/// stand above its zeros, as in CIDR notation (RFC 4632 §3.1). `None` for any other mask.
pub(crate) fn prefix_len(mask: u128, width: u16) -> Option<u16> {
    let zeros = mask.trailing_zeros().min(width.into()) as u16;
    (mask == ones(width) & !ones(zeros)).then_some(width - zeros)
}

/// Where a field is in a [`PipelineKey`]: the offset of its first byte, how many bytes contain it, and how many
/// bits of the last of these bytes lie below the field's lowest bit.
#[derive(Clone, Copy)]
struct KeyPart(usize, u8, u8);

/// How many bytes a field has that does not fit into a 64-bit word.
const WIDE: u8 = 16;

impl KeyPart {
    const fn shift(self) -> u8 {
        let Self(offset, len, shift) = self;
        if len == WIDE { 0 } else { 64 - 8 * (offset as u8 % 8 + len) + shift }
    }

    const fn room(self) -> u64 {
        let Self(_, len, shift) = self;
        if len == WIDE { u64::MAX } else { u64::MAX >> (64 - 8 * len + shift) }
    }
}

const fn wire(name: &'static str, class: u16, number: u8, since: OfVersion) -> WireName {
    WireName { name, class, number, experimenter: 0, since }
}

const fn nxm_of(name: &'static str, number: u8) -> WireName {
    wire(name, 0x0000, number, OfVersion::OpenFlow10)
}

const fn nxm_nx(name: &'static str, number: u8) -> WireName {
    wire(name, 0x0001, number, OfVersion::OpenFlow10)
}

const fn oxm(name: &'static str, number: u8) -> WireName {
    wire(name, 0x8000, number, OfVersion::OpenFlow12)
}

const fn oxm15(name: &'static str, number: u8) -> WireName {
    wire(name, 0x8000, number, OfVersion::OpenFlow15)
}

const fn vendor(name: &'static str, vendor: u32, number: u8, since: OfVersion) -> WireName {
    WireName { name, class: 0xffff, number, experimenter: vendor, since }
}

const fn onf(name: &'static str, number: u8) -> WireName {
    vendor(name, 0x4f4e_4600, number, OfVersion::OpenFlow13)
}

const fn ericsson(name: &'static str, number: u8) -> WireName {
    wire(name, 0x1000, number, OfVersion::OpenFlow10)
}

/// A [`FieldDef`] from a line of the field table: name, alias, width in bits, layout in the key, `any` mask or
/// `exact` values only, `rw` or `ro`, prerequisite, text form, wire names.
macro_rules! def {
    ($name:expr, $alias:expr, $bits:expr, $layout:expr, $mask:ident, $access:ident, $pre:ident,
     $form:ident, [$($wire:expr),*]) => {{
        const LAYOUT: KeyPart = $layout;
        const WIRE: &[WireName] = &[$($wire),*];
        FieldDef {
            name: $name,
            alias: if $alias.is_empty() { None } else { Some($alias) },
            bits: $bits,
            whole: ones(8 * wire_len($bits) as u16),
            legal: ones($bits),
            offset: LAYOUT.0 as u16,
            len: LAYOUT.1,
            shift: LAYOUT.shift(),
            room: LAYOUT.room(),
            maskable: def!(@ $mask),
            writable: def!(@ $access),
            prerequisite: Prerequisite::$pre,
            form: TextForm::$form,
            wire: WIRE,
        }
    }};
    (@ any) => { true };
    (@ exact) => { false };
    (@ rw) => { true };
    (@ ro) => { false };
}

macro_rules! fields {
    ($( $id:ident: $name:literal $alias:literal, $bits:literal, $layout:expr, $mask:ident,
        $access:ident, $pre:ident, $form:ident, $wire:tt $(, legal $legal:literal)?; )*) => {
        /// Names a field of the field table. The order is that of the table and has no further meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FieldId {
            $( #[doc = concat!("`", $name, "`")] $id, )*
            /// `reg0` to `reg31`: a register of 32 bits.
            Reg(u8),
            /// `xreg0` to `xreg15`: 64 bits. `xregN` is the registers `2N` (upper half) and `2N+1`.
            XReg(u8),
            /// `xxreg0` to `xxreg7`: 128 bits. `xxregN` is the registers `4N` (highest 32 bits) to `4N+3`.
            XxReg(u8),
        }

        const PLAIN: &[FieldId] = &[$( FieldId::$id, )*];

        impl FieldId {
            /// The field's entry of the field table.
            pub fn def(self) -> &'static FieldDef {
                match self {
                    $( Self::$id => {
                        static DEF: FieldDef = FieldDef {
                            $( legal: $legal, )?
                            ..def!($name, $alias, $bits, $layout, $mask, $access, $pre, $form, $wire)
                        };
                        &DEF
                    } )*
                    Self::Reg(n) => &REGS[n as usize % REGS.len()],
                    Self::XReg(n) => &XREGS[n as usize % XREGS.len()],
                    Self::XxReg(n) => &XXREGS[n as usize % XXREGS.len()],
                }
            }
        }
    };
}

/// The [`KeyPart`] of a member of the key, or of `len` bytes of it from byte `skip` on (`member[skip; len]`). `>> n`
/// says that the field's lowest bit is bit `n` of the last byte.
macro_rules! at {
    (headers.$member:ident) => {
        at!(Headers, $member, 0, 0)
    };
    (headers.$member:ident >> $shift:literal) => {
        at!(Headers, $member, 0, $shift)
    };
    (headers.$member:ident [$skip:literal; $len:literal]) => {
        KeyPart(offset_of!(PipelineKey, headers) + offset_of!(Headers, $member) + $skip, $len, 0)
    };
    (headers.$member:ident [$skip:literal; $len:literal] >> $shift:literal) => {
        KeyPart(
            offset_of!(PipelineKey, headers) + offset_of!(Headers, $member) + $skip,
            $len,
            $shift,
        )
    };
    (state.$member:ident [$skip:literal; $len:literal]) => {
        KeyPart(offset_of!(PipelineKey, $member) + $skip, $len, 0)
    };
    (state.$member:ident) => {
        at!(PipelineKey, $member, 0, 0)
    };
    (Headers, $member:ident, $skip:literal, $shift:literal) => {
        KeyPart(
            offset_of!(PipelineKey, headers) + offset_of!(Headers, $member),
            member_len(|k: &Headers| &k.$member),
            $shift,
        )
    };
    (PipelineKey, $member:ident, $skip:literal, $shift:literal) => {
        KeyPart(offset_of!(PipelineKey, $member), member_len(|k: &PipelineKey| &k.$member), $shift)
    };
}

const fn member_len<K, T>(_: fn(&K) -> &T) -> u8 {
    size_of::<T>() as u8
}

// Each line: name, alias, width in bits, place in the key, mask, access, prerequisite, text form, wire names.
// `legal` behind them is for fields whose legal bits are not the lowest ones of this width.
#[rustfmt::skip]
fields! {
    Metadata: "metadata" "", 64, at!(state.metadata), any, rw, None, Hexadecimal,
        [oxm("OXM_OF_METADATA", 2)];
    InPort: "in_port" "", 16, at!(state.in_port[2; 2]), exact, rw, None, Port,
        [nxm_of("NXM_OF_IN_PORT", 0)];
    InPortOxm: "in_port_oxm" "", 32, at!(state.in_port[2; 2]), exact, rw, None, Port32,
        [oxm("OXM_OF_IN_PORT", 0)];
    ActsetOutput: "actset_output" "", 32, at!(state.actset_output[2; 2]), exact, ro, None, Port32,
        [onf("ONFOXM_ET_ACTSET_OUTPUT", 43), oxm15("OXM_OF_ACTSET_OUTPUT", 43)];
    ConjId: "conj_id" "", 32, at!(state.conj_id), exact, ro, None, Decimal,
        [nxm_nx("NXM_NX_CONJ_ID", 37)];
    PktMark: "pkt_mark" "", 32, at!(state.pkt_mark), any, rw, None, Hexadecimal,
        [nxm_nx("NXM_NX_PKT_MARK", 33)];
    EthSrc: "eth_src" "dl_src", 48, at!(headers.dl_src), any, rw, None, Ethernet,
        [nxm_of("NXM_OF_ETH_SRC", 2), oxm("OXM_OF_ETH_SRC", 4)];
    EthDst: "eth_dst" "dl_dst", 48, at!(headers.dl_dst), any, rw, None, Ethernet,
        [nxm_of("NXM_OF_ETH_DST", 1), oxm("OXM_OF_ETH_DST", 3)];
    EthType: "eth_type" "dl_type", 16, at!(headers.dl_type), exact, ro, None, Hexadecimal,
        [nxm_of("NXM_OF_ETH_TYPE", 3), oxm("OXM_OF_ETH_TYPE", 5)];
    VlanTci: "vlan_tci" "", 16, at!(headers.vlan_tci), any, rw, None, Hexadecimal,
        [nxm_of("NXM_OF_VLAN_TCI", 4)];
    DlVlan: "dl_vlan" "", 12, at!(headers.vlan_tci), exact, rw, None, Decimal,
        [];
    VlanVid: "vlan_vid" "", 12, at!(headers.vlan_tci), any, rw, None, Decimal,
        [oxm("OXM_OF_VLAN_VID", 6)], legal 0x1fff;
    DlVlanPcp: "dl_vlan_pcp" "", 3, at!(headers.vlan_tci >> 13), exact, rw, None, Decimal,
        [];
    VlanPcp: "vlan_pcp" "", 3, at!(headers.vlan_tci >> 13), exact, rw, VlanVid, Decimal,
        [oxm("OXM_OF_VLAN_PCP", 7)];
    MplsLabel: "mpls_label" "", 20, at!(headers.mpls_lse[0; 4] >> 12), exact, rw, Mpls, Decimal,
        [oxm("OXM_OF_MPLS_LABEL", 34)];
    MplsTc: "mpls_tc" "", 3, at!(headers.mpls_lse[0; 4] >> 9), exact, rw, Mpls, Decimal,
        [oxm("OXM_OF_MPLS_TC", 35)];
    MplsBos: "mpls_bos" "", 1, at!(headers.mpls_lse[0; 4] >> 8), exact, ro, Mpls, Decimal,
        [oxm("OXM_OF_MPLS_BOS", 36)];
    MplsTtl: "mpls_ttl" "", 8, at!(headers.mpls_lse[0; 4]), exact, rw, Mpls, Decimal,
        [nxm_nx("NXM_NX_MPLS_TTL", 30)];
    Ipv4Src: "ip_src" "nw_src", 32, at!(headers.nw_addrs[0; 4]), any, rw, Ipv4, Ipv4,
        [nxm_of("NXM_OF_IP_SRC", 7), oxm("OXM_OF_IPV4_SRC", 11)];
    Ipv4Dst: "ip_dst" "nw_dst", 32, at!(headers.nw_addrs[4; 4]), any, rw, Ipv4, Ipv4,
        [nxm_of("NXM_OF_IP_DST", 8), oxm("OXM_OF_IPV4_DST", 12)];
    Ipv6Src: "ipv6_src" "", 128, at!(headers.nw_addrs[0; 16]), any, rw, Ipv6, Ipv6,
        [nxm_nx("NXM_NX_IPV6_SRC", 19), oxm("OXM_OF_IPV6_SRC", 26)];
    Ipv6Dst: "ipv6_dst" "", 128, at!(headers.nw_addrs[16; 16]), any, rw, Ipv6, Ipv6,
        [nxm_nx("NXM_NX_IPV6_DST", 20), oxm("OXM_OF_IPV6_DST", 27)];
    Ipv6Label: "ipv6_label" "", 20, at!(headers.ipv6_label), any, rw, Ipv6, Hexadecimal,
        [nxm_nx("NXM_NX_IPV6_LABEL", 27), oxm("OXM_OF_IPV6_FLABEL", 28)];
    IpProto: "nw_proto" "ip_proto", 8, at!(headers.nw_proto), exact, ro, Ip, Decimal,
        [nxm_of("NXM_OF_IP_PROTO", 6), oxm("OXM_OF_IP_PROTO", 10)];
    NwTos: "nw_tos" "", 8, at!(headers.nw_tos), exact, rw, Ip, Decimal,
        [nxm_of("NXM_OF_IP_TOS", 5)], legal 0xfc;
    IpDscp: "ip_dscp" "", 6, at!(headers.nw_tos >> 2), exact, rw, Ip, Decimal,
        [oxm("OXM_OF_IP_DSCP", 8)];
    IpEcn: "nw_ecn" "ip_ecn", 2, at!(headers.nw_tos), exact, rw, Ip, Decimal,
        [nxm_nx("NXM_NX_IP_ECN", 28), oxm("OXM_OF_IP_ECN", 9)];
    IpTtl: "nw_ttl" "", 8, at!(headers.nw_ttl), exact, rw, Ip, Decimal,
        [nxm_nx("NXM_NX_IP_TTL", 29)];
    IpFrag: "ip_frag" "nw_frag", 2, at!(headers.nw_frag), any, ro, Ip, Frag,
        [nxm_nx("NXM_NX_IP_FRAG", 26)];
    ArpOp: "arp_op" "", 16, at!(headers.nw_proto), exact, rw, Arp, Decimal,
        [nxm_of("NXM_OF_ARP_OP", 15), oxm("OXM_OF_ARP_OP", 21)], legal 0xff;
    ArpSpa: "arp_spa" "", 32, at!(headers.nw_addrs[0; 4]), any, rw, Arp, Ipv4,
        [nxm_of("NXM_OF_ARP_SPA", 16), oxm("OXM_OF_ARP_SPA", 22)];
    ArpTpa: "arp_tpa" "", 32, at!(headers.nw_addrs[4; 4]), any, rw, Arp, Ipv4,
        [nxm_of("NXM_OF_ARP_TPA", 17), oxm("OXM_OF_ARP_TPA", 23)];
    ArpSha: "arp_sha" "", 48, at!(headers.arp_sha), any, rw, Arp, Ethernet,
        [nxm_nx("NXM_NX_ARP_SHA", 17), oxm("OXM_OF_ARP_SHA", 24)];
    ArpTha: "arp_tha" "", 48, at!(headers.arp_tha), any, rw, Arp, Ethernet,
        [nxm_nx("NXM_NX_ARP_THA", 18), oxm("OXM_OF_ARP_THA", 25)];
    TcpSrc: "tcp_src" "tp_src", 16, at!(headers.tp_src), any, rw, Tcp, Decimal,
        [nxm_of("NXM_OF_TCP_SRC", 9), oxm("OXM_OF_TCP_SRC", 13)];
    TcpDst: "tcp_dst" "tp_dst", 16, at!(headers.tp_dst), any, rw, Tcp, Decimal,
        [nxm_of("NXM_OF_TCP_DST", 10), oxm("OXM_OF_TCP_DST", 14)];
    TcpFlags: "tcp_flags" "", 12, at!(headers.tcp_flags), any, ro, Tcp, TcpFlags,
        [nxm_nx("NXM_NX_TCP_FLAGS", 34), onf("ONFOXM_ET_TCP_FLAGS", 42), oxm15("OXM_OF_TCP_FLAGS", 42)];
    UdpSrc: "udp_src" "", 16, at!(headers.tp_src), any, rw, Udp, Decimal,
        [nxm_of("NXM_OF_UDP_SRC", 11), oxm("OXM_OF_UDP_SRC", 15)];
    UdpDst: "udp_dst" "", 16, at!(headers.tp_dst), any, rw, Udp, Decimal,
        [nxm_of("NXM_OF_UDP_DST", 12), oxm("OXM_OF_UDP_DST", 16)];
    SctpSrc: "sctp_src" "", 16, at!(headers.tp_src), any, rw, Sctp, Decimal,
        [oxm("OXM_OF_SCTP_SRC", 17)];
    SctpDst: "sctp_dst" "", 16, at!(headers.tp_dst), any, rw, Sctp, Decimal,
        [oxm("OXM_OF_SCTP_DST", 18)];
    IcmpType: "icmp_type" "", 8, at!(headers.tp_src[1; 1]), exact, rw, Icmpv4, Decimal,
        [nxm_of("NXM_OF_ICMP_TYPE", 13), oxm("OXM_OF_ICMPV4_TYPE", 19)];
    IcmpCode: "icmp_code" "", 8, at!(headers.tp_dst[1; 1]), exact, rw, Icmpv4, Decimal,
        [nxm_of("NXM_OF_ICMP_CODE", 14), oxm("OXM_OF_ICMPV4_CODE", 20)];
    Icmpv6Type: "icmpv6_type" "", 8, at!(headers.tp_src[1; 1]), exact, rw, Icmpv6, Decimal,
        [nxm_nx("NXM_NX_ICMPV6_TYPE", 21), oxm("OXM_OF_ICMPV6_TYPE", 29)];
    Icmpv6Code: "icmpv6_code" "", 8, at!(headers.tp_dst[1; 1]), exact, rw, Icmpv6, Decimal,
        [nxm_nx("NXM_NX_ICMPV6_CODE", 22), oxm("OXM_OF_ICMPV6_CODE", 30)];
    NdTarget: "nd_target" "", 128, at!(headers.nd_target), any, rw, Nd, Ipv6,
        [nxm_nx("NXM_NX_ND_TARGET", 23), oxm("OXM_OF_IPV6_ND_TARGET", 31)];
    NdSll: "nd_sll" "", 48, at!(headers.arp_sha), any, rw, NdSolicit, Ethernet,
        [nxm_nx("NXM_NX_ND_SLL", 24), oxm("OXM_OF_IPV6_ND_SLL", 32)];
    NdTll: "nd_tll" "", 48, at!(headers.arp_tha), any, rw, NdAdvert, Ethernet,
        [nxm_nx("NXM_NX_ND_TLL", 25), oxm("OXM_OF_IPV6_ND_TLL", 33)];
    NdReserved: "nd_reserved" "", 32, at!(headers.nd_reserved), exact, rw, Nd, Decimal,
        [ericsson("ERICOXM_OF_ICMPV6_ND_RESERVED", 1)];
    NdOptionsType: "nd_options_type" "", 8, at!(headers.nd_options_type), exact, rw, Nd, Decimal,
        [ericsson("ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", 2)];
}

/// The [`FieldDef`] of register `$n`, which has `$bits` bits.
macro_rules! register {
    ($n:literal, $bits:literal, $name:literal, $prefix:literal, $wire:ident) => {
        def!(
            concat!($name, $n),
            "",
            $bits,
            KeyPart(offset_of!(PipelineKey, regs) + $n * $bits / 8, $bits / 8, 0),
            any,
            rw,
            None,
            Hexadecimal,
            [$wire(concat!($prefix, $n), $n)]
        )
    };
}

#[rustfmt::skip]
macro_rules! reg {
    ($n:literal) => { register!($n, 32, "reg", "NXM_NX_REG", single) };
    ($n:literal new) => { register!($n, 32, "reg", "NXOXM_ET_REG", single) };
}

#[rustfmt::skip]
macro_rules! xreg {
    ($n:literal) => { register!($n, 64, "xreg", "OXM_OF_PKT_REG", double) };
}

#[rustfmt::skip]
macro_rules! xxreg {
    ($n:literal) => { register!($n, 128, "xxreg", "NXM_NX_XXREG", quad) };
    ($n:literal new) => { register!($n, 128, "xxreg", "NXOXM_ET_XXREG", quad) };
}

/// The wire name of a register of 32 bits. Open vSwitch added the registers from `reg16` on later, and for lack of
/// free NXM numbers they are experimenter fields.
const fn single(name: &'static str, n: u8) -> WireName {
    if n < 16 { nxm_nx(name, n) } else { vendor(name, NXOXM_ET, n + 1, OfVersion::OpenFlow10) }
}

const fn double(name: &'static str, n: u8) -> WireName {
    wire(name, 0x8001, n, OfVersion::OpenFlow13)
}

const fn quad(name: &'static str, n: u8) -> WireName {
    if n < 4 {
        nxm_nx(name, 111 + n)
    } else {
        vendor(name, NXOXM_ET, 29 + n, OfVersion::OpenFlow10)
    }
}

/// The experimenter id of Nicira in experimenter fields of OXM.
const NXOXM_ET: u32 = 0x0000_2320;

#[rustfmt::skip]
static REGS: [FieldDef; 32] = [
    reg!(0), reg!(1), reg!(2), reg!(3), reg!(4), reg!(5), reg!(6), reg!(7),
    reg!(8), reg!(9), reg!(10), reg!(11), reg!(12), reg!(13), reg!(14), reg!(15),
    reg!(16 new), reg!(17 new), reg!(18 new), reg!(19 new), reg!(20 new), reg!(21 new), reg!(22 new),
    reg!(23 new), reg!(24 new), reg!(25 new), reg!(26 new), reg!(27 new), reg!(28 new), reg!(29 new),
    reg!(30 new), reg!(31 new),
];

#[rustfmt::skip]
static XREGS: [FieldDef; 16] = [
    xreg!(0), xreg!(1), xreg!(2), xreg!(3), xreg!(4), xreg!(5), xreg!(6), xreg!(7),
    xreg!(8), xreg!(9), xreg!(10), xreg!(11), xreg!(12), xreg!(13), xreg!(14), xreg!(15),
];

#[rustfmt::skip]
static XXREGS: [FieldDef; 8] = [
    xxreg!(0), xxreg!(1), xxreg!(2), xxreg!(3),
    xxreg!(4 new), xxreg!(5 new), xxreg!(6 new), xxreg!(7 new),
];

impl FieldId {
    /// Every field of the field table, registers last.
    pub fn all() -> impl Iterator<Item = Self> {
        let plain = PLAIN.iter().copied();
        let regs = (0..REGS.len() as u8).map(Self::Reg);
        let xregs = (0..XREGS.len() as u8).map(Self::XReg);
        let xxregs = (0..XXREGS.len() as u8).map(Self::XxReg);
        plain.chain(regs).chain(xregs).chain(xxregs)
    }

    /// The mask of an exact match: every bit of the field that may be one ([`FieldDef::legal`]).
    #[inline]
    pub fn full_mask(self) -> u128 {
        self.def().legal
    }

    /// The field's value in `key`, right-aligned. The value means nothing if the packet lacks the field: ask
    /// [`FieldId::prerequisite_met`] first.
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
    /// vSwitch; values of `vlan_tci` and `vlan_vid` contain that bit. Prerequisites are not checked: ask
    /// [`FieldId::prerequisite_met`] first.
    #[inline]
    pub fn write(self, key: &mut PipelineKey, value: u128, mask: u128) {
        self.def().put(key, value, mask);
        if matches!(self, Self::DlVlan | Self::DlVlanPcp | Self::VlanPcp) {
            key.headers.vlan_tci |= VLAN_CFI;
        }
    }

    /// Sets the field's `bits` (right-aligned) in a mask.
    #[inline]
    pub fn set_mask(self, mask: &mut PipelineMask, bits: u128) {
        self.def().put(&mut mask.bits, u128::MAX, bits);
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

    /// Whether the field is a part of the outer VLAN tag. These fields share bits with the one that says that there is
    /// a tag.
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
