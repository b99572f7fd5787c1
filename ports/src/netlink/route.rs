//! Looks up routes.

use super::{Netlink, NetlinkError};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::IpAddr;

impl Netlink {
    /// The interface number of the device through which packets to `destination` leave; `None` if the kernel names none.
    ///
    /// # Errors
    /// There is no route.
    pub fn route_device(&mut self, destination: IpAddr) -> Result<Option<u32>, NetlinkError> {
        let (address_family, size, address) = match destination {
            IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
            IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
        };
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family,
            destination_prefix_length: size,
            ..RouteHeader::default()
        };
        message.attributes.push(RouteAttribute::Destination(address));
        let mut device = None;
        let operation = || format!("look up the route to {destination}");
        self.exchange(operation, RouteNetlinkMessage::GetRoute(message), 0, |answer| {
            if let RouteNetlinkMessage::NewRoute(route) = answer {
                device = route.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                });
            }
        })?;
        Ok(device)
    }
}
