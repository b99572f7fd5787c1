//! Helpers of protocols: connections that tell of other connections in their payload (`ct(commit,alg=...)`).
//!
//! A rule gives a connection its helper when it commits the connection, and no connection has one without being
//! asked for. The helper reads what the ends tell each other (`ftp`), and remembers the connection to come
//! ([`expectations`]). The first packet of that connection is related to the connection that told of it:
//! `+rel`, with its mark and label, and its addresses are translated in the same way.
//!
//! An address in the payload of a translated connection is translated, too. That may change the size of a
//! segment, so that from there on the sequence numbers of the two ends differ ([`sequence`]). The executor of
//! datapath actions changes the frame (`datapath/segment`).
//!
//! The semantics are those of Open vSwitch's userspace datapath (`lib/conntrack.c`). Five things are different:
//! a connection has a helper whatever its ports are; both ends may tell of connections; FTP over IPv4 may use
//! the commands of RFC 2428; what is expected is expected for one connection and a limited time; and the TCP
//! option for selective acknowledgements follows the sequence numbers.

pub(super) mod expectations;
mod ftp;
mod sequence;

use super::tuple::{CtEnd, CtPacket, CtTuple};
use super::{Connections, FoundConnection, ms};
use expectations::Expectation;
use flow::ct::CtAlg;
use flow::key::ct_state;
use flow::nat::{Nat, NatAddresses, NatPorts, NatRange};
use ftp::{ToldAddress, ToldForm};
use packet::wire::{TcpPacket, tcp, udp};
use packet::{Frame, wire::ip_proto};
pub use sequence::SequenceShift;
use sequence::Shift;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

/// What a connection has to do with other connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CtHelp {
    /// It tells of other connections.
    Tells(Teller),
    /// Another connection told of it, the first packet of which had this tuple.
    ToldBy(CtTuple),
}

/// A connection that tells of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Teller {
    alg: CtAlg,
    /// How the sequence numbers of each end are shifted, those of the end that sent the first segment first.
    shifts: [Shift; 2],
}

impl CtHelp {
    /// A connection that tells of others, and has not yet.
    pub(super) fn teller(alg: CtAlg) -> Self {
        Self::Tells(Teller { alg, shifts: Default::default() })
    }

    /// The helper, if the connection tells of others.
    pub(super) fn alg(&self) -> Option<CtAlg> {
        match self {
            Self::Tells(teller) => Some(teller.alg),
            Self::ToldBy(_) => None,
        }
    }

    /// The tuple of the first packet of the connection that told of this one.
    pub(super) fn parent(&self) -> Option<CtTuple> {
        match self {
            Self::Tells(_) => None,
            Self::ToldBy(parent) => Some(*parent),
        }
    }

    /// The packet with its acknowledgement number in the numbers of the end that it acknowledges.
    pub(super) fn in_numbers_of_sender(&self, packet: &CtPacket, is_reply: bool) -> CtPacket {
        let mut packet = *packet;
        if let (Self::Tells(teller), Some(segment)) = (self, &mut packet.tcp) {
            let other = &teller.shifts[usize::from(!is_reply)];
            segment.acknowledgement = other.back(segment.acknowledgement);
        }
        packet
    }
}

/// How a TCP segment changes because of a helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentEdit {
    /// The new sequence number.
    pub sequence: u32,
    /// The new acknowledgement number.
    pub acknowledgement: u32,
    /// How selective acknowledgements change.
    pub selective: SequenceShift,
    /// The bytes of the payload that change, and what takes their place.
    pub text: Option<(Range<usize>, Vec<u8>)>,
}

/// The payload that a helper reads.
struct Told<'a> {
    payload: &'a [u8],
    /// The sequence and acknowledgement numbers of TCP.
    numbers: (u32, u32),
    /// How many bytes longer the IP packet may become.
    room: usize,
}

impl<'a> Told<'a> {
    /// Reads the payload of a TCP or UDP frame; `None` if its headers are cut off.
    fn read(frame: &'a Frame<'_>, protocol: u8) -> Option<Self> {
        let (l3, l4) = (usize::from(frame.layers.l3), usize::from(frame.layers.l4));
        let end = frame.size().checked_sub(frame.layers.padding.into())?;
        let transport = frame.bytes().get(l4..end)?;
        let room = usize::from(u16::MAX).saturating_sub(end.checked_sub(l3)?);
        if protocol != ip_proto::TCP {
            let payload = transport.get(udp::HEADER_SIZE..)?;
            return Some(Self { payload, numbers: (0, 0), room });
        }
        let header = TcpPacket::new_unchecked(transport.first_chunk::<{ tcp::HEADER_SIZE }>()?);
        let payload = transport.get(header.header_size()..)?;
        let numbers = (header.sequence(), header.acknowledgement());
        Some(Self { payload, numbers, room })
    }
}

/// The tuples of a connection that tells of others.
#[derive(Clone, Copy)]
struct Ends {
    original: CtTuple,
    reply: CtTuple,
}

impl Ends {
    /// The connection to come that the end tells of that sent the first packet, or the other end if `is_reply`.
    /// The end that listens has this port.
    fn connection_to_come(&self, is_reply: bool, port: u16) -> (CtTuple, Option<Nat>) {
        // Each direction has its ends as a packet has them before it is translated. The packets of the
        // connection to come go against the end that tells.
        let (seen, own) = match is_reply {
            true => (self.original, self.reply.reversed()),
            false => (self.reply, self.original.reversed()),
        };
        let mut expected = seen;
        (expected.source.port, expected.destination.port) = (0, port);
        let differs = |a: &CtEnd, b: &CtEnd| a.address_bytes() != b.address_bytes();
        let range = |end: &CtEnd| {
            let addresses = match own.address(end) {
                IpAddr::V4(address) => NatAddresses::Ipv4(address, address),
                IpAddr::V6(address) => NatAddresses::Ipv6(address, address),
            };
            NatRange { addresses: Some(addresses), ..NatRange::default() }
        };
        // One end of a connection is translated at most.
        let nat = if differs(&seen.source, &own.source) {
            Some(Nat::Source(range(&own.source)))
        } else if differs(&seen.destination, &own.destination) {
            Some(Nat::Destination(range(&own.destination)))
        } else {
            None
        };
        (expected, nat)
    }

    /// The address that the end has which tells, and the one by which the other end knows it.
    fn teller(&self, is_reply: bool) -> (IpAddr, IpAddr) {
        let (own, known) = match is_reply {
            true => (self.reply.source, self.original.destination),
            false => (self.original.source, self.reply.destination),
        };
        (self.original.address(&own), self.original.address(&known))
    }
}

impl Connections {
    /// Reads what a packet tells, if its connection has a helper, and says how the packet changes. `found` is
    /// what was found of the packet, and `is_translated` says whether the packet has been translated. A packet
    /// that tells of an address that is not its sender's is invalid.
    #[cold]
    pub(crate) fn help(
        &self,
        now: Duration,
        frame: &Frame<'_>,
        found: &mut FoundConnection,
        is_translated: bool,
    ) -> Option<SegmentEdit> {
        let place = found.place.filter(|place| !place.is_error)?;
        let is_reply = place.is_reply;
        let mut shard = self.shards.get(usize::from(place.shard))?.lock();
        let connection = shard.get_mut(place.slot).filter(|c| c.serial == place.serial)?;
        let ends = Ends { original: connection.original(), reply: connection.reply() };
        let (mark, label) = (connection.mark, connection.label);
        let Some(CtHelp::Tells(teller)) = connection.help.as_deref_mut() else { return None };
        let told = Told::read(frame, ends.original.protocol)?;
        let expect = |(tuple, nat): (CtTuple, Option<Nat>)| {
            let parent = ends.original;
            self.expectations.insert(ms(now), tuple, Expectation { parent, mark, label, nat });
        };
        if teller.alg == CtAlg::Tftp {
            if !is_reply && is_tftp_request(told.payload) {
                let (tuple, nat) = ends.connection_to_come(false, ends.reply.destination.port);
                let port = ends.original.source.port;
                expect((tuple, nat.map(|nat| at_port(nat, port))));
            }
            return None;
        }
        let (sequence, acknowledgement) = told.numbers;
        let mut text = None;
        if found.state & ct_state::INVALID == 0
            && let Some(address) = ftp::read(told.payload, is_reply)
        {
            let (own, known) = ends.teller(is_reply);
            match address {
                Ok(address) if address.address.is_none_or(|said| said == own) => {
                    expect(ends.connection_to_come(is_reply, address.port));
                    text = rewritten(&address, own, known).filter(|_| is_translated);
                }
                _ => {
                    // That it has been translated stays known, so that nobody does it again.
                    found.state &= ct_state::SRC_NAT | ct_state::DST_NAT;
                    found.state |= ct_state::TRACKED | ct_state::INVALID;
                }
            }
        }
        if !is_translated {
            return None;
        }
        let text = text.filter(|(place, new)| new.len() <= place.len() + told.room);
        let [own, other] = match is_reply {
            false => [0, 1],
            true => [1, 0],
        };
        if let Some((place, new)) = &text {
            teller.shifts[own].add(sequence, new.len() as i32 - place.len() as i32);
        }
        let edit = SegmentEdit {
            sequence: teller.shifts[own].forth(sequence),
            acknowledgement: teller.shifts[other].back(acknowledgement),
            selective: SequenceShift(teller.shifts[other]),
            text,
        };
        let changes = edit.text.is_some()
            || (edit.sequence, edit.acknowledgement) != told.numbers
            || !teller.shifts[other].is_none();
        changes.then_some(edit)
    }
}

/// The place of an address in the payload and what it becomes, if the end that has the address
/// `own` is known as `known`.
fn rewritten(address: &ToldAddress, own: IpAddr, known: IpAddr) -> Option<(Range<usize>, Vec<u8>)> {
    (own != known && address.form != ToldForm::PortOnly)
        .then(|| (address.place.clone(), address.form.write(known, address.port)))
}

/// Whether the payload of a datagram is a request of TFTP to read or to write (RFC 1350 §5).
fn is_tftp_request(payload: &[u8]) -> bool {
    matches!(payload, [0, 1 | 2, ..])
}

/// The translation, to this port if it translates the destination.
fn at_port(nat: Nat, port: u16) -> Nat {
    match nat {
        Nat::Destination(range) => {
            let ports = Some(NatPorts { first: port, last: port });
            Nat::Destination(NatRange { ports, ..range })
        }
        other => other,
    }
}
