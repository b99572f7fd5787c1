//! The kernel cache: what it forwards, counts and promises. The tests need the privileges to load eBPF
//! programs, and say so where they are missing.

use crate::fixture::{Cable, Network, Observer, port_name};
use anyhow::{Context, bail, ensure};
use control::record::{CacheRecord, CachedFlowRecord, KernelCacheRecord};
use control::{CachedFlowQuery, Client, FlowCommand, Format, Operation, Reply};
use lab::harness::{Test, Unsupported};
use lab::traffic::{Ping, TcpTransfer};
use lab::{Feature, FrameSocket, Host, Netlink, eventually, experimental_frame};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    ("kernel_cache::it_takes_over_and_all_counters_agree", it_takes_over_and_all_counters_agree),
    ("kernel_cache::several_workers_do_not_hear_what_it_sends", several_workers),
    ("kernel_cache::it_makes_of_frames_what_the_switch_makes_of_them", equal_frames),
    ("kernel_cache::it_edits_frames_whose_checksums_and_segments_are_unfinished", unfinished),
    ("kernel_cache::floods_have_their_limit_beside_it", floods_have_their_limit),
    ("kernel_cache::no_frame_is_judged_by_an_old_state", no_frame_is_judged_by_an_old_state),
    ("kernel_cache::ports_come_and_go", ports_come_and_go),
    ("kernel_cache::frames_that_have_become_too_long_are_dropped_with_a_reason", too_long),
];

pub(crate) const ON: &[&str] = &["--kernel-cache=auto"];

/// A switch with hosts on veth pairs, and with a kernel cache.
pub(crate) fn network(hosts: usize) -> anyhow::Result<Network> {
    network_with(hosts, &[])
}

/// As [`network`], with further arguments for the daemon.
pub(crate) fn network_with(hosts: usize, arguments: &[&str]) -> anyhow::Result<Network> {
    let arguments = [ON, arguments].concat();
    let network = Network::with(&vec![Cable::Veth; hosts], None, &arguments)?;
    if let Some(reason) = caches(&mut network.client()?)?.kernel_off {
        return Err(Unsupported::lacking(format!("a kernel cache ({reason})")));
    }
    Ok(network)
}

/// Waits until the kernel forwards a ping of the first host to each of the others, and the answers.
pub(crate) fn warm_up(network: &Network, client: &mut Client) -> anyhow::Result<()> {
    network.hosts[1..]
        .iter()
        .try_for_each(|host| warm_up_by(client, || reaches(network.a(), host).unwrap_or_default()))
}

/// Waits until the kernel forwards both frames of a round trip. The kernel cache looks after a port when it has
/// its first flow, which takes some 10 ms.
pub(crate) fn warm_up_by(
    client: &mut Client,
    mut round_trip: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    eventually("the kernel forwards a round trip", || {
        let mut hits = || kernel(client).map_or(0, |kernel| kernel.hits);
        let before = hits();
        round_trip() && hits() >= before + 2
    })?;
    Ok(())
}

pub(crate) fn caches(client: &mut Client) -> anyhow::Result<CacheRecord> {
    match client.ask(Operation::CacheShow)? {
        Reply::Cache(caches) => Ok(caches),
        other => bail!("no caches: {other:?}"),
    }
}

pub(crate) fn kernel(client: &mut Client) -> anyhow::Result<KernelCacheRecord> {
    caches(client)?.kernel.context("no kernel cache")
}

fn cached_flows(client: &mut Client) -> anyhow::Result<Vec<CachedFlowRecord>> {
    let query = CachedFlowQuery { format: Format::Json, ..CachedFlowQuery::default() };
    Ok(client.list(Operation::DumpCachedFlows(query))?)
}

/// Received frames of all ports, sent ones, and those that were dropped with a reason.
pub(crate) fn totals(client: &mut Client) -> anyhow::Result<(u64, u64, u64)> {
    let Reply::Drops(drops) = client.ask(Operation::Drops)? else { bail!("no drops") };
    let stats = client.port_stats()?;
    let received = stats.iter().map(|port| port.rx_packets).sum();
    let sent = stats.iter().map(|port| port.tx_packets).sum();
    Ok((received, sent, drops.dropped.iter().map(|drop| drop.n_packets).sum()))
}

fn it_takes_over_and_all_counters_agree() -> anyhow::Result<()> {
    let network = network(2)?;
    let (a, b) = (network.a(), network.b());
    let mut client = network.client()?;
    for port in client.ports()? {
        ensure!(port.kernel_cache.as_deref() == Some("on"), "{port:?}");
    }
    warm_up(&network, &mut client)?;
    for address in [b.v4().into(), b.v6().into()] {
        let server = SocketAddr::new(address, 5001);
        TcpTransfer::to(server, 10_000_000).run(a.namespace(), b.namespace())?;
    }
    // The hosts say something of their own now and then, between two questions.
    eventually("all counters agree", || agree(&mut client).unwrap_or_default())?;
    let (received, ..) = totals(&mut client)?;
    let in_kernel = kernel(&mut client)?;
    ensure!(in_kernel.hits * 10 > received * 9, "{in_kernel:?} of {received}");
    let flows = cached_flows(&mut client)?;
    let of_offloaded: u64 = flows.iter().filter(|f| f.offloaded).map(|f| f.n_packets).sum();
    ensure!(of_offloaded * 10 > received * 9, "{of_offloaded} of {received} are offloaded");
    Ok(())
}

/// A group of rings of several workers must not receive the frames that leave by the port, as rings by
/// themselves do not.
fn several_workers() -> anyhow::Result<()> {
    let network = network_with(2, &["--workers", "2"])?;
    let mut client = network.client()?;
    warm_up(&network, &mut client)?;
    let (before, ..) = totals(&mut client)?;
    const COUNT: u16 = 300;
    let ping = Ping { count: COUNT, ..Ping::to(network.b().v4()) };
    let report = ping.run(network.a().namespace())?;
    ensure!(report.is_complete(), "{} of {COUNT} came back", report.received());
    let in_kernel = kernel(&mut client)?;
    ensure!(in_kernel.hits > u64::from(COUNT), "{in_kernel:?}");
    // Each echo and each answer once, and a few frames more.
    let (received, ..) = totals(&mut client)?;
    ensure!(received - before < 2 * u64::from(COUNT) + 100, "{before}, {received} frames");
    Ok(())
}

/// Whether rules, cached flows and ports have counted the same packets.
pub(crate) fn agree(client: &mut Client) -> anyhow::Result<bool> {
    let (received, sent, dropped) = totals(client)?;
    let of_rules: u64 = client.flows("")?.iter().map(|flow| flow.n_packets).sum();
    let of_flows: u64 = cached_flows(client)?.iter().map(|flow| flow.n_packets).sum();
    Ok(received == sent + dropped && of_rules == received && of_flows == received)
}

/// Number of frames that are sent one after the other: the switch has the first ones, the kernel the last ones.
const TIMES: usize = 8;
/// As often as this, if the kernel does not forward it before.
const MOST_TIMES: usize = 40;

/// Sends the same frame several times under each of many rules, and compares what arrives of the first with
/// what arrives of the last.
fn equal_frames() -> anyhow::Result<()> {
    let network = network(3)?;
    let mut client = network.client()?;
    warm_up(&network, &mut client)?;
    let sender = network.a().run(|| FrameSocket::open_to_send(network.a().interface()))??;
    let mut at = [Observer::at(network.b())?, Observer::at(&network.hosts[2])?];
    let rules = [
        "output:2",
        "output:2,output:3",
        "mod_dl_dst:06:05:04:03:02:01,output:2,mod_dl_src:02:00:00:00:00:77,output:3",
        "push_vlan:0x8100,set_field:4196->vlan_vid,output:2",
        "push_vlan:0x88a8,set_field:4196->vlan_vid,output:2",
        "push_vlan:0x8100,set_field:4196->vlan_vid,output:3,push_vlan:0x88a8,set_field:4197->vlan_vid,output:2",
        "pop_vlan,output:2",
        "set_field:4200->vlan_vid,output:2,output:3",
        "dec_ttl,output:2",
        "mod_nw_tos:32,dec_ttl,output:2,output:3",
        "mod_nw_src:1.2.3.4,mod_tp_dst:99,output:2,mod_nw_dst:4.3.2.1,output:3",
        "push_vlan:0x88a8,set_field:4196->vlan_vid,mod_nw_dst:4.3.2.1,dec_ttl,output:2",
    ];
    let (mut compared, mut cases) = (0, 0);
    for (number, actions) in rules.iter().enumerate() {
        for (kind, matching, frame) in frames(number as u8) {
            client.del_flows("")?;
            let rule = format!("priority=5,{matching},actions={actions}");
            // Not every action is for every kind of packet.
            if client.add_flow(&rule).is_err() {
                continue;
            }
            let before = kernel(&mut client)?.hits;
            let mut got: [Vec<Vec<u8>>; 2] = Default::default();
            let mut sent = 0;
            // A flow goes into the kernel when no frame waits at that moment, so it may take some frames more.
            while sent < TIMES || sent < MOST_TIMES && kernel(&mut client)?.hits == before {
                sent += 1;
                ensure!(sender.send(&frame)?, "the frame could not be sent");
                for ((observer, got), port) in at.iter_mut().zip(&mut got).zip(2..) {
                    let is_wanted = actions.contains(&format!("output:{port}"));
                    let limit = Duration::from_secs(if is_wanted { 10 } else { 0 });
                    let marker = &frame[frame.len() - 8..];
                    observer.find(limit, |frame| {
                        let is_ours = frame.ends_with(marker);
                        if is_ours {
                            got.push(frame.to_vec());
                        }
                        is_ours
                    })?;
                }
            }
            let hits = kernel(&mut client)?.hits - before;
            for (port, got) in (2..).zip(&got) {
                let is_equal = got.windows(2).all(|pair| pair[0] == pair[1]);
                ensure!(
                    is_equal,
                    "{rule}, {kind}: port {port} sent {got:02x?}, {hits} by the kernel"
                );
                let expected = actions.matches(&format!("output:{port}")).count();
                ensure!(
                    got.len() == expected * sent,
                    "{rule}, {kind}: {} at port {port}",
                    got.len()
                );
            }
            cases += 1;
            compared += usize::from(hits > 0);
        }
    }
    ensure!(compared * 2 > cases, "only {compared} of {cases} cases were in the kernel");
    Ok(())
}

/// Has a host connect to an address and a port that nobody has, while the switch rewrites both. With the host's
/// offloads, frames have unfinished checksums and are larger than the MTU; without those of the switch's
/// device, the kernel finishes them behind the kernel cache, and the other host looks at the checksums.
fn unfinished() -> anyhow::Result<()> {
    let mut network = network(2)?;
    let mut client = network.client()?;
    let b_mac = network.b().mac();
    warm_up(&network, &mut client)?;
    let far = [IpAddr::from([10, 0, 0, 77]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 0x77])];
    for address in far {
        network.hosts[0].add_neighbour(address, b_mac)?;
    }
    for rule in [
        "tcp,in_port=1,tp_dst=80,actions=dec_ttl,mod_nw_dst:10.0.0.2,mod_tp_dst:5001,mod_nw_tos:32,output:2",
        "tcp,in_port=2,tp_src=5001,actions=mod_nw_src:10.0.0.77,mod_tp_src:80,dec_ttl,output:1",
        "tcp6,in_port=1,tp_dst=80,actions=dec_ttl,set_field:fd00::2->ipv6_dst,mod_tp_dst:5001,output:2",
        "tcp6,in_port=2,tp_src=5001,actions=set_field:fd00::77->ipv6_src,mod_tp_src:80,dec_ttl,output:1",
    ] {
        client.add_flow(&format!("priority=9,{rule}"))?;
    }
    let mut netlink = Netlink::open()?;
    let features = [Feature::Tx, Feature::Tso, Feature::Gso];
    for are_on in [true, false] {
        for port in [port_name(0), port_name(1)] {
            netlink.set_offloads(&port, &features.map(|feature| (feature, are_on)))?;
        }
        let near = [network.b().v4().into(), network.b().v6().into()];
        for (address, connect) in near.into_iter().zip(far) {
            let before = kernel(&mut client)?.hits;
            let transfer = TcpTransfer {
                connect: SocketAddr::new(connect, 80),
                ..TcpTransfer::to(SocketAddr::new(address, 5001), 10_000_000)
            };
            transfer.run(network.a().namespace(), network.b().namespace())?;
            let hits = kernel(&mut client)?.hits - before;
            // Linux before 6.16 leaves addresses of IPv6 to the switch.
            ensure!(hits > 100 || address.is_ipv6(), "{connect}, offloads {are_on}: {hits} hits");
        }
    }
    eventually("all counters agree", || agree(&mut client).unwrap_or_default())?;
    Ok(())
}

/// Frames of several kinds, each with the match of its kind. The last eight bytes differ
/// from those of other `number`s.
fn frames(number: u8) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let marker = [0xc0, 0xff, 0xee, 0, 0, 0, 0, number];
    let macs = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    let tcp = {
        let mut tcp = vec![0x13, 0x88, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0];
        tcp.extend([0; 12]);
        tcp.extend(marker);
        tcp
    };
    let ip = {
        let mut ip = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let sum = checksum(&ip, 0);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        let mut tcp = tcp;
        let pseudo = [10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0, 40];
        let sum = checksum(&[&pseudo[..], &tcp].concat(), 0);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        [ip, tcp].concat()
    };
    let other = [&[0x88, 0xb5][..], &[7; 50], &marker].concat();
    let untagged = [&macs[..], &[8, 0], &ip].concat();
    let tagged = [&macs[..], &[0x81, 0, 0x60, 0x05, 8, 0], &ip].concat();
    vec![
        ("TCP", "tcp", untagged),
        ("tagged TCP", "tcp,dl_vlan=5", tagged),
        ("another type", "dl_type=0x88b5", [&macs[..], &other].concat()),
    ]
}

/// The Internet checksum (RFC 1071) of bytes, an even number of them.
pub(crate) fn checksum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum = words.fold(start, |sum, word| sum + word);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Storm control counts floods, so they stay with the switch, while frames to the same host whose place is
/// known are forwarded by the kernel. A host that is known at last is known to both.
fn floods_have_their_limit() -> anyhow::Result<()> {
    let network = network(3)?;
    let mut client = network.client()?;
    warm_up(&network, &mut client)?;
    let (a, b) = (network.a(), network.b());
    client.ask(Operation::SetPort { port: "1".to_owned(), settings: "storm=100".to_owned() })?;
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let unknown = [2, 0, 0, 0, 0, 0x99];
    let [known, flood] = [b.mac(), unknown].map(|to| experimental_frame(to, a.mac(), &[7; 50]));
    let stormed = |client: &mut Client| -> anyhow::Result<u64> {
        let Reply::Drops(drops) = client.ask(Operation::Drops)? else { bail!("no drops") };
        Ok(drops.dropped.iter().filter(|drop| drop.reason == "storm").map(|d| d.n_packets).sum())
    };
    let sent_by_3 = |client: &mut Client| -> anyhow::Result<u64> {
        let stats = client.port_stats()?;
        Ok(stats.iter().filter(|port| port.name == port_name(2)).map(|port| port.tx_packets).sum())
    };
    let (before, start) = (kernel(&mut client)?.hits, Instant::now());
    let copies = sent_by_3(&mut client)?;
    eventually("floods are dropped, and the kernel forwards the others", || {
        for _ in 0..200 {
            let _ = sender.send(&flood);
            let _ = sender.send(&known);
        }
        let hits = kernel(&mut client).map_or(0, |kernel| kernel.hits - before);
        stormed(&mut client).is_ok_and(|stormed| stormed > 100) && hits > 100
    })?;
    let copies = sent_by_3(&mut client)? - copies;
    // 100 a second may pass, and as many at once.
    let most = 200 + 100 * start.elapsed().as_secs();
    ensure!(copies <= most, "{copies} copies, {most} are allowed");
    client.ask(Operation::FdbAdd {
        port: "2".to_owned(),
        vlan: 0,
        mac: "02:00:00:00:00:99".to_owned(),
    })?;
    let before = kernel(&mut client)?.hits;
    eventually("the kernel forwards what was a flood", || {
        let _ = sender.send(&flood);
        kernel(&mut client).is_ok_and(|kernel| kernel.hits > before + 10)
    })?;
    Ok(())
}

/// Number of changes of the test of staleness. `SWITCHD_CHANGES` sets another one.
const CHANGES: u32 = 2000;
/// How many times as many changes there are at most.
pub(crate) const MOST: u32 = 30;
/// Offset of the number in a frame's payload.
const NUMBER: usize = 14;

/// While frames come without a pause, changes follow each other. Change number `n` has frames leave
/// with the source address `02:00:n`, and a frame tells the number of the last change that had returned
/// when it was sent. So each frame that arrives says by which state it was judged, and by which it had
/// to be judged at least.
fn no_frame_is_judged_by_an_old_state() -> anyhow::Result<()> {
    let network = network(2)?;
    let mut client = network.client()?;
    let changes = std::env::var("SWITCHD_CHANGES").ok().and_then(|text| text.parse().ok());
    let changes: u32 = changes.unwrap_or(CHANGES);
    client.del_flows("")?;
    make_change(&mut client, 0)?;
    let (a, b) = (network.a(), network.b());
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let (returned, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    let seen = std::thread::scope(|scope| -> anyhow::Result<u64> {
        let receiving = scope.spawn(|| receive(b, &is_over));
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let number = returned.load(Ordering::SeqCst).to_be_bytes();
                let payload = [&number[..], &[0; 42]].concat();
                // A full queue is no concern of this test.
                let _ = sender.send(&experimental_frame([2, 0, 0, 0, 0, 2], a.mac(), &payload));
            }
        });
        let made = make_changes(&mut client, changes, &returned);
        is_over.store(true, Ordering::Relaxed);
        let seen = receiving.join().expect("the receiver does not panic");
        made.and(seen)
    })?;
    let in_kernel = kernel(&mut client)?;
    ensure!(was_in_use(&in_kernel, changes), "hardly a frame was in the kernel: {in_kernel:?}");
    ensure!(seen > u64::from(changes), "{seen} frames arrived");
    Ok(())
}

/// Whether the kernel cache has forwarded more frames than there were changes, and has taken a flow in for one
/// change of twenty at least. With fewer, the changes met nothing in the kernel that could have been stale.
pub(crate) fn was_in_use(cache: &KernelCacheRecord, changes: u32) -> bool {
    cache.hits > u64::from(changes) && cache.installs > u64::from(changes) / 20
}

/// Makes at least `changes` changes, and stores the number of each when its command has returned. On a machine
/// with other work fewer frames pass between two changes: then there are up to [`MOST`] times as many, until
/// the kernel has had enough.
fn make_changes(client: &mut Client, changes: u32, returned: &AtomicU32) -> anyhow::Result<()> {
    for number in 1..=MOST * changes {
        make_change(client, number)?;
        returned.store(number, Ordering::SeqCst);
        let is_time_to_ask = number >= changes && number.is_multiple_of(100);
        if is_time_to_ask && was_in_use(&kernel(client)?, changes) {
            break;
        }
    }
    Ok(())
}

/// Makes a change of a kind that depends on its number.
fn make_change(client: &mut Client, number: u32) -> anyhow::Result<()> {
    let [a, b, c, d] = number.to_be_bytes();
    let actions = format!("mod_dl_src:02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x},output:2");
    match number % 3 {
        0 => client.add_flow(&format!("dl_type=0x88b5,actions={actions}"))?,
        // Rules that come before the last one, and go with the next change of the first kind.
        1 => client.add_flow(&format!("priority=40000,dl_type=0x88b5,actions={actions}"))?,
        _ => {
            client.add_flow(&format!("dl_type=0x88b5,actions={actions}"))?;
            client.del_flows("dl_type=0x88b5,dl_dst=00:00:00:00:00:00")?;
            client.change_flows(FlowCommand::DeleteStrict, "priority=40000,dl_type=0x88b5")?;
        }
    }
    Ok(())
}

/// Looks at all frames that arrive. Returns how many there were.
fn receive(host: &Host, is_over: &AtomicBool) -> anyhow::Result<u64> {
    let mut observer = Observer::at(host)?;
    let (mut seen, mut old) = (0, None);
    while !is_over.load(Ordering::Relaxed) && old.is_none() {
        observer.find(Duration::from_millis(20), |frame| {
            if frame[12..14] != [0x88, 0xb5] {
                return false;
            }
            seen += 1;
            let number = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| frame[at + i]));
            let (judged_by, returned) = (number(8), number(NUMBER));
            if judged_by < returned {
                old = Some((judged_by, returned));
            }
            old.is_some() || is_over.load(Ordering::Relaxed)
        })?;
    }
    match old {
        None => Ok(seen),
        Some((judged_by, returned)) => {
            bail!("a frame that was sent behind change {returned} was judged by change {judged_by}")
        }
    }
}

pub(crate) fn reaches(from: &Host, to: &Host) -> anyhow::Result<bool> {
    Ok(Ping::brief(to.v4()).run(from.namespace())?.received() > 0)
}

fn ports_come_and_go() -> anyhow::Result<()> {
    let network = network(3)?;
    let mut client = network.client()?;
    let c = &network.hosts[2];
    let spec = port_name(2);
    for _ in 0..10 {
        warm_up(&network, &mut client)?;
        ensure!(kernel(&mut client)?.flows > 0, "no flow is in the kernel");
        client.ask(Operation::DelPort { port: spec.clone() })?;
        ensure!(!reaches(network.a(), c)?, "a port that is gone receives");
        client.ask(Operation::AddPort { spec: spec.clone() })?;
        eventually("the port works again", || reaches(network.a(), c).unwrap_or_default())?;
        ensure!(reaches(network.a(), network.b())?, "another port is disturbed");
    }
    Ok(())
}

fn too_long() -> anyhow::Result<()> {
    let network = network(2)?;
    let mut client = network.client()?;
    let (a, b) = (network.a(), network.b());
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    client.add_flow("priority=9,dl_type=0x88b5,in_port=1,actions=output:2")?;
    let frame = experimental_frame(b.mac(), a.mac(), &[0; 1400]);
    let before = kernel(&mut client)?.hits;
    eventually("the kernel forwards frames of 1,400 bytes", || {
        let _ = sender.send(&frame);
        kernel(&mut client).is_ok_and(|kernel| kernel.hits > before + 2)
    })?;
    let mut netlink = Netlink::open()?;
    let index = nix::net::if_::if_nametoindex(port_name(1).as_str())?;
    netlink.set_mtu(index, 1000)?;
    eventually("frames are dropped because of the MTU", || {
        let _ = sender.send(&frame);
        let Ok(Reply::Drops(drops)) = client.ask(Operation::Drops) else { return false };
        drops.dropped.iter().any(|drop| drop.reason == "exceeds_mtu")
    })?;
    Ok(())
}
