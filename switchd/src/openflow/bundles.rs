//! Bundles: messages that take effect together or not at all (OpenFlow 1.4.0 §6.8).
//!
//! A bundle keeps its messages as they came. A commit decodes and prepares them one after the other in one
//! transaction of the policy, and publishes that: no frame sees a part of a bundle. Port mods are checked
//! before, and carried out behind it.

use super::bundle_pieces::{Piece, each_piece};
use super::{port_mods, refuse};
use crate::switch::OnBridge;
use flow::flow_mod::FlowMod;
use openflow::{
    BundleControl, BundleStep, Encoding, ErrorCode, MessageHeader, MessageKind, OfMessage, PortMod,
    check_flow_mod, check_packet_out,
};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The largest number of bundles of one connection.
const MAX_BUNDLES: usize = 16;
/// How many bytes of messages the bundles of one connection have at most.
const MAX_BYTES: usize = 64 << 20;
/// How many bytes of [`MAX_BYTES`] a message takes beside its own: what its place in the
/// list and its allocation cost.
const MESSAGE_COST: usize = 48;

/// How long a bundle may be open without a message about it, as in Open vSwitch.
const MAX_IDLE: Duration = Duration::from_secs(10);
/// The number of messages from which a bundle's tables are made ready for them.
const MANY: usize = 1024;
/// About how many messages are looked at for that.
const SAMPLED: usize = 2048;
/// The type of flow mods (`OFPT_FLOW_MOD`), of which most bundles consist.
const FLOW_MOD: u8 = 14;
/// The type of port mods (`OFPT_PORT_MOD`) in the versions that have bundles.
const PORT_MOD: u8 = 16;

/// The bundles of one connection.
#[derive(Default)]
pub(super) struct Bundles {
    open: HashMap<u32, Bundle>,
    /// Bytes of all messages.
    bytes: usize,
    /// The flow mod that is being checked: room that is used again for each.
    checked: Vec<FlowMod>,
}

struct Bundle {
    /// The message that began it, as it came.
    opening: Vec<u8>,
    /// When the last message about it came.
    used: Instant,
    flags: u16,
    is_closed: bool,
    messages: Vec<Vec<u8>>,
}

/// A commit that failed.
pub(super) struct FailedCommit {
    /// The message that added the refused message to the bundle, and why that was refused;
    /// `None` if no message was.
    pub(super) message: Option<(Vec<u8>, ErrorCode)>,
    /// What the commit itself is answered.
    pub(super) code: ErrorCode,
}

impl From<ErrorCode> for FailedCommit {
    fn from(code: ErrorCode) -> Self {
        Self { message: None, code }
    }
}

impl Bundles {
    /// Carries out a request about a bundle, which `bytes` has as it came. The reply is sent
    /// if there is no error.
    pub(super) fn control(
        &mut self,
        on: &OnBridge<'_>,
        control: BundleControl,
        encoding: Encoding,
        bytes: &[u8],
    ) -> Result<(), FailedCommit> {
        let BundleControl { id, step, flags, .. } = control;
        match step {
            BundleStep::Open if self.open.contains_key(&id) => {
                self.discard(id);
                // What OpenFlow 1.4.0 §7.3.9.2 wants; the error for a bundle that exists has no use.
                Err(ErrorCode::BundleBadId.into())
            }
            BundleStep::Open => Ok(self.begin(id, flags, bytes)?),
            BundleStep::Close => {
                let bundle = self.open.get_mut(&id).ok_or(ErrorCode::BundleBadId)?;
                let error = match (bundle.is_closed, bundle.flags == flags) {
                    (true, _) => ErrorCode::BundleClosed,
                    (_, false) => ErrorCode::BundleBadFlags,
                    (false, true) => {
                        bundle.is_closed = true;
                        bundle.used = Instant::now();
                        return Ok(());
                    }
                };
                self.discard(id);
                Err(error.into())
            }
            BundleStep::Commit => {
                let bundle = self.discard(id).ok_or(ErrorCode::BundleBadId)?;
                if bundle.flags != flags {
                    return Err(ErrorCode::BundleBadFlags.into());
                }
                bundle.commit(id, on, encoding)
            }
            BundleStep::Discard => {
                self.discard(id).ok_or(ErrorCode::BundleBadId)?;
                Ok(())
            }
        }
    }

    /// The transaction id of the first message of a bundle.
    pub(super) fn first_xid(&self, id: u32) -> Option<u32> {
        let first = self.open.get(&id)?.messages.first()?;
        Some(MessageHeader::read(first)?.xid)
    }

    /// The group mods of a bundle, with their transaction ids.
    pub(super) fn group_mods(&self, id: u32, encoding: Encoding) -> Vec<(u32, OfMessage)> {
        let messages = self.open.get(&id).map(|bundle| &bundle.messages[..]).unwrap_or_default();
        let decoded = messages.iter().filter_map(|message| {
            let header = MessageHeader::read(message).filter(|header| header.kind != FLOW_MOD)?;
            let message = OfMessage::decode(message, encoding).ok()?;
            matches!(message, OfMessage::GroupMod(_)).then_some((header.xid, message))
        });
        decoded.collect()
    }

    fn begin(&mut self, id: u32, flags: u16, opening: &[u8]) -> Result<(), ErrorCode> {
        if self.open.len() >= MAX_BUNDLES {
            return Err(ErrorCode::OutOfBundles);
        }
        let (opening, used) = (opening.to_vec(), Instant::now());
        self.open
            .insert(id, Bundle { opening, used, flags, is_closed: false, messages: Vec::new() });
        Ok(())
    }

    /// When a bundle will have been idle for too long; `None` if there is no bundle.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.values().map(|bundle| bundle.used + MAX_IDLE).min()
    }

    /// Discards bundles that have been idle for too long. Returns the messages that began them.
    pub(super) fn take_idle(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let is_idle = |bundle: &Bundle| now >= bundle.used + MAX_IDLE;
        let idle: Vec<u32> =
            self.open.iter().filter(|(_, bundle)| is_idle(bundle)).map(|(id, _)| *id).collect();
        idle.into_iter().filter_map(|id| self.discard(id)).map(|bundle| bundle.opening).collect()
    }

    fn discard(&mut self, id: u32) -> Option<Bundle> {
        let bundle = self.open.remove(&id)?;
        self.bytes -=
            bundle.messages.iter().map(|message| message.len() + MESSAGE_COST).sum::<usize>();
        Some(bundle)
    }

    /// Adds a message to a bundle, which begins if it does not exist. `bytes` is the whole request as it came.
    pub(super) fn add(
        &mut self,
        id: u32,
        flags: u16,
        message: Vec<u8>,
        xid: u32,
        encoding: Encoding,
        bytes: &[u8],
    ) -> Result<(), ErrorCode> {
        let header = MessageHeader::read(&message).ok_or(ErrorCode::BundleBadLength)?;
        if header.xid != xid {
            return Err(ErrorCode::BundleBadXid);
        }
        // What Open vSwitch does not know, or what has a wrong size, cannot be part of a bundle.
        let can_be = |kind: MessageKind| kind.can_be_in_bundle() && kind.fits(message.len());
        if !MessageKind::of(&message).is_ok_and(can_be) {
            return Err(ErrorCode::BundleUnsupported);
        }
        self.check(&message, encoding)?;
        if !self.open.contains_key(&id) {
            self.begin(id, flags, bytes)?;
        }
        let cost = message.len() + MESSAGE_COST;
        if self.bytes + cost > MAX_BYTES {
            return Err(ErrorCode::BundleTooMany);
        }
        let bundle = self.open.get_mut(&id).ok_or(ErrorCode::BundleBadId)?;
        let error = match (bundle.is_closed, bundle.flags == flags) {
            (true, _) => ErrorCode::BundleClosed,
            (_, false) => ErrorCode::BundleBadFlags,
            (false, true) => {
                self.bytes += cost;
                bundle.messages.push(message);
                bundle.used = Instant::now();
                return Ok(());
            }
        };
        self.discard(id);
        Err(error)
    }

    /// Whether a message can be part of a bundle: the bundle may still be refused when it is committed.
    fn check(&mut self, message: &[u8], encoding: Encoding) -> Result<(), ErrorCode> {
        self.checked.clear();
        if OfMessage::append_flow_mod(message, encoding, &mut self.checked) {
            return self.checked.iter().try_for_each(|it| check_flow_mod(it, encoding.version));
        }
        match OfMessage::decode(message, encoding).map_err(|error| error.0)? {
            OfMessage::FlowMod(flow_mod) => check_flow_mod(&flow_mod, encoding.version)?,
            OfMessage::PacketOut(packet_out) => check_packet_out(&packet_out, encoding.version)?,
            OfMessage::GroupMod(_) | OfMessage::PortMod(_) => {}
            _ => return Err(ErrorCode::BundleUnsupported),
        }
        Ok(())
    }
}

impl Bundle {
    /// The flow mods among some messages of the bundle, from which tables are made ready for all of them
    /// ([`Transaction::expect`](flowtable::policy::Transaction::expect)). None if the bundle has few messages.
    fn sample(&self, encoding: Encoding) -> Vec<FlowMod> {
        if self.messages.len() < MANY {
            return Vec::new();
        }
        let hasher = RandomState::new();
        let step = (self.messages.len() / SAMPLED).max(1);
        // One message of each piece of the list, at a random place of the piece: lists may have a rhythm.
        let some = self.messages.chunks(step).map(|piece| {
            let at = hasher.hash_one(piece.as_ptr() as usize) % piece.len() as u64;
            &piece[at as usize]
        });
        let decoded = some.filter_map(|message| match OfMessage::decode(message, encoding) {
            Ok(OfMessage::FlowMod(flow_mod)) => Some(*flow_mod),
            _ => None,
        });
        decoded.collect()
    }

    fn port_mods(&self, encoding: Encoding) -> Vec<(&[u8], PortMod)> {
        let is_port_mod = |message: &&Vec<u8>| message.get(1) == Some(&PORT_MOD);
        let decoded =
            self.messages.iter().filter(is_port_mod).filter_map(|message| match OfMessage::decode(
                message, encoding,
            ) {
                Ok(OfMessage::PortMod(port_mod)) => Some((&message[..], port_mod)),
                _ => None,
            });
        decoded.collect()
    }

    /// The failure of a commit because of a message. The error that peers get quotes the message which added it
    /// to the bundle, as in Open vSwitch.
    fn failed(&self, id: u32, message: &[u8], code: ErrorCode, encoding: Encoding) -> FailedCommit {
        let xid = MessageHeader::read(message).map_or(0, |header| header.xid);
        let add = OfMessage::BundleAdd { id, flags: self.flags, message: message.to_vec() };
        FailedCommit {
            message: Some((add.encode(encoding, xid), code)),
            code: ErrorCode::BundleFailed,
        }
    }

    /// Carries out all messages of the bundle `id` or none. Packets are sent once everything else is in force.
    fn commit(self, id: u32, on: &OnBridge<'_>, encoding: Encoding) -> Result<(), FailedCommit> {
        let failed = |message: &[u8], code| self.failed(id, message, code, encoding);
        // Ports have a lock of their own, which nobody takes within a transaction.
        let port_mods = self.port_mods(encoding);
        for (message, port_mod) in &port_mods {
            port_mods::check(on, port_mod).map_err(|code| failed(message, code))?;
        }
        let sample = self.sample(encoding);
        let mut transaction = on.bridge().begin();
        transaction.expect(&sample, self.messages.len());
        let now = on.now();
        let mut packets = Vec::new();
        each_piece::<FailedCommit>(&self.messages, encoding, |piece| {
            match piece.map_err(|(at, code)| failed(&self.messages[at], code))? {
                Piece::FlowMods { first, flow_mods } => {
                    transaction.apply_all(&flow_mods, now).map_err(|(at, error)| {
                        failed(&self.messages[first + at], refuse::error_code(&error))
                    })?;
                    return Ok(Some(flow_mods));
                }
                Piece::Other { at, message: OfMessage::GroupMod(group_mod) } => transaction
                    .apply_group(&group_mod, now)
                    .map_err(|error| failed(&self.messages[at], refuse::error_code(&error)))?,
                Piece::Other { at, message: OfMessage::PacketOut(packet_out) } => {
                    packets.push((*packet_out, &self.messages[at]));
                }
                Piece::Other { .. } => {}
            }
            Ok(None)
        })?;
        for (packet, message) in &packets {
            transaction
                .check_actions(&packet.actions)
                .map_err(|error| failed(message, refuse::error_code(&error)))?;
        }
        transaction.commit();
        for (_, port_mod) in &port_mods {
            port_mods::carry_out(on, port_mod);
        }
        for (packet, _) in packets {
            let _ = on.inject(packet);
        }
        Ok(())
    }
}
