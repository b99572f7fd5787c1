//! Ports: what they are, count, and how they are changed.

use crate::bits::put_names;
use crate::put;
use flow::text::{PortNames, write_duration, write_port};
use flow::types::{OfPort, OfVersion};
use openflow::{PortDesc, PortMod, PortStats, port_config};
use std::fmt::Write;

/// Bits of the configuration (`OFPPC_*`).
const CONFIG: [(u32, &str); 7] = [
    (1 << 0, "PORT_DOWN"),
    (1 << 1, "NO_STP"),
    (1 << 2, "NO_RECV"),
    (1 << 3, "NO_RECV_STP"),
    (1 << 4, "NO_FLOOD"),
    (1 << 5, "NO_FWD"),
    (1 << 6, "NO_PACKET_IN"),
];

/// Bits of the state (`OFPPS_*`).
const STATE: [(u32, &str); 3] = [(1 << 0, "LINK_DOWN"), (1 << 1, "BLOCKED"), (1 << 2, "LIVE")];

/// The bits of the state that have names in a version.
fn state_bits(version: OfVersion) -> u32 {
    if version == OfVersion::OpenFlow10 { 1 } else { 7 }
}

/// The bits of the state that say how far the spanning tree is, in OpenFlow 1.0.
const STP_MASK: u32 = 3 << 8;

/// Bits of what a link can be (`OFPPF_*` of OpenFlow 1.1), with their bit rates in Mb/s.
const FEATURES: [(u32, &str, u32); 16] = [
    (1 << 0, "10MB-HD", 10),
    (1 << 1, "10MB-FD", 10),
    (1 << 2, "100MB-HD", 100),
    (1 << 3, "100MB-FD", 100),
    (1 << 4, "1GB-HD", 1000),
    (1 << 5, "1GB-FD", 1000),
    (1 << 6, "10GB-FD", 10_000),
    (1 << 7, "40GB-FD", 40_000),
    (1 << 8, "100GB-FD", 100_000),
    (1 << 9, "1TB-FD", 1_000_000),
    (1 << 10, "OTHER", 0),
    (1 << 11, "COPPER", 0),
    (1 << 12, "FIBER", 0),
    (1 << 13, "AUTO_NEG", 0),
    (1 << 14, "AUTO_PAUSE", 0),
    (1 << 15, "AUTO_PAUSE_ASYM", 0),
];

/// Prints what a link can be. Bits that mean nothing are left out.
fn put_features(out: &mut String, bits: u32) {
    let names = FEATURES.map(|(bit, name, _)| (bit, name));
    put_names(out, bits & 0xffff, &names);
    out.push('\n');
}

/// The highest bit rate of these in Mb/s; 0 if none has one.
fn speed(bits: u32) -> u32 {
    FEATURES.iter().rev().find(|(bit, _, rate)| bits & bit != 0 && *rate != 0).map_or(0, |f| f.2)
}

/// Prints ports, those with the lowest numbers first.
pub(crate) fn put_descs(
    out: &mut String,
    ports: &[PortDesc],
    version: OfVersion,
    names: &dyn PortNames,
) {
    let mut sorted: Vec<&PortDesc> = ports.iter().collect();
    sorted.sort_by_key(|port| port.port);
    sorted.into_iter().for_each(|port| put_desc(out, port, version, names));
}

/// Prints a port in several lines.
pub(crate) fn put_desc(out: &mut String, port: &PortDesc, version: OfVersion, _: &dyn PortNames) {
    let name = printable(&port.name);
    put!(out, " {}({name}): addr:{}\n     config:     ", port.port, port.mac);
    put_names(out, port.config & port_config::of_version(version), &CONFIG);
    out.push_str("\n     state:      ");
    put_state(out, port.state, version);
    out.push('\n');
    for (name, bits) in [
        ("current:    ", port.current),
        ("advertised: ", port.advertised),
        ("supported:  ", port.supported),
        ("peer:       ", port.peer),
    ] {
        if bits & 0xffff != 0 {
            put!(out, "     {name}");
            put_features(out, bits);
        }
    }
    let (now, most) = match version {
        OfVersion::OpenFlow10 => (speed(port.current), speed(port.supported)),
        _ => (port.current_speed / 1000, port.max_speed / 1000),
    };
    put!(out, "     speed: {now} Mbps now, {most} Mbps max\n");
}

/// The name of a port up to its first character that cannot be printed.
fn printable(name: &str) -> &str {
    let end = name.find(|c: char| !matches!(c, ' '..='~')).unwrap_or(name.len());
    &name[..end]
}

fn put_state(out: &mut String, state: u32, version: OfVersion) {
    let stp = if version == OfVersion::OpenFlow10 { state & STP_MASK } else { 0 };
    match stp >> 8 {
        0 => return put_names(out, state & state_bits(version), &STATE),
        1 => out.push_str("STP_LEARN"),
        2 => out.push_str("STP_FORWARD"),
        _ => out.push_str("STP_BLOCK"),
    }
    if state & state_bits(version) != 0 {
        put_names(out, state & state_bits(version), &STATE);
    }
}

/// Prints a request that changes a port.
pub(crate) fn put_mod(
    out: &mut String,
    port_mod: &PortMod,
    version: OfVersion,
    names: &dyn PortNames,
) {
    let mask = port_mod.mask & port_config::of_version(version);
    out.push_str(" port: ");
    write_port(out, port_mod.port, names);
    put!(out, ": addr:{}\n     config: ", port_mod.mac);
    put_names(out, port_mod.config & mask, &CONFIG);
    out.push_str("\n     mask:   ");
    put_names(out, mask, &CONFIG);
    out.push_str("\n     advertise: ");
    match port_mod.advertise & 0xffff {
        0 => out.push_str("UNCHANGED\n"),
        bits => put_features(out, bits),
    }
}

/// Prints the counters of ports. A counter that the switch does not have is `?`.
pub(crate) fn put_stats(
    out: &mut String,
    ports: &[PortStats],
    version: OfVersion,
    names: &dyn PortNames,
) {
    for port in ports {
        out.push_str("  port ");
        if port.port < OfPort(10) {
            out.push(' ');
        }
        write_port(out, port.port, names);
        let [rx_packets, tx_packets] = port.packets.map(counter);
        let [rx_bytes, tx_bytes] = port.bytes.map(counter);
        let [rx_dropped, tx_dropped] = port.dropped.map(counter);
        let [rx_errors, tx_errors] = port.errors.map(counter);
        let [frame, over, crc] = port.rx_details.map(counter);
        let collisions = counter(port.collisions);
        put!(
            out,
            ": rx pkts={rx_packets}, bytes={rx_bytes}, drop={rx_dropped}, errs={rx_errors}, \
             frame={frame}, over={over}, crc={crc}\n           \
             tx pkts={tx_packets}, bytes={tx_bytes}, drop={tx_dropped}, errs={tx_errors}, coll={collisions}\n"
        );
        if let Some(duration) = port.duration.filter(|_| version >= OfVersion::OpenFlow13) {
            out.push_str("           duration=");
            write_duration(out, duration);
            out.push('\n');
        }
        put_custom(out, &port.custom);
    }
}

/// Prints counters with names, three a line.
fn put_custom(out: &mut String, counters: &[(String, u64)]) {
    if counters.is_empty() {
        return;
    }
    out.push_str("           CUSTOM Statistics");
    for line in counters.chunks(3) {
        let shown: Vec<String> =
            line.iter().map(|(name, value)| format!("{name}={value},")).collect();
        put!(out, "\n                      {}", shown.join(" "));
    }
    out.push('\n');
}

fn counter(count: Option<u64>) -> String {
    count.map_or_else(|| "?".to_owned(), |count| count.to_string())
}
