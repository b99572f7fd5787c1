//! Multipart messages, which OpenFlow 1.0 to 1.2 call statistics (OpenFlow 1.3.5 §7.3.5).

use crate::encoding::Encoding;
use crate::error::ErrorCode;
use crate::flow_monitor::{FlowMonitor, FlowUpdate};
use crate::flow_stats::{self, AggregateStats, FlowStats};
use crate::group::{self, GroupFeatures};
use crate::input::{Input, ONF, VENDOR_NICIRA};
use crate::ipfix::IpfixStats;
use crate::meter;
use crate::output::Encoder;
use crate::port;
use crate::ports::{PortDesc, PortStats};
use crate::queues::{QueueDesc, QueueStats};
use crate::switch::SwitchDesc;
use crate::table_features::TableFeatures;
use crate::table_mod::TableDesc;
use crate::tables::TableStats;
use OfVersion::{OpenFlow10, OpenFlow12, OpenFlow13, OpenFlow14, OpenFlow15};
use flow::flow_mod::FlowMod;
use flow::group::{Group, GroupStats};
use flow::meter::{Meter, MeterFeatures, MeterStats};
use flow::types::{GroupId, MeterId, OfPort, OfVersion};

/// Types of multipart messages (`OFPMP_*`).
pub(crate) mod kind {
    pub(crate) const DESC: u16 = 0;
    pub(crate) const FLOW: u16 = 1;
    pub(crate) const AGGREGATE: u16 = 2;
    pub(crate) const TABLE: u16 = 3;
    pub(crate) const PORT: u16 = 4;
    pub(crate) const QUEUE: u16 = 5;
    pub(crate) const GROUP: u16 = 6;
    pub(crate) const GROUP_DESC: u16 = 7;
    pub(crate) const GROUP_FEATURES: u16 = 8;
    pub(crate) const METER: u16 = 9;
    pub(crate) const METER_CONFIG: u16 = 10;
    pub(crate) const METER_FEATURES: u16 = 11;
    pub(crate) const TABLE_FEATURES: u16 = 12;
    pub(crate) const PORT_DESC: u16 = 13;
    pub(crate) const TABLE_DESC: u16 = 14;
    pub(crate) const QUEUE_DESC: u16 = 15;
    pub(crate) const FLOW_MONITOR: u16 = 16;
    pub(crate) const EXPERIMENTER: u16 = 0xffff;
}

/// Subtypes of Nicira's (`NXST_*`).
const NXST_FLOW: u32 = 0;
const NXST_AGGREGATE: u32 = 1;
/// About groups, for OpenFlow 1.0, which has none of its own. 1.1 has no features of groups.
const NXST_GROUP: u32 = 7;
const NXST_GROUP_DESC: u32 = 8;
const NXST_GROUP_FEATURES: u32 = 9;
const NXST_FLOW_MONITOR: u32 = 2;
/// The counters of IPFIX, for a bridge and for the exporters of rules.
const NXST_IPFIX_BRIDGE: u32 = 3;
const NXST_IPFIX_FLOW: u32 = 4;
/// The ONF's subtype for flow monitors in OpenFlow 1.3 (`ONFST_FLOW_MONITOR`).
const ONFST_FLOW_MONITOR: u32 = 1870;

/// The flag of a request or reply that another part follows (`OFPMPF_REQ_MORE`, `OFPMPF_REPLY_MORE`).
pub(crate) const MORE: u16 = 1;

/// A request for statistics or descriptions.
#[derive(Clone, Debug, PartialEq)]
pub enum MultipartRequest {
    /// Who made the switch.
    Desc,
    /// Rules with their statistics.
    Flow {
        /// A deletion that would delete the rules that the reply shall list.
        filter: Box<FlowMod>,
        /// Whether the request is Nicira's (`NXST_FLOW`), and the reply shall be.
        nxm: bool,
    },
    /// The counters of rules together.
    Aggregate {
        /// A deletion that would delete the rules that the reply shall add up.
        filter: Box<FlowMod>,
        /// Whether the request is Nicira's (`NXST_AGGREGATE`), and the reply shall be.
        nxm: bool,
    },
    /// The counters of every table.
    Table,
    /// The counters of a port, or of all with [`OfPort::NONE`].
    Port(OfPort),
    /// The description of a port, or of all with [`OfPort::NONE`]. Requests before OpenFlow 1.5 are about all.
    PortDesc(OfPort),
    /// The counters of queues of a port, or of all with [`OfPort::NONE`].
    Queue {
        /// The port whose queues are meant; [`OfPort::NONE`] for those of every port.
        port: OfPort,
        /// The queue; all ones for every queue.
        queue: u32,
    },
    /// The counters of a group, or of all with [`GroupId::ALL`].
    Group(GroupId),
    /// The description of a group, or of all with [`GroupId::ALL`]. Requests before OpenFlow 1.5 are about all.
    GroupDesc(GroupId),
    /// What the switch can do with groups.
    GroupFeatures,
    /// The counters of a meter, or of all with [`MeterId::ALL`].
    Meter(MeterId),
    /// A meter with its bands, or all with [`MeterId::ALL`].
    MeterConfig(MeterId),
    /// What meters of the switch can be like.
    MeterFeatures,
    /// What every table can do. With tables, a request that changes their names.
    TableFeatures(Vec<TableFeatures>),
    /// How every table behaves, from OpenFlow 1.4 on.
    TableDesc,
    /// The rates of queues, from OpenFlow 1.4 on.
    QueueDesc {
        /// The port whose queues are meant; [`OfPort::NONE`] for those of every port.
        port: OfPort,
        /// The queue; [`EVERY_QUEUE`](crate::EVERY_QUEUE) for every queue.
        queue: u32,
    },
    /// Flow monitors that begin, change or end.
    FlowMonitor(Vec<FlowMonitor>),
    /// The counters of the exporter of flow records (IPFIX) that the whole bridge has.
    IpfixBridge,
    /// The counters of the exporters of flow records that rules name.
    IpfixFlow,
}

/// A part of a reply, as [`OfMessage::decode`](crate::OfMessage::decode) returns it.
#[derive(Clone, Debug, PartialEq)]
pub enum MultipartReply {
    /// Who made the switch.
    Desc(Box<SwitchDesc>),
    /// Rules with their statistics.
    Flow(Vec<FlowStats<'static>>),
    /// The counters of rules together.
    Aggregate(AggregateStats),
    /// The counters of tables.
    Table(Vec<TableStats>),
    /// The counters of ports.
    Port(Vec<PortStats>),
    /// The descriptions of ports.
    PortDesc(Vec<PortDesc>),
    /// The counters of queues.
    Queue(Vec<QueueStats>),
    /// The counters of groups.
    Group(Vec<(GroupId, GroupStats)>),
    /// The descriptions of groups.
    GroupDesc(Vec<Group>),
    /// What the switch can do with groups.
    GroupFeatures(GroupFeatures),
    /// The counters of meters.
    Meter(Vec<(MeterId, MeterStats)>),
    /// Meters with their bands.
    MeterConfig(Vec<Meter>),
    /// What meters of the switch can be like.
    MeterFeatures(MeterFeatures),
    /// What flow monitors tell.
    FlowMonitor(Vec<FlowUpdate>),
    /// What tables can do.
    TableFeatures(Vec<TableFeatures>),
    /// How tables behave.
    TableDesc(Vec<TableDesc>),
    /// The rates of queues.
    QueueDesc(Vec<QueueDesc>),
    /// The counters of a bridge's exporter of flow records (IPFIX).
    IpfixBridge(Box<IpfixStats>),
    /// The counters of the exporters of flow records that rules name.
    IpfixFlow(Vec<IpfixStats>),
}

/// Writes the type and the flags of a multipart message.
fn put_head(out: &mut Encoder, kind: u16, flags: u16, version: OfVersion) {
    if kind == kind::FLOW_MONITOR && version < OpenFlow14 {
        return put_monitor_head(out, flags, version);
    }
    out.u16(kind);
    out.u16(flags);
    if version > OpenFlow10 {
        out.zeros(4);
    }
}

/// Writes the type of flow monitors in the versions that have them as an extension.
fn put_monitor_head(out: &mut Encoder, flags: u16, version: OfVersion) {
    if version == OpenFlow10 {
        return put_nicira_head(out, NXST_FLOW_MONITOR, flags);
    }
    out.u16(kind::EXPERIMENTER);
    out.u16(flags);
    out.zeros(4);
    let (vendor, subtype) = match version {
        OpenFlow13 => (ONF, ONFST_FLOW_MONITOR),
        _ => (VENDOR_NICIRA, NXST_FLOW_MONITOR),
    };
    out.u32(vendor);
    out.u32(subtype);
}

/// The subtype of Nicira's multipart about groups that stands for a standard one in this version; `None` if the
/// version has the standard one, or the multipart is about something else.
fn nicira_group_subtype(kind: u16, version: OfVersion) -> Option<u32> {
    match kind {
        kind::GROUP if version == OpenFlow10 => Some(NXST_GROUP),
        kind::GROUP_DESC if version == OpenFlow10 => Some(NXST_GROUP_DESC),
        kind::GROUP_FEATURES if version < OpenFlow12 => Some(NXST_GROUP_FEATURES),
        _ => None,
    }
}

/// Writes Nicira's type and the flags of a multipart, in the form of the version.
fn put_nicira_head_of(out: &mut Encoder, subtype: u32, flags: u16, version: OfVersion) {
    if version == OpenFlow10 {
        return put_nicira_head(out, subtype, flags);
    }
    put_head(out, kind::EXPERIMENTER, flags, version);
    out.u32(VENDOR_NICIRA);
    out.u32(subtype);
}

fn put_nicira_head(out: &mut Encoder, subtype: u32, flags: u16) {
    out.u16(kind::EXPERIMENTER);
    out.u16(flags);
    out.u32(VENDOR_NICIRA);
    out.u32(subtype);
    out.zeros(4);
}

/// What a multipart message is about: its standard type, or Nicira's subtype, and its flags. Flow monitors have
/// their standard type in every version.
fn decode_head(
    input: &mut Input<'_>,
    version: OfVersion,
) -> Result<(Result<u16, u32>, u16), ErrorCode> {
    let (kind, flags) = (input.u16()?, input.u16()?);
    if version > OpenFlow10 {
        input.skip(4)?;
    }
    if kind == kind::FLOW_MONITOR && version < OpenFlow14 {
        return Err(ErrorCode::BadStat);
    }
    if kind != kind::EXPERIMENTER {
        return match nicira_group_subtype(kind, version) {
            Some(_) => Err(ErrorCode::BadStat),
            None => Ok((Ok(kind), flags)),
        };
    }
    let vendor = input.u32()?;
    if vendor != VENDOR_NICIRA && (vendor != ONF || version == OpenFlow10) {
        return Err(ErrorCode::BadVendor);
    }
    let subtype = input.u32()?;
    if version == OpenFlow10 {
        input.skip(4)?;
    }
    match (vendor, subtype) {
        (VENDOR_NICIRA, NXST_FLOW_MONITOR) if version < OpenFlow13 => {
            Ok((Ok(kind::FLOW_MONITOR), flags))
        }
        (ONF, ONFST_FLOW_MONITOR) if version == OpenFlow13 => Ok((Ok(kind::FLOW_MONITOR), flags)),
        (VENDOR_NICIRA, NXST_GROUP) if version == OpenFlow10 => Ok((Ok(kind::GROUP), flags)),
        (VENDOR_NICIRA, NXST_GROUP_DESC) if version == OpenFlow10 => {
            Ok((Ok(kind::GROUP_DESC), flags))
        }
        (VENDOR_NICIRA, NXST_GROUP_FEATURES) if version < OpenFlow12 => {
            Ok((Ok(kind::GROUP_FEATURES), flags))
        }
        (VENDOR_NICIRA, subtype) => Ok((Err(subtype), flags)),
        _ => Err(ErrorCode::BadSubtype),
    }
}

impl MultipartRequest {
    pub(crate) fn decode(mut input: Input<'_>, encoding: Encoding) -> Result<Self, ErrorCode> {
        let version = encoding.version;
        let is_10 = version == OpenFlow10;
        let (kind, _) = decode_head(&mut input, version)?;
        let flow = |input: &mut Input<'_>| match is_10 {
            true => flow_stats::decode_request_10(input),
            false => flow_stats::decode_request_11(input),
        };
        let size = match kind {
            Ok(kind::PORT | kind::QUEUE) => Some(8),
            Ok(kind::QUEUE_DESC) if version >= OpenFlow14 => Some(8),
            Ok(kind::PORT_DESC) if version >= OpenFlow15 => Some(8),
            _ => None,
        };
        if size.is_some_and(|size| size != input.len()) {
            return Err(ErrorCode::BadLength);
        }
        let request = match kind {
            Ok(kind::DESC) => Self::Desc,
            Ok(kind::FLOW) => Self::Flow { filter: Box::new(flow(&mut input)?), nxm: false },
            Ok(kind::AGGREGATE) => {
                Self::Aggregate { filter: Box::new(flow(&mut input)?), nxm: false }
            }
            Ok(kind::TABLE) => Self::Table,
            Ok(kind::PORT) => {
                let port = port::decode(&mut input, version, ErrorCode::BadOutPort)?;
                input.skip(if is_10 { 6 } else { 4 })?;
                Self::Port(port)
            }
            Ok(kind::QUEUE) => {
                let port = port::decode(&mut input, version, ErrorCode::BadOutPort)?;
                if is_10 {
                    input.skip(2)?;
                }
                // OpenFlow 1.0 has OFPP_ALL for every port.
                let port = if is_10 && port == OfPort::ALL { OfPort::NONE } else { port };
                Self::Queue { port, queue: input.u32()? }
            }
            Ok(kind::GROUP) => {
                let group = GroupId(input.u32()?);
                input.skip(4)?;
                Self::Group(group)
            }
            Ok(kind::GROUP_DESC) if is_10 || version >= OpenFlow15 => {
                let group = GroupId(input.u32()?);
                input.skip(4)?;
                Self::GroupDesc(group)
            }
            Ok(kind::GROUP_DESC) => Self::GroupDesc(GroupId::ALL),
            Ok(kind::GROUP_FEATURES) => Self::GroupFeatures,
            Ok(kind::METER) if version >= OpenFlow13 => {
                Self::Meter(meter::decode_request(&mut input)?)
            }
            Ok(kind::METER_CONFIG) if version >= OpenFlow13 => {
                Self::MeterConfig(meter::decode_request(&mut input)?)
            }
            Ok(kind::METER_FEATURES) if version >= OpenFlow13 => Self::MeterFeatures,
            Ok(kind::TABLE_FEATURES) if version >= OpenFlow13 => {
                if !input.len().is_multiple_of(8) {
                    return Err(ErrorCode::BadLength);
                }
                let next = |input: &mut Input<'_>| TableFeatures::decode(input, version, false);
                let tables = list(input, next)?;
                input.skip(input.len())?;
                Self::TableFeatures(tables)
            }
            Ok(kind::TABLE_DESC) if version >= OpenFlow14 => Self::TableDesc,
            Ok(kind::QUEUE_DESC) if version >= OpenFlow14 => {
                let port = port::decode(&mut input, version, ErrorCode::BadOutPort)?;
                Self::QueueDesc { port, queue: input.u32()? }
            }
            Ok(kind::PORT_DESC) if version >= OpenFlow15 => {
                let port = port::decode(&mut input, version, ErrorCode::BadOutPort)?;
                input.skip(4)?;
                Self::PortDesc(port)
            }
            Ok(kind::PORT_DESC) => Self::PortDesc(OfPort::NONE),
            Ok(kind::FLOW_MONITOR) => {
                let monitors = list(input, |input| FlowMonitor::decode(input, version))?;
                return Ok(Self::FlowMonitor(monitors));
            }
            Err(NXST_FLOW) if is_10 => {
                let filter = Box::new(flow_stats::decode_request_nxst(&mut input)?);
                Self::Flow { filter, nxm: true }
            }
            Err(NXST_AGGREGATE) if is_10 => {
                let filter = Box::new(flow_stats::decode_request_nxst(&mut input)?);
                Self::Aggregate { filter, nxm: true }
            }
            Err(NXST_IPFIX_BRIDGE) => Self::IpfixBridge,
            Err(NXST_IPFIX_FLOW) => Self::IpfixFlow,
            Ok(_) => return Err(ErrorCode::BadStat),
            Err(_) => return Err(ErrorCode::BadSubtype),
        };
        if input.is_empty() { Ok(request) } else { Err(ErrorCode::BadLength) }
    }

    pub(crate) fn put(&self, out: &mut Encoder, encoding: Encoding) {
        let version = encoding.version;
        let is_10 = version == OpenFlow10;
        let mut head = |kind| match nicira_group_subtype(kind, version) {
            Some(subtype) => put_nicira_head_of(out, subtype, 0, version),
            None => put_head(out, kind, 0, version),
        };
        match self {
            Self::Desc => head(kind::DESC),
            Self::Flow { filter, nxm } => {
                let encoding = Encoding { nxm: *nxm, ..encoding };
                match is_10 && *nxm {
                    true => put_nicira_head(out, NXST_FLOW, 0),
                    false => head(kind::FLOW),
                }
                flow_stats::put_request(out, filter, encoding);
            }
            Self::Aggregate { filter, nxm } => {
                let encoding = Encoding { nxm: *nxm, ..encoding };
                match is_10 && *nxm {
                    true => put_nicira_head(out, NXST_AGGREGATE, 0),
                    false => head(kind::AGGREGATE),
                }
                flow_stats::put_request(out, filter, encoding);
            }
            Self::Table => head(kind::TABLE),
            Self::Port(port) => {
                head(kind::PORT);
                port::put(out, *port, version);
                out.zeros(if is_10 { 6 } else { 4 });
            }
            Self::PortDesc(port) => {
                head(kind::PORT_DESC);
                if version >= OpenFlow15 {
                    port::put(out, *port, version);
                    out.zeros(4);
                }
            }
            Self::Queue { port, queue } => {
                head(kind::QUEUE);
                let is_every = is_10 && *port == OfPort::NONE;
                port::put(out, if is_every { OfPort::ALL } else { *port }, version);
                out.zeros(if is_10 { 2 } else { 0 });
                out.u32(*queue);
            }
            Self::Group(group) => {
                head(kind::GROUP);
                out.u32(group.0);
                out.zeros(4);
            }
            Self::GroupDesc(group) => {
                head(kind::GROUP_DESC);
                if is_10 || version >= OpenFlow15 {
                    out.u32(group.0);
                    out.zeros(4);
                }
            }
            Self::GroupFeatures => head(kind::GROUP_FEATURES),
            Self::Meter(id) => {
                head(kind::METER);
                meter::put_request(out, *id);
            }
            Self::MeterConfig(id) => {
                head(kind::METER_CONFIG);
                meter::put_request(out, *id);
            }
            Self::MeterFeatures => head(kind::METER_FEATURES),
            Self::FlowMonitor(monitors) => {
                head(kind::FLOW_MONITOR);
                monitors.iter().for_each(|monitor| monitor.put(out, version));
            }
            Self::TableFeatures(tables) => {
                head(kind::TABLE_FEATURES);
                tables.iter().for_each(|table| table.put(out, version));
            }
            Self::TableDesc => head(kind::TABLE_DESC),
            Self::IpfixBridge => put_nicira_head_of(out, NXST_IPFIX_BRIDGE, 0, version),
            Self::IpfixFlow => put_nicira_head_of(out, NXST_IPFIX_FLOW, 0, version),
            Self::QueueDesc { port, queue } => {
                head(kind::QUEUE_DESC);
                port::put(out, *port, version);
                out.u32(*queue);
            }
        }
    }
}

/// Reads elements up to the end of `input`.
fn list<T>(
    mut input: Input<'_>,
    mut next: impl FnMut(&mut Input<'_>) -> Result<T, ErrorCode>,
) -> Result<Vec<T>, ErrorCode> {
    let mut list = Vec::new();
    while !input.is_empty() {
        let before = input.len();
        list.push(next(&mut input)?);
        if input.len() == before {
            return Err(ErrorCode::BadLength);
        }
    }
    Ok(list)
}

impl MultipartReply {
    pub(crate) fn decode(
        mut input: Input<'_>,
        encoding: Encoding,
    ) -> Result<(Self, bool), ErrorCode> {
        let version = encoding.version;
        let (kind, flags) = decode_head(&mut input, version)?;
        let is_nicira = kind.is_err();
        let encoding = Encoding { nxm: is_nicira, ..encoding };
        let reply = match kind {
            Ok(kind::DESC) => Self::Desc(Box::new(SwitchDesc::decode(&mut input)?)),
            Ok(kind::FLOW) | Err(NXST_FLOW) => {
                Self::Flow(list(input, |input| FlowStats::decode(input, encoding))?)
            }
            Ok(kind::AGGREGATE) | Err(NXST_AGGREGATE) => {
                Self::Aggregate(AggregateStats::decode(&mut input, version)?)
            }
            Ok(kind::TABLE) => {
                Self::Table(list(input, |input| TableStats::decode(input, version))?)
            }
            Ok(kind::PORT) => Self::Port(list(input, |input| PortStats::decode(input, version))?),
            Ok(kind::PORT_DESC) => {
                Self::PortDesc(list(input, |input| PortDesc::decode(input, version))?)
            }
            Ok(kind::FLOW_MONITOR) => {
                Self::FlowMonitor(list(input, |input| FlowUpdate::decode(input, version))?)
            }
            Ok(kind::QUEUE) => {
                Self::Queue(list(input, |input| QueueStats::decode(input, version))?)
            }
            Ok(kind::GROUP) => {
                Self::Group(list(input, |input| group::decode_stats(input, version))?)
            }
            Ok(kind::GROUP_DESC) => {
                Self::GroupDesc(list(input, |input| group::decode_desc(input, version))?)
            }
            Ok(kind::GROUP_FEATURES) => Self::GroupFeatures(GroupFeatures::decode(&mut input)?),
            Ok(kind::METER) => Self::Meter(list(input, meter::decode_stats)?),
            Ok(kind::METER_CONFIG) => Self::MeterConfig(list(input, meter::decode_config)?),
            Ok(kind::METER_FEATURES) => Self::MeterFeatures(meter::decode_features(&mut input)?),
            Ok(kind::TABLE_FEATURES) if version >= OpenFlow13 => {
                Self::TableFeatures(list(input, |input| {
                    TableFeatures::decode(input, version, true)
                })?)
            }
            Ok(kind::TABLE_DESC) if version >= OpenFlow14 => {
                Self::TableDesc(list(input, TableDesc::decode)?)
            }
            Ok(kind::QUEUE_DESC) if version >= OpenFlow14 => {
                Self::QueueDesc(list(input, QueueDesc::decode)?)
            }
            Err(NXST_IPFIX_BRIDGE) => Self::IpfixBridge(Box::new(IpfixStats::decode(&mut input)?)),
            Err(NXST_IPFIX_FLOW) => Self::IpfixFlow(list(input, IpfixStats::decode)?),
            Ok(_) => return Err(ErrorCode::BadStat),
            Err(_) => return Err(ErrorCode::BadSubtype),
        };
        Ok((reply, flags & MORE != 0))
    }

    pub(crate) fn put(&self, out: &mut Encoder, encoding: Encoding, has_more: bool) {
        let version = encoding.version;
        let flags = if has_more { MORE } else { 0 };
        match self.kind() {
            Ok(kind) => put_reply_head(out, kind, flags, encoding),
            Err(subtype) => put_nicira_head_of(out, subtype, flags, version),
        }
        match self {
            Self::Desc(desc) => desc.put(out),
            Self::Flow(rules) => rules.iter().for_each(|rule| rule.put(out, encoding)),
            Self::Aggregate(stats) => stats.put(out, version),
            Self::Table(tables) => tables.iter().for_each(|table| table.put(out, version)),
            Self::Port(ports) => ports.iter().for_each(|port| port.put(out, version)),
            Self::PortDesc(ports) => ports.iter().for_each(|port| port.put(out, version)),
            Self::Queue(queues) => queues.iter().for_each(|queue| queue.put(out, version)),
            Self::Group(groups) => {
                groups.iter().for_each(|(id, stats)| group::put_stats(out, *id, stats, version));
            }
            Self::GroupDesc(groups) => {
                groups.iter().for_each(|group| group::put_desc(out, group, version));
            }
            Self::GroupFeatures(features) => features.put(out),
            Self::Meter(meters) => {
                meters.iter().for_each(|(id, stats)| meter::put_stats(out, *id, stats));
            }
            Self::MeterConfig(meters) => {
                meters.iter().for_each(|meter| meter::put_config(out, meter));
            }
            Self::MeterFeatures(features) => meter::put_features(out, features),
            Self::FlowMonitor(updates) => {
                updates.iter().for_each(|update| update.put(out, version));
            }
            Self::TableFeatures(tables) => tables.iter().for_each(|table| table.put(out, version)),
            Self::TableDesc(tables) => tables.iter().for_each(|table| table.put(out)),
            Self::QueueDesc(queues) => queues.iter().for_each(|queue| queue.put(out)),
            Self::IpfixBridge(stats) => stats.put(out),
            Self::IpfixFlow(exporters) => exporters.iter().for_each(|stats| stats.put(out)),
        }
    }

    /// The standard type, or Nicira's subtype.
    fn kind(&self) -> Result<u16, u32> {
        Ok(match self {
            Self::Desc(_) => kind::DESC,
            Self::Flow(_) => kind::FLOW,
            Self::Aggregate(_) => kind::AGGREGATE,
            Self::Table(_) => kind::TABLE,
            Self::Port(_) => kind::PORT,
            Self::PortDesc(_) => kind::PORT_DESC,
            Self::Queue(_) => kind::QUEUE,
            Self::Group(_) => kind::GROUP,
            Self::GroupDesc(_) => kind::GROUP_DESC,
            Self::GroupFeatures(_) => kind::GROUP_FEATURES,
            Self::Meter(_) => kind::METER,
            Self::MeterConfig(_) => kind::METER_CONFIG,
            Self::MeterFeatures(_) => kind::METER_FEATURES,
            Self::FlowMonitor(_) => kind::FLOW_MONITOR,
            Self::TableFeatures(_) => kind::TABLE_FEATURES,
            Self::TableDesc(_) => kind::TABLE_DESC,
            Self::QueueDesc(_) => kind::QUEUE_DESC,
            Self::IpfixBridge(_) => return Err(NXST_IPFIX_BRIDGE),
            Self::IpfixFlow(_) => return Err(NXST_IPFIX_FLOW),
        })
    }
}

/// Writes the type and the flags of a reply. In OpenFlow 1.0 statistics of rules are Nicira's
/// if the encoding says so.
pub(crate) fn put_reply_head(out: &mut Encoder, kind: u16, flags: u16, encoding: Encoding) {
    match kind {
        kind::FLOW if encoding.is_10() && encoding.nxm => put_nicira_head(out, NXST_FLOW, flags),
        kind::AGGREGATE if encoding.is_10() && encoding.nxm => {
            put_nicira_head(out, NXST_AGGREGATE, flags);
        }
        _ => match nicira_group_subtype(kind, encoding.version) {
            Some(subtype) => put_nicira_head_of(out, subtype, flags, encoding.version),
            None => put_head(out, kind, flags, encoding.version),
        },
    }
}
