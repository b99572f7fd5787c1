//! Frames over and over, as fast as the kernel takes them: for measurements.
//!
//! An AF_XDP socket makes a frame for less than a packet socket does, which counts when the sender is
//! what limits a measurement. The frames are ordinary ones for everybody behind it.

use crate::{LabError, Netlink, PATIENCE};
use ports::xdp::XdpTx;
use std::io;
use std::time::{Duration, Instant};

/// A source of frames at one device.
pub struct FrameSource {
    device: String,
    tx: XdpTx,
    next: usize,
    frames: usize,
}

impl FrameSource {
    /// A source at `device` of the calling thread's network namespace, of these frames in rotation, of
    /// 2,048 bytes at most.
    ///
    /// # Errors
    /// There is no such device, the kernel has no AF_XDP, or a privilege is missing.
    pub fn open(device: &str, frames: &[Vec<u8>]) -> Result<Self, LabError> {
        let index = Netlink::open()?.link(device)?.index;
        let start = Instant::now();
        let tx = loop {
            match XdpTx::new(index, frames) {
                Ok(tx) => break tx,
                // The kernel closes the socket of somebody before in its own time.
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy && start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(e) => return Err(LabError::os("open an AF_XDP socket at", device)(e)),
            }
        };
        Ok(Self { device: device.to_owned(), tx, next: 0, frames: frames.len() })
    }

    /// Sends up to `count` of the next frames and returns how many were accepted.
    ///
    /// # Errors
    /// The device is down or has gone.
    pub fn send(&mut self, count: u32) -> Result<u32, LabError> {
        let failed = |error| LabError::os("send through", &self.device)(error);
        let sent = self.tx.send(self.next, count).map_err(failed)?;
        self.next = (self.next + sent as usize) % self.frames;
        Ok(sent)
    }
}
