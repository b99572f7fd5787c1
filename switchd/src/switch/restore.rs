//! The switch's side of kept state: restores it at the start, and waits until changes are kept.

use super::reconcile::Tolerance;
use super::{StartError, Switch};
use crate::bridge::hosts;
use crate::desired::{Bridge, Desired};
use crate::state::{self, Beginning, Journal, Kept, StateError, Timeouts};
use flowtable::policy::mac_table::MacKey;
use tracing::warn;

impl Switch {
    /// Makes the bridges that are wanted, still without ports, and gives them the kept rules and groups. No
    /// frame can come in before the rules are there.
    ///
    /// # Errors
    /// A match cannot be read, or the policy refuses a rule or a group.
    pub(super) fn restore(
        &self,
        kept: &Kept<'_>,
        wanted: &Desired,
        timeouts: Timeouts,
    ) -> Result<(), StartError> {
        // Before connections are taken over, which may be kept for longer than others.
        self.set_timeouts(&wanted.ct_zones);
        if kept.bridges.is_empty() {
            return Ok(());
        }
        let without_ports = |bridge: &Bridge| Bridge { ports: Vec::new(), ..bridge.clone() };
        let bridges: Vec<Bridge> = wanted.bridges.iter().map(without_ports).collect();
        self.reconcile(Tolerance::Nothing, |desired| {
            desired.bridges = bridges;
            Ok::<(), StartError>(())
        })?;
        for (name, kept) in &kept.bridges {
            if let Some(bridge) = self.policy.find_bridge(name) {
                state::restore(bridge, name, kept, timeouts, self.now())?;
            }
        }
        Ok(())
    }

    /// Has the keeper begin to write. The tables have been restored.
    pub(super) fn begin_to_keep(
        &self,
        kept: &Kept<'_>,
        journal: Option<Journal>,
        wanted: &Desired,
    ) {
        let Some(keeper) = &self.keeper else { return };
        let is_gone = |name: &&String| wanted.bridge(name).is_err();
        keeper.begin(Beginning {
            configured: self.configured(),
            wanted: wanted.clone(),
            journal,
            new_size: kept.size(),
            gone: kept.bridges.keys().filter(is_gone).cloned().collect(),
        });
    }

    /// Gives the bridges their kept static hosts. The ports have been opened before: a port that cannot be
    /// opened is removed again, and takes its hosts along.
    pub(super) fn restore_hosts(&self, kept: &Kept<'_>) {
        for (name, kept) in &kept.bridges {
            let Some(bridge) = self.on(name) else { continue };
            for (address, port) in &kept.hosts {
                let key = MacKey { vlan: address.vlan, mac: address.mac };
                if let Err(error) = hosts::give(bridge, key, *port) {
                    warn!("bridge {name}: static host {}: {error}", address.mac);
                }
            }
        }
    }

    /// Whether rules and groups are kept for the next switch.
    pub(crate) fn keeps_state(&self) -> bool {
        self.keeper.is_some()
    }

    /// Returns once all changes that were made before the call are kept. Returns at once if
    /// this switch keeps no state.
    ///
    /// # Errors
    /// The journal could not be written. The changes are in force all the same, and the
    /// keeper tries again every second.
    pub fn wait_until_kept(&self) -> Result<(), StateError> {
        self.wait_until_kept_with(&|| {})
    }

    /// As [`Switch::wait_until_kept`]. Calls `step` about twice a second while the disk is busy.
    ///
    /// # Errors
    /// As [`Switch::wait_until_kept`].
    pub fn wait_until_kept_with(&self, step: &dyn Fn()) -> Result<(), StateError> {
        self.keeper.as_ref().map_or(Ok(()), |keeper| keeper.wait(step))
    }
}
