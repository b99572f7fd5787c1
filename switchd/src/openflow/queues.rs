//! Queues of ports, of which the switch has none: every port sends in the order in which frames come.
//!
//! Open vSwitch says the same of a port without QoS: requests for all queues get an empty list, and one queue
//! does not exist. A request for the description of one queue has two errors there, for ports with a network
//! device and for others.

use crate::switch::OnBridge;
use flow::types::OfPort;
use openflow::{EVERY_QUEUE, ErrorCode};

/// Checks that a request for queues is about ports that exist, and about no queue of its own.
///
/// # Errors
/// The port does not exist, or the queue does not.
pub(super) fn check(on: &OnBridge<'_>, port: OfPort, queue: u32) -> Result<(), ErrorCode> {
    let is_known = port == OfPort::NONE || on.ports().iter().any(|view| view.of_port == port);
    match (is_known, queue) {
        (false, _) => Err(ErrorCode::QueuePort),
        (true, EVERY_QUEUE) => Ok(()),
        (true, _) => Err(ErrorCode::QueueUnknown),
    }
}

/// Checks that a request for descriptions of queues is about ports that exist, and about no queue of its own.
///
/// # Errors
/// The port does not exist, or the queue does not.
pub(super) fn check_desc(on: &OnBridge<'_>, port: OfPort, queue: u32) -> Result<(), ErrorCode> {
    check(on, port, queue).map_err(|error| match error {
        ErrorCode::QueueUnknown if has_device(on, port) => ErrorCode::NxQueueQueueError,
        error => error,
    })
}

/// Whether a port sends through a network device of its own.
fn has_device(on: &OnBridge<'_>, port: OfPort) -> bool {
    on.ports()
        .iter()
        .any(|view| view.of_port == port && view.tunnel.is_none() && is_device(view.kind))
}

/// Whether ports of a kind that are no tunnels have a network device. A port that is not open will have one.
fn is_device(kind: Option<&str>) -> bool {
    !matches!(kind, Some("patch" | "dummy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_memory_have_no_device() {
        assert_eq!(
            ["patch", "dummy", "tap"].map(|kind| is_device(Some(kind))),
            [false, false, true]
        );
        assert!(is_device(None));
    }
}
