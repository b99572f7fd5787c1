//! The arguments of the action `ct(...)`, which looks up the connection that a packet belongs to.
//!
//! ovs-actions(7), "The ct action", describes them.

use crate::action::{Action, Subfield};
use crate::nat::Nat;
use crate::types::TableId;
use serde::{Deserialize, Serialize};

/// The action `ct(commit,force,table=N,zone=N,nat(...),exec(...),alg=ALG)`: looks up the connection that a
/// packet belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ct {
    /// Whether a connection that the packet begins is remembered. Without this, a packet of an unknown
    /// connection is `new` each time.
    pub commit: bool,
    /// Whether a known connection whose first packet went the other way is forgotten, and begins anew with this
    /// packet. Only a `ct` that commits has this flag.
    pub force: bool,
    /// The table that goes on with the packet and what is known of its connection, while this rule goes on
    /// without that knowledge. `None` if no table does.
    pub table: Option<TableId>,
    /// The zone of the connection: connections of different zones have nothing to do with each other.
    pub zone: CtZone,
    /// How addresses are translated; `None` leaves them as they are.
    pub nat: Option<Nat>,
    /// What happens to the connection's mark and label when it is committed: `set_field`, `load` and `move`
    /// into `ct_mark` or `ct_label`. Empty without `commit`.
    pub exec: Vec<Action>,
    /// The helper of a connection that the action begins; `None` if it needs none. It
    /// has no effect without `commit`.
    #[serde(default)]
    pub alg: Option<CtAlg>,
}

/// A helper of a protocol that tells addresses and ports in its payload (`alg`, application layer gateway).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CtAlg {
    /// FTP (RFC 959, RFC 2428): an end tells the other one to which address and port it is
    /// to connect for the data.
    Ftp,
    /// TFTP (RFC 1350): the server answers from another port than the one that it was asked at.
    Tftp,
}

impl CtAlg {
    /// The helpers that rules can name, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Ftp, Self::Tftp];

    /// The word that rules have.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Tftp => "tftp",
        }
    }

    /// The number that OpenFlow has: the port at which servers listen.
    pub fn number(self) -> u16 {
        match self {
            Self::Ftp => 21,
            Self::Tftp => 69,
        }
    }
}

/// Where `ct(...)` has the number of its zone from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CtZone {
    /// The rule says the number.
    Number(u16),
    /// The number is in 16 bits of a field of the packet.
    Field(Subfield),
}

impl Default for CtZone {
    /// Zone 0, in which a rule without `zone=` looks.
    fn default() -> Self {
        Self::Number(0)
    }
}
