//! Network devices: asking about them, setting them up and down, and bridges, which keep them apart.

use super::{Netlink, NetlinkError};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkInfo, LinkLayerType,
    LinkMessage, State,
};

/// [`Link::gso_max_size`] of a device that takes frames of any size. No frame of a port is larger than 64 KiB
/// and its link header.
const GSO_MAX_SIZE: u32 = 1 << 17;

/// A network device as the kernel described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface number; its own in each network namespace.
    pub index: u32,
    /// Interface name; unique in its network namespace.
    pub name: String,
    /// The MAC address; zero for a device without one.
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
    /// Interface number of the device of this namespace that it is built on, as a macvlan is.
    pub lower: Option<u32>,
    /// It is one end of a veth pair whose other end is in another network namespace.
    pub has_far_peer: bool,
    /// Its root queueing discipline.
    pub qdisc: String,
    /// What made it: `veth`, `bridge`, `tun`; empty for hardware.
    pub kind: String,
    /// How many times somebody asked it to receive what is addressed to others, too.
    pub promiscuity: u32,
    /// A frame of this many bytes or more is never left to the device to be cut into segments
    /// (`gso_max_size` and `gso_ipv4_max_size` of ip-link(8), the smaller of the two).
    pub gso_max_size: u32,
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
            lower: None,
            has_far_peer: false,
            qdisc: String::new(),
            kind: String::new(),
            promiscuity: 0,
            gso_max_size: GSO_MAX_SIZE,
        };
        let mut is_built_elsewhere = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(mac) => {
                    link.mac = mac.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::OperState(state) => link.operstate = operstate(*state).to_owned(),
                LinkAttribute::Controller(index) => link.master = Some(*index),
                LinkAttribute::Link(index) => link.lower = Some(*index),
                LinkAttribute::LinkNetNsId(_) => is_built_elsewhere = true,
                LinkAttribute::Promiscuity(count) => link.promiscuity = *count,
                LinkAttribute::GsoMaxSize(size) | LinkAttribute::GsoIpv4MaxSize(size) => {
                    link.gso_max_size = link.gso_max_size.min(*size);
                }
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
        // The device below is in another namespace, which gave it the number.
        if is_built_elsewhere {
            link.lower = None;
            link.has_far_peer = link.kind == "veth";
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

    /// Makes a bridge device without ports, which is down.
    ///
    /// # Errors
    /// The name is taken, or the privilege is missing; nothing was made.
    pub fn create_bridge(&mut self, name: &str) -> Result<(), NetlinkError> {
        let mut message = link_message(0);
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let info = vec![LinkInfo::Kind(InfoKind::Bridge)];
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.request(
            || format!("create bridge \"{name}\""),
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
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

    /// Gives a device, which errors call `name`, another MAC address.
    ///
    /// # Errors
    /// No such device, it cannot have the address, or the privilege is missing.
    pub(crate) fn set_mac(
        &mut self,
        index: u32,
        name: &str,
        mac: [u8; 6],
    ) -> Result<(), NetlinkError> {
        self.set(index, LinkAttribute::Address(mac.to_vec()), || {
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            format!("give \"{name}\" the MAC address {mac}")
        })
    }

    /// Gives a device another name. Kernels before 6.2 require that the device is down.
    ///
    /// # Errors
    /// No such device, the name is taken, or the privilege is missing.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<(), NetlinkError> {
        self.set(index, LinkAttribute::IfName(name.to_owned()), || {
            format!("rename interface {index} to \"{name}\"")
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

    /// Changes one attribute of a device.
    ///
    /// # Errors
    /// No such device, it does not take the value, or the privilege is missing.
    pub fn set(
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

/// A message about the device with interface number `index`; 0 is a device that is described by attributes.
pub fn link_message(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header = LinkHeader { index, link_layer_type: LinkLayerType::Netrom, ..message.header };
    message
}

/// Counters of a device are most of its description, and nobody here reads them.
pub(super) fn without_statistics(mut message: LinkMessage) -> LinkMessage {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}
