//! What happens to network devices, as it happens.

use super::{Failure, Link, NetlinkError, RECEIVE_SIZE, messages};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::tc::TcHandle;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

// linux/rtnetlink.h
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_TC: u32 = 4;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV6_IFADDR: u32 = 9;

/// Something happened to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A device is new, or its description changed. The kernel repeats itself; compare.
    Present(Link),
    /// A device is no longer in this network namespace.
    Gone {
        /// The device's interface number, which may be given to another device.
        index: u32,
        /// The name that the device had.
        name: String,
    },
    /// The root queueing discipline of a device changed: look at it again
    /// ([`super::Netlink::find_link_by_index`]).
    QdiscChanged {
        /// The device's interface number.
        index: u32,
    },
    /// A device was given an IP address.
    AddressAdded {
        /// The device's interface number.
        index: u32,
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
        Self::listen(false)
    }

    /// Begins to listen in this network namespace and in those that it knows of, such as the ones that
    /// its devices have moved to, without keeping them alive. Interface numbers do not say which of them
    /// is meant: an event is a reason to look, no more.
    ///
    /// # Errors
    /// The kernel has no memory or no file descriptor left.
    pub fn open_everywhere() -> Result<Self, NetlinkError> {
        Self::listen(true)
    }

    fn listen(everywhere: bool) -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.add_membership(RTNLGRP_LINK)?;
            socket.add_membership(RTNLGRP_TC)?;
            socket.add_membership(RTNLGRP_IPV4_IFADDR)?;
            socket.add_membership(RTNLGRP_IPV6_IFADDR)?;
            socket.set_non_blocking(true)?;
            if everywhere {
                socket.set_listen_all_namespaces(true)?;
            }
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
                    Ok(NetlinkPayload::InnerMessage(message)) => {
                        if let Some(event) = event(&message) {
                            each(event);
                        }
                    }
                    Ok(_) => {}
                    // Not understood is as good as not heard.
                    Err(Failure::Decode(_) | Failure::Io(_)) => each(LinkEvent::Lost),
                }
            }
        }
    }
}

fn event(message: &RouteNetlinkMessage) -> Option<LinkEvent> {
    // A bridge tells about its ports in messages of its own family. "Deleted" there means that the
    // device left the bridge.
    let is_of_device = |m: &LinkMessage| m.header.interface_family == AddressFamily::Unspec;
    match message {
        RouteNetlinkMessage::NewLink(m) if is_of_device(m) => {
            Some(LinkEvent::Present(Link::from_message(m)))
        }
        RouteNetlinkMessage::DelLink(m) if is_of_device(m) => {
            let Link { index, name, .. } = Link::from_message(m);
            Some(LinkEvent::Gone { index, name })
        }
        RouteNetlinkMessage::NewAddress(m) => {
            Some(LinkEvent::AddressAdded { index: m.header.index })
        }
        RouteNetlinkMessage::NewQueueDiscipline(m) | RouteNetlinkMessage::DelQueueDiscipline(m)
            if m.header.parent == TcHandle::ROOT =>
        {
            Some(LinkEvent::QdiscChanged { index: m.header.index as u32 })
        }
        _ => None,
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
