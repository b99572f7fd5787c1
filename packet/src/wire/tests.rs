//! Tests the panic contract of [`wire`](super) for every view: views from `new_checked` never panic.

use super::*;
use proptest::prelude::*;
use std::fmt::Display;

/// Reads everything that a view has: `Display` reads the fields, and `rest` the parts of variable size.
fn read<V: Display>(view: Result<V, WireError>, rest: impl FnOnce(&V) -> usize) -> usize {
    view.map_or(0, |view| view.to_string().len() + rest(&view))
}

fn read_all(bytes: &[u8]) {
    read(EthernetFrame::new_checked(bytes), |v| v.payload().len());
    read(VlanTag::new_checked(bytes), |_| 0);
    read(MplsEntry::new_checked(bytes), |_| 0);
    read(ArpPacket::new_checked(bytes), |_| 0);
    read(Ipv4Packet::new_checked(bytes), |v| {
        v.options().len() + v.payload().len() + usize::from(v.is_checksum_right())
    });
    read(Ipv6Packet::new_checked(bytes), |v| v.payload().len());
    for kind in [ip_proto::FRAGMENT, ip_proto::AUTHENTICATION, ip_proto::ROUTING] {
        read(Ipv6Extension::new_checked(kind, bytes), |_| 0);
    }
    read(TcpPacket::new_checked(bytes), |v| v.options().len() + v.payload().len());
    read(UdpPacket::new_checked(bytes), |v| v.payload().len());
    read(SctpPacket::new_checked(bytes), |v| v.payload().len() + v.computed_checksum() as usize);
    read(IcmpPacket::new_checked(bytes), |v| v.payload().len());
    read(Icmpv6Packet::new_checked(bytes), |v| v.payload().len());
    read(NdPacket::new_checked(bytes), |v| v.options().count());
    read(NdOption::new_checked(bytes), |_| 0);
    read(VxlanPacket::new_checked(bytes), |v| v.payload().len());
    read(GenevePacket::new_checked(bytes), |v| {
        let critical = usize::from(v.has_unknown_critical(|_| false));
        v.options().count() + v.payload().len() + critical + usize::from(v.are_options_whole())
    });
    read(GeneveOption::new_checked(bytes), |v| v.data().len());
    read(GrePacket::new_checked(bytes), |v| {
        let is_accepted = v.is_plain() && v.is_checksum_right();
        v.payload().len() + v.checksum().map_or(0, usize::from) + usize::from(is_accepted)
    });
}

proptest! {
    #[test]
    fn checked_views_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..150)) {
        read_all(&bytes);
    }
}

#[test]
fn numbers_name_tags_labels_and_extensions() {
    let all = |is: fn(u16) -> bool| (0..=u16::MAX).filter(|n| is(*n)).collect::<Vec<_>>();
    assert_eq!(all(eth_type::is_vlan), eth_type::TPIDS);
    assert_eq!(all(eth_type::is_mpls), [0x8847, 0x8848]);
    let extensions: Vec<u8> = (0..=255).filter(|n| ip_proto::is_ipv6_extension(*n)).collect();
    assert_eq!(extensions, [0, 43, 44, 51, 60]);
}
