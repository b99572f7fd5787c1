//! Two machines at the ends of a cable, with a host at the switch of each.

use crate::forwarding::network::{Middle, Network, Programs, bridge};
use crate::forwarding::{Step, on_core};
use crate::report::Role;
use anyhow::{Context, ensure};
use lab::traffic::Ping;
use lab::{
    Daemon, Feature, Host, HostPlan, LinkSpec, Namespace, Netlink, OpenVswitch, Vxlan, eventually,
    has_taps,
};
use std::net::IpAddr;

/// The VNI of all tunnels.
const VNI: u32 = 7;
/// Bytes that VXLAN over IPv4 takes of the MTU.
const OVERHEAD: u32 = 50;
/// The device at each end of the cable between the machines.
const CABLE: &str = "under";
/// The device of each switch to its host.
pub(super) const PORT: &str = "host";

/// What carries the frames between the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// A vxlan device of the kernel, in a bridge with the host's device.
    KernelVxlan,
    /// A tunnel port of the switch.
    Switchd,
    /// The same, whose frames the kernel cache puts into the tunnel and takes out (`kernel-cache=on`).
    KernelCache,
    /// A tunnel port of Open vSwitch's userspace datapath.
    Ovs,
}

impl Carrier {
    /// All of them, in the order of the tables.
    pub(super) const ALL: &[Self] =
        &[Self::KernelVxlan, Self::Switchd, Self::KernelCache, Self::Ovs];

    /// What the tables call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KernelVxlan => "kernel vxlan + bridge",
            Self::Switchd => "switchd",
            Self::KernelCache => "switchd, kernel cache",
            Self::Ovs => "OVS userspace, tx off",
        }
    }

    /// Whose result it is.
    pub(super) fn role(self) -> Role {
        match self {
            Self::Switchd | Self::KernelCache => Role::Ours,
            Self::KernelVxlan | Self::Ovs => Role::Rival,
        }
    }
}

/// The network between the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Underlay {
    /// A veth pair as it is: frames of 64 KiB cross it uncut.
    Default,
    /// A veth pair that cuts what is sent and merges what arrives, as a network
    /// card without offloads for tunnels.
    WireLike,
    /// A veth pair as it is, with an MTU of 9,000 bytes.
    Jumbo,
}

impl Underlay {
    /// All of them, in the order of the tables.
    pub(super) const ALL: [Self; 3] = [Self::WireLike, Self::Default, Self::Jumbo];

    /// The word that tables and goals use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::WireLike => "wire-like",
            Self::Jumbo => "MTU 9000",
        }
    }

    /// What it is, for the title of its table.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Default => "hosts through VXLAN, over a veth pair as it is",
            Self::WireLike => "hosts through VXLAN, over a veth pair that cuts and merges",
            Self::Jumbo => "hosts through VXLAN, over a veth pair with an MTU of 9,000",
        }
    }

    /// What is measured over it.
    pub(super) fn steps(self) -> &'static [Step] {
        match self {
            Self::Default | Self::WireLike => &[
                Step::Tcp { streams: 1 },
                Step::Tcp { streams: 4 },
                Step::PacedTcp,
                Step::Frames { size: 60, flows: 1 },
                Step::Frames { size: 60, flows: 10_000 },
                Step::RoundTrips,
            ],
            Self::Jumbo => &[Step::Tcp { streams: 1 }, Step::Tcp { streams: 4 }],
        }
    }

    fn mtu(self) -> u32 {
        if self == Self::Jumbo { 9000 } else { 1500 }
    }
}

/// A machine with its host.
pub(super) struct Site {
    pub(super) namespace: Namespace,
    pub(super) host: Host,
    number: u8,
}

impl Site {
    fn new(number: u8, mtu: u32) -> anyhow::Result<Self> {
        let namespace = Namespace::new()?;
        let plan = HostPlan { number, mtu: Some(mtu) };
        let host = namespace.run(|| Host::on_veth(plan, PORT))??;
        Ok(Self { namespace, host, number })
    }

    /// The machine's address in the network between them.
    pub(super) fn address(&self) -> IpAddr {
        address(self.number)
    }

    /// The address of the other machine.
    pub(super) fn remote(&self) -> IpAddr {
        address(3 - self.number)
    }

    /// Gives the machine's address to one of its devices.
    fn give_address(&self, device: &str) -> anyhow::Result<()> {
        self.namespace.run(|| {
            let mut netlink = Netlink::open()?;
            let index = netlink.link(device)?.index;
            netlink.set_up(index, true)?;
            Ok(netlink.add_address(index, self.address(), 24)?)
        })?
    }

    /// Starts the switch with a port to the host and this tunnel port, without kernel cache. It may run on any
    /// processor, or on one.
    pub(super) fn start_switchd(
        &self,
        programs: &Programs,
        tunnel: &str,
        core: Option<usize>,
    ) -> anyhow::Result<Daemon> {
        self.start_with(programs, tunnel, core, "off")
    }

    /// As [`Self::start_switchd`], with a kernel cache, which the tunnel port takes part in.
    pub(super) fn start_kernel_cache(
        &self,
        programs: &Programs,
        tunnel: &str,
        core: Option<usize>,
    ) -> anyhow::Result<Daemon> {
        self.start_with(programs, &format!("{tunnel},kernel-cache=on"), core, "require")
    }

    fn start_with(
        &self,
        programs: &Programs,
        tunnel: &str,
        core: Option<usize>,
        kernel_cache: &str,
    ) -> anyhow::Result<Daemon> {
        let program = &programs.switchd;
        let is_built = program.exists();
        ensure!(is_built, "{}: not built yet; run \"cargo build --release\"", program.display());
        let arguments = ["--port", PORT, "--port", tunnel, "--kernel-cache", kernel_cache];
        let start = || Daemon::start(program, arguments).context("start the switch");
        self.namespace.run(|| match core {
            Some(core) => on_core(core, start),
            None => start(),
        })?
    }

    /// The tunnel port to the other machine.
    pub(super) fn tunnel(&self) -> String {
        format!("vxlan:tunnel,remote_ip={},key={VNI}", self.remote())
    }

    fn start(&self, carrier: Carrier, programs: &Programs) -> anyhow::Result<Middle> {
        match carrier {
            Carrier::Switchd => {
                self.start_switchd(programs, &self.tunnel(), None).map(Middle::Switchd)
            }
            Carrier::KernelCache => {
                self.start_kernel_cache(programs, &self.tunnel(), None).map(Middle::Switchd)
            }
            Carrier::KernelVxlan => self.namespace.run(|| self.kernel_vxlan())?,
            Carrier::Ovs => self.open_vswitch().map(Middle::Ovs),
        }
    }

    fn kernel_vxlan(&self) -> anyhow::Result<Middle> {
        let mut netlink = Netlink::open()?;
        let mtu = netlink.link(PORT)?.mtu;
        let spec = LinkSpec { up: true, mtu: Some(mtu), ..LinkSpec::default() };
        let (local, remote) = (self.address(), self.remote());
        let tunnel = Vxlan { vni: VNI, local, remote, port: 4789 };
        netlink.create_vxlan("tunnel", &spec, tunnel)?;
        bridge(&[PORT.to_owned(), "tunnel".to_owned()])?;
        Ok(Middle::Kernel)
    }

    /// Open vSwitch has tunnels in userspace only through a bridge with the device and
    /// the address of the machine.
    fn open_vswitch(&self) -> anyhow::Result<OpenVswitch> {
        let ovs = self.namespace.run(|| OpenVswitch::without_bridges(false))??;
        ovs.add_bridge("br-phy", &[CABLE.to_owned()])?;
        ovs.add_bridge("br0", &[PORT.to_owned()])?;
        let remote = format!("options:remote_ip={}", self.remote());
        let key = format!("options:key={VNI}");
        ovs.add_port("br0", "tunnel", &["type=vxlan", &remote, &key])?;
        self.give_address("br-phy")?;
        self.host.run(|| Netlink::open()?.set_offloads("eth0", &[(Feature::Tx, false)]))??;
        Ok(ovs)
    }
}

fn address(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

/// Two machines that are joined, without switches. With `has_addresses`, their devices have their addresses.
pub(super) fn pair(underlay: Underlay, has_addresses: bool) -> anyhow::Result<[Site; 2]> {
    let mtu = underlay.mtu();
    let sites = [Site::new(1, mtu - OVERHEAD)?, Site::new(2, mtu - OVERHEAD)?];
    let near = LinkSpec { up: true, mtu: Some(mtu), ..LinkSpec::default() };
    let far = LinkSpec { netns: Some(&sites[1].namespace), ..near.clone() };
    sites[0].namespace.run(|| Netlink::open()?.create_veth(CABLE, &near, CABLE, &far))??;
    for site in &sites {
        if has_addresses {
            site.give_address(CABLE)?;
        }
        if underlay == Underlay::WireLike {
            site.namespace.run(|| Netlink::open()?.make_wire_like(CABLE))??;
        }
    }
    Ok(sites)
}

/// Two hosts with two switches between them.
///
/// # Errors
/// What is missing, or does not work.
pub(super) fn build(
    carrier: Carrier,
    underlay: Underlay,
    programs: &Programs,
) -> anyhow::Result<Network> {
    let is_ovs = carrier == Carrier::Ovs;
    ensure!(
        !is_ovs || has_taps(),
        "/dev/net/tun cannot be opened: run as root, or allow TAP devices"
    );
    let sites = pair(underlay, !is_ovs)?;
    let middles = [sites[0].start(carrier, programs)?, sites[1].start(carrier, programs)?];
    let [a, b] = sites;
    let middle = Middle::Two { switches: Box::new(middles), _second: b.namespace };
    let network = Network::new(a.host, b.host, middle, a.namespace)?;
    // Open vSwitch drops frames until it knows the other end of the tunnel.
    let ping = Ping::brief(network.b.v4());
    eventually("the hosts reach each other", || {
        ping.run(network.a.namespace()).is_ok_and(|report| report.is_complete())
    })?;
    Ok(network)
}
