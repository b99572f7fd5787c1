//! IP addresses of devices: what tells whether a port is in use by the host itself.

use super::{Netlink, NetlinkError};
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::IpAddr;

impl Netlink {
    /// The addresses of a device, with the size of their prefixes.
    ///
    /// # Errors
    /// The kernel refused to tell.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<(IpAddr, u8)>, NetlinkError> {
        let mut found = Vec::new();
        let mut message = AddressMessage::default();
        message.header.index = index;
        self.exchange(
            || "list addresses".to_owned(),
            RouteNetlinkMessage::GetAddress(message),
            NLM_F_DUMP,
            |m| {
                let RouteNetlinkMessage::NewAddress(m) = m else { return };
                if m.header.index != index {
                    return;
                }
                let local = m.attributes.iter().find_map(|a| match a {
                    AddressAttribute::Local(ip) => Some(*ip),
                    _ => None,
                });
                // IPv6 has no "local" attribute unless the link is point to point.
                let address = local.or_else(|| {
                    m.attributes.iter().find_map(|a| match a {
                        AddressAttribute::Address(ip) => Some(*ip),
                        _ => None,
                    })
                });
                found.extend(address.map(|ip| (ip, m.header.prefix_len)));
            },
        )?;
        Ok(found)
    }

    /// Takes an address away from a device.
    ///
    /// # Errors
    /// The device has no such address, or the privilege is missing.
    pub(crate) fn remove_address(
        &mut self,
        index: u32,
        ip: IpAddr,
        prefix_size: u8,
    ) -> Result<(), NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = prefix_size;
        message.header.family = match ip {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.attributes.push(AddressAttribute::Local(ip));
        self.request(
            || format!("remove the address {ip}/{prefix_size} of interface {index}"),
            RouteNetlinkMessage::DelAddress(message),
            0,
        )
    }
}
