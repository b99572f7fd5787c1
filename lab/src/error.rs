//! What can go wrong in a laboratory.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Something in the laboratory did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The kernel does not let this user have namespaces of its own.
    #[error("{step} is not allowed here: {advice}")]
    Denied {
        /// What was tried.
        step: &'static str,
        /// What would make it work.
        advice: String,
    },
    /// A process with threads cannot change its user namespace.
    #[error("this process has {threads} threads: enter the laboratory before the first is started")]
    HasThreads {
        /// How many there are.
        threads: usize,
    },
    /// The kernel refused.
    #[error("{operation} {object}")]
    Os {
        /// What was tried.
        operation: &'static str,
        /// On what.
        object: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The kernel refused to change the network.
    #[error(transparent)]
    Netlink(#[from] ports::netlink::NetlinkError),
    /// A port could not be opened, or its queue broke.
    #[error(transparent)]
    Port(#[from] ports::PortError),
    /// The switch refused a request, or did not understand it.
    #[error(transparent)]
    Control(#[from] control::ClientError),
    /// Something did not happen in time.
    #[error("{what}: not within {waited:?}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
    },
    /// Bytes arrived that nobody sent.
    #[error("the data from {from} differs from what was sent, first in the block at byte {at}")]
    Corrupt {
        /// The sender.
        from: SocketAddr,
        /// Where the differing block begins.
        at: u64,
    },
    /// The connection ended early.
    #[error("the connection from {from} ended after {received} of {expected} bytes")]
    Short {
        /// The sender.
        from: SocketAddr,
        /// What arrived.
        received: u64,
        /// What was sent.
        expected: u64,
    },
    /// The switch ended although nobody asked it to.
    #[error("{program} ended with {status} and said: {said}")]
    DaemonEnded {
        /// Its file.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its last words.
        said: String,
    },
}

impl LabError {
    /// The kernel refused `operation` on `object` because of `source`.
    pub(crate) fn os(
        operation: &'static str,
        object: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
        let object = object.into();
        move |source| Self::Os { operation, object, source }
    }

    /// The machine does not allow laboratories; nothing is wrong with the switch.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }
}
