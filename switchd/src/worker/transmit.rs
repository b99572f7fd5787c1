//! Sends the frames that a batch has queued, and counts those that no port sends as dropped.

use flow::types::PortNo;
use flow::verdict::DropReason;
use flowtable::datapath::{Egress, PortCounters};
use packet::{Batch, FrameId, TunnelKey};
use ports::{FloodSender, TxFailure, TxQueue};
use std::sync::Arc;

/// The number of ports from which on the frames of a batch are sent to many ports with one system call.
const LEAST_FLOOD: usize = 4;
/// The number of frames for one port beyond which the port's own queue sends them, with a call for all of them.
const MOST_EACH: usize = 8;
/// The number of outputs of a frame, on average over a batch, from which on copies are what a batch costs.
const MANY_OUTPUTS: usize = 3;

/// The send queues of a worker, by port.
#[derive(Default)]
pub(crate) struct Transmitter {
    ports: Vec<Option<TxPort>>,
    failures: Vec<(FrameId, TxFailure)>,
    /// Sends the copies of a flood to many ports with one system call.
    flood: FloodSender,
    /// Scratch memory, as the next two are: ports, each with the number of frames that `flood` has taken for
    /// it; then copies that `flood` could not send; then ports that it does not reach.
    together: Vec<(PortNo, usize)>,
    failed: Vec<(usize, FrameId, TxFailure)>,
    rest: Vec<PortNo>,
    /// Outputs of this batch that failed.
    lost: Vec<(usize, DropReason)>,
    /// Number of segments that were made of this batch in software.
    segments: usize,
    /// What tunnel ports tell senders of frames that were too long.
    answers: Vec<Answer>,
}

/// A frame that a tunnel port has made, as if it had come through the tunnel.
pub(super) struct Answer {
    pub(super) port_no: PortNo,
    /// What the outer headers would have said.
    pub(super) tunnel: TunnelKey,
    pub(super) frame: Vec<u8>,
}

struct TxPort {
    queue: Option<Box<dyn TxQueue>>,
    counters: Arc<PortCounters>,
}

impl Transmitter {
    pub(super) fn attach(
        &mut self,
        port_no: PortNo,
        queue: Option<Box<dyn TxQueue>>,
        counters: Arc<PortCounters>,
    ) {
        let index = port_no.0 as usize;
        if self.ports.len() <= index {
            self.ports.resize_with(index + 1, || None);
        }
        self.ports[index] = Some(TxPort { queue, counters });
    }

    pub(super) fn detach(&mut self, port_no: PortNo) -> Option<Box<dyn TxQueue>> {
        self.ports.get_mut(port_no.0 as usize)?.as_mut()?.queue.take()
    }

    /// Ports that can be sent to.
    pub(super) fn len(&self) -> usize {
        self.ports.iter().flatten().filter(|port| port.queue.is_some()).count()
    }

    /// All queues, to be closed by somebody with more time.
    pub(super) fn into_queues(self) -> impl Iterator<Item = Box<dyn Send>> {
        let queues = self.ports.into_iter().flatten().filter_map(|port| port.queue);
        queues.map(|queue| Box::new(queue) as Box<dyn Send>)
    }

    /// Whether tunnel ports have made frames.
    #[inline]
    pub(super) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The frames that tunnel ports have made since the last call.
    pub(super) fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// The counters of a port; `None` if the worker does not know the port.
    pub(super) fn counters(&self, port_no: PortNo) -> Option<Arc<PortCounters>> {
        let port = self.ports.get(usize::from(port_no.0)).and_then(Option::as_ref);
        port.map(|port| Arc::clone(&port.counters))
    }

    /// Frames that a port has sent.
    pub(super) fn sent_by(&self, port_no: PortNo) -> u64 {
        let port = self.ports.get(usize::from(port_no.0)).and_then(Option::as_ref);
        port.map_or(0, |port| port.counters.tx_packets.get())
    }

    /// The number of segments that the last [`Transmitter::flush`] made in software.
    pub(super) fn segments(&self) -> usize {
        self.segments
    }

    /// Sends what is queued. Returns how many received frames have no output left that was accepted;
    /// those are counted as dropped.
    pub(super) fn flush(
        &mut self,
        egress: &Egress,
        batch: &mut Batch<'_>,
        ingress: &PortCounters,
    ) -> u64 {
        self.segments = 0;
        if egress.touched().len() >= LEAST_FLOOD {
            self.flood(egress, batch);
        } else {
            egress.touched().iter().for_each(|&port_no| self.send(port_no, egress, batch));
        }
        if self.lost.is_empty() { 0 } else { self.settle(egress, ingress) }
    }

    /// Sends to many ports: first to the ones that one system call reaches, then to the others, whose queues
    /// may edit the frames.
    fn flood(&mut self, egress: &Egress, batch: &mut Batch<'_>) {
        let Self { ports, flood, together, .. } = self;
        let mut rest = std::mem::take(&mut self.rest);
        together.clear();
        let outputs: usize = egress.touched().iter().map(|no| egress.queue(*no).len()).sum();
        let has_many_outputs = outputs >= MANY_OUTPUTS * batch.len();
        for &port_no in egress.touched() {
            let place = usize::from(port_no.0);
            let queue = ports.get(place).and_then(Option::as_ref).and_then(|p| p.queue.as_ref());
            let target = queue.and_then(|queue| queue.flood_target());
            // What the ports share has one priority.
            let Some(target) = target.filter(|_| egress.prioritized(port_no).is_empty()) else {
                rest.push(port_no);
                continue;
            };
            let ids = egress.queue(port_no);
            // Few frames for each: with many, the port's own queue has a call for all of them. The copies of a
            // frame cost less together than such calls, however many frames there are.
            let is_flooded = has_many_outputs && target.copies_at_once();
            let taken = if is_flooded || ids.len() <= MOST_EACH {
                let mut add = |id| flood.add(is_flooded, target, place, batch, id);
                ids.iter().take_while(|id| add(**id)).count()
            } else {
                0
            };
            together.push((port_no, taken));
        }
        let mut failed = std::mem::take(&mut self.failed);
        flood.finish(batch, |place, id, failure| failed.push((place, id, failure)));
        let mut together = std::mem::take(&mut self.together);
        for (port_no, taken) in together.drain(..) {
            let ids = egress.queue(port_no);
            let own = |(place, ..): &(usize, FrameId, TxFailure)| *place == usize::from(port_no.0);
            self.failures.clear();
            self.failures.extend(failed.iter().filter(|f| own(f)).map(|(_, id, why)| (*id, *why)));
            self.retry_full(port_no, batch);
            self.count(port_no, egress, batch, &ids[..taken]);
            if taken < ids.len() {
                self.send_some(port_no, egress, batch, &ids[taken..]);
            }
        }
        failed.clear();
        (self.failed, self.together) = (failed, together);
        rest.drain(..).for_each(|port_no| self.send(port_no, egress, batch));
        self.rest = rest;
    }

    /// The buffer that all ports have in common was full. A port has one of its own for that case.
    fn retry_full(&mut self, port_no: PortNo, batch: &mut Batch<'_>) {
        if self.failures.iter().all(|(_, why)| *why != TxFailure::QueueFull) {
            return;
        }
        let mut again = Vec::new();
        self.failures.retain(|(id, why)| {
            let is_full = *why == TxFailure::QueueFull;
            again.extend(is_full.then_some(*id));
            !is_full
        });
        if let Some(Some(TxPort { queue: Some(queue), .. })) =
            self.ports.get_mut(port_no.0 as usize)
        {
            self.segments += queue.send(batch, &again, &mut self.failures);
        }
    }

    fn send(&mut self, port_no: PortNo, egress: &Egress, batch: &mut Batch<'_>) {
        self.send_some(port_no, egress, batch, egress.queue(port_no));
    }

    fn send_some(
        &mut self,
        port_no: PortNo,
        egress: &Egress,
        batch: &mut Batch<'_>,
        ids: &[FrameId],
    ) {
        let Some(Some(port)) = self.ports.get_mut(port_no.0 as usize) else {
            let origins = ids.iter().map(|&id| (egress.origin(id), DropReason::NoOutput));
            return self.lost.extend(origins);
        };
        self.failures.clear();
        let (keys, prioritized) = (egress.tunnels(port_no), egress.prioritized(port_no));
        match &mut port.queue {
            Some(queue) if !keys.is_empty() => {
                self.segments += queue.send_tunneled(batch, ids, keys, &mut self.failures);
                let answers = queue.take_answers().into_iter();
                self.answers.extend(answers.map(|(tunnel, frame)| Answer {
                    port_no,
                    tunnel,
                    frame,
                }));
            }
            Some(queue) if !prioritized.is_empty() => {
                let failures = &mut self.failures;
                self.segments += queue.send_prioritized(batch, ids, prioritized, failures);
            }
            Some(queue) => self.segments += queue.send(batch, ids, &mut self.failures),
            None => self.failures.extend(ids.iter().map(|&id| (id, TxFailure::LinkDown))),
        }
        self.count(port_no, egress, batch, ids);
    }

    /// Counts frames that were queued for a port: as sent, or with the reason of their failure.
    fn count(&mut self, port_no: PortNo, egress: &Egress, batch: &Batch<'_>, ids: &[FrameId]) {
        let Some(Some(port)) = self.ports.get_mut(port_no.0 as usize) else {
            return;
        };
        let mut bytes: u64 = ids.iter().map(|&id| batch.frame(id).size() as u64).sum();
        for (id, failure) in &self.failures {
            bytes -= batch.frame(*id).size() as u64;
            let reason = drop_reason(*failure);
            port.counters.tx_failed(reason).add(1);
            self.lost.push((egress.origin(*id), reason));
        }
        port.counters.tx_packets.add((ids.len() - self.failures.len()) as u64);
        port.counters.tx_bytes.add(bytes);
    }

    /// Finds the frames of which every output failed.
    fn settle(&mut self, egress: &Egress, ingress: &PortCounters) -> u64 {
        self.lost.sort_unstable_by_key(|(origin, _)| *origin);
        let mut dropped = 0;
        for lost in self.lost.chunk_by(|a, b| a.0 == b.0) {
            let (origin, reason) = lost[lost.len() - 1];
            let queued = egress.touched().iter().flat_map(|&port_no| egress.queue(port_no));
            if queued.filter(|&&id| egress.origin(id) == origin).count() == lost.len() {
                ingress.rx_dropped(reason).add(1);
                dropped += 1;
            }
        }
        self.lost.clear();
        dropped
    }
}

fn drop_reason(failure: TxFailure) -> DropReason {
    match failure {
        TxFailure::QueueFull => DropReason::TxQueueFull,
        TxFailure::LinkDown => DropReason::TxLinkDown,
        TxFailure::TooLong { .. } => DropReason::ExceedsMtu,
        TxFailure::NoOffload => DropReason::TxOffload,
        TxFailure::TooShort => DropReason::Runt,
        TxFailure::ExceedsPath { .. } => DropReason::ExceedsPathMtu,
        TxFailure::NoRoute => DropReason::TunnelNoRoute,
        TxFailure::Loop => DropReason::TunnelLoop,
        TxFailure::ToSelf => DropReason::TunnelToSelf,
        TxFailure::Refused => DropReason::TunnelRefused,
        TxFailure::Other(_) => DropReason::TxError,
    }
}
