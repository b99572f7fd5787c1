//! The one door: what can be done to a bridge and asked of it, whoever asks.
//!
//! Front-ends parse text, or decode messages, into the types that this module takes, and put into words what it
//! returns. Nothing here reads or writes text, and nothing here knows of sessions.
//!
//! [`events`] tells subscribers what happens.

pub mod event;
pub mod events;
pub mod subscription;

#[cfg(test)]
mod tests;
