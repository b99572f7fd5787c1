//! The control protocol: the messages between `ofctl`, or another front-end, and the daemon.
//!
//! # A session
//!
//! Client and daemon exchange [frames](frame), which have a size, a kind and a body. The client sends its
//! [`Hello`], and the daemon answers with its own. Then the client makes requests, one after the other. The
//! client may send the first request before the daemon's `Hello` arrives.
//!
//! ```text
//! client                                daemon
//!   Hello ───────────────────────────────►
//!   ◄─────────────────────────────── Hello
//!   Request ─────────────────────────────►      [JSON]
//!   Text* End ───────────────────────────►      [only if Operation::takes_text]
//!   ◄─────────────────────────────── Text*      [only if the operation lists rules, groups, hosts ...]
//!   ◄─────────────────────────────── Reply      [JSON: a Reply or a Refusal]
//! ```
//!
//! Requests and replies are JSON. Lists of rules and groups, which can have a million entries, travel as text:
//! in frames of whole lines, which sender and receiver handle one at a time, so that no side keeps the whole
//! list in memory. A request with text is a transaction: either every line takes effect or none does.
//!
//! [`Operation::Monitor`] is the last request of its session. The reply comes first. Text follows as events
//! happen, until the client closes the connection:
//!
//! ```text
//!   Request ─────────────────────────────►      [monitor]
//!   ◄────────────────────────────── Reply      [each later event is sent, or counted in EventRecord::Lost]
//!   ◄────────────────────────────── Text*      [events, in whole lines]
//! ```
//!
//! While a client waits, for a session or for an answer, the daemon sends frames of kind
//! [`Working`](frame::Kind::Working) as long as the switch makes progress. So a client can give up a daemon
//! that hangs after a short time, and wait for a long transaction all the same.
//!
//! # I/O
//!
//! This crate opens no socket. [`path`] and [`trust`] look at the path of the control socket. [`frame`] works
//! on bytes in memory. [`stream`] and [`Client`] work on anything that implements `Read` and `Write`.
#![forbid(unsafe_code)]

pub mod client;
mod formats;
pub mod frame;
mod hello;
mod os_error;
pub mod path;
pub mod record;
mod refusal;
mod reply;
mod request;
pub mod stream;
pub mod trust;
pub mod version;

pub use client::{Client, ClientError};
pub use hello::{Hello, PROTOCOL};
pub use os_error::OsError;
pub use path::socket_path;
pub use refusal::{OpenFlowError, Reason, Refusal, TextPlace};
pub use reply::{Changed, Reply};
pub use request::{
    CachedFlowQuery, EventKind, FlowCommand, FlowMods, FlowQuery, Format, GroupCommand, GroupMods,
    GroupQuery, MeterCommand, MeterMods, MeterPart, MeterQuery, MonitorQuery, Operation,
    OverlayRequest, PacketOutRequest, PortFlag, Request, SavedQuery, TraceQuery,
};
