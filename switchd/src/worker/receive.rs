//! The receive queues of a worker, and which of them to ask for frames.
//!
//! To ask a queue for frames costs a system call on a TAP device, and a cache miss on a network device. A worker with
//! a thousand queues, two of them in use, must not ask the other 998 in each round. So each queue is in one of four
//! states:
//!
//! ```text
//!                 readable, and there is room
//!    Waiting ────────────────────────────────► Busy         Polled: has no descriptor to wait on,
//!      ▲  ▲ │    no frame for COOLING_DOWN      │           asked in every round
//!      │  │ └◄──────────────────────────────────┘
//!      │  │ fails, or is readable without frames again and again
//!      │  └──────────────► Aside
//!      └───────────────────┘
//!        after RETRY_INTERVAL
//! ```
//!
//! - *Busy* queues, at most [`MAX_BUSY`], are asked in every round. For them this is what a worker with
//!   two ports does: no system call but theirs, and nothing on the sender's side, because nobody waits on
//!   their descriptors while the worker is awake.
//! - *Waiting* queues are members of an epoll set (epoll(7), level-triggered). One call tells which of
//!   them have frames, however many there are. It is made in every round while it finds something, and
//!   every [`ASK_INTERVAL`] otherwise. When all places among the busy are taken, a queue is served from here.
//! - Queues that are put *aside* are tried again five times a second: a device that is gone says that it is
//!   readable until somebody takes its port away.
//!
//! Measured with 1,000 idle ports in `benches/RESULTS.md`.

use super::DescribedQueue;
use crossbeam::channel::Sender;
use flow::types::PortNo;
use flow::verdict::DropReason;
use flowtable::datapath::PortCounters;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use packet::{Batch, MAX_BATCH};
use ports::handover::RingPositions;
use ports::{RxQueue, RxStats};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Queues that are asked in every round. Asking this many TAP devices that have nothing takes about 4 µs.
const MAX_BUSY: usize = 16;
/// A busy queue without a frame for this long waits from then on. Changing its state and back takes two
/// system calls, about 1 µs together.
const COOLING_DOWN: Duration = Duration::from_millis(1);
/// Time between two looks at the waiting queues while none of them has frames and a busy one might have.
const ASK_INTERVAL: Duration = Duration::from_micros(10);
/// A queue that cannot be received from is tried again after this time.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// Times in a row that a queue may be readable and have nothing. Packet sockets need half of them until
/// they clear an error.
const MAX_FALSE_ALARMS: u8 = 128;
/// Queues that one call names; the others have their turn with the next.
const MAX_EVENTS: usize = 64;
/// Time between two questions about what the kernel dropped at the queues in use.
const STATS_INTERVAL: Duration = Duration::from_millis(100);
/// Rounds of such questions in which every queue is asked once, whether in use or not.
const STATS_ROUNDS: usize = 50;
/// Copies that a queue may have sent before others have their turn: a third of a millisecond's worth.
const COPIES_OF_A_TURN: usize = 256;
/// The longest time that a worker sleeps, in case a wake-up is lost.
const MAX_SLEEP: Duration = Duration::from_millis(200);

/// Who may ask a queue for frames, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Busy,
    Waiting,
    Aside,
    Polled,
}

/// A receive queue with what belongs to it.
pub(crate) struct RxPort {
    pub(super) port_no: PortNo,
    /// Those that were added later have higher ones.
    number: u64,
    pub(super) queue: Box<dyn RxQueue>,
    pub(super) counters: Arc<PortCounters>,
    /// What the kernel had counted the last time.
    stats: RxStats,
    state: State,
    last_frame: Instant,
    /// Frames that may be received in one turn.
    turn: usize,
    false_alarms: u8,
    /// It failed the last time that it was asked.
    pub(super) is_failing: bool,
    /// It is among those whose counters are to be read.
    is_in_use: bool,
    successor: Option<Successor>,
}

/// A queue that takes the place of another one when that is empty.
struct Successor {
    queue: Box<dyn RxQueue>,
    /// Who takes the old one.
    done: Sender<Box<dyn Send>>,
}

impl RxPort {
    /// An empty batch for the next turn of the queue.
    pub(super) fn batch<'a>(&self) -> Batch<'a> {
        Batch::limited(self.turn)
    }

    /// Adapts the next turn to what came of this one: `frames` frames that made `copies` copies. Floods to
    /// many ports would otherwise keep the queues of others waiting until they are full.
    pub(super) fn had_turn(&mut self, frames: usize, copies: usize) {
        if copies > COPIES_OF_A_TURN {
            self.turn = (frames * COPIES_OF_A_TURN / copies).max(1);
        } else if frames == self.turn {
            self.turn = (2 * self.turn).min(MAX_BATCH);
        }
    }
}

/// What a queue had when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// The queue had frames, and they were received at this moment.
    Frames(Instant),
    /// The queue had no frame.
    Nothing,
    /// The queue failed to receive.
    Failed,
}

/// All receive queues of a worker. A queue is named by its place, which does not change.
pub(crate) struct Receivers {
    places: Vec<Option<RxPort>>,
    /// Queues that were ever added.
    added: u64,
    /// The first turn of a queue without frames until then, in which each frame may go to every port.
    first_turn: usize,
    busy: Vec<usize>,
    polled: Vec<usize>,
    aside: Vec<usize>,
    waiting: usize,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    last_asked: Instant,
    last_retry: Instant,
    /// The last call found queues with frames.
    finds: bool,
    in_use: Vec<usize>,
    last_stats: Instant,
    /// The next place whose counters are read though it was not in use.
    stats_place: usize,
}

impl Receivers {
    /// No queues yet.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            places: Vec::new(),
            added: 0,
            first_turn: MAX_BATCH,
            busy: Vec::new(),
            polled: Vec::new(),
            aside: Vec::new(),
            waiting: 0,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: vec![EpollEvent::empty(); MAX_EVENTS],
            last_asked: now,
            last_retry: now,
            finds: false,
            in_use: Vec::new(),
            last_stats: now,
            stats_place: 0,
        })
    }

    /// Says to how many ports a frame can be sent.
    pub(super) fn set_ports(&mut self, ports: usize) {
        self.first_turn = (COPIES_OF_A_TURN / ports.max(1)).clamp(1, MAX_BATCH);
    }

    /// Takes over a queue of a port, which waits until it has frames.
    pub(super) fn add(
        &mut self,
        port_no: PortNo,
        queue: Box<dyn RxQueue>,
        counters: Arc<PortCounters>,
        now: Instant,
    ) {
        let state = if queue.poll_fd().is_some() { State::Aside } else { State::Polled };
        self.added += 1;
        let port = RxPort {
            port_no,
            number: self.added,
            queue,
            counters,
            stats: RxStats::default(),
            state,
            last_frame: now,
            turn: self.first_turn,
            false_alarms: 0,
            is_failing: false,
            is_in_use: false,
            successor: None,
        };
        let place = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(port);
        match state {
            State::Polled => self.polled.push(place),
            _ => self.begin_waiting(place),
        }
    }

    /// Hands the queues of a port over, when what they counted has been read.
    pub(super) fn remove(&mut self, port_no: PortNo) -> Vec<RxPort> {
        let is_ports = |rx: &Option<RxPort>| rx.as_ref().is_some_and(|rx| rx.port_no == port_no);
        let places: Vec<usize> =
            (0..self.places.len()).filter(|place| is_ports(&self.places[*place])).collect();
        for &place in &places {
            self.read_stats_of(place);
            self.stop_waiting(place, State::Aside);
        }
        for list in [&mut self.busy, &mut self.polled, &mut self.aside, &mut self.in_use] {
            list.retain(|place| !places.contains(place));
        }
        places.into_iter().filter_map(|place| self.places[place].take()).collect()
    }

    /// Prepares new queues of a port, which are still closed, to take the places of its queues, in the order in which
    /// these were added. From now on frames arrive at the new queues; the old ones are emptied first.
    pub(super) fn replace(
        &mut self,
        port_no: PortNo,
        queues: Vec<Box<dyn RxQueue>>,
        done: &Sender<Box<dyn Send>>,
    ) {
        let is_ports = |rx: &Option<RxPort>| rx.as_ref().is_some_and(|rx| rx.port_no == port_no);
        let mut places: Vec<usize> =
            (0..self.places.len()).filter(|place| is_ports(&self.places[*place])).collect();
        places.sort_by_key(|place| self.places[*place].as_ref().map(|port| port.number));
        for (place, mut queue) in places.into_iter().zip(queues) {
            let Some(port) = &mut self.places[place] else { continue };
            let exchanged = port.queue.set_open(false).and_then(|()| queue.set_open(true));
            if let Err(error) = exchanged {
                tracing::warn!("port {}: its receive ring stays as it is: {error}", port_no.0);
                let _ = port.queue.set_open(true);
                // The other side closes it.
                let _ = done.send(Box::new(queue));
                continue;
            }
            port.successor = Some(Successor { queue, done: done.clone() });
            if matches!(port.state, State::Waiting | State::Aside) {
                // It is asked in the next round, and has nothing or is emptied.
                self.aside.retain(|aside| *aside != place);
                self.stop_waiting(place, State::Busy);
                self.busy.push(place);
            }
        }
    }

    /// Lets the successor of an empty queue take its place.
    fn succeed(&mut self, place: usize) {
        self.read_stats_of(place);
        let Some(port) = &mut self.places[place] else { return };
        if let Some(Successor { queue, done }) = port.successor.take() {
            let old = std::mem::replace(&mut port.queue, queue);
            port.stats = RxStats::default();
            // The other side waits for it.
            let _ = done.send(Box::new(old));
        }
    }

    /// Describes all queues, those of a port in the order in which they were added.
    pub(super) fn describe(&self) -> Vec<DescribedQueue> {
        let mut ports: Vec<&RxPort> = self.places.iter().flatten().collect();
        ports.sort_by_key(|port| port.number);
        let describe =
            |port: &RxPort| DescribedQueue { port_no: port.port_no, queue: port.queue.hand_over() };
        ports.into_iter().map(describe).collect()
    }

    /// Counts what the kernel has dropped, and tells the places in the rings at which another program goes on.
    pub(super) fn pause(&mut self) -> RingPositions {
        let mut positions = RingPositions::new();
        for place in 0..self.places.len() {
            self.read_stats_of(place);
            if let Some(port) = &self.places[place] {
                port.queue.tell_position(&mut positions);
            }
        }
        self.in_use.clear();
        positions
    }

    /// Goes on at these places in the rings.
    pub(super) fn go_on(&mut self, positions: &RingPositions) {
        self.places.iter_mut().flatten().for_each(|port| port.queue.go_on_at(positions));
    }

    /// All queues, to be closed by somebody with more time.
    pub(super) fn into_queues(self) -> impl Iterator<Item = Box<dyn Send>> {
        let ports = self.places.into_iter().flatten();
        ports.map(|port| Box::new(port.queue) as Box<dyn Send>)
    }

    /// The queue at a place that [`Receivers::to_ask`] or [`Receivers::ask`] named.
    pub(super) fn port(&mut self, place: usize) -> Option<&mut RxPort> {
        self.places.get_mut(place)?.as_mut()
    }

    /// Number of queues that are asked in every round.
    pub(super) fn to_ask(&self) -> usize {
        self.busy.len() + self.polled.len()
    }

    /// The place of one of these queues. Later ones move when one has been demoted: ask from the last to
    /// the first.
    pub(super) fn place_to_ask(&self, index: usize) -> usize {
        match index.checked_sub(self.polled.len()) {
            None => self.polled[index],
            Some(index) => self.busy[index],
        }
    }

    /// Looks which of the waiting queues have frames, if it is time for that, and says how many.
    pub(super) fn ask(&mut self, now: Instant) -> usize {
        let is_due = self.finds || self.busy.is_empty() || now - self.last_asked >= ASK_INTERVAL;
        if self.waiting == 0 || !is_due {
            return 0;
        }
        self.last_asked = now;
        // An interrupted call is one that found nothing.
        let found = self.epoll.wait(&mut self.events, EpollTimeout::ZERO).unwrap_or(0);
        self.finds = found > 0;
        found
    }

    /// The place of a queue that the last [`Receivers::ask`] found.
    pub(super) fn found(&self, index: usize) -> usize {
        self.events[index].data() as usize
    }

    /// What came of asking the queue at a place decides who asks next.
    pub(super) fn served(&mut self, place: usize, served: Served, now: Instant) {
        let Some(port) = self.places.get_mut(place).and_then(Option::as_mut) else { return };
        port.is_failing = served == Served::Failed;
        if port.successor.is_some() && !matches!(served, Served::Frames(_)) {
            return self.succeed(place);
        }
        if (served != Served::Nothing || port.state == State::Waiting) && !port.is_in_use {
            port.is_in_use = true;
            self.in_use.push(place);
        }
        match (port.state, served) {
            (State::Waiting, Served::Frames(at)) => {
                port.last_frame = at;
                port.false_alarms = 0;
                if self.busy.len() < MAX_BUSY {
                    self.stop_waiting(place, State::Busy);
                    self.busy.push(place);
                }
            }
            (_, Served::Frames(at)) => port.last_frame = at,
            (State::Waiting, Served::Nothing) => {
                port.false_alarms += 1;
                if port.false_alarms >= MAX_FALSE_ALARMS {
                    self.put_aside(place);
                }
            }
            (State::Busy, Served::Nothing) if now - port.last_frame >= COOLING_DOWN => {
                self.busy.retain(|busy| *busy != place);
                self.begin_waiting(place);
            }
            (State::Polled, Served::Failed) | (_, Served::Nothing) => {}
            (_, Served::Failed) => self.put_aside(place),
        }
    }

    /// Tries the queues again that were put aside, if it is time for that.
    pub(super) fn retry(&mut self, now: Instant) {
        if !self.aside.is_empty() && now - self.last_retry >= RETRY_INTERVAL {
            self.last_retry = now;
            for place in std::mem::take(&mut self.aside) {
                self.begin_waiting(place);
            }
        }
    }

    /// Sleeps until a queue has frames, `wake` is written to, or something else is due.
    pub(super) fn sleep(&mut self, wake: &EventFd) {
        let readable = PollFlags::POLLIN;
        let mut fds = Vec::with_capacity(self.busy.len() + 2);
        fds.push(PollFd::new(wake.as_fd(), readable));
        fds.push(PollFd::new(self.epoll.0.as_fd(), readable));
        let busy = self.busy.iter().filter_map(|place| self.places[*place].as_ref());
        fds.extend(busy.filter_map(|port| Some(PollFd::new(port.queue.poll_fd()?, readable))));
        let longest = if self.in_use.is_empty() { MAX_SLEEP } else { STATS_INTERVAL };
        // An interrupted sleep is a short one.
        let _ = poll(&mut fds, PollTimeout::try_from(longest).unwrap_or(PollTimeout::ZERO));
        if fds[0].any() == Some(true) {
            let _ = wake.read();
        }
        // Whatever has happened meanwhile is to be seen at once.
        self.finds = true;
    }

    /// Counts what the kernel dropped before we saw it, if it is time for that.
    ///
    /// A full ring has frames in it, so that a queue at which something was dropped has been in use. All
    /// others are asked now and then, in case a queue gives nothing though it drops.
    pub(super) fn read_stats(&mut self, now: Instant) {
        if now - self.last_stats < STATS_INTERVAL {
            return;
        }
        self.last_stats = now;
        for place in std::mem::take(&mut self.in_use) {
            self.read_stats_of(place);
        }
        for _ in 0..self.places.len().div_ceil(STATS_ROUNDS) {
            self.stats_place = (self.stats_place + 1) % self.places.len();
            self.read_stats_of(self.stats_place);
        }
    }

    /// What the kernel dropped counts as received, and dropped.
    fn read_stats_of(&mut self, place: usize) {
        let Some(port) = self.places.get_mut(place).and_then(Option::as_mut) else { return };
        let stats = port.queue.stats();
        let missed = stats.kernel_drops.saturating_sub(port.stats.kernel_drops);
        let truncated = stats.truncated.saturating_sub(port.stats.truncated);
        let unreadable = stats.unreadable.saturating_sub(port.stats.unreadable);
        if missed + truncated + unreadable > 0 {
            port.counters.rx_packets.add(missed + truncated + unreadable);
            port.counters.rx_dropped(DropReason::RxRingFull).add(missed);
            port.counters.rx_dropped(DropReason::RxTruncated).add(truncated);
            port.counters.rx_dropped(DropReason::RxError).add(unreadable);
        }
        port.stats = stats;
        port.is_in_use = false;
    }

    fn put_aside(&mut self, place: usize) {
        self.busy.retain(|busy| *busy != place);
        self.stop_waiting(place, State::Aside);
        self.aside.push(place);
    }

    fn begin_waiting(&mut self, place: usize) {
        let Some(port) = &mut self.places[place] else { return };
        let Some(fd) = port.queue.poll_fd() else { return };
        let event = EpollEvent::new(EpollFlags::EPOLLIN, place as u64);
        match self.epoll.add(fd, event) {
            Ok(()) => {
                port.state = State::Waiting;
                port.turn = self.first_turn;
                port.false_alarms = 0;
                self.waiting += 1;
            }
            // The kernel has no memory for it now. It is tried again.
            Err(error) => {
                tracing::debug!(%error, "cannot wait for frames of a queue");
                port.state = State::Aside;
                self.aside.push(place);
            }
        }
    }

    /// Gives a queue a state in which its descriptor is not in the epoll set.
    fn stop_waiting(&mut self, place: usize, state: State) {
        let Some(port) = &mut self.places[place] else { return };
        if port.state == State::Waiting {
            self.waiting -= 1;
            if let Some(fd) = port.queue.poll_fd() {
                // It fails for a descriptor that is not in the set, which is what is wanted.
                let _ = self.epoll.delete(fd);
            }
        }
        port.state = state;
    }
}

#[cfg(test)]
mod tests {
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
}
