//! Packets on their way from a worker to controllers.
//!
//! A worker puts a copy of the packet into its queue, from which another thread takes it, or the worker itself
//! behind the batch. The queue is bounded and never waited for: what finds no room is dropped with a reason. As
//! the kernel does for Open vSwitch, a large packet that asks for segmentation becomes a packet for each
//! segment, and checksums are completed.

use crate::policy::Policy;
use crate::policy::audience::Audience;
use crate::policy::recirc::{Continuation, RecircTable};
use crossbeam::queue::ArrayQueue;
use flow::verdict::{ControllerMeta, DropReason};
use packet::{Frame, Segmentation, complete};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many packets wait at most in the queue of a worker.
const MAX_PACKETS: usize = 4096;
/// How many bytes the waiting packets of a worker have at most.
const MAX_BYTES: usize = 8 << 20;

/// A packet for controllers.
#[derive(Debug)]
pub struct Punt {
    /// The packet from its Ethernet header on, with complete checksums.
    pub packet: Vec<u8>,
    /// What controllers are told of the packet, and which of them.
    pub meta: Arc<ControllerMeta>,
    /// The state with which the packet goes on once a controller resumes it; `None` if the packet
    /// does not wait for that.
    pub paused: Option<Arc<Continuation>>,
}

/// The packets of one worker that wait to be taken. The worker puts, and one thread at a time takes.
#[derive(Debug)]
pub struct PuntQueue {
    waiting: ArrayQueue<Punt>,
    /// The number of bytes of the packets that wait.
    bytes: AtomicUsize,
}

impl Default for PuntQueue {
    fn default() -> Self {
        Self { waiting: ArrayQueue::new(MAX_PACKETS), bytes: AtomicUsize::new(0) }
    }
}

impl PuntQueue {
    /// Takes the packet that has waited longest; `None` if none waits.
    pub fn take(&self) -> Option<Punt> {
        let punt = self.waiting.pop()?;
        self.bytes.fetch_sub(punt.packet.len(), Ordering::Relaxed);
        Some(punt)
    }

    /// Whether no packet waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn is_full(&self) -> bool {
        self.waiting.is_full() || self.bytes.load(Ordering::Relaxed) >= MAX_BYTES
    }

    /// Appends a packet. Returns whether there was room.
    fn put(&self, punt: Punt) -> bool {
        let size = punt.packet.len();
        if self.is_full() {
            return false;
        }
        // Before the packet can be taken, so that the sum never falls below zero.
        self.bytes.fetch_add(size, Ordering::Relaxed);
        let is_put = self.waiting.push(punt).is_ok();
        if !is_put {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        is_put
    }
}

impl Policy {
    /// The way to controllers through `queue`.
    #[inline]
    pub(super) fn punts_into<'e>(&'e self, queue: &'e PuntQueue) -> Punts<'e> {
        Punts { audience: self.audience(), recirc: self.recirc(), queue }
    }
}

/// The way to controllers, as the execution of actions needs it.
#[derive(Clone, Copy)]
pub struct Punts<'e> {
    pub(super) audience: &'e Audience,
    pub(super) recirc: &'e RecircTable,
    pub(super) queue: &'e PuntQueue,
}

impl Punts<'_> {
    /// Gives a copy of a frame to the controllers that want it. Every packet for controllers passes here.
    /// Returns how many packets wait for them now because of that: several if the frame asks for segmentation.
    ///
    /// # Errors
    /// Why no controller gets the frame.
    pub(super) fn put(
        self,
        frame: &Frame<'_>,
        meta: &Arc<ControllerMeta>,
    ) -> Result<u32, DropReason> {
        if !self.audience.wants(meta.bridge, meta.controller_id, meta.reason) {
            return Err(meta.unwanted);
        }
        // A frame that is refused is not copied.
        if self.queue.is_full() {
            return Err(DropReason::ControllerQueueFull);
        }
        let paused = match meta.paused {
            Some(id) => Some(self.recirc.get(id).ok_or(DropReason::RecirculationLimit)?),
            None => None,
        };
        let punt = |packet| Punt {
            packet,
            meta: Arc::clone(meta),
            paused: paused.as_ref().map(Arc::clone),
        };
        if frame.offload.is_gso()
            && let Ok(segmentation) = Segmentation::new(frame)
        {
            let segments = (0..segmentation.count()).map(|n| segmentation.segment(n, Vec::new()));
            let put = segments.take_while(|segment| self.queue.put(punt(segment.bytes().to_vec())));
            return match put.count() {
                0 => Err(DropReason::ControllerQueueFull),
                count => Ok(count as u32),
            };
        }
        let packet = if frame.offload.is_complete() {
            frame.bytes().to_vec()
        } else {
            let mut copy = frame.copy_in(Vec::new());
            // A controller gets a packet whose checksum cannot be completed as the packet is.
            let _ = complete(&mut copy);
            copy.bytes().to_vec()
        };
        if self.queue.put(punt(packet)) { Ok(1) } else { Err(DropReason::ControllerQueueFull) }
    }
}
