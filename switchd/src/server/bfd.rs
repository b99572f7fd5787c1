//! Sessions of BFD, as commands show them.

use super::names::find;
use crate::bfd::{SessionView, diagnostic_name};
use crate::switch::{OnBridge, PortView};
use control::record::{BfdEndRecord, BfdRecord};
use control::{Reason, Refusal, Reply};
use std::time::Duration;

/// The state of a session: `up`, `down` or `init`.
pub(super) fn state(view: Option<&SessionView>) -> Option<String> {
    view.map(|view| view.session.state().name().to_owned())
}

/// The sessions of all ports, or of one.
pub(super) fn show(switch: &OnBridge<'_>, port: Option<&str>) -> Result<Reply, Box<Refusal>> {
    let wanted = port.map(|text| find(switch.bridge(), text)).transpose()?;
    let ports = switch.ports();
    let ports = ports.iter().filter(|port| wanted.is_none_or(|wanted| wanted == port.of_port));
    let records: Vec<BfdRecord> =
        ports.filter_map(|port| Some(record(port, port.bfd.as_ref()?))).collect();
    if let Some(port) = port.filter(|_| records.is_empty()) {
        let refusal =
            Refusal::new(Reason::NotFound, format!("port \"{port}\" has no session of BFD"));
        return Err(Box::new(refusal.with_hint("a tunnel port has one with bfd=on")));
    }
    Ok(Reply::Bfd(records))
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

fn record(port: &PortView, SessionView { session, is_peer_down }: &SessionView) -> BfdRecord {
    let (config, remote) = (session.config(), session.remote());
    BfdRecord {
        port: port.of_port.0,
        name: port.name.clone(),
        is_forwarding: !is_peer_down,
        tx_interval: ms(session.tx_interval()),
        detect_time: ms(session.detection_time()),
        n_flaps: session.flaps(),
        local: BfdEndRecord {
            state: session.state().name().to_owned(),
            diagnostic: diagnostic_name(session.diagnostic()).to_owned(),
            discriminator: format!("{:#x}", session.discriminator()),
            min_tx: ms(config.min_tx),
            min_rx: ms(config.min_rx),
            mult: config.mult.into(),
        },
        remote: BfdEndRecord {
            state: remote.state.name().to_owned(),
            diagnostic: diagnostic_name(remote.diagnostic).to_owned(),
            discriminator: format!("{:#x}", remote.discriminator),
            min_tx: ms(remote.min_tx),
            min_rx: ms(remote.min_rx),
            mult: remote.mult.into(),
        },
    }
}
