//! Cached traffic while somebody sends what makes most work.
//!
//! Each attack runs at three speeds on top of 1,000 established flows. Told are the established
//! frames' rate against no attack, what the attack got into the caches, and how many of 1,000 new
//! connections of the established host got through with their first frame and with one of three.
//! Then the attack stops, and the first tenth of a second without it is measured.

use crate::{Args, Report, reading_rule, warm_up};
use benches::cpu_time::{CpuTimer, median};
use benches::null_port::NullSwitch;
use benches::rules::{add, matching, output, pipeline_with};
use benches::workload::{Family, MACS, Order, SplitMix, Tuple, Workload};
use flowtable::action::Action;
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::flow::Match;
use flowtable::flow::extract::eth_type;
use flowtable::flow_mod::FlowMod;
use flowtable::types::{OfPort, PortNo};
use packet::MAX_BATCH;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// Rules that make many masks, and addresses and ports that meet all of them.
    TupleSpace,
    /// The same with IPv6.
    TupleSpace6,
    /// Random 5-tuples where every flow is cached by itself.
    Tuples,
    /// 5-tuples whose words have the same sum and the same exclusive or, for simple hash functions.
    Collisions,
    /// Random source MAC addresses under NORMAL.
    Sources,
    /// Random destination MAC addresses under NORMAL.
    Destinations,
}

impl Attack {
    const ALL: [Self; 6] = [
        Self::TupleSpace,
        Self::TupleSpace6,
        Self::Tuples,
        Self::Collisions,
        Self::Sources,
        Self::Destinations,
    ];

    fn family(self) -> Family {
        if self == Self::TupleSpace6 { Family::V6 } else { Family::V4 }
    }

    fn rules(self) -> Vec<FlowMod> {
        match self {
            Self::Tuples | Self::Collisions => vec![reading_rule()],
            Self::Sources | Self::Destinations => {
                let normal = vec![Action::Output { port: OfPort::NORMAL }];
                vec![add(0, 0, Match::any(), normal)]
            }
            Self::TupleSpace => allow_a_few(Family::V4),
            Self::TupleSpace6 => allow_a_few(Family::V6),
        }
    }

    /// A frame of the attack, from a host of its own.
    fn frame(self, rng: &mut SplitMix) -> (Tuple, [u8; 12]) {
        let (a, b) = (rng.next(), rng.next());
        let mut flow = Tuple {
            src: a as u32,
            dst: (a >> 32) as u32,
            sport: b as u16,
            dport: (b >> 16) as u16,
            proto: 17,
        };
        if self == Self::Collisions {
            (flow.dst, flow.dport) = (!flow.src, !flow.sport);
        }
        let mut macs = MACS;
        macs[11] = 66;
        let [_, _, m @ ..] = b.to_be_bytes();
        match self {
            Self::Sources => macs[7..12].copy_from_slice(&m[..5]),
            Self::Destinations => macs[1..6].copy_from_slice(&m[..5]),
            _ => {}
        }
        (flow, macs)
    }
}

/// "Allow a few, drop the rest": a port, a network, another port.
fn allow_a_few(family: Family) -> Vec<FlowMod> {
    let dl_type = if family == Family::V4 { eth_type::IPV4 } else { eth_type::IPV6 };
    let of_type = |set: &dyn Fn(&mut flowtable::flow::FlowKey, &mut flowtable::flow::FlowMask)| {
        matching(|key, mask| {
            key.flow.dl_type.set(dl_type);
            mask.flow.dl_type.set(u16::MAX);
            set(&mut key.flow, &mut mask.flow);
        })
    };
    let udp = |set: &dyn Fn(&mut flowtable::flow::FlowKey, &mut flowtable::flow::FlowMask)| {
        of_type(&|key, mask| {
            (key.nw_proto, mask.nw_proto) = (17, u8::MAX);
            set(key, mask);
        })
    };
    let to_80 = udp(&|key, mask| {
        key.tp_dst.set(80);
        mask.tp_dst.set(u16::MAX);
    });
    // 10/8, and in IPv6 the same bits behind 2001:db8::/96.
    let from_ten = of_type(&|key, mask| {
        let byte = if family == Family::V4 { 0 } else { 12 };
        (key.nw_addrs[byte], mask.nw_addrs[byte]) = (10, 255);
        if family == Family::V6 {
            key.nw_addrs[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
            mask.nw_addrs[..12].fill(255);
        }
    });
    let from_port = udp(&|key, mask| {
        key.tp_src.set(12_345);
        mask.tp_src.set(u16::MAX);
    });
    vec![
        add(0, 30, to_80, output(2)),
        add(0, 20, from_ten, output(2)),
        add(0, 10, from_port, output(2)),
        add(0, 1, Match::any(), Vec::new()),
    ]
}

/// What one spell of an attack did.
#[derive(Clone, Copy)]
struct Spell {
    /// Millions of established frames per second.
    rate: f64,
    refused: f64,
    /// Share of new connections that got through, with the first of their frames and with any.
    first: f64,
    any: f64,
}

struct Field {
    switch: NullSwitch,
    attack: Attack,
    rng: SplitMix,
    established: Workload,
    /// Connections made so far.
    made: u32,
}

impl Field {
    fn new(attack: Attack) -> Self {
        let pipeline = Arc::new(pipeline_with(4, &attack.rules()));
        let datapath = Datapath::new(Arc::clone(&pipeline), CacheConfig::default(), 1, 42);
        let mut switch = NullSwitch::new(datapath, attack.family());
        // The established host's destination is known.
        let mut reply = MACS;
        reply.rotate_left(6);
        switch.receive_on(PortNo(1), |_| (Tuple::numbered(0), reply));
        let mut established = Workload::numbered(1_000, Order::Rotation);
        warm_up(&mut switch, &mut established);
        // What the monitor does twice a second.
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

    fn spell(&mut self, seconds: f64, per_second: f64) -> Spell {
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
}

pub(crate) fn run(args: &Args, report: &Report) {
    const SPEEDS: [f64; 4] = [0.0, 100e3, 300e3, 1e6];
    for attack in Attack::ALL {
        let mut field = Field::new(attack);
        let mut spells = [const { Vec::new() }; 4];
        let mut after = Vec::new();
        for _ in 0..args.runs {
            for (speed, spells) in SPEEDS.iter().zip(&mut spells) {
                spells.push(field.spell(args.seconds, *speed));
            }
            after.push(field.run(0.1, 0.0));
        }
        let middle =
            |spells: &[Spell], of: fn(&Spell) -> f64| median(spells.iter().map(of).collect());
        let calm = middle(&spells[0], |s| s.rate);
        let stats = field.switch.datapath.stats();
        for (speed, spells) in SPEEDS.iter().zip(&spells) {
            let rate = middle(spells, |s| s.rate);
            let note = format!(
                "{:.0} %, {:.0} k/s refused, new connections {:.0} % at once, {:.0} % of three",
                100.0 * rate / calm,
                middle(spells, |s| s.refused) / 1e3,
                100.0 * middle(spells, |s| s.first),
                100.0 * middle(spells, |s| s.any),
            );
            report.line(&format!("attack/{attack:?}/{:.0}k", speed / 1e3), rate, "Mpps", &note);
        }
        let rate = median(after);
        let note = format!(
            "{:.0} % in the first 0.1 s, {} of {} flows, {} masks, {} probed",
            100.0 * rate / calm,
            stats.flows.get(),
            stats.max_flows.get(),
            stats.masks.get(),
            stats.active_masks.get()
        );
        report.line(&format!("attack/{attack:?}/after"), rate, "Mpps", &note);
    }
}
