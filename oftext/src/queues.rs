//! Queues, and the map of Geneve options.

use crate::put;
use flow::text::{PortNames, write_duration, write_port};
use flow::tlv_map::{TlvMapping, TlvMod};
use flow::types::OfPort;
use openflow::{EVERY_QUEUE, QueueDesc, QueueStats, TlvTable};
use std::fmt::Write;

/// Prints the port and the queue of a request.
pub(crate) fn put_request(
    out: &mut String,
    port: OfPort,
    queue: Option<u32>,
    names: &dyn PortNames,
) {
    out.push_str(" port=");
    write_port(out, port, names);
    match queue {
        None => {}
        Some(EVERY_QUEUE) => out.push_str(" queue=ALL"),
        Some(queue) => {
            put!(out, " queue={queue}");
        }
    }
}

/// Prints the counters of queues. A counter that the switch does not have is `?`.
pub(crate) fn put_stats(out: &mut String, queues: &[QueueStats], names: &dyn PortNames) {
    put!(out, " {} queues\n", queues.len());
    for queue in queues {
        out.push_str("  port ");
        write_port(out, queue.port, names);
        let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |n| n.to_string());
        put!(
            out,
            " queue {}: bytes={}, pkts={}, errors={}, duration=",
            queue.queue,
            count(queue.bytes),
            count(queue.packets),
            count(queue.errors)
        );
        match queue.duration {
            Some(duration) => write_duration(out, duration),
            None => out.push('?'),
        }
        out.push('\n');
    }
}

/// Prints the rates of the queues of a port, each on a line behind the one that names the port.
pub(crate) fn put_descs(
    out: &mut String,
    port: OfPort,
    queues: &[QueueDesc],
    names: &dyn PortNames,
) {
    // As ovs-ofctl, which finds the port in the queues.
    if queues.is_empty() {
        return;
    }
    out.push_str("port=");
    write_port(out, port, names);
    out.push('\n');
    let mut sorted: Vec<&QueueDesc> = queues.iter().collect();
    sorted.sort_by_key(|queue| queue.queue);
    for queue in sorted {
        put!(out, "queue {}:", queue.queue);
        for (name, rate) in [("min_rate", queue.min_rate), ("max_rate", queue.max_rate)] {
            match rate {
                // Tenths of a per cent; more than all of it means that the rate does not count.
                Some(rate) if rate <= 1000 => {
                    put!(out, " {name}:{}.{}%", rate / 10, rate % 10);
                }
                Some(_) => {
                    put!(out, " {name}:(disabled)");
                }
                None => {}
            }
        }
        out.push('\n');
    }
}

fn put_mappings(out: &mut String, mappings: &[TlvMapping]) {
    out.push_str(" mapping table:\n  class  type  length  match field\n ------  ----  ------  --------------");
    for TlvMapping { class, kind, len, field } in mappings {
        // As C prints them: a 0 has no 0x in front.
        let hex = |number: u16| if number == 0 { "0".to_owned() } else { format!("{number:#x}") };
        let (class, kind) = (hex(*class), hex((*kind).into()));
        put!(out, "\n {class:>6}  {kind:>4}  {len:6}  tun_metadata{field}");
    }
}

/// Prints a request that changes the map.
pub(crate) fn put_tlv_mod(out: &mut String, change: &TlvMod) {
    out.push_str("\n ");
    match change {
        TlvMod::Add(mappings) => {
            out.push_str("ADD");
            put_mappings(out, mappings);
        }
        TlvMod::Delete(mappings) => {
            out.push_str("DEL");
            put_mappings(out, mappings);
        }
        TlvMod::Clear => out.push_str("CLEAR"),
    }
}

/// Prints the map.
pub(crate) fn put_tlv_table(out: &mut String, table: &TlvTable) {
    let used: u32 = table.mappings.iter().map(|mapping| u32::from(mapping.len)).sum();
    put!(
        out,
        "\n max option space={} max fields={}\n allocated option space={used}\n\n",
        table.max_space,
        table.max_fields
    );
    put_mappings(out, &table.mappings);
}
