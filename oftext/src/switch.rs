//! The switch as a whole: hello, errors, features, configuration, roles, bundles, and which multipart has what.

use crate::actions::put_actions;
use crate::bits::put_names;
use crate::groups::put_hex;
use crate::{
    Printer, Received, body, events, flows, groups, hex_dump, ipfix, meters, ports, put, queues,
    tables, u16_at, u32_at, version,
};
use flow::text::{PrintOptions, write_group, write_group_stats, write_port};
use flow::types::OfVersion;
use openflow::{
    BundleControl, BundleStep, ControllerRole, EVERY_QUEUE, ErrorCode, ErrorMessage, MessageKind,
    MultipartReply, MultipartRequest, RoleMessage, SwitchDesc, SwitchFeatures,
};
use std::fmt::Write;

/// The flag of a multipart that another part follows.
const MORE: u16 = 1;

/// Prints the flags of a multipart.
pub(crate) fn put_multipart_flags(out: &mut String, kind: &MessageKind, bytes: &[u8]) {
    let flags = if kind.is_reply.is_some() { u16_at(bytes, 10) } else { 0 };
    if flags == 0 {
        return;
    }
    // Requests have several parts from OpenFlow 1.3 on.
    let more = if kind.is_reply == Some(true) || bytes[0] >= 4 { flags & MORE } else { 0 };
    let unknown = flags & !more;
    out.push_str(" flags=");
    if more != 0 {
        out.push_str("[more]");
    }
    if unknown != 0 {
        put!(out, "[***unknown flags 0x{unknown:04x}***]");
    }
}

/// Prints a message of which the crate `openflow` does not keep all that is printed. Returns whether the
/// message is such a one.
///
/// # Errors
/// The message cannot be decoded.
pub(crate) fn put_raw(
    out: &mut String,
    kind: &MessageKind,
    bytes: &[u8],
) -> Result<bool, ErrorCode> {
    match kind.name {
        "OFPT_SET_CONFIG" => put_config(out, bytes, true)?,
        "OFPT_GET_CONFIG_REPLY" => put_config(out, bytes, false)?,
        "OFPST_TABLE" if kind.is_reply == Some(true) => {
            let version = version(bytes[0]).ok_or(ErrorCode::BadVersion)?;
            tables::put_stats(out, &bytes[kind.head..], version);
        }
        "OFPT_METER_MOD" => meters::put_mod(out, bytes)?,
        "OFPST_METER_CONFIG" if kind.is_reply == Some(true) => {
            meters::put_configs(out, &bytes[kind.head..])?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn put_config(out: &mut String, bytes: &[u8], is_request: bool) -> Result<(), ErrorCode> {
    /// `OFPC_INVALID_TTL_TO_CONTROLLER`, up to OpenFlow 1.2.
    const INVALID_TTL: u16 = 1 << 2;
    let (flags, miss_send_len) = (u16_at(bytes, 8), u16_at(bytes, 10));
    let tells_ttl = bytes[0] <= 3;
    let known = 3 | if tells_ttl { INVALID_TTL } else { 0 };
    if flags & !known != 0 && is_request {
        return Err(ErrorCode::ConfigFlags);
    }
    let flags = flags & known;
    let fragments = ["normal", "drop", "reassemble", "nx-match"][usize::from(flags & 3)];
    put!(out, " frags={fragments}");
    if flags & INVALID_TTL != 0 {
        out.push_str(" invalid_ttl_to_controller");
    }
    put!(out, " miss_send_len={miss_send_len}\n");
    Ok(())
}

/// Prints the versions of a HELLO, which may be later ones than 1.5.
pub(crate) fn put_hello(out: &mut String, bytes: &[u8]) {
    let highest = u32::from(bytes[0]);
    let mut elements = body(bytes);
    let mut bitmap = None;
    let mut is_known = true;
    while !elements.is_empty() {
        let (kind, len) = (u16_at(elements, 0), usize::from(u16_at(elements, 2)));
        if len < 4 || len > elements.len() {
            is_known = false;
            break;
        }
        match kind {
            1 if len >= 8 => {
                let versions = u32_at(elements, 4) & !1;
                is_known &= versions != 0;
                bitmap = Some(versions).filter(|versions| *versions != 0).or(bitmap);
            }
            _ => is_known = false,
        }
        elements = elements.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    let up_to = || (1..=highest.min(31)).fold(0u32, |bits, version| bits | 1 << version);
    let bits = bitmap.unwrap_or_else(up_to);
    let versions = (1..32).filter(|version| bits >> version & 1 != 0);
    let versions: Vec<String> = versions.map(|version| format!("0x{version:02x}")).collect();
    put!(out, "\n version bitmap: {}", versions.join(", "));
    if !is_known {
        out.push_str("\n unknown data in hello:\n");
        hex_dump(out, bytes, true);
    }
}

/// Prints an error, and below it the message that it is about.
///
/// # Errors
/// Nobody knows the numbers of the error.
pub(crate) fn put_error_message(out: &mut String, error: &ErrorMessage) -> Result<(), ErrorCode> {
    let code = error.code.ok_or(ErrorCode::BadLength)?;
    put!(out, " {}\n", code.name());
    if matches!(code, ErrorCode::HelloIncompatible | ErrorCode::HelloPermission) {
        put_text(out, &error.data);
    } else {
        out.push_str(&Printer::default().print(&error.data));
    }
    Ok(())
}

/// Prints bytes that should be text. What is no printable character is escaped.
fn put_text(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b' '..=b'~' if !matches!(byte, b'\\' | b'"') => out.push(byte as char),
            _ => {
                put!(out, "\\{byte:03o}");
            }
        }
    }
}

/// Bits of the capabilities that all versions have (`OFPC_*`), and that some have.
const CAPABILITIES: [(u32, &str); 10] = [
    (1 << 0, "FLOW_STATS"),
    (1 << 1, "TABLE_STATS"),
    (1 << 2, "PORT_STATS"),
    (1 << 3, "GROUP_STATS"),
    (1 << 5, "IP_REASM"),
    (1 << 6, "QUEUE_STATS"),
    (1 << 7, "ARP_MATCH_IP"),
    (1 << 8, "PORT_BLOCKED"),
    (1 << 9, "BUNDLES"),
    (1 << 10, "FLOW_MONITORING"),
];
/// The bit that means something else in OpenFlow 1.0.
const STP: (u32, &str) = (1 << 3, "STP");

/// The bits of the capabilities that a version has.
fn capabilities(version: OfVersion) -> u32 {
    use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13, OpenFlow14, OpenFlow15};
    match version {
        OpenFlow10 | OpenFlow11 => 0xef,
        OpenFlow12 | OpenFlow13 => 0x16f,
        OpenFlow14 | OpenFlow15 => 0x76f,
    }
}

/// Prints what a switch is, and up to OpenFlow 1.2 its ports.
pub(crate) fn put_features(
    out: &mut String,
    features: &SwitchFeatures,
    received: &Received<'_>,
    options: &PrintOptions<'_>,
) {
    let version = received.version;
    put!(
        out,
        " dpid:{:016x}\nn_tables:{}, n_buffers:{}",
        features.datapath_id,
        features.n_tables,
        features.n_buffers
    );
    let auxiliary = received.bytes[21];
    if version >= OfVersion::OpenFlow13 && auxiliary != 0 {
        put!(out, ", auxiliary_id:{auxiliary}");
    }
    out.push_str("\ncapabilities: ");
    let mut names = CAPABILITIES;
    if version == OfVersion::OpenFlow10 {
        names[3] = STP;
    }
    put_names(out, features.capabilities & capabilities(version), &names);
    out.push('\n');
    let actions = u32_at(received.bytes, 28);
    if version == OfVersion::OpenFlow10 && actions != 0 {
        out.push_str("actions: ");
        put_actions(out, actions, version);
        out.push('\n');
    }
    ports::put_descs(out, &features.ports, version, options.ports);
}

/// The name of a role.
pub(crate) fn role_name(role: ControllerRole) -> &'static str {
    match role {
        ControllerRole::NoChange => "nochange",
        ControllerRole::Equal => "equal",
        ControllerRole::Master => "primary",
        ControllerRole::Slave => "secondary",
    }
}

/// Prints a role.
pub(crate) fn put_role(out: &mut String, role: RoleMessage) {
    put!(out, " role={}", role_name(role.role));
    let has_generation = !role.is_nicira && role.role != ControllerRole::NoChange;
    if has_generation && role.generation != u64::MAX {
        put!(out, " generation_id={}", role.generation);
    }
}

/// Bits of the flags of bundles (`OFPBF_*`).
const BUNDLE_FLAGS: [(u32, &str); 2] = [(1, "atomic"), (2, "ordered")];

/// Prints what happens to a bundle.
pub(crate) fn put_bundle_control(out: &mut String, control: &BundleControl) {
    let step = match control.step {
        BundleStep::Open => "OPEN",
        BundleStep::Close => "CLOSE",
        BundleStep::Commit => "COMMIT",
        BundleStep::Discard => "DISCARD",
    };
    let direction = if control.is_reply { "REPLY" } else { "REQUEST" };
    out.push_str("\n bundle_id=");
    put_hex(out, control.id);
    put!(out, " type={step}_{direction} flags=");
    put_names(out, control.flags.into(), &BUNDLE_FLAGS);
}

/// Checks that a message can be part of a bundle.
///
/// # Errors
/// It has another number than the message that brings it, or does what no bundle can do.
pub(crate) fn check_bundle_add(bytes: &[u8], message: &[u8]) -> Result<(), ErrorCode> {
    if u32_at(message, 4) != u32_at(bytes, 4) {
        return Err(ErrorCode::BundleBadXid);
    }
    match MessageKind::of(message).is_ok_and(|kind| kind.can_be_in_bundle()) {
        true => Ok(()),
        false => Err(ErrorCode::BundleUnsupported),
    }
}

/// Prints in front of a message to which bundle it belongs.
pub(crate) fn put_bundle_add(out: &mut String, id: u32, flags: u16) {
    out.push_str("\n bundle_id=");
    put_hex(out, id);
    out.push_str(" flags=");
    put_names(out, flags.into(), &BUNDLE_FLAGS);
    out.push('\n');
}

/// Prints what a multipart asks for.
pub(crate) fn put_request(
    out: &mut String,
    request: &MultipartRequest,
    options: &PrintOptions<'_>,
) {
    let version = options.version;
    match request {
        MultipartRequest::Flow { filter, .. } | MultipartRequest::Aggregate { filter, .. } => {
            flows::put_filter(out, filter, options);
        }
        MultipartRequest::Port(port) => {
            out.push_str(" port_no=");
            write_port(out, *port, options.ports);
        }
        MultipartRequest::PortDesc(port) => {
            out.push_str(" port=");
            write_port(out, *port, options.ports);
        }
        MultipartRequest::Queue { port, queue } => {
            queues::put_request(out, *port, Some(*queue), options.ports);
        }
        MultipartRequest::QueueDesc { port, queue } => {
            let queue = Some(*queue).filter(|queue| *queue != EVERY_QUEUE);
            queues::put_request(out, *port, queue, options.ports);
        }
        MultipartRequest::TableFeatures(tables) => {
            tables::put_table_features(out, tables, version);
        }
        MultipartRequest::FlowMonitor(monitors) => events::put_monitors(out, monitors, options),
        MultipartRequest::Group(id) | MultipartRequest::GroupDesc(id) => groups::put_id(out, *id),
        MultipartRequest::Meter(id) | MultipartRequest::MeterConfig(id) => {
            meters::put_request(out, *id);
        }
        _ => {}
    }
}

/// Prints a reply of several parts, or one of its parts.
pub(crate) fn put_reply(
    out: &mut String,
    reply: &MultipartReply,
    printer: &Printer<'_>,
    received: &Received<'_>,
    options: &PrintOptions<'_>,
) {
    match reply {
        MultipartReply::Desc(desc) => put_desc(out, desc),
        MultipartReply::Flow(rules) => flows::put_stats(out, rules, options),
        MultipartReply::Aggregate(stats) => flows::put_aggregate(out, *stats),
        MultipartReply::Port(stats) => {
            put!(out, " {} ports\n", stats.len());
            if printer.verbosity > 0 {
                ports::put_stats(out, stats, received.version, options.ports);
            }
        }
        MultipartReply::PortDesc(descs) => {
            out.push('\n');
            ports::put_descs(out, descs, received.version, options.ports);
        }
        MultipartReply::Group(groups) => {
            for (id, stats) in groups {
                out.push_str("\n ");
                write_group_stats(out, *id, stats, options);
            }
        }
        MultipartReply::GroupDesc(groups) => {
            for group in groups {
                out.push_str("\n ");
                write_group(out, group, options);
            }
        }
        MultipartReply::FlowMonitor(updates) => {
            events::put_updates(out, updates, received, options)
        }
        MultipartReply::TableFeatures(tables) => {
            tables::put_table_features(out, tables, received.version);
        }
        MultipartReply::TableDesc(tables) => tables::put_descs(out, tables),
        MultipartReply::IpfixBridge(stats) => ipfix::put_bridge(out, stats),
        MultipartReply::IpfixFlow(exporters) => ipfix::put_flows(out, exporters),
        MultipartReply::Queue(queues) => queues::put_stats(out, queues, options.ports),
        MultipartReply::QueueDesc(queues) => {
            let mut sorted = queues.clone();
            sorted.sort_by_key(|queue| (queue.port, queue.queue));
            for (n, of_port) in sorted.chunk_by(|a, b| a.port == b.port).enumerate() {
                out.push_str(if n == 0 { " " } else { "" });
                queues::put_descs(out, of_port[0].port, of_port, options.ports);
            }
        }
        MultipartReply::GroupFeatures(features) => {
            groups::put_features(out, features, received.version)
        }
        MultipartReply::Meter(list) => meters::put_stats(out, list),
        MultipartReply::MeterFeatures(features) => meters::put_features(out, features),
        _ => {}
    }
}

fn put_desc(out: &mut String, desc: &SwitchDesc) {
    let SwitchDesc { manufacturer, hardware, software, serial, datapath } = desc;
    put!(
        out,
        "\nManufacturer: {manufacturer}\nHardware: {hardware}\nSoftware: {software}\nSerial Num: {serial}\n\
         DP Description: {datapath}\n"
    );
}
