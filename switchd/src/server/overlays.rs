//! Overlays: tunnels to several peers that make one network.

use super::fdb;
use crate::bridge::hosts;
use crate::desired::{Desired, DesiredError, Overlay, OverlayError, OverlayPorts, Port, Tunnel};
use crate::port_slot::PortState;
use crate::switch::{OnBridge, PortView, StartError};
use control::record::{OverlayPeerRecord, OverlayRecord};
use control::{OverlayRequest, Reason, Refusal, Reply};
use flow::types::{MacAddr, OfPort};
use std::collections::HashMap;
use std::net::IpAddr;

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
        OverlayRequest::Set { name, options } => {
            let pairs: Option<Vec<(&str, &str)>> =
                options.iter().map(|option| option.split_once('=')).collect();
            let pairs = pairs.ok_or_else(|| {
                let message = format!("\"{}\": write KEY=VALUE", options.join(" "));
                Box::new(Refusal::new(Reason::Text, message))
            })?;
            change(&|desired| desired.change_overlay(&bridge, name, &pairs))?;
        }
        OverlayRequest::AddHost { name, peer, mac, vlan, ips } => {
            add_host(switch, name, *peer, (mac, *vlan), ips)?;
        }
        OverlayRequest::DelHost { name, mac } => remove_host(switch, name, mac)?,
        OverlayRequest::DelPeer { name, peer } => {
            change(&|desired| desired.remove_peer(&bridge, name, *peer))?;
        }
    }
    Ok(Reply::Overlays(list(switch)))
}

/// Says that a host is behind a peer, and which IP addresses it has.
fn add_host(
    switch: &OnBridge<'_>,
    name: &str,
    peer: IpAddr,
    (mac, vlan): (&str, Option<u16>),
    ips: &[IpAddr],
) -> Result<(), Box<Refusal>> {
    let bridge = switch.name();
    let desired = switch.desired();
    let wanted = desired.bridge(&bridge).and_then(|b| b.port_of_peer(name, peer).map(|n| (b, n)));
    let (wanted, port) = wanted.map_err(|error| refuse(&error.into()))?;
    let settings = wanted.ports.iter().find(|other| other.number == Some(port));
    let own = settings.map_or(0, |port| port.settings.mode.untagged_vlan());
    let key = fdb::parse_key(vlan.unwrap_or(own), mac)?;
    if !ips.is_empty() {
        let edit = |desired: &mut Desired| {
            desired.change_neighbours(&bridge, name, peer, |neighbours| {
                neighbours.retain(|(ip, _)| !ips.contains(ip));
                neighbours.extend(ips.iter().map(|ip| (*ip, key.mac)));
            })
        };
        switch.change_overlays(edit).map_err(|error| refuse(&error))?;
    }
    hosts::give(*switch, key, port).map_err(|error| fdb::refuse(&error))
}

/// Forgets a host that was added behind a peer, in all VLANs.
fn remove_host(switch: &OnBridge<'_>, name: &str, mac: &str) -> Result<(), Box<Refusal>> {
    let bridge = switch.name();
    let mac = fdb::parse_key(0, mac)?.mac;
    let desired = switch.desired();
    let overlay = desired.bridge(&bridge).and_then(|bridge| bridge.overlay(name));
    let overlay = overlay.map_err(|error| refuse(&error.into()))?;
    let ports: Vec<OfPort> = overlay.ports.iter().filter_map(|(port, _)| port.number).collect();
    let given = hosts::given(*switch).into_iter();
    let given: Vec<_> =
        given.filter(|(key, port)| key.mac == mac && ports.contains(port)).collect();
    let known: Vec<IpAddr> = overlay
        .ports
        .iter()
        .filter(|(_, tunnel)| {
            let neighbours = tunnel.suppression.iter().flat_map(|s| &s.neighbours);
            neighbours.into_iter().any(|(_, other)| *other == mac)
        })
        .filter_map(|(_, tunnel)| tunnel.egress.remote)
        .collect();
    if given.is_empty() && known.is_empty() {
        let message = format!("overlay \"{name}\": nobody has added a host {mac}");
        return Err(Box::new(Refusal::new(Reason::NotFound, message)));
    }
    let edit = |desired: &mut Desired| {
        known.iter().try_for_each(|peer| {
            let change = |all: &mut Vec<(IpAddr, MacAddr)>| all.retain(|(_, other)| *other != mac);
            desired.change_neighbours(&bridge, name, *peer, change)
        })
    };
    switch.change_overlays(edit).map_err(|error| refuse(&error))?;
    // Who is gone meanwhile needs not be removed.
    for (key, _) in given {
        let _ = hosts::remove(*switch, key);
    }
    Ok(())
}

fn refuse(error: &StartError) -> Box<Refusal> {
    let reason = match error {
        StartError::Desired(DesiredError::NoOverlay { .. } | DesiredError::NoPeer { .. }) => {
            Reason::NotFound
        }
        StartError::Desired(DesiredError::OverlayPort(_) | DesiredError::OptionOfPeer { .. }) => {
            Reason::Text
        }
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
    // What was answered is counted when cached flows are asked.
    switch.settle();
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
            bfd: super::bfd::state(views.get(&number).and_then(|view| view.bfd.as_ref())),
            n_answered: views.get(&number).map_or(0, |view| view.answered),
            neighbours: tunnel
                .suppression
                .iter()
                .flat_map(|suppression| &suppression.neighbours)
                .map(|(ip, mac)| format!("{ip}@{mac}"))
                .collect(),
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
