//! What translation knows of ports: their numbers and names, configuration, VLAN membership, and
//! whether queues or a patch are behind them.

use super::audience::Unasked;
use super::bridge_id::{BridgeId, PerBridge, PortRef};
use flow::types::{Fragments, MacAddr, OfPort, PortNo};
use flow::verdict::DEFAULT_STORM_LIMIT;
use packet::OptionMap;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Configuration bits of a port (`ofp_port_config`, OpenFlow 1.0 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortConfig {
    /// `OFPPC_PORT_DOWN`: the port is administratively down. It neither receives nor sends.
    pub down: bool,
    /// `OFPPC_NO_STP`: the port takes part in no spanning tree. No port does, so this is only kept.
    pub no_stp: bool,
    /// `OFPPC_NO_RECV`: frames that come in are dropped, except those of spanning trees.
    pub no_recv: bool,
    /// `OFPPC_NO_RECV_STP`: frames of spanning trees that come in are dropped.
    pub no_recv_stp: bool,
    /// `OFPPC_NO_FLOOD`: FLOOD and NORMAL's floods leave the port out.
    pub no_flood: bool,
    /// `OFPPC_NO_FWD`: frames to this port are dropped.
    pub no_fwd: bool,
    /// `OFPPC_NO_PACKET_IN`: frames from this port that miss every rule cause no packet-in.
    pub no_packet_in: bool,
}

/// How a port takes part in VLANs (`vlan_mode` in ovs-vswitchd.conf.db(5)). VLAN ids are from 0 to 4095.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VlanMode {
    /// A trunk of all VLANs. Untagged frames belong to VLAN 0.
    #[default]
    AllVlans,
    /// A trunk of the listed VLANs. Untagged frames belong to VLAN 0 and pass only if it is listed.
    Trunk(Arc<VlanSet>),
    /// The port carries the frames of one VLAN, and without a tag.
    Access(u16),
    /// A trunk whose untagged frames belong to `native`, which leaves tagged.
    NativeTagged {
        /// The VLAN of untagged frames.
        native: u16,
        /// The VLANs of tagged frames; `None` allows all.
        trunks: Option<Arc<VlanSet>>,
    },
    /// A trunk whose untagged frames belong to `native`, which leaves untagged.
    NativeUntagged {
        /// The VLAN of untagged frames.
        native: u16,
        /// The VLANs of tagged frames; `None` allows all.
        trunks: Option<Arc<VlanSet>>,
    },
    /// A frame gets a service tag (802.1ad) when it comes in and loses it when it leaves.
    Dot1qTunnel {
        /// The service VLAN.
        tag: u16,
        /// The service tag's TPID, 0x88a8 or 0x8100.
        tpid: u16,
        /// Customer VLANs that may come in; `None` allows all.
        cvlans: Option<Arc<VlanSet>>,
    },
}

impl VlanMode {
    /// The VLAN of the frames that come in without a tag.
    pub fn untagged_vlan(&self) -> u16 {
        match *self {
            Self::AllVlans | Self::Trunk(_) => 0,
            Self::Access(tag) | Self::Dot1qTunnel { tag, .. } => tag,
            Self::NativeTagged { native, .. } | Self::NativeUntagged { native, .. } => native,
        }
    }
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
    /// Adds a VLAN. Only the low twelve bits of `vid` count.
    pub fn insert(&mut self, vid: u16) {
        let vid = usize::from(vid & 0xfff);
        self.0[vid / 64] |= 1 << (vid % 64);
    }

    /// Whether the set has a VLAN. Only the low twelve bits of `vid` count.
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

/// When an untagged frame leaves with a priority tag (a tag with VLAN 0, 802.1Q).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PriorityTags {
    /// Untagged frames never leave with a priority tag.
    #[default]
    Never,
    /// When the frame's priority (PCP) is not 0.
    IfNonzero,
    /// Also when the frame came in with a priority tag whose priority is 0.
    Always,
}

/// What is behind a port: queues or a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// Queues of the datapath, which knows the port by this number.
    Queues(PortNo),
    /// A patch to another port, of the same bridge or another one.
    Patch(Arc<PatchPort>),
}

/// One end of a patch. A frame that leaves here comes in at the peer: a patch port, of any bridge,
/// that has this port's name as its own peer.
#[derive(Debug)]
pub struct PatchPort {
    /// The name of the port at the other end.
    pub peer: Arc<str>,
    /// The packets that went through this end.
    pub counters: PatchCounters,
}

impl PartialEq for PatchPort {
    /// Counters are not compared: they say nothing of the port's configuration.
    fn eq(&self, other: &Self) -> bool {
        self.peer == other.peer
    }
}

impl Eq for PatchPort {}

/// Counters of one end of a patch. A cached flow adds its packets when it adds them to the counters
/// of its rules.
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

    /// Number of packets that came in from the peer, and number of their bytes.
    pub fn received(&self) -> (u64, u64) {
        self.received.get()
    }

    /// Number of packets that left for the peer, and number of their bytes.
    pub fn sent(&self) -> (u64, u64) {
        self.sent.get()
    }
}

/// One port of a bridge, as translation sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Whether queues or a patch are behind the port.
    pub attachment: Attachment,
    /// The port's OpenFlow number, which is unique in its bridge.
    pub of_port: OfPort,
    /// The port's name, which is unique in the switch.
    pub name: Arc<str>,
    /// The MAC address of the port's device; zero while the device is absent.
    pub mac: MacAddr,
    /// Configuration bits that `mod-port` sets.
    pub config: PortConfig,
    /// Whether the device is up and has a carrier.
    pub link_up: bool,
    /// Whether it is known that nobody at the other end of the port's tunnel hears (BFD). Floods leave the port
    /// out, and a bucket that watches it is not alive.
    pub is_peer_down: bool,
    /// Which VLANs the port carries, and whether tagged.
    pub vlan: VlanMode,
    /// When frames leave with a priority tag.
    pub priority_tags: PriorityTags,
    /// Whether NORMAL forwards no frames between this port and other protected ports.
    pub protected: bool,
    /// Whether the port's address is that of a host behind it: the machine that the switch runs on. NORMAL
    /// knows where this host is, and believes no other port.
    pub is_own: bool,
    /// Number of frames a second that NORMAL floods from this port, for each kind of flood; `None`
    /// sets no limit.
    pub storm_limit: Option<u32>,
    /// How outer headers are chosen for what leaves here; `None` if the port is no tunnel port.
    pub tunnel: Option<Arc<TunnelEgress>>,
    /// Whether questions of ARP and neighbour discovery for hosts behind the port are answered, if the answer
    /// is known, in place of being flooded; `None` if they are flooded.
    pub suppression: Option<Arc<Suppression>>,
    /// Counts such answers; `None` if nobody wants to know.
    pub answered: Option<Arc<AnswerCount>>,
}

/// How a port keeps questions of ARP and neighbour discovery for hosts behind it from being flooded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suppression {
    /// Hosts behind the port, by address, that somebody has given.
    pub neighbours: Vec<(IpAddr, MacAddr)>,
}

/// How many questions were answered in the name of hosts behind a port.
#[derive(Debug, Default)]
pub struct AnswerCount(AtomicU64);

impl AnswerCount {
    /// Counts answers.
    pub fn add(&self, answers: u64) {
        self.0.fetch_add(answers, Ordering::Relaxed);
    }

    /// The number of answers so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for AnswerCount {
    /// Counters are not compared: they say nothing of the port's configuration.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for AnswerCount {}

/// How a tunnel port chooses outer headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelEgress {
    /// The key that is sent; `None` takes the packet's `tun_id`.
    pub key: Option<u64>,
    /// The remote end; `None` takes the packet's `tun_dst` or `tun_ipv6_dst`.
    pub remote: Option<IpAddr>,
    /// The own end.
    pub local: TunnelLocal,
    /// The outer TOS or traffic class, whose ECN bits are always those of the packet.
    pub tos: Inherited,
    /// The outer TTL or hop limit.
    pub ttl: Inherited,
    /// Whether `tun_gbp_id` and `tun_gbp_flags` are sent.
    pub has_group_policy: bool,
    /// The options that are sent of packets that have them.
    pub options: Arc<OptionMap>,
}

impl TunnelEgress {
    /// The outer TTL or hop limit unless somebody wants another one.
    pub const DEFAULT_TTL: u8 = 64;
}

/// The address that a tunnel port sends from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelLocal {
    /// The host chooses.
    Any,
    /// Always this one.
    Fixed(IpAddr),
    /// The packet's `tun_src` or `tun_ipv6_src`.
    Flow,
}

/// A field of outer headers that may be that of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherited {
    /// Always this value.
    Fixed(u8),
    /// The value that the packet's IP header has.
    FromPacket,
}

impl PortInfo {
    /// A port with queues, up, and with everything else at its default.
    pub fn new(port_no: PortNo, of_port: OfPort, name: &str, mac: MacAddr) -> Self {
        Self {
            attachment: Attachment::Queues(port_no),
            of_port,
            name: name.into(),
            mac,
            config: PortConfig::default(),
            link_up: true,
            is_peer_down: false,
            vlan: VlanMode::default(),
            priority_tags: PriorityTags::default(),
            protected: false,
            is_own: false,
            storm_limit: Some(DEFAULT_STORM_LIMIT),
            tunnel: None,
            suppression: None,
            answered: None,
        }
    }

    /// One end of a patch to the port called `peer`, with everything else at its default.
    pub fn patch(of_port: OfPort, name: &str, peer: &str, mac: MacAddr) -> Self {
        let patch = PatchPort { peer: peer.into(), counters: PatchCounters::default() };
        let port = Self::new(PortNo::NONE, of_port, name, mac);
        Self { attachment: Attachment::Patch(Arc::new(patch)), ..port }
    }

    /// The datapath's number of the port; `None` for a patch port, which the datapath does not know.
    pub fn port_no(&self) -> Option<PortNo> {
        match self.attachment {
            Attachment::Queues(port_no) => Some(port_no),
            Attachment::Patch(_) => None,
        }
    }

    /// The patch that this port is an end of; `None` for a port with queues.
    pub fn as_patch(&self) -> Option<&Arc<PatchPort>> {
        match &self.attachment {
            Attachment::Patch(patch) => Some(patch),
            Attachment::Queues(_) => None,
        }
    }

    /// The address of the switch's own host, if it is behind this port.
    fn own_address(&self) -> Option<MacAddr> {
        (self.is_own && self.mac != MacAddr::default()).then_some(self.mac)
    }

    /// Whether questions for hosts behind the port are answered in place of being flooded.
    pub fn suppresses(&self) -> bool {
        self.suppression.is_some()
    }

    /// Whether the port is configured to take some frames and to drop others, by their destination.
    pub fn distinguishes_stp(&self) -> bool {
        self.config.no_recv != self.config.no_recv_stp
    }

    /// Whether the port's flags, but for `down`, let frames come in. `is_stp` tells whether a frame is
    /// one of a spanning tree.
    pub fn admits(&self, is_stp: bool) -> bool {
        !(if is_stp { self.config.no_recv_stp } else { self.config.no_recv })
    }

    /// The ingress port of a packet-out that names none: a trunk of all VLANs.
    pub fn nowhere() -> Self {
        let port = Self::new(PortNo::NONE, OfPort::NONE, "", MacAddr::default());
        Self { storm_limit: None, ..port }
    }
}

/// A port before and after a change. At least one is there.
#[derive(Clone, Debug)]
pub struct PortChange {
    /// The port's bridge, and its number there.
    pub at: PortRef,
    /// `None` if the port was added.
    pub before: Option<PortInfo>,
    /// `None` if the port was removed.
    pub after: Option<PortInfo>,
}

impl PortChange {
    /// The addresses of the switch's own host that the change gives to a port, takes from it,
    /// or lets into other VLANs.
    pub(super) fn own_addresses(&self) -> Vec<MacAddr> {
        let seen = |port: &Option<PortInfo>| {
            port.as_ref().and_then(|port| Some((port.own_address()?, port.vlan.clone())))
        };
        let (before, after) = (seen(&self.before), seen(&self.after));
        if before == after {
            return Vec::new();
        }
        before.into_iter().chain(after).map(|(mac, _)| mac).collect()
    }
}

/// The ports of a bridge, and the bridge's name.
#[derive(Clone, Debug, Default)]
pub struct PortTable {
    by_of_port: BTreeMap<OfPort, PortInfo>,
    bridge_name: Arc<str>,
    /// The ports behind which the switch's own host is, by their addresses.
    own: BTreeMap<MacAddr, OfPort>,
    /// The number of ports that suppress.
    suppressors: usize,
    /// Hosts that somebody has given an address, each behind a port that suppresses.
    neighbours: HashMap<IpAddr, (MacAddr, OfPort)>,
    fragments: Fragments,
    unasked: Unasked,
    /// Ports that the present change may have changed, as they were before it; `None` for a port
    /// that did not exist.
    touched: BTreeMap<OfPort, Option<PortInfo>>,
    /// Number of times that ports came, went or changed.
    changes: u64,
}

impl PortTable {
    /// The name of the bridge; empty if it was removed.
    pub fn bridge_name(&self) -> &Arc<str> {
        &self.bridge_name
    }

    /// What the bridge does with IP fragments.
    pub fn fragments(&self) -> Fragments {
        self.fragments
    }

    /// What controllers of the bridge want without a rule that asks for it.
    pub(super) fn unasked(&self) -> Unasked {
        self.unasked
    }

    /// Number of times that ports of the bridge came, went or changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Adds a port, or replaces the port with its number.
    pub fn insert(&mut self, port: PortInfo) {
        self.touch(port.of_port);
        self.by_of_port.insert(port.of_port, port);
    }

    /// Removes a port and returns it; `None` if there is no such port.
    pub fn remove(&mut self, of_port: OfPort) -> Option<PortInfo> {
        self.touch(of_port);
        self.by_of_port.remove(&of_port)
    }

    /// Removes all ports of the bridge.
    pub fn clear(&mut self) {
        let ports: Vec<OfPort> = self.by_of_port.keys().copied().collect();
        for port in ports {
            self.remove(port);
        }
    }

    /// The port with this OpenFlow number; `None` if there is none.
    pub fn get(&self, of_port: OfPort) -> Option<&PortInfo> {
        self.by_of_port.get(&of_port)
    }

    /// The port with this OpenFlow number, to be changed; `None` if there is none.
    pub fn get_mut(&mut self, of_port: OfPort) -> Option<&mut PortInfo> {
        self.touch(of_port);
        self.by_of_port.get_mut(&of_port)
    }

    /// The port with this name; `None` if there is none. Looks at every port.
    pub fn by_name(&self, name: &str) -> Option<&PortInfo> {
        self.iter().find(|p| &*p.name == name)
    }

    /// The port behind which the switch's own host has this address; `None` if that host does not have it.
    pub fn of_own_host(&self, mac: MacAddr) -> Option<&PortInfo> {
        self.get(*self.own.get(&mac)?)
    }

    /// Whether a port of the bridge suppresses floods of ARP and neighbour discovery.
    pub fn has_suppressors(&self) -> bool {
        self.suppressors > 0
    }

    /// The host to which somebody has given this address, and its port, which suppresses.
    pub fn static_neighbour(&self, ip: IpAddr) -> Option<(MacAddr, OfPort)> {
        self.neighbours.get(&ip).copied()
    }

    /// All ports in ascending order of their OpenFlow numbers. LOCAL has the highest one.
    pub fn iter(&self) -> impl Iterator<Item = &PortInfo> {
        self.by_of_port.values()
    }

    /// Number of ports of the bridge, LOCAL included.
    pub fn len(&self) -> usize {
        self.by_of_port.len()
    }

    /// Whether the bridge has no port.
    pub fn is_empty(&self) -> bool {
        self.by_of_port.is_empty()
    }

    /// Remembers how a port was before the present change.
    fn touch(&mut self, of_port: OfPort) {
        let Self { by_of_port, touched, .. } = self;
        touched.entry(of_port).or_insert_with(|| by_of_port.get(&of_port).cloned());
    }
}

/// The ports of all bridges, to be found by bridge, by the datapath's number, and by the names in patches.
#[derive(Debug, Default)]
pub struct PortTables {
    tables: PerBridge<PortTable>,
    /// The index is the datapath's number.
    by_port_no: Vec<Option<PortRef>>,
    /// Patch ports by name. Names are unique in a switch; should one be given twice, the latest is found.
    patches: HashMap<Arc<str>, PortRef>,
}

impl PortTables {
    pub(super) fn push_bridge(&mut self) {
        self.tables.push(PortTable::default());
    }

    /// Gives a bridge its name. It begins with the settings of a new bridge.
    pub(super) fn name_bridge(&mut self, bridge: BridgeId, name: Arc<str>) {
        let table = self.tables.of_mut(bridge);
        (table.bridge_name, table.fragments) = (name, Fragments::default());
        table.unasked = Unasked::default();
    }

    /// Says what controllers of a bridge want without a rule that asks for it. Returns whether they wanted
    /// something else before.
    pub(super) fn hear(&mut self, bridge: BridgeId, unasked: Unasked) -> bool {
        std::mem::replace(&mut self.tables.of_mut(bridge).unasked, unasked) != unasked
    }

    /// Sets what a bridge does with IP fragments. Returns whether the bridge did something else before.
    pub(super) fn handle_fragments(&mut self, bridge: BridgeId, fragments: Fragments) -> bool {
        let before = std::mem::replace(&mut self.tables.of_mut(bridge).fragments, fragments);
        before != fragments
    }

    /// The ports of the bridges that have not been removed.
    pub(super) fn bridges(&self) -> impl Iterator<Item = (BridgeId, &PortTable)> {
        self.tables.iter().filter(|(_, table)| !table.bridge_name.is_empty())
    }

    /// The ports of a bridge.
    pub fn of(&self, bridge: BridgeId) -> &PortTable {
        self.tables.of(bridge)
    }

    /// The port at a place; `None` if there is none.
    pub fn get(&self, at: PortRef) -> Option<&PortInfo> {
        self.of(at.bridge).get(at.port)
    }

    /// The port with this datapath number, and its bridge; `None` if there is none.
    pub fn by_port_no(&self, port_no: PortNo) -> Option<(BridgeId, &PortInfo)> {
        let at = (*self.by_port_no.get(usize::from(port_no.0))?)?;
        Some((at.bridge, self.get(at)?))
    }

    /// The other end of the patch of the port called `name`, and its bridge. `None` if the peer
    /// does not exist, or names another peer.
    pub fn peer(&self, name: &str, patch: &PatchPort) -> Option<(BridgeId, &PortInfo)> {
        let at = *self.patches.get(&patch.peer)?;
        let peer = self.get(at)?;
        let is_mutual = peer.as_patch().is_some_and(|back| *back.peer == *name);
        is_mutual.then_some((at.bridge, peer))
    }

    /// Changes the ports of a bridge. Returns the result of `change`, and the ports that differ afterwards.
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
        self.tables.of_mut(bridge).changes += u64::from(!changed.is_empty());
        (result, changed)
    }

    fn forget(&mut self, at: PortRef, port: &PortInfo) {
        let own = &mut self.tables.of_mut(at.bridge).own;
        if let Some(mac) = port.own_address()
            && own.get(&mac) == Some(&at.port)
        {
            own.remove(&mac);
        }
        if let Some(suppression) = &port.suppression {
            let table = self.tables.of_mut(at.bridge);
            table.suppressors -= 1;
            for (ip, _) in &suppression.neighbours {
                if table.neighbours.get(ip).is_some_and(|(_, port)| *port == at.port) {
                    table.neighbours.remove(ip);
                }
            }
        }
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
        if let Some(mac) = port.own_address() {
            self.tables.of_mut(at.bridge).own.insert(mac, at.port);
        }
        if let Some(suppression) = &port.suppression {
            let table = self.tables.of_mut(at.bridge);
            table.suppressors += 1;
            let given = suppression.neighbours.iter().map(|(ip, mac)| (*ip, (*mac, at.port)));
            table.neighbours.extend(given);
        }
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
