//! Frames of 1,000 established connections while somebody sends frames that each begin another one: datagrams
//! of random addresses and ports, or SYNs of these.
//!
//! The table tells the rate of the established frames against that right before and right after, and how many
//! of 1,000 new connections of established hosts got through with their first frame.

use super::{TRACKED, establish, policy, switch};
use crate::Bench;
use benches::cpu_time::CpuTimer;
use benches::null_port::NullSwitch;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::workload::{MACS, Order, SplitMix, Tuple, Workload};
use flowtable::policy::Policy;
use packet::MAX_BATCH;
use packet::wire::ip_proto;
use std::sync::Arc;

const ESTABLISHED: u32 = 1_000;
/// Frames of the flood a second, and how much of the rate without is wanted, in percent.
const SPEEDS: [(&str, f64, f64); 3] =
    [("100k/s", 100e3, 85.0), ("300k/s", 300e3, 80.0), ("1M/s", 1e6, 65.0)];
/// Seconds in which a flood uses up what a budget has saved.
const LEAD: f64 = 0.1;
/// New connections of established hosts during a flood.
const NEW: u32 = 1_000;
/// The part of them that is to get through, in percent.
const NEW_WANTED: f64 = 99.0;

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let about = "frames of 1,000 established connections beside a flood of new ones";
    let mut results = Table::new("connections flooded", about);
    let calm = results.column("no flood", "Mpps", Better::Higher);
    let shares = SPEEDS.map(|(speed, ..)| results.column(speed, "%", Better::Higher));
    let news = SPEEDS
        .map(|(speed, ..)| results.column(&format!("new ones, {speed}"), "%", Better::Higher));
    for (name, proto) in [("5-tuples", ip_proto::UDP), ("SYNs", ip_proto::TCP)] {
        let row = results.row(name, Role::Ours);
        let mut field = Field::new(proto)?;
        for run in 1..=bench.args.runs {
            progress(&format!("connections flooded: {name}, run {run}"));
            for (n, (_, speed, _)) in SPEEDS.into_iter().enumerate() {
                let seconds = bench.args.seconds;
                let before = field.run(seconds / 2.0, 0.0);
                field.run(LEAD, speed);
                let rate = field.run(seconds, speed);
                let through = field.connect(speed);
                let after = field.run(seconds / 2.0, 0.0);
                let without = (before + after) / 2.0;
                results.record(row, calm, without);
                results.record(row, shares[n], 100.0 * rate / without);
                results.record(row, news[n], 100.0 * through);
            }
        }
        for (n, (speed, _, wanted)) in SPEEDS.into_iter().enumerate() {
            let share = results.median(row, shares[n]);
            let goal = format!("connections, {name} at {speed}: % of the rate without");
            bench.goal(Goal::at_least(&goal, share, wanted));
            let goal = format!("connections, {name} at {speed}: % of new connections");
            bench.goal(Goal::at_least(&goal, results.median(row, news[n]), NEW_WANTED));
        }
    }
    bench.report.add(results);
    Ok(())
}

struct Field {
    _policy: Arc<Policy>,
    switch: NullSwitch,
    established: Workload,
    rng: SplitMix,
    /// The protocol of the flood.
    proto: u8,
    /// How many connections of established hosts were made during floods.
    made: u32,
}

impl Field {
    fn new(proto: u8) -> anyhow::Result<Self> {
        let policy = policy(TRACKED)?;
        let mut switch = switch(&policy, 42);
        establish(&policy, &mut switch, ESTABLISHED)?;
        let established = Workload::numbered(ESTABLISHED, Order::Rotation);
        let rng = SplitMix(3);
        let mut field = Self { _policy: policy, switch, established, rng, proto, made: 0 };
        field.run(LEAD, 0.0);
        Ok(field)
    }

    /// Established frames for some time while `per_second` others come. Returns millions
    /// of established frames a second.
    fn run(&mut self, seconds: f64, per_second: f64) -> f64 {
        let Self { switch, established, rng, proto, .. } = self;
        let (mut frames, mut sent, mut elapsed) = (0, 0.0, 0.0);
        let timer = CpuTimer::start();
        while elapsed < seconds {
            // Spread over the eight batches that follow.
            let due = ((elapsed * per_second - sent) / 8.0).min(48.0);
            for _ in 0..8 {
                let debt = due + (rng.next() >> 40) as f64 / (1u64 << 24) as f64;
                let hostile = if per_second > 0.0 { debt.max(0.0) as usize } else { 0 };
                switch.poll_with(MAX_BATCH, |n| match n < hostile {
                    true => hostile_frame(rng, *proto),
                    false => (established.next_flow(), MACS),
                });
                sent += hostile as f64;
                frames += MAX_BATCH - hostile;
            }
            elapsed = timer.elapsed().as_secs_f64();
        }
        frames as f64 / elapsed / 1e6
    }

    /// Makes connections of established hosts, one after each millisecond of a flood, and returns
    /// the part that got through.
    fn connect(&mut self, per_second: f64) -> f64 {
        let mut through = 0;
        for _ in 0..NEW / 10 {
            self.run(0.001, per_second);
            for _ in 0..10 {
                let flow = Tuple::numbered(self.made % ESTABLISHED);
                let new = Tuple { dport: 10_000 + (self.made / ESTABLISHED) as u16, ..flow };
                self.made += 1;
                let sent = self.switch.sent;
                self.switch.poll_with(1, |_| (new, MACS));
                through += self.switch.sent - sent;
            }
        }
        through as f64 / f64::from(NEW)
    }
}

/// The first frame of a connection that nobody has heard of.
fn hostile_frame(rng: &mut SplitMix, proto: u8) -> (Tuple, [u8; 12]) {
    let (a, b) = (rng.next(), rng.next());
    let flow = Tuple {
        src: a as u32,
        dst: (a >> 32) as u32,
        sport: b as u16 | 1,
        dport: (b >> 16) as u16 | 1,
        proto,
    };
    let mut macs = MACS;
    macs[11] = 66;
    (flow, macs)
}
