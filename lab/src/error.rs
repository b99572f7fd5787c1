//! [`LabError`], the error of every function of this crate.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a laboratory, or something in it, does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The kernel does not allow this user to create namespaces.
    #[error("{step} is not allowed here: {advice}")]
    Denied {
        /// What is not allowed, such as `a user namespace`.
        step: &'static str,
        /// What the user can do so that this machine allows it.
        advice: String,
    },
    /// The process has several threads, and the kernel refuses it a user namespace.
    #[error("this process has {threads} threads: enter the laboratory before the first is started")]
    HasThreads {
        /// How many threads the process has.
        threads: usize,
    },
    /// A system call failed.
    #[error("{operation} {object}")]
    Os {
        /// The operation, such as `connect to`.
        operation: &'static str,
        /// The file, address or interface of the operation.
        object: String,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// A request over a routing socket (netlink) failed.
    #[error(transparent)]
    Netlink(#[from] ports::netlink::NetlinkError),
    /// A port could not be opened, or one of its queues failed.
    #[error(transparent)]
    Port(#[from] ports::PortError),
    /// A control session with the switch failed, or the switch refused a request.
    #[error(transparent)]
    Control(#[from] control::ClientError),
    /// A condition did not become true before its deadline.
    #[error("{what}: not within {waited:?}")]
    Late {
        /// The condition in words.
        what: String,
        /// The time after which waiting was given up.
        waited: Duration,
    },
    /// A receiver got other bytes than the sender sent.
    #[error("the data from {from} differs from what was sent, first in the block at byte {at}")]
    Corrupt {
        /// The address of the sender.
        from: SocketAddr,
        /// Offset in the stream of the first block that differs, in bytes.
        at: u64,
    },
    /// A connection ended before all its bytes had arrived.
    #[error("the connection from {from} ended after {received} of {expected} bytes")]
    Short {
        /// The address of the sender.
        from: SocketAddr,
        /// How many bytes arrived.
        received: u64,
        /// How many bytes the sender was to send.
        expected: u64,
    },
    /// The daemon ended before it answered.
    #[error("{program} ended with {status} and said: {said}")]
    DaemonEnded {
        /// The path of the program.
        program: String,
        /// The exit status, or the signal that ended the process.
        status: std::process::ExitStatus,
        /// The text that the daemon wrote to standard output and standard error.
        said: String,
    },
}

impl LabError {
    /// A function that makes [`LabError::Os`] of an operating system's error, for `map_err`.
    pub(crate) fn os(
        operation: &'static str,
        object: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
        let object = object.into();
        move |source| Self::Os { operation, object, source }
    }

    /// Whether the machine does not allow laboratories, so that a test should be skipped.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }
}
