//! The state that a journal keeps: the result of all its records, read one after the other.

use super::change::{Change, HostAddress, KeptRule, RulePlace};
use super::error::StateError;
use super::journal::{Contents, Torn};
use super::rule_bytes;
use crate::desired::Desired;
use crate::saved::SavedSwitch;
use crate::switch::Switch;
use flow::group::Group;
use flow::meter::Meter;
use flow::packed::Unpacker;
use flow::types::{GroupId, MeterId, OfPort};
use std::collections::{BTreeMap, HashMap};

/// The size of a change of a record in bytes, estimated.
pub(super) const CHANGE_SIZE: u64 = 64;

/// The state that a journal keeps.
#[derive(Debug, Default)]
pub struct Kept<'a> {
    /// The bridges and ports that the command line and the file named at the last start;
    /// `None` before the first start.
    pub configured: Option<Desired>,
    /// The bridges and ports that the last switch had at its end; `None` before the first start.
    pub wanted: Option<Desired>,
    /// Rules, groups, meters and static hosts of each bridge, by the bridge's name.
    pub bridges: BTreeMap<String, KeptBridge<'a>>,
}

/// Rules, groups, meters and static hosts of a bridge.
#[derive(Debug, Default, PartialEq)]
pub struct KeptBridge<'a> {
    /// The rules by their places, in no particular order.
    pub rules: HashMap<RulePlace<'a>, KeptRule<'a>>,
    /// The groups by their numbers.
    pub groups: HashMap<GroupId, Group>,
    /// The meters by their numbers.
    pub meters: HashMap<MeterId, Meter>,
    /// The ports of static hosts, by the addresses of the hosts.
    pub hosts: HashMap<HostAddress, OfPort>,
}

/// A journal that has been read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    /// The state that the whole records keep.
    pub(super) kept: Kept<'a>,
    /// The end of the journal that is not a whole record, if there is one. That end has
    /// no influence on the state.
    pub(super) torn: Option<Torn>,
    /// Whether this version can append records: the journal has the format and the parts
    /// of matches that it writes.
    pub(super) is_current: bool,
}

impl<'a> Kept<'a> {
    /// Reads the records of a journal.
    ///
    /// # Errors
    /// A whole record has bytes that are not a change.
    pub(super) fn read(contents: &'a Contents) -> Result<Reading<'a>, StateError> {
        let mut kept = Self::default();
        let mut unpacker = None;
        let torn = contents.for_each(|changes| {
            let mut bridge = None;
            let mut rest = changes;
            while let Some(first) = rest.first() {
                if rule_bytes::is_rule(*first) {
                    let unpacker =
                        unpacker.as_ref().ok_or("no record names the parts of matches")?;
                    let place = changes.len() - rest.len();
                    let change = rule_bytes::take(&mut rest, unpacker)
                        .ok_or_else(|| format!("the bytes from its byte {place} on are no rule"))?;
                    kept.apply(change, &mut bridge)?;
                    continue;
                }
                let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                let (line, behind) = rest.split_at(end);
                rest = behind.get(1..).unwrap_or_default();
                let about = |why: &str| format!("{why}: {}", String::from_utf8_lossy(line));
                match serde_json::from_slice(line).map_err(|error| about(&error.to_string()))? {
                    Change::MatchParts(parts) => {
                        let parts = Unpacker::new(parts.into_owned()).map_err(|why| about(&why))?;
                        unpacker = Some(parts);
                    }
                    change => kept.apply(change, &mut bridge).map_err(about)?,
                }
            }
            Ok(())
        })?;
        let is_current =
            contents.has_current_format() && unpacker.is_some_and(|parts| parts.is_current());
        Ok(Reading { kept, torn, is_current })
    }

    /// Replaces bridges, ports, rules, groups, meters and static hosts by those of a saved state.
    ///
    /// # Errors
    /// A rule of the saved state cannot be read.
    pub(crate) fn take_back(&mut self, saved: &SavedSwitch) -> Result<(), StateError> {
        self.wanted = Some(saved.desired.clone());
        self.bridges.clear();
        for (name, tables) in &saved.tables {
            let bridge = self.bridges.entry(name.clone()).or_default();
            for rule in tables.requests() {
                let rule =
                    KeptRule::of_request(rule.map_err(|e| StateError::Match(e.to_string()))?);
                bridge.rules.insert(rule.place(), rule);
            }
            bridge.groups = tables.all_groups().map(|group| (group.id, group.clone())).collect();
            bridge.meters = tables.all_meters().map(|meter| (meter.id, meter.clone())).collect();
            let hosts = tables.hosts.iter().flatten();
            bridge.hosts = hosts.map(|(key, port)| ((*key).into(), *port)).collect();
        }
        Ok(())
    }

    /// Gives bridges the rules of new ones if their controllers are others than at the last start, in a way
    /// that ends rules ([`Bridge::loses_rules`](crate::desired::Bridge::loses_rules)). Returns whether a bridge
    /// has lost rules.
    pub(crate) fn begin_anew(&mut self, desired: &Desired) -> bool {
        let mut has_lost = false;
        let wanted = self.wanted.iter().flat_map(|wanted| &wanted.bridges);
        for before in wanted {
            let Ok(after) = desired.bridge(&before.name) else { continue };
            let Some(kept) = self.bridges.get_mut(&before.name) else { continue };
            if !before.loses_rules(after) {
                continue;
            }
            has_lost = true;
            kept.rules.clear();
            if after.forwards_on_its_own() {
                let rule = KeptRule::of_request(Switch::default_rule());
                kept.rules.insert(rule.place(), rule);
            }
        }
        has_lost
    }

    /// The size in bytes that a new journal of this state would have, estimated.
    pub fn size(&self) -> u64 {
        let things = |bridge: &KeptBridge<'_>| {
            let KeptBridge { rules, groups, meters, hosts } = bridge;
            rules.len() + groups.len() + meters.len() + hosts.len()
        };
        let ports = self.wanted.iter().flat_map(|wanted| &wanted.bridges).map(|b| b.ports.len());
        let number = self.bridges.values().map(things).chain(ports).sum::<usize>();
        number as u64 * CHANGE_SIZE
    }

    /// Applies a change. `bridge` is the name of the bridge that the change belongs to; `None` until the record
    /// has named one.
    fn apply(
        &mut self,
        change: Change<'a>,
        bridge: &mut Option<String>,
    ) -> Result<(), &'static str> {
        match change {
            Change::Configured(configured) => self.configured = Some(configured.into_owned()),
            Change::Wanted(wanted) => self.wanted = Some(wanted.into_owned()),
            Change::Bridge(name) => {
                // A bridge without further changes has no rules. At the start it must not get the
                // rule of a new bridge.
                self.bridges.entry(name.to_string()).or_default();
                *bridge = Some(name.into_owned());
            }
            change => {
                let named = bridge.as_ref().and_then(|name| self.bridges.get_mut(name));
                named.ok_or("the record names no bridge")?.apply(change);
            }
        }
        Ok(())
    }
}

impl<'a> KeptBridge<'a> {
    fn apply(&mut self, change: Change<'a>) {
        match change {
            Change::Rule(rule) => {
                self.rules.insert(rule.place(), rule);
            }
            Change::NoRule(place) => {
                self.rules.remove(&place);
            }
            Change::Group(group) => {
                self.groups.insert(group.id, group.into_owned());
            }
            Change::NoGroup(id) => {
                self.groups.remove(&id);
            }
            Change::Meter(meter) => {
                self.meters.insert(meter.id, meter.into_owned());
            }
            Change::NoMeter(id) => {
                self.meters.remove(&id);
            }
            Change::Host(host) => {
                self.hosts.insert(HostAddress { vlan: host.vlan, mac: host.mac }, host.port);
            }
            Change::NoHost(address) => {
                self.hosts.remove(&address);
            }
            Change::Empty => *self = Self::default(),
            Change::MatchParts(_)
            | Change::Configured(_)
            | Change::Wanted(_)
            | Change::Bridge(_) => {}
        }
    }
}
