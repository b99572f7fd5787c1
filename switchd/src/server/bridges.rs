//! Bridges: which there are, which one a request means, and everything that is wanted of them.

use super::answer::{Failure, Sender};
use super::saved::send_lines;
use crate::desired::{Bridge, DesiredError, file};
use crate::switch::{OnBridge, StartError, Switch};
use control::record::BridgeRecord;
use control::stream::StreamError;
use control::{Format, Reason, Refusal, Reply};
use flow::text::{ParseContext, parse_match};
use flow::types::Fragments;

/// The bridge of this name.
pub(super) fn find<'a>(switch: &'a Switch, name: &str) -> Result<OnBridge<'a>, Box<Refusal>> {
    switch.on(name).ok_or_else(|| no_bridge(switch, name))
}

/// The bridge of a switch that has one, for a request that names none.
pub(super) fn only(switch: &Switch) -> Result<OnBridge<'_>, Box<Refusal>> {
    match &switch.bridge_names()[..] {
        [name] => find(switch, name),
        [] => {
            let refusal = Refusal::new(Reason::NotFound, "this switch has no bridge");
            Err(Box::new(refusal.with_hint("ofctl add-br NAME adds one")))
        }
        _ => {
            let message = "this switch has several bridges: name the one that is meant";
            let refusal = Refusal::new(Reason::Text, message);
            Err(Box::new(refusal.with_hint(known(switch))))
        }
    }
}

fn no_bridge(switch: &Switch, name: &str) -> Box<Refusal> {
    let refusal = Refusal::new(Reason::NotFound, format!("there is no bridge \"{name}\""));
    // Without quotes, the shell passes on a rule with blanks as several words, and the first of them is taken
    // for a bridge.
    let hint = match parse_match(name, &ParseContext::default()) {
        Ok(_) => format!("{}; a rule with blanks has to be in quotes", known(switch)),
        Err(_) => known(switch),
    };
    Box::new(refusal.with_hint(hint))
}

fn known(switch: &Switch) -> String {
    match &switch.bridge_names()[..] {
        [] => "this switch has none; ofctl add-br NAME adds one".to_owned(),
        names => format!("this switch has {}", names.join(", ")),
    }
}

/// Adds a bridge. `datapath_id` is 16 hexadecimal digits; `None` derives the id from a MAC address. `persist`
/// says whether the bridge's rules, groups, static hosts and ports are kept.
pub(super) fn add(
    switch: &Switch,
    name: &str,
    datapath_id: Option<&str>,
    persist: bool,
) -> Result<Reply, Box<Refusal>> {
    let mut bridge = Bridge { persist, ..Bridge::new(name) };
    if let Some(id) = datapath_id {
        let wrong = |e| Refusal::new(Reason::Text, format!("datapath-id: \"{id}\" {e}"));
        bridge.datapath_id = Some(id.parse().map_err(wrong)?);
    }
    switch.add_bridge(bridge).map_err(|error| refuse(switch, &error))?;
    Ok(Reply::Done)
}

/// Takes a bridge away, with its ports, rules, groups and hosts.
pub(super) fn remove(switch: &Switch, name: &str) -> Result<Reply, Box<Refusal>> {
    switch.remove_bridge(name).map_err(|error| refuse(switch, &error))?;
    Ok(Reply::Done)
}

/// Sets what a bridge does with IP fragments.
pub(super) fn set_fragments(
    switch: &OnBridge<'_>,
    fragments: Fragments,
) -> Result<Reply, Box<Refusal>> {
    let change = |bridge: &mut Bridge| bridge.frags = fragments;
    switch.change_bridge(&switch.name(), change).map_err(|error| refuse(switch, &error))?;
    Ok(Reply::Done)
}

/// The refusal of a change of bridges.
pub(super) fn refuse(switch: &Switch, error: &StartError) -> Box<Refusal> {
    match error {
        StartError::Desired(DesiredError::NoBridge { name, .. }) => no_bridge(switch, name),
        StartError::Desired(DesiredError::BridgeName(_)) => {
            Box::new(Refusal::new(Reason::Text, error.to_string()))
        }
        other => Box::new(Refusal::new(Reason::Switch, other.to_string())),
    }
}

/// The names of all bridges, with their datapath ids and how many ports they have.
pub(super) fn list(switch: &Switch) -> Reply {
    let bridges = switch.bridge_names();
    let record = |bridge: OnBridge<'_>| BridgeRecord {
        bridge: bridge.name().to_string(),
        datapath_id: bridge.datapath_id().to_string(),
        n_ports: bridge.ports().len() as u64,
    };
    Reply::Bridges(bridges.iter().filter_map(|name| switch.on(name)).map(record).collect())
}

/// What is wanted, as the file that `switchd --config` starts from.
pub(super) fn show_config(
    switch: &Switch,
    format: Format,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let desired = switch.desired();
    let text = match format {
        Format::Text => file::write(&desired),
        Format::Json => serde_json::to_string_pretty(&desired).map_err(StreamError::from)? + "\n",
    };
    send_lines(text.split_inclusive('\n'), to)?;
    Ok(Reply::Listed(desired.bridges.len() as u64))
}
