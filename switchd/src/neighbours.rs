//! Which Ethernet address has an IP address, and which IP addresses a device has, as far as the machine that
//! the switch runs on knows.

use flow::text::parse_mac;
use flow::types::MacAddr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The Ethernet address of an IP address: of an IPv4 address from the neighbour table of the kernel, of an IPv6
/// address if it was made of one (RFC 4291 appendix A). `None` if neither tells.
pub(crate) fn mac_of(ip: IpAddr) -> Option<MacAddr> {
    match ip {
        IpAddr::V4(ip) => in_table(&std::fs::read_to_string("/proc/net/arp").ok()?, ip),
        IpAddr::V6(ip) => within(ip),
    }
}

/// Looks an address up in a table of the form of `/proc/net/arp`: address, type, flags, Ethernet address, mask
/// and device. An address that was asked for and did not answer has zeros there.
fn in_table(table: &str, ip: Ipv4Addr) -> Option<MacAddr> {
    let ip = ip.to_string();
    let row = table.lines().find(|row| row.split_whitespace().next() == Some(&ip))?;
    parse_mac(row.split_whitespace().nth(3)?).filter(|mac| mac.0 != [0; 6])
}

/// The Ethernet address that an IPv6 address was made of.
fn within(ip: Ipv6Addr) -> Option<MacAddr> {
    match ip.octets()[8..] {
        [a, b, c, 0xff, 0xfe, d, e, f] => Some(MacAddr([a ^ 2, b, c, d, e, f])),
        _ => None,
    }
}

/// Whether a device of the machine has an IP address. False as well if the kernel does not tell.
pub(crate) fn has_address(device: &str, ip: IpAddr) -> bool {
    let Ok(addresses) = nix::ifaddrs::getifaddrs() else { return false };
    let of_device = addresses.filter(|address| address.interface_name == device);
    let ips = of_device.filter_map(|found| {
        let address = found.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    ips.into_iter().any(|found| found == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    #[test]
    fn the_neighbour_table_is_read() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.0.0.1         0x1         0x2         02:00:00:00:00:01     *        sw0\n\
                     10.0.0.10        0x1         0x0         00:00:00:00:00:00     *        sw0\n";
        assert_eq!(in_table(table, Ipv4Addr::new(10, 0, 0, 1)), Some(HOST));
        assert_eq!(in_table(table, Ipv4Addr::new(10, 0, 0, 10)), None, "it did not answer");
        assert_eq!(in_table(table, Ipv4Addr::new(10, 0, 0, 2)), None);
    }

    #[test]
    fn an_ipv6_address_can_tell_the_ethernet_address() {
        assert_eq!(within("fe80::ff:fe00:1".parse().unwrap()), Some(HOST));
        assert_eq!(within("fe80::1".parse().unwrap()), None);
    }
}
