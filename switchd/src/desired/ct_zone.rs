//! The timeouts of connections that a zone has of its own.

use flow::ct_timeout::CtTimeouts;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A zone of connections whose timeouts are not all the defaults. The file's `[[ct-zone]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CtZone {
    /// The number of the zone.
    pub zone: u16,
    /// The timeouts, in seconds.
    pub timeouts: CtTimeouts,
}

impl fmt::Display for CtZone {
    /// As `ofctl add-zone-tp` takes it: `zone=5 udp_first=10`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zone={} {}", self.zone, self.timeouts)
    }
}
