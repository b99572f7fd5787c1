//! Packet-ins: packets that the rules give to controllers, and those that controllers send back to be resumed.
//!
//! The [`Hub`] of a bridge takes the packets that workers leave ([`PuntTaker`]), and puts a message into the
//! outbox of each member that wants it. Workers learn in advance what members want ([`Hub::publish`]), so that
//! a packet nobody wants is neither copied nor counted as sent.
//!
//! A packet that waits for a controller leaves its state here, under a number that the packet-in carries. So a
//! controller cannot choose how a packet goes on, and a number that is unknown, or too old, is refused.

use super::hub::{Hub, Member, MemberSettings, Served};
use super::line::NotFree;
use super::packet_outs::PacketOutPeer;
use crate::punts::{Answering, PuntTaker};
use flow::Match;
use flow::fields::FieldId;
use flow::key::PipelineKey;
use flow::types::Cookie;
use flow::verdict::{ControllerMeta, PacketInReason};
use flowtable::datapath::{Punt, Resumed};
use flowtable::policy::audience::{Reasons, Wanted};
use flowtable::policy::recirc::Continuation;
use openflow::{AsyncKind, ErrorCode, OfMessage, PacketIn, continuation_of, token_of};
use packet::wire::ethernet;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

/// The cookie of a packet that no rule gave to controllers.
const NO_COOKIE: u64 = u64::MAX;
/// About how many bytes a packet-in has in memory beside its packet.
const OVERHEAD: usize = 1200;

/// How much room the states may take that wait for a controller, before the older half of them is forgotten, in
/// units of [`Continuation::room`], which are about a kilobyte. A usual state takes one.
const ROOM: usize = 4096;

impl PuntTaker for Hub {
    fn take(&self, punt: Punt) {
        let Punt { packet, meta, paused } = punt;
        let continuation = match paused {
            Some(continuation) => continuation_of(self.paused().lock().keep(continuation)),
            None => Vec::new(),
        };
        let bytes = packet.len() + meta.userdata.len() + OVERHEAD;
        let metadata = self.told_meta().lock().metadata(&meta);
        let message = Arc::new(packet_in(packet, &meta, metadata, continuation));
        let listeners = Arc::clone(&self.listeners().lock());
        for listener in listeners.iter().filter(|listener| listener.wants(&meta)) {
            let member = listener.peer.member();
            if member.packet_in_limit().admits(Instant::now()) {
                // A member that has no room counts the message as lost.
                let _ = member.tell(Arc::clone(&message), bytes);
            }
        }
    }

    fn take_at_once(&self, punt: Punt) -> Result<Option<Arc<dyn Answering>>, Punt> {
        // To keep the state of a paused packet, or to tell several peers, takes more time than a worker has.
        if punt.paused.is_some() {
            return Err(punt);
        }
        let listeners = self.listeners().try_lock().map(|listeners| Arc::clone(&listeners));
        let Some((listeners, mut told)) = listeners.zip(self.told_meta().try_lock()) else {
            return Err(punt);
        };
        let mut wanting = listeners.iter().filter(|listener| listener.wants(&punt.meta));
        let (Some(Listener { peer, .. }), None) = (wanting.next(), wanting.next()) else {
            return Err(punt);
        };
        let Punt { packet, meta, .. } = punt;
        let metadata = told.metadata(&meta);
        let message = packet_in(packet, &meta, metadata, Vec::new());
        let member = peer.member();
        let admits = || member.packet_in_limit().admits(Instant::now());
        match (member.line().write(member.outbox(), &message, admits), message) {
            (Err(NotFree), OfMessage::PacketIn(message)) => {
                Err(Punt { packet: message.packet, meta, paused: None })
            }
            _ => Ok(Some(Arc::clone(peer) as Arc<dyn Answering>)),
        }
    }
}

/// The packet-in that tells of a packet. `continuation` is what a controller sends back to have a paused packet
/// go on; it is empty for others.
fn packet_in(
    packet: Vec<u8>,
    meta: &ControllerMeta,
    metadata: Match,
    continuation: Vec<u8>,
) -> OfMessage {
    OfMessage::PacketIn(Box::new(PacketIn {
        total_len: packet.len() as u32,
        packet,
        buffer: None,
        reason: meta.reason,
        table: meta.table,
        cookie: (meta.cookie != NO_COOKIE).then_some(Cookie(meta.cookie)),
        metadata,
        userdata: meta.userdata.clone(),
        continuation,
    }))
}

impl Hub {
    /// Tells the workers what the members want. To be called when members come, go, or want something else.
    pub(super) fn publish(&self) {
        // Held to the end, so that what is published last is what was looked at last.
        let mut listeners = self.listeners().lock();
        let (mut wanted, mut wanting) = (Wanted::new(), Vec::new());
        for member in self.members() {
            let settings = member.settings();
            let reasons = wanted_reasons(&settings);
            member.set_wants_packets(reasons != Reasons::default());
            if reasons != Reasons::default() {
                let controller_id = settings.controller_id;
                let entry = wanted.entry(controller_id).or_default();
                *entry = entry.union(reasons);
                wanting.push(self.listener(member, controller_id, reasons));
            }
        }
        *listeners = wanting.into();
        let Served { policy, bridge } = self.served();
        policy.bridge(*bridge).hear(wanted);
    }

    fn listener(&self, member: Arc<Member>, controller_id: u16, reasons: Reasons) -> Listener {
        let Served { policy, bridge } = self.served();
        let peer = Arc::new(PacketOutPeer::new(member, policy, *bridge));
        Listener { peer, controller_id, reasons }
    }

    /// The packet that a controller sends back, with what it goes on with.
    ///
    /// # Errors
    /// The switch has not made the continuation, or has forgotten it, or there is no whole packet.
    pub(super) fn resumed(&self, packet_in: PacketIn) -> Result<Resumed, ErrorCode> {
        let token = token_of(&packet_in.continuation).ok_or(ErrorCode::ResumeStale)?;
        let continuation = self.paused().lock().find(token).ok_or(ErrorCode::ResumeStale)?;
        if packet_in.packet.len() < ethernet::HEADER_SIZE {
            return Err(ErrorCode::BadPacket);
        }
        let sent_back = packet_in.metadata.key();
        let mut state = PipelineKey {
            in_port: sent_back.in_port,
            actset_output: continuation.actset_output().into(),
            ..PipelineKey::default()
        };
        for field in FieldId::beside_packet(sent_back).chain(FieldId::CONNECTION) {
            field.write(&mut state, field.read(sent_back), u128::MAX);
        }
        Ok(Resumed { packet: packet_in.packet, state, continuation })
    }
}

/// What the latest packet-in told beside the packet. The packets of a flow have it in common, and it takes
/// longer to find out than everything else in a packet-in.
#[derive(Debug, Default)]
pub(super) struct ToldMeta(Option<(Arc<ControllerMeta>, Match)>);

impl ToldMeta {
    fn metadata(&mut self, meta: &Arc<ControllerMeta>) -> Match {
        match &self.0 {
            Some((latest, metadata)) if Arc::ptr_eq(latest, meta) => *metadata,
            _ => {
                let metadata = PacketIn::metadata_of(meta.state.in_port.get(), &meta.state);
                self.0.insert((Arc::clone(meta), metadata)).1
            }
        }
    }
}

/// A connection whose peer wants packet-ins.
pub(super) struct Listener {
    peer: Arc<PacketOutPeer>,
    /// The number by which actions name the peer.
    controller_id: u16,
    /// The reasons for which the peer wants packet-ins.
    reasons: Reasons,
}

impl Listener {
    /// The peer, for whoever listens to it.
    #[cfg(test)]
    pub(super) fn peer(&self) -> &Arc<PacketOutPeer> {
        &self.peer
    }

    /// Whether the peer gets a packet-in.
    fn wants(&self, meta: &ControllerMeta) -> bool {
        self.controller_id == meta.controller_id && self.reasons.contains(meta.reason)
    }
}

/// The reasons for which a member gets packet-ins.
fn wanted_reasons(settings: &MemberSettings) -> Reasons {
    let mut reasons = Reasons::default();
    for reason in PacketInReason::ALL {
        if settings.wants(AsyncKind::PacketIn, reason as u8) {
            reasons.insert(reason);
        }
    }
    reasons
}

/// The states of packets that wait for a controller, by their numbers. The older ones are
/// forgotten when there are many.
#[derive(Debug)]
pub(super) struct Paused {
    young: HashMap<u32, Arc<Continuation>>,
    /// The room that the young ones take.
    room: usize,
    old: HashMap<u32, Arc<Continuation>>,
    /// Tells the numbers of this hub from those of another one, and of another process.
    mark: [u8; 12],
}

impl Default for Paused {
    fn default() -> Self {
        let random = RandomState::new();
        let (high, low) = (random.hash_one(1u8).to_be_bytes(), random.hash_one(2u8).to_be_bytes());
        let mut mark = [0; 12];
        mark[..8].copy_from_slice(&high);
        mark[8..].copy_from_slice(&low[..4]);
        Self { young: HashMap::new(), room: 0, old: HashMap::new(), mark }
    }
}

impl Paused {
    /// Keeps a state, and returns its number. Packets with equal states share it.
    fn keep(&mut self, continuation: Arc<Continuation>) -> [u8; 16] {
        let id = continuation.id;
        let room = continuation.room();
        let known = self.young.insert(id, continuation);
        if known.is_none() {
            self.room += room;
            if self.room > ROOM {
                self.old = std::mem::take(&mut self.young);
                self.room = 0;
            }
        }
        let mut token = [0; 16];
        token[..4].copy_from_slice(&id.to_be_bytes());
        token[4..].copy_from_slice(&self.mark);
        token
    }

    /// The state with a number; `None` if it was forgotten, or never was.
    fn find(&self, token: [u8; 16]) -> Option<Arc<Continuation>> {
        let (id, mark) = token.split_first_chunk()?;
        let id = u32::from_be_bytes(*id);
        let is_ours = *mark == self.mark;
        let found = self.young.get(&id).or_else(|| self.old.get(&id));
        found.filter(|_| is_ours).map(Arc::clone)
    }
}
