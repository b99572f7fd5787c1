//! The reconciler: makes the switch as it is wanted.
//!
//! Every change of bridges and ports is an edit of [`Desired`], whoever asks for it. The difference to the
//! state that was wanted before is carried out here, step by step. An edit that contradicts the state is
//! refused before the first step. Only opening a device can fail after that; then the port is taken out of the
//! wanted state again.
//!
//! Opening or closing a device takes milliseconds, and many devices at once take no longer. The lock on the
//! wanted state is not held meanwhile, so that neither other changes nor readers of the state wait.

use super::opening::ReadyPort;
use super::ports::Closing;
use super::{StartError, Switch};
use crate::desired::{
    self, Bridge, Controller, CtZone, Desired, DesiredError, MacAgeing, Resolved, SslFiles, Step,
    TableList, steps,
};
use crate::parallel;
use ::ports::PortError;
use flow::Match;
use flow::flow_mod::{Command, FlowMod};
use flow::types::{OfPort, TableId};
use flowtable::policy::PortRef;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

impl Switch {
    /// A copy of the state that is wanted now.
    pub fn desired(&self) -> Desired {
        self.desired.lock().clone()
    }

    /// The tables of a bridge that have names, with their names.
    pub fn table_names(&self, bridge: &str) -> Vec<(TableId, String)> {
        let desired = self.desired.lock();
        let Ok(bridge) = desired.bridge(bridge) else {
            return Vec::new();
        };
        let tables = (0..=u8::MAX).filter_map(TableId::new);
        tables.filter_map(|table| Some((table, bridge.tables.settings(table).name?))).collect()
    }

    /// Adds a bridge without ports. Its only rule is the one that every new bridge has.
    ///
    /// # Errors
    /// Its name cannot be one, or is taken.
    pub fn add_bridge(&self, bridge: Bridge) -> Result<(), StartError> {
        self.reconcile(Tolerance::MissingDevice, |desired| desired.add_bridge(bridge))
    }

    /// Takes a bridge away, with its ports, rules, groups and hosts.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn remove_bridge(&self, name: &str) -> Result<(), StartError> {
        self.reconcile(Tolerance::MissingDevice, |desired| desired.remove_bridge(name)).map(drop)
    }

    /// Changes the controllers of a bridge.
    ///
    /// # Errors
    /// There is no such bridge, two controllers have the same target, or there are too many.
    pub fn set_controllers(
        &self,
        name: &str,
        controllers: Vec<Controller>,
    ) -> Result<(), StartError> {
        let edit = |desired: &mut Desired| desired.set_controllers(name, controllers);
        self.reconcile(Tolerance::MissingDevice, edit)
    }

    /// Changes the files for TLS connections; `None` is no TLS.
    ///
    /// # Errors
    /// None.
    pub fn set_ssl(&self, files: Option<SslFiles>) -> Result<(), StartError> {
        self.reconcile(Tolerance::MissingDevice, |desired| {
            desired.ssl = files;
            Ok::<(), DesiredError>(())
        })
    }

    /// Gives a zone timeouts of its own for connections.
    ///
    /// # Errors
    /// The zone has some already.
    pub fn add_ct_zone(&self, zone: CtZone) -> Result<(), StartError> {
        self.reconcile(Tolerance::MissingDevice, |desired| desired.add_ct_zone(zone))
    }

    /// Takes the timeouts of its own from a zone.
    ///
    /// # Errors
    /// The zone has none.
    pub fn remove_ct_zone(&self, zone: u16) -> Result<(), StartError> {
        self.reconcile(Tolerance::MissingDevice, |desired| desired.remove_ct_zone(zone))
    }

    /// Has `watcher` called whenever a bridge has been added or removed, or something about
    /// controllers was changed, before the one who asked for that goes on; `None` for nobody.
    /// `watcher` must not change what is wanted.
    pub fn watch_bridges(&self, watcher: Option<Box<dyn Fn() + Send>>) {
        *self.bridge_watcher.lock() = watcher;
    }

    fn tell_of_bridges(&self) {
        if let Some(watcher) = &*self.bridge_watcher.lock() {
            watcher();
        }
    }

    /// Changes the settings of a bridge.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn change_bridge(
        &self,
        name: &str,
        change: impl FnOnce(&mut Bridge),
    ) -> Result<(), StartError> {
        self.reconcile(Tolerance::MissingDevice, |desired| desired.bridge_mut(name).map(change))
    }

    /// Adds a port to a bridge, under the lowest free number unless it wants another. A
    /// missing device is waited for.
    ///
    /// # Errors
    /// Its name or device is taken, or it cannot be opened and waiting would not help; it was not added then.
    pub fn add_port(&self, bridge: &str, port: desired::Port) -> Result<OfPort, StartError> {
        self.reconcile(Tolerance::MissingDevice, |desired| desired.add_port(bridge, port))
    }

    /// Takes a port away and gives its device back. Rules that name it stay. False if there is no such port.
    pub fn remove_port(&self, bridge: &str, of_port: OfPort) -> bool {
        let edit =
            |desired: &mut Desired| Ok::<_, DesiredError>(desired.remove_port(bridge, of_port));
        self.reconcile(Tolerance::MissingDevice, edit).is_ok_and(|port| port.is_some())
    }

    /// Changes the settings of a port. False if there is no such port.
    pub fn change_port(
        &self,
        bridge: &str,
        of_port: OfPort,
        change: impl FnOnce(&mut desired::Port),
    ) -> bool {
        let edit = |desired: &mut Desired| {
            let port = desired.port_mut(bridge, of_port);
            Ok::<_, DesiredError>(port.map(change).is_some())
        };
        self.reconcile(Tolerance::MissingDevice, edit).unwrap_or(false)
    }

    /// Adds a port that is open already to a bridge, for tests and benchmarks.
    ///
    /// # Errors
    /// Its name is taken.
    pub fn add_open_port(&self, bridge: &str, port: ::ports::Port) -> Result<OfPort, StartError> {
        let kind = desired::Kind::Device(::ports::spec::Target::Dummy);
        let mut wanted = desired::Port::new(port.name.clone(), kind);
        let mut desired = self.desired.lock();
        let of_port = desired.add_port(bridge, wanted.clone())?;
        wanted.number = Some(of_port);
        self.install(self.port_ref(bridge, of_port), wanted, Some(port));
        Ok(of_port)
    }

    /// Edits what is wanted and makes it so.
    ///
    /// # Errors
    /// That of the edit, with nothing changed; or that of the first device that could not be opened and whose
    /// error `tolerance` does not cover. The ports of such devices are not wanted any more then; everything
    /// else is done.
    pub(super) fn reconcile<T, E: Into<StartError>>(
        &self,
        tolerance: Tolerance,
        edit: impl FnOnce(&mut Desired) -> Result<T, E>,
    ) -> Result<T, StartError> {
        let mut desired = self.desired.lock();
        let mut wanted = desired.clone();
        let answer = edit(&mut wanted).map_err(Into::into)?;
        // Before the steps: rules that are kept of a bridge that is not wanted any more do no harm, and a
        // bridge that is wanted must not be found without its rules.
        self.keep(&wanted);
        let settings = wanted.settings.resolved();
        let (mut closing, mut opening) = (Vec::new(), Vec::new());
        let mut has_other_bridges = desired.ssl != wanted.ssl;
        for step in steps(&desired, &wanted) {
            has_other_bridges |= match step {
                Step::AddBridge(_) | Step::RemoveBridge(_) => true,
                Step::ChangeBridge { before, after } => before.has_other_openflow(after),
                _ => false,
            };
            self.begin(step, &settings, &mut closing, &mut opening);
        }
        if desired.ct_zones != wanted.ct_zones {
            self.set_timeouts(&wanted.ct_zones);
        }
        *desired = wanted;
        drop(desired);
        if has_other_bridges {
            self.tell_of_bridges();
        }
        self.plan_rings(&mut self.slots.lock());
        // Closes them. A device may be wanted again at once, by another port.
        parallel::for_each(closing, drop);
        self.open_all(opening, tolerance)?;
        Ok(answer)
    }

    /// Has connections kept for as long as their zones say.
    pub(super) fn set_timeouts(&self, zones: &[CtZone]) {
        let zones = zones.iter().map(|zone| (zone.zone, zone.timeouts.clone()));
        self.policy.connections().set_timeouts(&zones.collect::<Vec<_>>());
    }

    /// Does all of a step that takes no time.
    fn begin(
        &self,
        step: Step<'_>,
        settings: &Resolved,
        closing: &mut Vec<Closing>,
        opening: &mut Vec<Opening>,
    ) {
        match step {
            Step::RemovePort { bridge, number, .. } => {
                if let Some(closed) = self.uninstall(self.port_ref(bridge, number)) {
                    closing.push(closed);
                }
            }
            Step::RemoveBridge(bridge) => {
                if let Some(gone) = self.policy.find_bridge(&bridge.name) {
                    self.policy.remove_bridge(gone.id(), self.now());
                }
            }
            Step::AddBridge(bridge) => {
                // What would refuse it was looked for when it was wanted.
                let id =
                    self.policy.add_bridge(&bridge.name).expect("the name and a place are free");
                if bridge.forwards_on_its_own() {
                    self.add_default_rule(self.policy.bridge(id));
                }
                self.configure(bridge, settings);
                self.configure_tables(&TableList::default(), bridge);
            }
            Step::ChangeBridge { before, after } => {
                if before.loses_rules(after) {
                    self.begin_anew(after);
                }
                self.configure(after, settings);
                if before.tlv_map != after.tlv_map {
                    self.map_options(&after.name);
                }
                self.configure_tables(&before.tables, after);
            }
            Step::AddPort { bridge, port, number } => {
                self.install(self.port_ref(bridge, number), port.clone(), None);
                if port.kind.target().is_some() {
                    let (bridge, port) = (bridge.to_owned(), port.clone());
                    opening.push(Opening { bridge, port, number });
                }
            }
            Step::ChangePort { bridge, port, number } => {
                self.change(self.port_ref(bridge, number), port);
            }
        }
    }

    /// Takes all rules of a bridge away, and gives the bridge those that it begins with.
    fn begin_anew(&self, wanted: &Bridge) {
        let Some(bridge) = self.policy.find_bridge(&wanted.name) else { return };
        let everything = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
        let first = wanted.forwards_on_its_own().then(Self::default_rule);
        let changes: Vec<FlowMod> = [everything].into_iter().chain(first).collect();
        if let Err((_, error)) = bridge.apply(&changes, self.now()) {
            warn!(
                "bridge {}: its rules stay, although its controllers changed: {error}",
                wanted.name
            );
        }
    }

    /// Gives a bridge the settings that are wanted.
    fn configure(&self, wanted: &Bridge, settings: &Resolved) {
        let entries = wanted.mac_entries.map_or(settings.mac_entries, |n| n.get() as usize);
        let seconds = |n: MacAgeing| Duration::from_secs(n.get().into());
        let ageing = wanted.mac_ageing.map_or(settings.mac_ageing, seconds);
        if let Some(bridge) = self.policy.find_bridge(&wanted.name) {
            bridge.limit_hosts(entries, ageing);
            bridge.handle_fragments(wanted.frags);
            bridge.map_options(Arc::new(wanted.tlv_map.options()));
        }
    }

    /// Gives tables of a bridge the settings that are wanted, where they differ from those before.
    fn configure_tables(&self, before: &TableList, wanted: &Bridge) {
        if let Some(bridge) = self.policy.find_bridge(&wanted.name) {
            for table in wanted.tables.differing(before) {
                bridge.configure_table(table, &wanted.tables.settings(table));
            }
        }
    }

    /// Opens ports that have their place already, all at once.
    fn open_all(&self, opening: Vec<Opening>, tolerance: Tolerance) -> Result<(), StartError> {
        // The first in the order of the ports.
        let failed = Mutex::new(None::<(usize, StartError)>);
        let place_of = |opening: &Opening| self.port_ref(&opening.bridge, opening.number);
        let places: Vec<PortRef> = opening.iter().map(place_of).collect();
        let opening = opening.into_iter().enumerate().collect();
        let ready = parallel::map(opening, |(place, opening): (usize, Opening)| {
            let ready = self.make_ready(place_of(&opening).bridge, &opening.port);
            (place, opening, ready)
        });
        parallel::for_each(ready, |(place, opening, ready)| {
            let Err(source) = self.open_one(&opening, ready, tolerance) else { return };
            let mut failed = failed.lock();
            if failed.as_ref().is_none_or(|(first, _)| place < *first) {
                *failed = Some((place, StartError::Port { port: opening.port.name, source }));
            }
        });
        self.look_again(&places);
        failed.into_inner().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Opens a port. If that fails, the port is not wanted any more.
    fn open_one(
        &self,
        opening: &Opening,
        ready: Result<ReadyPort, PortError>,
        tolerance: Tolerance,
    ) -> Result<(), PortError> {
        let Opening { bridge, port, number } = opening;
        let at = self.port_ref(bridge, *number);
        let opened = self.open_installed(at, port, ready, tolerance);
        if opened.is_err() {
            let mut desired = self.desired.lock();
            if desired.port_mut(bridge, *number).is_some_and(|p| p.name == port.name) {
                desired.remove_port(bridge, *number);
                self.keep(&desired);
                drop(self.uninstall(at));
            }
        }
        opened
    }

    /// Keeps what is wanted now, if this switch keeps state. The lock of `desired`
    /// puts changes into their order.
    fn keep(&self, desired: &Desired) {
        if let Some(keeper) = &self.keeper {
            keeper.want(desired);
        }
    }

    /// A port by its bridge's name. Of a bridge that is gone no port is found.
    fn port_ref(&self, bridge: &str, port: OfPort) -> PortRef {
        let bridge = self.policy.find_bridge(bridge).map(|bridge| bridge.id());
        PortRef {
            bridge: bridge.unwrap_or_default(),
            port: if bridge.is_some() { port } else { OfPort::NONE },
        }
    }
}

/// What may be wrong with the device of a port that is to be opened. The port stays then, and gets its device
/// later. Anything else is an error, and the port goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tolerance {
    /// Each device must be there and usable.
    Nothing,
    /// The device may be missing.
    MissingDevice,
    /// The device may be missing or unusable. Only a privilege that this process lacks is an error: it would
    /// keep the port waiting for ever.
    AllButPrivileges,
}

impl Tolerance {
    pub(super) fn covers(self, error: &PortError) -> bool {
        match self {
            Self::Nothing => false,
            Self::MissingDevice => error.is_missing(),
            Self::AllButPrivileges => !error.is_denied(),
        }
    }
}

/// A port that has a place, and whose device is to be opened.
struct Opening {
    bridge: String,
    port: desired::Port,
    number: OfPort,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::FailMode;
    use crate::switch::Config;
    use flow::text::{ParseContext, parse_flow};

    fn switch() -> Switch {
        Switch::start(Config::new(Desired::of(&[("br0", &[])]))).unwrap()
    }

    fn add(switch: &Switch, rule: &str) {
        let rule = parse_flow(rule, &ParseContext::default()).unwrap();
        switch.on("br0").unwrap().bridge().apply(&[rule], switch.now()).unwrap();
    }

    /// The actions of all rules.
    fn rules(switch: &Switch) -> Vec<String> {
        let every = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
        let (mut rules, bridge) = (Vec::new(), switch.on("br0").unwrap().bridge());
        let mut walk = bridge.walk(&every);
        while walk.next_slice(|entry| rules.push(format!("{:?}", entry.value.actions))) {}
        rules
    }

    fn controllers(switch: &Switch, targets: &[&str]) {
        let controllers = targets.iter().map(|text| text.parse().unwrap()).collect();
        switch.set_controllers("br0", controllers).unwrap();
    }

    fn fail_mode(switch: &Switch, mode: Option<FailMode>) {
        switch.change_bridge("br0", |bridge| bridge.fail_mode = mode).unwrap();
    }

    #[test]
    fn the_first_controller_and_the_last_one_end_all_rules() {
        let switch = switch();
        let normal = rules(&switch);
        assert_eq!(normal.len(), 1);
        add(&switch, "tcp,actions=drop");
        // Nobody connects to a bridge that only listens: it still stands alone.
        controllers(&switch, &["ptcp:0:127.0.0.1"]);
        assert_eq!(rules(&switch).len(), 2);
        controllers(&switch, &["tcp:127.0.0.1:1"]);
        assert!(rules(&switch).is_empty());
        add(&switch, "tcp,actions=drop");
        controllers(&switch, &["tcp:127.0.0.1:1", "tcp:127.0.0.1:2"]);
        fail_mode(&switch, Some(FailMode::Secure));
        assert_eq!(rules(&switch).len(), 1, "with a controller the mode changes no rules");
        controllers(&switch, &[]);
        assert!(rules(&switch).is_empty(), "secure");
        add(&switch, "tcp,actions=drop");
        fail_mode(&switch, None);
        assert_eq!(rules(&switch), normal);
    }

    #[test]
    fn a_bridge_that_begins_with_a_controller_begins_without_rules() {
        for (mode, targets, begins_with) in [
            (None, &["unix:ctl"][..], 0),
            (Some(FailMode::Secure), &[], 0),
            (None, &["punix:ctl"], 1),
            (Some(FailMode::Standalone), &[], 1),
        ] {
            let mut desired = Desired::of(&[("br0", &[])]);
            desired.bridges[0].fail_mode = mode;
            let controllers = targets.iter().map(|text| text.parse().unwrap()).collect();
            desired.set_controllers("br0", controllers).unwrap();
            let switch = Switch::start(Config::new(desired)).unwrap();
            assert_eq!(rules(&switch).len(), begins_with, "{mode:?} {targets:?}");
        }
    }

    #[test]
    fn two_controllers_have_two_targets() {
        let switch = switch();
        let twice = ["tcp:127.0.0.1", "tcp:127.0.0.1,max_backoff=1000"];
        let twice = twice.map(|text| text.parse().unwrap()).into();
        let error = switch.set_controllers("br0", twice).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bridge \"br0\": controller \"tcp:127.0.0.1\" is named twice"
        );
        let many = (1..=33).map(|n| format!("tcp:127.0.0.1:{n}").parse().unwrap()).collect();
        assert!(switch.set_controllers("br0", many).is_err());
        assert_eq!(rules(&switch).len(), 1);
    }
}
