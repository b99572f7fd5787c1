//! Changes of the whole switch, and of its configuration file, with real devices: what is refused leaves all
//! devices as they were, and a device that is not named any more is given back.

use crate::fixture::SWITCHD;
use crate::life::is_up;
use anyhow::{Context, ensure};
use control::{Client, FlowCommand, Format, Operation, SavedQuery};
use lab::harness::Test;
use lab::traffic::Ping;
use lab::{Daemon, Host, HostPlan, LinkSpec, Netlink, RunDir, eventually};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;

pub(crate) const TESTS: &[Test] = &[
    ("saved::a_device_that_cannot_be_used_leaves_all_as_it_was", unusable_device),
    ("saved::a_file_that_is_read_again_opens_and_closes_ports", read_again),
];

fn save(client: &mut Client) -> anyhow::Result<String> {
    let mut text = String::new();
    let operation = Operation::Save { format: Format::Text };
    client.call(operation, &mut std::io::empty(), &mut |piece| {
        text.push_str(piece);
        Ok(())
    })?;
    Ok(text)
}

fn apply(client: &mut Client, text: &str) -> Result<(), control::ClientError> {
    let query = SavedQuery { name: "new.toml".to_owned(), ..SavedQuery::default() };
    let operation = Operation::Apply { query, confirm: None };
    client.call(operation, &mut text.as_bytes(), &mut |_| Ok(())).map(drop)
}

/// The rules have changed already when the device turns out to be somebody else's.
fn unusable_device() -> anyhow::Result<()> {
    let a = Host::on_veth(HostPlan::number(1), "veth1")?;
    let b = Host::on_veth(HostPlan::number(2), "veth2")?;
    let mut netlink = Netlink::open()?;
    netlink.create_bridge("somebody-else", &LinkSpec { up: true, ..LinkSpec::default() })?;
    let (bridge, device) = (netlink.link("somebody-else")?.index, netlink.link("veth1")?.index);
    netlink.set_master(device, Some(bridge))?;
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "veth2"])?;
    let mut client = daemon.client()?;
    client.change_flows(FlowCommand::Add, "priority=9,udp,actions=drop")?;
    let before = save(&mut client)?;
    let rule = "priority=9,udp actions=drop";
    ensure!(before.contains(rule), "{before}");
    let new = before.replace(rule, "priority=9,sctp actions=drop")
        + "\n[[bridge.port]]\ndevice = \"veth1\"\nnumber = 7\n";
    let refused = apply(&mut client, &new).err().context("a device of a bridge is taken")?;
    let refused = refused.to_string();
    ensure!(refused.contains("veth1") && refused.contains("somebody-else"), "{refused}");
    ensure!(save(&mut client)? == before, "{}", save(&mut client)?);
    ensure!(netlink.link("veth1")?.master == Some(bridge), "it still belongs to somebody else");
    netlink.set_master(device, None)?;
    apply(&mut client, &new)?;
    ensure!(save(&mut client)? == new, "{}", save(&mut client)?);
    eventually("the port is up", || is_up(&mut client, "veth1")).with_context(|| daemon.log())?;
    ensure!(Ping::to(b.v4()).run(a.namespace())?.is_complete(), "{}", daemon.log());
    Ok(())
}

fn read_again() -> anyhow::Result<()> {
    let _a = Host::on_veth(HostPlan::number(1), "veth1")?;
    let _b = Host::on_veth(HostPlan::number(2), "veth2")?;
    let mut netlink = Netlink::open()?;
    let free = netlink.link("veth1")?.master;
    let folder = RunDir::new()?;
    let file = folder.path().join("switch.toml");
    let write = |device: &str| {
        let text = format!("[[bridge]]\nname = \"br0\"\nport = [{{ device = \"{device}\" }}]\n");
        fs::write(&file, text)
    };
    write("veth1")?;
    let daemon = Daemon::start(Path::new(SWITCHD), [Path::new("--config"), &file])?;
    let mut client = daemon.client()?;
    ensure!(netlink.link("veth1")?.master != free, "there is nothing to give back");
    write("veth2")?;
    daemon.signal(Signal::SIGHUP)?;
    eventually("the port of the file is up", || is_up(&mut client, "veth2"))
        .with_context(|| daemon.log())?;
    eventually("the other device is given back", || {
        netlink.link("veth1").is_ok_and(|link| link.master == free)
    })
    .with_context(|| daemon.log())?;
    let (status, log) = daemon.stop()?;
    ensure!(status.success() && log.contains("is read again: 2 changes"), "{status}: {log}");
    Ok(())
}
