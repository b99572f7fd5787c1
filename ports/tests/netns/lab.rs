//! Namespaces, hosts and a switch that only passes frames on, to test ports with.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use packet::{Batch, Frame, FrameId};
use ports::netlink::{LinkSpec, Netlink, NetlinkError};
use ports::netns::Netns;
use ports::spec::PortSpec;
use ports::{Port, PortError, QueueCount, Queues, TxFailure};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Why a test cannot run here.
pub(crate) struct Skip(pub(crate) String);

pub(crate) type Outcome = Result<(), Skip>;

/// How long a test waits for something that should happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// Moves this process, which has one thread, into a network namespace of its own.
pub(crate) fn enter_namespace() -> Outcome {
    let (uid, gid) = (geteuid(), getegid());
    let skip = |what: &str, e: &dyn std::fmt::Display| Skip(format!("{what}: {e}"));
    if uid.is_root() {
        return unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|e| skip("cannot make a network namespace", &e));
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|e| skip("cannot make a user namespace; run as root", &e))?;
    let write = |file, text: String| {
        std::fs::write(file, text).map_err(|e| skip("cannot become root in a user namespace", &e))
    };
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    // Some distributions give user namespaces without any capability.
    let mut netlink = netlink();
    let lo = netlink.link("lo").map_err(|e| skip("no loopback device", &e))?;
    netlink.set_up(lo.index, true).map_err(|e| skip("user namespaces are of no use here", &e))
}

/// Whether this process is root only among its own.
pub(crate) fn is_in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("a map of users");
    map.split_whitespace().last() != Some("4294967295")
}

/// Turns "the kernel was built without it" into a skip.
pub(crate) fn needs<T>(what: &str, result: Result<T, NetlinkError>) -> Result<T, Skip> {
    result.map_err(|error| match error.errno() {
        Some(libc::EOPNOTSUPP | libc::ENOENT) => Skip(format!("this kernel has no {what}")),
        _ => panic!("{error:?}"),
    })
}

pub(crate) fn netlink() -> Netlink {
    Netlink::open().expect("a routing socket")
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A namespace with a device `eth0`, whose other end is in the switch's namespace.
pub(crate) struct Host {
    pub(crate) namespace: Netns,
    pub(crate) netlink: Netlink,
    /// Interface number of `eth0`.
    pub(crate) eth0: u32,
    pub(crate) mac: [u8; 6],
}

impl Host {
    /// A host `10.0.0.NUMBER` at the other end of the device `port`, which is left down.
    pub(crate) fn new(port: &str, number: u8) -> Self {
        let namespace = Netns::new().expect("a network namespace");
        let mac = [2, 0, 0, 0, 0, number];
        let spec = LinkSpec {
            mac: Some(mac),
            up: true,
            netns: Some(namespace.as_fd()),
            ..LinkSpec::default()
        };
        netlink().create_veth(port, &LinkSpec::default(), "eth0", &spec).expect("a veth pair");
        let mut netlink = namespace.run(netlink).expect("a thread in the namespace");
        let eth0 = netlink.link("eth0").expect("eth0").index;
        netlink.add_address(eth0, ip(&format!("10.0.0.{number}")), 24).expect("an address");
        Self { namespace, netlink, eth0, mac }
    }

    /// Runs `f` inside.
    pub(crate) fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.namespace.run(f).expect("a thread in the namespace")
    }
}

/// Opens the port that `text` describes.
pub(crate) fn open(text: &str) -> Result<Port, PortError> {
    ports::open(&PortSpec::parse(text, &[]).expect("a port"), QueueCount::default())
}

/// A port with its one receiving and one sending queue.
pub(crate) struct Opened {
    pub(crate) port: Port,
    pub(crate) queues: Queues,
}

impl Opened {
    pub(crate) fn new(text: &str) -> Self {
        let mut port = open(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let queues = port.take_queues();
        Self { port, queues }
    }

    /// Sends frames and returns those that failed, by position.
    pub(crate) fn send(&mut self, frames: Vec<Frame<'static>>) -> Vec<(usize, TxFailure)> {
        let mut batch = Batch::new();
        let ids: Vec<FrameId> =
            frames.into_iter().map(|f| batch.add_copy(f).expect("room")).collect();
        let mut failures = Vec::new();
        self.queues.tx[0].send(&mut batch, &ids, &mut failures);
        let position = |id| ids.iter().position(|i| *i == id).expect("an id that was passed");
        failures.into_iter().map(|(id, failure)| (position(id), failure)).collect()
    }

    /// Waits for frames and passes each to `inspect`, until it returns `true`.
    pub(crate) fn receive_until(&mut self, mut inspect: impl FnMut(&Frame<'_>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut is_done = false;
        while !is_done {
            assert!(Instant::now() < deadline, "the frame waited for did not come");
            wait(&[self]);
            let rx = &mut self.queues.rx[0];
            let mut batch = Batch::new();
            rx.recv(&mut batch).expect("a working queue");
            for frame in batch.received() {
                is_done |= inspect(frame);
            }
            drop(batch);
            self.queues.rx[0].release();
        }
    }
}

/// Passes frames on between two ports.
pub(crate) struct Wire {
    pub(crate) left: Opened,
    pub(crate) right: Opened,
    pub(crate) failures: Vec<TxFailure>,
}

impl Wire {
    pub(crate) fn new(left: &str, right: &str) -> Self {
        Self { left: Opened::new(left), right: Opened::new(right), failures: Vec::new() }
    }

    /// Passes frames on while `work` runs on a thread of its own, and returns what that returns.
    /// `inspect` sees every frame, with `true` for those from left to right.
    pub(crate) fn run<R: Send>(
        &mut self,
        work: impl FnOnce() -> R + Send,
        mut inspect: impl FnMut(bool, &Frame<'_>),
    ) -> R {
        std::thread::scope(|scope| {
            let work = scope.spawn(work);
            while !work.is_finished() {
                wait(&[&self.left, &self.right]);
                let Self { left, right, failures } = self;
                pass(&mut left.queues, &mut right.queues, failures, |f| inspect(true, f));
                pass(&mut right.queues, &mut left.queues, failures, |f| inspect(false, f));
            }
            work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

fn pass(
    from: &mut Queues,
    to: &mut Queues,
    failures: &mut Vec<TxFailure>,
    mut inspect: impl FnMut(&Frame<'_>),
) {
    let mut batch = Batch::new();
    from.rx[0].recv(&mut batch).expect("a working queue");
    batch.received().iter().for_each(&mut inspect);
    let ids: Vec<FrameId> = (0..batch.len()).map(FrameId::received).collect();
    let mut failed = Vec::new();
    to.tx[0].send(&mut batch, &ids, &mut failed);
    failures.extend(failed.into_iter().map(|(_, failure)| failure));
    drop(batch);
    from.rx[0].release();
}

/// Waits until one of the ports has a frame, or a moment.
fn wait(ports: &[&Opened]) {
    let mut fds: Vec<PollFd<'_>> = ports
        .iter()
        .filter_map(|p| p.queues.rx[0].poll_fd())
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    poll(&mut fds, PollTimeout::from(20u8)).expect("poll");
}

/// An Ethernet frame of a type nobody answers, with `size` bytes.
pub(crate) fn experimental(destination: [u8; 6], size: usize) -> Vec<u8> {
    let mut bytes = destination.to_vec();
    bytes.extend([2, 0, 0, 0, 0, 99, 0x88, 0xb5]);
    bytes.resize(size, 0x5a);
    bytes
}
