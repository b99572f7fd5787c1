//! Tells which word of a command line is the name of a bridge, and opens the session of a verb.

use crate::Usage;
use crate::options::{How, Options, Words};
use crate::socket::Connection;
use clap::CommandFactory;
use control::Client;
use std::os::unix::net::UnixStream;

/// Opens a session with the daemon whose socket the options name.
pub(crate) fn connect(how: &How) -> anyhow::Result<Client> {
    Ok(Connection::open(how)?.client)
}

/// A session, and the words of a verb.
pub(crate) struct Call<'a> {
    /// The socket of the session, to change its time limits.
    pub(crate) stream: UnixStream,
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

/// As [`call`], for a verb whose first word is a port. The `LOCAL` port usually has the same name as its
/// bridge. A word that names both is the port if the verb would otherwise have too few words.
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
    let Connection { mut client, stream } = Connection::open(&options.how)?;
    let has_bridge = match words {
        [first, ..] if words.len() > least => {
            words.len() > most || client.hello().bridges.contains(first)
        }
        _ => false,
    };
    let (bridge, words) = words.split_at(usize::from(has_bridge));
    client.set_bridge(bridge.first().cloned());
    Ok(Call { stream, client, words })
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
