//! Actions that choose one of several links by a hash of the packet: `multipath`, `bundle` and `bundle_load`.
//!
//! ovs-actions(7) describes them. OpenFlow groups of type `select` and `ff` have since taken their place.

use crate::action::Subfield;
use crate::types::OfPort;
use serde::{Deserialize, Serialize};

/// The fields of a packet that are hashed (`NX_HASH_FIELDS_*`). Symmetric ones give both directions of a
/// connection one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashFields {
    /// The Ethernet source address.
    EthSrc,
    /// Addresses, EtherType, VLAN, protocol and TCP or SCTP ports.
    SymmetricL4,
    /// IP addresses, protocol and TCP or SCTP ports.
    SymmetricL3L4,
    /// As [`SymmetricL3L4`](Self::SymmetricL3L4), and the ports of UDP.
    SymmetricL3L4Udp,
    /// The IP source address.
    NwSrc,
    /// The IP destination address.
    NwDst,
    /// The IP addresses.
    SymmetricL3,
}

/// How a hash becomes the number of a link (`NX_MP_ALG_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkAlgorithm {
    /// The remainder of the hash by the number of links.
    ModuloN,
    /// The hash as a fraction of the number of links.
    HashThreshold,
    /// The link with the highest hash together with the packet.
    Hrw,
    /// Hashes with other parameters until one is the number of a link.
    IterHash,
}

/// How a member of a bundle is chosen (`NX_BD_ALG_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberAlgorithm {
    /// The first member that is up.
    ActiveBackup,
    /// The member that is up and has the highest hash together with the packet.
    Hrw,
}

/// `multipath(FIELDS,BASIS,ALGORITHM,N_LINKS,ARG,DST)`: writes the number of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Multipath {
    /// The fields that are hashed.
    pub fields: HashFields,
    /// A parameter of the hash.
    pub basis: u16,
    /// How the hash becomes the number of a link.
    pub algorithm: LinkAlgorithm,
    /// The highest number of a link: one less than there are links.
    pub max_link: u16,
    /// A parameter of the algorithm.
    pub arg: u32,
    /// The bits that the number is written to. All numbers of links fit there.
    pub dst: Subfield,
}

/// `bundle(FIELDS,BASIS,ALGORITHM,ofport,members:...)` and `bundle_load(...)`: outputs to a port of several, or
/// writes its number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortBundle {
    /// The fields that are hashed.
    pub fields: HashFields,
    /// A parameter of the hash.
    pub basis: u16,
    /// How a member is chosen.
    pub algorithm: MemberAlgorithm,
    /// The ports to choose from.
    pub members: Vec<OfPort>,
    /// The bits that the port's number is written to, at least 16. `None` outputs to the port.
    pub dst: Option<Subfield>,
}

/// A table of words: each value with its name in text and its number in messages.
macro_rules! named {
    ($type:ident { $($id:ident = $number:literal $name:literal,)* }) => {
        impl $type {
            /// Every value, in the order of their numbers in messages.
            pub const ALL: &'static [Self] = &[$(Self::$id),*];

            /// The name in text.
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name),* }
            }

            /// The number in messages.
            pub fn number(self) -> u16 {
                match self { $(Self::$id => $number),* }
            }

            /// The value with this name; `None` if there is none.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }

            /// The value with this number; `None` if there is none.
            pub fn from_number(number: u16) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.number() == number)
            }
        }
    };
}

named! { HashFields {
    EthSrc = 0 "eth_src",
    SymmetricL4 = 1 "symmetric_l4",
    SymmetricL3L4 = 2 "symmetric_l3l4",
    SymmetricL3L4Udp = 3 "symmetric_l3l4+udp",
    NwSrc = 4 "nw_src",
    NwDst = 5 "nw_dst",
    SymmetricL3 = 6 "symmetric_l3",
}}

named! { LinkAlgorithm {
    ModuloN = 0 "modulo_n",
    HashThreshold = 1 "hash_threshold",
    Hrw = 2 "hrw",
    IterHash = 3 "iter_hash",
}}

named! { MemberAlgorithm {
    ActiveBackup = 0 "active_backup",
    Hrw = 1 "hrw",
}}
