//! TCP streams for some time, whose bytes are counted at the receiver, as `iperf3`
//! does. The contents are not compared, because that would cost CPU time and distort
//! the measurement; [`super::TcpTransfer`] compares them.

use crate::{LabError, Namespace, PATIENCE};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long streams run before bytes are counted, so that TCP reaches its full rate.
const WARM_UP: Duration = Duration::from_millis(200);
/// The size of one read or write in bytes, as in `iperf3`.
const BLOCK: usize = 128 * 1024;

/// Parallel TCP streams from one host to another.
#[derive(Clone, Copy, Debug)]
pub struct TcpLoad {
    /// The address at which the receiver listens.
    pub address: SocketAddr,
    /// How many streams run at the same time.
    pub streams: usize,
    /// How long bytes are counted, after a short warm-up.
    pub duration: Duration,
    /// How many bytes a second each stream sends at most; `None` sends as fast as TCP allows.
    pub pace: Option<u64>,
}

/// The result of a [`TcpLoad`].
#[derive(Clone, Copy, Debug)]
pub struct LoadReport {
    /// How many bytes arrived through all streams together while they were counted.
    pub bytes: u64,
    /// How long the bytes were counted.
    pub elapsed: Duration,
}

impl LoadReport {
    /// The rate of all streams together, in bytes a second.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The rate of all streams together, in billions of bits a second.
    pub fn gbit_per_second(&self) -> f64 {
        self.bytes_per_second() * 8.0 / 1e9
    }
}

impl TcpLoad {
    /// Sends as fast as TCP and `pace` allow, and counts the bytes that arrive.
    ///
    /// # Errors
    /// A connection could not be opened, or no byte arrived through one of them.
    pub fn run(&self, from: &Namespace, to: &Namespace) -> Result<LoadReport, LabError> {
        let failed = |operation: &'static str| LabError::os(operation, self.address.to_string());
        let listener = to.run(|| TcpListener::bind(self.address))?.map_err(failed("listen at"))?;
        let mut ends = Vec::new();
        for _ in 0..self.streams {
            let client = from
                .run(|| TcpStream::connect_timeout(&self.address, PATIENCE))?
                .map_err(failed("connect to"))?;
            let (server, _) = listener.accept().map_err(failed("accept at"))?;
            client.set_write_timeout(Some(PATIENCE)).map_err(failed("send to"))?;
            server.set_read_timeout(Some(PATIENCE)).map_err(failed("receive at"))?;
            ends.push((client, server));
        }
        let received: Vec<_> = ends.iter().map(|_| AtomicU64::new(0)).collect();
        let count = || received.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum::<u64>();
        let report = std::thread::scope(|scope| {
            for ((client, server), received) in ends.iter().zip(&received) {
                scope.spawn(|| send(client, self.pace));
                scope.spawn(|| receive(server, received));
            }
            std::thread::sleep(WARM_UP);
            let (start, before) = (Instant::now(), count());
            std::thread::sleep(self.duration);
            let report = LoadReport { bytes: count() - before, elapsed: start.elapsed() };
            for (client, _) in &ends {
                // This ends the sending and the receiving thread. The call fails if
                // the connection has ended already.
                let _ = client.shutdown(Shutdown::Both);
            }
            report
        });
        if received.iter().any(|bytes| bytes.load(Ordering::Relaxed) == 0) {
            return Err(failed("receive a stream at")(io::ErrorKind::TimedOut.into()));
        }
        Ok(report)
    }
}

fn send(mut stream: &TcpStream, pace: Option<u64>) {
    let block = vec![0; BLOCK];
    let (start, mut sent) = (Instant::now(), 0);
    while stream.write_all(&block).is_ok() {
        sent += BLOCK as u64;
        if let Some(pace) = pace {
            let due = start + Duration::from_secs_f64(sent as f64 / pace as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

fn receive(mut stream: &TcpStream, received: &AtomicU64) {
    let mut block = vec![0; BLOCK];
    while let Ok(size @ 1..) = stream.read(&mut block) {
        received.fetch_add(size as u64, Ordering::Relaxed);
    }
}
