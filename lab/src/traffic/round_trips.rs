//! Measures latency: requests and responses of one byte over a TCP connection.

use crate::{LabError, Namespace, PATIENCE};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A series of requests over one connection. Each is sent when the one before was answered.
#[derive(Clone, Copy, Debug)]
pub struct RoundTrips {
    /// The address at which the answering side listens.
    pub address: SocketAddr,
    /// How long requests are sent.
    pub duration: Duration,
}

/// The result of [`RoundTrips`]: the round trip times, in ascending order.
#[derive(Clone, Debug)]
pub struct RoundTripReport {
    sorted: Vec<Duration>,
    elapsed: Duration,
}

impl RoundTripReport {
    /// How many requests were answered in a second, on average.
    pub fn per_second(&self) -> f64 {
        self.sorted.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The round trip time that the share `share` (0 to 1) of the requests did not exceed;
    /// zero if none was answered.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        let index = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.sorted.get(index).copied().unwrap_or_default()
    }
}

impl RoundTrips {
    /// Sends requests one after the other until the time is over.
    ///
    /// # Errors
    /// The connection could not be opened, or an answer is missing.
    pub fn run(&self, from: &Namespace, to: &Namespace) -> Result<RoundTripReport, LabError> {
        let failed = |operation: &'static str| LabError::os(operation, self.address.to_string());
        let listener = to.run(|| TcpListener::bind(self.address))?.map_err(failed("listen at"))?;
        let client = from
            .run(|| TcpStream::connect_timeout(&self.address, PATIENCE))?
            .map_err(failed("connect to"))?;
        let (server, _) = listener.accept().map_err(failed("accept at"))?;
        std::thread::scope(|scope| {
            scope.spawn(|| answer(server));
            // `ask` drops the client, which closes the connection and so ends the answering thread.
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

/// Answers each byte until the other side closes the connection.
fn answer(mut server: TcpStream) {
    let mut byte = [0];
    // If this fails, the exchange fails too, and the asking side returns the error.
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
