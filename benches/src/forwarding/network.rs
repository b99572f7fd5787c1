//! Two hosts and what is between them, in network namespaces of their own.

use super::idle_ports::IdlePorts;
use super::measure::slow_source;
use super::through::SHARED_ADDRESS;
use super::{RingGeometry, Through, on_core};
use anyhow::{Context, bail, ensure};
use control::{Client, FlowCommand};
use lab::traffic::Ping;
use lab::{
    Daemon, Host, HostPlan, LinkSpec, Namespace, Netlink, OpenVswitch, eventually, has_taps,
};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The processor that the switch is pinned to; the generator has the first one.
const SWITCH_CORE: usize = 1;

/// The programs that are started beside this one.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The path of the switch.
    pub switchd: PathBuf,
    /// This program, of which [`super::tap_loop`] is a second life; its arguments are the devices.
    pub tap_loop: (PathBuf, &'static str),
}

/// Two hosts and what is between them.
pub struct Network {
    pub(super) a: Host,
    pub(super) b: Host,
    middle: Middle,
    /// Why frames have to come from a source that is not the fastest.
    pub(super) slow_source: Option<String>,
    /// The namespace that the switch is in.
    namespace: Namespace,
}

/// What is between the hosts; it ends with this value.
pub(super) enum Middle {
    Kernel,
    Switchd(Daemon),
    Ovs(OpenVswitch),
    TapLoop(KilledChild),
    /// Two switches, one behind the other, in namespaces of their own. That of the second one
    /// ends with its last handle.
    Two {
        switches: Box<[Middle; 2]>,
        _second: Namespace,
    },
}

impl Middle {
    fn pids(&self) -> Vec<u32> {
        match self {
            Self::Kernel => Vec::new(),
            Self::Switchd(daemon) => vec![daemon.pid()],
            Self::Ovs(ovs) => ovs.pids(),
            Self::TapLoop(child) => vec![child.0.id()],
            Self::Two { switches, .. } => switches.iter().flat_map(Self::pids).collect(),
        }
    }
}

impl Network {
    /// Builds the network and has one host ping the other.
    ///
    /// # Errors
    /// What is missing, or does not work.
    pub fn build(
        through: Through,
        geometry: Option<RingGeometry>,
        idle: IdlePorts,
        programs: &Programs,
    ) -> anyhow::Result<Self> {
        let needs_tun = through.needs_tun() || matches!(idle, IdlePorts::Tap(_));
        if needs_tun && !has_taps() {
            bail!("/dev/net/tun cannot be opened: run as root, or allow TAP devices");
        }
        let namespace = Namespace::new()?;
        let (a, b, middle) = namespace.run(|| build_here(through, geometry, idle, programs))??;
        let network = Self::new(a, b, middle, namespace)?;
        let report = Ping::to(network.b.v4()).run(network.a.namespace())?;
        ensure!(report.received() > 0, "the hosts do not reach each other");
        Ok(network)
    }

    /// Two hosts and what is between them; the switch of the first one is in `namespace`.
    pub(super) fn new(
        a: Host,
        b: Host,
        middle: Middle,
        namespace: Namespace,
    ) -> anyhow::Result<Self> {
        let slow_source = slow_source(&a)?;
        Ok(Self { a, b, middle, slow_source, namespace })
    }

    /// Why frames are sent by a packet socket, which is slower than AF_XDP, if they are.
    pub fn slow_source(&self) -> Option<&str> {
        self.slow_source.as_deref()
    }

    /// The network namespace that the switch is in.
    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A session with the switch.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let Middle::Switchd(daemon) = &self.middle else { bail!("the switch is not in between") };
        Ok(daemon.client()?)
    }

    /// The processes that do the forwarding; none if the kernel does.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.middle.pids()
    }
}

/// Builds everything in the calling thread's namespace.
fn build_here(
    through: Through,
    geometry: Option<RingGeometry>,
    idle: IdlePorts,
    programs: &Programs,
) -> anyhow::Result<(Host, Host, Middle)> {
    let plans = [1, 2].map(HostPlan::number);
    if through == Through::Cable {
        let (a, b) = Host::cabled_pair(plans[0], plans[1])?;
        return Ok((a, b, Middle::Kernel));
    }
    let devices = ["port1", "port2"].map(str::to_owned);
    let switchd = |kind: &str| -> anyhow::Result<Middle> {
        let mut options = geometry.map(|geometry| format!(",{geometry}")).unwrap_or_default();
        if through == Through::KernelCachePeer {
            options.push_str(",kernel-cache=peer");
        }
        let busy = devices.each_ref().map(|device| format!("{kind}{device}{options}"));
        let ports: Vec<String> = busy.into_iter().chain(idle.make()?).collect();
        start_switchd(&programs.switchd, &ports, through).map(Middle::Switchd)
    };
    if through.uses_taps() {
        // Whoever makes the devices keeps their other ends, and the hosts get them afterwards.
        let middle = match through {
            Through::TapLoop => Middle::TapLoop(start_tap_loop(programs, &devices)?),
            _ => switchd("tap:")?,
        };
        let a = Host::on_tap(plans[0], &devices[0])?;
        let b = Host::on_tap(plans[1], &devices[1])?;
        return Ok((a, b, middle));
    }
    let a = Host::on_veth(plans[0], &devices[0])?;
    let mut b = Host::on_veth(plans[1], &devices[1])?;
    b.add_neighbour(SHARED_ADDRESS.into(), a.mac())?;
    let middle = match through {
        Through::Ovs | Through::OvsTso | Through::OvsNat => {
            let tso = through != Through::Ovs;
            let ovs = on_core(SWITCH_CORE, || OpenVswitch::start(&devices, tso))?;
            for rule in through.rules().iter().flat_map(|rules| rules.lines()) {
                ovs.ofctl("add-flow", &[rule])?;
            }
            Middle::Ovs(ovs)
        }
        Through::Bridge => {
            bridge(&devices)?;
            Middle::Kernel
        }
        Through::TcRedirect => {
            redirect(&devices)?;
            Middle::Kernel
        }
        _ => switchd("")?,
    };
    Ok((a, b, middle))
}

/// A bridge of the kernel with these devices of the calling thread's namespace.
pub(super) fn bridge(ports: &[String]) -> anyhow::Result<()> {
    let mut netlink = Netlink::open()?;
    netlink.create_bridge("bridge", &LinkSpec { up: true, ..LinkSpec::default() })?;
    let bridge = netlink.link("bridge")?.index;
    for port in ports {
        let port = netlink.link(port)?.index;
        netlink.set_master(port, Some(bridge))?;
    }
    Ok(())
}

/// Has tc(8) redirect what each device receives to the other.
fn redirect([one, other]: &[String; 2]) -> anyhow::Result<()> {
    for (from, to) in [(one, other), (other, one)] {
        let qdisc = format!("qdisc add dev {from} clsact");
        let filter = format!(
            "filter add dev {from} ingress protocol all u32 match u32 0 0 action mirred egress redirect dev {to}"
        );
        for arguments in [qdisc, filter] {
            let status = Command::new("tc").args(arguments.split(' ')).status();
            ensure!(status.context("start tc")?.success(), "tc {arguments}");
        }
    }
    Ok(())
}

fn start_switchd(program: &Path, ports: &[String], through: Through) -> anyhow::Result<Daemon> {
    if !program.exists() {
        bail!("{}: not built yet; run \"cargo build --release\"", program.display());
    }
    let kernel_cache = if through.has_kernel_cache() { "require" } else { "off" };
    let ports = ports.iter().flat_map(|port| ["--port", port]);
    let arguments: Vec<_> = ports.chain(["--kernel-cache", kernel_cache]).collect();
    // A child inherits the processors of the thread that starts it.
    let daemon =
        on_core(SWITCH_CORE, || Daemon::start(program, arguments).context("start the switch"))?;
    if let Some(rules) = through.rules() {
        daemon.client()?.change_flows(FlowCommand::Add, &rules)?;
    }
    Ok(daemon)
}

fn start_tap_loop(programs: &Programs, devices: &[String; 2]) -> anyhow::Result<KilledChild> {
    let (program, argument) = &programs.tap_loop;
    let spawn = || {
        let mut command = Command::new(program);
        command.arg(argument).arg(devices.join(",")).stdin(Stdio::null());
        command.spawn().map(KilledChild).context("start the TAP loop")
    };
    let child = on_core(SWITCH_CORE, spawn)?;
    let mut netlink = Netlink::open()?;
    eventually("the TAP devices are there", || {
        devices.iter().all(|device| netlink.link(device).is_ok_and(|link| link.is_up))
    })?;
    Ok(child)
}

/// A process that ends with this value.
pub(super) struct KilledChild(Child);

impl Drop for KilledChild {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what they are for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
