//! The bridges and ports that a switch starts with: the kept ones, changed where the configuration has changed.
//!
//! The configuration is what the command line and the configuration file say. The merge compares it with the
//! configuration of the last start:
//!
//! - A bridge or port that is the same in both stays as commands have left it: changed, or taken away.
//! - A bridge or port that is new or different in the configuration is taken from the configuration.
//! - A bridge or port that the configuration does not name any more is taken away.
//! - A bridge or port that the configuration never named stays: a command has added it.
//!
//! A configuration without bridges changes nothing. At the first start, such a
//! configuration means one empty bridge.

use super::error::StateError;
use super::kept::Kept;
use crate::desired::{Bridge, Desired, DesiredError, Port};
use tracing::info;

impl Kept<'_> {
    /// Merges the kept bridges and ports with the configuration `configured`.
    ///
    /// # Errors
    /// A bridge or port that is new in the configuration has the name, the number or the device of a kept one.
    pub fn merge(&self, configured: &Desired) -> Result<Desired, StateError> {
        let Some(wanted) = &self.wanted else {
            let is_empty = configured.bridges.is_empty();
            let one_bridge =
                Desired { settings: configured.settings.clone(), ..Desired::one_bridge() };
            return Ok(if is_empty { one_bridge } else { configured.clone() });
        };
        Ok(merge(self.configured.as_ref().unwrap_or(&Desired::default()), wanted, configured)?)
    }

    /// The configuration that the next start has to compare with: `configured`, with the bridges of the last
    /// start if it has none itself.
    pub fn configuration(&self, configured: &Desired) -> Desired {
        configuration(self.configured.as_ref().unwrap_or(&Desired::default()), configured)
    }
}

/// The bridges and ports `wanted`, changed where `configured` differs from the configuration `before`.
///
/// # Errors
/// A bridge or port that is new in the configuration has the name, the number or the device of a wanted one.
pub(crate) fn merge(
    before: &Desired,
    wanted: &Desired,
    configured: &Desired,
) -> Result<Desired, DesiredError> {
    let configured = &configuration(before, configured);
    let mut merged = Desired {
        settings: configured.settings.clone(),
        ssl: one(&wanted.ssl, Some(&before.ssl), &configured.ssl),
        ct_zones: one(&wanted.ct_zones, Some(&before.ct_zones), &configured.ct_zones),
        bridges: Vec::new(),
    };
    for bridge in &wanted.bridges {
        if has(before, &bridge.name) && !has(configured, &bridge.name) {
            info!("bridge {}: taken away, as it is not configured any more", bridge.name);
            continue;
        }
        let kept = Bridge { ports: Vec::new(), ..bridge.clone() };
        let (then, now) = (find(before, &bridge.name), find(configured, &bridge.name));
        merged.add_bridge(now.map_or_else(|| kept.clone(), |now| settings(&kept, then, now)))?;
    }
    for bridge in configured.bridges.iter().filter(|bridge| !has(before, &bridge.name)) {
        if !has(&merged, &bridge.name) {
            merged.add_bridge(Bridge { ports: Vec::new(), ..bridge.clone() })?;
        }
    }
    let names: Vec<String> = merged.bridges.iter().map(|bridge| bridge.name.clone()).collect();
    for name in names {
        let ports = |desired| find(desired, &name).map_or(&[][..], |bridge| &bridge.ports);
        for port in merge_ports(ports(wanted), ports(before), ports(configured)) {
            merged.add_port(&name, port)?;
        }
    }
    Ok(merged)
}

/// The configuration that the next one is to be compared with: `configured`, with the bridges of `before` if it
/// has none itself.
pub(crate) fn configuration(before: &Desired, configured: &Desired) -> Desired {
    if !configured.bridges.is_empty() {
        return configured.clone();
    }
    let ssl = configured.ssl.clone().or_else(|| before.ssl.clone());
    let ct_zones = match configured.ct_zones.is_empty() {
        true => before.ct_zones.clone(),
        false => configured.ct_zones.clone(),
    };
    let settings = configured.settings.clone();
    Desired { settings, ssl, ct_zones, bridges: before.bridges.clone() }
}

fn find<'a>(desired: &'a Desired, name: &str) -> Option<&'a Bridge> {
    desired.bridges.iter().find(|bridge| bridge.name == name)
}

fn has(desired: &Desired, name: &str) -> bool {
    find(desired, name).is_some()
}

/// A setting: the one of the configuration `now` if it differs from the one `then`, and the kept one otherwise.
fn one<T: PartialEq + Clone>(kept: &T, then: Option<&T>, now: &T) -> T {
    if then.is_some_and(|then| then == now) { kept.clone() } else { now.clone() }
}

/// A bridge without ports. A setting is that of the configuration `now` if it differs from the one `then`, and
/// the kept one otherwise. All controllers together are one setting.
fn settings(kept: &Bridge, then: Option<&Bridge>, now: &Bridge) -> Bridge {
    Bridge {
        name: kept.name.clone(),
        datapath_id: one(&kept.datapath_id, then.map(|b| &b.datapath_id), &now.datapath_id),
        mac_ageing: one(&kept.mac_ageing, then.map(|b| &b.mac_ageing), &now.mac_ageing),
        mac_entries: one(&kept.mac_entries, then.map(|b| &b.mac_entries), &now.mac_entries),
        frags: one(&kept.frags, then.map(|b| &b.frags), &now.frags),
        persist: one(&kept.persist, then.map(|b| &b.persist), &now.persist),
        fail_mode: one(&kept.fail_mode, then.map(|b| &b.fail_mode), &now.fail_mode),
        protocols: one(&kept.protocols, then.map(|b| &b.protocols), &now.protocols),
        controllers: one(&kept.controllers, then.map(|b| &b.controllers), &now.controllers),
        tables: one(&kept.tables, then.map(|b| &b.tables), &now.tables),
        tlv_map: one(&kept.tlv_map, then.map(|b| &b.tlv_map), &now.tlv_map),
        ports: Vec::new(),
    }
}

/// The ports of a bridge: the kept ones in their order, and then those that are new in the configuration.
fn merge_ports(kept: &[Port], before: &[Port], now: &[Port]) -> Vec<Port> {
    let find = |ports: &[Port], name: &str| ports.iter().find(|port| port.name == name).cloned();
    let is_new = |port: &Port| find(before, &port.name).as_ref() != Some(port);
    let is_gone =
        |port: &&Port| find(before, &port.name).is_some() && find(now, &port.name).is_none();
    let (gone, stay): (Vec<&Port>, Vec<&Port>) = kept.iter().partition(is_gone);
    for port in gone {
        info!("port {}: taken away, as it is not configured any more", port.name);
    }
    let changed = |port: &Port| find(now, &port.name).filter(is_new);
    let mut merged: Vec<Port> =
        stay.into_iter().map(|port| changed(port).unwrap_or_else(|| port.clone())).collect();
    let added = now.iter().filter(|port| is_new(port) && find(kept, &port.name).is_none());
    merged.extend(added.cloned());
    merged
}
