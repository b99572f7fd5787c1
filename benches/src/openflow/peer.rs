//! The switches that are measured, each with two hosts in network namespaces of its own.

use super::Client;
use crate::forwarding::processes;
use crate::report::Role;
use anyhow::{Context, ensure};
use clap::ValueEnum;
use lab::{Daemon, Host, HostPlan, Namespace, OpenVswitch};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The time in which a switch that rests takes hardly any of a processor.
const STEP: Duration = Duration::from_millis(200);

/// A switch that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeerKind {
    /// This switch
    Switchd,
    /// Open vSwitch with its userspace datapath
    Ovs,
}

impl PeerKind {
    /// The name of the switch's row.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Switchd => "switchd",
            Self::Ovs => "OVS userspace",
        }
    }

    /// Whose results the row has.
    pub(super) fn role(self) -> Role {
        match self {
            Self::Switchd => Role::Ours,
            Self::Ovs => Role::Rival,
        }
    }
}

/// A running switch with two hosts: host 1 behind port 1, host 2 behind port 2. The
/// switch ends with this value.
pub struct Peer {
    pub(super) kind: PeerKind,
    middle: Middle,
    pub(super) hosts: [Host; 2],
    _namespace: Namespace,
}

enum Middle {
    Switchd(Daemon),
    Ovs(OpenVswitch),
}

impl Peer {
    /// Starts a switch. `program` is the path of this switch's program.
    ///
    /// # Errors
    /// The switch is not there, or has refused to start.
    pub fn start(kind: PeerKind, program: &Path) -> anyhow::Result<Self> {
        let namespace = Namespace::new()?;
        let (middle, hosts) = namespace.run(|| start_here(kind, program))??;
        Ok(Self { kind, middle, hosts, _namespace: namespace })
    }

    /// Connects a controller.
    pub(super) fn connect(&self) -> anyhow::Result<Client> {
        Client::connect(&self.openflow_socket())
    }

    /// The socket at which the bridge speaks OpenFlow with everybody who connects.
    pub(super) fn openflow_socket(&self) -> PathBuf {
        match &self.middle {
            Middle::Switchd(daemon) => daemon.socket().with_file_name("br0.mgmt"),
            Middle::Ovs(ovs) => ovs.openflow_socket(),
        }
    }

    /// Waits until the switch rests, so that the freeing of rules that were deleted is
    /// no part of a measurement.
    ///
    /// # Errors
    /// The switch has ended, or works for a minute.
    pub(super) fn rest(&self) -> anyhow::Result<()> {
        let pid = [self.pid()?];
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let before = processes::cpu_time(&pid)?;
            std::thread::sleep(STEP);
            if processes::cpu_time(&pid)? - before < STEP / 20 {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{} does not rest", self.kind.name());
        }
    }

    /// The process of the switch.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        match &self.middle {
            Middle::Switchd(daemon) => Ok(daemon.pid()),
            Middle::Ovs(ovs) => ovs.pids().last().copied().context("Open vSwitch has ended"),
        }
    }
}

/// Starts a switch in the namespace of the calling thread.
fn start_here(kind: PeerKind, program: &Path) -> anyhow::Result<(Middle, [Host; 2])> {
    let ports = ["port1", "port2"].map(str::to_owned);
    let hosts = [
        Host::on_veth(HostPlan::number(1), &ports[0])?,
        Host::on_veth(HostPlan::number(2), &ports[1])?,
    ];
    let middle = match kind {
        PeerKind::Switchd => {
            let built = program.exists();
            ensure!(built, "{}: not built yet; run \"cargo build --release\"", program.display());
            let arguments = ports.iter().flat_map(|port| ["--port", port]);
            Middle::Switchd(Daemon::start(program, arguments).context("start the switch")?)
        }
        PeerKind::Ovs => Middle::Ovs(OpenVswitch::start(&ports, false)?),
    };
    Ok((middle, hosts))
}
