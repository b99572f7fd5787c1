//! Actions and instructions in messages (OpenFlow 1.3.5 §7.2.4 and §7.2.5; ovs-actions(7) for Nicira's).
//!
//! An action that a version does not have is written as [`flow::dialect`] says: what is encoded
//! here has been through it.

mod connection;
mod decode;
mod encode;
mod instruction;
mod learn;
mod members;
mod nat;
mod number;

pub(crate) use decode::{check_rule, decode_list, decode_plain};
pub(crate) use encode::put_list;
pub(crate) use instruction::{decode_instructions, put_instructions};
