//! A network device as a port, by packet sockets (packet(7)).
//!
//! Receiving is a ring in shared memory (`rx`), sending is `sendmmsg` out of the same memory
//! (`tx`); each queue has a socket of its own. With every frame travels its virtio-net header, so
//! that checksums and segmentation which the hosts left to the device are passed on, not lost.
//!
//! A packet socket only listens in: the host's own stack still gets every frame. So the device is
//! shielded from it ([`crate::shield`]). It is made promiscuous and set up, and put back as it was
//! when the port is dropped. One switch process at a time has it (`lock`).
//!
//! Frames leave around the device's queueing discipline only as long as there is none to speak of,
//! or the user says so: what somebody configured with `tc` holds for a switch, too.

mod calls;
mod multi_tx;
mod plain;
mod ring_size;
mod rings;
mod rx;
mod tx;

pub use multi_tx::{FloodSender, FloodTarget};
pub use plain::{PlainFlood, PlainSockets};
pub use ring_size::RingSize;
pub use rings::RxOpener;

use crate::commons::Commons;
use crate::egress::Takes;
use crate::flood_socket::FloodSocket;
use crate::handover::{HandedDevice, HandedPort};
use crate::kernel_hooks::{DeviceHook, Direction, NO_HOOKS};
use crate::lock::Lock;
use crate::netlink::{self, Features, Link, NetlinkError, Reply, Request};
use crate::privileges;
use crate::shield::{self, Enslaved, Leaving};
use crate::spec::{PortOptions, QdiscMode};
use crate::sys::packet as socket;
use crate::{
    Guard, KernelHooks, Port, PortError, PortKind, PortStatus, Queues, RxMemory, RxQueue, Shield,
    TxQueue,
};
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tx::PacketTx;

/// What a port may have of its switch.
#[derive(Clone, Debug)]
pub struct Allotment {
    /// Receiving queues; flows are spread over them.
    pub rx: usize,
    /// Sending queues: one for each worker.
    pub tx: usize,
    /// The size of each receive ring, unless the port's options say another one.
    pub ring: RingSize,
    /// The MAC address of a TAP device that the port makes, unless the port's options say another one. `None`:
    /// the kernel chooses one.
    pub mac: Option<[u8; 6]>,
    /// eBPF programs that are to see the frames of the port's device before its receive
    /// queues do; `None`: no such.
    pub hooks: Option<Arc<KernelHooks>>,
}

impl Default for Allotment {
    fn default() -> Self {
        Self { rx: 1, tx: 1, ring: RingSize::default(), mac: None, hooks: None }
    }
}

/// A device that is ready to be a port: shielded, unless the user does not want that, and up. Dropping it puts
/// the device back as it was.
pub(crate) struct Device {
    guard: SystemGuard,
    /// The device before it was made ready.
    link: Link,
    shield: Shield,
    warnings: Vec<String>,
    /// The socket by which the port will send floods. That the process may open packet sockets shows before the
    /// device is changed.
    socket: Arc<FloodSocket>,
    /// The executor that another process has attached.
    hook: Option<OwnedFd>,
}

/// Makes the device called `device`, in the calling thread's network namespace, ready to be a port.
///
/// # Errors
/// What keeps the device from being a port; it is as it was before.
pub(crate) fn make_ready(device: &str, options: &PortOptions) -> Result<Device, PortError> {
    let commons = Commons::here()?;
    let link = find(&commons, device)?;
    let socket = commons.flood_socket(0).map_err(os("open a packet socket for", device))?;
    let lock = Lock::take(commons.inode(), device, link.index)?;
    let (shield, enslaved, warnings) = shield_device(&commons, &link, options, !link.is_up)?;
    let guard = SystemGuard {
        commons,
        index: link.index,
        device: device.to_owned(),
        was_up: link.is_up,
        puts_back: true,
        mode: options.qdisc,
        qdisc: link.qdisc.clone(),
        is_listened: false,
        enslaved,
        _lock: lock,
    };
    if !link.is_up && shield == Shield::Exposed {
        let operation = || format!("set \"{device}\" up");
        guard.commons.set_up(link.index, true).map_err(|e| e.renamed(operation))?;
    }
    Ok(Device { guard, link, shield, warnings, socket, hook: None })
}

/// Makes the port `name` of the device called `device`, in the calling thread's network namespace, of what
/// another process hands over. The device is not changed.
///
/// # Errors
/// The device is not the one that is handed over, or the kernel has no memory left.
pub(crate) fn take_over(
    name: &str,
    device: &str,
    options: &PortOptions,
    allotment: Allotment,
    handed: HandedPort,
) -> Result<Port, PortError> {
    let commons = Commons::here()?;
    let link = find(&commons, device)?;
    if link.index != handed.device.index {
        return Err(PortError::NoDevice { device: device.to_owned() });
    }
    let lock = Lock::promised(commons.inode(), link.index);
    let (shield, enslaved, _) = shield_device(&commons, &link, options, false)?;
    let guard = SystemGuard {
        commons,
        index: link.index,
        device: device.to_owned(),
        was_up: !handed.device.sets_down,
        puts_back: false,
        mode: options.qdisc,
        qdisc: link.qdisc.clone(),
        is_listened: false,
        enslaved,
        _lock: lock,
    };
    let HandedPort { queues, hook, .. } = handed;
    let socket = guard.commons.flood_socket(0).map_err(os("send to", device))?;
    let device = Device { guard, link, shield, warnings: Vec::new(), socket, hook };
    let port = device.into_port(name, options, allotment, |opener| opener.take_over(queues))?;
    Ok(Port { warnings: Vec::new(), ..port })
}

fn find(commons: &Arc<Commons>, device: &str) -> Result<Link, PortError> {
    let Some(link) = commons.find_link(device)? else {
        privileges::to_open(commons, device)?;
        return Err(PortError::NoDevice { device: device.to_owned() });
    };
    match link.is_ethernet {
        true => Ok(link),
        false => Err(PortError::NotEthernet { device: device.to_owned() }),
    }
}

/// Receive queues, and the memory of them all.
type Receiving = (Vec<Box<dyn RxQueue>>, RxMemory);

impl Device {
    /// Opens the queues of the device, which becomes the port `name`.
    ///
    /// # Errors
    /// The device has gone, or the kernel has no memory left; the device is as it was before it was made ready.
    pub(crate) fn open(
        self,
        name: &str,
        options: &PortOptions,
        allotment: Allotment,
    ) -> Result<Port, PortError> {
        let (commons, device) = (Arc::clone(&self.guard.commons), self.guard.device.clone());
        let ring = allotment.ring;
        let open = || {
            self.into_port(name, options, allotment, |opener| {
                let (mut rx, memory) = opener.open_here(ring)?;
                for queue in &mut rx {
                    queue.set_open(true)?;
                }
                Ok((rx, memory))
            })
        };
        commons.run(open).map_err(os("enter the network namespace of", &device))?
    }

    /// Opens the queues. `receive` opens those to receive.
    fn into_port(
        self,
        name: &str,
        options: &PortOptions,
        allotment: Allotment,
        receive: impl FnOnce(&RxOpener) -> Result<Receiving, PortError>,
    ) -> Result<Port, PortError> {
        let Self { guard, link, shield, mut warnings, socket: asking, hook } = self;
        let kernel_hook = match &allotment.hooks {
            None => Err(NO_HOOKS.to_owned()),
            Some(_) if shield != Shield::Shielded => {
                Err("the host's own stack receives its frames, too".to_owned())
            }
            Some(hooks) => Ok(DeviceHook::new(hooks, Direction::Ingress, &link, hook)),
        };
        let device = &*guard.device;
        let (link, addresses) = state(&guard.commons, &link)?;
        warnings.extend(address_warning(&link, addresses, shield));
        let bypass = bypasses(options.qdisc, &link.qdisc, false);
        let status = PortStatus::new(link.is_running(), link.mtu, bypass);
        status.set_qdisc(&link.qdisc);
        status.set_far_peer(link.has_far_peer);
        // Not the routing socket, which is busy with the requests of other ports.
        status.set_takes(takes(netlink::features(asking.as_fd(), &link.name), &link));

        let flood_program = match (&allotment.hooks, options.qdisc) {
            // The program goes through the queueing discipline.
            (_, QdiscMode::Bypass) => None,
            (hooks, _) => hooks.as_ref().map(|hooks| Arc::clone(&hooks.flood)),
        };
        let opener = RxOpener {
            commons: Arc::clone(&guard.commons),
            device: device.to_owned(),
            index: link.index,
            options: *options,
            queues: allotment.rx,
            hooks: allotment.hooks.filter(|_| kernel_hook.is_ok()),
        };
        let (rx, rx_memory) = receive(&opener)?;
        let mut queues = Queues { rx, tx: Vec::new() };
        for place in 0..allotment.tx {
            let open = || {
                let socket = socket::socket()?;
                socket::bind(socket.as_fd(), link.index, false)?;
                let flood = FloodTarget {
                    socket: guard.commons.flood_socket(place)?,
                    program: flood_program.clone(),
                    ifindex: link.index,
                    status: status.clone(),
                };
                PacketTx::new(socket, flood)
            };
            let queue: Box<dyn TxQueue> = Box::new(open().map_err(os("send to", device))?);
            queues.tx.push(queue);
        }
        Ok(Port {
            name: name.to_owned(),
            kind: PortKind::System,
            mac: link.mac,
            ifindex: Some(link.index),
            netns: None,
            status,
            shield,
            kernel_hook,
            rx_memory,
            rx_opener: Some(Arc::new(opener)),
            warnings,
            queues,
            guard: Some(Box::new(guard)),
            membership: None,
        })
    }
}

fn os(operation: &'static str, device: &str) -> impl Fn(io::Error) -> PortError {
    move |source| PortError::os(operation, device, "CAP_NET_RAW", source)
}

/// Enslaves the device, unless the user does not want that or the kernel cannot do it, and then sets it up as
/// well if `sets_up`.
fn shield_device(
    commons: &Commons,
    link: &Link,
    options: &PortOptions,
    sets_up: bool,
) -> Result<(Shield, Option<Enslaved>, Vec<String>), PortError> {
    if !options.shield {
        shield::take_out(commons, link)?;
        return Ok((Shield::Exposed, None, Vec::new()));
    }
    match Enslaved::new(commons, link, sets_up) {
        Ok(enslaved) => Ok((Shield::Shielded, Some(enslaved), Vec::new())),
        Err(PortError::Netlink(error)) if is_impossible(&error) => {
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            let warning = format!(
                "{}: the host's own stack also receives its frames, because the kernel cannot \
                 shield it ({reason})",
                link.name
            );
            Ok((Shield::Exposed, None, vec![warning]))
        }
        Err(error) => Err(error),
    }
}

/// The kernel has no bridge devices, or the device cannot be in one.
fn is_impossible(error: &NetlinkError) -> bool {
    // A bridge has room for 1,023 devices (EXFULL).
    let errnos = [libc::EOPNOTSUPP, libc::EINVAL, libc::ELOOP, libc::EXFULL];
    error.errno().is_some_and(|errno| errnos.contains(&errno))
}

/// The device `link` as it is now, and its addresses with the sizes of their prefixes in bits.
fn state(commons: &Commons, link: &Link) -> Result<(Link, Vec<(IpAddr, u8)>), NetlinkError> {
    let requests = vec![Request::Find(link.name.clone()), Request::Addresses(link.index)];
    let mut replies = commons.ask(requests).into_iter();
    match (replies.next().transpose()?, replies.next().transpose()?) {
        (Some(Reply::Link(now)), Some(Reply::Addresses(addresses))) => {
            let now = now.ok_or_else(|| NetlinkError::NoDevice { name: link.name.clone() })?;
            Ok((now, addresses))
        }
        other => unreachable!("not the answers to these questions: {other:?}"),
    }
}

/// What the user should know about the addresses of a device that is a port; `None` if it has none but those
/// that every device has.
fn address_warning(
    link: &Link,
    mut addresses: Vec<(IpAddr, u8)>,
    shield: Shield,
) -> Option<String> {
    addresses.retain(|(ip, _)| match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    });
    let (ip, size) = addresses.first()?;
    let consequence = match shield {
        Shield::Shielded => "the host cannot be reached by it while the device is a port",
        _ => "the host answers for it beside the switch",
    };
    Some(format!("{} has the address {ip}/{size}: {consequence}", link.name))
}

/// Whether frames go around the queueing discipline called `qdisc`, while somebody listens
/// to the device or not.
fn bypasses(mode: QdiscMode, qdisc: &str, is_listened: bool) -> bool {
    match mode {
        QdiscMode::Auto => !is_listened && matches!(qdisc, "noqueue" | "noop" | ""),
        QdiscMode::Bypass => true,
        QdiscMode::Honour => false,
    }
}

/// The work on unfinished frames that a device with these features takes on.
fn takes(features: Result<Features, NetlinkError>, link: &Link) -> Takes {
    match features {
        Ok(features) => Takes::of_device(&features, link.gso_max_size),
        Err(error) => {
            // The device was renamed or has gone, of which another event tells. Frames that it refuses are cut.
            tracing::debug!(%error, "the features of a device are not known");
            Takes::ALL
        }
    }
}

/// Puts the device back as it was.
struct SystemGuard {
    commons: Arc<Commons>,
    index: u32,
    device: String,
    was_up: bool,
    /// Dropping this puts the device back: not while another process, which has handed the device over, uses
    /// the device still, nor after [`Guard::leave_shield`].
    puts_back: bool,
    mode: QdiscMode,
    /// The device's queueing discipline when it was last described.
    qdisc: String,
    /// Whether somebody listens to the device beside the switch.
    is_listened: bool,
    enslaved: Option<Enslaved>,
    _lock: Lock,
}

impl SystemGuard {
    fn features(&self, link: &Link) -> Result<Features, NetlinkError> {
        self.commons.control().netlink.features(&link.name)
    }
}

impl Guard for SystemGuard {
    fn link_changed(&mut self, link: &Link, status: &PortStatus) {
        self.qdisc.clone_from(&link.qdisc);
        status.set_qdisc(&link.qdisc);
        status.set_bypass_qdisc(bypasses(self.mode, &self.qdisc, self.is_listened));
        status.set_takes(takes(self.features(link), link));
        // Somebody took the device out of the shield. Only `del-port` gives it back to the host.
        if self.enslaved.is_some() && link.master.is_none() {
            self.commons.control().put_back();
        }
    }

    fn set_listened(&mut self, listened: bool, status: &PortStatus) {
        self.is_listened = listened;
        status.set_bypass_qdisc(bypasses(self.mode, &self.qdisc, self.is_listened));
    }

    fn is_taken(&self, link: &Link) -> bool {
        self.enslaved.as_ref().is_some_and(|enslaved| enslaved.is_taken(&self.commons, link))
    }

    fn shield_holds(&self) -> bool {
        self.enslaved.as_ref().is_none_or(Enslaved::holds)
    }

    fn set_up(&mut self, up: bool) -> Result<(), PortError> {
        Ok(self.commons.set_up(self.index, up)?)
    }

    fn hand_over(&self, mac: [u8; 6]) -> HandedDevice {
        HandedDevice { index: self.index, mac, sets_down: !self.was_up, mac_before: None }
    }

    fn own(&mut self) {
        self.puts_back = true;
    }

    fn leave_shield(&mut self) -> Option<(Arc<Commons>, Leaving)> {
        let enslaved = self.enslaved.take_if(|_| self.puts_back)?;
        self.puts_back = false;
        Some((Arc::clone(&self.commons), Leaving { enslaved, sets_down: !self.was_up }))
    }
}

impl Drop for SystemGuard {
    fn drop(&mut self) {
        if !self.puts_back {
            return;
        }
        if let Some(enslaved) = self.enslaved.take() {
            return enslaved.free(&self.commons, !self.was_up);
        }
        if self.was_up {
            return;
        }
        match self.commons.set_up(self.index, false) {
            Err(error) if error.errno() != Some(libc::ENODEV) => {
                tracing::warn!(%error, device = self.device, "cannot set the device down again");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_device_without_queueing_is_bypassed_by_itself() {
        assert!(bypasses(QdiscMode::Auto, "noqueue", false));
        assert!(!bypasses(QdiscMode::Auto, "htb", false));
        assert!(!bypasses(QdiscMode::Auto, "fq_codel", false));
        assert!(bypasses(QdiscMode::Bypass, "htb", false));
        assert!(!bypasses(QdiscMode::Honour, "noqueue", false));
    }

    #[test]
    fn a_device_that_somebody_listens_to_is_not_bypassed_by_itself() {
        assert!(!bypasses(QdiscMode::Auto, "noqueue", true));
        assert!(bypasses(QdiscMode::Bypass, "noqueue", true));
    }
}
