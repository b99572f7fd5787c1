//! An entry of a flow table: what the classifier stores behind a match.

use super::bridge_id::{BridgeId, TableRef};
use super::learning::Teacher;
use crate::classifier::{MaskedWord, RuleId, Version};
use arrayvec::ArrayVec;
use flow::action::{Action, Clause, any_action};
use flow::fields::FieldId;
use flow::flow_mod::FlowFlags;
use flow::key::{FLOW_WORDS, FlowKey, Headers, KeyPortNo};
use flow::types::{Cookie, GroupId, MeterId, OfPort, PortNo, TableId};
use flow::{PipelineKey, PipelineMask};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// A rule. Immutable: a modification replaces it by another one that shares its [`RuleStats`], and so does an
/// addition that does not reset the counters.
#[derive(Debug)]
pub struct Rule {
    /// The bridge that has the rule.
    pub bridge: BridgeId,
    /// The rule's table.
    pub table: TableId,
    /// The rule's identity in the classifier of its table.
    pub id: RuleId,
    /// The number that the user gave the rule.
    pub cookie: Cookie,
    /// The timeouts that the rule was made with.
    pub(super) timeouts: Timeouts,
    /// The rule's importance for eviction (OpenFlow 1.4 §6.5): a full table evicts
    /// rules of low importance first.
    pub importance: u16,
    /// The flags of the request that added the rule.
    pub flags: FlowFlags,
    /// The rule's actions. Rules with equal actions may share the list.
    pub actions: Arc<[Action]>,
    /// The user's name and label for the rule. Most rules have none.
    pub names: Option<Box<RuleNames>>,
    /// The rule that made this one of a packet. `None` for a rule that somebody has added.
    pub learned_by: Option<Box<Teacher>>,
    /// The counters, which the rule may share with those that had its place before.
    pub stats: Arc<RuleStats>,
    /// When the rule was added, and when it was changed.
    pub(super) times: RuleTimes,
    /// The version of the tables that has the rule first. Modifications do not change it.
    pub added_in: Version,
    /// The version of the tables from which on the rule has these actions and this cookie.
    pub since: Version,
}

/// Timeouts of a rule in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// The time without traffic after which the rule expires; 0 means never.
    pub idle: u16,
    /// The time after which the rule expires; 0 means never.
    pub hard: u16,
}

impl Timeouts {
    /// These timeouts, of which those that are longer are cut to those of `other`. A timeout of
    /// 0 in `other` changes nothing.
    fn shortened(self, other: Self) -> Self {
        let shorter = |own: u16, other: u16| match (own, other) {
            (own, 0) => own,
            (0, other) => other,
            (own, other) => own.min(other),
        };
        Self { idle: shorter(self.idle, other.idle), hard: shorter(self.hard, other.hard) }
    }

    fn to_bits(self) -> u32 {
        u32::from(self.idle) << 16 | u32::from(self.hard)
    }

    fn from_bits(bits: u32) -> Self {
        Self { idle: (bits >> 16) as u16, hard: bits as u16 }
    }
}

/// The place of a rule: its table, and its identity in the table's classifier.
pub type RuleRef = (TableId, RuleId);

/// Names that a user gave a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleNames {
    /// The rule's name, which is unique in its bridge.
    pub name: Option<Arc<str>>,
    /// A label, which several rules may have.
    pub label: Option<Arc<str>>,
}

/// When a rule was added and changed, on the switch's monotonic clock.
#[derive(Debug)]
pub(super) struct RuleTimes {
    created_ms: AtomicU64,
    modified_ms: AtomicU64,
}

impl RuleTimes {
    /// A rule that was added at `created`, and changed last at `modified`.
    pub(super) fn new(created: Duration, modified: Duration) -> Self {
        let ms = |time: Duration| AtomicU64::new(time.as_millis() as u64);
        Self { created_ms: ms(created), modified_ms: ms(modified) }
    }
}

/// What a rule has counted, and when, on the switch's monotonic clock.
#[derive(Debug)]
pub struct RuleStats {
    packets: AtomicU64,
    bytes: AtomicU64,
    used_ms: AtomicU64,
    /// What `fin_timeout` has shortened the timeouts to, as [`Timeouts::to_bits`] has it; 0 if it has not.
    shortened: AtomicU32,
    counts_packets: bool,
    counts_bytes: bool,
}

impl RuleStats {
    /// Makes counters of zero for a rule that is added at `now`. Those that the flags exclude stay zero.
    pub fn new(now: Duration, flags: FlowFlags) -> Self {
        Self {
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            used_ms: AtomicU64::new(now.as_millis() as u64),
            shortened: AtomicU32::new(0),
            counts_packets: !flags.no_packet_counts,
            counts_bytes: !flags.no_byte_counts,
        }
    }

    /// The counters of a rule with these flags that takes the place of the rule with these
    /// counters, and goes on counting.
    pub(super) fn inherit(self: &Arc<Self>, flags: FlowFlags) -> Arc<Self> {
        let heir = Self::new(self.used(), flags);
        let counts_alike =
            (heir.counts_packets, heir.counts_bytes) == (self.counts_packets, self.counts_bytes);
        // The new rule has its own timeouts, which nothing has shortened.
        if counts_alike && self.shortened.load(Ordering::Relaxed) == 0 {
            return Arc::clone(self);
        }
        let (packets, bytes) = self.totals();
        heir.add(packets, bytes, self.used());
        Arc::new(heir)
    }

    /// Adds traffic that was last seen at `used`.
    pub fn add(&self, packets: u64, bytes: u64, used: Duration) {
        if self.counts_packets {
            self.packets.fetch_add(packets, Ordering::Relaxed);
        }
        if self.counts_bytes {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        self.used_ms.fetch_max(used.as_millis() as u64, Ordering::Relaxed);
    }

    /// The number of packets, and the number of their bytes.
    pub fn totals(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Sets the counters to zero.
    pub fn reset(&self) {
        self.packets.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// The time of the last packet; before the first packet, the time when the rule was added.
    pub fn used(&self) -> Duration {
        Duration::from_millis(self.used_ms.load(Ordering::Relaxed))
    }
}

/// Counters and times of a rule at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleTotals {
    /// The number of packets.
    pub packets: u64,
    /// The number of bytes of the packets.
    pub bytes: u64,
    /// The time when the rule was added.
    pub created: Duration,
    /// The time when the rule was last changed.
    pub modified: Duration,
    /// The time of the last packet; before the first packet, the time when the rule was added.
    pub used: Duration,
}

impl Rule {
    /// The time when the rule was added.
    pub fn created(&self) -> Duration {
        Duration::from_millis(self.times.created_ms.load(Ordering::Relaxed))
    }

    /// The time when the rule's actions or timeouts were last changed.
    pub fn modified(&self) -> Duration {
        Duration::from_millis(self.times.modified_ms.load(Ordering::Relaxed))
    }

    /// Notes that the rule was changed at `now`, unless a later change has been noted.
    pub fn touch_until(&self, now: Duration) {
        self.times.modified_ms.fetch_max(now.as_millis() as u64, Ordering::Relaxed);
    }

    /// Adds what the rule has counted in another process, and takes over the times that it has there. The
    /// clocks of both processes began at the same time.
    pub fn take_over(&self, before: &RuleTotals) {
        let RuleTotals { packets, bytes, created, modified, used } = *before;
        // A rule without traffic has been used last in the other process. What a worker adds meanwhile tells a
        // later time with the next packets.
        if self.stats.packets.load(Ordering::Relaxed) == 0 {
            self.stats.used_ms.store(used.as_millis() as u64, Ordering::Relaxed);
        }
        self.stats.add(packets, bytes, used);
        self.times.created_ms.store(created.as_millis() as u64, Ordering::Relaxed);
        self.times.modified_ms.store(modified.as_millis() as u64, Ordering::Relaxed);
    }

    /// The counters and times at this moment.
    pub fn to_totals(&self) -> RuleTotals {
        let (packets, bytes) = self.stats.totals();
        let (created, modified, used) = (self.created(), self.modified(), self.stats.used());
        RuleTotals { packets, bytes, created, modified, used }
    }

    /// The rule's place in its bridge.
    pub fn place(&self) -> RuleRef {
        (self.table, self.id)
    }

    /// The rule's bridge and table.
    pub fn table_ref(&self) -> TableRef {
        TableRef { bridge: self.bridge, table: self.table }
    }

    /// The rule's name, if the user gave it one.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.names.as_ref()?.name.as_ref()
    }

    /// The rule's label, if the user gave it one.
    pub fn label(&self) -> Option<&Arc<str>> {
        self.names.as_ref()?.label.as_ref()
    }

    /// Whether the rule has a timeout, or can get one.
    pub fn has_timeout(&self) -> bool {
        // A rule that may get a timeout counts as well.
        let shortens = |action: &Action| matches!(action, Action::FinTimeout { .. });
        self.timeouts != Timeouts::default() || self.actions.iter().any(shortens)
    }

    /// The timeouts as they are now: those that the rule was made with, or shorter ones (`fin_timeout`).
    pub fn timeouts(&self) -> Timeouts {
        let shortened = self.stats.shortened.load(Ordering::Relaxed);
        self.timeouts.shortened(Timeouts::from_bits(shortened))
    }

    /// Seconds without traffic after which the rule expires; 0 means never.
    pub fn idle_timeout(&self) -> u16 {
        self.timeouts().idle
    }

    /// Seconds after which the rule expires; 0 means never.
    pub fn hard_timeout(&self) -> u16 {
        self.timeouts().hard
    }

    /// Shortens the timeouts to these. Those of 0 and longer ones change nothing.
    pub fn shorten_timeouts(&self, to: Timeouts) {
        let shorten = |bits| Some(Timeouts::from_bits(bits).shortened(to).to_bits());
        // Two workers may shorten at once.
        let _ = self.stats.shortened.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shorten);
    }

    /// The clauses of conjunctions of which the rule is an alternative.
    pub fn clauses(&self) -> impl Iterator<Item = Clause> + '_ {
        Clause::all_in(&self.actions)
    }

    /// Whether the rule is an alternative of a conjunction. Such a rule is never carried out itself.
    pub fn is_alternative(&self) -> bool {
        self.clauses().next().is_some()
    }

    /// When the rule expires if no further packet comes; `None` if it has no timeout.
    pub fn expires_at(&self) -> Option<Duration> {
        let after = |seconds: u16, since: Duration| {
            (seconds != 0).then(|| since + Duration::from_secs(seconds.into()))
        };
        let modified = self.modified();
        let hard = after(self.hard_timeout(), modified);
        let idle = after(self.idle_timeout(), self.stats.used().max(modified));
        hard.into_iter().chain(idle).min()
    }

    /// The timeout that is over at `now`; `None` if none is.
    pub fn expired(&self, now: Duration) -> Option<Expiry> {
        let over = |since: Duration, seconds: u16| {
            seconds != 0 && now.saturating_sub(since) >= Duration::from_secs(u64::from(seconds))
        };
        if over(self.modified(), self.hard_timeout()) {
            Some(Expiry::Hard)
        } else if over(self.stats.used().max(self.modified()), self.idle_timeout()) {
            Some(Expiry::Idle)
        } else {
            None
        }
    }

    /// Whether one of the rule's actions outputs to `port` by number. As in Open vSwitch, an output
    /// that truncates does not count.
    pub fn outputs_to(&self, port: OfPort) -> bool {
        any_action(&self.actions, &mut |a| match a {
            Action::Output { port: p, .. } | Action::Enqueue { port: p, .. } => *p == port,
            Action::Controller { .. } => port == OfPort::CONTROLLER,
            _ => false,
        })
    }

    /// Whether one of the rule's actions executes the group.
    pub fn uses_group(&self, group: GroupId) -> bool {
        any_action(&self.actions, &mut |a| matches!(a, Action::Group(g) if *g == group))
    }

    /// Calls `visit` for each meter that the rule's actions name, once for each action.
    pub(super) fn each_meter(&self, mut visit: impl FnMut(MeterId)) {
        any_action(&self.actions, &mut |action| {
            action.meter().into_iter().for_each(&mut visit);
            false
        });
    }

    /// Calls `visit` for each group among the rule's actions, once for each action.
    pub(super) fn each_group(&self, mut visit: impl FnMut(GroupId)) {
        any_action(&self.actions, &mut |action| {
            if let Action::Group(id) = action {
                visit(*id);
            }
            false
        });
    }
}

/// The packets that a rule matches, in the words of a datapath key. It may cover further packets,
/// because datapath keys have no metadata and registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMatch {
    /// The rule's table.
    pub table: TableRef,
    /// Index, mask and masked value of each word; the words with most mask bits first. Shared by the log of
    /// changes and by the workers' copies of it.
    pub(super) words: Arc<[(u8, u64, u64)]>,
}

impl RuleMatch {
    /// Covers every packet that is looked up in a table.
    pub fn whole_table(table: TableRef) -> Self {
        Self { table, words: Arc::default() }
    }

    /// Covers the packets of a match, of which `matched` has the words that its mask looks at. `no_of` returns
    /// the datapath's number of a port.
    pub fn new(
        table: TableRef,
        matched: impl Iterator<Item = MaskedWord>,
        no_of: impl Fn(OfPort) -> Option<PortNo>,
    ) -> Self {
        let of_key = |word: MaskedWord| match word.index {
            0 => Self::port_word(&word, &no_of),
            index if index < FLOW_WORDS => Some((index as u8, word.mask, word.value)),
            _ => None,
        };
        let mut words = ArrayVec::<_, FLOW_WORDS>::new();
        words.extend(matched.filter_map(of_key));
        words.sort_by_key(|(_, mask, _)| std::cmp::Reverse(mask.count_ones()));
        Self { table, words: words[..].into() }
    }

    /// The first word of a datapath key, which has the ingress port, made from the first word of a match.
    /// `None` if the match says nothing of the port, or names one that does not exist.
    fn port_word(
        word: &MaskedWord,
        no_of: impl Fn(OfPort) -> Option<PortNo>,
    ) -> Option<(u8, u64, u64)> {
        let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
        (key.words_mut()[0], mask.words_mut()[0]) = (word.value, word.mask);
        let of_port = FieldId::InPort.is_exact(&mask).then(|| key.in_port.get());
        let port_no = of_port.and_then(no_of)?;
        let (recirc_id, headers) = (0.into(), Headers::default());
        let key = FlowKey { port_no: port_no.into(), recirc_id, headers };
        let mask = FlowKey { port_no: KeyPortNo::ALL_BITS, recirc_id, headers };
        Some((0, mask.words()[0], key.words()[0]))
    }
}

// The index of a word has to fit one byte.
const _: () = assert!(FLOW_WORDS <= 256);

/// Whether some packets agree both with `words` and with a value in the bits of a mask. `bits`
/// returns value and mask of a word.
#[inline]
pub(super) fn may_cover(words: &[(u8, u64, u64)], bits: &impl Fn(usize) -> (u64, u64)) -> bool {
    words.iter().all(|&(word, mask, value)| {
        let (known, own) = bits(usize::from(word));
        (own ^ value) & mask & known == 0
    })
}

/// The timeout that has removed a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The rule saw no traffic for `idle_timeout` seconds.
    Idle,
    /// The rule was added more than `hard_timeout` seconds ago.
    Hard,
}

/// Why a rule was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Removal {
    /// It saw no traffic for `idle_timeout` seconds.
    Idle,
    /// It was there for `hard_timeout` seconds.
    Hard,
    /// A request deleted it.
    Delete,
    /// A group that it used was deleted.
    GroupDelete,
    /// A meter that it used was deleted.
    MeterDelete,
    /// A request added a rule of the same table, match and priority.
    Replaced,
    /// The table was full, and another rule was added.
    Eviction,
}

impl Removal {
    /// The word for it in lists; those that Open vSwitch has are its own.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Hard => "hard",
            Self::Delete => "delete",
            Self::GroupDelete => "group_delete",
            Self::MeterDelete => "meter_delete",
            Self::Replaced => "replaced",
            Self::Eviction => "eviction",
        }
    }
}

impl From<Expiry> for Removal {
    fn from(expiry: Expiry) -> Self {
        match expiry {
            Expiry::Idle => Self::Idle,
            Expiry::Hard => Self::Hard,
        }
    }
}
