//! Open vSwitch's userspace datapath, as somebody installed it, in folders and a namespace of its own.
//!
//! The system's own Open vSwitch, its database and its kernel module are neither used nor touched.

use crate::{RunDir, within};
use anyhow::{Context, bail, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a step of its start may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Its programs, wherever distributions put them.
#[derive(Clone, Debug)]
struct Installed {
    tool: PathBuf,
    server: PathBuf,
    vsctl: PathBuf,
    ofctl: PathBuf,
    vswitchd: PathBuf,
    schema: PathBuf,
}

impl Installed {
    /// Finds them.
    ///
    /// # Errors
    /// What is not there.
    fn find() -> anyhow::Result<Self> {
        const SCHEMA: &str = "share/openvswitch/vswitch.ovsschema";
        let schema = ["/usr", "/usr/local"].map(|prefix| Path::new(prefix).join(SCHEMA));
        Ok(Self {
            tool: program("ovsdb-tool")?,
            server: program("ovsdb-server")?,
            vsctl: program("ovs-vsctl")?,
            ofctl: program("ovs-ofctl")?,
            vswitchd: program("ovs-vswitchd")?,
            schema: schema.into_iter().find(|path| path.exists()).context(SCHEMA)?,
        })
    }
}

fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .with_context(|| {
            format!("{name} is not installed (\"apt-get install openvswitch-switch\")")
        })
}

/// A running Open vSwitch. It ends with this value.
pub struct OpenVswitch {
    installed: Installed,
    dir: RunDir,
    server: Option<Child>,
    vswitchd: Option<Child>,
}

impl OpenVswitch {
    /// What is missing on this machine to start it; `None` if everything is there.
    pub fn missing() -> Option<String> {
        Installed::find().err().map(|error| format!("{error:#}"))
    }

    /// Starts it with a bridge `br0` that has these devices of the calling thread's namespace as ports.
    ///
    /// # Errors
    /// A program of it failed; its last words are told.
    pub fn start(ports: &[String], tso: bool) -> anyhow::Result<Self> {
        let ovs = Self::without_bridges(tso)?;
        ovs.add_bridge("br0", ports)?;
        Ok(ovs)
    }

    /// Starts it in the calling thread's namespace, where its bridges will
    /// be. `tso` turns `userspace-tso-enable` on.
    ///
    /// # Errors
    /// A program of it failed; its last words are told.
    pub fn without_bridges(tso: bool) -> anyhow::Result<Self> {
        let installed = Installed::find()?;
        let mut ovs = Self { installed, dir: RunDir::new()?, server: None, vswitchd: None };
        ovs.bring_up(tso).with_context(|| ovs.last_words())?;
        Ok(ovs)
    }

    /// Adds a bridge of the userspace datapath with these devices as ports.
    ///
    /// # Errors
    /// It refuses a device; its last words are told.
    pub fn add_bridge(&self, bridge: &str, ports: &[String]) -> anyhow::Result<()> {
        let add = || {
            self.vsctl(&["add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev"])?;
            ports.iter().try_for_each(|port| self.add_port(bridge, port, &[]))
        };
        add().with_context(|| self.last_words())
    }

    /// Adds a port with these settings of its interface, as `ovs-vsctl set interface` takes them: `type=vxlan`.
    ///
    /// # Errors
    /// It refuses the port.
    pub fn add_port(&self, bridge: &str, port: &str, settings: &[&str]) -> anyhow::Result<()> {
        let set = [&["--", "set", "interface", port][..], settings].concat();
        let set = if settings.is_empty() { &[][..] } else { &set };
        self.vsctl(&[&["add-port", bridge, port][..], set].concat())?;
        let error = self.vsctl(&["get", "interface", port, "error"])?;
        ensure!(error == "[]", "add-port {port}: {error}");
        Ok(())
    }

    /// The socket at which the bridge `br0` speaks OpenFlow with everybody who connects.
    pub fn openflow_socket(&self) -> PathBuf {
        self.dir.path().join("br0.mgmt")
    }

    /// The numbers of its processes: the database server and the switch.
    pub fn pids(&self) -> Vec<u32> {
        self.server.iter().chain(&self.vswitchd).map(Child::id).collect()
    }

    fn bring_up(&mut self, tso: bool) -> anyhow::Result<()> {
        let Installed { tool, server, vswitchd, schema, .. } = self.installed.clone();
        let at = |name: &str| self.dir.path().join(name);
        let (database, socket) = (at("conf.db"), format!("{}", at("db.sock").display()));
        check(self.command(&tool).arg("create").arg(&database).arg(schema))?;
        let server = self
            .daemon(&server, "db")?
            .arg(&database)
            .arg(format!("--remote=punix:{socket}"))
            .spawn()?;
        self.server = Some(server);
        within(LIMIT, "ovsdb-server answers", || Path::new(&socket).exists())?;
        self.vsctl(&["--no-wait", "init"])?;
        if tso {
            let option = "other_config:userspace-tso-enable=true";
            self.vsctl(&["--no-wait", "set", "Open_vSwitch", ".", option])?;
        }
        let vswitchd = self.daemon(&vswitchd, "vswitchd")?.arg(format!("unix:{socket}")).spawn()?;
        self.vswitchd = Some(vswitchd);
        Ok(())
    }

    /// Asks the database for something, as `ovs-vsctl` does, and returns the answer when
    /// it has come into effect.
    ///
    /// # Errors
    /// It is refused, or does not come into effect within ten seconds.
    pub fn vsctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let database = format!("--db=unix:{}", self.dir.path().join("db.sock").display());
        check(self.command(&self.installed.vsctl).args(["--timeout=10", &database]).args(arguments))
    }

    fn daemon(&self, program: &Path, name: &str) -> anyhow::Result<Command> {
        let at = |end: &str| self.dir.path().join(format!("{name}.{end}"));
        let log = File::create(at("log"))?;
        let mut command = self.command(program);
        command
            .arg(format!("--unixctl={}", at("ctl").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for name in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"] {
            command.env(name, self.dir.path());
        }
        command
    }

    /// Gives `ovs-ofctl` these arguments behind the socket of the bridge `br0`, and returns the answer.
    ///
    /// # Errors
    /// It is refused.
    pub fn ofctl(&self, verb: &str, arguments: &[&str]) -> anyhow::Result<String> {
        self.ofctl_at(&self.openflow_socket(), verb, arguments)
    }

    /// Gives `ovs-ofctl` these arguments behind the OpenFlow socket of whatever switch, and returns the answer.
    ///
    /// # Errors
    /// It is refused.
    pub fn ofctl_at(
        &self,
        socket: &Path,
        verb: &str,
        arguments: &[&str],
    ) -> anyhow::Result<String> {
        let socket = format!("unix:{}", socket.display());
        check(self.command(&self.installed.ofctl).arg(verb).arg(socket).args(arguments))
    }

    /// The last complaint of the daemons.
    pub fn last_words(&self) -> String {
        let said = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        let said = said("db.log") + &said("vswitchd.log");
        let complaint = said.lines().rev().find(|l| l.contains("|ERR|") || l.contains("|WARN|"));
        complaint.map_or_else(|| "start Open vSwitch".to_owned(), str::to_owned)
    }
}

impl Drop for OpenVswitch {
    fn drop(&mut self) {
        for child in self.vswitchd.iter_mut().chain(&mut self.server) {
            // Both fail if it has ended, which is what they are for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a program to its end and returns what it said.
fn check(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        bail!("{}: {}", command.get_program().display(), text(&output.stderr));
    }
    Ok(text(&output.stdout))
}
