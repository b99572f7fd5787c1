//! Reads the headers of tunnels: VXLAN (RFC 7348), Geneve (RFC 8926), GRE (RFC 2784, 2890).

use super::target::TunnelKind;
use packet::wire::vxlan::GroupPolicy;
use packet::wire::{
    GenevePacket, GrePacket, Ipv4Packet, VxlanPacket, eth_type, ethernet, geneve, vxlan,
};

/// EtherType of a whole Ethernet frame behind a header (transparent Ethernet bridging).
pub(super) const ETHERNET: u16 = eth_type::TEB;

/// What the header of a tunnel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwrapped<'a> {
    /// The VNI, or the key of GRE; 0 without one.
    pub(super) id: u64,
    /// Offset of the Ethernet frame.
    pub(super) start: usize,
    pub(super) is_oam: bool,
    /// `None` without the extension.
    pub(super) group_policy: Option<GroupPolicy>,
    /// The options of Geneve, which are whole.
    pub(super) options: &'a [u8],
    /// Whether the header is damaged, or asks for something that no port knows, so that the
    /// frame has to be dropped.
    pub(super) is_beyond_us: bool,
}

/// Reads the header in front of a frame; `None` if no tunnel port could take the datagram, because it is
/// damaged or of another protocol.
pub(super) fn unwrap(kind: TunnelKind, datagram: &[u8]) -> Option<Unwrapped<'_>> {
    let unwrapped = match kind {
        TunnelKind::Vxlan => vxlan(datagram)?,
        TunnelKind::Geneve => geneve(datagram)?,
        TunnelKind::Gre => gre(datagram)?,
    };
    (datagram.len() >= unwrapped.start + ethernet::HEADER_SIZE).then_some(unwrapped)
}

fn vxlan(datagram: &[u8]) -> Option<Unwrapped<'_>> {
    let header = VxlanPacket::new_checked(datagram).ok()?;
    (header.flags() & vxlan::VALID_VNI != 0).then(|| Unwrapped {
        id: header.vni().into(),
        start: vxlan::HEADER_SIZE,
        is_oam: false,
        group_policy: header.group_policy(),
        options: &[],
        is_beyond_us: false,
    })
}

fn geneve(datagram: &[u8]) -> Option<Unwrapped<'_>> {
    let header = GenevePacket::new_checked(datagram).ok()?;
    if header.version() != 0 || header.protocol_type() != ETHERNET || !header.are_options_whole() {
        return None;
    }
    Some(Unwrapped {
        id: header.vni().into(),
        start: header.header_size(),
        is_oam: header.flags() & geneve::CONTROL != 0,
        group_policy: None,
        options: &datagram[geneve::HEADER_SIZE..header.header_size()],
        is_beyond_us: false,
    })
}

fn gre(datagram: &[u8]) -> Option<Unwrapped<'_>> {
    let header = GrePacket::new_checked(datagram).ok()?;
    if !header.is_plain() || header.protocol_type() != ETHERNET {
        return None;
    }
    Some(Unwrapped {
        id: header.key().unwrap_or_default().into(),
        start: header.header_size(),
        is_oam: false,
        group_policy: None,
        options: &[],
        is_beyond_us: !header.is_checksum_right(),
    })
}

/// Offset of what is behind the IPv4 header with which raw sockets begin their datagrams;
/// `None` if there is none.
pub(super) fn behind_ipv4(datagram: &[u8]) -> Option<usize> {
    Ipv4Packet::new_checked(datagram).ok().map(|header| header.header_size())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: TunnelKind, header: &[u8], expected: Option<Unwrapped<'_>>) {
        let mut datagram = header.to_vec();
        datagram.extend([0; 14]);
        assert_eq!(unwrap(kind, &datagram), expected, "{kind} {header:x?}");
        for size in 0..datagram.len() {
            let cut = unwrap(kind, &datagram[..size]);
            assert_eq!(cut, None, "{kind} {header:x?} of {size} bytes");
        }
    }

    const PLAIN: Unwrapped<'static> = Unwrapped {
        id: 0x12_3456,
        start: 8,
        is_oam: false,
        group_policy: None,
        options: &[],
        is_beyond_us: false,
    };

    #[test]
    fn vxlan_needs_its_flag_and_ignores_what_is_reserved() {
        let some = |group_policy| Some(Unwrapped { group_policy, ..PLAIN });
        check(TunnelKind::Vxlan, &[8, 0, 0, 0, 0x12, 0x34, 0x56, 0], some(None));
        check(TunnelKind::Vxlan, &[0x0c, 0, 9, 0, 0x12, 0x34, 0x56, 7], some(None));
        check(TunnelKind::Vxlan, &[0, 0, 0, 0, 0x12, 0x34, 0x56, 0], None);
        let policy = GroupPolicy { id: 0x0102, flags: 0x48 };
        check(TunnelKind::Vxlan, &[0x88, 0x48, 1, 2, 0x12, 0x34, 0x56, 0], some(Some(policy)));
    }

    #[test]
    fn geneve_has_options() {
        let plain = [0, 0, 0x65, 0x58, 0x12, 0x34, 0x56, 0];
        check(TunnelKind::Geneve, &plain, Some(PLAIN));
        let oam = [0, 0x80, 0x65, 0x58, 0x12, 0x34, 0x56, 0];
        check(TunnelKind::Geneve, &oam, Some(Unwrapped { is_oam: true, ..PLAIN }));
        let option = |kind| [2, 0, 0x65, 0x58, 0x12, 0x34, 0x56, 0, 1, 2, kind, 1, 1, 2, 3, 4];
        let options = &option(0x83)[8..];
        check(TunnelKind::Geneve, &option(0x83), Some(Unwrapped { start: 16, options, ..PLAIN }));
        // Version 1, another protocol, an option that runs past the header.
        check(TunnelKind::Geneve, &[0x40, 0, 0x65, 0x58, 0x12, 0x34, 0x56, 0], None);
        check(TunnelKind::Geneve, &[0, 0, 8, 0, 0x12, 0x34, 0x56, 0], None);
        check(TunnelKind::Geneve, &[1, 0, 0x65, 0x58, 0x12, 0x34, 0x56, 0, 1, 2, 3, 1], None);
    }

    #[test]
    fn gre_has_a_key_or_none() {
        let without = Unwrapped { id: 0, start: 4, ..PLAIN };
        check(TunnelKind::Gre, &[0, 0, 0x65, 0x58], Some(without));
        check(TunnelKind::Gre, &[0x20, 0, 0x65, 0x58, 0, 0x12, 0x34, 0x56], Some(PLAIN));
        let numbered = [0x30, 0, 0x65, 0x58, 0, 0x12, 0x34, 0x56, 0, 0, 0, 1];
        check(TunnelKind::Gre, &numbered, Some(Unwrapped { start: 12, ..PLAIN }));
        check(TunnelKind::Gre, &[0x40, 0, 0x65, 0x58, 0, 0, 0, 0], None);
        check(TunnelKind::Gre, &[0, 1, 0x65, 0x58], None);
        let mut summed = [0x80, 0, 0x65, 0x58, 0x1a, 0xa7, 0, 0];
        check(TunnelKind::Gre, &summed, Some(Unwrapped { id: 0, start: 8, ..PLAIN }));
        summed[4] ^= 1;
        let wrong = Unwrapped { id: 0, start: 8, is_beyond_us: true, ..PLAIN };
        check(TunnelKind::Gre, &summed, Some(wrong));
    }
}
