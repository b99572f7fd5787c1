//! Writes the headers of tunnels.

use super::target::TunnelKind;
use super::unwrap::ETHERNET;
use packet::TunnelKey;
use packet::wire::vxlan::GroupPolicy;
use packet::wire::{GenevePacket, GrePacket, VxlanPacket, geneve, gre, vxlan};

/// Bytes of the largest header that is written.
const MAX_SIZE: usize = 16;

/// The header of a tunnel, which goes in front of the Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TunnelHeader {
    bytes: [u8; MAX_SIZE],
    size: usize,
}

impl TunnelHeader {
    /// The header that says what `key` says. Of GRE, it has no key field if the key is 0.
    pub(super) fn new(kind: TunnelKind, key: &TunnelKey, has_checksum: bool) -> Self {
        let mut bytes = [0; MAX_SIZE];
        let size = match kind {
            TunnelKind::Vxlan => {
                let mut header = VxlanPacket::new_unchecked(&mut bytes[..]);
                header.set_vni(key.id as u32);
                if key.group_policy != GroupPolicy::default() {
                    header.set_group_policy(key.group_policy);
                }
                vxlan::HEADER_SIZE
            }
            TunnelKind::Geneve => {
                let mut header = GenevePacket::new_unchecked(&mut bytes[..]);
                header.set_header_size(geneve::HEADER_SIZE);
                header.set_flags(if key.is_oam { geneve::CONTROL } else { 0 });
                header.set_protocol_type(ETHERNET);
                header.set_vni(key.id as u32);
                geneve::HEADER_SIZE
            }
            TunnelKind::Gre => {
                let flags = [(key.id != 0, gre::KEY), (has_checksum, gre::CHECKSUM)];
                let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
                let mut header = GrePacket::new_unchecked(&mut bytes[..]);
                header.set_flags_and_version(flags.fold(0, |all, (_, flag)| all | flag));
                header.set_protocol_type(ETHERNET);
                if key.id != 0 {
                    header.set_key(key.id as u32);
                }
                header.header_size()
            }
        };
        Self { bytes, size }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

/// Completes a datagram, which is a header with its frame, where the header has to be like what follows.
pub(super) fn finish(kind: TunnelKind, has_checksum: bool, datagram: &mut [u8]) {
    if kind == TunnelKind::Gre && has_checksum {
        GrePacket::new_unchecked(datagram).fill_checksum();
    }
}

#[cfg(test)]
mod tests {
    use super::super::unwrap::unwrap;
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for kind in [TunnelKind::Vxlan, TunnelKind::Geneve, TunnelKind::Gre] {
            for (id, has_checksum) in [(0, false), (0x12_3456, false), (7, true)] {
                let key = TunnelKey { id, ..TunnelKey::default() };
                let header = TunnelHeader::new(kind, &key, has_checksum);
                let mut datagram = header.bytes().to_vec();
                datagram.extend([1; 14]);
                finish(kind, has_checksum, &mut datagram);
                let read = unwrap(kind, &datagram).unwrap();
                assert_eq!((read.id, read.start), (id, header.bytes().len()), "{kind}");
                assert!(!read.is_beyond_us && !read.is_oam && read.group_policy.is_none());
            }
        }
    }

    #[test]
    fn extensions_are_written() {
        let policy = GroupPolicy { id: 5, flags: 0x40 };
        let key = TunnelKey { is_oam: true, group_policy: policy, ..TunnelKey::default() };
        let read = |kind| {
            let header = TunnelHeader::new(kind, &key, false);
            unwrap(kind, &[header.bytes(), &[0; 14]].concat()).unwrap()
        };
        assert_eq!(read(TunnelKind::Vxlan).group_policy, Some(policy));
        assert!(read(TunnelKind::Geneve).is_oam);
    }
}
