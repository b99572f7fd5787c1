//! Controllers that others wrote rule the switch between hosts in namespaces:
//! applications of os-ken, and Faucet.
//!
//! The script `tests/interop/install` puts the programs into `target/controllers`. Without them these tests are
//! skipped, unless `SWITCHD_REQUIRE` names `controllers`.

use crate::fixture::{Cable, Network, SWITCHD};
use anyhow::{Context, bail, ensure};
use control::record::ControllerRecord;
use lab::harness::{Test, Unsupported};
use lab::traffic::{Ping, TcpTransfer};
use lab::{Netlink, RunDir, within};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("interop::a_learning_switch_of_os_ken_in_1_0", || learning_switch("simple_switch_10.py")),
    ("interop::a_learning_switch_of_os_ken_in_1_3", || learning_switch("simple_switch_13.py")),
    ("interop::a_switch_stands_alone_until_its_controller_is_back", standalone),
    ("interop::two_controllers_of_os_ken_contend_for_a_switch", election),
    ("interop::faucet_separates_vlans_and_filters", faucet),
];

/// How long a controller may take to start and to rule. Python takes a second on an idle machine.
const LIMIT: Duration = Duration::from_secs(180);
/// The TCP ports of controllers. Each test has a network of its own, in which they are free.
const PORT: u16 = 6653;
const OTHER_PORT: u16 = 6654;

/// A running controller. Dropping this value kills the process.
struct Controller {
    child: Child,
    printed: PathBuf,
}

impl Controller {
    /// Starts a program of the virtual environment, which has the environment variables `variables`.
    fn start(
        folder: &RunDir,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let bin = programs()?.join("bin");
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let printed = folder.path().join(format!("{program}-{number}.log"));
        let file = File::create(&printed)?;
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new(bin.join(program))
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            // Faucet starts other programs of its environment.
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {program}"))?;
        Ok(Self { child, printed })
    }

    /// Starts an application of os-ken that listens at `port`.
    fn app(
        folder: &RunDir,
        app: &str,
        port: u16,
        variables: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(app);
        let port = port.to_string();
        let arguments = ["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", &port];
        let arguments = [&arguments[..], &[app.to_str().context("UTF-8")?]].concat();
        Self::start(folder, "osken-manager", &arguments, variables)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.printed).unwrap_or_default()
    }

    /// Waits until the controller has printed a line.
    fn says(&self, line: &str) -> anyhow::Result<()> {
        within(LIMIT, line, || self.log().lines().any(|printed| printed == line))
            .with_context(|| self.log())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // These calls fail if the controller has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of the virtual environment with the controllers.
fn programs() -> anyhow::Result<PathBuf> {
    let profile = Path::new(SWITCHD).parent().context("a program is in a folder")?;
    let folder = profile.parent().context("a folder for each profile")?.join("controllers");
    if folder.join("bin/faucet").exists() {
        return Ok(folder);
    }
    let missing = "os-ken and Faucet (switchd/tests/interop/install installs them)";
    let required = std::env::var("SWITCHD_REQUIRE").unwrap_or_default();
    ensure!(!required.contains("controllers"), "this machine has no {missing}");
    Err(Unsupported::lacking(missing))
}

/// Lets programs of this namespace talk to each other.
fn set_loopback_up() -> anyhow::Result<()> {
    let mut netlink = Netlink::open()?;
    let lo = netlink.link("lo")?.index;
    Ok(netlink.set_up(lo, true)?)
}

/// A switch with `hosts` hosts and the arguments `arguments`.
fn network(hosts: usize, arguments: &[&str]) -> anyhow::Result<Network> {
    // First, so that a test without controllers is skipped before it does anything.
    programs()?;
    set_loopback_up()?;
    Network::with(&vec![Cable::Veth; hosts], None, arguments)
}

/// Whether an answer to an echo request comes from one host to another one; hosts are counted from 0.
fn passes(network: &Network, from: usize, to: usize) -> anyhow::Result<bool> {
    let ping = Ping::brief(network.hosts[to].v4());
    Ok(ping.run(network.hosts[from].namespace())?.received() > 0)
}

/// Waits until two hosts reach each other.
fn wait_until_passing(network: &Network, controller: &Controller) -> anyhow::Result<()> {
    let told = || format!("{}\n{}", network.daemon.log(), controller.log());
    within(LIMIT, "the hosts reach each other", || passes(network, 0, 1).unwrap_or(false))
        .with_context(told)?;
    ensure!(passes(network, 1, 0)?, "{}", told());
    Ok(())
}

/// What the switch tells of its controllers.
fn states(network: &Network) -> anyhow::Result<Vec<ControllerRecord>> {
    Ok(network.client()?.show()?.controllers)
}

/// Waits until the first controller is connected, or is not.
fn wait_until_connected(network: &Network, is_connected: bool) -> anyhow::Result<()> {
    let what = if is_connected { "the controller is connected" } else { "the controller is gone" };
    let mut last = Vec::new();
    within(LIMIT, what, || {
        last = states(network).unwrap_or_default();
        last.first().is_some_and(|state| state.is_connected == is_connected)
    })
    .with_context(|| format!("{last:?}\n{}", network.daemon.log()))
}

/// The rules of the switch: priority and actions, sorted.
fn rules(network: &Network) -> anyhow::Result<Vec<(u16, String)>> {
    let flows = network.client()?.flows("")?;
    let mut rules: Vec<_> = flows.into_iter().map(|flow| (flow.priority, flow.actions)).collect();
    rules.sort_unstable();
    Ok(rules)
}

fn learning_switch(app: &str) -> anyhow::Result<()> {
    let folder = RunDir::new()?;
    let target = format!("tcp:127.0.0.1:{PORT},max_backoff=1000");
    let network = network(2, &["--fail-mode", "secure", "--controller", &target])?;
    ensure!(!passes(&network, 0, 1)?, "a secure switch forwards without a controller");
    let controller = Controller::app(&folder, app, PORT, &[])?;
    wait_until_passing(&network, &controller)?;
    let pairs = |network: &Network| -> anyhow::Result<Vec<(u16, String)>> {
        let mut rules = rules(network)?;
        rules.retain(|(priority, _)| *priority == 1);
        Ok(rules)
    };
    let expected = [(1, "output:1".to_owned()), (1, "output:2".to_owned())];
    ensure!(pairs(&network)? == expected, "{:?}", rules(&network)?);
    let state = states(&network)?.remove(0);
    let version = if app.contains("10") { "OpenFlow10" } else { "OpenFlow13" };
    ensure!(state.version.as_deref() == Some(version), "{state:?}");

    drop(controller);
    wait_until_connected(&network, false)?;
    ensure!(pairs(&network)? == expected, "a secure switch keeps its rules");
    ensure!(passes(&network, 0, 1)?, "rules forward without their controller");
    network.client()?.del_flows("")?;
    ensure!(!passes(&network, 0, 1)?, "a secure switch forwards without rules");

    let controller = Controller::app(&folder, app, PORT, &[])?;
    wait_until_passing(&network, &controller)?;
    ensure!(pairs(&network)? == expected, "{:?}", rules(&network)?);
    Ok(())
}

fn standalone() -> anyhow::Result<()> {
    let folder = RunDir::new()?;
    let target = format!("tcp:127.0.0.1:{PORT},max_backoff=1000,inactivity_probe=1000");
    let network = network(2, &["--fail-mode", "standalone", "--controller", &target])?;
    let normal = [(0, "NORMAL".to_owned())];
    let stands_alone = || rules(&network).is_ok_and(|rules| rules == normal);
    within(LIMIT, "the switch stands alone", stands_alone).with_context(|| network.daemon.log())?;
    ensure!(passes(&network, 0, 1)?, "a switch that stands alone forwards");

    let controller = Controller::app(&folder, "simple_switch_13.py", PORT, &[])?;
    wait_until_connected(&network, true)?;
    wait_until_passing(&network, &controller)?;
    ensure!(rules(&network)?.iter().all(|(_, actions)| actions != "NORMAL"), "it rules alone");

    drop(controller);
    within(LIMIT, "the switch stands alone again", stands_alone)
        .with_context(|| network.daemon.log())?;
    ensure!(passes(&network, 0, 1)?, "a switch that stands alone forwards");
    Ok(())
}

fn election() -> anyhow::Result<()> {
    let folder = RunDir::new()?;
    let targets = [PORT, OTHER_PORT].map(|port| format!("tcp:127.0.0.1:{port},max_backoff=1000"));
    let [first, second] = targets.each_ref().map(|target| ["--controller", target]);
    let network = network(2, &[&["--fail-mode", "secure"][..], &first, &second].concat())?;
    let contender = |port, generation: u32| {
        Controller::app(&folder, "elected.py", port, &[("GENERATION", generation.to_string())])
    };
    let first = contender(PORT, 7)?;
    first.says("elected 7")?;
    wait_until_passing(&network, &first)?;
    let second = contender(OTHER_PORT, 8)?;
    second.says("elected 8")?;
    // The first one is a slave now (3), because another one is master (0); the switch refuses what slaves must
    // not do (OFPBRC_IS_SLAVE), and the stale election (OFPRRFC_STALE).
    first.says("status role=3 reason=0 8")?;
    first.says("refused type=1 code=10")?;
    first.says("refused type=11 code=0")?;
    within(LIMIT, "the new master's rule", || {
        rules(&network).is_ok_and(|rules| rules == [(8, "NORMAL".to_owned())])
    })
    .with_context(|| format!("{:?}\n{}", rules(&network), second.log()))?;
    ensure!(passes(&network, 0, 1)?, "{}", second.log());
    let roles: Vec<_> = states(&network)?.into_iter().filter_map(|state| state.role).collect();
    ensure!(roles == ["slave", "master"], "{roles:?}");
    Ok(())
}

/// Hosts 1 to 3 are in one VLAN, and host 4 in another one. Host 3 must not send echo requests.
fn faucet() -> anyhow::Result<()> {
    let folder = RunDir::new()?;
    let target = format!("tcp:127.0.0.1:{PORT},max_backoff=1000");
    let network = network(4, &["--fail-mode", "secure", "--controller", &target])?;
    let datapath = network.client()?.show()?.datapath_id;
    let config = format!(
        r#"
acls:
  no-echo-requests:
    - rule: {{dl_type: 0x800, nw_proto: 1, icmpv4_type: 8, actions: {{allow: 0}}}}
    - rule: {{actions: {{allow: 1}}}}
vlans:
  office: {{vid: 100}}
  guests: {{vid: 200}}
dps:
  switch:
    dp_id: 0x{datapath}
    hardware: "Open vSwitch"
    interfaces:
      1: {{native_vlan: office}}
      2: {{native_vlan: office}}
      3: {{native_vlan: office, acl_in: no-echo-requests}}
      4: {{native_vlan: guests}}
"#
    );
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("faucet.yaml"), config)?;
    let variables = [
        ("FAUCET_CONFIG", path("faucet.yaml")),
        ("FAUCET_LOG", path("faucet.log")),
        ("FAUCET_EXCEPTION_LOG", path("exceptions.log")),
    ];
    let port = PORT.to_string();
    let arguments = ["--ryu-ofp-listen-host", "127.0.0.1", "--ryu-ofp-tcp-listen-port", &port];
    let controller = Controller::start(&folder, "faucet", &arguments, &variables)?;
    let told = || {
        let logs = ["faucet.log", "exceptions.log"]
            .map(|name| std::fs::read_to_string(path(name)).unwrap_or_default());
        format!("{}\n{}\n{}", controller.log(), logs.concat(), network.daemon.log())
    };
    wait_until_passing(&network, &controller).with_context(told)?;
    let may = [((0, 2), true), ((2, 0), false), ((0, 3), false), ((3, 0), false)];
    for ((from, to), expected) in may {
        let what = format!("host {} reaches host {}: {expected}", from + 1, to + 1);
        within(LIMIT, &what, || passes(&network, from, to).is_ok_and(|does| does == expected))
            .with_context(told)?;
    }
    // The rest of what host 3 sends passes.
    let address = SocketAddr::from((network.hosts[0].v4(), 4000));
    TcpTransfer::to(address, 1 << 20)
        .run(network.hosts[2].namespace(), network.hosts[0].namespace())
        .with_context(told)?;
    let exceptions = std::fs::read_to_string(path("exceptions.log")).unwrap_or_default();
    if !exceptions.is_empty() {
        bail!("Faucet complains: {exceptions}");
    }
    Ok(())
}
