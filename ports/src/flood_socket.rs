//! The socket by which the ports of a network namespace send floods (`afpacket/multi_tx`).

use crate::sys::packet as socket;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes that may wait for all devices of a namespace together.
const SEND_BUFFER: i32 = 8 << 20;

/// A socket that sends to any device of its namespace.
#[derive(Debug)]
pub(crate) struct FloodSocket(OwnedFd);

impl FloodSocket {
    /// A socket in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket::socket()?;
        let fd = socket.as_fd();
        socket::set_option(fd, socket::PACKET_VNET_HDR, 1)?;
        socket::set_send_buffer(fd, SEND_BUFFER)?;
        socket::set_option(fd, socket::PACKET_QDISC_BYPASS, 1)?;
        Ok(Self(socket))
    }
}

impl AsFd for FloodSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
