//! A remembered verdict: what happens to the packets that agree in some bits.

use super::counters::Counter;
use crate::overload::{ESTABLISHED_AFTER, Source};
use crate::policy::TableRef;
use crate::policy::changes::{Changes, RecentRules, Watched};
use crate::policy::groups::GroupEntry;
use crate::policy::lookup_counts::LookupCounts;
use crate::policy::recirc::Continuation;
use crate::policy::rule::Rule;
use crate::policy::xlate::{Learn, PatchCrossing, TableSet, Translation};
use flow::key::{HEAD_WORDS, KeyRef, SEGMENTS, Segment, Segments, WordSet};
use flow::types::PortNo;
use flow::verdict::{DpAction, DropReason, Flood};
use flow::{FlowKey, FlowMask};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Words of a key that are compared without a look at what it has.
const HEAD: usize = HEAD_WORDS;

/// What to do with the packets that agree with a key in the bits of a mask, and what they count
/// towards.
///
/// Written by the worker that owns it; read by anybody. The stamp says which generation of the
/// pipeline the verdict was last known to be right for. What a hit needs comes first.
#[derive(Debug)]
#[repr(C)]
pub struct CachedFlow {
    stamp: AtomicU64,
    /// Nobody may use it any more.
    is_dead: AtomicBool,
    packets: Counter,
    bytes: Counter,
    used_ms: Counter,
    /// The only thing that happens is an output to this port.
    pub(super) only_output: Option<PortNo>,
    /// Segments behind the head in which the mask has bits,
    tail_segments: Segments,
    /// and those of them in which the masked key has bits, too.
    tail_values: Segments,
    /// The first words of the mask,
    head_mask: [u64; HEAD],
    /// and of the first packet's key.
    head_key: [u64; HEAD],
    /// Words that look-ups saw in another form than the packet has them.
    rewritten: WordSet,
    tables: TableSet,
    /// Mask and key in the words of these segments, one segment after the other.
    tail: Box<[(u64, u64)]>,
    /// The verdict.
    pub actions: Box<[DpAction]>,
    /// Why nothing is sent, if nothing is.
    pub drop: Option<DropReason>,
    /// It floods, within limits.
    pub(super) flood: Option<Flood>,
    /// Copies that a packet makes at most, one for each output.
    pub(super) copies: u32,
    /// Place among the worker's masks.
    pub(super) mask_id: u32,
    /// Hash of mask and masked key.
    pub(super) hash: u64,
    rules: Box<[Arc<Rule>]>,
    /// Tables that had no rule for its packets.
    misses: Box<[TableRef]>,
    /// Patches that its packets go through.
    patches: Box<[PatchCrossing]>,
    groups: Box<[(Arc<GroupEntry>, usize)]>,
    learn: Box<[Learn]>,
    continuations: Box<[Arc<Continuation>]>,
    created: Duration,
    watched: Watched,
    /// What has been added to the rules already.
    pushed: Mutex<(u64, u64)>,
}

/// By what the flow table of a worker files a flow: the number of its mask in the table, and the hash of mask and masked key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MaskedHash {
    pub(super) mask_id: u32,
    pub(super) hash: u64,
}

/// Outputs among these actions. Of two branches the one with more counts.
fn copies(actions: &[DpAction]) -> u32 {
    let each = actions.iter().map(|action| match action {
        DpAction::Output(_) | DpAction::OutputTrunc { .. } => 1,
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
        for segment in SEGMENTS {
            let pairs = segment.words().map(|i| (mask[i], words[i]));
            if pairs.clone().any(|(mask, _)| mask != 0) {
                tail_segments = tail_segments.or(segment.id);
                tail.extend(pairs.clone());
            }
            if pairs.into_iter().any(|(mask, word)| word & mask != 0) {
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
            groups: t.groups.into(),
            learn: t.learn.into(),
            continuations: t.continuations.into(),
            created: now,
            tables: t.depends.tables,
            watched,
            pushed: Mutex::new((0, 0)),
        }
    }

    /// Whether the verdict is about packets with this key.
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

    fn tail_covers(&self, key: KeyRef<'_>) -> bool {
        // In a segment that neither the frame nor the masked key has, both are zero.
        let some = key.hot.segments.or(self.tail_values);
        !self.tail_segments.meets(some)
            || self.tail().all(|(segment, pairs)| match key.segment(&segment) {
                Some(words) => {
                    words.iter().zip(pairs).all(|(&word, &pair)| differs(word, pair) == 0)
                }
                None => pairs.iter().all(|&pair| differs(0, pair) == 0),
            })
    }

    /// The segments behind the head that matter, with mask and key.
    fn tail(&self) -> impl Iterator<Item = (Segment, &[(u64, u64)])> {
        let mut rest = &*self.tail;
        let looked_at = SEGMENTS.into_iter().filter(|segment| self.tail_segments.meets(segment.id));
        looked_at.map_while(move |segment| {
            let (pairs, behind) = rest.split_at_checked(segment.len)?;
            rest = behind;
            Some((segment, pairs))
        })
    }

    /// The bits that the verdict depends on.
    pub fn mask(&self) -> FlowMask {
        FlowMask { bits: self.unpack(|(mask, _)| mask) }
    }

    /// The packet that made it, as far as it was kept: segments in which nothing matters are zero.
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

    /// Mask and key in one word.
    fn pair(&self, word: usize) -> (u64, u64) {
        if let (Some(mask), Some(key)) = (self.head_mask.get(word), self.head_key.get(word)) {
            return (*mask, *key);
        }
        let mut tail = self.tail();
        let found = tail.find_map(|(segment, pairs)| pairs.get(word.checked_sub(segment.start)?));
        found.copied().unwrap_or_default()
    }

    /// The verdict was right at this generation.
    #[inline]
    pub fn is_fresh(&self, generation: u64) -> bool {
        // It may be newer than a batch that began before it was made.
        self.stamp.load(Ordering::Relaxed) >= generation && !self.is_dead()
    }

    /// Its packets may go round: the ids in its actions are good while it lives.
    pub(super) fn recirculates(&self) -> bool {
        !self.continuations.is_empty()
    }

    /// Nobody may use it any more.
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// Whether something has changed since the verdict was last known to be right that it depends
    /// on, or may depend on.
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

    /// Whether a host that it depends on has come, gone or moved since then.
    pub(super) fn is_concerned_by_hosts(&self, changes: &Changes) -> bool {
        changes.concern_host(&self.watched, self.stamp.load(Ordering::Relaxed))
    }

    /// Nobody may use it from now on.
    pub(super) fn condemn(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
    }

    /// Whether a new translation says the same, counters included.
    pub(super) fn agrees_with(&self, t: &Translation, watched: &Watched) -> bool {
        let same_rules = self.rules.len() == t.rules.len()
            && self.rules.iter().zip(&t.rules).all(|(a, b)| Arc::ptr_eq(a, b));
        let same_groups = self.groups.len() == t.groups.len()
            && self
                .groups
                .iter()
                .zip(&t.groups)
                .all(|(a, b)| Arc::ptr_eq(&a.0, &b.0) && a.1 == b.1);
        same_rules
            && same_groups
            && *self.misses == t.misses[..]
            && self.patches.len() == t.patches.len()
            && self.patches.iter().zip(&t.patches).all(|(a, b)| a.is_same(b))
            && *self.actions == t.actions[..]
            && self.drop == t.drop
            && self.flood == t.flood
            && self.mask() == t.mask
            && *self.learn == t.learn[..]
            && self.watched == *watched
            && (self.tables, self.rewritten) == (t.depends.tables, t.depends.rewritten)
    }

    /// Says that the verdict is right at `generation`; for the owner only.
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

    /// Packets and bytes.
    pub fn totals(&self) -> (u64, u64) {
        (self.packets.get(), self.bytes.get())
    }

    /// When the last packet came.
    pub fn used(&self) -> Duration {
        Duration::from_millis(self.used_ms.get())
    }

    /// When the last packet came, in milliseconds.
    #[inline]
    pub(super) fn used_ms(&self) -> u64 {
        self.used_ms.get()
    }

    /// The source of its first packet, if others followed for some time.
    pub(super) fn established_source(&self) -> Option<Source> {
        let lasted = self.used().saturating_sub(self.created);
        (lasted >= ESTABLISHED_AFTER).then(|| Source::of(&self.key()))
    }

    /// When the first packet came.
    pub fn created(&self) -> Duration {
        self.created
    }

    /// The rules that made the verdict.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Hosts that its packets keep alive.
    pub fn learn(&self) -> &[Learn] {
        &self.learn
    }

    /// Adds what it counted since the last time to its rules, groups and patches, and the tables' `lookups`.
    pub fn push_stats(&self, lookups: &LookupCounts) {
        let mut pushed = self.pushed.lock();
        let (packets, bytes) = self.totals();
        let (new_packets, new_bytes) = (packets - pushed.0, bytes.wrapping_sub(pushed.1));
        if new_packets == 0 {
            return;
        }
        *pushed = (packets, bytes);
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
        for (i, (entry, bucket)) in self.groups.iter().enumerate() {
            entry.counters.add_bucket(*bucket, new_packets, new_bytes);
            // A group counts a packet once, however many of its buckets get a copy.
            if !self.groups[..i].iter().any(|(e, _)| Arc::ptr_eq(e, entry)) {
                entry.counters.add(new_packets, new_bytes);
            }
        }
    }
}

/// The bits in which a word is not that of a masked key.
#[inline]
fn differs(word: u64, (mask, value): (u64, u64)) -> u64 {
    (word ^ value) & mask
}
