//! What subscribers are told: one thing that happened to a bridge.

use flow::Match;
use flowtable::policy::effects::Effect;
use flowtable::policy::groups::GroupEntry;
use flowtable::policy::mac_table::HostChange;
use flowtable::policy::meters::MeterEntry;
use flowtable::policy::ports::PortInfo;
use flowtable::policy::rule::Removal;
use flowtable::policy::rule::Rule;
use std::ops::BitOr;
use std::sync::Arc;
use std::time::Duration;

/// Something that happened to a bridge, as subscribers are told of it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The name of the bridge.
    pub bridge: Arc<str>,
    /// When the event was put into the queues, on the switch's monotonic clock:
    /// some milliseconds after it happened.
    pub at: Duration,
    /// The thing that happened, with what it happened to.
    pub what: What,
}

/// The thing that happened.
#[derive(Clone, Debug)]
pub enum What {
    /// A rule came, changed or went.
    Rule(Box<RuleEvent>),
    /// There is a new group.
    GroupAdded(Arc<GroupEntry>),
    /// A group has other buckets; this is what it is now.
    GroupChanged(Arc<GroupEntry>),
    /// A group was deleted; this is what it was.
    GroupRemoved(Arc<GroupEntry>),
    /// There is a new meter.
    MeterAdded(Arc<MeterEntry>),
    /// A meter has other flags or bands; this is what it is now.
    MeterChanged(Arc<MeterEntry>),
    /// A meter was deleted; this is what it was.
    MeterRemoved(Arc<MeterEntry>),
    /// There is a new port.
    PortAdded(PortInfo),
    /// A port's link, address or settings have changed.
    PortChanged(Box<PortUpdate>),
    /// A port was removed; this is what it was.
    PortRemoved(PortInfo),
    /// A host came, moved or went.
    Host(HostChange),
    /// The bridge was added, and has no ports and rules yet.
    BridgeAdded,
    /// The bridge was removed, after its ports, rules, groups, meters and hosts, of which there
    /// are events of their own.
    BridgeRemoved,
}

/// A port before and after a change.
#[derive(Clone, Debug)]
pub struct PortUpdate {
    /// The port as it was.
    pub before: PortInfo,
    /// The port as it is now, under the same number and name.
    pub after: PortInfo,
}

/// What happened to a rule.
#[derive(Clone, Debug)]
pub struct RuleEvent {
    /// Whether the rule was added, changed or removed.
    pub change: RuleChange,
    /// The priority of the rule.
    pub priority: u16,
    /// The match of the rule.
    pub matching: Match,
    /// The rule, after a change. If it was removed, its counters are final.
    pub rule: Arc<Rule>,
}

/// The kind of a change of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleChange {
    /// A request added the rule.
    Added,
    /// It has other actions or another cookie, and the counters that it had.
    Changed,
    /// The rule was removed for this reason.
    Removed(Removal),
}

impl What {
    /// What a transaction did, for later: with copies of what the tables only lend.
    pub(super) fn of(effect: &Effect<'_>) -> Self {
        let (entry, change) = match effect {
            Effect::RuleAdded(entry) => (entry, RuleChange::Added),
            Effect::RuleChanged(entry, _) => (entry, RuleChange::Changed),
            Effect::RuleRemoved(entry, why) => (entry, RuleChange::Removed(*why)),
            Effect::GroupAdded(group) => return Self::GroupAdded(Arc::clone(group)),
            Effect::GroupChanged(group) => return Self::GroupChanged(Arc::clone(group)),
            Effect::GroupRemoved(group) => return Self::GroupRemoved(Arc::clone(group)),
            Effect::MeterAdded(meter) => return Self::MeterAdded(Arc::clone(meter)),
            Effect::MeterChanged(meter) => return Self::MeterChanged(Arc::clone(meter)),
            Effect::MeterRemoved(meter) => return Self::MeterRemoved(Arc::clone(meter)),
        };
        let rule = Arc::clone(entry.value);
        let (priority, matching) = (entry.priority, entry.matches);
        Self::Rule(Box::new(RuleEvent { change, priority, matching, rule }))
    }

    /// The kind of the event, as a set of one.
    pub fn kind(&self) -> Kinds {
        match self {
            Self::Rule(_) => Kinds::RULES,
            Self::GroupAdded(_) | Self::GroupChanged(_) | Self::GroupRemoved(_) => Kinds::GROUPS,
            Self::MeterAdded(_) | Self::MeterChanged(_) | Self::MeterRemoved(_) => Kinds::METERS,
            Self::PortAdded(_) | Self::PortChanged(_) | Self::PortRemoved(_) => Kinds::PORTS,
            Self::Host(_) => Kinds::HOSTS,
            Self::BridgeAdded | Self::BridgeRemoved => Kinds::BRIDGES,
        }
    }
}

/// A set of kinds of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Rules that were added, changed or removed.
    pub const RULES: Self = Self(1);
    /// Groups that were added, changed or removed.
    pub const GROUPS: Self = Self(2);
    /// Ports that were added, changed or removed.
    pub const PORTS: Self = Self(4);
    /// Hosts that were learned, moved, given or forgotten.
    pub const HOSTS: Self = Self(8);
    /// Bridges that were added or removed.
    pub const BRIDGES: Self = Self(16);
    /// Meters that were added, changed or removed.
    pub const METERS: Self = Self(32);
    /// Every kind of event of a bridge.
    pub const ALL: Self = Self(63);
    /// Connections that were made or have ended. They belong to no bridge. Subscribers have to ask
    /// for them by this kind.
    pub const CONNECTIONS: Self = Self(64);

    /// Whether both sets have a kind in common.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
