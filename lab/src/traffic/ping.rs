//! Sends ICMP echo requests (RFC 792) and ICMPv6 echo requests (RFC 4443), as `ping` does.

use crate::{LabError, Namespace, PATIENCE};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use packet::wire::icmp::{HEADER_SIZE, field};
use packet::wire::{IcmpPacket, Ipv4Packet, icmp_type, icmpv6_type};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// A series of echo requests. Each is sent when the one before was answered or given up.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    /// The address to which the requests are sent.
    pub target: IpAddr,
    /// How many requests are sent.
    pub count: u16,
    /// The size of each request behind its ICMP header, in bytes.
    pub payload_size: usize,
    /// How long to wait for each answer before the request is given up.
    pub patience: Duration,
}

/// The result of a [`Ping`].
#[derive(Clone, Debug, Default)]
pub struct PingReport {
    /// How many requests were sent.
    pub sent: u16,
    /// The round trip time of each request that was answered, in order.
    pub round_trips: Vec<Duration>,
}

impl PingReport {
    /// How many requests were answered.
    pub fn received(&self) -> u16 {
        self.round_trips.len() as u16
    }

    /// Whether every request was answered.
    pub fn is_complete(&self) -> bool {
        self.received() == self.sent
    }

    /// The shortest round trip time; `None` if no request was answered.
    pub fn best(&self) -> Option<Duration> {
        self.round_trips.iter().min().copied()
    }
}

impl Ping {
    /// Three requests of 56 bytes, each with [`PATIENCE`] for its answer.
    pub fn to(target: impl Into<IpAddr>) -> Self {
        Self { target: target.into(), count: 3, payload_size: 56, patience: PATIENCE }
    }

    /// One request that is given up after 300 ms, for tests that expect no answer, and for loops that end with
    /// the first answer.
    pub fn brief(target: impl Into<IpAddr>) -> Self {
        Self { count: 1, patience: Duration::from_millis(300), ..Self::to(target) }
    }

    /// The same series with `bytes` bytes behind each ICMP header.
    pub fn with_payload(self, bytes: usize) -> Self {
        Self { payload_size: bytes, ..self }
    }

    /// Sends the requests from `namespace`. A request without an answer is no error.
    ///
    /// # Errors
    /// There is no route to the target, or the process lacks `CAP_NET_RAW`.
    pub fn run(&self, namespace: &Namespace) -> Result<PingReport, LabError> {
        let failed = || LabError::os("ping", self.target.to_string());
        let socket = namespace.run(|| self.open())?.map_err(failed())?;
        let identifier = std::process::id() as u16;
        let mut report = PingReport::default();
        for sequence in 0..self.count {
            let request = self.request(identifier, sequence);
            report.sent += 1;
            let start = Instant::now();
            match socket.send(&request) {
                // An earlier request has told the kernel that the target cannot be reached.
                Err(e) if is_unreachable(&e) => continue,
                sent => sent.map_err(failed())?,
            };
            if self.wait(&socket, &request, start).map_err(failed())? {
                report.round_trips.push(start.elapsed());
            }
        }
        Ok(report)
    }

    /// Opens a raw socket that receives from the target only. The type is `UdpSocket` for its methods `send`
    /// and `recv`; the socket is no UDP socket.
    fn open(&self) -> io::Result<UdpSocket> {
        let (family, protocol) = match self.target {
            IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
            IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        let socket = UdpSocket::from(fd);
        socket.connect(SocketAddr::new(self.target, 0))?;
        Ok(socket)
    }

    fn request(&self, identifier: u16, sequence: u16) -> Vec<u8> {
        let kind = match self.target {
            IpAddr::V4(_) => icmp_type::ECHO_REQUEST,
            IpAddr::V6(_) => icmpv6_type::ECHO_REQUEST,
        };
        let mut bytes = vec![0; HEADER_SIZE];
        bytes.extend((0..self.payload_size).map(|i| i as u8));
        // ICMPv6 echo requests have the same header fields as those of ICMP.
        let mut message = IcmpPacket::new_unchecked(&mut bytes);
        message.set_icmp_type(kind);
        message.set_identifier(identifier);
        message.set_sequence(sequence);
        if self.target.is_ipv4() {
            // The checksum of ICMPv6 covers the addresses, and the kernel computes it when
            // it has chosen the source.
            message.fill_checksum();
        }
        bytes
    }

    /// Waits for the answer to `request`, which has the same identifier, sequence number and contents; `false`
    /// if there was none in time.
    fn wait(&self, socket: &UdpSocket, request: &[u8], start: Instant) -> io::Result<bool> {
        let mut buf = vec![0; 66_000];
        loop {
            let left = self.patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(false);
            }
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut buf) {
                Ok(size) if self.answers(&buf[..size], request) => return Ok(true),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock || is_unreachable(&e) => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn answers(&self, received: &[u8], request: &[u8]) -> bool {
        let (message, reply) = match self.target {
            // A raw IPv4 socket delivers the packet with its IP header (raw(7)), a raw IPv6 socket without.
            IpAddr::V4(_) => {
                let ip = Ipv4Packet::new_checked(received);
                (ip.map_or(&[][..], |ip| ip.payload()), icmp_type::ECHO_REPLY)
            }
            IpAddr::V6(_) => (received, icmpv6_type::ECHO_REPLY),
        };
        let from_identifier = field::IDENTIFIER.start..;
        IcmpPacket::new_checked(message).is_ok_and(|message| message.icmp_type() == reply)
            && message[from_identifier.clone()] == request[from_identifier]
    }
}

fn is_unreachable(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn a_request_sums_to_zero() {
        let request = Ping::to(Ipv4Addr::LOCALHOST).with_payload(3).request(0x1234, 1);
        assert_eq!(request[..2], [8, 0]);
        assert_eq!(request[4..], [0x12, 0x34, 0, 1, 0, 1, 2]);
        assert_eq!(packet::checksum::sum(&request), 0xffff);
    }

    #[test]
    fn only_the_same_echo_is_an_answer() {
        let ping = Ping::to(Ipv6Addr::LOCALHOST).with_payload(2);
        let request = ping.request(7, 3);
        let mut reply = request.clone();
        assert!(!ping.answers(&reply, &request), "the request itself, seen on loopback");
        reply[0] = 129;
        assert!(ping.answers(&reply, &request));
        reply[9] ^= 1;
        assert!(!ping.answers(&reply, &request), "contents changed on the way");
        assert!(!ping.answers(&[], &request));
    }
}
