//! The changes that a record of the journal consists of, and their JSON. Rules have a
//! form of bytes, too (`rule_bytes`).

use super::error::StateError;
use crate::desired::Desired;
use flow::Match;
use flow::action::{Action, Subfield};
use flow::flow_mod::{Command, FlowFlags, FlowMod};
use flow::group::Group;
use flow::meter::Meter;
use flow::packed::{self, Unpacker};
use flow::text::{DEFAULT_PRIORITY, NoPortNames, ParseContext, parse_match, write_match};
use flow::types::{Cookie, GroupId, MacAddr, MeterId, OfPort, OfVersion, TableId};
use flowtable::policy::mac_table::MacKey;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// A line of a record: the new state of one thing, such as a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change<'a> {
    /// The parts of matches. The packed matches behind this change name them by their numbers, which are places
    /// in this list.
    MatchParts(Cow<'a, [Subfield]>),
    /// The bridges and ports that the command line and the configuration file named at the start of the switch.
    Configured(Cow<'a, Desired>),
    /// The bridges and ports of the switch, with their settings.
    Wanted(Cow<'a, Desired>),
    /// The name of the bridge that the following changes of the record belong to. The bridge exists.
    Bridge(Cow<'a, str>),
    /// The bridge has this rule. The rule replaces one with the same table, priority and match.
    #[serde(borrow)]
    Rule(KeptRule<'a>),
    /// The bridge has no rule at this place.
    #[serde(borrow)]
    NoRule(RulePlace<'a>),
    /// The bridge has this group. The group replaces one with the same number.
    Group(Cow<'a, Group>),
    /// The bridge has no group of this number.
    NoGroup(GroupId),
    /// The bridge has this meter. The meter replaces one with the same number.
    Meter(Cow<'a, Meter>),
    /// The bridge has no meter of this number.
    NoMeter(MeterId),
    /// The bridge has this static host.
    Host(KeptHost),
    /// The bridge has no static host of this address.
    NoHost(HostAddress),
    /// The bridge has no rules, groups, meters and hosts at all.
    Empty,
}

/// The place of a rule. Two rules of a bridge never have the same place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RulePlace<'a> {
    /// The rule's table.
    pub table: TableId,
    /// The rule's priority.
    pub priority: u16,
    /// The rule's match, [packed](flow::packed) with the list of parts of this version. The JSON has the match
    /// in the words of OpenFlow 1.5, which has words for the matches of every version.
    #[serde(rename = "match", with = "match_text", default, skip_serializing_if = "is_empty")]
    pub matching: Cow<'a, [u8]>,
}

/// A rule without its counters and ages. The place of the rule is not one field of type
/// [`RulePlace`]: serde cannot read numbers of more than 64 bits in a structure with a flattened
/// field, and actions have such numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptRule<'a> {
    /// The rule's table.
    pub table: TableId,
    /// The rule's priority.
    pub priority: u16,
    /// The rule's match, as in [`RulePlace`].
    #[serde(rename = "match", with = "match_text", default, skip_serializing_if = "is_empty")]
    pub matching: Cow<'a, [u8]>,
    /// The rule's cookie.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cookie: Cookie,
    /// Seconds without traffic after which the rule expires; 0 means never.
    #[serde(default, skip_serializing_if = "is_default")]
    pub idle_timeout: u16,
    /// Seconds after which the rule expires; 0 means never.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hard_timeout: u16,
    /// The time when the rule expires because of its `hard_timeout`, in seconds since 1970 (UTC); `None` for a
    /// rule without a `hard_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// The rule's rank when a full table evicts rules.
    #[serde(default, skip_serializing_if = "is_default")]
    pub importance: u16,
    /// The flags with which the rule was added.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flags: FlowFlags,
    /// The rule's name; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// The rule's label; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Cow<'a, str>>,
    /// The rule's actions; empty for a rule that drops.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub actions: Cow<'a, [Action]>,
}

/// The timeouts of a rule that is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeouts {
    /// The rest of the `hard_timeout`, and the whole `idle_timeout`: the rule begins a new life.
    Rest,
    /// Both timeouts as they are, because the rule gets the times of its former life back.
    Whole,
}

/// The address of a static host in its VLAN, 0 for frames without a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostAddress {
    /// The VLAN, 0 to 4095.
    pub vlan: u16,
    /// The Ethernet address.
    pub mac: MacAddr,
}

/// A static host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptHost {
    /// The VLAN, 0 to 4095.
    pub vlan: u16,
    /// The Ethernet address.
    pub mac: MacAddr,
    /// The port behind which the host is.
    pub port: OfPort,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_empty<T>(list: &[T]) -> bool {
    list.is_empty()
}

/// Matches as text, in JSON.
mod match_text {
    use super::{DEFAULT_PRIORITY, NoPortNames, parse_words, unpack, write_match};
    use flow::packed::pack;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(packed: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let matching = unpack(packed).map_err(serde::ser::Error::custom)?;
        let mut text = String::new();
        write_match(&mut text, &matching, DEFAULT_PRIORITY, &NoPortNames);
        to.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Cow<'static, [u8]>, D::Error> {
        let text = String::deserialize(from)?;
        let mut packed = Vec::new();
        pack(&mut packed, &parse_words(&text).map_err(D::Error::custom)?);
        Ok(packed.into())
    }
}

/// The match that is written in the words of OpenFlow 1.5.
fn parse_words(text: &str) -> Result<Match, StateError> {
    // The match may be one that only a lenient parser accepts.
    let version = OfVersion::OpenFlow15;
    let context = ParseContext { version, lenient: true, ..ParseContext::default() };
    parse_match(text, &context).map_err(|error| StateError::Match(error.render(text)))
}

/// Unpacks matches that this version has packed.
static UNPACKER: LazyLock<Unpacker> =
    LazyLock::new(|| Unpacker::new(packed::parts()).expect("fields have their own bits"));

/// The match of bytes that this version has packed.
fn unpack(packed: &[u8]) -> Result<Match, StateError> {
    let matching = UNPACKER.unpack(packed);
    matching.ok_or_else(|| StateError::Match(format!("{packed:x?} are not a match")))
}

impl<'a> KeptRule<'a> {
    /// The rule that a request adds now.
    pub(super) fn of_request(request: FlowMod) -> Self {
        let seconds = u64::from(request.hard_timeout);
        let mut matching = Vec::new();
        packed::pack(&mut matching, &request.matching);
        Self {
            table: request.table.unwrap_or_default(),
            priority: request.priority,
            matching: matching.into(),
            cookie: request.cookie,
            idle_timeout: request.idle_timeout,
            hard_timeout: request.hard_timeout,
            expires: (seconds != 0).then(|| seconds_since_1970() + seconds),
            importance: request.importance,
            flags: request.flags,
            name: request.name.map(|name| Cow::Owned(name.to_string())),
            label: request.label.map(|label| Cow::Owned(label.to_string())),
            actions: Cow::Owned(request.actions),
        }
    }

    /// Where the rule is.
    pub fn place(&self) -> RulePlace<'a> {
        RulePlace { table: self.table, priority: self.priority, matching: self.matching.clone() }
    }

    /// The request that adds the rule to a bridge; `None` if the rule has expired, unless its
    /// timeouts are to be whole.
    ///
    /// # Errors
    /// The match cannot be read.
    pub fn to_flow_mod(&self, timeouts: Timeouts) -> Result<Option<FlowMod>, StateError> {
        let hard_timeout = match self.expires.filter(|_| timeouts == Timeouts::Rest) {
            Some(end) => match end.saturating_sub(seconds_since_1970()) {
                0 => return Ok(None),
                left => u16::try_from(left).unwrap_or(u16::MAX).min(self.hard_timeout),
            },
            None => self.hard_timeout,
        };
        let matching = unpack(&self.matching)?;
        Ok(Some(FlowMod {
            table: Some(self.table),
            cookie: self.cookie,
            idle_timeout: self.idle_timeout,
            hard_timeout,
            importance: self.importance,
            flags: self.flags,
            name: self.name.as_deref().map(Arc::from),
            label: self.label.as_deref().map(Arc::from),
            ..FlowMod::new(Command::Add, self.priority, matching, self.actions.to_vec())
        }))
    }
}

impl From<MacKey> for HostAddress {
    fn from(MacKey { vlan, mac }: MacKey) -> Self {
        Self { vlan, mac }
    }
}

/// The time of the system, which unlike the switch's clock goes on while the switch does not run.
pub(super) fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
