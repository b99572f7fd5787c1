//! The verb `restart`: another process takes over from the daemon.

use crate::Outcome;
use crate::connect::{connect, unexpected, wrong_usage};
use crate::options::{Options, Words};
use crate::output::{print, print_json};
use control::{Operation, Reply};

/// Carries out the verb `restart`.
pub(crate) fn restart(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    if !words.words.is_empty() {
        return Err(wrong_usage(options));
    }
    let Reply::Restarted(record) = connect(&options.how)?.ask(Operation::Restart)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&record)?,
        false => print(&format!("process {} ({}) has taken over\n", record.pid, record.program))?,
    }
    Ok(Outcome::Done)
}
