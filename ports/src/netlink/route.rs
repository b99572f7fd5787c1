//! Looks up routes.

use super::{Netlink, NetlinkError};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::IpAddr;

/// Where packets go that the host sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The interface number of the device through which the packets leave; `None` if the kernel names none.
    pub device: Option<u32>,
    /// Whether the destination is an address of the host itself.
    pub is_local: bool,
}

impl Netlink {
    /// The route of packets to `destination` from the address `source`, or one that the host chooses, with the mark `mark`.
    ///
    /// # Errors
    /// There is no route.
    pub fn route(
        &mut self,
        destination: IpAddr,
        source: Option<IpAddr>,
        mark: u32,
    ) -> Result<Route, NetlinkError> {
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
        let mut found = Route::default();
        let operation = || format!("look up the route to {destination}");
        self.exchange(operation, RouteNetlinkMessage::GetRoute(message), 0, |answer| {
            if let RouteNetlinkMessage::NewRoute(route) = answer {
                found.is_local = route.header.kind == RouteType::Local;
                found.device = route.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                });
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
