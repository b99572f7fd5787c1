//! Overlays: tunnels to several peers that make one network.

use crate::desired::{Desired, DesiredError, Overlay, OverlayError, OverlayPorts, Port, Tunnel};
use crate::port_slot::PortState;
use crate::switch::{OnBridge, PortView, StartError};
use control::record::{OverlayPeerRecord, OverlayRecord};
use control::{OverlayRequest, Reason, Refusal, Reply};
use flow::types::OfPort;
use std::collections::HashMap;

/// Lists the overlays of a bridge, or changes them first.
pub(super) fn carry_out(
    switch: &OnBridge<'_>,
    request: &OverlayRequest,
) -> Result<Reply, Box<Refusal>> {
    let bridge = switch.name();
    let change = |edit: &dyn Fn(&mut Desired) -> Result<(), DesiredError>| {
        switch.change_overlays(edit).map_err(|error| refuse(&error))
    };
    match request {
        OverlayRequest::List => {}
        OverlayRequest::Add { overlay } => {
            let overlay: Overlay = overlay.parse().map_err(|error: OverlayError| {
                Box::new(Refusal::new(Reason::Text, error.to_string()))
            })?;
            change(&|desired| desired.add_overlay(&bridge, &overlay))?;
        }
        OverlayRequest::Del { name } => change(&|desired| desired.remove_overlay(&bridge, name))?,
        OverlayRequest::AddPeer { name, peer } => {
            change(&|desired| desired.add_peer(&bridge, name, *peer).map(drop))?;
        }
        OverlayRequest::DelPeer { name, peer } => {
            change(&|desired| desired.remove_peer(&bridge, name, *peer))?;
        }
    }
    Ok(Reply::Overlays(list(switch)))
}

fn refuse(error: &StartError) -> Box<Refusal> {
    let reason = match error {
        StartError::Desired(DesiredError::NoOverlay { .. } | DesiredError::NoPeer { .. }) => {
            Reason::NotFound
        }
        StartError::Desired(DesiredError::OverlayPort(_)) => Reason::Text,
        _ => Reason::Switch,
    };
    let message = match error {
        StartError::Desired(error) => error.to_string(),
        // The device of a port has a reason of its own.
        StartError::Port { port, source } => format!("port \"{port}\": {source}"),
        other => other.to_string(),
    };
    Box::new(Refusal::new(reason, message))
}

fn list(switch: &OnBridge<'_>) -> Vec<OverlayRecord> {
    let views: HashMap<OfPort, PortView> =
        switch.ports().into_iter().map(|view| (view.of_port, view)).collect();
    let mut hosts = HashMap::<OfPort, u64>::new();
    for (_, entry) in switch.bridge().hosts() {
        *hosts.entry(entry.port).or_default() += 1;
    }
    let desired = switch.desired();
    // The bridge may have been removed meanwhile.
    let overlays = desired.bridge(&switch.name()).map(|bridge| bridge.overlays());
    let peer = |(port, tunnel): &(&Port, &Tunnel)| {
        let number = port.number.unwrap_or(OfPort::NONE);
        OverlayPeerRecord {
            peer: tunnel.egress.remote.map(|peer| peer.to_string()).unwrap_or_default(),
            port: number.0,
            name: port.name.clone(),
            n_hosts: hosts.get(&number).copied().unwrap_or_default(),
            problem: views.get(&number).and_then(|view| match &view.state {
                PortState::Up => None,
                PortState::Down => Some("the port is down".to_owned()),
                other => Some(other.to_string()),
            }),
        }
    };
    let record = |overlay: &OverlayPorts<'_>| OverlayRecord {
        overlay: overlay.name.to_owned(),
        kind: overlay.kind().to_owned(),
        vni: overlay.vni(),
        options: overlay.options(),
        peers: overlay.ports.iter().map(peer).collect(),
    };
    overlays.unwrap_or_default().iter().map(record).collect()
}
