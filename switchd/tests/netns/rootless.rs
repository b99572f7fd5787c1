//! Switches of an ordinary user (`--rootless`): their devices are in network namespaces of their own, and their
//! tunnels join the machines.

use crate::tunnels::{give_addresses, joined_sites};
use anyhow::{Context, bail, ensure};
use control::path::SOCKET_NAME;
use control::{Client, Operation, Reply};
use lab::harness::{Test, Unsupported};
use lab::traffic::Ping;
use lab::{LinkSpec, Namespace, Netlink, RunDir, eventually};
use nix::unistd::{Gid, Uid, chown, geteuid};
use std::fs::{File, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) const TESTS: &[Test] =
    &[("rootless::an_ordinary_user_joins_two_machines_and_restarts", joins_two_machines)];

/// The user `nobody` of most machines, which has no rights.
const NOBODY: u32 = 65534;

/// The first process of a user's switch, which ends with this value.
struct UsersSwitch {
    pid: u32,
    run_dir: RunDir,
}

impl Drop for UsersSwitch {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.pid as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    }
}

/// A command of an ordinary user: of nobody, if this process is root of the machine and not
/// only of a user namespace.
fn as_user(program: &Path, run_dir: &RunDir) -> Command {
    let mut command = match is_root_of_the_machine() {
        true => {
            let mut command = Command::new("setpriv");
            let user = NOBODY.to_string();
            command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.env("SWITCH_RUNDIR", run_dir.path()).env("NO_COLOR", "1");
    command.current_dir(run_dir.path());
    command
}

fn is_root_of_the_machine() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Starts a switch with the port `inner` and a tunnel to the other machine, and gives the other end of the
/// port's cable an address.
fn start(machine: &Namespace, number: u8) -> anyhow::Result<UsersSwitch> {
    let run_dir = RunDir::new()?;
    // The user may not be allowed to look into the folder where the program was built.
    let program = run_dir.path().join("switchd");
    std::fs::copy(env!("CARGO_BIN_EXE_switchd"), &program)?;
    if is_root_of_the_machine() {
        chown(run_dir.path(), Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY)))?;
        // The folder around it is closed to other users, and the switch starts itself again by its path.
        let around = run_dir.path().parent().context("the folder is in another one")?;
        let mode = around.metadata()?.permissions().mode();
        std::fs::set_permissions(around, Permissions::from_mode(mode | 0o011))?;
    }
    let pid_file = run_dir.path().join("pid");
    let remote = format!("vxlan:t,remote_ip=192.0.2.{},key=7", 3 - number);
    // A file: the switch in the background keeps its standard error.
    let log = run_dir.path().join("log");
    let stderr = File::create(&log)?;
    let status = machine.run(|| {
        as_user(&program, &run_dir)
            .args(["--rootless", "--detach", "--port", "inner", "--port", &remote])
            .arg("--pidfile")
            .arg(&pid_file)
            .stdout(Stdio::null())
            .stderr(stderr)
            .status()
    })?;
    let status = status.with_context(|| format!("start {}", program.display()))?;
    let said = std::fs::read_to_string(&log)?;
    if said.contains("namespaces are not allowed here") {
        return Err(Unsupported::lacking(said));
    }
    ensure!(status.success(), "{said}");
    let pid = std::fs::read_to_string(&pid_file).context("read the process id")?;
    let pid = pid.trim().parse()?;
    give_address(pid, number)?;
    Ok(UsersSwitch { pid, run_dir })
}

/// Puts a cable into the network namespace of a switch, one end of which is the switch's port, and gives the
/// other end an address.
fn give_address(pid: u32, number: u8) -> anyhow::Result<()> {
    let inside = Namespace::of_process(pid)?;
    let spec = LinkSpec { up: true, ..LinkSpec::default() };
    inside.run(|| -> anyhow::Result<()> {
        let mut netlink = Netlink::open()?;
        netlink.create_veth("inner", &spec, "own", &spec)?;
        let index = netlink.link("own")?.index;
        Ok(netlink.add_address(index, IpAddr::from([10, 0, 0, number]), 24)?)
    })?
}

fn joins_two_machines() -> anyhow::Result<()> {
    let (a, b) = joined_sites(None, None)?;
    give_addresses(&a.underlay, "under", 1)?;
    give_addresses(&b.underlay, "under", 2)?;
    let (mut near, far) = (start(&a.underlay, 1)?, start(&b.underlay, 2)?);
    let inside = Namespace::of_process(near.pid)?;
    let ping = Ping::brief(IpAddr::from([10, 0, 0, 2]));
    let is_reached = || ping.run(&inside).is_ok_and(|report| report.is_complete());
    eventually("the user's hosts reach each other", is_reached)?;
    let stream = UnixStream::connect(near.run_dir.path().join(SOCKET_NAME))?;
    let mut client = Client::open(stream.try_clone()?, stream, env!("CARGO_PKG_NAME"))?;
    match client.ask(Operation::Restart)? {
        Reply::Restarted(successor) => near.pid = successor.pid,
        other => bail!("the switch has not restarted: {other:?}"),
    }
    eventually("the user's hosts reach each other after the restart", is_reached)?;
    // The user's devices are in no network namespace of the machine.
    let mut machine = a.underlay.run(Netlink::open)??;
    ensure!(machine.link("inner").is_err());
    drop(far);
    Ok(())
}
