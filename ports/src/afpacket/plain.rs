//! The packet sockets of a port without the port, for measurements.

use super::ring_size::RingSize;
use crate::sys::packet as socket;
use crate::sys::ring::RxRing;
use std::io;
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
