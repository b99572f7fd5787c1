//! The way to the daemon, and which words of a command line name a bridge.

use crate::Usage;
use crate::options::{How, Options, Words};
use anyhow::Context;
use clap::CommandFactory;
use control::Client;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const PROGRAM: &str = concat!("ofctl ", env!("CARGO_PKG_VERSION"));

/// Opens a session with the daemon that the options name.
pub(crate) fn connect(how: &How) -> anyhow::Result<Client> {
    let path = how.socket.clone().unwrap_or_else(control::socket_path);
    let stream = UnixStream::connect(&path).with_context(|| match how.socket {
        None => format!("no switchd answers at {}: is it running?", path.display()),
        Some(_) => format!("no switchd answers at {}", path.display()),
    })?;
    let timeout = how.timeout.map(|seconds| Duration::from_secs(seconds.into()));
    stream.set_read_timeout(timeout)?;
    stream.set_write_timeout(timeout)?;
    let from = stream.try_clone()?;
    Client::open(from, stream, PROGRAM).map_err(|e| explain_timeout(e.into(), how))
}

/// A timeout is an error of the system with a poor name.
pub(crate) fn explain_timeout(error: anyhow::Error, how: &How) -> anyhow::Error {
    let is_timeout = error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    });
    match how.timeout {
        Some(seconds) if is_timeout => {
            anyhow::anyhow!("the switch was silent for {seconds} seconds")
        }
        _ => error,
    }
}

/// A session about a bridge, and the words that are not the bridge's name.
pub(crate) struct Call<'a> {
    pub(crate) client: Client,
    pub(crate) words: &'a [String],
}

/// Opens a session for a verb that takes `least` to `most` words besides the bridge.
pub(crate) fn call<'a>(
    options: &'a Options,
    words: &'a Words,
    least: usize,
    most: usize,
) -> anyhow::Result<Call<'a>> {
    let call = port_call(options, words, least, most)?;
    match call.words {
        // Nothing but the bridge.
        [name] if least == 1 && call.client.hello().bridges.contains(name) => {
            Err(wrong_usage(options))
        }
        _ => Ok(call),
    }
}

/// As [`call`], for a verb whose first word is a port. A port can be called as the bridge is, as the
/// `LOCAL` port of Open vSwitch is: where no word can be spared, it is the port.
pub(crate) fn port_call<'a>(
    options: &'a Options,
    words: &'a Words,
    least: usize,
    most: usize,
) -> anyhow::Result<Call<'a>> {
    let words = &words.words[..];
    // Before the connection, so that a wrong command is told without a switch.
    if words.len() < least || words.len() > most.saturating_add(1) {
        return Err(wrong_usage(options));
    }
    let mut client = connect(&options.how)?;
    let has_bridge = match words {
        [first, ..] if words.len() > least => {
            words.len() > most || client.hello().bridges.contains(first)
        }
        _ => false,
    };
    let (bridge, words) = words.split_at(usize::from(has_bridge));
    client.set_bridge(bridge.first().cloned());
    Ok(Call { client, words })
}

/// The verb has too few words, or too many.
pub(crate) fn wrong_usage(options: &Options) -> anyhow::Error {
    let command = Options::command();
    let usage = command
        .find_subcommand(options.verb.name())
        .map(|verb| verb.clone().render_usage().to_string())
        .unwrap_or_default();
    Usage(usage).into()
}

/// The daemon answered another question.
pub(crate) fn unexpected() -> anyhow::Error {
    control::ClientError::UnexpectedReply.into()
}
