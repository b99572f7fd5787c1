//! A controller's end of a connection, as fast as this program can be: bytes are made before the clock starts.

use anyhow::{Context, bail};
use flow::types::OfVersion;
use openflow::{Encoding, HEADER_SIZE, MessageHeader, OfMessage};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The version that all measurements speak: the first one whose bundles need no extension.
pub(super) const VERSION: OfVersion = OfVersion::OpenFlow14;
/// How long a switch may be silent. Open vSwitch takes some seconds for a bundle of 100,000 rules.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many bytes are read at a time.
const READ_SIZE: usize = 1 << 16;

/// A controller that is connected to a switch.
pub struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    /// How many bytes at the front of `received` have been handed out.
    handled: usize,
    xid: u32,
}

impl Client {
    /// Connects to the socket of a bridge and agrees on OpenFlow 1.4.
    ///
    /// # Errors
    /// Nobody listens, or the switch does not speak the version.
    pub fn connect(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Self { stream, received: Vec::new(), handled: 0, xid: 0 };
        client.send(&OfMessage::Hello(vec![VERSION]))?;
        let header = client.next_header()?;
        let version = header.version;
        if header.kind != 0 || version < VERSION as u8 + 1 {
            bail!("the switch does not speak {VERSION:?}: its first message has version {version}");
        }
        Ok(client)
    }

    /// The form of messages.
    pub(super) fn encoding() -> Encoding {
        Encoding::new(VERSION)
    }

    /// Sends a message, and returns its transaction id.
    pub(super) fn send(&mut self, message: &OfMessage) -> anyhow::Result<u32> {
        self.xid += 1;
        self.send_bytes(&message.encode(Self::encoding(), self.xid))?;
        Ok(self.xid)
    }

    /// Sends messages that have been encoded already.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).context("send to the switch")
    }

    /// Waits until the switch has carried out everything that was sent.
    ///
    /// # Errors
    /// The switch refuses something, or is silent.
    pub(super) fn barrier(&mut self) -> anyhow::Result<()> {
        let xid = self.send(&OfMessage::BarrierRequest)?;
        self.until_reply(xid, |_| {})
    }

    /// Waits for the last part of the reply to the message `xid`, and shows each part to `visit`. Other
    /// messages are dropped.
    ///
    /// # Errors
    /// The switch refuses something, or is silent.
    pub(super) fn until_reply(
        &mut self,
        xid: u32,
        mut visit: impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        loop {
            let header = self.next_header()?;
            let bytes = &self.received[self.handled - usize::from(header.len)..self.handled];
            if header.kind == ERROR {
                let error = OfMessage::decode(bytes, Self::encoding());
                bail!("the switch refuses a message: {error:?}");
            }
            if header.xid == xid {
                visit(bytes);
                let has_more = header.kind == MULTIPART_REPLY && bytes[HEADER_SIZE + 3] & 1 != 0;
                if !has_more {
                    return Ok(());
                }
            }
        }
    }

    /// Waits for the next message, and returns its bytes.
    ///
    /// # Errors
    /// The switch is silent, or has closed the connection.
    pub(super) fn next_message(&mut self) -> anyhow::Result<&[u8]> {
        let header = self.next_header()?;
        Ok(&self.received[self.handled - usize::from(header.len)..self.handled])
    }

    /// Reads some bytes and drops them. The next message that is waited for may begin in its middle: this
    /// client only drops from now on.
    pub(super) fn drop_some(&mut self) {
        self.received.resize(READ_SIZE, 0);
        // A connection that has ended has nothing more to read.
        let _ = self.stream.read(&mut self.received);
    }

    /// Waits for the next message, and returns its header. Its bytes are the last ones that were handled.
    fn next_header(&mut self) -> anyhow::Result<MessageHeader> {
        loop {
            let rest = &self.received[self.handled..];
            if let Some(header) = MessageHeader::read(rest)
                && rest.len() >= usize::from(header.len)
            {
                self.handled += usize::from(header.len).max(HEADER_SIZE);
                return Ok(header);
            }
            self.received.drain(..std::mem::take(&mut self.handled));
            let len = self.received.len();
            self.received.resize(len + READ_SIZE, 0);
            let read =
                self.stream.read(&mut self.received[len..]).context("the switch is silent")?;
            self.received.truncate(len + read);
            if read == 0 {
                bail!("the switch has closed the connection");
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The types of messages (`OFPT_*`) that are looked at without decoding them.
const ERROR: u8 = 1;
pub(super) const PACKET_IN: u8 = 10;
const MULTIPART_REPLY: u8 = 19;
