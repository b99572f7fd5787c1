//! Translates the addresses and ports of a frame (RFC 3022), and those of the packet that an ICMP error quotes
//! (RFC 5508 §4).
//!
//! Checksums follow as with every [edit]: complete ones are updated, partial ones stay partial.

use super::edit::{self, bytes_at, has_partial_checksum, read};
use crate::conntrack::{CtTranslation, CtTuple, quoted_header_size};
use flow::verdict::{AddressSums, Rewrite, Transport};
use packet::wire::{icmp, icmpv6, ip_proto, ipv4, ipv6, tcp, udp};
use packet::{Frame, checksum};
use std::net::IpAddr;

/// The translation of the TCP segments or UDP datagrams of one direction of a connection
/// over IPv4, worked out ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuickTranslation {
    /// The source address and the destination address, as in the header.
    addresses: [u8; 8],
    /// The source port and the destination port, as in the header.
    ports: [u8; 4],
    /// Whether the protocol is UDP, as opposed to TCP.
    is_udp: bool,
    /// What the sum of the IP header, and that of the pseudo header, grow by.
    addresses_grow: u16,
    /// What the sum of the transport header and the pseudo header grows by.
    all_grow: u16,
}

impl QuickTranslation {
    /// `None` for other packets than segments and datagrams over IPv4.
    pub(super) fn new(translation: &CtTranslation) -> Option<Self> {
        let CtTranslation { from, to, is_error } = translation;
        let is_udp = from.protocol == ip_proto::UDP;
        if *is_error || from.is_ipv6 || !(is_udp || from.protocol == ip_proto::TCP) {
            return None;
        }
        let bytes = |tuple: &CtTuple| {
            let mut bytes = [0; 12];
            bytes[..4].copy_from_slice(&tuple.source.address_bytes()[..4]);
            bytes[4..8].copy_from_slice(&tuple.destination.address_bytes()[..4]);
            bytes[8..10].copy_from_slice(&tuple.source.port.to_be_bytes());
            bytes[10..].copy_from_slice(&tuple.destination.port.to_be_bytes());
            bytes
        };
        let (old, new) = (bytes(from), bytes(to));
        let growth = |n: usize| checksum::add(!checksum::sum(&old[..n]), checksum::sum(&new[..n]));
        Some(Self {
            addresses: *new.first_chunk()?,
            ports: *new.last_chunk()?,
            is_udp,
            addresses_grow: growth(8),
            all_grow: growth(12),
        })
    }

    /// Translates a frame whose packet has been read as one of the connection's. A frame whose headers end too
    /// early, which cannot have been read so, stays as it is.
    #[inline]
    pub(super) fn apply(&self, frame: &mut Frame<'_>) {
        let is_partial = has_partial_checksum(frame);
        let (l3, l4) = (usize::from(frame.layers.l3), usize::from(frame.layers.l4));
        let field = if self.is_udp { udp::field::CHECKSUM } else { tcp::field::CHECKSUM };
        let Some((network, transport)) = frame.bytes_mut().split_at_mut_checked(l4) else { return };
        let ip = network.get_mut(l3..).and_then(<[u8]>::first_chunk_mut::<{ ipv4::HEADER_SIZE }>);
        let (Some(ip), true) = (ip, transport.len() >= field.end) else { return };
        let grow = |sum: &mut [u8], by: u16| {
            let old = u16::from_be_bytes([sum[0], sum[1]]);
            sum.copy_from_slice(&(!checksum::add(!old, by)).to_be_bytes());
        };
        let sum = &mut transport[field];
        if is_partial {
            // It is the sum of the pseudo header, and not yet inverted.
            let old = u16::from_be_bytes([sum[0], sum[1]]);
            sum.copy_from_slice(&checksum::add(old, self.addresses_grow).to_be_bytes());
        } else if !self.is_udp || *sum != [0, 0] {
            grow(sum, self.all_grow);
            if self.is_udp && *sum == [0, 0] {
                sum.fill(0xff);
            }
        }
        transport[..4].copy_from_slice(&self.ports);
        grow(&mut ip[ipv4::field::CHECKSUM], self.addresses_grow);
        ip[ipv4::field::ADDRESSES].copy_from_slice(&self.addresses);
    }
}

/// Translates the packet of a frame.
pub(super) fn translate(frame: &mut Frame<'_>, translation: &CtTranslation) {
    let CtTranslation { from, to, is_error } = translation;
    set_addresses(frame, from, to);
    if *is_error {
        return translate_quoted(frame, &from.reversed(), &to.reversed());
    }
    let between = |old: u16, new: u16| Rewrite::<u16>::between(old, new, u16::MAX);
    let source = between(from.source.port, to.source.port);
    let destination = between(from.destination.port, to.destination.port);
    let transport = match from.protocol {
        ip_proto::TCP => Transport::Tcp,
        ip_proto::UDP => Transport::Udp,
        ip_proto::SCTP => Transport::Sctp,
        ip_proto::ICMP | ip_proto::ICMPV6 => {
            let at = usize::from(frame.layers.l4) + icmp::field::IDENTIFIER.start;
            return replace(frame, at, &to.source.port.to_be_bytes());
        }
        _ => return,
    };
    edit::set_ports(frame, transport, source, destination);
}

/// Gives the IP header the addresses of `to` where they differ from those of `from`.
fn set_addresses(frame: &mut Frame<'_>, from: &CtTuple, to: &CtTuple) {
    let ends = [(&from.source, &to.source), (&from.destination, &to.destination)];
    let addresses = ends.map(|(old, new)| (from.address(old), to.address(new)));
    if from.is_ipv6 {
        let [src, dst] = addresses.map(|pair| match pair {
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                Rewrite::<u128>::between(a.to_bits(), b.to_bits(), u128::MAX)
            }
            _ => Rewrite::default(),
        });
        let (label, none) = (Rewrite::default(), Rewrite::default());
        edit::set_ipv6(frame, (src, dst), label, none, none, AddressSums::Right);
    } else {
        let [src, dst] = addresses.map(|pair| match pair {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                Rewrite::<u32>::between(a.to_bits(), b.to_bits(), u32::MAX)
            }
            _ => Rewrite::default(),
        });
        let none = Rewrite::default();
        edit::set_ipv4(frame, src, dst, none, none, AddressSums::Right);
    }
}

/// Translates the packet that an ICMP error quotes, which has the tuple `from` and gets the tuple `to`. The
/// quoted packet may be cut off anywhere behind its ports.
fn translate_quoted(frame: &mut Frame<'_>, from: &CtTuple, to: &CtTuple) {
    const { assert!(icmp::HEADER_SIZE == icmpv6::HEADER_SIZE) };
    let ip = usize::from(frame.layers.l4) + icmp::HEADER_SIZE;
    let end = frame.size().saturating_sub(frame.layers.padding.into());
    let Some(size) = frame.bytes().get(ip..end).and_then(quoted_header_size) else { return };
    let l4 = ip + size;
    // A field of two bytes, if the quoted packet goes on that far.
    let field = |at: usize| Some(at).filter(|at| at + 2 <= end);
    let (sum_at, has_pseudo_header) = match from.protocol {
        ip_proto::TCP => (field(l4 + tcp::field::CHECKSUM.start), true),
        ip_proto::UDP => (field(l4 + udp::field::CHECKSUM.start), true),
        ip_proto::ICMPV6 => (field(l4 + icmpv6::field::CHECKSUM.start), true),
        ip_proto::ICMP => (field(l4 + icmp::field::CHECKSUM.start), false),
        _ => (None, false),
    };
    let is_udp = from.protocol == ip_proto::UDP;
    let (fields, size) = match from.is_ipv6 {
        true => ([ipv6::field::SRC_ADDR.start, ipv6::field::DST_ADDR.start], 16),
        false => ([ipv4::field::SRC_ADDR.start, ipv4::field::DST_ADDR.start], 4),
    };
    let ends = [(&from.source, &to.source), (&from.destination, &to.destination)];
    for (field, (old, new)) in fields.into_iter().zip(ends) {
        let (old, new) = (&old.address_bytes()[..size], &new.address_bytes()[..size]);
        replace(frame, ip + field, new);
        if !from.is_ipv6 {
            replace_sum(frame, ip + ipv4::field::CHECKSUM.start, old, new, false);
        }
        if let Some(at) = sum_at.filter(|_| has_pseudo_header) {
            replace_sum(frame, at, old, new, is_udp);
        }
    }
    let is_icmp = matches!(from.protocol, ip_proto::ICMP | ip_proto::ICMPV6);
    let ports = match is_icmp {
        true => [Some(l4 + icmp::field::IDENTIFIER.start), None],
        false if ip_proto::has_ports(from.protocol) => [Some(l4), Some(l4 + 2)],
        false => [None, None],
    };
    for (at, (old, new)) in ports.into_iter().zip(ends) {
        if let Some(at) = at.and_then(field) {
            let (old, new) = (old.port.to_be_bytes(), new.port.to_be_bytes());
            if old == new {
                continue;
            }
            replace(frame, at, &new);
            if let Some(at) = sum_at {
                replace_sum(frame, at, &old, &new, is_udp);
            }
        }
    }
}

/// Updates a checksum in the quoted packet, at `at`, after `new` took the place of `old`.
fn replace_sum(frame: &mut Frame<'_>, at: usize, old: &[u8], new: &[u8], is_udp: bool) {
    let Some(mut sum) = read::<2>(frame, at).filter(|_| old != new) else { return };
    match is_udp {
        true => checksum::update_udp(&mut sum, old, new),
        false => checksum::update(&mut sum, old, new),
    }
    replace(frame, at, &sum);
}

/// Writes up to 16 bytes of an ICMP or ICMPv6 message, at an even offset from its beginning, and updates the
/// message's checksum unless that is partial, because a partial one does not cover them yet.
fn replace(frame: &mut Frame<'_>, at: usize, new: &[u8]) {
    let mut old = [0; 16];
    let Some(bytes) = frame.bytes_mut().get_mut(at..at + new.len()) else { return };
    let old = &mut old[..new.len()];
    old.copy_from_slice(bytes);
    bytes.copy_from_slice(new);
    let sum_at = usize::from(frame.layers.l4) + icmp::field::CHECKSUM.start;
    if !has_partial_checksum(frame)
        && let Some(sum) = bytes_at::<2>(frame, sum_at)
    {
        checksum::update(sum, old, new);
    }
}
