//! How each figure is measured.

use super::processes::{self, on_core};
use super::{Figure, Network};
use clap::ValueEnum;
use lab::traffic::{Calls, RoundTrips, TcpLoad};
use lab::{FrameSocket, FrameSource, Host, InterfaceCounters, Netlink};
use ports::netlink::{ChainChange, DropTable};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Frames of one system call of the generator.
const BURST: usize = 64;
/// Flows of the measurements with many.
const MOST_FLOWS: usize = 10_000;
/// The first moments fill caches and queues.
const WARM_UP: Duration = Duration::from_millis(100);
/// Streams of the TCP measurement with several.
const STREAMS: usize = 4;

/// The rate of TCP at which processor time is measured, in bytes a second.
const PACE: u64 = 2_000_000_000 / 8;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Frames per second: small and full ones, of one flow and of ten thousand; and processor time
    Frames,
    /// One TCP stream and four, with the kernel's default offloads
    Tcp,
    /// One byte there and back over TCP
    RoundTrips,
    /// TCP connections, each with one request, one after the other
    Calls,
    /// What the switch takes while nothing comes
    Idle,
}

impl Measure {
    /// All of them, in the order of the table.
    pub const ALL: &[Self] = &[Self::Frames, Self::Tcp, Self::RoundTrips, Self::Calls, Self::Idle];

    /// The steps it is measured in. Each gives one or several figures.
    pub fn steps(self) -> Vec<Step> {
        match self {
            Self::Frames => Figure::FRAMES
                .into_iter()
                .filter_map(|figure| match figure {
                    Figure::Frames(size, flows) => Some(Step::Frames { size, flows }),
                    _ => None,
                })
                .collect(),
            Self::Tcp => vec![Step::Tcp { streams: 1 }, Step::Tcp { streams: STREAMS }],
            Self::RoundTrips => vec![Step::RoundTrips],
            Self::Calls => vec![Step::Calls],
            Self::Idle => vec![Step::Idle],
        }
    }
}

/// Something that is measured at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Frames as fast as they go.
    Frames {
        /// Bytes of a frame.
        size: usize,
        /// How many flows the frames are of.
        flows: usize,
    },
    /// TCP streams as fast as they go.
    Tcp {
        /// How many streams run at the same time.
        streams: usize,
    },
    /// A TCP stream that is slower than it could be, and the processor time that it takes.
    PacedTcp,
    /// One byte there and back over TCP, again and again.
    RoundTrips,
    /// Connect, ask, close, again and again.
    Calls,
    /// The hosts are silent, and the switch is watched.
    Idle,
}

impl Step {
    /// The numbers that it gives.
    pub fn figures(self) -> Vec<Figure> {
        match self {
            Self::Frames { size: 60, flows: 1 } => {
                vec![Figure::Frames(60, 1), Figure::CpuPerFrame(1), Figure::SwitchCpu]
            }
            Self::Frames { size: 60, flows } => {
                vec![Figure::Frames(60, flows), Figure::CpuPerFrame(flows)]
            }
            Self::Frames { size, flows } => vec![Figure::Frames(size, flows)],
            Self::Tcp { streams } => vec![Figure::Tcp(streams)],
            Self::PacedTcp => vec![Figure::PacedTcp],
            Self::RoundTrips => {
                vec![Figure::RoundTrips, Figure::RoundTripMedian, Figure::RoundTripTail]
            }
            Self::Calls => vec![Figure::Calls],
            Self::Idle => vec![Figure::IdleCpu, Figure::Memory],
        }
    }

    /// Measures once, for about `duration`. The values are those of [`Step::figures`], in their order;
    /// none if the step does not apply.
    ///
    /// # Errors
    /// Nothing gets through.
    pub fn run(self, network: &Network, duration: Duration) -> anyhow::Result<Vec<f64>> {
        let (from, to) = (network.a.namespace(), network.b.namespace());
        let at = |port| SocketAddr::new(network.b.v4().into(), port);
        match self {
            Self::Frames { size, flows } => frames(network, size, flows, duration),
            Self::Tcp { streams } => {
                let load = TcpLoad { address: at(5001), streams, duration, pace: None };
                Ok(vec![load.run(from, to)?.gbit_per_second()])
            }
            Self::PacedTcp => paced_tcp(network, at(5003), duration),
            Self::RoundTrips => {
                let report = RoundTrips { address: at(5002), duration }.run(from, to)?;
                let quantile = |share| report.quantile(share).as_secs_f64() * 1e6;
                Ok(vec![report.per_second(), quantile(0.5), quantile(0.99)])
            }
            Self::Calls => Ok(vec![Calls { address: at(5003), duration }.run(from, to)?]),
            Self::Idle => idle(&network.pids(), duration),
        }
    }
}

/// Processors of the whole machine that a TCP stream keeps busy: much of what the kernel does for it is done
/// for nobody's account. So nothing else may run. A stream that does not reach the rate counts as if it had,
/// with as much more time.
fn paced_tcp(
    network: &Network,
    address: SocketAddr,
    duration: Duration,
) -> anyhow::Result<Vec<f64>> {
    let (before, start) = (processes::busy_time()?, Instant::now());
    let load = TcpLoad { address, streams: 1, duration, pace: Some(PACE) };
    let report = load.run(network.a.namespace(), network.b.namespace())?;
    let cpu = processes::busy_time()? - before;
    let busy = cpu.as_secs_f64() / start.elapsed().as_secs_f64();
    Ok(vec![busy * PACE as f64 / report.bytes_per_second()])
}

/// Frames per second that arrive while the generator sends as fast as it can; of small ones also the time they
/// take, and of small ones of one flow how busy the switch's processes are, if there are any.
fn frames(
    network: &Network,
    size: usize,
    flows: usize,
    duration: Duration,
) -> anyhow::Result<Vec<f64>> {
    let Network { a, b, .. } = network;
    // The receiving kernel drops everything first thing, so that its work hardly counts. The frames are for a
    // MAC address that is not the host's; a frame from that address tells the switch where it is.
    let sink = [2, 0, 0, 0, 0, 0xee];
    let receiver = b.run(|| FrameSocket::open_to_send(b.interface()))??;
    receiver.send(&udp_frame(a.mac(), sink, 60, 1))?;
    let frames: Vec<_> =
        (0..flows).map(|flow| udp_frame(sink, a.mac(), size, flow as u16)).collect();
    let is_slow = network.slow_source.is_some();
    let _drops = drop_at_once(b)?;
    let mut generator = a.run(|| Generator::open(a, is_slow, frames))??;
    let switch = network.pids();
    let others = processes::senders();
    let times = || anyhow::Ok((processes::cpu_time(&switch)?, processes::cpu_time(&others)?));
    on_core(0, || {
        generator.run(WARM_UP)?;
        let (before, received_before) = (times()?, received(network)?);
        let start = Instant::now();
        generator.run(duration)?;
        let elapsed = start.elapsed().as_secs_f64();
        let (arrived, after) = (received(network)? - received_before, times()?);
        anyhow::ensure!(arrived > 0, "no frame arrived");
        let rate = arrived as f64 / elapsed / 1e6;
        let of_switch = (after.0 - before.0).as_secs_f64();
        let of_all = of_switch + (after.1 - before.1).as_secs_f64();
        let mut values = vec![rate];
        if size == 60 {
            values.push(of_all / (arrived as f64 / 1e6));
        }
        if (size, flows) == (60, 1) && !switch.is_empty() {
            values.push(of_switch / elapsed * 100.0);
        }
        Ok(values)
    })
}

/// Has the host drop what it receives before its stack looks at it, until the returned value is dropped. The
/// stack drops a frame for another MAC address soon, but takes every frame that the kernel hands over to it
/// (`bpf_redirect_peer`) for its own. `None`: the kernel has no nftables.
fn drop_at_once(host: &Host) -> anyhow::Result<Option<DropTable>> {
    host.run(|| {
        let index = Netlink::open()?.link(host.interface())?.index;
        let device = host.interface().to_owned();
        let Ok(mut table) = DropTable::make() else { return Ok(None) };
        let failed = table.change_all(&[ChainChange::Add { index, device }]).pop();
        failed.map_or(Ok(Some(table)), |error| Err(error.into()))
    })?
}

/// Why frames have to come from a packet socket. It is asked for the most flows, as many frames may
/// be more locked memory than the user is allowed: all measurements then do without.
pub(super) fn slow_source(host: &Host) -> anyhow::Result<Option<String>> {
    let frames = vec![vec![0; 60]; MOST_FLOWS];
    let opened = host.run(|| FrameSource::open(host.interface(), &frames))?;
    Ok(opened.err().map(|error| format!("{:#}", anyhow::Error::new(error))))
}

/// What sends frames: the fastest source the kernel offers, as slow ones would be what is measured.
pub(super) enum Generator {
    Xdp(FrameSource),
    /// Where that cannot be had.
    Socket(FrameSocket, Vec<Vec<u8>>),
}

impl Generator {
    /// Opens it at the interface of a host, in whose namespace the calling thread is. With
    /// `is_slow`, it does without AF_XDP.
    pub(super) fn open(host: &Host, is_slow: bool, frames: Vec<Vec<u8>>) -> anyhow::Result<Self> {
        let interface = host.interface();
        if !is_slow {
            return Ok(Self::Xdp(FrameSource::open(interface, &frames)?));
        }
        let frames = if frames.len() == 1 { vec![frames[0].clone(); BURST] } else { frames };
        Ok(Self::Socket(FrameSocket::open_to_send(interface)?, frames))
    }

    /// Sends for a while.
    pub(super) fn run(&mut self, duration: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + duration;
        match self {
            Self::Xdp(source) => {
                while Instant::now() < end {
                    source.send(BURST as u32)?;
                }
                Ok(())
            }
            Self::Socket(socket, frames) => {
                socket.send_until(frames, BURST, || Instant::now() > end)?;
                Ok(())
            }
        }
    }
}

fn received(network: &Network) -> anyhow::Result<u64> {
    let Network { b, .. } = network;
    Ok(InterfaceCounters::read(b.namespace(), b.interface())?.rx_packets)
}

/// Percent of a processor and MiB of memory that processes take while nothing comes.
fn idle(pids: &[u32], duration: Duration) -> anyhow::Result<Vec<f64>> {
    if pids.is_empty() {
        return Ok(Vec::new());
    }
    let (start, before) = (Instant::now(), processes::cpu_time(pids)?);
    std::thread::sleep(duration);
    let cpu = processes::cpu_time(pids)? - before;
    let share = cpu.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    Ok(vec![share, processes::memory(pids)? as f64 / f64::from(1 << 20)])
}

/// A UDP datagram in a frame of `size` bytes; `flow` is its source port.
pub(super) fn udp_frame(destination: [u8; 6], source: [u8; 6], size: usize, flow: u16) -> Vec<u8> {
    let payload = size - 14 - 20 - 8;
    let mut frame = Vec::with_capacity(size);
    etherparse::PacketBuilder::ethernet2(source, destination)
        .ipv4([10, 0, 0, 201], [10, 0, 0, 202], 64)
        .udp(flow.wrapping_add(1024), 9)
        .write(&mut frame, &vec![0; payload])
        .expect("a vector takes everything");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_long_as_asked_for() {
        for size in [60, 1514] {
            assert_eq!(udp_frame([2; 6], [4; 6], size, 7).len(), size);
        }
    }
}
