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
use crate::netlink::{Link, LinkChange, Netlink, NetlinkError};

/// The name of the bridge device that shields ports.
pub const BRIDGE: &str = "switchd-shield";

/// A device that is in the bridge. To be freed with [`Enslaved::free`].
#[derive(Debug)]
pub(crate) struct Enslaved {
    index: u32,
    bridge: u32,
}

impl Enslaved {
    /// Enslaves the device, and sets it up as well if `sets_up`.
    ///
    /// # Errors
    /// The device has another master, or the kernel refuses; nothing changed.
    pub(crate) fn new(commons: &Commons, link: &Link, sets_up: bool) -> Result<Self, PortError> {
        let mut tries = 3;
        loop {
            let bridge = enter(&mut commons.control())?;
            let failed = match link.master {
                Some(master) if master != bridge => {
                    let master = commons.link_at(master);
                    leave(&mut commons.control(), bridge);
                    let master = master?.map_or_else(|| "another device".to_owned(), |m| m.name);
                    return Err(PortError::HasMaster { device: link.name.clone(), master });
                }
                master => {
                    let change = LinkChange {
                        index: link.index,
                        master: master.is_none().then_some(bridge),
                        up: sets_up.then_some(true),
                    };
                    match commons.change(change) {
                        Ok(()) => return Ok(Self { index: link.index, bridge }),
                        Err(error) => error,
                    }
                }
            };
            // The device may be in the bridge all the same, and not up.
            let enslaved = Self { index: link.index, bridge };
            if failed.errno() == Some(libc::ENODEV) {
                commons.control().bridge = None;
            }
            enslaved.free(commons, false);
            tries -= 1;
            // Another process may have removed the bridge with its last port.
            if failed.errno() != Some(libc::ENODEV) || tries == 0 {
                return Err(refusal(commons, link, failed));
            }
        }
    }

    /// The device has another master by now: it is somebody else's.
    pub(crate) fn is_taken(&self, link: &Link) -> bool {
        link.master.is_some_and(|master| master != self.bridge)
    }

    /// Frees the device again, as far as it still exists and is not somebody else's, and sets it down as well
    /// if `sets_down`.
    pub(crate) fn free(self, commons: &Commons, sets_down: bool) {
        let freed = commons.link_at(self.index).and_then(|link| {
            let Some(link) = link else { return Ok(()) };
            let is_ours = link.master == Some(self.bridge);
            if !is_ours && !sets_down {
                return Ok(());
            }
            commons.change(LinkChange {
                index: self.index,
                master: is_ours.then_some(0),
                up: sets_down.then_some(false),
            })
        });
        match freed {
            Err(error) if error.errno() != Some(libc::ENODEV) => {
                tracing::warn!(%error, "cannot free a port from {BRIDGE}");
            }
            _ => {}
        }
        leave(&mut commons.control(), self.bridge);
    }

    /// Forgets a device that somebody has taken out of the bridge. The device is not touched.
    pub(crate) fn forget(self, commons: &Commons) {
        leave(&mut commons.control(), self.bridge);
    }
}

/// What a user is told when the kernel does not let the device into the bridge.
fn refusal(commons: &Commons, link: &Link, error: NetlinkError) -> PortError {
    match error.errno() {
        // Only one master or one device that is built on it can take the frames of a device.
        Some(libc::EBUSY) => PortError::HasUser {
            device: link.name.clone(),
            user: user_of(&mut commons.control(), link.index),
        },
        _ => error.renamed(|| format!("put \"{}\" into \"{BRIDGE}\"", link.name)).into(),
    }
}

/// The device that takes the frames of the device with this interface number, in words.
fn user_of(control: &mut Control, index: u32) -> String {
    const KINDS: [&str; 5] = ["macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"];
    let takes_frames = |link: &&Link| link.lower == Some(index) && KINDS.contains(&&*link.kind);
    let links = control.netlink.links().unwrap_or_default();
    match links.iter().find(takes_frames) {
        Some(link) => format!("{} \"{}\"", link.kind, link.name),
        None => "another device (such as a macvlan, here or in another namespace)".to_owned(),
    }
}

/// Counts one more device of this process in the bridge, which is made if it does not exist, and returns the
/// interface number of the bridge. To be undone by [`leave`].
fn enter(control: &mut Control) -> Result<u32, PortError> {
    let bridge = match control.bridge {
        Some(bridge) => bridge,
        None => find_or_make(&mut control.netlink)?,
    };
    control.bridge = Some(bridge);
    control.shielded += 1;
    Ok(bridge)
}

/// Counts one device less, and removes the bridge if no device is in it.
fn leave(control: &mut Control, bridge: u32) {
    control.shielded -= 1;
    if control.shielded == 0 {
        control.bridge = None;
        remove_if_empty(&mut control.netlink, bridge);
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

/// Removes the bridge unless there are devices in it, which belong to another process then. Lists all devices
/// of the namespace, which takes milliseconds when there are a thousand.
fn remove_if_empty(netlink: &mut Netlink, bridge: u32) {
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
