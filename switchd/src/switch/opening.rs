//! The device of a port is opened in two steps, so that many ports start fast.
//!
//! First the device is made ready: it is shielded from the host's stack, and set up. Then its packet sockets
//! are opened. For each change of a device the kernel looks at every packet socket of the namespace, so that
//! whoever opens a thousand ports makes all of them ready before the first socket is there.

use super::Switch;
use super::handover::Taken;
use super::stable_mac;
use crate::desired;
use ::ports::handover::HandedPort;
use ::ports::spec::Target;
use ::ports::tunnel::TunnelTarget;
use ::ports::{Allotment, Port, PortError, Ready, RingSize};
use flowtable::policy::BridgeId;

/// A port whose device is ready to be opened.
pub(super) enum ReadyPort {
    /// This program opens the device.
    Device(Ready),
    /// Another program hands the device over.
    Handed(Target, HandedPort),
    /// The port is a tunnel. `shares_port`: another program, which does not hand its sockets
    /// over, may have them open.
    Tunnel { tunnel: Box<TunnelTarget>, shares_port: bool },
}

impl Switch {
    /// Makes the device of a port of a bridge ready to be opened.
    ///
    /// # Errors
    /// The device cannot be a port, or the other program has none; nothing was changed then.
    pub(super) fn make_ready(
        &self,
        bridge: BridgeId,
        spec: &desired::Port,
    ) -> Result<ReadyPort, PortError> {
        let no_device = || PortError::NoDevice { device: spec.name.clone() };
        let target = spec.kind.target().ok_or_else(no_device)?;
        let bridge = self.policy.bridge(bridge).name();
        match (self.taken.take(&bridge, &spec.name), target) {
            (taken, Target::Tunnel(tunnel)) => {
                let shares_port = !matches!(taken, Taken::Not);
                Ok(ReadyPort::Tunnel { tunnel: tunnel.clone(), shares_port })
            }
            // The other program has nothing of a port in memory that could be handed over.
            (Taken::Not, _) | (Taken::Nothing, Target::Dummy) => {
                ::ports::make_ready(target, &spec.options).map(ReadyPort::Device)
            }
            (Taken::Port(handed), _) => Ok(ReadyPort::Handed(target.clone(), handed)),
            // The other program has no device for it.
            (Taken::Nothing, _) => Err(no_device()),
        }
    }

    /// Opens the device of a port of a bridge, with receive rings of this size unless
    /// its options say another one.
    ///
    /// # Errors
    /// The device has gone, or the kernel has no memory left. The device is as it was before it was made ready.
    pub(super) fn open(
        &self,
        bridge: BridgeId,
        spec: &desired::Port,
        ring: RingSize,
        ready: ReadyPort,
    ) -> Result<Port, PortError> {
        let target = spec.kind.target();
        let makes_device = target.is_some_and(|target| target.is_tap() || target.is_tunnel());
        let name = self.policy.bridge(bridge).name();
        let allotment = Allotment {
            rx: self.rx_queues(spec),
            tx: self.workers.len(),
            ring,
            mac: makes_device.then(|| stable_mac::of_port(&name, &spec.name)),
            hooks: target.and_then(|target| self.kernel.hooks_for(target, &spec.options)),
        };
        match ready {
            ReadyPort::Device(ready) => ready.open(&spec.name, &spec.options, allotment),
            ReadyPort::Handed(target, handed) => {
                ::ports::take_over(&spec.name, &target, &spec.options, allotment, handed)
            }
            ReadyPort::Tunnel { tunnel, shares_port } => {
                let (group, mac) = (bridge.get(), allotment.mac.unwrap_or_default());
                self.endpoints.open_port(&tunnel, group, mac, allotment.tx, shares_port)
            }
        }
    }
}
