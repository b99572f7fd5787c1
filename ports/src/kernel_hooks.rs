//! eBPF programs that see the frames of a port before its receive queues do.
//!
//! The *judge* is the filter of each receive ring, and the *executor* is attached to the ingress of the device, behind the
//! rings. What the two do is their author's business (crate `kernelcache`); this crate attaches them in an order in which
//! no frame is lost: the executor comes first and goes last, because a frame that the judge takes from the ring is lost
//! without the executor.
//!
//! A TAP device has no ring: what the host sends there goes to the descriptor of the switch. The *executor of sent frames*,
//! at the egress of the device, sees it before.

use crate::netlink::Link;
use crate::sys::bpf::{self, Direction};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Loaded programs, for the ports of one network namespace.
#[derive(Debug)]
pub struct KernelHooks {
    /// Of the type `BPF_PROG_TYPE_SOCKET_FILTER`.
    pub judge: OwnedFd,
    /// Of the type `BPF_PROG_TYPE_SCHED_CLS`.
    pub executor: OwnedFd,
    /// Of the type `BPF_PROG_TYPE_SCHED_CLS`.
    pub executor_of_sent: OwnedFd,
}

impl KernelHooks {
    /// Attaches the executor to the ingress of a device in the calling thread's network namespace. If another process has
    /// attached it and hands it over, it stays as it is.
    ///
    /// # Errors
    /// Why that cannot be, for a person to read: the kernel has no TCX (before Linux 6.6), or the process no
    /// `CAP_NET_ADMIN`.
    pub(crate) fn attach(
        &self,
        link: &Link,
        handed: Option<OwnedFd>,
    ) -> Result<DeviceHook, String> {
        DeviceHook::new(&self.executor, link, Direction::Ingress, handed)
    }

    /// Attaches the executor of sent frames to the egress of a device, likewise.
    ///
    /// # Errors
    /// As [`KernelHooks::attach`].
    pub(crate) fn attach_to_sent(
        &self,
        link: &Link,
        handed: Option<OwnedFd>,
    ) -> Result<DeviceHook, String> {
        DeviceHook::new(&self.executor_of_sent, link, Direction::Egress, handed)
    }

    /// Makes the judge the filter of a receive ring.
    pub(crate) fn filter(&self, ring: BorrowedFd<'_>) -> io::Result<()> {
        bpf::set_filter(ring, self.judge.as_fd())
    }
}

/// An executor at a device, which goes when this is dropped, or when the process ends in whatever way, unless another process
/// has the descriptor, too.
#[derive(Debug)]
pub(crate) struct DeviceHook {
    link: OwnedFd,
}

impl DeviceHook {
    fn new(
        program: &OwnedFd,
        device: &Link,
        direction: Direction,
        handed: Option<OwnedFd>,
    ) -> Result<Self, String> {
        if let Some(link) = handed {
            return Ok(Self { link });
        }
        let attached = bpf::attach(program.as_fd(), device.index, direction);
        let link = attached.map_err(|error| format!("attach to \"{}\": {error}", device.name))?;
        Ok(Self { link })
    }

    /// The descriptor, for another process.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

/// Why a port has no hooks whose switch has none to give.
pub(crate) const NO_HOOKS: &str = "the switch has no programs for this port";
