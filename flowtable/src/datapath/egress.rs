//! The frames of a batch that wait to be sent, by egress port.

use flow::types::PortNo;
use packet::{Batch, Frame, FrameId, Prioritized, TunnelKey};

/// The queues of one batch: which frame goes to which port, and for each copy the received frame
/// that it was made of.
#[derive(Default)]
pub struct Egress {
    queues: Vec<Vec<FrameId>>,
    /// What the outer headers of the frames in a tunnel port's queue are to say, in the order of the queue.
    /// Only tunnel ports have an entry that is not empty.
    tunnels: Vec<Vec<TunnelKey>>,
    /// The frames in a port's queue that have a priority, in the order of the queue. Only ports with such
    /// frames have an entry that is not empty.
    prioritized: Vec<Vec<Prioritized>>,
    touched: Vec<PortNo>,
    /// The received frame of each copy, in the order in which the copies were made.
    origins: Vec<u16>,
    /// Buffers of copies that are done, to be used again.
    spare: Vec<Vec<u8>>,
    /// Empty, with the allocation that the copies of earlier batches were in.
    room: Vec<Frame<'static>>,
}

/// Number of buffers that are kept for the copies of later batches.
const SPARE_BUFFERS: usize = 256;

impl Egress {
    /// Makes empty queues for the ports with numbers below `ports`.
    pub fn new(ports: usize) -> Self {
        let mut egress = Self::default();
        egress.grow(ports);
        egress
    }

    /// Makes room for the ports with numbers below `ports`.
    pub fn grow(&mut self, ports: usize) {
        if self.queues.len() < ports {
            self.queues.resize_with(ports, Vec::new);
        }
    }

    /// Queues a frame for a port.
    #[inline]
    pub fn push(&mut self, port: PortNo, frame: FrameId) {
        let index = port.0 as usize;
        if index >= self.queues.len() {
            self.grow(index + 1);
        }
        let queue = &mut self.queues[index];
        if queue.is_empty() {
            self.touched.push(port);
        }
        queue.push(frame);
    }

    /// Queues a frame for a tunnel port, whose outer headers are to say what `key` says. A tunnel port gets no
    /// frames in another way.
    pub fn push_tunneled(&mut self, port: PortNo, frame: FrameId, key: &TunnelKey) {
        self.push(port, frame);
        let index = usize::from(port.0);
        if self.tunnels.len() <= index {
            self.tunnels.resize_with(index + 1, Vec::new);
        }
        self.tunnels[index].push(key.clone());
    }

    /// Queues a frame for a port with a priority, unless that is 0.
    pub fn push_prioritized(&mut self, port: PortNo, frame: FrameId, priority: u32) {
        self.push(port, frame);
        if priority == 0 {
            return;
        }
        let index = usize::from(port.0);
        if self.prioritized.len() <= index {
            self.prioritized.resize_with(index + 1, Vec::new);
        }
        let place = self.queues[index].len() as u32 - 1;
        self.prioritized[index].push(Prioritized { place, priority });
    }

    /// The frames in a port's queue that have a priority.
    #[inline]
    pub fn prioritized(&self, port: PortNo) -> &[Prioritized] {
        self.prioritized.get(usize::from(port.0)).map_or(&[], Vec::as_slice)
    }

    /// What the outer headers of the frames in a port's queue are to say; empty if the port is no tunnel port.
    #[inline]
    pub fn tunnels(&self, port: PortNo) -> &[TunnelKey] {
        self.tunnels.get(usize::from(port.0)).map_or(&[], Vec::as_slice)
    }

    /// Queues successive received frames for a port.
    #[inline]
    pub fn push_run(&mut self, port: PortNo, frames: std::ops::Range<usize>) {
        let index = port.0 as usize;
        if index >= self.queues.len() {
            self.grow(index + 1);
        }
        let queue = &mut self.queues[index];
        if queue.is_empty() && !frames.is_empty() {
            self.touched.push(port);
        }
        queue.extend(frames.map(FrameId::received));
    }

    /// Copies `frame` so that it can be edited without changing what is queued already. `origin` is
    /// the index of the received frame it stands for. `None` when the batch has too many copies.
    pub fn copy(&mut self, batch: &mut Batch<'_>, frame: FrameId, origin: u16) -> Option<FrameId> {
        let buf = self.spare.pop().unwrap_or_default();
        let copy = batch.frame(frame).copy_in(buf);
        self.add(batch, copy, origin)
    }

    /// Adds a frame that stands for the received frame `origin`. `None` when the batch has too many copies.
    pub fn add<'a>(
        &mut self,
        batch: &mut Batch<'a>,
        frame: Frame<'a>,
        origin: u16,
    ) -> Option<FrameId> {
        if self.origins.is_empty() {
            batch.give_room(std::mem::take(&mut self.room));
        }
        let id = batch.add_copy(frame)?;
        self.origins.push(origin);
        Some(id)
    }

    /// The received frame that `frame` stands for.
    pub fn origin(&self, frame: FrameId) -> usize {
        match frame.received_index() {
            Some(i) => i,
            None => self.origins[frame.copy_index()] as usize,
        }
    }

    /// The ports for which frames are queued.
    pub fn touched(&self) -> &[PortNo] {
        &self.touched
    }

    /// The frames that are queued for a port, in order.
    pub fn queue(&self, port: PortNo) -> &[FrameId] {
        self.queues.get(port.0 as usize).map_or(&[], Vec::as_slice)
    }

    /// Empties all queues. The buffers of copies are kept for later batches.
    pub fn clear(&mut self, batch: &mut Batch<'_>) {
        for port in self.touched.drain(..) {
            self.queues[port.0 as usize].clear();
            if let Some(keys) = self.tunnels.get_mut(usize::from(port.0)) {
                keys.clear();
            }
            if let Some(frames) = self.prioritized.get_mut(usize::from(port.0)) {
                frames.clear();
            }
        }
        if !self.origins.is_empty() {
            self.origins.clear();
            let mut copies = batch.take_copies();
            for copy in copies.drain(..) {
                if self.spare.len() < SPARE_BUFFERS
                    && let Some(buf) = copy.into_buffer()
                {
                    self.spare.push(buf);
                }
            }
            // The lifetime of the frames differs from batch to batch, so the empty vector is collected into one
            // of another type. `collect` reuses the allocation; if it did not, the next batch would allocate
            // one of its own.
            self.room = copies.into_iter().map_while(|_| None).collect();
        }
    }
}
