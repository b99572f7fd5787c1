//! Ports without a switch: one in the hands of a test, and two with somebody between them who only
//! passes frames on.

use crate::port_text::open_port;
use crate::{LabError, PATIENCE};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use packet::{Batch, Frame, FrameId};
use ports::{Port, PortError, Queues, TxFailure};
use std::time::{Duration, Instant};

/// Longest time of one look at the queues: how late the end of the work beside [`Wire::run`] is seen.
const STEP: Duration = Duration::from_millis(20);

/// A port with one receiving and one sending queue, which the test serves instead of a worker.
///
/// At the interface of a host, opened with `shield=off`, it sees frames as they are on the wire, outer
/// VLAN tag included, which the kernel takes off before an ordinary packet socket looks.
pub struct OpenPort {
    /// The port, without its queues.
    pub port: Port,
    /// Its queues, one in each direction.
    pub queues: Queues,
}

impl OpenPort {
    /// Opens the port that `text` describes, as [`open_port`] does.
    ///
    /// # Errors
    /// As of [`ports::open`].
    pub fn open(text: &str) -> Result<Self, LabError> {
        let mut port = open_port(text)?;
        let queues = port.take_queues();
        Ok(Self { port, queues })
    }

    /// Sends frames, 64 at most, and returns why some were not sent, by their positions in `frames`.
    ///
    /// # Panics
    /// If there are more frames.
    pub fn send(&mut self, frames: Vec<Frame<'static>>) -> Vec<(usize, TxFailure)> {
        let mut batch = Batch::new();
        let add = |frame| batch.add_copy(frame).expect("no more frames than a batch has room for");
        let ids: Vec<FrameId> = frames.into_iter().map(add).collect();
        let mut failures = Vec::new();
        self.queues.tx[0].send(&mut batch, &ids, &mut failures);
        let position = |id| ids.iter().position(|i| *i == id).expect("one of those passed");
        failures.into_iter().map(|(id, failure)| (position(id), failure)).collect()
    }

    /// Looks at frames in order until `wanted` says yes to one; `false` if none came within `limit`.
    /// Frames that came in one batch with the wanted one are lost.
    ///
    /// # Errors
    /// The queue broke.
    pub fn find(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&Frame<'_>) -> bool,
    ) -> Result<bool, LabError> {
        let end = Instant::now() + limit;
        loop {
            // Before the look at the queue, so that what came in time is seen on a busy machine, too.
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

    /// Waits for frames and shows each to `wanted`, until it says yes.
    ///
    /// # Errors
    /// It did not as long as [`PATIENCE`] lasts, or the queue broke.
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

/// Two ports and nothing between them but somebody who passes frames on.
pub struct Wire {
    /// The port at one end.
    pub left: OpenPort,
    /// The port at the other end.
    pub right: OpenPort,
    /// Why frames could not be sent by the other port, in order.
    pub failures: Vec<TxFailure>,
}

impl Wire {
    /// A wire between the ports that the texts describe; see [`OpenPort::open`].
    ///
    /// # Errors
    /// A port could not be opened.
    pub fn between(left: &str, right: &str) -> Result<Self, LabError> {
        let (left, right) = (OpenPort::open(left)?, OpenPort::open(right)?);
        Ok(Self { left, right, failures: Vec::new() })
    }

    /// Passes frames on while `work` runs on a thread of its own, and returns what that returns.
    /// `inspect` sees every frame, with `true` for those from left to right.
    ///
    /// # Errors
    /// A queue broke.
    ///
    /// # Panics
    /// If `work` does.
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

/// Sends all that one receive call brings.
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

/// Waits until one of the ports has a frame, or `limit` is over, rounded up to whole milliseconds.
fn wait_for_frames(ports: &[&OpenPort], limit: Duration) {
    let mut fds: Vec<PollFd<'_>> = ports
        .iter()
        .filter_map(|p| p.queues.rx[0].poll_fd())
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    let limit = limit.as_nanos().div_ceil(1_000_000) as u16;
    // An interrupted wait is a short one.
    let _ = poll(&mut fds, PollTimeout::from(limit));
}
