//! Where an attack happens, and what is seen of it.
//!
//! Rates of a shared machine change from one tenth of a second to the next, so each spell of an attack has one
//! without right before and right after it, and is compared with these two. The switch's clock tells the time
//! on the core as the rates do: the budgets of a port are a part of that.

use benches::attack::Attack;
use benches::cpu_time::CpuTimer;
use benches::null_port::NullSwitch;
use benches::rules::pipeline_with;
use benches::workload::{MACS, Order, SplitMix, Tuple, Workload};
use flow::metric::CacheMetric;
use flow::text::{ParseContext, parse_flow};
use flow::types::PortNo;
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::policy::Policy;
use packet::MAX_BATCH;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How many flows are established before an attack.
const FLOWS: u32 = 1_000;
/// The share of the rate without an attack that counts as no attack.
const RECOVERED: f64 = 0.95;
/// Seconds in which an attack uses up what the budget of its port has saved.
const LEAD: f64 = 0.1;
/// How often the daemon looks at what is cached.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// What one spell of an attack did.
#[derive(Clone, Copy)]
pub(super) struct Spell {
    /// Millions of established frames per second, before and after the attack.
    pub(super) calm: f64,
    /// Millions of established frames per second during the attack.
    pub(super) rate: f64,
    /// Frames per second that the budget of new flows refused.
    pub(super) refused: f64,
    /// Share of new connections, from 0 to 1, of which the first frame got through.
    pub(super) first: f64,
    /// Share of new connections, from 0 to 1, of which at least one frame got through.
    pub(super) any: f64,
    /// Millions of established frames per second in the first tenth of a second after the attack.
    pub(super) tenth: f64,
    /// Seconds after the attack until the rate was nearly that of before.
    pub(super) recovery: f64,
}

/// Established flows, each from a host of its own to another one.
struct Established(Workload);

impl Established {
    #[inline]
    fn next_frame(&mut self) -> (Tuple, [u8; 12]) {
        let flow = self.0.next_flow();
        // The addresses of numbered flows end in their numbers.
        let [_, _, high, low] = flow.src.to_be_bytes();
        let mut macs = MACS;
        macs[3..5].copy_from_slice(&[high, low]);
        macs[9..11].copy_from_slice(&[high, low]);
        (flow, macs)
    }
}

/// What the daemon does about cached flows from time to time, until this is dropped.
struct Monitor {
    /// The time on the switch's clock, in nanoseconds.
    now: Arc<AtomicU64>,
    _stop: mpsc::Sender<()>,
}

impl Monitor {
    fn start(policy: &Arc<Policy>, switch: &NullSwitch) -> Self {
        let (policy, registry) = (Arc::clone(policy), Arc::clone(switch.datapath.registry()));
        let now = Arc::new(AtomicU64::new(switch.now().as_nanos() as u64));
        let clock = Arc::clone(&now);
        let (stop, stopped) = mpsc::channel();
        std::thread::spawn(move || {
            loop {
                let now = Duration::from_nanos(clock.load(Ordering::Relaxed));
                registry.sweep(&policy, now, Duration::from_secs(10));
                policy.sweep_macs(now);
                let is_over = stopped.recv_timeout(SWEEP_INTERVAL);
                if is_over != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Self { now, _stop: stop }
    }
}

/// A switch with established traffic, and somebody who attacks it.
pub(super) struct Field {
    pub(super) switch: NullSwitch,
    attack: Attack,
    rng: SplitMix,
    established: Established,
    /// Connections made so far.
    made: u32,
    monitor: Monitor,
}

impl Field {
    pub(super) fn new(attack: Attack) -> Self {
        let rule = |line| parse_flow(line, &ParseContext::default()).expect("it is written here");
        let rules: Vec<_> = attack.rules().lines().map(rule).collect();
        let policy = Arc::new(pipeline_with(4, &rules));
        let datapath = Datapath::new(Arc::clone(&policy), CacheConfig::default(), 1, 42);
        let mut switch = NullSwitch::new(datapath, attack.family());
        switch.use_time_on_core();
        let mut established = Established(Workload::numbered(FLOWS, Order::Rotation));
        // It is known where the destinations are.
        for _ in 0..FLOWS {
            let (flow, mut reply) = established.next_frame();
            reply.rotate_left(6);
            switch.receive_on(PortNo(1), |_| (flow, reply));
        }
        // Twice, a second apart: now the first sweep finds the sources established.
        for _ in 0..2 {
            for _ in 0..FLOWS {
                switch.poll_with(1, |_| established.next_frame());
            }
            switch.skip += Duration::from_secs(1);
        }
        let monitor = Monitor::start(&policy, &switch);
        Self { switch, attack, rng: SplitMix(3), established, made: 2_000_000, monitor }
    }

    /// Established frames for some time while `per_second` others come.
    fn run(&mut self, seconds: f64, per_second: f64) -> f64 {
        let Self { switch, attack, rng, established, monitor, .. } = self;
        let (mut frames, mut sent, mut elapsed) = (0, 0.0, 0.0);
        let timer = CpuTimer::start();
        while elapsed < seconds {
            // Spread over the eight batches that follow.
            let due = ((elapsed * per_second - sent) / 8.0).min(32.0);
            for _ in 0..8 {
                let debt = due + (rng.next() >> 40) as f64 / (1u64 << 24) as f64;
                let hostile = if per_second > 0.0 { debt.max(0.0) as usize } else { 0 };
                switch.poll_with(MAX_BATCH, |n| match n < hostile {
                    true => attack.frame(rng),
                    false => established.next_frame(),
                });
                sent += hostile as f64;
                frames += MAX_BATCH - hostile;
            }
            elapsed = timer.elapsed().as_secs_f64();
            monitor.now.store(switch.now().as_nanos() as u64, Ordering::Relaxed);
        }
        frames as f64 / elapsed / 1e6
    }

    /// The attack at some speed for a while, and new connections under it.
    pub(super) fn spell(&mut self, seconds: f64, per_second: f64) -> Spell {
        let before = self.run(seconds / 2.0, 0.0);
        self.run(LEAD, per_second);
        let refusals = |field: &Self| field.switch.datapath.stats()[CacheMetric::Refused].get();
        let refused = refusals(self);
        let rate = self.run(seconds, per_second);
        let refused = (refusals(self) - refused) as f64 / seconds;
        let (first, any) = self.connect(per_second);
        let (tenth, recovery) = self.recover(before);
        let after = self.run(seconds / 2.0, 0.0);
        Spell { calm: (before + after) / 2.0, rate, refused, first, any, tenth, recovery }
    }

    /// Makes connections while the attack goes on, a hundredth of a second between their frames.
    fn connect(&mut self, per_second: f64) -> (f64, f64) {
        const CONNECTIONS: u32 = 1_000;
        let start = self.made;
        self.made += CONNECTIONS;
        let mut got_through = vec![false; CONNECTIONS as usize];
        let (mut first, mut tries) = (0, 0);
        while tries < 3 {
            for (n, done) in got_through.iter_mut().enumerate().filter(|(_, done)| !**done) {
                let flow = Tuple::numbered(start + n as u32);
                let port_80 = Tuple { dport: 80, ..flow };
                let drops = self.switch.datapath.stats()[CacheMetric::Refused].get();
                self.switch.poll_with(1, |_| (port_80, MACS));
                *done = self.switch.datapath.stats()[CacheMetric::Refused].get() == drops;
            }
            if tries == 0 {
                first = got_through.iter().filter(|done| **done).count();
            }
            tries += 1;
            self.run(0.01, per_second);
        }
        let any = got_through.iter().filter(|done| **done).count();
        let share = |n: usize| n as f64 / f64::from(CONNECTIONS);
        (share(first), share(any))
    }

    /// Returns the rate of the first tenth of a second after an attack, and the seconds until a tenth had
    /// nearly the rate of before, with that tenth; it waits for three.
    fn recover(&mut self, calm: f64) -> (f64, f64) {
        const TENTH: f64 = 0.1;
        const PATIENCE: u32 = 30;
        let first = self.run(TENTH, 0.0);
        let (mut rate, mut tenths) = (first, 1);
        while rate < RECOVERED * calm && tenths < PATIENCE {
            rate = self.run(TENTH, 0.0);
            tenths += 1;
        }
        (first, f64::from(tenths) * TENTH)
    }
}
