//! The kernel's routing socket (rtnetlink(7)): network devices, their addresses, their queues.
//!
//! [`Netlink`] asks and waits for the answer; it is for control threads, never for the path of a frame.
//! [`Events`] is a second socket that hears of changes and can be polled. What only test networks need, such
//! as making veth pairs, is in the crate `lab`.
//!
//! A socket belongs for ever to the network namespace it was opened in. To work in another one, open
//! it there: `namespace.run(Netlink::open)` ([`crate::netns::Netns::run`]).

mod address;
mod batch;
mod events;
mod features;
mod link;
pub(crate) mod nftables;
mod route;

pub use batch::LinkChange;
pub(crate) use batch::{Reply, Request};
pub use events::{Events, LinkEvent};
pub use features::Features;
pub(crate) use features::features;
pub use link::{Link, link_message};
pub use nftables::{ChainChange, DropTable};
pub use route::{Route, Sender};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;

/// Larger than any message of the kernel, which fills at most 32 KiB of a dump at a time.
const RECEIVE_SIZE: usize = 64 * 1024;

/// A request to the kernel failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetlinkError {
    /// There is no device with this name.
    #[error("\"{name}\": no such network device")]
    NoDevice {
        /// The name asked for.
        name: String,
    },
    /// The kernel wants a capability that this process lacks.
    #[error(
        "{operation}: CAP_NET_ADMIN is missing; run as root, or in a user namespace of your own"
    )]
    Denied {
        /// What was asked of the kernel: `create bridge "br0"`.
        operation: String,
    },
    /// The kernel refused the request.
    #[error("{operation}")]
    Refused {
        /// What was asked of the kernel.
        operation: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel answered something that is not a netlink message we know.
    #[error("{operation}: the kernel's answer is not understood: {reason}")]
    Undecodable {
        /// What was asked of the kernel.
        operation: String,
        /// What the decoder says about the message.
        reason: String,
    },
}

impl NetlinkError {
    fn refused(operation: impl Into<String>, source: io::Error) -> Self {
        let operation = operation.into();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Denied { operation },
            _ => Self::Refused { operation, source },
        }
    }

    /// The same error of an operation that is called otherwise: by the name of a device instead of its number.
    pub(crate) fn renamed(self, name: impl FnOnce() -> String) -> Self {
        match self {
            Self::Denied { .. } => Self::Denied { operation: name() },
            Self::Refused { source, .. } => Self::Refused { operation: name(), source },
            Self::Undecodable { reason, .. } => Self::Undecodable { operation: name(), reason },
            no_device @ Self::NoDevice { .. } => no_device,
        }
    }

    /// Whether a privilege is missing, so that root would succeed.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }

    /// The error number of the kernel, if it refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::NoDevice { .. } => Some(libc::ENODEV),
            Self::Denied { .. } => Some(libc::EPERM),
            Self::Refused { source, .. } => source.raw_os_error(),
            Self::Undecodable { .. } => None,
        }
    }
}

/// Requests to the kernel, one at a time.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    received: Vec<u8>,
}

impl Netlink {
    /// A socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel has no memory or no file descriptor left.
    pub fn open() -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // What is asked about one device is then answered about that one only. Kernels before 4.20
            // do not know the option; they answer about all, and the answers are sorted out here.
            let _ = socket.set_netlink_get_strict_chk(true);
            Ok(socket)
        };
        let socket = open().map_err(|e| NetlinkError::refused("open a routing socket", e))?;
        Ok(Self { socket, sequence: 0, received: Vec::with_capacity(RECEIVE_SIZE) })
    }

    /// Sends a request and waits until the kernel has carried it out. `operation` names it in errors, and
    /// `flags` are those of netlink(7) beside `NLM_F_REQUEST` and `NLM_F_ACK`.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn request(
        &mut self,
        operation: impl FnOnce() -> String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.exchange(operation, message, flags | NLM_F_ACK, |_| ())
    }

    /// Sends a request and passes every message of the answer to `each`.
    fn exchange(
        &mut self,
        operation: impl FnOnce() -> String,
        message: RouteNetlinkMessage,
        flags: u16,
        each: impl FnMut(RouteNetlinkMessage),
    ) -> Result<(), NetlinkError> {
        self.try_exchange(message, flags, each).map_err(|failure| failure.of(operation()))
    }

    fn try_exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> Result<(), Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        append(&mut bytes, message, flags, self.sequence);
        self.socket.send(&bytes, 0)?;

        // A dump ends with "done", a request with an acknowledgement, a plain get with its answer.
        let waits_for_end = flags & (NLM_F_ACK | NLM_F_DUMP) != 0;
        loop {
            self.received.clear();
            self.socket.recv(&mut self.received, 0)?;
            for message in messages(&self.received) {
                let message = message?;
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Error(e) if e.code.is_some() => return Err(e.to_io().into()),
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::InnerMessage(inner) => {
                        each(inner);
                        if !waits_for_end {
                            return Ok(());
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Appends a request to a datagram. `flags` are those beside `NLM_F_REQUEST`.
fn append(bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | flags;
    request.header.sequence_number = sequence;
    request.finalize();
    // Messages begin at multiples of four.
    let start = bytes.len().next_multiple_of(4);
    bytes.resize(start + request.buffer_len(), 0);
    request.serialize(&mut bytes[start..]);
}

/// Why a request failed, of which nobody has said yet what was asked for.
enum Failure {
    /// The kernel refused the request, or the socket failed.
    Io(io::Error),
    /// The kernel's answer is not understood, for this reason.
    Decode(String),
}

impl Failure {
    /// The error of the operation that failed.
    fn of(self, operation: impl Into<String>) -> NetlinkError {
        match self {
            Self::Io(source) => NetlinkError::refused(operation, source),
            Self::Decode(reason) => {
                NetlinkError::Undecodable { operation: operation.into(), reason }
            }
        }
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// The messages of one datagram.
fn messages(
    mut bytes: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<RouteNetlinkMessage>, Failure>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let decoded =
            NetlinkMessage::deserialize(bytes).map_err(|e| Failure::Decode(e.to_string()));
        let size = NetlinkBuffer::new_checked(bytes).map(|b| b.length() as usize);
        // Messages begin at multiples of four. One that claims no length would never end.
        let size = size.unwrap_or(bytes.len()).next_multiple_of(4).clamp(4, bytes.len().max(4));
        bytes = bytes.get(size..).unwrap_or_default();
        Some(decoded)
    })
}
