//! Network devices: asking about them, making, changing and removing them.

use super::{Netlink, NetlinkError};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, InfoVlan, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags,
    LinkHeader, LinkInfo, LinkLayerType, LinkMessage, State,
};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A network device as the kernel described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface number; its own in each network namespace.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// Its MAC address; zero for a device without one.
    pub mac: [u8; 6],
    /// Bytes of a frame without link header.
    pub mtu: u32,
    /// Somebody set it up (`IFF_UP`).
    pub is_up: bool,
    /// A cable is plugged in, or what stands for it (`IFF_LOWER_UP`).
    pub has_carrier: bool,
    /// It is a loopback device.
    pub is_loopback: bool,
    /// It carries Ethernet frames.
    pub is_ethernet: bool,
    /// RFC 2863 state: `up`, `down`, `lowerlayerdown`, …
    pub operstate: String,
    /// Interface number of the bridge, bond or similar device it is enslaved to.
    pub master: Option<u32>,
    /// Its root queueing discipline.
    pub qdisc: String,
    /// What made it: `veth`, `bridge`, `tun`; empty for hardware.
    pub kind: String,
    /// How many times somebody asked it to receive what is addressed to others, too.
    pub promiscuity: u32,
}

impl Link {
    /// Frames can be sent and received.
    pub fn is_running(&self) -> bool {
        self.is_up && self.has_carrier
    }

    pub(super) fn from_message(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: [0; 6],
            mtu: 0,
            is_up: flags.contains(LinkFlags::Up),
            has_carrier: flags.contains(LinkFlags::LowerUp),
            is_loopback: flags.contains(LinkFlags::Loopback),
            is_ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            operstate: String::new(),
            master: None,
            qdisc: String::new(),
            kind: String::new(),
            promiscuity: 0,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(mac) => {
                    link.mac = mac.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::OperState(state) => link.operstate = operstate(*state).to_owned(),
                LinkAttribute::Controller(index) => link.master = Some(*index),
                LinkAttribute::Promiscuity(count) => link.promiscuity = *count,
                LinkAttribute::Qdisc(name) => link.qdisc.clone_from(name),
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos
                        .iter()
                        .find_map(|i| match i {
                            LinkInfo::Kind(kind) => Some(kind.to_string()),
                            _ => None,
                        })
                        .unwrap_or_default();
                }
                _ => {}
            }
        }
        link
    }
}

fn operstate(state: State) -> &'static str {
    match state {
        State::NotPresent => "notpresent",
        State::Down => "down",
        State::LowerLayerDown => "lowerlayerdown",
        State::Testing => "testing",
        State::Dormant => "dormant",
        State::Up => "up",
        _ => "unknown",
    }
}

/// Tunnel parameters of a VXLAN device.
#[derive(Clone, Copy, Debug)]
pub struct Vxlan {
    /// Network identifier.
    pub vni: u32,
    /// This end's address.
    pub local: IpAddr,
    /// The other end's address.
    pub remote: IpAddr,
    /// UDP port of both ends.
    pub port: u16,
}

/// A device to make.
#[derive(Clone, Debug, Default)]
pub struct LinkSpec<'a> {
    /// MAC address; the kernel chooses one if absent.
    pub mac: Option<[u8; 6]>,
    /// MTU; the kernel's default if absent.
    pub mtu: Option<u32>,
    /// Set it up at once.
    pub up: bool,
    /// The network namespace to make it in; the socket's own if absent.
    pub netns: Option<BorrowedFd<'a>>,
}

impl LinkSpec<'_> {
    fn message(&self, name: &str) -> LinkMessage {
        let mut message = link_message(0);
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.extend(self.mac.map(|m| LinkAttribute::Address(m.to_vec())));
        message.attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        message.attributes.extend(self.netns.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())));
        if self.up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        message
    }
}

impl Netlink {
    /// The device called `name`; `None` if there is none.
    ///
    /// # Errors
    /// The kernel refused to tell.
    pub fn find_link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut message = link_message(0);
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.get_link(|| format!("look up \"{name}\""), message)
    }

    /// The device called `name`.
    ///
    /// # Errors
    /// [`NetlinkError::NoDevice`] if there is none.
    pub fn link(&mut self, name: &str) -> Result<Link, NetlinkError> {
        self.find_link(name)?.ok_or_else(|| NetlinkError::NoDevice { name: name.to_owned() })
    }

    /// The device with this number; `None` if there is none.
    ///
    /// # Errors
    /// The kernel refused to tell.
    pub fn find_link_by_index(&mut self, index: u32) -> Result<Option<Link>, NetlinkError> {
        self.get_link(|| format!("look up interface {index}"), link_message(index))
    }

    /// All devices of the namespace.
    ///
    /// # Errors
    /// The kernel refused to tell.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let mut links = Vec::new();
        let message = RouteNetlinkMessage::GetLink(without_statistics(link_message(0)));
        self.exchange(
            || "list devices".to_owned(),
            message,
            NLM_F_DUMP,
            |m| {
                if let RouteNetlinkMessage::NewLink(m) = m {
                    links.push(Link::from_message(&m));
                }
            },
        )?;
        Ok(links)
    }

    fn get_link(
        &mut self,
        operation: impl FnOnce() -> String,
        message: LinkMessage,
    ) -> Result<Option<Link>, NetlinkError> {
        let mut link = None;
        let message = RouteNetlinkMessage::GetLink(without_statistics(message));
        let asked = self.exchange(operation, message, 0, |m| {
            if let RouteNetlinkMessage::NewLink(m) = m {
                link = Some(Link::from_message(&m));
            }
        });
        match asked {
            Ok(()) => Ok(link),
            Err(e) if e.errno() == Some(libc::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

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
    ) -> Result<(), NetlinkError> {
        // The kernel refuses to set a peer up that has no other end yet.
        let down = LinkSpec { up: false, ..peer_spec.clone() };
        let data = InfoData::Veth(InfoVeth::Peer(down.message(peer)));
        self.create(name, spec, InfoKind::Veth, Some(data))?;
        if !peer_spec.up {
            return Ok(());
        }
        let set_up = |netlink: &mut Self| {
            let index = netlink.link(peer)?.index;
            netlink.set_up(index, true)
        };
        match peer_spec.netns {
            None => set_up(self),
            Some(netns) => crate::netns::run_in(netns, || set_up(&mut Self::open()?))
                .map_err(|e| NetlinkError::refused("enter the peer's network namespace", e))?,
        }
    }

    /// Makes a device that swallows what is sent to it.
    ///
    /// # Errors
    /// The name is taken, or the privilege is missing; nothing was made.
    pub fn create_dummy(&mut self, name: &str, spec: &LinkSpec<'_>) -> Result<(), NetlinkError> {
        self.create(name, spec, InfoKind::Dummy, None)
    }

    /// Makes a bridge device without ports.
    ///
    /// # Errors
    /// The name is taken, or the privilege is missing; nothing was made.
    pub fn create_bridge(&mut self, name: &str, spec: &LinkSpec<'_>) -> Result<(), NetlinkError> {
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
    ) -> Result<(), NetlinkError> {
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
    ) -> Result<(), NetlinkError> {
        let data = InfoData::Vlan(vec![InfoVlan::Id(vid), InfoVlan::Protocol(tpid.into())]);
        let mut message = spec.message(name);
        message.attributes.push(LinkAttribute::Link(parent));
        let info = vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)];
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.request(
            || format!("create vlan \"{name}\""),
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    fn create(
        &mut self,
        name: &str,
        spec: &LinkSpec<'_>,
        kind: InfoKind,
        data: Option<InfoData>,
    ) -> Result<(), NetlinkError> {
        let operation = format!("create {kind} \"{name}\"");
        let mut message = spec.message(name);
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        message.attributes.push(LinkAttribute::LinkInfo(info));
        let message = RouteNetlinkMessage::NewLink(message);
        self.request(|| operation, message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Sets a device up or down.
    ///
    /// # Errors
    /// No such device, or the privilege is missing.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<(), NetlinkError> {
        let mut message = link_message(index);
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
        let state = if up { "up" } else { "down" };
        self.request(
            || format!("set interface {index} {state}"),
            RouteNetlinkMessage::SetLink(message),
            0,
        )
    }

    /// Sets the MTU.
    ///
    /// # Errors
    /// No such device, not a size it can have, or the privilege is missing.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), NetlinkError> {
        self.set(index, LinkAttribute::Mtu(mtu), || {
            format!("set MTU of interface {index} to {mtu}")
        })
    }

    /// Sets the MAC address.
    ///
    /// # Errors
    /// No such device, not an address it can have, or the privilege is missing.
    pub fn set_mac(&mut self, index: u32, mac: [u8; 6]) -> Result<(), NetlinkError> {
        self.set(index, LinkAttribute::Address(mac.to_vec()), || {
            format!("set MAC address of interface {index}")
        })
    }

    /// Gives a device another name. Older kernels want it to be down.
    ///
    /// # Errors
    /// No such device, the name is taken, or the privilege is missing.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<(), NetlinkError> {
        self.set(index, LinkAttribute::IfName(name.to_owned()), || {
            format!("rename interface {index} to \"{name}\"")
        })
    }

    /// Enslaves a device to a bridge, or frees it.
    ///
    /// # Errors
    /// No such device, the master does not take it, or the privilege is missing.
    pub fn set_master(&mut self, index: u32, master: Option<u32>) -> Result<(), NetlinkError> {
        self.set(index, LinkAttribute::Controller(master.unwrap_or(0)), || match master {
            Some(master) => format!("enslave interface {index} to interface {master}"),
            None => format!("free interface {index} from its master"),
        })
    }

    /// Moves a device to another network namespace. It is down and without addresses there.
    ///
    /// # Errors
    /// No such device, its name is taken there, or the privilege is missing.
    pub fn move_to_netns(&mut self, index: u32, netns: BorrowedFd<'_>) -> Result<(), NetlinkError> {
        self.set(index, LinkAttribute::NetNsFd(netns.as_raw_fd()), || {
            format!("move interface {index} to another network namespace")
        })
    }

    /// Removes a device (and the other end of a veth).
    ///
    /// # Errors
    /// No such device, not one that can be removed, or the privilege is missing.
    pub fn delete_link(&mut self, index: u32) -> Result<(), NetlinkError> {
        let message = RouteNetlinkMessage::DelLink(link_message(index));
        self.request(|| format!("delete interface {index}"), message, 0)
    }

    fn set(
        &mut self,
        index: u32,
        attribute: LinkAttribute,
        operation: impl FnOnce() -> String,
    ) -> Result<(), NetlinkError> {
        let mut message = link_message(index);
        message.attributes.push(attribute);
        self.request(operation, RouteNetlinkMessage::SetLink(message), 0)
    }
}

fn link_message(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header = LinkHeader { index, link_layer_type: LinkLayerType::Netrom, ..message.header };
    message
}

/// Counters of a device are most of its description, and nobody here reads them.
fn without_statistics(mut message: LinkMessage) -> LinkMessage {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}
