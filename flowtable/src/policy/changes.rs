//! The log of changes, from which a cached flow learns whether a change concerns it.
//!
//! The *generation* counts every change. A flow that was right at an older generation is still
//! right if nothing that its translation read has changed since. Most changes touch little:
//!
//! - Rules: the log has the matches of the latest changed rules, and a flow compares them with its own
//!   mask and key. It first compares with the bits that the latest changes have in common, which mostly
//!   suffices. A flow older than the log is translated again, and so is one that a change of a whole table
//!   may concern; a change of very many rules is recorded as one of whole tables.
//! - Learned hosts: each host has two places by two hashes, with the generation of the latest change. A flow
//!   looks at the places of its own hosts only, and is concerned if both places of a host have changed. Two
//!   hosts rarely share both, while a flood of made-up hosts soon changes every single place.
//! - Ports, groups and meters: the generation of the latest change, in a table by number.
//!
//! A change is made first and recorded afterwards, and a worker reads the generation before it
//! looks at anything else. So a worker may find a flow stale without need, but never takes a stale
//! flow for right.

use super::bridge_id::{BridgeId, PortRef, TableRef};
use super::learning::LearnedRule;
use super::mac_table::HostRef;
use super::publication::Generations;
use super::rule::{RuleMatch, may_cover};
use super::xlate::{Dependencies, TableSet};
use arrayvec::ArrayVec;
use flow::Match;
use flow::flow_mod::FlowMod;
use flow::key::FLOW_WORDS;
use flow::types::{GroupId, MeterId};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Number of changes of rules that are remembered.
const LOG: usize = 1024;
/// Number of hash places of hosts.
const HOSTS: usize = 1 << 16;
/// Number of places of ports, and of groups and meters.
const NUMBERS: usize = 256;

/// Number of hash places of learned rules.
const LEARNED: usize = 1 << 12;
/// Number of places of bridges.
const BRIDGES: usize = 64;

/// A change of one rule, or of a whole table.
#[derive(Clone, Debug)]
pub struct RuleChange {
    /// The generation that begins with the change.
    pub generation: u64,
    /// The table, and the packets that the change concerns.
    pub rule: RuleMatch,
}

/// The log of all bridges. See the [module](self).
#[derive(Debug)]
pub struct Changes {
    generations: Generations<Log>,
    hosts: Box<[AtomicU64]>,
    ports: Box<[AtomicU64]>,
    /// For each place of bridges the latest change of any of their ports.
    ports_of: Box<[AtomicU64]>,
    /// The latest change of any port of any bridge.
    any_port: AtomicU64,
    /// The latest changes of groups and of meters, which share the places.
    groups: Box<[AtomicU64]>,
    /// The latest removals and changes of learned rules, by hash.
    learned: Box<[AtomicU64]>,
    /// The latest change of anything but rules.
    other: AtomicU64,
    hasher: ahash::RandomState,
    /// Hears of each generation.
    follower: OnceLock<Arc<dyn GenerationFollower>>,
}

/// Hears of each new generation, for somebody who judges frames elsewhere.
pub trait GenerationFollower: fmt::Debug + Send + Sync {
    /// A change is visible, and its generation begins. The change has not returned to whoever asked for it:
    /// when it has, nothing may be judged by an older state. Called in the order of the generations, by workers
    /// too, and under a lock: it must not ask the policy anything.
    fn advance(&self, change: &LatestChange<'_>);
}

/// The change that the latest generation begins with.
#[derive(Debug)]
pub struct LatestChange<'a> {
    generation: u64,
    changes: &'a Changes,
    log: &'a Log,
}

impl LatestChange<'_> {
    /// The generation that begins.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the change may concern packets that were looked up in `tables` and agree with a value in the
    /// bits of a mask, `bits` giving both for each word, or something else that is watched.
    pub(crate) fn concerns(
        &self,
        watched: &Watched,
        tables: TableSet,
        bits: impl Fn(usize) -> (u64, u64),
    ) -> bool {
        let rules = self.log.rules.iter().rev();
        let mut rules = rules.take_while(|change| change.generation == self.generation);
        self.log.complete_since >= self.generation
            || self.changes.concern(watched, self.generation - 1)
            || rules.any(|change| {
                tables.may_contain(change.rule.table) && may_cover(&change.rule.words, &bits)
            })
    }
}

#[derive(Debug, Default)]
struct Log {
    /// The latest changes, in the order of their generations.
    rules: VecDeque<RuleChange>,
    /// Changes up to this generation may be missing.
    complete_since: u64,
}

fn buckets(n: usize) -> Box<[AtomicU64]> {
    (0..n).map(|_| AtomicU64::new(0)).collect()
}

impl Changes {
    /// Makes an empty log. `seed` keys the hashes of hosts.
    pub fn new(seed: u64) -> Self {
        Self {
            generations: Generations::new(Log::default()),
            hosts: buckets(HOSTS),
            ports: buckets(NUMBERS),
            ports_of: buckets(BRIDGES),
            any_port: AtomicU64::new(0),
            groups: buckets(NUMBERS),
            learned: buckets(LEARNED),
            other: AtomicU64::new(0),
            hasher: ahash::RandomState::with_seeds(seed, 0xc4a, !seed, 0x9e5),
            follower: OnceLock::new(),
        }
    }

    /// Tells `follower` of each generation from now on. There can be one: a second call changes nothing.
    pub(super) fn tell(&self, follower: Arc<dyn GenerationFollower>) {
        let _ = self.follower.set(follower);
    }

    /// Tells the follower, if there is one, of the generation that begins with what has just
    /// been put into the log.
    fn advance(&self, log: &Log, generation: u64) {
        if let Some(follower) = self.follower.get() {
            follower.advance(&LatestChange { generation, changes: self, log });
        }
    }

    /// The present generation: the number of changes recorded so far, plus one.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generations.latest()
    }

    /// Records a change of rules, groups and meters. `learned` are the places of learned rules that it removes
    /// or changes; `None` stands for all.
    pub(super) fn tables(
        &self,
        rules: Vec<RuleMatch>,
        groups: impl Iterator<Item = (BridgeId, GroupId)>,
        meters: impl Iterator<Item = (BridgeId, MeterId)>,
        learned: Option<&[u16]>,
    ) {
        self.generations.record(|log, generation| {
            for place in groups.map(group_bucket).chain(meters.map(meter_bucket)) {
                self.groups[place].store(generation, Ordering::Relaxed);
                self.other.store(generation, Ordering::Relaxed);
            }
            let mark = |place: &AtomicU64| place.store(generation, Ordering::Relaxed);
            match learned {
                Some(places) => places.iter().for_each(|at| mark(&self.learned[usize::from(*at)])),
                None => self.learned.iter().for_each(mark),
            }
            if learned.is_none_or(|places| !places.is_empty()) {
                self.other.store(generation, Ordering::Relaxed);
            }
            for rule in rules {
                if log.rules.len() == LOG
                    && let Some(lost) = log.rules.pop_front()
                {
                    log.complete_since = lost.generation;
                }
                log.rules.push_back(RuleChange { generation, rule });
            }
            self.advance(log, generation);
        });
    }

    /// Records hosts that have come, gone or moved. Returns the generation that begins with it.
    pub(super) fn hosts(&self, hosts: &[HostRef]) -> u64 {
        self.generations.record(|log, generation| {
            self.other.store(generation, Ordering::Relaxed);
            for bucket in hosts.iter().flat_map(|host| self.host_buckets(host)) {
                self.hosts[usize::from(bucket)].store(generation, Ordering::Relaxed);
            }
            self.advance(log, generation);
        })
    }

    /// Records ports that have come, gone or changed.
    pub(super) fn ports(&self, ports: impl Iterator<Item = PortRef>) {
        self.generations.record(|log, generation| {
            for port in ports {
                self.ports[port_bucket(port)].store(generation, Ordering::Relaxed);
                self.ports_of[bridge_bucket(port.bridge)].store(generation, Ordering::Relaxed);
            }
            self.any_port.store(generation, Ordering::Relaxed);
            self.other.store(generation, Ordering::Relaxed);
            self.advance(log, generation);
        });
    }

    /// The place of a learned rule.
    pub(super) fn learned_place(&self, at: TableRef, priority: u16, matching: &Match) -> u16 {
        let (key, mask) = (matching.key().words(), matching.mask().words());
        (self.hasher.hash_one((at, priority, key, mask)) % LEARNED as u64) as u16
    }

    fn host_buckets(&self, host: &HostRef) -> [u16; 2] {
        let hash = self.hasher.hash_one(host);
        [hash as u16, (hash >> 16) as u16]
    }

    /// The places of everything but rules that a translation depends on.
    pub(crate) fn watch(
        &self,
        hosts: &[HostRef],
        learned: &[Arc<LearnedRule>],
        read: &Dependencies,
    ) -> Watched {
        let Dependencies { ports, all_ports, misses_port, groups, .. } = read;
        let bridges = all_ports.0.count_ones() as usize;
        let room = hosts.len()
            + learned.len()
            + ports.len()
            + groups.len()
            + bridges
            + usize::from(*misses_port);
        let mut all = Vec::with_capacity(room);
        all.extend(hosts.iter().map(|host| Watch::Host(self.host_buckets(host))));
        all.sort_unstable();
        all.dedup();
        all.extend(learned.iter().map(|rule| {
            let FlowMod { priority, matching, .. } = &rule.request;
            Watch::Learned(self.learned_place(rule.table_ref(), *priority, matching))
        }));
        all.extend(ports.iter().map(Watch::Port));
        all.extend(groups.iter().map(Watch::Group));
        all.extend(ones(all_ports.0).map(Watch::AnyPortOf));
        all.extend(misses_port.then_some(Watch::AnyPort));
        Watched(all.into())
    }

    /// Whether something other than a rule that is watched has changed after `generation`.
    #[inline]
    pub(crate) fn concern(&self, watched: &Watched, generation: u64) -> bool {
        self.other.load(Ordering::Relaxed) > generation && self.concern_one(watched, generation)
    }

    fn concern_one(&self, watched: &Watched, generation: u64) -> bool {
        watched.0.iter().any(|&watch| self.has_changed(watch, generation))
    }

    /// Whether a host that is watched has come, gone or moved after `generation`.
    pub(crate) fn concern_host(&self, watched: &Watched, generation: u64) -> bool {
        let mut hosts = watched.0.iter().filter(|watch| matches!(watch, Watch::Host(_)));
        hosts.any(|&watch| self.has_changed(watch, generation))
    }

    fn has_changed(&self, watch: Watch, generation: u64) -> bool {
        let is_newer = |cell: &AtomicU64| cell.load(Ordering::Relaxed) > generation;
        match watch {
            Watch::Host(buckets) => {
                buckets.iter().all(|&bucket| is_newer(&self.hosts[usize::from(bucket)]))
            }
            Watch::Port(number) => is_newer(&self.ports[usize::from(number)]),
            Watch::AnyPortOf(number) => is_newer(&self.ports_of[usize::from(number)]),
            Watch::Learned(place) => is_newer(&self.learned[usize::from(place)]),
            Watch::AnyPort => is_newer(&self.any_port),
            Watch::Group(number) => is_newer(&self.groups[usize::from(number)]),
        }
    }

    /// Brings a reader's copy of the log up to date.
    pub(crate) fn follow(&self, copy: &mut RecentRules) {
        let (log, latest) = self.generations.log();
        copy.read_until = latest;
        copy.complete_since = log.complete_since;
        let known = copy.rules.back().map_or(0, |last| last.generation);
        let new = log.rules.iter().rev().take_while(|change| change.generation > known).count();
        copy.rules.extend(log.rules.range(log.rules.len() - new..).cloned());
        let surplus = copy.rules.len().saturating_sub(LOG);
        copy.rules.drain(..surplus);
        drop(log);
        if new > 0 {
            copy.summarise(new);
        }
    }
}

/// A set of ports, or of groups and meters, of all bridges, by their places in the log. Some
/// of them share a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places([u64; NUMBERS / 64]);

impl Places {
    /// Adds a port to a set of ports.
    #[inline]
    pub(super) fn insert_port(&mut self, port: PortRef) {
        self.insert(port_bucket(port));
    }

    /// Adds a group to a set of groups.
    pub(super) fn insert_group(&mut self, bridge: BridgeId, group: GroupId) {
        self.insert(group_bucket((bridge, group)));
    }

    /// Adds a meter to a set of groups and meters.
    pub(super) fn insert_meter(&mut self, bridge: BridgeId, meter: MeterId) {
        self.insert(meter_bucket((bridge, meter)));
    }

    #[inline]
    fn insert(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    /// Adds all of another set.
    pub(super) fn union(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The places in ascending order.
    fn iter(&self) -> impl Iterator<Item = u16> {
        let words = self.0.into_iter().zip((0..).step_by(64));
        words.flat_map(|(word, first)| ones(word).map(move |bit| first + bit))
    }
}

/// The numbers of the one-bits of a word, in ascending order.
fn ones(mut word: u64) -> impl Iterator<Item = u16> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as u16)?;
        word &= word - 1;
        Some(bit)
    })
}

/// A set of bridges by their places in the log. Some of them share a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgePlaces(u64);

impl BridgePlaces {
    /// Adds a bridge.
    pub(super) fn insert(&mut self, bridge: BridgeId) {
        self.0 |= 1 << bridge_bucket(bridge);
    }
}

fn port_bucket(at: PortRef) -> usize {
    (usize::from(at.port.0) + 37 * at.bridge.index()) % NUMBERS
}

fn group_bucket((bridge, group): (BridgeId, GroupId)) -> usize {
    (group.0 as usize + 37 * bridge.index()) % NUMBERS
}

/// Meter 1 does not share the place of group 1.
fn meter_bucket((bridge, meter): (BridgeId, MeterId)) -> usize {
    (meter.0 as usize + NUMBERS / 2 + 37 * bridge.index()) % NUMBERS
}

fn bridge_bucket(bridge: BridgeId) -> usize {
    bridge.index() % BRIDGES
}

/// Something that a flow depends on, by its places in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Watch {
    Host([u16; 2]),
    Port(u16),
    AnyPortOf(u16),
    AnyPort,
    Group(u16),
    Learned(u16),
}

/// Everything but rules that a flow depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched(Box<[Watch]>);

/// A worker's copy of the latest changes of rules.
#[derive(Debug, Default)]
pub(crate) struct RecentRules {
    rules: VecDeque<RuleChange>,
    complete_since: u64,
    read_until: u64,
    /// Summaries of the latest changes, the one of the fewest changes first.
    summaries: ArrayVec<Summary, { SUMMARIES.len() }>,
}

/// The bits that all changes after a generation have in common. None of the changes concerns a
/// packet that differs in these bits.
#[derive(Debug)]
struct Summary {
    since: u64,
    changes: usize,
    tables: TableSet,
    common: [(u64, u64); FLOW_WORDS],
    /// Index, mask and value of the words in which `common` has bits; the words with most mask bits first.
    words: ArrayVec<(u8, u64, u64), FLOW_WORDS>,
}

/// Number of changes in each summary when it is made. A summary grows to twice this number.
const SUMMARIES: [usize; 3] = [4, 32, 256];

impl Default for Summary {
    /// The summary of no change. Written out because arrays of more than 32 elements have no default.
    fn default() -> Self {
        Self {
            since: 0,
            changes: 0,
            tables: TableSet::default(),
            common: [(0, 0); FLOW_WORDS],
            words: ArrayVec::new(),
        }
    }
}

impl Summary {
    /// Makes the summary cover further changes.
    fn extend<'a>(&mut self, changes: impl Iterator<Item = &'a RuleChange>) {
        for rule in changes.map(|change| &change.rule) {
            self.tables.insert(rule.table);
            let mut own = [(0, 0); FLOW_WORDS];
            for &(word, mask, value) in rule.words.iter() {
                own[usize::from(word)] = (mask, value);
            }
            if self.changes == 0 {
                self.common = own;
            }
            for ((mask, value), (own_mask, own_value)) in self.common.iter_mut().zip(own) {
                *mask &= own_mask & !(*value ^ own_value);
                *value &= *mask;
            }
            self.changes += 1;
        }
        let words = self.common.iter().enumerate().filter(|(_, (mask, _))| *mask != 0);
        self.words = words.map(|(i, &(mask, value))| (i as u8, mask, value)).collect();
        self.words.sort_unstable_by_key(|(_, mask, _)| std::cmp::Reverse(mask.count_ones()));
    }
}

impl RecentRules {
    /// The generation up to which the worker has read the log.
    #[inline]
    pub(crate) fn read_until(&self) -> u64 {
        self.read_until
    }

    /// Whether a change after `generation` may concern packets that were looked up in `tables` and
    /// agree with a value in the bits of a mask: `bits` gives both for each word.
    #[inline]
    pub(crate) fn any_since(
        &self,
        generation: u64,
        tables: TableSet,
        bits: impl Fn(usize) -> (u64, u64),
    ) -> bool {
        if generation < self.complete_since {
            return true;
        }
        if let Some(summary) = self.summaries.iter().find(|s| s.since <= generation)
            && !(summary.tables.meets(tables) && may_cover(&summary.words, &bits))
        {
            return false;
        }
        let newer = self.rules.iter().rev().take_while(|change| change.generation > generation);
        newer.into_iter().any(|change| {
            tables.may_contain(change.rule.table) && may_cover(&change.rule.words, &bits)
        })
    }

    /// Adds the `new` latest changes to the summaries. A summary that has grown to twice its size
    /// is made anew, so that a change costs the same whatever the sizes are.
    fn summarise(&mut self, new: usize) {
        let latest = |n: usize| self.rules.range(self.rules.len().saturating_sub(n)..);
        if self.summaries.is_empty() {
            self.summaries.extend(SUMMARIES.map(|_| Summary::default()));
        }
        for (summary, size) in self.summaries.iter_mut().zip(SUMMARIES) {
            if summary.changes == 0 || summary.changes + new > 2 * size {
                let before = self.rules.len().checked_sub(size + 1).and_then(|i| self.rules.get(i));
                let since = before.map_or(self.complete_since, |change| change.generation);
                *summary = Summary { since, ..Summary::default() };
                summary.extend(latest(size));
            } else {
                summary.extend(latest(new));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::bridge_id::TableRef;

    /// A change of one rule of table 0 that matches one word.
    fn rule(value: u64) -> RuleMatch {
        RuleMatch {
            words: [(5, u64::MAX, value)].into(),
            ..RuleMatch::whole_table(TableRef::default())
        }
    }

    #[test]
    fn summaries_lose_no_change_however_many_come_at_once() {
        let changes = Changes::new(1);
        let mut copy = RecentRules::default();
        let mut tables = TableSet::default();
        tables.insert(TableRef::default());
        let mut made = Vec::new();
        for step in 0..600u64 {
            for n in 0..step % 7 {
                let value = 1000 + step * n % 13;
                let (groups, meters) = (std::iter::empty(), std::iter::empty());
                changes.tables(vec![rule(value)], groups, meters, Some(&[]));
                made.push((changes.generation(), value));
            }
            changes.follow(&mut copy);
            let now = changes.generation();
            let remembered = made.len().saturating_sub(LOG);
            for since in [1, 3, 5, 40, 300, 900].map(|age| now.saturating_sub(age)) {
                if made.get(remembered).is_some_and(|&(first, _)| since < first) {
                    continue;
                }
                for value in [1, 1000, 1007, 1012, 2000] {
                    let is_concerned = made.iter().any(|&(g, v)| g > since && v == value);
                    let bits = |word| if word == 5 { (u64::MAX, value) } else { (0, 0) };
                    assert_eq!(copy.any_since(since, tables, bits), is_concerned, "{step} {since}");
                }
            }
        }
    }
}
