//! Prerequisites of fields: only a TCP segment has the field `tcp_dst`
//! (OpenFlow 1.3.5 §7.2.3.8, ovs-fields(7)).
//!
//! [`Prerequisite`] answers four questions about a field:
//!
//! - [`Prerequisite::met`]: does this packet have the field?
//! - [`Prerequisite::mark`]: which bits of the packet did the answer depend on?
//! - [`Prerequisite::implied_by`]: does every packet of a match have the field?
//! - [`Prerequisite::keywords`]: which words must a user add to the match, so that every packet has the field?

use super::key::{Headers, PipelineKey, PipelineMask, VLAN_CFI, ct_state, frag};
use packet::wire::{eth_type, ip_proto};

/// ICMPv6 types of the neighbour discovery messages that fields of the key describe (RFC 4861 §4.3, §4.4).
mod nd_type {
    pub(super) const SOLICIT: u16 = 135;
    pub(super) const ADVERT: u16 = 136;
}

/// The packets that have a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prerequisite {
    /// Every packet has the field.
    None,
    /// Only frames with a VLAN tag have the field (`vlan_pcp`).
    VlanVid,
    /// Only packets with an MPLS label stack have the field (EtherType 0x8847 or 0x8848).
    Mpls,
    /// Only ARP and RARP packets have the field (EtherType 0x0806 or 0x8035).
    Arp,
    /// Only IPv4 packets have the field.
    Ipv4,
    /// Only IPv6 packets have the field.
    Ipv6,
    /// Only IPv4 and IPv6 packets have the field.
    Ip,
    /// Only TCP segments over IPv4 or IPv6 have the field.
    Tcp,
    /// Only UDP datagrams over IPv4 or IPv6 have the field.
    Udp,
    /// Only SCTP packets over IPv4 or IPv6 have the field.
    Sctp,
    /// Only ICMP messages over IPv4 have the field.
    Icmpv4,
    /// Only ICMPv6 messages over IPv6 have the field.
    Icmpv6,
    /// Only neighbour solicitations (ICMPv6 type 135) and advertisements (type 136), both with
    /// code 0, have the field.
    Nd,
    /// Only neighbour solicitations (ICMPv6 type 135, code 0) have the field.
    NdSolicit,
    /// Only neighbour advertisements (ICMPv6 type 136, code 0) have the field.
    NdAdvert,
    /// Only packets for which `ct` found or made a connection have the field: tracked
    /// ones that are not invalid.
    Ct,
}

/// The innermost header of a packet that must be read to tell whether the packet has a field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    Nothing,
    Vlan,
    EtherType,
    Protocol,
    Transport,
    NdMessage,
}

impl Prerequisite {
    /// Whether a packet with this key has the field. A later fragment has no TCP, UDP or SCTP header.
    pub fn met(self, key: &PipelineKey) -> bool {
        let flow = &key.headers;
        let has_ports = flow.nw_frag & frag::LATER == 0;
        match self {
            Self::Tcp | Self::Udp | Self::Sctp => has_ports && self.describes(flow),
            _ => self.describes(flow),
        }
    }

    /// Adds to `mask` every bit of the key that the answer of [`Prerequisite::met`] can depend on.
    pub fn mark(self, mask: &mut PipelineMask) {
        let flow = &mut mask.bits.headers;
        if self == Self::Ct {
            flow.ct_state |= ct_state::TRACKED | ct_state::INVALID;
            return;
        }
        let depth = self.depth();
        if depth == Depth::Vlan {
            flow.vlan_tci |= VLAN_CFI;
            return;
        }
        if depth >= Depth::EtherType {
            flow.dl_type = u16::MAX.into();
        }
        if depth >= Depth::Protocol {
            flow.nw_proto = u8::MAX;
        }
        if depth == Depth::Transport {
            flow.nw_frag |= frag::LATER;
        }
        if depth == Depth::NdMessage {
            flow.tp_src = u16::MAX.into();
            flow.tp_dst = u16::MAX.into();
        }
    }

    /// Whether every packet that agrees with `key` in the bits of `mask` has the field.
    pub fn implied_by(self, key: &PipelineKey, mask: &PipelineMask) -> bool {
        let (key, mask) = (&key.headers, &mask.bits.headers);
        if self == Self::Ct {
            return implies_connection(key.ct_state.get(), mask.ct_state.get());
        }
        let exact = match self.depth() {
            Depth::Nothing => true,
            Depth::Vlan => mask.vlan_tci.get() & VLAN_CFI != 0,
            Depth::EtherType => mask.dl_type.get() == u16::MAX,
            Depth::Protocol => mask.dl_type.get() == u16::MAX && mask.nw_proto == u8::MAX,
            Depth::Transport => {
                let is_later = mask.nw_frag & key.nw_frag & frag::LATER != 0;
                mask.dl_type.get() == u16::MAX && mask.nw_proto == u8::MAX && !is_later
            }
            Depth::NdMessage => {
                mask.dl_type.get() == u16::MAX
                    && mask.nw_proto == u8::MAX
                    && mask.tp_src.get() & 0xff == 0xff
            }
        };
        exact && self.describes(key)
    }

    /// Words that a user can add to a match so that its packets have the field. Each element is enough alone,
    /// and the preferred one comes first: `["tcp", "tcp6"]`.
    pub fn keywords(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::VlanVid => &["dl_vlan"],
            Self::Mpls => &["mpls", "mplsm"],
            Self::Arp => &["arp", "rarp"],
            Self::Ipv4 => &["ip"],
            Self::Ipv6 => &["ipv6"],
            Self::Ip => &["ip", "ipv6"],
            Self::Tcp => &["tcp", "tcp6"],
            Self::Udp => &["udp", "udp6"],
            Self::Sctp => &["sctp", "sctp6"],
            Self::Icmpv4 => &["icmp"],
            Self::Icmpv6 => &["icmp6"],
            Self::Nd => &["icmp6,icmp_type=135", "icmp6,icmp_type=136"],
            Self::NdSolicit => &["icmp6,icmp_type=135"],
            Self::NdAdvert => &["icmp6,icmp_type=136"],
            Self::Ct => &["ct_state=+trk+est", "ct_state=+trk-inv"],
        }
    }

    fn depth(self) -> Depth {
        match self {
            Self::None | Self::Ct => Depth::Nothing,
            Self::VlanVid => Depth::Vlan,
            Self::Mpls | Self::Arp | Self::Ipv4 | Self::Ipv6 | Self::Ip => Depth::EtherType,
            Self::Icmpv4 | Self::Icmpv6 => Depth::Protocol,
            Self::Tcp | Self::Udp | Self::Sctp => Depth::Transport,
            Self::Nd | Self::NdSolicit | Self::NdAdvert => Depth::NdMessage,
        }
    }

    fn describes(self, flow: &Headers) -> bool {
        use eth_type::{ARP, IPV4, IPV6, RARP, is_mpls};
        let dl_type = flow.dl_type.get();
        let is_ip = matches!(dl_type, IPV4 | IPV6);
        let is_nd = |ty| {
            dl_type == IPV6
                && flow.nw_proto == ip_proto::ICMPV6
                && flow.tp_src.get() == ty
                && flow.tp_dst.get() == 0
        };
        match self {
            Self::None => true,
            Self::VlanVid => flow.vlan_tci.get() & VLAN_CFI != 0,
            Self::Mpls => is_mpls(dl_type),
            Self::Arp => matches!(dl_type, ARP | RARP),
            Self::Ipv4 => dl_type == IPV4,
            Self::Ipv6 => dl_type == IPV6,
            Self::Ip => is_ip,
            Self::Tcp => is_ip && flow.nw_proto == ip_proto::TCP,
            Self::Udp => is_ip && flow.nw_proto == ip_proto::UDP,
            Self::Sctp => is_ip && flow.nw_proto == ip_proto::SCTP,
            Self::Icmpv4 => dl_type == IPV4 && flow.nw_proto == ip_proto::ICMP,
            Self::Icmpv6 => dl_type == IPV6 && flow.nw_proto == ip_proto::ICMPV6,
            Self::Nd => is_nd(nd_type::SOLICIT) || is_nd(nd_type::ADVERT),
            Self::NdSolicit => is_nd(nd_type::SOLICIT),
            Self::NdAdvert => is_nd(nd_type::ADVERT),
            Self::Ct => {
                let state = flow.ct_state.get();
                state & (ct_state::TRACKED | ct_state::INVALID) == ct_state::TRACKED
            }
        }
    }
}

/// Whether every packet of a match of `ct_state` has a connection, as Open vSwitch reads it (`is_ct_valid`):
/// the match demands a flag that only such packets have, or says that the packet is tracked and not invalid.
fn implies_connection(state: u16, mask: u16) -> bool {
    use ct_state::{DST_NAT, ESTABLISHED, INVALID, NEW, RELATED, REPLY, SRC_NAT, TRACKED};
    let state = state & mask;
    state & (NEW | ESTABLISHED | RELATED | REPLY | SRC_NAT | DST_NAT) != 0
        || state & TRACKED != 0 && mask & INVALID != 0 && state & INVALID == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(dl_type: u16, nw_proto: u8) -> PipelineKey {
        let mut key = PipelineKey::default();
        key.headers.dl_type = dl_type.into();
        key.headers.nw_proto = nw_proto;
        key
    }

    #[test]
    fn tcp_is_carried_by_both_ip_versions() {
        assert!(Prerequisite::Tcp.met(&packet(0x0800, 6)));
        assert!(Prerequisite::Tcp.met(&packet(0x86dd, 6)));
        assert!(!Prerequisite::Tcp.met(&packet(0x0806, 6)));
        assert!(!Prerequisite::Tcp.met(&packet(0x0800, 17)));
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let mut key = packet(0x0800, 17);
        key.headers.nw_frag = frag::ANY;
        assert!(Prerequisite::Udp.met(&key));
        key.headers.nw_frag |= frag::LATER;
        assert!(!Prerequisite::Udp.met(&key));
    }

    #[test]
    fn the_answer_depends_on_marked_bits_only() {
        let mut key = packet(0x86dd, 58);
        key.headers.tp_src = 135.into();
        let mut mask = PipelineMask::default();
        Prerequisite::NdSolicit.mark(&mut mask);
        assert!(Prerequisite::NdSolicit.met(&key.masked(&mask)));
        assert!(!Prerequisite::NdAdvert.met(&key));
    }

    #[test]
    fn a_match_implies_what_it_names_exactly() {
        let key = packet(0x0800, 6);
        let mut mask = PipelineMask::default();
        mask.bits.headers.dl_type = u16::MAX.into();
        assert!(Prerequisite::Ipv4.implied_by(&key, &mask));
        assert!(!Prerequisite::Tcp.implied_by(&key, &mask));
        mask.bits.headers.nw_proto = u8::MAX;
        assert!(Prerequisite::Tcp.implied_by(&key, &mask));
    }
}
