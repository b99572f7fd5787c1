//! A switch in memory that serves OpenFlow, and `ovs-ofctl` to drive it with: for the
//! tests of the OpenFlow server.

use flow::types::OfVersion;
use ports::dummy::{self, Dummy, DummyOptions};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use switchd::desired::{DEFAULT_BRIDGE, Desired};
use switchd::openflow::OpenFlowServer;
use switchd::switch::{Config, Switch};

/// A switch with a bridge `br0` and two ports in memory, which serves OpenFlow.
pub(crate) struct Served {
    pub(crate) folder: PathBuf,
    _server: OpenFlowServer,
    pub(crate) switch: Arc<Switch>,
    pub(crate) far: Vec<Dummy>,
}

impl Served {
    pub(crate) fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("switchd-of-{}-{n}", std::process::id()));
        let switch =
            Switch::start(Config { seed: 1, ..Config::new(Desired::one_bridge()) }).unwrap();
        let far = ["p1", "p2"].map(|name| {
            let (port, far) = dummy::open(name, DummyOptions::default()).unwrap();
            switch.add_open_port(DEFAULT_BRIDGE, port).unwrap();
            far
        });
        let switch = Arc::new(switch);
        let _server = OpenFlowServer::start(&folder, &switch);
        Self { folder, _server, switch, far: far.into() }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(format!("{DEFAULT_BRIDGE}.mgmt"))
    }

    /// Runs `ovs-ofctl` in a version: words, the verb among them, and the name of the bridge behind the verb.
    pub(crate) fn ofctl(&self, version: OfVersion, words: &[&str]) -> Output {
        let verb = words.iter().position(|word| !word.starts_with('-')).unwrap();
        let (before, after) = words.split_at(verb + 1);
        Command::new("ovs-ofctl")
            .arg("-O")
            .arg(format!("OpenFlow1{}", version as u8))
            .args(before)
            .arg(DEFAULT_BRIDGE)
            .args(after)
            .env("OVS_RUNDIR", &self.folder)
            .output()
            .unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether there is an `ovs-ofctl` to test with. Says aloud if not.
pub(crate) fn has_ofctl() -> bool {
    if Command::new("ovs-ofctl").arg("--version").output().is_ok() {
        return true;
    }
    let required = std::env::var("SWITCHD_REQUIRE").unwrap_or_default();
    assert!(!required.contains("interop"), "ovs-ofctl is missing: install openvswitch-switch");
    eprintln!("skipped: there is no ovs-ofctl (Debian: openvswitch-switch)");
    false
}

/// What a command printed, without what differs from run to run and from switch to switch: times, transaction
/// ids, addresses, speeds, counters of ports, and the local port, which this bridge does not have.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut is_skipping = false;
    for line in text.lines() {
        let line = line.trim_end();
        let is_head =
            line.contains(" LOCAL") && (line.contains("addr:") || line.contains("rx pkts"));
        // The lines of a port are indented deeper than its first one.
        let goes_on = line.starts_with("     ");
        is_skipping = is_head || is_skipping && goes_on;
        let is_own =
            ["current:", "speed:", "CUSTOM", "rx_custom", "rx_q0", "tx_q0", "rx_0_", "tx_0_"]
                .iter()
                .any(|word| line.trim_start().starts_with(word));
        // The message that was refused is printed again, with times and numbers of its own.
        let is_repeated = line.starts_with("OFPT_FLOW_MOD");
        if line.is_empty() || is_skipping || is_own || is_repeated {
            continue;
        }
        let mut words = Vec::new();
        for word in line.split(' ') {
            let hide = |name: &str| word.starts_with(name).then(|| format!("{name}*"));
            let hidden =
                ["duration=", "duration:", "idle_age=", "hard_age=", "(xid=", "addr:", "dpid:"]
                    .iter()
                    .find_map(|name| hide(name));
            let is_counter = line.contains("x pkts=");
            let counter = word.split_once('=').filter(|_| is_counter);
            words.push(match (hidden, counter) {
                (Some(hidden), _) => hidden,
                (None, Some((name, _))) => format!("{name}=*"),
                (None, None) => word.to_owned(),
            });
        }
        // The ages of a rule that was just added are sometimes told and sometimes not.
        words.retain(|word| word != "idle_age=*" && word != "hard_age=*");
        let mut line = words.join(" ");
        if let Some((before, after)) = line.split_once(",duration=") {
            let after = after.split_once(',').map_or("", |(_, after)| after);
            line = format!("{before},duration=*,{after}");
        }
        let line = line.replace("3 ports", "2 ports");
        out.push_str(&line);
        out.push('\n');
    }
    out
}

pub(crate) fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}
