//! Creates and changes network devices (rtnetlink(7)).

use super::Netlink;
use crate::{LabError, Namespace};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, InfoVeth, InfoVlan, InfoVxlan, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage, MacVlanMode,
};
use ports::netlink::link_message;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

/// The parameters of a VXLAN device.
#[derive(Clone, Copy, Debug)]
pub struct Vxlan {
    /// The VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// The IP address of this end of the tunnel.
    pub local: IpAddr,
    /// The IP address of the other end of the tunnel.
    pub remote: IpAddr,
    /// The UDP port at both ends; 4789 is the registered port.
    pub port: u16,
}

/// The properties of a device that is to be created.
#[derive(Clone, Debug, Default)]
pub struct LinkSpec<'a> {
    /// The MAC address; `None` lets the kernel choose one.
    pub mac: Option<[u8; 6]>,
    /// The MTU in bytes; `None` is the kernel's default.
    pub mtu: Option<u32>,
    /// Whether the device is set up at once.
    pub up: bool,
    /// The network namespace of the device; `None` is that of the routing socket.
    pub netns: Option<&'a Namespace>,
}

impl LinkSpec<'_> {
    fn message(&self, name: &str) -> LinkMessage {
        let mut message = link_message(0);
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.extend(self.mac.map(|m| LinkAttribute::Address(m.to_vec())));
        message.attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        message.attributes.extend(self.netns.map(namespace_attribute));
        if self.up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        message
    }
}

impl Netlink {
    /// Creates a veth pair: two devices, each of which receives what the other one sends (veth(4)).
    ///
    /// # Errors
    /// A name is taken, or the process lacks `CAP_NET_ADMIN`. Then neither device exists. If only setting up
    /// the peer failed, both devices exist.
    pub fn create_veth(
        &mut self,
        name: &str,
        spec: &LinkSpec<'_>,
        peer: &str,
        peer_spec: &LinkSpec<'_>,
    ) -> Result<(), LabError> {
        // The kernel refuses to set up a peer while the pair is being created.
        let down = LinkSpec { up: false, ..peer_spec.clone() };
        let data = InfoData::Veth(InfoVeth::Peer(down.message(peer)));
        self.create(name, spec, InfoKind::Veth, Some(data), None)?;
        if !peer_spec.up {
            return Ok(());
        }
        let set_up = |netlink: &mut Self| {
            let index = netlink.link(peer)?.index;
            Ok(netlink.set_up(index, true)?)
        };
        match peer_spec.netns {
            None => set_up(self),
            Some(netns) => netns.run(|| set_up(&mut Self::open()?))?,
        }
    }

    /// Creates a Linux bridge without ports.
    ///
    /// # Errors
    /// The name is taken, or the process lacks `CAP_NET_ADMIN`. Then no device was created.
    pub fn create_bridge(&mut self, name: &str, spec: &LinkSpec<'_>) -> Result<(), LabError> {
        self.create(name, spec, InfoKind::Bridge, None, None)
    }

    /// Creates a VXLAN device whose only peer is `tunnel.remote`.
    ///
    /// # Errors
    /// The name is taken, or the process lacks `CAP_NET_ADMIN`. Then no device was created.
    pub fn create_vxlan(
        &mut self,
        name: &str,
        spec: &LinkSpec<'_>,
        tunnel: Vxlan,
    ) -> Result<(), LabError> {
        let data = vec![
            InfoVxlan::Id(tunnel.vni),
            match tunnel.local {
                IpAddr::V4(ip) => InfoVxlan::Local(ip),
                IpAddr::V6(ip) => InfoVxlan::Local6(ip),
            },
            match tunnel.remote {
                IpAddr::V4(ip) => InfoVxlan::Group(ip),
                IpAddr::V6(ip) => InfoVxlan::Group6(ip),
            },
            InfoVxlan::Port(tunnel.port),
        ];
        self.create(name, spec, InfoKind::Vxlan, Some(InfoData::Vxlan(data)), None)
    }

    /// Creates a VLAN interface on top of the device with interface index `parent`. The tag of its frames has
    /// `tpid` 0x8100 (802.1Q) or 0x88a8 (802.1ad), and `vid` 1 to 4094.
    ///
    /// # Errors
    /// The name or the VLAN is taken, the kernel has no VLAN support, or the process lacks `CAP_NET_ADMIN`.
    /// Then no device was created.
    pub fn create_vlan(
        &mut self,
        name: &str,
        spec: &LinkSpec<'_>,
        parent: u32,
        tpid: u16,
        vid: u16,
    ) -> Result<(), LabError> {
        let data = InfoData::Vlan(vec![InfoVlan::Id(vid), InfoVlan::Protocol(tpid.into())]);
        self.create(name, spec, InfoKind::Vlan, Some(data), Some(parent))
    }

    /// Creates a macvlan device on top of the device with interface index `parent`: another device with the
    /// address and all frames of the one under it (mode `passthru`).
    ///
    /// # Errors
    /// The name is taken, the kernel has no macvlan support, something else takes the frames of the parent, or
    /// the process lacks `CAP_NET_ADMIN`. Then no device was created.
    pub fn create_macvlan(
        &mut self,
        name: &str,
        spec: &LinkSpec<'_>,
        parent: u32,
    ) -> Result<(), LabError> {
        let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Passthrough)]);
        self.create(name, spec, InfoKind::MacVlan, Some(data), Some(parent))
    }

    /// Sets the MTU of the device with this interface index, in bytes.
    ///
    /// # Errors
    /// There is no such device, the device cannot have this MTU, or the process lacks `CAP_NET_ADMIN`.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), LabError> {
        Ok(self.set(index, LinkAttribute::Mtu(mtu), || {
            format!("set MTU of interface {index} to {mtu}")
        })?)
    }

    /// Sets `gso_max_size` (ip-link(8)) of the device with this interface index: the device is given no frame
    /// of `size` bytes or more to segment.
    ///
    /// # Errors
    /// There is no such device, or the process lacks `CAP_NET_ADMIN`.
    pub fn set_gso_max_size(&mut self, index: u32, size: u32) -> Result<(), LabError> {
        Ok(self.set(index, LinkAttribute::GsoMaxSize(size), || {
            format!("set gso_max_size of interface {index} to {size}")
        })?)
    }

    /// Sets the MAC address of the device with this interface index.
    ///
    /// # Errors
    /// There is no such device, the device cannot have this address, or the process lacks `CAP_NET_ADMIN`.
    pub fn set_mac(&mut self, index: u32, mac: [u8; 6]) -> Result<(), LabError> {
        Ok(self.set(index, LinkAttribute::Address(mac.to_vec()), || {
            format!("set MAC address of interface {index}")
        })?)
    }

    /// Moves the device with this interface index to another network namespace, where the device is down and
    /// has no addresses.
    ///
    /// # Errors
    /// There is no such device, its name is taken in the other namespace, or the process lacks `CAP_NET_ADMIN`.
    pub fn move_to_netns(&mut self, index: u32, netns: &Namespace) -> Result<(), LabError> {
        Ok(self.set(index, namespace_attribute(netns), || {
            format!("move interface {index} to another network namespace")
        })?)
    }

    /// Creates a device, on top of the device with interface index `parent` if there is one.
    fn create(
        &mut self,
        name: &str,
        spec: &LinkSpec<'_>,
        kind: InfoKind,
        data: Option<InfoData>,
        parent: Option<u32>,
    ) -> Result<(), LabError> {
        let operation = format!("create {kind} \"{name}\"");
        let mut message = spec.message(name);
        message.attributes.extend(parent.map(LinkAttribute::Link));
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        message.attributes.push(LinkAttribute::LinkInfo(info));
        let message = RouteNetlinkMessage::NewLink(message);
        Ok(self.request(|| operation, message, NLM_F_CREATE | NLM_F_EXCL)?)
    }
}

/// The attribute that names the network namespace of a device.
fn namespace_attribute(namespace: &Namespace) -> LinkAttribute {
    LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd())
}
