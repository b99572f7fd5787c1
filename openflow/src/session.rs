//! One connection: bytes in, requests out, replies encoded.
//!
//! ```text
//!          HELLO received, common version
//! opening ────────────────────────────────► open ──► over
//!    │       no common version                │
//!    └────────────────────► over              │ a length that cannot be
//!                                             └────────────────────► over
//! ```
//!
//! Both sides begin with a HELLO that lists their versions. The highest common one counts (OpenFlow 1.3.5
//! §6.3.1). A message that cannot be decoded gets an error, and the session goes on; behind a length that is
//! less than a header nobody knows where the next message begins, so the session ends.

use crate::encoding::Encoding;
use crate::error::{ErrorCode, ErrorMessage};
use crate::flow_mod;
use crate::header::{HEADER_SIZE, MessageHeader, version_number, version_of_number};
use crate::kind::{MessageKind, NoKind};
use crate::message::OfMessage;
use crate::multipart::MultipartRequest;
use crate::request_parts::RequestParts;
use flow::flow_mod::FlowMod;
use flow::packet_out::PacketOut;
use flow::types::OfVersion;
use std::ops::Range;
use std::time::Instant;

/// The type of flow mods (`OFPT_FLOW_MOD`).
const FLOW_MOD: u8 = 14;
/// The type of packet-outs (`OFPT_PACKET_OUT`).
const PACKET_OUT: u8 = 13;
/// The type of messages of experimenters, Nicira's among them (`OFPT_EXPERIMENTER`).
const EXPERIMENTER: u8 = 4;
/// The first bytes behind the header of Nicira's flow mods: the number of the experimenter, and `NXT_FLOW_MOD`.
const NICIRA_FLOW_MOD: [u8; 8] = [0, 0, 0x23, 0x20, 0, 0, 0, 13];

/// The type of echo requests, which is the same in every version (`OFPT_ECHO_REQUEST`).
const ECHO_REQUEST: u8 = 2;
/// The type of echo replies (`OFPT_ECHO_REPLY`), which are otherwise like the request.
const ECHO_REPLY: u8 = 3;
/// The types of HELLOs and errors (`OFPT_HELLO`, `OFPT_ERROR`), which have the version of their sender.
const HELLO: u8 = 0;
const ERROR: u8 = 1;
/// The size of an error's type and code in bytes.
const ERROR_SIZE: usize = 4;

/// A message of the peer that its receiver has to answer or to carry out.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// The transaction id, which the reply repeats.
    pub xid: u32,
    /// What the message says.
    pub message: OfMessage,
    /// The message as it came, for errors about it.
    pub bytes: Vec<u8>,
}

/// A flow mod of the peer, which its receiver has to carry out.
#[derive(Debug)]
pub struct TakenFlowMod {
    /// The transaction id, which an error about the flow mod repeats.
    pub xid: u32,
    /// What the message says.
    pub flow_mod: FlowMod,
    /// Where the message is in what was received, until the session [receives](Session::receive) more.
    place: Range<usize>,
}

/// The first bytes of records of TLS: an alert, a message of the handshake. The next byte is 3.
const TLS_ALERT: u8 = 0x15;
const TLS_HANDSHAKE: u8 = 0x16;

/// The names of the versions in a bitmap, in which bit `n` is the version with the number `n` in messages.
fn names(versions: u32) -> String {
    let in_bitmap = |version: &OfVersion| versions >> version_number(*version) & 1 == 1;
    let known = OfVersion::ALL.into_iter().filter(in_bitmap);
    let names: Vec<String> = known.map(|version| format!("OpenFlow1{}", version as u8)).collect();
    if names.is_empty() { "none of OpenFlow 1.0 to 1.5".to_owned() } else { names.join(", ") }
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The peer speaks no version that this side speaks.
    #[error("no common version: this side speaks {}, the peer {}", names(*ours), names(*theirs))]
    NoCommonVersion {
        /// The versions of this side, bit `n` for the version with number `n` in messages.
        ours: u32,
        /// The versions of the peer.
        theirs: u32,
    },
    /// The first message of the peer is no HELLO.
    #[error(
        "the first message has type {kind}, but must be a HELLO (type 0): does the peer speak OpenFlow?"
    )]
    NoHello {
        /// The type of the message.
        kind: u8,
    },
    /// What the peer says first is TLS.
    #[error("the peer speaks TLS: ssl: and pssl: speak it, tcp: and ptcp: do not")]
    Tls,
    /// A message is shorter than its header.
    #[error("a message says that it has {len} bytes, but its header alone has {HEADER_SIZE}")]
    Length {
        /// The length that the message says.
        len: u16,
    },
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    versions: Vec<OfVersion>,
    /// `None` until the peer's HELLO.
    encoding: Option<Encoding>,
    /// The peer may not change anything, by its role; see [`Session::set_slave`].
    is_slave: bool,
    /// Multipart requests of which parts are missing.
    parts: RequestParts,
    /// Bytes that are not yet a whole message; never more than one message and what came with it.
    received: Vec<u8>,
    /// How many bytes at the front of `received` have been handled.
    handled: usize,
    /// Bytes that wait to be sent.
    unsent: Vec<u8>,
}

impl Session {
    /// A session that speaks these versions. Its HELLO waits to be sent.
    pub fn new(versions: &[OfVersion]) -> Self {
        let highest = versions.iter().copied().max().unwrap_or_default();
        let hello = OfMessage::Hello(versions.to_vec()).encode(Encoding::new(highest), 1);
        Self {
            versions: versions.to_vec(),
            encoding: None,
            is_slave: false,
            parts: RequestParts::default(),
            received: Vec::new(),
            handled: 0,
            unsent: hello,
        }
    }

    /// The form of messages; `None` until the peer's HELLO.
    pub fn encoding(&self) -> Option<Encoding> {
        self.encoding
    }

    /// Whether the next byte of the peer begins a message.
    pub fn is_between_messages(&self) -> bool {
        self.handled == self.received.len()
    }

    /// Takes bytes of the peer. Give no more before [`next_message`](Self::next_message) has returned `None`:
    /// then what is kept is less than one message.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.received.drain(..self.handled);
        self.handled = 0;
        self.received.extend_from_slice(bytes);
    }

    /// Whether the next message seems to be a flow mod. It may turn out that it cannot be decoded.
    pub fn has_flow_mod(&self) -> bool {
        self.seeming_flow_mod().is_some()
    }

    fn seeming_flow_mod(&self) -> Option<(Encoding, MessageHeader, &[u8])> {
        let encoding = self.encoding?;
        let rest = self.received.get(self.handled..)?;
        let header = MessageHeader::read(rest)?;
        let bytes = rest.get(..usize::from(header.len))?;
        let is_flow_mod = header.kind == FLOW_MOD
            || header.kind == EXPERIMENTER && bytes.get(8..16) == Some(&NICIRA_FLOW_MOD);
        is_flow_mod.then_some((encoding, header, bytes))
    }

    /// Puts the next messages behind `taken`, as far as they are flow mods that can be decoded, and `most` at
    /// most. [`next_message`](Self::next_message) goes on with the message behind them.
    pub fn take_flow_mods(&mut self, most: usize, taken: &mut Vec<TakenFlowMod>) {
        for _ in 0..most {
            let Some((encoding, header, bytes)) = self.seeming_flow_mod() else { return };
            let place = self.handled..self.handled + bytes.len();
            // A flow mod is long, so it is decoded where it stays.
            taken.push(TakenFlowMod { xid: header.xid, flow_mod: flow_mod::blank(), place });
            let last = taken.last_mut().map(|last| &mut last.flow_mod);
            if !last.is_some_and(|it| OfMessage::decode_flow_mod(bytes, encoding, it)) {
                taken.pop();
                return;
            }
            self.handled += bytes.len();
        }
    }

    /// Says whether the peer is a slave: then a change that cannot be decoded is refused because of that, as
    /// Open vSwitch does.
    pub fn set_slave(&mut self, is_slave: bool) {
        self.is_slave = is_slave;
    }

    /// When [`give_up_late_requests`](Self::give_up_late_requests) has to be called; `None` if no request waits
    /// for further parts.
    pub fn deadline(&self) -> Option<Instant> {
        self.parts.deadline()
    }

    /// Refuses multipart requests whose next part does not come.
    pub fn give_up_late_requests(&mut self, now: Instant) {
        for latest in self.parts.take_late(now) {
            self.refuse(ErrorCode::RequestMultipartRequestTimeout, &latest);
        }
    }

    /// The next message that the receiver has to answer or to carry out; `None` if there is no whole message.
    /// HELLO, echo requests and messages that cannot be decoded are answered here. A multipart request is
    /// returned once its last part is there.
    ///
    /// # Errors
    /// The session is over: send what waits to be sent, and close.
    pub fn next_message(&mut self, now: Instant) -> Result<Option<Incoming>, SessionError> {
        loop {
            let rest = self.received.get(self.handled..).unwrap_or_default();
            let Some(header) = MessageHeader::read(rest) else {
                return Ok(None);
            };
            // Whoever begins with something else says no more that is worth waiting for.
            if self.encoding.is_none() && header.kind != 0 {
                let is_tls =
                    matches!((header.version, header.kind), (TLS_ALERT | TLS_HANDSHAKE, 3));
                return Err(match is_tls {
                    true => SessionError::Tls,
                    false => SessionError::NoHello { kind: header.kind },
                });
            }
            let len = usize::from(header.len);
            if len < HEADER_SIZE {
                return Err(SessionError::Length { len: header.len });
            }
            let Some(bytes) = rest.get(..len) else {
                return Ok(None);
            };
            let bytes = bytes.to_vec();
            self.handled += len;
            if let Some(message) = self.handle(header, bytes, now)? {
                return Ok(Some(message));
            }
        }
    }

    fn handle(
        &mut self,
        header: MessageHeader,
        bytes: Vec<u8>,
        now: Instant,
    ) -> Result<Option<Incoming>, SessionError> {
        let Some(encoding) = self.encoding else {
            return self.open(header, &bytes).map(|()| None);
        };
        let xid = header.xid;
        // Whether a peer is there can be asked in every version, and is answered in that
        // version, as in Open vSwitch.
        if header.kind == ECHO_REQUEST {
            let mut reply = bytes;
            reply[1] = ECHO_REPLY;
            self.send_encoded(&reply);
            return Ok(None);
        }
        // Not answered, so that two peers cannot refuse each other's errors for ever.
        if header.kind == ERROR && bytes.len() >= HEADER_SIZE + ERROR_SIZE
            || header.kind == ECHO_REPLY
        {
            return Ok(None);
        }
        let kind = match check_kind(header, &bytes, encoding.version) {
            Ok(kind) => kind,
            Err(code) => {
                self.refuse(code, &bytes);
                return Ok(None);
            }
        };
        if kind.is_reply == Some(false) {
            return Ok(self.handle_multipart(header, &kind, bytes, encoding, now));
        }
        match OfMessage::decode(&bytes, encoding) {
            Ok(OfMessage::SetFlowFormat { nxm }) => {
                self.encoding = Some(Encoding { nxm, ..encoding });
                Ok(None)
            }
            Ok(OfMessage::FlowModTableId { is_on }) => {
                self.encoding = Some(Encoding { table_id: is_on, ..encoding });
                Ok(None)
            }
            Ok(OfMessage::SetPacketInFormat(packet_in)) => {
                self.encoding = Some(Encoding { packet_in, ..encoding });
                Ok(None)
            }
            Ok(message) => Ok(Some(Incoming { xid, message, bytes })),
            Err(error) => {
                let is_refused = self.is_slave && kind.is_change();
                let code = if is_refused { ErrorCode::IsSlave } else { error.0 };
                self.refuse(code, &bytes);
                Ok(None)
            }
        }
    }

    /// Takes a part of a multipart request. Returns the request once it is whole.
    fn handle_multipart(
        &mut self,
        header: MessageHeader,
        kind: &MessageKind,
        bytes: Vec<u8>,
        encoding: Encoding,
        now: Instant,
    ) -> Option<Incoming> {
        let has_more = encoding.version >= OfVersion::OpenFlow13 && has_more(&bytes);
        let parts = match self.parts.take(header.xid, kind, has_more, bytes.clone(), now) {
            Ok(parts) => parts?,
            Err(code) => {
                self.refuse(code, &bytes);
                return None;
            }
        };
        let bytes = parts.first().cloned().unwrap_or_default();
        match decode_parts(&parts, encoding) {
            Ok(message) => Some(Incoming { xid: header.xid, message, bytes }),
            Err(code) => {
                self.refuse(code, &bytes);
                None
            }
        }
    }

    /// Agrees on a version with the peer's HELLO.
    fn open(&mut self, header: MessageHeader, bytes: &[u8]) -> Result<(), SessionError> {
        let hello = OfMessage::decode(bytes, Encoding::default());
        let Ok(OfMessage::Hello(theirs)) = hello else {
            return Err(SessionError::NoHello { kind: header.kind });
        };
        let common = self.versions.iter().copied().filter(|version| theirs.contains(version)).max();
        if let Some(version) = common {
            self.encoding = Some(Encoding::new(version));
            return Ok(());
        }
        let bitmap = |versions: &[OfVersion]| {
            versions.iter().fold(0u32, |bits, version| bits | 1 << version_number(*version))
        };
        let (ours, theirs) = (bitmap(&self.versions), bitmap(&theirs));
        let text = format!(
            "no common version: this switch speaks {}, you speak {}",
            names(ours),
            names(theirs)
        );
        let error =
            ErrorMessage { code: Some(ErrorCode::HelloIncompatible), data: text.into_bytes() };
        // A peer of an early version could not read the error in a later one.
        let highest = self.versions.iter().copied().max().unwrap_or_default();
        let readable = version_of_number(header.version).unwrap_or(highest).min(highest);
        let error = OfMessage::Error(error).encode(Encoding::new(readable), header.xid);
        self.unsent.extend(error);
        Err(SessionError::NoCommonVersion { ours, theirs })
    }

    /// Sends a message.
    pub fn send(&mut self, message: &OfMessage, xid: u32) {
        if let Some(encoding) = self.encoding {
            self.unsent.extend(message.encode(encoding, xid));
        }
    }

    /// Sends a message that has been encoded already.
    pub fn send_encoded(&mut self, message: &[u8]) {
        self.unsent.extend_from_slice(message);
    }

    /// Sends an error about a request, which `request` has as it came. The error has the version of the
    /// request, as in Open vSwitch, or OpenFlow 1.0 if there is no such version: whoever asks in another
    /// version than the one agreed on may not know the latter.
    pub fn refuse(&mut self, code: ErrorCode, request: &[u8]) {
        let Some(agreed) = self.encoding else { return };
        let header = MessageHeader::read(request);
        let xid = header.map_or(0, |header| header.xid);
        let version = header.map_or(agreed.version, |header| {
            version_of_number(header.version).unwrap_or(OfVersion::OpenFlow10)
        });
        // The error has a header and numbers of its own, and must not become too long for one message.
        const OVERHEAD: usize = HEADER_SIZE + 16;
        let kept = request.len().min(usize::from(u16::MAX) - OVERHEAD);
        let error = ErrorMessage { code: Some(code), data: request[..kept].to_vec() };
        self.unsent.extend(OfMessage::Error(error).encode(Encoding { version, ..agreed }, xid));
    }

    /// Sends an error about a flow mod. To be called before the session receives more.
    pub fn refuse_flow_mod(&mut self, code: ErrorCode, taken: &TakenFlowMod) {
        let request = self.received.get(taken.place.clone()).unwrap_or_default().to_vec();
        self.refuse(code, &request);
    }

    /// The bytes that wait to be sent.
    pub fn unsent(&self) -> &[u8] {
        &self.unsent
    }

    /// Says that the first `count` of the bytes that wait have been sent.
    pub fn sent(&mut self, count: usize) {
        self.unsent.drain(..count.min(self.unsent.len()));
    }
}

/// The packet-out that `bytes` of a peer begin with, and how many bytes it has. `None` if they begin with
/// something else, or with a part of a message, or with a packet-out that cannot be decoded: a [`Session`] has
/// to look at them.
pub fn leading_packet_out(bytes: &[u8], encoding: Encoding) -> Option<(PacketOut, usize)> {
    let header = MessageHeader::read(bytes)?;
    let message = bytes.get(..usize::from(header.len)).filter(|it| it.len() >= HEADER_SIZE)?;
    if header.kind != PACKET_OUT || check_kind(header, message, encoding.version).is_err() {
        return None;
    }
    match OfMessage::decode(message, encoding) {
        Ok(OfMessage::PacketOut(packet)) => Some((*packet, message.len())),
        _ => None,
    }
}

/// What kind of message a switch gets, as Open vSwitch looks at it before anything else: version, type, size.
///
/// # Errors
/// The error that the sender should get.
fn check_kind(
    header: MessageHeader,
    bytes: &[u8],
    version: OfVersion,
) -> Result<MessageKind, ErrorCode> {
    if header.kind == HELLO {
        return Err(ErrorCode::BadType);
    }
    if header.version != version_number(version) {
        return Err(ErrorCode::BadVersion);
    }
    let kind = MessageKind::of(bytes).map_err(NoKind::code)?;
    // A multipart request may be a part without a body.
    let can_be = kind.is_reply == Some(false) || kind.fits(bytes.len());
    match (can_be, kind.is_from_switch) {
        (false, _) => Err(ErrorCode::BadLength),
        (true, true) => Err(ErrorCode::BadType),
        (true, false) => Ok(kind),
    }
}

/// Whether a multipart request says that another part follows.
fn has_more(bytes: &[u8]) -> bool {
    const FLAGS: usize = HEADER_SIZE + 3;
    bytes.get(FLAGS).is_some_and(|flags| flags & 1 != 0)
}

/// Decodes a request that came in parts. Only table features and flow monitors can have more than
/// one part with a body.
fn decode_parts(parts: &[Vec<u8>], encoding: Encoding) -> Result<OfMessage, ErrorCode> {
    let mut parts =
        parts.iter().map(|part| OfMessage::decode(part, encoding).map_err(|error| error.0));
    let mut whole = parts.next().ok_or(ErrorCode::BadLength)??;
    for part in parts {
        match (&mut whole, part?) {
            (
                OfMessage::MultipartRequest(MultipartRequest::TableFeatures(tables)),
                OfMessage::MultipartRequest(MultipartRequest::TableFeatures(mut more)),
            ) => tables.append(&mut more),
            (
                OfMessage::MultipartRequest(MultipartRequest::FlowMonitor(monitors)),
                OfMessage::MultipartRequest(MultipartRequest::FlowMonitor(mut more)),
            ) => monitors.append(&mut more),
            _ => return Err(ErrorCode::BadStat),
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::key::PipelineKey;
    use flow::types::OfPort;

    #[test]
    fn a_leading_packet_out_is_whole_and_of_the_version() {
        for version in OfVersion::ALL {
            let encoding = Encoding::new(version);
            let (packet, state) = (vec![2; 60], PipelineKey::default());
            let packet = PacketOut { in_port: OfPort(7), packet, state, actions: Vec::new() };
            let mut bytes = OfMessage::PacketOut(Box::new(packet.clone())).encode(encoding, 1);
            let len = bytes.len();
            for part in 0..len {
                assert_eq!(leading_packet_out(&bytes[..part], encoding), None, "{version:?}");
            }
            let echo = OfMessage::EchoRequest(Vec::new()).encode(encoding, 2);
            bytes.extend(&echo);
            assert_eq!(leading_packet_out(&bytes, encoding), Some((packet, len)), "{version:?}");
            assert_eq!(leading_packet_out(&echo, encoding), None);
            for (place, wrong) in [(0, 9), (1, 14), (3, 7), (HEADER_SIZE, 0)] {
                let mut bytes = bytes.clone();
                bytes[place] = wrong;
                assert_eq!(leading_packet_out(&bytes, encoding), None, "byte {place} {wrong}");
            }
        }
    }
}
