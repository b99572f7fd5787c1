//! Opening the receive rings of a device: when it becomes a port, and in another size later.
//!
//! Rings of another size replace those that are in use, queue by queue. The new ones are opened closed, all
//! of them, which takes some 10 ms in the kernel and disturbs nobody. Whoever owns a queue then closes the
//! old one, opens the new one, and goes on receiving from the old one until it is empty. A frame that
//! arrives in the microsecond in between is lost, which concerns this port alone. Flows stay with
//! their queue and in order, as the kernel spreads them over the new queues as over the old ones.

use super::os;
use super::ring_size::RingSize;
use super::rx::RingRx;
use crate::commons::Commons;
use crate::spec::PortOptions;
use crate::sys::packet as socket;
use crate::{PortError, RxMemory, RxQueue};
use std::io;
use std::sync::Arc;

/// Opens the receive queues of one device, from any thread.
pub struct RxOpener {
    pub(super) commons: Arc<Commons>,
    pub(super) device: String,
    pub(super) index: u32,
    pub(super) options: PortOptions,
    pub(super) queues: usize,
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
        let queues = opened.and_then(|queues| queues).map_err(os("receive from", &self.device))?;
        let mut memory = RxMemory::default();
        for queue in &queues {
            let RxMemory { slots, slot_size, bytes, .. } = queue.memory();
            memory.queues += 1;
            memory.slots += slots;
            memory.slot_size = slot_size;
            memory.bytes += bytes;
        }
        let queues = queues.into_iter().map(|queue| Box::new(queue) as Box<dyn RxQueue>);
        Ok((queues.collect(), memory))
    }

    fn open_here(&self, size: RingSize) -> io::Result<Vec<RingRx>> {
        let size = self.options.ring_size(size, self.queues);
        let mut fanout = None;
        (0..self.queues).map(|_| self.open_one(size, &mut fanout)).collect()
    }

    fn open_one(&self, size: RingSize, fanout: &mut Option<u32>) -> io::Result<RingRx> {
        let queue = RingRx::new(socket::socket()?, &self.options, size)?;
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
