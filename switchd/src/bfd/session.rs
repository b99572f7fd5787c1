//! One session of bidirectional forwarding detection (RFC 5880): asynchronous mode,
//! without echo, demand and authentication.
//!
//! ```text
//!                 hears Down                 hears Init, Up
//!      Down ─────────────────────► Init ─────────────────────► Up
//!       ▲  │        hears Init                                  ▲
//!       │  └────────────────────────────────────────────────────┘
//!       └──── hears Down or AdminDown (from Up), AdminDown (from Init), or nothing for the detection time
//! ```
//!
//! A session knows no clock and no network: it is told what was received and what time it is,
//! and returns what to send.

use super::frame::BfdFrames;
use packet::wire::bfd::{FINAL, POLL, SIZE};
use packet::wire::{BfdPacket, BfdState};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The shortest interval between packets while the session is not up (RFC 5880 §6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// How a session is to be. The names are those of Open vSwitch (ovs-vswitchd.conf.db(5), column `bfd`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BfdConfig {
    /// The shortest interval in which packets are to be received.
    pub min_rx: Duration,
    /// The shortest interval in which packets are sent.
    pub min_tx: Duration,
    /// How many packets in a row may be missing.
    pub mult: u8,
    /// Whether the other end is told that a path behind this one is down (`cpath_down`), so
    /// that it sends no traffic.
    pub is_path_behind_down: bool,
    /// The frames that packets come and go in.
    pub frames: BfdFrames,
}

impl Default for BfdConfig {
    fn default() -> Self {
        Self {
            min_rx: Duration::from_millis(1000),
            min_tx: Duration::from_millis(100),
            mult: 3,
            is_path_behind_down: false,
            frames: BfdFrames::default(),
        }
    }
}

/// Why the session went down last (RFC 5880 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Diagnostic {
    /// It has not gone down.
    #[default]
    None,
    /// No packet came for the detection time.
    TimeExpired,
    /// The other end has said that it does not hear this one, or was switched off.
    NeighbourDown,
    /// A path behind this end is down, as somebody has told it.
    PathBehindDown,
}

/// Diagnostics by which an end says that a path is down behind it (RFC 5880 §4.1).
const PATH_DOWN: u8 = 5;
const CONCATENATED_PATH_DOWN: u8 = 6;
const REVERSE_CONCATENATED_PATH_DOWN: u8 = 8;

impl Diagnostic {
    fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::TimeExpired => 1,
            Self::NeighbourDown => 3,
            Self::PathBehindDown => CONCATENATED_PATH_DOWN,
        }
    }

    /// The diagnostic with this number, as far as a session goes down for it.
    fn of_number(number: u8) -> Self {
        match number {
            1 => Self::TimeExpired,
            3 => Self::NeighbourDown,
            _ => Self::None,
        }
    }
}

/// The name of a diagnostic, as Open vSwitch prints it.
pub fn diagnostic_name(number: u8) -> &'static str {
    match number {
        0 => "No Diagnostic",
        1 => "Control Detection Time Expired",
        2 => "Echo Function Failed",
        3 => "Neighbor Signaled Session Down",
        4 => "Forwarding Plane Reset",
        PATH_DOWN => "Path Down",
        CONCATENATED_PATH_DOWN => "Concatenated Path Down",
        7 => "Administratively Down",
        REVERSE_CONCATENATED_PATH_DOWN => "Reverse Concatenated Path Down",
        _ => "Unknown Diagnostic",
    }
}

/// What the other end has said of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// The number that it gives the session; 0 if nobody knows it.
    pub discriminator: u32,
    /// The state of the session.
    pub state: BfdState,
    /// Why the session went down there last.
    pub diagnostic: u8,
    /// The shortest interval in which it sends.
    pub min_tx: Duration,
    /// The shortest interval in which it receives; zero asks for no packets.
    pub min_rx: Duration,
    /// How many of its packets in a row may be missing.
    pub mult: u8,
}

/// What another program has to know of a session to go on with it. The other end notices nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenSession {
    /// The number that this end gives the session.
    discriminator: u32,
    /// The numbers of state and diagnostic are those of control packets (RFC 5880 §4.1), here and below.
    state: u8,
    diagnostic: u8,
    flaps: u64,
    remote_discriminator: u32,
    remote_state: u8,
    remote_diagnostic: u8,
    remote_min_tx: Duration,
    remote_min_rx: Duration,
    remote_mult: u8,
}

/// One end of a session.
#[derive(Clone, Debug)]
pub struct Session {
    config: BfdConfig,
    discriminator: u32,
    state: BfdState,
    diagnostic: Diagnostic,
    remote: Remote,
    /// The time of the last valid packet from the other end; `None` if there was none
    /// since the session went down.
    heard: Option<Duration>,
    /// When the next packet is due.
    next: Duration,
    /// Whether the other end has to confirm changed intervals.
    polls: bool,
    /// Whether the other end waits for an answer.
    owes_final: bool,
    /// The state of a generator of numbers for jitter.
    random: u64,
    flaps: u64,
}

impl Session {
    /// A session that is down and sends its first packet at once. `discriminator` is its number, which is not 0
    /// and no other session of this switch has; `seed` is for jitter.
    pub fn new(config: BfdConfig, discriminator: u32, seed: u64, now: Duration) -> Self {
        Self {
            config,
            discriminator,
            state: BfdState::Down,
            diagnostic: Diagnostic::None,
            // Until it says otherwise (RFC 5880 §6.8.1).
            remote: Remote { min_rx: Duration::from_micros(1), ..Remote::default() },
            heard: None,
            next: now,
            polls: false,
            owes_final: false,
            random: seed | 1,
            flaps: 0,
        }
    }

    /// Goes on with the session of another program at the time `now`. It sends a packet at once, and the other
    /// end has the whole detection time for its next one.
    pub fn go_on(config: BfdConfig, given: &GivenSession, seed: u64, now: Duration) -> Self {
        let remote = Remote {
            discriminator: given.remote_discriminator,
            state: BfdState::of_bits(given.remote_state),
            diagnostic: given.remote_diagnostic,
            min_tx: given.remote_min_tx,
            min_rx: given.remote_min_rx,
            mult: given.remote_mult,
        };
        Self {
            state: BfdState::of_bits(given.state),
            diagnostic: Diagnostic::of_number(given.diagnostic),
            remote,
            heard: Some(now).filter(|_| remote.discriminator != 0),
            flaps: given.flaps,
            ..Self::new(config, given.discriminator, seed, now)
        }
    }

    /// What another program has to know to go on with the session.
    pub fn to_given(&self) -> GivenSession {
        GivenSession {
            discriminator: self.discriminator,
            state: self.state as u8,
            diagnostic: self.diagnostic.number(),
            flaps: self.flaps,
            remote_discriminator: self.remote.discriminator,
            remote_state: self.remote.state as u8,
            remote_diagnostic: self.remote.diagnostic,
            remote_min_tx: self.remote.min_tx,
            remote_min_rx: self.remote.min_rx,
            remote_mult: self.remote.mult,
        }
    }

    /// Gives the session other intervals. The other end is asked to confirm them.
    pub fn configure(&mut self, config: BfdConfig) {
        if self.config != config {
            self.config = config;
            self.polls = self.state == BfdState::Up;
        }
    }

    /// How the session is to be.
    pub fn config(&self) -> BfdConfig {
        self.config
    }

    /// The number that this end gives the session.
    pub fn discriminator(&self) -> u32 {
        self.discriminator
    }

    /// The state of the session at this end.
    pub fn state(&self) -> BfdState {
        self.state
    }

    /// Why the session went down last, or that a path behind this end is down.
    pub fn diagnostic(&self) -> u8 {
        match self.config.is_path_behind_down {
            true => Diagnostic::PathBehindDown.number(),
            false => self.diagnostic.number(),
        }
    }

    /// Whether traffic goes through: the session is up, and the other end does not say that a
    /// path behind it is down.
    pub fn is_forwarding(&self) -> bool {
        let is_path_down = matches!(
            self.remote.diagnostic,
            PATH_DOWN | CONCATENATED_PATH_DOWN | REVERSE_CONCATENATED_PATH_DOWN
        );
        self.state == BfdState::Up && !is_path_down
    }

    /// What the other end has said.
    pub fn remote(&self) -> Remote {
        self.remote
    }

    /// How often the session went up or down.
    pub fn flaps(&self) -> u64 {
        self.flaps
    }

    /// The interval in which this end would like to send, as it tells the other one.
    fn desired_min_tx(&self) -> Duration {
        match self.state {
            BfdState::Up => self.config.min_tx,
            _ => self.config.min_tx.max(SLOW),
        }
    }

    /// The interval in which packets are sent, before jitter.
    pub fn tx_interval(&self) -> Duration {
        self.desired_min_tx().max(self.remote.min_rx)
    }

    /// The time without a packet after which the session goes down.
    pub fn detection_time(&self) -> Duration {
        self.remote.min_tx.max(self.config.min_rx) * u32::from(self.remote.mult)
    }

    /// When something is to be done without anything received.
    pub fn deadline(&self) -> Duration {
        let silence = self.heard.map(|heard| heard + self.detection_time());
        silence.map_or(self.next, |silence| silence.min(self.next))
    }

    /// Takes a packet that came at the time `now`. False if it is not one of this session.
    pub fn receive(&mut self, bytes: &[u8], now: Duration) -> bool {
        let Ok(packet) = BfdPacket::new_checked(bytes) else { return false };
        let yours = packet.your_discriminator();
        if !packet.is_valid() || yours != 0 && yours != self.discriminator {
            return false;
        }
        let microseconds = |n: u32| Duration::from_micros(n.into());
        let before = self.tx_interval();
        self.remote = Remote {
            discriminator: packet.my_discriminator(),
            state: packet.state(),
            diagnostic: packet.diagnostic(),
            min_tx: microseconds(packet.desired_min_tx()),
            min_rx: microseconds(packet.required_min_rx()),
            mult: packet.detect_multiplier(),
        };
        self.heard = Some(now);
        if packet.flags() & FINAL != 0 {
            self.polls = false;
        }
        self.owes_final |= packet.flags() & POLL != 0;
        match (self.state, self.remote.state) {
            (BfdState::Down, BfdState::Down) => self.become_state(BfdState::Init, now),
            (BfdState::Down, BfdState::Init) | (BfdState::Init, BfdState::Init | BfdState::Up) => {
                self.become_state(BfdState::Up, now);
            }
            (BfdState::Up, BfdState::Down)
            | (BfdState::Up | BfdState::Init, BfdState::AdminDown) => {
                self.go_down(Diagnostic::NeighbourDown, now);
            }
            _ => {}
        }
        // A shorter interval counts from the last packet on (RFC 5880 §6.8.3).
        if self.tx_interval() < before {
            self.next = self.next.min(now + self.jittered());
        }
        if self.owes_final {
            self.next = now;
        }
        true
    }

    /// Returns the packet that is due at the time `now`, if one is, and goes down if nothing
    /// was heard for too long.
    pub fn poll(&mut self, now: Duration) -> Option<[u8; SIZE]> {
        if self.heard.is_some_and(|heard| now >= heard + self.detection_time()) {
            self.heard = None;
            self.remote.discriminator = 0;
            if self.state != BfdState::Down {
                self.go_down(Diagnostic::TimeExpired, now);
            }
        }
        if now < self.next {
            return None;
        }
        let is_asked_for = self.remote.min_rx > Duration::ZERO;
        let answers = std::mem::take(&mut self.owes_final);
        self.next = now + self.jittered();
        (is_asked_for || answers).then(|| self.packet(answers))
    }

    fn packet(&self, answers: bool) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut packet = BfdPacket::new_unchecked(&mut bytes);
        // A packet has one of the flags at most (RFC 5880 §6.8.7).
        let flags = if answers {
            FINAL
        } else if self.polls {
            POLL
        } else {
            0
        };
        let microseconds = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        packet.begin(self.diagnostic(), self.state, flags);
        packet.set_detect_multiplier(self.config.mult);
        packet.set_discriminators(self.discriminator, self.remote.discriminator);
        packet.set_intervals(microseconds(self.desired_min_tx()), microseconds(self.config.min_rx));
        bytes
    }

    fn go_down(&mut self, why: Diagnostic, now: Duration) {
        self.diagnostic = why;
        self.become_state(BfdState::Down, now);
    }

    fn become_state(&mut self, state: BfdState, now: Duration) {
        let was_up = self.state == BfdState::Up;
        self.state = state;
        self.flaps += u64::from(was_up != (state == BfdState::Up));
        // The interval for sending is another one when the session is up.
        self.polls = state == BfdState::Up;
        // Tells the other end at once.
        self.next = now;
    }

    /// The interval until the next packet: shorter by up to a quarter, and by a tenth at least if a single
    /// missing packet counts (RFC 5880 §6.8.7).
    fn jittered(&mut self) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let (least, span) = if self.config.mult == 1 { (10, 16) } else { (0, 26) };
        let less = least + (self.random % span) as u32;
        self.tx_interval() * (100 - less) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Two sessions and the packets between them, of which none are lost as long as `is_open`.
    struct Pair {
        ends: [Session; 2],
        now: Duration,
        is_open: [bool; 2],
        sent: [u64; 2],
    }

    impl Pair {
        fn new(a: BfdConfig, b: BfdConfig) -> Self {
            let ends = [Session::new(a, 11, 1, Duration::ZERO), Session::new(b, 22, 2, 5 * MS)];
            Self { ends, now: Duration::ZERO, is_open: [true; 2], sent: [0; 2] }
        }

        fn run(&mut self, time: Duration) {
            let end = self.now + time;
            while self.now < end {
                for from in [0, 1] {
                    if let Some(packet) = self.ends[from].poll(self.now) {
                        self.sent[from] += 1;
                        if self.is_open[from] {
                            assert!(self.ends[1 - from].receive(&packet, self.now));
                        }
                    }
                }
                self.now += MS;
            }
        }

        fn states(&self) -> [BfdState; 2] {
            [self.ends[0].state(), self.ends[1].state()]
        }
    }

    #[test]
    fn a_path_behind_an_end_that_is_down_is_told_while_the_session_stays_up() {
        let mut pair = Pair::new(BfdConfig::default(), BfdConfig::default());
        pair.run(4_000 * MS);
        assert!(pair.ends.iter().all(Session::is_forwarding));
        let down = BfdConfig { is_path_behind_down: true, ..BfdConfig::default() };
        pair.ends[0].configure(down);
        pair.run(2_000 * MS);
        assert_eq!(pair.ends[1].state(), BfdState::Up);
        assert!(pair.ends[0].is_forwarding() && !pair.ends[1].is_forwarding());
        pair.ends[0].configure(BfdConfig::default());
        pair.run(2_000 * MS);
        assert!(pair.ends[1].is_forwarding());
    }

    #[test]
    fn two_sessions_come_up_and_notice_silence() {
        let mut pair = Pair::new(BfdConfig::default(), BfdConfig::default());
        pair.run(2000 * MS);
        assert_eq!(pair.states(), [BfdState::Up; 2]);
        assert_eq!(pair.ends[0].remote().discriminator, 22);
        // Each sends no faster than the other one receives: once a second, less jitter.
        assert_eq!(pair.ends[0].tx_interval(), 1000 * MS);
        assert_eq!(pair.ends[0].detection_time(), 3000 * MS);
        let before = pair.sent;
        pair.run(60_000 * MS);
        for end in [0, 1] {
            let sent = pair.sent[end] - before[end];
            assert!((60..=80).contains(&sent), "{sent} packets in a minute");
        }
        assert_eq!(pair.states(), [BfdState::Up; 2]);
        assert!(!pair.ends[0].polls && !pair.ends[1].polls, "changed intervals are confirmed");
        // One way is cut: both ends know within the detection time.
        pair.is_open[0] = false;
        pair.run(3100 * MS);
        assert!(pair.states().iter().all(|state| *state != BfdState::Up));
        assert_eq!(pair.ends[1].diagnostic(), 1, "nothing came");
        assert_eq!(pair.ends[0].diagnostic(), 3, "the other end has said so");
        pair.is_open[0] = true;
        pair.run(4000 * MS);
        assert_eq!(pair.states(), [BfdState::Up; 2]);
        assert_eq!(pair.ends[0].flaps(), 3);
    }

    #[test]
    fn another_program_goes_on_with_a_session_and_the_other_end_notices_nothing() {
        let mut pair = Pair::new(BfdConfig::default(), BfdConfig::default());
        pair.run(5000 * MS);
        // The first end has been down before.
        pair.is_open = [false; 2];
        pair.run(3100 * MS);
        pair.is_open = [true; 2];
        pair.run(5000 * MS);
        let (before, flaps) = (pair.ends[0].clone(), pair.ends[1].flaps());
        let words = serde_json::to_string(&before.to_given()).unwrap();
        let given: GivenSession = serde_json::from_str(&words).unwrap();
        // The other program needs most of the detection time until it sends.
        let sent = pair.ends[0].next;
        pair.ends[0].next = sent + 60_000 * MS;
        pair.run(2000 * MS);
        pair.ends[0] = Session::go_on(before.config(), &given, 3, pair.now);
        let after = &pair.ends[0];
        assert_eq!(after.discriminator(), before.discriminator());
        assert_eq!((after.state(), after.flaps()), (BfdState::Up, 3));
        assert_eq!((after.remote(), after.diagnostic()), (before.remote(), before.diagnostic()));
        assert_eq!(after.detection_time(), before.detection_time());
        pair.run(20_000 * MS);
        assert_eq!(pair.states(), [BfdState::Up; 2]);
        assert_eq!((pair.ends[0].flaps(), pair.ends[1].flaps()), (3, flaps));
        // A session that has heard nobody yet has no time in which it has to hear somebody.
        let fresh = Session::new(BfdConfig::default(), 11, 1, Duration::ZERO);
        let after = Session::go_on(BfdConfig::default(), &fresh.to_given(), 1, 9000 * MS);
        assert_eq!((after.state(), after.deadline()), (BfdState::Down, 9000 * MS));
        assert_eq!(after.remote(), fresh.remote());
    }

    #[test]
    fn fast_sessions_notice_fast() {
        let fast = BfdConfig { min_rx: 20 * MS, min_tx: 20 * MS, ..BfdConfig::default() };
        let mut pair = Pair::new(fast, fast);
        pair.run(2000 * MS);
        assert_eq!(pair.states(), [BfdState::Up; 2]);
        pair.is_open = [false; 2];
        pair.run(80 * MS);
        assert_eq!(pair.states(), [BfdState::Down; 2]);
        // While it is down, nobody sends more than once a second, less jitter.
        let before = pair.sent;
        pair.run(10_000 * MS);
        assert!((10..=14).contains(&(pair.sent[0] - before[0])), "{:?}", pair.sent);
    }

    #[test]
    fn other_intervals_are_agreed_upon_while_it_is_up() {
        let mut pair = Pair::new(BfdConfig::default(), BfdConfig::default());
        pair.run(3000 * MS);
        let slow = BfdConfig { min_rx: 2000 * MS, ..BfdConfig::default() };
        pair.ends[0].configure(slow);
        assert!(pair.ends[0].polls);
        pair.run(3000 * MS);
        assert!(!pair.ends[0].polls);
        assert_eq!(pair.ends[1].tx_interval(), 2000 * MS);
        pair.run(20_000 * MS);
        assert_eq!(pair.states(), [BfdState::Up; 2]);
    }

    #[test]
    fn packets_of_others_change_nothing() {
        let mut session = Session::new(BfdConfig::default(), 11, 1, Duration::ZERO);
        let mut bytes = [0; SIZE];
        let mut packet = BfdPacket::new_unchecked(&mut bytes);
        packet.begin(0, BfdState::Up, 0);
        packet.set_detect_multiplier(3);
        packet.set_discriminators(5, 12);
        assert!(!session.receive(&bytes, MS), "another session");
        assert!(!session.receive(&bytes[..20], MS), "cut off");
        assert_eq!((session.state(), session.remote().discriminator), (BfdState::Down, 0));
        // To a session that is down, one that is up has nothing to say (RFC 5880 §6.8.6).
        BfdPacket::new_unchecked(&mut bytes).set_discriminators(5, 11);
        assert!(session.receive(&bytes, MS));
        assert_eq!(session.state(), BfdState::Down);
    }

    #[test]
    fn who_wants_no_packets_gets_none() {
        let mut session = Session::new(BfdConfig::default(), 11, 1, Duration::ZERO);
        let mut bytes = [0; SIZE];
        let mut packet = BfdPacket::new_unchecked(&mut bytes);
        packet.begin(0, BfdState::AdminDown, POLL);
        packet.set_detect_multiplier(3);
        packet.set_discriminators(5, 0);
        packet.set_intervals(1_000_000, 0);
        assert!(session.receive(&bytes, MS));
        let answer = session.poll(MS).unwrap();
        assert_eq!(BfdPacket::new_unchecked(&answer).flags(), FINAL);
        assert_eq!((2..9000).find_map(|ms| session.poll(ms * MS)), None);
    }
}
