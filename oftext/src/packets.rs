//! Packets: packet-ins, packet-outs, and packets that are resumed.

use crate::{Printer, Received, hex_dump, put};
use flow::packet_out::PacketOut;
use flow::text::{
    DEFAULT_PRIORITY, PrintOptions, write_actions, write_frame, write_match, write_port,
};
use flow::types::OfVersion;
use flow::verdict::PacketInReason;
use openflow::{PacketIn, match_of_packet_out};
use std::fmt::Write;

/// Prints a packet-out.
pub(crate) fn put_out(
    out: &mut String,
    packet_out: &PacketOut,
    printer: &Printer<'_>,
    received: &Received<'_>,
) {
    let version = received.version;
    let options = PrintOptions { version, ports: printer.ports, ..PrintOptions::default() };
    out.push(' ');
    if version >= OfVersion::OpenFlow15 {
        write_match(out, &match_of_packet_out(packet_out), DEFAULT_PRIORITY, printer.ports);
    } else {
        out.push_str("in_port=");
        write_port(out, packet_out.in_port, printer.ports);
    }
    out.push_str(" actions=");
    write_actions(out, &packet_out.actions, &options);
    if let Some(buffer) = received.buffer() {
        put!(out, " buffer=0x{buffer:08x}");
        return;
    }
    put!(out, " data_len={}", packet_out.packet.len());
    if printer.verbosity > 0 && !packet_out.packet.is_empty() {
        out.push('\n');
        put_frame(out, &packet_out.packet);
    }
    if printer.verbosity > 2 {
        hex_dump(out, &packet_out.packet, false);
    }
}

/// Prints a packet-in, or a packet that a controller resumes. What the switch alone understands is left out.
pub(crate) fn put_in(out: &mut String, packet_in: &PacketIn, printer: &Printer<'_>) {
    let PacketIn { packet, total_len, buffer, reason, table, cookie, metadata, userdata, .. } =
        packet_in;
    if *table != 0 {
        put!(out, " table_id={table}");
    }
    if let Some(cookie) = cookie {
        put!(out, " cookie={:#x}", cookie.0);
    }
    put!(out, " total_len={total_len} ");
    write_match(out, metadata, DEFAULT_PRIORITY, printer.ports);
    put!(out, " (via {}) data_len={}", reason_name(*reason), packet.len());
    let len = packet.len() as u32;
    match buffer {
        None => {
            out.push_str(" (unbuffered)");
            if *total_len != len {
                out.push_str(" (***total_len != data_len***)");
            }
        }
        Some(buffer) => {
            put!(out, " buffer=0x{buffer:08x}");
            if *total_len < len {
                out.push_str(" (***total_len < data_len***)");
            }
        }
    }
    out.push('\n');
    if !userdata.is_empty() {
        let bytes: Vec<String> = userdata.iter().map(|byte| format!("{byte:02x}")).collect();
        put!(out, " userdata={}\n", bytes.join("."));
    }
    if printer.verbosity > 0 {
        put_frame(out, packet);
    }
    if printer.verbosity > 2 {
        hex_dump(out, packet, false);
    }
}

/// The name of the reason that a message gives.
fn reason_name(reason: PacketInReason) -> &'static str {
    match reason {
        PacketInReason::NoMatch | PacketInReason::ExplicitMiss | PacketInReason::ImplicitMiss => {
            "no_match"
        }
        PacketInReason::Action => "action",
        PacketInReason::InvalidTtl => "invalid_ttl",
        PacketInReason::ActionSet => "action_set",
        PacketInReason::Group => "group",
        PacketInReason::PacketOut => "packet_out",
    }
}

/// Prints the headers of a frame, and ends the line.
fn put_frame(out: &mut String, frame: &[u8]) {
    write_frame(out, frame);
    out.push('\n');
}
