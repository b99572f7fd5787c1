//! How long connections are kept after their last packet: the defaults, and the timeouts that
//! zones have of their own.

pub(super) use flow::ct_timeout::CtTimeout as Timeout;

use flow::ct_timeout::CtTimeouts;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The states of connections of which one end alone has been heard. A full table forgets such connections
/// first, in this order.
pub(super) const HALF_OPEN: [Timeout; 4] =
    [Timeout::TcpSynSent, Timeout::UdpFirst, Timeout::IcmpFirst, Timeout::UdpSingle];

/// Whether both ends of a connection have been heard, and of TCP the whole handshake.
pub(super) const fn is_answered(timeout: Timeout) -> bool {
    match timeout {
        Timeout::TcpEstablished
        | Timeout::TcpFinWait
        | Timeout::TcpTimeWait
        | Timeout::UdpMultiple
        | Timeout::IcmpReply => true,
        Timeout::TcpSynSent
        | Timeout::TcpSynRecv
        | Timeout::TcpClose
        | Timeout::UdpFirst
        | Timeout::UdpSingle
        | Timeout::IcmpFirst => false,
    }
}

/// The timeouts of zones that have some of their own, in seconds, by [`Timeout`].
#[derive(Clone, Debug, Default)]
pub(super) struct ZoneTimeouts(Option<Arc<HashMap<u16, [u32; Timeout::ALL.len()]>>>);

impl ZoneTimeouts {
    pub(super) fn new(zones: &[(u16, CtTimeouts)]) -> Self {
        let of = |(zone, timeouts): &(u16, CtTimeouts)| {
            (*zone, Timeout::ALL.map(|timeout| timeouts.seconds(timeout)))
        };
        Self((!zones.is_empty()).then(|| Arc::new(zones.iter().map(of).collect())))
    }

    /// Whether no zone has timeouts of its own.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The timeout of a zone, in seconds.
    pub(super) fn seconds(&self, zone: u16, timeout: Timeout) -> u32 {
        let own = self.0.as_ref().and_then(|zones| zones.get(&zone));
        own.map_or_else(|| timeout.default_seconds(), |own| own[timeout as usize])
    }
}

/// The time of a clock in milliseconds, which is what connections reckon with.
pub(super) fn ms(now: Duration) -> u64 {
    now.as_millis() as u64
}
