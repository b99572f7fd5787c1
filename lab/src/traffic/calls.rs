//! Measures short connections: connect, one request, one answer, close.

use crate::{LabError, Namespace, PATIENCE};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A series of connections, one after the other. The answering side closes each of them first, so that the
/// asking side can use its ports again.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// The address at which the answering side listens.
    pub address: SocketAddr,
    /// How long connections are made.
    pub duration: Duration,
}

impl Calls {
    /// Makes connections until the time is over. Returns how many were answered in a second, on average.
    ///
    /// # Errors
    /// A connection could not be opened, or an answer is missing.
    pub fn run(&self, from: &Namespace, to: &Namespace) -> Result<f64, LabError> {
        let failed = |operation: &'static str| LabError::os(operation, self.address.to_string());
        let listener = to.run(|| TcpListener::bind(self.address))?.map_err(failed("listen at"))?;
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| answer(&listener, &is_over));
            let asked = from.run(|| self.ask());
            is_over.store(true, Ordering::Release);
            // Wakes the answering thread, which waits for a connection.
            let woken = to.run(|| TcpStream::connect_timeout(&self.address, PATIENCE))?;
            woken.map_err(failed("connect to"))?;
            asked?.map_err(failed("call"))
        })
    }

    fn ask(&self) -> io::Result<f64> {
        let (mut count, start) = (0u64, Instant::now());
        while start.elapsed() < self.duration {
            let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&[1])?;
            stream.read_exact(&mut [0])?;
            // The end of the stream: the other side has closed it.
            if stream.read(&mut [0])? != 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            count += 1;
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }
}

/// Answers one byte of each connection and closes it, until a connection comes when all is over.
fn answer(listener: &TcpListener, is_over: &AtomicBool) {
    for stream in listener.incoming() {
        if is_over.load(Ordering::Acquire) {
            return;
        }
        // If this fails, the asking side notices, and returns the error.
        let _ = stream.and_then(|mut stream| {
            stream.read_exact(&mut [0])?;
            stream.write_all(&[1])
        });
    }
}
