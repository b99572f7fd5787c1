//! Replies that list rules, groups, tables and ports.

use super::connection::Wire;
use crate::bridge::flows;
use crate::bridge::groups;
use crate::bridge::meters;
use crate::event_text::flow_line;
use crate::port_slot::PortState;
use crate::switch::{OnBridge, PortView};
use flow::dialect;
use flow::flow_mod::FlowMod;
use flow::group::GroupStats;
use flow::meter::MeterStats;
use flow::types::{GroupId, MacAddr, MeterId, OfPort, OfVersion};
use flow::verdict::DropReason;
use flowtable::policy::ports::{Attachment, PortConfig, PortInfo};
use openflow::{
    AggregateStats, Encoding, ErrorCode, FlowStats, PortDesc, PortStats, ReplyParts, port_config,
    port_feature, port_state,
};
use std::io;
use std::time::Duration;

/// Sends the rules that `filter` names, in slices: no lock is held while the client reads.
pub(super) fn flows(
    on: &OnBridge<'_>,
    filter: &FlowMod,
    encoding: Encoding,
    xid: u32,
    wire: &mut Wire<'_>,
) -> io::Result<()> {
    on.settle();
    // More digits than those of milliseconds would be noise.
    let now = Duration::from_millis(on.now().as_millis() as u64);
    let mut parts = ReplyParts::flows(encoding, xid);
    let mut walk = on.bridge().walk(filter);
    while walk.next_slice(|entry| {
        let line = flow_line(entry.value, &entry.matches, entry.priority, now);
        let seconds = |age: Duration| Some(age.as_secs().try_into().unwrap_or(u16::MAX - 1));
        parts.flow(&FlowStats {
            table: line.table,
            matching: dialect::dumped_matching(line.matching, encoding.version),
            priority: line.priority,
            cookie: line.cookie,
            idle_timeout: line.idle_timeout,
            hard_timeout: line.hard_timeout,
            importance: line.importance,
            flags: line.flags,
            duration: Duration::from_millis(line.duration.as_millis() as u64),
            idle_age: seconds(line.idle_age),
            hard_age: seconds(line.hard_age),
            packets: line.packets,
            bytes: line.bytes,
            actions: dialect::actions(line.actions, encoding.version, line.matching),
        });
    }) {
        wire.send_parts(parts.take_full())?;
    }
    wire.send_parts(parts.finish())
}

/// Adds up the rules that `filter` names.
pub(super) fn aggregate(on: &OnBridge<'_>, filter: &FlowMod) -> AggregateStats {
    on.settle();
    let totals = flows::totals(on.bridge(), filter);
    AggregateStats { packets: totals.packets, bytes: totals.bytes, flows: totals.rules as u32 }
}

/// Sends the descriptions of groups: of one, or of all. There is an empty list of a group that does not exist.
pub(super) fn group_descs(
    on: &OnBridge<'_>,
    which: GroupId,
    encoding: Encoding,
    xid: u32,
    wire: &mut Wire<'_>,
) -> io::Result<()> {
    let mut parts = ReplyParts::group_descs(encoding, xid);
    if let Ok(mut list) = groups::list(*on, Some(which)) {
        while let Some(entries) = list.next_slice() {
            for entry in entries {
                let mut group = entry.group.clone();
                for bucket in &mut group.buckets {
                    let every = flow::Match::any();
                    let carried = dialect::actions(&bucket.actions, encoding.version, &every);
                    bucket.actions = carried.into_owned();
                }
                parts.group_desc(&group);
            }
            wire.send_parts(parts.take_full())?;
        }
    }
    wire.send_parts(parts.finish())
}

/// Sends the counters of groups: of one, or of all. There is an empty list of a group that does not exist.
pub(super) fn group_stats(
    on: &OnBridge<'_>,
    which: GroupId,
    encoding: Encoding,
    xid: u32,
    wire: &mut Wire<'_>,
) -> io::Result<()> {
    let mut parts = ReplyParts::groups(encoding, xid);
    if let Ok(mut list) = groups::list(*on, Some(which)) {
        while let Some(entries) = list.next_slice() {
            for entry in entries {
                let stats = list.stats(&entry);
                let duration = Duration::from_millis(stats.duration.as_millis() as u64);
                parts.group(entry.group.id, &GroupStats { duration, ..stats });
            }
            wire.send_parts(parts.take_full())?;
        }
    }
    wire.send_parts(parts.finish())
}

/// Sends meters with their bands: one, or all. A meter that does not exist is an error, as in Open vSwitch.
pub(super) fn meter_configs(
    on: &OnBridge<'_>,
    which: MeterId,
    encoding: Encoding,
    xid: u32,
    request: &[u8],
    wire: &mut Wire<'_>,
) -> io::Result<()> {
    let Ok(mut list) = meters::list(*on, Some(which)) else {
        wire.refuse(ErrorCode::UnknownMeter, request);
        return Ok(());
    };
    let mut parts = ReplyParts::meter_configs(encoding, xid);
    while let Some(entries) = list.next_slice() {
        entries.iter().for_each(|entry| parts.meter_config(&entry.meter));
        wire.send_parts(parts.take_full())?;
    }
    wire.send_parts(parts.finish())
}

/// Sends the counters of meters: of one, or of all. A meter that does not exist is an
/// error, as in Open vSwitch.
pub(super) fn meter_stats(
    on: &OnBridge<'_>,
    which: MeterId,
    encoding: Encoding,
    xid: u32,
    request: &[u8],
    wire: &mut Wire<'_>,
) -> io::Result<()> {
    let Ok(mut list) = meters::list(*on, Some(which)) else {
        wire.refuse(ErrorCode::UnknownMeter, request);
        return Ok(());
    };
    let mut parts = ReplyParts::meters(encoding, xid);
    while let Some(entries) = list.next_slice() {
        for entry in entries {
            let stats = list.stats(&entry);
            let duration = Duration::from_millis(stats.duration.as_millis() as u64);
            parts.meter(entry.meter.id, &MeterStats { duration, ..stats });
        }
        wire.send_parts(parts.take_full())?;
    }
    wire.send_parts(parts.finish())
}

/// A port as messages describe it.
pub(super) fn port_desc(port: &PortView, version: OfVersion) -> PortDesc {
    let traits = Traits {
        has_device: port.kind != Some("patch"),
        is_up: port.state == PortState::Up,
        is_peer_down: port.bfd.as_ref().is_some_and(|bfd| bfd.is_peer_down),
        config: port.config,
    };
    traits.desc(port.of_port, port.mac, &port.name, version)
}

/// A port that has changed, as messages describe it.
pub(super) fn port_info_desc(port: &PortInfo, version: OfVersion) -> PortDesc {
    let traits = Traits {
        has_device: matches!(port.attachment, Attachment::Queues(_)),
        is_up: port.link_up,
        is_peer_down: port.is_peer_down,
        config: port.config,
    };
    traits.desc(port.of_port, port.mac, &port.name, version)
}

/// What the description of a port depends on, besides its names.
struct Traits {
    has_device: bool,
    is_up: bool,
    is_peer_down: bool,
    config: PortConfig,
}

impl Traits {
    fn desc(&self, port: OfPort, mac: MacAddr, name: &str, version: OfVersion) -> PortDesc {
        // A patch port has no device. Virtual devices get the speed that Open vSwitch tells of veth devices.
        let Self { has_device, is_up, is_peer_down, config } = *self;
        let is_live = version > OfVersion::OpenFlow10 && !is_peer_down;
        let live = if is_live { port_state::LIVE } else { 0 };
        PortDesc {
            port,
            mac,
            name: name.to_owned(),
            config: config_bits(config),
            state: if is_up { live } else { port_state::LINK_DOWN },
            current: if has_device { port_feature::SPEED_10G | port_feature::COPPER } else { 0 },
            advertised: 0,
            supported: 0,
            peer: 0,
            current_speed: if has_device { 10_000_000 } else { 0 },
            max_speed: 0,
        }
    }
}

/// The configuration of a port as OpenFlow's bits.
fn config_bits(config: PortConfig) -> u32 {
    [
        (config.down, port_config::DOWN),
        (config.no_stp, port_config::NO_STP),
        (config.no_recv, port_config::NO_RECV),
        (config.no_recv_stp, port_config::NO_RECV_STP),
        (config.no_flood, port_config::NO_FLOOD),
        (config.no_fwd, port_config::NO_FWD),
        (config.no_packet_in, port_config::NO_PACKET_IN),
    ]
    .into_iter()
    .filter(|(is_set, _)| *is_set)
    .fold(0, |bits, (_, bit)| bits | bit)
}

/// The counters of a port, counted as [`crate::server`] counts them for `ofctl`.
pub(super) fn port_stats(port: &PortView) -> PortStats {
    let totals = &port.totals;
    let rx = |reason: DropReason| totals.rx_dropped[reason as usize];
    let rx_errors = rx(DropReason::RxTruncated) + rx(DropReason::RxError);
    let tx_refused = totals.tx_failed[DropReason::TxError as usize];
    let tx_dropped = totals.tx_failed.iter().sum::<u64>() - tx_refused;
    PortStats {
        port: port.of_port,
        duration: Some(Duration::from_millis(port.age.as_millis() as u64)),
        packets: [Some(totals.rx_packets), Some(totals.tx_packets)],
        bytes: [Some(totals.rx_bytes), Some(totals.tx_bytes)],
        dropped: [Some(rx(DropReason::RxRingFull)), Some(tx_dropped)],
        errors: [Some(rx_errors), Some(tx_refused)],
        rx_details: [Some(0); 3],
        collisions: Some(0),
        custom: Vec::new(),
    }
}
