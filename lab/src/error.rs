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
        /// The thing that is not allowed, as the subject of a sentence.
        step: &'static str,
        /// What would make it work on this machine.
        advice: String,
    },
    /// A process with threads cannot change its user namespace.
    #[error("this process has {threads} threads: enter the laboratory before the first is started")]
    HasThreads {
        /// How many threads the process has.
        threads: usize,
    },
    /// The kernel refused a system call.
    #[error("{operation} {object}")]
    Os {
        /// What was asked of the kernel: `connect to`.
        operation: &'static str,
        /// On which file, address or interface.
        object: String,
        /// The kernel's error.
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
    /// Something did not happen before its deadline.
    #[error("{what}: not within {waited:?}")]
    Late {
        /// The condition that was waited for, in words.
        what: String,
        /// The time after which waiting was given up.
        waited: Duration,
    },
    /// Bytes arrived that nobody sent.
    #[error("the data from {from} differs from what was sent, first in the block at byte {at}")]
    Corrupt {
        /// The address of the sender.
        from: SocketAddr,
        /// The position in the stream where the differing block begins.
        at: u64,
    },
    /// A connection ended before all its bytes had arrived.
    #[error("the connection from {from} ended after {received} of {expected} bytes")]
    Short {
        /// The address of the sender.
        from: SocketAddr,
        /// Bytes that arrived.
        received: u64,
        /// Bytes that should have arrived.
        expected: u64,
    },
    /// The switch ended although nobody asked it to.
    #[error("{program} ended with {status} and said: {said}")]
    DaemonEnded {
        /// The path of its program.
        program: String,
        /// The exit status, or the signal that ended it.
        status: std::process::ExitStatus,
        /// All that it said, on both outputs.
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
