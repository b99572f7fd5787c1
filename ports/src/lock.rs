//! At most one switch process uses a device.
//!
//! The lock is a listening Unix socket with an abstract name. Such names belong to the network
//! namespace, as the device does, and go away with the process however it ends. Whoever finds the
//! name taken learns from the kernel which process has it.

use crate::PortError;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Held while a device is a port.
#[derive(Debug)]
pub(crate) struct Lock {
    _socket: UnixListener,
}

impl Lock {
    /// Takes the device `device` with interface number `index`, of the calling thread's network namespace,
    /// whose number is `namespace`.
    ///
    /// # Errors
    /// [`PortError::InUse`] with the process that has it.
    pub(crate) fn take(namespace: u64, device: &str, index: u32) -> Result<Self, PortError> {
        let error = |source| PortError::Os { operation: "lock", object: device.to_owned(), source };
        let name = format!("switchd-port/{namespace}/{index}");
        let address = SocketAddr::from_abstract_name(name).map_err(error)?;
        match UnixListener::bind_addr(&address) {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                Err(PortError::InUse { device: device.to_owned(), owner: owner(&address) })
            }
            Err(e) => Err(error(e)),
        }
    }
}

/// What is to be done about a device that another switch has.
const HOW_TO_MOVE: &str =
    "a device belongs to one switch: take it away there with \"ofctl del-port\", or stop it";

fn owner(address: &SocketAddr) -> String {
    let pid = UnixStream::connect_addr(address)
        .and_then(|stream| Ok(getsockopt(&stream, PeerCredentials)?.pid()));
    match pid {
        Ok(pid) if pid == std::process::id() as i32 => "this process already".to_owned(),
        // The kernel says 0 for a process of another PID namespace.
        Ok(pid) if pid > 0 => format!("process {pid}; {HOW_TO_MOVE}"),
        _ => format!("another process; {HOW_TO_MOVE}"),
    }
}
