//! What translation knows of the ports: numbers, configuration, VLAN membership.

use flow::types::{MacAddr, OfPort, PortNo};
use flow::verdict::DEFAULT_STORM_LIMIT;
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// One port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// The datapath's number.
    pub no: PortNo,
    /// The user's number.
    pub of: OfPort,
    /// The user's name.
    pub name: Arc<str>,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Switches.
    pub config: PortConfig,
    /// The device is up and has a carrier.
    pub link_up: bool,
    /// VLANs.
    pub vlan: VlanMode,
    /// Priority tags.
    pub priority_tags: PriorityTags,
    /// Never exchanges frames with another protected port under NORMAL.
    pub protected: bool,
    /// Frames a second, of each kind, that NORMAL floods from here; `None` is any number.
    pub storm_limit: Option<u32>,
}

impl PortInfo {
    /// A port with all switches at their default.
    pub fn new(no: PortNo, of: OfPort, name: &str, mac: MacAddr) -> Self {
        Self {
            no,
            of,
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

    /// Where a packet-out comes from that names no port: a trunk of all VLANs.
    pub fn nowhere() -> Self {
        let port = Self::new(PortNo::NONE, OfPort::NONE, "", MacAddr::default());
        Self { storm_limit: None, ..port }
    }
}

/// The ports of a bridge.
#[derive(Clone, Debug, Default)]
pub struct PortTable {
    by_of: BTreeMap<OfPort, PortInfo>,
    of_by_no: Vec<Option<OfPort>>,
}

impl PortTable {
    /// Adds or replaces a port.
    pub fn insert(&mut self, port: PortInfo) {
        self.remove(port.of);
        let index = port.no.0 as usize;
        if self.of_by_no.len() <= index {
            self.of_by_no.resize(index + 1, None);
        }
        self.of_by_no[index] = Some(port.of);
        self.by_of.insert(port.of, port);
    }

    /// Takes a port out.
    pub fn remove(&mut self, of: OfPort) -> Option<PortInfo> {
        let port = self.by_of.remove(&of)?;
        self.of_by_no[port.no.0 as usize] = None;
        Some(port)
    }

    /// By the user's number.
    pub fn get(&self, of: OfPort) -> Option<&PortInfo> {
        self.by_of.get(&of)
    }

    /// By the user's number, to change.
    pub fn get_mut(&mut self, of: OfPort) -> Option<&mut PortInfo> {
        self.by_of.get_mut(&of)
    }

    /// By the datapath's number.
    pub fn by_no(&self, no: PortNo) -> Option<&PortInfo> {
        let of = (*self.of_by_no.get(no.0 as usize)?)?;
        self.by_of.get(&of)
    }

    /// By name.
    pub fn by_name(&self, name: &str) -> Option<&PortInfo> {
        self.iter().find(|p| &*p.name == name)
    }

    /// All, in ascending order of the user's numbers; LOCAL is the last.
    pub fn iter(&self) -> impl Iterator<Item = &PortInfo> {
        self.by_of.values()
    }

    /// Number of ports.
    pub fn len(&self) -> usize {
        self.by_of.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.by_of.is_empty()
    }
}
