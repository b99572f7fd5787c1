//! Features of devices, with the short names that `ethtool -K` takes.

use super::Netlink;
use crate::LabError;

/// A group of features that `ethtool -K` turns on and off by a short name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `tx`: checksums of frames that the device sends.
    Tx,
    /// `sg`: frames in several pieces of memory.
    Sg,
    /// `tso`: segmentation of TCP by the device.
    Tso,
    /// `gso`: segmentation by the kernel, directly before the device.
    Gso,
    /// `gro`: merging of received frames.
    Gro,
    /// `rx`: checksums of frames that the device receives.
    Rx,
}

impl Feature {
    /// All groups of features.
    pub const ALL: [Self; 6] = [Self::Tx, Self::Sg, Self::Tso, Self::Gso, Self::Gro, Self::Rx];

    /// The kernel's names of the features in the group.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Tx => &["tx-checksum-ip-generic"],
            Self::Sg => &["tx-scatter-gather", "tx-scatter-gather-fraglist"],
            Self::Tso => {
                &["tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation"]
            }
            Self::Gso => &["tx-generic-segmentation"],
            Self::Gro => &["rx-gro"],
            Self::Rx => &["rx-checksum"],
        }
    }
}

/// What a network card without offloads for tunnels cannot do for its sender.
const NOT_OF_A_WIRE: [&str; 9] = [
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-mangleid-segmentation",
    "tx-udp-segmentation",
    "tx-udp_tnl-segmentation",
    "tx-udp_tnl-csum-segmentation",
    "tx-gre-segmentation",
    "tx-gre-csum-segmentation",
];

impl Netlink {
    /// Has the kernel cut what it sends through the veth device `name` into frames that fit, and merge what it
    /// receives, as at a network card without offloads for tunnels.
    ///
    /// # Errors
    /// There is no such device, or the process lacks `CAP_NET_ADMIN`.
    pub fn make_wire_like(&mut self, name: &str) -> Result<(), LabError> {
        let off = NOT_OF_A_WIRE.iter().map(|feature| (*feature, false));
        let changes: Vec<_> = off.chain([("rx-gro", true)]).collect();
        Ok(self.set_features(name, &changes)?)
    }

    /// Turns each group of features of the device `name` on or off. As with `ethtool -K`, the kernel turns off
    /// what depends on a feature that is off, and leaves out what the device cannot do.
    ///
    /// # Errors
    /// There is no such device, or the process lacks `CAP_NET_ADMIN`.
    pub fn set_offloads(
        &mut self,
        name: &str,
        offloads: &[(Feature, bool)],
    ) -> Result<(), LabError> {
        let changes: Vec<(&str, bool)> = offloads
            .iter()
            .flat_map(|(feature, on)| feature.names().iter().map(|name| (*name, *on)))
            .collect();
        Ok(self.set_features(name, &changes)?)
    }
}
