//! The records of controllers and of the files for TLS.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A controller of a bridge (`ofctl get-controller`). The words are those of the table
/// `Controller` of Open vSwitch's database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerRecord {
    /// Where the controller is, or where the bridge waits for it: `tcp:10.0.0.1:6653`, `ptcp:6653`.
    pub target: String,
    /// Milliseconds of silence before an echo request; `None` is the default, 5000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactivity_probe: Option<u32>,
    /// The most milliseconds between two attempts to connect; `None` is the default, 8000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_backoff: Option<u32>,
    /// The most packet-ins a second; `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_rate_limit: Option<u32>,
    /// The most packet-ins that wait because of `controller_rate_limit`; `None` is a quarter of that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_burst_limit: Option<u32>,
    /// `in-band` or `out-of-band`; `None` if nobody has said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_mode: Option<String>,
    /// Whether a controller is connected, and has agreed on a version.
    #[serde(default)]
    pub is_connected: bool,
    /// The number of controllers that are connected; more than 1 only where the bridge waits for them.
    #[serde(default)]
    pub n_connections: u64,
    /// What the connection does: `VOID`, `BACKOFF`, `CONNECTING`, `ACTIVE` or `IDLE`; `LISTENING` where the
    /// bridge waits for controllers and has none.
    #[serde(default)]
    pub state: String,
    /// The role of the controller: `other`, `master` or `slave`; `None` unless there is exactly one connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The version that was agreed on: `OpenFlow13`; `None` unless there is exactly one connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Seconds since a controller was last connected, or since it is; `None` if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sec_since_connect: Option<u64>,
    /// Seconds since a connection was last lost; `None` if none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sec_since_disconnect: Option<u64>,
    /// Seconds of the pause before the next attempt to connect; `None` unless `state` is `BACKOFF`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<u64>,
    /// Why the last attempt failed or the last connection ended; `None` if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The address and the TCP port at which the bridge listens; `None` unless it listens at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listening: Option<String>,
}

/// The files for TLS connections, in PEM format (`ofctl get-ssl`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SslRecord {
    /// The path of the switch's private key.
    pub private_key: String,
    /// The path of the switch's certificate.
    pub certificate: String,
    /// The path of the certificates of those who may sign the certificates of controllers.
    pub ca_cert: String,
}

impl fmt::Display for ControllerRecord {
    /// `tcp:10.0.0.1 max_backoff=1000 is_connected=false state=BACKOFF backoff=2 last_error="Connection refused"`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.target)?;
        let numbers = [
            ("inactivity_probe", self.inactivity_probe),
            ("max_backoff", self.max_backoff),
            ("controller_rate_limit", self.controller_rate_limit),
            ("controller_burst_limit", self.controller_burst_limit),
        ];
        for (key, value) in numbers {
            if let Some(value) = value {
                write!(f, " {key}={value}")?;
            }
        }
        if let Some(mode) = &self.connection_mode {
            write!(f, " connection_mode={mode}")?;
        }
        write!(f, " is_connected={} state={}", self.is_connected, self.state)?;
        if self.n_connections > 1 {
            write!(f, " n_connections={}", self.n_connections)?;
        }
        let words =
            [("role", &self.role), ("version", &self.version), ("listening", &self.listening)];
        for (key, value) in words {
            if let Some(value) = value {
                write!(f, " {key}={value}")?;
            }
        }
        let seconds = [
            ("sec_since_connect", self.sec_since_connect),
            ("sec_since_disconnect", self.sec_since_disconnect),
            ("backoff", self.backoff),
        ];
        for (key, value) in seconds {
            if let Some(value) = value {
                write!(f, " {key}={value}")?;
            }
        }
        match &self.last_error {
            Some(error) => write!(f, " last_error={error:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for SslRecord {
    /// As `ovs-vsctl get-ssl` prints the files, with a line feed behind each line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Private key: {}", self.private_key)?;
        writeln!(f, "Certificate: {}", self.certificate)?;
        writeln!(f, "CA Certificate: {}", self.ca_cert)
    }
}
