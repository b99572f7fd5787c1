//! Frames on their way out, by port, until the batch is flushed.

use flow::types::PortNo;
use packet::{Batch, FrameId};

/// Which frames of the current batch go to which port, and the bookkeeping that tells later which
/// received frame each of them stands for.
#[derive(Default)]
pub struct Egress {
    queues: Vec<Vec<FrameId>>,
    touched: Vec<PortNo>,
    /// Received frame that each copy was made of, by order of making.
    origins: Vec<u16>,
    spare: Vec<Vec<u8>>,
}

/// Buffers kept for copies.
const SPARE_BUFFERS: usize = 256;

impl Egress {
    /// Nothing queued, room for ports below `ports`.
    pub fn new(ports: usize) -> Self {
        let mut egress = Self::default();
        egress.grow(ports);
        egress
    }

    /// Makes room for ports below `ports`.
    pub fn grow(&mut self, ports: usize) {
        if self.queues.len() < ports {
            self.queues.resize_with(ports, Vec::new);
        }
    }

    /// Queues a frame.
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

    /// Queues received frames that came one after the other.
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
        let id = batch.add_copy(copy)?;
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

    /// Ports that have something queued.
    pub fn touched(&self) -> &[PortNo] {
        &self.touched
    }

    /// What is queued for a port, in order.
    pub fn queue(&self, port: PortNo) -> &[FrameId] {
        self.queues.get(port.0 as usize).map_or(&[], Vec::as_slice)
    }

    /// Forgets everything; the buffers of copies are kept for the next batch.
    pub fn clear(&mut self, batch: &mut Batch<'_>) {
        for port in self.touched.drain(..) {
            self.queues[port.0 as usize].clear();
        }
        if !self.origins.is_empty() {
            self.origins.clear();
            for copy in batch.take_copies() {
                if self.spare.len() < SPARE_BUFFERS
                    && let Some(buf) = copy.into_buffer()
                {
                    self.spare.push(buf);
                }
            }
        }
    }
}
