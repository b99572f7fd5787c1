//! TAP devices (Documentation/networking/tuntap.rst).

use super::{check, device_request};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

// linux/if_tun.h
/// The reader takes frames whose checksum is partial.
pub(crate) const TUN_F_CSUM: u32 = 0x01;
/// The reader takes TCP over IPv4 to segment.
pub(crate) const TUN_F_TSO4: u32 = 0x02;
/// The reader takes TCP over IPv6 to segment.
pub(crate) const TUN_F_TSO6: u32 = 0x04;
/// The reader takes TCP with congestion notification to segment.
pub(crate) const TUN_F_TSO_ECN: u32 = 0x08;
/// The reader takes UDP over IPv4 to segment.
pub(crate) const TUN_F_USO4: u32 = 0x20;
/// The reader takes UDP over IPv6 to segment.
pub(crate) const TUN_F_USO6: u32 = 0x40;

/// Where TAP devices are made.
const CLONE_DEVICE: &str = "/dev/net/tun";

/// A descriptor that is not attached to a TAP device yet.
pub(crate) fn open() -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(CLONE_DEVICE)
}

/// Attaches the descriptor to the TAP device called `name`, which is made if there is none. It goes
/// away when the last descriptor is closed unless somebody made it persistent.
///
/// Frames are read and written with a virtio-net header before them.
pub(crate) fn attach(fd: BorrowedFd<'_>, name: &str, has_many_queues: bool) -> io::Result<()> {
    let mut request = device_request(name)?;
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    if has_many_queues {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which is valid during the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    Ok(())
}

/// Says what the reader can take on (`TUN_F_*`). Everything else the kernel finishes before.
pub(crate) fn set_offload(fd: BorrowedFd<'_>, offload: u32) -> io::Result<()> {
    let offload = libc::c_ulong::from(offload);
    // SAFETY: TUNSETOFFLOAD takes a number; no memory is passed.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, offload) })?;
    Ok(())
}

/// Says how many bytes the virtio-net header has.
pub(crate) fn set_header_size(fd: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    let size = size as libc::c_int;
    // SAFETY: TUNSETVNETHDRSZ reads one int, which is valid during the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) })?;
    Ok(())
}

/// The name of the descriptor's device, in whatever network namespace it is.
pub(crate) fn device_name(fd: BorrowedFd<'_>) -> io::Result<String> {
    let mut request = device_request("")?;
    // SAFETY: TUNGETIFF writes one ifreq, which is valid during the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
    let name: Vec<u8> =
        request.ifr_name.iter().map(|c| *c as u8).take_while(|byte| *byte != 0).collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// The network namespace that the descriptor's device is in (since Linux 5.10).
pub(crate) fn device_netns(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // linux/if_tun.h: _IO('T', 227)
    const TUNGETDEVNETNS: libc::Ioctl = 0x54e3;
    // SAFETY: TUNGETDEVNETNS takes no argument.
    let netns = check(unsafe { libc::ioctl(fd.as_raw_fd(), TUNGETDEVNETNS, 0) })?;
    // SAFETY: the kernel has just made the descriptor, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(netns) })
}
