//! The state that a journal keeps: the result of all its records, read one after the other.

use super::change::{Change, HostAddress, KeptRule, RulePlace};
use super::error::StateError;
use super::journal::{Contents, Torn};
use crate::desired::Desired;
use crate::saved::SavedSwitch;
use crate::switch::Switch;
use flow::group::Group;
use flow::meter::Meter;
use flow::types::{GroupId, MeterId, OfPort};
use std::collections::{BTreeMap, HashMap};

/// The size of a line of a record in bytes, estimated.
const LINE_SIZE: u64 = 200;

/// The state that a journal keeps.
#[derive(Debug, Default)]
pub struct Kept<'a> {
    /// The bridges and ports that the command line and the file named at the last start; `None` before the first start.
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

impl<'a> Kept<'a> {
    /// Reads the records of a journal. Also returns the end of the journal that is not a whole record, if there is one; that
    /// end has no influence on the state.
    ///
    /// # Errors
    /// A whole record has a line that is not a change.
    pub(super) fn read(contents: &'a Contents) -> Result<(Self, Option<Torn>), StateError> {
        let mut kept = Self::default();
        let torn = contents.for_each(|lines| {
            let mut bridge = None;
            lines.lines().try_for_each(|line| {
                let change =
                    serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
                kept.apply(change, &mut bridge).map_err(|why| format!("{why}: {line}"))
            })
        })?;
        Ok((kept, torn))
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

    /// Gives bridges the rules of new ones if their controllers are others than at the last start, in a way that ends rules
    /// ([`Bridge::loses_rules`](crate::desired::Bridge::loses_rules)). Returns whether a bridge has lost rules.
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
        number as u64 * LINE_SIZE
    }

    /// Applies a change. `bridge` is the name of the bridge that the change belongs to; `None` until the record has named
    /// one.
    fn apply(&mut self, change: Change<'a>, bridge: &mut Option<String>) -> Result<(), String> {
        match change {
            Change::Configured(configured) => self.configured = Some(configured.into_owned()),
            Change::Wanted(wanted) => self.wanted = Some(wanted.into_owned()),
            Change::Bridge(name) => {
                // A bridge without further changes has no rules. At the start it must not get the rule of a new bridge.
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
            Change::Configured(_) | Change::Wanted(_) | Change::Bridge(_) => {}
        }
    }
}
