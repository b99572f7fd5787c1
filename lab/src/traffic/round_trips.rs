//! Requests and responses of one byte over TCP: how long a frame is on its way when nothing hurries
//! it along.

use crate::{LabError, Namespace, PATIENCE};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A series of requests over one connection, each sent when the one before was answered.
#[derive(Clone, Copy, Debug)]
pub struct RoundTrips {
    /// Where the answering side listens.
    pub address: SocketAddr,
    /// How long to go on.
    pub duration: Duration,
}

/// How long the answers took, shortest first.
#[derive(Clone, Debug)]
pub struct RoundTripReport {
    sorted: Vec<Duration>,
    elapsed: Duration,
}

impl RoundTripReport {
    /// Answers in a second, on average.
    pub fn per_second(&self) -> f64 {
        self.sorted.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The time that `share` (0 to 1) of the answers did not exceed; zero if there was none.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        let index = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.sorted.get(index).copied().unwrap_or_default()
    }
}

impl RoundTrips {
    /// Exchanges as many bytes as the time allows.
    ///
    /// # Errors
    /// No connection, or an answer is missing.
    pub fn run(&self, from: &Namespace, to: &Namespace) -> Result<RoundTripReport, LabError> {
        let failed = |operation: &'static str| LabError::os(operation, self.address.to_string());
        let listener = to.run(|| TcpListener::bind(self.address))?.map_err(failed("listen at"))?;
        let client = from
            .run(|| TcpStream::connect_timeout(&self.address, PATIENCE))?
            .map_err(failed("connect to"))?;
        let (server, _) = listener.accept().map_err(failed("accept at"))?;
        std::thread::scope(|scope| {
            scope.spawn(|| answer(server));
            // Its end closes the connection, which ends the answering side.
            self.ask(client).map_err(failed("exchange bytes with"))
        })
    }

    fn ask(&self, mut client: TcpStream) -> io::Result<RoundTripReport> {
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(PATIENCE))?;
        let mut sorted = Vec::new();
        let start = Instant::now();
        let mut sent = start;
        while sent.duration_since(start) < self.duration {
            client.write_all(&[1])?;
            client.read_exact(&mut [0])?;
            let received = Instant::now();
            sorted.push(received.duration_since(sent));
            sent = received;
        }
        sorted.sort_unstable();
        Ok(RoundTripReport { sorted, elapsed: sent.duration_since(start) })
    }
}

/// Answers until the other side has gone.
fn answer(mut server: TcpStream) {
    let mut byte = [0];
    // An error ends the series, which the asking side notices.
    let _ = server.set_nodelay(true);
    while server.read_exact(&mut byte).is_ok() && server.write_all(&byte).is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_from_the_sorted_times() {
        let sorted = (1..=101).map(Duration::from_micros).collect();
        let report = RoundTripReport { sorted, elapsed: Duration::from_millis(1) };
        assert_eq!(report.quantile(0.5), Duration::from_micros(51));
        assert_eq!(report.quantile(0.99), Duration::from_micros(100));
        assert_eq!(report.quantile(7.0), Duration::from_micros(101));
        let none = RoundTripReport { sorted: Vec::new(), elapsed: Duration::ZERO };
        assert_eq!(none.quantile(0.5), Duration::ZERO);
    }
}
