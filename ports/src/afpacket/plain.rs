//! The packet sockets of ports without the ports, for measurements.

use super::ring_size::RingSize;
use crate::flood_socket::FloodSocket;
use crate::sys::mmsg::AddressedMessages;
use crate::sys::packet as socket;
use crate::sys::ring::RxRing;
use packet::VNET_HDR_SIZE;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

/// What a port of one receive queue and one sending queue keeps open of a network device. The device is
/// not touched, except that it is promiscuous until this is dropped.
#[derive(Debug)]
pub struct PlainSockets {
    // Unmapped before the socket is closed: fields are dropped in order.
    _ring: RxRing,
    _receiving: OwnedFd,
    _sending: OwnedFd,
}

impl PlainSockets {
    /// Opens the sockets of the device with interface number `index`, in the calling thread's network
    /// namespace: one with a receive ring of the size `ring`, one that only sends.
    ///
    /// # Errors
    /// No such device, no memory, or `CAP_NET_RAW` is missing.
    pub fn open(index: u32, ring: RingSize) -> io::Result<Self> {
        let receiving = socket::socket()?;
        socket::set_option(receiving.as_fd(), socket::PACKET_VNET_HDR, 1)?;
        let ring = RxRing::new(receiving.as_fd(), ring.geometry())?;
        socket::bind(receiving.as_fd(), index, true)?;
        socket::set_promiscuous(receiving.as_fd(), index)?;
        let sending = socket::socket()?;
        socket::set_option(sending.as_fd(), socket::PACKET_VNET_HDR, 1)?;
        socket::bind(sending.as_fd(), index, false)?;
        Ok(Self { _ring: ring, _receiving: receiving, _sending: sending })
    }
}

/// What floods frames to many devices, with one system call for the copies of a frame, and does nothing else.
pub struct PlainFlood {
    socket: FloodSocket,
    messages: AddressedMessages,
    indexes: Vec<u32>,
}

impl PlainFlood {
    /// Opens the socket for the devices with these interface numbers, in
    /// the calling thread's network namespace.
    ///
    /// # Errors
    /// A descriptor or `CAP_NET_RAW` is missing.
    pub fn open(indexes: Vec<u32>) -> io::Result<Self> {
        let messages = AddressedMessages::new(indexes.len());
        Ok(Self { socket: FloodSocket::open()?, messages, indexes })
    }

    /// Sends a copy of `frame` to each of the devices. Returns the number of devices that took it.
    ///
    /// # Errors
    /// What the kernel said of the copy behind the last one that a device took.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<usize> {
        let with_header = [&[0; VNET_HDR_SIZE][..], frame].concat();
        let copies: Vec<(u32, IoSlice<'_>)> =
            self.indexes.iter().map(|index| (*index, IoSlice::new(&with_header))).collect();
        let mut sent = 0;
        while sent < copies.len() {
            sent += self.messages.send(self.socket.as_fd(), &copies[sent..])?;
        }
        Ok(sent)
    }
}
