//! Writes the headers of tunnels.

use super::target::TunnelKind;
use super::unwrap::ETHERNET;
use packet::TunnelKey;
use packet::wire::vxlan::GroupPolicy;
use packet::wire::{GeneveOptions, GenevePacket, GrePacket, VxlanPacket, geneve, gre, vxlan};
use std::ops::BitOr;

/// Bytes of the largest header that is written, without options.
const MAX_SIZE: usize = 16;

/// Appends the header that says what `key` says, which goes in front of the Ethernet frame. Of GRE, it has no
/// key field if the key is 0.
pub(super) fn append_header(
    kind: TunnelKind,
    key: &TunnelKey,
    has_checksum: bool,
    out: &mut Vec<u8>,
) {
    let mut bytes = [0; MAX_SIZE];
    let mut options: &[u8] = &[];
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
            options = key.options.as_deref().unwrap_or_default();
            let is_critical = GeneveOptions::new(options).any(|option| option.is_critical());
            let flags = [(key.is_oam, geneve::CONTROL), (is_critical, geneve::CRITICAL)];
            let mut header = GenevePacket::new_unchecked(&mut bytes[..]);
            header.set_header_size(geneve::HEADER_SIZE + options.len());
            header.set_flags(all_of(flags));
            header.set_protocol_type(ETHERNET);
            header.set_vni(key.id as u32);
            geneve::HEADER_SIZE
        }
        TunnelKind::Gre => {
            let flags = [(key.id != 0, gre::KEY), (has_checksum, gre::CHECKSUM)];
            let mut header = GrePacket::new_unchecked(&mut bytes[..]);
            header.set_flags_and_version(all_of(flags));
            header.set_protocol_type(ETHERNET);
            if key.id != 0 {
                header.set_key(key.id as u32);
            }
            header.header_size()
        }
    };
    out.extend_from_slice(&bytes[..size]);
    out.extend_from_slice(options);
}

/// The flags that are set.
fn all_of<F: BitOr<Output = F> + Default>(flags: [(bool, F); 2]) -> F {
    let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
    flags.fold(F::default(), |all, (_, flag)| all | flag)
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

    fn header(kind: TunnelKind, key: &TunnelKey, has_checksum: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        append_header(kind, key, has_checksum, &mut bytes);
        bytes
    }

    #[test]
    fn what_is_written_can_be_read() {
        for kind in [TunnelKind::Vxlan, TunnelKind::Geneve, TunnelKind::Gre] {
            for (id, has_checksum) in [(0, false), (0x12_3456, false), (7, true)] {
                let key = TunnelKey { id, ..TunnelKey::default() };
                let mut datagram = header(kind, &key, has_checksum);
                let size = datagram.len();
                datagram.extend([1; 14]);
                finish(kind, has_checksum, &mut datagram);
                let read = unwrap(kind, &datagram).unwrap();
                assert_eq!((read.id, read.start), (id, size), "{kind}");
                assert!(!read.is_beyond_us && !read.is_oam && read.group_policy.is_none());
            }
        }
    }

    #[test]
    fn extensions_are_written() {
        let policy = GroupPolicy { id: 5, flags: 0x40 };
        let options = [1, 2, 0x80, 1, 0, 3, 0, 5];
        let key = TunnelKey {
            is_oam: true,
            group_policy: policy,
            options: Some(options[..].into()),
            ..TunnelKey::default()
        };
        let vxlan = [header(TunnelKind::Vxlan, &key, false), vec![0; 14]].concat();
        let read = unwrap(TunnelKind::Vxlan, &vxlan).unwrap();
        assert_eq!((read.group_policy, read.options), (Some(policy), &[][..]));
        let geneve = [header(TunnelKind::Geneve, &key, false), vec![0; 14]].concat();
        let read = unwrap(TunnelKind::Geneve, &geneve).unwrap();
        assert_eq!((read.is_oam, read.options), (true, &options[..]));
        assert_eq!(geneve[..2], [2, geneve::CONTROL | geneve::CRITICAL]);
    }
}
