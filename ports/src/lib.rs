//! Frames in and out.
//!
//! [`open`] makes a [`Port`] of what [`spec::Target`] names, with queues that speak of batches of
//! [`packet::Frame`]s, whatever lies behind: a network device ([`afpacket`]), a TAP device ([`tap`]) or
//! memory ([`dummy`]). [`netlink`] and [`netns`] are how ports, the demo and the tests handle the
//! network devices of the host.
//!
//! This crate decides nothing about frames. It is the only one with `unsafe` code, all of it in
//! `sys`, which exports safe functions over owned file descriptors.
#![deny(unsafe_code)]

pub mod afpacket;
mod buffers;
mod combining;
mod commons;
pub mod dummy;
mod egress;
mod error;
mod flood_program;
mod flood_socket;
pub mod handover;
mod kernel_hooks;
pub mod listeners;
mod lock;
pub mod netlink;
pub mod netns;
mod port;
mod privileges;
mod refusals;
pub mod rootless;
pub mod shield;
pub mod spec;
mod sys;
pub mod tap;
pub mod tunnel;

pub use afpacket::{Allotment, FloodSender, FloodTarget, RingSize, RxOpener};
pub use error::PortError;
pub use flood_program::{FLOOD_DEVICES, FLOOD_LISTS, FloodProgram};
pub use kernel_hooks::{DeviceHook, KernelHooks};
pub use lock::{device_lock_folder, give_up_locks, take_promised_locks};
pub(crate) use port::Guard;
pub use port::{
    Port, PortKind, PortStatus, Queues, RxMemory, RxQueue, RxStats, Shield, TxFailure, TxQueue,
    Whereabouts, put_back_devices,
};
pub use sys::bpf::{SharedWords, can_wait_for_programs, wait_for_programs};
pub use sys::heap::{free_evenly, give_back_memory};
pub use sys::xdp;

use spec::{PortOptions, Target};
use std::io::{self, ErrorKind};
use tunnel::{Endpoints, TunnelGroup, TunnelTarget};

/// A target that is ready to be opened as a port. Dropping it puts its device back as it was.
pub struct Ready(ReadyTarget);

enum ReadyTarget {
    /// A device of the system.
    Device {
        device: Box<afpacket::Device>,
        /// The inode of the network namespace that the target names; `None` if it names none.
        netns: Option<u64>,
    },
    /// A TAP device, which is made when it is opened.
    Tap {
        device: String,
        kind: PortKind,
    },
    Tunnel(Box<TunnelTarget>),
    Dummy,
}

/// Makes `target` ready to be opened as a port. Of a device of the system, all is done
/// that needs no packet sockets.
///
/// Whoever opens many ports makes them all ready before any is opened: for each change of a device the kernel
/// looks at every packet socket of the network namespace.
///
/// The device is looked for in the calling thread's network namespace unless the target names another one.
///
/// # Errors
/// What is missing or in the way, by name; nothing was changed then.
pub fn make_ready(target: &Target, options: &PortOptions) -> Result<Ready, PortError> {
    let ready_device = |device: afpacket::Device, netns| {
        let device = Box::new(device);
        ReadyTarget::Device { device, netns }
    };
    let tap = |device: &String, kind| ReadyTarget::Tap { device: device.clone(), kind };
    Ok(Ready(match target {
        Target::System { device } => ready_device(afpacket::make_ready(device, options)?, None),
        Target::Netns { netns, device } => {
            let (device, inode) = in_netns(netns, || afpacket::make_ready(device, options))?;
            ready_device(device, Some(inode))
        }
        Target::Tap { device } => tap(device, PortKind::Tap),
        Target::Internal { device } => tap(device, PortKind::Internal),
        Target::Tunnel(tunnel) => ReadyTarget::Tunnel(tunnel.clone()),
        Target::Dummy => ReadyTarget::Dummy,
    }))
}

impl Ready {
    /// Opens the port `name`. Its device stays open wherever the calling thread goes.
    ///
    /// # Errors
    /// What is missing or in the way, by name; the device is as it was before it was made ready.
    pub fn open(
        self,
        name: &str,
        options: &PortOptions,
        allotment: Allotment,
    ) -> Result<Port, PortError> {
        match self.0 {
            ReadyTarget::Device { device, netns } => {
                let port = device.open(name, options, allotment)?;
                Ok(Port { netns, ..port })
            }
            ReadyTarget::Tap { device, kind } => tap::open(name, &device, kind, options, allotment),
            // With sockets of its own, which no other port shares.
            ReadyTarget::Tunnel(tunnel) => Endpoints::default().open_port(
                &tunnel,
                TunnelGroup::default(),
                allotment.mac.unwrap_or_default(),
                allotment.tx,
                false,
            ),
            ReadyTarget::Dummy => {
                let options = dummy::DummyOptions { workers: allotment.tx, ..Default::default() };
                dummy::open(name, options).map(|(port, _far_end)| port)
            }
        }
    }
}

/// Opens `target` as the port `name`: [`make_ready`] and [`Ready::open`] together.
///
/// # Errors
/// What is missing or in the way, by name; nothing was changed then.
pub fn open(
    name: &str,
    target: &Target,
    options: &PortOptions,
    allotment: Allotment,
) -> Result<Port, PortError> {
    make_ready(target, options)?.open(name, options, allotment)
}

/// Makes the port `name` of a port of the same `target` that another process hands over, and which that process
/// uses until this one owns the port ([`handover`]). No queue may be received from before.
///
/// # Errors
/// The device has gone or is another one, or the kernel has no memory left. The port of the other
/// process is as it was.
pub fn take_over(
    name: &str,
    target: &Target,
    options: &PortOptions,
    allotment: Allotment,
    handed: handover::HandedPort,
) -> Result<Port, PortError> {
    match target {
        Target::System { device } => afpacket::take_over(name, device, options, allotment, handed),
        Target::Netns { netns, device } => {
            let take_over = || afpacket::take_over(name, device, options, allotment, handed);
            let (port, inode) = in_netns(netns, take_over)?;
            Ok(Port { netns: Some(inode), ..port })
        }
        Target::Tap { device } => tap::take_over(name, device, PortKind::Tap, allotment, handed),
        Target::Internal { device } => {
            tap::take_over(name, device, PortKind::Internal, allotment, handed)
        }
        Target::Tunnel(_) | Target::Dummy => open(name, target, options, allotment),
    }
}

/// Has a thread in the network namespace called `netns` run `f`. Returns what `f` returns, and
/// the inode of the namespace.
fn in_netns<R: Send>(
    netns: &str,
    f: impl FnOnce() -> Result<R, PortError> + Send,
) -> Result<(R, u64), PortError> {
    let enter = |source: io::Error| match source.kind() {
        ErrorKind::NotFound => privileges::to_enter(netns)
            .err()
            .unwrap_or_else(|| PortError::NoNetns { netns: netns.to_owned() }),
        _ => PortError::os("enter network namespace", netns, "CAP_SYS_ADMIN", source),
    };
    let namespace = netns::Netns::named(netns).map_err(enter)?;
    let inode = namespace.inode().map_err(enter)?;
    Ok((namespace.run(f).map_err(enter)??, inode))
}
