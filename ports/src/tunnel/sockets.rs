//! Opens the sockets of an endpoint.

use super::target::TunnelKind;
use crate::sys::datagram::{bind, option, set_option, socket};
use crate::sys::packet::refuse_all;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes of datagrams that may wait at a receiving socket. The kernel's default has
/// room for three large frames.
const RECEIVE_BUFFER: libc::c_int = 8 << 20;
/// Bytes of datagrams that may wait at a sending socket.
const SEND_BUFFER: libc::c_int = 4 << 20;
/// TTL or hop limit of what is sent, unless a frame has another one.
pub(super) const DEFAULT_TTL: u8 = 64;

/// What sockets have in common that send alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SendSettings {
    pub(super) kind: TunnelKind,
    pub(super) is_v6: bool,
    pub(super) dont_fragment: bool,
    /// Whether UDP headers have a checksum.
    pub(super) has_checksum: bool,
    /// The number of sockets.
    pub(super) count: u8,
}

/// The address that stands for every address.
pub(super) fn any(is_v6: bool) -> IpAddr {
    if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// Opens a socket that receives what comes for `udp_port`. With `shares`, several sockets share what comes.
///
/// # Errors
/// The port is taken (`AddrInUse`), or the kernel refuses the socket.
pub(super) fn receiving(
    kind: TunnelKind,
    is_v6: bool,
    udp_port: u16,
    shares: bool,
) -> io::Result<OwnedFd> {
    let socket = open(kind, is_v6)?;
    let fd = socket.as_fd();
    let told = match is_v6 {
        false => [
            (libc::IPPROTO_IP, libc::IP_PKTINFO),
            (libc::IPPROTO_IP, libc::IP_RECVTOS),
            (libc::IPPROTO_IP, libc::IP_RECVTTL),
        ],
        true => [
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
        ],
    };
    for (level, name) in told {
        set_option(fd, level, name, 1)?;
    }
    set_option(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    large_buffer(fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER)?;
    if kind.is_over_udp() {
        if shares {
            set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        // Without it, each datagram has a buffer of its own, which only takes longer.
        let _ = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
        if is_v6 {
            // Otherwise the kernel drops datagrams without checksum, and tells nobody.
            set_option(fd, libc::SOL_UDP, libc::UDP_NO_CHECK6_RX, 1)?;
        }
        bind(fd, SocketAddr::new(any(is_v6), udp_port))?;
    }
    Ok(socket)
}

/// Opens the sockets that send with these settings. They receive nothing.
///
/// # Errors
/// No descriptor or no UDP port is left, or the kernel refuses the sockets.
pub(super) fn sending(settings: SendSettings) -> io::Result<Vec<OwnedFd>> {
    let count = if settings.kind.is_over_udp() { settings.count.max(1) } else { 1 };
    (0..count).map(|_| sending_one(settings)).collect()
}

fn sending_one(settings: SendSettings) -> io::Result<OwnedFd> {
    let SendSettings { kind, is_v6, dont_fragment, has_checksum, .. } = settings;
    let socket = open(kind, is_v6)?;
    let fd = socket.as_fd();
    refuse_all(fd)?;
    large_buffer(fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER)?;
    let ttl = libc::c_int::from(DEFAULT_TTL);
    // `IP_RECVERR` stays off: with it, errors of earlier datagrams to other remotes would be
    // returned by the next send.
    if is_v6 {
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, ttl)?;
        let discover =
            if dont_fragment { libc::IPV6_PMTUDISC_DO } else { libc::IPV6_PMTUDISC_WANT };
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, discover)?;
    } else {
        set_option(fd, libc::IPPROTO_IP, libc::IP_TTL, ttl)?;
        let discover = if dont_fragment { libc::IP_PMTUDISC_DO } else { libc::IP_PMTUDISC_DONT };
        set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, discover)?;
    }
    if kind.is_over_udp() {
        if !has_checksum {
            set_option(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)?;
            if is_v6 {
                set_option(fd, libc::SOL_UDP, libc::UDP_NO_CHECK6_TX, 1)?;
            }
        }
        bind(fd, SocketAddr::new(any(is_v6), 0))?;
    }
    Ok(socket)
}

fn open(kind: TunnelKind, is_v6: bool) -> io::Result<OwnedFd> {
    match kind {
        TunnelKind::Vxlan | TunnelKind::Geneve => {
            let socket = socket(is_v6, libc::SOCK_DGRAM, 0)?;
            if is_v6 {
                // The same UDP port of IPv4 is for another socket. Raw sockets have one version
                // of IP in any case.
                set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
            }
            Ok(socket)
        }
        TunnelKind::Gre => socket(is_v6, libc::SOCK_RAW, libc::IPPROTO_GRE),
    }
}

/// Asks for a large buffer, beyond the limit of the system if that is allowed.
fn large_buffer(
    fd: BorrowedFd<'_>,
    force: libc::c_int,
    ask: libc::c_int,
    size: libc::c_int,
) -> io::Result<()> {
    match set_option(fd, libc::SOL_SOCKET, force, size) {
        Ok(()) => Ok(()),
        // Without the capability the kernel gives as much as its limit allows.
        Err(_) => set_option(fd, libc::SOL_SOCKET, ask, size),
    }
}

/// A socket that sends nothing, and by which the kernel says what it knows of ways: those of packets from
/// `source`, or an address that the host chooses, with the mark `mark`.
///
/// # Errors
/// No descriptor is left.
pub(super) fn asking(is_v6: bool, source: Option<IpAddr>, mark: u32) -> io::Result<OwnedFd> {
    let socket = socket(is_v6, libc::SOCK_DGRAM, 0)?;
    let fd = socket.as_fd();
    refuse_all(fd)?;
    if mark != 0 {
        // Who may not do this cannot send with the mark either, and is told so then.
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_MARK, mark as libc::c_int);
    }
    if let Some(source) = source {
        let (level, name) = match is_v6 {
            false => (libc::IPPROTO_IP, libc::IP_FREEBIND),
            true => (libc::IPPROTO_IPV6, libc::IPV6_FREEBIND),
        };
        // The host may have the address later. Without it there is no way, and sending says so.
        set_option(fd, level, name, 1)?;
        let _ = bind(fd, SocketAddr::new(source, 0));
    }
    Ok(socket)
}

/// The MTU of the way to an address, in bytes from the IP header on, as far as the kernel has learned it.
///
/// # Errors
/// There is no way.
pub(super) fn path_mtu(asking: BorrowedFd<'_>, remote: IpAddr, udp_port: u16) -> io::Result<u32> {
    // Nothing is sent, so that any port does for what is not UDP.
    let port = if udp_port == 0 { 9 } else { udp_port };
    crate::sys::datagram::connect(asking, SocketAddr::new(remote, port))?;
    let mtu = match remote {
        IpAddr::V4(_) => option(asking, libc::IPPROTO_IP, libc::IP_MTU),
        IpAddr::V6(_) => option(asking, libc::IPPROTO_IPV6, libc::IPV6_MTU),
    }?;
    Ok(u32::try_from(mtu).unwrap_or_default())
}
