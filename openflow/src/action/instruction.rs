//! Instructions (OpenFlow 1.3.5 §7.2.4): how OpenFlow 1.1 and later carry the actions of a rule.

use super::decode::{decode_behind, decode_list, write_metadata};
use super::encode::put_list;
use crate::error::ErrorCode;
use crate::input::Input;
use crate::output::Encoder;
use flow::action::Action;
use flow::types::{MeterId, OfVersion, TableId};

const GOTO_TABLE: u16 = 1;
const WRITE_METADATA: u16 = 2;
const WRITE_ACTIONS: u16 = 3;
const APPLY_ACTIONS: u16 = 4;
const CLEAR_ACTIONS: u16 = 5;
const METER: u16 = 6;
const EXPERIMENTER: u16 = 0xffff;

/// Writes the actions of a rule: plain actions in one `apply_actions`, then the other instructions.
pub(crate) fn put_instructions(out: &mut Encoder, actions: &[Action], version: OfVersion) {
    let is_instruction = |action: &Action| {
        matches!(
            action,
            Action::ClearActions
                | Action::WriteActions(_)
                | Action::WriteMetadata { .. }
                | Action::GotoTable(_)
        )
    };
    let (meter, actions) = match actions {
        // In 1.5, the meter is an action like others.
        [Action::Meter(meter), rest @ ..] if version < OfVersion::OpenFlow15 => (Some(meter), rest),
        actions => (None, actions),
    };
    if let Some(meter) = meter.filter(|_| version >= OfVersion::OpenFlow13) {
        out.u16(METER);
        out.u16(8);
        out.u32(meter.0);
    }
    // Instructions stand behind the actions.
    let count = actions.iter().take_while(|action| !is_instruction(action)).count();
    let (plain, instructions) = actions.split_at(count);
    if !plain.is_empty() {
        put_actions(out, APPLY_ACTIONS, plain, version);
    }
    for instruction in instructions {
        match instruction {
            Action::ClearActions => put_actions(out, CLEAR_ACTIONS, &[], version),
            Action::WriteActions(inner) => put_actions(out, WRITE_ACTIONS, inner, version),
            Action::WriteMetadata { value, mask } => {
                out.u16(WRITE_METADATA);
                out.u16(24);
                out.zeros(4);
                out.u64(*value);
                out.u64(*mask);
            }
            Action::GotoTable(table) => {
                out.u16(GOTO_TABLE);
                out.u16(8);
                out.u8(table.get());
                out.zeros(3);
            }
            _ => {}
        }
    }
}

fn put_actions(out: &mut Encoder, kind: u16, actions: &[Action], version: OfVersion) {
    let start = out.len();
    out.u16(kind);
    out.u16(0);
    out.zeros(4);
    put_list(out, actions, version);
    out.set_len(start + 2, start);
}

/// Reads instructions up to the end of `input`. They come in the order in which OpenFlow carries them out,
/// whatever their order in the message.
pub(crate) fn decode_instructions(
    mut input: Input<'_>,
    version: OfVersion,
) -> Result<Vec<Action>, ErrorCode> {
    // All instructions are looked at before an action of one of them is, as in Open vSwitch.
    let mut bodies: [Option<Input<'_>>; METER as usize + 1] = [None; METER as usize + 1];
    while !input.is_empty() {
        let mut header = input;
        let (Ok(kind), Ok(len)) = (header.u16(), header.u16().map(usize::from)) else {
            return Err(ErrorCode::BadInstructionLength);
        };
        if len < 8 || !len.is_multiple_of(8) || len > input.len() {
            return Err(ErrorCode::BadInstructionLength);
        }
        let mut body = input.part(len, ErrorCode::BadInstructionLength)?;
        body.skip(4)?;
        let size = match kind {
            GOTO_TABLE | CLEAR_ACTIONS => Some(8),
            WRITE_METADATA => Some(24),
            WRITE_ACTIONS | APPLY_ACTIONS => None,
            // OpenFlow 1.1 and 1.2 have no meters. Open vSwitch takes the instruction in them all the same.
            METER => Some(8),
            EXPERIMENTER => return Err(ErrorCode::BadInstructionVendor),
            _ => return Err(ErrorCode::UnknownInstruction),
        };
        if size.is_some_and(|size| size != len) {
            return Err(ErrorCode::BadInstructionLength);
        }
        if kind == METER && version >= OfVersion::OpenFlow15 {
            return Err(ErrorCode::UnknownInstruction);
        }
        if bodies[usize::from(kind)].replace(body).is_some() {
            return Err(ErrorCode::DuplicateInstruction);
        }
    }
    let body = |kind: u16| bodies[usize::from(kind)];
    let mut list = Vec::new();
    if let Some(mut body) = body(METER) {
        list.push(Action::Meter(MeterId(body.u32()?)));
    }
    if let Some(mut body) = body(APPLY_ACTIONS) {
        body.skip(4)?;
        decode_behind(&mut list, body, version)?;
    }
    if body(CLEAR_ACTIONS).is_some() {
        list.push(Action::ClearActions);
    }
    if let Some(mut body) = body(WRITE_ACTIONS) {
        body.skip(4)?;
        list.push(Action::WriteActions(decode_list(body, version)?));
    }
    if let Some(mut body) = body(WRITE_METADATA) {
        body.skip(4)?;
        list.push(write_metadata(body.u64()?, body.u64()?)?);
    }
    if let Some(mut body) = body(GOTO_TABLE) {
        let table = TableId::new(body.u8()?).ok_or(ErrorCode::BadInstructionTable)?;
        list.push(Action::GotoTable(table));
    }
    Ok(list)
}
