//! A cached flow (a megaflow): the remembered verdict for all packets that agree with a key in the
//! bits of a mask.

use super::counters::Counter;
use super::kernel_flows::KernelShare;
use super::meter_use::{MeterUse, Pushed};
use crate::overload::{ESTABLISHED_AFTER, Source};
use crate::policy::TableRef;
use crate::policy::changes::{Changes, LatestChange, RecentRules, Watched};
use crate::policy::groups::GroupEntry;
use crate::policy::learning::LearnedRule;
use crate::policy::lookup_counts::LookupCounts;
use crate::policy::ports::AnswerCount;
use crate::policy::recirc::Continuation;
use crate::policy::rule::Rule;
use crate::policy::xlate::{Learn, PatchCrossing, TableSet, Translation};
use flow::key::{HEAD_WORDS, HOT_WORDS, HotKey, KeyRef, Segment, Segments, WordSet};
use flow::types::PortNo;
use flow::verdict::{DpAction, DropReason, Flood};
use flow::{FlowKey, FlowMask};
use parking_lot::Mutex;
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Number of leading words of a key that every comparison looks at. The words behind them belong to
/// segments, which most packets do not have.
const HEAD: usize = HEAD_WORDS;

/// What to do with the packets that agree with a key in the bits of a mask, and the rules, groups
/// and patches that count these packets.
///
/// The worker that owns the flow writes it; any thread reads it. The stamp is the generation of the
/// policy at which the verdict was last known to be right. The fields that a hit needs come first.
#[derive(Debug)]
#[repr(C)]
pub struct CachedFlow {
    stamp: AtomicU64,
    /// Whether the flow was given up, so that no worker may use it any more.
    is_dead: AtomicBool,
    packets: Counter,
    bytes: Counter,
    used_ms: Counter,
    /// The port to which the packets go, if one output is the flow's only action.
    pub(super) only_output: Option<PortNo>,
    /// A meter comes before all other actions.
    begins_with_meter: bool,
    /// Whether the packets need no further pass, and nothing but their own bytes and the actions decides what
    /// becomes of them.
    pub(super) is_last: bool,
    /// Tells the flow from others that have had its number; 0 for a flow that has none.
    pub(super) serial: u32,
    /// The recirculation id, as it stands in the first word of a key, if all that happens to the packets is
    /// that they are tracked and go round; else 0.
    pub(super) tracks: u64,
    /// The segments behind the head in which the mask has bits.
    tail_segments: Segments,
    /// Those of `tail_segments` in which the masked key has bits, too.
    tail_values: Segments,
    /// The leading words of the mask.
    head_mask: [u64; HEAD],
    /// The leading words of the first packet's key.
    head_key: [u64; HEAD],
    /// Words that rules have rewritten before a later look-up read them.
    rewritten: WordSet,
    tables: TableSet,
    /// Mask and key in the words of `tail_segments`, one segment after the other.
    tail: Box<[(u64, u64)]>,
    /// The actions to execute; empty if the packets are dropped.
    pub actions: Box<[DpAction]>,
    /// Why the packets are dropped; `None` if something is sent.
    pub drop: Option<DropReason>,
    /// The kind of flood, which storm control limits; `None` if the packets are not flooded.
    pub(super) flood: Option<Flood>,
    /// Number of copies that a packet makes at most, one for each output.
    pub(super) copies: u32,
    /// Number of the mask in the worker's flow table.
    pub(super) mask_id: u32,
    /// Hash of the mask's number and of the masked key.
    pub(super) hash: u64,
    rules: Box<[Arc<Rule>]>,
    /// Tables in which the packets matched no rule.
    misses: Box<[TableRef]>,
    /// Patches that the packets go through.
    patches: Box<[PatchCrossing]>,
    /// Where answers to ARP and neighbour discovery count.
    answered: Option<Arc<AnswerCount>>,
    groups: Box<[(Arc<GroupEntry>, usize)]>,
    /// The meters that the actions name.
    pub(super) meters: Box<[MeterUse]>,
    learn: Box<[Learn]>,
    /// Rules that the packets keep from expiring.
    rules_to_learn: Box<[Arc<LearnedRule>]>,
    continuations: Box<[Arc<Continuation>]>,
    created: Duration,
    watched: Watched,
    kernel: KernelShare,
    /// The packets and bytes that were added to the rules' counters already, and what
    /// was added to each meter's.
    pushed: Mutex<(u64, u64, Vec<Pushed>)>,
}

/// The key under which a worker's flow table files a flow: the number of the mask, and the hash of
/// that number and of the masked key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MaskedHash {
    pub(super) mask_id: u32,
    pub(super) hash: u64,
    /// The serial number that a flow filed under the key gets.
    pub(super) serial: u32,
}

/// The first word of keys of no port with the recirculation id of packets that are looked up as connections and
/// then go round, and for which no other actions are executed; else 0.
fn tracked_round(actions: &[DpAction]) -> u64 {
    match actions {
        [DpAction::Ct(ct), DpAction::Recirculate(id)] if ct.commit.is_none() => {
            let mut key = HotKey::default();
            key.recirc_id.set(*id);
            key.words()[0]
        }
        _ => 0,
    }
}

/// Whether these actions neither ask for a connection nor for a further pass, nor use a meter.
fn are_last(actions: &[DpAction]) -> bool {
    actions.iter().all(|action| match action {
        DpAction::Ct(_) | DpAction::CtClear | DpAction::Recirculate(_) | DpAction::Meter(_) => {
            false
        }
        DpAction::Clone(nested) => are_last(nested),
        DpAction::CheckLen { longer, fits, .. } => are_last(longer) && are_last(fits),
        DpAction::Controller(meta) => meta.meter.is_none(),
        _ => true,
    })
}

/// Number of outputs that these actions lead to at most. Of two branches the one with more outputs counts.
fn copies(actions: &[DpAction]) -> u32 {
    let each = actions.iter().map(|action| match action {
        DpAction::Output(_)
        | DpAction::OutputTrunc { .. }
        | DpAction::OutputQueued { .. }
        | DpAction::Tunnel { .. }
        | DpAction::TunnelTrunc { .. }
        | DpAction::Answer { .. } => 1,
        DpAction::Clone(nested) => copies(nested),
        DpAction::CheckLen { longer, fits, .. } => copies(longer).max(copies(fits)),
        _ => 0,
    });
    each.sum()
}

impl CachedFlow {
    pub(super) fn new(
        key: &FlowKey,
        t: Translation,
        generation: u64,
        now: Duration,
        masked: MaskedHash,
        watched: Watched,
    ) -> Self {
        let used_ms = Counter::default();
        used_ms.set(now.as_millis() as u64);
        let (words, mask) = (key.words(), t.mask.words());
        let (mut tail_segments, mut tail_values) = (Segments::NONE, Segments::NONE);
        let mut tail = Vec::new();
        // Masks of most flows have no bits in the rare segments. All of these are cheaper to look at together
        // than one by one.
        let is_plain = mask[HOT_WORDS..].iter().fold(0, |bits, word| bits | word) == 0;
        let candidates = if is_plain { Segment::IPV6.id } else { Segments::BEHIND_HEAD };
        for segment in candidates.behind_head() {
            let (mut looked_at, mut value) = (0, 0);
            for i in segment.words() {
                looked_at |= mask[i];
                value |= mask[i] & words[i];
            }
            if looked_at != 0 {
                tail_segments = tail_segments.or(segment.id);
                tail.extend(segment.words().map(|i| (mask[i], words[i])));
            }
            if value != 0 {
                tail_values = tail_values.or(segment.id);
            }
        }
        Self {
            stamp: AtomicU64::new(generation),
            is_dead: AtomicBool::new(false),
            packets: Counter::default(),
            bytes: Counter::default(),
            used_ms,
            only_output: match t.actions[..] {
                [DpAction::Output(port)] if t.flood.is_none() => Some(port),
                _ => None,
            },
            tail_segments,
            tail_values,
            begins_with_meter: matches!(t.actions.first(), Some(DpAction::Meter(_))),
            is_last: t.flood.is_none() && are_last(&t.actions),
            serial: masked.serial,
            tracks: if t.flood.is_none() { tracked_round(&t.actions) } else { 0 },
            copies: copies(&t.actions),
            rewritten: t.depends.rewritten,
            head_mask: std::array::from_fn(|i| mask[i]),
            head_key: std::array::from_fn(|i| words[i]),
            tail: tail.into(),
            actions: t.actions.into(),
            drop: t.drop,
            flood: t.flood,
            mask_id: masked.mask_id,
            hash: masked.hash,
            rules: t.rules.into(),
            misses: t.misses.into(),
            patches: t.patches.into(),
            answered: t.answered,
            groups: t.groups.into(),
            meters: t.meters.into_iter().map(MeterUse::new).collect(),
            learn: t.learn.into(),
            rules_to_learn: t.rules_to_learn.into(),
            continuations: t.continuations.into(),
            created: now,
            tables: t.depends.tables,
            watched,
            kernel: KernelShare::default(),
            pushed: Mutex::default(),
        }
    }

    /// Whether the verdict holds for packets with this key: the key agrees with the flow's key in
    /// the bits of the mask.
    #[inline]
    pub fn covers(&self, key: KeyRef<'_>) -> bool {
        let words = key.hot.words();
        let head = (0..HEAD)
            .fold(0, |bits, i| bits | differs(words[i], (self.head_mask[i], self.head_key[i])));
        if self.tail_segments.is_empty() {
            return head == 0;
        }
        head == 0 && self.tail_covers(key)
    }

    /// Whether the verdict holds for a packet in its second pass, with what is found of its connection, if it
    /// does for another packet of the same connection. `key` is that of its first pass, and `round` the first
    /// word of a key with the recirculation id of the second one.
    #[inline]
    pub(super) fn covers_beside_connection(&self, key: &HotKey, round: u64) -> bool {
        // Words: port and recirculation id; two with link addresses; protocol, TOS and TTL. In the next one,
        // ports are the connection's, and no mask has segments.
        const TCP_FLAGS: u64 = u64::from_ne_bytes([0, 0, 0, 0, 0xff, 0xff, 0, 0]);
        const { assert!(HEAD == 6 && offset_of!(HotKey, tcp_flags) == 36) }
        let words = key.words();
        let pair = |i: usize| (self.head_mask[i], self.head_key[i]);
        let all = differs(words[0] | round, pair(0))
            | differs(words[1], pair(1))
            | differs(words[2], pair(2))
            | differs(words[3], pair(3))
            | differs(words[4], pair(4)) & TCP_FLAGS;
        all == 0
    }

    fn tail_covers(&self, key: KeyRef<'_>) -> bool {
        // In a segment that neither the frame nor the masked key has, both are zero and agree.
        let some = key.hot.segments.or(self.tail_values);
        !self.tail_segments.meets(some)
            || self.tail().all(|(segment, pairs)| match key.segment(segment) {
                Some(words) => {
                    words.iter().zip(pairs).all(|(&word, &pair)| differs(word, pair) == 0)
                }
                None => pairs.iter().all(|&pair| differs(0, pair) == 0),
            })
    }

    /// The segments in which the mask has bits behind the head, with mask and key.
    fn tail(&self) -> impl Iterator<Item = (&'static Segment, &[(u64, u64)])> {
        let mut rest = &*self.tail;
        self.tail_segments.behind_head().map_while(move |segment| {
            let (pairs, behind) = rest.split_at_checked(segment.len)?;
            rest = behind;
            Some((segment, pairs))
        })
    }

    /// The bits of a packet that the verdict depends on.
    pub fn mask(&self) -> FlowMask {
        FlowMask { bits: self.unpack(|(mask, _)| mask) }
    }

    /// The key of the first packet. Segments in which the mask has no bits are zero.
    pub fn key(&self) -> FlowKey {
        self.unpack(|(_, value)| value)
    }

    fn unpack(&self, part: impl Fn((u64, u64)) -> u64) -> FlowKey {
        let mut key = FlowKey::default();
        let words = key.words_mut();
        let head = self.head_mask.into_iter().zip(self.head_key);
        words.iter_mut().zip(head).for_each(|(word, pair)| *word = part(pair));
        for (segment, pairs) in self.tail() {
            let words = words[segment.words()].iter_mut();
            words.zip(pairs).for_each(|(word, pair)| *word = part(*pair));
        }
        key
    }

    /// Mask and key of one word.
    fn pair(&self, word: usize) -> (u64, u64) {
        if let (Some(mask), Some(key)) = (self.head_mask.get(word), self.head_key.get(word)) {
            return (*mask, *key);
        }
        let mut tail = self.tail();
        let found = tail.find_map(|(segment, pairs)| pairs.get(word.checked_sub(segment.start)?));
        found.copied().unwrap_or_default()
    }

    /// Whether the verdict is known to be right at this generation, and the flow was not given up.
    #[inline]
    pub fn is_fresh(&self, generation: u64) -> bool {
        // The stamp may be newer than `generation`, if the flow was made after the batch began.
        self.stamp.load(Ordering::Relaxed) >= generation && !self.is_dead()
    }

    /// Whether its packets are recirculated. The recirculation ids in its actions are valid while
    /// the flow lives.
    pub(super) fn recirculates(&self) -> bool {
        !self.continuations.is_empty()
    }

    /// Whether a frame of a later pass may be executed in its first one: it needs no further pass, and neither
    /// storm control nor a meter sees all frames of the flow at once.
    pub(super) fn may_end_a_first_pass(&self) -> bool {
        self.flood.is_none() && !self.begins_with_meter && !self.recirculates()
    }

    /// Whether the flow was given up, so that no worker may use it any more.
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// Whether a change since the stamp may concern the verdict. `false` is certain, `true` is not.
    #[inline]
    pub(super) fn is_concerned(&self, changes: &Changes, rules: &RecentRules) -> bool {
        let stamp = self.stamp.load(Ordering::Relaxed);
        let bits = |word: usize| {
            if self.rewritten.contains(word) {
                return (0, 0);
            }
            self.pair(word)
        };
        self.is_dead()
            || rules.any_since(stamp, self.tables, bits)
            || changes.concern(&self.watched, stamp)
    }

    /// Whether the change that the latest generation begins with may concern the verdict. `false` is certain,
    /// `true` is not.
    pub fn is_concerned_by(&self, change: &LatestChange<'_>) -> bool {
        let bits = |word: usize| match self.rewritten.contains(word) {
            true => (0, 0),
            false => self.pair(word),
        };
        self.is_dead() || change.concerns(&self.watched, self.tables, bits)
    }

    /// The generation at which the verdict was last known to be right.
    pub fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Relaxed)
    }

    /// Whether storm control limits the frames.
    pub fn is_flood(&self) -> bool {
        self.flood.is_some()
    }

    pub(super) fn kernel_share(&self) -> &KernelShare {
        &self.kernel
    }

    /// Whether a host that the verdict depends on has come, gone or moved since the stamp.
    pub(super) fn is_concerned_by_hosts(&self, changes: &Changes) -> bool {
        changes.concern_host(&self.watched, self.stamp.load(Ordering::Relaxed))
    }

    /// Gives the flow up: no worker uses it from now on.
    pub(super) fn condemn(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
    }

    /// Whether a new translation has the same actions and counts at the same rules, groups, tables and patches.
    pub(super) fn agrees_with(&self, t: &Translation, watched: &Watched) -> bool {
        let same_rules = self.rules.len() == t.rules.len()
            && self.rules.iter().zip(&t.rules).all(|(a, b)| Arc::ptr_eq(a, b));
        let same_groups = self.groups.len() == t.groups.len()
            && self
                .groups
                .iter()
                .zip(&t.groups)
                .all(|(a, b)| Arc::ptr_eq(&a.0, &b.0) && a.1 == b.1);
        let same_meters = self.meters.len() == t.meters.len()
            && self.meters.iter().zip(&t.meters).all(|(a, b)| Arc::ptr_eq(&a.entry, b));
        same_rules
            && same_groups
            && same_meters
            && *self.misses == t.misses[..]
            && self.patches.len() == t.patches.len()
            && self.patches.iter().zip(&t.patches).all(|(a, b)| a.is_same(b))
            && self.answered.as_ref().map(Arc::as_ptr) == t.answered.as_ref().map(Arc::as_ptr)
            && *self.actions == t.actions[..]
            && self.drop == t.drop
            && self.flood == t.flood
            && self.mask() == t.mask
            && *self.learn == t.learn[..]
            && *self.rules_to_learn == t.rules_to_learn[..]
            && self.watched == *watched
            && (self.tables, self.rewritten) == (t.depends.tables, t.depends.rewritten)
    }

    /// Stamps the flow: the verdict is right at `generation`. For the owner only.
    #[inline]
    pub(super) fn restamp(&self, generation: u64) {
        self.stamp.store(generation, Ordering::Relaxed);
    }

    /// Counts packets; for the owner only.
    #[inline]
    pub(super) fn count(&self, packets: u64, bytes: u64, now_ms: u64) {
        self.packets.add(packets);
        self.bytes.add(bytes);
        self.used_ms.set(now_ms);
    }

    /// The meter that comes before all other actions, and those actions. `None` if there is no such meter.
    #[inline]
    pub(super) fn leading_meter(&self) -> Option<(&MeterUse, &[DpAction])> {
        if !self.begins_with_meter {
            return None;
        }
        match self.actions.split_first() {
            Some((DpAction::Meter(meter), rest)) => {
                Some((self.meters.get(usize::from(meter.index))?, rest))
            }
            _ => None,
        }
    }

    /// The number of packets so far, and the number of their bytes, those in the kernel included.
    pub fn totals(&self) -> (u64, u64) {
        let (packets, bytes) = self.kernel.totals();
        (self.packets.get() + packets, self.bytes.get() + bytes)
    }

    /// The time of the last packet.
    pub fn used(&self) -> Duration {
        Duration::from_millis(self.used_ms())
    }

    /// The time of the last packet in milliseconds.
    #[inline]
    pub(super) fn used_ms(&self) -> u64 {
        self.used_ms.get().max(self.kernel.used_ms())
    }

    /// The source of the flow's packets, if they came for longer than `ESTABLISHED_AFTER`.
    pub(super) fn established_source(&self) -> Option<Source> {
        let lasted = self.used().saturating_sub(self.created);
        (lasted >= ESTABLISHED_AFTER).then(|| Source::of(&self.key()))
    }

    /// The time of the first packet.
    pub fn created(&self) -> Duration {
        self.created
    }

    /// The rules that the packets use, in order.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Hosts that the packets keep from ageing.
    pub fn learn(&self) -> &[Learn] {
        &self.learn
    }

    /// Rules that the packets keep from expiring.
    pub fn rules_to_learn(&self) -> &[Arc<LearnedRule>] {
        &self.rules_to_learn
    }

    /// Adds the packets since the last call to the counters of the flow's rules, groups, meters and
    /// patches, and to the tables' `lookups`.
    pub fn push_stats(&self, lookups: &LookupCounts) {
        let mut pushed = self.pushed.lock();
        if !self.meters.is_empty() {
            // A meter may have counted packets of which the flow has told before.
            pushed.2.resize_with(self.meters.len(), Pushed::default);
            self.meters.iter().zip(&mut pushed.2).for_each(|(meter, before)| meter.push(before));
        }
        let (packets, bytes) = self.totals();
        let (new_packets, new_bytes) = (packets - pushed.0, bytes.wrapping_sub(pushed.1));
        if new_packets == 0 {
            return;
        }
        (pushed.0, pushed.1) = (packets, bytes);
        let used = self.used();
        for rule in &self.rules {
            rule.stats.add(new_packets, new_bytes, used);
            lookups.add_matched(rule.table_ref(), new_packets);
        }
        for &table in &self.misses {
            lookups.add_missed(table, new_packets);
        }
        for patch in &self.patches {
            patch.count(new_packets, new_bytes);
        }
        if let Some(answered) = &self.answered {
            answered.add(new_packets);
        }
        for (i, (entry, bucket)) in self.groups.iter().enumerate() {
            entry.counters.add_bucket(*bucket, new_packets, new_bytes);
            // A group counts a packet once, even if several of its buckets get a copy.
            if !self.groups[..i].iter().any(|(e, _)| Arc::ptr_eq(e, entry)) {
                entry.counters.add(new_packets, new_bytes);
            }
        }
    }
}

/// The bits of the mask in which a word differs from the key.
#[inline]
fn differs(word: u64, (mask, value): (u64, u64)) -> u64 {
    (word ^ value) & mask
}
