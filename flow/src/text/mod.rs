//! Parses and prints rules, groups and packet-outs:
//! `priority=10,tcp,nw_dst=10.0.0.0/8,tp_dst=80,actions=output:2`.
//!
//! The language is that of `ovs-ofctl`. This module accepts what users of `ovs-ofctl` type, and prints dumps
//! that are the same byte for byte. `ovs-ofctl` sends each rule in a message of some OpenFlow version (`-O`),
//! and a message cannot carry everything that the text can say. So text becomes a rule, and a rule becomes
//! text, by way of a version:
//!
//! ```text
//! text ─► match, actions as written ─► checked, as the version carries them ─► FlowMod
//!         parse_match, parse_action    consistency, order, dialect (request)
//! rule ─► as the version carries it ─► text
//!         dialect                      print
//! ```
//!
//! Parsing is strict by default. Text that Open vSwitch would silently change (`nw_dst=10.0.0.300`,
//! `dl_vlan=5000`, `tcp_dst=80` without `tcp`, a field given twice) is refused with a [`TextError`], which says
//! what is wrong, where, and what would be right. With [`ParseContext::lenient`], such text is changed as Open
//! vSwitch 3.1 changes it.
//!
//! The parser does not know which tables, ports and groups exist; it only knows
//! the names of ports ([`PortNames`]).

#[cfg(any(test, feature = "arbitrary"))]
pub mod arbitrary;
mod argument;
mod consistency;
mod error;
#[cfg(test)]
mod every_word;
mod number;
mod order;
mod packet_out;
mod pairs;
mod parse_action;
mod parse_ct;
mod parse_flow;
pub(crate) mod parse_group;
mod parse_learn;
mod parse_match;
mod parse_members;
pub(crate) mod parse_meter;
mod parse_nat;
mod port;
mod print;
mod printable;
mod protocol;
mod request;
mod rule_reader;
mod subfield;
mod table_setting;
#[cfg(test)]
mod tests;
mod value;
pub(crate) mod vocabulary;
pub(crate) mod words;

pub use consistency::{Unfit, check_received};
pub use error::TextError;
pub use packet_out::{check_received_packet, parse_packet_out};
pub use parse_action::is_nearly_an_action;
pub use parse_flow::{
    describe_flow, describe_flows, parse_dumped_flow, parse_file_line_with_formats, parse_filter,
    parse_flow, parse_flow_file_line, parse_flow_with_formats, parse_saved_flow,
};
pub use parse_group::{GroupCommand, parse_group, parse_group_file_line, parse_saved_group};
pub use parse_meter::{MeterCommand, parse_meter, parse_meter_id, parse_saved_meter};
pub use port::write as write_port;
pub use port::{BridgeNames, NoPortNames, PortNames};
pub use print::duration as write_duration;
pub use print::subfield as write_subfield;
pub use print::{
    FlowLine, PrintOptions, mask_inner_headers, packet_fields, write_action, write_actions,
    write_flow_mod, write_frame, write_group, write_group_stats, write_match, write_meter,
    write_meter_features, write_meter_stats, write_nat, write_packet, write_saved_group,
    write_saved_meter,
};
pub use printable::{mark, printable, shorten};
pub use protocol::{Protocols, UnknownFormat};
pub use table_setting::change_table;
pub use words::{CT_STATES, TCP_FLAGS, TUN_FLAGS};

use crate::action::{Action, Subfield};
use crate::dialect;
use crate::flow_mod::Command;
use crate::matching::Match;
use crate::types::{MacAddr, OfVersion, TableId, mac_of_bits};
use error::Fault;
use std::fmt::Write;

/// The priority of a rule without `priority=`, as in Open vSwitch (`OFP_DEFAULT_PRIORITY`).
pub const DEFAULT_PRIORITY: u16 = 32768;

/// The settings of a parser.
#[derive(Clone, Copy)]
pub struct ParseContext<'a> {
    /// The version of OpenFlow in which the request is made (`-O`).
    pub version: OfVersion,
    /// The command that the rule is for. It decides which attributes the rule can have and whether it has
    /// actions. [`parse_filter`] overrides it.
    pub command: Command,
    /// Whether text that Open vSwitch 3.1 accepts and changes is accepted and
    /// changed likewise, instead of refused.
    pub lenient: bool,
    /// The flow formats that may carry a rule (`-F`), of those that the version has. The default is all.
    pub formats: Protocols,
    /// The ports that rules can name. The default, [`NoPortNames`], has none: then rules use numbers.
    pub ports: &'a dyn PortNames,
}

impl ParseContext<'_> {
    /// The flow formats that may carry the rule: those of the version that are allowed.
    fn allowed(&self) -> Protocols {
        Protocols::of_version(self.version).and(self.formats)
    }
}

impl Default for ParseContext<'_> {
    fn default() -> Self {
        Self {
            version: OfVersion::default(),
            command: Command::Add,
            lenient: false,
            formats: Protocols::ANY,
            ports: &NoPortNames,
        }
    }
}

/// Parses a match without attributes and actions: `tcp,nw_dst=10.0.0.1`.
///
/// # Errors
///
/// The match is one that [`parse_flow`] would refuse, or the text has an attribute of
/// a rule, such as `priority`.
pub fn parse_match(text: &str, context: &ParseContext<'_>) -> Result<Match, TextError> {
    parse_flow::only_match(text, context)
}

/// Parses a list of actions without a match: `mod_vlan_vid:5,output:2`. Because nothing is known of the packet,
/// actions for headers that the packet may not have are accepted.
///
/// # Errors
///
/// An action is unknown, an argument is not valid, or instructions stand in the wrong order.
pub fn parse_actions(text: &str, context: &ParseContext<'_>) -> Result<Vec<Action>, TextError> {
    let mut parser = parse_action::ActionParser::new(text, context);
    let actions = parser.list(text, order::Nesting::Outermost)?;
    Ok(dialect::actions(&actions, context.version, &Match::any()).into_owned())
}

/// Reads bits of a field, as actions name them: `nw_src`, `vlan_tci[0..11]`, `NXM_OF_IN_PORT[]`.
///
/// # Errors
/// What is wrong, and what would be right.
///
/// ```
/// use flow::text::parse_subfield;
///
/// let bits = parse_subfield("reg0[4..7]").unwrap();
/// assert_eq!((bits.offset, bits.n_bits), (4, 4));
/// assert!(parse_subfield("reg0[40]").is_err());
/// ```
pub fn parse_subfield(text: &str) -> Result<Subfield, String> {
    subfield::parse(text).map_err(|fault| TextError::at(text, text, fault).to_string())
}

/// Reads an Ethernet address: six hexadecimal numbers of one or two digits, with colons between them.
///
/// ```
/// use flow::text::parse_mac;
///
/// assert_eq!(parse_mac("2:0:0:0:0:ff").unwrap().to_string(), "02:00:00:00:00:ff");
/// assert_eq!(parse_mac("02:00:00:00:00"), None);
/// ```
pub fn parse_mac(text: &str) -> Option<MacAddr> {
    value::mac(text, false).map(mac_of_bits)
}

/// A line of a file without its comment (`#` to the end of the line) and without blanks around it; `None` if
/// nothing is left. Nothing is left of the first line of a dump either, so that a dump can be read as a file.
///
/// ```
/// use flow::text::strip_comment;
/// assert_eq!(strip_comment(" ip,actions=drop # no ip\n"), Some("ip,actions=drop"));
/// assert_eq!(strip_comment("# nothing"), None);
/// assert_eq!(strip_comment("NXST_FLOW reply (xid=0x4):"), None);
/// ```
pub fn strip_comment(line: &str) -> Option<&str> {
    let code = line.split_once('#').map_or(line, |(code, _)| code).trim();
    (!code.is_empty() && !is_reply_header(code)).then_some(code)
}

/// Whether a line is the first one of a dump: `OFPST_FLOW reply (OF1.3) (xid=0x2):`,
/// `NXST_FLOW reply (xid=0x4):`.
fn is_reply_header(line: &str) -> bool {
    (line.starts_with("OFPST_") || line.starts_with("NXST_"))
        && line.contains(" reply ")
        && line.ends_with("):")
}

/// Parses the number of a table, 0 to 253, or its name, with or without quotes; `None` for
/// 255, which means all tables.
fn table_number(text: &str, names: &dyn PortNames) -> Result<Option<TableId>, Fault> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u8>() {
        Ok(u8::MAX) if plain => Ok(None),
        Ok(n) if plain => TableId::new(n).map(Some).ok_or_else(|| {
            Fault::new(format!("table {n} is reserved")).hint("tables are 0 to 253")
        }),
        _ => {
            let name = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            let named = names.table(name.unwrap_or(text)).map(Some);
            named.ok_or_else(|| {
                Fault::new(format!("{} is not a table", printable::quoted(text)))
                    .hint("tables are 0 to 253, or have names that mod-table gives them")
            })
        }
    }
}

/// Appends a table: its name if it has one to be printed, with quotes where a word could be read otherwise,
/// else its number.
fn write_table(out: &mut String, table: TableId, names: &dyn PortNames) {
    match names.table_name(table) {
        Some(name) => port::write_name(out, name),
        None => {
            let _ = write!(out, "{table}");
        }
    }
}
