//! Adds addresses, routes and neighbours (rtnetlink(7)).

use super::Netlink;
use crate::LabError;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::IpProtocol;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressMessage, AddressScope,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::{IpAddr, Ipv4Addr};

/// Which packets take a route that others do not.
#[derive(Clone, Copy, Debug)]
pub enum RouteChoice {
    /// Those with a mark.
    Mark(u32),
    /// Those of UDP to a port.
    UdpPort(u16),
}

impl Netlink {
    /// Adds an address to the device with this interface index. An IPv6 address is usable at once, without
    /// duplicate address detection.
    ///
    /// # Errors
    /// There is no such device, the device has the address already, or the process lacks `CAP_NET_ADMIN`.
    pub fn add_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), LabError> {
        let mut message = local_address(index, address, prefix_len);
        message.header.scope = AddressScope::Universe;
        message.attributes.push(AddressAttribute::Address(address));
        match address {
            IpAddr::V4(ip) if prefix_len < 31 => {
                let hosts = u32::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
                let broadcast = Ipv4Addr::from(u32::from(ip) | hosts);
                message.attributes.push(AddressAttribute::Broadcast(broadcast));
            }
            IpAddr::V4(_) => {}
            IpAddr::V6(_) => {
                message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            }
        }
        Ok(self.request(
            || format!("add address {address}/{prefix_len} to interface {index}"),
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )?)
    }

    /// Takes an address away from the device with this interface index.
    ///
    /// # Errors
    /// The device has no such address, or the process lacks `CAP_NET_ADMIN`.
    pub fn remove_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), LabError> {
        Ok(self.request(
            || format!("remove address {address}/{prefix_len} from interface {index}"),
            RouteNetlinkMessage::DelAddress(local_address(index, address, prefix_len)),
            0,
        )?)
    }

    /// Adds a route to the one host `destination` through `gateway`, which only the packets of `choice` take.
    ///
    /// # Errors
    /// The gateway cannot be reached, or the process lacks `CAP_NET_ADMIN`.
    pub fn add_chosen_route(
        &mut self,
        choice: RouteChoice,
        destination: IpAddr,
        gateway: IpAddr,
    ) -> Result<(), LabError> {
        // Any table that has no meaning for the kernel.
        const TABLE: u8 = 100;
        let mut rule = RuleMessage::default();
        rule.header.family = family(destination);
        rule.header.table = TABLE;
        rule.header.action = RuleAction::ToTable;
        match choice {
            RouteChoice::Mark(mark) => rule.attributes.push(RuleAttribute::FwMark(mark)),
            RouteChoice::UdpPort(port) => {
                rule.attributes.push(RuleAttribute::IpProtocol(IpProtocol::Udp));
                let range = RulePortRange { start: port, end: port };
                rule.attributes.push(RuleAttribute::DestinationPortRange(range));
            }
        }
        self.request(
            || format!("add a routing rule for {choice:?}"),
            RouteNetlinkMessage::NewRule(rule),
            NLM_F_CREATE | NLM_F_EXCL,
        )?;
        let size = if destination.is_ipv4() { 32 } else { 128 };
        let mut route = static_route(destination, size, Some(gateway));
        route.header.table = TABLE;
        Ok(self.request(
            || format!("add a route to {destination} for {choice:?}"),
            RouteNetlinkMessage::NewRoute(route),
            NLM_F_CREATE | NLM_F_EXCL,
        )?)
    }

    /// Adds a route to `destination/prefix_len`: through `gateway`, or directly through the device with
    /// interface index `index`.
    ///
    /// # Errors
    /// There is no such device, the gateway cannot be reached, or the process lacks `CAP_NET_ADMIN`.
    pub fn add_route(
        &mut self,
        destination: IpAddr,
        prefix_len: u8,
        gateway: Option<IpAddr>,
        index: Option<u32>,
    ) -> Result<(), LabError> {
        let mut message = static_route(destination, prefix_len, gateway);
        message.attributes.extend(index.map(RouteAttribute::Oif));
        Ok(self.request(
            || format!("add route to {destination}/{prefix_len}"),
            RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )?)
    }

    /// Adds a permanent neighbour entry, so that the kernel sends to the address
    /// without ARP or neighbour discovery.
    ///
    /// # Errors
    /// There is no such device, or the process lacks `CAP_NET_ADMIN`.
    pub fn add_neighbour(
        &mut self,
        index: u32,
        address: IpAddr,
        mac: [u8; 6],
    ) -> Result<(), LabError> {
        let mut message = NeighbourMessage::default();
        message.header = NeighbourHeader {
            family: family(address),
            ifindex: index,
            state: NeighbourState::Permanent,
            ..NeighbourHeader::default()
        };
        message.attributes.push(NeighbourAttribute::Destination(match address {
            IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
            IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
        }));
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        Ok(self.request(
            || format!("add neighbour {address} to interface {index}"),
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )?)
    }
}

/// A message about an address of a device itself.
fn local_address(index: u32, address: IpAddr, prefix_len: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    let family = family(address);
    message.header = AddressHeader { family, prefix_len, index, ..AddressHeader::default() };
    message.attributes.push(AddressAttribute::Local(address));
    message
}

/// A message about a route of the main table to `destination/prefix_len`: through `gateway`, or directly.
fn static_route(destination: IpAddr, prefix_len: u8, gateway: Option<IpAddr>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(destination),
        destination_prefix_length: prefix_len,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: if gateway.is_some() { RouteScope::Universe } else { RouteScope::Link },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    if prefix_len > 0 {
        message.attributes.push(RouteAttribute::Destination(route_address(destination)));
    }
    message.attributes.extend(gateway.map(|g| RouteAttribute::Gateway(route_address(g))));
    message
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}
