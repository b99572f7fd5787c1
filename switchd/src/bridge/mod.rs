//! The one door: what can be done to a bridge and asked of it, whoever asks.
//!
//! Front-ends parse text, or decode messages, into the types that this module takes, and put into words what it
//! returns. Nothing here reads or writes text, and nothing here knows of sessions.
//!
//! Changes are the policy's transactions, which take requests as they are and return what they did;
//! what needs more than one of these is a type or a function here. [`events`] tells subscribers
//! what happens, whoever caused it.

pub mod cached_flows;
pub mod event;
pub mod events;
pub mod flows;
pub mod groups;
pub mod hosts;
pub mod meters;
pub mod packet_out;
pub mod subscription;
pub mod trace;
pub mod won_rules;

#[cfg(test)]
mod tests;
