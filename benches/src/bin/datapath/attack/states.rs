//! Frames that go round with ever new states, from one port, beside established traffic of another port that
//! needs states of its own.
//!
//! Every frame has a label, and a rule keeps its source address in a register and pops the label: the state
//! with which the second pass begins has the address. The table tells the rate of the established frames,
//! against that right before and right after as in the other attacks. It also tells how many frames from the
//! established hosts' port were dropped because no state was left. New hosts come up there all the time, whose
//! frames need new states.

use super::SPEEDS;
use crate::Bench;
use benches::cpu_time::CpuTimer;
use benches::null_port::NullSwitch;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::rules::{add, output, pipeline_with, pop_label};
use benches::workload::{Family, MACS, Order, SplitMix, Tuple, Workload};
use flow::Match;
use flow::action::{Action, Subfield};
use flow::fields::FieldId;
use flow::metric::CacheMetric;
use flow::types::PortNo;
use flow::verdict::DropReason;
use flowtable::datapath::{CacheConfig, Datapath};
use packet::MAX_BATCH;
use std::sync::Arc;
use std::time::Duration;

const FLOWS: u32 = 1_000;
const ATTACKER: PortNo = PortNo(2);
/// Seconds in which the attacker uses up what its port has saved, and the room for its states.
const LEAD: f64 = 1.0;

pub(super) fn run(bench: &mut Bench) {
    let about = "frames of 1,000 flows that go round while another port makes ever new states";
    let mut results = Table::new("states", about);
    let calm = results.column("no attack", "Mpps", Better::Higher);
    let shares = SPEEDS.map(|(speed, ..)| results.column(speed, "%", Better::Higher));
    let dropped = results.column("no state left", "", Better::Lower);
    let made = results.column("new flows", "k/s", Better::Neither);
    let row = results.row("labels popped", Role::Ours);
    let mut field = Field::new();
    for run in 1..=bench.args.runs {
        progress(&format!("attack: states, run {run}"));
        for (n, (_, speed, _)) in SPEEDS.into_iter().enumerate() {
            let seconds = bench.args.seconds;
            let before = field.run(seconds / 2.0, 0.0);
            field.run(LEAD, speed);
            let misses = field.misses();
            let rate = field.run(seconds, speed);
            results.record(row, made, (field.misses() - misses) as f64 / seconds / 1e3);
            let after = field.run(seconds / 2.0, 0.0);
            let without = (before + after) / 2.0;
            results.record(row, calm, without);
            results.record(row, shares[n], 100.0 * rate / without);
            results.record(row, dropped, field.without_state() as f64);
        }
    }
    for ((speed, _, wanted), share) in SPEEDS.into_iter().zip(shares) {
        if let Some(wanted) = wanted {
            let goal = format!("attack, states, {speed}: % of the rate without");
            bench.goal(Goal::at_least(&goal, results.median(row, share), wanted));
        }
    }
    let goal = "attack, states: frames of others without state";
    bench.goal(Goal::at_most(goal, results.median(row, dropped), 0.0));
    bench.report.add(results);
}

struct Field {
    switch: NullSwitch,
    rng: SplitMix,
    established: Workload,
    /// The number of the flow of the next new host.
    next_new: u32,
}

impl Field {
    fn new() -> Self {
        let keep_source = Action::Move {
            src: Subfield { field: FieldId::EthSrc, offset: 0, n_bits: 32 },
            dst: Subfield { field: FieldId::Reg(0), offset: 0, n_bits: 32 },
        };
        let first: Vec<Action> = [vec![keep_source], pop_label()].concat();
        let rules = [add(0, 1, Match::any(), first), add(1, 1, Match::any(), output(2))];
        let policy = Arc::new(pipeline_with(4, &rules));
        let datapath = Datapath::new(policy, CacheConfig::default(), 1, 42);
        let mut field = Self {
            switch: NullSwitch::new(datapath, Family::Mpls),
            rng: SplitMix(3),
            established: Workload::numbered(FLOWS, Order::Rotation),
            next_new: FLOWS,
        };
        field.switch.use_time_on_core();
        for _ in 0..2 {
            field.run(0.01, 0.0);
            field.switch.skip += Duration::from_secs(1);
        }
        field
    }

    /// Established frames for some time while the attacker sends `per_second` others. Returns millions of
    /// established frames a second.
    fn run(&mut self, seconds: f64, per_second: f64) -> f64 {
        let Self { switch, rng, established, next_new } = self;
        let (mut frames, mut sent, mut elapsed) = (0, 0.0, 0.0);
        let timer = CpuTimer::start();
        while elapsed < seconds {
            for _ in 0..8 {
                switch.poll_with(MAX_BATCH, |_| host_of(established.next_flow()));
                frames += MAX_BATCH;
            }
            switch.poll_with(1, |_| host_of(Tuple::numbered(*next_new)));
            *next_new += 1;
            let due = (elapsed * per_second - sent).clamp(0.0, MAX_BATCH as f64) as usize;
            if due > 0 {
                switch.poll_on(ATTACKER, due, |_| hostile(rng));
                sent += due as f64;
            }
            elapsed = timer.elapsed().as_secs_f64();
        }
        frames as f64 / elapsed / 1e6
    }

    fn misses(&self) -> u64 {
        self.switch.datapath.stats()[CacheMetric::Misses].get()
    }

    /// Frames of the established hosts that were dropped because no state was left.
    fn without_state(&self) -> u64 {
        self.switch.counters.rx_dropped(DropReason::RecirculationLimit).get()
    }
}

/// A frame of a flow, from a host of the flow's own.
fn host_of(flow: Tuple) -> (Tuple, [u8; 12]) {
    // The addresses of numbered flows end in their numbers.
    let [_, number @ ..] = flow.src.to_be_bytes();
    let mut macs = MACS;
    macs[8..11].copy_from_slice(&number);
    (flow, macs)
}

/// A frame of a host that nobody has seen before.
fn hostile(rng: &mut SplitMix) -> (Tuple, [u8; 12]) {
    let [a, b, c, d, ..] = rng.next().to_be_bytes();
    let mut macs = MACS;
    macs[8..].copy_from_slice(&[a, b, c, d]);
    (Tuple::numbered(1), macs)
}
