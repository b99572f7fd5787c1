//! Control packets of BFD that come through tunnels. They are for the switch itself, so that the pipeline never
//! sees them, as in Open vSwitch.

use crossbeam::channel::{self, Receiver, Sender};
use packet::wire::bfd::{TTL, UDP_PORT};
use packet::wire::{EthernetFrame, Ipv4Packet, UdpPacket, eth_type, ethernet, ip_proto, udp};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Packets that wait for whoever runs the sessions, at most. More are lost, as they may be on the way.
const WAITING: usize = 4096;

/// A control packet that came through a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdReceived {
    /// The number that the switch has given the tunnel port.
    pub port: u16,
    /// The payload of the UDP datagram.
    pub packet: Vec<u8>,
}

/// Where all tunnel ports put the packets.
#[derive(Debug)]
pub(crate) struct BfdInbox {
    sender: Sender<BfdReceived>,
}

impl BfdInbox {
    pub(crate) fn new() -> (Arc<Self>, Receiver<BfdReceived>) {
        let (sender, receiver) = channel::bounded(WAITING);
        (Arc::new(Self { sender }), receiver)
    }
}

/// Which control packets a tunnel port takes out of the frames that it receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BfdFilter {
    /// Where their frames go; `None` takes those to every address.
    pub destination: Option<[u8; 6]>,
    /// Whether only those are taken whose tunnel has the key 0.
    pub wants_no_key: bool,
}

/// Whether a tunnel port takes control packets out of the frames that it receives.
#[derive(Debug)]
pub struct BfdTap {
    is_open: AtomicBool,
    filter: Mutex<BfdFilter>,
    inbox: Arc<BfdInbox>,
}

impl BfdTap {
    pub(crate) fn new(inbox: Arc<BfdInbox>) -> Arc<Self> {
        Arc::new(Self { is_open: AtomicBool::new(false), filter: Mutex::default(), inbox })
    }

    /// Opens the tap for the control packets that a filter names, or closes it. Others
    /// are frames as all others.
    pub fn set(&self, filter: Option<BfdFilter>) {
        *self.filter.lock().unwrap_or_else(PoisonError::into_inner) = filter.unwrap_or_default();
        self.is_open.store(filter.is_some(), Ordering::Relaxed);
    }

    /// Takes a frame that came for port number `port` with the key `key`, if it is a control packet and the tap
    /// is open for it.
    #[inline]
    pub(crate) fn takes(&self, port: u16, key: u64, frame: &[u8]) -> bool {
        self.is_open.load(Ordering::Relaxed) && self.take(port, key, frame)
    }

    #[cold]
    fn take(&self, port: u16, key: u64, frame: &[u8]) -> bool {
        let Some(packet) = bfd_packet(frame) else { return false };
        let filter = *self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = filter.destination.is_none_or(|mac| frame.starts_with(&mac));
        if !is_ours || filter.wants_no_key && key != 0 {
            return false;
        }
        // A packet for which there is no room is lost.
        let _ = self.inbox.sender.try_send(BfdReceived { port, packet: packet.to_vec() });
        true
    }
}

/// The control packet in an Ethernet frame; `None` if the frame has none, or came from farther than one hop
/// (RFC 5881 §5).
pub fn bfd_packet(frame: &[u8]) -> Option<&[u8]> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != eth_type::IPV4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(&frame[ethernet::HEADER_SIZE..]).ok()?;
    if ip.protocol() != ip_proto::UDP || ip.ttl() != TTL || ip.is_fragment() {
        return None;
    }
    let datagram = UdpPacket::new_checked(ip.payload()).ok()?;
    let payload = ip.payload().get(udp::HEADER_SIZE..usize::from(datagram.size()));
    payload.filter(|_| datagram.dst_port() == UDP_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const FRAME: [u8; 46] = [
        0, 0x23, 0x20, 0, 0, 1, 2, 0, 0, 0, 0, 1, 8, 0,
        0x45, 0xc0, 0, 32, 0, 0, 0, 0, 255, 17, 0, 0, 169, 254, 1, 1, 169, 254, 1, 0,
        0xc0, 0, 0x0e, 0xc8, 0, 12, 0, 0, 1, 2, 3, 4,
    ];

    #[test]
    fn control_packets_are_taken_while_the_tap_is_open() {
        let (inbox, received) = BfdInbox::new();
        let tap = BfdTap::new(inbox);
        assert!(!tap.takes(7, 0, &FRAME));
        tap.set(Some(BfdFilter { destination: Some([2; 6]), wants_no_key: false }));
        assert!(!tap.takes(7, 0, &FRAME), "it goes to another address");
        tap.set(Some(BfdFilter { destination: None, wants_no_key: true }));
        assert!(!tap.takes(7, 5, &FRAME), "it has a key");
        assert!(tap.takes(7, 0, &FRAME));
        assert_eq!(received.try_recv(), Ok(BfdReceived { port: 7, packet: vec![1, 2, 3, 4] }));
    }

    #[test]
    fn other_frames_are_left_to_the_pipeline() {
        let is_taken = |at: usize, byte: u8| {
            let mut frame = FRAME;
            frame[at] = byte;
            bfd_packet(&frame).is_some()
        };
        assert!(is_taken(0, 0), "whatever its address");
        assert!(!is_taken(12, 0x86), "another EtherType");
        assert!(!is_taken(22, 254), "from farther than one hop");
        assert!(!is_taken(23, 6), "TCP");
        assert!(!is_taken(20, 0x20), "a fragment");
        assert!(!is_taken(37, 0xc9), "another UDP port");
        for size in 0..FRAME.len() {
            assert_eq!(bfd_packet(&FRAME[..size]), None, "{size} bytes");
        }
    }
}
