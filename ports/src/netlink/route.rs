//! Looks up routes.

use super::{Netlink, NetlinkError};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use packet::wire::ip_proto;
use std::net::IpAddr;

/// What decides about the way of packets that the host sends, besides the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sender {
    /// The address that they are sent from; `None` leaves the choice to the host.
    pub source: Option<IpAddr>,
    /// The mark; 0 is none.
    pub mark: u32,
    /// The UDP port that they are sent to; 0 if they are not of UDP.
    pub udp_port: u16,
}

/// Where packets go that the host sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The interface number of the device through which the packets leave; `None` if the kernel names none.
    pub device: Option<u32>,
    /// The router that the device sends the packets to; `None` if it sends them to the destination itself.
    pub gateway: Option<IpAddr>,
    /// The address that the host chooses for packets; `None` if the kernel names none.
    pub source: Option<IpAddr>,
    /// Whether the destination is an address of the host itself.
    pub is_local: bool,
}

impl Netlink {
    /// The route of packets to `destination`.
    ///
    /// # Errors
    /// There is no route.
    pub fn route(&mut self, destination: IpAddr, sender: Sender) -> Result<Route, NetlinkError> {
        let Sender { source, mark, udp_port } = sender;
        let (address_family, size) = match destination {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family,
            destination_prefix_length: size,
            source_prefix_length: if source.is_some() { size } else { 0 },
            ..RouteHeader::default()
        };
        message.attributes.push(RouteAttribute::Destination(route_address(destination)));
        message.attributes.extend(source.map(|ip| RouteAttribute::Source(route_address(ip))));
        if mark != 0 {
            message.attributes.push(RouteAttribute::Mark(mark));
        }
        if udp_port != 0 {
            message.attributes.push(RouteAttribute::IpProto(ip_proto::UDP));
            message.attributes.push(RouteAttribute::Dport(udp_port));
        }
        let mut found = Route::default();
        let operation = || format!("look up the route to {destination}");
        self.exchange(operation, RouteNetlinkMessage::GetRoute(message), 0, |answer| {
            if let RouteNetlinkMessage::NewRoute(route) = answer {
                found.is_local = route.header.kind == RouteType::Local;
                for attribute in &route.attributes {
                    match attribute {
                        RouteAttribute::Oif(index) => found.device = Some(*index),
                        RouteAttribute::PrefSource(source) => found.source = address(source),
                        RouteAttribute::Gateway(gateway) => found.gateway = address(gateway),
                        RouteAttribute::Via(RouteVia::Inet6(gateway)) => {
                            found.gateway = Some((*gateway).into());
                        }
                        _ => {}
                    }
                }
            }
        })?;
        Ok(found)
    }
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
