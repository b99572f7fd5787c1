//! The verbs about the MAC table of a bridge: `fdb-show`, `fdb-flush`,
//! `fdb-add`, `fdb-del`, `fdb-config`, `fdb-stats`.

use crate::connect::{call, port_call, unexpected};
use crate::options::{Options, Words};
use crate::output::{print, print_json, tell_reply};
use crate::{Outcome, Usage};
use control::record::{FdbRecord, FdbStatsRecord};
use control::{Operation, Reply};
use flow::types::OfPort;
use std::fmt::Write;

/// Carries out the verb `fdb-show`.
pub(crate) fn show(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let entries = call.client.fdb()?;
    match options.how.json {
        true => print_json(&entries)?,
        false => print(&render(&entries, options.how.names()))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `fdb-flush`.
pub(crate) fn flush(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 1)?;
    let port = call.words.first().cloned();
    let reply = call.client.ask(Operation::FdbFlush { port })?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `fdb-add`.
pub(crate) fn add(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = port_call(options, words, 3, 3)?;
    let (port, mac) = (call.words[0].clone(), call.words[2].clone());
    let reply = call.client.ask(Operation::FdbAdd { port, vlan: vlan(&call.words[1])?, mac })?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `fdb-del`.
pub(crate) fn delete(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 2, 2)?;
    let mac = call.words[1].clone();
    let reply = call.client.ask(Operation::FdbDel { vlan: vlan(&call.words[0])?, mac })?;
    tell_reply(&options.how, &reply)
}

fn vlan(text: &str) -> Result<u16, Usage> {
    text.parse().map_err(|_| {
        Usage(format!("\"{text}\" is not a VLAN: write a number from 0 (no tag) to 4095"))
    })
}

/// Carries out the verb `fdb-config`.
pub(crate) fn configure(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 2)?;
    let (mut ageing, mut entries) = (None, None);
    for word in call.words {
        let setting = match word.split_once('=') {
            Some(("ageing", value)) => value.parse().ok().map(|n| (&mut ageing, n)),
            Some(("entries", value)) => value.parse().ok().map(|n| (&mut entries, n)),
            _ => None,
        };
        let Some((place, number)) = setting else {
            return Err(Usage(format!("\"{word}\": write ageing=SECONDS or entries=N")).into());
        };
        *place = Some(number);
    }
    let Reply::FdbStats(stats) = call.client.ask(Operation::FdbConfigure { ageing, entries })?
    else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&stats)?,
        false => print(&format!("ageing={} entries={}\n", stats.ageing, stats.max))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `fdb-stats`.
pub(crate) fn stats(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let bridge = call.client.bridge().unwrap_or_default().to_owned();
    let Reply::FdbStats(stats) = call.client.ask(Operation::FdbStats)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&stats)?,
        false => print(&render_stats(&bridge, &stats))?,
    }
    Ok(Outcome::Done)
}

fn render(entries: &[FdbRecord], with_names: bool) -> String {
    let mut out = " port  VLAN  MAC                Age\n".to_owned();
    for entry in entries {
        let port = match with_names {
            true => entry.name.clone(),
            false => OfPort(entry.port).to_string(),
        };
        let age = entry.age.map_or_else(|| "static".to_owned(), |age| age.to_string());
        let _ = match entry.age {
            Some(_) => writeln!(out, "{port:>5}  {:>4}  {}  {age:>3}", entry.vlan, entry.mac),
            None => writeln!(out, "{port:>5}  {:>4}  {}  {age}", entry.vlan, entry.mac),
        };
    }
    out
}

fn render_stats(bridge: &str, stats: &FdbStatsRecord) -> String {
    format!(
        "Statistics for bridge \"{bridge}\":\n  \
         Current/maximum MAC entries in the table: {}/{}\n  \
         Current static MAC entries in the table : {}\n  \
         Total number of learned MAC entries     : {}\n  \
         Total number of expired MAC entries     : {}\n  \
         Total number of evicted MAC entries     : {}\n  \
         Total number of port moved MAC entries  : {}\n",
        stats.current,
        stats.max,
        stats.r#static,
        stats.learned,
        stats.expired,
        stats.evicted,
        stats.moved
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_listed_as_open_vswitch_lists_them() {
        let entry = |port, vlan, age| FdbRecord {
            port,
            name: "veth0".to_owned(),
            vlan,
            mac: "50:54:00:00:00:01".to_owned(),
            age,
        };
        let entries = [entry(2, 0, Some(13)), entry(1, 4095, Some(7)), entry(1, 0, None)];
        assert_eq!(
            render(&entries, false),
            " port  VLAN  MAC                Age\n    \
             2     0  50:54:00:00:00:01   13\n    \
             1  4095  50:54:00:00:00:01    7\n    \
             1     0  50:54:00:00:00:01  static\n"
        );
        assert!(render(&entries, true).contains("\nveth0     0  50:54"));
    }
}
