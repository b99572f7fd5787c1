//! Opening the receive rings of a device: when it becomes a port, and in another size later.
//!
//! To resize the rings of a port, a control thread opens a new ring for each queue. The new rings let no frame
//! in; opening them takes some 10 ms in the kernel and disturbs nobody. The worker that owns a queue then shuts
//! its old ring and opens the new one to frames, and goes on receiving from the old ring until that is empty. A
//! frame that arrives in the microsecond between the two steps is lost; frames of other ports are not
//! concerned. Flows stay with their queue and in order, because the kernel spreads them over the new rings as
//! over the old.

use super::os;
use super::ring_size::RingSize;
use super::rx::RingRx;
use crate::commons::Commons;
use crate::handover::HandedQueue;
use crate::spec::PortOptions;
use crate::sys::packet as socket;
use crate::{KernelHooks, PortError, RxMemory, RxQueue};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Opens the receive queues of one device, from any thread.
pub struct RxOpener {
    pub(super) commons: Arc<Commons>,
    pub(super) device: String,
    pub(super) index: u32,
    pub(super) options: PortOptions,
    pub(super) queues: usize,
    /// The programs whose judge is the filter of open rings; `None`: open rings have no filter.
    pub(super) hooks: Option<Arc<KernelHooks>>,
}

impl RxOpener {
    /// The number of queues.
    pub fn queues(&self) -> usize {
        self.queues
    }

    /// Opens as many queues as the port has, closed ([`RxQueue::set_open`]), with rings of this size unless
    /// the user has said another one.
    ///
    /// # Errors
    /// The device has gone, or the kernel has no memory left.
    pub fn open(&self, size: RingSize) -> Result<(Vec<Box<dyn RxQueue>>, RxMemory), PortError> {
        let opened = self.commons.run(|| self.open_here(size));
        opened.map_err(os("receive from", &self.device))?
    }

    /// As [`RxOpener::open`], by a thread that is in the device's network namespace.
    pub(super) fn open_here(
        &self,
        size: RingSize,
    ) -> Result<(Vec<Box<dyn RxQueue>>, RxMemory), PortError> {
        let queues = self.open_all(size).map_err(os("receive from", &self.device))?;
        Ok(boxed(queues))
    }

    /// Goes on with the queues of another process. The caller says at which slots ([`RxQueue::go_on_at`]).
    pub(super) fn take_over(
        &self,
        handed: Vec<(HandedQueue, OwnedFd)>,
    ) -> Result<(Vec<Box<dyn RxQueue>>, RxMemory), PortError> {
        let take_over = |(queue, fd)| match queue {
            HandedQueue::Ring(ring) => RingRx::take_over(fd, &ring),
            HandedQueue::Tap => Err(io::ErrorKind::InvalidInput.into()),
        };
        let queues: io::Result<Vec<RingRx>> = handed.into_iter().map(take_over).collect();
        Ok(boxed(queues.map_err(os("take over the receive rings of", &self.device))?))
    }

    fn open_all(&self, size: RingSize) -> io::Result<Vec<RingRx>> {
        let size = self.options.ring_size(size, self.queues);
        let mut fanout = None;
        (0..self.queues).map(|_| self.open_one(size, &mut fanout)).collect()
    }

    fn open_one(&self, size: RingSize, fanout: &mut Option<u32>) -> io::Result<RingRx> {
        let queue = RingRx::new(socket::socket()?, &self.options, size, self.hooks.clone())?;
        // Until all have joined each other, they would get every frame.
        socket::refuse_all(queue.socket())?;
        socket::bind(queue.socket(), self.index, true)?;
        socket::set_promiscuous(queue.socket(), self.index)?;
        if self.queues > 1 {
            *fanout = Some(socket::join_fanout(queue.socket(), *fanout)?);
        }
        Ok(queue)
    }
}

/// The queues, and the memory of them all.
fn boxed(queues: Vec<RingRx>) -> (Vec<Box<dyn RxQueue>>, RxMemory) {
    let mut memory = RxMemory::default();
    for queue in &queues {
        let RxMemory { slots, slot_size, bytes, .. } = queue.memory();
        memory.queues += 1;
        memory.slots += slots;
        memory.slot_size = slot_size;
        memory.bytes += bytes;
    }
    let queues = queues.into_iter().map(|queue| Box::new(queue) as Box<dyn RxQueue>);
    (queues.collect(), memory)
}
