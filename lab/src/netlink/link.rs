//! Making and changing network devices.

use super::Netlink;
use crate::{LabError, Namespace};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, InfoVlan, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use ports::netlink::link_message;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

/// Tunnel parameters of a VXLAN device.
#[derive(Clone, Copy, Debug)]
pub struct Vxlan {
    /// The VXLAN network identifier, of 24 bits.
    pub vni: u32,
    /// The address of this end of the tunnel.
    pub local: IpAddr,
    /// The address of the other end.
    pub remote: IpAddr,
    /// The UDP port at both ends; 4789 is the registered one.
    pub port: u16,
}

/// What a new device is to be like.
#[derive(Clone, Debug, Default)]
pub struct LinkSpec<'a> {
    /// MAC address; the kernel chooses one if absent.
    pub mac: Option<[u8; 6]>,
    /// MTU; the kernel's default if absent.
    pub mtu: Option<u32>,
    /// The device is set up at once.
    pub up: bool,
    /// The network namespace to make it in; the socket's own if absent.
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
    /// Makes a pair of devices, each the other end of the other's cable.
    ///
    /// # Errors
    /// A name is taken, or the privilege is missing; nothing was made. Only if the peer could not be
    /// set up as asked, the pair is there.
    pub fn create_veth(
        &mut self,
        name: &str,
        spec: &LinkSpec<'_>,
        peer: &str,
        peer_spec: &LinkSpec<'_>,
    ) -> Result<(), LabError> {
        // The kernel refuses to set a peer up that has no other end yet.
        let down = LinkSpec { up: false, ..peer_spec.clone() };
        let data = InfoData::Veth(InfoVeth::Peer(down.message(peer)));
        self.create(name, spec, InfoKind::Veth, Some(data))?;
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

    /// Makes a bridge device without ports.
    ///
    /// # Errors
    /// The name is taken, or the privilege is missing; nothing was made.
    pub fn create_bridge(&mut self, name: &str, spec: &LinkSpec<'_>) -> Result<(), LabError> {
        self.create(name, spec, InfoKind::Bridge, None)
    }

    /// Makes a VXLAN tunnel to one remote end.
    ///
    /// # Errors
    /// The name is taken, or the privilege is missing; nothing was made.
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
        self.create(name, spec, InfoKind::Vxlan, Some(InfoData::Vxlan(data)))
    }

    /// Makes an interface that tags what it sends through `parent` and receives what carries the
    /// tag: `tpid` 0x8100 (802.1Q) or 0x88a8 (802.1ad), `vid` 1 to 4094.
    ///
    /// # Errors
    /// The name or the VLAN is taken, the kernel has no VLAN support, or the privilege is missing;
    /// nothing was made.
    pub fn create_vlan(
        &mut self,
        name: &str,
        spec: &LinkSpec<'_>,
        parent: u32,
        tpid: u16,
        vid: u16,
    ) -> Result<(), LabError> {
        let data = InfoData::Vlan(vec![InfoVlan::Id(vid), InfoVlan::Protocol(tpid.into())]);
        let mut message = spec.message(name);
        message.attributes.push(LinkAttribute::Link(parent));
        let info = vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)];
        message.attributes.push(LinkAttribute::LinkInfo(info));
        Ok(self.request(
            || format!("create vlan \"{name}\""),
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )?)
    }

    /// Sets the MTU.
    ///
    /// # Errors
    /// No such device, not a size it can have, or the privilege is missing.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), LabError> {
        Ok(self.set(index, LinkAttribute::Mtu(mtu), || {
            format!("set MTU of interface {index} to {mtu}")
        })?)
    }

    /// Sets the MAC address.
    ///
    /// # Errors
    /// No such device, not an address it can have, or the privilege is missing.
    pub fn set_mac(&mut self, index: u32, mac: [u8; 6]) -> Result<(), LabError> {
        Ok(self.set(index, LinkAttribute::Address(mac.to_vec()), || {
            format!("set MAC address of interface {index}")
        })?)
    }

    /// Gives a device another name. Older kernels want it to be down.
    ///
    /// # Errors
    /// No such device, the name is taken, or the privilege is missing.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<(), LabError> {
        Ok(self.set(index, LinkAttribute::IfName(name.to_owned()), || {
            format!("rename interface {index} to \"{name}\"")
        })?)
    }

    /// Moves a device to another network namespace. It is down and without addresses there.
    ///
    /// # Errors
    /// No such device, its name is taken there, or the privilege is missing.
    pub fn move_to_netns(&mut self, index: u32, netns: &Namespace) -> Result<(), LabError> {
        Ok(self.set(index, namespace_attribute(netns), || {
            format!("move interface {index} to another network namespace")
        })?)
    }

    fn create(
        &mut self,
        name: &str,
        spec: &LinkSpec<'_>,
        kind: InfoKind,
        data: Option<InfoData>,
    ) -> Result<(), LabError> {
        let operation = format!("create {kind} \"{name}\"");
        let mut message = spec.message(name);
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        message.attributes.push(LinkAttribute::LinkInfo(info));
        let message = RouteNetlinkMessage::NewLink(message);
        Ok(self.request(|| operation, message, NLM_F_CREATE | NLM_F_EXCL)?)
    }
}

/// The namespace that a device is in, or goes to.
fn namespace_attribute(namespace: &Namespace) -> LinkAttribute {
    LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd())
}
