//! Revisions of the whole switch: made as one, taken back, confirmed, and remembered.

use super::reconcile::Tolerance;
use super::{StartError, Switch};
use crate::bridge::hosts::{self, HostError};
use crate::desired::FileError;
use crate::desired::{Bridge, Desired, Port, is_same_device};
use crate::saved::{
    self, Author, History, HistoryEntry, PlanLine, SavedSwitch, SavedTables, TableError, Trial,
    plan,
};
use crate::state::{StateError, configuration, merge};
use flowtable::policy::Conduct;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// The time until a change is taken back again after that has failed.
const RETRY: Duration = Duration::from_secs(10);

/// The changes of the whole switch: the one that is being made or waits to be confirmed, and those before.
#[derive(Debug)]
pub(super) struct Revisions {
    /// The state directory; `None` without `--state`.
    state: Option<PathBuf>,
    /// Held while a change is made or taken back.
    busy: Mutex<()>,
    /// What the command line and the file named at the start, or when the file was last read.
    configured: Mutex<Desired>,
    history: Mutex<History>,
    /// The change that waits to be confirmed.
    trial: Mutex<Option<Trial>>,
}

impl Revisions {
    /// No change, and the history of a state directory. `configured` is what the command
    /// line and the file name.
    ///
    /// # Errors
    /// The history cannot be read.
    pub(super) fn open(state: Option<PathBuf>, configured: Desired) -> Result<Self, StateError> {
        let history = Mutex::new(History::open(state.as_deref())?);
        let configured = Mutex::new(configured);
        Ok(Self { state, busy: Mutex::default(), configured, history, trial: Mutex::default() })
    }
}

/// Why the switch was not changed. It is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A change waits to be confirmed.
    #[error("\"{what}\" of {who} waits to be confirmed, {left} s left")]
    Waits {
        /// The change that waits.
        what: String,
        /// The user who has made it.
        who: String,
        /// Whole seconds until the change is taken back.
        left: u64,
    },
    /// No change waits to be confirmed.
    #[error("no change waits to be confirmed")]
    NothingWaits,
    /// The history has no state of this number.
    #[error("the history has no state {0}")]
    NoState(u64),
    /// The history has no state at all.
    #[error("the history is empty")]
    NoHistory,
    /// The file has another setting of the switch than the one that runs.
    #[error("[switch]: the file says {key} = {there}, and the switch runs with {here}")]
    Setting {
        /// The setting, as a key of `[switch]`.
        key: String,
        /// The value that the switch runs with.
        here: String,
        /// The value of the file.
        there: String,
    },
    /// A rule or a group is refused.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A static host is refused.
    #[error("bridge \"{bridge}\": static host {host}: {error}")]
    Host {
        /// The name of the bridge.
        bridge: String,
        /// The host, as `fdb-add` takes it.
        host: String,
        /// Why the bridge cannot have the host.
        error: HostError,
    },
    /// A port cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// State cannot be kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// A state of the history cannot be read.
    #[error("a kept state cannot be read: {0}")]
    File(#[from] FileError),
}

impl Switch {
    /// What has to be done to make the switch as `wanted` says. Nothing is changed. `step`
    /// is called now and then.
    ///
    /// # Errors
    /// Why [`Switch::apply`] would refuse.
    pub fn plan(&self, wanted: SavedSwitch, step: &dyn Fn()) -> Result<Vec<PlanLine>, ApplyError> {
        let before = SavedSwitch::of(self);
        let wanted = self.complete(wanted, &before)?;
        saved::check(&wanted, &before, self.conduct(), step)?;
        Ok(plan(&before, &wanted))
    }

    /// Makes the switch as `wanted` says, or leaves all as it is. Returns what was done. With
    /// `confirm`, the change is taken back after that time unless [`Switch::confirm`] is called. `step`
    /// is called now and then.
    ///
    /// # Errors
    /// Another change waits to be confirmed, or the switch cannot be as it is wanted. All is as before then.
    pub fn apply(
        &self,
        wanted: SavedSwitch,
        author: Author,
        confirm: Option<Duration>,
        step: &dyn Fn(),
    ) -> Result<Vec<PlanLine>, ApplyError> {
        let _busy = self.revisions.busy.lock();
        self.refuse_while_waiting()?;
        let before = SavedSwitch::of(self);
        let wanted = self.complete(wanted, &before)?;
        saved::check(&wanted, &before, self.conduct(), step)?;
        self.carry_out(&before, &wanted, author, confirm, Tolerance::MissingDevice, step)
    }

    /// Changes what the configuration changes: `configured` is what the command line and the file say now, and
    /// is compared with what they said before. What commands have changed and the configuration has not stays.
    /// Returns what was done.
    ///
    /// # Errors
    /// A change waits to be confirmed, the configuration contradicts what commands have added, or a privilege
    /// is missing. All is as before then.
    pub fn reconfigure(
        &self,
        configured: &Desired,
        author: Author,
    ) -> Result<Vec<PlanLine>, ApplyError> {
        let _busy = self.revisions.busy.lock();
        self.refuse_while_waiting()?;
        let mut last = self.revisions.configured.lock();
        let before = SavedSwitch::of(self);
        let mut desired = merge(&last, &before.desired, configured).map_err(StartError::Desired)?;
        let changed = desired.settings.effective().words().into_iter();
        let running = before.desired.settings.effective().words();
        for (key, value) in changed.filter(|word| !running.contains(word)) {
            warn!("{key} = {value} takes effect at the next start");
        }
        desired.settings = before.desired.settings.clone();
        let wanted = SavedSwitch { desired, ..SavedSwitch::default() };
        let wanted = self.complete(wanted, &before)?;
        let tolerance = Tolerance::AllButPrivileges;
        let lines = self.carry_out(&before, &wanted, author, None, tolerance, &|| {})?;
        *last = configuration(&last, configured);
        if let Some(keeper) = &self.keeper {
            let desired = self.desired.lock();
            keeper.configure(&last);
            // The keeper chooses ports by the configuration, so it gets the wanted ports again.
            keeper.want(&desired);
        }
        Ok(lines)
    }

    /// Keeps the change that waits to be confirmed. Returns the change.
    ///
    /// # Errors
    /// No change waits, or its file cannot be removed; then the change still waits.
    pub fn confirm(&self) -> Result<Author, ApplyError> {
        let _busy = self.revisions.busy.lock();
        let mut trial = self.revisions.trial.lock();
        let waiting = trial.as_ref().ok_or(ApplyError::NothingWaits)?;
        self.wait_until_kept()?;
        waiting.end()?;
        let author = waiting.author.clone();
        *trial = None;
        info!("\"{}\" of {} is confirmed", author.what, author.who);
        Ok(author)
    }

    /// Takes back the change that waits to be confirmed. If none waits, returns to a state of the history, by
    /// default the last one. Returns what was done.
    ///
    /// # Errors
    /// A change waits and `to` names a state; the history has no such state; or the switch cannot be as it was.
    pub fn roll_back(
        &self,
        to: Option<u64>,
        who: &str,
        step: &dyn Fn(),
    ) -> Result<Vec<PlanLine>, ApplyError> {
        let _busy = self.revisions.busy.lock();
        if to.is_some() {
            self.refuse_while_waiting()?;
        }
        let waiting = self.revisions.trial.lock().take();
        if let Some(trial) = waiting {
            return self.take_back(trial, who, step);
        }
        let number = match to {
            Some(number) => number,
            None => self.history().last().ok_or(ApplyError::NoHistory)?.number,
        };
        let wanted = self.state_in_history(number, step)?;
        let before = SavedSwitch::of(self);
        saved::check(&wanted, &before, self.conduct(), step)?;
        let author = Author { who: who.to_owned(), what: format!("rollback {number}") };
        self.carry_out(&before, &wanted, author, None, Tolerance::MissingDevice, step)
    }

    /// A state of the history, with the settings that the switch runs with.
    ///
    /// # Errors
    /// The history has no such state, or the state cannot be read.
    pub fn state_in_history(
        &self,
        number: u64,
        step: &dyn Fn(),
    ) -> Result<SavedSwitch, ApplyError> {
        let text = self.revisions.history.lock().text(number)?;
        let text = text.ok_or(ApplyError::NoState(number))?;
        let mut wanted = SavedSwitch::read(&text, &format!("state {number}"), step)?;
        wanted.desired.settings = self.desired.lock().settings.clone();
        Ok(wanted)
    }

    /// The states that can be returned to, the oldest one first.
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.revisions.history.lock().entries()
    }

    /// Remembers the state before a change that somebody has made otherwise. A state that cannot be written is
    /// left out, and the log says so.
    pub fn remember(&self, before: &SavedSwitch, author: &Author) {
        let lines = plan(before, &SavedSwitch::of(self));
        if lines.is_empty() {
            return;
        }
        if let Err(error) = self.revisions.history.lock().add(&before.write(), author, &lines) {
            warn!("the state before \"{}\" is not in the history: {error}", author.what);
        }
    }

    /// The change that waits to be confirmed and the time until it is taken back; `None` if none waits.
    pub fn waiting(&self) -> Option<(Author, Duration)> {
        let trial = self.revisions.trial.lock();
        let trial = trial.as_ref()?;
        Some((trial.author.clone(), trial.left()?))
    }

    /// Takes back a change that was not confirmed in time.
    pub(crate) fn end_trial_if_due(&self) {
        let is_due = |trial: &mut Trial| trial.left().is_some_and(|left| left.is_zero());
        // A session that makes a change holds the lock for long. The next call of this function looks again.
        let Some(_busy) = self.revisions.busy.try_lock() else { return };
        let Some(trial) = self.revisions.trial.lock().take_if(is_due) else { return };
        let author = trial.author.clone();
        if let Err(error) = self.take_back(trial, "switchd", &|| {}) {
            error!("\"{}\" was not confirmed, and cannot be taken back: {error}", author.what);
        }
    }

    /// What the command line and the file named at the start, or when the file was last read.
    pub(crate) fn configured(&self) -> Desired {
        self.revisions.configured.lock().clone()
    }

    fn refuse_while_waiting(&self) -> Result<(), ApplyError> {
        match self.waiting() {
            None => Ok(()),
            Some((Author { who, what }, left)) => {
                Err(ApplyError::Waits { what, who, left: left.as_secs() })
            }
        }
    }

    fn conduct(&self) -> Conduct {
        if self.lenient { Conduct::AsOvs } else { Conduct::Sensible }
    }

    /// What is wanted in full: with the settings that the switch runs with, and the tables of new bridges.
    fn complete(
        &self,
        mut wanted: SavedSwitch,
        before: &SavedSwitch,
    ) -> Result<SavedSwitch, ApplyError> {
        let running = before.desired.settings.effective().words();
        for (key, there) in wanted.desired.settings.words() {
            let here = running.iter().find(|(name, _)| *name == key);
            let here = here.map_or("no value", |(_, value)| value);
            if here != there {
                return Err(ApplyError::Setting { key, here: here.to_owned(), there });
            }
        }
        wanted.desired.settings = before.desired.settings.clone();
        for bridge in &wanted.desired.bridges {
            let first = SavedTables::of_new_bridge(bridge);
            let first = match before.desired.bridge(&bridge.name) {
                Err(_) => first,
                Ok(old) if old.loses_rules(bridge) => {
                    SavedTables { groups: None, hosts: None, ..first }
                }
                Ok(_) => continue,
            };
            let tables = wanted.tables.entry(bridge.name.clone()).or_default();
            *tables = std::mem::take(tables).or(first);
        }
        Ok(wanted)
    }

    /// Makes the switch as it is wanted, remembers the state before, and waits to be confirmed if that is
    /// wanted. The caller holds the lock of changes.
    fn carry_out(
        &self,
        before: &SavedSwitch,
        wanted: &SavedSwitch,
        author: Author,
        confirm: Option<Duration>,
        tolerance: Tolerance,
        step: &dyn Fn(),
    ) -> Result<Vec<PlanLine>, ApplyError> {
        let lines = plan(before, wanted);
        if lines.is_empty() {
            return Ok(lines);
        }
        let text: Arc<str> = before.write().into();
        let number = self.revisions.history.lock().add(&text, &author, &lines)?;
        let mut trial = Trial::begin(self.revisions.state.as_deref(), author, text)
            .inspect_err(|_| self.revisions.history.lock().forget(number))?;
        if let Err(error) = self.make_so(wanted, tolerance, step) {
            if let Err(error) = self.make_so(before, Tolerance::AllButPrivileges, step) {
                error!("\"{}\" failed, and cannot be taken back: {error}", trial.author.what);
            }
            self.revisions.history.lock().forget(number);
            self.end(&trial);
            return Err(error);
        }
        let Author { who, what } = &trial.author;
        info!("\"{what}\" of {who}: {} changes", lines.len());
        match confirm {
            Some(time) => {
                info!("\"{what}\" is taken back in {} s unless it is confirmed", time.as_secs());
                trial.until = Some(Instant::now() + time);
                *self.revisions.trial.lock() = Some(trial);
            }
            None => self.end(&trial),
        }
        Ok(lines)
    }

    /// Returns to the state before a change that was to be confirmed. The caller holds the lock of changes, and
    /// has taken the trial out of its place.
    fn take_back(
        &self,
        mut trial: Trial,
        who: &str,
        step: &dyn Fn(),
    ) -> Result<Vec<PlanLine>, ApplyError> {
        let mut wanted = SavedSwitch::read(&trial.before, "the state before", step)?;
        let before = SavedSwitch::of(self);
        wanted.desired.settings = before.desired.settings.clone();
        let lines = plan(&before, &wanted);
        let what = format!("rollback of {}", trial.author.what);
        let author = Author { who: who.to_owned(), what };
        if let Err(error) = self.revisions.history.lock().add(&before.write(), &author, &lines) {
            warn!("the state before \"{}\" is not in the history: {error}", author.what);
        }
        if let Err(error) = self.make_so(&wanted, Tolerance::AllButPrivileges, step) {
            // A later sweep takes the change back.
            trial.until = Some(Instant::now() + RETRY);
            *self.revisions.trial.lock() = Some(trial);
            return Err(error);
        }
        self.end(&trial);
        let Author { who: by, what } = &trial.author;
        warn!("\"{what}\" of {by} was not confirmed: {who} has taken it back");
        Ok(lines)
    }

    /// Removes the file of a change once the state that the switch has now is kept.
    fn end(&self, trial: &Trial) {
        let ended = self.wait_until_kept().and_then(|()| trial.end());
        if let Err(error) = ended {
            error!("the next start would take \"{}\" back: {error}", trial.author.what);
        }
    }

    /// Makes the switch as it is wanted, step by step.
    ///
    /// # Errors
    /// The first step that failed. The steps before are done.
    fn make_so(
        &self,
        wanted: &SavedSwitch,
        tolerance: Tolerance,
        step: &dyn Fn(),
    ) -> Result<(), ApplyError> {
        // No port is opened before the rules are there: no frame is forwarded by other rules.
        self.reconcile(tolerance, |desired| {
            desired.bridges = without_new_ports(desired, &wanted.desired);
            desired.ssl = wanted.desired.ssl.clone();
            desired.ct_zones = wanted.desired.ct_zones.clone();
            Ok::<(), StartError>(())
        })?;
        for (name, tables) in &wanted.tables {
            if let Some(bridge) = self.policy.find_bridge(name) {
                saved::replace_tables(bridge, name, tables, self.now(), step)?;
            }
        }
        step();
        self.reconcile(tolerance, |desired| {
            desired.bridges = wanted.desired.bridges.clone();
            Ok::<(), StartError>(())
        })?;
        // A port that is closed takes its hosts along.
        for (name, tables) in &wanted.tables {
            self.replace_hosts(name, tables)?;
        }
        Ok(())
    }

    fn replace_hosts(&self, name: &str, tables: &SavedTables) -> Result<(), ApplyError> {
        let (Some(wanted), Some(bridge)) = (&tables.hosts, self.on(name)) else { return Ok(()) };
        let have = hosts::given(bridge);
        for (key, _) in have.iter().filter(|(key, port)| wanted.get(key) != Some(port)) {
            // The host may have gone with its port.
            let _ = hosts::remove(bridge, *key);
        }
        let new = wanted.iter().filter(|(key, port)| !have.contains(&(**key, **port)));
        for (key, port) in new {
            hosts::give(bridge, *key, *port).map_err(|error| ApplyError::Host {
                bridge: name.to_owned(),
                host: format!("{port} {} {}", key.vlan, key.mac),
                error,
            })?;
        }
        Ok(())
    }
}

/// The bridges of `wanted`, with those of their ports that are open and need not be opened again.
fn without_new_ports(have: &Desired, wanted: &Desired) -> Vec<Bridge> {
    let bridge = |wanted: &Bridge| {
        let have = have.bridge(&wanted.name).map_or(&[][..], |bridge| &bridge.ports);
        let is_open = |port: &&Port| {
            have.iter().any(|old| old.number == port.number && is_same_device(old, port))
        };
        Bridge { ports: wanted.ports.iter().filter(is_open).cloned().collect(), ..wanted.clone() }
    };
    wanted.bridges.iter().map(bridge).collect()
}
