//! The arguments of the action `ct(...)`, which looks up the connection that a packet belongs to.
//!
//! ovs-actions(7), "The ct action", describes them. Helpers of protocols (`alg`) are not here: the
//! parser of text and the decoder of messages refuse them.

use crate::action::{Action, Subfield};
use crate::nat::Nat;
use crate::types::TableId;
use serde::{Deserialize, Serialize};

/// `ct(commit,force,table=N,zone=N,nat(...),exec(...))`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ct {
    /// Whether a connection that the packet begins is remembered. Without this, a packet of an unknown connection is
    /// `new` each time.
    pub commit: bool,
    /// Whether a known connection whose first packet went the other way is forgotten, and begins anew with this packet.
    /// Only a `ct` that commits has this flag.
    pub force: bool,
    /// The table that goes on with the packet and what is known of its connection, while this rule goes on without
    /// that knowledge. `None` if no table does.
    pub table: Option<TableId>,
    /// The zone of the connection: connections of different zones have nothing to do with each other.
    pub zone: CtZone,
    /// How addresses are translated; `None` leaves them as they are.
    pub nat: Option<Nat>,
    /// What happens to the connection's mark and label when it is committed: `set_field`, `load` and `move` into
    /// `ct_mark` or `ct_label`. Empty without `commit`.
    pub exec: Vec<Action>,
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
