//! [`FrameSource`]: sends the same frames again and again through an AF_XDP socket, for measurements.
//!
//! Sending through AF_XDP costs less CPU time for each frame than a packet socket, so that the sender does not
//! limit the measurement. Receivers cannot tell such frames from others.

use crate::{LabError, Netlink, PATIENCE};
use ports::xdp::XdpTx;
use std::io;
use std::time::{Duration, Instant};

/// A sender of frames at one device.
pub struct FrameSource {
    device: String,
    tx: XdpTx,
    next: usize,
    frames: usize,
}

impl FrameSource {
    /// Opens a sender at `device` in the network namespace of the calling thread. `frames`, of 2,048 bytes at
    /// most each, are sent in rotation.
    ///
    /// # Errors
    /// There is no such device, the kernel has no AF_XDP, or the process lacks a capability.
    pub fn open(device: &str, frames: &[Vec<u8>]) -> Result<Self, LabError> {
        let index = Netlink::open()?.link(device)?.index;
        let start = Instant::now();
        let tx = loop {
            match XdpTx::new(index, frames) {
                Ok(tx) => break tx,
                // The device is busy until the kernel has released an earlier AF_XDP socket,
                // some time after its close.
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy && start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(e) => return Err(LabError::os("open an AF_XDP socket at", device)(e)),
            }
        };
        Ok(Self { device: device.to_owned(), tx, next: 0, frames: frames.len() })
    }

    /// Sends up to `count` frames, going on behind the last one that was sent, and returns
    /// how many the kernel accepted.
    ///
    /// # Errors
    /// The device is down or was deleted.
    pub fn send(&mut self, count: u32) -> Result<u32, LabError> {
        let failed = |error| LabError::os("send through", &self.device)(error);
        let sent = self.tx.send(self.next, count).map_err(failed)?;
        self.next = (self.next + sent as usize) % self.frames;
        Ok(sent)
    }
}
