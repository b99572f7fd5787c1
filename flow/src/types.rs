//! Numbers that must not be mixed up.

use std::fmt;

/// A port number of the OpenFlow protocol and of everything a user types. Reserved ports included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfPort(pub u16);

impl OfPort {
    /// Largest number of a real port (OpenFlow 1.0 `OFPP_MAX`, exclusive).
    pub const MAX: Self = Self(0xff00);
    /// The port the frame came in on.
    pub const IN_PORT: Self = Self(0xfff8);
    /// Back to the tables; only in packet-out.
    pub const TABLE: Self = Self(0xfff9);
    /// MAC learning switch.
    pub const NORMAL: Self = Self(0xfffa);
    /// All ports but the ingress and those with `no-flood`.
    pub const FLOOD: Self = Self(0xfffb);
    /// All ports but the ingress.
    pub const ALL: Self = Self(0xfffc);
    /// The controller, who gets the packet in a packet-in.
    pub const CONTROLLER: Self = Self(0xfffd);
    /// The switch's own host.
    pub const LOCAL: Self = Self(0xfffe);
    /// No port at all: an output to it does nothing.
    pub const NONE: Self = Self(0xffff);

    /// The reserved port's name in upper case, as OpenFlow tools print it.
    pub fn reserved_name(self) -> Option<&'static str> {
        Some(match self {
            Self::IN_PORT => "IN_PORT",
            Self::TABLE => "TABLE",
            Self::NORMAL => "NORMAL",
            Self::FLOOD => "FLOOD",
            Self::ALL => "ALL",
            Self::CONTROLLER => "CONTROLLER",
            Self::LOCAL => "LOCAL",
            Self::NONE => "NONE",
            _ => return None,
        })
    }

    /// A number that a port can have: 1 to 0xfeff, or `LOCAL`.
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

/// A port number of the datapath: an index into its port array, unique in the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortNo(pub u16);

impl PortNo {
    /// No port: where a packet-out comes from that names none.
    pub const NONE: Self = Self(u16::MAX);
}

/// A flow table's number, 0 to 253.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(u8);

impl TableId {
    /// Number of tables.
    pub const COUNT: usize = 254;

    /// `None` for 254 (internal in OVS) and 255 ("all tables").
    pub fn new(n: u8) -> Option<Self> {
        ((n as usize) < Self::COUNT).then_some(Self(n))
    }

    /// The number of the table, 0 to 253.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Opaque value that a user gives a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

/// A group's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl GroupId {
    /// Largest number of a group (`OFPG_MAX`).
    pub const MAX: Self = Self(0xffff_ff00);
    /// All groups, in delete and dump requests.
    pub const ALL: Self = Self(0xffff_fffc);
    /// No group, in filters: any.
    pub const ANY: Self = Self(0xffff_ffff);
}

/// An Ethernet address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The address of everybody, ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The group bit is set: multicast or broadcast.
    #[inline]
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// An address whose frames stay on the link: 01:80:c2:00:00:0x (IEEE 802.1Q-2018 table 8-1), and
    /// those of the discovery and spanning tree protocols of Cisco and Extreme, as in Open vSwitch.
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

/// A MAC address as a number, for rewrites.
pub fn mac_bits(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// The reverse of [`mac_bits`].
pub fn mac_of_bits(bits: u64) -> MacAddr {
    let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
    MacAddr([a, b, c, d, e, f])
}

/// A version of the OpenFlow protocol. Decides which actions exist, how they are named and printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OfVersion {
    /// 1.0, with the Nicira extensions: what OpenFlow tools speak unless told otherwise.
    #[default]
    OpenFlow10,
    /// 1.1
    OpenFlow11,
    /// 1.2
    OpenFlow12,
    /// 1.3
    OpenFlow13,
    /// 1.4
    OpenFlow14,
    /// 1.5
    OpenFlow15,
}
