//! An open port goes from one process to another, which has inherited its descriptors, without losing a frame.
//!
//! The old process describes each receive queue ([`RxQueue::hand_over`](crate::RxQueue::hand_over)) and how the
//! device is to be put back ([`Port::hand_over`](crate::Port::hand_over)). The new process makes a
//! [`Port`](crate::Port) of the description and the descriptors ([`take_over`](crate::take_over)) while the old
//! one goes on forwarding:
//!
//! - The kernel keeps filling the ring of a packet socket whoever reads it, so both processes map the same
//!   ring. The old one stops and tells at which slots ([`RingPositions`]), and the new one goes on there.
//!   Frames wait in the ring meanwhile.
//! - The new process opens sockets of its own to send, and adds chains of its own to the shield: both processes
//!   can have theirs at the same time.
//! - The queues of a TAP device are their descriptors.
//!
//! Until [`Port::own`](crate::Port::own), dropping the port in the new process puts nothing back: the device is
//! the old one's still.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::os::fd::OwnedFd;

/// The slots at which receiving goes on, counted from 0, by the inode numbers of the packet sockets that the
/// rings belong to.
pub type RingPositions = HashMap<u64, u32>;

/// The device of a port, and how it is to be put back when the port is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedDevice {
    /// The device's interface number when it became a port.
    pub index: u32,
    /// The device's MAC address.
    pub mac: [u8; 6],
    /// Whether the device is to be set down.
    pub sets_down: bool,
    /// The MAC address that a TAP device is to have again; `None` if the port did not change it.
    pub mac_before: Option<[u8; 6]>,
}

/// A receive queue beside its descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandedQueue {
    /// A packet socket with a receive ring.
    Ring(HandedRing),
    /// A queue of a TAP device.
    Tap,
}

/// The sizes of a receive ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedRing {
    /// Bytes of a slot.
    pub slot_size: u32,
    /// Bytes of a block.
    pub block_size: u32,
    /// The number of blocks.
    pub blocks: u32,
}

/// A port of another process that is to be taken over.
#[derive(Debug)]
pub struct HandedPort {
    /// The device as the other process has it, and what is to be put back at the end.
    pub device: HandedDevice,
    /// The receive queues with their descriptors.
    pub queues: Vec<(HandedQueue, OwnedFd)>,
    /// The descriptor that holds the executor at the device ([`crate::KernelHooks`]); `None` if there is none.
    pub hook: Option<OwnedFd>,
}
