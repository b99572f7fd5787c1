//! Packets for controllers, from all workers to those who know the controllers.
//!
//! A worker leaves such packets in a queue of its own ([`PuntQueue`]) and rings a bell if nobody looks at the
//! queues. A thread of this module takes the packets and hands each to the taker of its bridge. A taker must
//! not wait for anybody.
//!
//! A connection's thread that is about to sleep can [volunteer](Punts::volunteer) to be woken instead. A packet
//! for its controller then passes no other thread on its way from the worker to the connection.
//!
//! To wake a thread takes longer than everything else that is done with a packet. So a worker whose batch had
//! few packets for controllers hands them on itself ([`PuntPort::announce`]), and wakes nobody but the
//! controller. It waits for no lock, and does so at most once in [`PAUSE`]: a flood of packets goes through the
//! queues, and takes little of the worker's time. A packet that the taker cannot take at once keeps its place
//! in front of the others.
//!
//! A controller on the same machine often answers such a packet with a packet-out, within some 20 µs. A worker
//! that expects that [listens](PuntPort::listen) to the controller itself for as long, and no thread is woken
//! on the way back either.

use crate::server::event_fd;
use flow::packet_out::PacketOut;
use flowtable::datapath::{Ingress, Punt, PuntQueue};
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
use std::time::{Duration, Instant};

/// How many packets of one worker are handed on before those of the next one.
const TURN: usize = 64;
/// How many packets a worker hands on itself, behind one batch.
const FEW: u64 = 4;
/// A worker hands packets on itself at most once in this time. Behind other batches it leaves them in its
/// queue, because a packet-in takes some microseconds of its time.
const PAUSE: Duration = Duration::from_micros(25);

/// Somebody is awake, and looks at the queues after the duty has become another one. The values of
/// [`PuntBell::duty`] are this one and the next two.
const LOOKING: u8 = 0;
/// The thread of this module sleeps, and is to be woken.
const THREAD: u8 = 1;
/// The thread of this module sleeps, and a volunteer is to be woken in its place.
const VOLUNTEER: u8 = 2;

/// Who hands packets to the controllers of a bridge.
pub(crate) trait PuntTaker: Send + Sync {
    /// Takes a packet.
    fn take(&self, punt: Punt);

    /// Takes a packet, and gives it to a controller before it returns. Waits for nobody, not even for a lock.
    /// Returns the controller if a worker can listen to it.
    ///
    /// # Errors
    /// The packet, if that cannot be done.
    fn take_at_once(&self, punt: Punt) -> Result<Option<Arc<dyn Answering>>, Punt>;
}

/// A controller to which a worker can listen in place of the thread of its connection.
pub(crate) trait Answering: Send + Sync {
    /// Has what the controller sends wake no thread until [`end_listening`](Self::end_listening), because the
    /// caller [looks](Self::look) for it often. False if the caller cannot listen now.
    fn listen(&self) -> bool;

    /// Gives packet-outs that the controller has sent to `send`, in their order. Waits for nobody. Returns
    /// whether the caller still listens: what the controller sends besides is left to the connection's thread.
    fn look(&self, send: &mut dyn FnMut(Ingress, PacketOut)) -> bool;

    /// Leaves the controller to the thread of its connection again.
    fn end_listening(&self);
}

/// A controller to which a worker listens. Dropping it ends that.
pub(crate) struct Listening(Arc<dyn Answering>);

impl Listening {
    /// Looks for what the controller has sent, see [`Answering::look`].
    pub(crate) fn look(&self, send: &mut dyn FnMut(Ingress, PacketOut)) -> bool {
        self.0.look(send)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.end_listening();
    }
}

/// The bell that a worker rings.
#[derive(Debug)]
struct PuntBell {
    /// Who is to be woken. Beside workers, only whoever was woken takes packets.
    duty: AtomicU8,
    /// Readable once the thread of this module has to look.
    thread: EventFd,
    /// Readable once the volunteer has to look.
    volunteer: EventFd,
}

impl PuntBell {
    /// Says that packets wait. Costs a system call only if nobody is awake to look.
    fn ring(&self) {
        let woken = match self.duty.swap(LOOKING, Ordering::SeqCst) {
            THREAD => &self.thread,
            VOLUNTEER => &self.volunteer,
            _ => return,
        };
        // A counter that is full is readable as well.
        let _ = woken.write(1);
    }
}

/// By which one worker gives packets to controllers. Owned by the worker.
pub(crate) struct PuntPort {
    shared: Arc<Shared>,
    queue: Arc<PuntQueue>,
    /// When the worker has tried last to hand packets on itself; `None` before the first time.
    latest: Option<Instant>,
    /// The controller that got the latest of those packets; `None` if nobody can listen to it.
    given_to: Option<Arc<dyn Answering>>,
    listening: Option<Listening>,
}

impl PuntPort {
    /// The queue that the worker fills.
    pub(crate) fn queue(&self) -> &Arc<PuntQueue> {
        &self.queue
    }

    /// Says that the worker has put `packets` into its queue.
    pub(crate) fn announce(&mut self, packets: u64, now: Instant) {
        let has_time = self.latest.is_none_or(|latest| now - latest >= PAUSE);
        if packets <= FEW && has_time {
            self.latest = Some(now);
            if self.shared.hand_on_at_once(&self.queue, &mut self.given_to) {
                return;
            }
        }
        self.shared.bell.ring();
    }

    /// Whether the worker listens to a controller, or has just given a packet to one that it could listen to.
    pub(crate) fn has_controller(&self) -> bool {
        self.listening.is_some() || self.given_to.is_some()
    }

    /// Begins to listen to the controller that has just got a packet, unless the worker listens to another one;
    /// or ends that, unless `is_answer_near`.
    pub(crate) fn listen(&mut self, is_answer_near: bool) {
        let given_to = self.given_to.take();
        if !is_answer_near {
            self.listening = None;
        } else if self.listening.is_none()
            && let Some(controller) = given_to
            && controller.listen()
        {
            self.listening = Some(Listening(controller));
        }
    }

    /// The controller to which the worker listens, if it does. The worker
    /// ends that, or [goes on](Self::go_on_listening).
    pub(crate) fn take_listening(&mut self) -> Option<Listening> {
        self.listening.take()
    }

    /// Goes on with what [`take_listening`](Self::take_listening) has returned.
    pub(crate) fn go_on_listening(&mut self, listening: Listening) {
        self.listening = Some(listening);
    }
}

/// The queues of all workers, and who takes what is in them. Dropping it ends the thread.
pub(crate) struct Punts {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queues: Vec<Arc<PuntQueue>>,
    bell: PuntBell,
    takers: Mutex<HashMap<BridgeId, Weak<dyn PuntTaker>>>,
    /// A packet that was taken from a queue and not handed on, which comes before those in the queues. Whoever
    /// takes packets holds the lock, so that packets keep their order.
    taking: Mutex<Option<Punt>>,
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
            bell,
            takers: Mutex::default(),
            taking: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let running = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("packet-ins".to_owned());
        let thread = Some(builder.spawn(move || running.run())?);
        Ok(Self { shared, thread })
    }

    /// By which the worker number `worker`, counted from 0, gives packets to controllers.
    pub(crate) fn port(&self, worker: usize) -> PuntPort {
        let (shared, queue) = (Arc::clone(&self.shared), Arc::clone(&self.shared.queues[worker]));
        PuntPort { shared, queue, latest: None, given_to: None, listening: None }
    }

    /// Hands the packets for the controllers of a bridge to `taker` from now on, as long
    /// as somebody else holds it.
    pub(crate) fn hand_to(&self, bridge: BridgeId, taker: Weak<dyn PuntTaker>) {
        self.shared.takers.lock().insert(bridge, taker);
    }

    /// Has the calling thread, which is about to sleep, woken by packets in place of the thread of this module.
    /// `None` if another thread has volunteered, or somebody is looking at the queues.
    pub(crate) fn volunteer(&self) -> Option<Volunteer<'_>> {
        let duty = &self.shared.bell.duty;
        duty.compare_exchange(THREAD, VOLUNTEER, Ordering::SeqCst, Ordering::SeqCst).ok()?;
        Some(Volunteer { shared: &self.shared })
    }
}

/// A thread that sleeps until [`as_fd`](AsFd::as_fd) is readable, or for another reason. Dropping it, once the
/// thread is awake, hands a turn of each worker's packets on if there are any. The thread of this module goes
/// on with the rest.
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
        // Whoever has rung writes the descriptor soon, if not yet: a volunteer who finds it readable without
        // need looks in vain.
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
        let mut left = self.taking.lock();
        let mut any = false;
        let mut hand_on = |punt: Punt| {
            any = true;
            // The list of takers is not locked while the taker works.
            let taker = self.takers.lock().get(&punt.meta.bridge).and_then(Weak::upgrade);
            if let Some(taker) = taker {
                taker.take(punt);
            }
        };
        left.take().into_iter().for_each(&mut hand_on);
        for queue in &self.queues {
            std::iter::from_fn(|| queue.take()).take(TURN).for_each(&mut hand_on);
        }
        any
    }

    /// Gives the packets of a queue to controllers, [`FEW`] of them at most. Waits for nobody. Returns
    /// whether none is left, and leaves the controller that got the latest one in `given_to`, if
    /// somebody can listen to it.
    fn hand_on_at_once(
        &self,
        queue: &PuntQueue,
        given_to: &mut Option<Arc<dyn Answering>>,
    ) -> bool {
        let Some(mut left) = self.taking.try_lock().filter(|left| left.is_none()) else {
            return false;
        };
        for _ in 0..FEW {
            let Some(punt) = queue.take() else {
                return true;
            };
            let bridge = punt.meta.bridge;
            let taker =
                self.takers.try_lock().map(|takers| takers.get(&bridge).and_then(Weak::upgrade));
            *left = match taker {
                // Nobody serves the bridge any more.
                Some(None) => None,
                Some(Some(taker)) => match taker.take_at_once(punt) {
                    Ok(controller) => {
                        *given_to = controller;
                        None
                    }
                    Err(punt) => Some(punt),
                },
                None => Some(punt),
            };
            if left.is_some() {
                return false;
            }
        }
        queue.is_empty()
    }

    /// Whether no packet waits to be taken. Waits for whoever takes packets at the moment, and may leave one.
    fn is_empty(&self) -> bool {
        self.taking.lock().is_none() && self.queues.iter().all(|queue| queue.is_empty())
    }

    /// Gives the duty to the thread of this module, whether it sleeps or is about to.
    fn leave_to_thread(&self) {
        self.bell.duty.store(THREAD, Ordering::SeqCst);
        // A packet that came before nobody was awake any more.
        if !self.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{DEFAULT_BRIDGE, Desired};
    use crate::switch::{Config, Switch};
    use flow::text::{ParseContext, parse_flow};
    use flow::verdict::PacketInReason;
    use flowtable::policy::audience::{Reasons, Wanted};
    use ports::dummy::{self, Dummy, DummyOptions};

    /// How long a test waits for what has to happen.
    const PATIENCE: Duration = Duration::from_secs(60);
    /// The size of an Ethernet header, in bytes.
    const HEADER: usize = 14;

    /// Keeps the numbers of the packets that it takes, and whether it took each at once. May refuse
    /// to take any at once.
    #[derive(Default)]
    struct Kept {
        taken: Mutex<Vec<(u32, bool)>>,
        is_busy: AtomicBool,
    }

    impl Kept {
        fn keep(&self, punt: &Punt, is_at_once: bool) {
            let number = punt.packet[HEADER..].first_chunk().copied().map(u32::from_be_bytes);
            self.taken.lock().push((number.unwrap(), is_at_once));
        }

        fn wait_for(&self, count: usize) {
            let deadline = Instant::now() + PATIENCE;
            while self.taken.lock().len() < count {
                assert!(Instant::now() < deadline, "{} have come", self.taken.lock().len());
                std::thread::yield_now();
            }
        }
    }

    impl PuntTaker for Kept {
        fn take(&self, punt: Punt) {
            self.keep(&punt, false);
        }

        fn take_at_once(&self, punt: Punt) -> Result<Option<Arc<dyn Answering>>, Punt> {
            if self.is_busy.load(Ordering::SeqCst) {
                return Err(punt);
            }
            self.keep(&punt, true);
            Ok(None)
        }
    }

    /// A switch that gives all packets to a controller.
    fn switch() -> (Switch, Dummy, Arc<Kept>) {
        let switch = Switch::start(Config::new(Desired::one_bridge())).unwrap();
        let (port, far) = dummy::open("p1", DummyOptions::default()).unwrap();
        switch.add_open_port(DEFAULT_BRIDGE, port).unwrap();
        let rule = parse_flow("priority=9,actions=CONTROLLER", &ParseContext::default()).unwrap();
        let kept = Arc::<Kept>::default();
        {
            let on = switch.on(DEFAULT_BRIDGE).unwrap();
            on.bridge().apply(&[rule], switch.now()).unwrap();
            let mut reasons = Reasons::default();
            reasons.insert(PacketInReason::Action);
            on.bridge().hear(Wanted::from([(0, reasons)]));
            let taker: Weak<Kept> = Arc::downgrade(&kept);
            switch.punts().hand_to(on.bridge().id(), taker);
        }
        (switch, far, kept)
    }

    fn frame(number: u32) -> Vec<u8> {
        let mut frame = vec![2; HEADER];
        frame[12..].copy_from_slice(&[0x88, 0xb5]);
        frame.extend(number.to_be_bytes());
        frame
    }

    #[test]
    fn a_worker_hands_a_single_packet_on_itself() {
        let (_switch, far, kept) = switch();
        let deadline = Instant::now() + PATIENCE;
        for number in 0.. {
            far.inject(&frame(number));
            kept.wait_for(number as usize + 1);
            if kept.taken.lock().last() == Some(&(number, true)) {
                break;
            }
            assert!(Instant::now() < deadline, "{number} packets went through the queue");
        }
        kept.is_busy.store(true, Ordering::SeqCst);
        let before = kept.taken.lock().len();
        far.inject(&frame(u32::MAX));
        kept.wait_for(before + 1);
        assert_eq!(kept.taken.lock().last(), Some(&(u32::MAX, false)), "refused, and not lost");
    }

    #[test]
    fn a_worker_does_not_wait_for_somebody_who_takes_packets() {
        let (switch, far, kept) = switch();
        let taking = switch.punts().shared.taking.lock();
        far.inject(&frame(1));
        let deadline = Instant::now() + PATIENCE;
        while switch.ports()[0].totals.rx_sent < 1 {
            assert!(Instant::now() < deadline, "the worker waits");
            std::thread::yield_now();
        }
        assert!(kept.taken.lock().is_empty());
        drop(taking);
        kept.wait_for(1);
    }

    #[test]
    fn packets_keep_their_order_whoever_hands_them_on() {
        const ALL: u32 = 3000;
        let (_switch, far, kept) = switch();
        for number in 0..ALL {
            kept.is_busy.store(number % 7 < 3, Ordering::SeqCst);
            // Bursts of several lengths, with a pause behind most of them.
            far.inject(&frame(number));
            if number % 11 != 0 && number % 64 < 40 {
                kept.wait_for(number as usize + 1);
            }
        }
        kept.wait_for(ALL as usize);
        let taken = kept.taken.lock();
        assert!(taken.iter().map(|(number, _)| *number).eq(0..ALL));
        for is_at_once in [false, true] {
            assert!(taken.iter().any(|(_, how)| *how == is_at_once), "{is_at_once} never happened");
        }
    }
}
