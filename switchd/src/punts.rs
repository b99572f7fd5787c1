//! Packets for controllers, from all workers to those who know the controllers.
//!
//! A worker leaves such packets in a queue of its own ([`PuntQueue`]) and rings a bell if the thread of this module
//! sleeps. The thread takes them and hands each to the taker of its bridge. A taker must not wait for anybody.

use crate::server::event_fd;
use flowtable::datapath::{Punt, PuntQueue};
use flowtable::policy::BridgeId;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

/// How many packets of one worker are handed on before those of the next one.
const TURN: usize = 64;

/// Who hands packets to the controllers of a bridge.
pub(crate) trait PuntTaker: Send + Sync {
    /// Takes a packet.
    fn take(&self, punt: Punt);
}

/// The bell that a worker rings.
#[derive(Debug)]
pub(crate) struct PuntBell {
    is_asleep: AtomicBool,
    /// Readable once the thread has to look.
    ring: EventFd,
}

impl PuntBell {
    /// Says that packets wait. Costs a system call only if the thread sleeps.
    pub(crate) fn ring(&self) {
        if self.is_asleep.swap(false, Ordering::SeqCst) {
            // A counter that is full is readable as well.
            let _ = self.ring.write(1);
        }
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
        let bell = PuntBell { is_asleep: AtomicBool::new(false), ring: event_fd()? };
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
}

impl Drop for Punts {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let _ = self.shared.bell.ring.write(1);
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

    /// Sleeps until a worker rings.
    fn sleep(&self) {
        self.bell.is_asleep.store(true, Ordering::SeqCst);
        // A packet that came before the bell was armed.
        let is_awake = self.queues.iter().any(|queue| !queue.is_empty());
        if !is_awake {
            let mut fds = [PollFd::new(self.bell.ring.as_fd(), PollFlags::POLLIN)];
            // An interrupted wait is a short one.
            let _ = poll(&mut fds, PollTimeout::NONE);
            let _ = self.bell.ring.read();
        }
        self.bell.is_asleep.store(false, Ordering::SeqCst);
    }
}
