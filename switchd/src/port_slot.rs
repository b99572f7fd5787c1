//! A place in the switch for a port: its numbers and counters, whether its device is there or not.

use crate::bfd::SessionView;
use crate::desired;
use crate::log_limit::{EVENTS, limited};
use crate::netns_name::NetnsName;
use crate::ring_budget::{Activity, SMALLEST};
use flow::types::{OfPort, PortNo};
use flow::verdict::DropReason;
use flowtable::datapath::PortCounters;
use flowtable::policy::ports::{AnswerCount, Attachment};
use flowtable::policy::{BridgeId, PortRef};
use ports::spec::Target;
use ports::tunnel::{BfdFilter, RefusedCount, TunnelRefusal};
use ports::{Port, RingSize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a port is in its life.
///
/// ```text
///             device appears               carrier, up
///  Waiting ────────────────────► Down ◄───────────────────► Up
///     ▲  ▲                        │                          │
///     │  └──── device goes ───────┴──────────────────────────┘
///     │ device goes
///  Error ◄── opening the device fails; tried again when the device changes, and now and then
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortState {
    /// There is no device of that name.
    Waiting,
    /// The device is open, and has no carrier or is administratively down.
    Down,
    /// The device is open, is administratively up and has carrier.
    Up,
    /// The device is there and cannot be used, for this reason.
    Error(String),
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting"),
            Self::Down => f.write_str("down"),
            Self::Up => f.write_str("up"),
            Self::Error(reason) => write!(f, "error({reason})"),
        }
    }
}

/// When a device that cannot be used is tried again: after half a second, and after twice the time for each
/// failure, up to eight seconds. Each try may change the device for a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retry {
    /// The time of the next try, on the switch's monotonic clock.
    at: Duration,
    /// The number of tries that have failed.
    failures: u32,
}

impl Retry {
    /// A try has failed.
    pub(crate) fn put_off(&mut self, now: Duration) {
        self.at = now + Duration::from_millis(500 << self.failures.min(4));
        self.failures += 1;
    }

    /// The device has changed: the next try is soon, and not at once, since the change may be
    /// what the last try did.
    pub(crate) fn hasten(&mut self, now: Duration) {
        self.failures = 0;
        self.at = self.at.min(now + Duration::from_millis(100));
    }

    /// Whether it is time for the next try.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        now >= self.at
    }
}

/// A port of the switch.
pub(crate) struct PortSlot {
    /// The bridge that has it.
    pub(crate) bridge: BridgeId,
    /// What is behind the port: queues, or another port.
    pub(crate) attachment: Attachment,
    /// The number that rules of its bridge call it by.
    pub(crate) of_port: OfPort,
    /// The port as it is wanted.
    pub(crate) spec: desired::Port,
    /// The size that is planned for its receive rings.
    pub(crate) ring: RingSize,
    /// The size that its open receive rings were opened with.
    pub(crate) open_ring: RingSize,
    /// How many frames come to the port's receive rings, for the plan of those.
    pub(crate) activity: Activity,
    /// How many frames the kernel cache keeps from the port's receive rings. They come there while another
    /// program takes over.
    pub(crate) kernel_activity: Activity,
    pub(crate) state: PortState,
    /// The open device. Its queues are with the workers.
    pub(crate) port: Option<Port>,
    /// The counters of each worker, in the order of the workers, and behind them those of the kernel cache.
    /// They outlive the device.
    pub(crate) counters: Vec<Arc<PortCounters>>,
    /// What the port has counted in the program that this one has taken over from.
    pub(crate) before: PortTotals,
    /// What was received for a tunnel port and refused before the pipeline saw it, since the port was first
    /// open; `None` for any other port. It outlives the device.
    pub(crate) refused: Vec<Arc<RefusedCount>>,
    /// Questions that were answered in the name of hosts behind the port.
    pub(crate) answered: Arc<AnswerCount>,
    /// The session of BFD through the port; `None` if its remote end is not watched, or not yet.
    pub(crate) bfd: Option<SessionView>,
    /// The MAC address; zero until the device was first open.
    pub(crate) mac: [u8; 6],
    /// The open device, a TAP device, has left for another network namespace.
    pub(crate) is_away: bool,
    /// Its device is being opened, without the lock on the ports.
    pub(crate) is_opening: bool,
    /// Somebody has tried to open its device.
    pub(crate) was_tried: bool,
    /// When its device is tried again, in state `Error`.
    pub(crate) retry: Retry,
    /// When the port was added, on the switch's monotonic clock.
    pub(crate) added: Duration,
}

impl PortSlot {
    pub(crate) fn new(
        at: PortRef,
        attachment: Attachment,
        spec: desired::Port,
        workers: usize,
        now: Duration,
    ) -> Self {
        Self {
            bridge: at.bridge,
            attachment,
            of_port: at.port,
            spec,
            ring: SMALLEST,
            open_ring: SMALLEST,
            activity: Activity::default(),
            kernel_activity: Activity::default(),
            state: PortState::Waiting,
            port: None,
            counters: (0..workers + 1).map(|_| Arc::default()).collect(),
            before: PortTotals::default(),
            refused: Vec::new(),
            answered: Arc::default(),
            bfd: None,
            mac: [0; 6],
            is_away: false,
            is_opening: false,
            was_tried: false,
            retry: Retry::default(),
            added: now,
        }
    }

    /// Whether the remote end of the port's tunnel is to be watched.
    pub(crate) fn wants_bfd(&self) -> bool {
        matches!(&self.spec.kind, desired::Kind::Tunnel(tunnel) if tunnel.bfd.is_some())
    }

    /// Which control packets of BFD the port takes; `None` if it takes none.
    pub(crate) fn bfd_filter(&self) -> Option<BfdFilter> {
        let desired::Kind::Tunnel(tunnel) = &self.spec.kind else { return None };
        let frames = tunnel.bfd?.frames;
        let destination = frames.own_mac.map(|mac| mac.0);
        Some(BfdFilter { destination, wants_no_key: frames.wants_no_key })
    }

    /// The bridge of the port, and the port's OpenFlow number.
    pub(crate) fn at(&self) -> PortRef {
        PortRef { bridge: self.bridge, port: self.of_port }
    }

    /// The counters of frames that the kernel cache has forwarded or dropped.
    pub(crate) fn kernel_counters(&self) -> &Arc<PortCounters> {
        &self.counters[self.counters.len() - 1]
    }

    /// Logs what has happened to the port, within the port's budget of lines.
    pub(crate) fn log(&self, text: fmt::Arguments<'_>) {
        let name = &self.spec.name;
        limited!(info, name, EVENTS, "port {} ({name}): {text}", self.of_port);
    }

    /// Logs what is wrong with the port, within the port's budget of lines.
    pub(crate) fn warn(&self, text: fmt::Arguments<'_>) {
        let name = &self.spec.name;
        limited!(warn, name, EVENTS, "port {} ({name}): {text}", self.of_port);
    }

    /// The datapath's number of its queues; `None` for a patch port.
    pub(crate) fn port_no(&self) -> Option<PortNo> {
        match self.attachment {
            Attachment::Queues(port_no) => Some(port_no),
            Attachment::Patch(_) => None,
        }
    }

    /// Where the device is and what it is called; `None` for a port without one.
    pub(crate) fn device(&self) -> Option<(NetnsName, &str)> {
        match self.spec.kind.target()? {
            Target::System { device } | Target::Tap { device } | Target::Internal { device } => {
                Some((NetnsName::Own, device))
            }
            Target::Netns { netns, device } => Some((NetnsName::Named(netns.clone()), device)),
            Target::Tunnel(_) | Target::Dummy => None,
        }
    }

    /// The kind of the port: `patch`, or that of its device while the device is open.
    pub(crate) fn kind_name(&self) -> Option<&'static str> {
        match self.attachment {
            Attachment::Patch(_) => Some("patch"),
            Attachment::Queues(_) => self.port.as_ref().map(|port| port.kind.name()),
        }
    }

    /// Whether opening the port makes its device, such as a TAP device. No event tells
    /// when another try would succeed.
    pub(crate) fn makes_device(&self) -> bool {
        self.spec.kind.target().is_some_and(Target::is_created)
    }

    /// Whether the port is for the device of this name in this namespace, whether that is there or not.
    pub(crate) fn is_for(&self, netns: &NetnsName, name: &str) -> bool {
        match self.spec.kind.target() {
            Some(
                Target::System { device } | Target::Tap { device } | Target::Internal { device },
            ) => *netns == NetnsName::Own && device == name,
            Some(Target::Netns { netns: named, device }) => {
                matches!(netns, NetnsName::Named(netns) if netns == named) && device == name
            }
            Some(Target::Tunnel(_) | Target::Dummy) | None => false,
        }
    }

    /// Whether the port has the device with this number in this namespace open.
    pub(crate) fn has_open(&self, netns: &NetnsName, index: u32) -> bool {
        let is_open = self.port.as_ref().is_some_and(|port| port.ifindex == Some(index));
        is_open && self.open_device(netns).is_some()
    }

    /// The number of the device that the port has open in this namespace.
    pub(crate) fn open_device(&self, netns: &NetnsName) -> Option<u32> {
        let is_there = !self.is_away && self.device().is_some_and(|(p, _)| p == *netns);
        self.port.as_ref().filter(|_| is_there)?.ifindex
    }

    pub(crate) fn totals(&self) -> PortTotals {
        let mut totals = self.before.clone();
        if let Attachment::Patch(patch) = &self.attachment {
            let (received, sent) = (patch.counters.received(), patch.counters.sent());
            totals.rx_packets += received.0;
            totals.rx_bytes += received.1;
            totals.tx_packets += sent.0;
            totals.tx_bytes += sent.1;
            // What becomes of them is counted at the port where they were received.
            totals.rx_sent = totals.rx_packets;
        }
        for refused in &self.refused {
            for (refusal, reason) in [
                (TunnelRefusal::Congested, DropReason::TunnelEcn),
                (TunnelRefusal::Header, DropReason::TunnelHeader),
            ] {
                let count = refused.get(refusal);
                totals.rx_packets += count;
                totals.rx_dropped[reason as usize] += count;
            }
        }
        for c in &self.counters {
            totals.rx_packets += c.rx_packets.get();
            totals.rx_bytes += c.rx_bytes.get();
            totals.tx_packets += c.tx_packets.get();
            totals.tx_bytes += c.tx_bytes.get();
            totals.rx_sent += c.rx_sent.get();
            for (i, &reason) in DropReason::ALL.iter().enumerate() {
                totals.rx_dropped[i] += c.rx_dropped(reason).get();
                totals.tx_failed[i] += c.tx_failed(reason).get();
            }
        }
        totals
    }
}

/// What a port counted, all workers together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortTotals {
    /// Frames received, dropped ones included.
    pub rx_packets: u64,
    /// Bytes of the frames received.
    pub rx_bytes: u64,
    /// Frames that the device took.
    pub tx_packets: u64,
    /// Bytes of the frames that the device took.
    pub tx_bytes: u64,
    /// Frames received of which at least one output was accepted.
    pub rx_sent: u64,
    /// Frames received and dropped, by the number of the [`DropReason`].
    pub rx_dropped: [u64; DropReason::COUNT],
    /// Outputs that failed, by the number of the [`DropReason`].
    pub tx_failed: [u64; DropReason::COUNT],
}

impl Default for PortTotals {
    fn default() -> Self {
        Self {
            rx_packets: 0,
            rx_bytes: 0,
            tx_packets: 0,
            tx_bytes: 0,
            rx_sent: 0,
            rx_dropped: [0; DropReason::COUNT],
            tx_failed: [0; DropReason::COUNT],
        }
    }
}

impl PortTotals {
    /// Frames received and dropped, with the reasons that occurred.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        let reasons = DropReason::ALL.iter().copied();
        reasons.zip(self.rx_dropped).filter(|(_, n)| *n > 0)
    }

    /// Outputs that failed, with the reasons that occurred.
    pub fn failures(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        let reasons = DropReason::ALL.iter().copied();
        reasons.zip(self.tx_failed).filter(|(_, n)| *n > 0)
    }
}
