//! How fast the datapath is by itself, between ports without I/O, on one core.
//!
//! ```text
//! cargo run --release -p benches --bin datapath -- [scenario...] [--json]
//! ```
//!
//! Rates are frames per second of the thread's time on its core, the fabrication of the frames and
//! the reading of the clock included; each is the median of several runs.

use benches::cpu_time::{CpuTimer, median};
use benches::null_port::NullSwitch;
use benches::rules::{add, matching, output, pipeline_with};
use benches::workload::{Family, Order, Workload};
use clap::{Parser, ValueEnum};
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::flow::extract::eth_type;
use flowtable::flow_mod::FlowMod;
use flowtable::pipeline::Pipeline;
use packet::MAX_BATCH;
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
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Cached traffic, by number of flows.
    Flows,
}

fn main() {
    let args = Args::parse();
    let all = Scenario::value_variants();
    let scenarios = if args.scenarios.is_empty() { all } else { &args.scenarios };
    let report = Report { json: args.json };
    for scenario in scenarios {
        match scenario {
            Scenario::Flows => flows(&args, &report),
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
    for family in [Family::V4, Family::V6] {
        for (count, order) in &cases {
            let mut switch =
                NullSwitch::new(datapath(pipeline_with(3, &sixteen_rules(family))), family);
            let mut workload = Workload::numbered(*count, order.clone());
            warm_up(&mut switch, &mut workload);
            let rates = (0..args.runs).map(|_| rate(&mut switch, &mut workload, args.seconds));
            let case = format!("flows/{family:?}/{order:?}={count}");
            report.line(&case, median(rates.collect()), "Mpps", "");
        }
    }
}
