//! Options of packet sockets (packet(7)).

use super::check;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// linux/if_packet.h: not all of them are in libc.
pub(crate) const PACKET_COPY_THRESH: libc::c_int = 7;
pub(crate) const PACKET_RESERVE: libc::c_int = 12;
pub(crate) const PACKET_VNET_HDR: libc::c_int = 15;
pub(crate) const PACKET_QDISC_BYPASS: libc::c_int = 20;
pub(crate) const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
const PACKET_FANOUT_DATA: libc::c_int = 22;
const PACKET_FANOUT_HASH: u32 = 0;
const PACKET_FANOUT_CBPF: u32 = 6;
const PACKET_FANOUT_FLAG_UNIQUEID: u32 = 0x2000;
const PACKET_FANOUT_FLAG_IGNORE_OUTGOING: u32 = 0x4000;

/// A packet socket that receives nothing yet: its protocol is none until it is bound to one.
pub(crate) fn socket() -> io::Result<OwnedFd> {
    let flags = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, flags, 0) })?;
    // SAFETY: the descriptor is open, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an option of the packet level to a number.
pub(crate) fn set_option(
    fd: BorrowedFd<'_>,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    set(fd, libc::SOL_PACKET, option, &value)
}

/// Sets the receive buffer to `size` bytes, whatever the system's limit for ordinary processes is.
pub(crate) fn force_receive_buffer(fd: BorrowedFd<'_>, size: libc::c_int) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &size)
}

/// Asks for `size` bytes of send buffer, beyond the system's limit if we may.
pub(crate) fn set_send_buffer(fd: BorrowedFd<'_>, size: libc::c_int) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &size)
        .or_else(|_| set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &size))
}

/// Sets the priority of what the socket sends from now on, by which a queueing discipline chooses a class.
pub(crate) fn set_priority(fd: BorrowedFd<'_>, priority: u32) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_PRIORITY, &priority)
}

/// Binds to a device; receives every protocol from then on, or nothing.
pub(crate) fn bind(fd: BorrowedFd<'_>, ifindex: u32, receives: bool) -> io::Result<()> {
    let protocol = if receives { (libc::ETH_P_ALL as u16).to_be() } else { 0 };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
        sll_ifindex: ifindex as libc::c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is a valid sockaddr_ll of the size given, read during the call only.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) })?;
    Ok(())
}

/// Makes the device promiscuous until the socket is closed.
pub(crate) fn set_promiscuous(fd: BorrowedFd<'_>, ifindex: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: ifindex as libc::c_int,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// Shares the frames of a device among sockets by flow. `group` is what the first of them returned.
pub(crate) fn join_fanout(fd: BorrowedFd<'_>, group: Option<u32>) -> io::Result<u32> {
    join(fd, PACKET_FANOUT_HASH, group)
}

fn join(fd: BorrowedFd<'_>, kind: u32, group: Option<u32>) -> io::Result<u32> {
    let kind = kind | PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
    let request = match group {
        Some(group) => (group & 0xffff) | (kind << 16),
        None => (kind | PACKET_FANOUT_FLAG_UNIQUEID) << 16,
    };
    set(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, &request)?;
    get(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, 0u32)
}

/// Prepares that frames of a device arrive at `new` instead of at `old`: they still arrive at `old` until
/// [`change_over`]. Both sockets hear the same device. The kernel takes `old` off the device for an instant, in
/// which it adds it to a group: a frame that comes just then arrives at neither.
///
/// # Errors
/// `EEXIST` if `old` shares the frames with other sockets, or has taken another one's place like this;
/// otherwise what the kernel says. Frames arrive as before.
pub(crate) fn pair(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    if get(old, libc::SOL_PACKET, libc::PACKET_FANOUT, 0u32)? != 0 {
        return Err(io::Error::from_raw_os_error(libc::EEXIST));
    }
    // As long as the group has no program, its first member gets everything.
    let group = join(old, PACKET_FANOUT_CBPF, None)?;
    join(new, PACKET_FANOUT_CBPF, Some(group)).map(drop)
}

/// Has the frames of a device arrive at the second socket of a [`pair`] from now on, of which `old` is the
/// first. The kernel changes between two frames: none arrives at both or at neither.
pub(crate) fn change_over(old: BorrowedFd<'_>) -> io::Result<()> {
    // Once the first has been closed, the second is the only member, whatever number the program says.
    set_constant_program(old, libc::SOL_PACKET, PACKET_FANOUT_DATA, 1)
}

/// Lets nothing into a socket of any kind until [`refuse_none`] (socket(7), `SO_ATTACH_FILTER`).
pub(crate) fn refuse_all(fd: BorrowedFd<'_>) -> io::Result<()> {
    // Accept no byte of any frame.
    set_constant_program(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, 0)
}

/// Sets an option to a program that returns `value` for each frame.
fn set_constant_program(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: u32,
) -> io::Result<()> {
    // BPF_RET | BPF_K
    let mut program = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: value }];
    let request = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the request is a valid sock_fprog of the size given, and names one instruction; both
    // are read during the call only.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const request).cast(), size)
    })?;
    Ok(())
}

/// Lets frames in again.
pub(crate) fn refuse_none(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0)
}

/// Frames dropped for want of room since the last call.
pub(crate) fn take_drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let none = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    Ok(get(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, none)?.tp_drops)
}

/// The error that waits on a socket and makes it readable, which is gone thereafter.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let errno = get(fd, libc::SOL_SOCKET, libc::SO_ERROR, 0)?;
    Ok((errno != 0).then(|| io::Error::from_raw_os_error(errno)))
}

/// A type of which every bit pattern is a value and which may be read byte by byte.
pub(super) trait Plain: Copy {}
impl Plain for libc::c_int {}
impl Plain for u32 {}
impl Plain for libc::packet_mreq {}
impl Plain for libc::tpacket_stats {}
impl Plain for libc::tpacket_req {}
impl Plain for libc::xdp_umem_reg {}
impl Plain for libc::xdp_mmap_offsets {}

/// Sizes of a receive ring.
pub(super) fn set_rx_ring(fd: BorrowedFd<'_>, request: libc::tpacket_req) -> io::Result<()> {
    set(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)
}

/// Sets an option of a socket.
pub(super) fn set<T: Plain>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    let pointer: *const T = value;
    // SAFETY: the pointer is valid for reads of `size` bytes during the call.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, pointer.cast(), size) })?;
    Ok(())
}

/// Asks for an option of a socket. What the kernel leaves out is as in `value`.
pub(super) fn get<T: Plain>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    mut value: T,
) -> io::Result<T> {
    let mut size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer is valid for writes of `size` bytes during the call, and whatever is
    // written there is a value of `T`.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, option, (&raw mut value).cast(), &mut size)
    })?;
    Ok(value)
}
