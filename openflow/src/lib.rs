//! OpenFlow 1.0 to 1.5 with Nicira's extensions: bytes to messages and messages to bytes.
//!
//! The crate has no socket, no thread and no clock. [`OfMessage`] is what a message says, in the types of
//! `flow` that text is parsed into, too: a flow mod decodes into a [`flow::flow_mod::FlowMod`]. [`Session`]
//! cuts a stream of bytes into messages, agrees on a version, and answers what it can answer alone.
//!
//! - Field numbers and widths come from [`flow::fields`]. What a version cannot say is rewritten by
//!   [`flow::dialect`] *before* encoding; encoding writes what it gets.
//! - Decoding never reads beyond the message, and allocates in proportion to the bytes that it has read. Every
//!   failure is an [`ErrorCode`], which an error message carries back to the sender.
//!
//! The wire is that of Open vSwitch 3.1 where the specification leaves a choice.
#![forbid(unsafe_code)]

mod action;
mod async_config;
mod ct_flush;
mod encoding;
mod error;
mod extension;
mod flow_mod;
mod flow_monitor;
mod flow_removed;
mod flow_stats;
mod group;
mod header;
mod hello;
mod input;
mod ipfix;
mod kind;
mod matching;
mod message;
mod meter;
mod multipart;
mod output;
mod packet_in;
mod packet_out;
mod pieces;
mod port;
mod ports;
mod queues;
mod reply_parts;
mod request_parts;
mod session;
mod status;
mod switch;
mod table_features;
mod table_mod;
mod tables;
mod tlv_table;

pub use async_config::{AsyncConfig, AsyncForm, AsyncKind, AsyncMasks, packet_in_reason};
pub use ct_flush::CtFlush;
pub use encoding::Encoding;
pub use error::{ErrorCode, ErrorMessage};
pub use flow_mod::check_flow_mod;
pub use flow_monitor::{
    FlowMonitor, FlowUpdate, MonitorCommand, MonitorEvent, MonitorFlags, MonitoredRule,
};
pub use flow_removed::{FlowRemoved, FlowRemovedReason};
pub use flow_stats::{AggregateStats, FlowStats};
pub use group::GroupFeatures;
pub use header::{HEADER_SIZE, MessageHeader};
pub use ipfix::IpfixStats;
pub use kind::{MessageKind, NoKind};
pub use message::{DecodeError, OfMessage};
pub use multipart::{MultipartReply, MultipartRequest};
pub use packet_in::{PacketIn, PacketInForm, continuation_of, token_of};
pub use packet_out::{check_packet_out, match_of_packet_out};
pub use pieces::{MatchField, decode_actions, decode_match, encode_match, match_fields};
pub use ports::{PortDesc, PortMod, PortStats, port_config, port_feature, port_state};
pub use queues::{EVERY_QUEUE, QueueConfig, QueueDesc, QueueStats};
pub use reply_parts::ReplyParts;
pub use session::{Incoming, Session, SessionError, TakenFlowMod, leading_packet_out};
pub use status::{
    PortReason, PortStatus, RequestForward, RoleReason, RoleStatus, TableReason, TableStatus,
};
pub use switch::{
    BundleControl, BundleStep, ControllerRole, RoleMessage, SwitchConfig, SwitchDesc,
    SwitchFeatures, capability,
};
pub use table_features::{
    ActionAbilities, FeaturesCommand, RuleAbilities, TableAbilities, TableFeatures,
};
pub use table_mod::{TableDesc, eviction_flag};
pub use tables::TableStats;
pub use tlv_table::TlvTable;
