//! Another version of the program takes over from the switch, or refuses to.

use crate::fixture::{Cable, Network, SWITCHD};
use crate::life::{is_up, undisturbed};
use crate::restart::copy_of_program;
use anyhow::ensure;
use lab::harness::{Test, Unsupported};
use lab::traffic::NumberedStream;
use lab::{Daemon, Host, HostPlan, LabError, RunDir, eventually};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(crate) const TESTS: &[Test] = &[
    ("upgrade::the_next_version_takes_over_without_loss", the_next_version_takes_over),
    ("upgrade::an_older_version_refuses_what_it_does_not_know", an_older_version_refuses),
];

/// The same code as another version, which hands over one section more (`switchd/examples/next_version.rs`).
fn next_version() -> anyhow::Result<PathBuf> {
    let path = Path::new(SWITCHD).with_file_name("examples").join("next_version");
    match path.exists() {
        true => Ok(path),
        false => Err(Unsupported::lacking(
            "the example next_version, which \"cargo test\" without --test builds",
        )),
    }
}

/// Puts a copy of `program` in the place of a program that may be running, as a package manager does.
fn install(program: &Path, place: &Path) -> anyhow::Result<()> {
    let new = place.with_extension("new");
    fs::copy(program, &new)?;
    Ok(fs::rename(new, place)?)
}

fn version(daemon: &Daemon) -> anyhow::Result<String> {
    Ok(daemon.client()?.hello().program.clone())
}

fn the_next_version_takes_over() -> anyhow::Result<()> {
    let next = next_version()?;
    let dir = RunDir::new()?;
    let program = copy_of_program(&dir)?;
    // All frames go through the rings, which are handed over.
    let arguments = ["--kernel-cache=off"];
    let mut network = Network::of_program(&program, &[Cable::Veth; 2], None, &arguments)?;
    let Network { hosts, daemon } = &mut network;
    let before = version(daemon)?;
    let rules = 500;
    for n in 0..rules {
        daemon.client()?.add_flow(&format!("priority={n},dl_type=0x9999,actions=drop"))?;
    }
    daemon.client()?.add_flow("priority=900,udp,in_port=1,tp_dst=7000,actions=output:2")?;
    let to = SocketAddr::new(hosts[1].v4().into(), 7000);
    let stream = NumberedStream { to, rate: 2_000, window: 100 };
    let upgrade = || {
        install(&next, &program)?;
        daemon.restart()?;
        let after = version(daemon)?;
        // Its own section, which the other version does not know, is no obstacle to itself.
        daemon.restart()?;
        anyhow::Ok(after)
    };
    let (after, report) = stream.run_during(hosts[0].namespace(), hosts[1].namespace(), upgrade)?;
    let after = after?;
    ensure!(before != after && after.ends_with(".999"), "{before} and {after}");
    ensure!(report.received == report.sent && report.sent > 0, "{report:?}");
    ensure!(report.misordered == 0, "{report:?}");
    let kept = daemon.client()?.flows("dl_type=0x9999")?.len();
    ensure!(kept == rules, "{kept} of {rules} rules are left");
    Ok(())
}

fn an_older_version_refuses() -> anyhow::Result<()> {
    let next = next_version()?;
    let dir = RunDir::new()?;
    let program = dir.path().join("switchd");
    install(&next, &program)?;
    let hosts = [1, 2]
        .map(|number| Host::on_veth(HostPlan { number, mtu: None }, &format!("veth{number}")));
    let [a, b] = hosts;
    let (a, b) = (a?, b?);
    let mut daemon = Daemon::start(&program, ["--port", "veth1", "--port", "veth2"])?;
    let mut client = daemon.client()?;
    eventually("the ports are up", || is_up(&mut client, "veth1") && is_up(&mut client, "veth2"))?;
    let (pid, newer) = (daemon.pid(), version(&daemon)?);
    install(Path::new(SWITCHD), &program)?;
    let refusal = undisturbed(&a, &b, || match daemon.restart() {
        Err(LabError::Control(control::ClientError::Refused(refusal))) => Ok(refusal),
        other => anyhow::bail!("{other:?}"),
    })?;
    let why = format!("does not know the \"weather\" that {newer} hands over");
    ensure!(refusal.message.contains(&why), "{refusal:?}");
    ensure!(refusal.hint.as_deref() == Some("the switch goes on as before"), "{refusal:?}");
    ensure!(daemon.pid() == pid && version(&daemon)? == newer);
    // Nothing was given up: the same program can still take over.
    install(&next, &program)?;
    undisturbed(&a, &b, || Ok(daemon.restart()?))?;
    ensure!(daemon.pid() != pid && version(&daemon)? == newer);
    Ok(())
}
