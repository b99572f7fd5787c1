//! Replies that list things: encoded element by element, in as many parts as they need.

use crate::encoding::Encoding;
use crate::flow_monitor::FlowUpdate;
use crate::flow_stats::FlowStats;
use crate::message::{begin, finish, multipart_reply_kind};
use crate::multipart::{MORE, kind, put_reply_head};
use crate::output::Encoder;
use crate::ports::{PortDesc, PortStats};
use crate::table_features::TableFeatures;
use crate::{group, meter};
use flow::group::{Group, GroupStats};
use flow::meter::{Meter, MeterStats};
use flow::types::{GroupId, MeterId};

/// The largest size of a message in bytes.
const MAX_MESSAGE: usize = u16::MAX as usize;

/// A reply that lists rules or groups and is encoded element by element, in as many parts as it needs.
#[derive(Debug)]
pub struct ReplyParts {
    encoding: Encoding,
    xid: u32,
    kind: u16,
    /// The part that is being filled.
    part: Encoder,
    /// Parts that are full, the oldest first.
    full: Vec<Vec<u8>>,
}

impl ReplyParts {
    fn new(kind: u16, encoding: Encoding, xid: u32) -> Self {
        let part = Self::begin_part(kind, encoding, xid);
        Self { encoding, xid, kind, part, full: Vec::new() }
    }

    /// An empty list of rules with their statistics.
    pub fn flows(encoding: Encoding, xid: u32) -> Self {
        Self::new(kind::FLOW, encoding, xid)
    }

    /// An empty list of counters of groups.
    pub fn groups(encoding: Encoding, xid: u32) -> Self {
        Self::new(kind::GROUP, encoding, xid)
    }

    /// An empty list of descriptions of groups.
    pub fn group_descs(encoding: Encoding, xid: u32) -> Self {
        Self::new(kind::GROUP_DESC, encoding, xid)
    }

    /// An empty list of counters of meters.
    pub fn meters(encoding: Encoding, xid: u32) -> Self {
        Self::new(kind::METER, encoding, xid)
    }

    /// An empty list of meters with their bands.
    pub fn meter_configs(encoding: Encoding, xid: u32) -> Self {
        Self::new(kind::METER_CONFIG, encoding, xid)
    }

    /// An empty list of counters of ports.
    pub fn ports(encoding: Encoding, xid: u32) -> Self {
        Self::new(kind::PORT, encoding, xid)
    }

    /// An empty list of descriptions of ports.
    pub fn port_descs(encoding: Encoding, xid: u32) -> Self {
        Self::new(kind::PORT_DESC, encoding, xid)
    }

    /// An empty list of what flow monitors tell.
    pub fn flow_updates(encoding: Encoding, xid: u32) -> Self {
        Self::new(kind::FLOW_MONITOR, encoding, xid)
    }

    /// An empty list of what tables can do.
    pub fn table_features(encoding: Encoding, xid: u32) -> Self {
        Self::new(kind::TABLE_FEATURES, encoding, xid)
    }

    fn begin_part(kind: u16, encoding: Encoding, xid: u32) -> Encoder {
        let mut part = begin(multipart_reply_kind(encoding.version), encoding.version, xid);
        put_reply_head(&mut part, kind, 0, encoding);
        part
    }

    /// Appends a rule. A rule that no message can hold is left out.
    pub fn flow(&mut self, rule: &FlowStats<'_>) {
        let encoding = self.encoding;
        self.element(|out| rule.put(out, encoding));
    }

    /// Appends what a flow monitor tells. A change of a rule that no message can hold is left out.
    pub fn flow_update(&mut self, update: &FlowUpdate) {
        let version = self.encoding.version;
        self.element(|out| update.put(out, version));
    }

    /// Appends the counters of a group. Those of a group that no message can hold are left out.
    pub fn group(&mut self, id: GroupId, stats: &GroupStats) {
        let version = self.encoding.version;
        self.element(|out| group::put_stats(out, id, stats, version));
    }

    /// Appends the description of a group. A group that no message can hold is left out.
    pub fn group_desc(&mut self, group: &Group) {
        let version = self.encoding.version;
        self.element(|out| group::put_desc(out, group, version));
    }

    /// Appends the counters of a meter.
    pub fn meter(&mut self, id: MeterId, stats: &MeterStats) {
        self.element(|out| meter::put_stats(out, id, stats));
    }

    /// Appends a meter with its bands.
    pub fn meter_config(&mut self, meter: &Meter) {
        self.element(|out| meter::put_config(out, meter));
    }

    /// Appends the counters of a port.
    pub fn port(&mut self, stats: &PortStats) {
        let version = self.encoding.version;
        self.element(|out| stats.put(out, version));
    }

    /// Appends the description of a port.
    pub fn port_desc(&mut self, port: &PortDesc) {
        let version = self.encoding.version;
        self.element(|out| port.put(out, version));
    }

    /// Appends what a table can do.
    pub fn table_feature(&mut self, table: &TableFeatures) {
        let version = self.encoding.version;
        self.element(|out| table.put(out, version));
    }

    fn element(&mut self, put: impl Fn(&mut Encoder)) {
        let before = self.part.len();
        put(&mut self.part);
        if self.part.len() <= MAX_MESSAGE {
            return;
        }
        self.part.truncate(before);
        let next = Self::begin_part(self.kind, self.encoding, self.xid);
        let mut full = std::mem::replace(&mut self.part, next);
        full.set_u16(MORE_AT, MORE);
        self.full.push(finish(full));
        let empty = self.part.len();
        put(&mut self.part);
        if self.part.len() > MAX_MESSAGE {
            self.part.truncate(empty);
        }
    }

    /// Takes the parts that are full.
    pub fn take_full(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.full)
    }

    /// The parts that have not been taken, the last one included.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        self.full.push(finish(self.part));
        self.full
    }
}

/// Where a message has the flags of a multipart.
const MORE_AT: usize = crate::header::HEADER_SIZE + 2;
