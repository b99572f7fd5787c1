//! How a flow table behaves, for a reply.

use serde::{Deserialize, Serialize};

/// How a flow table behaves, apart from its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDescRecord {
    /// The number of the table, 0 to 253.
    pub table: u8,
    /// The name of the table, which a user or a controller has given it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many rules the table may have, if somebody limits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_limit: Option<u32>,
    /// What happens to a new rule of a full table, as far as the user says: `refuse` or `evict`.
    pub overflow_policy: String,
    /// The bits of fields that group the rules of a table whose overflow policy is `evict`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub groups: Vec<String>,
    /// What happens to packets that no rule matches, if somebody has said
    /// it: `controller`, `continue` or `drop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub miss: Option<String>,
    /// Whether a controller wants a full table to evict rules.
    pub eviction: bool,
    /// When controllers hear how full the table is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vacancy: Option<VacancyRecord>,
}

/// When controllers hear how full a table is, and how full it is. All numbers are per cent of
/// its rules that are free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VacancyRecord {
    /// A table with less room than this is nearly full.
    pub down: u8,
    /// A table with more room than this has room again.
    pub up: u8,
    /// The room that there is now.
    pub now: u8,
}
