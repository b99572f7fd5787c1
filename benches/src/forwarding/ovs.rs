//! Open vSwitch's userspace datapath, as somebody installed it, in folders and a namespace of its own.
//!
//! The system's own Open vSwitch, its database and its kernel module are neither used nor touched.

use anyhow::{Context, bail, ensure};
use lab::{RunDir, within};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a step of its start may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Its programs, wherever distributions put them.
#[derive(Clone, Debug)]
pub(super) struct Installed {
    tool: PathBuf,
    server: PathBuf,
    vsctl: PathBuf,
    vswitchd: PathBuf,
    schema: PathBuf,
}

impl Installed {
    /// Finds them.
    ///
    /// # Errors
    /// What is not there.
    pub(super) fn find() -> anyhow::Result<Self> {
        const SCHEMA: &str = "share/openvswitch/vswitch.ovsschema";
        let schema = ["/usr", "/usr/local"].map(|prefix| Path::new(prefix).join(SCHEMA));
        Ok(Self {
            tool: program("ovsdb-tool")?,
            server: program("ovsdb-server")?,
            vsctl: program("ovs-vsctl")?,
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

/// A running Open vSwitch with one bridge. It ends with this value.
pub(crate) struct OpenVswitch {
    installed: Installed,
    dir: RunDir,
    server: Option<Child>,
    vswitchd: Option<Child>,
}

impl OpenVswitch {
    /// Starts it with these devices of the calling thread's namespace as ports.
    ///
    /// # Errors
    /// A program of it failed; its last words are told.
    pub(crate) fn start(ports: &[String], tso: bool) -> anyhow::Result<Self> {
        let installed = Installed::find()?;
        let mut ovs = Self { installed, dir: RunDir::new()?, server: None, vswitchd: None };
        ovs.bring_up(ports, tso).with_context(|| ovs.last_words())?;
        Ok(ovs)
    }

    /// The socket at which the bridge speaks OpenFlow with everybody who connects.
    pub(crate) fn openflow_socket(&self) -> PathBuf {
        self.dir.path().join("br0.mgmt")
    }

    /// The numbers of its processes: the database server and the switch.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.server.iter().chain(&self.vswitchd).map(Child::id).collect()
    }

    fn bring_up(&mut self, ports: &[String], tso: bool) -> anyhow::Result<()> {
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
        within(PATIENCE, "ovsdb-server answers", || Path::new(&socket).exists())?;
        self.vsctl(&["--no-wait", "init"])?;
        if tso {
            let option = "other_config:userspace-tso-enable=true";
            self.vsctl(&["--no-wait", "set", "Open_vSwitch", ".", option])?;
        }
        let vswitchd = self.daemon(&vswitchd, "vswitchd")?.arg(format!("unix:{socket}")).spawn()?;
        self.vswitchd = Some(vswitchd);
        self.vsctl(&["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"])?;
        for port in ports {
            self.vsctl(&["add-port", "br0", port])?;
            let error = self.vsctl(&["get", "interface", port, "error"])?;
            ensure!(error == "[]", "add-port {port}: {error}");
        }
        Ok(())
    }

    /// Asks the database for something and returns the answer, when it has come into effect.
    fn vsctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
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

    /// The last complaint of the daemons.
    fn last_words(&self) -> String {
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
