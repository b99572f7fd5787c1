//! Ports: what they are, what they counted, how they behave.

use super::names::find;
use crate::desired::{Port, PortSettings};
use crate::event_text;
use crate::port_slot::PortState;
use crate::switch::{OnBridge, PortView};
use control::record::{PortRecord, PortStatsRecord, RxRingRecord, TunnelRecord};
use control::{PortFlag, Reason, Refusal, Reply};
use flow::types::OfPort;
use flow::verdict::DropReason;
use flowtable::policy::ports::PortInfo;
use ports::tunnel::Obstacle;

/// All ports, or one of them.
pub(super) fn describe(switch: &OnBridge<'_>, port: Option<&str>) -> Result<Reply, Box<Refusal>> {
    let wanted = wanted(switch, port)?;
    let mut records = records(switch);
    records.retain(|r| wanted.is_none_or(|w| w.0 == r.port));
    Ok(Reply::Ports(records))
}

/// The counters of all ports, or of one.
pub(super) fn stats(switch: &OnBridge<'_>, port: Option<&str>) -> Result<Reply, Box<Refusal>> {
    let wanted = wanted(switch, port)?;
    // What went through a patch is counted when cached flows are asked.
    switch.settle();
    let ports = switch.ports();
    let ports = ports.iter().filter(|p| wanted.is_none_or(|w| w == p.of_port));
    Ok(Reply::PortStats(ports.map(stats_record).collect()))
}

fn wanted(switch: &OnBridge<'_>, port: Option<&str>) -> Result<Option<OfPort>, Box<Refusal>> {
    port.map(|text| find(switch.bridge(), text)).transpose()
}

/// The ports of a bridge, in the order of their numbers.
pub(super) fn records(switch: &OnBridge<'_>) -> Vec<PortRecord> {
    let ports = switch.ports();
    let snapshot = switch.bridge().snapshot();
    let record = |port: &PortView| record(port, snapshot.ports().get(port.of_port));
    ports.iter().map(record).collect()
}

fn record(port: &PortView, info: Option<&PortInfo>) -> PortRecord {
    let is_up = port.state == PortState::Up;
    let mut state = Vec::new();
    if !is_up {
        state.push("LINK_DOWN".to_owned());
    }
    let problem = match &port.state {
        PortState::Up | PortState::Down => None,
        other => Some(other.to_string()),
    };
    PortRecord {
        port: port.of_port.0,
        name: port.name.clone(),
        mac: port.mac.to_string(),
        kind: port.kind.unwrap_or("none").to_owned(),
        config: event_text::config_names(port.config),
        state,
        mtu: port.mtu,
        settings: info.map(|info| PortSettings::of(info).to_string()).unwrap_or_default(),
        host_stack: port.shield.map(|shield| shield.name().to_owned()),
        kernel_cache: port.kernel_cache.as_ref().map(|state| match state {
            Ok(()) => "on".to_owned(),
            Err(reason) => format!("off ({reason})"),
        }),
        rx_ring: port.rx_memory.filter(|m| m.bytes > 0).map(|m| RxRingRecord {
            slots: m.slots as u64,
            slot_size: m.slot_size as u64,
            queues: m.queues as u64,
            bytes: m.bytes,
        }),
        tunnel: port.tunnel.as_ref().map(|tunnel| TunnelRecord {
            options: tunnel.options.clone(),
            path_mtu: tunnel.path_mtu,
            sends_groups: tunnel.sends_groups,
            is_loop: tunnel.obstacle == Some(Obstacle::OwnPort),
            is_self: tunnel.obstacle == Some(Obstacle::OwnAddress),
            strays: tunnel.strays,
            bfd: super::bfd::state(port.bfd.as_ref()),
        }),
        problem,
    }
}

/// Losses of the kernel and the ring count as drops; what the switch decides to drop does not, as
/// in Open vSwitch: `ofctl drops` tells about it.
fn stats_record(port: &PortView) -> PortStatsRecord {
    let totals = &port.totals;
    let rx = |reason: DropReason| totals.rx_dropped[reason as usize];
    let rx_errors = rx(DropReason::RxTruncated) + rx(DropReason::RxError);
    let tx_refused = totals.tx_failed[DropReason::TxError as usize];
    PortStatsRecord {
        port: port.of_port.0,
        name: port.name.clone(),
        rx_packets: totals.rx_packets,
        rx_bytes: totals.rx_bytes,
        rx_dropped: rx(DropReason::RxRingFull),
        rx_errors,
        tx_packets: totals.tx_packets,
        tx_bytes: totals.tx_bytes,
        tx_dropped: totals.tx_failed.iter().sum::<u64>() - tx_refused,
        tx_errors: tx_refused,
        duration: port.age.as_secs_f64(),
    }
}

/// Adds a port, described as on the daemon's command line.
pub(super) fn add(switch: &OnBridge<'_>, spec: &str) -> Result<Reply, Box<Refusal>> {
    let port = Port::parse(spec).map_err(|e| text_refusal(&e))?;
    switch
        .add_port(port)
        .map_err(|e| Refusal::new(Reason::Switch, format!("{:#}", anyhow::Error::from(e))))?;
    Ok(Reply::Done)
}

/// Takes a port away from the bridge and gives its device back.
pub(super) fn remove(switch: &OnBridge<'_>, port: &str) -> Result<Reply, Box<Refusal>> {
    switch.remove_port(find(switch.bridge(), port)?);
    Ok(Reply::Done)
}

/// Changes the settings of a port.
pub(super) fn set(
    switch: &OnBridge<'_>,
    port: &str,
    settings: &str,
) -> Result<Reply, Box<Refusal>> {
    let port = find(switch.bridge(), port)?;
    let mut result = Ok(());
    switch.change_port(port, |port| {
        result = port.settings.clone().changed(settings).map(|new| port.settings = new);
    });
    result.map_err(|e| text_refusal(&e))?;
    Ok(Reply::Done)
}

fn text_refusal(error: &dyn std::error::Error) -> Box<Refusal> {
    Box::new(Refusal::new(Reason::Text, error.to_string()))
}

/// Changes how a port behaves.
pub(super) fn modify(
    switch: &OnBridge<'_>,
    port: &str,
    flag: PortFlag,
    on: bool,
) -> Result<Reply, Box<Refusal>> {
    let port = find(switch.bridge(), port)?;
    switch.change_port(port, |port| {
        let config = &mut port.config;
        *match flag {
            PortFlag::Down => &mut config.down,
            PortFlag::NoStp => &mut config.no_stp,
            PortFlag::NoReceive => &mut config.no_recv,
            PortFlag::NoReceiveStp => &mut config.no_recv_stp,
            PortFlag::NoFlood => &mut config.no_flood,
            PortFlag::NoForward => &mut config.no_fwd,
            PortFlag::NoPacketIn => &mut config.no_packet_in,
        } = on;
    });
    Ok(Reply::Done)
}
