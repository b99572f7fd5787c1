//! The lines of the field table, and the macros that make a [`FieldDef`] of each.
//!
//! A new field is a line of [`FieldId`]'s table below. The compiler then names what is missing: its member of
//! the key, and the places that distinguish fields.

use super::{FieldDef, TextForm, WireName, ones, wire_len};
use crate::key::{Headers, PipelineKey, metadata_place, option_size};
use crate::prerequisite::Prerequisite;
use crate::types::OfVersion;
use std::mem::offset_of;
use std::ops::Range;

/// Where a field is in a [`PipelineKey`]: the offset of its first byte, how many bytes contain it, and how many
/// bits of the last of these bytes lie below the field's lowest bit.
#[derive(Clone, Copy)]
struct KeyPart(usize, u8, u8);

/// How many bytes a field has that does not fit into a 64-bit word.
pub(super) const WIDE: u8 = 16;

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
/// `exact` values only, `rw` or `ro`, prerequisite, text form, wire names. Behind the example, `legal` and
/// `bytes` say what the width does not: the bits that may be one, and the size in messages.
macro_rules! def {
    ($name:expr, $alias:expr, $bits:expr, $layout:expr, $mask:ident, $access:ident, $pre:ident,
     $form:ident, [$($wire:expr),*], $meaning:expr, $example:expr) => {{
        const LAYOUT: KeyPart = $layout;
        const WIRE: &[WireName] = &[$($wire),*];
        FieldDef {
            name: $name,
            alias: if $alias.is_empty() { None } else { Some($alias) },
            bits: $bits,
            wire_size: wire_len($bits),
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
            meaning: $meaning,
            example: $example,
        }
    }};
    (@ any) => { true };
    (@ exact) => { false };
    (@ rw) => { true };
    (@ ro) => { false };
}

macro_rules! fields {
    ($( $(#[doc = $meaning:literal])+ $id:ident: $name:literal $alias:literal, $bits:literal, $layout:expr, $mask:ident,
        $access:ident, $pre:ident, $form:ident, $wire:tt, $example:literal
        $(, legal $legal:literal)? $(, bytes $bytes:literal)?; )*) => {
        /// Names a field of the field table. The order is that of the table and has no further meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FieldId {
            $(
                #[doc = concat!("`", $name, "`:")]
                $(#[doc = $meaning])+
                $id,
            )*
            /// `tun_metadata0` to `tun_metadata63`: an option of Geneve, as the bridge's map (`add-tlv-map`)
            /// says. The first eight have 128 bits, the others 32.
            TunMetadata(u8),
            /// `reg0` to `reg31`: a register of 32 bits.
            Reg(u8),
            /// `xreg0` to `xreg15`: 64 bits. `xregN` is the registers `2N` (upper half) and `2N+1`.
            XReg(u8),
            /// `xxreg0` to `xxreg7`: 128 bits. `xxregN` is the registers `4N` (highest 32 bits) to `4N+3`.
            XxReg(u8),
        }

        pub(super) const PLAIN: &[FieldId] = &[$( FieldId::$id, )*];

        impl FieldId {
            /// The field's entry of the field table.
            pub fn def(self) -> &'static FieldDef {
                match self {
                    $( Self::$id => {
                        static DEF: FieldDef = FieldDef {
                            $( legal: $legal, )?
                            $( wire_size: $bytes, whole: ones(8 * $bytes), )?
                            ..def!($name, $alias, $bits, $layout, $mask, $access, $pre, $form, $wire,
                                concat!($($meaning),+), $example)
                        };
                        &DEF
                    } )*
                    Self::TunMetadata(n) => &TUN_METADATA[n as usize % TUN_METADATA.len()],
                    Self::Reg(n) => &REGS[n as usize % REGS.len()],
                    Self::XReg(n) => &XREGS[n as usize % XREGS.len()],
                    Self::XxReg(n) => &XXREGS[n as usize % XXREGS.len()],
                }
            }
        }
    };
}

/// The [`KeyPart`] of a member of the key, or of `len` bytes of it from byte `skip` on (`member[skip; len]`).
/// `>> n` says that the field's lowest bit is bit `n` of the last byte.
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

// Each line: name, alias, width in bits, place in the key, mask, access, prerequisite, text form, wire names,
// and the example of `ofctl help`, which is a whole rule. The doc comment is the text of `ofctl help` and of
// docs/rules.md. `legal` behind them is for fields whose legal bits are not the lowest ones of this width.
#[rustfmt::skip]
fields! {
    /// A number that rules of one table write for rules of later tables. It is 0 when a packet arrives, and 0
    /// again behind a patch port.
    Metadata: "metadata" "", 64, at!(state.metadata), any, rw, None, Hexadecimal,
        [oxm("OXM_OF_METADATA", 2)],
        "metadata=0x5/0xff,actions=output:1";
    /// The port at which the packet arrived: its number, its name, or a reserved port such as `LOCAL`. An
    /// action can change it for the lookups behind, and for outputs, which leave out the ingress port.
    InPort: "in_port" "", 16, at!(state.in_port[2; 2]), exact, rw, None, Port,
        [nxm_of("NXM_OF_IN_PORT", 0)],
        "in_port=1,actions=output:2";
    /// The ingress port as messages of OpenFlow 1.1 and later carry it, with 32 bits. It is
    /// the same port as `in_port`.
    InPortOxm: "in_port_oxm" "", 32, at!(state.in_port[2; 2]), exact, rw, None, Port32,
        [oxm("OXM_OF_IN_PORT", 0)],
        "in_port_oxm=1,actions=output:2";
    /// The port of the `output` in the packet's action set, as `write_actions` left it; `UNSET` if the set has
    /// no `output` or has a `group`.
    ActsetOutput: "actset_output" "", 32, at!(state.actset_output[2; 2]), exact, ro, None, Port32,
        [onf("ONFOXM_ET_ACTSET_OUTPUT", 43), oxm15("OXM_OF_ACTSET_OUTPUT", 43)],
        "table=1,actset_output=2,actions=drop";
    /// The number of the conjunction that the packet met. The switch has no action `conjunction`, so that the
    /// field is 0 for every packet.
    ConjId: "conj_id" "", 32, at!(state.conj_id), exact, ro, None, Decimal,
        [nxm_nx("NXM_NX_CONJ_ID", 37)],
        "conj_id=7,actions=drop";
    /// A mark that rules give to the packet. It is 0 when a packet arrives, and the packet keeps it from bridge
    /// to bridge. The kernel's marks are not read, and not set.
    PktMark: "pkt_mark" "", 32, at!(state.pkt_mark), any, rw, None, Hexadecimal,
        [nxm_nx("NXM_NX_PKT_MARK", 33)],
        "pkt_mark=0x1/0x1,actions=drop";
    /// The key of the tunnel that the packet came through: the VNI of VXLAN or Geneve (24 bits), the key of GRE
    /// (32 bits). A rule writes there the key that the next tunnel port is to send. It is 0 for a packet
    /// without a tunnel, and behind a patch port.
    TunId: "tun_id" "tunnel_id", 64, at!(headers.tun_id), any, rw, None, Hexadecimal,
        [nxm_nx("NXM_NX_TUN_ID", 16), wire("OXM_OF_TUNNEL_ID", 0x8000, 38, OfVersion::OpenFlow13)],
        "tun_id=0x5,actions=output:2";
    /// The IPv4 source address of the tunnel that the packet came through, or goes through next;
    /// 0 if there is none.
    TunSrc: "tun_src" "", 32, at!(headers.tun_src), any, rw, None, Ipv4,
        [nxm_nx("NXM_NX_TUN_IPV4_SRC", 31)],
        "tun_src=192.0.2.1,actions=output:2";
    /// The IPv4 destination address of the tunnel that the packet came through, or goes through next; 0 if
    /// there is none.
    TunDst: "tun_dst" "", 32, at!(headers.tun_dst), any, rw, None, Ipv4,
        [nxm_nx("NXM_NX_TUN_IPV4_DST", 32)],
        "tun_dst=192.0.2.0/24,actions=output:2";
    /// The IPv6 source address of the tunnel that the packet came through, or goes through next;
    /// 0 if there is none.
    TunIpv6Src: "tun_ipv6_src" "", 128, at!(headers.tun_ipv6_src), any, rw, None, Ipv6,
        [nxm_nx("NXM_NX_TUN_IPV6_SRC", 109)],
        "tun_ipv6_src=2001:db8::1,actions=output:2";
    /// The IPv6 destination address of the tunnel that the packet came through, or goes through next; 0 if
    /// there is none.
    TunIpv6Dst: "tun_ipv6_dst" "", 128, at!(headers.tun_ipv6_dst), any, rw, None, Ipv6,
        [nxm_nx("NXM_NX_TUN_IPV6_DST", 110)],
        "tun_ipv6_dst=2001:db8::/32,actions=output:2";
    /// What the header of the tunnel says of the packet, as flags: `oam` a control packet of
    /// the tunnel's ends, no data.
    TunFlags: "tun_flags" "", 1, at!(headers.tun_flags), any, rw, None, TunFlags,
        [nxm_nx("NXM_NX_TUN_FLAGS", 104)],
        "tun_flags=+oam,actions=drop", bytes 2;
    /// The time to live or hop limit of the tunnel's IP header, in hops. OpenFlow messages have no name for it.
    TunTtl: "tun_ttl" "", 8, at!(headers.tun_ttl), exact, ro, None, Decimal,
        [],
        "tun_ttl=1,actions=drop";
    /// The TOS or traffic class of the tunnel's IP header. OpenFlow messages have no name for it.
    TunTos: "tun_tos" "", 8, at!(headers.tun_tos), exact, ro, None, Decimal,
        [],
        "tun_tos=184,actions=output:2";
    /// The group that the packet's sender is in (VXLAN's extension for group-based
    /// policy); 0 without that extension.
    TunGbpId: "tun_gbp_id" "", 16, at!(headers.tun_gbp_id), any, rw, None, Decimal,
        [nxm_nx("NXM_NX_TUN_GBP_ID", 38)],
        "tun_gbp_id=5,actions=output:2";
    /// The flags of VXLAN's extension for group-based policy: 0x40 do not learn the sender,
    /// 0x8 the policy was applied.
    TunGbpFlags: "tun_gbp_flags" "", 8, at!(headers.tun_gbp_flags), any, rw, None, Hexadecimal,
        [nxm_nx("NXM_NX_TUN_GBP_FLAGS", 39)],
        "tun_gbp_flags=0x8/0x8,actions=output:2";
    /// Which of the fields `tun_metadata0` to `tun_metadata63` the packet has, one bit for each: bit `N` for
    /// `tun_metadataN`. A rule that wants the option writes `tun_metadataN`; a rule for packets without it
    /// needs this field. OpenFlow messages have no name for it.
    TunOptions: "tun_options" "", 64, at!(headers.tun_options), any, ro, None, Hexadecimal,
        [],
        "tun_options=0x0/0x1,actions=drop";
    /// What connection tracking (`ct`) says of the packet, as flags: `trk` tracked, `new` begins a connection,
    /// `est` belongs to one that was committed, `rel` is about one, `rpl` goes against its first packet, `inv`
    /// belongs to none, `snat` and `dnat` its source or destination is translated. It is 0 before `ct`, and
    /// behind a patch port.
    CtState: "ct_state" "", 32, at!(headers.ct_state), any, ro, None, CtState,
        [nxm_nx("NXM_NX_CT_STATE", 105)],
        "ip,ct_state=+trk+est,actions=output:2", legal 0xff;
    /// The zone in which `ct` looked for the packet's connection.
    CtZone: "ct_zone" "", 16, at!(headers.ct_zone), exact, ro, None, Decimal,
        [nxm_nx("NXM_NX_CT_ZONE", 106)],
        "ip,ct_state=+trk,ct_zone=5,actions=output:2";
    /// The mark of the packet's connection. Actions change it inside `ct(commit,exec(...))` only.
    CtMark: "ct_mark" "", 32, at!(headers.ct_mark), any, rw, None, Hexadecimal,
        [nxm_nx("NXM_NX_CT_MARK", 107)],
        "ip,ct_state=+trk+est,ct_mark=0x1/0x1,actions=output:2";
    /// The label of the packet's connection. Actions change it inside `ct(commit,exec(...))` only.
    CtLabel: "ct_label" "", 128, at!(headers.ct_label), any, rw, None, Hexadecimal,
        [nxm_nx("NXM_NX_CT_LABEL", 108)],
        "ip,ct_state=+trk+est,ct_label=0x1/0x1,actions=output:2";
    /// The IP protocol of the first packet of the packet's connection.
    CtNwProto: "ct_nw_proto" "", 8, at!(headers.ct_nw_proto), exact, ro, Ct, Decimal,
        [nxm_nx("NXM_NX_CT_NW_PROTO", 119)],
        "ip,ct_state=+trk+est,ct_nw_proto=6,actions=output:2";
    /// The IPv4 source address of the first packet of the packet's connection, before any translation.
    CtNwSrc: "ct_nw_src" "", 32, at!(headers.ct_nw_src), any, ro, Ct, Ipv4,
        [nxm_nx("NXM_NX_CT_NW_SRC", 120)],
        "ip,ct_state=+trk+est,ct_nw_src=10.0.0.0/8,actions=output:2";
    /// The IPv4 destination address of the first packet of the packet's connection, before any translation.
    CtNwDst: "ct_nw_dst" "", 32, at!(headers.ct_nw_dst), any, ro, Ct, Ipv4,
        [nxm_nx("NXM_NX_CT_NW_DST", 121)],
        "ip,ct_state=+trk+est,ct_nw_dst=10.0.0.2,actions=output:2";
    /// The IPv6 source address of the first packet of the packet's connection, before any translation.
    CtIpv6Src: "ct_ipv6_src" "", 128, at!(headers.ct_ipv6_src), any, ro, Ct, Ipv6,
        [nxm_nx("NXM_NX_CT_IPV6_SRC", 122)],
        "ipv6,ct_state=+trk+est,ct_ipv6_src=2001:db8::/32,actions=output:2";
    /// The IPv6 destination address of the first packet of the packet's connection, before any translation.
    CtIpv6Dst: "ct_ipv6_dst" "", 128, at!(headers.ct_ipv6_dst), any, ro, Ct, Ipv6,
        [nxm_nx("NXM_NX_CT_IPV6_DST", 123)],
        "ipv6,ct_state=+trk+est,ct_ipv6_dst=2001:db8::1,actions=output:2";
    /// The source port of the first packet of the packet's connection, before any translation. Of
    /// ICMP it is the type.
    CtTpSrc: "ct_tp_src" "", 16, at!(headers.ct_tp_src), any, ro, Ct, Decimal,
        [nxm_nx("NXM_NX_CT_TP_SRC", 124)],
        "ip,ct_state=+trk+est,ct_nw_proto=6,ct_tp_src=80,actions=output:2";
    /// The destination port of the first packet of the packet's connection, before any translation. Of ICMP it
    /// is the code.
    CtTpDst: "ct_tp_dst" "", 16, at!(headers.ct_tp_dst), any, ro, Ct, Decimal,
        [nxm_nx("NXM_NX_CT_TP_DST", 125)],
        "ip,ct_state=+trk+est,ct_nw_proto=6,ct_tp_dst=80,actions=output:2";
    /// The source address of the Ethernet frame.
    EthSrc: "eth_src" "dl_src", 48, at!(headers.dl_src), any, rw, None, Ethernet,
        [nxm_of("NXM_OF_ETH_SRC", 2), oxm("OXM_OF_ETH_SRC", 4)],
        "dl_src=02:00:00:00:00:01,actions=drop";
    /// The destination address of the Ethernet frame. The mask `01:00:00:00:00:00` selects multicast and
    /// broadcast, or unicast.
    EthDst: "eth_dst" "dl_dst", 48, at!(headers.dl_dst), any, rw, None, Ethernet,
        [nxm_of("NXM_OF_ETH_DST", 1), oxm("OXM_OF_ETH_DST", 3)],
        "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=FLOOD";
    /// The EtherType behind all VLAN tags: 0x800 IPv4, 0x806 ARP, 0x86dd IPv6, 0x8847 MPLS. 0x5ff stands for
    /// frames with an 802.3 length. The words `ip`, `arp`, `ipv6` and `mpls` are shorter.
    EthType: "eth_type" "dl_type", 16, at!(headers.dl_type), exact, ro, None, Hexadecimal,
        [nxm_of("NXM_OF_ETH_TYPE", 3), oxm("OXM_OF_ETH_TYPE", 5)],
        "dl_type=0x88cc,actions=drop";
    /// The outermost VLAN tag as one number: the priority in the upper 3 bits, 0x1000 for "a tag is present",
    /// and the VLAN id in the lower 12 bits. 0 is a frame without a tag.
    VlanTci: "vlan_tci" "", 16, at!(headers.vlan_tci), any, rw, None, Hexadecimal,
        [nxm_of("NXM_OF_VLAN_TCI", 4)],
        "vlan_tci=0x1000/0x1000,actions=drop";
    /// The VLAN id of the outermost tag. 0xffff selects frames without a tag.
    /// Actions name the field `vlan_vid`.
    DlVlan: "dl_vlan" "", 12, at!(headers.vlan_tci), exact, rw, None, Decimal,
        [],
        "dl_vlan=10,actions=strip_vlan,output:2";
    /// The VLAN id of the outermost tag, plus 0x1000 (4096) for "a tag is present": 4106 is VLAN 10. 0 is a
    /// frame without a tag.
    VlanVid: "vlan_vid" "", 12, at!(headers.vlan_tci), any, rw, None, Decimal,
        [oxm("OXM_OF_VLAN_VID", 6)],
        "vlan_vid=0x100a,actions=drop", legal 0x1fff;
    /// The priority of the outermost VLAN tag (PCP, IEEE 802.1Q). Only tagged frames match.
    /// Actions name the field `vlan_pcp`.
    DlVlanPcp: "dl_vlan_pcp" "", 3, at!(headers.vlan_tci >> 13), exact, rw, None, Decimal,
        [],
        "dl_vlan=10,dl_vlan_pcp=5,actions=output:2";
    /// The priority of the outermost VLAN tag (PCP, IEEE 802.1Q).
    VlanPcp: "vlan_pcp" "", 3, at!(headers.vlan_tci >> 13), exact, rw, VlanVid, Decimal,
        [oxm("OXM_OF_VLAN_PCP", 7)],
        "dl_vlan=10,vlan_pcp=5,actions=output:2";
    /// The label of the outermost entry of the MPLS label stack.
    MplsLabel: "mpls_label" "", 20, at!(headers.mpls_lse[0; 4] >> 12), exact, rw, Mpls, Decimal,
        [oxm("OXM_OF_MPLS_LABEL", 34)],
        "mpls,mpls_label=100,actions=output:2";
    /// The traffic class of the outermost entry of the MPLS label stack.
    MplsTc: "mpls_tc" "", 3, at!(headers.mpls_lse[0; 4] >> 9), exact, rw, Mpls, Decimal,
        [oxm("OXM_OF_MPLS_TC", 35)],
        "mpls,mpls_tc=2,actions=output:2";
    /// Whether the outermost entry of the MPLS label stack is the last one (bottom of stack): 1 if it is, 0 if
    /// more entries follow.
    MplsBos: "mpls_bos" "", 1, at!(headers.mpls_lse[0; 4] >> 8), exact, ro, Mpls, Decimal,
        [oxm("OXM_OF_MPLS_BOS", 36)],
        "mpls,mpls_bos=1,actions=output:2";
    /// The time to live of the outermost entry of the MPLS label stack, in hops.
    MplsTtl: "mpls_ttl" "", 8, at!(headers.mpls_lse[0; 4]), exact, rw, Mpls, Decimal,
        [nxm_nx("NXM_NX_MPLS_TTL", 30)],
        "mpls,mpls_ttl=1,actions=drop";
    /// The source address of the IPv4 packet.
    Ipv4Src: "ip_src" "nw_src", 32, at!(headers.nw_addrs[0; 4]), any, rw, Ipv4, Ipv4,
        [nxm_of("NXM_OF_IP_SRC", 7), oxm("OXM_OF_IPV4_SRC", 11)],
        "ip,nw_src=10.0.0.0/8,actions=drop";
    /// The destination address of the IPv4 packet.
    Ipv4Dst: "ip_dst" "nw_dst", 32, at!(headers.nw_addrs[4; 4]), any, rw, Ipv4, Ipv4,
        [nxm_of("NXM_OF_IP_DST", 8), oxm("OXM_OF_IPV4_DST", 12)],
        "ip,nw_dst=10.0.0.2,actions=output:2";
    /// The source address of the IPv6 packet.
    Ipv6Src: "ipv6_src" "", 128, at!(headers.nw_addrs[0; 16]), any, rw, Ipv6, Ipv6,
        [nxm_nx("NXM_NX_IPV6_SRC", 19), oxm("OXM_OF_IPV6_SRC", 26)],
        "ipv6,ipv6_src=fe80::/64,actions=drop";
    /// The destination address of the IPv6 packet.
    Ipv6Dst: "ipv6_dst" "", 128, at!(headers.nw_addrs[16; 16]), any, rw, Ipv6, Ipv6,
        [nxm_nx("NXM_NX_IPV6_DST", 20), oxm("OXM_OF_IPV6_DST", 27)],
        "ipv6,ipv6_dst=2001:db8::1,actions=output:2";
    /// The flow label of the IPv6 packet (RFC 6437).
    Ipv6Label: "ipv6_label" "", 20, at!(headers.ipv6_label), any, rw, Ipv6, Hexadecimal,
        [nxm_nx("NXM_NX_IPV6_LABEL", 27), oxm("OXM_OF_IPV6_FLABEL", 28)],
        "ipv6,ipv6_label=0x5,actions=output:2";
    /// The protocol inside IPv4 or IPv6: 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6, 132 SCTP. The words `icmp`, `tcp`,
    /// `udp`, `icmp6` and `sctp` are shorter. In IPv6 it is the protocol behind the extension headers.
    IpProto: "nw_proto" "ip_proto", 8, at!(headers.nw_proto), exact, ro, Ip, Decimal,
        [nxm_of("NXM_OF_IP_PROTO", 6), oxm("OXM_OF_IP_PROTO", 10)],
        "ip,nw_proto=50,actions=output:2";
    /// The DSCP of IPv4 or IPv6 at its place in the TOS byte: the DSCP times 4. The two ECN bits are `nw_ecn`.
    NwTos: "nw_tos" "", 8, at!(headers.nw_tos), exact, rw, Ip, Decimal,
        [nxm_of("NXM_OF_IP_TOS", 5)],
        "ip,nw_tos=184,actions=output:2", legal 0xfc;
    /// The DSCP of IPv4 or IPv6 (RFC 2474), as a number of its own: `ip_dscp=46` is `nw_tos=184`.
    IpDscp: "ip_dscp" "", 6, at!(headers.nw_tos >> 2), exact, rw, Ip, Decimal,
        [oxm("OXM_OF_IP_DSCP", 8)],
        "ip,ip_dscp=46,actions=output:2";
    /// The ECN bits of IPv4 or IPv6 (RFC 3168): 0 not capable, 1 and 2 capable, 3 congestion experienced.
    IpEcn: "nw_ecn" "ip_ecn", 2, at!(headers.nw_tos), exact, rw, Ip, Decimal,
        [nxm_nx("NXM_NX_IP_ECN", 28), oxm("OXM_OF_IP_ECN", 9)],
        "ip,nw_ecn=3,actions=output:2";
    /// The time to live of IPv4 or the hop limit of IPv6, in hops.
    IpTtl: "nw_ttl" "", 8, at!(headers.nw_ttl), exact, rw, Ip, Decimal,
        [nxm_nx("NXM_NX_IP_TTL", 29)],
        "ip,nw_ttl=1,actions=drop";
    /// Whether the packet is an IP fragment. `no`: it is whole; `yes`: a fragment; `first`: the first fragment;
    /// `later`: a fragment without a transport header; `not_later`: whole, or the first fragment.
    IpFrag: "ip_frag" "nw_frag", 2, at!(headers.nw_frag), any, ro, Ip, Frag,
        [nxm_nx("NXM_NX_IP_FRAG", 26)],
        "ip,nw_frag=later,actions=drop";
    /// The operation of ARP or RARP: 1 request, 2 reply, 3 reverse request, 4 reverse reply. Larger operations
    /// than 255 count as 0.
    ArpOp: "arp_op" "", 16, at!(headers.nw_proto), exact, rw, Arp, Decimal,
        [nxm_of("NXM_OF_ARP_OP", 15), oxm("OXM_OF_ARP_OP", 21)],
        "arp,arp_op=1,actions=FLOOD", legal 0xff;
    /// The IPv4 address of the sender in ARP or RARP.
    ArpSpa: "arp_spa" "", 32, at!(headers.nw_addrs[0; 4]), any, rw, Arp, Ipv4,
        [nxm_of("NXM_OF_ARP_SPA", 16), oxm("OXM_OF_ARP_SPA", 22)],
        "arp,arp_spa=10.0.0.1,actions=NORMAL";
    /// The IPv4 address that ARP or RARP asks for.
    ArpTpa: "arp_tpa" "", 32, at!(headers.nw_addrs[4; 4]), any, rw, Arp, Ipv4,
        [nxm_of("NXM_OF_ARP_TPA", 17), oxm("OXM_OF_ARP_TPA", 23)],
        "arp,arp_tpa=10.0.0.0/24,actions=NORMAL";
    /// The Ethernet address of the sender in ARP or RARP.
    ArpSha: "arp_sha" "", 48, at!(headers.arp_sha), any, rw, Arp, Ethernet,
        [nxm_nx("NXM_NX_ARP_SHA", 17), oxm("OXM_OF_ARP_SHA", 24)],
        "arp,arp_sha=02:00:00:00:00:01,actions=NORMAL";
    /// The Ethernet address of the target in ARP or RARP; a request has zeros there.
    ArpTha: "arp_tha" "", 48, at!(headers.arp_tha), any, rw, Arp, Ethernet,
        [nxm_nx("NXM_NX_ARP_THA", 18), oxm("OXM_OF_ARP_THA", 25)],
        "arp,arp_tha=02:00:00:00:00:02,actions=NORMAL";
    /// The TCP source port. The alias `tp_src` also means the source port of UDP or SCTP, and the type of ICMP,
    /// as the rest of the rule says.
    TcpSrc: "tcp_src" "tp_src", 16, at!(headers.tp_src), any, rw, Tcp, Decimal,
        [nxm_of("NXM_OF_TCP_SRC", 9), oxm("OXM_OF_TCP_SRC", 13)],
        "tcp,tcp_src=80,actions=output:1";
    /// The TCP destination port. The alias `tp_dst` also means the destination port of UDP or SCTP, and the
    /// code of ICMP, as the rest of the rule says. A mask with a run of zeros at the end selects a range.
    TcpDst: "tcp_dst" "tp_dst", 16, at!(headers.tp_dst), any, rw, Tcp, Decimal,
        [nxm_of("NXM_OF_TCP_DST", 10), oxm("OXM_OF_TCP_DST", 14)],
        "tcp,tcp_dst=0x1f90/0xfff0,actions=output:2";
    /// The flags of TCP: fin, syn, rst, psh, ack, urg, ece, cwr and ns. `+syn-ack` wants SYN set and ACK clear,
    /// and leaves the others; `syn|ack` wants these two set and all others clear.
    TcpFlags: "tcp_flags" "", 12, at!(headers.tcp_flags), any, ro, Tcp, TcpFlags,
        [nxm_nx("NXM_NX_TCP_FLAGS", 34), onf("ONFOXM_ET_TCP_FLAGS", 42), oxm15("OXM_OF_TCP_FLAGS", 42)],
        "tcp,tcp_flags=+syn-ack,actions=drop";
    /// The UDP source port.
    UdpSrc: "udp_src" "", 16, at!(headers.tp_src), any, rw, Udp, Decimal,
        [nxm_of("NXM_OF_UDP_SRC", 11), oxm("OXM_OF_UDP_SRC", 15)],
        "udp,udp_src=53,actions=output:1";
    /// The UDP destination port.
    UdpDst: "udp_dst" "", 16, at!(headers.tp_dst), any, rw, Udp, Decimal,
        [nxm_of("NXM_OF_UDP_DST", 12), oxm("OXM_OF_UDP_DST", 16)],
        "udp,udp_dst=53,actions=output:2";
    /// The SCTP source port.
    SctpSrc: "sctp_src" "", 16, at!(headers.tp_src), any, rw, Sctp, Decimal,
        [oxm("OXM_OF_SCTP_SRC", 17)],
        "sctp,sctp_src=2905,actions=output:1";
    /// The SCTP destination port.
    SctpDst: "sctp_dst" "", 16, at!(headers.tp_dst), any, rw, Sctp, Decimal,
        [oxm("OXM_OF_SCTP_DST", 18)],
        "sctp,sctp_dst=2905,actions=output:2";
    /// The type of the ICMP message over IPv4: 0 echo reply, 3 unreachable, 8 echo request, 11 time exceeded.
    /// With `icmp6` the name means `icmpv6_type`.
    IcmpType: "icmp_type" "", 8, at!(headers.tp_src[1; 1]), exact, rw, Icmpv4, Decimal,
        [nxm_of("NXM_OF_ICMP_TYPE", 13), oxm("OXM_OF_ICMPV4_TYPE", 19)],
        "icmp,icmp_type=8,actions=drop";
    /// The code of the ICMP message over IPv4. With `icmp6` the name means `icmpv6_code`.
    IcmpCode: "icmp_code" "", 8, at!(headers.tp_dst[1; 1]), exact, rw, Icmpv4, Decimal,
        [nxm_of("NXM_OF_ICMP_CODE", 14), oxm("OXM_OF_ICMPV4_CODE", 20)],
        "icmp,icmp_type=3,icmp_code=4,actions=NORMAL";
    /// The type of the ICMPv6 message: 128 echo request, 129 echo reply, 133 to 137 neighbour discovery.
    Icmpv6Type: "icmpv6_type" "", 8, at!(headers.tp_src[1; 1]), exact, rw, Icmpv6, Decimal,
        [nxm_nx("NXM_NX_ICMPV6_TYPE", 21), oxm("OXM_OF_ICMPV6_TYPE", 29)],
        "icmp6,icmpv6_type=128,actions=drop";
    /// The code of the ICMPv6 message.
    Icmpv6Code: "icmpv6_code" "", 8, at!(headers.tp_dst[1; 1]), exact, rw, Icmpv6, Decimal,
        [nxm_nx("NXM_NX_ICMPV6_CODE", 22), oxm("OXM_OF_ICMPV6_CODE", 30)],
        "icmp6,icmpv6_type=1,icmpv6_code=4,actions=NORMAL";
    /// The IPv6 address that a neighbour solicitation asks for, or that a neighbour
    /// advertisement tells of (RFC 4861).
    NdTarget: "nd_target" "", 128, at!(headers.nd_target), any, rw, Nd, Ipv6,
        [nxm_nx("NXM_NX_ND_TARGET", 23), oxm("OXM_OF_IPV6_ND_TARGET", 31)],
        "icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::1,actions=NORMAL";
    /// The Ethernet address of the sender in a neighbour solicitation (source link-layer address option).
    NdSll: "nd_sll" "", 48, at!(headers.arp_sha), any, rw, NdSolicit, Ethernet,
        [nxm_nx("NXM_NX_ND_SLL", 24), oxm("OXM_OF_IPV6_ND_SLL", 32)],
        "icmp6,icmp_type=135,icmp_code=0,nd_sll=02:00:00:00:00:01,actions=NORMAL";
    /// The Ethernet address of the target in a neighbour advertisement (target link-layer address option).
    NdTll: "nd_tll" "", 48, at!(headers.arp_tha), any, rw, NdAdvert, Ethernet,
        [nxm_nx("NXM_NX_ND_TLL", 25), oxm("OXM_OF_IPV6_ND_TLL", 33)],
        "icmp6,icmp_type=136,icmp_code=0,nd_tll=02:00:00:00:00:01,actions=NORMAL";
    /// The 32 bits in front of the target address of neighbour discovery. In an advertisement the upper 3 bits
    /// are the flags router, solicited and override.
    NdReserved: "nd_reserved" "", 32, at!(headers.nd_reserved), exact, rw, Nd, Decimal,
        [ericsson("ERICOXM_OF_ICMPV6_ND_RESERVED", 1)],
        "icmp6,icmp_type=136,icmp_code=0,nd_reserved=0x60000000,actions=NORMAL";
    /// The type of the option behind the target address of neighbour discovery: 1
    /// source, 2 target link-layer address.
    NdOptionsType: "nd_options_type" "", 8, at!(headers.nd_options_type), exact, rw, Nd, Decimal,
        [ericsson("ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", 2)],
        "icmp6,icmp_type=136,icmp_code=0,nd_options_type=2,actions=NORMAL";
}

const REG: &str = "A register: a number of 32 bits that rules of one table write for rules of later tables. It is 0 \
    when a packet arrives, and 0 again behind a patch port.";
const XREG: &str = "Two registers as one number of 64 bits: `xregN` is `reg2N`, which has the upper half, and `reg2N+1`.";
const XXREG: &str = "Four registers as one number of 128 bits: `xxregN` is `reg4N`, which has the highest 32 bits, to \
    `reg4N+3`.";

const TUN_METADATA_TEXT: &str = "An option in the Geneve header that the packet came with, or is to get. `add-tlv-map` says which option that is; its \
    last byte has the lowest bits. `tun_metadata0` to `tun_metadata7` have up to 16 bytes, the others up to 4. A match on the field selects packets that have \
    the option; without a value, it selects all of these. Writing the field gives the packet the option, and `delete_field` takes it away.";

/// The names of the fields, the same names in messages, and the examples.
macro_rules! tun_metadata {
    ($($n:literal)*) => {
        pub(super) static TUN_METADATA: [FieldDef; 64] = [$({
            const NUMBER: u8 = $n;
            const PLACE: Range<usize> = metadata_place(NUMBER);
            const SIZE: u8 = option_size(NUMBER);
            def!(
                concat!("tun_metadata", $n),
                "",
                SIZE as u16 * 8,
                KeyPart(
                    offset_of!(PipelineKey, headers) + offset_of!(Headers, tun_metadata) + PLACE.start,
                    SIZE,
                    0
                ),
                any,
                rw,
                None,
                Hexadecimal,
                [nxm_nx(concat!("NXM_NX_TUN_METADATA", $n), 40 + NUMBER)],
                TUN_METADATA_TEXT,
                concat!("tun_metadata", $n, "=0x5,actions=output:2")
            )
        }),*];
    };
}

#[rustfmt::skip]
tun_metadata!(
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
);

/// The [`FieldDef`] of register `$n`, which has `$bits` bits.
macro_rules! register {
    ($n:literal, $bits:literal, $name:literal, $prefix:literal, $wire:ident, $meaning:expr) => {
        def!(
            concat!($name, $n),
            "",
            $bits,
            KeyPart(offset_of!(PipelineKey, regs) + $n * $bits / 8, $bits / 8, 0),
            any,
            rw,
            None,
            Hexadecimal,
            [$wire(concat!($prefix, $n), $n)],
            $meaning,
            concat!($name, $n, "=0x5/0xff,actions=output:1")
        )
    };
}

#[rustfmt::skip]
macro_rules! reg {
    ($n:literal) => { register!($n, 32, "reg", "NXM_NX_REG", single, REG) };
    ($n:literal new) => { register!($n, 32, "reg", "NXOXM_ET_REG", single, REG) };
}

#[rustfmt::skip]
macro_rules! xreg {
    ($n:literal) => { register!($n, 64, "xreg", "OXM_OF_PKT_REG", double, XREG) };
}

#[rustfmt::skip]
macro_rules! xxreg {
    ($n:literal) => { register!($n, 128, "xxreg", "NXM_NX_XXREG", quad, XXREG) };
    ($n:literal new) => { register!($n, 128, "xxreg", "NXOXM_ET_XXREG", quad, XXREG) };
}

/// The wire name of a register of 32 bits. Open vSwitch added the registers from `reg16` on later, and for lack
/// of free NXM numbers they are experimenter fields.
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
pub(super) static REGS: [FieldDef; 32] = [
    reg!(0), reg!(1), reg!(2), reg!(3), reg!(4), reg!(5), reg!(6), reg!(7),
    reg!(8), reg!(9), reg!(10), reg!(11), reg!(12), reg!(13), reg!(14), reg!(15),
    reg!(16 new), reg!(17 new), reg!(18 new), reg!(19 new), reg!(20 new), reg!(21 new), reg!(22 new),
    reg!(23 new), reg!(24 new), reg!(25 new), reg!(26 new), reg!(27 new), reg!(28 new), reg!(29 new),
    reg!(30 new), reg!(31 new),
];

#[rustfmt::skip]
pub(super) static XREGS: [FieldDef; 16] = [
    xreg!(0), xreg!(1), xreg!(2), xreg!(3), xreg!(4), xreg!(5), xreg!(6), xreg!(7),
    xreg!(8), xreg!(9), xreg!(10), xreg!(11), xreg!(12), xreg!(13), xreg!(14), xreg!(15),
];

#[rustfmt::skip]
pub(super) static XXREGS: [FieldDef; 8] = [
    xxreg!(0), xxreg!(1), xxreg!(2), xxreg!(3),
    xxreg!(4 new), xxreg!(5 new), xxreg!(6 new), xxreg!(7 new),
];
