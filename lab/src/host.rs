//! A host on the network under test: a namespace with one cable to the switch.

use crate::{LabError, LinkSpec, Namespace, Netlink, Vxlan};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Size of the prefix that all hosts of a laboratory share, for IPv4.
const V4_PREFIX: u8 = 24;
/// Size of the prefix that all hosts of a laboratory share, for IPv6.
const V6_PREFIX: u8 = 64;

/// Whether this user may make TAP devices: the way to them is a file, which udev opens to everybody,
/// and which containers and small systems often keep for root or do not have.
pub fn has_taps() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_ok()
}

/// What a host is to be: everything follows from its number unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct HostPlan {
    /// The last byte of its addresses, from 1 to 254.
    pub number: u8,
    /// MTU of its cable, on both ends; the kernel's default if absent.
    pub mtu: Option<u32>,
}

/// A host: its own network stack, as the kernel makes it, behind one interface.
///
/// Host 7 has MAC `02:00:00:00:00:07`, IPv4 `10.0.0.7/24` and IPv6 `fd00::7/64`.
#[derive(Debug)]
pub struct Host {
    number: u8,
    interface: String,
    namespace: Namespace,
    netlink: Netlink,
}

impl Host {
    /// A host on a veth pair, whose other end lies in the caller's namespace as `switch_end`, up.
    ///
    /// # Errors
    /// The name is taken, or this is not a laboratory ([`crate::enter`]).
    pub fn on_veth(plan: HostPlan, switch_end: &str) -> Result<Self, LabError> {
        let mut host = Self::without_cable(plan, "eth0")?;
        let here = Namespace::current()?;
        let spec =
            LinkSpec { mac: Some(host.mac()), mtu: plan.mtu, up: true, ..LinkSpec::default() };
        let switch_spec =
            LinkSpec { mtu: plan.mtu, up: true, netns: Some(&here), ..LinkSpec::default() };
        host.netlink.create_veth("eth0", &spec, switch_end, &switch_spec)?;
        host.set_addresses()?;
        Ok(host)
    }

    /// Two hosts at the two ends of one veth pair, with nothing between them.
    ///
    /// # Errors
    /// This is not a laboratory ([`crate::enter`]).
    pub fn cabled_pair(a: HostPlan, b: HostPlan) -> Result<(Self, Self), LabError> {
        let mut hosts = (Self::without_cable(a, "eth0")?, Self::without_cable(b, "eth0")?);
        let spec = |host: &Self, mtu| LinkSpec {
            mac: Some(host.mac()),
            mtu,
            up: true,
            ..LinkSpec::default()
        };
        let a_spec = spec(&hosts.0, a.mtu);
        let b_spec = LinkSpec { netns: Some(&hosts.1.namespace), ..spec(&hosts.1, b.mtu) };
        hosts.0.netlink.create_veth("eth0", &a_spec, "eth0", &b_spec)?;
        hosts.0.set_addresses()?;
        hosts.1.set_addresses()?;
        Ok(hosts)
    }

    /// A host whose interface is the TAP device `name`, which the switch has made in the caller's
    /// namespace. It moves into the host; the switch keeps its end, a file.
    ///
    /// # Errors
    /// There is no such device, or this is not a laboratory ([`crate::enter`]).
    pub fn on_tap(plan: HostPlan, name: &str) -> Result<Self, LabError> {
        let mut host = Self::without_cable(plan, name)?;
        let mut netlink = Netlink::open()?;
        let index = netlink.link(name)?.index;
        if let Some(mtu) = plan.mtu {
            // Here, where the switch hears of it; it keeps it on the way.
            netlink.set_mtu(index, mtu)?;
        }
        netlink.move_to_netns(index, &host.namespace)?;
        let index = host.netlink.link(name)?.index;
        host.netlink.set_mac(index, host.mac())?;
        host.netlink.set_up(index, true)?;
        host.set_addresses()?;
        Ok(host)
    }

    fn without_cable(plan: HostPlan, interface: &str) -> Result<Self, LabError> {
        let namespace = Namespace::new()?;
        // No link-local address and no search for routers: the only frames are the ones asked for.
        for (name, value) in
            [("accept_dad", "0"), ("router_solicitations", "0"), ("addr_gen_mode", "1")]
        {
            namespace.set_sysctl(&format!("net/ipv6/conf/default/{name}"), value)?;
        }
        let netlink = namespace.run(Netlink::open)??;
        Ok(Self { number: plan.number, interface: interface.to_owned(), namespace, netlink })
    }

    fn set_addresses(&mut self) -> Result<(), LabError> {
        let index = self.netlink.link(&self.interface)?.index;
        self.netlink.add_address(index, self.v4().into(), V4_PREFIX)?;
        self.netlink.add_address(index, self.v6().into(), V6_PREFIX)?;
        Ok(())
    }

    /// The MAC address of its cable: `02:00:00:00:00:NUMBER`.
    pub fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.number]
    }

    /// Its IPv4 address: `10.0.0.NUMBER`.
    pub fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, self.number)
    }

    /// Its IPv6 address: `fd00::NUMBER`.
    pub fn v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, self.number.into())
    }

    /// The name of its cable in its own namespace: `eth0`, or the name of its TAP device.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The namespace that the host is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A routing socket in the host's namespace.
    pub fn netlink(&mut self) -> &mut Netlink {
        &mut self.netlink
    }

    /// Runs `f` in the host's namespace; see [`Namespace::run`].
    ///
    /// # Errors
    /// The process has no rights over the namespace.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.namespace.run(f)
    }

    /// States the MAC address of a neighbour, so that this host sends to it without asking.
    ///
    /// # Errors
    /// The interface has gone.
    pub fn add_neighbour(&mut self, address: IpAddr, mac: [u8; 6]) -> Result<(), LabError> {
        let index = self.netlink.link(&self.interface)?.index;
        self.netlink.add_neighbour(index, address, mac)
    }

    /// Adds a VLAN interface on top of its cable, with an address of its own.
    ///
    /// # Errors
    /// The VLAN exists, or the kernel has no VLAN support.
    pub fn add_vlan(
        &mut self,
        tag: InterfaceVlan,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), LabError> {
        let parent = self.netlink.link(&self.interface)?.index;
        let name = format!("vlan{}", tag.vid);
        let spec = LinkSpec { up: true, ..LinkSpec::default() };
        self.netlink.create_vlan(&name, &spec, parent, tag.tpid, tag.vid)?;
        self.give_address(&name, address, prefix_len)
    }

    /// Adds a VXLAN tunnel to `remote` through its cable, with an address of its own inside.
    ///
    /// # Errors
    /// The tunnel exists, or the kernel has no VXLAN support.
    pub fn add_vxlan(
        &mut self,
        vni: u32,
        remote: IpAddr,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), LabError> {
        let local = match remote {
            IpAddr::V4(_) => self.v4().into(),
            IpAddr::V6(_) => self.v6().into(),
        };
        let name = format!("vxlan{vni}");
        let spec = LinkSpec { up: true, ..LinkSpec::default() };
        self.netlink.create_vxlan(&name, &spec, Vxlan { vni, local, remote, port: 4789 })?;
        self.give_address(&name, address, prefix_len)
    }

    fn give_address(
        &mut self,
        interface: &str,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), LabError> {
        let index = self.netlink.link(interface)?.index;
        self.netlink.add_address(index, address, prefix_len)?;
        Ok(())
    }
}

/// A VLAN tag that an interface puts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceVlan {
    /// The tag's protocol identifier: 0x8100 for 802.1Q, 0x88a8 for 802.1ad.
    pub tpid: u16,
    /// The VLAN's number, from 1 to 4094.
    pub vid: u16,
}

impl HostPlan {
    /// The last byte of its addresses, from 1 to 254.
    pub fn number(number: u8) -> Self {
        Self { number, mtu: None }
    }
}
