//! Ports: what they are, what they counted, how they behave.

use super::names::find;
use super::vlan::VlanSettings;
use crate::port_slot::PortState;
use crate::switch::{PortView, Switch};
use control::record::{PortRecord, PortStatsRecord};
use control::{PortFlag, Reason, Refusal, Reply};
use flowtable::datapath::DropReason;
use flowtable::pipeline::ports::{PortConfig, PortInfo};
use flowtable::types::OfPort;
use std::time::Duration;

/// All ports, or one of them.
pub(super) fn describe(switch: &Switch, port: Option<&str>) -> Result<Reply, Box<Refusal>> {
    let wanted = wanted(switch, port)?;
    let mut records = records(switch);
    records.retain(|r| wanted.is_none_or(|w| w.0 == r.port));
    Ok(Reply::Ports(records))
}

/// The counters of all ports, or of one.
pub(super) fn stats(switch: &Switch, port: Option<&str>) -> Result<Reply, Box<Refusal>> {
    let wanted = wanted(switch, port)?;
    let ports = switch.ports();
    let ports = ports.iter().filter(|p| wanted.is_none_or(|w| w == p.of));
    let uptime = switch.now();
    Ok(Reply::PortStats(ports.map(|port| stats_record(port, uptime)).collect()))
}

fn wanted(switch: &Switch, port: Option<&str>) -> Result<Option<OfPort>, Box<Refusal>> {
    port.map(|text| find(switch.pipeline(), text)).transpose()
}

/// All ports.
pub(super) fn records(switch: &Switch) -> Vec<PortRecord> {
    let ports = switch.ports();
    let snapshot = switch.pipeline().snapshot();
    let record = |port: &PortView| record(port, snapshot.ports().get(port.of));
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
        port: port.of.0,
        name: port.name.clone(),
        mac: port.mac.to_string(),
        kind: port.kind.map_or_else(|| "none".to_owned(), |kind| kind.name().to_owned()),
        config: config_names(port.config),
        state,
        mtu: port.mtu,
        vlan: info.map(|info| VlanSettings::of(info).to_string()).unwrap_or_default(),
        host_stack: port.shield.map(|shield| shield.name().to_owned()),
        problem,
    }
}

/// In the order of OpenFlow's bits.
fn config_names(config: PortConfig) -> Vec<String> {
    [
        (config.down, "PORT_DOWN"),
        (config.no_recv, "NO_RECV"),
        (config.no_flood, "NO_FLOOD"),
        (config.no_fwd, "NO_FWD"),
        (config.no_packet_in, "NO_PACKET_IN"),
    ]
    .into_iter()
    .filter(|(is_set, _)| *is_set)
    .map(|(_, name)| name.to_owned())
    .collect()
}

/// Losses of the kernel and the ring count as drops; what the switch decides to drop does not, as
/// in Open vSwitch: `ofctl drops` tells about it.
fn stats_record(port: &PortView, uptime: Duration) -> PortStatsRecord {
    let totals = &port.totals;
    let rx = |reason: DropReason| totals.rx_dropped[reason as usize];
    let rx_errors = rx(DropReason::RxTruncated) + rx(DropReason::RxError);
    let tx_refused = totals.tx_failed[DropReason::TxError as usize];
    PortStatsRecord {
        port: port.of.0,
        name: port.name.clone(),
        rx_packets: totals.rx_packets,
        rx_bytes: totals.rx_bytes,
        rx_dropped: rx(DropReason::RxRingFull),
        rx_errors,
        tx_packets: totals.tx_packets,
        tx_bytes: totals.tx_bytes,
        tx_dropped: totals.tx_failed.iter().sum::<u64>() - tx_refused,
        tx_errors: tx_refused,
        duration: uptime.as_secs_f64(),
    }
}

/// Replaces the VLAN configuration of a port.
pub(super) fn set(switch: &Switch, port: &str, settings: &str) -> Result<Reply, Box<Refusal>> {
    let port = find(switch.pipeline(), port)?;
    let settings: VlanSettings =
        settings.parse().map_err(|e| Refusal::new(Reason::Text, format!("{e}")))?;
    change(switch, port, |info| settings.apply(info));
    Ok(Reply::Done)
}

/// Changes how a port behaves.
pub(super) fn modify(
    switch: &Switch,
    port: &str,
    flag: PortFlag,
    on: bool,
) -> Result<Reply, Box<Refusal>> {
    let port = find(switch.pipeline(), port)?;
    change(switch, port, |info| {
        let config = &mut info.config;
        *match flag {
            PortFlag::Down => &mut config.down,
            PortFlag::NoReceive => &mut config.no_recv,
            PortFlag::NoFlood => &mut config.no_flood,
            PortFlag::NoForward => &mut config.no_fwd,
            PortFlag::NoPacketIn => &mut config.no_packet_in,
        } = on;
    });
    Ok(Reply::Done)
}

fn change(switch: &Switch, port: OfPort, change: impl FnOnce(&mut PortInfo)) {
    switch.pipeline().with_ports(|ports| ports.get_mut(port).map(change));
}
