//! The control protocol: what `ofctl` and every other front-end say to the daemon, and its answers.
//!
//! # The conversation
//!
//! Client and daemon exchange [frames](frame): a length, a kind, a body. The client opens with its
//! [`Hello`], the daemon answers with its own; then the client makes requests, one after the other.
//! It need not wait for the daemon's `Hello` before the first request.
//!
//! ```text
//! client                                daemon
//!   Hello ───────────────────────────────►
//!   ◄─────────────────────────────── Hello
//!   Request ─────────────────────────────►      [a small request: JSON]
//!   Text* End ───────────────────────────►      [only where the request takes text]
//!   ◄─────────────────────────────── Text*      [only where the request streams]
//!   ◄─────────────────────────────── Reply      [JSON: the result, or a Refusal]
//! ```
//!
//! Requests and replies are JSON. What comes by the million, rules, travels as text in chunks of
//! whole lines, in both directions: it is written once, parsed once, and needs no memory of its size.
//! A request with text is a transaction: everything takes effect or nothing does.
//!
//! [`Operation::Monitor`] is the last request of its session. The reply comes first, and then text as events
//! come, until the client closes the connection:
//!
//! ```text
//!   Request ─────────────────────────────►      [monitor]
//!   ◄────────────────────────────── Reply      [from now on nothing is missed, or told to be]
//!   ◄────────────────────────────── Text*      [as things happen; whole lines]
//! ```
//!
//! # What it does not do
//!
//! Nothing here opens a socket. [`frame`] works on bytes in memory; [`stream`] and [`Client`] on
//! anything that reads and writes.
#![forbid(unsafe_code)]

pub mod client;
pub mod frame;
mod hello;
pub mod path;
pub mod record;
mod refusal;
mod reply;
mod request;
pub mod stream;
pub mod version;

pub use client::{Client, ClientError};
pub use hello::{Hello, PROTOCOL};
pub use path::socket_path;
pub use refusal::{OpenFlowError, Reason, Refusal, TextPlace};
pub use reply::Reply;
pub use request::{
    CachedFlowQuery, EventKind, FlowCommand, FlowMods, FlowQuery, Format, GroupCommand, GroupMods,
    GroupQuery, MonitorQuery, Operation, PacketOutRequest, PortFlag, Request, TraceQuery,
};
