//! The verbs about the whole switch as a file: `save`, `plan`, `apply`, `confirm`, `rollback` and `history`.

use crate::connect::{connect, unexpected, wrong_usage};
use crate::options::{ApplyWords, Options, PlanWords, Words};
use crate::output::{JsonArray, Output, note, print, print_json, tell_reply};
use crate::utc::utc;
use crate::{Outcome, Usage, files};
use anyhow::Context;
use control::record::HistoryRecord;
use control::{Format, Operation, Reply, SavedQuery};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Carries out the verb `save`.
pub(crate) fn save(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let path = match &words.words[..] {
        [] => None,
        [path] if path == "-" => None,
        [path] => Some(Path::new(path)),
        _ => return Err(wrong_usage(options)),
    };
    let mut client = connect(&options.how)?;
    let Some(path) = path else {
        let mut out = Output::new();
        let operation = Operation::Save { format: format(options) };
        client.call(operation, &mut io::empty(), &mut |text| out.write_all(text.as_bytes()))?;
        out.finish()?;
        return Ok(Outcome::Done);
    };
    let mut text = Vec::new();
    let operation = Operation::Save { format: Format::Text };
    let reply = client.call(operation, &mut io::empty(), &mut |piece| {
        text.extend_from_slice(piece.as_bytes());
        Ok(())
    })?;
    replace(path, &text).with_context(|| format!("write {}", path.display()))?;
    tell_reply(&options.how, &reply)
}

/// Writes a file anew: its readers see the old contents or the new ones. A new file can be read by its user
/// only, because rules tell much about a network; a file that is there keeps its mode.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    // A symbolic link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
        // A device or a FIFO cannot be replaced.
        return OpenOptions::new().write(true).open(&path)?.write_all(contents);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new: PathBuf = path.with_file_name(name);
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&new)?;
        if let Ok(old) = fs::metadata(&path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&new, &path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Carries out the verb `plan`.
pub(crate) fn plan(options: &Options, plan: &PlanWords) -> anyhow::Result<Outcome> {
    let format = format(options);
    let (path, name) = match (&plan.file, plan.history) {
        (Some(path), None) => (Some(path), files::name(path).to_owned()),
        (None, Some(number)) => (None, format!("state {number}")),
        _ => return Err(wrong_usage(options)),
    };
    let operation = Operation::Plan { query: SavedQuery { name, format }, history: plan.history };
    let count = send(options, operation, path)?;
    if count == 0 && !options.how.json {
        note("no difference");
    }
    Ok(if plan.exit_code && count > 0 { Outcome::Different } else { Outcome::Done })
}

/// Carries out the verb `apply`.
pub(crate) fn apply(options: &Options, apply: &ApplyWords) -> anyhow::Result<Outcome> {
    let query = SavedQuery { name: files::name(&apply.file).to_owned(), format: format(options) };
    let confirm = apply.confirm.as_deref().map(seconds).transpose().map_err(Usage)?;
    let count = send(options, Operation::Apply { query, confirm }, Some(&apply.file))?;
    match confirm {
        _ if options.how.json => {}
        _ if count == 0 => note("no difference: nothing is changed"),
        Some(seconds) => {
            note(&format!("the switch takes this back in {seconds} s unless ofctl confirm comes"))
        }
        None => {}
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `confirm`.
pub(crate) fn confirm(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    if !words.words.is_empty() {
        return Err(wrong_usage(options));
    }
    let reply = connect(&options.how)?.ask(Operation::Confirm)?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `rollback`.
pub(crate) fn roll_back(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let to = match &words.words[..] {
        [] => None,
        [number] => {
            let wrong = |_| Usage(format!("\"{number}\" is no number of ofctl history"));
            Some(number.parse().map_err(wrong)?)
        }
        _ => return Err(wrong_usage(options)),
    };
    let count = send(options, Operation::Rollback { to, format: format(options) }, None)?;
    if count == 0 && !options.how.json {
        note("no difference: nothing is changed");
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `history`.
pub(crate) fn history(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    if !words.words.is_empty() {
        return Err(wrong_usage(options));
    }
    let Reply::History(states) = connect(&options.how)?.ask(Operation::History)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&states)?,
        false => print(&render(&states))?,
    }
    Ok(Outcome::Done)
}

fn render(states: &[HistoryRecord]) -> String {
    let mut out = String::new();
    for state in states {
        let HistoryRecord { number, who, what, n_added, n_removed, n_changed, .. } = state;
        let time = utc(state.time, 'T') + "Z";
        let _ = writeln!(
            out,
            "{number}: before \"{what}\" of {who}, {time} (+{n_added} -{n_removed} ~{n_changed})"
        );
    }
    out
}

/// A time as the user writes it, in seconds: `60`, `60s`, `5m`, `1h`.
fn seconds(text: &str) -> Result<u32, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "" | "s" => Some(1),
        "m" | "min" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let number = number.parse::<u32>().ok().filter(|number| *number > 0);
    let seconds = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    seconds
        .filter(|seconds| *seconds <= 86_400)
        .ok_or_else(|| format!("\"{text}\" is no time: write 60s, 5m or 1h, at most 24h"))
}

fn format(options: &Options) -> Format {
    if options.how.json { Format::Json } else { Format::Text }
}

/// Makes a request with the text of a file, and prints the differences of its answer.
/// Returns how many there are.
fn send(options: &Options, operation: Operation, path: Option<&String>) -> anyhow::Result<u64> {
    let mut file: Box<dyn Read> = match path {
        Some(path) => files::open(path)?,
        None => Box::new(io::empty()),
    };
    let wrong = |error| match path {
        Some(path) => files::named(error, files::name(path)),
        None => error.into(),
    };
    let mut client = connect(&options.how)?;
    let mut out = Output::new();
    let reply = if options.how.json {
        let mut array = JsonArray::new(&mut out);
        let reply =
            client.call(operation, &mut file, &mut |text| array.add(text)).map_err(wrong)?;
        array.end()?;
        reply
    } else {
        client
            .call(operation, &mut file, &mut |text| out.write_all(text.as_bytes()))
            .map_err(wrong)?
    };
    out.finish()?;
    match reply {
        Reply::Listed(count) => Ok(count),
        _ => Err(unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("60"), Ok(60));
        assert_eq!(seconds("60s"), Ok(60));
        assert_eq!(seconds("5m"), Ok(300));
        for wrong in ["", "s", "0", "1d", "-1", "25h", "99999999999", "9999999h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
