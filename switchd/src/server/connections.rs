//! Connections that the switch tracks.

use super::answer::{Failure, Sender};
use crate::desired::{CtZone, DesiredError};
use crate::switch::{StartError, Switch};
use control::frame::{Kind, TEXT_SIZE};
use control::record::{
    ConnectionLimitsRecord, ConnectionRecord, ConnectionStatsRecord, DirectionRecord,
    ZoneLimitRecord, ZoneTimeoutsRecord,
};
use control::{Changed, Reason, Refusal, Reply};
use flow::ct_filter::CtFilter;
use flow::ct_timeout::CtTimeouts;
use flowtable::conntrack::{ConnectionInfo, CtTuple, CtZoneUse};
use packet::wire::ip_proto;

/// The limit of a zone that may have more connections than the default limit says.
const ANY_NUMBER: u32 = u32::MAX;

/// The connections that fit a filter.
pub(super) fn dump(
    switch: &Switch,
    filter: CtFilter,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let (mut text, mut count) = (String::new(), 0);
    let connections = switch.policy().connections();
    connections.for_each(switch.now(), filter, |connection| {
        count += 1;
        super::status::write_record(&mut text, &record(connection));
        text.push('\n');
        if text.len() < TEXT_SIZE / 2 {
            return Ok(());
        }
        let put = to.put(Kind::Text, text.as_bytes());
        text.clear();
        put
    })?;
    to.put(Kind::Text, text.as_bytes())?;
    Ok(Reply::Listed(count))
}

/// Forgets the connections that fit a filter.
pub(super) fn flush(switch: &Switch, filter: CtFilter) -> Reply {
    let gone = switch.policy().connections().flush(switch.now(), filter);
    Reply::Changed(Changed { count: gone as u64, notes: Vec::new() })
}

/// How many connections there are, and what became of others.
pub(super) fn stats(switch: &Switch) -> Reply {
    let table = switch.policy().connections();
    let stats = table.stats();
    Reply::ConnectionStats(ConnectionStatsRecord {
        connections: stats.connections,
        max: table.max_connections() as u64,
        created: stats.created,
        expired: stats.expired,
        evicted: stats.evicted,
        refused_full: stats.refused_full,
        refused_source: stats.refused_source,
        refused_zone: stats.refused_zone,
        refused_port: stats.refused_port,
        nat_exhausted: stats.nat_exhausted,
        fragments_waiting: stats.fragments.waiting,
        reassembled: stats.fragments.reassembled,
        fragments_expired: stats.fragments.expired,
        fragments_evicted: stats.fragments.evicted,
        fragments_overlapping: stats.fragments.overlapping,
    })
}

/// How many connections each part of the table has.
pub(super) fn buckets(switch: &Switch) -> Reply {
    let parts = switch.policy().connections().parts();
    Reply::ConnectionBuckets(parts.into_iter().map(|count| count as u64).collect())
}

/// How many connections there may be.
pub(super) fn limits(switch: &Switch) -> Reply {
    let table = switch.policy().connections();
    let (default, zones) = table.zone_limits();
    let number = |limit: Option<u32>| limit.filter(|limit| *limit < ANY_NUMBER).unwrap_or(0);
    Reply::ConnectionLimits(ConnectionLimitsRecord {
        max: table.max_connections() as u64,
        default: number(default),
        zones: zones
            .into_iter()
            .map(|CtZoneUse { zone, limit, connections }| ZoneLimitRecord {
                zone,
                limit: number(limit),
                count: connections,
            })
            .collect(),
    })
}

/// Changes how many connections there may be.
pub(super) fn set_limits(
    switch: &Switch,
    max: Option<u64>,
    default: Option<u32>,
    zones: &[(u16, Option<u32>)],
) -> Reply {
    let table = switch.policy().connections();
    if let Some(max) = max {
        table.set_max_connections(max as usize);
    }
    // Requests say 0 for no limit, as in Open vSwitch.
    if let Some(default) = default {
        table.set_zone_limit(None, Some(default).filter(|limit| *limit > 0));
    }
    for &(zone, limit) in zones {
        table.set_zone_limit(
            Some(zone),
            limit.map(|limit| if limit == 0 { ANY_NUMBER } else { limit }),
        );
    }
    let count = u64::from(max.is_some()) + u64::from(default.is_some()) + zones.len() as u64;
    Reply::Changed(Changed { count, notes: Vec::new() })
}

/// The zones with timeouts of their own.
pub(super) fn zone_timeouts(switch: &Switch) -> Reply {
    let zones = switch.desired().ct_zones.into_iter();
    let record = |CtZone { zone, timeouts }| ZoneTimeoutsRecord { zone, timeouts };
    Reply::ZoneTimeouts(zones.map(record).collect())
}

/// Gives a zone timeouts of its own.
pub(super) fn add_zone_timeouts(
    switch: &Switch,
    zone: u16,
    timeouts: &CtTimeouts,
    may_exist: bool,
) -> Result<Reply, Box<Refusal>> {
    match switch.add_ct_zone(CtZone { zone, timeouts: timeouts.clone() }) {
        Ok(()) => Ok(Reply::Done),
        Err(StartError::Desired(DesiredError::DuplicateZone(_))) if may_exist => Ok(Reply::Done),
        Err(StartError::Desired(error @ DesiredError::NoTimeout(_))) => {
            Err(Box::new(Refusal::new(Reason::Text, error.to_string())))
        }
        Err(error) => Err(Box::new(Refusal::new(Reason::Switch, error.to_string()))),
    }
}

/// Takes the timeouts of its own from a zone.
pub(super) fn delete_zone_timeouts(
    switch: &Switch,
    zone: u16,
    if_exists: bool,
) -> Result<Reply, Box<Refusal>> {
    match switch.remove_ct_zone(zone) {
        Ok(()) => Ok(Reply::Done),
        Err(StartError::Desired(DesiredError::NoZoneTimeouts(_))) if if_exists => Ok(Reply::Done),
        Err(error) => Err(Box::new(Refusal::new(Reason::NotFound, error.to_string()))),
    }
}

/// The record of a connection.
pub(super) fn record(connection: &ConnectionInfo) -> ConnectionRecord {
    let ConnectionInfo { original, reply, mark, label, left, tcp, alg, parent } = connection;
    ConnectionRecord {
        protocol: original.protocol,
        orig: direction(original),
        reply: direction(reply),
        zone: original.zone,
        mark: *mark,
        label: format!("{label:#x}"),
        timeout: left.as_secs(),
        state: tcp.map(|(first, second)| first.max(second).to_string()),
        helper: alg.map(|alg| alg.name().to_owned()),
        parent: parent.as_ref().map(direction),
    }
}

fn direction(tuple: &CtTuple) -> DirectionRecord {
    let is_icmp = matches!(tuple.protocol, ip_proto::ICMP | ip_proto::ICMPV6);
    let has_ports = ip_proto::has_ports(tuple.protocol);
    DirectionRecord {
        src: tuple.address(&tuple.source).to_string(),
        dst: tuple.address(&tuple.destination).to_string(),
        sport: has_ports.then_some(tuple.source.port),
        dport: has_ports.then_some(tuple.destination.port),
        id: is_icmp.then_some(tuple.source.port),
        icmp_type: is_icmp.then_some(tuple.source.icmp_type),
        n_packets: None,
        n_bytes: None,
    }
}
