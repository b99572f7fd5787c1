//! The connections of one bridge, and what the switch says to them on its own.
//!
//! A connection is a [`Member`] of its bridge's [`Hub`] while it lives. Messages that nobody asked for are put
//! into the members' [outboxes](super::outbox::Outbox), which are bounded, and never waited for: a peer that
//! does not read delays nobody.

use super::hubs::Hubs;
use super::journal::{Author, Journal, Place, Subject};
use super::line::Line;
use super::lists;
use super::outbox::{Full, Outbox};
use super::packet_in_limit::PacketInLimit;
use super::packet_ins::{Listener, Paused, ToldMeta};
use super::resumption::Resumption;
use super::tables;
use super::views::Views;
use crate::server::event_fd;
use crate::switch::{OnBridge, Switch};
use flow::types::{MacAddr, OfPort, OfVersion};
use flowtable::policy::ports::{Attachment, PortChange, PortInfo};
use flowtable::policy::table_settings::{VacancyChange, VacancyEvent};
use flowtable::policy::{BridgeId, Policy};
use nix::sys::eventfd::EventFd;
use openflow::{
    AsyncConfig, AsyncKind, ControllerRole, Encoding, OfMessage, PortReason, PortStatus,
    RequestForward, RoleReason, RoleStatus, TableDesc, TableReason, TableStatus,
};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// All connections of one bridge.
pub(super) struct Hub {
    /// The bridge whose connections these are, in the policy.
    served: Served,
    members: Mutex<Vec<Arc<Member>>>,
    /// The members that want packet-ins.
    listeners: Mutex<Arc<[Listener]>>,
    /// The packets that wait for one of the members.
    paused: Mutex<Paused>,
    /// What the latest packet-in told beside the packet.
    told_meta: Mutex<ToldMeta>,
    /// The newest generation id of an election; `None` before the first one.
    generation: Mutex<Option<u64>>,
    /// What transactions did to the rules of the bridge.
    journal: Journal,
    /// The number of the first entry of the journal whose counters may not be final.
    settled: Mutex<u64>,
    resumption: Mutex<Resumption>,
    /// What the monitors of the members look at.
    views: Views,
    /// The ports that have been added and have had no device yet. Nobody has been told of them.
    untold: Mutex<HashSet<OfPort>>,
    hubs: Arc<Hubs>,
}

/// The bridge whose connections a hub knows.
pub(super) struct Served {
    pub(super) policy: Arc<Policy>,
    pub(super) bridge: BridgeId,
}

/// An election whose generation id is older than that of an election before (OpenFlow 1.3.5 §6.3.6).
#[derive(Debug, thiserror::Error)]
#[error("the generation id is older than {newest}")]
pub(super) struct StaleGeneration {
    newest: u64,
}

/// One connection, as the rest of the switch sees it.
#[derive(Debug)]
pub(super) struct Member {
    settings: Mutex<MemberSettings>,
    outbox: Outbox,
    line: Line,
    packet_in_limit: PacketInLimit,
    /// Whether the peer gets packet-ins for some reason. See [`Hub::publish`].
    wants_packets: AtomicBool,
    /// Readable once the connection has to end.
    end: EventFd,
}

/// What a peer has agreed on and asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberSettings {
    /// The form of messages; `None` until the peer's HELLO. A member without gets no messages.
    pub(super) encoding: Option<Encoding>,
    /// The role of the peer.
    pub(super) role: ControllerRole,
    /// The number by which actions name the peer (`NXT_SET_CONTROLLER_ID`); 0 if the peer has asked for none.
    pub(super) controller_id: u16,
    /// Whether the switch has connected to the peer. The other way round, the peer gets no messages that
    /// nobody asked for before it has set a `miss_send_len` other than 0, or has chosen among the
    /// messages, as in Open vSwitch.
    pub(super) is_primary: bool,
    /// What the peer has set by `OFPT_SET_CONFIG`; 0 before, until it chooses among the messages.
    pub(super) miss_send_len: u16,
    /// Which messages the peer gets without asking; `None` if it has chosen nothing.
    pub(super) async_config: Option<AsyncConfig>,
}

impl MemberSettings {
    /// Which messages the peer gets without asking, once it gets any.
    pub(super) fn async_config(&self) -> AsyncConfig {
        let version = self.encoding.map_or_else(OfVersion::default, |encoding| encoding.version);
        self.async_config.unwrap_or_else(|| AsyncConfig::of_version(version))
    }

    /// Whether the peer gets messages of a kind for a reason.
    pub(super) fn wants(&self, kind: AsyncKind, reason: u8) -> bool {
        let has_asked = self.is_primary || self.miss_send_len > 0;
        let gets_any = self.encoding.is_some() && has_asked;
        let is_slave = self.role == ControllerRole::Slave;
        gets_any && self.async_config().wants(kind, reason, is_slave)
    }
}

impl Hub {
    /// The hub of a bridge, to which the packets for the bridge's controllers go from now on. `None` if there
    /// is no such bridge.
    pub(super) fn of_bridge(switch: &Switch, bridge: &str) -> Option<Arc<Self>> {
        let bridge = switch.on(bridge)?.bridge().id();
        let policy = Arc::clone(switch.policy());
        let hub = Arc::new(Self {
            served: Served { policy, bridge },
            members: Mutex::default(),
            listeners: Mutex::default(),
            paused: Mutex::default(),
            told_meta: Mutex::default(),
            generation: Mutex::default(),
            journal: Journal::default(),
            settled: Mutex::default(),
            resumption: Mutex::default(),
            views: Views::default(),
            untold: Mutex::default(),
            hubs: Arc::clone(switch.hubs()),
        });
        let taker: Weak<Self> = Arc::downgrade(&hub);
        switch.punts().hand_to(bridge, taker);
        switch.hubs().open(bridge, &hub);
        Some(hub)
    }

    /// The bridge whose connections the hub knows, in the policy.
    pub(super) fn served(&self) -> &Served {
        &self.served
    }

    /// The members that want packet-ins.
    pub(super) fn listeners(&self) -> &Mutex<Arc<[Listener]>> {
        &self.listeners
    }

    /// The packets that wait for one of the members.
    pub(super) fn paused(&self) -> &Mutex<Paused> {
        &self.paused
    }

    /// What the latest packet-in told beside the packet.
    pub(super) fn told_meta(&self) -> &Mutex<ToldMeta> {
        &self.told_meta
    }

    /// Makes a member for a new connection.
    ///
    /// # Errors
    /// No descriptor could be had.
    pub(super) fn join(&self) -> io::Result<Arc<Member>> {
        let member = Arc::new(Member {
            settings: Mutex::default(),
            outbox: Outbox::new()?,
            line: Line::default(),
            packet_in_limit: PacketInLimit::default(),
            wants_packets: AtomicBool::new(false),
            end: event_fd()?,
        });
        self.members.lock().push(Arc::clone(&member));
        Ok(member)
    }

    /// Forgets a connection that has ended.
    pub(super) fn leave(&self, member: &Arc<Member>) {
        self.members.lock().retain(|other| !Arc::ptr_eq(other, member));
        self.publish();
    }

    /// Every connection of the bridge, in the order in which they came.
    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        self.members.lock().clone()
    }

    /// Gives a member a role. Whoever was master before becomes a slave if the member becomes the master.
    /// `generation` is the id of the election, with which a controller shows that it knows the newest one;
    /// `None` if the request has none.
    ///
    /// # Errors
    /// The generation is stale, and nobody's role has changed.
    pub(super) fn elect(
        &self,
        member: &Arc<Member>,
        role: ControllerRole,
        generation: Option<u64>,
    ) -> Result<(), StaleGeneration> {
        let mut newest = self.generation.lock();
        if let (Some(asked), Some(newest)) = (generation, *newest)
            // Generation ids wrap: the distance says which one is newer.
            && (asked.wrapping_sub(newest) as i64) < 0
        {
            return Err(StaleGeneration { newest });
        }
        *newest = generation.or(*newest);
        if role == ControllerRole::Master {
            for other in self.members().iter().filter(|other| !Arc::ptr_eq(other, member)) {
                let mut is_demoted = false;
                other.change_settings(|settings| {
                    is_demoted = settings.role == ControllerRole::Master;
                    if is_demoted {
                        settings.role = ControllerRole::Slave;
                    }
                });
                if is_demoted {
                    other.tell_role(newest.unwrap_or(u64::MAX));
                }
            }
        }
        member.change_settings(|settings| settings.role = role);
        Ok(())
    }

    /// The newest generation id of an election; `None` before the first one.
    pub(super) fn generation(&self) -> Option<u64> {
        *self.generation.lock()
    }

    /// What transactions did to the rules of the bridge.
    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// A place in the journal, behind everything that has happened so far.
    /// Give it back with [`Hub::end_place`].
    pub(super) fn begin_place(&self, member: &Arc<Member>, subject: Subject) -> Arc<Place> {
        // First, so that the policy tells of what happens behind the place.
        self.hubs.count_listener(true);
        self.journal.begin(member, subject)
    }

    /// Forgets a place in the journal.
    pub(super) fn end_place(&self, place: &Arc<Place>) {
        self.journal.end(place);
        self.hubs.count_listener(false);
    }

    /// Counts one connection more that hears of changes, or one less, beside those with a place in the journal.
    pub(super) fn count_listener(&self, is_more: bool) {
        self.hubs.count_listener(is_more);
    }

    /// Waits until the counters of the rules are final that transactions up to entry
    /// `number` of the journal removed.
    pub(super) fn settle_behind(&self, number: u64, on: &OnBridge<'_>) {
        // Those who wait for another connection's settling find it done, mostly.
        let mut settled = self.settled.lock();
        if *settled <= number {
            let end = self.journal.end_number();
            on.settle();
            *settled = end;
        }
    }

    /// Takes into account that a monitor pauses.
    pub(super) fn begin_to_pause(&self) {
        self.resumption.lock().pause(Instant::now());
    }

    /// When a pause of a monitor may end; `None`: at once.
    pub(super) fn resume_at(&self) -> Option<Instant> {
        self.resumption.lock().at(self.changed())
    }

    /// Whether a connection may end its pause now.
    pub(super) fn begin_to_resume(&self) -> bool {
        self.resumption.lock().begin(self.changed(), Instant::now())
    }

    /// Has connections wait with the ends of their pauses for a moment while changes come, because another one
    /// looks at all rules.
    pub(super) fn look_goes_on(&self) {
        self.resumption.lock().look_goes_on(Instant::now());
    }

    /// Has connections wait with the ends of their pauses while changes come, because a look at all rules took
    /// `time` of the processor.
    pub(super) fn rest_behind(&self, time: Duration) {
        self.resumption.lock().rest_behind(time, Instant::now());
    }

    /// When the latest entry of the journal was made.
    fn changed(&self) -> Instant {
        self.hubs.epoch() + self.journal.latest()
    }

    /// What the monitors of the members look at.
    pub(super) fn views(&self) -> &Views {
        &self.views
    }

    /// Tells every connection that wants to know that a port came, went or changed.
    pub(super) fn tell_port(&self, change: &PortChange) {
        let is_replaced = change.before.as_ref().zip(change.after.as_ref());
        let is_replaced = is_replaced.is_some_and(|(before, after)| before.name != after.name);
        if is_replaced {
            // Another port has taken the number.
            let gone = PortChange { after: None, ..change.clone() };
            let new = PortChange { before: None, ..change.clone() };
            self.tell_port(&gone);
            return self.tell_port(&new);
        }
        let Some(change) = self.without_opening(change) else { return };
        let change = &change;
        let author = Author::current();
        for member in self.members() {
            let settings = member.settings();
            let Some(encoding) = settings.encoding else {
                continue;
            };
            // Versions before OpenFlow 1.5 do not tell a controller of its own port mods.
            let is_own = author.is_some_and(|author| author.is(&member));
            if is_own && encoding.version < OfVersion::OpenFlow15 {
                continue;
            }
            let status = |port, reason| {
                let port = lists::port_info_desc(port, encoding.version);
                OfMessage::PortStatus(Box::new(PortStatus { reason, port }))
            };
            let (reason, message) = match (&change.before, &change.after) {
                (None, Some(after)) => (PortReason::Add, status(after, PortReason::Add)),
                (Some(before), None) => (PortReason::Delete, status(before, PortReason::Delete)),
                (Some(before), Some(after)) => {
                    let message = status(after, PortReason::Modify);
                    // What the version cannot show is no change.
                    let shown = |message: &OfMessage| message.encode(encoding, 0);
                    if shown(&message) == shown(&status(before, PortReason::Modify)) {
                        continue;
                    }
                    (PortReason::Modify, message)
                }
                (None, None) => continue,
            };
            if settings.wants(AsyncKind::PortStatus, reason as u8) {
                member.tell_surely(message);
            }
        }
    }

    /// A change as controllers hear of it. A port that is added has its place first and its device a moment
    /// later, if there is one, and comes for controllers with the device, as in Open vSwitch: before, it has no
    /// address. `None` if they hear nothing.
    fn without_opening(&self, change: &PortChange) -> Option<PortChange> {
        let waits = |port: &PortInfo| {
            let has_queues = matches!(port.attachment, Attachment::Queues(_));
            has_queues && port.mac == MacAddr::default() && !port.link_up
        };
        let mut untold = self.untold.lock();
        match (&change.before, &change.after) {
            (None, Some(after)) if waits(after) => {
                untold.insert(after.of_port);
                None
            }
            (Some(_), Some(after)) if untold.contains(&after.of_port) => {
                if waits(after) {
                    return None;
                }
                untold.remove(&after.of_port);
                Some(PortChange { before: None, ..change.clone() })
            }
            (Some(before), None) if untold.remove(&before.of_port) => None,
            _ => Some(change.clone()),
        }
    }

    /// Tells every connection that wants to know how full the tables are that a change has made nearly full, or
    /// not so any more. Versions before OpenFlow 1.4 have no message for that.
    pub(super) fn tell_vacancies(&self, changes: &[VacancyChange]) {
        for change in changes {
            let reason = match change.event {
                VacancyEvent::Down => TableReason::VacancyDown,
                VacancyEvent::Up => TableReason::VacancyUp,
            };
            let table = TableDesc {
                table: change.table,
                eviction: change.eviction,
                eviction_flags: Some(tables::EVICTION_FLAGS),
                vacancy: Some((change.thresholds, change.vacancy)),
            };
            let message = OfMessage::TableStatus(TableStatus { reason, table });
            for member in self.members() {
                let settings = member.settings();
                let version = settings.encoding.map(|encoding| encoding.version);
                if version >= Some(OfVersion::OpenFlow14)
                    && settings.wants(AsyncKind::TableStatus, reason as u8)
                {
                    member.tell_surely(message.clone());
                }
            }
        }
    }

    /// Tells the other connections that want to know of a group mod or meter mod that `source` has sent and the
    /// switch has carried out.
    pub(super) fn forward(&self, source: &Arc<Member>, xid: u32, request: &OfMessage) {
        let is_meter = !matches!(request, OfMessage::GroupMod(_));
        for member in self.members().iter().filter(|member| !Arc::ptr_eq(member, source)) {
            let settings = member.settings();
            let version = settings.encoding.map(|encoding| encoding.version);
            let knows = !is_meter || version >= Some(OfVersion::OpenFlow13);
            if knows && settings.wants(AsyncKind::RequestForward, u8::from(is_meter)) {
                let request = Box::new(request.clone());
                member.tell_surely(OfMessage::RequestForward(RequestForward { xid, request }));
            }
        }
    }

    /// The number of connections.
    pub(super) fn len(&self) -> usize {
        self.members.lock().len()
    }
}

impl Member {
    /// What the peer has agreed on and asked for.
    pub(super) fn settings(&self) -> MemberSettings {
        self.settings.lock().clone()
    }

    /// Changes what the peer has agreed on or asked for.
    pub(super) fn change_settings(&self, change: impl FnOnce(&mut MemberSettings)) {
        change(&mut self.settings.lock());
    }

    /// Sends a message that the peer has not asked for, soon. The message holds about `bytes` of memory.
    ///
    /// # Errors
    /// The outbox is full: the message is dropped, and counted.
    pub(super) fn tell(&self, message: Arc<OfMessage>, bytes: usize) -> Result<(), Full> {
        self.outbox.put(message, bytes)
    }

    /// By which others write to the peer while the connection's thread sleeps.
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// Whether the peer gets packet-ins for some reason.
    pub(super) fn wants_packets(&self) -> bool {
        self.wants_packets.load(Ordering::Relaxed)
    }

    /// Sets whether the peer gets packet-ins for some reason.
    pub(super) fn set_wants_packets(&self, wants: bool) {
        self.wants_packets.store(wants, Ordering::Relaxed);
    }

    /// How many packet-ins a second the peer gets.
    pub(super) fn packet_in_limit(&self) -> &PacketInLimit {
        &self.packet_in_limit
    }

    /// Sends a message that the peer has not asked for, and without which it would believe what is not so. A
    /// peer that leaves too many of them unread is disconnected.
    pub(super) fn tell_surely(&self, message: OfMessage) {
        if self.outbox.put_surely(Arc::new(message)).is_err() {
            self.close();
        }
    }

    /// Tells a peer that was the master that another one is. Versions before OpenFlow 1.3
    /// have no message for that.
    fn tell_role(&self, generation: u64) {
        let version = self.settings().encoding.map(|encoding| encoding.version);
        if version >= Some(OfVersion::OpenFlow13) {
            let (role, reason) = (ControllerRole::Slave, RoleReason::MasterRequest);
            self.tell_surely(OfMessage::RoleStatus(RoleStatus { role, reason, generation }));
        }
    }

    /// Where messages wait that the peer has not asked for.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Ends the connection soon.
    pub(super) fn close(&self) {
        // A counter that is full is readable as well.
        let _ = self.end.write(1);
    }

    /// Readable once the connection has to end.
    pub(super) fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}
