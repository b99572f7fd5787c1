//! The field table: one line for each field that rules can match or set.
//!
//! The text parser, the printer, `trace` and the actions that name fields read it.

use super::key::{FlowKey, PipelineKey};
use std::mem::offset_of;

/// Names a field. The order is the order of printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FieldId {
    /// `in_port`
    InPort,
}
const _: (usize, usize) = (offset_of!(FlowKey, in_port), offset_of!(PipelineKey, metadata));
