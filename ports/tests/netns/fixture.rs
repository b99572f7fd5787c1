//! What several of these tests begin with.

pub(crate) use lab::open_port as open;
use lab::{Host, HostPlan, Netlink};
use std::net::IpAddr;

/// A routing socket in the namespace of the test.
pub(crate) fn netlink() -> Netlink {
    Netlink::open().expect("a routing socket")
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Host `10.0.0.NUMBER` at the other end of the device `port`, which is left down as nobody uses it.
pub(crate) fn host(port: &str, number: u8) -> anyhow::Result<Host> {
    let host = Host::on_veth(HostPlan::number(number), port)?;
    let mut netlink = netlink();
    let index = netlink.link(port)?.index;
    netlink.set_up(index, false)?;
    Ok(host)
}

/// An Ethernet frame of a type nobody answers, with `size` bytes.
pub(crate) fn experimental(destination: [u8; 6], size: usize) -> Vec<u8> {
    let mut bytes = destination.to_vec();
    bytes.extend([2, 0, 0, 0, 0, 99]);
    bytes.extend(lab::EXPERIMENTAL.to_be_bytes());
    bytes.resize(size, 0x5a);
    bytes
}
