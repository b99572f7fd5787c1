//! The language of rules: `priority=10,tcp,nw_dst=10.0.0.0/8,tp_dst=80,actions=output:2`.
//!
//! It is the language of `ovs-ofctl`: what its users type is accepted, what its dumps show is
//! shown, byte for byte. Between text and rule stands a version of OpenFlow, because its messages
//! shape what they carry:
//!
//! ```text
//! text ─► match, actions as written ─► checked, as the version carries them ─► FlowMod
//!         parse_match, parse_action    consistency, order, dialect (request)
//! rule ─► as the version carries it ─► text
//!         dialect                      print
//! ```
//!
//! Reading is strict: what Open vSwitch would silently change (`nw_dst=10.0.0.300`,
//! `dl_vlan=5000`, `tcp_dst=80` without `tcp`, a field twice) is an error that says what is wrong,
//! where, and what would be right. [`ParseContext::lenient`] does instead what Open vSwitch 3.1
//! does. Nothing here knows which ports or groups exist, except for the names of ports.

mod argument;
mod consistency;
mod dialect;
mod error;
mod number;
mod order;
mod packet_out;
mod pairs;
mod parse_action;
mod parse_flow;
mod parse_group;
mod parse_match;
mod port;
mod print;
mod protocol;
mod request;
mod sketch;
mod subfield;
#[cfg(test)]
mod tests;
mod value;
mod words;

pub use error::TextError;
pub use packet_out::parse_packet_out;
pub use parse_flow::{
    describe_flow, describe_flows, parse_filter, parse_flow, parse_flow_file_line,
};
pub use parse_group::{GroupCommand, parse_group, parse_group_file_line};
pub use port::{NoPortNames, PortNames};
pub use print::subfield as write_subfield;
pub use print::{
    FlowLine, PrintOptions, write_action, write_actions, write_flow_mod, write_group,
    write_group_stats, write_match,
};
pub use protocol::Protocols;
pub use value::TCP_FLAGS;

use crate::action::Action;
use crate::flow_mod::Command;
use crate::matching::Match;
use crate::types::{OfVersion, TableId};
use error::Fault;

/// Priority of a rule that does not say.
pub const DEFAULT_PRIORITY: u16 = 32768;

/// How to read.
#[derive(Clone, Copy)]
pub struct ParseContext<'a> {
    /// The version of OpenFlow that the request is made in (`-O`).
    pub version: OfVersion,
    /// What the rule is for; decides which attributes it can have. Filters of dumps are read as
    /// [`Command::Delete`].
    pub command: Command,
    /// Accept, and alter, what Open vSwitch accepts and alters.
    pub lenient: bool,
    /// The names that ports have.
    pub ports: &'a dyn PortNames,
}

impl Default for ParseContext<'_> {
    fn default() -> Self {
        Self {
            version: OfVersion::default(),
            command: Command::Add,
            lenient: false,
            ports: &NoPortNames,
        }
    }
}

/// Reads a match alone: `tcp,nw_dst=10.0.0.1`.
///
/// # Errors
///
/// What [`parse_flow`] refuses; also attributes of rules.
pub fn parse_match(text: &str, context: &ParseContext<'_>) -> Result<Match, TextError> {
    parse_flow::only_match(text, context)
}

/// Reads a list of actions alone, for a packet-out: `mod_vlan_vid:5,output:2`. Without a match
/// nothing is known of the packet, so nothing is said about actions that may not apply to it.
///
/// # Errors
///
/// Unknown actions and arguments that make no sense, actions out of order.
pub fn parse_actions(text: &str, context: &ParseContext<'_>) -> Result<Vec<Action>, TextError> {
    let mut parser = parse_action::ActionParser::new(text, context);
    let actions = parser.list(text, order::Nesting::Outermost)?;
    Ok(dialect::actions(&actions, context.version, &Match::any()).into_owned())
}

/// A line of a file without its comment; `None` if nothing is left.
///
/// ```
/// use flow::text::strip_comment;
/// assert_eq!(strip_comment(" ip,actions=drop # no ip\n"), Some("ip,actions=drop"));
/// assert_eq!(strip_comment("# nothing"), None);
/// ```
pub fn strip_comment(line: &str) -> Option<&str> {
    let code = line.split_once('#').map_or(line, |(code, _)| code).trim();
    (!code.is_empty()).then_some(code)
}

/// A table by number; `None` is 255, all tables.
fn table_number(text: &str) -> Result<Option<TableId>, Fault> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u8>() {
        Ok(u8::MAX) if plain => Ok(None),
        Ok(n) if plain => TableId::new(n).map(Some).ok_or_else(|| {
            Fault::new(format!("table {n} is reserved")).hint("tables are 0 to 253")
        }),
        _ => Err(Fault::new(format!("{text:?} is not a table")).hint("tables are 0 to 253")),
    }
}
