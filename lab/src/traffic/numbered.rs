//! A stream of numbered UDP datagrams to one host, by which a test sees each that is lost
//! or comes out of order.

use crate::{LabError, Namespace};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The receive buffer that is asked for, in bytes. An ordinary user gets less.
const RECEIVE_BUFFER: usize = 64 << 20;
/// The longest time that the sender sleeps between two bursts.
const PAUSE: Duration = Duration::from_micros(50);
/// The largest number of datagrams that are sent without a look at the time.
const BURST: u64 = 64;
/// How often the receiver checks whether the stream is over.
const STEP: Duration = Duration::from_millis(20);
/// At the end of the stream, datagrams that have not come for this long are lost.
const LAST_CALL: Duration = Duration::from_secs(5);

/// A stream that is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct NumberedStream {
    /// The address of the receiver.
    pub to: SocketAddr,
    /// The number of datagrams a second.
    pub rate: u64,
    /// The largest number of datagrams that are under way. The sender waits for the receiver beyond it, so that
    /// a receiver that has no processor for a while loses nothing.
    pub window: u64,
}

/// What became of a [`NumberedStream`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumberedReport {
    /// The number of datagrams that were sent.
    pub sent: u64,
    /// The number of datagrams that were received.
    pub received: u64,
    /// The number of datagrams that came behind one with a higher number, or came twice.
    pub misordered: u64,
    /// The longest time between two datagrams at the receiver.
    pub longest_gap: Duration,
}

impl NumberedStream {
    /// Sends from one namespace to the other as long as `event` runs. Returns what it returns, with the report.
    ///
    /// # Errors
    /// A socket could not be opened, or the kernel refused to send or receive.
    pub fn run_during<R>(
        &self,
        from: &Namespace,
        to: &Namespace,
        event: impl FnOnce() -> R,
    ) -> Result<(R, NumberedReport), LabError> {
        let failed = |operation: &'static str| LabError::os(operation, self.to.to_string());
        let receiver = to.run(|| UdpSocket::bind(self.to))?.map_err(failed("listen at"))?;
        // Either may be refused to an ordinary user.
        let _ = setsockopt(&receiver, sockopt::RcvBuf, &RECEIVE_BUFFER);
        let _ = setsockopt(&receiver, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        receiver.set_read_timeout(Some(STEP)).map_err(failed("receive at"))?;
        let any = SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        let sender = from.run(|| UdpSocket::bind(any))?.map_err(failed("send to"))?;
        sender.connect(self.to).map_err(failed("send to"))?;
        let (is_over, is_sent) = <(AtomicBool, AtomicBool)>::default();
        let (sent, received) = <(AtomicU64, AtomicU64)>::default();
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| self.send(&sender, &is_over, &sent, &received));
            let receiving = scope.spawn(|| receive(&receiver, &is_sent, &sent, &received));
            let result = event();
            is_over.store(true, Ordering::SeqCst);
            let sent = sending.join().expect("the sender does not panic");
            is_sent.store(true, Ordering::SeqCst);
            let report = receiving.join().expect("the receiver does not panic");
            sent.map_err(failed("send to"))?;
            Ok((result, report.map_err(failed("receive at"))?))
        })
    }

    fn send(
        &self,
        sender: &UdpSocket,
        is_over: &AtomicBool,
        sent: &AtomicU64,
        received: &AtomicU64,
    ) -> std::io::Result<()> {
        let start = Instant::now();
        let (mut number, mut skipped) = (0, 0);
        while !is_over.load(Ordering::SeqCst) {
            let due = (start.elapsed().as_nanos() * u128::from(self.rate) / 1_000_000_000) as u64;
            let behind = due.saturating_sub(number + skipped);
            let under_way = number.saturating_sub(received.load(Ordering::SeqCst));
            let room = self.window.saturating_sub(under_way);
            // A sender that had no processor for a while does not make up for all of it at once.
            skipped += behind.saturating_sub(BURST);
            for _ in 0..behind.min(BURST).min(room) {
                match sender.send(&u64::to_be_bytes(number)) {
                    Ok(_) => number += 1,
                    Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => break,
                    Err(error) => return Err(error),
                }
                sent.store(number, Ordering::SeqCst);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

fn receive(
    receiver: &UdpSocket,
    is_sent: &AtomicBool,
    sent: &AtomicU64,
    received: &AtomicU64,
) -> std::io::Result<NumberedReport> {
    let mut report = NumberedReport::default();
    let mut last = None::<Instant>;
    let mut next = 0;
    let mut silent_since = Instant::now();
    loop {
        let mut bytes = [0; 8];
        match receiver.recv(&mut bytes) {
            Ok(_) => {
                let (number, now) = (u64::from_be_bytes(bytes), Instant::now());
                report.received += 1;
                report.misordered += u64::from(number < next);
                next = next.max(number + 1);
                received.store(report.received, Ordering::SeqCst);
                let gap = last.map_or(Duration::ZERO, |last| now - last);
                report.longest_gap = report.longest_gap.max(gap);
                last = Some(now);
                silent_since = now;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        if is_sent.load(Ordering::SeqCst) {
            report.sent = sent.load(Ordering::SeqCst);
            if report.received >= report.sent || silent_since.elapsed() > LAST_CALL {
                return Ok(report);
            }
        }
    }
}
