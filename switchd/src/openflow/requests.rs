//! Carries out the messages of one peer, in the order in which they came.

use super::bundles::Bundles;
use super::connection::Wire;
use super::controller::DEFAULT_MISS_SEND_LEN;
use super::hub::{Hub, Member};
use super::journal::Author;
use super::packet_outs::{self, PacketOuts};
use super::{flow_mods, lists, port_mods, queues, refuse, tables};
use crate::bridge::{groups, meters};
use crate::edition::edition;
use crate::log_limit::{EVENTS, limited};
use crate::switch::OnBridge;
use crate::worker::Injected;
use crossbeam::channel::Receiver;
use flow::group::GroupMod;
use flow::meter::{MeterFeatures, MeterMod};
use flow::text::check_received;
use flow::tlv_map::{TlvMap, TlvMapping};
use flow::types::{OfPort, OfVersion, TableId};
use openflow::{
    BundleControl, BundleStep, ControllerRole, EVERY_QUEUE, Encoding, ErrorCode, GroupFeatures,
    Incoming, MultipartReply, MultipartRequest, OfMessage, PortMod, QueueConfig, ReplyParts,
    RoleMessage, SwitchConfig, SwitchDesc, SwitchFeatures, TableFeatures, TakenFlowMod, TlvTable,
    capability,
};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// The largest number of a group, and so the number of groups that there can be.
const MAX_GROUPS: u32 = 0xffff_ff00;
/// Group types all, select, indirect and ff.
const GROUP_TYPES: u32 = 0b1111;
/// Selection by weight and by liveness, and groups that lead to groups (`OFPGFC_*`).
const GROUP_CAPABILITIES: u32 = 0b0111;
/// Actions of buckets: output, MPLS TTL, tags, labels, queue, group, IP TTL, `set_field`.
const GROUP_ACTIONS: u32 = 0x03ff_8001;
/// As [`GROUP_ACTIONS`] in OpenFlow 1.1, which has an action for each field, and in 1.0.
const GROUP_ACTIONS_11: u32 = 0x01ff_e7ff;
const GROUP_ACTIONS_10: u32 = 0xfff;

/// What a connection has told of itself.
pub(super) struct Peer {
    /// All connections of the bridge.
    hub: Arc<Hub>,
    /// What the rest of the switch knows of this connection.
    member: Arc<Member>,
    bundles: Bundles,
    /// Whether something has changed that may not be kept yet.
    has_changed: bool,
    /// The memory of the flow mods that are carried out together, kept from one batch to the
    /// next one while many come.
    flow_mods: Vec<TakenFlowMod>,
    packet_outs: PacketOuts,
}

impl Peer {
    /// A peer that has said nothing yet.
    pub(super) fn new(hub: Arc<Hub>, member: Arc<Member>) -> Self {
        let bundles = Bundles::default();
        let (flow_mods, packet_outs) = (Vec::new(), PacketOuts::default());
        Self { hub, member, bundles, has_changed: false, flow_mods, packet_outs }
    }

    /// When a bundle will have been idle for too long; `None` if there is no bundle.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.bundles.deadline()
    }

    /// Receives what became of the latest packet-out that is under way; `None` if none is.
    pub(super) fn under_way(&self) -> Option<Receiver<Injected>> {
        self.packet_outs.under_way()
    }

    /// Discards bundles that have been idle for too long, and says so.
    pub(super) fn give_up_idle_bundles(&mut self, wire: &mut Wire<'_>) {
        for opening in self.bundles.take_idle(Instant::now()) {
            wire.refuse(ErrorCode::BundleTimeout, &opening);
        }
    }

    /// Carries out the flow mods that are next in what was received. Returns whether there were any.
    ///
    /// # Errors
    /// Another program has taken over, to which the peer may connect.
    pub(super) fn handle_flow_mods(
        &mut self,
        on: &OnBridge<'_>,
        wire: &mut Wire<'_>,
    ) -> io::Result<bool> {
        let is_slave = self.member.settings().role == ControllerRole::Slave;
        let mut taken = std::mem::take(&mut self.flow_mods);
        flow_mods::take(wire, &mut taken);
        if taken.is_empty() {
            return Ok(false);
        }
        self.packet_outs.wait();
        if is_slave {
            taken.iter().for_each(|one| wire.session.refuse_flow_mod(ErrorCode::IsSlave, one));
            return Ok(true);
        }
        let _passage = on.gate().enter().map_err(|_| io::ErrorKind::ConnectionAborted)?;
        self.has_changed |= flow_mods::carry_out(on, &self.member, &taken, wire);
        if taken.len() == flow_mods::TOGETHER {
            self.flow_mods = taken;
        }
        Ok(true)
    }

    /// Carries out a message and answers.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) fn handle(
        &mut self,
        on: &OnBridge<'_>,
        incoming: Incoming,
        wire: &mut Wire<'_>,
    ) -> io::Result<()> {
        let Incoming { xid, message, bytes } = incoming;
        if !matches!(message, OfMessage::PacketOut(_)) {
            self.packet_outs.wait();
        }
        let Some(encoding) = wire.session.encoding() else {
            return Ok(());
        };
        if self.member.settings().role == ControllerRole::Slave && is_change(&message) {
            wire.refuse(ErrorCode::IsSlave, &bytes);
            return Ok(());
        }
        let author = Author::of(&self.member, xid);
        let changes = is_change(&message) || matches!(message, OfMessage::SetConfig(_));
        let passage = changes.then(|| on.gate().enter()).transpose();
        // Another program has taken over, to which the peer may connect.
        let _passage = passage.map_err(|_| io::ErrorKind::ConnectionAborted)?;
        let done = match message {
            OfMessage::FlowMod(flow_mod) => {
                self.has_changed = true;
                author.carry_out(|| flow_mods::carry_out_one(on, &flow_mod, encoding.version))
            }
            OfMessage::GroupMod(group_mod) => self.group_mod(on, group_mod, encoding.version, xid),
            OfMessage::MeterMod(meter_mod) => {
                let done = author.carry_out(|| self.meter_mod(on, &meter_mod));
                if done.is_ok() {
                    self.hub.forward(&self.member, xid, &OfMessage::MeterMod(meter_mod));
                }
                done
            }
            OfMessage::PortMod(port_mod) => author.carry_out(|| self.port_mod(on, &port_mod)),
            OfMessage::SetConfig(config) => {
                let done = self.set_config(on, config);
                wire.follow_settings();
                done
            }
            OfMessage::GetAsyncRequest => {
                let masks = self.member.settings().async_config().masks();
                wire.send(&OfMessage::GetAsyncReply(masks), xid);
                Ok(())
            }
            OfMessage::SetAsync(masks, _) => {
                self.member.change_settings(|settings| {
                    let mut config = settings.async_config();
                    config.change(&masks, encoding.version);
                    settings.async_config = Some(config);
                    // As in Open vSwitch, who chooses among messages asks for them.
                    if settings.miss_send_len == 0 && !settings.is_primary {
                        settings.miss_send_len = DEFAULT_MISS_SEND_LEN;
                    }
                });
                self.hub.publish();
                wire.follow_settings();
                Ok(())
            }
            OfMessage::FlowMonitorCancel(id) => wire.cancel_monitor(id),
            OfMessage::PacketOut(packet) => {
                packet_outs::check(on.bridge(), &packet, encoding.version)
                    .map(|()| self.packet_outs.begin(on, *packet))
            }
            OfMessage::FeaturesRequest => {
                wire.send(&features(on, encoding.version), xid);
                Ok(())
            }
            OfMessage::GetConfigRequest => {
                wire.send(&OfMessage::GetConfigReply(self.config(on)), xid);
                Ok(())
            }
            OfMessage::SetControllerId(id) => {
                self.member.change_settings(|settings| settings.controller_id = id);
                self.hub.publish();
                Ok(())
            }
            OfMessage::Resume(packet_in) => {
                self.hub.resumed(*packet_in).map(|resumed| drop(on.resume(resumed)))
            }
            OfMessage::BarrierRequest => {
                // What came before is in force for every frame that is received from now on.
                self.wait_until_kept(on);
                wire.send_waiting();
                wire.send(&OfMessage::BarrierReply, xid);
                Ok(())
            }
            OfMessage::QueueGetConfigRequest(port) => {
                queues::check(on, port, EVERY_QUEUE).map(|()| {
                    let config = QueueConfig { port, queues: Vec::new() };
                    wire.send(&OfMessage::QueueGetConfigReply(config), xid);
                })
            }
            OfMessage::TableMod(table_mod) => {
                self.has_changed = true;
                tables::change(on, &table_mod)
            }
            OfMessage::TlvTableMod(change) => {
                self.has_changed = true;
                tables::map_options(on, &change)
            }
            OfMessage::TlvTableRequest => {
                let desired = on.desired();
                let map = desired.bridge(&on.name()).map(|bridge| bridge.tlv_map.clone());
                let table = TlvTable {
                    max_space: TlvMap::MAX_SPACE,
                    max_fields: TlvMapping::FIELDS.into(),
                    mappings: map.unwrap_or_default().mappings().to_vec(),
                };
                wire.send(&OfMessage::TlvTableReply(table), xid);
                Ok(())
            }
            OfMessage::MultipartRequest(MultipartRequest::TableFeatures(tables)) => {
                return self.table_features(on, &tables, encoding, xid, &bytes, wire);
            }
            // Rules always have ages.
            OfMessage::FlowAge => Ok(()),
            OfMessage::CtFlush(flush) => flush.filter().map(|filter| {
                on.policy().connections().flush(on.now(), filter);
            }),
            OfMessage::RoleRequest(request) => self.role(request).map(|reply| {
                wire.send(&OfMessage::RoleReply(reply), xid);
                wire.follow_settings();
            }),
            OfMessage::BundleControl(control) if control.is_reply => Err(ErrorCode::BundleBadType),
            OfMessage::BundleControl(control) => {
                return self.bundle(on, control, encoding, xid, &bytes, wire);
            }
            OfMessage::BundleAdd { id, flags, message } => {
                self.bundles.add(id, flags, message, xid, encoding, &bytes)
            }
            OfMessage::MultipartRequest(MultipartRequest::FlowMonitor(parts)) => {
                return wire.monitor(on, parts, xid, &bytes);
            }
            OfMessage::MultipartRequest(request) => {
                return multipart(on, request, encoding, xid, &bytes, wire);
            }
            _ => Err(ErrorCode::BadType),
        };
        if let Err(code) = done {
            wire.refuse(code, &bytes);
        }
        Ok(())
    }

    fn group_mod(
        &mut self,
        on: &OnBridge<'_>,
        group_mod: GroupMod,
        version: OfVersion,
        xid: u32,
    ) -> Result<(), ErrorCode> {
        let buckets = match &group_mod {
            GroupMod::Add(group) | GroupMod::Modify(group) | GroupMod::AddOrModify(group) => {
                &group.buckets[..]
            }
            GroupMod::InsertBuckets { buckets, .. } => buckets,
            GroupMod::Delete(_) | GroupMod::RemoveBuckets { .. } => &[],
        };
        let every = flow::Match::any();
        for bucket in buckets {
            match check_received(&bucket.actions, &every, None, version) {
                // Nothing is known of the packets of a group.
                Ok(()) | Err(flow::text::Unfit::Match) => {}
                Err(why) => return Err(why.into()),
            }
        }
        let changes = std::slice::from_ref(&group_mod);
        groups::change(*on, changes).map_err(|(_, error)| refuse::error_code(&error))?;
        self.has_changed = true;
        self.hub.forward(&self.member, xid, &OfMessage::GroupMod(group_mod));
        Ok(())
    }

    fn meter_mod(&mut self, on: &OnBridge<'_>, meter_mod: &MeterMod) -> Result<(), ErrorCode> {
        let changes = std::slice::from_ref(meter_mod);
        meters::change(*on, changes).map_err(|(_, error)| refuse::error_code(&error))?;
        self.has_changed = true;
        Ok(())
    }

    fn port_mod(&mut self, on: &OnBridge<'_>, port_mod: &PortMod) -> Result<(), ErrorCode> {
        port_mods::check(on, port_mod)?;
        port_mods::carry_out(on, port_mod);
        self.has_changed = true;
        Ok(())
    }

    fn config(&self, on: &OnBridge<'_>) -> SwitchConfig {
        let settings = self.member.settings();
        let miss_send_len = settings.miss_send_len;
        let invalid_ttl = settings.async_config().has_invalid_ttl();
        SwitchConfig { fragments: Some(on.bridge().fragments()), miss_send_len, invalid_ttl }
    }

    fn set_config(&mut self, on: &OnBridge<'_>, config: SwitchConfig) -> Result<(), ErrorCode> {
        let version = self.member.settings().encoding.map(|encoding| encoding.version);
        self.member.change_settings(|settings| {
            settings.miss_send_len = config.miss_send_len;
            // Later versions have no such flag.
            if version < Some(OfVersion::OpenFlow13) {
                let mut wanted = settings.async_config();
                wanted.set_invalid_ttl(config.invalid_ttl);
                settings.async_config = Some(wanted);
            }
        });
        self.hub.publish();
        // As in Open vSwitch, a slave chooses for itself, but not for the bridge.
        let is_slave = self.member.settings().role == ControllerRole::Slave;
        // Nor is it an error there to ask for fragments to be put together, which changes nothing.
        let wanted = config.fragments.filter(|_| !is_slave);
        if let Some(fragments) = wanted.filter(|wanted| *wanted != on.bridge().fragments()) {
            let changed = on.change_bridge(&on.name(), |bridge| bridge.frags = fragments);
            changed.map_err(|_| ErrorCode::ConfigFlags)?;
            self.has_changed = true;
        }
        Ok(())
    }

    /// Carries out a request for table features.
    fn table_features(
        &mut self,
        on: &OnBridge<'_>,
        wanted: &[TableFeatures],
        encoding: Encoding,
        xid: u32,
        bytes: &[u8],
        wire: &mut Wire<'_>,
    ) -> io::Result<()> {
        if !wanted.is_empty() {
            if let Err(code) = tables::rename(on, wanted) {
                wire.refuse(code, bytes);
                return Ok(());
            }
            self.has_changed = true;
        }
        tables::features(on, encoding, xid, wire)
    }

    /// Waits until everything that the peer has changed is kept.
    fn wait_until_kept(&mut self, on: &OnBridge<'_>) {
        if !std::mem::take(&mut self.has_changed) {
            return;
        }
        if let Err(error) = on.wait_until_kept() {
            limited!(
                warn,
                "openflow",
                EVENTS,
                "a change by OpenFlow is in force, but could not be kept: {error}"
            );
        }
    }

    fn role(&self, request: RoleMessage) -> Result<RoleMessage, ErrorCode> {
        let is_elected = matches!(request.role, ControllerRole::Master | ControllerRole::Slave);
        let generation = (is_elected && !request.is_nicira).then_some(request.generation);
        if request.role != ControllerRole::NoChange {
            let elected = self.hub.elect(&self.member, request.role, generation);
            elected.map_err(|_| ErrorCode::RoleStale)?;
            self.hub.publish();
        }
        let generation = self.hub.generation().unwrap_or(u64::MAX);
        Ok(RoleMessage { role: self.member.settings().role, generation, ..request })
    }

    fn bundle(
        &mut self,
        on: &OnBridge<'_>,
        control: BundleControl,
        encoding: Encoding,
        xid: u32,
        bytes: &[u8],
        wire: &mut Wire<'_>,
    ) -> io::Result<()> {
        // What a bundle does, its messages do.
        let author = Author::of(&self.member, self.bundles.first_xid(control.id).unwrap_or(xid));
        let group_mods = match control.step {
            BundleStep::Commit => self.bundles.group_mods(control.id, encoding),
            _ => Vec::new(),
        };
        match author.carry_out(|| self.bundles.control(on, control, encoding, bytes)) {
            Ok(()) => {
                self.has_changed = true;
                for (xid, group_mod) in group_mods {
                    self.hub.forward(&self.member, xid, &group_mod);
                }
                self.wait_until_kept(on);
                let reply = BundleControl { is_reply: true, flags: 0, ..control };
                wire.send(&OfMessage::BundleControl(reply), xid);
            }
            Err(failed) => {
                if let Some((message, code)) = failed.message {
                    wire.refuse(code, &message);
                }
                wire.refuse(failed.code, bytes);
            }
        }
        Ok(())
    }
}

/// Whether a message changes something, which a slave must not.
fn is_change(message: &OfMessage) -> bool {
    if let OfMessage::MultipartRequest(MultipartRequest::TableFeatures(tables)) = message {
        return !tables.is_empty();
    }
    matches!(
        message,
        OfMessage::FlowMod(_)
            | OfMessage::GroupMod(_)
            | OfMessage::MeterMod(_)
            | OfMessage::PortMod(_)
            | OfMessage::TableMod(_)
            | OfMessage::TlvTableMod(_)
            | OfMessage::CtFlush(_)
            | OfMessage::PacketOut(_)
            | OfMessage::BundleControl(_)
            | OfMessage::BundleAdd { .. }
    )
}

fn features(on: &OnBridge<'_>, version: OfVersion) -> OfMessage {
    let ports = on.ports();
    OfMessage::FeaturesReply(SwitchFeatures {
        datapath_id: on.datapath_id().0,
        n_buffers: 0,
        n_tables: TableId::COUNT as u8,
        capabilities: capability::FLOW_STATS
            | capability::TABLE_STATS
            | capability::PORT_STATS
            | capability::GROUP_STATS
            | capability::QUEUE_STATS
            | capability::ARP_MATCH_IP
            | capability::BUNDLES,
        ports: ports.iter().map(|port| lists::port_desc(port, version)).collect(),
    })
}

/// Answers a request for statistics or descriptions.
fn multipart(
    on: &OnBridge<'_>,
    request: MultipartRequest,
    encoding: Encoding,
    xid: u32,
    bytes: &[u8],
    wire: &mut Wire<'_>,
) -> io::Result<()> {
    let version = encoding.version;
    // Of a port that does not exist, there is nothing to tell, which is no error.
    let selected = |port: OfPort| {
        let mut ports = on.ports();
        ports.retain(|view| port == OfPort::NONE || view.of_port == port);
        ports
    };
    let reply = match request {
        MultipartRequest::Flow { filter, nxm } => {
            return lists::flows(on, &filter, Encoding { nxm, ..encoding }, xid, wire);
        }
        MultipartRequest::Aggregate { filter, nxm } => {
            let reply = MultipartReply::Aggregate(lists::aggregate(on, &filter));
            let reply = OfMessage::MultipartReply(reply, false);
            wire.session.send_encoded(&reply.encode(Encoding { nxm, ..encoding }, xid));
            return Ok(());
        }
        MultipartRequest::Group(group) => {
            return lists::group_stats(on, group, encoding, xid, wire);
        }
        MultipartRequest::GroupDesc(group) => {
            return lists::group_descs(on, group, encoding, xid, wire);
        }
        MultipartRequest::Meter(meter) => {
            return lists::meter_stats(on, meter, encoding, xid, bytes, wire);
        }
        MultipartRequest::MeterConfig(meter) => {
            return lists::meter_configs(on, meter, encoding, xid, bytes, wire);
        }
        MultipartRequest::MeterFeatures => {
            Ok(MultipartReply::MeterFeatures(MeterFeatures::OF_THIS_SWITCH))
        }
        MultipartRequest::TableFeatures(_) => return tables::features(on, encoding, xid, wire),
        MultipartRequest::TableDesc => Ok(MultipartReply::TableDesc(tables::descs(on))),
        MultipartRequest::Desc => Ok(MultipartReply::Desc(Box::new(SwitchDesc {
            manufacturer: "switchd".to_owned(),
            hardware: "software switch".to_owned(),
            software: edition().version.to_owned(),
            serial: "None".to_owned(),
            datapath: on.name().to_string(),
        }))),
        MultipartRequest::Table => Ok(MultipartReply::Table(tables::stats(on))),
        MultipartRequest::Port(port) => {
            // What went through a patch is counted when cached flows are asked.
            on.settle();
            let mut parts = ReplyParts::ports(encoding, xid);
            selected(port).iter().for_each(|port| parts.port(&lists::port_stats(port)));
            return wire.send_parts(parts.finish());
        }
        MultipartRequest::PortDesc(port) => {
            let mut parts = ReplyParts::port_descs(encoding, xid);
            selected(port)
                .iter()
                .for_each(|port| parts.port_desc(&lists::port_desc(port, version)));
            return wire.send_parts(parts.finish());
        }
        MultipartRequest::Queue { port, queue } => {
            queues::check(on, port, queue).map(|()| MultipartReply::Queue(Vec::new()))
        }
        MultipartRequest::QueueDesc { port, queue } => {
            queues::check_desc(on, port, queue).map(|()| MultipartReply::QueueDesc(Vec::new()))
        }
        MultipartRequest::GroupFeatures => Ok(MultipartReply::GroupFeatures(GroupFeatures {
            types: GROUP_TYPES,
            capabilities: GROUP_CAPABILITIES,
            max_groups: [MAX_GROUPS; 4],
            actions: [match version {
                OfVersion::OpenFlow10 => GROUP_ACTIONS_10,
                OfVersion::OpenFlow11 => GROUP_ACTIONS_11,
                _ => GROUP_ACTIONS,
            }; 4],
        })),
        // No exporter can be configured.
        MultipartRequest::IpfixBridge | MultipartRequest::IpfixFlow => {
            Err(ErrorCode::NxStatsNotConfigured)
        }
        // Monitors have been carried out before.
        MultipartRequest::FlowMonitor(_) => Err(ErrorCode::BadStat),
    };
    match reply {
        Ok(reply) => wire.send(&OfMessage::MultipartReply(reply, false), xid),
        Err(code) => wire.refuse(code, bytes),
    }
    Ok(())
}
