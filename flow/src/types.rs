//! Numbers and addresses of OpenFlow, each as a type of its own, so that none is taken for another.
//!
//! All of them hold host integers, except [`MacAddr`], which has its bytes in the order of the wire.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A bridge's number in the switch, from 0 to [`BridgeId::COUNT`] - 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeId(u16);

impl BridgeId {
    /// Number of bridges that a switch can have.
    pub const COUNT: usize = 1024;
    /// The bridge that was added first.
    pub const FIRST: Self = Self(0);

    /// The bridge's number, for an array with a place for each bridge.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The bridge with this index, which must be below [`BridgeId::COUNT`].
    pub fn at(index: usize) -> Self {
        debug_assert!(index < Self::COUNT);
        Self(index as u16)
    }

    /// The bridge's number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for BridgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A port number as users and OpenFlow 1.0 messages write it (`OFPP_*`): a port of one
/// bridge, or a reserved port.
///
/// OpenFlow 1.1 and later write ports in 32 bits. Real ports have the same number there, and reserved ports
/// have 0xffff in the upper half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OfPort(pub u16);

impl OfPort {
    /// The first number that is too large for a port of a bridge (OpenFlow 1.0 `OFPP_MAX`).
    pub const MAX: Self = Self(0xff00);
    /// Output: the port on which the packet came in. A plain `output` to that port does nothing.
    pub const IN_PORT: Self = Self(0xfff8);
    /// Output: looks the packet up in table 0. Allowed in packet-outs only.
    pub const TABLE: Self = Self(0xfff9);
    /// Output: forwards the packet as a learning switch does, by VLAN and destination MAC address.
    pub const NORMAL: Self = Self(0xfffa);
    /// Output: every port except the ingress port and ports that are configured `no-flood`.
    pub const FLOOD: Self = Self(0xfffb);
    /// Output: every port except the ingress port.
    pub const ALL: Self = Self(0xfffc);
    /// Output: a packet-in to the controllers.
    pub const CONTROLLER: Self = Self(0xfffd);
    /// The bridge's port to the host that the switch runs on (`internal:BRIDGE`).
    pub const LOCAL: Self = Self(0xfffe);
    /// No port (`OFPP_NONE`, `OFPP_ANY`): an output to it does nothing, and a filter
    /// with it selects every port.
    pub const NONE: Self = Self(0xffff);

    /// The name of a reserved port, as `ovs-ofctl` prints it (`LOCAL`); `None` for all other numbers.
    pub fn reserved_name(self) -> Option<&'static str> {
        Some(match self {
            Self::IN_PORT => "IN_PORT",
            Self::TABLE => "TABLE",
            Self::NORMAL => "NORMAL",
            Self::FLOOD => "FLOOD",
            Self::ALL => "ALL",
            Self::CONTROLLER => "CONTROLLER",
            Self::LOCAL => "LOCAL",
            Self::NONE => "ANY",
            _ => return None,
        })
    }

    /// Whether a port of a bridge can have this number: 1 to 0xfeff, or `LOCAL`.
    pub fn is_real(self) -> bool {
        (self.0 > 0 && self < Self::MAX) || self == Self::LOCAL
    }
}

impl fmt::Display for OfPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reserved_name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// The datapath's number of a port: an index into its array of ports. Numbers are unique among all bridges of
/// the process, unlike [`OfPort`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortNo(pub u16);

impl PortNo {
    /// The ingress port of packet-outs whose `in_port` names no port.
    pub const NONE: Self = Self(u16::MAX);
}

/// The number of a flow table, 0 to 253. Every frame begins in table 0, which is the default.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u8")]
pub struct TableId(u8);

impl TableId {
    /// How many tables a bridge has. Their numbers are `0..COUNT`.
    pub const COUNT: usize = 254;

    /// The table with number `n`; `None` for 254, which Open vSwitch uses internally, and for 255, which means
    /// "all tables" in requests (`OFPTT_ALL`).
    pub fn new(n: u8) -> Option<Self> {
        ((n as usize) < Self::COUNT).then_some(Self(n))
    }

    /// The number of the table, 0 to 253.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for TableId {
    type Error = String;

    /// The error says which tables there are.
    fn try_from(n: u8) -> Result<Self, String> {
        Self::new(n).ok_or_else(|| format!("table {n}: must be from 0 to {}", Self::COUNT - 1))
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number that a user gives a rule in order to find it again. The switch stores and shows it,
/// and does not interpret it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Cookie(pub u64);

/// The number of a group, 0 to [`GroupId::MAX`], or one of the reserved numbers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u32);

impl GroupId {
    /// The largest number that a group can have (`OFPG_MAX`).
    pub const MAX: Self = Self(0xffff_ff00);
    /// In requests to delete or dump groups: every group (`OFPG_ALL`).
    pub const ALL: Self = Self(0xffff_fffc);
    /// In filters (`out_group`): rules are selected whether or not they use a group (`OFPG_ANY`).
    pub const ANY: Self = Self(0xffff_ffff);
}

/// The number of a meter, 1 to [`MeterId::MAX`], or one of the reserved numbers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MeterId(pub u32);

impl MeterId {
    /// The largest number that an ordinary meter can have (`OFPM_MAX`).
    pub const MAX: Self = Self(0xffff_0000);
    /// The meter of a bridge that limits how often packets miss the caches
    /// and are translated (`OFPM_SLOWPATH`).
    pub const SLOWPATH: Self = Self(0xffff_fffd);
    /// The meter of a bridge that limits its packet-ins (`OFPM_CONTROLLER`).
    pub const CONTROLLER: Self = Self(0xffff_fffe);
    /// In requests to delete or dump meters: every meter (`OFPM_ALL`).
    pub const ALL: Self = Self(0xffff_ffff);

    /// Whether a bridge can have a meter of this number: one from 1 to [`MeterId::MAX`], or a virtual meter.
    pub fn is_valid(self) -> bool {
        (1..=Self::MAX.0).contains(&self.0) || self.is_virtual()
    }

    /// Whether the switch itself uses the meter, and no rule can:
    /// [`MeterId::SLOWPATH`] or [`MeterId::CONTROLLER`].
    pub fn is_virtual(self) -> bool {
        self == Self::SLOWPATH || self == Self::CONTROLLER
    }
}

impl fmt::Display for MeterId {
    /// Writes the number, or the word that Open vSwitch has for a reserved number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SLOWPATH => f.write_str("slowpath"),
            Self::CONTROLLER => f.write_str("controller"),
            Self::ALL => f.write_str("all"),
            Self(number) => number.fmt(f),
        }
    }
}

/// An Ethernet (MAC) address, its six bytes in the order of the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The broadcast address, ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set, as it is in multicast addresses and in the broadcast address.
    #[inline]
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether switches must not forward frames to this address: 01:80:c2:00:00:0x (IEEE 802.1Q-2018
    /// table 8-1), and the addresses of Cisco's and Extreme's discovery and spanning tree protocols.
    /// The list is Open vSwitch's.
    #[inline]
    pub fn is_reserved(self) -> bool {
        match self.0 {
            [0x01, 0x80, 0xc2, 0, 0, last] => last & 0xf0 == 0,
            [0x01, 0x00, 0x0c, 0, 0, 0]
            | [0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc | 0xcd | 0xc0..=0xc7]
            | [0x01, 0x00, 0x0c, 0xcd, 0xcd, 0xcd] => true,
            [0x00, 0xe0, 0x2b, 0, 0, 0 | 4 | 6] => true,
            _ => false,
        }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The MAC address as an integer of 48 bits, first byte highest. [`Rewrite`](crate::verdict::Rewrite)s of
/// addresses have this form.
pub fn mac_bits(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// The MAC address in the lower 48 bits of `bits`; the reverse of [`mac_bits`].
pub fn mac_of_bits(bits: u64) -> MacAddr {
    let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
    MacAddr([a, b, c, d, e, f])
}

/// What a bridge does with IP fragments (`OFPC_FRAG_*`, OpenFlow 1.3.5 §7.3.2; ovs-ofctl(8), `set-frags`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fragments {
    /// Rules see no transport ports of a fragment, not even of the first one, which has them.
    #[default]
    Normal,
    /// The bridge drops fragments.
    Drop,
    /// Rules see the transport ports of first fragments.
    NxMatch,
}

impl Fragments {
    /// All ways to handle fragments. The first one is the default.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Drop, Self::NxMatch];

    /// The word that `ovs-ofctl set-frags` has for this way.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Drop => "drop",
            Self::NxMatch => "nx-match",
        }
    }
}

impl FromStr for Fragments {
    type Err = String;

    /// The error lists the words that are allowed.
    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|fragments| fragments.name() == word);
        found.ok_or_else(|| format!("\"{word}\" must be normal, drop or nx-match"))
    }
}

/// A version of the OpenFlow protocol (`-O`). The version decides which actions and matches a request can have
/// and how dumps print them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OfVersion {
    /// OpenFlow 1.0 with the Nicira extensions, which `ovs-ofctl` speaks by default.
    #[default]
    OpenFlow10,
    /// OpenFlow 1.1 brought instructions, groups, `push_vlan` and `metadata`.
    OpenFlow11,
    /// OpenFlow 1.2 brought extensible matches (OXM) and `set_field`.
    OpenFlow12,
    /// OpenFlow 1.3 brought the flags `no_packet_counts` and `no_byte_counts`.
    OpenFlow13,
    /// OpenFlow 1.4 brought `importance`.
    OpenFlow14,
    /// OpenFlow 1.5 brought masks in `set_field`, buckets with ids, and `selection_method`.
    OpenFlow15,
}

impl OfVersion {
    /// Every version, the oldest first.
    pub const ALL: [Self; 6] = [
        Self::OpenFlow10,
        Self::OpenFlow11,
        Self::OpenFlow12,
        Self::OpenFlow13,
        Self::OpenFlow14,
        Self::OpenFlow15,
    ];
}
