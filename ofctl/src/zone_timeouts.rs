//! The verbs about how long the connections of a zone are kept: `add-zone-tp`, `del-zone-tp`, `list-zone-tp`.
//! Their words are those of `ovs-vsctl`.

use crate::connect::{connect, unexpected};
use crate::options::{AddZoneTp, DelZoneTp, Options, Words};
use crate::output::{print, print_json, tell_reply};
use crate::{Outcome, Usage};
use control::record::ZoneTimeoutsRecord;
use control::{Operation, Reply};
use flow::ct_timeout::CtTimeouts;

/// Carries out the verb `add-zone-tp`.
pub(crate) fn add(options: &Options, arguments: &AddZoneTp) -> anyhow::Result<Outcome> {
    let (zone, timeouts) = split(&arguments.words)?;
    let timeouts = CtTimeouts::parse(timeouts.iter().map(String::as_str));
    let timeouts = timeouts.map_err(|error| Usage(error.to_string()))?;
    let may_exist = arguments.may_exist;
    let operation = Operation::AddZoneTimeouts { zone, timeouts, may_exist };
    tell_reply(&options.how, &connect(&options.how)?.ask(operation)?)
}

/// Carries out the verb `del-zone-tp`.
pub(crate) fn delete(options: &Options, arguments: &DelZoneTp) -> anyhow::Result<Outcome> {
    let (zone, rest) = split(&arguments.words)?;
    if let Some(word) = rest.first() {
        return Err(Usage(format!("\"{word}\": write zone=N and nothing behind it")).into());
    }
    let if_exists = arguments.if_exists;
    let operation = Operation::DelZoneTimeouts { zone, if_exists };
    tell_reply(&options.how, &connect(&options.how)?.ask(operation)?)
}

/// Carries out the verb `list-zone-tp`.
pub(crate) fn list(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    if let Some(word) = words.words.iter().find(|word| !is_datapath(word)) {
        return Err(Usage(format!("\"{word}\": list-zone-tp takes no argument")).into());
    }
    let Reply::ZoneTimeouts(zones) = connect(&options.how)?.ask(Operation::ZoneTimeouts)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&zones)?,
        false => print(&zones.iter().map(line).collect::<String>())?,
    }
    Ok(Outcome::Done)
}

/// As `ovs-vsctl list-zone-tp` prints a zone.
fn line(zone: &ZoneTimeoutsRecord) -> String {
    format!("Zone:{}, Timeout Policies: {}\n", zone.zone, zone.timeouts)
}

/// Whether a word is the name of a datapath of Open vSwitch, which may stand in front of the zone.
fn is_datapath(word: &str) -> bool {
    matches!(word, "netdev" | "system")
}

/// The zone, and the words behind it.
fn split(words: &[String]) -> Result<(u16, &[String]), Usage> {
    let words = match words {
        [datapath, rest @ ..] if is_datapath(datapath) => rest,
        words => words,
    };
    let zone = words.first().and_then(|word| word.strip_prefix("zone="));
    let zone = zone.ok_or_else(|| Usage("write zone=N first".to_owned()))?;
    let number = zone.parse().map_err(|_| {
        Usage(format!("zone: \"{zone}\" is not a zone: write a number from 0 to 65535"))
    })?;
    Ok((number, &words[1..]))
}
