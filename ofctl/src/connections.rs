//! The verbs about connections that the switch tracks: `dump-conntrack`,
//! `flush-conntrack`, `ct-flush-zone`, `ct-stats`.

use crate::connect::{call, unexpected};
use crate::options::{Options, Words};
use crate::output::{print, print_json, tell_reply};
use crate::{Outcome, Usage};
use control::record::ConnectionStatsRecord;
use control::{Operation, Reply};
use flow::ct_filter::CtFilter;
use std::fmt::Write;

/// Carries out the verb `dump-conntrack`.
pub(crate) fn dump(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let (bridge, filter) = filter(words)?;
    let mut call = call(options, &bridge, 0, 0)?;
    let connections = call.client.connections(filter)?;
    match options.how.json {
        true => print_json(&connections)?,
        false => print(&connections.iter().map(|it| format!("{it}\n")).collect::<String>())?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `flush-conntrack`.
pub(crate) fn flush(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let (bridge, filter) = filter(words)?;
    let mut call = call(options, &bridge, 0, 0)?;
    let reply = call.client.ask(Operation::FlushConnections { filter })?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `ct-flush-zone`.
pub(crate) fn flush_zone(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 1, 1)?;
    let zone = call.words[0].parse().map_err(|_| {
        Usage(format!("\"{}\" is not a zone: write a number from 0 to 65535", call.words[0]))
    })?;
    let filter = CtFilter { zone: Some(zone), ..CtFilter::default() };
    let reply = call.client.ask(Operation::FlushConnections { filter })?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `ct-stats`.
pub(crate) fn stats(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let Reply::ConnectionStats(stats) = call.client.ask(Operation::ConnectionStats)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&stats)?,
        false => print(&render(&stats))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `ct-bkts`.
pub(crate) fn buckets(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let (bridge, words) = match words.words.split_last() {
        Some((last, bridge)) if last.contains('=') => (bridge, Some(last)),
        _ => (&words.words[..], None),
    };
    let least = words.map(|word| {
        let number = word.strip_prefix("gt=").and_then(|number| number.parse::<u64>().ok());
        number.ok_or_else(|| Usage(format!("\"{word}\": write gt=NUMBER")))
    });
    let least = least.transpose()?.unwrap_or(0);
    let bridge = Words { words: bridge.to_vec() };
    let mut call = call(options, &bridge, 0, 0)?;
    let Reply::ConnectionBuckets(buckets) = call.client.ask(Operation::ConnectionBuckets)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&buckets)?,
        false => print(&bucket_table(&buckets, least))?,
    }
    Ok(Outcome::Done)
}

/// Counts of connections as `ovs-appctl dpctl/ct-bkts` prints them. Buckets with no more than `least` are dots.
fn bucket_table(buckets: &[u64], least: u64) -> String {
    const IN_A_LINE: usize = 8;
    const RULE: &str = "+-----------+-----------------------------------------+";
    let all: u64 = buckets.iter().sum();
    let mut out = format!("Total Buckets: {}\nCurrent Connections: {all}\n\n", buckets.len());
    if all == 0 {
        return out;
    }
    let _ = write!(out, "{RULE}\n|  Buckets  |         Connections per Buckets         |\n{RULE}");
    for (line, counts) in buckets.chunks(IN_A_LINE).enumerate() {
        let first = line * IN_A_LINE;
        let _ = write!(out, "\n {first:3}..{:3}   | ", first + IN_A_LINE - 1);
        for count in counts {
            let _ = match *count > least {
                true => write!(out, "{count:5}"),
                false => write!(out, "{:>5}", "."),
            };
        }
    }
    out.push_str("\n\n");
    out
}

/// The name of a bridge in front of the words, if there is one, and the filter that they say. Connections
/// belong to no bridge; the name is one that the switch has to know.
fn filter(words: &Words) -> Result<(Words, CtFilter), Usage> {
    let is_name = |word: &String| !word.is_empty() && !word.contains('=');
    let names = usize::from(words.words.first().is_some_and(is_name));
    let (bridge, words) = words.words.split_at(names);
    let filter = CtFilter::parse(words).map_err(|error| Usage(error.to_string()))?;
    Ok((Words { words: bridge.to_vec() }, filter))
}

fn render(stats: &ConnectionStatsRecord) -> String {
    format!(
        "connections: {} of at most {}\ncommitted: {}\nexpired: {}\nevicted because the table was full: {}\n\
         refused: {} because the table was full, {} beyond the share of an address, {} beyond the limit of a zone, \
         {} too many at once at a port\n\
         dropped because no address and port was free: {}\nfragments: {} wait, {} packets put together\n\
         fragments dropped: {} waited in vain, {} were too many, {} overlap\n",
        stats.connections,
        stats.max,
        stats.created,
        stats.expired,
        stats.evicted,
        stats.refused_full,
        stats.refused_source,
        stats.refused_zone,
        stats.refused_port,
        stats.nat_exhausted,
        stats.fragments_waiting,
        stats.reassembled,
        stats.fragments_expired,
        stats.fragments_evicted,
        stats.fragments_overlapping
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_printed_as_by_open_vswitch() {
        let table = bucket_table(&[0, 3, 12, 1, 0, 0, 0, 0, 7], 1);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[..2], ["Total Buckets: 9", "Current Connections: 23"]);
        assert_eq!(lines[6], "   0..  7   |     .    3   12    .    .    .    .    .");
        assert_eq!(lines[7], "   8.. 15   |     7");
        assert_eq!(bucket_table(&[0; 3], 0), "Total Buckets: 3\nCurrent Connections: 0\n\n");
    }
}
