//! Connections that the switch tracks.

use super::answer::{Failure, Sender};
use crate::switch::Switch;
use control::frame::{Kind, TEXT_SIZE};
use control::record::{ConnectionRecord, ConnectionStatsRecord, DirectionRecord};
use control::{Changed, Reply};
use flowtable::conntrack::{ConnectionInfo, CtFilter, CtTuple};
use packet::wire::ip_proto;

/// The connections of a zone, or all.
pub(super) fn dump(
    switch: &Switch,
    zone: Option<u16>,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let (mut text, mut count) = (String::new(), 0);
    let connections = switch.policy().connections();
    connections.for_each(switch.now(), CtFilter { zone }, |connection| {
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

/// Forgets the connections of a zone, or all.
pub(super) fn flush(switch: &Switch, zone: Option<u16>) -> Reply {
    let gone = switch.policy().connections().flush(CtFilter { zone });
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
        nat_exhausted: stats.nat_exhausted,
    })
}

fn record(connection: &ConnectionInfo) -> ConnectionRecord {
    let ConnectionInfo { original, reply, mark, label, left, tcp } = connection;
    ConnectionRecord {
        protocol: original.protocol,
        orig: direction(original),
        reply: direction(reply),
        zone: original.zone,
        mark: *mark,
        label: format!("{label:#x}"),
        timeout: left.as_secs(),
        state: tcp.map(|(first, second)| first.max(second).to_string()),
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
    }
}
