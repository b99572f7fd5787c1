//! Frames that ask for segmentation as a hostile sender asks for it, beside
//! established traffic of another port.
//!
//! A whole switch with one worker and ports in memory that take no offload on: how much time a port may have
//! for its segments is the worker's decision. All frames wait already when a run begins, so that the worker
//! never has to wait for them, and the attacker sends as fast as the worker takes its frames. The table tells
//! how many established frames are forwarded in a second of the worker's time on its core, against runs without
//! the attack before and after.

use crate::Bench;
use anyhow::Context;
use benches::report::{Better, Goal, Role, Table, progress};
use benches::rules::{add, matching, output};
use benches::workload::{Family, MACS, Tuple, template, write_flow};
use flow::flow_mod::FlowMod;
use flow::key::KeyOfPort;
use flow::types::OfPort;
use packet::wire::ip_proto;
use packet::{MAX_SEGMENTS, MIN_MSS, Offload};
use ports::dummy::{Dummy, DummyOptions};
use std::fs;
use std::time::{Duration, Instant};
use switchd::desired::{DEFAULT_BRIDGE, Desired};
use switchd::switch::{Config, Switch};

/// Established frames of a run, of as many flows as other attacks have.
const FRAMES: u32 = 300_000;
const FLOWS: u32 = 1_000;
/// Frames of the attack that wait; more than a worker takes in a run.
const HOSTILE: usize = 1_500;
/// How much of the rate without is wanted, in percent.
const WANTED: f64 = 80.0;
/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a frame asks for.
#[derive(Clone, Copy)]
struct Request {
    name: &'static str,
    /// Bytes of the payload.
    payload: usize,
    /// Bytes of the payload of each segment.
    size: u16,
}

const REQUESTS: [Request; 2] = [
    Request { name: "as small as allowed", payload: MAX_SEGMENTS * MIN_MSS, size: MIN_MSS as u16 },
    Request { name: "of 1 byte", payload: 60_000, size: 1 },
];

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let about = "established frames while another port asks for tiny segments";
    let mut results = Table::new("segments", about);
    let calm = results.column("no attack", "Mpps", Better::Higher);
    let share = results.column("attack", "%", Better::Higher);
    let made = results.column("segments", "M/s", Better::Neither);
    for request in REQUESTS {
        let row = results.row(request.name, Role::Ours);
        for run in 1..=bench.args.runs {
            progress(&format!("attack: segments {}, run {run}", request.name));
            let before = Run::new(None)?.measure()?;
            let during = Run::new(Some(request))?.measure()?;
            let after = Run::new(None)?.measure()?;
            let without = (before.rate + after.rate) / 2.0;
            results.record(row, calm, without / 1e6);
            results.record(row, share, 100.0 * during.rate / without);
            results.record(row, made, during.segments / 1e6);
        }
        let goal = format!("attack, segments {}: % of the rate without", request.name);
        bench.goal(Goal::at_least(&goal, results.median(row, share), WANTED));
    }
    bench.report.add(results);
    Ok(())
}

/// What a run has measured, for each second of the worker's time on its core.
struct Rates {
    /// Established frames that were forwarded.
    rate: f64,
    /// Segments that the attacker's frames were cut into.
    segments: f64,
}

/// A switch whose frames wait.
struct Run {
    switch: Switch,
    /// The ports of the attacker and of the established hosts, and where the frames of each go.
    ports: Vec<Dummy>,
    request: Option<Request>,
}

impl Run {
    fn new(request: Option<Request>) -> anyhow::Result<Self> {
        let config = Config { seed: 42, ..Config::new(Desired::one_bridge()) };
        let switch = Switch::start(config).context("start a switch")?;
        let options = DummyOptions { takes_offload: false, collects: false, ..Default::default() };
        let mut ports = Vec::new();
        for name in ["attacker", "hosts", "attacked", "peers"] {
            let (port, far_end) = ports::dummy::open(name, options)?;
            switch.add_open_port(DEFAULT_BRIDGE, port).context("add a port")?;
            ports.push(far_end);
        }
        let on_bridge = switch.on(DEFAULT_BRIDGE).context("the switch has a bridge")?;
        let rules = [from(1, 3), from(2, 4)];
        on_bridge.bridge().apply(&rules, switch.now()).map_err(|(_, error)| error)?;
        Ok(Self { switch, ports, request })
    }

    fn measure(self) -> anyhow::Result<Rates> {
        // The flows are cached before.
        self.ports[1].inject_all((0..FLOWS).map(established));
        self.wait_for(FLOWS)?;
        if let Some(request) = self.request {
            let (bytes, offload) = hostile(request);
            (0..HOSTILE).for_each(|_| self.ports[0].inject_with(&bytes, offload));
        }
        let segments = || self.switch.workers().iter().map(|worker| worker.segments).sum::<u64>();
        let (before, start) = (segments(), worker_time()?);
        self.ports[1].inject_all((0..FRAMES).map(|n| established(n % FLOWS)));
        self.wait_for(FLOWS + FRAMES)?;
        let seconds = (worker_time()? - start).as_secs_f64();
        let segments = segments() - before;
        Ok(Rates { rate: f64::from(FRAMES) / seconds, segments: segments as f64 / seconds })
    }

    fn wait_for(&self, frames: u32) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.ports[3].sent_count() < u64::from(frames) {
            anyhow::ensure!(Instant::now() < end, "the frames of a run were not forwarded in time");
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

/// Frames that come in at one port leave at another one.
fn from(in_port: u16, out_port: u16) -> FlowMod {
    let matching = matching(|key, mask| {
        key.in_port.set(OfPort(in_port));
        mask.bits.in_port = KeyOfPort::ALL_BITS;
    });
    add(0, 1, matching, output(out_port))
}

/// A frame of the established flow with this number.
fn established(number: u32) -> Vec<u8> {
    let mut frame = template(Family::V4);
    frame.resize(62, 0);
    if let Some(headers) = frame.first_chunk_mut() {
        write_flow(headers, Family::V4, &Tuple::numbered(number));
    }
    frame.truncate(60);
    frame
}

/// A TCP frame over IPv4 that asks for segments.
fn hostile(request: Request) -> (Vec<u8>, Offload) {
    let mut bytes = MACS.to_vec();
    bytes.extend([8, 0, 0x45, 0]);
    bytes.extend((request.payload as u16 + 40).to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, ip_proto::TCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend([0, 9, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    bytes.resize(bytes.len() + request.payload, 0);
    let mut offload = Offload { gso_type: 1, gso_size: request.size, ..Offload::NONE };
    offload.set_needs_checksum(34, 16);
    (bytes, offload)
}

/// The time that the worker of this process, if there is one only, has
/// spent on a core (`/proc/PID/task/TID/schedstat`).
fn worker_time() -> anyhow::Result<Duration> {
    for task in fs::read_dir("/proc/self/task").context("list the threads")? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim_end() == "worker0") {
            let text = fs::read_to_string(path.join("schedstat")).context("read schedstat")?;
            let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
            return nanoseconds.map(Duration::from_nanos).context("schedstat has no time");
        }
    }
    anyhow::bail!("the switch has no worker")
}
