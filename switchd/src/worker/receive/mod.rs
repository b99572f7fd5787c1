//! The receive queues of a worker, and which of them to ask for frames.
//!
//! To ask a queue for frames costs a system call on a TAP device, and a cache miss on a network device. A
//! worker with a thousand queues, two of them in use, must not ask the other 998 in each round. So each queue
//! is in one of four states:
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
//! Measured with 1,000 idle ports in `benches/RESULTS.md`. How queues come and go is in `lineup`.

mod lineup;

use flow::types::PortNo;
use flow::verdict::DropReason;
use flowtable::datapath::PortCounters;
use lineup::Successor;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use packet::{Batch, MAX_BATCH};
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
    /// The counters of the tunnel port whose frames came last; `None` if the queue is that of one port.
    pub(super) tunnel_counters: Option<Arc<PortCounters>>,
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

impl RxPort {
    /// An empty batch for the next turn of the queue.
    pub(super) fn batch<'a>(&self) -> Batch<'a> {
        Batch::limited(self.turn)
    }

    /// Whether the queue, or the one that takes its place, holds frames that have
    /// arrived behind the last batch.
    pub(super) fn has_more(&self) -> bool {
        self.successor.is_some() || self.queue.has_more()
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

    /// The queue at a place that [`Receivers::to_ask`] or [`Receivers::ask`] named.
    pub(super) fn port(&mut self, place: usize) -> Option<&mut RxPort> {
        self.places.get_mut(place)?.as_mut()
    }

    /// Number of queues that are asked in every round.
    pub(super) fn to_ask(&self) -> usize {
        self.busy.len() + self.polled.len()
    }

    /// The place of one of these queues. Later ones move when one has been demoted: ask from
    /// the last to the first.
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
                if self.busy.len() < MAX_BUSY || port.queue.holds_frames() {
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
mod tests;
