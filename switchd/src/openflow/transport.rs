//! What a connection runs over: a stream of bytes that never blocks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// A stream that returns [`WouldBlock`](std::io::ErrorKind::WouldBlock) rather than wait, and whose descriptor says when it is
/// worth trying again. A stream that has read ahead has to give all of that before its descriptor counts.
pub(super) trait Transport: Read + Write + AsFd + Send {
    /// Whether bytes that it has taken wait until its descriptor can be written. [`flush`](Write::flush) sends them.
    fn wants_write(&self) -> bool {
        false
    }

    /// Another way to write to the same stream, for whole messages while nothing else is written. `None` if there is none.
    fn second_writer(&self) -> Option<Box<dyn Write + Send>> {
        None
    }
}

impl Transport for UnixStream {
    fn second_writer(&self) -> Option<Box<dyn Write + Send>> {
        Some(Box::new(self.try_clone().ok()?))
    }
}

impl Transport for TcpStream {
    fn second_writer(&self) -> Option<Box<dyn Write + Send>> {
        Some(Box::new(self.try_clone().ok()?))
    }
}
