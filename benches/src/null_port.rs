//! Ports without I/O: receiving fabricates frames, sending counts them.
//!
//! What is left is what the switch itself costs. The frames are real ones in slots of their own, as
//! in a receive ring; headers are written anew for each.

use crate::cpu_time::CpuTimer;
use crate::workload::{Family, MACS, Tuple, Workload, offload, template, write_flow};
use flow::types::PortNo;
use flowtable::datapath::{Datapath, Egress, PortCounters, Processed};
use packet::{Batch, Frame, HEADROOM, MAX_BATCH};
use std::time::{Duration, Instant};

/// Bytes of a slot.
const SLOT: usize = 256;

/// A receive ring that fills itself.
pub struct NullRing {
    slots: Vec<[u8; SLOT]>,
    family: Family,
    size: usize,
}

impl NullRing {
    /// One batch of slots with frames of this family.
    pub fn new(family: Family) -> Self {
        let template = template(family);
        let mut slot = [0; SLOT];
        slot[HEADROOM..HEADROOM + template.len()].copy_from_slice(&template);
        Self { slots: vec![slot; MAX_BATCH], family, size: template.len() }
    }

    /// Receives a full batch of the workload.
    #[inline]
    pub fn fill<'a>(&'a mut self, batch: &mut Batch<'a>, workload: &mut Workload) {
        self.fill_with(batch, MAX_BATCH, |_| (workload.next_flow(), MACS));
    }

    /// Receives `count` frames of these flows and MAC addresses (destination, source).
    #[inline]
    pub fn fill_with<'a>(
        &'a mut self,
        batch: &mut Batch<'a>,
        count: usize,
        mut next: impl FnMut(usize) -> (Tuple, [u8; 12]),
    ) {
        for (n, slot) in self.slots.iter_mut().take(count).enumerate() {
            let (flow, macs) = next(n);
            let Some(frame) = slot[HEADROOM..].first_chunk_mut() else { break };
            frame[..12].copy_from_slice(&macs);
            write_flow(frame, self.family, &flow);
            let offload = offload(self.family, &flow);
            batch.push(Frame::lent(slot, HEADROOM, HEADROOM + self.size, offload));
        }
    }
}

/// A clock that starts when it is made.
#[derive(Clone, Copy)]
enum Clock {
    Wall(Instant),
    OnCore(CpuTimer),
}

impl Clock {
    fn elapsed(self) -> Duration {
        match self {
            Self::Wall(start) => start.elapsed(),
            Self::OnCore(timer) => timer.elapsed(),
        }
    }
}

/// A switch between null ports: what a worker does, without the system calls.
pub struct NullSwitch {
    /// The fast path that is measured.
    pub datapath: Datapath,
    /// The ring of the port that receives.
    pub ring: NullRing,
    /// The counters of the port that receives.
    pub counters: PortCounters,
    egress: Egress,
    clock: Clock,
    /// Time added to the clock, so that a benchmark need not wait.
    pub skip: Duration,
    /// How many frames have been sent.
    pub sent: u64,
}

impl NullSwitch {
    /// A switch that receives frames of this family.
    pub fn new(datapath: Datapath, family: Family) -> Self {
        Self {
            datapath,
            ring: NullRing::new(family),
            counters: PortCounters::default(),
            egress: Egress::new(16),
            clock: Clock::Wall(Instant::now()),
            skip: Duration::ZERO,
            sent: 0,
        }
    }

    /// Has the switch's clock tell the time that the calling thread spends on a core. A budget in time is then
    /// the same part of what the thread does, whatever else the machine does meanwhile. The clock begins anew.
    pub fn use_time_on_core(&mut self) {
        self.clock = Clock::OnCore(CpuTimer::start());
    }

    /// The time on the switch's clock: since its creation, and what was skipped.
    #[inline]
    pub fn now(&self) -> Duration {
        self.clock.elapsed() + self.skip
    }

    /// One batch from port 0, all the way through.
    #[inline]
    pub fn poll(&mut self, workload: &mut Workload) -> Processed {
        self.poll_with(MAX_BATCH, |_| (workload.next_flow(), MACS))
    }

    /// As [`NullSwitch::poll`], with frames of one's own.
    #[inline]
    pub fn poll_with(
        &mut self,
        count: usize,
        next: impl FnMut(usize) -> (Tuple, [u8; 12]),
    ) -> Processed {
        self.process(PortNo(0), count, next)
    }

    /// As [`NullSwitch::poll_with`], from another port, whose frames are counted apart.
    pub fn poll_on(
        &mut self,
        port: PortNo,
        count: usize,
        next: impl FnMut(usize) -> (Tuple, [u8; 12]),
    ) -> Processed {
        let own = std::mem::take(&mut self.counters);
        let done = self.process(port, count, next);
        self.counters = own;
        done
    }

    /// One frame from another port.
    pub fn receive_on(
        &mut self,
        port: PortNo,
        frame: impl FnMut(usize) -> (Tuple, [u8; 12]),
    ) -> Processed {
        self.process(port, 1, frame)
    }

    #[inline]
    fn process(
        &mut self,
        in_port: PortNo,
        count: usize,
        next: impl FnMut(usize) -> (Tuple, [u8; 12]),
    ) -> Processed {
        let mut batch = Batch::new();
        self.ring.fill_with(&mut batch, count, next);
        let now = self.clock.elapsed() + self.skip;
        let done =
            self.datapath.process(now, in_port, &mut batch, &mut self.egress, &self.counters);
        for &port in self.egress.touched() {
            for &id in self.egress.queue(port) {
                self.sent += u64::from(batch.frame(id).size() != 0);
            }
        }
        self.counters.rx_sent.add(done.queued);
        self.egress.clear(&mut batch);
        done
    }

    /// Runs until every flow has been seen twice, and the second thereafter, in which caches settle.
    pub fn warm_up(&mut self, workload: &mut Workload) {
        self.run(workload, 3 * workload.len() + 16 * MAX_BATCH);
        self.skip += Duration::from_secs(1);
        self.run(workload, 2 * workload.len() + 16 * MAX_BATCH);
    }

    /// Has the switch process `frames` frames of the workload, rounded up to whole batches.
    pub fn run(&mut self, workload: &mut Workload, frames: usize) {
        for _ in 0..frames.div_ceil(MAX_BATCH) {
            self.poll(workload);
        }
    }

    /// Millions of frames per second over `seconds` of time on the core.
    pub fn rate(&mut self, workload: &mut Workload, seconds: f64) -> f64 {
        let (mut frames, timer) = (0, CpuTimer::start());
        loop {
            for _ in 0..256 {
                self.poll(workload);
            }
            frames += 256 * MAX_BATCH;
            let elapsed = timer.elapsed().as_secs_f64();
            if elapsed >= seconds {
                return frames as f64 / elapsed / 1e6;
            }
        }
    }
}
