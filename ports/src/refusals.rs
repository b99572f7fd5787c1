//! What the refusals of a device say about the frames that are sent behind the refused one.
//!
//! The kernel refuses each frame with a system call of its own. A neighbour must not be able to buy a call for
//! each of its frames, because the calls would take the time of other ports' frames. So if the device is down,
//! or its queue is full twice in a row, the rest of the frames that are sent together fails without a call.

use crate::TxFailure;

/// A queue that was full this many times in a row is full for the rest of what is sent together.
const MOST_FULL: u8 = 2;

/// What a device has refused of the frames that are sent together.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Why all further frames fail without a system call; `None` while the device may take some.
    end: Option<TxFailure>,
    /// Number of times in a row that the queue was full.
    full: u8,
}

impl Refusals {
    /// Forgets all refusals, before other frames are sent: the device may be up again.
    pub(crate) fn begin(&mut self) {
        *self = Self::default();
    }

    /// Why all further frames fail without a system call; `None` while the device may take some.
    pub(crate) fn end(&self) -> Option<TxFailure> {
        self.end
    }

    /// Notes that the device took a frame.
    pub(crate) fn took(&mut self) {
        self.full = 0;
    }

    /// Notes that the device refused a frame, and why.
    pub(crate) fn refused(&mut self, why: TxFailure) {
        match why {
            TxFailure::LinkDown => self.end = Some(why),
            TxFailure::QueueFull => {
                self.full += 1;
                self.end = (self.full >= MOST_FULL).then_some(why);
            }
            _ => {}
        }
    }
}
