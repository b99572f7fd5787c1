//! Progress: how a client that waits learns that the switch has not come to a standstill.
//!
//! The thread that accepts sessions sends a frame of kind [`Working`](Kind::Working) to each client that waits,
//! about once a second, but only if some session has made a step since the last time. A transaction of minutes
//! counts its steps, so its client waits for it, and so do the clients whose own transactions have to wait for
//! this one. If the switch hangs no frame is sent, and the clients give up.

use control::frame::{self, Kind};
use nix::sys::socket::{MsgFlags, send};
use parking_lot::Mutex;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the steps of all sessions.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU64);

impl Progress {
    /// Counts a step: a batch of rules, a piece of an answer, a session that began or ended.
    pub(super) fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of steps so far.
    pub(super) fn steps(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where a session writes its frames. Each [`write_all`](Write::write_all) has whole frames, so that a sign of
/// life fits in between.
#[derive(Debug)]
pub(super) struct Outlet<'a> {
    stream: &'a UnixStream,
    /// Held while frames are written.
    writing: &'a Mutex<()>,
    progress: &'a Progress,
}

impl<'a> Outlet<'a> {
    /// An outlet to the client at the other end of `stream`.
    pub(super) fn new(
        stream: &'a UnixStream,
        writing: &'a Mutex<()>,
        progress: &'a Progress,
    ) -> Self {
        Self { stream, writing, progress }
    }
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let _writing = self.writing.lock();
        let mut stream = self.stream;
        stream.write_all(bytes)?;
        self.progress.step();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends a frame of kind [`Working`](Kind::Working), without waiting for the client. The caller makes sure that
/// nobody else writes.
pub(super) fn send_sign_of_life(stream: &UnixStream) {
    let mut bytes = Vec::with_capacity(frame::HEADER_SIZE);
    if frame::encode(&mut bytes, Kind::Working, b"").is_err() {
        return;
    }
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match send(stream.as_raw_fd(), &bytes, flags) {
        // A client whose buffer is full has enough to read.
        Err(_) => {}
        Ok(sent) if sent == bytes.len() => {}
        // A part of a frame: whatever came behind it would be misread.
        Ok(_) => drop(stream.shutdown(Shutdown::Both)),
    }
}
