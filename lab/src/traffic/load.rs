//! TCP streams for a while, counted where they arrive: what `iperf3` does. Contents are not compared,
//! because that would be measured, too; [`super::TcpTransfer`] does.

use crate::{LabError, Namespace, PATIENCE};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long streams find their speed before they are counted.
const WARM_UP: Duration = Duration::from_millis(200);
/// Bytes of one read or write, as of `iperf3`.
const BLOCK: usize = 128 * 1024;

/// Streams beside each other, all from one host to another.
#[derive(Clone, Copy, Debug)]
pub struct TcpLoad {
    /// Where the receiver listens.
    pub address: SocketAddr,
    /// How many streams run at the same time.
    pub streams: usize,
    /// How long bytes are counted; the time until streams find their speed comes before.
    pub duration: Duration,
}

/// How much arrived while it was counted.
#[derive(Clone, Copy, Debug)]
pub struct LoadReport {
    /// Bytes that arrived through all streams together.
    pub bytes: u64,
    /// How long they were counted.
    pub elapsed: Duration,
}

impl LoadReport {
    /// The rate of all streams together, in billions of bits a second.
    pub fn gbit_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64().max(1e-9) / 1e9
    }
}

impl TcpLoad {
    /// Sends as fast as it goes.
    ///
    /// # Errors
    /// No connection, or nothing came through one.
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
                scope.spawn(|| send(client));
                scope.spawn(|| receive(server, received));
            }
            std::thread::sleep(WARM_UP);
            let (start, before) = (Instant::now(), count());
            std::thread::sleep(self.duration);
            let report = LoadReport { bytes: count() - before, elapsed: start.elapsed() };
            for (client, _) in &ends {
                // Both threads of the stream end with it; it may have ended before them.
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

fn send(mut stream: &TcpStream) {
    let block = vec![0; BLOCK];
    while stream.write_all(&block).is_ok() {}
}

fn receive(mut stream: &TcpStream, received: &AtomicU64) {
    let mut block = vec![0; BLOCK];
    while let Ok(size @ 1..) = stream.read(&mut block) {
        received.fetch_add(size as u64, Ordering::Relaxed);
    }
}
