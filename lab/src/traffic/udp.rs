//! Datagrams that are sent back unchanged.

use super::pattern::Pattern;
use crate::{LabError, Namespace, PATIENCE};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the answering side looks whether it is still needed.
const STEP: Duration = Duration::from_millis(20);

/// An exchange to make: each datagram waits for the answer to the one before.
#[derive(Clone, Debug)]
pub struct UdpExchange {
    /// Where the answering side listens.
    pub listen: SocketAddr,
    /// Where the asking side sends to: the same, unless something on the way rewrites it.
    pub connect: SocketAddr,
    /// Sizes of the datagrams. Those above the MTU travel as IP fragments.
    pub sizes: Vec<usize>,
    /// How long to wait for each answer.
    pub patience: Duration,
}

/// How many datagrams were sent, and how many came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpReport {
    /// Datagrams that were sent.
    pub sent: usize,
    /// Datagrams that came back with the same contents.
    pub received: usize,
}

impl UdpReport {
    /// Every datagram was answered.
    pub fn is_complete(&self) -> bool {
        self.sent == self.received
    }
}

impl UdpExchange {
    /// Datagrams of `sizes` to `address`, with [`PATIENCE`] for each answer.
    pub fn to(address: SocketAddr, sizes: &[usize]) -> Self {
        Self { listen: address, connect: address, sizes: sizes.to_vec(), patience: PATIENCE }
    }

    /// Exchanges the datagrams. A missing answer is not an error.
    ///
    /// # Errors
    /// A socket could not be had, or there is no route.
    pub fn run(&self, from: &Namespace, to: &Namespace) -> Result<UdpReport, LabError> {
        let server = to
            .run(|| UdpSocket::bind(self.listen))?
            .map_err(LabError::os("listen at", self.listen.to_string()))?;
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| echo(&server, &is_over));
            let report = self.ask(from);
            is_over.store(true, Ordering::Relaxed);
            report.map_err(LabError::os("exchange datagrams with", self.connect.to_string()))
        })
    }

    fn ask(&self, from: &Namespace) -> io::Result<UdpReport> {
        let any = match self.connect {
            SocketAddr::V4(_) => "0.0.0.0:0",
            SocketAddr::V6(_) => "[::]:0",
        };
        let client = from.run(|| UdpSocket::bind(any)).map_err(io::Error::other)??;
        client.connect(self.connect)?;
        client.set_read_timeout(Some(self.patience))?;
        let pattern = Pattern::new();
        let mut buf = vec![0; 65_536];
        let mut report = UdpReport::default();
        for (i, &size) in self.sizes.iter().enumerate() {
            let datagram = pattern.at(i as u64 * 1000, size);
            client.send(datagram)?;
            report.sent += 1;
            match client.recv(&mut buf) {
                Ok(n) if buf[..n] == *datagram => report.received += 1,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(e) => return Err(e),
            }
        }
        Ok(report)
    }
}

/// Sends everything back until `is_over`.
fn echo(server: &UdpSocket, is_over: &AtomicBool) {
    let mut buf = vec![0; 65_536];
    if server.set_read_timeout(Some(STEP)).is_err() {
        return;
    }
    while !is_over.load(Ordering::Relaxed) {
        if let Ok((size, from)) = server.recv_from(&mut buf) {
            // An answer that cannot be sent is one that does not arrive.
            let _ = server.send_to(&buf[..size], from);
        }
    }
}
