//! A TCP connection that carries a known stream, timed at the receiver.

use super::pattern::Pattern;
use crate::{LabError, Namespace, PATIENCE};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A transfer to make.
#[derive(Clone, Copy, Debug)]
pub struct TcpTransfer {
    /// Where the receiver listens.
    pub listen: SocketAddr,
    /// Where the sender connects to: the same, unless something on the way rewrites it.
    pub connect: SocketAddr,
    /// Bytes to send.
    pub bytes: u64,
    /// Longest silence before the transfer is given up, at either end.
    pub patience: Duration,
}

/// A transfer that arrived, whole and unchanged.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Bytes that arrived and were compared.
    pub bytes: u64,
    /// From the connection's beginning to its last byte.
    pub elapsed: Duration,
}

impl Transfer {
    /// The rate of the transfer, in billions of bits a second.
    pub fn gbit_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64().max(1e-9) / 1e9
    }
}

impl TcpTransfer {
    /// `bytes` to a receiver at `address`, with [`PATIENCE`].
    pub fn to(address: SocketAddr, bytes: u64) -> Self {
        Self { listen: address, connect: address, bytes, patience: PATIENCE }
    }

    /// Sends from one namespace to the other and compares every byte at the receiver.
    ///
    /// # Errors
    /// No connection, an end or a silence before the last byte, or wrong contents.
    pub fn run(&self, from: &Namespace, to: &Namespace) -> Result<Transfer, LabError> {
        let pattern = Pattern::new();
        let listener = to
            .run(|| TcpListener::bind(self.listen))?
            .map_err(LabError::os("listen at", self.listen.to_string()))?;
        std::thread::scope(|scope| {
            let receiver = scope.spawn(|| self.receive(&listener, &pattern));
            let sent = self.send(from, &pattern);
            if sent.is_err() {
                // Nobody will connect any more: the receiver need not wait.
                let _ = nix::sys::socket::shutdown(
                    std::os::fd::AsRawFd::as_raw_fd(&listener),
                    nix::sys::socket::Shutdown::Both,
                );
            }
            let received = match receiver.join() {
                Ok(received) => received,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            // Wrong contents make the receiver hang up, which is all the sender notices.
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
            // The receiver hangs up when it has everything.
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
