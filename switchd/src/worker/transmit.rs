//! Sending what a batch has queued, and what becomes of frames that no port sends.

use flow::types::PortNo;
use flow::verdict::DropReason;
use flowtable::datapath::{Egress, PortCounters};
use packet::{Batch, FrameId};
use ports::{TxFailure, TxQueue};
use std::sync::Arc;

/// The send queues of a worker, by port.
#[derive(Default)]
pub(crate) struct Transmitter {
    ports: Vec<Option<TxPort>>,
    failures: Vec<(FrameId, TxFailure)>,
    /// Outputs of this batch that failed.
    lost: Vec<(usize, DropReason)>,
}

struct TxPort {
    queue: Option<Box<dyn TxQueue>>,
    counters: Arc<PortCounters>,
}

impl Transmitter {
    pub(super) fn attach(
        &mut self,
        no: PortNo,
        queue: Option<Box<dyn TxQueue>>,
        counters: Arc<PortCounters>,
    ) {
        let index = no.0 as usize;
        if self.ports.len() <= index {
            self.ports.resize_with(index + 1, || None);
        }
        self.ports[index] = Some(TxPort { queue, counters });
    }

    pub(super) fn detach(&mut self, no: PortNo) -> Option<Box<dyn TxQueue>> {
        self.ports.get_mut(no.0 as usize)?.as_mut()?.queue.take()
    }

    /// All queues, to be closed by somebody with more time.
    pub(super) fn into_queues(self) -> impl Iterator<Item = Box<dyn Send>> {
        let queues = self.ports.into_iter().flatten().filter_map(|port| port.queue);
        queues.map(|queue| Box::new(queue) as Box<dyn Send>)
    }

    /// Frames that a port has sent.
    pub(super) fn sent_by(&self, no: PortNo) -> u64 {
        let port = self.ports.get(usize::from(no.0)).and_then(Option::as_ref);
        port.map_or(0, |port| port.counters.tx_packets.get())
    }

    /// Sends what is queued. Returns how many received frames have no output left that was accepted;
    /// those are counted as dropped.
    pub(super) fn flush(
        &mut self,
        egress: &Egress,
        batch: &mut Batch<'_>,
        ingress: &PortCounters,
    ) -> u64 {
        for &no in egress.touched() {
            self.send(no, egress, batch);
        }
        if self.lost.is_empty() { 0 } else { self.settle(egress, ingress) }
    }

    fn send(&mut self, no: PortNo, egress: &Egress, batch: &mut Batch<'_>) {
        let ids = egress.queue(no);
        let Some(Some(port)) = self.ports.get_mut(no.0 as usize) else {
            let origins = ids.iter().map(|&id| (egress.origin(id), DropReason::NoOutput));
            return self.lost.extend(origins);
        };
        self.failures.clear();
        match &mut port.queue {
            Some(queue) => queue.send(batch, ids, &mut self.failures),
            None => self.failures.extend(ids.iter().map(|&id| (id, TxFailure::LinkDown))),
        }
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
            let queued = egress.touched().iter().flat_map(|&no| egress.queue(no));
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
        TxFailure::Other(_) => DropReason::TxError,
    }
}
