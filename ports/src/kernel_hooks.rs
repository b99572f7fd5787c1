//! eBPF programs that see the frames of a port before its receive queues do.
//!
//! The *judge* is the filter of each receive ring, and the *executor* is attached to the ingress of
//! the device, behind the rings. What the two do is their author's business (crate `kernelcache`). A
//! frame that the judge takes from the ring is lost without the executor, so the judge is to take
//! none before [`DeviceHook::attach`] has returned.
//!
//! To attach a program to a device takes some 10 ms, in which the kernel changes no other device either, and to
//! take it off takes as long: seconds for a thousand ports. So `kernelcache` attaches the executor of a device
//! only when the first flow of its port is ready for the kernel.
//!
//! A TAP device has no ring: what the host sends there goes to the descriptor of the switch. The *executor of
//! sent frames*, at the egress of the device, sees it before.
//!
//! A tunnel port has no device. Its datagrams come by devices of the host, at whose ingress the *unwrapper*
//! sees them before the host's own stack does.

use crate::FloodProgram;
use crate::netlink::Link;
use crate::sys::bpf;
pub(crate) use crate::sys::bpf::Direction;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

/// Loaded programs, for the ports of one network namespace.
#[derive(Debug)]
pub struct KernelHooks {
    /// Of the type `BPF_PROG_TYPE_SOCKET_FILTER`.
    pub judge: OwnedFd,
    /// Of the type `BPF_PROG_TYPE_SCHED_CLS`.
    pub executor: OwnedFd,
    /// Of the type `BPF_PROG_TYPE_SCHED_CLS`.
    pub executor_of_sent: OwnedFd,
    /// Of the type `BPF_PROG_TYPE_SCHED_CLS`.
    pub unwrapper: OwnedFd,
    /// What sends floods of frames that the switch has received itself.
    pub flood: Arc<FloodProgram>,
}

impl KernelHooks {
    /// Makes the judge the filter of a receive ring.
    pub(crate) fn filter(&self, ring: BorrowedFd<'_>) -> io::Result<()> {
        bpf::set_filter(ring, self.judge.as_fd())
    }

    /// The unwrapper for a device of the namespace, which is not attached yet.
    pub fn unwrapper_of(self: &Arc<Self>, device: u32) -> Arc<DeviceHook> {
        Arc::new(DeviceHook {
            hooks: Arc::clone(self),
            program: Program::Unwrapper,
            index: device,
            device: format!("the device with the number {device}"),
            link: OnceLock::new(),
        })
    }
}

/// Which program is attached to a device.
#[derive(Clone, Copy, Debug)]
enum Program {
    Executor,
    ExecutorOfSent,
    Unwrapper,
}

/// The executor of a device: at the ingress of a network device, or that of sent frames at the egress of a TAP
/// device; or the unwrapper of a device. It is taken off when this is dropped, or when the process ends in
/// whatever way, unless another process has the descriptor, too.
#[derive(Debug)]
pub struct DeviceHook {
    hooks: Arc<KernelHooks>,
    program: Program,
    index: u32,
    device: String,
    /// Empty until somebody has tried to attach the executor.
    link: OnceLock<Result<OwnedFd, String>>,
}

impl DeviceHook {
    /// The executor for a device. If another process has attached it and hands it over, it stays attached.
    pub(crate) fn new(
        hooks: &Arc<KernelHooks>,
        direction: Direction,
        device: &Link,
        handed: Option<OwnedFd>,
    ) -> Arc<Self> {
        Arc::new(Self {
            hooks: Arc::clone(hooks),
            program: match direction {
                Direction::Ingress => Program::Executor,
                Direction::Egress => Program::ExecutorOfSent,
            },
            index: device.index,
            device: format!("\"{}\"", device.name),
            link: handed.map(Ok).map_or_else(OnceLock::new, OnceLock::from),
        })
    }

    /// Attaches the executor, unless somebody has tried that before. The device has to be in the calling
    /// thread's network namespace.
    ///
    /// # Errors
    /// Why the executor is not attached, for a person to read: the kernel has no TCX (before Linux 6.6), or the
    /// process no `CAP_NET_ADMIN`.
    pub fn attach(&self) -> Result<(), &str> {
        let (program, direction) = match self.program {
            Program::Executor => (&self.hooks.executor, Direction::Ingress),
            Program::ExecutorOfSent => (&self.hooks.executor_of_sent, Direction::Egress),
            Program::Unwrapper => (&self.hooks.unwrapper, Direction::Ingress),
        };
        let attach = || {
            let attached = bpf::attach(program.as_fd(), self.index, direction);
            attached.map_err(|error| format!("attach to {}: {error}", self.device))
        };
        outcome(self.link.get_or_init(attach))
    }

    /// What [`Self::attach`] has returned; `None` if nobody has called it.
    pub fn attached(&self) -> Option<Result<(), &str>> {
        self.link.get().map(outcome)
    }

    /// The descriptor, for another process; `None` if the executor is not attached.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.link.get()?.as_ref().ok().map(AsFd::as_fd)
    }
}

fn outcome(link: &Result<OwnedFd, String>) -> Result<(), &str> {
    link.as_ref().map(|_| ()).map_err(String::as_str)
}

/// Why a port has no hooks whose switch has none to give.
pub(crate) const NO_HOOKS: &str = "the switch has no programs for this port";
