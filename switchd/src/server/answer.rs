//! What the answer to a request is written to, and why a request has no answer.

use super::progress::Outlet;
use control::Refusal;
use control::stream::{FrameWriter, StreamError};

/// What a session sends to.
pub(super) type Sender<'a> = FrameWriter<Outlet<'a>>;

/// A request that was not carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is told why, and the session goes on.
    Refused(Box<Refusal>),
    /// The connection to the client has failed, and the session ends.
    Stream(StreamError),
}

impl From<Box<Refusal>> for Failure {
    fn from(refusal: Box<Refusal>) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}
