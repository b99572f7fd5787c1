//! A worker: the thread that moves frames.
//!
//! It owns its queues, caches and counters. Others talk to it by [`Command`]s, which it takes
//! between two batches, and read its counters. When nothing has come for a while it sleeps in
//! `poll(2)` until a receive queue has frames ([`receive`]) or a command is announced.

mod answers;
mod debts;
mod patience;
mod receive;
mod transmit;

pub(crate) use answers::Answers;
pub(crate) use debts::Debts;
pub(crate) use receive::Receivers;
pub(crate) use transmit::Transmitter;

use crate::punts::PuntPort;
use crossbeam::channel::{Receiver, Sender};
use flow::packet_out::PacketOut;
use flow::types::PortNo;
use flow::verdict::DropReason;
use flowtable::datapath::{Counter, Datapath, Egress, Ingress, PortCounters, Resumed};
use nix::sys::eventfd::EventFd;
use packet::{Batch, Frame, Offload, OptionMap, Tunneled};
use patience::Patience;
use ports::handover::{HandedQueue, RingPositions};
use ports::{PortError, RxQueue, TxQueue};
use receive::{RxPort, Served};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;
use transmit::Answer;

/// What a worker does while no frame arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Poll {
    /// Polls its queues without a pause: the shortest delay, but it occupies a processor wholly.
    Busy,
    /// Polls its queues for a moment, then sleeps until a frame arrives.
    #[default]
    Adaptive,
    /// Sleeps at once until a frame arrives: the least processor time, but a longer delay.
    Block,
}

/// What a worker did, for anybody to read.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct WorkerStats {
    /// Batches with at least one frame.
    pub batches: Counter,
    /// The number of frames received.
    pub frames: Counter,
    /// The number of segments made in software.
    pub segments: Counter,
    /// Nanoseconds of rounds in which something came.
    pub busy_ns: Counter,
    /// Batches of 1, 2 to 3, 4 to 7 ... 32 to 63 and 64 frames.
    pub sizes: [Counter; 7],
    /// Times it went to sleep.
    pub sleeps: Counter,
}

impl WorkerStats {
    fn count(&self, frames: usize) {
        self.batches.add(1);
        self.frames.add(frames as u64);
        let class = frames.max(1).ilog2().min(self.sizes.len() as u32 - 1);
        self.sizes[class as usize].add(1);
    }
}

/// What a worker is asked to do between two batches.
pub(crate) enum Command {
    /// Use these queues of a port.
    Attach {
        /// The datapath's number of the port.
        port_no: PortNo,
        /// The receive queues that this worker takes over; often none, as ports with few queues are spread.
        rx: Vec<Box<dyn RxQueue>>,
        /// The transmit queue that is this worker's own. `None` until the device is open.
        tx: Option<Box<dyn TxQueue>>,
        /// The counters of the port that this worker writes.
        counters: Arc<PortCounters>,
    },
    /// Receive from these queues, which give frames of several tunnel ports.
    AttachEndpoint {
        /// The number of the queues, which is no port's.
        number: PortNo,
        /// The receive queues that this worker takes over.
        rx: Vec<Box<dyn RxQueue>>,
        /// Counts what the kernel has dropped, of which nobody knows for which port it was.
        counters: Arc<PortCounters>,
    },
    /// Hand the queues of a port over.
    Detach {
        /// The datapath's number of the port.
        port_no: PortNo,
        /// Receives the queues that the worker had.
        done: Sender<Detached>,
    },
    /// Open these queues of a port, which are closed, and receive from them instead of the old ones.
    ReplaceRings {
        /// The datapath's number of the port.
        port_no: PortNo,
        /// The new queues, as many as the worker has of the port, and in their order.
        rings: Vec<Box<dyn RxQueue>>,
        /// Receives each old queue once it is empty.
        done: Sender<Box<dyn Send>>,
    },
    /// Process a packet that no port has received.
    HandIn(Box<Injection>),
    /// Answer, now that the batch before is finished.
    EndOfBatch {
        /// The channel on which the worker says that it has done so.
        done: Sender<()>,
    },
    /// Describe all receive queues, for another program that takes them over.
    Describe {
        /// The channel for the descriptions.
        done: Sender<Vec<DescribedQueue>>,
    },
    /// Receive nothing until [`Command::GoOn`], and obey commands meanwhile.
    Pause {
        /// Receives the places in the rings, when the batch before is finished and everything
        /// that it sends is sent.
        done: Sender<RingPositions>,
    },
    /// Receive again, at these places in the rings.
    GoOn {
        /// The places in the rings. A ring that is not among them goes on where it is.
        positions: Arc<RingPositions>,
    },
    /// End the thread, and hand over the queues to be closed.
    Stop,
}

/// A receive queue that another program is to take over.
pub(crate) struct DescribedQueue {
    /// The datapath's number of the port.
    pub(crate) port_no: PortNo,
    /// The description with a descriptor of the queue, or why there is none.
    pub(crate) queue: io::Result<(HandedQueue, OwnedFd)>,
}

/// A packet that no port has received.
pub(crate) enum HandedIn {
    /// Somebody has made it by hand.
    PacketOut(PacketOut),
    /// It has waited for a controller.
    Resumed(Resumed),
}

/// A packet that no port has received, on its way.
pub(crate) struct Injection {
    /// The bridge that sends it, and the port that it seems to come from.
    pub(crate) ingress: Ingress,
    /// What to send, and how.
    pub(crate) packet: HandedIn,
    /// Who wants to know what became of it.
    pub(crate) done: Sender<Injected>,
}

/// What became of a packet-out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Injected {
    /// The ports that sent the packet.
    pub(crate) sent_to: Vec<PortNo>,
    /// Why no port sent the packet; `None` if one did.
    pub(crate) dropped: Option<DropReason>,
}

/// The queues that a worker had of a port, to be closed by somebody with more time.
pub(crate) struct Detached {
    _rx: Vec<RxPort>,
    _tx: Option<Box<dyn TxQueue>>,
}

/// What a worker tells the monitor.
#[derive(Debug)]
pub(crate) enum WorkerEvent {
    /// A queue of the port fails to receive.
    RxFailed {
        /// The datapath's number of the port.
        port_no: PortNo,
        /// The error of the queue.
        error: PortError,
    },
}

/// The state of the thread.
pub(crate) struct Worker {
    pub(crate) datapath: Datapath,
    pub(crate) commands: Receiver<Command>,
    pub(crate) wake: Arc<EventFd>,
    pub(crate) events: Sender<WorkerEvent>,
    /// The switch's monotonic clock begins here.
    pub(crate) epoch: Instant,
    pub(crate) rx: Receivers,
    pub(crate) debts: Debts,
    pub(crate) egress: Egress,
    pub(crate) sender: Transmitter,
    pub(crate) poll: Poll,
    pub(crate) stats: Arc<WorkerStats>,
    /// By which the worker gives packets to controllers.
    pub(crate) punts: PuntPort,
    /// What controllers are expected to send back.
    pub(crate) answers: Answers,
    /// The worker receives nothing, and waits for commands.
    pub(crate) is_paused: bool,
}

/// What has become of the turn of a queue.
enum Turn {
    Failed(PortError),
    Nothing,
    Frames { at: Instant, frames: usize, copies: usize, segments: usize, asks_for_many: bool },
}

impl Worker {
    /// Works until told to stop. Returns the queues, which take long to close.
    pub(crate) fn run(mut self) -> Vec<Box<dyn Send>> {
        let (mut last_frame, mut patience) = (Instant::now(), Patience::default());
        // Whether the last round had nothing.
        let mut pauses = false;
        loop {
            while let Ok(command) = self.commands.try_recv() {
                if !self.obey(command) {
                    return self.into_queues();
                }
            }
            if self.is_paused {
                // The channel is closed only when the switch ends.
                let is_obeyed = self.commands.recv().is_ok_and(|command| self.obey(command));
                if !is_obeyed {
                    return self.into_queues();
                }
                continue;
            }
            self.look_for_answer();
            let start = Instant::now();
            if self.round(start) {
                if std::mem::take(&mut pauses) {
                    patience.ended(start - last_frame);
                }
                last_frame = Instant::now();
                self.stats.busy_ns.add((last_frame - start).as_nanos() as u64);
            } else if self.datapath.tidy() {
                // One piece, and then a look at the queues.
            } else {
                pauses = true;
                if self.keeps_looking(&patience, last_frame) {
                    std::hint::spin_loop();
                } else {
                    self.end_listening();
                    self.stats.sleeps.add(1);
                    self.rx.sleep(&self.wake);
                }
            }
            self.rx.read_stats(start);
            self.rx.retry(start);
        }
    }

    fn into_queues(self) -> Vec<Box<dyn Send>> {
        self.rx.into_queues().chain(self.sender.into_queues()).collect()
    }

    /// One batch of each queue that is in use or has become readable; those behind a command have their
    /// turn in the next round. Floods of many queues would keep whoever sent the command waiting for
    /// seconds. True if anything came.
    fn round(&mut self, start: Instant) -> bool {
        let (mut served, debtors) = (0, self.debts.len());
        for index in (0..self.rx.to_ask()).rev() {
            let place = self.rx.place_to_ask(index);
            served += usize::from(self.serve(place, start));
            if !self.commands.is_empty() {
                break;
            }
        }
        for index in 0..self.rx.ask(start) {
            let place = self.rx.found(index);
            served += usize::from(self.serve(place, start));
            if !self.commands.is_empty() {
                break;
            }
        }
        if debtors > 0 {
            self.debts.pay(debtors, start.elapsed(), served);
        }
        served > 0 || debtors > 0
    }

    fn serve(&mut self, place: usize, start: Instant) -> bool {
        if self.debts.owes(place) {
            return false;
        }
        let served = self.forward(place);
        self.rx.served(place, served, start);
        matches!(served, Served::Frames(_))
    }

    /// Whether a worker without frames looks for some again instead of sleeping.
    fn keeps_looking(&mut self, patience: &Patience, last_frame: Instant) -> bool {
        match self.poll {
            Poll::Busy => true,
            Poll::Adaptive => {
                let now = Instant::now();
                patience.lasts(now - last_frame) || self.waits_for_answer(now)
            }
            Poll::Block => false,
        }
    }

    /// Whether the worker waits awake for the answer of a controller.
    fn waits_for_answer(&mut self, now: Instant) -> bool {
        let is_near = self.answers.are_near(now);
        if is_near {
            // The controller may need this processor for the answer.
            std::thread::yield_now();
        }
        is_near
    }

    /// Sends what a controller has answered, as long as an answer is near.
    fn look_for_answer(&mut self) {
        if !self.punts.has_controller() {
            return;
        }
        // A worker that blocks does not look.
        let is_near = self.poll != Poll::Block && self.answers.are_near(Instant::now());
        self.punts.listen(is_near);
        let Some(listening) = self.punts.take_listening() else { return };
        let still_listens = listening.look(&mut |ingress, packet| {
            self.inject(ingress, &HandedIn::PacketOut(packet));
            self.answers.come(Instant::now());
        });
        if still_listens {
            self.punts.go_on_listening(listening);
        }
    }

    /// Leaves controllers to the threads of their connections.
    fn end_listening(&mut self) {
        self.punts.listen(false);
    }

    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Attach { port_no, rx, tx, counters } => {
                let now = Instant::now();
                for queue in rx {
                    self.rx.add(port_no, queue, Arc::clone(&counters), now);
                }
                self.sender.attach(port_no, tx, counters);
                self.egress.grow(port_no.0 as usize + 1);
                self.rx.set_ports(self.sender.len());
            }
            Command::AttachEndpoint { number, rx, counters } => {
                let now = Instant::now();
                for queue in rx {
                    self.rx.add(number, queue, Arc::clone(&counters), now);
                }
            }
            Command::Detach { port_no, done } => {
                let rx = self.rx.remove(port_no);
                let tx = self.sender.detach(port_no);
                self.rx.set_ports(self.sender.len());
                // The other side waits for it.
                let _ = done.send(Detached { _rx: rx, _tx: tx });
            }
            Command::ReplaceRings { port_no, rings, done } => {
                self.rx.replace(port_no, rings, &done)
            }
            Command::HandIn(injection) => {
                let done = self.inject(injection.ingress, &injection.packet);
                self.answers.come(Instant::now());
                // The other side waits for it.
                let _ = injection.done.send(done);
            }
            Command::EndOfBatch { done } => {
                // The other side waits for it.
                let _ = done.send(());
            }
            Command::Describe { done } => {
                // The other side waits for it.
                let _ = done.send(self.rx.describe());
            }
            Command::Pause { done } => {
                self.is_paused = true;
                self.end_listening();
                // The other side waits for it.
                let _ = done.send(self.rx.pause());
            }
            Command::GoOn { positions } => {
                self.is_paused = false;
                self.rx.go_on(&positions);
            }
            Command::Stop => return false,
        }
        true
    }

    /// One batch of one queue, all the way through.
    fn forward(&mut self, place: usize) -> Served {
        let Some(rx) = self.rx.port(place) else { return Served::Nothing };
        // The batch ends with this block. Dropped by name, it would be copied first, which is four kilobytes.
        let turn = 'turn: {
            let mut batch = rx.batch();
            if let Err(error) = rx.queue.recv(&mut batch) {
                break 'turn Turn::Failed(error);
            }
            if batch.is_empty() {
                break 'turn Turn::Nothing;
            }
            // Read after receiving: the generation that `process` loads is then newer than any change
            // that had returned before these frames arrived.
            let at = Instant::now();
            let now = at.duration_since(self.epoch);
            self.stats.count(batch.len());
            let (datapath, egress) = (&mut self.datapath, &mut self.egress);
            let (port_no, counters) = match batch.tunneled() {
                None => (rx.port_no, &*rx.counters),
                Some(tunneled) => {
                    let port_no = PortNo(tunneled.port);
                    match self.sender.counters(port_no) {
                        Some(counters) => (port_no, &**rx.tunnel_counters.insert(counters)),
                        // The port has just gone, and with it whoever could be told of the frames.
                        None => return Served::Frames(at),
                    }
                }
            };
            let done = datapath.process(now, port_no, &mut batch, egress, counters);
            let failed = self.sender.flush(egress, &mut batch, counters);
            // Whoever sees that the frames have been sent sees their segments, too.
            let segments = self.sender.segments();
            self.stats.segments.add(segments as u64);
            counters.rx_sent.add(done.queued - failed);
            if done.punted > 0 {
                // Behind the frames that do not go to controllers.
                self.punts.announce(done.punted, at);
                self.answers.expect(done.punted, Instant::now());
            }
            let copies: usize =
                egress.touched().iter().map(|&port_no| egress.queue(port_no).len()).sum();
            egress.clear(&mut batch);
            let (frames, asks_for_many) = (batch.len(), batch.asks_for_many_segments());
            Turn::Frames { at, frames, copies, segments, asks_for_many }
        };
        match turn {
            Turn::Failed(error) => {
                if !rx.is_failing {
                    // A full channel means that the other side has enough to do; it looks for itself.
                    let failed = WorkerEvent::RxFailed { port_no: rx.port_no, error };
                    let _ = self.events.try_send(failed);
                }
                Served::Failed
            }
            Turn::Nothing => {
                // There may have been frames that cannot be read.
                rx.queue.release();
                Served::Nothing
            }
            Turn::Frames { at, frames, copies, segments, asks_for_many } => {
                rx.queue.release();
                self.datapath.offer_flows(|| rx.has_more());
                // A segment costs what a copy does.
                rx.had_turn(frames, copies + segments);
                if segments > 0 {
                    self.debts.add(place, at.elapsed(), asks_for_many);
                }
                if self.sender.has_answers() {
                    self.process_answers();
                }
                Served::Frames(at)
            }
        }
    }

    /// The frames that tunnel ports have made for senders of frames that were too long: each as if it had come
    /// through the tunnel.
    #[cold]
    fn process_answers(&mut self) {
        for Answer { port_no, tunnel, frame } in self.sender.take_answers() {
            let Some(counters) = self.sender.counters(port_no) else { continue };
            let (keys, options) = ([tunnel], OptionMap::default());
            let mut batch = Batch::new();
            batch.push(Frame::owned(&frame, Offload::NONE));
            batch.come_through(Tunneled { port: port_no.0, keys: &keys, options: &options });
            let (now, egress) = (self.epoch.elapsed(), &mut self.egress);
            let done = self.datapath.process(now, port_no, &mut batch, egress, &counters);
            let failed = self.sender.flush(egress, &mut batch, &counters);
            counters.rx_sent.add(done.queued - failed);
            if done.punted > 0 {
                self.punts.announce(done.punted, Instant::now());
            }
            egress.clear(&mut batch);
        }
    }

    /// A packet that no port has received, all the way through. Nobody received it, so it counts at the ports
    /// that send it and nowhere else.
    fn inject(&mut self, ingress: Ingress, packet: &HandedIn) -> Injected {
        let counters = PortCounters::default();
        let mut batch = Batch::new();
        let bytes = match packet {
            HandedIn::PacketOut(packet) => &packet.packet,
            HandedIn::Resumed(packet) => &packet.packet,
        };
        batch.push(Frame::owned(bytes, Offload::NONE));
        let now = self.epoch.elapsed();
        let (datapath, egress) = (&mut self.datapath, &mut self.egress);
        let done = match packet {
            HandedIn::PacketOut(packet) => {
                datapath.inject(now, ingress, packet, &mut batch, egress, &counters)
            }
            HandedIn::Resumed(packet) => {
                datapath.resume(now, ingress, packet, &mut batch, egress, &counters)
            }
        };
        if done.punted > 0 {
            self.punts.announce(done.punted, Instant::now());
        }
        let before: Vec<_> = egress
            .touched()
            .iter()
            .map(|&port_no| (port_no, self.sender.sent_by(port_no)))
            .collect();
        self.sender.flush(egress, &mut batch, &counters);
        egress.clear(&mut batch);
        let has_sent = |&(port_no, before): &(PortNo, u64)| self.sender.sent_by(port_no) > before;
        Injected {
            sent_to: before
                .iter()
                .filter(|port| has_sent(port))
                .map(|(port_no, _)| *port_no)
                .collect(),
            dropped: DropReason::ALL.iter().copied().find(|&r| counters.rx_dropped(r).get() > 0),
        }
    }
}
