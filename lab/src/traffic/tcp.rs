//! A TCP transfer of known bytes, which the receiver compares and times.

use super::pattern::Pattern;
use crate::{LabError, Namespace, PATIENCE};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A transfer that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct TcpTransfer {
    /// The address at which the receiver listens.
    pub listen: SocketAddr,
    /// The address to which the sender connects. It differs from `listen` if the switch rewrites addresses.
    pub connect: SocketAddr,
    /// How many bytes are sent.
    pub bytes: u64,
    /// How long either end waits for the other before the transfer is given up.
    pub patience: Duration,
}

/// The result of a [`TcpTransfer`] whose bytes all arrived unchanged.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// How many bytes arrived.
    pub bytes: u64,
    /// The time from the opening of the connection to its last byte, at the receiver.
    pub elapsed: Duration,
}

impl Transfer {
    /// The rate of the transfer, in billions of bits a second.
    pub fn gbit_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64().max(1e-9) / 1e9
    }
}

impl TcpTransfer {
    /// A transfer of `bytes` bytes to a receiver at `address`, with [`PATIENCE`].
    pub fn to(address: SocketAddr, bytes: u64) -> Self {
        Self { listen: address, connect: address, bytes, patience: PATIENCE }
    }

    /// Sends from one namespace to the other and compares every byte at the receiver.
    ///
    /// # Errors
    /// The connection could not be opened, or ended or was silent before the last
    /// byte; or bytes differ ([`LabError::Corrupt`]).
    pub fn run(&self, from: &Namespace, to: &Namespace) -> Result<Transfer, LabError> {
        let pattern = Pattern::new();
        let listener = to
            .run(|| TcpListener::bind(self.listen))?
            .map_err(LabError::os("listen at", self.listen.to_string()))?;
        std::thread::scope(|scope| {
            let receiver = scope.spawn(|| self.receive(&listener, &pattern));
            let sent = self.send(from, &pattern);
            if sent.is_err() {
                // The sender will not connect, so `accept` is made to return.
                let _ = nix::sys::socket::shutdown(
                    std::os::fd::AsRawFd::as_raw_fd(&listener),
                    nix::sys::socket::Shutdown::Both,
                );
            }
            let received = match receiver.join() {
                Ok(received) => received,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            // If contents differ, the receiver closes the connection, and the sender's
            // error is only a consequence.
            match (sent, received) {
                (_, Err(e @ (LabError::Corrupt { .. } | LabError::Short { .. }))) => Err(e),
                (Err(e), _) => Err(e),
                (Ok(()), received) => received,
            }
        })
    }

    fn send(&self, from: &Namespace, pattern: &Pattern) -> Result<(), LabError> {
        let failed = |operation| LabError::os(operation, self.connect.to_string());
        let mut stream = from
            .run(|| TcpStream::connect_timeout(&self.connect, self.patience))?
            .map_err(failed("connect to"))?;
        let mut transmit = || -> io::Result<()> {
            stream.set_write_timeout(Some(self.patience))?;
            let mut position = 0;
            while position < self.bytes {
                let left = (self.bytes - position).min(Pattern::BLOCK as u64) as usize;
                position += stream.write(pattern.at(position, left))? as u64;
            }
            stream.shutdown(Shutdown::Write)?;
            // The receiver closes the connection when it has every byte.
            stream.set_read_timeout(Some(self.patience))?;
            stream.read(&mut [0]).map(drop)
        };
        transmit().map_err(failed("send to"))
    }

    fn receive(&self, listener: &TcpListener, pattern: &Pattern) -> Result<Transfer, LabError> {
        let (mut stream, from) =
            listener.accept().map_err(LabError::os("accept at", self.listen.to_string()))?;
        let start = Instant::now();
        let failed = || LabError::os("receive from", from.to_string());
        stream.set_read_timeout(Some(self.patience)).map_err(failed())?;
        let mut buf = vec![0; Pattern::BLOCK];
        let mut received = 0;
        let mut elapsed = Duration::ZERO;
        loop {
            let size = stream.read(&mut buf).map_err(failed())?;
            if size == 0 {
                break;
            }
            if buf[..size] != *pattern.at(received, size) {
                return Err(LabError::Corrupt { from, at: received });
            }
            received += size as u64;
            elapsed = start.elapsed();
        }
        if received != self.bytes {
            return Err(LabError::Short { from, received, expected: self.bytes });
        }
        Ok(Transfer { bytes: received, elapsed })
    }
}
