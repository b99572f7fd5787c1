//! Ports in other network namespaces, named as `ip netns` names them.

use crate::fixture::SWITCHD;
use crate::life::{is_up, is_waiting, port, undisturbed};
use anyhow::{Context, ensure};
use control::Operation;
use lab::harness::Test;
use lab::traffic::Ping;
use lab::{Daemon, Host, HostPlan, Namespace, Netlink, eventually};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const TESTS: &[Test] = &[
    ("other_netns::ports_are_in_namespaces_of_their_own", ports_are_in_namespaces_of_their_own),
    ("other_netns::a_namespace_that_is_made_again_is_found", made_again),
    ("other_netns::a_namespace_that_ends_while_the_switch_starts_is_missed", ends_early),
    ("other_netns::a_device_that_leaves_its_namespace_is_missed", a_device_leaves),
    ("other_netns::a_missing_namespace_is_waited_for_or_refused", a_missing_namespace),
];

/// Names of network namespaces, which only this test and its children see.
pub(crate) struct Names(PathBuf);

impl Names {
    pub(crate) fn new() -> anyhow::Result<Self> {
        const NONE: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace")?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), NONE)?;
        let folder = PathBuf::from("/run/netns");
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }

    /// As `ip netns add`.
    fn add(&self, name: &str) -> anyhow::Result<Namespace> {
        const NONE: Option<&str> = None;
        let path = self.0.join(name);
        fs::write(&path, "")?;
        let namespace = Namespace::new()?;
        let own = Path::new("/proc/thread-self/ns/net");
        namespace.run(|| mount(Some(own), &path, NONE, MsFlags::MS_BIND, NONE))??;
        Ok(namespace)
    }

    /// Gives a namespace one more name.
    fn alias(&self, name: &str, alias: &str) -> anyhow::Result<()> {
        const NONE: Option<&str> = None;
        let path = self.0.join(alias);
        fs::write(&path, "")?;
        Ok(mount(Some(&self.0.join(name)), &path, NONE, MsFlags::MS_BIND, NONE)?)
    }

    /// As `ip netns del`.
    fn remove(&self, name: &str) -> anyhow::Result<()> {
        umount2(&self.0.join(name), MntFlags::MNT_DETACH)?;
        Ok(fs::remove_file(self.0.join(name))?)
    }
}

/// A host whose cable ends in another namespace, as the device `eth9`.
fn host_in(number: u8, namespace: &Namespace) -> anyhow::Result<Host> {
    let host = Host::on_veth(HostPlan::number(number), "eth9")?;
    let mut netlink = Netlink::open()?;
    let index = netlink.link("eth9")?.index;
    netlink.move_to_netns(index, namespace)?;
    Ok(host)
}

fn ports_are_in_namespaces_of_their_own() -> anyhow::Result<()> {
    let names = Names::new()?;
    let (blue, red) = (names.add("blue")?, names.add("red")?);
    let (a, b) = (host_in(1, &blue)?, host_in(2, &red)?);
    let ports = ["--port", "netns:blue/eth9,name=blue", "--port", "netns:red/eth9,name=red"];
    let daemon = Daemon::start(Path::new(SWITCHD), ports)?;
    let report = Ping::to(b.v4()).run(a.namespace())?;
    ensure!(report.is_complete(), "{report:?}: {}", daemon.log());
    // What happens to a device over there is heard here.
    let mut client = daemon.client()?;
    let mut netlink = blue.run(Netlink::open)??;
    let index = netlink.link("eth9")?.index;
    netlink.set_mtu(index, 1400)?;
    eventually("the MTU is known", || {
        port(&mut client, "blue").is_ok_and(|p| p.mtu == Some(1400))
    })?;
    daemon.stop()?;
    let link = netlink.link("eth9")?;
    ensure!(link.master.is_none() && !link.is_up, "the device was not put back: {link:?}");
    Ok(())
}

fn made_again() -> anyhow::Result<()> {
    let names = Names::new()?;
    let blue = names.add("blue")?;
    let a = host_in(1, &blue)?;
    let others = [2, 3].map(|n| Host::on_veth(HostPlan::number(n), &format!("veth{n}")));
    let [b, c] = others;
    let (b, c) = (b?, c?);
    let ports = ["--port", "netns:blue/eth9,name=blue,tag=7", "--port", "veth2", "--port", "veth3"];
    let daemon = Daemon::start(Path::new(SWITCHD), ports)?;
    let mut client = daemon.client()?;
    ensure!(is_up(&mut client, "blue"), "{}", daemon.log());
    let again = undisturbed(&b, &c, || {
        names.remove("blue")?;
        drop(blue);
        eventually("the port waits", || is_waiting(&mut client, "blue"))?;
        drop(a);
        let blue = names.add("blue")?;
        let a = host_in(1, &blue)?;
        eventually("the port is up again", || is_up(&mut client, "blue"))?;
        Ok(a)
    })
    .with_context(|| daemon.log())?;
    client.ask(Operation::SetPort { port: "veth2".into(), settings: "tag=7".into() })?;
    let report = Ping::to(b.v4()).run(again.namespace())?;
    ensure!(report.is_complete(), "{report:?}");
    Ok(())
}

/// The switch looks for devices in all namespaces at its start, before it listens to any: hundreds of names
/// keep it busy until the namespace has gone.
fn ends_early() -> anyhow::Result<()> {
    let names = Names::new()?;
    let blue = names.add("blue")?;
    let _other = names.add("other")?;
    for n in 0..500 {
        names.alias("other", &format!("other{n}"))?;
    }
    let _host = host_in(1, &blue)?;
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "netns:blue/eth9"])?;
    names.remove("blue")?;
    drop(blue);
    let mut client = daemon.client()?;
    eventually("the port waits", || is_waiting(&mut client, "eth9")).with_context(|| daemon.log())
}

fn a_device_leaves() -> anyhow::Result<()> {
    let names = Names::new()?;
    let (blue, other) = (names.add("blue")?, Namespace::new()?);
    let _host = host_in(1, &blue)?;
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "netns:blue/eth9"])?;
    let mut client = daemon.client()?;
    let mut here = blue.run(Netlink::open)??;
    let index = here.link("eth9")?.index;
    here.move_to_netns(index, &other)?;
    eventually("the port waits", || is_waiting(&mut client, "eth9"))?;
    let mut there = other.run(Netlink::open)??;
    let index = there.link("eth9")?.index;
    there.move_to_netns(index, &blue)?;
    Ok(eventually("the port is up again", || is_up(&mut client, "eth9"))?)
}

fn a_missing_namespace() -> anyhow::Result<()> {
    let names = Names::new()?;
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "netns:late/eth9"])?;
    let mut client = daemon.client()?;
    ensure!(is_waiting(&mut client, "eth9"), "{}", daemon.log());
    let late = names.add("late")?;
    let _host = host_in(1, &late)?;
    eventually("the port is up", || is_up(&mut client, "eth9")).with_context(|| daemon.log())?;
    let mut refused = Daemon::spawn(Path::new(SWITCHD), ["--require", "--port", "netns:no/eth9"])?;
    let status = refused.wait()?;
    let said = refused.log();
    ensure!(!status.success() && said.contains("\"no\""), "{status}: {said}");
    Ok(())
}
