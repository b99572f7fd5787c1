//! A host of the test network: a namespace with one interface, which is connected to the switch.

use crate::{LabError, LinkSpec, Namespace, Netlink, Vxlan};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of the IPv4 prefix that all hosts of a laboratory share, in bits.
const V4_PREFIX: u8 = 24;
/// Length of the IPv6 prefix that all hosts of a laboratory share, in bits.
const V6_PREFIX: u8 = 64;

/// Whether this user may create TAP devices, which means to open `/dev/net/tun`. udev lets everybody open the
/// file, but containers often do not have it or keep it for root.
pub fn has_taps() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_ok()
}

/// The properties of a host that is to be created.
#[derive(Clone, Copy, Debug)]
pub struct HostPlan {
    /// The host's number, 1 to 254, which is the last byte of its addresses.
    pub number: u8,
    /// The MTU of the host's interface and of its peer; `None` is the kernel's default.
    pub mtu: Option<u32>,
}

/// A host: a namespace with the kernel's network stack and one interface.
///
/// Host 7 has the MAC address `02:00:00:00:00:07` and the IP addresses `10.0.0.7/24` and `fd00::7/64`.
#[derive(Debug)]
pub struct Host {
    number: u8,
    interface: String,
    namespace: Namespace,
    netlink: Netlink,
}

impl Host {
    /// Creates a host on a veth pair. The other end of the pair is the device `switch_end` in the caller's
    /// namespace, and is up.
    ///
    /// # Errors
    /// The name is taken, or the process has not entered a laboratory ([`crate::enter`]).
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

    /// Creates two hosts at the two ends of one veth pair, without a switch between them.
    ///
    /// # Errors
    /// The process has not entered a laboratory ([`crate::enter`]).
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

    /// Creates a host whose interface is the TAP device `name`, which the switch has created in the
    /// caller's namespace. The device moves into the host's namespace, and the switch keeps its
    /// file descriptor of the device.
    ///
    /// # Errors
    /// There is no such device, or the process has not entered a laboratory ([`crate::enter`]).
    pub fn on_tap(plan: HostPlan, name: &str) -> Result<Self, LabError> {
        let mut host = Self::without_cable(plan, name)?;
        let mut netlink = Netlink::open()?;
        let index = netlink.link(name)?.index;
        if let Some(mtu) = plan.mtu {
            // In this namespace the switch gets the event of the change. The device keeps
            // its MTU when it moves.
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
        // Without link-local addresses and router solicitations, a host sends only the
        // frames that a test causes.
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

    /// The MAC address of the host's interface: `02:00:00:00:00:NUMBER`.
    pub fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.number]
    }

    /// The host's IPv4 address: `10.0.0.NUMBER`.
    pub fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, self.number)
    }

    /// The host's IPv6 address: `fd00::NUMBER`.
    pub fn v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, self.number.into())
    }

    /// The name of the host's interface in its namespace: `eth0`, or the name of its TAP device.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The host's network namespace.
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

    /// Adds a permanent neighbour entry, so that this host sends to the address
    /// without ARP or neighbour discovery.
    ///
    /// # Errors
    /// The interface was deleted.
    pub fn add_neighbour(&mut self, address: IpAddr, mac: [u8; 6]) -> Result<(), LabError> {
        let index = self.netlink.link(&self.interface)?.index;
        self.netlink.add_neighbour(index, address, mac)
    }

    /// Adds a VLAN interface `vlanVID` on top of the host's interface, with an address.
    ///
    /// # Errors
    /// The VLAN interface exists, or the kernel has no VLAN support.
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

    /// Adds a VXLAN tunnel `vxlanVNI` from the host's own address to `remote`, with
    /// an address inside the tunnel.
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

/// The tag of the frames of a VLAN interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceVlan {
    /// The tag's protocol identifier: 0x8100 for 802.1Q, 0x88a8 for 802.1ad.
    pub tpid: u16,
    /// The VLAN id, 1 to 4094.
    pub vid: u16,
}

impl HostPlan {
    /// The plan of a host with this number, 1 to 254, and the kernel's default MTU.
    pub fn number(number: u8) -> Self {
        Self { number, mtu: None }
    }
}
