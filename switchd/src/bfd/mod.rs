//! Bidirectional forwarding detection (RFC 5880, RFC 5881) through tunnels: whether the remote end of a tunnel
//! port hears, and is heard.
//!
//! A tunnel port with `bfd=on` has a [`Session`]. One thread runs all sessions: it gets the
//! control packets that tunnel ports take out of what they receive, and has the first worker
//! send packets, as it sends those of packet-outs. What comes of a session is a property of
//! the port ([`PortInfo::is_peer_down`](flowtable::policy::ports::PortInfo::is_peer_down)).
//!
//! A peer that was never heard counts as down only five seconds after its session began, so that switches that
//! start, or whose `bfd` is switched on one after the other, go on meanwhile.
//!
//! While another program prepares to take over, sessions go on sending, and tell the switch nothing. The other
//! program goes on with what the switch was told last.

mod frame;
mod session;

pub use frame::BfdFrames;
pub use session::{BfdConfig, GivenSession, Remote, Session, diagnostic_name};

use crate::switch::Switch;
use crossbeam::channel::{self, Receiver, Sender};
use crossbeam::select;
use flow::action::Action;
use flow::key::{PipelineKey, tun_flags};
use flow::packet_out::PacketOut;
use flow::types::OfPort;
use flowtable::policy::PortRef;
use packet::wire::BfdState;
use ports::tunnel::BfdReceived;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a peer that has not been heard yet does not count as down.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest time in which a change of ports is not noticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The shortest time between two rounds through all sessions.
const ROUND: Duration = Duration::from_millis(1);

/// A tunnel port whose remote end is to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchedPort {
    /// The number of the port in its bridge.
    pub(crate) at: PortRef,
    /// The datapath's number of the port.
    pub(crate) port_no: u16,
    /// The name of the port. Another port may have the number later.
    pub(crate) name: String,
    /// The MAC address of the port.
    pub(crate) mac: [u8; 6],
    /// How the session is to be.
    pub(crate) config: BfdConfig,
    /// Whether the port has the state of its session: not at the beginning, and not if
    /// the port was changed meanwhile.
    pub(crate) is_told: bool,
}

/// A session as commands show it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// The session at its latest event.
    pub session: Session,
    /// Whether the remote end counts as down.
    pub is_peer_down: bool,
}

/// The running thread. Dropping it ends it.
pub(crate) struct BfdKeeper {
    /// Nothing is sent: the thread ends when this is gone.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BfdKeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// It cannot be had.
    pub(crate) fn start(switch: Arc<Switch>) -> std::io::Result<Self> {
        let Some(received) = switch.take_bfd() else {
            return Ok(Self { stop: None, thread: None });
        };
        let (stop, stopped) = channel::bounded(0);
        let mut sessions = Sessions { given: switch.told_sessions(), ..Sessions::default() };
        let run = move || sessions.run(&switch, &received, &stopped);
        let thread = std::thread::Builder::new().name("bfd".to_owned()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for BfdKeeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Running {
    port: WatchedPort,
    session: Session,
    began: Duration,
    was_up: bool,
    is_peer_down: bool,
    /// What the switch has been told.
    told: Option<(BfdConfig, BfdState, Remote, bool)>,
}

/// All sessions, by the datapath's numbers of their ports.
#[derive(Default)]
struct Sessions {
    running: HashMap<u16, Running>,
    /// The sessions of the program that this one has taken over from, until the first look at the ports.
    given: HashMap<u16, SessionView>,
    /// The number of sessions that ever began.
    begun: u32,
    looked: Option<Duration>,
    /// The ports whose sessions have received something that is not dealt with yet.
    touched: Vec<u16>,
    /// When some session has something to do, at the earliest.
    next: Duration,
}

impl Sessions {
    fn run(&mut self, switch: &Switch, received: &Receiver<BfdReceived>, stopped: &Receiver<()>) {
        loop {
            let wait = self.wait(switch.now());
            select! {
                recv(stopped) -> _ => return,
                recv(received) -> first => {
                    let Ok(first) = first else { return };
                    let now = switch.now();
                    std::iter::once(first)
                        .chain(received.try_iter())
                        .for_each(|packet| self.receive(&packet, now));
                }
                default(wait) => {}
            }
            let now = switch.now();
            // Nothing may change while another program prepares to take over.
            let Some(_passage) = switch.gate().try_enter() else {
                if !switch.gate().is_handed_over() {
                    self.running.values_mut().for_each(|running| running.send_due(switch, now));
                }
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            if self.looked.is_none_or(|looked| now >= looked + LOOK_INTERVAL) {
                self.looked = Some(now);
                self.follow(switch, now);
            }
            self.poll(switch, now);
        }
    }

    /// Deals with the sessions that have received something, and with all if one of them has something to do at
    /// the time `now`.
    fn poll(&mut self, switch: &Switch, now: Duration) {
        let Self { running, touched, next, .. } = self;
        if now < *next {
            for port in touched.drain(..) {
                if let Some(running) = running.get_mut(&port) {
                    running.poll(switch, now);
                    *next = running.session.deadline().min(*next);
                }
            }
            return;
        }
        touched.clear();
        running.values_mut().for_each(|running| running.poll(switch, now));
        let soonest = running.values().map(|running| running.session.deadline()).min();
        // With many sessions, several of them at once.
        *next = soonest.unwrap_or(now + LOOK_INTERVAL).max(now + ROUND);
    }

    /// How long nothing is to be done if nothing is received.
    fn wait(&self, now: Duration) -> Duration {
        let look = self.looked.map_or(now, |looked| looked + LOOK_INTERVAL);
        self.next.min(look).saturating_sub(now)
    }

    fn receive(&mut self, BfdReceived { port, packet }: &BfdReceived, now: Duration) {
        if let Some(running) = self.running.get_mut(port) {
            running.session.receive(packet, now);
            self.touched.push(*port);
        }
    }

    /// Begins and ends sessions as ports want it.
    fn follow(&mut self, switch: &Switch, now: Duration) {
        let wanted = switch.watched_ports();
        let is_wanted = |running: &Running| {
            wanted.iter().any(|port| (port.at, &port.name) == (running.port.at, &running.port.name))
        };
        self.running.retain(|_, running| is_wanted(running));
        // A session that begins has a packet to send.
        self.next = now;
        for port in wanted {
            match self.running.get_mut(&port.port_no) {
                Some(running) => {
                    running.session.configure(port.config);
                    if !port.is_told {
                        running.told = None;
                    }
                    running.port = port;
                }
                None => {
                    self.begun += 1;
                    let seed = switch.seed().wrapping_add(self.begun.into());
                    let given = self.given.remove(&port.port_no);
                    let is_peer_down = given.as_ref().is_some_and(|given| given.is_peer_down);
                    let session = match given {
                        Some(SessionView { session, .. }) => {
                            Session::go_on(port.config, &session.to_given(), seed, now)
                        }
                        None => Session::new(port.config, self.free_number(seed), seed, now),
                    };
                    // Who is down although the session has just begun here was up, or was waited
                    // for, in the other program.
                    let was_up = is_peer_down || session.state() == BfdState::Up;
                    let (began, told) = (now, None);
                    let running = Running { session, began, was_up, is_peer_down, told, port };
                    self.running.insert(running.port.port_no, running);
                }
            }
        }
        self.given.clear();
    }

    /// A number for a session, made of `seed`, that no other session has.
    fn free_number(&self, seed: u64) -> u32 {
        let is_taken = |number: &u32| {
            let running = self.running.values().map(|running| &running.session);
            let given = self.given.values().map(|given| &given.session);
            running.chain(given).any(|session| session.discriminator() == *number)
        };
        // Multiples of an odd constant are all different.
        let numbers = (seed as u32..=u32::MAX).chain(0..).map(|n| n.wrapping_mul(0x9e37_79b1));
        numbers.map(|number| number.max(1)).find(|number| !is_taken(number)).unwrap_or(1)
    }
}

impl Running {
    /// Sends what is due.
    fn send_due(&mut self, switch: &Switch, now: Duration) {
        if let Some(packet) = self.session.poll(now) {
            send(switch, &self.port, self.session.discriminator(), &packet);
        }
    }

    /// Sends what is due, and tells what has changed.
    fn poll(&mut self, switch: &Switch, now: Duration) {
        self.send_due(switch, now);
        let Self { port, session, began, was_up, is_peer_down, told } = self;
        let state = session.state();
        *was_up |= state == BfdState::Up;
        *is_peer_down = !session.is_forwarding() && (*was_up || now >= *began + PATIENCE);
        let news = Some((session.config(), state, session.remote(), *is_peer_down));
        if *told != news {
            *told = news;
            let view = SessionView { session: session.clone(), is_peer_down: *is_peer_down };
            switch.tell_session(port.at, &port.name, view);
        }
    }
}

fn send(switch: &Switch, port: &WatchedPort, discriminator: u32, packet: &[u8; 24]) {
    let Some(bridge) = switch.on_number(port.at.bridge) else { return };
    let frames = &port.config.frames;
    let mut state = PipelineKey::default();
    state.headers.tun_flags.set(if frames.is_oam { tun_flags::OAM } else { 0 });
    let packet = PacketOut {
        in_port: OfPort::NONE,
        packet: frame::compose(frames, port.mac, discriminator, packet),
        state,
        actions: vec![Action::output(port.at.port)],
    };
    // What becomes of it shows at the other end.
    let _ = bridge.begin_to_inject(packet);
}
