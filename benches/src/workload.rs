//! What the null ports receive: which flow each frame belongs to, and the frame.

use packet::Offload;
use packet::wire::{
    ArpPacket, Field, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket, arp, eth_type, ethernet,
    ip_proto, ipv4, ipv6, tcp, udp,
};
use std::net::Ipv6Addr;

/// A 5-tuple. IPv6 addresses are made of the IPv4 ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// IPv4 source address, in host order.
    pub src: u32,
    /// IPv4 destination address, in host order.
    pub dst: u32,
    /// Source port, in host order.
    pub sport: u16,
    /// Destination port, in host order.
    pub dport: u16,
    /// Number of the protocol: 6 for TCP, 17 for UDP.
    pub proto: u8,
}

impl Tuple {
    /// The UDP flow with this number: all of them differ, and the destination ports are 5000 to 5015.
    #[inline]
    pub fn numbered(n: u32) -> Self {
        let spread = n.wrapping_mul(0x9e37_79b1);
        Self {
            src: 0x0a00_0000 | n,
            dst: 0x0b00_0000 | spread >> 16,
            sport: 1024 + (spread >> 20) as u16,
            dport: 5000 + (n & 15) as u16,
            proto: ip_proto::UDP,
        }
    }
}

/// In which order flows have frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One frame of each flow in turn, the worst case of every cache.
    Rotation,
    /// Each frame is of any flow, all with equal chances.
    Random,
}

/// An endless sequence of flows.
#[derive(Clone, Debug)]
pub struct Workload {
    flows: Flows,
    order: Order,
    next: u32,
    rng: SplitMix,
}

#[derive(Clone, Debug)]
enum Flows {
    Numbered(u32),
    Listed(Vec<Tuple>),
}

impl Workload {
    /// `count` UDP flows, [numbered](Tuple::numbered).
    pub fn numbered(count: u32, order: Order) -> Self {
        Self { flows: Flows::Numbered(count), order, next: 0, rng: SplitMix(1) }
    }

    /// These flows, again and again in their order.
    pub fn listed(flows: Vec<Tuple>) -> Self {
        Self { flows: Flows::Listed(flows), order: Order::Rotation, next: 0, rng: SplitMix(1) }
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        match &self.flows {
            Flows::Numbered(n) => *n as usize,
            Flows::Listed(list) => list.len(),
        }
    }

    /// There are no flows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The flow of the next frame.
    #[inline]
    pub fn next_flow(&mut self) -> Tuple {
        let n = match self.order {
            Order::Rotation => {
                let n = self.next;
                self.next = if n as usize + 1 >= self.len() { 0 } else { n + 1 };
                n
            }
            Order::Random => (((self.rng.next() >> 32) * self.len() as u64) >> 32) as u32,
        };
        match &self.flows {
            Flows::Numbered(_) => Tuple::numbered(n),
            Flows::Listed(list) => list[n as usize],
        }
    }
}

/// A small generator of numbers that look random (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next number of the sequence, of 64 bits.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// The kind of frame that a flow has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// UDP or TCP over IPv4: 60 bytes, 64 with the frame check sequence.
    V4,
    /// UDP or TCP over IPv6: 62 bytes.
    V6,
    /// ARP requests of the flow's source for its destination: 60 bytes. Ports and protocol of
    /// a flow do not show.
    Arp,
    /// The IPv4 frame behind a label: 64 bytes.
    Mpls,
    /// UDP or TCP over IPv4, 60 bytes, whose IPv4 checksum is right, as connection tracking wants it. UDP has
    /// no checksum, and TCP is a SYN whose checksum its sender has left to the device.
    Tracked,
}

/// Destination and source of the frames unless something else writes them.
pub const MACS: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

/// EtherType and an entry at the bottom of the stack: label 16, TTL 64.
const LABEL: [u8; 6] = [0x88, 0x47, 0x00, 0x01, 0x01, 64];

/// Where the network header begins, without label.
const L3: usize = ethernet::HEADER_SIZE;

/// 2001:db8::, to whose end the addresses of flows are added.
const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);

/// A frame without its addresses, ports and protocol. Checksums are zero: nothing looks at them.
pub fn template(family: Family) -> Vec<u8> {
    let mut frame = MACS.to_vec();
    match family {
        Family::V4 | Family::Tracked => {
            frame.extend(eth_type::IPV4.to_be_bytes());
            frame.resize(60, 0);
            let size = frame.len() - L3;
            let mut ip = Ipv4Packet::new_unchecked(&mut frame[L3..]);
            ip.set_version_and_header_size(ipv4::HEADER_SIZE);
            ip.set_total_size(size as u16);
            ip.set_flags_and_offset(ipv4::DONT_FRAGMENT);
            ip.set_ttl(64);
            let mut udp = UdpPacket::new_unchecked(&mut frame[L3 + ipv4::HEADER_SIZE..]);
            udp.set_size((size - ipv4::HEADER_SIZE) as u16);
        }
        Family::V6 => {
            frame.extend(eth_type::IPV6.to_be_bytes());
            frame.resize(62, 0);
            let mut ip = Ipv6Packet::new_unchecked(&mut frame[L3..]);
            ip.set_version_class_label(0, 0);
            ip.set_payload_size(udp::HEADER_SIZE as u16);
            ip.set_hop_limit(64);
            ip.set_src_addr(PREFIX);
            ip.set_dst_addr(PREFIX);
            let mut udp = UdpPacket::new_unchecked(&mut frame[L3 + ipv6::HEADER_SIZE..]);
            udp.set_size(udp::HEADER_SIZE as u16);
        }
        Family::Arp => {
            frame.extend(eth_type::ARP.to_be_bytes());
            frame.resize(60, 0);
            let mut arp = ArpPacket::new_unchecked(&mut frame[L3..]);
            arp.set_ethernet_ipv4();
            arp.set_operation(arp::REQUEST);
            arp.set_sender_hardware([2, 0, 0, 0, 0, 1]);
        }
        Family::Mpls => {
            frame.extend(LABEL);
            frame.extend(&template(Family::V4)[L3..]);
        }
    }
    frame
}

/// Makes a frame that was a [`template`] one of this flow.
#[inline]
pub fn write_flow(frame: &mut [u8; 62], family: Family, flow: &Tuple) {
    match family {
        Family::V4 => write_ipv4(&mut frame[L3..], flow),
        Family::Tracked => {
            write_ipv4(&mut frame[L3..], flow);
            Ipv4Packet::new_unchecked(&mut frame[L3..]).fill_checksum();
            if flow.proto == ip_proto::TCP {
                let mut syn = TcpPacket::new_unchecked(&mut frame[L3 + ipv4::HEADER_SIZE..]);
                syn.set_header_size(tcp::HEADER_SIZE);
                syn.set_flags(tcp::flag::SYN);
            }
        }
        Family::V6 => {
            let mut ip = Ipv6Packet::new_unchecked(&mut frame[L3..]);
            ip.set_next_header(flow.proto);
            let end = |field: Field| L3 + field.end - 4..L3 + field.end;
            frame[end(ipv6::field::SRC_ADDR)].copy_from_slice(&flow.src.to_be_bytes());
            frame[end(ipv6::field::DST_ADDR)].copy_from_slice(&flow.dst.to_be_bytes());
            write_ports(&mut frame[L3 + ipv6::HEADER_SIZE..], flow);
        }
        Family::Arp => {
            let mut arp = ArpPacket::new_unchecked(&mut frame[L3..]);
            arp.set_sender_protocol(flow.src.into());
            arp.set_target_protocol(flow.dst.into());
        }
        Family::Mpls => {
            // Popping the label has moved the addresses over it.
            frame[MACS.len()..][..LABEL.len()].copy_from_slice(&LABEL);
            write_ipv4(&mut frame[MACS.len() + LABEL.len()..], flow);
        }
    }
}

/// What the sender of a frame of this flow leaves to the device.
#[inline]
pub fn offload(family: Family, flow: &Tuple) -> Offload {
    let mut offload = Offload::NONE;
    if family == Family::Tracked && flow.proto == ip_proto::TCP {
        let start = L3 + ipv4::HEADER_SIZE;
        offload.set_needs_checksum(start as u16, tcp::field::CHECKSUM.start as u16);
    }
    offload
}

#[inline]
fn write_ipv4(packet: &mut [u8], flow: &Tuple) {
    let mut ip = Ipv4Packet::new_unchecked(&mut *packet);
    ip.set_protocol(flow.proto);
    ip.set_src_addr(flow.src.into());
    ip.set_dst_addr(flow.dst.into());
    write_ports(&mut packet[ipv4::HEADER_SIZE..], flow);
}

/// TCP and UDP begin with the ports.
#[inline]
fn write_ports(transport: &mut [u8], flow: &Tuple) {
    let mut udp = UdpPacket::new_unchecked(transport);
    udp.set_src_port(flow.sport);
    udp.set_dst_port(flow.dport);
}
