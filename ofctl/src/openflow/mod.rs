//! The verbs over OpenFlow: `ofctl` as a client of any OpenFlow switch, as `ovs-ofctl` is.
//!
//! `place` finds out where the bridge is, and whether a verb goes over OpenFlow at all: our own switch is asked
//! over its control socket. `channel` is the connection. Each other module has a kind of verb. Replies are
//! printed by the crate `oftext`, so their text is that of `ovs-ofctl`; a request that the switch refuses is
//! told as `ovs-ofctl` tells it.

mod bundle;
mod channel;
mod flows;
mod groups;
mod meters;
mod offline;
mod parts;
mod pcap;
mod place;
mod ports;
mod queues;
mod switch;
mod tables;
mod tls;
mod watch;

use crate::options::{Options, Verb, Words};
use crate::output::{print, print_json};
use crate::{Outcome, connect};
use channel::Channel;
use control::{Reason, Refusal};
use flow::text::{BridgeNames, NoPortNames, PortNames, Protocols};
use oftext::Printer;
use openflow::{ErrorCode, MessageHeader, MessageKind};
use place::Place;
use serde::Serialize;

pub(crate) use flows::lines;
pub(crate) use offline::{compose_packet, ofp_parse, ofp_parse_pcap, ofp_print};
pub(crate) use parts::{actions as parse_actions, nx_match as parse_nx_match, oxm as parse_oxm};

/// The switch has refused a request.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Rejected {
    /// The error and the request, as `ovs-ofctl` prints them.
    text: String,
    /// The error; `None` if its numbers are not known.
    pub(crate) code: Option<ErrorCode>,
}

/// Carries out the verb over OpenFlow, if the verb can go over OpenFlow and the command line names a bridge
/// that is not our own switch's; `None` if the verb is to be carried out in another way.
pub(crate) fn run(options: &Options) -> anyhow::Result<Option<Outcome>> {
    let Some((verb, words, is_only_here)) = verb(options) else {
        return Ok(None);
    };
    let all = &words.words;
    let Some((place, words)) = Place::find(options, all, is_only_here)? else {
        return Ok(None);
    };
    let is_named = words.len() < all.len();
    verb(&mut Call { options, place, is_named, words }).map(Some)
}

/// A verb on its way.
pub(crate) struct Call<'a> {
    options: &'a Options,
    place: Place,
    /// Whether the command line names the place. Otherwise the place is the only bridge of our own switch.
    is_named: bool,
    /// The words behind the place of the bridge.
    words: &'a [String],
}

/// A verb over OpenFlow.
type Carrier = fn(&mut Call<'_>) -> anyhow::Result<Outcome>;

/// How the verb is carried out over OpenFlow, its words, and whether it has no other way.
fn verb(options: &Options) -> Option<(Carrier, &Words, bool)> {
    Some(match &options.verb {
        Verb::AddFlow(words) | Verb::ModFlows(words) => (flows::change, words, false),
        Verb::AddFlows(words) => (flows::add_file, words, false),
        Verb::DelFlows(words) => (flows::delete, words, false),
        Verb::DumpFlows(words) => (flows::dump, words, false),
        Verb::DumpAggregate(words) => (flows::aggregate, words, false),
        // The control socket keeps the counters of rules that do not change.
        Verb::ReplaceFlows(words) => (flows::replace, words, options.how.readd),
        Verb::AddGroup(words) | Verb::ModGroup(words) => (groups::change, words, false),
        Verb::InsertBuckets(words) | Verb::RemoveBuckets(words) => (groups::change, words, false),
        Verb::AddGroups(words) => (groups::add_file, words, false),
        Verb::DelGroups(words) => (groups::delete, words, false),
        Verb::DumpGroups(words) => (groups::dump, words, false),
        Verb::DumpGroupStats(words) => (groups::dump_stats, words, false),
        Verb::DumpGroupFeatures(words) => (groups::dump_features, words, true),
        Verb::AddMeter(words) | Verb::ModMeter(words) => (meters::change, words, false),
        Verb::DelMeters(words) => (meters::delete, words, false),
        Verb::DumpMeters(words) => (meters::dump, words, false),
        Verb::MeterStats(words) => (meters::stats, words, false),
        Verb::MeterFeatures(words) => (meters::features, words, false),
        Verb::PacketOut(words) => (ports::packet_out, words, false),
        Verb::Show(words) => (switch::show, words, false),
        Verb::DumpDesc(words) => (switch::describe, words, true),
        Verb::DumpPorts(words) => (ports::dump, words, false),
        Verb::DumpPortsDesc(words) => (ports::describe, words, false),
        Verb::ModPort(words) => (ports::modify, words, false),
        Verb::DumpTables(words) => (switch::dump_tables, words, false),
        Verb::GetFrags(words) => (switch::get_fragments, words, false),
        Verb::SetFrags(words) => (switch::set_fragments, words, false),
        Verb::DumpTableFeatures(words) => (tables::dump_features, words, true),
        Verb::DumpTableDesc(words) => (tables::dump_descriptions, words, false),
        Verb::ModTable(words) => (tables::modify, words, false),
        Verb::QueueStats(words) => (queues::stats, words, true),
        Verb::QueueGetConfig(words) => (queues::configuration, words, true),
        Verb::AddTlvMap(words) => (queues::add_mappings, words, true),
        Verb::DelTlvMap(words) => (queues::delete_mappings, words, true),
        Verb::DumpTlvMap(words) => (queues::dump_mappings, words, true),
        Verb::DumpIpfixBridge(words) => (switch::dump_bridge_exporter, words, true),
        Verb::DumpIpfixFlow(words) => (switch::dump_flow_exporters, words, true),
        Verb::Bundle(words) => (bundle::bundle, words, true),
        Verb::Monitor(words) => {
            let is_only_here = words.words.iter().any(|word| watch::is_about_messages(word));
            (watch::monitor, words, is_only_here)
        }
        Verb::Snoop(words) => (watch::snoop, words, true),
        Verb::Probe(words) => (switch::probe, words, true),
        Verb::Ping(words) => (switch::ping, words, true),
        Verb::Benchmark(words) => (switch::benchmark, words, true),
        _ => return None,
    })
}

impl Call<'_> {
    /// Opens the connection, if the verb has `least` to `most` words behind the place.
    fn open(&self, least: usize, most: usize) -> anyhow::Result<Channel> {
        self.expect(least, most)?;
        Channel::open(&self.place, &self.options.how)
    }

    /// Opens the connection, in a version that has one of the flow formats `usable`.
    ///
    /// # Errors
    /// The options allow none of these formats, or the switch has none of them; besides, as [`Channel::open`].
    fn open_in(&self, usable: Protocols) -> anyhow::Result<Channel> {
        let refuse = |allowed: Protocols| {
            let text = format!(
                "none of the usable flow formats ({usable}) is among the allowed flow formats ({allowed})"
            );
            Refusal::new(Reason::Text, text).with_hint("choose another version, like -O OpenFlow13")
        };
        let allowed = self.options.how.allowed_formats();
        if usable.and(allowed).is_empty() {
            return Err(refuse(allowed).into());
        }
        let channel = Channel::open(&self.place, &self.options.how)?;
        let spoken = Protocols::of_version(channel.version());
        if usable.and(spoken).is_empty() { Err(refuse(spoken).into()) } else { Ok(channel) }
    }

    /// Checks that the verb has `least` to `most` words behind the place.
    fn expect(&self, least: usize, most: usize) -> anyhow::Result<()> {
        match self.words {
            words if (least..=most).contains(&words.len()) => Ok(()),
            // The word that is too much was to name the place.
            [first, ..] if !self.is_named => Err(place::no_bridge(first).into()),
            _ => Err(connect::wrong_usage(self.options)),
        }
    }

    /// Names for the numbers of ports and tables that are printed: those of the switch, if
    /// the options ask for names.
    fn shown_names(&self, channel: &mut Channel) -> anyhow::Result<BridgeNames> {
        match self.options.how.names() {
            true => ports::names(channel),
            false => Ok(BridgeNames::default()),
        }
    }

    /// Prints replies as `ovs-ofctl` does, or with `--json` as a list of messages.
    fn print(&self, replies: &[Vec<u8>], names: &dyn PortNames) -> anyhow::Result<Outcome> {
        let printer = Printer { ports: names, verbosity: self.options.how.verbosity() + 1 };
        print_messages(self.options, replies, &printer)
    }

    /// As [`Call::print`], with numbers for ports.
    fn print_numbers(&self, replies: &[Vec<u8>]) -> anyhow::Result<Outcome> {
        self.print(replies, &NoPortNames)
    }
}

/// A message as `--json` prints it.
#[derive(Serialize)]
struct MessageRecord {
    /// The type: `OFPST_FLOW reply`; `None` if nobody knows the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    /// The number of the version in the header: 4 is OpenFlow 1.3.
    version: u8,
    /// The transaction id.
    xid: u32,
    /// The message as `ovs-ofctl` prints it.
    text: String,
}

impl MessageRecord {
    fn new(bytes: &[u8], printer: &Printer<'_>) -> Self {
        let header = MessageHeader::read(bytes);
        Self {
            r#type: MessageKind::of(bytes).ok().map(|kind| kind.name()),
            version: header.map_or(0, |header| header.version),
            xid: header.map_or(0, |header| header.xid),
            text: printer.print(bytes).trim_end().to_owned(),
        }
    }
}

/// Prints messages as `ovs-ofctl` does, or with `--json` as a list of [`MessageRecord`]s.
fn print_messages(
    options: &Options,
    messages: &[Vec<u8>],
    printer: &Printer<'_>,
) -> anyhow::Result<Outcome> {
    if options.how.json {
        let records: Vec<_> =
            messages.iter().map(|bytes| MessageRecord::new(bytes, printer)).collect();
        print_json(&records)?;
    } else {
        print(&messages.iter().map(|bytes| printer.print(bytes)).collect::<String>())?;
    }
    Ok(Outcome::Done)
}
