//! Ports without a switch: [`OpenPort`] is a port that a test serves itself, and [`Wire`] forwards frames
//! between two of them.

use crate::port_text::open_port;
use crate::{LabError, PATIENCE};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use packet::{Batch, Frame, FrameId};
use ports::{Port, PortError, Queues, TxFailure};
use std::time::{Duration, Instant};

/// How long one wait for frames may take. [`Wire::run`] notices the end of its work at most this much later.
const STEP: Duration = Duration::from_millis(20);

/// A port with one receive and one transmit queue, which the test serves instead of a worker.
///
/// A port at the interface of a host, opened with `shield=off`, receives frames with their outer VLAN tag. An
/// ordinary packet socket gets them without, because the kernel removes the tag.
pub struct OpenPort {
    /// The port, without its queues.
    pub port: Port,
    /// The queues of the port, one in each direction.
    pub queues: Queues,
}

impl OpenPort {
    /// Opens the port that `text` describes, as [`open_port`] does.
    ///
    /// # Errors
    /// As [`ports::open`].
    pub fn open(text: &str) -> Result<Self, LabError> {
        let mut port = open_port(text)?;
        let queues = port.take_queues();
        Ok(Self { port, queues })
    }

    /// Sends frames with one call. Returns, for each frame that was not sent, its index
    /// in `frames` and the reason.
    ///
    /// # Panics
    /// If there are more frames than a batch can have copies.
    pub fn send(&mut self, frames: Vec<Frame<'static>>) -> Vec<(usize, TxFailure)> {
        let mut batch = Batch::new();
        let add = |frame| batch.add_copy(frame).expect("no more frames than a batch has room for");
        let ids: Vec<FrameId> = frames.into_iter().map(add).collect();
        let mut failures = Vec::new();
        self.queues.tx[0].send(&mut batch, &ids, &mut failures);
        let position = |id| ids.iter().position(|i| *i == id).expect("one of those passed");
        failures.into_iter().map(|(id, failure)| (position(id), failure)).collect()
    }

    /// Receives frames until `wanted` returns true for one; `false` if there was none within `limit`. The other
    /// frames of the same batch are lost.
    ///
    /// # Errors
    /// The receive queue failed.
    pub fn find(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&Frame<'_>) -> bool,
    ) -> Result<bool, LabError> {
        let end = Instant::now() + limit;
        loop {
            // The time is read before the queue, so that on a busy machine a frame that arrived
            // in time is still found.
            let is_late = Instant::now() >= end;
            let rx = &mut self.queues.rx[0];
            let mut batch = Batch::new();
            rx.recv(&mut batch)?;
            let is_found = batch.received().iter().any(&mut wanted);
            drop(batch);
            rx.release();
            if is_found || is_late {
                return Ok(is_found);
            }
            wait_for_frames(&[self], end.saturating_duration_since(Instant::now()).min(STEP));
        }
    }

    /// Receives frames until `wanted` returns true for one.
    ///
    /// # Errors
    /// There was no such frame within [`PATIENCE`], or the receive queue failed.
    pub fn receive_until(
        &mut self,
        wanted: impl FnMut(&Frame<'_>) -> bool,
    ) -> Result<(), LabError> {
        if self.find(PATIENCE, wanted)? {
            return Ok(());
        }
        Err(LabError::Late { what: "a frame".to_owned(), waited: PATIENCE })
    }
}

/// Two ports, each of which sends the frames that the other one receives.
pub struct Wire {
    /// The port at one end.
    pub left: OpenPort,
    /// The port at the other end.
    pub right: OpenPort,
    /// For each frame that the other port could not send, the reason, in order.
    pub failures: Vec<TxFailure>,
}

impl Wire {
    /// Opens the two ports that the texts describe; see [`OpenPort::open`].
    ///
    /// # Errors
    /// A port could not be opened.
    pub fn between(left: &str, right: &str) -> Result<Self, LabError> {
        let (left, right) = (OpenPort::open(left)?, OpenPort::open(right)?);
        Ok(Self { left, right, failures: Vec::new() })
    }

    /// Forwards frames while `work` runs on another thread, and returns the result of `work`. `inspect` is
    /// called with every frame, and with `true` for frames from left to right.
    ///
    /// # Errors
    /// A queue failed.
    ///
    /// # Panics
    /// If `work` panics.
    pub fn run<R: Send>(
        &mut self,
        work: impl FnOnce() -> R + Send,
        mut inspect: impl FnMut(bool, &Frame<'_>),
    ) -> Result<R, LabError> {
        std::thread::scope(|scope| {
            let work = scope.spawn(work);
            while !work.is_finished() {
                wait_for_frames(&[&self.left, &self.right], STEP);
                let Self { left, right, failures } = self;
                pass(&mut left.queues, &mut right.queues, failures, |f| inspect(true, f))?;
                pass(&mut right.queues, &mut left.queues, failures, |f| inspect(false, f))?;
            }
            Ok(work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }
}

/// Sends the frames of one receive call.
fn pass(
    from: &mut Queues,
    to: &mut Queues,
    failures: &mut Vec<TxFailure>,
    inspect: impl FnMut(&Frame<'_>),
) -> Result<(), PortError> {
    let mut batch = Batch::new();
    from.rx[0].recv(&mut batch)?;
    batch.received().iter().for_each(inspect);
    let ids: Vec<FrameId> = (0..batch.len()).map(FrameId::received).collect();
    let mut failed = Vec::new();
    to.tx[0].send(&mut batch, &ids, &mut failed);
    failures.extend(failed.into_iter().map(|(_, failure)| failure));
    drop(batch);
    from.rx[0].release();
    Ok(())
}

/// Waits until one of the ports has a frame, or until `limit`, rounded up to whole milliseconds, is over.
fn wait_for_frames(ports: &[&OpenPort], limit: Duration) {
    let mut fds: Vec<PollFd<'_>> = ports
        .iter()
        .filter_map(|p| p.queues.rx[0].poll_fd())
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    let limit = limit.as_nanos().div_ceil(1_000_000) as u16;
    // If a signal interrupts the wait, the caller looks for frames earlier.
    let _ = poll(&mut fds, PollTimeout::from(limit));
}
