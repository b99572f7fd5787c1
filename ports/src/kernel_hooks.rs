//! eBPF programs that see the frames of a port before its receive queues do.
//!
//! The *judge* is the filter of each receive ring, and the *executor* is attached to the ingress of the device, behind the
//! rings. What the two do is their author's business (crate `kernelcache`); this crate attaches them in an order in which
//! no frame is lost: the executor comes first and goes last, because a frame that the judge takes from the ring is lost
//! without the executor.

use crate::sys::bpf;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Two loaded programs, for the ports of one network namespace.
#[derive(Debug)]
pub struct KernelHooks {
    judge: OwnedFd,
    executor: OwnedFd,
}

impl KernelHooks {
    /// `judge` is of the type `BPF_PROG_TYPE_SOCKET_FILTER`, `executor` of the type `BPF_PROG_TYPE_SCHED_CLS`.
    pub fn new(judge: OwnedFd, executor: OwnedFd) -> Self {
        Self { judge, executor }
    }

    /// Attaches the executor to a device in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel has no TCX (before Linux 6.6), or the process no `CAP_NET_ADMIN`.
    pub(crate) fn attach(&self, ifindex: u32) -> io::Result<DeviceHook> {
        Ok(DeviceHook { _link: bpf::attach_to_ingress(self.executor.as_fd(), ifindex)? })
    }

    /// Makes the judge the filter of a receive ring.
    pub(crate) fn filter(&self, ring: BorrowedFd<'_>) -> io::Result<()> {
        bpf::set_filter(ring, self.judge.as_fd())
    }
}

/// The executor at a device, which goes when this is dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct DeviceHook {
    _link: OwnedFd,
}
