//! The verbs about how many connections there may be: `ct-get-maxconns`, `ct-set-maxconns`, `ct-get-limits`,
//! `ct-set-limits`, `ct-del-limits`. They print what the commands of `ovs-appctl dpctl` print.

use crate::connect::{call, unexpected};
use crate::options::{Options, Words};
use crate::output::{print, print_json, tell_reply};
use crate::{Outcome, Usage};
use control::record::{ConnectionLimitsRecord, ZoneLimitRecord};
use control::{Client, Operation, Reply};
use std::fmt::Write;

/// Carries out the verb `ct-get-maxconns`.
pub(crate) fn show_max(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let limits = ask(&mut call(options, words, 0, 0)?.client)?;
    match options.how.json {
        true => print_json(&limits)?,
        false => print(&format!("{}\n", limits.max))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `ct-set-maxconns`.
pub(crate) fn set_max(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 1, 1)?;
    let max: u32 = number("the number of connections", &call.words[0])?;
    change(options, &mut call.client, Some(max), None, Vec::new())
}

/// Carries out the verb `ct-get-limits`.
pub(crate) fn show_zones(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 1)?;
    let wanted = call.words.first().map(|word| zones(word)).transpose()?;
    let mut limits = ask(&mut call.client)?;
    if let Some(wanted) = wanted {
        let known = std::mem::take(&mut limits.zones);
        let of = |zone: u16| {
            let none = ZoneLimitRecord { zone, limit: limits.default, count: 0 };
            known.iter().find(|known| known.zone == zone).copied().unwrap_or(none)
        };
        limits.zones = wanted.into_iter().map(of).collect();
    }
    match options.how.json {
        true => print_json(&limits)?,
        false => print(&render(&limits))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `ct-set-limits`.
pub(crate) fn set_zones(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let (bridge, settings) = split(words);
    if settings.is_empty() {
        return Err(Usage("write default=NUMBER, or zone=N,limit=NUMBER".to_owned()).into());
    }
    let (mut default, mut limits) = (None, Vec::new());
    for setting in settings {
        if let Some(value) = setting.strip_prefix("default=") {
            default = Some(number("default", value)?);
            continue;
        }
        let parts = setting.strip_prefix("zone=").and_then(|rest| rest.split_once(",limit="));
        let Some((zone, limit)) = parts else {
            let usage = format!("\"{setting}\": write default=NUMBER, or zone=N,limit=NUMBER");
            return Err(Usage(usage).into());
        };
        limits.push((number("zone", zone)?, Some(number("limit", limit)?)));
    }
    change(options, &mut call(options, &bridge, 0, 0)?.client, None, default, limits)
}

/// Carries out the verb `ct-del-limits`.
pub(crate) fn delete_zones(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 1, 1)?;
    let limits = zones(&call.words[0])?.into_iter().map(|zone| (zone, None)).collect();
    change(options, &mut call.client, None, None, limits)
}

/// The name of a bridge in front of the words, if there is one, and the words behind.
fn split(words: &Words) -> (Words, &[String]) {
    let names = usize::from(words.words.first().is_some_and(|word| !word.contains('=')));
    let (bridge, words) = words.words.split_at(names);
    (Words { words: bridge.to_vec() }, words)
}

fn ask(client: &mut Client) -> anyhow::Result<ConnectionLimitsRecord> {
    match client.ask(Operation::ConnectionLimits)? {
        Reply::ConnectionLimits(limits) => Ok(limits),
        _ => Err(unexpected()),
    }
}

fn change(
    options: &Options,
    client: &mut Client,
    max: Option<u32>,
    default: Option<u32>,
    zones: Vec<(u16, Option<u32>)>,
) -> anyhow::Result<Outcome> {
    let operation = Operation::SetConnectionLimits { max: max.map(Into::into), default, zones };
    let reply = client.ask(operation)?;
    tell_reply(&options.how, &reply)
}

/// The zones of `zone=N[,N]...`.
fn zones(word: &str) -> Result<Vec<u16>, Usage> {
    let Some(numbers) = word.strip_prefix("zone=") else {
        return Err(Usage(format!("\"{word}\": write zone=N, or zone=N,N for several")));
    };
    numbers.split(',').map(|text| number("zone", text)).collect()
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Usage> {
    text.parse().map_err(|_| {
        let most = (1u64 << (8 * size_of::<T>())) - 1;
        Usage(format!("{name}: \"{text}\" is not a number from 0 to {most}"))
    })
}

fn render(limits: &ConnectionLimitsRecord) -> String {
    let mut out = format!("default limit={}\n", limits.default);
    for ZoneLimitRecord { zone, limit, count } in &limits.zones {
        let _ = writeln!(out, "zone={zone},limit={limit},count={count}");
    }
    out
}
