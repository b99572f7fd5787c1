//! One connection: reads messages, has them carried out, and writes the replies.

use super::requests::Peer;
use crate::log_limit::{EVENTS, limited};
use crate::switch::Switch;
use flow::types::OfVersion;
use openflow::{ErrorCode, OfMessage, Session};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// How many bytes are read at a time.
const READ_SIZE: usize = 1 << 16;

/// How many bytes of replies wait at most until they are written.
const WRITE_SIZE: usize = 1 << 16;

/// Serves a connection until one side ends it, or the bridge is gone.
///
/// # Errors
/// The connection broke, or the peer took nothing for too long.
pub(super) fn serve(stream: &UnixStream, bridge: &str, switch: &Switch) -> io::Result<()> {
    let mut wire = Wire { stream, session: Session::new(&OfVersion::ALL) };
    let mut peer = Peer::default();
    let mut buffer = vec![0; READ_SIZE];
    wire.flush()?;
    loop {
        let read = match wire.stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        wire.session.receive(&buffer[..read]);
        loop {
            match wire.session.next_message() {
                Ok(None) => break,
                Ok(Some(incoming)) => {
                    let Some(on) = switch.on(bridge) else {
                        return wire.flush();
                    };
                    peer.handle(&on, incoming, &mut wire)?;
                }
                Err(error) => {
                    limited!(warn, "openflow", EVENTS, "bridge {bridge}: OpenFlow: {error}");
                    return wire.flush();
                }
            }
            if wire.session.unsent().len() >= WRITE_SIZE {
                wire.flush()?;
            }
        }
        wire.flush()?;
    }
}

/// The sending side of a connection.
pub(super) struct Wire<'a> {
    stream: &'a UnixStream,
    pub(super) session: Session,
}

impl Wire<'_> {
    /// Sends a message soon: at the latest when everything that was received has been handled.
    pub(super) fn send(&mut self, message: &OfMessage, xid: u32) {
        self.session.send(message, xid);
    }

    /// Refuses a request soon.
    pub(super) fn refuse(&mut self, code: ErrorCode, request: &[u8]) {
        self.session.refuse(code, request);
    }

    /// Sends parts of a reply now. Call it without a lock: it waits for the peer.
    pub(super) fn send_parts(&mut self, parts: Vec<Vec<u8>>) -> io::Result<()> {
        for part in parts {
            self.session.send_encoded(&part);
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let unsent = self.session.unsent();
        self.stream.write_all(unsent)?;
        let count = unsent.len();
        self.session.sent(count);
        Ok(())
    }
}
