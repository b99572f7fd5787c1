//! Queues of ports, of which the switch has none: every port sends in the order in which frames come.
//!
//! Open vSwitch says the same of a port without QoS: requests for all queues get an empty list, and one queue does not exist.

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
