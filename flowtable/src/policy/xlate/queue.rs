//! Queues: `set_queue`, `pop_queue` and `enqueue`.
//!
//! A queue is a class of the queueing discipline of a port's device. The priority of a frame chooses the class,
//! and each output says it. As in Open vSwitch, queue N of a port is class 1:N+1.

use super::{Ctx, TranslationObserver};
use flow::action::QUEUES;
use flow::types::OfPort;

/// The priority of the class that a queue is; `None` if there is no such queue. Numbers
/// of classes are in tc(8).
fn priority_of(queue: u32) -> Option<u32> {
    /// The number of the queueing discipline, `1:`.
    const DISCIPLINE: u32 = 1 << 16;
    (queue < QUEUES).then(|| DISCIPLINE | (queue + 1))
}

impl<O: TranslationObserver> Ctx<'_, O> {
    /// Executes `set_queue:QUEUE`. A queue that does not exist changes nothing.
    pub(super) fn set_queue(&mut self, queue: u32) {
        self.priority = priority_of(queue).unwrap_or(self.priority);
    }

    /// Executes `pop_queue`: frames get the queue again that the packet came with.
    pub(super) fn pop_queue(&mut self) {
        self.priority = self.first_priority;
    }

    /// Executes `enqueue:PORT:QUEUE`: sends the packet to the port in that queue. What is sent later has the
    /// queue that it had before.
    pub(super) fn enqueue(&mut self, port: OfPort, queue: u32) {
        let before = self.priority;
        self.set_queue(queue);
        self.output(port);
        self.priority = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_the_classes_behind_the_first_of_discipline_1() {
        assert_eq!(priority_of(0), Some(0x1_0001));
        assert_eq!(priority_of(0xefff), Some(0x1_f000));
        assert_eq!(priority_of(0xf000), None);
        assert_eq!(priority_of(u32::MAX), None);
    }
}
