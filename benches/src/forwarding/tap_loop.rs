//! The least that can be done between two TAP devices: read a frame from one, write it to the other.
//!
//! It looks at nothing, knows nobody and drops what the other device does not take. Frames carry their
//! virtio-net header, so that TCP works with all offloads as it does through the switch. Like the
//! switch it looks again for a moment before it sleeps. It runs as a process of its own, as the switch.

use anyhow::Context;
use lab::Netlink;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ports::tap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Bytes for the largest frame and its header.
const LARGEST: usize = 69_632;
/// Frames of one device before the other has its turn.
const BATCH: usize = 64;
/// How long to look before sleeping, as the switch does.
const SPIN: Duration = Duration::from_micros(40);

/// Makes both devices and moves frames between them until the process is ended.
///
/// # Errors
/// A device cannot be made, or reading fails.
pub fn run(devices: &[String; 2]) -> anyhow::Result<()> {
    let mut files = [tap::plain(&devices[0])?, tap::plain(&devices[1])?];
    let mut netlink = Netlink::open()?;
    for device in devices {
        let index = netlink.link(device)?.index;
        netlink.set_up(index, true)?;
    }
    let mut buf = vec![0; LARGEST];
    let mut last_frame = Instant::now();
    loop {
        let [a, b] = &mut files;
        let moved = forward(a, b, &mut buf)? + forward(b, a, &mut buf)?;
        if moved > 0 {
            last_frame = Instant::now();
        } else if last_frame.elapsed() > SPIN {
            let mut fds = files.each_ref().map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN));
            poll(&mut fds, PollTimeout::NONE).context("wait for frames")?;
            last_frame = Instant::now();
        }
    }
}

/// Moves frames that are there, and returns how many there were.
fn forward(from: &mut File, to: &mut File, buf: &mut [u8]) -> anyhow::Result<usize> {
    for count in 0..BATCH {
        match from.read(buf) {
            // A frame that the other device has no room for is lost, as in a switch.
            Ok(size) => drop(to.write(&buf[..size])),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(count),
            Err(e) => return Err(e).context("read from a TAP device"),
        }
    }
    Ok(BATCH)
}
