//! Frames in and out.
//!
//! [`open`] turns the description of a port ([`spec::PortSpec`]) into a [`Port`] with queues that
//! speak of batches of [`packet::Frame`]s, whatever lies behind: a network device ([`afpacket`]), a
//! TAP device ([`tap`]) or memory ([`dummy`]). [`netlink`] and [`netns`] are how ports, the demo and
//! the tests handle the network devices of the host.
//!
//! This crate decides nothing about frames. It is the only one with `unsafe` code, all of it in
//! `sys`, which exports safe functions over owned file descriptors.
#![deny(unsafe_code)]

pub mod dummy;
mod error;
pub mod netlink;
pub mod netns;
mod port;
pub mod spec;

pub use error::PortError;
pub use port::{
    Guard, Port, PortKind, PortStatus, Queues, RxQueue, RxStats, Shield, TxFailure, TxQueue,
};
