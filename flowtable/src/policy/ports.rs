//! What translation knows of the ports: numbers, configuration, VLAN membership, and what is behind them.

use super::bridge::{BridgeId, PerBridge, PortRef};
use super::observer::PortChange;
use flow::types::{MacAddr, OfPort, PortNo};
use flow::verdict::DEFAULT_STORM_LIMIT;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Switches of a port (OpenFlow 1.0 `ofp_port_config`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortConfig {
    /// Administratively down.
    pub down: bool,
    /// Frames that come in are dropped.
    pub no_recv: bool,
    /// Left out by FLOOD.
    pub no_flood: bool,
    /// Nothing is sent.
    pub no_fwd: bool,
    /// Table misses send no packet-in.
    pub no_packet_in: bool,
}

/// How a port takes part in VLANs, as in Open vSwitch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VlanMode {
    /// Carries the listed VLANs tagged, and untagged frames as VLAN 0; `None` is all.
    #[default]
    AllVlans,
    /// As [`VlanMode::AllVlans`] with a list; untagged frames only if 0 is listed.
    Trunk(Arc<VlanSet>),
    /// Untagged frames of one VLAN.
    Access(u16),
    /// A trunk whose untagged frames belong to `native`, which leaves tagged.
    NativeTagged {
        /// The VLAN of untagged frames.
        native: u16,
        /// The others; `None` is all.
        trunks: Option<Arc<VlanSet>>,
    },
    /// A trunk whose untagged frames belong to `native`, which leaves untagged.
    NativeUntagged {
        /// The VLAN of untagged frames.
        native: u16,
        /// The others; `None` is all.
        trunks: Option<Arc<VlanSet>>,
    },
    /// Every frame gets a service tag on the way in and loses it on the way out.
    Dot1qTunnel {
        /// The service VLAN.
        tag: u16,
        /// TPID of the service tag.
        tpid: u16,
        /// Customer VLANs that may enter; `None` is all.
        cvlans: Option<Arc<VlanSet>>,
    },
}

/// A set of VLAN ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanSet([u64; 64]);

impl Default for VlanSet {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl VlanSet {
    /// Adds a VLAN; ids are 0 to 4095.
    pub fn insert(&mut self, vid: u16) {
        let vid = usize::from(vid & 0xfff);
        self.0[vid / 64] |= 1 << (vid % 64);
    }

    /// Whether a VLAN is in it.
    pub fn contains(&self, vid: u16) -> bool {
        let vid = usize::from(vid & 0xfff);
        self.0[vid / 64] >> (vid % 64) & 1 != 0
    }

    /// The VLANs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..4096).filter(|&vid| self.contains(vid))
    }
}

impl FromIterator<u16> for VlanSet {
    fn from_iter<I: IntoIterator<Item = u16>>(vids: I) -> Self {
        let mut set = Self::default();
        vids.into_iter().for_each(|vid| set.insert(vid));
        set
    }
}

/// When a frame leaves with a priority tag (802.1Q VLAN 0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PriorityTags {
    /// Not at all.
    #[default]
    Never,
    /// When its priority is not 0.
    IfNonzero,
    /// When it came with one, even if its priority is 0.
    Always,
}

/// What is behind a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// Queues of the datapath, under this number.
    Queues(PortNo),
    /// A patch to a port of this or another bridge.
    Patch(Arc<PatchPort>),
}

/// One end of a patch: what leaves here comes in at its peer, a patch port of this or another bridge that names this
/// one as its peer in turn.
#[derive(Debug)]
pub struct PatchPort {
    /// The name of the port at the other end.
    pub peer: Arc<str>,
    /// What went through it.
    pub counters: PatchCounters,
}

impl PartialEq for PatchPort {
    /// What was counted is no difference.
    fn eq(&self, other: &Self) -> bool {
        self.peer == other.peer
    }
}

impl Eq for PatchPort {}

/// Traffic through one end of a patch. Cached flows add to it when they add to their rules.
#[derive(Debug, Default)]
pub struct PatchCounters {
    received: Traffic,
    sent: Traffic,
}

#[derive(Debug, Default)]
struct Traffic {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Traffic {
    fn add(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl PatchCounters {
    /// Counts packets that came in from the peer.
    pub fn add_received(&self, packets: u64, bytes: u64) {
        self.received.add(packets, bytes);
    }

    /// Counts packets that left for the peer.
    pub fn add_sent(&self, packets: u64, bytes: u64) {
        self.sent.add(packets, bytes);
    }

    /// Packets that came in from the peer, and their bytes.
    pub fn received(&self) -> (u64, u64) {
        self.received.get()
    }

    /// Packets that left for the peer, and their bytes.
    pub fn sent(&self) -> (u64, u64) {
        self.sent.get()
    }
}

/// One port of a bridge, as translation sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// What is behind it.
    pub attachment: Attachment,
    /// The number that rules of its bridge call it by.
    pub of_port: OfPort,
    /// The user's name.
    pub name: Arc<str>,
    /// The MAC address of its device; zero while it has none.
    pub mac: MacAddr,
    /// Switches that `mod-port` sets.
    pub config: PortConfig,
    /// The device is up and has a carrier.
    pub link_up: bool,
    /// Which VLANs the port carries, and how.
    pub vlan: VlanMode,
    /// When frames leave with a priority tag.
    pub priority_tags: PriorityTags,
    /// Never exchanges frames with another protected port under NORMAL.
    pub protected: bool,
    /// Frames a second, of each kind, that NORMAL floods from here; `None` is any number.
    pub storm_limit: Option<u32>,
}

impl PortInfo {
    /// A port with all switches at their default.
    pub fn new(port_no: PortNo, of_port: OfPort, name: &str, mac: MacAddr) -> Self {
        Self {
            attachment: Attachment::Queues(port_no),
            of_port,
            name: name.into(),
            mac,
            config: PortConfig::default(),
            link_up: true,
            vlan: VlanMode::default(),
            priority_tags: PriorityTags::default(),
            protected: false,
            storm_limit: Some(DEFAULT_STORM_LIMIT),
        }
    }

    /// One end of a patch to the port that is called `peer`, with all switches at their default.
    pub fn patch(of_port: OfPort, name: &str, peer: &str, mac: MacAddr) -> Self {
        let patch = PatchPort { peer: peer.into(), counters: PatchCounters::default() };
        let port = Self::new(PortNo::NONE, of_port, name, mac);
        Self { attachment: Attachment::Patch(Arc::new(patch)), ..port }
    }

    /// The datapath's number of its queues; `None` if it has none, as a patch port.
    pub fn port_no(&self) -> Option<PortNo> {
        match self.attachment {
            Attachment::Queues(port_no) => Some(port_no),
            Attachment::Patch(_) => None,
        }
    }

    /// The patch that it is an end of, if it is one.
    pub fn as_patch(&self) -> Option<&Arc<PatchPort>> {
        match &self.attachment {
            Attachment::Patch(patch) => Some(patch),
            Attachment::Queues(_) => None,
        }
    }

    /// Whether frames that come in are looked at.
    pub fn receives(&self) -> bool {
        !self.config.no_recv && !self.config.down
    }

    /// Where a packet-out comes from that names no port: a trunk of all VLANs.
    pub fn nowhere() -> Self {
        let port = Self::new(PortNo::NONE, OfPort::NONE, "", MacAddr::default());
        Self { storm_limit: None, ..port }
    }
}

/// The ports of a bridge, and the bridge's name.
#[derive(Clone, Debug, Default)]
pub struct PortTable {
    by_of_port: BTreeMap<OfPort, PortInfo>,
    bridge_name: Arc<str>,
    /// Ports that somebody may have changed, as they were before.
    touched: BTreeMap<OfPort, Option<PortInfo>>,
}

impl PortTable {
    /// The name of the bridge; empty if it was removed.
    pub fn bridge_name(&self) -> &Arc<str> {
        &self.bridge_name
    }

    /// Adds or replaces a port.
    pub fn insert(&mut self, port: PortInfo) {
        self.touch(port.of_port);
        self.by_of_port.insert(port.of_port, port);
    }

    /// Takes a port out.
    pub fn remove(&mut self, of_port: OfPort) -> Option<PortInfo> {
        self.touch(of_port);
        self.by_of_port.remove(&of_port)
    }

    /// Takes all ports out.
    pub fn clear(&mut self) {
        let ports: Vec<OfPort> = self.by_of_port.keys().copied().collect();
        for port in ports {
            self.remove(port);
        }
    }

    /// The port that rules call by this number, if any.
    pub fn get(&self, of_port: OfPort) -> Option<&PortInfo> {
        self.by_of_port.get(&of_port)
    }

    /// The port that rules call by this number, to change.
    pub fn get_mut(&mut self, of_port: OfPort) -> Option<&mut PortInfo> {
        self.touch(of_port);
        self.by_of_port.get_mut(&of_port)
    }

    /// The port that has this name, if any.
    pub fn by_name(&self, name: &str) -> Option<&PortInfo> {
        self.iter().find(|p| &*p.name == name)
    }

    /// All, in ascending order of the user's numbers; LOCAL is the last.
    pub fn iter(&self) -> impl Iterator<Item = &PortInfo> {
        self.by_of_port.values()
    }

    /// Ports that the bridge has, LOCAL included.
    pub fn len(&self) -> usize {
        self.by_of_port.len()
    }

    /// The bridge has no port.
    pub fn is_empty(&self) -> bool {
        self.by_of_port.is_empty()
    }

    /// Remembers a port as it is before it may change.
    fn touch(&mut self, of_port: OfPort) {
        let Self { by_of_port, touched, .. } = self;
        touched.entry(of_port).or_insert_with(|| by_of_port.get(&of_port).cloned());
    }
}

/// The ports of all bridges, and where to find them by what the datapath and patches know of them.
#[derive(Debug, Default)]
pub struct PortTables {
    tables: PerBridge<PortTable>,
    /// By the datapath's number.
    by_port_no: Vec<Option<PortRef>>,
    /// Patch ports by name. Names are unique in a switch; should one be given twice, the latest is found.
    patches: HashMap<Arc<str>, PortRef>,
}

impl PortTables {
    pub(super) fn push_bridge(&mut self) {
        self.tables.push(PortTable::default());
    }

    pub(super) fn name_bridge(&mut self, bridge: BridgeId, name: Arc<str>) {
        self.tables.of_mut(bridge).bridge_name = name;
    }

    /// The bridges that have not been removed.
    pub(super) fn bridges(&self) -> impl Iterator<Item = (BridgeId, &PortTable)> {
        self.tables.iter().filter(|(_, table)| !table.bridge_name.is_empty())
    }

    /// The ports of a bridge.
    pub fn of(&self, bridge: BridgeId) -> &PortTable {
        self.tables.of(bridge)
    }

    /// A port by its number in its bridge.
    pub fn get(&self, at: PortRef) -> Option<&PortInfo> {
        self.of(at.bridge).get(at.port)
    }

    /// A port by the datapath's number.
    pub fn by_port_no(&self, port_no: PortNo) -> Option<(BridgeId, &PortInfo)> {
        let at = (*self.by_port_no.get(usize::from(port_no.0))?)?;
        Some((at.bridge, self.get(at)?))
    }

    /// The other end of a patch: the patch port that it names, if that names it in turn.
    pub fn peer(&self, name: &str, patch: &PatchPort) -> Option<(BridgeId, &PortInfo)> {
        let at = *self.patches.get(&patch.peer)?;
        let peer = self.get(at)?;
        let is_mutual = peer.as_patch().is_some_and(|back| *back.peer == *name);
        is_mutual.then_some((at.bridge, peer))
    }

    /// Changes the ports of a bridge. Returns what `change` returns, and the ports that differ.
    pub(super) fn change<R>(
        &mut self,
        bridge: BridgeId,
        change: impl FnOnce(&mut PortTable) -> R,
    ) -> (R, Vec<PortChange>) {
        let table = self.tables.of_mut(bridge);
        let result = change(table);
        let touched = std::mem::take(&mut table.touched);
        let mut changed = Vec::new();
        for (port, before) in touched {
            let at = PortRef { bridge, port };
            let after = self.get(at).cloned();
            if before != after {
                before.iter().for_each(|before| self.forget(at, before));
                after.iter().for_each(|after| self.note(at, after));
                changed.push(PortChange { at, before, after });
            }
        }
        (result, changed)
    }

    fn forget(&mut self, at: PortRef, port: &PortInfo) {
        match &port.attachment {
            Attachment::Queues(port_no) => {
                if let Some(place) = self.by_port_no.get_mut(usize::from(port_no.0)) {
                    *place = None;
                }
            }
            Attachment::Patch(_) => {
                if self.patches.get(&port.name) == Some(&at) {
                    self.patches.remove(&port.name);
                }
            }
        }
    }

    fn note(&mut self, at: PortRef, port: &PortInfo) {
        match &port.attachment {
            Attachment::Queues(port_no) => {
                let index = usize::from(port_no.0);
                if self.by_port_no.len() <= index {
                    self.by_port_no.resize(index + 1, None);
                }
                self.by_port_no[index] = Some(at);
            }
            Attachment::Patch(_) => {
                self.patches.insert(Arc::clone(&port.name), at);
            }
        }
    }
}
