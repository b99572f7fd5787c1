//! IP addresses of devices: what tells whether a port is in use by the host itself.

use super::{Netlink, NetlinkError};
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
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
}
