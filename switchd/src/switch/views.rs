//! The switch as commands show it.

use super::{Switch, WorkerHandle};
use crate::bfd::SessionView;
use crate::desired::Kind;
use crate::port_slot::{PortSlot, PortState, PortTotals};
use ::ports::spec::Target;
use ::ports::tunnel::Obstacle;
use ::ports::{RxMemory, Shield};
use flow::metric::{CacheCounts, CacheMetric};
use flow::types::{MacAddr, OfPort};
use flowtable::datapath::CachedFlow;
use flowtable::policy::BridgeId;
use flowtable::policy::ports::{Attachment, PortConfig};
use std::sync::Arc;
use std::time::Duration;

/// A port as commands show it.
#[derive(Clone, Debug)]
pub struct PortView {
    /// The OpenFlow number of the port.
    pub of_port: OfPort,
    /// The name of the port, unique in the switch.
    pub name: String,
    /// What it is made of, while it is open.
    pub kind: Option<&'static str>,
    /// Its MAC address; zero until it was first open.
    pub mac: MacAddr,
    /// Where it is in its life.
    pub state: PortState,
    /// Whether the host's stack hears it.
    pub shield: Option<Shield>,
    /// Whether the kernel cache forwards its frames, or why it does not; `None` in
    /// a switch without kernel cache.
    pub kernel_cache: Option<Result<(), String>>,
    /// The device's MTU, while it is open.
    pub mtu: Option<u32>,
    /// Memory for frames that come in, while it is open.
    pub rx_memory: Option<RxMemory>,
    /// The OpenFlow flags of the port, which `mod-port` turns.
    pub config: PortConfig,
    /// Time since it was added.
    pub age: Duration,
    /// The counters of the port since it was added.
    pub totals: PortTotals,
    /// What a user should know of the open device, a sentence each.
    pub warnings: Vec<String>,
    /// The tunnel of an open tunnel port; `None` for any other port.
    pub tunnel: Option<TunnelView>,
    /// Questions of ARP and neighbour discovery that were answered in the name of hosts behind the port.
    pub answered: u64,
    /// The session of BFD through the port; `None` if there is none.
    pub bfd: Option<SessionView>,
}

/// The tunnel of a tunnel port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelView {
    /// The options that differ from the defaults, as the command line has them.
    pub options: String,
    /// The MTU of the way that a frame was sent on last, in bytes from the outer IP header on; `None` before
    /// the first frame.
    pub path_mtu: Option<u32>,
    /// Whether the kernel takes several datagrams at once.
    pub sends_groups: bool,
    /// Why nothing is sent to the remote end, although there is a way.
    pub obstacle: Option<Obstacle>,
    /// Datagrams that came to the tunnel's sockets and that no tunnel port takes.
    pub strays: u64,
}

/// A port of a bridge whose far end is a device of the switch's own machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEnd {
    /// The OpenFlow number of the port.
    pub of_port: OfPort,
    /// The MAC address of the device.
    pub mac: MacAddr,
    /// The name of the device.
    pub device: String,
}

/// A worker as commands show it. Numbers are since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// The processor that it is bound to.
    pub cpu: Option<usize>,
    /// Batches with at least one frame.
    pub batches: u64,
    /// The number of frames received.
    pub frames: u64,
    /// The number of segments made in software.
    pub segments: u64,
    /// Time in which something was there to be done.
    pub busy: Duration,
    /// Batches of 1, 2 to 3, 4 to 7 ... 32 to 63 and 64 frames.
    pub sizes: Vec<u64>,
    /// Times it went to sleep.
    pub sleeps: u64,
}

/// The tunnel of a port, if it has one and is open.
fn tunnel(slot: &PortSlot) -> Option<TunnelView> {
    let Kind::Tunnel(tunnel) = &slot.spec.kind else { return None };
    let membership = slot.port.as_ref()?.membership.as_ref()?;
    Some(TunnelView {
        options: tunnel.options(),
        path_mtu: membership.path().mtu(),
        sends_groups: membership.path().sends_groups(),
        obstacle: membership.path().obstacle(),
        strays: membership.strays(),
    })
}

impl Switch {
    /// The workers, in the order of their numbers.
    pub fn workers(&self) -> Vec<WorkerView> {
        let view = |w: &WorkerHandle| WorkerView {
            cpu: w.cpu,
            batches: w.stats.batches.get(),
            frames: w.stats.frames.get(),
            segments: w.stats.segments.get(),
            busy: Duration::from_nanos(w.stats.busy_ns.get()),
            sizes: w.stats.sizes.iter().map(|n| n.get()).collect(),
            sleeps: w.stats.sleeps.get(),
        };
        self.workers.iter().map(view).collect()
    }

    /// All ports, in the order of their bridges and numbers.
    pub fn ports(&self) -> Vec<PortView> {
        self.views(|_| true)
    }

    /// The ports of a bridge, in the order of their numbers.
    pub(super) fn ports_of(&self, bridge: BridgeId) -> Vec<PortView> {
        self.views(|slot| slot.bridge == bridge)
    }

    fn views(&self, is_wanted: impl Fn(&PortSlot) -> bool) -> Vec<PortView> {
        self.kernel.collect();
        let slots = self.slots.lock();
        let now = self.now();
        let view = |slot: &PortSlot| PortView {
            of_port: slot.of_port,
            name: slot.spec.name.clone(),
            kind: slot.kind_name(),
            mac: MacAddr(slot.mac),
            state: self.state_of(slot),
            shield: slot.port.as_ref().map(|p| p.shield()),
            kernel_cache: self.kernel.state_of(slot),
            mtu: slot.port.as_ref().map(|p| p.status.mtu()),
            rx_memory: slot.port.as_ref().map(|p| p.rx_memory),
            config: slot.spec.config,
            age: now.saturating_sub(slot.added),
            totals: slot.totals(),
            warnings: slot.port.as_ref().map(|p| p.warnings.clone()).unwrap_or_default(),
            tunnel: tunnel(slot),
            answered: slot.answered.get(),
            bfd: slot.bfd.clone(),
        };
        slots.iter().filter(|slot| is_wanted(slot)).map(view).collect()
    }

    /// The ports of a bridge through which the switch's own machine takes part: TAP devices.
    pub(super) fn own_ends_of(&self, bridge: BridgeId) -> Vec<OwnEnd> {
        let slots = self.slots.lock();
        let of_bridge = slots.iter().filter(|slot| slot.bridge == bridge);
        let own = of_bridge.filter_map(|slot| match slot.spec.kind.target()? {
            Target::Internal { device } | Target::Tap { device } => Some(OwnEnd {
                of_port: slot.of_port,
                mac: MacAddr(slot.mac),
                device: device.clone(),
            }),
            Target::System { .. } | Target::Netns { .. } | Target::Tunnel(_) | Target::Dummy => {
                None
            }
        });
        own.filter(|end| end.mac != MacAddr::default()).collect()
    }

    /// Where a port is in its life. A patch waits for its peer.
    fn state_of(&self, slot: &PortSlot) -> PortState {
        let Attachment::Patch(patch) = &slot.attachment else {
            return slot.state.clone();
        };
        let snapshot = self.policy.bridge(slot.bridge).snapshot();
        match snapshot.all_ports().peer(&slot.spec.name, patch) {
            Some(_) => PortState::Up,
            None => PortState::Waiting,
        }
    }

    /// The MAC address of the first port of a bridge whose device is not the switch's own, and has been there.
    pub(super) fn first_device_mac(&self, bridge: BridgeId) -> Option<[u8; 6]> {
        let slots = self.slots.lock();
        let is_found = |slot: &Target| !slot.is_created();
        let devices = slots
            .iter()
            .filter(|slot| slot.bridge == bridge && slot.spec.kind.target().is_some_and(is_found));
        devices.map(|slot| slot.mac).find(|mac| *mac != [0; 6])
    }

    /// The cached flows of each worker, in the order of the workers. They go on counting.
    pub fn cached_flows(&self) -> Vec<Vec<Arc<CachedFlow>>> {
        self.kernel.collect();
        self.workers.iter().map(|worker| worker.registry.flows()).collect()
    }

    /// What the caches of each worker did, in the order of the workers' numbers.
    pub fn caches(&self) -> Vec<CacheCounts> {
        let counts = |worker: &WorkerHandle| {
            let mut counts = worker.cache.counts();
            // Without the flows that were given up and that the worker has not taken out yet.
            counts[CacheMetric::Flows] = worker.registry.len() as u64;
            counts
        };
        self.workers.iter().map(counts).collect()
    }
}
