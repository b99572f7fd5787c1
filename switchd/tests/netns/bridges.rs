//! Several bridges in one switch, from the command line and from a file.

use crate::fixture::SWITCHD;
use anyhow::{Context, ensure};
use control::{Client, Operation, Reply};
use lab::harness::{Test, Unsupported};
use lab::traffic::Ping;
use lab::{Daemon, Host, HostPlan, Netlink, eventually, has_taps};
use std::io::empty;
use std::net::IpAddr;
use std::path::Path;

pub(crate) const TESTS: &[Test] = &[
    ("bridges::ports_belong_to_the_bridge_named_before_them", ports_belong_to_bridges),
    ("bridges::what_is_wanted_outlives_a_restart", what_is_wanted_outlives_a_restart),
    ("bridges::a_device_moves_from_bridge_to_bridge", a_device_moves),
    ("bridges::a_mistake_in_a_file_has_a_place", a_mistake_in_a_file_has_a_place),
    ("bridges::the_host_itself_is_at_a_port_called_as_the_bridge", the_host_itself_is_at_a_port),
];

/// Hosts at veth1 to veth3.
fn hosts() -> anyhow::Result<[Host; 3]> {
    let host = |n| Host::on_veth(HostPlan::number(n), &format!("veth{n}"));
    Ok([host(1)?, host(2)?, host(3)?])
}

fn start(arguments: &[&str]) -> anyhow::Result<(Daemon, Client)> {
    let daemon = Daemon::start(Path::new(SWITCHD), arguments)?;
    let client = daemon.client().with_context(|| daemon.log())?;
    Ok((daemon, client))
}

/// Two bridges without anything between them.
const APART: [&str; 10] =
    ["--bridge", "br0", "--port", "veth1", "--port", "veth2", "--bridge", "br1", "--port", "veth3"];

fn reaches(from: &Host, to: &Host) -> anyhow::Result<()> {
    Ok(eventually(&format!("an answer from {}", to.v4()), || {
        Ping::brief(to.v4()).run(from.namespace()).is_ok_and(|report| report.is_complete())
    })?)
}

fn does_not_reach(from: &Host, to: &Host) -> anyhow::Result<()> {
    let report = Ping::brief(to.v4()).run(from.namespace())?;
    ensure!(report.received() == 0, "{report:?}");
    Ok(())
}

fn on<'a>(client: &'a mut Client, bridge: &str) -> &'a mut Client {
    client.set_bridge(Some(bridge.to_owned()));
    client
}

fn add_port(client: &mut Client, bridge: &str, port: &str) -> anyhow::Result<()> {
    on(client, bridge).ask(Operation::AddPort { spec: port.to_owned() })?;
    Ok(())
}

fn config(client: &mut Client) -> anyhow::Result<String> {
    client.set_bridge(None);
    let mut config = String::new();
    let operation = Operation::ShowConfig { format: control::Format::Text };
    client.call(operation, &mut empty(), &mut |text| {
        config.push_str(text);
        Ok(())
    })?;
    Ok(config)
}

/// The names of the bridges with their datapath ids.
fn datapath_ids(client: &mut Client) -> anyhow::Result<Vec<(String, String)>> {
    client.set_bridge(None);
    match client.ask(Operation::ListBr)? {
        Reply::Bridges(bridges) => {
            Ok(bridges.into_iter().map(|b| (b.bridge, b.datapath_id)).collect())
        }
        other => anyhow::bail!("{other:?}"),
    }
}

fn ports_belong_to_bridges() -> anyhow::Result<()> {
    let [a, b, c] = hosts()?;
    let (_daemon, mut client) = start(&APART)?;
    reaches(&a, &b)?;
    does_not_reach(&a, &c)?;
    add_port(&mut client, "br0", "patch:to-br1,peer=to-br0")?;
    add_port(&mut client, "br1", "patch:to-br0,peer=to-br1")?;
    reaches(&a, &c)?;
    let number =
        on(&mut client, "br1").ports()?.iter().find(|p| p.name == "to-br0").map(|p| p.port);
    ensure!(number == Some(2), "each bridge has numbers of its own: {number:?}");
    client.ask(Operation::DelPort { port: "to-br0".to_owned() })?;
    does_not_reach(&a, &c)
}

fn what_is_wanted_outlives_a_restart() -> anyhow::Result<()> {
    let [a, b, c] = hosts()?;
    let (daemon, mut client) = start(&[&APART[..], &["--mac-ageing", "60"]].concat())?;
    add_port(&mut client, "br0", "patch:to-br1,peer=to-br0,tag=10")?;
    add_port(&mut client, "br1", "patch:to-br0,peer=to-br1")?;
    client.ask(Operation::AddBr { name: "br2".to_owned(), datapath_id: None, persist: true })?;
    let settings = "tag=10 protected=true".to_owned();
    on(&mut client, "br0").ask(Operation::SetPort { port: "veth1".to_owned(), settings })?;
    client.ask(Operation::SetPort { port: "veth2".to_owned(), settings: "tag=10".to_owned() })?;
    let wanted = config(&mut client)?;
    let ids = datapath_ids(&mut client)?;
    let mac = Netlink::open()?.link("veth1")?.mac;
    let from_port = mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    ensure!(ids[0] == ("br0".to_owned(), format!("0000{from_port}")), "{ids:?} {from_port}");
    reaches(&a, &b)?;
    reaches(&a, &c)?;

    let run_dir = daemon.run_dir();
    drop(client);
    daemon.stop()?;
    let file = run_dir.path().join("switch.toml");
    std::fs::write(&file, &wanted)?;
    let name = file.to_str().context("a path in letters")?;
    let (daemon, mut client) = start(&["--config", name])?;
    ensure!(config(&mut client)? == wanted, "{}", config(&mut client)?);
    ensure!(datapath_ids(&mut client)? == ids, "{:?}", datapath_ids(&mut client)?);
    reaches(&a, &b)?;
    reaches(&a, &c)?;
    drop(client);
    daemon.stop()?;

    let said = refusal(&["--config", name, "--mac-ageing", "61"], 2)?;
    ensure!(
        said.contains("--mac-ageing is 61, but") && said.contains("says mac-ageing = 60"),
        "{said}"
    );
    let (_daemon, mut client) = start(&["--config", name, "--bridge", "br2", "--port", "veth9"])?;
    ensure!(config(&mut client)?.ends_with("device = \"veth9\"\nnumber = 1\n"));
    Ok(())
}

/// What a daemon says that does not start.
fn refusal(arguments: &[&str], code: i32) -> anyhow::Result<String> {
    let mut daemon = Daemon::spawn(Path::new(SWITCHD), arguments)?;
    let status = daemon.wait()?;
    ensure!(status.code() == Some(code), "{status}: {}", daemon.log());
    Ok(daemon.log())
}

fn a_device_moves() -> anyhow::Result<()> {
    let [a, _b, c] = hosts()?;
    let (_daemon, mut client) = start(&APART)?;
    let add = Operation::AddPort { spec: "veth1".to_owned() };
    let refused = on(&mut client, "br1").ask(add).map_err(|e| e.to_string());
    ensure!(
        refused.as_ref().is_err_and(|e| e.contains("belongs to port \"veth1\" of bridge \"br0\"")
            && e.contains("ofctl del-port br0 veth1")),
        "{refused:?}"
    );
    on(&mut client, "br0").ask(Operation::DelPort { port: "veth1".to_owned() })?;
    add_port(&mut client, "br1", "veth1")?;
    reaches(&a, &c)
}

fn a_mistake_in_a_file_has_a_place() -> anyhow::Result<()> {
    let file = lab::RunDir::new()?;
    let path = file.path().join("switch.toml");
    std::fs::write(
        &path,
        "[[bridge]]\nname = \"br0\"\n\n[[bridge.port]]\ndevice = \"veth1\"\ntags = 5\n",
    )?;
    let name = path.to_str().context("a path in letters")?;
    let said = refusal(&["--config", name], 1)?;
    let wanted = format!(
        "switchd: {name}:6:1: no key of a port is called \"tags\"; there are device, name,"
    );
    ensure!(said.starts_with(&wanted), "{said}");
    ensure!(said.ends_with("  tags = 5\n  ^^^^\n"), "{said}");
    Ok(())
}

fn the_host_itself_is_at_a_port() -> anyhow::Result<()> {
    if !has_taps() {
        let what = "TAP devices for this user (/dev/net/tun cannot be opened)";
        return Err(Unsupported::lacking(what));
    }
    let [a, ..] = hosts()?;
    let (_daemon, mut client) = start(&["-p", "veth1", "-p", "internal:br0"])?;
    let ports = client.ports()?;
    ensure!(ports.iter().any(|p| p.name == "br0" && p.port == 0xfffe), "{ports:?}");
    let mut netlink = Netlink::open()?;
    let index = netlink.link("br0")?.index;
    let address = IpAddr::from([10, 0, 0, 99]);
    netlink.add_address(index, address, 24)?;
    ensure!(Ping::to(address).run(a.namespace())?.is_complete());
    Ok(())
}
