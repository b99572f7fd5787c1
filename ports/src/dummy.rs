//! A port in memory, for tests and for measuring everything but I/O.
//!
//! The switch sees an ordinary [`Port`]; the test holds the [`Dummy`] at its other end, injects
//! frames and collects what was sent. In the steady state neither direction allocates: buffers are
//! used again. One lock guards both directions, which a test can afford.

use crate::egress::{Cutter, Takes, Way, check_size, way};
use crate::{Port, PortError, PortKind, PortStatus, Queues, RxMemory, RxQueue, RxStats, Shield};
use crate::{TxFailure, TxQueue};
use packet::{Batch, Frame, FrameId, HEADROOM, Offload};
use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a port in memory behaves.
#[derive(Clone, Copy, Debug)]
pub struct DummyOptions {
    /// The MAC address of the port.
    pub mac: [u8; 6],
    /// The MTU of the port, in bytes without link header.
    pub mtu: u32,
    /// Frames are accepted with checksum and segmentation work left to do.
    pub takes_offload: bool,
    /// Whether sent frames are kept for [`Dummy::sent`], or only counted.
    pub collects: bool,
    /// Frames that may wait at the other end: further ones find the queue full.
    pub capacity: usize,
    /// Sending queues: one for each worker.
    pub workers: usize,
}

impl Default for DummyOptions {
    fn default() -> Self {
        Self {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            takes_offload: true,
            collects: true,
            capacity: 65_536,
            workers: 1,
        }
    }
}

/// A frame that came out of the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentFrame {
    /// Its bytes, from the destination MAC address on.
    pub bytes: Vec<u8>,
    /// Checksum and segmentation work that is left to do.
    pub offload: Offload,
}

/// The far end of a port in memory. Clones are the same end.
#[derive(Clone, Debug)]
pub struct Dummy {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    status: Arc<PortStatus>,
    options: DummyOptions,
    wires: Mutex<Wires>,
}

#[derive(Debug)]
struct Wires {
    /// Frames on their way into the switch. Each buffer has [`HEADROOM`] bytes before the frame.
    injected: VecDeque<(Vec<u8>, Offload)>,
    /// Frames that came out of the switch and were not asked for yet.
    sent: VecDeque<SentFrame>,
    sent_count: u64,
    /// Buffers whose frames are done, to be used again.
    spare: Vec<Vec<u8>>,
    /// Holds one byte while `injected` is not empty, so that the switch can sleep.
    wake: PipeWriter,
    woken: PipeReader,
}

impl Shared {
    fn wires(&self) -> MutexGuard<'_, Wires> {
        // A test that panicked half-way leaves whole frames in the queues all the same.
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port in memory and its far end.
///
/// # Errors
/// No file descriptor is left.
pub fn open(name: &str, options: DummyOptions) -> Result<(Port, Dummy), PortError> {
    let pipe = || {
        let (woken, wake) = std::io::pipe()?;
        Ok((woken.try_clone()?, woken, wake))
    };
    let (poll, woken, wake) =
        pipe().map_err(|source| PortError::os("open", name, "CAP_NET_RAW", source))?;
    let status = PortStatus::new(true, options.mtu, true);
    let wires = Wires {
        injected: VecDeque::new(),
        sent: VecDeque::new(),
        sent_count: 0,
        spare: Vec::new(),
        wake,
        woken,
    };
    let shared =
        Arc::new(Shared { status: Arc::clone(&status), options, wires: Mutex::new(wires) });
    let rx = DummyRx { shared: Arc::clone(&shared), poll, lent: Vec::new() };
    let tx = |_| -> Box<dyn TxQueue> {
        Box::new(DummyTx { shared: Arc::clone(&shared), cutter: Cutter::default() })
    };
    let port = Port {
        name: name.to_owned(),
        kind: PortKind::Dummy,
        mac: options.mac,
        ifindex: None,
        netns: None,
        status,
        shield: Shield::NotNeeded,
        kernel_hook: Err("it is memory of the switch".to_owned()),
        rx_memory: RxMemory::default(),
        rx_opener: None,
        warnings: Vec::new(),
        queues: Queues { rx: vec![Box::new(rx)], tx: (0..options.workers).map(tx).collect() },
        guard: None,
        membership: None,
    };
    Ok((port, Dummy { shared }))
}

impl Dummy {
    /// Puts a frame on the wire towards the switch.
    pub fn inject(&self, bytes: &[u8]) {
        self.inject_with(bytes, Offload::NONE);
    }

    /// Puts a frame on the wire towards the switch whose sender left checksum or segmentation work undone.
    pub fn inject_with(&self, bytes: &[u8], offload: Offload) {
        self.shared.wires().inject(bytes, offload);
    }

    /// Puts frames on the wire at once: whoever receives from it next gets all of them, as far
    /// as its batch has room.
    pub fn inject_all(&self, frames: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        let mut wires = self.shared.wires();
        frames.into_iter().for_each(|frame| wires.inject(frame.as_ref(), Offload::NONE));
    }

    /// The next frame that came out of the switch.
    pub fn next_sent(&self) -> Option<SentFrame> {
        self.shared.wires().sent.pop_front()
    }

    /// All frames that came out of the switch since the last call.
    pub fn sent(&self) -> Vec<SentFrame> {
        self.shared.wires().sent.drain(..).collect()
    }

    /// Number of frames that came out of the switch since it was opened.
    pub fn sent_count(&self) -> u64 {
        self.shared.wires().sent_count
    }

    /// Frames injected that the switch has not received yet.
    pub fn pending(&self) -> usize {
        self.shared.wires().injected.len()
    }

    /// Plugs the cable in or out.
    pub fn set_link_up(&self, up: bool) {
        self.shared.status.set_link_up(up);
    }
}

struct DummyRx {
    shared: Arc<Shared>,
    poll: PipeReader,
    lent: Vec<(Vec<u8>, Offload)>,
}

impl RxQueue for DummyRx {
    fn recv<'a>(&'a mut self, batch: &mut Batch<'a>) -> Result<(), PortError> {
        {
            let wires = &mut *self.shared.wires();
            let count = batch.room().min(wires.injected.len());
            if count == 0 {
                return Ok(());
            }
            self.lent.extend(wires.injected.drain(..count));
            if wires.injected.is_empty() {
                wires.woken.read_exact(&mut [0]).expect("one byte waits while frames do");
            }
        }
        for (buf, offload) in &mut self.lent {
            let end = buf.len();
            batch.push(Frame::lent(buf, HEADROOM, end, *offload));
        }
        Ok(())
    }

    fn release(&mut self) {
        if !self.lent.is_empty() {
            self.shared.wires().spare.extend(self.lent.drain(..).map(|(buf, _)| buf));
        }
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.poll.as_fd())
    }

    fn stats(&mut self) -> RxStats {
        RxStats::default()
    }
}

struct DummyTx {
    shared: Arc<Shared>,
    cutter: Cutter,
}

impl TxQueue for DummyTx {
    fn send(
        &mut self,
        batch: &mut Batch<'_>,
        ids: &[FrameId],
        failures: &mut Vec<(FrameId, TxFailure)>,
    ) -> usize {
        let shared = &*self.shared;
        let wires = &mut *shared.wires();
        for &id in ids {
            if let Err(failure) = wires.send(batch.frame_mut(id), shared, &mut self.cutter) {
                failures.push((id, failure));
            }
        }
        self.cutter.take_made()
    }
}

impl Wires {
    fn inject(&mut self, bytes: &[u8], offload: Offload) {
        let mut buf = self.spare.pop().unwrap_or_default();
        buf.clear();
        buf.resize(HEADROOM, 0);
        buf.extend_from_slice(bytes);
        self.injected.push_back((buf, offload));
        if self.injected.len() == 1 {
            self.wake.write_all(&[1]).expect("a pipe with one byte is never full or closed");
        }
    }

    fn send(
        &mut self,
        frame: &mut Frame<'_>,
        shared: &Shared,
        cutter: &mut Cutter,
    ) -> Result<(), TxFailure> {
        if !shared.status.is_link_up() {
            return Err(TxFailure::LinkDown);
        }
        let takes = if shared.options.takes_offload { Takes::ALL } else { Takes::NOTHING };
        let mtu = shared.status.mtu();
        let way = way(frame, takes, mtu)?;
        if way != Way::Segment && !frame.offload.is_gso() {
            check_size(frame, frame.size(), mtu)?;
        }
        match way {
            Way::Direct(offload) => self.accept(frame.bytes(), offload, &shared.options),
            Way::Complete => {
                packet::complete(frame).map_err(|_| TxFailure::NoOffload)?;
                self.accept(frame.bytes(), Offload::NONE, &shared.options)
            }
            Way::Segment => cutter.cut(frame, |segments| {
                let mut segments = segments.iter();
                segments.try_for_each(|s| self.accept(s.bytes(), Offload::NONE, &shared.options))
            }),
        }
    }

    fn accept(
        &mut self,
        frame: &[u8],
        offload: Offload,
        options: &DummyOptions,
    ) -> Result<(), TxFailure> {
        if self.sent.len() >= options.capacity {
            return Err(TxFailure::QueueFull);
        }
        self.sent_count += 1;
        if options.collects {
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(frame);
            self.sent.push_back(SentFrame { bytes, offload });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_in_and_out_in_order() {
        let (mut port, far) = open("p1", DummyOptions::default()).unwrap();
        let mut queues = port.take_queues();
        far.inject(&[1; 60]);
        far.inject(&[2; 60]);
        let mut failures = Vec::new();
        {
            let mut batch = Batch::new();
            queues.rx[0].recv(&mut batch).unwrap();
            assert_eq!(batch.len(), 2);
            let ids = [FrameId::received(1), FrameId::received(0)];
            queues.tx[0].send(&mut batch, &ids, &mut failures);
        }
        queues.rx[0].release();
        assert_eq!(failures, []);
        let sent: Vec<u8> = far.sent().iter().map(|f| f.bytes[0]).collect();
        assert_eq!(sent, [2, 1]);
        let mut batch = Batch::new();
        queues.rx[0].recv(&mut batch).unwrap();
        assert!(batch.is_empty());
    }

    #[test]
    fn a_full_queue_and_a_link_that_is_down_are_failures() {
        let options = DummyOptions { capacity: 1, ..DummyOptions::default() };
        let (mut port, far) = open("p1", options).unwrap();
        let mut queues = port.take_queues();
        let mut batch = Batch::new();
        let mut failures = Vec::new();
        let first = batch.add_copy(Frame::owned(&[1; 60], Offload::NONE)).unwrap();
        let second = batch.add_copy(Frame::owned(&[2; 60], Offload::NONE)).unwrap();
        queues.tx[0].send(&mut batch, &[first, second], &mut failures);
        assert_eq!(failures, [(second, TxFailure::QueueFull)]);
        far.set_link_up(false);
        failures.clear();
        queues.tx[0].send(&mut batch, &[first], &mut failures);
        assert_eq!(failures, [(first, TxFailure::LinkDown)]);
        assert_eq!(far.sent_count(), 1);
    }

    /// A TCP segment of `payload` bytes, to be cut after 1,000 of them.
    fn large_frame(payload: u16) -> (Vec<u8>, Offload) {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        bytes.extend((payload + 40).to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        bytes.extend([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
        bytes.resize(bytes.len() + usize::from(payload), 0);
        let mut offload = Offload { gso_type: 1, gso_size: 1000, hdr_len: 54, ..Offload::NONE };
        offload.set_needs_checksum(34, 16);
        (bytes, offload)
    }

    #[test]
    fn a_port_without_offload_gets_segments() {
        let (bytes, offload) = large_frame(2500);
        let check = |takes_offload, expected: &[usize]| {
            let options = DummyOptions { takes_offload, ..DummyOptions::default() };
            let (mut port, far) = open("p1", options).unwrap();
            let mut batch = Batch::new();
            let id = batch.add_copy(Frame::owned(&bytes, offload)).unwrap();
            let mut failures = Vec::new();
            port.take_queues().tx[0].send(&mut batch, &[id], &mut failures);
            assert_eq!(failures, []);
            let sent = far.sent();
            assert_eq!(sent.iter().map(|f| f.bytes.len()).collect::<Vec<_>>(), expected);
            assert!(sent.iter().all(|f| f.offload.is_gso() == takes_offload));
        };
        check(true, &[2554]);
        check(false, &[1054, 1054, 554]);
    }

    #[test]
    fn frames_longer_than_the_mtu_are_refused() {
        let (mut port, far) = open("p1", DummyOptions::default()).unwrap();
        let mut batch = Batch::new();
        let long = batch.add_copy(Frame::owned(&[0; 1515], Offload::NONE)).unwrap();
        let mut failures = Vec::new();
        port.take_queues().tx[0].send(&mut batch, &[long], &mut failures);
        assert_eq!(failures, [(long, TxFailure::TooLong { size: 1515, mtu: 1500 })]);
        assert_eq!(far.sent_count(), 0);
    }

    #[test]
    fn the_queue_can_be_polled() {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let (mut port, far) = open("p1", DummyOptions::default()).unwrap();
        let mut queues = port.take_queues();
        let is_readable = |rx: &dyn RxQueue| {
            let fd = rx.poll_fd().unwrap();
            poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
        };
        assert!(!is_readable(&*queues.rx[0]));
        far.inject(&[0; 60]);
        assert!(is_readable(&*queues.rx[0]));
        queues.rx[0].recv(&mut Batch::new()).unwrap();
        queues.rx[0].release();
        assert!(!is_readable(&*queues.rx[0]));
    }
}
