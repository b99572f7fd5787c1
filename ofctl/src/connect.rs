//! Connects to the daemon, and tells which word of a command line is the name of a bridge.

use crate::Usage;
use crate::options::{How, Options, Words};
use anyhow::Context;
use clap::CommandFactory;
use control::Client;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The name and version that `ofctl` gives the daemon.
const PROGRAM: &str = concat!("ofctl ", env!("CARGO_PKG_VERSION"));

/// Opens a session with the daemon whose socket the options name.
pub(crate) fn connect(how: &How) -> anyhow::Result<Client> {
    let path = how.socket.clone().unwrap_or_else(control::socket_path);
    let stream = UnixStream::connect(&path).with_context(|| match how.socket {
        None => {
            format!("no switchd answers at {}: is it running, and as this user?", path.display())
        }
        Some(_) => format!("no switchd answers at {}: is --socket right?", path.display()),
    })?;
    let timeout = how.timeout.map(|seconds| Duration::from_secs(seconds.into()));
    stream.set_read_timeout(timeout)?;
    stream.set_write_timeout(timeout)?;
    let from = stream.try_clone()?;
    Client::open(from, stream, PROGRAM).map_err(|e| explain_timeout(e.into(), how))
}

/// Replaces the error of a timeout by a message that names the time; other errors stay as they are.
pub(crate) fn explain_timeout(error: anyhow::Error, how: &How) -> anyhow::Error {
    let is_timeout = error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    });
    match how.timeout {
        Some(seconds) if is_timeout => {
            anyhow::anyhow!(
                "the switch was silent for {seconds} seconds: give it more time with --timeout"
            )
        }
        _ => error,
    }
}

/// A session, and the words of a verb.
pub(crate) struct Call<'a> {
    /// The session, in which requests are about the bridge that the command line names.
    pub(crate) client: Client,
    /// The words behind the verb, without the bridge's name.
    pub(crate) words: &'a [String],
}

/// Opens a session for a verb that takes `least` to `most` words behind the optional name of a bridge.
pub(crate) fn call<'a>(
    options: &'a Options,
    words: &'a Words,
    least: usize,
    most: usize,
) -> anyhow::Result<Call<'a>> {
    let call = port_call(options, words, least, most)?;
    match call.words {
        // The only word names a bridge, so the word that the verb needs is missing.
        [name] if least == 1 && call.client.hello().bridges.contains(name) => {
            Err(wrong_usage(options))
        }
        _ => Ok(call),
    }
}

/// As [`call`], for a verb whose first word is a port. The `LOCAL` port usually has the same name as its bridge. A
/// word that names both is the port if the verb would otherwise have too few words.
pub(crate) fn port_call<'a>(
    options: &'a Options,
    words: &'a Words,
    least: usize,
    most: usize,
) -> anyhow::Result<Call<'a>> {
    let words = &words.words[..];
    // Checked before connecting, so that a wrong command line is an error even if no switch runs.
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

/// The error of a verb with too few or too many words, which shows the verb's usage.
pub(crate) fn wrong_usage(options: &Options) -> anyhow::Error {
    let command = Options::command();
    let usage = command
        .find_subcommand(options.verb.name())
        .map(|verb| verb.clone().render_usage().to_string())
        .unwrap_or_default();
    Usage(usage).into()
}

/// The error of a reply that does not belong to the request.
pub(crate) fn unexpected() -> anyhow::Error {
    control::ClientError::UnexpectedReply.into()
}
