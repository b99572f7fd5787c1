//! Packets for controllers, from all workers to those who know the controllers.
//!
//! A worker leaves such packets in a queue of its own ([`PuntQueue`]) and rings a bell if nobody looks at the queues. A
//! thread of this module takes the packets and hands each to the taker of its bridge. A taker must not wait for anybody.
//!
//! A connection's thread that is about to sleep can [volunteer](Punts::volunteer) to be woken instead. A packet for
//! its controller then passes no other thread on its way from the worker to the connection.

use crate::server::event_fd;
use flowtable::datapath::{Punt, PuntQueue};
use flowtable::policy::BridgeId;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

/// How many packets of one worker are handed on before those of the next one.
const TURN: usize = 64;

/// Somebody is awake, and looks at the queues after the duty has become another one. The values of [`PuntBell::duty`] are
/// this one and the next two.
const LOOKING: u8 = 0;
/// The thread of this module sleeps, and is to be woken.
const THREAD: u8 = 1;
/// The thread of this module sleeps, and a volunteer is to be woken in its place.
const VOLUNTEER: u8 = 2;

/// Who hands packets to the controllers of a bridge.
pub(crate) trait PuntTaker: Send + Sync {
    /// Takes a packet.
    fn take(&self, punt: Punt);
}

/// The bell that a worker rings.
#[derive(Debug)]
pub(crate) struct PuntBell {
    /// Who is to be woken. Only whoever was woken takes packets, so that they keep their order.
    duty: AtomicU8,
    /// Readable once the thread of this module has to look.
    thread: EventFd,
    /// Readable once the volunteer has to look.
    volunteer: EventFd,
}

impl PuntBell {
    /// Says that packets wait. Costs a system call only if nobody is awake to look.
    pub(crate) fn ring(&self) {
        let woken = match self.duty.swap(LOOKING, Ordering::SeqCst) {
            THREAD => &self.thread,
            VOLUNTEER => &self.volunteer,
            _ => return,
        };
        // A counter that is full is readable as well.
        let _ = woken.write(1);
    }
}

/// The queues of all workers, and who takes what is in them. Dropping it ends the thread.
pub(crate) struct Punts {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queues: Vec<Arc<PuntQueue>>,
    bell: Arc<PuntBell>,
    takers: Mutex<HashMap<BridgeId, Weak<dyn PuntTaker>>>,
    is_over: AtomicBool,
}

impl Punts {
    /// Makes a queue for each worker, and starts the thread.
    ///
    /// # Errors
    /// There is no descriptor, or no thread, to be had.
    pub(crate) fn start(workers: usize) -> io::Result<Self> {
        let duty = AtomicU8::new(LOOKING);
        let bell = PuntBell { duty, thread: event_fd()?, volunteer: event_fd()? };
        let shared = Arc::new(Shared {
            queues: (0..workers).map(|_| Arc::default()).collect(),
            bell: Arc::new(bell),
            takers: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let running = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("packet-ins".to_owned());
        let thread = Some(builder.spawn(move || running.run())?);
        Ok(Self { shared, thread })
    }

    /// The queue of a worker.
    pub(crate) fn queue(&self, worker: usize) -> &Arc<PuntQueue> {
        &self.shared.queues[worker]
    }

    /// The bell that workers ring.
    pub(crate) fn bell(&self) -> &Arc<PuntBell> {
        &self.shared.bell
    }

    /// Hands the packets for the controllers of a bridge to `taker` from now on, as long as somebody else holds it.
    pub(crate) fn hand_to(&self, bridge: BridgeId, taker: Weak<dyn PuntTaker>) {
        self.shared.takers.lock().insert(bridge, taker);
    }

    /// Has the calling thread, which is about to sleep, woken by packets in place of the thread of this module. `None` if
    /// another thread has volunteered, or somebody is looking at the queues.
    pub(crate) fn volunteer(&self) -> Option<Volunteer<'_>> {
        let duty = &self.shared.bell.duty;
        duty.compare_exchange(THREAD, VOLUNTEER, Ordering::SeqCst, Ordering::SeqCst).ok()?;
        Some(Volunteer { shared: &self.shared })
    }
}

/// A thread that sleeps until [`as_fd`](AsFd::as_fd) is readable, or for another reason. Dropping it, once the thread is
/// awake, hands a turn of each worker's packets on if there are any. The thread of this module goes on with the rest.
pub(crate) struct Volunteer<'a> {
    shared: &'a Shared,
}

impl AsFd for Volunteer<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.volunteer.as_fd()
    }
}

impl Drop for Volunteer<'_> {
    fn drop(&mut self) {
        let bell = &self.shared.bell;
        let order = Ordering::SeqCst;
        if bell.duty.compare_exchange(VOLUNTEER, THREAD, order, order).is_ok() {
            return;
        }
        // Whoever has rung writes the descriptor soon, if not yet: a volunteer who finds it readable without need looks in vain.
        let _ = bell.volunteer.read();
        self.shared.hand_on();
        self.shared.leave_to_thread();
    }
}

impl Drop for Punts {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let _ = self.shared.bell.thread.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            if !self.hand_on() {
                self.sleep();
            }
        }
    }

    /// Hands a turn of each worker's packets on. Returns whether there were any.
    fn hand_on(&self) -> bool {
        let mut any = false;
        for queue in &self.queues {
            for _ in 0..TURN {
                let Some(punt) = queue.take() else {
                    break;
                };
                any = true;
                // The taker is called without the lock.
                let taker = self.takers.lock().get(&punt.meta.bridge).and_then(Weak::upgrade);
                if let Some(taker) = taker {
                    taker.take(punt);
                }
            }
        }
        any
    }

    /// Gives the duty to the thread of this module, whether it sleeps or is about to.
    fn leave_to_thread(&self) {
        self.bell.duty.store(THREAD, Ordering::SeqCst);
        // A packet that came before nobody was awake any more.
        if self.queues.iter().any(|queue| !queue.is_empty()) {
            self.bell.ring();
        }
    }

    /// Sleeps until somebody has given the duty to this thread and rung, or everything is over.
    fn sleep(&self) {
        self.leave_to_thread();
        let mut fds = [PollFd::new(self.bell.thread.as_fd(), PollFlags::POLLIN)];
        // An interrupted wait does not mean that this thread has the duty.
        while self.bell.thread.read().is_err() && !self.is_over.load(Ordering::SeqCst) {
            let _ = poll(&mut fds, PollTimeout::NONE);
        }
    }
}
