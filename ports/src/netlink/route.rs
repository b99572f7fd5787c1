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
    /// The address that the host chooses for packets; `None` if the kernel names none.
    pub source: Option<IpAddr>,
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
                for attribute in &route.attributes {
                    match attribute {
                        RouteAttribute::Oif(index) => found.device = Some(*index),
                        RouteAttribute::PrefSource(RouteAddress::Inet(source)) => {
                            found.source = Some((*source).into());
                        }
                        RouteAttribute::PrefSource(RouteAddress::Inet6(source)) => {
                            found.source = Some((*source).into());
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
