//! What a connection runs over: a stream of bytes that never blocks.

use nix::sys::socket::{MsgFlags, recv};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

/// A stream that returns [`WouldBlock`](std::io::ErrorKind::WouldBlock) rather than wait, and whose
/// descriptor says when it is worth trying again. A stream that has read ahead has to give all of
/// that before its descriptor counts.
pub(super) trait Transport: Read + Write + AsFd + Send {
    /// Whether bytes that it has taken wait until its descriptor can be
    /// written. [`flush`](Write::flush) sends them.
    fn wants_write(&self) -> bool {
        false
    }

    /// A second end of the same stream, for whole messages while this one is not used. `None` if there is none.
    fn second(&self) -> Option<Box<dyn SecondEnd>> {
        None
    }
}

/// The second end of a stream, which never blocks either. Its descriptor is another one
/// than that of the transport.
pub(super) trait SecondEnd: Read + Write + AsFd + Send {
    /// As [`read`](Read::read), but whatever it returns can be read again.
    ///
    /// # Errors
    /// As for `read`.
    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl SecondEnd for UnixStream {
    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.as_raw_fd(), buffer, MsgFlags::MSG_PEEK)?)
    }
}

impl SecondEnd for TcpStream {
    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::peek(self, buffer)
    }
}

impl Transport for UnixStream {
    fn second(&self) -> Option<Box<dyn SecondEnd>> {
        Some(Box::new(self.try_clone().ok()?))
    }
}

impl Transport for TcpStream {
    fn second(&self) -> Option<Box<dyn SecondEnd>> {
        Some(Box::new(self.try_clone().ok()?))
    }
}
