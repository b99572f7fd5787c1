//! Prints matches: `priority=10,tcp,in_port=1,nw_dst=10.0.0.0/8,tp_dst=80`.

use super::{flags, frag_word, hex, ipv4_masked, ipv6_masked, mac_masked, put};
use crate::fields::FieldId;
use crate::key::{VLAN_CFI, VLAN_PCP_MASK, VLAN_VID_MASK};
use crate::matching::Match;
use crate::text::DEFAULT_PRIORITY;
use crate::text::port::{self, PortNames};
use crate::text::words::{CT_STATES, TCP_FLAGS, TUN_FLAGS};
use crate::types::OfPort;
use packet::wire::{eth_type, ip_proto};
use std::fmt::Write;

/// Appends priority and match in the order and words of Open vSwitch
/// (`match_format`). [`DEFAULT_PRIORITY`] is left out.
pub fn write_match(out: &mut String, matching: &Match, priority: u16, names: &dyn PortNames) {
    let start = out.len();
    if priority != DEFAULT_PRIORITY {
        put!(out, "priority={priority},");
    }
    Printer { out, matching, names }.run();
    if out.len() > start {
        out.pop();
    }
}

/// The match that is being printed. Each method appends fields with a comma behind each, and nothing for a
/// field whose mask is zero.
struct Printer<'a> {
    out: &'a mut String,
    matching: &'a Match,
    names: &'a dyn PortNames,
}

impl Printer<'_> {
    fn run(mut self) {
        let key = &self.matching.key().headers;
        let mask = &self.matching.mask().bits.headers;
        let dl_type = key.dl_type.get();
        let is_arp = matches!(dl_type, eth_type::ARP | eth_type::RARP);

        self.hexadecimal("pkt_mark", FieldId::PktMark);
        self.decimal("conj_id", FieldId::ConjId);
        if self.mask(FieldId::ActsetOutput) != 0 {
            self.port("actset_output", self.value(FieldId::ActsetOutput) as u16);
        }
        self.connection();
        let (has_type_word, has_proto_word) = self.protocol();
        for n in 0..32 {
            let field = FieldId::Reg(n);
            self.hexadecimal(field.def().name, field);
        }
        self.tunnel();
        self.hexadecimal("metadata", FieldId::Metadata);
        if self.mask(FieldId::InPort) != 0 {
            self.port("in_port", self.value(FieldId::InPort) as u16);
        }
        self.vlan("", mask.vlan_tci.get(), key.vlan_tci.get());
        self.vlan("1", mask.vlan2_tci.get(), key.vlan2_tci.get());
        self.ethernet("dl_src", FieldId::EthSrc);
        self.ethernet("dl_dst", FieldId::EthDst);
        if mask.dl_type.get() != 0 && !has_type_word {
            put!(self.out, "dl_type={dl_type:#06x},");
        }
        match dl_type {
            eth_type::IPV6 => {
                self.ipv6("ipv6_src", FieldId::Ipv6Src);
                self.ipv6("ipv6_dst", FieldId::Ipv6Dst);
                self.ipv6_label();
            }
            _ if is_arp => {
                self.ipv4("arp_spa", FieldId::Ipv4Src);
                self.ipv4("arp_tpa", FieldId::Ipv4Dst);
            }
            _ => {
                self.ipv4("nw_src", FieldId::Ipv4Src);
                self.ipv4("nw_dst", FieldId::Ipv4Dst);
            }
        }
        if !has_proto_word {
            self.decimal(if is_arp { "arp_op" } else { "nw_proto" }, FieldId::IpProto);
        }
        if is_arp {
            self.ethernet("arp_sha", FieldId::ArpSha);
            self.ethernet("arp_tha", FieldId::ArpTha);
        }
        self.decimal("nw_tos", FieldId::NwTos);
        self.decimal("nw_ecn", FieldId::IpEcn);
        self.decimal("nw_ttl", FieldId::IpTtl);
        self.decimal("mpls_label", FieldId::MplsLabel);
        self.decimal("mpls_tc", FieldId::MplsTc);
        self.decimal("mpls_ttl", FieldId::MplsTtl);
        self.decimal("mpls_bos", FieldId::MplsBos);
        // Entries below the outermost one are no fields of rules, but the trace of a packet shows them.
        for (n, (lse, mask)) in key.mpls_lse.iter().zip(&mask.mpls_lse).enumerate().skip(1) {
            let mask = mask.get();
            if mask == u32::MAX {
                put!(self.out, "mpls_lse{n}={lse},");
            } else if mask != 0 {
                put!(self.out, "mpls_lse{n}={lse}/{mask:#x},");
            }
        }
        if mask.nw_frag != 0 {
            self.out.push_str("nw_frag=");
            frag_word(self.out, key.nw_frag.into(), mask.nw_frag.into());
            self.out.push(',');
        }
        self.transport(dl_type, key.nw_proto);
    }

    fn mask(&self, field: FieldId) -> u128 {
        field.get_mask(self.matching.mask())
    }

    fn value(&self, field: FieldId) -> u128 {
        field.read(self.matching.key())
    }

    /// Appends a protocol word such as `tcp`. Returns whether the word implies the EtherType, and whether it
    /// implies the IP protocol; such a field is not printed again.
    fn protocol(&mut self) -> (bool, bool) {
        let key = &self.matching.key().headers;
        let mask = &self.matching.mask().bits.headers;
        if mask.dl_type.get() == 0 {
            return (false, false);
        }
        let proto = (mask.nw_proto != 0).then_some(key.nw_proto);
        let (word, says_proto) = match (key.dl_type.get(), proto) {
            (eth_type::IPV4, Some(ip_proto::ICMP)) => ("icmp,", true),
            (eth_type::IPV4, Some(ip_proto::TCP)) => ("tcp,", true),
            (eth_type::IPV4, Some(17)) => ("udp,", true),
            (eth_type::IPV4, Some(132)) => ("sctp,", true),
            (eth_type::IPV4, _) => ("ip,", false),
            (eth_type::IPV6, Some(ip_proto::ICMPV6)) => ("icmp6,", true),
            (eth_type::IPV6, Some(ip_proto::TCP)) => ("tcp6,", true),
            (eth_type::IPV6, Some(17)) => ("udp6,", true),
            (eth_type::IPV6, Some(132)) => ("sctp6,", true),
            (eth_type::IPV6, _) => ("ipv6,", false),
            (eth_type::ARP, _) => ("arp,", false),
            (eth_type::RARP, _) => ("rarp,", false),
            (eth_type::MPLS, _) => ("mpls,", false),
            (eth_type::MPLS_MCAST, _) => ("mplsm,", false),
            _ => return (false, false),
        };
        self.out.push_str(word);
        (true, says_proto)
    }

    /// Appends a VLAN tag: the outer one, or the second with `suffix` `1`, which the trace of a packet shows.
    fn vlan(&mut self, suffix: &str, mask: u16, tci: u16) {
        if mask == 0 {
            return;
        }
        let (vid, pcp) = (mask & VLAN_VID_MASK, mask & VLAN_PCP_MASK);
        let is_tagged = mask & tci & VLAN_CFI != 0;
        let is_whole = |part, all| part == 0 || part == all;
        let has_fields =
            is_whole(vid, VLAN_VID_MASK) && is_whole(pcp, VLAN_PCP_MASK) && vid | pcp != 0;
        if is_tagged && has_fields {
            if vid != 0 {
                put!(self.out, "dl_vlan{suffix}={},", tci & VLAN_VID_MASK);
            }
            if pcp != 0 {
                put!(self.out, "dl_vlan_pcp{suffix}={},", tci >> 13);
            }
        } else if mask == u16::MAX {
            put!(self.out, "vlan_tci{suffix}={tci:#06x},");
        } else {
            put!(self.out, "vlan_tci{suffix}={tci:#06x}/{mask:#06x},");
        }
    }

    /// Appends the fields of the packet's connection.
    fn connection(&mut self) {
        let mask = self.mask(FieldId::CtState);
        if mask != 0 {
            self.begin("ct_state");
            flags(self.out, &CT_STATES, self.value(FieldId::CtState), mask);
            self.out.push(',');
        }
        self.decimal("ct_zone", FieldId::CtZone);
        self.hexadecimal("ct_mark", FieldId::CtMark);
        self.hexadecimal("ct_label", FieldId::CtLabel);
        self.ipv4("ct_nw_src", FieldId::CtNwSrc);
        self.ipv6("ct_ipv6_src", FieldId::CtIpv6Src);
        self.ipv4("ct_nw_dst", FieldId::CtNwDst);
        self.ipv6("ct_ipv6_dst", FieldId::CtIpv6Dst);
        self.decimal("ct_nw_proto", FieldId::CtNwProto);
        self.decimal("ct_tp_src", FieldId::CtTpSrc);
        self.decimal("ct_tp_dst", FieldId::CtTpDst);
    }

    /// Appends the fields of the tunnel that the packet goes through.
    fn tunnel(&mut self) {
        self.hexadecimal("tun_id", FieldId::TunId);
        self.ipv4("tun_src", FieldId::TunSrc);
        self.ipv4("tun_dst", FieldId::TunDst);
        self.ipv6("tun_ipv6_src", FieldId::TunIpv6Src);
        self.ipv6("tun_ipv6_dst", FieldId::TunIpv6Dst);
        self.decimal("tun_gbp_id", FieldId::TunGbpId);
        self.hexadecimal("tun_gbp_flags", FieldId::TunGbpFlags);
        self.decimal("tun_tos", FieldId::TunTos);
        self.decimal("tun_ttl", FieldId::TunTtl);
        // Open vSwitch prints these flags with signs, even if the match looks at all of them.
        for (bit, name) in TUN_FLAGS.iter().enumerate() {
            if self.mask(FieldId::TunFlags) >> bit & 1 != 0 {
                let is_set = self.value(FieldId::TunFlags) >> bit & 1 != 0;
                self.begin("tun_flags");
                put!(self.out, "{}{name},", if is_set { '+' } else { '-' });
            }
        }
        let looked_at = self.mask(FieldId::TunOptions) as u64;
        if looked_at != 0 {
            self.options(looked_at, self.value(FieldId::TunOptions) as u64);
        }
    }

    /// Appends the options that the match looks at: those that a packet has to have with their values, and
    /// those that it must not have together.
    fn options(&mut self, looked_at: u64, wanted: u64) {
        for field in FieldId::options_in(looked_at & wanted) {
            match self.mask(field) {
                0 => {
                    put!(self.out, "{},", field.def().name);
                }
                _ => self.hexadecimal(field.def().name, field),
            }
        }
        let unwanted = looked_at & !wanted;
        if unwanted != 0 {
            put!(self.out, "{}=0/{unwanted:#x},", FieldId::TunOptions.def().name);
        }
    }

    fn transport(&mut self, dl_type: u16, nw_proto: u8) {
        match (dl_type, nw_proto) {
            (eth_type::IPV4, ip_proto::ICMP) => {
                self.decimal("icmp_type", FieldId::IcmpType);
                self.decimal("icmp_code", FieldId::IcmpCode);
            }
            (eth_type::IPV6, ip_proto::ICMPV6) => {
                self.decimal("icmp_type", FieldId::Icmpv6Type);
                self.decimal("icmp_code", FieldId::Icmpv6Code);
                self.ipv6("nd_target", FieldId::NdTarget);
                self.ethernet("nd_sll", FieldId::NdSll);
                self.ethernet("nd_tll", FieldId::NdTll);
                self.decimal("nd_reserved", FieldId::NdReserved);
                self.decimal("nd_options_type", FieldId::NdOptionsType);
            }
            _ => {
                self.decimal("tp_src", FieldId::TcpSrc);
                self.decimal("tp_dst", FieldId::TcpDst);
            }
        }
        let is_tcp =
            matches!(dl_type, eth_type::IPV4 | eth_type::IPV6) && nw_proto == ip_proto::TCP;
        let mask = self.mask(FieldId::TcpFlags);
        if is_tcp && mask != 0 {
            self.out.push_str("tcp_flags=");
            flags(self.out, &TCP_FLAGS, self.value(FieldId::TcpFlags), mask);
            self.out.push(',');
        }
    }

    fn begin(&mut self, name: &str) {
        self.out.push_str(name);
        self.out.push('=');
    }

    fn port(&mut self, name: &str, number: u16) {
        self.begin(name);
        port::write(self.out, OfPort(number), self.names);
        self.out.push(',');
    }

    /// Appends a field in decimal if all its bits matter, else value and mask in hexadecimal.
    fn decimal(&mut self, name: &str, field: FieldId) {
        let mask = self.mask(field);
        if mask == 0 {
            return;
        }
        let value = self.value(field);
        self.begin(name);
        if mask == field.full_mask() {
            super::decimal(self.out, value);
        } else {
            put!(self.out, "{value:#x}/{mask:#x}");
        }
        self.out.push(',');
    }

    fn hexadecimal(&mut self, name: &str, field: FieldId) {
        let mask = self.mask(field);
        if mask == 0 {
            return;
        }
        self.begin(name);
        hex(self.out, self.value(field));
        if mask != field.full_mask() {
            self.out.push('/');
            hex(self.out, mask);
        }
        self.out.push(',');
    }

    fn ipv6_label(&mut self) {
        let mask = self.mask(FieldId::Ipv6Label);
        if mask == 0 {
            return;
        }
        put!(self.out, "ipv6_label={:#07x}", self.value(FieldId::Ipv6Label));
        if mask != FieldId::Ipv6Label.full_mask() {
            put!(self.out, "/{mask:#07x}");
        }
        self.out.push(',');
    }

    fn ethernet(&mut self, name: &str, field: FieldId) {
        let mask = self.mask(field);
        if mask != 0 {
            self.begin(name);
            mac_masked(self.out, self.value(field), mask);
            self.out.push(',');
        }
    }

    fn ipv4(&mut self, name: &str, field: FieldId) {
        let mask = self.mask(field) as u32;
        if mask != 0 {
            self.begin(name);
            ipv4_masked(self.out, self.value(field) as u32, mask);
            self.out.push(',');
        }
    }

    fn ipv6(&mut self, name: &str, field: FieldId) {
        let mask = self.mask(field);
        if mask != 0 {
            self.begin(name);
            ipv6_masked(self.out, self.value(field), mask);
            self.out.push(',');
        }
    }
}
