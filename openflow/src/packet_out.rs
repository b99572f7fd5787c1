//! Packet-outs (`OFPT_PACKET_OUT`, OpenFlow 1.3.5 §7.3.7, 1.5.1 §7.3.6).

use crate::action;
use crate::error::ErrorCode;
use crate::flow_mod::NO_BUFFER;
use crate::input::Input;
use crate::matching;
use crate::output::Encoder;
use crate::port;
use OfVersion::{OpenFlow10, OpenFlow15};
use flow::Match;
use flow::fields::FieldId;
use flow::key::{PipelineKey, PipelineMask};
use flow::packet_out::PacketOut;
use flow::text::check_received_packet;
use flow::types::{OfPort, OfVersion};

/// Reads a packet-out.
pub(crate) fn decode(mut input: Input<'_>, version: OfVersion) -> Result<PacketOut, ErrorCode> {
    let buffer = input.u32()?;
    let (in_port, state, len) = if version >= OpenFlow15 {
        let len = input.u16()?;
        input.skip(2)?;
        let matching = matching::decode_of_packet_out(&mut input)?;
        let (in_port, state) = pipeline_fields(&matching)?;
        (in_port, state, len)
    } else {
        let in_port = port::decode(&mut input, version, ErrorCode::BadOutPort)?;
        let len = input.u16()?;
        if version > OpenFlow10 {
            input.skip(6)?;
        }
        (in_port, PipelineKey::default(), len)
    };
    if !len.is_multiple_of(8) {
        return Err(ErrorCode::BadLength);
    }
    let actions = input.part(usize::from(len), ErrorCode::BadActionLength)?;
    let actions = action::decode_plain(actions, version)?;
    let is_source = in_port < OfPort::MAX
        || matches!(in_port, OfPort::LOCAL | OfPort::NONE | OfPort::CONTROLLER);
    if !is_source {
        return Err(ErrorCode::BadPort);
    }
    if buffer != NO_BUFFER {
        return Err(ErrorCode::BufferUnknown);
    }
    Ok(PacketOut { in_port, packet: input.rest().to_vec(), state, actions })
}

/// Checks that the actions of a packet-out fit its packet, which Open vSwitch checks before it looks for groups
/// and meters of the actions.
///
/// # Errors
/// OpenFlow's error for the first action that does not fit.
pub fn check_packet_out(packet_out: &PacketOut, version: OfVersion) -> Result<(), ErrorCode> {
    Ok(check_received_packet(packet_out, version)?)
}

/// The ingress port and the fields beside the packet ([`FieldId::beside_packet`]) of a match, which must be
/// about nothing else and have no masks.
fn pipeline_fields(matching: &Match) -> Result<(OfPort, PipelineKey), ErrorCode> {
    let mut rest = *matching.mask();
    if !FieldId::InPort.is_exact(matching.mask()) {
        return Err(ErrorCode::BadPort);
    }
    let mut state = PipelineKey::default();
    FieldId::InPort.clear_mask(&mut rest, u128::MAX);
    let options = matching.key().headers.tun_options;
    FieldId::TunOptions.clear_mask(&mut rest, options.get().into());
    for field in FieldId::beside_packet(matching.key()) {
        if field.get_mask(&rest) != 0 || field.is_option() {
            field.write(&mut state, field.read(matching.key()), u128::MAX);
            field.clear_mask(&mut rest, u128::MAX);
        }
    }
    match rest == PipelineMask::default() {
        true => Ok((matching.key().in_port.get(), state)),
        false => Err(ErrorCode::RequestPipelineFieldsOnly),
    }
}

/// Writes a packet-out. Messages before OpenFlow 1.5 carry no registers, no metadata and no tunnel.
pub(crate) fn put(out: &mut Encoder, packet_out: &PacketOut, version: OfVersion) {
    out.u32(NO_BUFFER);
    let len_at = if version >= OpenFlow15 {
        let len_at = out.len();
        out.zeros(4);
        matching::put_oxm(out, &match_of_packet_out(packet_out), version);
        len_at
    } else {
        port::put(out, packet_out.in_port, version);
        let len_at = out.len();
        out.zeros(if version == OpenFlow10 { 2 } else { 8 });
        len_at
    };
    let start = out.len();
    action::put_list(out, &packet_out.actions, version);
    out.set_len(len_at, start);
    out.bytes(&packet_out.packet);
}

/// The match that says of a packet where it comes from and with which state it enters the pipeline.
/// OpenFlow 1.5 has it in messages.
pub fn match_of_packet_out(packet_out: &PacketOut) -> Match {
    let (mut key, mut mask) = (packet_out.state, PipelineMask::default());
    key.in_port.set(packet_out.in_port);
    FieldId::InPort.set_mask(&mut mask, u128::MAX);
    for field in FieldId::beside_packet(&key) {
        // Only OpenFlow 1.5 carries these fields, and it has registers in pairs.
        let field = match field {
            FieldId::Reg(n) => FieldId::XReg(n / 2),
            field => field,
        };
        if field.says_something(&key) {
            field.set_mask(&mut mask, u128::MAX);
        }
    }
    Match::new(&key, &mask)
}
