//! The kernel cache while processes, ports and devices come and go.

use crate::fixture::{Network, Observer, SWITCHD, port_name};
use crate::kernel_cache::{ON, caches, kernel, network, reaches, totals, warm_up};
use anyhow::{Context, bail, ensure};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, SocketFilter, TcAttachType};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use control::record::PortRecord;
use control::{Client, Operation};
use lab::harness::{Test, Unsupported};
use lab::traffic::{NumberedStream, TcpTransfer};
use lab::{
    Daemon, Feature, FrameSocket, Host, HostPlan, Namespace, Netlink, PATIENCE, eventually,
    experimental_frame,
};
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("kernel_life::nothing_forwards_after_a_crash", nothing_forwards_after_a_crash),
    ("kernel_life::the_next_process_goes_on_with_it", the_next_process_goes_on),
    ("kernel_life::no_frame_is_lost_when_the_next_process_goes_on", no_frame_is_lost),
    ("kernel_life::filters_of_others_do_no_harm", filters_of_others),
    ("kernel_life::programs_of_others_at_the_device_do_no_harm", programs_of_others),
    ("kernel_life::a_device_that_is_made_again_takes_part_again", made_again),
    ("kernel_life::a_device_that_moves_away_forwards_nothing_there", moves_away),
    ("kernel_life::offloads_may_change", offloads_may_change),
    ("kernel_life::ports_leave_nothing_behind", ports_leave_nothing_behind),
    ("kernel_life::it_takes_the_memory_that_is_stated", memory),
];

/// Sends some data from the first host to the second, until frames of it are forwarded in the kernel.
fn use_kernel(network: &Network, client: &mut Client) -> anyhow::Result<()> {
    let before = kernel(client)?.hits;
    let server = SocketAddr::new(network.b().v4().into(), 5001);
    let transfer = TcpTransfer::to(server, 300_000);
    eventually("the kernel forwards frames", || {
        transfer.run(network.a().namespace(), network.b().namespace()).is_ok()
            && kernel(client).is_ok_and(|kernel| kernel.hits > before + 10)
    })?;
    Ok(())
}

fn the_next_process_goes_on() -> anyhow::Result<()> {
    let mut network = network(2)?;
    for _ in 0..3 {
        use_kernel(&network, &mut network.client()?)?;
        network.daemon.restart().with_context(|| network.daemon.log())?;
        let mut client = network.client()?;
        for port in client.ports()? {
            ensure!(port.kernel_cache.as_deref() == Some("on"), "{port:?}");
        }
        use_kernel(&network, &mut client)?;
        eventually("rules and ports agree", || {
            let Ok((received, sent, dropped)) = totals(&mut client) else { return false };
            let rules = client.flows("").unwrap_or_default();
            let of_rules: u64 = rules.iter().map(|rule| rule.n_packets).sum();
            received == sent + dropped && of_rules == received
        })?;
        let in_kernel = kernel(&mut client)?;
        // A frame may come while a larger ring takes the place of a port's first one.
        ensure!(in_kernel.unmarked <= 2, "{in_kernel:?}");
    }
    // A port that is made later has the programs, too.
    let mut client = network.client()?;
    let spec = port_name(1);
    client.ask(Operation::DelPort { port: spec.clone() })?;
    ensure!(!reaches(network.a(), network.b())?, "a port that is gone receives");
    client.ask(Operation::AddPort { spec })?;
    eventually("the port works", || reaches(network.a(), network.b()).unwrap_or_default())?;
    use_kernel(&network, &mut client)
}

/// Restarts while a stream is under way.
const RESTARTS: usize = 3;

fn no_frame_is_lost() -> anyhow::Result<()> {
    let mut network = network(2)?;
    use_kernel(&network, &mut network.client()?)?;
    let Network { hosts, daemon } = &mut network;
    daemon.client()?.add_flow("priority=9,udp,in_port=1,tp_dst=7000,actions=output:2")?;
    let to = SocketAddr::new(hosts[1].v4().into(), 7000);
    let stream = NumberedStream { to, rate: 5_000, window: 100 };
    let restart = || {
        // The switch looks at rates twice a second.
        std::thread::sleep(Duration::from_millis(1200));
        let before = slots_of_first(daemon)?;
        (0..RESTARTS).try_for_each(|_| daemon.restart())?;
        anyhow::Ok((before, slots_of_first(daemon)?))
    };
    let (restarted, report) =
        stream.run_during(hosts[0].namespace(), hosts[1].namespace(), restart)?;
    // A port whose frames the kernel forwards needs no large ring, but for the time of a restart.
    let slots = restarted.with_context(|| daemon.log())?;
    ensure!(slots == (480, 1920), "{slots:?}");
    ensure!(report.received == report.sent && report.sent > 0, "{report:?}");
    let mut client = daemon.client()?;
    let [flow] = &client.flows("udp")?[..] else { bail!("the rule is gone") };
    ensure!(flow.n_packets == report.sent, "{flow:?} of {report:?}");
    ensure!(kernel(&mut client)?.hits > 0, "the kernel has forwarded nothing");
    Ok(())
}

/// The number of slots of the first port's receive ring.
fn slots_of_first(daemon: &Daemon) -> anyhow::Result<u64> {
    let ports = daemon.client()?.ports()?;
    let ring = ports.into_iter().find(|port| port.port == 1).and_then(|port| port.rx_ring);
    Ok(ring.context("the first port has no ring")?.slots)
}

/// Whether this is one of the frames that [`frame`] makes.
fn is_ours(frame: &[u8]) -> bool {
    frame.len() >= 18 && frame[12..14] == [0x88, 0xb5]
}

/// A frame from one host to another, with a number.
fn frame(from: &Host, to: &Host, number: u32) -> Vec<u8> {
    experimental_frame(to.mac(), from.mac(), &number.to_be_bytes())
}

fn nothing_forwards_after_a_crash() -> anyhow::Result<()> {
    let network = network(2)?;
    let mut client = network.client()?;
    client.add_flow("priority=9,dl_type=0x88b5,in_port=1,actions=output:2")?;
    let Network { hosts, daemon } = network;
    let [a, b] = &hosts[..] else { bail!("there are two hosts") };
    let run_dir = daemon.run_dir();
    let is_over = AtomicBool::new(false);
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let _ = sender.send(&frame(a, b, 0));
            }
        });
        let crashed = (|| {
            eventually("the kernel forwards frames", || {
                kernel(&mut client).is_ok_and(|kernel| kernel.hits > 1000)
            })?;
            daemon.crash()?;
            // What was on its way has arrived when this is open.
            let arrives = Observer::at(b)?.find(Duration::from_millis(300), is_ours)?;
            ensure!(!arrives, "somebody forwards still");
            Ok(())
        })();
        is_over.store(true, Ordering::Relaxed);
        crashed
    })?;
    ensure!(!reaches(a, b)?, "somebody forwards still");
    let ports = ["--port", &port_name(0), "--port", &port_name(1)].map(str::to_owned);
    let arguments = ports.iter().map(String::as_str).chain(ON.iter().copied());
    let _again = Daemon::start_in(run_dir, Path::new(SWITCHD), arguments)?;
    eventually("the next switch forwards", || reaches(a, b).unwrap_or_default())?;
    Ok(())
}

/// Somebody else's programs: those of the kernel cache, once more and with memory of their own.
/// Their filter takes every frame and writes into the frame's control block, and their program for
/// devices leaves all frames alone.
fn foreign() -> anyhow::Result<Ebpf> {
    static OBJECT: &[u8] = include_bytes_aligned!("../../../kernelcache/bpf/flows.bpf.o");
    EbpfLoader::new().btf(None).load(OBJECT).map_err(|error| {
        Unsupported::lacking(format!("the privileges to load eBPF programs ({error})"))
    })
}

/// Two hosts at the devices of a switch that does not run yet.
fn two_hosts() -> anyhow::Result<[Host; 2]> {
    let plan = |i: usize| HostPlan { number: i as u8 + 1, mtu: None };
    Ok([Host::on_veth(plan(0), &port_name(0))?, Host::on_veth(plan(1), &port_name(1))?])
}

fn start(hosts: [Host; 2]) -> anyhow::Result<Network> {
    let ports = [port_name(0), port_name(1)];
    let arguments = ["--port", &ports[0], "--port", &ports[1], ON[0]];
    let daemon = Daemon::start(Path::new(SWITCHD), arguments)?;
    if let Some(reason) = caches(&mut daemon.client()?)?.kernel_off {
        return Err(Unsupported::lacking(format!("a kernel cache ({reason})")));
    }
    Ok(Network { hosts: hosts.into(), daemon })
}

/// Sends numbered frames, each of which has to arrive once, in order, most of them by the kernel.
fn each_arrives_once(network: &Network) -> anyhow::Result<()> {
    const FRAMES: u32 = 200;
    let (a, b) = (network.a(), network.b());
    let mut client = network.client()?;
    client.add_flow("priority=9,dl_type=0x88b5,in_port=1,actions=output:2")?;
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut receiver = b.run(|| FrameSocket::open(b.interface()))??;
    warm_up(network, &mut client)?;
    let before = kernel(&mut client)?.hits;
    for number in 0..FRAMES {
        ensure!(sender.send(&frame(a, b, number))?, "frame {number} could not be sent");
        let arrived = receiver.receive_matching(PATIENCE, is_ours)?.context("a frame is lost")?;
        ensure!(arrived[14..18] == number.to_be_bytes(), "{number}: {arrived:02x?}");
    }
    let more = receiver.receive_matching(Duration::ZERO, is_ours)?;
    ensure!(more.is_none(), "a frame arrives twice: {more:02x?}");
    let hits = kernel(&mut client)?.hits - before;
    ensure!(hits > u64::from(FRAMES) / 2, "{hits} of {FRAMES} frames were forwarded by the kernel");
    Ok(())
}

fn filters_of_others() -> anyhow::Result<()> {
    let hosts = two_hosts()?;
    let mut foreign = foreign()?;
    let filter: &mut SocketFilter = foreign.program_mut("judge").context("judge")?.try_into()?;
    filter.load()?;
    // Bound before the ring of the switch, it sees a frame after the ring has, and spoils the mark.
    let listener = FrameSocket::open(&port_name(0))?;
    filter.attach(&listener)?;
    let network = start(hosts)?;
    each_arrives_once(&network)?;
    let spoiled = kernel(&mut network.client()?)?.unmarked;
    ensure!(spoiled >= 100, "{spoiled} marks were spoiled");
    // Another one sees frames before the ring.
    let later = FrameSocket::open(&port_name(0))?;
    filter.attach(&later)?;
    drop(listener);
    each_arrives_once(&network)
}

fn programs_of_others() -> anyhow::Result<()> {
    let hosts = two_hosts()?;
    let mut foreign = foreign()?;
    let program: &mut SchedClassifier =
        foreign.program_mut("execute").context("execute")?.try_into()?;
    program.load()?;
    let first = || TcAttachOptions::TcxOrder(LinkOrder::first());
    let at_device = TcAttachType::Ingress;
    let link = program.attach_with_options(&port_name(0), at_device, first())?;
    let network = start(hosts)?;
    // The switch's own program comes first.
    each_arrives_once(&network)?;
    program.detach(link)?;
    program.attach_with_options(&port_name(0), at_device, first())?;
    // The other one comes first.
    each_arrives_once(&network)
}

fn port(client: &mut Client, name: &str) -> anyhow::Result<PortRecord> {
    client.ports()?.into_iter().find(|p| p.name == name).with_context(|| format!("no {name}"))
}

fn is_waiting(client: &mut Client, name: &str) -> bool {
    port(client, name).is_ok_and(|port| port.problem.as_deref() == Some("waiting"))
}

fn made_again() -> anyhow::Result<()> {
    let mut network = network(2)?;
    let (mut client, mut netlink) = (network.client()?, Netlink::open()?);
    for _ in 0..3 {
        use_kernel(&network, &mut client)?;
        drop(network.hosts.pop());
        let name = port_name(1);
        if let Some(link) = netlink.find_link(&name)? {
            let _ = netlink.delete_link(link.index);
        }
        eventually("the port waits for its device", || is_waiting(&mut client, &name))?;
        network.plug(Host::on_veth(HostPlan { number: 2, mtu: None }, &name)?)?;
        use_kernel(&network, &mut client)?;
    }
    Ok(())
}

fn moves_away() -> anyhow::Result<()> {
    let network = network(2)?;
    let (mut client, mut netlink) = (network.client()?, Netlink::open()?);
    let (a, b) = (network.a(), network.b());
    use_kernel(&network, &mut client)?;
    let name = port_name(0);
    let (here, elsewhere) = (Namespace::current()?, Namespace::new()?);
    let index = netlink.link(&name)?.index;
    netlink.move_to_netns(index, &elsewhere)?;
    eventually("the port waits for its device", || is_waiting(&mut client, &name))?;
    let mut there = elsewhere.run(Netlink::open)??;
    let index = there.link(&name)?.index;
    there.set_up(index, true)?;
    let before = kernel(&mut client)?.hits;
    ensure!(!reaches(a, b)?, "somebody forwards in the other namespace");
    ensure!(kernel(&mut client)?.hits == before, "the kernel cache forwards there");
    there.move_to_netns(index, &here)?;
    let index = netlink.link(&name)?.index;
    netlink.set_up(index, true)?;
    eventually("the port works again", || reaches(a, b).unwrap_or_default())?;
    use_kernel(&network, &mut client)
}

fn offloads_may_change() -> anyhow::Result<()> {
    let mut network = network(2)?;
    let (mut client, mut netlink) = (network.client()?, Netlink::open()?);
    let server = SocketAddr::new(network.b().v4().into(), 5001);
    let transfer = TcpTransfer::to(server, 5_000_000);
    use_kernel(&network, &mut client)?;
    for (feature, is_on) in [
        (Feature::Tso, false),
        (Feature::Tx, false),
        (Feature::Gso, false),
        (Feature::Gro, false),
        (Feature::Tx, true),
        (Feature::Gso, true),
        (Feature::Tso, true),
    ] {
        // The host's end, then the switch's, while data is on its way.
        let change = [(feature, is_on)];
        let (a, b) = network.hosts.split_at_mut(1);
        let (from, to) = (a[0].namespace(), b[0].namespace());
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let transfer = scope.spawn(|| transfer.run(from, to));
            for name in [port_name(0), port_name(1)] {
                netlink.set_offloads(&name, &change)?;
            }
            transfer.join().expect("the transfer does not panic")?;
            Ok(())
        })?;
        for host in &mut network.hosts {
            host.netlink().set_offloads("eth0", &change)?;
        }
        let before = kernel(&mut client)?.hits;
        transfer.run(network.a().namespace(), network.b().namespace())?;
        let hits = kernel(&mut client)?.hits - before;
        ensure!(hits > 20, "{feature:?} {is_on}: {hits} frames were forwarded by the kernel");
    }
    Ok(())
}

/// How many descriptors of each kind of eBPF object a process has.
fn ebpf_descriptors(pid: u32) -> anyhow::Result<HashMap<String, usize>> {
    let mut kinds = HashMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        if target.contains("bpf") {
            *kinds.entry(target).or_default() += 1;
        }
    }
    Ok(kinds)
}

/// How many times a port is deleted and made again. `SWITCHD_PORT_CYCLES` sets another number.
const CYCLES: u32 = 40;

fn ports_leave_nothing_behind() -> anyhow::Result<()> {
    let cycles = std::env::var("SWITCHD_PORT_CYCLES").ok().and_then(|text| text.parse().ok());
    let network = network(2)?;
    let mut client = network.client()?;
    let pid = network.daemon.pid();
    let idle = ebpf_descriptors(pid)?;
    ensure!(idle.len() == 2, "maps and programs, and no links to devices: {idle:?}");
    warm_up(&network, &mut client)?;
    let before = ebpf_descriptors(pid)?;
    ensure!(before.len() == 3, "maps, programs and links: {before:?}");
    let (a, b) = (network.a(), network.b());
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    client.add_flow("priority=9,dl_type=0x88b5,in_port=1,actions=output:2")?;
    for cycle in 0..cycles.unwrap_or(CYCLES) {
        let before = kernel(&mut client)?.hits;
        eventually("the kernel forwards frames", || {
            let _ = sender.send(&frame(a, b, cycle));
            kernel(&mut client).is_ok_and(|kernel| kernel.hits > before)
        })?;
        // The port that the frames come from, and to whose device the programs are attached, or the other one.
        let number = 1 + cycle % 2;
        let spec = format!("{},number={number}", port_name(number as usize - 1));
        client.ask(Operation::DelPort { port: number.to_string() })?;
        client.ask(Operation::AddPort { spec })?;
    }
    warm_up(&network, &mut client)?;
    eventually("as many eBPF objects are open as before", || {
        ebpf_descriptors(pid).is_ok_and(|now| now == before)
    })
    .with_context(|| format!("{before:?} became {:?}", ebpf_descriptors(pid)))?;
    use_kernel(&network, &mut client)
}

/// The number of bytes that the maps and programs of a process take, each once.
fn ebpf_memory(pid: u32) -> anyhow::Result<u64> {
    let mut sizes = HashMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        let id = value("map_id:").map(|id| ("map", id));
        let id = id.or_else(|| value("prog_id:").map(|id| ("program", id)));
        if let Some((id, size)) = id.zip(value("memlock:")) {
            sizes.insert(id, size);
        }
    }
    Ok(sizes.values().sum())
}

fn memory() -> anyhow::Result<()> {
    let network = network(2)?;
    let size = ebpf_memory(network.daemon.pid())?;
    let possible = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = possible.trim().rsplit(['-', ',']).next().context("a processor")?;
    let processors = last.parse::<u64>()? + 1;
    // docs/kernel-cache.md
    let stated = 7_200_000 + 524_288 * processors;
    ensure!(size <= stated && size > stated / 2, "{size} bytes, {stated} are stated");
    Ok(())
}
