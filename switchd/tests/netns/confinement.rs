//! What the process of the switch can do to the machine, and that a switch that can do no more still works.

use crate::fixture::{Network, SWITCHD};
use crate::life::{is_up, port};
use anyhow::{Context, ensure};
use control::Operation;
use control::record::Enforcement;
use lab::harness::{Test, Unsupported};
use lab::traffic::Ping;
use lab::{Daemon, Host, HostPlan, Netlink, RunDir, eventually, has_taps};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::User;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use switchd::confinement::{Places, Plan, Sandbox};

pub(crate) const TESTS: &[Test] = &[
    ("confinement::only_what_a_switch_needs_is_left", only_what_is_needed),
    ("confinement::what_is_in_force_is_shown", what_is_in_force),
    ("confinement::the_sandbox_can_be_switched_off", off),
    ("confinement::without_namespaces_no_port_is_in_another", without_namespaces),
    ("confinement::another_user_runs_the_switch", another_user),
    ("confinement::a_group_may_use_the_socket", a_group),
];

/// This process becomes what the daemon is, and tries what it must not be able to do any more.
fn only_what_is_needed() -> anyhow::Result<()> {
    let folder = RunDir::new()?;
    let (socket, state) = (folder.path().join("run/s"), folder.path().join("state"));
    fs::write(folder.path().join("other"), "")?;
    let plan = Plan {
        user: None,
        socket_group: None,
        enters_namespaces: true,
        uses_programs: false,
        sandbox: Sandbox::On,
        places: Places {
            socket: &socket,
            is_usual_socket: false,
            state: Some(&state),
            config: None,
            pid_file: None,
            ssl: &[],
        },
    };
    plan.enforce()?;
    let denied = |result: std::io::Result<()>, what: &str| {
        let error = result.err().with_context(|| format!("{what}: allowed"))?;
        ensure!(error.kind() == std::io::ErrorKind::PermissionDenied, "{what}: {error}");
        Ok(())
    };
    // A new thread is confined as the first one.
    std::thread::spawn(move || -> anyhow::Result<()> {
        let open = |path: &Path| File::open(path).map(drop);
        denied(open(&folder.path().join("other")), "another file")?;
        denied(open(Path::new("/etc/shadow")), "passwords")?;
        denied(fs::write(folder.path().join("new"), ""), "a new file elsewhere")?;
        denied(fs::write("/proc/self/comm", ""), "writing in /proc")?;
        denied(Command::new("/bin/sh").status().map(drop), "another program")?;
        const NONE: Option<&str> = None;
        let mounted = mount(Some("tmpfs"), &state, Some("tmpfs"), MsFlags::empty(), NONE);
        denied(mounted.map_err(Into::into), "mount")?;
        for flags in [CloneFlags::CLONE_NEWUSER, CloneFlags::CLONE_NEWNET] {
            denied(unshare(flags).map_err(Into::into), "a new namespace")?;
        }
        let raw = (AddressFamily::Vsock, SockType::Stream, SockFlag::empty());
        denied(socket_of(raw).map_err(Into::into), "a socket of another family")?;

        fs::write(state.join("journal"), "")?;
        OpenOptions::new().write(true).create_new(true).open(state.join("lock"))?;
        socket_of((AddressFamily::Packet, SockType::Raw, SockFlag::empty()))?;
        Netlink::open()?.create_bridge("br0", &Default::default())?;
        let own = File::open("/proc/thread-self/ns/net")?;
        nix::sched::setns(own, CloneFlags::CLONE_NEWNET).context("enter a namespace")?;
        // The switch can start its successor.
        let program = std::env::current_exe()?;
        let list = Command::new(program).arg("--list").env_remove("SWITCHD_NETNS_TEST").output()?;
        ensure!(list.status.success(), "{list:?}");
        Ok(())
    })
    .join()
    .map_err(|_| anyhow::anyhow!("the thread has panicked"))?
}

fn socket_of((family, kind, flags): (AddressFamily, SockType, SockFlag)) -> Result<(), Errno> {
    socket(family, kind, flags, None).map(drop)
}

fn what_is_in_force() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let confinement = network.client()?.show()?.confinement.context("no confinement")?;
    ensure!(confinement.user == "root", "{confinement}");
    let names = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"];
    ensure!(confinement.capabilities == names, "{confinement}");
    ensure!(confinement.no_new_privs == Enforcement::On, "{confinement}");
    ensure!(confinement.seccomp == Enforcement::On, "{confinement}");
    ensure!(confinement.landlock != Enforcement::Off, "{confinement}");
    ensure!(network.daemon.log().contains(&confinement.to_string()), "{}", network.daemon.log());
    Ok(())
}

fn off() -> anyhow::Result<()> {
    let ways =
        [("off", Enforcement::Off), ("files", Enforcement::Off), ("log", Enforcement::Logged)];
    for (how, expected) in ways {
        let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "dummy:p", "--sandbox", how])?;
        let found = daemon.client()?.show()?.confinement.context("no confinement")?;
        ensure!(found.seccomp == expected, "{found}");
        ensure!((found.landlock == Enforcement::Off) == (how == "off"), "{found}");
        ensure!(found.capabilities.len() == 3, "{found}");
    }
    Ok(())
}

fn without_namespaces() -> anyhow::Result<()> {
    let _host = Host::on_veth(HostPlan::number(1), "veth1")?;
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "veth1", "--netns", "off"])?;
    let mut client = daemon.client()?;
    let found = client.show()?.confinement.context("no confinement")?;
    ensure!(found.capabilities == ["CAP_NET_ADMIN", "CAP_NET_RAW"], "{found}");
    ensure!(is_up(&mut client, "veth1"), "{}", daemon.log());
    let spec = "netns:absent/eth0".to_owned();
    let added = client.ask(Operation::AddPort { spec });
    let said = match added {
        Err(error) => error.to_string(),
        Ok(_) => port(&mut client, "eth0")?.problem.unwrap_or_default(),
    };
    ensure!(said.contains("CAP_SYS_ADMIN is missing") && said.contains("--netns off"), "{said}");
    Ok(())
}

/// A user who owns the folders, and is not root otherwise.
fn another_user() -> anyhow::Result<()> {
    let nobody = User::from_name("nobody")?.context("this machine has no user nobody")?;
    let (run, state) = (Arc::new(RunDir::new()?), RunDir::new()?);
    let own = |path: &Path| chown(path, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw()));
    // The folder of the temporary files of this test is root's alone.
    if let Some(folder) = run.path().parent().filter(|folder| *folder != Path::new("/tmp")) {
        fs::set_permissions(folder, Permissions::from_mode(0o711))?;
    }
    if own(run.path()).and_then(|()| own(state.path())).is_err() {
        return Err(Unsupported::lacking("second user in this user namespace"));
    }
    let (a, b) = (
        Host::on_veth(HostPlan::number(1), "veth1")?,
        Host::on_veth(HostPlan::number(2), "veth2")?,
    );
    let state = state.path().to_str().context("a path in letters")?;
    let arguments = ["--user", "nobody", "--port", "veth1", "--state", state];
    let daemon = Daemon::start_in(Arc::clone(&run), Path::new(SWITCHD), arguments)?;
    let mut client = daemon.client()?;
    let found = client.show()?.confinement.context("no confinement")?;
    ensure!(found.user == format!("user nobody (uid {})", nobody.uid), "{found}");
    ensure!(found.capabilities == ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"], "{found}");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    ensure!(status.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}\n", nobody.uid)), "{status}");
    // What is opened later works as well.
    client.ask(Operation::AddPort { spec: "veth2".to_owned() })?;
    // udev lets everybody use the device; a machine without udev may not.
    let device = fs::metadata("/dev/net/tun");
    if has_taps() && device.is_ok_and(|device| device.mode() & 0o006 == 0o006) {
        client.ask(Operation::AddPort { spec: "tap:tap1".to_owned() })?;
        eventually("the TAP is there", || {
            port(&mut client, "tap1").is_ok_and(|p| p.problem.is_none())
        })
        .with_context(|| daemon.log())?;
    }
    eventually("both ports are up", || is_up(&mut client, "veth1") && is_up(&mut client, "veth2"))
        .with_context(|| daemon.log())?;
    ensure!(Ping::to(b.v4()).run(a.namespace())?.is_complete(), "{}", daemon.log());
    let (status, log) = daemon.stop()?;
    ensure!(status.success(), "{log}");
    // Root does not own what was kept, and the user finds it again.
    ensure!(fs::metadata(Path::new(state).join("journal"))?.uid() == nobody.uid.as_raw());
    let again = Daemon::start_in(run, Path::new(SWITCHD), arguments)?;
    let mut client = again.client()?;
    eventually("the added port is there", || is_up(&mut client, "veth2"))
        .with_context(|| again.log())?;
    Ok(())
}

/// A member of the group of the socket controls the switch, and the log says who it was.
fn a_group() -> anyhow::Result<()> {
    const GROUP: u32 = 12_345;
    let (run, file) = (Arc::new(RunDir::new()?), RunDir::new()?);
    if chown(file.path(), None, Some(GROUP)).is_err() {
        return Err(Unsupported::lacking("second group in this user namespace"));
    }
    let group = GROUP.to_string();
    let arguments = ["--port", "dummy:p", "--socket-group", &group];
    let daemon = Daemon::start_in(run, Path::new(SWITCHD), arguments)?;
    let found = fs::metadata(daemon.socket())?;
    ensure!((found.mode() & 0o777, found.gid()) == (0o660, GROUP), "{found:?}");
    let folder = fs::metadata(daemon.socket().parent().context("a folder")?)?;
    ensure!((folder.mode() & 0o777, folder.gid()) == (0o710, GROUP), "{folder:?}");
    let mut client = daemon.client()?;
    client.ask(Operation::AddPort { spec: "dummy:q".to_owned() })?;
    ensure!(client.ask(Operation::DelPort { port: "absent".to_owned() }).is_err());
    let told = format!("add_port by root, process {}", std::process::id());
    eventually("the log names who adds a port", || daemon.log().contains(&told))
        .with_context(|| daemon.log())?;
    let told = format!("del_port by root, process {}, gets an error: ", std::process::id());
    eventually("the log names who is refused", || daemon.log().contains(&told))
        .with_context(|| daemon.log())?;
    Ok(())
}
