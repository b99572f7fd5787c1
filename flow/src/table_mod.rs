//! Settings of flow tables that controllers change, and the requests that change them (`OFPT_TABLE_MOD`,
//! OpenFlow 1.4.0 §7.3.3).

use crate::action::Subfield;
use crate::types::TableId;
use serde::{Deserialize, Serialize};

/// What happens to a packet that no rule of a table matches, if the table has such a setting. OpenFlow 1.1 and
/// 1.2 can set it (`OFPTC11_TABLE_MISS_*`); from 1.3 on a rule of priority 0 says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableMiss {
    /// The packet goes to the controllers.
    Controller,
    /// The packet is looked up in the next table.
    Continue,
    /// The packet is dropped.
    Drop,
}

/// When controllers hear how full a table is, in per cent of the table's rules that are still free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VacancyThresholds {
    /// A table with less room than this is told as nearly full. At most `up`.
    pub down: u8,
    /// A table with more room than this is told as having room again. At most 100.
    pub up: u8,
}

/// A request to change how a table behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableMod {
    /// The table; `None` for every table.
    pub table: Option<TableId>,
    /// What happens to packets that no rule matches; `None` leaves that as it is.
    pub miss: Option<TableMiss>,
    /// Whether a full table evicts a rule for a new one; `None` leaves that as it is.
    pub eviction: Option<bool>,
    /// What decides which rule is evicted: bits of `OFPTMPEF14_*`. `None` is what the switch has. No switch
    /// that is known to change it obeys this.
    pub eviction_flags: Option<u32>,
    /// `None` leaves vacancy events as they are, `Some(None)` turns them off.
    pub vacancy: Option<Option<VacancyThresholds>>,
}

/// What happens to a new rule of a table that has as many rules as it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverflowPolicy {
    /// The new rule is refused.
    #[default]
    Refuse,
    /// A rule with a timeout is evicted for it.
    Evict,
}

/// How a table behaves, apart from its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSettings {
    /// The name of the table, at most [`Self::MAX_NAME`] bytes; `None` if it has none.
    pub name: Option<String>,
    /// The largest number of rules; `None` if only the switch limits it.
    pub flow_limit: Option<u32>,
    /// What the user wants of a table that is full.
    pub overflow: OverflowPolicy,
    /// If the overflow policy is to evict: bits of fields that group the rules. The largest group loses a rule.
    pub groups: Vec<Subfield>,
    /// What happens to packets that no rule matches; `None` if nobody has said.
    pub miss: Option<TableMiss>,
    /// Whether a controller wants a full table to evict rules.
    pub eviction: bool,
    /// When controllers hear how full the table is; `None` if they do not.
    pub vacancy: Option<VacancyThresholds>,
}

impl TableSettings {
    /// The largest size of a name in bytes.
    pub const MAX_NAME: usize = 31;

    /// Whether the table evicts rules when it is full.
    pub fn evicts(&self) -> bool {
        self.eviction || self.overflow == OverflowPolicy::Evict
    }

    /// The bits of fields that group the rules which a full table evicts.
    pub fn eviction_groups(&self) -> &[Subfield] {
        if self.overflow == OverflowPolicy::Evict { &self.groups } else { &[] }
    }

    /// Changes what a controller's request is about.
    pub fn apply(&mut self, request: &TableMod) {
        self.miss = request.miss.or(self.miss);
        self.eviction = request.eviction.unwrap_or(self.eviction);
        self.vacancy = request.vacancy.unwrap_or(self.vacancy);
    }
}
