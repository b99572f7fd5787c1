//! A switch in this process, with the socket that `ofctl` asks.

use crate::programs::Folder;
use anyhow::ensure;
use flow::metric::CacheMetric;
use flow::types::{MacAddr, OfPort};
use flowtable::policy::Bridge;
use flowtable::policy::mac_table::{HostRef, MacKey};
use flowtable::policy::xlate::Learn;
use ports::dummy::{self, Dummy, DummyOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use switchd::desired::{DEFAULT_BRIDGE, Desired};
use switchd::monitor::Monitor;
use switchd::server::{Server, bind};
use switchd::switch::{Config, Switch};

/// Ports of the switch: `null0` to `null3`, numbers 1 to 4.
const PORTS: u16 = 4;
/// Hosts that the switch learns, on all ports in turn.
const HOSTS: u32 = 100_000;
/// How long a host is known without traffic: longer than a measurement takes.
const AGEING: Duration = Duration::from_secs(86_400);
/// Hosts that are learned under one lock, and frames that are injected at once.
const SLICE: usize = 64;

/// A switch with ports in memory, and its socket.
pub(super) struct Daemon {
    pub(super) socket: PathBuf,
    pub(super) switch: Arc<Switch>,
    /// The far ends of the ports.
    far: Vec<Dummy>,
    _monitor: Monitor,
    _server: Server,
}

impl Daemon {
    /// Starts a switch with one bridge.
    ///
    /// # Errors
    /// A thread, a descriptor or the socket cannot be had.
    pub(super) fn start(folder: &Folder) -> anyhow::Result<Self> {
        let socket = folder.file("socket");
        let listener = bind(&socket)?;
        let switch = Arc::new(Switch::start(Config::new(Desired::one_bridge()))?);
        let open = |n| {
            let options = DummyOptions {
                mac: [2, 0, 0, 0, 0xff, n as u8],
                collects: false,
                ..DummyOptions::default()
            };
            let (port, far) = dummy::open(&format!("null{n}"), options)?;
            switch.add_open_port(DEFAULT_BRIDGE, port)?;
            anyhow::Ok(far)
        };
        let far = (0..PORTS).map(open).collect::<Result<_, _>>()?;
        let _monitor = Monitor::start(Arc::clone(&switch))?;
        let _server = Server::start(listener, Arc::clone(&switch))?;
        Ok(Self { socket, switch, far, _monitor, _server })
    }

    /// Lets [`HOSTS`] hosts be known.
    pub(super) fn learn_hosts(&self) {
        let policy = self.switch.policy();
        let Some(bridge) = policy.find_bridge(DEFAULT_BRIDGE).map(Bridge::id) else { return };
        policy.bridge(bridge).limit_hosts(2 * HOSTS as usize, AGEING);
        let hosts: Vec<Learn> = (0..HOSTS)
            .map(|n| {
                let [_, high, middle, low] = n.to_be_bytes();
                let mac = MacAddr([2, 1, 0, high, middle, low]);
                let host = HostRef { bridge, key: MacKey { vlan: 0, mac } };
                Learn { host, port: OfPort(1 + (n % u32::from(PORTS)) as u16) }
            })
            .collect();
        for slice in hosts.chunks(SLICE) {
            policy.learn(slice, self.switch.now());
        }
    }

    /// Lets the switch's own worker receive frames on the first port, so that their flows are cached.
    ///
    /// # Errors
    /// Not all frames are received in time, or no flow was cached.
    pub(super) fn cache_flows(&self, frames: &[Vec<u8>], patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        let port = &self.far[0];
        for slice in frames.chunks(SLICE) {
            slice.iter().for_each(|frame| port.inject(frame));
            while port.pending() > 0 {
                ensure!(Instant::now() < deadline, "the worker does not receive its frames");
                std::thread::yield_now();
            }
        }
        self.switch.settle();
        let cached = self.switch.caches().iter().any(|counts| counts[CacheMetric::Flows] > 0);
        ensure!(cached, "no flow was cached");
        Ok(())
    }

    /// Whether everything that was removed has been freed.
    pub(super) fn is_tidy(&self) -> bool {
        self.asks(|bridge| bridge.snapshot().tables().removed_len() == 0)
    }

    /// Whether no table has a rule.
    pub(super) fn is_empty(&self) -> bool {
        self.asks(|bridge| bridge.snapshot().tables().is_empty())
    }

    /// A bridge that is gone is empty and tidy.
    fn asks(&self, question: impl FnOnce(Bridge<'_>) -> bool) -> bool {
        self.switch.policy().find_bridge(DEFAULT_BRIDGE).is_none_or(question)
    }
}
