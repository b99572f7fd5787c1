//! The ports with devices that flows may name, and what flows depend on of these devices.

use crate::steps::{Exit, Way};
use flowtable::datapath::PortCounters;
use ports::{DeviceHook, PortStatus};
use std::sync::Arc;

/// At which end of its device a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The switch receives what the device receives, and sends by it.
    Device,
    /// The device is a TAP device whose descriptor the switch has: the switch receives what the host sends by
    /// the device, and the host receives there what the switch sends.
    Descriptor,
}

/// A port whose frames the programs see, or to which they can send.
#[derive(Clone, Debug)]
pub struct KernelPort {
    /// At which end of its device it is.
    pub side: Side,
    /// The number of its device, in the namespace of the programs.
    pub ifindex: u32,
    /// Link and MTU of the device.
    pub status: Arc<PortStatus>,
    /// Where the frames are counted that the kernel has forwarded or dropped.
    /// Nobody else writes these counters.
    pub counters: Arc<PortCounters>,
    /// The executor of its device, by which the programs see its frames, and which this crate attaches before
    /// the first flow of the port comes into the kernel; `None` if nothing has to be attached. Or why the
    /// programs do not see its frames.
    pub receives: Result<Option<Arc<DeviceHook>>, String>,
    /// Whether flows may leave by it, or why they may not.
    pub sends: Result<(), String>,
    /// Frames for one host go to the other end of the device's veth pair directly where that can be.
    pub to_peer: bool,
}

/// A port, with the state of its device when flows were last made for it.
#[derive(Debug)]
pub(super) struct KnownPort {
    pub(super) port: KernelPort,
    pub(super) seen: Seen,
}

/// What flows depend on of the device of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    is_up: bool,
    mtu: u32,
    /// It has a queueing discipline that may drop frames.
    has_qdisc: bool,
    /// Somebody listens, and would not see frames that the programs take: those that the host sends, and those
    /// that go to the other end of a veth pair directly.
    is_watched: bool,
    /// The other end of its veth pair is in another network namespace.
    has_far_peer: bool,
}

impl KnownPort {
    /// Whether the programs see the frames of the port.
    ///
    /// # Errors
    /// Why they do not.
    pub(super) fn receives(&self) -> Result<Option<&Arc<DeviceHook>>, String> {
        let executor = self.port.receives.as_ref().map_err(String::clone)?.as_ref();
        if let Some(Err(reason)) = executor.and_then(|executor| executor.attached()) {
            return Err(reason.to_owned());
        }
        let Seen { has_qdisc, is_watched, .. } = Seen::of(&self.port);
        // The programs take what the host sends in front of the queueing discipline and of those who listen.
        match self.port.side {
            Side::Descriptor if has_qdisc => Err(HAS_QDISC.to_owned()),
            Side::Descriptor if is_watched => Err("somebody listens to its device".to_owned()),
            Side::Descriptor | Side::Device => Ok(executor),
        }
    }

    /// The device by which flows may leave.
    ///
    /// # Errors
    /// Why they may not.
    pub(super) fn exit(&self) -> Result<Exit, String> {
        self.port.sends.clone()?;
        let Seen { is_up, mtu, has_qdisc, is_watched, has_far_peer } = Seen::of(&self.port);
        let way = match self.port.side {
            Side::Descriptor => Way::IntoDevice,
            Side::Device if has_far_peer && !is_watched => Way::ToPeer,
            Side::Device => Way::OutOfDevice,
        };
        if !is_up {
            return Err("it is down".to_owned());
        }
        // The programs do not hear what it drops.
        if has_qdisc && way != Way::IntoDevice {
            return Err(HAS_QDISC.to_owned());
        }
        Ok(Exit { ifindex: self.port.ifindex, mtu, way })
    }
}

const HAS_QDISC: &str = "it has a queueing discipline";

impl Seen {
    pub(super) fn of(port: &KernelPort) -> Self {
        let status = &port.status;
        Self {
            is_up: status.is_link_up(),
            mtu: status.mtu(),
            has_qdisc: status.has_chosen_qdisc(),
            is_watched: (port.side == Side::Descriptor || port.to_peer) && status.is_listened(),
            has_far_peer: port.to_peer && status.has_far_peer(),
        }
    }
}
