//! Datagrams of IP sockets, many in one system call, with what the outer headers say or are to say.
//!
//! The kernel tells and takes TOS, TTL, addresses and segment sizes as control
//! messages (cmsg(3), ip(7), ipv6(7), udp(7)).

use super::{check, packet};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Bytes for the control messages of one datagram: more than those that this file asks for or sends.
const CONTROL_SIZE: usize = 256;

/// Memory for control messages, aligned as the kernel wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_SIZE]);

/// Opens a socket of IP version 4, or 6, that never blocks.
///
/// # Errors
/// No descriptor is left, or the kernel does not have or does not allow such sockets.
pub(crate) fn socket(is_v6: bool, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    let family = if is_v6 { libc::AF_INET6 } else { libc::AF_INET };
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes no pointers.
    let fd = check(unsafe { libc::socket(family, kind, protocol) })?;
    // SAFETY: the kernel has just given this descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an option whose value is an integer.
///
/// # Errors
/// The kernel does not know the option, or does not allow it.
pub(crate) fn set_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    packet::set(fd, level, name, &value)
}

/// The value of an option that is an integer.
///
/// # Errors
/// The kernel does not know the option, or the socket does not have it in its state.
pub(crate) fn option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<libc::c_int> {
    packet::get(fd, level, name, 0)
}

/// An address as the kernel takes it. The storage of IPv6 is large enough for both versions.
fn write_address(address: SocketAddr, storage: &mut libc::sockaddr_in6) -> libc::socklen_t {
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: all zero is a valid address.
            let mut v4: libc::sockaddr_in = unsafe { zeroed() };
            v4.sin_family = libc::AF_INET as libc::sa_family_t;
            v4.sin_port = address.port().to_be();
            v4.sin_addr.s_addr = address.ip().to_bits().to_be();
            // SAFETY: the storage is larger and at least as strictly aligned as what is written.
            unsafe { (storage as *mut libc::sockaddr_in6).cast::<libc::sockaddr_in>().write(v4) };
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(address) => {
            storage.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            storage.sin6_port = address.port().to_be();
            storage.sin6_flowinfo = 0;
            storage.sin6_addr.s6_addr = address.ip().octets();
            storage.sin6_scope_id = address.scope_id();
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

fn read_address(storage: &libc::sockaddr_in6) -> SocketAddr {
    if i32::from(storage.sin6_family) == libc::AF_INET {
        // SAFETY: the family says that the kernel wrote such an address, and the storage is large enough.
        let v4 =
            unsafe { (storage as *const libc::sockaddr_in6).cast::<libc::sockaddr_in>().read() };
        let address = Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr));
        return SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into();
    }
    let address = Ipv6Addr::from(storage.sin6_addr.s6_addr);
    SocketAddrV6::new(address, u16::from_be(storage.sin6_port), 0, storage.sin6_scope_id).into()
}

/// Binds a socket to an address.
///
/// # Errors
/// The address is taken, or the host does not have it.
pub(crate) fn bind(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    with_address(address, |pointer, size| {
        // SAFETY: the pointer is to an address of this size, which lives during the call.
        check(unsafe { libc::bind(fd.as_raw_fd(), pointer, size) })
    })
}

/// The UDP port that a socket is bound to.
///
/// # Errors
/// The descriptor is no such socket.
pub(crate) fn bound_port(fd: BorrowedFd<'_>) -> io::Result<u16> {
    // SAFETY: all zero is a valid address.
    let mut storage: libc::sockaddr_in6 = unsafe { zeroed() };
    let mut size = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    // SAFETY: the pointer is to storage of this size, which lives during the call.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut storage).cast(), &raw mut size) })?;
    Ok(read_address(&storage).port())
}

/// Chooses a route to an address, without sending anything. The address from which the socket sent so far is
/// forgotten, unless somebody has bound the socket to it.
///
/// # Errors
/// There is no route.
pub(crate) fn connect(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    // The kernel looks up the route of a connected socket for the address that it has chosen before: in vain if
    // the host has lost it. SAFETY: all zero is a valid address, of the family `AF_UNSPEC`.
    let nowhere: libc::sockaddr = unsafe { zeroed() };
    let size = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the pointer is to an address of this size, which lives during the call.
    check(unsafe { libc::connect(fd.as_raw_fd(), &raw const nowhere, size) })?;
    with_address(address, |pointer, size| {
        // SAFETY: the pointer is to an address of this size, which lives during the call.
        check(unsafe { libc::connect(fd.as_raw_fd(), pointer, size) })
    })
}

fn with_address(
    address: SocketAddr,
    call: impl FnOnce(*const libc::sockaddr, libc::socklen_t) -> io::Result<libc::c_int>,
) -> io::Result<()> {
    // SAFETY: all zero is a valid address.
    let mut storage: libc::sockaddr_in6 = unsafe { zeroed() };
    let size = write_address(address, &mut storage);
    call((&raw const storage).cast(), size).map(|_| ())
}

/// What the kernel says of a received datagram, or of several of equal size that it has merged (`UDP_GRO`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Bytes that were received.
    pub(crate) size: usize,
    /// Bytes of each datagram; the last one may have fewer. `None` if there is one datagram.
    pub(crate) segment_size: Option<usize>,
    /// The address of the host that sent the datagram.
    pub(crate) source: IpAddr,
    /// The address that the datagram was sent to.
    pub(crate) destination: IpAddr,
    /// TOS or traffic class.
    pub(crate) tos: u8,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// Datagrams, or groups of merged ones, that the socket had no memory for since it was opened.
    pub(crate) lost: Option<u32>,
}

/// The message headers of a call for many datagrams, and what the headers point to besides the bytes.
struct Messages {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    addresses: Box<[libc::sockaddr_in6]>,
    controls: Box<[Control]>,
}

// SAFETY: the pointers in the headers and vectors are only used during a call that has just set them.
unsafe impl Send for Messages {}

impl Messages {
    /// Room for `count` datagrams, or groups of datagrams, in a call.
    fn new(count: usize) -> Self {
        // SAFETY: all zero is a valid message header, a valid vector and a valid address.
        unsafe {
            Self {
                headers: (0..count).map(|_| zeroed()).collect(),
                vectors: (0..count).map(|_| zeroed()).collect(),
                addresses: (0..count).map(|_| zeroed()).collect(),
                controls: vec![Control([0; CONTROL_SIZE]); count].into(),
            }
        }
    }
}

/// Receives datagrams, each into a buffer of its own.
pub(crate) struct DatagramReceiver {
    messages: Messages,
    buffers: Vec<Vec<u8>>,
}

impl DatagramReceiver {
    /// Room for `count` datagrams of `size` bytes.
    pub(crate) fn new(count: usize, size: usize) -> Self {
        Self { messages: Messages::new(count), buffers: vec![vec![0; size]; count] }
    }

    /// The buffers, of which [`receive`](Self::receive) fills the first ones.
    pub(crate) fn buffers_mut(&mut self) -> &mut [Vec<u8>] {
        &mut self.buffers
    }

    /// Receives what is there, and tells of each datagram to `received`.
    ///
    /// # Errors
    /// What the kernel says of the first one. `WouldBlock`: there is none.
    pub(crate) fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        received: &mut Vec<Received>,
    ) -> io::Result<()> {
        let Self { messages: Messages { headers, vectors, addresses, controls }, buffers } = self;
        for (i, header) in headers.iter_mut().enumerate() {
            vectors[i].iov_base = buffers[i].as_mut_ptr().cast();
            vectors[i].iov_len = buffers[i].len();
            let message = &mut header.msg_hdr;
            message.msg_iov = &raw mut vectors[i];
            message.msg_iovlen = 1;
            message.msg_name = (&raw mut addresses[i]).cast();
            message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            message.msg_control = (&raw mut controls[i]).cast();
            message.msg_controllen = CONTROL_SIZE as _;
        }
        let count = headers.len() as libc::c_uint;
        let none = std::ptr::null_mut();
        // SAFETY: each header was just set to point to a buffer, an address and control memory, with their
        // sizes, all of which are borrowed during the call.
        let count = check(unsafe {
            libc::recvmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT, none)
        })?;
        for (header, address) in headers.iter().zip(addresses.iter()).take(count as usize) {
            let source = read_address(address).ip();
            let mut datagram = Received {
                size: header.msg_len as usize,
                segment_size: None,
                source,
                destination: match source {
                    IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                },
                tos: 0,
                ttl: 0,
                lost: None,
            };
            // SAFETY: the kernel has written the control messages of this header, whose memory is still there.
            unsafe { read_control(&header.msg_hdr, &mut datagram) };
            received.push(datagram);
        }
        Ok(())
    }
}

/// Reads what the control messages of a received datagram say.
///
/// # Safety
/// `message` is one that the kernel has filled in, and its control memory is valid.
unsafe fn read_control(message: &libc::msghdr, datagram: &mut Received) {
    // SAFETY: by this function's contract. The macros keep within the length that the kernel has written, and
    // the kernel writes data of the type that belongs to level and type; data may be unaligned.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(message);
        while let Some(header) = next.as_ref() {
            let data = libc::CMSG_DATA(header);
            let integer = || data.cast::<libc::c_int>().read_unaligned();
            match (header.cmsg_level, header.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    datagram.segment_size = usize::try_from(integer()).ok().filter(|n| *n > 0);
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    let address = Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr));
                    datagram.destination = address.into();
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => datagram.tos = data.read(),
                (libc::IPPROTO_IP, libc::IP_TTL) => datagram.ttl = integer() as u8,
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    datagram.destination = Ipv6Addr::from(info.ipi6_addr.s6_addr).into();
                }
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => datagram.tos = integer() as u8,
                (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => datagram.ttl = integer() as u8,
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    datagram.lost = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(message, header);
        }
    }
}

/// A datagram to be sent, or several to one address that lie behind one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToSend {
    /// The place of the bytes.
    pub(crate) bytes: Range<usize>,
    /// Bytes of each datagram, of which the last one may have fewer; `None` if there is one datagram.
    pub(crate) segment_size: Option<u16>,
    /// The address and port of the remote end that gets the datagram.
    pub(crate) to: SocketAddr,
    /// The address to send from; `None` leaves the choice to the host.
    pub(crate) from: Option<IpAddr>,
    /// TOS or traffic class.
    pub(crate) tos: u8,
    /// TTL or hop limit; `None` is that of the socket.
    pub(crate) ttl: Option<u8>,
    /// The mark for routing and firewall; 0 is none.
    pub(crate) mark: u32,
}

/// Sends datagrams, many in one call.
pub(crate) struct DatagramSender(Messages);

impl DatagramSender {
    /// Room for `count` datagrams, or groups of datagrams, in a call.
    pub(crate) fn new(count: usize) -> Self {
        Self(Messages::new(count))
    }

    /// Sends the first of `messages`, whose bytes are in `bytes`, in order, as many as the kernel takes at once
    /// without waiting. Returns how many it took.
    ///
    /// # Errors
    /// The kernel's reason to refuse the very first one.
    ///
    /// # Panics
    /// If the bytes of a message are not in `bytes`.
    pub(crate) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        bytes: &[u8],
        messages: &[ToSend],
    ) -> io::Result<usize> {
        let Messages { headers, vectors, addresses, controls } = &mut self.0;
        let count = messages.len().min(headers.len());
        for (i, message) in messages.iter().take(count).enumerate() {
            let data = &bytes[message.bytes.clone()];
            vectors[i].iov_base = data.as_ptr().cast_mut().cast();
            vectors[i].iov_len = data.len();
            let header = &mut headers[i].msg_hdr;
            header.msg_iov = &raw mut vectors[i];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut addresses[i]).cast();
            header.msg_namelen = write_address(message.to, &mut addresses[i]);
            let size = write_control(message, &mut controls[i]);
            header.msg_control =
                if size == 0 { std::ptr::null_mut() } else { (&raw mut controls[i]).cast() };
            header.msg_controllen = size as _;
        }
        let count = count as libc::c_uint;
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: the first `count` headers were just set to point to bytes, an address and control
        // messages, with their sizes, all of which are borrowed during the call. The kernel does
        // not write through the vectors.
        let sent =
            check(unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, flags) })?;
        Ok(sent as usize)
    }
}

/// Writes the control messages of a datagram, and returns their size.
fn write_control(message: &ToSend, control: &mut Control) -> usize {
    let mut writer = ControlWriter { control, size: 0 };
    if let Some(size) = message.segment_size {
        writer.push(libc::SOL_UDP, libc::UDP_SEGMENT, size);
    }
    let is_v4 = message.to.is_ipv4();
    if message.tos != 0 {
        let (level, name) = match is_v4 {
            true => (libc::IPPROTO_IP, libc::IP_TOS),
            false => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        };
        writer.push(level, name, libc::c_int::from(message.tos));
    }
    if let Some(ttl) = message.ttl {
        let (level, name) = match is_v4 {
            true => (libc::IPPROTO_IP, libc::IP_TTL),
            false => (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT),
        };
        writer.push(level, name, libc::c_int::from(ttl));
    }
    match message.from {
        Some(IpAddr::V4(from)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: from.to_bits().to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            writer.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(from)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: from.octets() },
                ipi6_ifindex: 0,
            };
            writer.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        None => {}
    }
    if message.mark != 0 {
        writer.push(libc::SOL_SOCKET, libc::SO_MARK, message.mark);
    }
    writer.size
}

struct ControlWriter<'a> {
    control: &'a mut Control,
    /// Bytes that the messages so far take, padding included.
    size: usize,
}

impl ControlWriter<'_> {
    /// Appends a control message with this value.
    fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        let size = size_of::<T>() as libc::c_uint;
        // SAFETY: these two only calculate.
        let (space, len) = unsafe { (libc::CMSG_SPACE(size), libc::CMSG_LEN(size)) };
        assert!(self.size + space as usize <= CONTROL_SIZE);
        // SAFETY: a header with its data takes `space` bytes, which are in the memory from `size` on. `size` is
        // a sum of such spaces, so that the header is aligned; the data is written unaligned.
        unsafe {
            let at = self.control.0.as_mut_ptr().add(self.size);
            let header = at.cast::<libc::cmsghdr>();
            (*header).cmsg_len = len as _;
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        self.size += space as usize;
    }
}
