//! Keeping a port's frames from the host's own network stack.
//!
//! A packet socket only taps a device: the host's stack still receives every frame, answers ARP and
//! ping for any of its addresses and, with forwarding on, routes what the rules of the switch drop.
//! While the device is enslaved to a bridge that is *down*, the bridge takes every frame behind the
//! tap and drops it, and the stack sees none; the socket still hears and sends everything.
//!
//! The bridge is called [`BRIDGE`], is made when the first port needs it and removed with the last,
//! whatever process that belongs to. After a crash the device is still in it, and is taken over.
//! Nothing but `ip link` shows it, as the master of the device.

use crate::PortError;
use crate::commons::{Commons, Control};
use crate::netlink::{Link, Netlink};

/// The name of the bridge device that shields ports.
pub const BRIDGE: &str = "switchd-shield";

/// A device that is in the bridge. To be freed with [`Enslaved::free`].
#[derive(Debug)]
pub(crate) struct Enslaved {
    index: u32,
    bridge: u32,
}

impl Enslaved {
    /// Enslaves the device.
    ///
    /// # Errors
    /// The device has another master, or the kernel refuses; nothing changed.
    pub(crate) fn new(commons: &Commons, link: &Link) -> Result<Self, PortError> {
        let control = &mut *commons.control();
        let mut tries = 3;
        loop {
            let netlink = &mut control.netlink;
            let bridge = find_or_make(netlink)?;
            match link.master {
                Some(master) if master == bridge => {}
                Some(master) => {
                    let master = netlink.find_link_by_index(master)?;
                    let master = master.map_or_else(|| "another device".to_owned(), |m| m.name);
                    remove_if_empty(control, bridge);
                    return Err(PortError::HasMaster { name: link.name.clone(), master });
                }
                None => match netlink.set_master(link.index, Some(bridge)) {
                    Ok(()) => {}
                    // Another process has just removed the bridge with its last port.
                    Err(e) if e.errno() == Some(libc::ENODEV) && tries > 1 => {
                        tries -= 1;
                        continue;
                    }
                    Err(e) => {
                        remove_if_empty(control, bridge);
                        return Err(e.into());
                    }
                },
            }
            control.shielded += 1;
            return Ok(Self { index: link.index, bridge });
        }
    }

    /// The device has another master by now: it is somebody else's.
    pub(crate) fn is_taken(&self, link: &Link) -> bool {
        link.master.is_some_and(|master| master != self.bridge)
    }

    /// Frees the device again, as far as it still exists and is not somebody else's.
    pub(crate) fn free(self, commons: &Commons) {
        let control = &mut *commons.control();
        control.shielded -= 1;
        let netlink = &mut control.netlink;
        let is_ours = |link: Option<Link>| link.is_some_and(|link| !self.is_taken(&link));
        let freed = match netlink.find_link_by_index(self.index).map(is_ours) {
            Ok(true) => netlink.set_master(self.index, None),
            other => other.map(drop),
        };
        match freed {
            Err(error) if error.errno() != Some(libc::ENODEV) => {
                tracing::warn!(%error, "cannot free a port from {BRIDGE}");
            }
            _ => {}
        }
        remove_if_empty(control, self.bridge);
    }
}

/// The interface number of the bridge, which is down.
fn find_or_make(netlink: &mut Netlink) -> Result<u32, PortError> {
    let bridge = match netlink.find_link(BRIDGE)? {
        Some(bridge) => bridge,
        None => {
            match netlink.create_bridge(BRIDGE) {
                // Another process was faster.
                Err(e) if e.errno() == Some(libc::EEXIST) => {}
                made => made?,
            }
            netlink.link(BRIDGE)?
        }
    };
    if bridge.is_up {
        netlink.set_up(bridge.index, false)?;
    }
    Ok(bridge.index)
}

/// Removes the bridge unless there are devices in it, of this process or of another one.
fn remove_if_empty(control: &mut Control, bridge: u32) {
    // The kernel need not be asked, which takes milliseconds when there are a thousand devices.
    if control.shielded > 0 {
        return;
    }
    let netlink = &mut control.netlink;
    let Ok(links) = netlink.links() else { return };
    if links.iter().any(|link| link.master == Some(bridge)) {
        return;
    }
    match netlink.delete_link(bridge) {
        Err(error) if error.errno() != Some(libc::ENODEV) => {
            tracing::warn!(%error, "cannot remove {BRIDGE}");
        }
        _ => {}
    }
}
