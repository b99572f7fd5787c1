//! Where a bridge is: the first word of a verb, as `ovs-ofctl` understands it.
//!
//! | word | meaning |
//! | --- | --- |
//! | `tcp:HOST[:PORT]`, `ssl:HOST[:PORT]`, `unix:PATH` | always OpenFlow |
//! | the path of a socket, with `/` | OpenFlow at that socket |
//! | the name of a bridge of our own switch | the control socket; OpenFlow only for verbs that have no other way |
//! | another name, or `TYPE@NAME` | OpenFlow at `NAME.mgmt` in `$OVS_RUNDIR`, else in `/var/run/openvswitch` |

use crate::options::{How, Options};
use crate::socket::{self, Connection};
use crate::{Usage, connect};
use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// The folder of Open vSwitch's sockets if `$OVS_RUNDIR` is not set.
const OVS_RUNDIR: &str = "/var/run/openvswitch";

/// The port of OpenFlow switches and controllers that have no other (IANA).
const DEFAULT_PORT: u16 = 6653;

/// Where a switch listens for OpenFlow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The word of the command line, for messages.
    pub(crate) name: String,
    pub(crate) address: Address,
}

/// The address of a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp { host: String, port: u16 },
    /// A TCP port behind TLS.
    Tls { host: String, port: u16 },
}

impl Place {
    /// The place that the first of `words` names, and the words behind it; `None` if the verb goes over the
    /// control socket. `is_only_here` says that the verb has no other way than OpenFlow.
    ///
    /// # Errors
    /// The word has a wrong form, or the verb has no other way and the word names no bridge.
    pub(crate) fn find<'a>(
        options: &Options,
        words: &'a [String],
        is_only_here: bool,
    ) -> anyhow::Result<Option<(Self, &'a [String])>> {
        let how = &options.how;
        if let [first, rest @ ..] = words
            && let Some(place) = Self::of_word(how, first, is_only_here)?
        {
            return Ok(Some((place, rest)));
        }
        if !is_only_here {
            return Ok(None);
        }
        // The bridge can be left out while our switch has only one.
        let bridges =
            Connection::open(how).map(|connection| connection.client.hello().bridges.clone());
        match (bridges.unwrap_or_default().as_slice(), words) {
            ([only], _) if words.first() != Some(only) => {
                let path = socket_of(only, &folders(how, true));
                let address = path.map(Address::Unix).ok_or_else(|| no_bridge(only))?;
                Ok(Some((Self { name: only.clone(), address }, words)))
            }
            (_, [first, ..]) => Err(no_bridge(first).into()),
            (_, []) => Err(connect::wrong_usage(options)),
        }
    }
}

impl Place {
    /// The place that a word names; `None` if the word names none, or a bridge that is
    /// asked over the control socket.
    ///
    /// # Errors
    /// The word has a wrong form.
    pub(crate) fn of_word(
        how: &How,
        word: &str,
        is_only_here: bool,
    ) -> Result<Option<Self>, Usage> {
        if let Some(address) = Address::parse(word)? {
            return Ok(Some(Self { name: word.to_owned(), address }));
        }
        // With --socket, the user has asked for that switch.
        if how.socket.is_some() && !is_only_here {
            return Ok(None);
        }
        let path = socket_of(word, &folders(how, is_only_here));
        let is_meant = |_: &PathBuf| is_only_here || !is_our_own(how, word);
        let address = path.filter(is_meant).map(Address::Unix);
        Ok(address.map(|address| Self { name: word.to_owned(), address }))
    }

    /// The place of the other socket of the bridge, at which the traffic of its controllers can be read; `None`
    /// if the place is no Unix socket.
    pub(crate) fn snoop(&self) -> Option<Self> {
        let Address::Unix(path) = &self.address else {
            return None;
        };
        // A path that does not end so is that of the socket itself.
        let is_mgmt = path.extension().is_some_and(|end| end == "mgmt");
        let path = if is_mgmt { path.with_extension("snoop") } else { path.clone() };
        Some(Self { address: Address::Unix(path), ..self.clone() })
    }
}

pub(super) fn no_bridge(name: &str) -> Usage {
    Usage(format!("{name} is not a bridge or a socket"))
}

/// The folders with the sockets of bridges, the first one first. Our own switch may have its sockets beside its
/// control socket, where only verbs without another way look.
fn folders(how: &How, is_only_here: bool) -> Vec<PathBuf> {
    let told = std::env::var_os("OVS_RUNDIR").filter(|folder| !folder.is_empty());
    let own = is_only_here.then(|| socket::path(how).parent().map(Path::to_owned)).flatten();
    let mut folders = vec![PathBuf::from(told.unwrap_or_else(|| OsString::from(OVS_RUNDIR)))];
    // A user who names the control socket means that switch.
    let at = if how.socket.is_some() { 0 } else { 1 };
    own.into_iter().for_each(|own| folders.insert(at, own));
    folders
}

/// The socket that the word names: a path, or the name of a bridge with a socket in one of the folders.
fn socket_of(word: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let is_socket =
        |path: &PathBuf| path.metadata().is_ok_and(|found| found.file_type().is_socket());
    if word.contains('/') {
        return Some(PathBuf::from(word)).filter(is_socket);
    }
    // `TYPE@NAME` names the bridge NAME of this type of datapath.
    let plain = word.split_once('@').map_or(word, |(_, name)| name);
    let names = [word, plain].into_iter().filter(|name| !name.is_empty());
    let paths = names
        .flat_map(|name| folders.iter().map(move |folder| folder.join(format!("{name}.mgmt"))));
    paths.into_iter().find(is_socket)
}

/// Whether our own switch answers at its control socket and has this bridge.
fn is_our_own(how: &How, bridge: &str) -> bool {
    Connection::open(how)
        .is_ok_and(|connection| connection.client.hello().bridges.iter().any(|name| name == bridge))
}

impl Address {
    /// The address that a word with a scheme names; `None` if the word has none.
    ///
    /// # Errors
    /// What behind the scheme stands is no address.
    fn parse(word: &str) -> Result<Option<Self>, Usage> {
        let Some((scheme, rest)) = word.split_once(':') else {
            return Ok(None);
        };
        let network = |rest: &str| -> Result<(String, u16), Usage> {
            let wrong = || Usage(format!("{word}: write {scheme}:HOST or {scheme}:HOST:PORT"));
            let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((host, port)) => (host, port.strip_prefix(':')),
                None => match rest.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (rest, None),
                },
            };
            let port = port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| wrong()))?;
            if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port)) }
        };
        Ok(Some(match scheme {
            "unix" => Self::Unix(PathBuf::from(rest)),
            "tcp" => network(rest).map(|(host, port)| Self::Tcp { host, port })?,
            "ssl" => network(rest).map(|(host, port)| Self::Tls { host, port })?,
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_ovs_ofctl_reads_them() {
        let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port };
        for (word, expected) in [
            ("tcp:127.0.0.1", Some(tcp("127.0.0.1", 6653))),
            ("tcp:switch:6633", Some(tcp("switch", 6633))),
            ("tcp:[::1]:6633", Some(tcp("::1", 6633))),
            ("tcp:[::1]", Some(tcp("::1", 6653))),
            ("ssl:h:1", Some(Address::Tls { host: "h".to_owned(), port: 1 })),
            ("unix:/run/x", Some(Address::Unix("/run/x".into()))),
            ("br0", None),
            ("priority=1,actions=output:2", None),
        ] {
            assert_eq!(Address::parse(word).unwrap(), expected, "{word}");
        }
        assert!(Address::parse("tcp:").is_err());
        assert!(Address::parse("tcp:h:x").is_err());
    }
}
