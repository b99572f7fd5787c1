//! What a worker remembers of an established connection, so that it need not look the
//! connection up for each frame.
//!
//! As long as the connection's [`Pulse`] has the same edition, what was found of it holds: mark, label,
//! translation, and that it is established. A datagram then has nothing to change but the time at which the
//! connection ends, which is in the pulse, so no lock is taken. A TCP segment is judged as always, under the
//! lock of the shard, whose slot is known.
//!
//! A worker forgets a connection after a while, and looks it up as it did the first time. That moves the
//! connection in its list as often as other packets do (`shard`), and an edition that comes again does so when
//! nobody remembers the first one.

use super::connection::{Heard, ProtocolState};
use super::pulse::Pulse;
use super::shard::{CtShard, MOVES, PulseBlock};
use super::timeouts::{Timeout, ms};
use super::tuple::CtPacket;
use super::{Connections, CtTranslation, FoundConnection, tuple};
use flow::key::ct_state;
use packet::Frame;
use packet::wire::ip_proto;
use std::sync::Arc;
use std::time::Duration;

/// How long a worker remembers a connection at most, in milliseconds.
const LONGEST: u64 = 32_000;

/// A connection that was found to be established.
#[derive(Debug)]
pub(crate) struct KnownConnection {
    pulses: Arc<PulseBlock>,
    /// When the connection has to be looked up again, in milliseconds.
    until: u64,
    edition: u32,
    /// Which of the pulses is the connection's.
    at: u8,
    is_reply: bool,
    protocol: KnownProtocol,
}

/// How the connection moves on with a packet.
#[derive(Debug)]
enum KnownProtocol {
    /// A datagram puts off the end by the timeout, in milliseconds.
    Udp { timeout: u32 },
    /// A segment is judged in this slot.
    Tcp { shard: u16, slot: u32 },
    /// A packet is counted in this slot, and judged there if it is a segment.
    Counted { shard: u16, slot: u32, is_tcp: bool },
}

impl KnownConnection {
    fn pulse(&self) -> &Pulse {
        &self.pulses[usize::from(self.at)]
    }

    /// The number of the connection's protocol.
    pub(crate) fn protocol(&self) -> u8 {
        match self.protocol {
            KnownProtocol::Udp { .. } | KnownProtocol::Counted { is_tcp: false, .. } => {
                ip_proto::UDP
            }
            KnownProtocol::Tcp { .. } | KnownProtocol::Counted { is_tcp: true, .. } => {
                ip_proto::TCP
            }
        }
    }

    /// Whether packets find the same as before. `false` is for good.
    #[inline]
    pub(crate) fn is_same(&self) -> bool {
        self.pulse().edition() == self.edition
    }
}

impl Connections {
    /// What can be remembered of a connection, and how frames are translated in the direction of the one that
    /// has `found` it. `None` if the connection is not an established one of UDP or TCP, or has changed since
    /// it was found.
    pub(crate) fn remember(
        &self,
        now: Duration,
        found: &FoundConnection,
    ) -> Option<(KnownConnection, Option<CtTranslation>)> {
        let place = found.place.filter(|place| !place.is_error && !found.is_fragmented)?;
        if found.state & ct_state::ESTABLISHED == 0 {
            return None;
        }
        let shard = self.shards.get(usize::from(place.shard))?.lock();
        let connection = shard.get(place.slot).filter(|connection| {
            connection.serial == place.serial
                && (connection.mark, connection.label) == (found.mark, found.label)
                // A helper wants to see each packet.
                && connection.help.as_ref().is_none_or(|help| help.alg().is_none())
        })?;
        let (pulses, at) = shard.block(place.slot)?;
        let mut until = ms(now) + LONGEST;
        let mut protocol = match connection.state {
            ProtocolState::Tcp(_) => KnownProtocol::Tcp { shard: place.shard, slot: place.slot },
            ProtocolState::Other(Heard::BothEnds)
                if connection.canonical.protocol == ip_proto::UDP =>
            {
                let timeout = shard.period(found.zone, connection.timeout);
                until = until.min(connection.moved + timeout / MOVES);
                KnownProtocol::Udp { timeout: timeout.try_into().ok()? }
            }
            ProtocolState::Other(_) | ProtocolState::Icmp { .. } => return None,
        };
        if connection.counts.is_some() {
            let is_tcp = matches!(protocol, KnownProtocol::Tcp { .. });
            protocol = KnownProtocol::Counted { shard: place.shard, slot: place.slot, is_tcp };
        }
        let is_translated = found.state & (ct_state::SRC_NAT | ct_state::DST_NAT) != 0;
        let translation = is_translated.then(|| connection.translation(place.is_reply, false));
        let pulses = Arc::clone(pulses);
        let edition = pulses[usize::from(at)].edition();
        let known =
            KnownConnection { pulses, until, edition, at, is_reply: place.is_reply, protocol };
        Some((known, translation.flatten()))
    }

    /// Moves a connection on with a packet of the same addresses, ports and protocol as those of the one that
    /// was found to belong to it. `now` is in milliseconds. Returns false, and does nothing, if it is not
    /// certain that the packet finds the same.
    #[inline]
    pub(crate) fn moves_on(
        &self,
        known: &KnownConnection,
        now: u64,
        frame: &Frame<'_>,
        is_ipv6: bool,
    ) -> bool {
        if now >= known.until {
            return false;
        }
        match known.protocol {
            KnownProtocol::Udp { timeout } => {
                tuple::is_whole_datagram(frame, is_ipv6)
                    && known.pulse().put_off(known.edition, now, now + u64::from(timeout))
            }
            KnownProtocol::Tcp { shard, slot } => self.judges_same(known, shard, slot, now, frame),
            KnownProtocol::Counted { .. } => self.counts_same(known, now, frame, is_ipv6),
        }
    }

    /// As [`moves_on`](Self::moves_on), for a connection whose packets are counted.
    #[cold]
    fn counts_same(
        &self,
        known: &KnownConnection,
        now: u64,
        frame: &Frame<'_>,
        is_ipv6: bool,
    ) -> bool {
        let KnownProtocol::Counted { shard, slot, is_tcp } = known.protocol else { return false };
        let segment = is_tcp.then(|| self.read(frame, 0)).flatten();
        if segment.is_none() && (is_tcp || !tuple::is_whole_datagram(frame, is_ipv6)) {
            return false;
        }
        let mut shard = self.shards[usize::from(shard)].lock();
        let moves_on = match &segment {
            Some(segment) => self.judges_same_in(&mut shard, known, slot, now, segment),
            None if known.is_same() && known.pulse().expires() > now => {
                shard.set_timeout(slot, Timeout::UdpMultiple, now);
                true
            }
            None => false,
        };
        if moves_on
            && let Some(counts) = shard.get_mut(slot).and_then(|it| it.counts.as_deref_mut())
        {
            counts.add(known.is_reply, frame.size());
        }
        moves_on
    }

    /// As [`moves_on`](Self::moves_on), for a TCP segment.
    #[inline(never)]
    fn judges_same(
        &self,
        known: &KnownConnection,
        shard: u16,
        slot: u32,
        now: u64,
        frame: &Frame<'_>,
    ) -> bool {
        let Some(packet) = self.read(frame, 0) else { return false };
        let mut shard = self.shards[usize::from(shard)].lock();
        self.judges_same_in(&mut shard, known, slot, now, &packet)
    }

    /// Judges a segment of a connection in the shard of the connection.
    #[inline]
    fn judges_same_in(
        &self,
        shard: &mut CtShard,
        known: &KnownConnection,
        slot: u32,
        now: u64,
        packet: &CtPacket,
    ) -> bool {
        if packet.tcp.is_none() || !known.is_same() || known.pulse().expires() <= now {
            return false;
        }
        let Some(connection) = shard.get_mut(slot) else { return false };
        let mut state = connection.state;
        let (flags, timeout) = self.judge(&mut state, packet, known.is_reply);
        if flags.is_none_or(|flags| flags & ct_state::ESTABLISHED == 0) {
            return false;
        }
        connection.state = state;
        if let Some(timeout) = timeout {
            self.count_answered(connection, timeout);
            shard.set_timeout(slot, timeout, now);
        }
        true
    }
}
