//! Another process takes over from the switch (`ofctl restart`): no frame is lost, and everything is as before.

use crate::fixture::{Cable, Network, SWITCHD};
use crate::life::{is_up, undisturbed};
use anyhow::{Context, bail, ensure};
use control::record::{ConnectionLimitsRecord, MeterRecord, MeterStatsRecord, ZoneLimitRecord};
use control::{Client, FlowMods, Format, MeterMods, MeterPart, MeterQuery, Operation, Reply};
use flow::ct_filter::CtFilter;
use flow::types::OfVersion;
use lab::harness::Test;
use lab::traffic::{NumberedStream, Ping, TcpTransfer};
use lab::{Daemon, Host, HostPlan, LabError, Netlink, RunDir, eventually};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const TESTS: &[Test] = &[
    ("restart::no_frame_is_lost_or_comes_out_of_order", no_frame_is_lost),
    ("restart::tcp_goes_on", tcp_goes_on),
    ("restart::tracked_connections_go_on", tracked_connections_go_on),
    ("restart::taps_and_hosts_that_left_with_them_go_on", taps_go_on),
    ("restart::everything_is_as_before", everything_is_as_before),
    (
        "restart::a_program_that_cannot_take_over_leaves_the_old_one_alone",
        a_failure_changes_nothing,
    ),
    ("restart::devices_are_put_back_by_the_last_process", devices_are_put_back),
    ("restart::state_is_kept_on", state_is_kept_on),
];

/// Restarts while a stream is under way.
const RESTARTS: usize = 5;

fn no_frame_is_lost() -> anyhow::Result<()> {
    let veths = [Cable::Veth; 2];
    // With several queues a port may lose a frame when its rings grow: there is no memory for that.
    let two = ["--workers=2", "--ring-memory=64M"];
    let one = ["--workers=1", "--ring-memory=256M"];
    for (cables, workers) in
        [(veths, one), (veths, two), ([Cable::Veth, Cable::tap_if_possible()], two)]
    {
        // All frames go through the rings, which are handed over.
        let arguments = [&workers[..], &["--kernel-cache=off"]].concat();
        let mut network = Network::with(&cables, None, &arguments)?;
        ensure!(Ping::to(network.b().v4()).run(network.a().namespace())?.is_complete());
        let Network { hosts, daemon } = &mut network;
        let rule = "priority=9,udp,in_port=1,tp_dst=7000,actions=output:2";
        daemon.client()?.add_flow(rule)?;
        let to = SocketAddr::new(hosts[1].v4().into(), 7000);
        // Not more under way than the smallest receive buffer of the receiving host takes.
        let stream = NumberedStream { to, rate: 5_000, window: 100 };
        let restart = || (0..RESTARTS).try_for_each(|_| daemon.restart());
        let (restarted, report) =
            stream.run_during(hosts[0].namespace(), hosts[1].namespace(), restart)?;
        restarted.with_context(|| daemon.log())?;
        ensure!(report.received == report.sent && report.sent > 0, "{report:?}");
        ensure!(report.misordered == 0, "{report:?}");
        let mut client = daemon.client()?;
        client.ask(Operation::Sync)?;
        let counted = client.flows("udp")?[0].n_packets;
        ensure!(counted == report.sent, "{counted} packets are counted of {report:?}");
        let first = client.ports()?.into_iter().find(|port| port.port == 1);
        let ring = first.and_then(|port| port.rx_ring).context("the first port has no ring")?;
        // The ring of a port in use is large before frames have to wait in it.
        ensure!(ring.slots == if workers == one { 1920 } else { 480 }, "{ring:?}");
    }
    Ok(())
}

fn tcp_goes_on() -> anyhow::Result<()> {
    let mut network = Network::pair()?;
    let Network { hosts, daemon } = &mut network;
    let transfer = TcpTransfer::to(SocketAddr::new(hosts[1].v4().into(), 7001), 200 << 20);
    std::thread::scope(|scope| {
        let transfer = scope.spawn(|| transfer.run(hosts[0].namespace(), hosts[1].namespace()));
        let restarted = (0..RESTARTS).try_for_each(|_| daemon.restart());
        transfer.join().expect("the transfer does not panic")?;
        Ok(restarted?)
    })
}

/// Transfers while nothing but packets of a known connection may pass.
fn tracked_connections_go_on() -> anyhow::Result<()> {
    let mut network = Network::pair()?;
    let Network { hosts, daemon } = &mut network;
    let mut client = daemon.client()?;
    for rule in [
        "priority=9,ip,ct_state=-trk,actions=ct(zone=7,table=1)",
        "table=1,priority=9,ip,ct_state=+new,in_port=1,\
         actions=ct(commit,zone=7,exec(set_field:5->ct_mark)),output:2",
        "table=1,priority=9,ip,ct_state=+est,actions=NORMAL",
        "table=1,priority=0,actions=drop",
    ] {
        client.add_flow(rule)?;
    }
    let limits = Operation::SetConnectionLimits {
        max: Some(1_000),
        default: None,
        zones: vec![(7, Some(9))],
    };
    client.ask(limits)?;
    let filter = CtFilter { zone: Some(7), ..CtFilter::default() };
    let transfer = TcpTransfer::to(SocketAddr::new(hosts[1].v4().into(), 7002), 100 << 20);
    let kept = std::thread::scope(|scope| {
        let transfer = scope.spawn(|| transfer.run(hosts[0].namespace(), hosts[1].namespace()));
        eventually("the connection is tracked", || {
            let known = client.connections(filter).unwrap_or_default();
            known.iter().any(|c| c.state.as_deref() == Some("ESTABLISHED"))
        })?;
        // From now on, a connection that the switch forgot would never go on.
        client.del_flows("table=1,ct_state=+new")?;
        (0..RESTARTS).try_for_each(|_| daemon.restart())?;
        let kept = daemon.client()?.connections(filter)?;
        transfer.join().expect("the transfer does not panic")?;
        anyhow::Ok(kept)
    })?;
    ensure!(kept.len() == 1 && kept[0].mark == 5, "{kept:?}");
    let Reply::ConnectionLimits(after) = daemon.client()?.ask(Operation::ConnectionLimits)? else {
        bail!("the limits are shown");
    };
    let zone = ZoneLimitRecord { zone: 7, limit: 9, count: 1 };
    let expected = ConnectionLimitsRecord { max: 1_000, default: 0, zones: vec![zone] };
    ensure!(after == expected, "{after:?}");
    Ok(())
}

fn taps_go_on() -> anyhow::Result<()> {
    let mut network = Network::new(&[Cable::Tap, Cable::Tap])?;
    let Network { hosts, daemon } = &mut network;
    undisturbed(&hosts[0], &hosts[1], || Ok(daemon.restart()?))?;
    let mut client = daemon.client()?;
    ensure!(is_up(&mut client, "tap1") && is_up(&mut client, "tap2"), "{}", daemon.log());
    // The devices end with the process that has taken over, not with the one that made them.
    let device = hosts[0].interface().to_owned();
    let mut netlink = hosts[0].run(Netlink::open)??;
    ensure!(netlink.link(&device).is_ok());
    network.daemon.stop()?;
    Ok(eventually("the device is gone", || netlink.link(&device).is_err())?)
}

fn everything_is_as_before() -> anyhow::Result<()> {
    let mut network = Network::new(&[Cable::Veth; 3])?;
    let daemon = &mut network.daemon;
    let mut client = daemon.client()?;
    let change = |client: &mut Client| -> anyhow::Result<()> {
        client.ask(Operation::AddBr { name: "br1".into(), datapath_id: None, persist: true })?;
        client.ask(Operation::SetPort { port: "veth3".into(), settings: "tag=7".into() })?;
        client.ask(Operation::AddPort { spec: "not-there,number=9".into() })?;
        client.set_bridge(Some("br0".into()));
        client.add_flow("priority=5,ip,nw_dst=10.9.9.9,hard_timeout=3000,idle_timeout=2000,cookie=7,actions=drop")?;
        let group = "group_id=3,type=select,bucket=output:1,bucket=output:2";
        let mods = control::GroupMods { file: true, ..Default::default() };
        client.call(Operation::GroupMods(mods), &mut group.as_bytes(), &mut |_| Ok(()))?;
        let meter = "meter=4,pktps,burst,stats,bands=type=drop,rate=1000000,burst_size=1000000";
        let mods = Operation::MeterMods(MeterMods::default());
        client.call(mods, &mut meter.as_bytes(), &mut |_| Ok(()))?;
        let mods = FlowMods { version: OfVersion::OpenFlow13, ..FlowMods::default() };
        let rule = "priority=6,icmp,actions=meter:4,NORMAL";
        client.call(Operation::FlowMods(mods), &mut rule.as_bytes(), &mut |_| Ok(()))?;
        let mac = "02:00:00:00:00:99".to_owned();
        client.ask(Operation::FdbAdd { port: "3".into(), vlan: 7, mac })?;
        Ok(())
    };
    client.set_bridge(Some("br0".into()));
    change(&mut client)?;
    let ping = Ping::to(network.hosts[1].v4());
    ensure!(ping.run(network.hosts[0].namespace())?.is_complete());
    let before = Seen::of(&mut client)?;
    daemon.restart()?;
    let mut client = daemon.client()?;
    client.set_bridge(Some("br0".into()));
    let after = Seen::of(&mut client)?;
    ensure!(before.text == after.text, "{} and {}", before.text, after.text);
    // Further hosts may have been seen meanwhile.
    let is_known = |host: &String| after.hosts.contains(host);
    ensure!(before.hosts.iter().all(is_known), "{before:?} and {after:?}");
    let pairs = before.counters.iter().zip(&after.counters);
    ensure!(pairs.clone().all(|(before, after)| after >= before), "{before:?} and {after:?}");
    ensure!(after.counters.iter().sum::<u64>() > 0);
    ensure!(before.metered >= 6 && after.metered >= before.metered, "{before:?} and {after:?}");
    ensure!(after.ages.iter().zip(&before.ages).all(|(after, before)| after >= before));
    Ok(())
}

/// What commands show of a bridge.
#[derive(Debug)]
struct Seen {
    /// What must not change.
    text: String,
    hosts: Vec<String>,
    /// What does not decrease.
    counters: Vec<u64>,
    /// How many packets went into meters.
    metered: u64,
    /// Seconds since rules and meters were added.
    ages: Vec<f64>,
}

impl Seen {
    fn of(client: &mut Client) -> anyhow::Result<Self> {
        client.ask(Operation::Sync)?;
        let mut config = String::new();
        let show = Operation::ShowConfig { format: Format::Text };
        client.call(show, &mut std::io::empty(), &mut |text| {
            config.push_str(text);
            Ok(())
        })?;
        let (flows, ports) = (client.flows("")?, client.port_stats()?);
        let hosts = client
            .fdb()?
            .into_iter()
            .map(|host| format!("{} {} {}", host.port, host.vlan, host.mac))
            .collect();
        let rules: Vec<String> = flows
            .iter()
            .map(|f| {
                format!(
                    "{} {} {} {} {}",
                    f.cookie, f.r#match, f.actions, f.idle_timeout, f.hard_timeout
                )
            })
            .collect();
        let query =
            |part| Operation::DumpMeters(MeterQuery { part, meter: None, format: Format::Json });
        let meters: Vec<MeterRecord> = client.list(query(MeterPart::Config))?;
        let metered: Vec<MeterStatsRecord> = client.list(query(MeterPart::Stats))?;
        let ages = flows.iter().map(|flow| flow.duration);
        Ok(Self {
            text: format!("{config}\n{rules:#?}\n{meters:#?}"),
            hosts,
            counters: flows
                .iter()
                .map(|flow| flow.n_packets)
                .chain(ports.iter().flat_map(|port| [port.rx_packets, port.tx_packets]))
                .collect(),
            metered: metered.iter().map(|meter| meter.packet_in_count).sum(),
            ages: ages.chain(metered.iter().map(|meter| meter.duration)).collect(),
        })
    }
}

/// A copy of the program that a test may replace.
pub(crate) fn copy_of_program(dir: &RunDir) -> anyhow::Result<std::path::PathBuf> {
    let path = dir.path().join("switchd");
    fs::copy(SWITCHD, &path)?;
    Ok(path)
}

/// Puts a script in the place of a program that may be running.
fn replace_by_script(path: &Path, script: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, script)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    Ok(fs::rename(new, path)?)
}

fn a_failure_changes_nothing() -> anyhow::Result<()> {
    let dir = RunDir::new()?;
    let program = copy_of_program(&dir)?;
    let hosts = [1, 2]
        .map(|number| Host::on_veth(HostPlan { number, mtu: None }, &format!("veth{number}")));
    let [a, b] = hosts;
    let (a, b) = (a?, b?);
    // The sandbox lets no script start, which has to be one of the reasons of a failure here.
    let arguments = ["--port", "veth1", "--port", "veth2", "--sandbox", "off"];
    let mut daemon = Daemon::start(&program, arguments)?;
    let mut client = daemon.client()?;
    eventually("the ports are up", || is_up(&mut client, "veth1") && is_up(&mut client, "veth2"))?;
    let pid = daemon.pid();
    let mut refused = |script: &str| {
        replace_by_script(&program, script)?;
        undisturbed(&a, &b, || match daemon.restart() {
            Err(LabError::Control(control::ClientError::Refused(refusal))) => Ok(refusal),
            other => anyhow::bail!("{other:?}"),
        })
    };
    let refusal = refused("#!/bin/sh\nexit 3\n")?;
    ensure!(refusal.message.contains("ended before it was ready (exit status: 3)"), "{refusal:?}");
    ensure!(refusal.hint.as_deref() == Some("the switch goes on as before"), "{refusal:?}");
    let refusal = refused("no program at all")?;
    ensure!(refusal.message.contains("start "), "{refusal:?}");
    let script = "#!/bin/sh\nexec \"$SWITCHD_UNDER_TEST\" --state /nowhere/at/all \"$@\"\n"
        .replace("$SWITCHD_UNDER_TEST", SWITCHD);
    let refusal = refused(&script)?;
    ensure!(refusal.message.contains("one program keeps state"), "{refusal:?}");
    ensure!(daemon.pid() == pid && client.flows("").is_ok());
    client.add_flow("priority=7,dl_type=0x9999,actions=drop")?;
    fs::remove_file(&program)?;
    fs::copy(SWITCHD, &program)?;
    undisturbed(&a, &b, || Ok(daemon.restart()?))?;
    ensure!(daemon.pid() != pid && daemon.client()?.flows("dl_type=0x9999")?.len() == 1);
    Ok(())
}

fn devices_are_put_back() -> anyhow::Result<()> {
    let a = Host::on_veth(HostPlan { number: 1, mtu: None }, "veth1")?;
    let mut netlink = Netlink::open()?;
    let index = netlink.link("veth1")?.index;
    netlink.set_up(index, false)?;
    let mut daemon = Daemon::start(Path::new(SWITCHD), ["--port", "veth1"])?;
    let mut client = daemon.client()?;
    eventually("the port is up", || is_up(&mut client, "veth1"))?;
    let socket = daemon.socket();
    daemon.restart()?;
    daemon.restart()?;
    let link = netlink.link("veth1")?;
    ensure!(link.is_up && link.master.is_some(), "{link:?}");
    let second = Daemon::spawn(Path::new(SWITCHD), ["--port", "veth1"])?;
    eventually("the lock is held", || second.log().contains("a device belongs to one switch"))?;
    drop(second);
    let (status, log) = daemon.stop()?;
    ensure!(status.success(), "{log}");
    let link = netlink.link("veth1")?;
    ensure!(!link.is_up && link.master.is_none(), "{link:?}");
    ensure!(!socket.exists());
    drop(a);
    Ok(())
}

fn state_is_kept_on() -> anyhow::Result<()> {
    let dir = RunDir::new()?;
    let state = dir.path().join("state");
    let arguments = ["--state", state.to_str().context("a path of text")?, "--port", "dummy:p1"];
    let mut daemon = Daemon::start(Path::new(SWITCHD), arguments)?;
    // Clients that come in the moments of a restart are served by one of both processes.
    let socket = daemon.socket();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let stream = UnixStream::connect(&socket)?;
                let mut client = Client::open(stream.try_clone()?, stream, "a test")?;
                client.ask(Operation::ListBr)?;
            }
            anyhow::Ok(())
        });
        let restarted = (0..RESTARTS).try_for_each(|_| daemon.restart());
        is_over.store(true, Ordering::Relaxed);
        asking.join().expect("the client does not panic").context("a client was cut off")?;
        anyhow::Ok(restarted?)
    })?;
    daemon.client()?.add_flow("priority=1,actions=drop")?;
    daemon.restart()?;
    daemon.client()?.add_flow("priority=2,actions=drop")?;
    daemon.restart()?;
    daemon.client()?.add_flow("priority=3,actions=drop")?;
    let Reply::Bridges(bridges) = daemon.client()?.ask(Operation::ListBr)? else {
        anyhow::bail!("not a list of bridges");
    };
    ensure!(bridges.len() == 1);
    daemon.crash()?;
    let again = Daemon::start(Path::new(SWITCHD), arguments)?;
    let rules = again.client()?.flows("")?;
    ensure!(rules.len() == 4, "{rules:?}");
    Ok(())
}
