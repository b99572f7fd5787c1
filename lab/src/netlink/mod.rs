//! What `ip` and `tc` do for test networks: devices, addresses, routes, neighbours, slow links.
//!
//! The switch itself only asks about devices, sets them up and keeps them apart, through
//! [`ports::netlink`]. All that is here, too.

mod address;
mod link;
mod qdisc;

pub use link::{LinkSpec, Vxlan};
pub use qdisc::Tbf;

use crate::LabError;
use std::ops::{Deref, DerefMut};

/// Requests to the kernel, one at a time, in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink(ports::netlink::Netlink);

impl Netlink {
    /// A routing socket in the calling thread's network namespace.
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
