//! One direction alone: the processor time that the switch takes for a small frame, and many remote ends.
//!
//! The switch has a processor of its own, and gets more frames than it can carry. What the kernel does for a
//! frame on behalf of the switch counts, up to where the frame would leave the machine.

use super::Plan;
use super::sites::{PORT, Site, Underlay, pair};
use crate::forwarding::measure::{Generator, slow_source, udp_frame};
use crate::forwarding::{on_core, processes};
use crate::report::{Better, Goal, Role, RowId, Table, progress};
use anyhow::{Context, ensure};
use control::{Client, FlowCommand};
use lab::{Daemon, Netlink};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};
use std::fmt::Write;
use std::io::IoSlice;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// The processor of the switch; the sender has the first one.
const SWITCH_CORE: usize = 1;
/// The first moments fill caches and queues.
const WARM_UP: Duration = Duration::from_millis(200);
/// Flows of the frames.
const FLOWS: u16 = 10_000;
/// Remote ends of the measurement with many.
const REMOTES: u16 = 1_000;
/// Frames that a flow sends one after the other where flows send trains.
const TRAIN: usize = 16;
/// Datagrams of one message of the sender whose frames are unwrapped.
const GROUP: usize = 64;
/// Nanoseconds that the switch may take for a frame.
const LIMITS: [f64; 2] = [1_700.0, 1_900.0];
/// The share of the rate with one remote end that is wanted with many.
const WANTED: f64 = 0.7;

/// What frames to and from a tunnel cost.
pub(super) fn wrapping(plan: &Plan) -> anyhow::Result<(Table, Vec<Goal>)> {
    let mut table = Table::new("wrapping", "60-byte frames into a tunnel and out of it");
    let names = ["encapsulate", "decapsulate"];
    let rows = names.map(|name| table.row(name, Role::Ours));
    let (cost, rate) = columns(&mut table);
    for run in 1..=plan.runs {
        for (row, measure) in rows.into_iter().zip([encapsulate, decapsulate]) {
            progress(&format!("encapsulate, decapsulate: run {run}"));
            let measured = measure(plan)?;
            table.record(row, cost, measured.nanoseconds);
            table.record(row, rate, measured.rate);
        }
    }
    let goals = names.into_iter().zip(rows).zip(LIMITS).map(|((name, row), limit)| {
        Goal::at_most(&format!("{name} 60 B: ns"), table.median(row, cost), limit)
    });
    let goals = goals.collect();
    Ok((table, goals))
}

/// Frames to one remote end, and to many of them, from one tunnel port: that of the switch's sockets, and that
/// of its kernel cache, where the sender of the frames does the work.
pub(super) fn many_remotes(plan: &Plan) -> anyhow::Result<(Table, Vec<Goal>)> {
    let mut table = Table::new("remotes", "60-byte frames through one tunnel port");
    let cases = [(1, 1), (REMOTES, TRAIN), (REMOTES, 1)];
    let mut name_of = |(remotes, train): (u16, usize), by: &str| {
        let name = match (remotes, train) {
            (1, _) => "1 remote end".to_owned(),
            (_, 1) => format!("{remotes} remote ends in turn"),
            _ => format!("{remotes} remote ends, trains of {train}"),
        };
        table.row(&format!("{name}{by}"), Role::Ours)
    };
    let by_sockets = cases.map(|case| name_of(case, ""));
    let by_kernel = cases.map(|case| name_of(case, ", kernel cache"));
    let columns = columns(&mut table);
    let tunnel = "vxlan:tunnel,remote_ip=flow,key=7";
    let mut measure = |in_kernel: bool, rows: [RowId; 3]| -> anyhow::Result<()> {
        let [site, _far] = pair_with_sink()?;
        let programs = &plan.programs;
        let daemon = match in_kernel {
            false => site.start_switchd(programs, tunnel, Some(SWITCH_CORE))?,
            true => site.start_kernel_cache(programs, tunnel, Some(SWITCH_CORE))?,
        };
        for run in 1..=plan.runs {
            for (row, (remotes, train)) in rows.into_iter().zip(cases) {
                progress(&format!("{remotes} remote ends, run {run}"));
                let measured = to_remotes(plan, &site, &daemon, remotes, train)?;
                table.record(row, columns.0, measured.nanoseconds);
                table.record(row, columns.1, measured.rate);
            }
        }
        Ok(())
    };
    measure(false, by_sockets)?;
    measure(true, by_kernel)?;
    let mut goals = Vec::new();
    for (rows, by) in [(by_sockets, ""), (by_kernel, ", kernel cache")] {
        let [one, trains, turns] = rows.map(|row| table.median(row, columns.1));
        let name = |how: &str| format!("60 B to {REMOTES} remote ends {how}, against one{by}");
        goals.push(Goal::ratio(&name(&format!("in trains of {TRAIN}")), trains, WANTED, one));
        goals.push(Goal::ratio(&name("in turn"), turns, WANTED, one));
    }
    Ok((table, goals))
}

/// Measures 60-byte frames of [`REMOTES`] flows to `remotes` remote ends. Each flow sends `train` frames in a
/// row, and has a rule of its own, which names its remote end.
fn to_remotes(
    plan: &Plan,
    site: &Site,
    daemon: &Daemon,
    remotes: u16,
    train: usize,
) -> anyhow::Result<Measured> {
    let mut client = daemon.client()?;
    let mut rules = String::new();
    for flow in 0..REMOTES {
        let [high, low] = (flow % remotes + 1).to_be_bytes();
        // Writing to a string cannot fail.
        let _ = writeln!(
            rules,
            "udp,tp_src={},actions=set_field:10.200.{high}.{low}->tun_dst,output:2",
            1024 + flow
        );
    }
    set_flows(&mut client, &rules)?;
    let flows = (0..REMOTES).flat_map(|flow| std::iter::repeat_n(flow, train));
    sent(site, daemon, &mut client, flows, plan.duration)
}

fn columns(table: &mut Table) -> (crate::report::ColumnId, crate::report::ColumnId) {
    let cost = table.column("CPU of the switch", "ns/frame", Better::Lower);
    let rate = table.column("rate", "Mpps", Better::Higher);
    (cost, rate)
}

/// What the switch took for frames.
struct Measured {
    nanoseconds: f64,
    /// Millions of frames a second.
    rate: f64,
}

/// Two machines. What the first one sends to addresses of 10.200.0.0/16 reaches the second one, which has none
/// of them and drops it: nobody but the switch takes time.
fn pair_with_sink() -> anyhow::Result<[Site; 2]> {
    let [site, far] = pair(Underlay::Default, true)?;
    far.namespace.set_sysctl("net/ipv4/ip_forward", "0")?;
    site.namespace.run(|| {
        Netlink::open()?.add_route([10, 200, 0, 0].into(), 16, Some(far.address()), None)
    })??;
    Ok([site, far])
}

/// The switch has one rule for each direction: nothing is learned or flooded.
fn start(site: &Site, plan: &Plan, tunnel: &str) -> anyhow::Result<(Daemon, Client)> {
    let daemon = site.start_switchd(&plan.programs, tunnel, Some(SWITCH_CORE))?;
    let mut client = daemon.client()?;
    set_flows(&mut client, "in_port=1,actions=output:2\nin_port=2,actions=output:1\n")?;
    Ok((daemon, client))
}

/// Has the switch know these rules and no others.
fn set_flows(client: &mut Client, rules: &str) -> anyhow::Result<()> {
    client.del_flows("")?;
    client.change_flows(FlowCommand::Add, rules)?;
    Ok(())
}

fn encapsulate(plan: &Plan) -> anyhow::Result<Measured> {
    let [site, _far] = pair_with_sink()?;
    let (daemon, mut client) = start(&site, plan, "vxlan:tunnel,remote_ip=10.200.0.1,key=7")?;
    sent(&site, &daemon, &mut client, 0..FLOWS, plan.duration)
}

/// Sends frames from the host to the tunnel: one of each of `flows`, again and again.
fn sent(
    site: &Site,
    daemon: &Daemon,
    client: &mut Client,
    flows: impl Iterator<Item = u16>,
    duration: Duration,
) -> anyhow::Result<Measured> {
    let frames = flows.map(|flow| udp_frame(SINK, site.host.mac(), 60, flow)).collect();
    let is_slow = slow_source(&site.host)?.is_some();
    let mut generator = site.host.run(|| Generator::open(&site.host, is_slow, frames))??;
    on_core(0, || {
        generator.run(WARM_UP)?;
        watch(daemon, client, "tunnel", || generator.run(duration))
    })
}

/// Where the frames go: to nobody.
const SINK: [u8; 6] = [2, 0, 0, 0, 0, 0xee];

fn decapsulate(plan: &Plan) -> anyhow::Result<Measured> {
    let [site, far] = pair(Underlay::Default, true)?;
    let (daemon, mut client) = start(&site, plan, &site.tunnel())?;
    let messages: Vec<Vec<u8>> = (0..FLOWS)
        .collect::<Vec<_>>()
        .chunks_exact(GROUP)
        .map(|flows| flows.iter().flat_map(|flow| datagram(&site, *flow)).collect())
        .collect();
    let size = (messages[0].len() / GROUP) as u16;
    let socket = far.namespace.run(|| UdpSocket::bind("0.0.0.0:0"))??;
    let to = match site.address() {
        std::net::IpAddr::V4(address) => SockaddrIn::from(SocketAddrV4::new(address, 4789)),
        std::net::IpAddr::V6(_) => unreachable!("the machines have IPv4 addresses"),
    };
    let send = |duration: Duration| -> anyhow::Result<()> {
        let end = Instant::now() + duration;
        for message in messages.iter().cycle().take_while(|_| Instant::now() < end) {
            let (parts, gso) = ([IoSlice::new(message)], [ControlMessage::UdpGsoSegments(&size)]);
            sendmsg(socket.as_raw_fd(), &parts, &gso, MsgFlags::empty(), Some(&to))
                .context("send a group of datagrams")?;
        }
        Ok(())
    };
    on_core(0, || {
        send(WARM_UP)?;
        watch(&daemon, &mut client, PORT, || send(plan.duration))
    })
}

/// A datagram of VXLAN (RFC 7348 §5) with VNI 7.
fn datagram(site: &Site, flow: u16) -> Vec<u8> {
    let header = [8, 0, 0, 0, 0, 0, 7, 0];
    [&header[..], &udp_frame(SINK, site.host.mac(), 60, flow)].concat()
}

/// Looks at the time of the switch, and at what it sends through `port`, while `traffic` runs.
fn watch(
    daemon: &Daemon,
    client: &mut Client,
    port: &str,
    traffic: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Measured> {
    let pids = [daemon.pid()];
    let mut sent = || -> anyhow::Result<u64> {
        let stats = client.port_stats()?;
        let found = stats.into_iter().find(|stats| stats.name == port);
        Ok(found.with_context(|| format!("no port {port}"))?.tx_packets)
    };
    let (start, frames, cpu) = (Instant::now(), sent()?, processes::cpu_time(&pids)?);
    traffic()?;
    let (frames, cpu) = (sent()? - frames, processes::cpu_time(&pids)? - cpu);
    ensure!(frames > 0, "no frame was sent through port {port}");
    let frames = frames as f64;
    let rate = frames / start.elapsed().as_secs_f64() / 1e6;
    Ok(Measured { nanoseconds: cpu.as_secs_f64() * 1e9 / frames, rate })
}
