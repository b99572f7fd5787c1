//! Sends UDP datagrams to a host that sends them back unchanged.

use super::pattern::Pattern;
use crate::{LabError, Namespace, PATIENCE};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the answering side checks whether the exchange is over.
const STEP: Duration = Duration::from_millis(20);

/// An exchange of datagrams. Each is sent when the one before was answered or given up.
#[derive(Clone, Debug)]
pub struct UdpExchange {
    /// The address at which the answering side listens.
    pub listen: SocketAddr,
    /// The address to which the asking side sends. It differs from `listen` if the switch rewrites addresses.
    pub connect: SocketAddr,
    /// The size of each datagram's payload in bytes. Datagrams above the MTU are sent as IP fragments.
    pub sizes: Vec<usize>,
    /// How long to wait for each answer before the datagram is given up.
    pub patience: Duration,
}

/// The result of a [`UdpExchange`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpReport {
    /// How many datagrams were sent.
    pub sent: usize,
    /// How many datagrams came back with the same contents.
    pub received: usize,
}

impl UdpReport {
    /// Whether every datagram came back.
    pub fn is_complete(&self) -> bool {
        self.sent == self.received
    }
}

impl UdpExchange {
    /// An exchange of datagrams of these sizes with `address`, with [`PATIENCE`] for each answer.
    pub fn to(address: SocketAddr, sizes: &[usize]) -> Self {
        Self { listen: address, connect: address, sizes: sizes.to_vec(), patience: PATIENCE }
    }

    /// Exchanges the datagrams. A datagram without an answer is no error.
    ///
    /// # Errors
    /// A socket could not be opened, or there is no route.
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

/// Sends each datagram back to its sender until `is_over` is true.
fn echo(server: &UdpSocket, is_over: &AtomicBool) {
    let mut buf = vec![0; 65_536];
    if server.set_read_timeout(Some(STEP)).is_err() {
        return;
    }
    while !is_over.load(Ordering::Relaxed) {
        if let Ok((size, from)) = server.recv_from(&mut buf) {
            // If sending fails, the answer does not arrive, which the asking side counts.
            let _ = server.send_to(&buf[..size], from);
        }
    }
}
