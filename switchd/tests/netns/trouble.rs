//! Devices that cannot be used, privileges that are missing, and signals: nothing of it stops the switch
//! without need, and whatever ends the switch gives the devices back.

use crate::fixture::SWITCHD;
use crate::life::{is_up, port};
use crate::ownership::{names, refusal};
use anyhow::{Context, ensure};
use lab::harness::{Test, Unsupported, unsupported_if_missing};
use lab::traffic::Ping;
use lab::{Daemon, Host, HostPlan, LinkSpec, Netlink, eventually, has_taps};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use ports::netns::Netns;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

pub(crate) const TESTS: &[Test] = &[
    ("trouble::a_device_of_a_bridge_is_tried_again", bridged),
    ("trouble::a_device_below_a_macvlan_is_tried_again", below_a_macvlan),
    ("trouble::a_device_of_another_switch_is_tried_again", of_another_switch),
    ("trouble::a_device_that_is_no_tap_leaves_the_others_alone", no_tap),
    ("trouble::a_missing_capability_is_named_before_the_device_is_there", missing_capability),
    ("trouble::nobody_else_can_take_the_lock_of_a_device", nobody_else_takes_the_lock),
    ("trouble::a_link_that_flaps_does_not_fill_the_log", flapping_link),
    ("trouble::every_signal_gives_the_devices_back", every_signal),
];

/// A switch between `first` and a second host, whose first port cannot be used yet for
/// a reason with these words.
fn started_with_trouble(first: &str, reason: &[&str]) -> anyhow::Result<(Daemon, Host)> {
    let other = Host::on_veth(HostPlan::number(2), "veth2")?;
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", first, "--port", "veth2"])?;
    let mut client = daemon.client()?;
    ensure!(is_up(&mut client, "veth2"), "{}", daemon.log());
    let name = first.split(':').next_back().unwrap_or(first);
    let problem = port(&mut client, name)?.problem.unwrap_or_default();
    let is_told = |text: &str| reason.iter().all(|word| text.contains(word));
    ensure!(problem.starts_with("error(") && is_told(&problem), "{problem}");
    eventually("the log says so, too", || is_told(&daemon.log())).with_context(|| daemon.log())?;
    Ok((daemon, other))
}

fn becomes_up(daemon: &Daemon, name: &str, a: &Host, b: &Host) -> anyhow::Result<()> {
    let mut client = daemon.client()?;
    eventually("the port is up", || is_up(&mut client, name)).with_context(|| daemon.log())?;
    ensure!(Ping::to(b.v4()).run(a.namespace())?.is_complete(), "{}", daemon.log());
    Ok(())
}

fn bridged() -> anyhow::Result<()> {
    let a = Host::on_veth(HostPlan::number(1), "veth1")?;
    let mut netlink = Netlink::open()?;
    netlink.create_bridge("somebody-else", &LinkSpec { up: true, ..LinkSpec::default() })?;
    let (bridge, device) = (netlink.link("somebody-else")?.index, netlink.link("veth1")?.index);
    netlink.set_master(device, Some(bridge))?;
    let words = ["\"veth1\"", "\"somebody-else\"", "ip link set veth1 nomaster", "shield=off"];
    let (daemon, b) = started_with_trouble("veth1", &words)?;
    netlink.set_master(device, None)?;
    becomes_up(&daemon, "veth1", &a, &b)
}

/// A macvlan takes the frames of its device, as a bridge would. With `shield=off` both can have them.
fn below_a_macvlan() -> anyhow::Result<()> {
    let a = Host::on_veth(HostPlan::number(1), "veth1")?;
    let mut netlink = Netlink::open()?;
    let device = netlink.link("veth1")?.index;
    unsupported_if_missing(
        netlink.create_macvlan("mv0", &LinkSpec::default(), device),
        "macvlan devices",
    )?;
    let words = ["\"veth1\"", "macvlan \"mv0\"", "shield=off"];
    let (daemon, b) = started_with_trouble("veth1", &words)?;
    let mut client = daemon.client()?;
    client.ask(control::Operation::DelPort { port: "veth1".into() })?;
    let spec = "veth1,number=1,shield=off".to_owned();
    client.ask(control::Operation::AddPort { spec })?;
    becomes_up(&daemon, "veth1", &a, &b)?;
    client.ask(control::Operation::DelPort { port: "veth1".into() })?;
    let spec = "veth1,number=1".to_owned();
    let refused = client.ask(control::Operation::AddPort { spec: spec.clone() });
    let refused = refused.err().context("a command takes a device that cannot be used")?;
    ensure!(refused.to_string().contains("port \"veth1\": device \"veth1\""), "{refused}");
    let macvlan = netlink.link("mv0")?.index;
    netlink.delete_link(macvlan)?;
    client.ask(control::Operation::AddPort { spec })?;
    becomes_up(&daemon, "veth1", &a, &b)
}

fn of_another_switch() -> anyhow::Result<()> {
    let a = Host::on_veth(HostPlan::number(1), "veth1")?;
    let first = Daemon::start(Path::new(SWITCHD), ["--port", "veth1"])?;
    let owner = format!("process {}", first.pid());
    let words = ["\"veth1\"", "is in use by", owner.as_str(), "ofctl del-port"];
    let (daemon, b) = started_with_trouble("veth1", &words)?;
    let (status, said) = first.stop()?;
    ensure!(status.success(), "{status}: {said}");
    becomes_up(&daemon, "veth1", &a, &b)
}

fn no_tap() -> anyhow::Result<()> {
    if !has_taps() {
        return Err(Unsupported::lacking("TAP devices for this user"));
    }
    let _a = Host::on_veth(HostPlan::number(1), "veth1")?;
    started_with_trouble("tap:veth1", &["\"veth1\"", "is not a TAP device"]).map(drop)
}

/// In a further user namespace we have every capability, but none over our network namespace.
fn missing_capability() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|e| Unsupported::lacking(format!("user namespaces: {e}")))?;
    let said = refusal(&["--port", "absent0"])?;
    ensure!(said.contains("port \"absent0\"") && said.contains("CAP_NET_RAW"), "{said}");
    let said = refusal(&["--port", "netns:absent/eth0"])?;
    ensure!(said.contains("\"eth0\"") && said.contains("CAP_SYS_ADMIN"), "{said}");
    for (port, name) in [("tap:absent1", "absent1"), ("internal:absent2", "absent2")] {
        let said = refusal(&["--port", port])?;
        let is_named = said.contains("CAP_NET_ADMIN is missing") || said.contains("/dev/net/tun");
        ensure!(said.contains(&format!("port \"{name}\"")) && is_named, "{said}");
    }
    Ok(())
}

/// Sockets with names that can be guessed keep no port from opening, and nobody waits for one
/// that listens and never accepts.
fn nobody_else_takes_the_lock() -> anyhow::Result<()> {
    let _a = Host::on_veth(HostPlan::number(1), "veth1")?;
    let (device, namespace) = (Netlink::open()?.link("veth1")?.index, Netns::current()?.inode()?);
    let name = format!("switchd-port/{namespace}/{device}");
    let _squatter = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "veth1"])?;
    ensure!(is_up(&mut daemon.client()?, "veth1"), "{}", daemon.log());
    Ok(())
}

/// Somebody sets the device of a port down and up, as a container can whose device is a port. The log says how
/// many lines it left out, and what came of it.
fn flapping_link() -> anyhow::Result<()> {
    const FLAPS: usize = 100;
    let _host = Host::on_veth(HostPlan::number(1), "veth1")?;
    let _other = Host::on_veth(HostPlan::number(2), "veth2")?;
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "veth1", "--port", "veth2"])?;
    let mut client = daemon.client()?;
    let mut netlink = Netlink::open()?;
    let device = netlink.link("veth1")?.index;
    for _ in 0..FLAPS {
        netlink.set_up(device, false)?;
        eventually("the switch has seen it", || !is_up(&mut client, "veth1"))?;
        netlink.set_up(device, true)?;
        eventually("the switch has seen it", || is_up(&mut client, "veth1"))?;
    }
    let about = |name: &str| daemon.log().lines().filter(|l| l.contains(name)).count();
    let told = || daemon.log().contains("were left out; port veth1 is up");
    eventually("the log says what was left out", told).with_context(|| daemon.log())?;
    ensure!(about("veth1") < FLAPS / 2, "{} lines:\n{}", about("veth1"), daemon.log());
    let other = netlink.link("veth2")?.index;
    netlink.set_up(other, false)?;
    let is_told = || daemon.log().contains("port 2 (veth2): down");
    eventually("other ports have their lines", is_told).with_context(|| daemon.log())?;
    Ok(())
}

/// Whether the switch ignores a signal, because the program that has started this test ignores it.
fn is_ignored(daemon: &Daemon, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()));
    // A switch that has ended did not ignore the signal.
    let Some(mask) = status.ok().and_then(|status| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    }) else {
        return false;
    };
    mask >> (signal as i32 - 1) & 1 == 1
}

fn every_signal() -> anyhow::Result<()> {
    let _host = Host::on_veth(HostPlan::number(1), "veth1")?;
    let mut netlink = Netlink::open()?;
    let (before, links) = (netlink.link("veth1")?, names(&mut netlink)?);
    for signal in
        [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGALRM]
    {
        let mut daemon = Daemon::start(Path::new(SWITCHD), ["--port", "veth1"])?;
        ensure!(netlink.link("veth1")?.master.is_some(), "there is nothing to give back");
        daemon.signal(signal)?;
        if is_ignored(&daemon, signal) {
            eprintln!("{signal} is ignored, as under nohup: the switch has to go on");
            daemon.client()?;
            daemon.stop()?;
            continue;
        }
        let status = daemon.wait()?;
        ensure!(status.success(), "{signal}: {status}: {}", daemon.log());
        let after = netlink.link("veth1")?;
        ensure!(
            (after.master, after.is_up) == (before.master, before.is_up),
            "{signal}: {after:?}"
        );
        ensure!(names(&mut netlink)? == links, "{signal}: a device was left behind");
        ensure!(!daemon.socket().exists(), "{signal}: the socket was left behind");
    }
    Ok(())
}
