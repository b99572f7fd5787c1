//! The verb `monitor`: prints each event of the switch as a line, until Ctrl-C.

use crate::connect::call;
use crate::options::{Options, Words};
use crate::output::Output;
use crate::{Outcome, Usage};
use control::{EventKind, Format, MonitorQuery};
use std::io::Write;

/// Carries out the verb `monitor`.
pub(crate) fn monitor(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
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
    // Scripts wait for this line: events that happen after it are printed.
    let mut lifted = Ok(());
    let started = || {
        // A switch without events is silent.
        if how.timeout.is_none() {
            lifted = call.stream.set_read_timeout(None);
        }
        eprintln!("ofctl: watching; Ctrl-C ends");
    };
    let followed = call.client.monitor(query, started, &mut |lines| {
        out.write_all(lines.as_bytes())?;
        out.flush()
    });
    followed?;
    lifted?;
    Err(anyhow::anyhow!("the switch has ended the session"))
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
