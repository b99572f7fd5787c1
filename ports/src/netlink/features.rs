//! Features of network devices by the names that ethtool(8) gives them: what a device does for its sender.
//!
//! They are asked for by `ioctl`, not by a message; the routing socket only says which network namespace is
//! meant. The kernel tells of a change as of any other change of the device ([`super::LinkEvent::Present`]).

use super::{Netlink, NetlinkError};
use crate::sys::ethtool;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

/// The names of the kernel's features by their numbers, which stay the same until the machine starts again.
static NAMES: OnceLock<Vec<String>> = OnceLock::new();

/// The features that were on at a device when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(ethtool::Bits);

impl Features {
    /// Whether the feature called `name` is on; `false` for one that the kernel does not know.
    pub fn has(&self, name: &str) -> bool {
        let place = NAMES.get().and_then(|names| names.iter().position(|known| known == name));
        place.is_some_and(|place| {
            self.0.get(place / 32).is_some_and(|word| word >> (place % 32) & 1 == 1)
        })
    }
}

impl Netlink {
    /// The features that are on at a device.
    ///
    /// # Errors
    /// There is no such device, or the kernel is older than 2.6.39.
    pub fn features(&self, device: &str) -> Result<Features, NetlinkError> {
        features(self.socket.as_fd(), device)
    }

    /// Turns features of a device on or off, all with one request. The device may refuse some of them, and
    /// turns off features that depend on one which is turned off.
    ///
    /// # Errors
    /// There is no such device, a name is not known, or the privilege is missing; nothing changed.
    pub fn set_features(&self, device: &str, changes: &[(&str, bool)]) -> Result<(), NetlinkError> {
        let set = || {
            let names = feature_names(self.socket.as_fd(), device)?;
            let (mut change, mut on) = (ethtool::Bits::default(), ethtool::Bits::default());
            for (name, is_on) in changes {
                let place = names.iter().position(|known| known == name);
                let place = place.ok_or(io::ErrorKind::NotFound)?;
                change[place / 32] |= 1 << (place % 32);
                on[place / 32] |= u32::from(*is_on) << (place % 32);
            }
            ethtool::set_features(self.socket.as_fd(), device, names.len(), change, on)
        };
        set().map_err(|e| NetlinkError::refused(format!("set {changes:?} of \"{device}\""), e))
    }
}

/// As [`Netlink::features`], by any socket in the device's network namespace.
///
/// # Errors
/// As [`Netlink::features`].
pub(crate) fn features(socket: BorrowedFd<'_>, device: &str) -> Result<Features, NetlinkError> {
    let ask = || {
        feature_names(socket, device)?;
        ethtool::active_features(socket, device).map(Features)
    };
    ask().map_err(|e| NetlinkError::refused(format!("ask for the features of \"{device}\""), e))
}

fn feature_names(socket: BorrowedFd<'_>, device: &str) -> io::Result<&'static [String]> {
    if let Some(names) = NAMES.get() {
        return Ok(names);
    }
    let names = ethtool::feature_names(socket, device)?;
    Ok(NAMES.get_or_init(|| names))
}
