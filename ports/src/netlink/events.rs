//! What happens to network devices, as it happens.

use super::{Failure, Link, NetlinkError, RECEIVE_SIZE, messages};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// `RTNLGRP_LINK`: everything about devices, and nothing about addresses or routes.
const LINK_GROUP: u32 = 1;

/// Something happened to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A device is new, or its description changed. The kernel repeats itself; compare.
    Present(Link),
    /// A device is no longer in this network namespace.
    Gone {
        /// Its interface number, which may be given to another device.
        index: u32,
        /// Its name.
        name: String,
    },
    /// Events were lost: look at all devices ([`super::Netlink::links`]).
    Lost,
}

/// A socket that hears of devices of its network namespace. Readable when events wait.
#[derive(Debug)]
pub struct Events {
    socket: Socket,
    received: Vec<u8>,
}

impl Events {
    /// Begins to listen in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel has no memory or no file descriptor left.
    pub fn open() -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.add_membership(LINK_GROUP)?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|e| NetlinkError::refused("listen to device events", e))?;
        Ok(Self { socket, received: Vec::with_capacity(RECEIVE_SIZE) })
    }

    /// Passes the events that wait to `each`; never blocks.
    ///
    /// # Errors
    /// The socket failed for another reason than being empty or overrun.
    pub fn drain(&mut self, mut each: impl FnMut(LinkEvent)) -> Result<(), NetlinkError> {
        loop {
            self.received.clear();
            match self.socket.recv(&mut self.received, 0) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    each(LinkEvent::Lost);
                    continue;
                }
                Err(e) => return Err(NetlinkError::refused("receive device events", e)),
            }
            for message in messages(&self.received) {
                match message.map(|m| m.payload) {
                    Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(m))) => {
                        each(LinkEvent::Present(Link::from_message(&m)));
                    }
                    Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(m))) => {
                        let Link { index, name, .. } = Link::from_message(&m);
                        each(LinkEvent::Gone { index, name });
                    }
                    Ok(_) => {}
                    // Not understood is as good as not heard.
                    Err(Failure::Decode(_) | Failure::Io(_)) => each(LinkEvent::Lost),
                }
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
