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

mod rx;
mod tx;

use crate::commons::Commons;
use crate::lock::Lock;
use crate::netlink::{Link, Netlink, NetlinkError};
use crate::shield::Enslaved;
use crate::spec::{PortOptions, QdiscMode};
use crate::sys::packet as socket;
use crate::{Guard, Port, PortError, PortKind, PortStatus, Queues, RxMemory, Shield, TxQueue};
use rx::RingRx;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use tx::PacketTx;

/// How many queues to open.
#[derive(Clone, Copy, Debug)]
pub struct QueueCount {
    /// Receiving queues; flows are spread over them.
    pub rx: usize,
    /// Sending queues: one for each worker.
    pub tx: usize,
}

impl Default for QueueCount {
    fn default() -> Self {
        Self { rx: 1, tx: 1 }
    }
}

/// Opens the device called `device`, in the calling thread's network namespace, as the port `name`.
///
/// # Errors
/// What keeps the device from being a port; it is as it was before.
pub fn open(
    name: &str,
    device: &str,
    options: &PortOptions,
    count: QueueCount,
) -> Result<Port, PortError> {
    let commons = Commons::here()?;
    let found = commons.control().netlink.find_link(device)?;
    let link = found.ok_or_else(|| PortError::NoDevice { name: device.to_owned() })?;
    if !link.is_ethernet {
        return Err(PortError::NotEthernet { name: device.to_owned() });
    }
    // First of all whether we may: what follows changes the device.
    drop(socket::socket().map_err(os("open a packet socket for", device))?);
    let lock = Lock::take(device, link.index)?;
    let (shield, enslaved, mut warnings) = shield(&commons, &link, options)?;
    let guard = SystemGuard {
        commons,
        index: link.index,
        device: device.to_owned(),
        was_up: link.is_up,
        qdisc: options.qdisc,
        enslaved,
        _lock: lock,
    };
    let link = {
        let netlink = &mut guard.commons.control().netlink;
        if !link.is_up {
            netlink.set_up(link.index, true)?;
        }
        let link = netlink.link(device)?;
        warnings.extend(address_warning(netlink, &link, shield)?);
        link
    };
    let status = PortStatus::new(link.is_running(), link.mtu, bypasses(options.qdisc, &link.qdisc));

    let mut queues = Queues::default();
    let mut fanout = None;
    let mut rings = Vec::new();
    for _ in 0..count.rx {
        let mut open = || {
            let queue = RingRx::new(socket::socket()?, options, count.rx)?;
            if count.rx > 1 {
                // Until it has joined the others it would get every frame, as they do.
                socket::refuse_all(queue.socket())?;
            }
            // From here on it receives, and only now that it is wholly set up.
            socket::bind(queue.socket(), link.index, true)?;
            socket::set_promiscuous(queue.socket(), link.index)?;
            if count.rx > 1 {
                fanout = Some(socket::join_fanout(queue.socket(), fanout)?);
            }
            io::Result::Ok(queue)
        };
        rings.push(open().map_err(os("receive from", device))?);
    }
    let mut rx_memory = RxMemory::default();
    for queue in rings {
        if count.rx > 1 {
            socket::refuse_none(queue.socket()).map_err(os("receive from", device))?;
        }
        let memory = queue.memory();
        rx_memory = RxMemory {
            queues: rx_memory.queues + memory.queues,
            slots: rx_memory.slots + memory.slots,
            slot_size: memory.slot_size,
            bytes: rx_memory.bytes + memory.bytes,
        };
        queues.rx.push(Box::new(queue));
    }
    for _ in 0..count.tx {
        let open = || {
            let socket = socket::socket()?;
            socket::bind(socket.as_fd(), link.index, false)?;
            PacketTx::new(socket, status.clone())
        };
        let queue: Box<dyn TxQueue> = Box::new(open().map_err(os("send to", device))?);
        queues.tx.push(queue);
    }
    Ok(Port {
        name: name.to_owned(),
        kind: PortKind::System,
        mac: link.mac,
        ifindex: Some(link.index),
        status,
        shield,
        rx_memory,
        warnings,
        queues,
        guard: Some(Box::new(guard)),
    })
}

fn os(operation: &'static str, device: &str) -> impl Fn(io::Error) -> PortError {
    move |source| PortError::os(operation, device, "CAP_NET_RAW", source)
}

/// Enslaves the device, unless the user does not want it or the kernel cannot.
fn shield(
    commons: &Commons,
    link: &Link,
    options: &PortOptions,
) -> Result<(Shield, Option<Enslaved>, Vec<String>), PortError> {
    if !options.shield {
        return Ok((Shield::Exposed, None, Vec::new()));
    }
    match Enslaved::new(commons, link) {
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

fn address_warning(
    netlink: &mut Netlink,
    link: &Link,
    shield: Shield,
) -> Result<Option<String>, PortError> {
    let mut addresses = netlink.addresses(link.index)?;
    addresses.retain(|(ip, _)| match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    });
    let Some((ip, size)) = addresses.first() else { return Ok(None) };
    let consequence = match shield {
        Shield::Shielded => "the host cannot be reached by it while the device is a port",
        _ => "the host answers for it beside the switch",
    };
    Ok(Some(format!("{} has the address {ip}/{size}: {consequence}", link.name)))
}

/// Whether frames go around the queueing discipline called `qdisc`.
fn bypasses(mode: QdiscMode, qdisc: &str) -> bool {
    match mode {
        QdiscMode::Auto => matches!(qdisc, "noqueue" | "noop" | ""),
        QdiscMode::Bypass => true,
        QdiscMode::Honour => false,
    }
}

/// Puts the device back as it was.
struct SystemGuard {
    commons: Arc<Commons>,
    index: u32,
    device: String,
    was_up: bool,
    qdisc: QdiscMode,
    enslaved: Option<Enslaved>,
    _lock: Lock,
}

impl Guard for SystemGuard {
    fn link_changed(&mut self, link: &Link, status: &PortStatus) {
        status.set_bypass_qdisc(bypasses(self.qdisc, &link.qdisc));
        // Whoever takes it out of its shield does not mean to expose it, but to use it elsewhere.
        if self.enslaved.is_some() && link.master.is_none() {
            match Enslaved::new(&self.commons, link) {
                Ok(enslaved) => self.enslaved = Some(enslaved),
                Err(error) => {
                    tracing::debug!(%error, device = self.device, "cannot shield it again");
                }
            }
        }
    }

    fn is_taken(&self, link: &Link) -> bool {
        self.enslaved.as_ref().is_some_and(|enslaved| enslaved.is_taken(link))
    }

    fn set_up(&mut self, up: bool) -> Result<(), PortError> {
        Ok(self.commons.control().netlink.set_up(self.index, up)?)
    }
}

impl Drop for SystemGuard {
    fn drop(&mut self) {
        if let Some(enslaved) = self.enslaved.take() {
            enslaved.free(&self.commons);
        }
        if self.was_up {
            return;
        }
        match self.commons.control().netlink.set_up(self.index, false) {
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
        assert!(bypasses(QdiscMode::Auto, "noqueue"));
        assert!(!bypasses(QdiscMode::Auto, "htb"));
        assert!(!bypasses(QdiscMode::Auto, "fq_codel"));
        assert!(bypasses(QdiscMode::Bypass, "htb"));
        assert!(!bypasses(QdiscMode::Honour, "noqueue"));
    }
}
