//! System calls that no safe crate covers, as safe functions over owned file descriptors.
//!
//! This is the only place with `unsafe` code. Each block is small and says why it holds.
#![allow(unsafe_code)]

pub(crate) mod ethtool;
pub(crate) mod heap;
pub(crate) mod mmsg;
pub(crate) mod packet;
pub(crate) mod ring;
pub(crate) mod tun;
pub mod xdp;

use std::io;

/// Turns the `-1` of a system call into the error it stands for.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
