//! How fast the datapath is by itself, between ports without I/O, on one core.
//!
//! ```text
//! cargo run --release -p benches --bin datapath -- [scenario...] [--json]
//! ```
//!
//! Rates are frames per second of the thread's time on its core, the fabrication of the frames and
//! the reading of the clock included; each is the median of several runs.

mod attack;
mod tables;

use benches::cpu_time::{CpuTimer, median};
use benches::null_port::NullSwitch;
use benches::rules::{add, delete, matching, output, pipeline_with};
use benches::workload::{Family, Order, Tuple, Workload};
use clap::{Parser, ValueEnum};
use flowtable::action::{Action, Subfield};
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::flow::Match;
use flowtable::flow::extract::eth_type;
use flowtable::flow::fields::FieldId;
use flowtable::flow_mod::FlowMod;
use flowtable::pipeline::Pipeline;
use packet::MAX_BATCH;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Measure the datapath between null ports.
#[derive(Parser)]
struct Args {
    /// What to measure; everything if nothing is named.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Seconds of one run.
    #[arg(long, default_value_t = 0.3)]
    seconds: f64,
    /// Runs of which the median is taken.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// A folder with ClassBench sets, acl1_10000.rules.gz and so on.
    #[arg(long, value_name = "DIR")]
    classbench: Option<PathBuf>,
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Cached traffic, by number of flows; all in 16 cached flows, or each in one of its own.
    Flows,
    /// New flows through ten thousand rules, caches cold.
    Setup,
    /// Cached traffic while rules change that it does not meet.
    Churn,
    /// Cached traffic while somebody sends what makes most work.
    Attack,
    /// The traces of ClassBench sets, made ones unless a folder is named.
    Classbench,
    /// A pipeline of twenty tables, with caches and without.
    Deep,
}

fn main() {
    let args = Args::parse();
    let all = Scenario::value_variants();
    let scenarios = if args.scenarios.is_empty() { all } else { &args.scenarios };
    let report = Report { json: args.json };
    for scenario in scenarios {
        match scenario {
            Scenario::Flows => flows(&args, &report),
            Scenario::Setup => setup(&args, &report),
            Scenario::Churn => churn(&args, &report),
            Scenario::Attack => attack::run(&args, &report),
            Scenario::Classbench => tables::classbench(&args, &report),
            Scenario::Deep => tables::deep(&args, &report),
        }
    }
}

/// Prints results, one a line.
struct Report {
    json: bool,
}

impl Report {
    fn line(&self, case: &str, value: f64, unit: &str, note: &str) {
        if self.json {
            let line =
                serde_json::json!({"case": case, "value": value, "unit": unit, "note": note});
            println!("{line}");
        } else {
            println!("{case:<44} {value:>10.2} {unit:<8} {note}");
        }
    }
}

fn datapath(pipeline: Pipeline) -> Datapath {
    Datapath::new(Arc::new(pipeline), CacheConfig::default(), 1, 42)
}

/// 16 rules that tell the flows apart by their destination port.
fn sixteen_rules(family: Family) -> Vec<FlowMod> {
    let dl_type = if family == Family::V4 { eth_type::IPV4 } else { eth_type::IPV6 };
    let rule = |n: u16| {
        let m = matching(|key, mask| {
            key.flow.dl_type.set(dl_type);
            mask.flow.dl_type.set(u16::MAX);
            key.flow.nw_proto = 17;
            mask.flow.nw_proto = u8::MAX;
            key.flow.tp_dst.set(5000 + n);
            mask.flow.tp_dst.set(u16::MAX);
        });
        add(0, 100, m, output(2 + n % 2))
    };
    (0..16).map(rule).collect()
}

/// One rule whose action reads the whole 5-tuple, so that every flow is cached by itself.
fn reading_rule() -> FlowMod {
    let read = |field: FieldId| Action::Move {
        src: Subfield { field, offset: 0, n_bits: 16 },
        dst: Subfield { field: FieldId::Reg(0), offset: 0, n_bits: 16 },
    };
    let fields = [FieldId::UdpSrc, FieldId::UdpDst, FieldId::Ipv4Src, FieldId::Ipv4Dst];
    let mut actions: Vec<Action> = fields.into_iter().map(read).collect();
    actions.extend(output(2));
    add(0, 100, udp_to(None), actions)
}

/// `udp`, or `udp,tp_dst=PORT`.
fn udp_to(port: Option<u16>) -> Match {
    matching(|key, mask| {
        key.flow.dl_type.set(eth_type::IPV4);
        mask.flow.dl_type.set(u16::MAX);
        key.flow.nw_proto = 17;
        mask.flow.nw_proto = u8::MAX;
        if let Some(port) = port {
            key.flow.tp_dst.set(port);
            mask.flow.tp_dst.set(u16::MAX);
        }
    })
}

/// Exactly one UDP flow.
fn exactly(flow: &Tuple) -> Match {
    matching(|key, mask| {
        for (flow_key, [src, dst], [sport, dport], proto, dl_type) in [
            (&mut key.flow, [flow.src, flow.dst], [flow.sport, flow.dport], 17, eth_type::IPV4),
            (&mut mask.flow, [u32::MAX; 2], [u16::MAX; 2], u8::MAX, u16::MAX),
        ] {
            flow_key.dl_type.set(dl_type);
            flow_key.nw_proto = proto;
            flow_key.tp_src.set(sport);
            flow_key.tp_dst.set(dport);
            flow_key.nw_addrs[..4].copy_from_slice(&src.to_be_bytes());
            flow_key.nw_addrs[4..8].copy_from_slice(&dst.to_be_bytes());
        }
    })
}

/// Millions of frames per second over `seconds` of time on the core.
fn rate(switch: &mut NullSwitch, workload: &mut Workload, seconds: f64) -> f64 {
    let (mut frames, timer) = (0, CpuTimer::start());
    loop {
        for _ in 0..256 {
            switch.poll(workload);
        }
        frames += 256 * MAX_BATCH;
        let elapsed = timer.elapsed().as_secs_f64();
        if elapsed >= seconds {
            return frames as f64 / elapsed / 1e6;
        }
    }
}

/// Runs until every flow has been seen twice.
fn warm_up(switch: &mut NullSwitch, workload: &mut Workload) {
    for _ in 0..(3 * workload.len() / MAX_BATCH + 16) {
        switch.poll(workload);
    }
    switch.skip += Duration::from_secs(1);
    for _ in 0..(2 * workload.len() / MAX_BATCH + 16) {
        switch.poll(workload);
    }
}

fn flows(args: &Args, report: &Report) {
    let cases = [
        (1, Order::Rotation),
        (100, Order::Rotation),
        (1_000, Order::Rotation),
        (10_000, Order::Rotation),
        (100_000, Order::Rotation),
        (100_000, Order::Random),
        (1_000_000, Order::Rotation),
    ];
    let tables = [
        ("16_rules", Family::V4, sixteen_rules(Family::V4)),
        ("16_rules", Family::V6, sixteen_rules(Family::V6)),
        ("own_verdicts", Family::V4, vec![reading_rule()]),
    ];
    for (name, family, rules) in tables {
        for (count, order) in &cases {
            let mut switch = NullSwitch::new(datapath(pipeline_with(3, &rules)), family);
            let mut workload = Workload::numbered(*count, order.clone());
            warm_up(&mut switch, &mut workload);
            let rates = (0..args.runs).map(|_| rate(&mut switch, &mut workload, args.seconds));
            let case = format!("flows/{name}/{family:?}/{order:?}={count}");
            report.line(&case, median(rates.collect()), "Mpps", "");
        }
    }
}

fn setup(args: &Args, report: &Report) {
    const FLOWS: u32 = 50_000;
    let exact: Vec<FlowMod> = (0..10_000)
        .map(|n| add(0, 200, exactly(&Tuple::numbered(n * 5)), output(2)))
        .chain([reading_rule()])
        .collect();
    for (name, rules) in [("one_rule", vec![reading_rule()]), ("rules=10001", exact)] {
        let pipeline = Arc::new(pipeline_with(3, &rules));
        let mut rates = Vec::new();
        for _ in 0..args.runs {
            let datapath = Datapath::new(Arc::clone(&pipeline), CacheConfig::default(), 1, 42);
            let mut switch = NullSwitch::new(datapath, Family::V4);
            let mut workload = Workload::numbered(FLOWS, Order::Rotation);
            let timer = CpuTimer::start();
            for _ in 0..FLOWS as usize / MAX_BATCH {
                switch.poll(&mut workload);
            }
            let set_up = switch.datapath.stats().misses.get() as f64;
            rates.push(set_up / timer.elapsed().as_secs_f64() / 1e3);
        }
        report.line(&format!("setup/{name}"), median(rates), "k/s", "new flows");
    }
}

/// A rule change every so often, on the side.
fn churn_rate(switch: &mut NullSwitch, pipeline: &Pipeline, seconds: f64, per_second: f64) -> f64 {
    let mut workload = Workload::numbered(10_000, Order::Rotation);
    let (mut frames, mut changes, mut apart) = (0, 0u32, Duration::ZERO);
    let timer = CpuTimer::start();
    loop {
        for _ in 0..8 {
            switch.poll(&mut workload);
        }
        frames += 8 * MAX_BATCH;
        let elapsed = (timer.elapsed() - apart).as_secs_f64();
        if elapsed >= seconds {
            return frames as f64 / elapsed / 1e6;
        }
        // What the control thread does is not this thread's time.
        let control = CpuTimer::start();
        while f64::from(changes) < elapsed * per_second {
            let flow = Tuple { src: 0xc0a8_0000 + changes / 2 % 5000, ..Tuple::numbered(1) };
            let rule = match changes % 2 {
                0 => add(0, 300, exactly(&flow), output(3)),
                _ => delete(0, 300, exactly(&flow)),
            };
            pipeline.apply(&[rule], switch.now()).expect("a valid rule");
            changes += 1;
        }
        while pipeline.purge() {}
        apart += control.elapsed();
    }
}

fn churn(args: &Args, report: &Report) {
    let tables = [("cached=16", sixteen_rules(Family::V4)), ("cached=10000", vec![reading_rule()])];
    for (name, rules) in tables {
        let pipeline = Arc::new(pipeline_with(3, &rules));
        let datapath = Datapath::new(Arc::clone(&pipeline), CacheConfig::default(), 1, 42);
        let mut switch = NullSwitch::new(datapath, Family::V4);
        warm_up(&mut switch, &mut Workload::numbered(10_000, Order::Rotation));
        let speeds = [0.0, 1_000.0, 10_000.0];
        let mut rates = [const { Vec::new() }; 3];
        for _ in 0..args.runs {
            for (speed, rates) in speeds.iter().zip(&mut rates) {
                rates.push(churn_rate(&mut switch, &pipeline, args.seconds, *speed));
            }
        }
        let [calm, ..] = rates.clone().map(median);
        for (speed, rates) in speeds.iter().zip(rates) {
            let rate = median(rates);
            let note = format!("{:.0} %", 100.0 * rate / calm);
            report.line(&format!("churn/{name}/changes={speed}"), rate, "Mpps", &note);
        }
    }
}
