//! The verbs about connections that the switch tracks: `dump-conntrack`, `flush-conntrack`, `ct-stats`.

use crate::connect::{call, unexpected};
use crate::options::{Options, Words};
use crate::output::{print, print_json, tell_reply};
use crate::{Outcome, Usage};
use control::record::{ConnectionRecord, ConnectionStatsRecord, DirectionRecord};
use control::{Operation, Reply};
use std::fmt::Write;

/// Carries out the verb `dump-conntrack`.
pub(crate) fn dump(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let zone = zone(words)?;
    let none = Words { words: Vec::new() };
    let mut call = call(options, &none, 0, 0)?;
    let connections = call.client.connections(zone)?;
    match options.how.json {
        true => print_json(&connections)?,
        false => print(&connections.iter().map(line).collect::<String>())?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `flush-conntrack`.
pub(crate) fn flush(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let zone = zone(words)?;
    let none = Words { words: Vec::new() };
    let mut call = call(options, &none, 0, 0)?;
    let reply = call.client.ask(Operation::FlushConnections { zone })?;
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

/// The zone that the words name, as `zone=N`. `None` if they name none.
fn zone(words: &Words) -> Result<Option<u16>, Usage> {
    let [word] = &words.words[..] else {
        return match words.words.is_empty() {
            true => Ok(None),
            false => Err(Usage("write zone=N, or nothing for all zones".to_owned())),
        };
    };
    let number = word.strip_prefix("zone=").and_then(|number| number.parse().ok());
    number.map(Some).ok_or_else(|| {
        Usage(format!("\"{word}\" is not a zone: write zone=N, with a number from 0 to 65535"))
    })
}

/// A connection as `ovs-appctl dpctl/dump-conntrack` prints it.
fn line(connection: &ConnectionRecord) -> String {
    /// The protocols that dumps call by name.
    const NAMES: [(u8, &str); 6] =
        [(1, "icmp"), (2, "igmp"), (6, "tcp"), (17, "udp"), (58, "icmpv6"), (132, "sctp")];
    let number = connection.protocol;
    let name = NAMES.iter().find(|(known, _)| *known == number);
    let mut out = name.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned());
    let ConnectionRecord { orig, reply, zone, mark, label, state, .. } = connection;
    let _ = write!(out, ",orig=({}),reply=({})", direction(orig), direction(reply));
    if *zone != 0 {
        let _ = write!(out, ",zone={zone}");
    }
    if *mark != 0 {
        let _ = write!(out, ",mark={mark}");
    }
    if label != "0x0" {
        let _ = write!(out, ",labels={label}");
    }
    if let Some(state) = state {
        let _ = write!(out, ",protoinfo=(state={state})");
    }
    out.push('\n');
    out
}

fn direction(direction: &DirectionRecord) -> String {
    let DirectionRecord { src, dst, sport, dport, id, icmp_type } = direction;
    match (id, icmp_type) {
        (Some(id), Some(kind)) => format!("src={src},dst={dst},id={id},type={kind},code=0"),
        _ => {
            let (sport, dport) = (sport.unwrap_or(0), dport.unwrap_or(0));
            format!("src={src},dst={dst},sport={sport},dport={dport}")
        }
    }
}

fn render(stats: &ConnectionStatsRecord) -> String {
    format!(
        "connections: {} of at most {}\ncommitted: {}\nexpired: {}\nevicted because the table was full: {}\n\
         refused: {} because the table was full, {} beyond the share of an address, {} beyond the limit of a zone\n\
         dropped because no address and port was free: {}\n",
        stats.connections,
        stats.max,
        stats.created,
        stats.expired,
        stats.evicted,
        stats.refused_full,
        stats.refused_source,
        stats.refused_zone,
        stats.nat_exhausted
    )
}
