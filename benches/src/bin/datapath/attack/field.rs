//! Where an attack happens, and what is seen of it.

use super::kinds::Attack;
use benches::cpu_time::CpuTimer;
use benches::null_port::NullSwitch;
use benches::rules::pipeline_with;
use benches::workload::{MACS, Order, SplitMix, Tuple, Workload};
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::types::PortNo;
use packet::MAX_BATCH;
use std::sync::Arc;
use std::time::Duration;

/// The share of the rate without an attack that counts as no attack.
const RECOVERED: f64 = 0.95;

/// What one spell of an attack did.
#[derive(Clone, Copy)]
pub(super) struct Spell {
    /// Millions of established frames per second.
    pub(super) rate: f64,
    /// Frames per second that the budget of new flows refused.
    pub(super) refused: f64,
    /// Share of new connections that got through, with the first of their frames.
    pub(super) first: f64,
    /// And with any.
    pub(super) any: f64,
}

/// A switch with established traffic, and somebody who attacks it.
pub(super) struct Field {
    pub(super) switch: NullSwitch,
    attack: Attack,
    rng: SplitMix,
    established: Workload,
    /// Connections made so far.
    made: u32,
}

impl Field {
    pub(super) fn new(attack: Attack) -> Self {
        let pipeline = Arc::new(pipeline_with(4, &attack.rules()));
        let datapath = Datapath::new(Arc::clone(&pipeline), CacheConfig::default(), 1, 42);
        let mut switch = NullSwitch::new(datapath, attack.family());
        // The established host's destination is known.
        let mut reply = MACS;
        reply.rotate_left(6);
        switch.receive_on(PortNo(1), |_| (Tuple::numbered(0), reply));
        let mut established = Workload::numbered(1_000, Order::Rotation);
        switch.warm_up(&mut established);
        // What the monitor does twice a second: now the host is known to be established.
        let (registry, now) = (switch.datapath.registry(), switch.now());
        registry.sweep(&pipeline, now, Duration::from_secs(10));
        Self { switch, attack, rng: SplitMix(3), established, made: 2_000_000 }
    }

    /// Established frames for some time while `per_second` others come.
    fn run(&mut self, seconds: f64, per_second: f64) -> f64 {
        let Self { switch, attack, rng, established, .. } = self;
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
                    false => (established.next_flow(), MACS),
                });
                sent += hostile as f64;
                frames += MAX_BATCH - hostile;
            }
            elapsed = timer.elapsed().as_secs_f64();
        }
        frames as f64 / elapsed / 1e6
    }

    /// The attack at some speed for a while, and new connections under it.
    pub(super) fn spell(&mut self, seconds: f64, per_second: f64) -> Spell {
        self.run(0.05, per_second);
        let before = self.switch.datapath.stats().refused.get();
        let rate = self.run(seconds, per_second);
        let refused = (self.switch.datapath.stats().refused.get() - before) as f64 / seconds;
        let (first, any) = self.connect(per_second);
        Spell { rate, refused, first, any }
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
                let drops = self.switch.datapath.stats().refused.get();
                self.switch.poll_with(1, |_| (port_80, MACS));
                *done = self.switch.datapath.stats().refused.get() == drops;
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

    /// Ends the attack. Returns the rate of the first tenth of a second, and the seconds until a tenth
    /// had nearly the rate of before, with that tenth; it waits for three.
    pub(super) fn recover(&mut self, calm: f64) -> (f64, f64) {
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
