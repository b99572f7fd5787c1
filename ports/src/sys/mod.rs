//! System calls that no safe crate covers, as safe functions over owned file descriptors.
//!
//! This is the only place with `unsafe` code. Each block is small and says why it holds.
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod datagram;
pub(crate) mod ethtool;
pub(crate) mod heap;
pub(crate) mod mmsg;
pub(crate) mod packet;
pub(crate) mod ring;
pub(crate) mod tun;
pub mod xdp;

use std::io;
use std::mem::zeroed;

/// Turns the `-1` of a system call into the error it stands for.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A request about the device called `device` (netdevice(7)), which says nothing else yet.
///
/// # Errors
/// The name is longer than any name of a device.
fn device_request(device: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zero is a valid request: a name of no bytes, a null pointer, flags of none.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if device.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}
