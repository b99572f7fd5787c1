//! Puts right what somebody did to the shield.
//!
//! The monitor of the switch tells what it hears of devices and addresses. Whatever is not as it should be is
//! put right before the call returns, and noted for the log ([`take_notes`]). What cannot be put right leaves
//! the ports exposed, as [`crate::Port::shield`] tells, and is tried again by [`look_after`].

use super::{BRIDGE, find_or_make, requests};
use crate::commons::{Commons, Control};
use crate::lock::Lock;
use crate::netlink::{Link, LinkChange, Netlink, NetlinkError, Reply, Request};
use std::sync::atomic::Ordering;

/// Hears that a device of the namespace with this inode is new or has changed. Puts the bridge right if the
/// device is the bridge, and takes the device out of the bridge if it is there and no switch has it.
pub fn link_changed(namespace: u64, link: &Link) {
    with_bridge(namespace, |control, bridge| {
        if link.index == bridge {
            control.put_right();
        } else if link.master == Some(bridge) && !control.members.contains_key(&link.index) {
            control.take_out_stranger(namespace, link);
        }
    });
}

/// Hears that the device with interface number `index`, of the namespace with this inode, is gone.
pub fn link_gone(namespace: u64, index: u32) {
    put_right_if_bridge(namespace, index);
}

/// Hears that the device with interface number `index`, of the namespace with this inode, got an address.
pub fn address_added(namespace: u64, index: u32) {
    put_right_if_bridge(namespace, index);
}

/// Compares the shield of the namespace with this inode with what it should be, because events were lost.
pub fn check(namespace: u64) {
    with_bridge(namespace, |control, _| control.put_back());
}

/// Tries again what could not be put right in the namespace with this inode.
pub fn look_after(namespace: u64) {
    with_bridge(namespace, |control, _| {
        if control.is_out_of_order {
            control.put_right();
        }
    });
}

fn put_right_if_bridge(namespace: u64, index: u32) {
    with_bridge(namespace, |control, bridge| {
        if bridge == index {
            control.put_right();
        }
    });
}

/// Calls `f` with the interface number of the bridge, if this process has devices in the shield of the
/// namespace with this inode.
fn with_bridge(namespace: u64, f: impl FnOnce(&mut Control, u32)) {
    let Some(commons) = Commons::find(namespace) else { return };
    let mut control = commons.control();
    if let Some(bridge) = control.bridge {
        f(&mut control, bridge);
    }
}

/// What was put right in the namespace with this inode since the last call, and what could not
/// be: lines for the log.
pub fn take_notes(namespace: u64) -> Vec<String> {
    Commons::find(namespace)
        .map(|commons| std::mem::take(&mut commons.control().notes))
        .unwrap_or_default()
}

/// Frees the devices in the shield that no living process has, and returns their names: a switch that was
/// killed has left them. `netlink` is a socket in the namespace with this inode.
///
/// # Errors
/// The kernel refused to list or free devices.
pub fn free_left_behind(
    netlink: &mut Netlink,
    namespace: u64,
) -> Result<Vec<String>, NetlinkError> {
    let Some(bridge) = netlink.find_link(BRIDGE)?.filter(|link| link.kind == "bridge") else {
        return Ok(Vec::new());
    };
    let mut freed = Vec::new();
    let mut is_empty = true;
    for link in netlink.links()?.iter().filter(|link| link.master == Some(bridge.index)) {
        match free_stranger(netlink, namespace, link)? {
            true => freed.push(link.name.clone()),
            false => is_empty = false,
        }
    }
    // A port of this process may be about to enter.
    let is_used = Commons::find(namespace).is_some_and(|c| !c.control().members.is_empty());
    if is_empty && !is_used {
        netlink.delete_link(bridge.index)?;
    }
    Ok(freed)
}

/// Frees a device from the bridge unless a switch has it. Returns whether it was freed.
fn free_stranger(netlink: &mut Netlink, namespace: u64, link: &Link) -> Result<bool, NetlinkError> {
    // A switch takes the lock before it puts a device into the bridge.
    let Ok(_lock) = Lock::take(namespace, &link.name, link.index) else {
        return Ok(false);
    };
    match netlink.set_master(link.index, None) {
        Err(error) if error.errno() != Some(libc::ENODEV) => Err(error),
        _ => Ok(true),
    }
}

impl Control {
    /// Looks at the bridge as the kernel has it and makes it as it should be. If it had to be made anew, or a
    /// device was left out of it, the devices of this process are put back into it.
    pub(crate) fn put_right(&mut self) {
        let was_in_order = !self.is_out_of_order;
        let result = match self.put_bridge_right() {
            Ok(Bridge::Kept(_)) if was_in_order => return,
            Ok(bridge) => self.put_members_right(bridge),
            Err(error) => {
                self.members.values().for_each(|m| m.is_in.store(false, Ordering::Relaxed));
                Err(error)
            }
        };
        self.is_out_of_order = result.is_err();
        if let Err(error) = result {
            self.note(format!("{BRIDGE} is not in order, and exposes ports: {}", told(&error)));
        }
    }

    /// As [`Control::put_right`], and looks at the devices of this process even if the bridge is in order:
    /// somebody may have taken one out of the bridge.
    pub(crate) fn put_back(&mut self) {
        self.is_out_of_order = true;
        self.put_right();
    }

    /// Takes a device that is no port of this process out of the bridge, unless another switch has it.
    fn take_out_stranger(&mut self, namespace: u64, link: &Link) {
        match free_stranger(&mut self.netlink, namespace, link) {
            Ok(true) => self.note(format!(
                "\"{}\" is in {BRIDGE}, which forwards nothing, and no switch has it: taken out",
                link.name
            )),
            Ok(false) => {}
            Err(error) => {
                self.note(format!("\"{}\" is in {BRIDGE}: {}", link.name, told(&error)));
            }
        }
    }

    fn put_bridge_right(&mut self) -> Result<Bridge, NetlinkError> {
        let found = match self.bridge {
            Some(index) => self.netlink.find_link_by_index(index)?,
            None => None,
        };
        let Some(bridge) = found else {
            let index = find_or_make(&mut self.netlink)?;
            self.bridge = Some(index);
            self.note(format!("{BRIDGE} was deleted: made again"));
            return Ok(Bridge::Made(index));
        };
        let index = bridge.index;
        if bridge.is_up {
            self.netlink.set_up(index, false)?;
            self.note(format!("{BRIDGE} was set up, which would bridge ports: set down again"));
        }
        if bridge.master.is_some() {
            self.netlink.set_master(index, None)?;
            self.note(format!("{BRIDGE} was enslaved: freed again"));
        }
        if bridge.name != BRIDGE {
            self.netlink.rename(index, BRIDGE)?;
            self.note(format!("{BRIDGE} was renamed \"{}\": renamed back", bridge.name));
        }
        for (ip, size) in self.netlink.addresses(index)? {
            self.netlink.remove_address(index, ip, size)?;
            self.note(format!("{BRIDGE} was given the address {ip}/{size}: removed again"));
        }
        Ok(Bridge::Kept(index))
    }

    /// Puts devices of this process that have no master back into the bridge, many with each system call.
    ///
    /// # Errors
    /// That of the first device that the kernel refused; all others were tried.
    fn put_members_right(&mut self, bridge: Bridge) -> Result<(), NetlinkError> {
        let (bridge, is_new) = match bridge {
            Bridge::Kept(index) => (index, false),
            Bridge::Made(index) => (index, true),
        };
        let indices: Vec<u32> = self.members.keys().copied().collect();
        let looks: Vec<Request> = indices.iter().copied().map(Request::Look).collect();
        let mut outside = Vec::new();
        for reply in self.netlink.ask_all(&looks) {
            // A device that is gone, or has another master, is lost to its port. The monitor sees to that.
            let Ok(Reply::Link(Some(link))) = reply else { continue };
            match link.master {
                None => outside.push(link),
                Some(master) => self.set_in(link.index, master == bridge),
            }
        }
        let isolates = self.isolates;
        let enter = |link: &Link| {
            requests(LinkChange { index: link.index, master: Some(bridge), up: None }, isolates)
        };
        let all: Vec<Request> = outside.iter().flat_map(enter).collect();
        let replies = self.netlink.ask_all(&all);
        let mut result = Ok(());
        for (link, reply) in
            outside.iter().zip(replies.into_iter().step_by(1 + usize::from(isolates)))
        {
            self.set_in(link.index, reply.is_ok());
            match reply {
                Ok(_) if is_new => {}
                Ok(_) => self.note(format!(
                    "\"{}\" was taken out of {BRIDGE}: put back; \"ofctl del-port\" gives it back to the host",
                    link.name
                )),
                Err(error) if error.errno() == Some(libc::ENODEV) => {}
                Err(error) => {
                    let error = error.renamed(|| format!("put \"{}\" into it", link.name));
                    result = result.and(Err(error));
                }
            }
        }
        result
    }

    fn set_in(&self, index: u32, is_in: bool) {
        if let Some(member) = self.members.get(&index) {
            member.is_in.store(is_in, Ordering::Relaxed);
        }
    }

    /// Keeps a line for the log. The lines of a thousand ports are alike: the last of many are left out.
    fn note(&mut self, line: String) {
        const MOST: usize = 32;
        match self.notes.len() {
            MOST => self.notes.push("and more of the kind".to_owned()),
            n if n > MOST => {}
            _ if self.notes.contains(&line) => {}
            _ => self.notes.push(line),
        }
    }
}

/// The interface number of the bridge.
enum Bridge {
    /// The bridge was there already.
    Kept(u32),
    /// The bridge was made just now and has no devices yet.
    Made(u32),
}

/// The text of an error and of its source.
fn told(error: &NetlinkError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
