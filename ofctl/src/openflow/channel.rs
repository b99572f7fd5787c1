//! The connection to an OpenFlow switch: agreement on a version, requests and their replies.
//!
//! Transaction ids count from 1, the HELLO's. Echo requests of the switch are answered; messages that nobody
//! waits for are passed over.

use super::place::{Address, Place};
use super::{Rejected, tls};
use crate::options::How;
use anyhow::{Context, bail};
use flow::types::OfVersion;
use oftext::Printer;
use openflow::{Encoding, HEADER_SIZE, MessageHeader, OfMessage};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A stream of bytes in both directions.
trait Duplex: Read + Write {}

impl<T: Read + Write> Duplex for T {}

/// A socket, another handle of which is below a stream.
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn set_limit(&self, limit: Option<Duration>) -> std::io::Result<()> {
        match self {
            Self::Unix(socket) => {
                socket.set_read_timeout(limit)?;
                socket.set_write_timeout(limit)
            }
            Self::Tcp(socket) => {
                socket.set_read_timeout(limit)?;
                socket.set_write_timeout(limit)
            }
        }
    }
}

/// How many bytes are read at once.
const CHUNK: usize = 1 << 16;

/// The type of echo requests (`OFPT_ECHO_REQUEST`). The reply has the next number.
const ECHO_REQUEST: u8 = 2;

/// A connection on which both sides have agreed on a version.
pub(crate) struct Channel {
    stream: Box<dyn Duplex>,
    /// The socket below the stream, to change its time limits.
    socket: Socket,
    /// The place as the user named it, for messages.
    name: String,
    /// Bytes that are not handled yet.
    received: Vec<u8>,
    /// How many bytes at the front of `received` have been handled.
    handled: usize,
    encoding: Encoding,
    next_xid: u32,
    /// How long the switch may be silent; `None` is for ever.
    limit: Option<Duration>,
    /// Whether echo requests are for this side. Those that `snoop` sees are for somebody else.
    answers_echoes: bool,
}

impl Channel {
    /// Connects, and agrees on the highest version that both sides speak.
    ///
    /// # Errors
    /// Nobody answers, or there is no common version.
    pub(crate) fn open(place: &Place, how: &How) -> anyhow::Result<Self> {
        Self::open_for(place, how, &how.allowed_versions())
    }

    /// As [`Channel::open`], for the versions that are given.
    pub(crate) fn open_for(
        place: &Place,
        how: &How,
        versions: &[OfVersion],
    ) -> anyhow::Result<Self> {
        let (stream, socket) = dial(&place.address, how)
            .with_context(|| format!("{}: failed to connect", place.name))?;
        let mut channel = Self {
            stream,
            socket,
            name: place.name.clone(),
            received: Vec::new(),
            handled: 0,
            encoding: Encoding::default(),
            next_xid: 1,
            limit: how.limit(),
            answers_echoes: true,
        };
        channel.agree(versions)?;
        Ok(channel)
    }

    fn agree(&mut self, ours: &[OfVersion]) -> anyhow::Result<()> {
        let highest = ours.iter().copied().max().unwrap_or_default();
        self.encoding = Encoding::new(highest);
        self.send(&OfMessage::Hello(ours.to_vec()))?;
        let bytes = self.receive()?;
        let theirs = match OfMessage::decode(&bytes, Encoding::default()) {
            Ok(OfMessage::Hello(theirs)) => theirs,
            _ => {
                let text = Printer::default().print(&bytes);
                bail!("{}: the switch does not begin with a hello: {}", self.name, text.trim_end());
            }
        };
        let common = ours.iter().copied().filter(|version| theirs.contains(version)).max();
        let Some(version) = common else {
            let names = |versions: &[OfVersion]| {
                let names: Vec<_> =
                    versions.iter().map(|version| control::version::name(*version)).collect();
                names.join(", ")
            };
            bail!(
                "{}: version negotiation failed (we support {}, peer supports {}): choose one of the peer's with -O",
                self.name,
                names(ours),
                names(&theirs)
            );
        };
        self.encoding = Encoding::new(version);
        Ok(())
    }

    /// The version that both sides have agreed on.
    pub(crate) fn version(&self) -> OfVersion {
        self.encoding.version
    }

    /// Sets the form of flow mods in OpenFlow 1.0.
    pub(crate) fn set_encoding(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    /// The form of messages.
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Sends a message under a new transaction id, which is returned.
    pub(crate) fn send(&mut self, message: &OfMessage) -> anyhow::Result<u32> {
        let (xid, bytes) = self.encode(message);
        self.send_bytes(&bytes)?;
        Ok(xid)
    }

    /// Encodes a message under a new transaction id.
    pub(crate) fn encode(&mut self, message: &OfMessage) -> (u32, Vec<u8>) {
        let xid = self.new_xid();
        (xid, message.encode(self.encoding, xid))
    }

    /// A transaction id that no message had yet.
    pub(crate) fn new_xid(&mut self) -> u32 {
        self.next_xid += 1;
        self.next_xid - 1
    }

    /// Sends encoded messages.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream
            .write_all(bytes)
            .and_then(|()| self.stream.flush())
            .map_err(|error| self.failure("send", error))
    }

    /// Lets the switch be silent as long as it likes.
    pub(crate) fn wait_for_ever(&mut self) -> anyhow::Result<()> {
        self.limit = None;
        Ok(self.socket.set_limit(None)?)
    }

    /// From now on only listens: echo requests are answered by nobody.
    pub(crate) fn listen_only(&mut self) {
        self.answers_echoes = false;
    }

    /// The next message of the switch, whatever its version. Echo requests are answered and not returned.
    pub(crate) fn receive(&mut self) -> anyhow::Result<Vec<u8>> {
        loop {
            let message = self.receive_any()?;
            if message[1] != ECHO_REQUEST {
                return Ok(message);
            }
        }
    }

    /// As [`Channel::receive`], and echo requests are returned, too.
    pub(crate) fn receive_any(&mut self) -> anyhow::Result<Vec<u8>> {
        loop {
            let rest = self.received.get(self.handled..).unwrap_or_default();
            if let Some(header) = MessageHeader::read(rest) {
                let len = usize::from(header.len);
                if len < HEADER_SIZE {
                    bail!(
                        "{}: the switch sent a message of {len} bytes, but a header has {HEADER_SIZE}",
                        self.name
                    );
                }
                if let Some(message) = rest.get(..len) {
                    let message = message.to_vec();
                    self.handled += len;
                    self.answer_echo(&message)?;
                    return Ok(message);
                }
            }
            self.received.drain(..self.handled);
            self.handled = 0;
            let before = self.received.len();
            self.received.resize(before + CHUNK, 0);
            let count = self.stream.read(&mut self.received[before..]);
            self.received.truncate(before + *count.as_ref().unwrap_or(&0));
            match count {
                Ok(0) => bail!("{}: the switch has closed the connection", self.name),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure("receive", error)),
            }
        }
    }

    /// Answers the message if it is an echo request.
    fn answer_echo(&mut self, message: &[u8]) -> anyhow::Result<()> {
        if message[1] != ECHO_REQUEST || !self.answers_echoes {
            return Ok(());
        }
        let mut reply = message.to_vec();
        reply[1] = ECHO_REQUEST + 1;
        self.send_bytes(&reply)
    }

    fn failure(&self, what: &'static str, error: std::io::Error) -> anyhow::Error {
        let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        match self.limit.filter(|_| is_late) {
            Some(limit) => anyhow::anyhow!(
                "{}: the switch was silent for {} s: give it more time with --timeout",
                self.name,
                limit.as_secs()
            ),
            None => tls::explain(error, what).context(self.name.clone()),
        }
    }

    /// Sends a request and waits for the reply with its transaction id.
    ///
    /// # Errors
    /// The connection broke, or the switch refuses the request ([`Rejected`]).
    pub(crate) fn transact(&mut self, request: &OfMessage) -> anyhow::Result<Vec<u8>> {
        let xid = self.send(request)?;
        self.reply(xid)
    }

    /// Waits for the message with this transaction id.
    fn reply(&mut self, xid: u32) -> anyhow::Result<Vec<u8>> {
        loop {
            let bytes = self.receive()?;
            if MessageHeader::read(&bytes).is_some_and(|header| header.xid == xid) {
                refuse(&bytes)?;
                return Ok(bytes);
            }
        }
    }

    /// Sends a multipart request, and hands each part of the reply to `take` as it comes.
    ///
    /// # Errors
    /// As [`Channel::transact`], or `take` fails.
    pub(crate) fn parts(
        &mut self,
        request: &OfMessage,
        take: impl FnMut(Vec<u8>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let xid = self.send(request)?;
        self.parts_of(xid, take)
    }

    /// Hands each part of the reply to the multipart request with this transaction id to `take` as it comes.
    ///
    /// # Errors
    /// As [`Channel::parts`].
    pub(crate) fn parts_of(
        &mut self,
        xid: u32,
        mut take: impl FnMut(Vec<u8>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        /// Where a multipart has its flags, and the flag that another part follows.
        const FLAGS: usize = HEADER_SIZE + 2;
        const MORE: u8 = 1;
        loop {
            let part = self.reply(xid)?;
            let has_more = part.get(FLAGS + 1).is_some_and(|flags| flags & MORE != 0);
            take(part)?;
            if !has_more {
                return Ok(());
            }
        }
    }

    /// As [`Channel::parts`], with all parts in the order in which they came.
    pub(crate) fn all_parts(&mut self, request: &OfMessage) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        self.parts(request, |part| {
            all.push(part);
            Ok(())
        })?;
        Ok(all)
    }

    /// Sends requests that have no reply, and a barrier. When the switch has carried out all of them, the
    /// barrier is answered.
    ///
    /// # Errors
    /// The connection broke, or the switch refuses a request: the first one that it refuses ([`Rejected`]). The
    /// others are carried out nevertheless.
    pub(crate) fn carry_out(&mut self, requests: &[OfMessage]) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        let mut sent = Vec::new();
        for request in requests {
            let (xid, encoded) = self.encode(request);
            sent.push(xid);
            bytes.extend(encoded);
        }
        let (barrier, encoded) = self.encode(&OfMessage::BarrierRequest);
        bytes.extend(encoded);
        self.send_bytes(&bytes)?;
        let mut refused = None;
        loop {
            let reply = self.receive()?;
            let Some(header) = MessageHeader::read(&reply) else {
                continue;
            };
            if sent.contains(&header.xid) && refused.is_none() {
                refused = refuse(&reply).err();
            }
            if header.xid == barrier {
                refuse(&reply)?;
                return refused.map_or(Ok(()), Err);
            }
        }
    }
}

/// Makes an error message of the switch an error.
pub(crate) fn refuse(bytes: &[u8]) -> anyhow::Result<()> {
    match OfMessage::decode(bytes, Encoding::default()) {
        Ok(OfMessage::Error(error)) => {
            let text = Printer::default().print(bytes).trim_end().to_owned();
            Err(Rejected { text, code: error.code }.into())
        }
        _ => Ok(()),
    }
}

/// Connects to an address, with the limit of the options for every wait.
fn dial(address: &Address, how: &How) -> anyhow::Result<(Box<dyn Duplex>, Socket)> {
    let limit = how.limit();
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            let socket = Socket::Unix(stream.try_clone()?);
            socket.set_limit(limit)?;
            Ok((Box::new(stream), socket))
        }
        Address::Tcp { host, port } => {
            let stream = dial_tcp(host, *port, limit)?;
            let socket = Socket::Tcp(stream.try_clone()?);
            Ok((Box::new(stream), socket))
        }
        Address::Tls { host, port } => {
            let stream = dial_tcp(host, *port, limit)?;
            let socket = Socket::Tcp(stream.try_clone()?);
            Ok((Box::new(tls::begin(host, stream, how)?), socket))
        }
    }
}

fn dial_tcp(host: &str, port: u16, limit: Option<Duration>) -> anyhow::Result<TcpStream> {
    let mut refused = None;
    for address in (host, port).to_socket_addrs()? {
        let dialled = match limit {
            Some(limit) => TcpStream::connect_timeout(&address, limit),
            None => TcpStream::connect(address),
        };
        match dialled {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)?;
                return Ok(stream);
            }
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.map_or_else(|| anyhow::anyhow!("{host} has no address"), anyhow::Error::new))
}
