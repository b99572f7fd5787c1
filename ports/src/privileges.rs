//! Which capability this process lacks to use a device that does not exist yet.
//!
//! A port waits for a missing device. If the process may not use any device, the port would wait for ever and
//! nobody would learn why, so the capabilities are tried while the device is missing.

use crate::PortError;
use crate::commons::Commons;
use crate::netlink::LinkChange;
use crate::netns::Netns;
use crate::sys::packet as socket;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};

/// The inodes of network namespaces in which this process may use devices. A process that has a capability once
/// is not asked again: closing a packet socket waits for the kernel.
static GOOD: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// An interface number that no device has.
const NO_DEVICE: u32 = i32::MAX as u32;

/// Whether the process may make a port of a device called `device` in the namespace of `commons`,
/// which is the calling thread's.
///
/// # Errors
/// [`PortError::Denied`] with the capability, or the error of a request that says
/// whether the capability is there.
pub(crate) fn to_open(commons: &Commons, device: &str) -> Result<(), PortError> {
    let good = || GOOD.lock().unwrap_or_else(PoisonError::into_inner);
    if good().contains(&commons.inode()) {
        return Ok(());
    }
    let open = socket::socket();
    open.map_err(|e| PortError::os("open a packet socket for", device, "CAP_NET_RAW", e))?;
    // The kernel looks at the capability first, and then for the device.
    let change = LinkChange { index: NO_DEVICE, up: Some(true), ..LinkChange::default() };
    if commons.change(change).is_err_and(|error| error.is_denied()) {
        let (operation, object) = ("change device", format!("\"{device}\""));
        return Err(PortError::Denied { operation, object, capability: "CAP_NET_ADMIN" });
    }
    good().insert(commons.inode());
    Ok(())
}

/// Whether the process may enter network namespaces. An error names `netns`, which does not exist.
///
/// # Errors
/// [`PortError::Denied`] with the capability.
pub(crate) fn to_enter(netns: &str) -> Result<(), PortError> {
    let entered: io::Result<()> = Netns::current().and_then(|here| here.run(|| ()));
    entered.map_err(|e| PortError::os("enter network namespace", netns, "CAP_SYS_ADMIN", e))
}
