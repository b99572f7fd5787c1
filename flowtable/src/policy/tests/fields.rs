//! Packets that have a given field, for tests that try every field of the field table.

use flow::Headers;
use flow::compose::compose;
use flow::extract::{Arrival, extract};
use flow::fields::FieldId;
use flow::key::{HEADER_WORDS, VLAN_CFI};
use flow::prerequisite::Prerequisite;
use packet::wire::{eth_type, icmpv6_type, ip_proto};

/// The headers of a packet that has the field, with bits of `filler` wherever the field's prerequisite leaves a
/// choice. They are those of a frame that exists: as they are extracted from one that was composed of them.
pub(crate) fn packet_with(field: FieldId, filler: &[u64; HEADER_WORDS]) -> Headers {
    let mut headers = Headers::default();
    *headers.words_mut() = *filler;
    headers.vlan_tpid.set([0, eth_type::VLAN_8021AD][usize::from(headers.vlan_tpid.get() % 2)]);
    headers.vlan2_tpid.set(eth_type::VLAN);
    headers.nw_frag = [0, 0, 0, 1, 3][usize::from(headers.nw_frag % 5)];
    satisfy(field.def().prerequisite, &mut headers);
    let (key, _) = extract(Arrival::default(), &compose(&headers), 2);
    key.headers
}

/// Makes a packet one that has the fields of a prerequisite.
fn satisfy(prerequisite: Prerequisite, headers: &mut Headers) {
    let ip = [eth_type::IPV4, eth_type::IPV6][usize::from(headers.dl_type.get() % 2)];
    match prerequisite {
        // No frame says what connection it belongs to, so the packets have none.
        Prerequisite::None | Prerequisite::Ct => {
            let kinds =
                [eth_type::IPV4, eth_type::IPV6, eth_type::ARP, eth_type::MPLS, 0x88cc, ip, ip];
            let at = usize::from(headers.dl_type.get()) % kinds.len();
            headers.dl_type.set(kinds[at]);
            let protocols = [ip_proto::TCP, ip_proto::UDP, ip_proto::SCTP, ip_proto::ICMP, 47];
            headers.nw_proto = protocols[usize::from(headers.nw_proto) % protocols.len()];
        }
        Prerequisite::VlanVid => {
            headers.vlan_tci |= VLAN_CFI;
            satisfy(Prerequisite::None, headers);
        }
        Prerequisite::Mpls => headers.dl_type.set(eth_type::MPLS),
        Prerequisite::Arp => {
            headers.dl_type.set(eth_type::ARP);
            headers.nw_proto = 1 + headers.nw_proto % 2;
        }
        Prerequisite::Ipv4 => carry(headers, eth_type::IPV4, ip_proto::UDP),
        Prerequisite::Ipv6 => carry(headers, eth_type::IPV6, ip_proto::TCP),
        Prerequisite::Ip => carry(headers, ip, ip_proto::TCP),
        Prerequisite::Tcp => carry(headers, ip, ip_proto::TCP),
        Prerequisite::Udp => carry(headers, ip, ip_proto::UDP),
        Prerequisite::Sctp => carry(headers, ip, ip_proto::SCTP),
        Prerequisite::Icmpv4 => carry(headers, eth_type::IPV4, ip_proto::ICMP),
        Prerequisite::Icmpv6 => carry(headers, eth_type::IPV6, ip_proto::ICMPV6),
        Prerequisite::Nd | Prerequisite::NdSolicit => {
            neighbour_discovery(headers, icmpv6_type::ND_SOLICIT)
        }
        Prerequisite::NdAdvert => neighbour_discovery(headers, icmpv6_type::ND_ADVERT),
    }
}

/// Makes the packet one of this EtherType and IP protocol, the first fragment at most.
fn carry(headers: &mut Headers, dl_type: u16, proto: u8) {
    headers.dl_type.set(dl_type);
    headers.nw_proto = proto;
    headers.nw_frag &= 1;
}

fn neighbour_discovery(headers: &mut Headers, icmp_type: u8) {
    carry(headers, eth_type::IPV6, ip_proto::ICMPV6);
    headers.nw_frag = 0;
    headers.tp_src.set(icmp_type.into());
    headers.tp_dst.set(0);
}
