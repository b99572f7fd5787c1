//! What is kept, as the records of a journal say it, one after the other.

use super::change::{Change, HostAddress, KeptRule, RulePlace};
use super::error::StateError;
use super::journal::{Contents, Torn};
use crate::desired::Desired;
use flow::group::Group;
use flow::types::{GroupId, OfPort};
use std::collections::{BTreeMap, HashMap};

/// Size of a line in bytes, roughly.
const LINE_SIZE: u64 = 200;

/// What is kept.
#[derive(Debug, Default)]
pub struct Kept<'a> {
    /// What the command line and the file said when the switch was last started; `None` before the first time.
    pub configured: Option<Desired>,
    /// What was wanted last; `None` before the first time.
    pub wanted: Option<Desired>,
    /// The bridges by their names.
    pub bridges: BTreeMap<String, KeptBridge<'a>>,
}

/// What is kept of a bridge.
#[derive(Debug, Default, PartialEq)]
pub struct KeptBridge<'a> {
    /// The rules by their places, in no particular order.
    pub rules: HashMap<RulePlace<'a>, KeptRule<'a>>,
    /// The groups by their numbers.
    pub groups: HashMap<GroupId, Group>,
    /// The ports of static hosts, by the addresses of the hosts.
    pub hosts: HashMap<HostAddress, OfPort>,
}

impl<'a> Kept<'a> {
    /// Reads the records of a journal. Returns the end that is not a whole record, too, if there is one: what is kept
    /// is what was so before that.
    ///
    /// # Errors
    /// A record that was written whole makes no sense.
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

    /// Size in bytes that a new journal of this would have, roughly.
    pub fn size(&self) -> u64 {
        let things =
            |bridge: &KeptBridge<'_>| bridge.rules.len() + bridge.groups.len() + bridge.hosts.len();
        let ports = self.wanted.iter().flat_map(|wanted| &wanted.bridges).map(|b| b.ports.len());
        let number = self.bridges.values().map(things).chain(ports).sum::<usize>();
        number as u64 * LINE_SIZE
    }

    /// Makes a change. `bridge` is the bridge that the record is about; `None` as long as it has named none.
    fn apply(&mut self, change: Change<'a>, bridge: &mut Option<String>) -> Result<(), String> {
        match change {
            Change::Configured(configured) => self.configured = Some(configured.into_owned()),
            Change::Wanted(wanted) => self.wanted = Some(wanted.into_owned()),
            Change::Bridge(name) => {
                // A bridge of which nothing is told has no rules. It must not get those of a new bridge.
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
