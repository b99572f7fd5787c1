//! The verbs about bridges (`add-br`, `del-br`, `list-br`) and the configuration (`show-config`).

use crate::connect::{call, connect, unexpected, wrong_usage};
use crate::options::{Options, Words};
use crate::output::{Output, print, print_json, tell_reply};
use crate::{Outcome, Usage};
use anyhow::bail;
use control::{Format, Operation, Reply};
use flow::types::Fragments;
use serde::Serialize;
use std::io::Write;

/// Carries out the verb `add-br`.
pub(crate) fn add(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let [name, settings @ ..] = &words.words[..] else {
        return Err(wrong_usage(options));
    };
    let (mut datapath_id, mut persist) = (None, true);
    for word in settings {
        match word.split_once('=') {
            Some(("datapath-id", id)) => datapath_id = Some(id.to_owned()),
            Some(("persist", "off" | "false")) => persist = false,
            Some(("persist", "on" | "true")) => persist = true,
            _ => {
                let message = format!("\"{word}\": write datapath-id=ID, or persist=off");
                return Err(Usage(message).into());
            }
        }
    }
    let operation = Operation::AddBr { name: name.clone(), datapath_id, persist };
    let reply = connect(&options.how)?.ask(operation)?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `del-br`.
pub(crate) fn remove(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let [name] = &words.words[..] else {
        return Err(wrong_usage(options));
    };
    let reply = connect(&options.how)?.ask(Operation::DelBr { name: name.clone() })?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `list-br`.
pub(crate) fn list(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    if !words.words.is_empty() {
        return Err(wrong_usage(options));
    }
    let Reply::Bridges(bridges) = connect(&options.how)?.ask(Operation::ListBr)? else {
        return Err(unexpected());
    };
    if options.how.json {
        print_json(&bridges)?;
    } else {
        let lines: String = bridges.iter().map(|b| format!("{}\n", b.bridge)).collect();
        print(&lines)?;
    }
    Ok(Outcome::Done)
}

/// The word of `set-frags` for a switch that puts fragments together.
pub(crate) const REASSEMBLE: &str = "reassemble";

/// Carries out the verb `set-frags`.
pub(crate) fn set_fragments(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 1, 1)?;
    if call.words[0] == REASSEMBLE {
        bail!(
            "setting fragment handling mode failed: this switch has no mode \"{REASSEMBLE}\"; nx-match lets rules see the ports of first fragments"
        );
    }
    let fragments = call.words[0].parse().map_err(Usage)?;
    let reply = call.client.ask(Operation::SetFrags(fragments))?;
    tell_reply(&options.how, &reply)
}

/// The answer of `get-frags` as JSON.
#[derive(Serialize)]
struct Frags {
    /// What the bridge does with IP fragments: `normal`, `drop` or `nx-match`.
    frags: Fragments,
}

/// Carries out the verb `get-frags`.
pub(crate) fn get_fragments(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let Reply::Switch(switch) = call.client.ask(Operation::Show)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&Frags { frags: switch.frags })?,
        false => print(&format!("{}\n", switch.frags.name()))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `show-config`.
pub(crate) fn show_config(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    if !words.words.is_empty() {
        return Err(wrong_usage(options));
    }
    let format = if options.how.json { Format::Json } else { Format::Text };
    let mut client = connect(&options.how)?;
    let mut out = Output::new();
    client.call(Operation::ShowConfig { format }, &mut std::io::empty(), &mut |text| {
        out.write_all(text.as_bytes())
    })?;
    out.finish()?;
    Ok(Outcome::Done)
}
