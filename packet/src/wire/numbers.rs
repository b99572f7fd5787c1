//! The numbers by which headers name the header that follows, and types of messages, as host integers.
//!
//! Only numbers that some part of the switch uses are listed. The registries of IEEE and IANA have all.

/// EtherTypes (IEEE 802 numbers registry).
#[allow(missing_docs, reason = "the names are the registry's")]
pub mod eth_type {
    /// The lowest EtherType. A smaller number in its place is the size of an 802.3 frame's payload.
    pub const LEAST: u16 = 0x0600;
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    /// Transparent Ethernet bridging: the payload of GRE or Geneve is a whole Ethernet frame.
    pub const TEB: u16 = 0x6558;
    pub const RARP: u16 = 0x8035;
    /// TPID of a customer tag (802.1Q).
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const MPLS: u16 = 0x8847;
    pub const MPLS_MCAST: u16 = 0x8848;
    /// TPID of a service tag (802.1ad).
    pub const VLAN_8021AD: u16 = 0x88a8;

    /// The two TPIDs with which a VLAN tag can begin, as in Open vSwitch and Linux. 0x9100, which some devices
    /// used before 802.1ad, is no TPID here.
    pub const TPIDS: [u16; 2] = [VLAN, VLAN_8021AD];

    /// Whether the number is the TPID of a VLAN tag ([`TPIDS`]).
    #[inline]
    pub const fn is_vlan(number: u16) -> bool {
        matches!(number, VLAN | VLAN_8021AD)
    }

    /// Whether an MPLS label stack follows an EtherType of this number.
    #[inline]
    pub const fn is_mpls(number: u16) -> bool {
        matches!(number, MPLS | MPLS_MCAST)
    }
}

/// Protocol numbers of IPv4 and next headers of IPv6 (IANA, "protocol-numbers").
#[allow(missing_docs, reason = "the names are the registry's")]
pub mod ip_proto {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IGMP: u8 = 2;
    /// The payload is an IPv4 packet (IP in IP).
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    /// The payload is an IPv6 packet (IP in IP).
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    /// No header follows (RFC 8200 §4.7).
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const SCTP: u8 = 132;

    /// Whether headers of this protocol begin with a source and a destination port.
    #[inline]
    pub const fn has_ports(number: u8) -> bool {
        matches!(number, TCP | UDP | SCTP)
    }

    /// Whether the number is that of an IPv6 extension header which a parser skips to find the transport
    /// header. The list is that of Open vSwitch.
    #[inline]
    pub const fn is_ipv6_extension(number: u8) -> bool {
        matches!(number, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
    }
}

/// Types of ICMP messages (IANA, "icmp-parameters").
#[allow(missing_docs, reason = "the names are the registry's")]
pub mod icmp_type {
    pub const ECHO_REPLY: u8 = 0;
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    pub const ECHO_REQUEST: u8 = 8;
    pub const TIME_EXCEEDED: u8 = 11;
}

/// Types of ICMPv6 messages (IANA, "icmpv6-parameters").
#[allow(missing_docs, reason = "the names are the registry's")]
pub mod icmpv6_type {
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    pub const PACKET_TOO_BIG: u8 = 2;
    pub const TIME_EXCEEDED: u8 = 3;
    pub const ECHO_REQUEST: u8 = 128;
    pub const ECHO_REPLY: u8 = 129;
    pub const ROUTER_SOLICIT: u8 = 133;
    pub const ROUTER_ADVERT: u8 = 134;
    pub const ND_SOLICIT: u8 = 135;
    pub const ND_ADVERT: u8 = 136;

    /// Whether messages of this type are neighbour solicitations or advertisements, which have a target and
    /// options (RFC 4861 §4.3, §4.4).
    #[inline]
    pub const fn is_nd(number: u8) -> bool {
        matches!(number, ND_SOLICIT | ND_ADVERT)
    }
}

/// Types of options in messages of neighbour discovery (RFC 4861 §4.6).
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod nd_option {
    pub const SOURCE_LINK_LAYER: u8 = 1;
    pub const TARGET_LINK_LAYER: u8 = 2;
}

/// Destination ports of the tunnels that run over UDP (IANA, "service-names-port-numbers").
#[allow(missing_docs, reason = "the names are the registry's")]
pub mod udp_port {
    pub const VXLAN: u16 = 4789;
    pub const VXLAN_GPE: u16 = 4790;
    pub const GENEVE: u16 = 6081;
}
