//! A worker's queues, asked round by round.

use super::*;
use ::ports::PortError;
use ::ports::dummy::{self, Dummy, DummyOptions};
use std::io::{PipeReader, Write};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// A queue that counts how often it is asked.
struct Counted {
    queue: Box<dyn RxQueue>,
    asked: Arc<AtomicU64>,
}

impl RxQueue for Counted {
    fn recv<'a>(&'a mut self, batch: &mut Batch<'a>) -> Result<(), PortError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.queue.recv(batch)
    }

    fn release(&mut self) {
        self.queue.release();
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.queue.poll_fd()
    }

    fn stats(&mut self) -> RxStats {
        self.queue.stats()
    }
}

/// A queue whose device is gone: always readable, and never a frame.
struct Gone(PipeReader);

impl RxQueue for Gone {
    fn recv<'a>(&'a mut self, _: &mut Batch<'a>) -> Result<(), PortError> {
        Ok(())
    }

    fn release(&mut self) {}

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn stats(&mut self) -> RxStats {
        RxStats::default()
    }
}

struct Bench {
    rx: Receivers,
    now: Instant,
    ends: Vec<Dummy>,
    asked: Vec<Arc<AtomicU64>>,
}

impl Bench {
    fn new(queues: usize) -> Self {
        let now = Instant::now();
        let mut rx = Receivers::new().unwrap();
        let (mut ends, mut asked) = (Vec::new(), Vec::new());
        for port_no in 0..queues {
            let (mut port, far) = dummy::open("p", DummyOptions::default()).unwrap();
            let queue = port.take_queues().rx.pop().unwrap();
            let count = Arc::<AtomicU64>::default();
            let counted = Counted { queue, asked: Arc::clone(&count) };
            rx.add(PortNo(port_no as u16), Box::new(counted), Arc::default(), now);
            ends.push(far);
            asked.push(count);
        }
        Self { rx, now, ends, asked }
    }

    /// What a worker does in a round. Returns how many frames came.
    fn round(&mut self) -> usize {
        let mut frames = 0;
        for index in (0..self.rx.to_ask()).rev() {
            frames += self.serve(self.rx.place_to_ask(index));
        }
        for index in 0..self.rx.ask(self.now) {
            frames += self.serve(self.rx.found(index));
        }
        frames
    }

    fn serve(&mut self, place: usize) -> usize {
        let port = self.rx.port(place).unwrap();
        let mut batch = Batch::new();
        port.queue.recv(&mut batch).unwrap();
        let frames = batch.len();
        drop(batch);
        port.queue.release();
        let served = if frames > 0 { Served::Frames(self.now) } else { Served::Nothing };
        self.rx.served(place, served, self.now);
        frames
    }

    fn asked(&self, queue: usize) -> u64 {
        self.asked[queue].load(Ordering::Relaxed)
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
    }
}

#[test]
fn queues_without_frames_are_not_asked() {
    let mut bench = Bench::new(100);
    for _ in 0..1000 {
        bench.ends[3].inject(&[0; 60]);
        bench.ends[7].inject(&[0; 60]);
        bench.passes(ASK_INTERVAL);
        assert_eq!(bench.round(), 2);
    }
    assert_eq!((bench.asked(3), bench.asked(7)), (1000, 1000));
    let others = (0..100).filter(|n| ![3, 7].contains(n));
    assert_eq!(others.map(|n| bench.asked(n)).sum::<u64>(), 0);
    assert_eq!(bench.rx.busy.len(), 2);
}

#[test]
fn a_frame_that_comes_beside_busy_queues_is_found_within_the_interval() {
    let mut bench = Bench::new(100);
    bench.ends[3].inject(&[0; 60]);
    assert_eq!(bench.round(), 1);
    // A call that finds nothing is not repeated before its time.
    assert_eq!(bench.round(), 0);
    bench.ends[50].inject(&[0; 60]);
    assert_eq!(bench.round(), 0);
    bench.passes(ASK_INTERVAL);
    assert_eq!(bench.round(), 1);
}

#[test]
fn a_queue_that_has_become_quiet_waits_again() {
    let mut bench = Bench::new(2);
    bench.ends[1].inject(&[0; 60]);
    assert_eq!(bench.round(), 1);
    assert_eq!((bench.rx.busy.len(), bench.rx.waiting), (1, 1));
    bench.passes(COOLING_DOWN);
    assert_eq!(bench.round(), 0);
    assert_eq!((bench.rx.busy.len(), bench.rx.waiting), (0, 2));
    bench.ends[1].inject(&[0; 60]);
    assert_eq!(bench.round(), 1);
}

#[test]
fn more_queues_than_can_be_busy_are_served_all_the_same() {
    let mut bench = Bench::new(200);
    for _ in 0..10 {
        bench.ends.iter().for_each(|end| end.inject(&[0; 60]));
        bench.passes(ASK_INTERVAL);
        // A call names some of them only, and each of them within a few rounds.
        let rounds = 200_usize.div_ceil(MAX_EVENTS) + 1;
        assert_eq!((0..rounds).map(|_| bench.round()).sum::<usize>(), 200);
    }
    assert_eq!(bench.rx.busy.len(), MAX_BUSY);
}

#[test]
fn a_queue_that_floods_has_short_turns() {
    let mut bench = Bench::new(1);
    bench.rx.set_ports(4);
    let port = bench.rx.port(0).unwrap();
    assert_eq!(port.batch().room(), MAX_BATCH);
    port.had_turn(64, 64 * 100);
    assert_eq!(port.batch().room(), 2);
    port.had_turn(2, 200);
    assert_eq!(port.batch().room(), 4);
    port.had_turn(4, 400);
    assert_eq!(port.batch().room(), 2);
    (0..5).for_each(|n| port.had_turn(2 << n, 2 << n));
    assert_eq!(port.batch().room(), MAX_BATCH);
    // Whoever was quiet begins with what all ports can take.
    bench.rx.set_ports(200);
    bench.ends[0].inject(&[0; 60]);
    bench.round();
    bench.passes(COOLING_DOWN);
    bench.round();
    assert_eq!(bench.rx.port(0).unwrap().batch().room(), 1);
}

#[test]
fn a_queue_is_emptied_before_another_one_takes_its_place() {
    let mut bench = Bench::new(2);
    let (mut port, far) = dummy::open("p", DummyOptions::default()).unwrap();
    let (done, old) = crossbeam::channel::unbounded();
    (0..100).for_each(|_| bench.ends[1].inject(&[0; 60]));
    far.inject(&[1; 60]);
    bench.rx.replace(PortNo(1), port.take_queues().rx, &done);
    assert_eq!(bench.round(), 64);
    assert_eq!(bench.round(), 36);
    assert!(old.is_empty(), "it had frames until now");
    assert_eq!(bench.round(), 0);
    assert_eq!(old.len(), 1);
    assert_eq!(bench.round(), 1);
    // One without frames goes at once, whatever its state.
    let (mut port, far) = dummy::open("p", DummyOptions::default()).unwrap();
    bench.rx.replace(PortNo(0), port.take_queues().rx, &done);
    bench.round();
    assert_eq!(old.len(), 2);
    far.inject(&[1; 60]);
    assert_eq!(bench.round(), 1);
}

#[test]
fn a_device_that_is_gone_is_put_aside_and_tried_again() {
    let mut bench = Bench::new(0);
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(&[0]).unwrap();
    bench.rx.add(PortNo(0), Box::new(Gone(reader)), Arc::default(), bench.now);
    for _ in 0..MAX_FALSE_ALARMS {
        assert_eq!(bench.rx.ask(bench.now), 1);
        bench.serve(0);
    }
    assert_eq!(bench.rx.ask(bench.now), 0, "nobody asks any more");
    bench.passes(2 * RETRY_INTERVAL);
    bench.rx.retry(bench.now);
    assert_eq!(bench.rx.ask(bench.now), 1);
}

#[test]
fn queues_of_a_port_that_goes_are_handed_over_whatever_they_do() {
    let mut bench = Bench::new(3);
    bench.ends[0].inject(&[0; 60]);
    bench.round();
    for port_no in 0..3 {
        assert_eq!(bench.rx.remove(PortNo(port_no)).len(), 1);
    }
    bench.ends[1].inject(&[0; 60]);
    bench.passes(ASK_INTERVAL);
    assert_eq!((bench.rx.to_ask(), bench.rx.ask(bench.now)), (0, 0));
}
