//! The records of controllers and of the files for TLS.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A controller of a bridge (`ofctl get-controller`). The words are those of the table `Controller` of Open vSwitch's
/// database.
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
    /// `tcp:10.0.0.1 max_backoff=1000`
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
        match &self.connection_mode {
            Some(mode) => write!(f, " connection_mode={mode}"),
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
