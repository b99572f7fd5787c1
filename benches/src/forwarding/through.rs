//! What can be between two hosts.

use super::rules;
use crate::report::Role;
use clap::ValueEnum;
use std::net::Ipv4Addr;

/// The address that the first host has behind source NAT.
pub(super) const SHARED_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);

/// What is put between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Through {
    /// A veth pair from host to host
    Cable,
    /// The kernel's bridge
    Bridge,
    /// Two filters of the kernel's tc, each of which redirects what one port receives to the other
    TcRedirect,
    /// The switch with its default rule, actions=NORMAL
    Switchd,
    /// The switch with its default rule, and with a kernel cache
    KernelCache,
    /// The same, with ports whose frames are handed over to the other end of the veth pair
    KernelCachePeer,
    /// The switch with 1,000 rules
    SwitchdRules,
    /// The switch with a stateful firewall: ct(...)
    SwitchdCt,
    /// The switch with a stateful firewall and source NAT: ct(nat(...))
    SwitchdNat,
    /// The switch, hosts on TAP devices
    Tap,
    /// The switch with 1,000 rules, hosts on TAP devices
    TapRules,
    /// A loop that reads from one TAP device and writes to the other
    TapLoop,
    /// Open vSwitch's userspace datapath as it is
    Ovs,
    /// Open vSwitch's userspace datapath with userspace-tso-enable
    OvsTso,
    /// The same with a stateful firewall and source NAT
    OvsNat,
}

impl Through {
    /// All of them, in the order of the table.
    pub const ALL: &[Self] = &[
        Self::Cable,
        Self::Bridge,
        Self::TcRedirect,
        Self::Switchd,
        Self::KernelCache,
        Self::KernelCachePeer,
        Self::SwitchdRules,
        Self::SwitchdCt,
        Self::SwitchdNat,
        Self::Ovs,
        Self::OvsTso,
        Self::OvsNat,
        Self::Tap,
        Self::TapRules,
        Self::TapLoop,
    ];

    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cable => "veth to veth",
            Self::Bridge => "Linux bridge",
            Self::TcRedirect => "tc redirect",
            Self::Switchd => "switchd",
            Self::KernelCache => "switchd, kernel cache",
            Self::KernelCachePeer => "kernel cache, peer",
            Self::SwitchdRules => "switchd, 1,000 rules",
            Self::SwitchdCt => "switchd, ct",
            Self::SwitchdNat => "switchd, ct and NAT",
            Self::Tap => "switchd on TAP",
            Self::TapRules => "on TAP, 1,000 rules",
            Self::TapLoop => "TAP read/write loop",
            Self::Ovs => "OVS userspace",
            Self::OvsTso => "OVS with TSO option",
            Self::OvsNat => "OVS with TSO, ct, NAT",
        }
    }

    /// Whose result it is.
    pub fn role(self) -> Role {
        match self {
            Self::Cable => Role::Limit,
            Self::Switchd
            | Self::KernelCache
            | Self::KernelCachePeer
            | Self::SwitchdRules
            | Self::SwitchdCt
            | Self::SwitchdNat
            | Self::Tap
            | Self::TapRules => Role::Ours,
            Self::Bridge
            | Self::TcRedirect
            | Self::TapLoop
            | Self::Ovs
            | Self::OvsTso
            | Self::OvsNat => Role::Rival,
        }
    }

    /// The hosts are behind TAP devices, not veth pairs.
    pub fn uses_taps(self) -> bool {
        matches!(self, Self::Tap | Self::TapRules | Self::TapLoop)
    }

    /// The switch has a kernel cache.
    pub(super) fn has_kernel_cache(self) -> bool {
        matches!(self, Self::KernelCache | Self::KernelCachePeer)
    }

    /// It opens /dev/net/tun: Open vSwitch does so for the bridge's own port.
    pub fn needs_tun(self) -> bool {
        self.uses_taps() || matches!(self, Self::Ovs | Self::OvsTso | Self::OvsNat)
    }

    /// The rules that come to the default one, a line for each; `None` for none.
    pub(super) fn rules(self) -> Option<String> {
        match self {
            Self::SwitchdRules | Self::TapRules => Some(rules::filters()),
            Self::SwitchdCt => Some(rules::firewall(None)),
            Self::SwitchdNat | Self::OvsNat => Some(rules::firewall(Some(SHARED_ADDRESS))),
            _ => None,
        }
    }
}

/// The sizes of the switch's receive rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingGeometry {
    /// How many slots a port has.
    pub slots: u32,
    /// Bytes of one slot.
    pub size: u32,
}

impl RingGeometry {
    /// Few slots for whole frames, and more and more slots for small ones.
    pub const COMPARED: &[Self] = &[
        Self { slots: 480, size: 69_632 },
        Self { slots: 512, size: 2048 },
        Self { slots: 4096, size: 2048 },
        Self { slots: 16_384, size: 2048 },
        Self { slots: 2048, size: 4096 },
    ];
}

impl std::str::FromStr for RingGeometry {
    type Err = String;

    /// Number and size in bytes of the slots of a receive ring, for example `4096x2048`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (slots, size) = text.split_once('x').unwrap_or_default();
        match (slots.parse(), size.parse()) {
            (Ok(slots), Ok(size)) => Ok(Self { slots, size }),
            _ => {
                Err(format!("\"{text}\" is not a number of slots and their size: write 4096x2048"))
            }
        }
    }
}

impl std::fmt::Display for RingGeometry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "slots={},slot-size={}", self.slots, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_geometry_is_slots_times_bytes() {
        let geometry: RingGeometry = "480x69632".parse().unwrap();
        assert_eq!(geometry.to_string(), "slots=480,slot-size=69632");
        for text in ["", "480", "x2048", "480x", "480x2048x2"] {
            assert!(text.parse::<RingGeometry>().is_err(), "{text}");
        }
    }
}
