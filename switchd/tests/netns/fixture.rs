//! A switch under test with its hosts.

use anyhow::Context;
use control::Client;
use lab::harness::Unsupported;
use lab::{Daemon, Host, HostPlan, OpenPort, eventually, has_taps};
use std::path::Path;
use std::time::Duration;

/// The program under test.
pub(crate) const SWITCHD: &str = env!("CARGO_BIN_EXE_switchd");

/// What to connect a host by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cable {
    /// A veth pair.
    Veth,
    /// A TAP device that the switch makes.
    Tap,
}

impl Cable {
    /// A TAP device where this user may have one, for tests that are not about TAP devices alone.
    pub(crate) fn tap_if_possible() -> Self {
        if has_taps() { Self::Tap } else { Self::Veth }
    }
}

/// A running switch and the hosts at its ports: host 1 at port 1, host 2 at port 2, and so on.
pub(crate) struct Network {
    pub(crate) hosts: Vec<Host>,
    pub(crate) daemon: Daemon,
}

impl Network {
    /// Starts a switch with one host on each of `cables`, all of the kernel's default MTU.
    pub(crate) fn new(cables: &[Cable]) -> anyhow::Result<Self> {
        Self::with(cables, None, &[])
    }

    /// As [`Network::new`], with an MTU for all cables and further arguments for the daemon.
    pub(crate) fn with(
        cables: &[Cable],
        mtu: Option<u32>,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        Self::of_program(Path::new(SWITCHD), cables, mtu, arguments)
    }

    /// As [`Network::with`], with another program as the switch.
    pub(crate) fn of_program(
        program: &Path,
        cables: &[Cable],
        mtu: Option<u32>,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        if cables.iter().any(|c| matches!(c, Cable::Tap)) {
            require_taps()?;
        }
        let plan = |i: usize| HostPlan { number: i as u8 + 1, mtu };
        let mut hosts: Vec<Option<Host>> = Vec::new();
        let mut command: Vec<String> = Vec::new();
        for (i, cable) in cables.iter().enumerate() {
            command.push("--port".into());
            hosts.push(match cable {
                Cable::Veth => {
                    command.push(port_name(i));
                    Some(Host::on_veth(plan(i), &port_name(i))?)
                }
                Cable::Tap => {
                    command.push(format!("tap:{}", tap_name(i)));
                    None
                }
            });
        }
        command.extend(arguments.iter().map(|a| a.to_string()));
        let daemon = Daemon::start(program, &command)?;
        let hosts = hosts.into_iter().enumerate().map(|(i, host)| match host {
            Some(host) => Ok(host),
            // The device exists from now on, and the switch keeps its end of it.
            None => Host::on_tap(plan(i), &tap_name(i)).context("plug a host into a TAP"),
        });
        let network = Self { hosts: hosts.collect::<anyhow::Result<_>>()?, daemon };
        network.wait_for_links()?;
        Ok(network)
    }

    /// Adds a host whose port comes behind those of the others.
    pub(crate) fn plug(&mut self, host: Host) -> anyhow::Result<()> {
        self.hosts.push(host);
        self.wait_for_links()
    }

    /// The device of a TAP port was down on its way into its host.
    fn wait_for_links(&self) -> anyhow::Result<()> {
        let mut client = self.client()?;
        let mut are_up = || {
            let ports = client.ports().unwrap_or_default();
            ports.len() >= self.hosts.len()
                && ports.iter().zip(&self.hosts).all(|(p, _)| p.state.is_empty())
        };
        eventually("the ports of all hosts are up", &mut are_up).with_context(|| self.daemon.log())
    }

    /// Two hosts on veth pairs.
    pub(crate) fn pair() -> anyhow::Result<Self> {
        Self::new(&[Cable::Veth, Cable::Veth])
    }

    /// A session with the switch.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        self.daemon.client().with_context(|| self.daemon.log())
    }

    /// The first host.
    pub(crate) fn a(&self) -> &Host {
        &self.hosts[0]
    }

    /// The second host.
    pub(crate) fn b(&self) -> &Host {
        &self.hosts[1]
    }
}

/// Ends a test where this user may not have TAP devices.
fn require_taps() -> anyhow::Result<()> {
    if has_taps() {
        return Ok(());
    }
    Err(Unsupported::lacking("TAP devices for this user (/dev/net/tun cannot be opened)"))
}

/// The switch's end of the veth pair of host `i + 1`.
pub(crate) fn port_name(i: usize) -> String {
    format!("veth{}", i + 1)
}

fn tap_name(i: usize) -> String {
    format!("tap{}", i + 1)
}

/// Sees the frames that a host receives as they were on the wire, outer tag included, which the
/// kernel takes off before an ordinary packet socket looks.
pub(crate) struct Observer(OpenPort);

impl Observer {
    /// An observer at the host's cable. It sees what comes from now on.
    pub(crate) fn at(host: &Host) -> anyhow::Result<Self> {
        let port = format!("{},shield=off", host.interface());
        Ok(Self(host.run(|| OpenPort::open(&port))??))
    }

    /// Looks at frames in order until `wanted` says yes to one; `false` if none came within `limit`.
    pub(crate) fn find(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> anyhow::Result<bool> {
        Ok(self.0.find(limit, |frame| wanted(frame.bytes()))?)
    }
}
