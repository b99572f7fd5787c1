//! OpenFlow messages as text, to the byte as `ovs-ofctl ofp-print` of Open vSwitch 3.1 prints them.
//!
//! ```text
//! OFPT_FLOW_MOD (OF1.3) (xid=0x6): ADD table:9 priority=5,ip actions=output:1
//! ```
//!
//! [`Printer::print`] takes the bytes of one message. The crate `openflow` decodes them, and `flow::text`
//! prints rules, groups and packets; this crate has the lines around them. A message that nobody can decode is
//! printed with the error and its bytes.
#![forbid(unsafe_code)]

mod actions;
mod bits;
mod connections;
mod events;
mod field_names;
mod flows;
mod groups;
mod ipfix;
mod meters;
mod packets;
mod ports;
mod queues;
mod switch;
mod tables;

pub use bits::hex_dump;
pub use flows::flow_line;
pub use tables::put_table_features;

use flow::text::{NoPortNames, PortNames, PrintOptions};
use flow::types::{OfPort, OfVersion};
use openflow::{
    CtFlush, Encoding, ErrorCode, HEADER_SIZE, MessageHeader, MessageKind, NoKind, OfMessage,
    PacketInForm,
};
use std::fmt::Write;

/// How messages are printed.
#[derive(Clone, Copy)]
pub struct Printer<'a> {
    /// Names to print for port numbers. The default has none, and prints numbers.
    pub ports: &'a dyn PortNames,
    /// How much is printed: from 1 on the headers of packets, from 3 on the bytes of packets, from 5 on those
    /// of the whole message.
    pub verbosity: u8,
}

impl Default for Printer<'_> {
    fn default() -> Self {
        Self { ports: &NoPortNames, verbosity: 1 }
    }
}

/// `write!` to a `String`. Writing to a `String` cannot fail, so the result is dropped.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        let _ = write!($out, $($arg)*);
    };
}
pub(crate) use put;

impl Printer<'_> {
    /// The text of the message. `bytes` should be the message and nothing else; if the length in the header
    /// says otherwise, the text tells so. The text ends with a line feed.
    pub fn print(&self, bytes: &[u8]) -> String {
        let mut out = String::new();
        if bytes.is_empty() {
            return "OpenFlow message is empty\n".to_owned();
        }
        let Some(header) = MessageHeader::read(bytes) else {
            put!(out, "OpenFlow packet too short (only {} bytes):\n", bytes.len());
            hex_dump(&mut out, bytes, true);
            return out;
        };
        let len = usize::from(header.len);
        let kind = MessageKind::of(bytes);
        if len > bytes.len() {
            if let Ok(kind) = kind {
                put_header(&mut out, &kind, header);
                out.push('\n');
            }
            put!(out, "(***truncated to {} bytes from {len}***)\n", bytes.len());
        } else if len < bytes.len() {
            put!(out, "(***only uses {len} bytes out of {}***)\n", bytes.len());
        } else if let Err(error) = self.whole(&mut out, bytes, header, kind) {
            put_error(&mut out, error);
        } else {
            if self.verbosity >= 5 {
                end_line(&mut out);
                hex_dump(&mut out, bytes, true);
            }
            end_line(&mut out);
            return out;
        }
        hex_dump(&mut out, bytes, true);
        out
    }

    /// Prints a message whose length is right.
    fn whole(
        &self,
        out: &mut String,
        bytes: &[u8],
        header: MessageHeader,
        kind: Result<MessageKind, NoKind>,
    ) -> Result<(), ErrorCode> {
        let kind = kind.map_err(NoKind::code)?;
        if !kind.fits(bytes.len()) {
            return Err(ErrorCode::BadLength);
        }
        put_header(out, &kind, header);
        switch::put_multipart_flags(out, &kind, bytes);
        let version = version(header.version);
        // OpenFlow 1.0 has a table number in the commands of flow mods only if both sides agree, which a
        // message does not say.
        let encoding = Encoding { table_id: true, ..Encoding::new(version.unwrap_or_default()) };
        if switch::put_raw(out, &kind, bytes)? {
            return Ok(());
        }
        let message = match OfMessage::decode(bytes, encoding).map_err(|error| error.0) {
            // A switch without buffers refuses the message, which can be read all the same.
            Err(ErrorCode::BufferUnknown) => {
                let unbuffered = without_buffer(&kind, bytes).ok_or(ErrorCode::BufferUnknown)?;
                OfMessage::decode(&unbuffered, encoding).map_err(|error| error.0)?
            }
            message => message?,
        };
        self.body(
            out,
            &Received { message: &message, kind: &kind, version: encoding.version, bytes },
        )
    }

    /// Prints what stands behind the header.
    fn body(&self, out: &mut String, received: &Received<'_>) -> Result<(), ErrorCode> {
        let version = received.version;
        let options = PrintOptions { version, ports: self.ports, stats: true, ages: true };
        match received.message {
            OfMessage::Hello(_) => switch::put_hello(out, received.bytes),
            OfMessage::Error(error) => return switch::put_error_message(out, error),
            OfMessage::EchoRequest(data) | OfMessage::EchoReply(data) => {
                put!(out, " {} bytes of payload\n", data.len());
                if self.verbosity > 1 || !data.is_empty() && self.verbosity > 0 {
                    hex_dump(out, data, true);
                }
            }
            OfMessage::FeaturesReply(features) => {
                switch::put_features(out, features, received, &options)
            }
            OfMessage::FlowMod(flow_mod) => flows::put_mod(out, flow_mod, received, &options),
            OfMessage::GroupMod(group_mod) => groups::put_mod(out, group_mod, received, &options),
            OfMessage::MeterMod(_) => return meters::put_mod(out, received.bytes),
            OfMessage::PortMod(port_mod) => ports::put_mod(out, port_mod, version, self.ports),
            OfMessage::PacketIn(packet_in) | OfMessage::Resume(packet_in) => {
                packets::put_in(out, packet_in, self);
            }
            OfMessage::SetPacketInFormat(form) => {
                let name = match form {
                    PacketInForm::Standard => "standard",
                    PacketInForm::Nxt => "nxt_packet_in",
                    PacketInForm::Nxt2 => "nxt_packet_in2",
                };
                put!(out, " format={name}");
            }
            OfMessage::TableMod(table_mod) => tables::put_mod(out, table_mod, version),
            OfMessage::QueueGetConfigRequest(port) => {
                queues::put_request(out, *port, None, self.ports);
            }
            OfMessage::QueueGetConfigReply(config) => {
                out.push(' ');
                queues::put_descs(out, config.port, &config.queues, self.ports);
            }
            OfMessage::TlvTableMod(change) => queues::put_tlv_mod(out, change),
            OfMessage::TlvTableReply(table) => queues::put_tlv_table(out, table),
            OfMessage::CtFlush(CtFlush::Zone(zone)) => {
                put!(out, " zone_id={zone}");
            }
            OfMessage::CtFlush(flush @ CtFlush::Matching { protocol, .. }) => {
                connections::put_flush(out, *protocol, &flush.filter()?);
            }
            OfMessage::SetControllerId(id) => {
                put!(out, " id={id}");
            }
            OfMessage::PacketOut(packet_out) => {
                packets::put_out(out, packet_out, self, received);
            }
            OfMessage::MultipartRequest(request) => {
                switch::put_request(out, request, &options);
            }
            OfMessage::MultipartReply(reply, _) => {
                switch::put_reply(out, reply, self, received, &options)
            }
            OfMessage::RoleRequest(role) | OfMessage::RoleReply(role) => {
                switch::put_role(out, *role)
            }
            OfMessage::SetFlowFormat { nxm } => {
                out.push_str(if *nxm { " format=nxm" } else { " format=openflow10" });
            }
            OfMessage::FlowModTableId { is_on } => {
                out.push_str(if *is_on { " enable" } else { " disable" });
            }
            OfMessage::FlowRemoved(removed) => events::put_flow_removed(out, removed, &options),
            OfMessage::PortStatus(status) => {
                events::put_port_status(out, status, version, self.ports);
            }
            OfMessage::RoleStatus(status) => events::put_role_status(out, status),
            OfMessage::TableStatus(status) => events::put_table_status(out, status),
            OfMessage::RequestForward(forward) => {
                let encoding = Encoding { table_id: true, ..Encoding::new(version) };
                let bytes = forward.request.encode(encoding, forward.xid);
                let kind = MessageKind::of(&bytes).map_err(NoKind::code)?;
                out.push_str(match kind.name {
                    "OFPT_METER_MOD" => " reason=meter_mod",
                    _ => " reason=group_mod",
                });
                let inner =
                    Received { message: &forward.request, kind: &kind, version, bytes: &bytes };
                self.body(out, &inner)?;
            }
            OfMessage::GetAsyncReply(masks) | OfMessage::SetAsync(masks, _) => {
                events::put_async(out, masks);
            }
            OfMessage::FlowMonitorCancel(id) => {
                put!(out, " id={id}");
            }
            OfMessage::BundleControl(control) => switch::put_bundle_control(out, control),
            OfMessage::BundleAdd { id, flags, message } => {
                switch::check_bundle_add(received.bytes, message)?;
                switch::put_bundle_add(out, *id, *flags);
                out.push_str(&self.print(message));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A message, as its parts are printed.
struct Received<'a> {
    message: &'a OfMessage,
    kind: &'a MessageKind,
    version: OfVersion,
    /// The message as it came, for what decoding does not keep.
    bytes: &'a [u8],
}

/// The version with this number in headers; `None` if there is none from 1.0 to 1.5.
fn version(number: u8) -> Option<OfVersion> {
    OfVersion::ALL.get(usize::from(number).checked_sub(1)?).copied()
}

impl Received<'_> {
    /// The number of the buffered packet that a flow mod or packet-out is about.
    fn buffer(&self) -> Option<u32> {
        let buffer = u32_at(self.bytes, place_of_buffer(self.kind, self.bytes)?);
        Some(buffer).filter(|buffer| *buffer != NO_BUFFER)
    }

    /// The output port of a flow mod, which stands behind the buffer.
    fn out_port(&self) -> Option<OfPort> {
        let at = place_of_buffer(self.kind, self.bytes)? + 4;
        let has_32_bits = self.bytes[0] > 1 && self.kind.name == "OFPT_FLOW_MOD";
        // Numbers of 32 bits and of 16 bits agree in their low bits.
        Some(OfPort(u16_at(self.bytes, if has_32_bits { at + 2 } else { at })))
    }
}

/// `OFP_NO_BUFFER`: a message has its packet with it, or is about none.
const NO_BUFFER: u32 = u32::MAX;

/// Where a flow mod or packet-out has the number of a buffer.
fn place_of_buffer(kind: &MessageKind, bytes: &[u8]) -> Option<usize> {
    match (kind.name, bytes[0]) {
        ("OFPT_PACKET_OUT", _) => Some(8),
        ("OFPT_FLOW_MOD", 1) => Some(64),
        ("OFPT_FLOW_MOD" | "NXT_FLOW_MOD", _) => Some(32),
        _ => None,
    }
}

/// The message without the number of a buffer.
fn without_buffer(kind: &MessageKind, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut copy = bytes.to_vec();
    let at = place_of_buffer(kind, bytes)?;
    copy.get_mut(at..at + 4)?.copy_from_slice(&NO_BUFFER.to_be_bytes());
    Some(copy)
}

/// Appends `OFPST_FLOW reply (OF1.3) (xid=0x2):`.
fn put_header(out: &mut String, kind: &MessageKind, header: MessageHeader) {
    out.push_str(&kind.name());
    match header.version {
        1 => {}
        2..=7 => {
            put!(out, " (OF1.{})", header.version - 1);
        }
        number => {
            put!(out, " (OF 0x{number:02x})");
        }
    }
    put!(out, " (xid=0x{:x}):", header.xid);
}

/// Appends that the message cannot be decoded.
fn put_error(out: &mut String, error: ErrorCode) {
    if !out.is_empty() {
        out.push(' ');
    }
    put!(out, "***decode error: {}***\n", error.name());
}

/// Appends a line feed, unless the last line has ended already.
fn end_line(out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

/// The 16 bits at a place of a message, in network byte order; 0 behind the end.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u16::from_be_bytes(*word))
}

/// The 32 bits at a place of a message, in network byte order; 0 behind the end.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_be_bytes(*word))
}

/// The body of a message, behind the header.
fn body(bytes: &[u8]) -> &[u8] {
    bytes.get(HEADER_SIZE..).unwrap_or_default()
}
