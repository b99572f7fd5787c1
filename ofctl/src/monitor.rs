//! The verb `monitor`: prints each event of the switch as a line, until Ctrl-C.

use crate::connect::{call, connect};
use crate::options::{Options, Words};
use crate::output::Output;
use crate::{Outcome, Usage};
use control::{EventKind, Format, MonitorQuery};
use std::io::Write;

/// Carries out the verb `monitor`. After a restart of the switch, the new process is watched.
pub(crate) fn monitor(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    // Scripts wait for this line: events that happen after it are printed.
    let mut started = "watching; Ctrl-C ends";
    loop {
        watch(options, words, started)?;
        // The process that has taken over listens already; if the switch was stopped, nobody does.
        if connect(&options.how).is_err() {
            return Err(anyhow::anyhow!("the switch has ended the session"));
        }
        started = "the switch was restarted: watching again; events in between are not shown";
    }
}

/// Prints events until the daemon closes the connection. `started` is the line that says when it begins.
fn watch(options: &Options, words: &Words, started: &str) -> anyhow::Result<()> {
    let how = &options.how;
    let mut call = call(options, words, 0, 1)?;
    let kinds = match call.words.first() {
        Some(list) => kinds(list, &call.client.hello().bridges, words)?,
        None => Vec::new(),
    };
    let query = MonitorQuery {
        kinds,
        version: how.version(),
        format: if how.json { Format::Json } else { Format::Text },
        names: how.names(),
    };
    let mut out = Output::new();
    let mut lifted = Ok(());
    let has_started = || {
        // A switch without events is silent.
        if how.timeout.is_none() {
            lifted = call.stream.set_read_timeout(None);
        }
        eprintln!("ofctl: {started}");
    };
    let followed = call.client.monitor(query, has_started, &mut |lines| {
        out.write_all(lines.as_bytes())?;
        out.flush()
    });
    lifted?;
    Ok(followed?)
}

/// Parses a list of kinds of events: `flows,ports`.
fn kinds(list: &str, bridges: &[String], words: &Words) -> Result<Vec<EventKind>, Usage> {
    list.split(',').map(|word| kind(word.trim(), bridges, words)).collect()
}

fn kind(word: &str, bridges: &[String], words: &Words) -> Result<EventKind, Usage> {
    EventKind::parse(word).ok_or_else(|| {
        let names = EventKind::NAMES.map(|(_, name)| name).join(", ");
        Usage(match words.words.len() {
            1 if !words.words[0].contains(',') => {
                let bridges = bridges.join(", ");
                format!(
                    "\"{word}\" is neither a bridge nor a kind of event: bridges are {bridges}; \
                     kinds are {names}"
                )
            }
            _ => format!("unknown kind of event \"{word}\": kinds are {names}"),
        })
    })
}
