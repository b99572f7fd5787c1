//! The frames in which control packets of BFD go through a tunnel, as Open vSwitch makes and takes them: UDP
//! over IPv4 between link-local addresses (RFC 5881 over the tunnel as a link).

use flow::types::MacAddr;
use packet::checksum::{nonzero, pseudo_header, sum};
use packet::wire::bfd::{SIZE, TTL, UDP_PORT};
use packet::wire::{EthernetFrame, Ipv4Packet, UdpPacket, eth_type, ethernet, ip_proto, ipv4, udp};
use std::net::Ipv4Addr;

/// The frames of a session. The options are those of Open vSwitch's column `bfd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BfdFrames {
    /// Where packets come from in the inner IP header (`bfd_src_ip`).
    pub source: Ipv4Addr,
    /// Where packets go in the inner IP header (`bfd_dst_ip`).
    pub destination: Ipv4Addr,
    /// Where frames come from (`bfd_local_src_mac`); `None` is the address of the port.
    pub source_mac: Option<MacAddr>,
    /// Where frames go (`bfd_remote_dst_mac`).
    pub destination_mac: MacAddr,
    /// Where frames that are taken go (`bfd_local_dst_mac`); `None` takes those to every address.
    pub own_mac: Option<MacAddr>,
    /// Whether only frames whose tunnel has the key 0 are taken (`check_tnl_key`).
    pub wants_no_key: bool,
    /// Whether the tunnel's header says that a frame is a control packet (`oam`), which Geneve can.
    pub is_oam: bool,
}

impl Default for BfdFrames {
    fn default() -> Self {
        Self {
            source: Ipv4Addr::new(169, 254, 1, 1),
            destination: Ipv4Addr::new(169, 254, 1, 0),
            source_mac: None,
            destination_mac: MacAddr([0x00, 0x23, 0x20, 0x00, 0x00, 0x01]),
            own_mac: None,
            wants_no_key: false,
            is_oam: false,
        }
    }
}

/// The DSCP of network control (RFC 2474), as TOS.
const TOS: u8 = 0xc0;
/// The first UDP port that control packets may come from (RFC 5881 §4).
const FIRST_PORT: u16 = 49152;

const IP: usize = ethernet::HEADER_SIZE;
const UDP: usize = IP + ipv4::HEADER_SIZE;
const PAYLOAD: usize = UDP + udp::HEADER_SIZE;

/// The frame with a control packet of the session with this number, from a port with the address `mac`.
pub(super) fn compose(
    frames: &BfdFrames,
    mac: [u8; 6],
    discriminator: u32,
    packet: &[u8; SIZE],
) -> Vec<u8> {
    let BfdFrames { source, destination, source_mac, destination_mac, .. } = *frames;
    let mut frame = vec![0; PAYLOAD + SIZE];
    frame[PAYLOAD..].copy_from_slice(packet);
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
    ethernet.set_dst_addr(destination_mac.0);
    ethernet.set_src_addr(source_mac.map_or(mac, |mac| mac.0));
    ethernet.set_ethertype(eth_type::IPV4);
    let mut ip = Ipv4Packet::new_unchecked(&mut frame[IP..]);
    ip.set_version_and_header_size(ipv4::HEADER_SIZE);
    ip.set_tos(TOS);
    ip.set_total_size((PAYLOAD + SIZE - IP) as u16);
    ip.set_ttl(TTL);
    ip.set_protocol(ip_proto::UDP);
    ip.set_src_addr(source);
    ip.set_dst_addr(destination);
    ip.fill_checksum();
    let size = (udp::HEADER_SIZE + SIZE) as u16;
    let mut datagram = UdpPacket::new_unchecked(&mut frame[UDP..]);
    // All packets of a session come from one port.
    datagram.set_src_port(FIRST_PORT + (discriminator % u32::from(u16::MAX - FIRST_PORT)) as u16);
    datagram.set_dst_port(UDP_PORT);
    datagram.set_size(size);
    datagram.set_checksum(0);
    let pseudo = pseudo_header(&source.octets(), &destination.octets(), ip_proto::UDP, size.into());
    let checksum = nonzero(!packet::checksum::add(pseudo, sum(&frame[UDP..])));
    UdpPacket::new_unchecked(&mut frame[UDP..]).set_checksum(checksum);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use ports::tunnel::bfd_packet;

    #[test]
    fn a_frame_is_one_that_a_tunnel_port_takes_for_bfd() {
        let packet = [7; SIZE];
        let frame = compose(&BfdFrames::default(), [2, 0, 0, 0, 0, 1], 5, &packet);
        assert_eq!(frame.len(), 66);
        assert_eq!(frame[..14], [0, 0x23, 0x20, 0, 0, 1, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(bfd_packet(&frame), Some(&packet[..]));
        assert_eq!(sum(&frame[IP..UDP]), 0xffff, "the checksum of the IP header");
        let pseudo = pseudo_header(&frame[IP + 12..IP + 16], &frame[IP + 16..UDP], 17, 32);
        assert_eq!(packet::checksum::add(pseudo, sum(&frame[UDP..])), 0xffff);
    }
}
