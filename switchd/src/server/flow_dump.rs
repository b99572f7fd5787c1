//! Lists of rules, found and written in slices: no lock is held while a client reads, and no more than
//! a piece of the list is in memory.

use super::answer::{Failure, Sender};
use super::names::{Names, shown};
use super::refuse::{self, Line};
use crate::bridge::flows::{self, Totals};
use crate::event_text::flow_line;
use crate::switch::OnBridge;
use control::frame::{Kind, TEXT_SIZE};
use control::record::{Aggregate, FlowRecord};
use control::{FlowQuery, Format, Refusal, Reply};
use flow::flow_mod::FlowMod;
use flow::text::{ParseContext, PrintOptions, parse_filter};
use flowtable::classifier::Entry;
use flowtable::policy::rule::Rule;
use std::sync::Arc;
use std::time::Duration;

/// Lists the rules of a query.
pub(super) fn dump(
    switch: &OnBridge<'_>,
    query: &FlowQuery,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let filter = filter(switch, query)?;
    switch.settle();
    let names = Names::of(*switch);
    let names = shown(&names, query.names);
    let options = PrintOptions {
        version: query.version,
        ports: &names,
        stats: query.stats,
        ages: query.ages,
    };
    // OpenFlow counts milliseconds here; more digits would only be noise.
    let now = Duration::from_millis(switch.now().as_millis() as u64);
    let mut text = String::with_capacity(TEXT_SIZE);
    let mut listed = 0;
    let mut write = |text: &mut String, entry: &Entry<'_, Arc<Rule>>| {
        let line = flow_line(entry.value, &entry.matches, entry.priority, now);
        match query.format {
            Format::Text => {
                text.push(' ');
                line.write(text, &options);
            }
            Format::Json => {
                super::status::write_record(text, &FlowRecord::of(&line, query.version, &names))
            }
        }
        text.push('\n');
        listed += 1;
    };
    let mut walk = switch.bridge().walk(&filter);
    while walk.next_slice(|entry| write(&mut text, &entry)) {
        if text.len() >= TEXT_SIZE / 2 {
            to.put(Kind::Text, text.as_bytes())?;
            text.clear();
        }
    }
    to.put(Kind::Text, text.as_bytes())?;
    Ok(Reply::Listed(listed))
}

/// Adds up the rules of a query.
pub(super) fn aggregate(switch: &OnBridge<'_>, query: &FlowQuery) -> Result<Reply, Failure> {
    let filter = filter(switch, query)?;
    switch.settle();
    let Totals { packets, bytes, rules } = flows::totals(switch.bridge(), &filter);
    let sums = Aggregate { n_packets: packets, n_bytes: bytes, n_flows: rules };
    Ok(Reply::Aggregate(sums))
}

fn filter(switch: &OnBridge<'_>, query: &FlowQuery) -> Result<FlowMod, Box<Refusal>> {
    let names = Names::of(*switch);
    let context = ParseContext {
        version: query.version,
        lenient: switch.is_lenient() || query.lenient,
        ports: &names,
        ..ParseContext::default()
    };
    let line = Line { file: None, number: 1, text: &query.filter };
    parse_filter(&query.filter, &context).map_err(|error| refuse::text(&error, line))
}
