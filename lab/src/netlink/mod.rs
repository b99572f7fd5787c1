//! Configures test networks as `ip` and `tc` do: devices, addresses,
//! routes, neighbours and queueing disciplines.
//!
//! [`Netlink`] extends [`ports::netlink::Netlink`], which has the requests that the switch itself makes, and
//! dereferences to it.

mod address;
mod features;
mod link;
mod qdisc;

pub use address::RouteChoice;
pub use features::Feature;
pub use link::{LinkSpec, Vxlan};
pub use qdisc::Tbf;

use crate::LabError;
use std::ops::{Deref, DerefMut};

/// A routing socket (rtnetlink(7)). Its requests are about the network namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink(ports::netlink::Netlink);

impl Netlink {
    /// Opens a routing socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel has no memory or no file descriptor left.
    pub fn open() -> Result<Self, LabError> {
        Ok(Self(ports::netlink::Netlink::open()?))
    }
}

impl Deref for Netlink {
    type Target = ports::netlink::Netlink;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Netlink {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
