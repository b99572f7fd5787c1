//! Where a bridge finds its controllers, or waits for them: `tcp:10.0.0.1:6653`, `ptcp:6653`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The TCP port of OpenFlow, for a target that names none.
pub const OPENFLOW_PORT: u16 = 6653;

/// The longest path of a Unix socket in bytes (unix(7): `sun_path` without its terminating zero).
const MAX_SOCKET_PATH: usize = 107;

/// A place of a controller, with the text that named it. Two targets are the same if their texts are.
#[derive(Clone, Debug)]
pub struct ControllerTarget {
    text: String,
    place: ControllerPlace,
}

/// The place of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerPlace {
    /// `tcp:HOST[:PORT]` or `ssl:HOST[:PORT]`: the bridge connects to a host.
    Remote {
        /// Whether TLS protects the connection.
        tls: bool,
        /// The host that the bridge connects to.
        host: ControllerHost,
        /// The TCP port of the host, not 0.
        port: u16,
    },
    /// `unix:PATH`: the bridge connects to a Unix socket. A path without a slash at its beginning is in the
    /// folder of the bridge's own sockets.
    Unix(PathBuf),
    /// `ptcp:[PORT][:IP]` or `pssl:[PORT][:IP]`: the bridge waits for connections.
    Listen {
        /// Whether TLS protects the connections.
        tls: bool,
        /// The address and the TCP port that the bridge listens at. Port 0 lets the kernel choose.
        address: SocketAddr,
    },
    /// `punix:PATH`: the bridge waits for connections at a Unix socket, whose path is as for [`Self::Unix`].
    ListenUnix(PathBuf),
}

/// A host that a bridge connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerHost {
    /// An IPv4 or IPv6 address, without a port.
    Address(IpAddr),
    /// A name, which is looked up before each attempt to connect.
    Name(String),
}

impl ControllerTarget {
    /// The place of the controller.
    pub fn place(&self) -> &ControllerPlace {
        &self.place
    }

    /// The target as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the bridge connects, and does not wait for connections.
    pub fn is_active(&self) -> bool {
        matches!(self.place, ControllerPlace::Remote { .. } | ControllerPlace::Unix(_))
    }

    /// Whether TLS protects the connections.
    pub fn uses_tls(&self) -> bool {
        matches!(
            self.place,
            ControllerPlace::Remote { tls: true, .. } | ControllerPlace::Listen { tls: true, .. }
        )
    }
}

impl PartialEq for ControllerTarget {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ControllerTarget {}

impl FromStr for ControllerTarget {
    type Err = String;

    /// The error says what is wrong and what to write.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: String| format!("\"{text}\": {why}");
        let (method, rest) = text.split_once(':').ok_or_else(|| wrong(FORMS.to_owned()))?;
        let place = match method {
            "tcp" => remote(rest, false),
            "ssl" => remote(rest, true),
            "ptcp" => listen(rest, false),
            "pssl" => listen(rest, true),
            "unix" => socket_path(rest).map(ControllerPlace::Unix),
            "punix" => socket_path(rest).map(ControllerPlace::ListenUnix),
            _ => Err(FORMS.to_owned()),
        };
        let place = place.map_err(wrong)?;
        Ok(Self { text: text.to_owned(), place })
    }
}

const FORMS: &str = "must be tcp:HOST[:PORT], ssl:HOST[:PORT], unix:PATH, ptcp:[PORT][:IP], pssl:[PORT][:IP] or \
                     punix:PATH";

/// Reads `HOST[:PORT]`. An IPv6 address with a port stands in brackets.
fn remote(text: &str, tls: bool) -> Result<ControllerPlace, String> {
    let (host, port) = match text.parse::<Ipv6Addr>() {
        Ok(address) => (ControllerHost::Address(address.into()), None),
        Err(_) => {
            let (host, port) = split_port(text)?;
            (controller_host(host)?, port)
        }
    };
    let port = port.map_or(Ok(OPENFLOW_PORT), tcp_port)?;
    match port {
        0 => Err("port 0 cannot be connected to: write a port from 1 to 65535".to_owned()),
        port => Ok(ControllerPlace::Remote { tls, host, port }),
    }
}

/// Reads what follows `ptcp:` or `pssl:`, which is `[PORT][:IP]`; an IPv6 address may stand in brackets.
fn listen(text: &str, tls: bool) -> Result<ControllerPlace, String> {
    let (port, address) = match text.split_once(':') {
        Some((port, address)) => (port, Some(address)),
        None => (text, None),
    };
    let port = if port.is_empty() { OPENFLOW_PORT } else { tcp_port(port)? };
    let address = match address {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(text) => {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            bare.unwrap_or(text).parse().map_err(|_| {
                format!(
                    "\"{text}\" is not an IP address to listen at: write 127.0.0.1, [::1], or nothing for all IPv4 addresses"
                )
            })?
        }
    };
    Ok(ControllerPlace::Listen { tls, address: SocketAddr::new(address, port) })
}

/// Splits `HOST:PORT` or `[IPV6]:PORT`. The port is `None` if the text has none.
fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or("\"[\" needs \"]\" behind the address")?;
        return match behind.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if behind.is_empty() => Ok((host, None)),
            None => Err(format!("\"{behind}\" behind \"]\" is no port: write [ADDRESS]:PORT")),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err("an IPv6 address with a port stands in brackets: [ADDRESS]:PORT".to_owned())
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn controller_host(text: &str) -> Result<ControllerHost, String> {
    if let Ok(address) = text.parse() {
        return Ok(ControllerHost::Address(address));
    }
    // RFC 1123, and underscores, which names in private networks have.
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(allowed)
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let mut labels = text.strip_suffix('.').unwrap_or(text).split('.');
    let last_is_number = labels.clone().next_back().is_some_and(is_number);
    // A name that ends in a number would be a mistyped IPv4 address.
    if text.len() > 253 || last_is_number || !labels.all(is_label) {
        return Err(format!("\"{text}\" is neither an IP address nor the name of a host"));
    }
    Ok(ControllerHost::Name(text.to_owned()))
}

fn tcp_port(text: &str) -> Result<u16, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| is_number);
    port.ok_or_else(|| format!("\"{text}\" is not a TCP port: a number up to 65535"))
}

fn socket_path(text: &str) -> Result<PathBuf, String> {
    let is_allowed = |text: &str| !text.contains(|c: char| c == ',' || c.is_control());
    if text.is_empty() || text.len() > MAX_SOCKET_PATH || !is_allowed(text) {
        return Err(format!(
            "a path of a socket has 1 to {MAX_SOCKET_PATH} bytes, and neither commas nor control characters"
        ));
    }
    Ok(Path::new(text).to_owned())
}

impl fmt::Display for ControllerTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for ControllerTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ControllerTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> ControllerPlace {
        let target: ControllerTarget = text.parse().unwrap();
        assert_eq!(target.to_string(), text);
        target.place
    }

    fn at(text: &str) -> ControllerHost {
        ControllerHost::Address(text.parse().unwrap())
    }

    #[test]
    fn targets_are_those_of_open_vswitch() {
        let remote = |tls, host, port| ControllerPlace::Remote { tls, host, port };
        assert_eq!(place("tcp:10.0.0.1"), remote(false, at("10.0.0.1"), 6653));
        assert_eq!(place("tcp:10.0.0.1:6633"), remote(false, at("10.0.0.1"), 6633));
        assert_eq!(place("ssl:[fe80::1]:7"), remote(true, at("fe80::1"), 7));
        assert_eq!(place("tcp:[::1]"), remote(false, at("::1"), 6653));
        assert_eq!(place("tcp:::1"), remote(false, at("::1"), 6653));
        let named = ControllerHost::Name("ctl-1.example".to_owned());
        assert_eq!(place("tcp:ctl-1.example:99"), remote(false, named, 99));
        let listen =
            |tls, address: &str| ControllerPlace::Listen { tls, address: address.parse().unwrap() };
        assert_eq!(place("ptcp:"), listen(false, "0.0.0.0:6653"));
        assert_eq!(place("ptcp:0"), listen(false, "0.0.0.0:0"));
        assert_eq!(place("ptcp:7:127.0.0.1"), listen(false, "127.0.0.1:7"));
        assert_eq!(place("pssl::[::1]"), listen(true, "[::1]:6653"));
        assert_eq!(place("unix:ctl.sock"), ControllerPlace::Unix("ctl.sock".into()));
        assert_eq!(place("punix:/run/x"), ControllerPlace::ListenUnix("/run/x".into()));
    }

    #[test]
    fn what_is_no_target_is_refused_with_what_would_be_one() {
        let long = format!("unix:/{}", "a".repeat(MAX_SOCKET_PATH));
        for (text, why) in [
            ("10.0.0.1", "must be tcp:HOST"),
            ("", "must be tcp:HOST"),
            ("udp:10.0.0.1", "must be tcp:HOST"),
            ("tcp:", "neither an IP address nor the name of a host"),
            ("tcp:10.0.0.300", "neither an IP address nor the name of a host"),
            ("tcp:a b", "neither an IP address nor the name of a host"),
            ("tcp:10.0.0.1:0", "port 0 cannot be connected to"),
            ("tcp:10.0.0.1:70000", "\"70000\" is not a TCP port"),
            ("tcp:10.0.0.1:+1", "\"+1\" is not a TCP port"),
            ("tcp:fe80::1:2:3:4:5:6:7:8", "stands in brackets"),
            ("tcp:[::1", "needs \"]\""),
            ("tcp:[::1]6653", "is no port"),
            ("ptcp:x", "\"x\" is not a TCP port"),
            ("ptcp:1:localhost", "is not an IP address to listen at"),
            ("unix:", "a path of a socket has"),
            ("unix:/a,b", "a path of a socket has"),
            (&long, "a path of a socket has"),
        ] {
            let error = text.parse::<ControllerTarget>().unwrap_err();
            assert!(error.contains(why) && error.starts_with(&format!("\"{text}\": ")), "{error}");
        }
    }
}
