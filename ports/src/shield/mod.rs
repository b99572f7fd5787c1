//! Keeping a port's frames from the host's own network stack.
//!
//! A packet socket only taps a device: the host's stack still receives every frame, answers ARP and
//! ping for any of its addresses and, with forwarding on, routes what the rules of the switch drop.
//! While the device is enslaved to a bridge that is *down*, the bridge takes every frame behind the
//! tap and drops it, and the stack sees none; the socket still hears and sends everything.
//!
//! The bridge is called [`BRIDGE`], is made when the first port needs it and removed with the last,
//! whatever process that belongs to. Nothing but `ip link` shows it, as the master of the device.
//!
//! Somebody may set the bridge up, delete it or take a device out of it. `watch` puts that right, which
//! takes a moment. In that moment a second lock holds: a chain of nftables drops what the device
//! receives (`netlink/nftables`). Where the kernel has no such chains, the ports of the bridge neither
//! learn, nor flood, nor reach each other. Elsewhere they are left as they are, because isolating a
//! thousand ports takes a second.

mod watch;

pub use watch::{
    address_added, check, free_left_behind, link_changed, link_gone, look_after, take_notes,
};

use crate::PortError;
use crate::commons::{Commons, Control};
use crate::netlink::{ChainChange, Link, LinkChange, Netlink, NetlinkError, Reply, Request};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The name of the bridge device that shields ports.
pub const BRIDGE: &str = "switchd-shield";

/// A device of this process that is in the bridge, or is to be put there.
#[derive(Debug)]
pub(crate) struct Member {
    /// The device is in the bridge, and the bridge is in order, as far as this process knows.
    pub(crate) is_in: Arc<AtomicBool>,
}

/// A device that is in the bridge. To be freed with [`Enslaved::free`].
#[derive(Debug)]
pub(crate) struct Enslaved {
    index: u32,
    is_in: Arc<AtomicBool>,
}

impl Enslaved {
    /// Enslaves the device, and sets it up as well if `sets_up`.
    ///
    /// # Errors
    /// The device has another master, or the kernel refuses; nothing changed.
    pub(crate) fn new(commons: &Commons, link: &Link, sets_up: bool) -> Result<Self, PortError> {
        let mut tries = 3;
        loop {
            let (enslaved, bridge) = enter(&mut commons.control(), link.index)?;
            let failed = match link.master {
                Some(master) if master != bridge => {
                    let master = commons.link_at(master);
                    leave(&mut commons.control(), link.index);
                    let master = master?.map_or_else(|| "another device".to_owned(), |m| m.name);
                    return Err(PortError::HasMaster { device: link.name.clone(), master });
                }
                master => {
                    let device = link.name.clone();
                    commons.change_chains(vec![ChainChange::Add { index: link.index, device }]);
                    let change = LinkChange {
                        index: link.index,
                        master: master.is_none().then_some(bridge),
                        up: sets_up.then_some(true),
                    };
                    let isolates = commons.control().isolates;
                    match commons.ask(requests(change, isolates)).swap_remove(0) {
                        Ok(_) => {
                            enslaved.is_in.store(true, Ordering::Relaxed);
                            return Ok(enslaved);
                        }
                        Err(error) => error,
                    }
                }
            };
            // The device may be in the bridge all the same, and not up.
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

    /// Whether the shield holds: the device is in the bridge, which is in order.
    pub(crate) fn holds(&self) -> bool {
        self.is_in.load(Ordering::Relaxed)
    }

    /// The device has another master by now: it is somebody else's.
    pub(crate) fn is_taken(&self, commons: &Commons, link: &Link) -> bool {
        link.master.is_some_and(|master| commons.control().bridge != Some(master))
    }

    /// Frees the device again, as far as it still exists and is not somebody else's, and sets it
    /// down as well if `sets_down`.
    pub(crate) fn free(self, commons: &Commons, sets_down: bool) {
        free_all(commons, vec![Leaving { enslaved: self, sets_down }]);
    }
}

/// A device that is to leave the bridge.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) enslaved: Enslaved,
    /// It is set down as well.
    pub(crate) sets_down: bool,
}

/// Frees devices again, as far as they still exist and are not somebody else's, many with each system call.
pub(crate) fn free_all(commons: &Commons, leaving: Vec<Leaving>) {
    let is_deleted = delete_bridge_of(&mut commons.control(), &leaving);
    let changes = if is_deleted {
        leaving.iter().filter_map(|leaving| leaving.change(false)).collect()
    } else {
        changes_of(commons, &leaving)
    };
    for reply in commons.ask(changes.into_iter().map(Request::Change).collect()) {
        match reply {
            Err(error) if error.errno() != Some(libc::ENODEV) => {
                tracing::warn!(%error, "cannot free a port from {BRIDGE}");
            }
            _ => {}
        }
    }
    let chain = |leaving: &Leaving| ChainChange::Remove { index: leaving.enslaved.index };
    commons.change_chains(leaving.iter().map(chain).collect());
    let mut control = commons.control();
    leaving.iter().for_each(|leaving| leave(&mut control, leaving.enslaved.index));
}

impl Leaving {
    /// What to change of the device, whose master is the bridge if `is_in`; `None` if nothing is.
    fn change(&self, is_in: bool) -> Option<LinkChange> {
        let (index, sets_down) = (self.enslaved.index, self.sets_down);
        let change =
            LinkChange { index, master: is_in.then_some(0), up: sets_down.then_some(false) };
        (is_in || sets_down).then_some(change)
    }
}

/// What to change of devices that leave the bridge.
fn changes_of(commons: &Commons, leaving: &[Leaving]) -> Vec<LinkChange> {
    let bridge = commons.control().bridge;
    let looks = leaving.iter().map(|leaving| Request::Look(leaving.enslaved.index)).collect();
    let change = |(leaving, reply): (&Leaving, _)| match reply {
        Ok(Reply::Link(Some(link))) => {
            leaving.change(link.master.is_some() && link.master == bridge)
        }
        // It has gone.
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(%error, "cannot free a port from {BRIDGE}");
            None
        }
    };
    leaving.iter().zip(commons.ask(looks)).filter_map(change).collect()
}

/// Deletes the bridge, which frees its devices, if all of these are of this process and leave. To
/// free a thousand one by one takes longer, and their bridge would be deleted in any case.
/// Returns whether it was deleted.
fn delete_bridge_of(control: &mut Control, leaving: &[Leaving]) -> bool {
    let indexes: BTreeSet<u32> = leaving.iter().map(|leaving| leaving.enslaved.index).collect();
    let Some(bridge) = control.bridge else { return false };
    if control.members.keys().any(|member| !indexes.contains(member)) {
        return false;
    }
    let Ok(links) = control.netlink.links() else { return false };
    let stays = |link: &Link| link.master == Some(bridge) && !indexes.contains(&link.index);
    if links.iter().any(stays) || control.netlink.delete_link(bridge).is_err() {
        return false;
    }
    control.members.clear();
    control.bridge = None;
    true
}

/// Takes a device that is not to be shielded out of the bridge, where a switch that was killed has left it.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn take_out(commons: &Commons, link: &Link) -> Result<(), PortError> {
    let Some(master) = link.master else { return Ok(()) };
    if commons.link_at(master)?.is_some_and(|master| master.name == BRIDGE) {
        commons.change(LinkChange { index: link.index, master: Some(0), up: None })?;
    }
    Ok(())
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

/// The requests that put a device into the bridge. The first is the change, and its reply says whether the
/// device is in.
fn requests(change: LinkChange, isolates: bool) -> Vec<Request> {
    let isolate = isolates.then_some(Request::Isolate(change.index));
    std::iter::once(Request::Change(change)).chain(isolate).collect()
}

/// Counts one more device of this process in the bridge, which is made if it does not exist, and returns it
/// with the interface number of the bridge. To be undone by [`leave`].
fn enter(control: &mut Control, index: u32) -> Result<(Enslaved, u32), PortError> {
    let bridge = match control.bridge {
        Some(bridge) => bridge,
        None => find_or_make(&mut control.netlink)?,
    };
    control.bridge = Some(bridge);
    let is_in = Arc::<AtomicBool>::default();
    control.members.insert(index, Member { is_in: Arc::clone(&is_in) });
    Ok((Enslaved { index, is_in }, bridge))
}

/// Counts one device less, and removes the bridge if no device is in it.
fn leave(control: &mut Control, index: u32) {
    control.members.remove(&index);
    if control.members.is_empty()
        && let Some(bridge) = control.bridge.take()
    {
        remove_if_empty(&mut control.netlink, bridge);
    }
}

/// The interface number of the bridge, which is down.
fn find_or_make(netlink: &mut Netlink) -> Result<u32, NetlinkError> {
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
    if bridge.kind != "bridge" {
        return Err(NetlinkError::Refused {
            operation: format!(
                "use \"{BRIDGE}\" as the shield of ports, which is a device of another kind (\"{}\"): rename it",
                bridge.kind
            ),
            source: io::Error::from_raw_os_error(libc::EEXIST),
        });
    }
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
