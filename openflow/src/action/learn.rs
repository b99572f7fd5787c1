//! The action that learns rules (`NXAST_LEARN`, `NXAST_LEARN2`), behind its subtype.
//!
//! ```text
//! bytes 10-11  idle timeout      24-25  flags                     32-35  limit, in NXAST_LEARN2 only, as all up to the parts
//! bytes 12-13  hard timeout      26     table                     36-37  bit of the field of the result
//! bytes 14-15  priority          28-29  idle timeout after a FIN  40-    header of that field, if a flag says so
//! bytes 16-23  cookie            30-31  hard timeout after a FIN
//! ```
//!
//! Behind these are the parts of learned rules. A part begins with 16 bits: how many bits of a field it is
//! about, and of which kind it is. Then come the source (a field, or a value in units of 16 bits) and, unless
//! the part outputs, the field that is matched or written. Zeros end the list.

use super::decode::subfield;
use crate::error::ErrorCode;
use crate::input::Input;
use crate::matching::field::{self, FieldHeader};
use crate::output::Encoder;
use OfVersion::OpenFlow10;
use flow::action::Subfield;
use flow::fields::ones;
use flow::learn::{LearnSource, LearnedPart, Learner};
use flow::types::{Cookie, OfVersion, TableId};

/// `NX_LEARN_F_SEND_FLOW_REM`.
const SEND_FLOW_REM: u16 = 1;
/// `NX_LEARN_F_DELETE_LEARNED`.
const DELETE_LEARNED: u16 = 2;
/// `NX_LEARN_F_WRITE_RESULT`.
const WRITE_RESULT: u16 = 4;
/// The bits of the first 16 of a part that say how many bits the part is about.
const N_BITS: u16 = 0x3ff;
/// `NX_LEARN_SRC_IMMEDIATE`: the source is a value.
const IS_VALUE: u16 = 1 << 13;
/// `NX_LEARN_DST_LOAD`: the part is a `load`.
const LOADS: u16 = 1 << 11;
/// `NX_LEARN_DST_OUTPUT`: the part is an `output`.
const OUTPUTS: u16 = 2 << 11;
/// The bits of the first 16 of a part that say what kind of part it is. As in Open
/// vSwitch, the others mean nothing.
const KIND: u16 = IS_VALUE | 3 << 11;

/// Whether the action has what only `NXAST_LEARN2` can say.
pub(super) fn needs_second_form(learner: &Learner) -> bool {
    learner.limit != 0 || learner.result_dst.is_some()
}

/// Writes the action.
pub(super) fn put(out: &mut Encoder, learner: &Learner) {
    let flag = |is_set: bool, flag: u16| if is_set { flag } else { 0 };
    out.u16(learner.idle_timeout);
    out.u16(learner.hard_timeout);
    out.u16(learner.priority);
    out.u64(learner.cookie.0);
    out.u16(
        flag(learner.send_flow_rem, SEND_FLOW_REM)
            | flag(learner.delete_learned, DELETE_LEARNED)
            | flag(learner.result_dst.is_some(), WRITE_RESULT),
    );
    out.u8(learner.table.get());
    out.zeros(1);
    out.u16(learner.fin_idle_timeout);
    out.u16(learner.fin_hard_timeout);
    if needs_second_form(learner) {
        out.u32(learner.limit);
        out.u16(learner.result_dst.map_or(0, |dst| dst.offset));
        out.zeros(2);
        if let Some(dst) = learner.result_dst {
            field::put_header(out, dst.field, OpenFlow10, false);
        }
    }
    learner.parts.iter().for_each(|part| put_part(out, *part));
}

fn put_part(out: &mut Encoder, part: LearnedPart) {
    let (kind, from, dst) = match part {
        LearnedPart::Match { dst, from } => (0, from, Some(dst)),
        LearnedPart::Load { dst, from } => (LOADS, from, Some(dst)),
        LearnedPart::Output(src) => (OUTPUTS, LearnSource::Field(src), None),
    };
    match from {
        LearnSource::Field(src) => {
            out.u16(kind | src.n_bits);
            put_subfield(out, src);
        }
        LearnSource::Value(value) => {
            let n_bits = dst.map_or(0, |dst| dst.n_bits);
            out.u16(kind | IS_VALUE | n_bits);
            out.integer(value, value_size(n_bits));
        }
    }
    if let Some(dst) = dst {
        put_subfield(out, dst);
    }
}

fn put_subfield(out: &mut Encoder, sub: Subfield) {
    field::put_header(out, sub.field, OpenFlow10, false);
    out.u16(sub.offset);
}

/// Size in bytes of a value of `n_bits` bits.
fn value_size(n_bits: u16) -> usize {
    2 * usize::from(n_bits.div_ceil(16))
}

/// Reads the action; `is_second_form` says that it is `NXAST_LEARN2`.
pub(super) fn decode(input: &mut Input<'_>, is_second_form: bool) -> Result<Learner, ErrorCode> {
    let mut learner = Learner {
        idle_timeout: input.u16()?,
        hard_timeout: input.u16()?,
        priority: input.u16()?,
        cookie: Cookie(input.u64()?),
        ..Learner::default()
    };
    let flags = input.u16()?;
    let known = SEND_FLOW_REM | DELETE_LEARNED | if is_second_form { WRITE_RESULT } else { 0 };
    learner.send_flow_rem = flags & SEND_FLOW_REM != 0;
    learner.delete_learned = flags & DELETE_LEARNED != 0;
    learner.table = TableId::new(input.u8()?).ok_or(ErrorCode::BadArgument)?;
    let padding = input.u8()?;
    learner.fin_idle_timeout = input.u16()?;
    learner.fin_hard_timeout = input.u16()?;
    if flags & !known != 0 || padding != 0 {
        return Err(ErrorCode::BadArgument);
    }
    if is_second_form {
        learner.limit = input.u32()?;
        let offset = input.u16()?;
        if input.u16()? != 0 {
            return Err(ErrorCode::ActionMustBeZero);
        }
        if flags & WRITE_RESULT != 0 {
            let field = FieldHeader::decode_alone(input)?;
            learner.result_dst = Some(subfield(field, offset, 1)?);
        } else if offset != 0 {
            return Err(ErrorCode::BadArgument);
        }
    }
    while input.len() >= 2 {
        let head = input.u16()?;
        if head == 0 {
            break;
        }
        learner.parts.push(decode_part(input, head)?);
    }
    match input.rest().iter().all(|byte| *byte == 0) {
        true => Ok(learner),
        false => Err(ErrorCode::BadArgument),
    }
}

fn decode_part(input: &mut Input<'_>, head: u16) -> Result<LearnedPart, ErrorCode> {
    let (n_bits, kind) = (head & N_BITS, head & KIND);
    let from = match kind & IS_VALUE {
        0 => LearnSource::Field(decode_subfield(input, n_bits)?),
        _ => {
            let size = value_size(n_bits);
            if size > size_of::<u128>() {
                return Err(ErrorCode::BadArgument);
            }
            LearnSource::Value(input.integer(size)? & ones(n_bits))
        }
    };
    match (kind & !IS_VALUE, from) {
        (0, from) => Ok(LearnedPart::Match { dst: decode_subfield(input, n_bits)?, from }),
        (LOADS, from) => Ok(LearnedPart::Load { dst: decode_subfield(input, n_bits)?, from }),
        (OUTPUTS, LearnSource::Field(src)) => Ok(LearnedPart::Output(src)),
        _ => Err(ErrorCode::BadArgument),
    }
}

fn decode_subfield(input: &mut Input<'_>, n_bits: u16) -> Result<Subfield, ErrorCode> {
    let field = FieldHeader::decode_short(input)?;
    subfield(field, input.u16()?, n_bits)
}
