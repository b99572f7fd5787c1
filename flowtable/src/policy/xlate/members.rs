//! The actions that choose one of several links by a hash of the packet:
//! `multipath`, `bundle` and `bundle_load`.

use super::{Ctx, Note, TranslationObserver};
use flow::fields::FieldId;
use flow::members::{HashFields, LinkAlgorithm, MemberAlgorithm, Multipath, PortBundle};
use flow::types::OfPort;
use packet::wire::{eth_type, ip_proto};

/// Keys of the hash function. The choice of a link is no secret: it is the same in every
/// switch, and after a restart.
const HASH_KEYS: [u64; 4] = [0x6d75_6c74, 0x6970_6174, 0x6862_756e, 0x646c_6573];
/// How often `iter_hash` hashes before it takes the remainder.
const MAX_ROUNDS: u64 = 1 << 16;
/// How many rounds of hashing, or members that are compared, take a step.
const ROUNDS_A_STEP: usize = 4;

impl<O: TranslationObserver> Ctx<'_, O> {
    /// Carries out `multipath(...)`.
    pub(super) fn multipath(&mut self, multipath: &Multipath) {
        let links = u64::from(multipath.max_link) + 1;
        let packet = self.hash_of(multipath.fields);
        let hash = |more: u64| u64::from(hash_with(&packet, multipath.basis, more) as u32);
        let link = match multipath.algorithm {
            _ if links == 1 => 0,
            LinkAlgorithm::ModuloN => hash(0) % links,
            LinkAlgorithm::HashThreshold => (hash(0) * links) >> u32::BITS,
            LinkAlgorithm::Hrw => {
                if !self.spend_for(links as usize) {
                    return;
                }
                (0..links).max_by_key(|link| hash(*link)).unwrap_or_default()
            }
            LinkAlgorithm::IterHash => {
                // With the argument as a number of bits that may exceed the number of links, a changed number
                // of links moves few flows.
                let modulus = u64::from(multipath.arg);
                let modulus = if (links..=links * 64).contains(&modulus) { modulus } else { links };
                let mut rounds = (0..MAX_ROUNDS).map(|round| hash(round) % modulus);
                rounds.find(|link| *link < links).unwrap_or_else(|| hash(0) % links)
            }
        };
        self.packet.write(multipath.dst, link.into());
        self.observer.note(|| Note::FieldIsNow(multipath.dst, link.into()));
    }

    /// Carries out `bundle(...)` or `bundle_load(...)`.
    pub(super) fn bundle(&mut self, bundle: &PortBundle) {
        if !self.spend_for(bundle.members.len() * ROUNDS_A_STEP) {
            return;
        }
        let packet = match bundle.algorithm {
            MemberAlgorithm::ActiveBackup => Vec::new(),
            MemberAlgorithm::Hrw => self.hash_of(bundle.fields),
        };
        let hash = |place: usize| hash_with(&packet, bundle.basis, place as u64);
        let mut best: Option<(u64, OfPort)> = None;
        for (place, &port) in bundle.members.iter().enumerate() {
            self.depend_on_port(port);
            if !self.is_port_up(port) {
                continue;
            }
            match bundle.algorithm {
                MemberAlgorithm::ActiveBackup => {
                    best = Some((0, port));
                    break;
                }
                MemberAlgorithm::Hrw => {
                    let hash = hash(place);
                    if best.is_none_or(|(most, _)| hash > most) {
                        best = Some((hash, port));
                    }
                }
            }
        }
        let port = best.map_or(OfPort::NONE, |(_, port)| port);
        match bundle.dst {
            Some(dst) => {
                self.packet.write(dst, port.0.into());
                self.observer.note(|| Note::FieldIsNow(dst, port.0.into()));
            }
            None => {
                self.observer.note(|| Note::OutputPortIs(port));
                self.output(port);
            }
        }
    }

    /// The values of the fields that the packet has.
    fn hash_of(&mut self, fields: HashFields) -> Vec<u128> {
        let mut values = Vec::with_capacity(8);
        let is_symmetric = match fields {
            HashFields::EthSrc => return vec![self.value_of(FieldId::EthSrc)],
            HashFields::NwSrc => return vec![self.address(true)],
            HashFields::NwDst => return vec![self.address(false)],
            HashFields::SymmetricL4 => {
                let (src, dst) = (self.value_of(FieldId::EthSrc), self.value_of(FieldId::EthDst));
                values.extend([src ^ dst, self.packet.dl_type().into()]);
                values.push(self.packet.read_bits(FieldId::VlanTci, 0x0fff));
                self.packet.is_ip()
            }
            HashFields::SymmetricL3 | HashFields::SymmetricL3L4 | HashFields::SymmetricL3L4Udp => {
                self.packet.is_ip()
            }
        };
        if !is_symmetric {
            return values;
        }
        values.push(self.address(true) ^ self.address(false));
        if fields == HashFields::SymmetricL3 {
            return values;
        }
        let proto = self.value_of(FieldId::IpProto) as u8;
        values.push(proto.into());
        let ports = match proto {
            ip_proto::TCP => Some([FieldId::TcpSrc, FieldId::TcpDst]),
            ip_proto::SCTP => Some([FieldId::SctpSrc, FieldId::SctpDst]),
            ip_proto::UDP if fields == HashFields::SymmetricL3L4Udp => {
                Some([FieldId::UdpSrc, FieldId::UdpDst])
            }
            _ => None,
        };
        // Fragments have no ports, and would leave the way of their connection.
        if let Some([src, dst]) = ports.filter(|_| !self.packet.is_fragment()) {
            values.push(self.value_of(src) ^ self.value_of(dst));
        }
        values
    }

    fn value_of(&mut self, field: FieldId) -> u128 {
        match self.packet.has(field) {
            true => self.packet.read_bits(field, field.full_mask()),
            false => 0,
        }
    }

    /// The source address (or else the destination address) of an IP packet; 0 if there is none.
    fn address(&mut self, is_source: bool) -> u128 {
        match (self.packet.dl_type(), is_source) {
            (eth_type::IPV4, true) => self.value_of(FieldId::Ipv4Src),
            (eth_type::IPV4, false) => self.value_of(FieldId::Ipv4Dst),
            (eth_type::IPV6, true) => self.value_of(FieldId::Ipv6Src),
            (eth_type::IPV6, false) => self.value_of(FieldId::Ipv6Dst),
            _ => 0,
        }
    }
}

fn hash_with(values: &[u128], basis: u16, more: u64) -> u64 {
    let [a, b, c, d] = HASH_KEYS;
    ahash::RandomState::with_seeds(a, b, c, d).hash_one((basis, more, values))
}
