//! Decides which masks share a subtable.
//!
//! Each subtable costs a probe in every lookup. With fewer subtables the hash masks have fewer
//! bits, so that buckets have more rows to compare. The planner estimates both on a sample of
//! rules. It makes one key for each sampled rule. The key matches this rule, and agrees with other
//! rules elsewhere, as traffic does. For each candidate hash mask the planner counts which keys
//! fall into the buckets of which rules.
//!
//! The rows that a rule adds to a lookup depend on the hash mask of its own subtable only. So, for
//! a set of hash masks, each mask takes the hash mask that serves it best among those that it
//! contains. The set grows by the hash mask that saves most, until no further one saves as much as
//! its probe costs.
//!
//! Candidates are the common masks, and the bits that two masks share: first of the most common
//! masks, then, in a few rounds, of the masks that the present choice serves worst.
//!
//! Rules that move delay those who add further ones. So a plan that is made while rules come begins with the
//! hash masks that the table has, and a mask keeps its own one if that is nearly as good as the best one.
//!
//! A table may have thousands of masks. The most common ones are planned for one by one. The rare
//! ones are put into classes of similar masks, and a class is planned for as one mask: the bits
//! that all masks of the class share. Masks that share no bits with others go into the subtable
//! that fits them.

use super::lanes::HalfSet;
use super::masks::KnownMask;
use super::presence::{self, Cells};
use arrayvec::ArrayVec;
use flow::key::PIPELINE_WORDS;
use flow::{PipelineKey, PipelineMask};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Size of the random sample of rules. A few rules of each mask come on top.
pub(super) const SAMPLE: usize = 384;
/// Number of masks, the most common ones, that are planned for one by one.
pub(super) const MASKS: usize = 384;
/// Number of rare masks of which one rule is in the sample.
pub(super) const RARE: usize = 1024;
/// Number of classes into which rare masks are put, at most.
const CLASSES: usize = 128;
/// Two masks are of one class if they have the same number of bits in each half of each word, counted in steps
/// of one of these sizes. The planner takes the smallest step that makes no more than [`CLASSES`] classes.
const STEPS: [u32; 4] = [4, 8, 16, 64];
/// Number of masks, the most common ones, that are candidates for a hash mask themselves.
const SINGLE: usize = 32;
/// Number of parts of masks that are candidates. `HUBS_SEEN` parts are weighed to find them.
const HUBS: usize = 96;
const HUBS_SEEN: usize = 4096;
/// Masks whose pairwise intersections become candidates in one round.
const PAIRED: usize = 12;
const ROUNDS: usize = 5;
/// Number of rounds if the choice costs more rows than another probe would cost.
const MAX_ROUNDS: usize = 12;
/// When masks of different width share a subtable, the shorter rows become longer. This is the
/// number of lines by which all rows together may become longer.
const MAX_WIDENING: usize = 256;
/// The rows of a large table may together become longer by one line for each group of this number
/// of rules, if that is more than [`MAX_WIDENING`].
const RULES_TO_WIDEN: usize = 8;
/// Number of hash masks that a plan has, at most.
const MAX_SUBTABLES: usize = 32;
/// Cost of probing one subtable, in nanoseconds.
const PROBE: f64 = 60.0;
/// Cost of comparing one row, in nanoseconds.
const ROW: f64 = 3.0;
/// Rules do not move for fewer rows of a lookup than these.
const FEW_ROWS: f64 = 0.05;
/// A plan keeps the present hash masks, perhaps with others beside them, unless lookups cost more than this
/// many times what they cost with the best hash masks.
const KEPT: f64 = 1.5;

/// A mask with its number of rules and some of their keys. Announced rules count.
#[derive(Debug)]
pub(super) struct Census {
    pub(super) number: u32,
    pub(super) mask: PipelineMask,
    pub(super) rules: u32,
    /// Keys of some rules with this mask.
    pub(super) sample: Vec<PipelineKey>,
    /// The subtable that is the mask's home, at the time when the mask was counted.
    pub(super) home: u16,
    /// Slots of some rules with this mask, at the time when the mask was counted.
    pub(super) slots: ArrayVec<u32, { KnownMask::SAMPLE }>,
}

/// The subtables that a table should have, and the masks that belong into each.
#[derive(Debug)]
pub struct Plan {
    pub(super) subtables: Vec<PlannedSubtable>,
    /// Number of rows that a lookup is expected to compare.
    pub(super) rows: usize,
    /// Whether announced rules were counted for this plan.
    pub(super) is_for_expected: bool,
    /// How far the classifier has adopted this plan.
    pub(super) adoption: Adoption,
}

/// One subtable of a plan.
#[derive(Debug)]
pub(super) struct PlannedSubtable {
    pub(super) hash_mask: PipelineMask,
    /// The halves of the key that the rows of the subtable hold.
    pub(super) halves: HalfSet,
    /// Numbers of the masks that belong into the subtable.
    pub(super) masks: Vec<u32>,
    /// Number of rules with these masks.
    pub(super) rules: usize,
    /// Cells of the presence filter for `rules` buckets. The planner allocates them, because it
    /// works without a lock.
    pub(super) cells: Cells,
}

/// How far a plan has been adopted.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    /// The number of this adoption; `None` before it has begun.
    pub(super) number: Option<u64>,
    /// Index of the planned subtable whose masks get their homes now.
    pub(super) at: usize,
    pub(super) subtable: Option<u16>,
    /// Number of masks of this planned subtable that have got their home.
    pub(super) masks: usize,
}

/// Plans the subtables for all masks of a table. `kept` are subtables of the table, by their numbers, with
/// their hash masks: rules stay there unless it is much better that they move.
pub(super) fn plan(
    mut census: Vec<Census>,
    kept: &[(u16, PipelineMask)],
    is_for_expected: bool,
    seed: u64,
) -> Plan {
    census.sort_by_key(|c| (std::cmp::Reverse(c.rules), c.number));
    let words = Words::used_by(&census);
    let classes = Class::all(&census, &words);
    let planner = Planner::new(words, &classes, seed);
    let kept: Vec<(u16, Bits)> =
        kept.iter().map(|(at, mask)| (*at, planner.words.compress(&mask.bits))).collect();
    let choice = planner.choose(&kept);
    let mut members: Vec<Vec<&Census>> = vec![Vec::new(); choice.hash_masks.len()];
    for (at, class) in classes.iter().enumerate() {
        for &member in &class.members {
            let home = kept.iter().find(|(subtable, _)| *subtable == member.home);
            let home = home.map(|(_, hash_mask)| &hash_mask[..]);
            let mask = planner.words.compress(&member.mask.bits);
            members[choice.subtable_of(at, &mask, home)].push(member);
        }
    }
    let all = census.iter().map(|c| HalfSet::of(&c.mask)).fold(HalfSet::default(), HalfSet::union);
    let rules: usize = census.iter().map(|c| c.rules as usize).sum();
    let max_widening = MAX_WIDENING.max(rules / RULES_TO_WIDEN);
    let planned = choice.hash_masks.iter().zip(&members);
    let subtables = planned.flat_map(|(bits, members)| {
        subtables(planner.words.expand(bits), members, all, max_widening)
    });
    let rows = choice.rows as usize;
    Plan { subtables: subtables.collect(), rows, is_for_expected, adoption: Adoption::default() }
}

/// The subtables for the masks that share a hash mask: one, or several where rows would become much
/// wider in a common one. `members` come with the masks of most rules first.
///
/// A subtable takes `all` halves, those that any mask of the table has, if its rows do not become
/// wider. A key is then packed once for several subtables.
fn subtables(
    hash_mask: PipelineMask,
    members: &[&Census],
    all: HalfSet,
    max_widening: usize,
) -> Vec<PlannedSubtable> {
    let mut subtables: Vec<PlannedSubtable> = Vec::new();
    for member in members {
        let (own, rules) = (HalfSet::of(&member.mask), member.rules as usize);
        let fitting = subtables.iter_mut().find(|subtable| {
            let width = subtable.halves.union(own).width();
            let wider =
                subtable.rules * (width - subtable.halves.width()) + rules * (width - own.width());
            wider <= max_widening
        });
        match fitting {
            Some(subtable) => {
                subtable.halves = subtable.halves.union(own);
                subtable.rules += rules;
                subtable.masks.push(member.number);
            }
            None => subtables.push(PlannedSubtable {
                hash_mask,
                halves: own,
                masks: vec![member.number],
                rules,
                cells: Cells::default(),
            }),
        }
    }
    for subtable in &mut subtables {
        if all.width() == subtable.halves.width() {
            subtable.halves = all;
        }
        subtable.cells = presence::cells(&hash_mask, subtable.rules);
    }
    subtables
}

/// Masks that are planned for as one mask.
struct Class<'a> {
    /// The bits that all members have.
    mask: Bits,
    members: Vec<&'a Census>,
}

impl<'a> Class<'a> {
    /// The classes of all masks. `census` is sorted by the number of rules, most first.
    fn all(census: &'a [Census], words: &Words) -> Vec<Self> {
        let (common, rare) = census.split_at(census.len().min(MASKS));
        let mut classes: Vec<Self> = common
            .iter()
            .map(|mask| Self { mask: words.compress(&mask.mask.bits), members: vec![mask] })
            .collect();
        let alike = STEPS.iter().map(|&step| Self::alike(rare, words, step));
        let few =
            alike.reduce(|finer, coarser| if finer.len() <= CLASSES { finer } else { coarser });
        let mut few = few.unwrap_or_default();
        let surplus = few.split_off(few.len().min(CLASSES));
        classes.extend(few);
        classes.extend(surplus.into_iter().reduce(Self::join));
        classes
    }

    /// Puts masks into one class that have about the same number of bits in each half of each word,
    /// counted in units of `step`.
    fn alike(masks: &'a [Census], words: &Words, step: u32) -> Vec<Self> {
        let mut classes: BTreeMap<Vec<u32>, Self> = BTreeMap::new();
        for member in masks {
            let mask = words.compress(&member.mask.bits);
            let counts = (0..2 * mask.len()).map(|h| (mask[h / 2] & half_bits(h)).count_ones());
            let about = counts.map(|n| if n == 0 { 0 } else { 1 + n / step }).collect();
            let class = classes
                .entry(about)
                .or_insert_with(|| Self { mask: mask.clone(), members: Vec::new() });
            class.mask = shared(&class.mask, &mask);
            class.members.push(member);
        }
        classes.into_values().collect()
    }

    fn join(mut self, other: Self) -> Self {
        self.mask = shared(&self.mask, &other.mask);
        self.members.extend(other.members);
        self
    }

    fn rules(&self) -> f64 {
        self.members.iter().map(|member| f64::from(member.rules)).sum()
    }
}

/// The words of a key or mask in which any mask of the table has bits.
type Bits = Vec<u64>;

/// Indices of the words in which any mask of the table has bits.
struct Words(Vec<usize>);

impl Words {
    fn used_by(census: &[Census]) -> Self {
        let is_used = |w: &usize| census.iter().any(|c| c.mask.words()[*w] != 0);
        Self((0..PIPELINE_WORDS).filter(is_used).collect())
    }

    fn compress(&self, key: &PipelineKey) -> Bits {
        self.0.iter().map(|&w| key.words()[w]).collect()
    }

    fn expand(&self, bits: &[u64]) -> PipelineMask {
        let mut mask = PipelineMask::default();
        for (&w, &bits) in self.0.iter().zip(bits) {
            mask.words_mut()[w] = bits;
        }
        mask
    }
}

struct Planner {
    words: Words,
    masks: Vec<Bits>,
    rules: Vec<SampledRule>,
    /// One key for each sampled rule. The key matches the rule.
    queries: Vec<Bits>,
    total: f64,
}

struct SampledRule {
    /// Index of the rule's mask in `Planner::masks`.
    mask: usize,
    key: Bits,
    /// Number of rules that this one stands for.
    weight: f64,
}

/// A hash mask, and for each mask that contains it the number of rows that the rules of the mask
/// add to a lookup.
struct Candidate {
    hash_mask: Bits,
    rows: Vec<(usize, f64)>,
}

/// The hash masks that were chosen for a table.
struct Choice {
    hash_masks: Vec<Bits>,
    /// For each mask that was planned for, the number of rows that it adds to a lookup under each hash mask;
    /// `None` if it does not contain the hash mask, or if no rule of the mask was in the sample.
    rows_of: Vec<Vec<Option<f64>>>,
    /// The index of the best hash mask of each mask that was planned for.
    subtables: Vec<Option<usize>>,
    rows: f64,
}

impl Choice {
    /// The index of the hash mask for a mask of the class `place`, whose rules are under
    /// the hash mask `home` now.
    fn subtable_of(&self, place: usize, mask: &[u64], home: Option<&[u64]>) -> usize {
        if let Some(stays) = home.and_then(|home| self.stays(place, home)) {
            return stays;
        }
        if let Some(&Some(subtable)) = self.subtables.get(place)
            && ones(&self.hash_masks[subtable]) > 0
        {
            return subtable;
        }
        let fitting = (0..self.hash_masks.len()).filter(|&g| contains(mask, &self.hash_masks[g]));
        fitting.max_by_key(|&g| ones(&self.hash_masks[g])).expect("no bits fit every mask")
    }

    /// The index of the hash mask `home`; `None` if it was not chosen, or if the class `place`
    /// has a much better one.
    fn stays(&self, place: usize, home: &[u64]) -> Option<usize> {
        let at = self.hash_masks.iter().position(|hash_mask| hash_mask == home)?;
        let rows = self.rows_of.get(place)?;
        let best = (*self.subtables.get(place)?)?;
        (rows[at]? <= 2.0 * rows[best]? + FEW_ROWS).then_some(at)
    }
}

impl Planner {
    fn new(words: Words, classes: &[Class<'_>], seed: u64) -> Self {
        let masks: Vec<Bits> = classes.iter().map(|class| class.mask.clone()).collect();
        let mut rules = Vec::new();
        for (mask, class) in classes.iter().enumerate() {
            if class.members.len() > 1 && ones(&class.mask) == 0 {
                continue;
            }
            let keys: Vec<_> = class.members.iter().flat_map(|member| &member.sample).collect();
            let weight = class.rules() / keys.len() as f64;
            let keys = keys.into_iter().map(|key| words.compress(key));
            rules.extend(keys.map(|key| SampledRule { mask, key, weight }));
        }
        let total = rules.iter().map(|r| r.weight).sum();
        let queries = queries(&rules, &masks, seed);
        Self { words, masks, rules, queries, total }
    }

    /// The parts of masks that most rules have in common when one or two halves are left out of each mask.
    fn hubs(&self) -> Vec<Bits> {
        let mut weights = vec![0.0; self.masks.len()];
        for rule in &self.rules {
            weights[rule.mask] += rule.weight;
        }
        let mut hubs: HashMap<Bits, f64> = HashMap::new();
        for (mask, weight) in self.masks.iter().zip(weights) {
            let used = |half: &usize| mask[half / 2] & half_bits(*half) != 0;
            let used: Vec<usize> = (0..2 * mask.len()).filter(used).collect();
            for (i, a) in used.iter().enumerate() {
                for b in &used[..=i] {
                    let mut part = mask.clone();
                    part[a / 2] &= !half_bits(*a);
                    part[b / 2] &= !half_bits(*b);
                    *hubs.entry(part).or_default() += weight;
                }
            }
            if hubs.len() > HUBS_SEEN {
                break;
            }
        }
        let mut hubs: Vec<(Bits, f64)> = hubs.into_iter().collect();
        hubs.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        hubs.into_iter().take(HUBS).map(|(part, _)| part).collect()
    }

    /// Chooses hash masks, those in `kept` as long as others are not much better.
    fn choose(&self, kept: &[(u16, Bits)]) -> Choice {
        let mut meter = Meter::new(self.rules.len());
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut known: HashSet<Bits> = HashSet::new();
        let mut add = |bits: Bits, candidates: &mut Vec<Candidate>| {
            if known.insert(bits.clone()) {
                let rows = meter.measure(self, &bits);
                candidates.push(Candidate { hash_mask: bits, rows });
            }
        };
        add(vec![0; self.words.0.len()], &mut candidates);
        for mask in self.masks.iter().take(SINGLE) {
            add(mask.clone(), &mut candidates);
        }
        for hub in self.hubs() {
            add(hub, &mut candidates);
        }
        for (_, hash_mask) in kept {
            add(hash_mask.clone(), &mut candidates);
        }
        let mut worst: Vec<usize> = (0..self.masks.len()).collect();
        let mut chosen = choose(&candidates, vec![0], self.masks.len());
        for round in 0.. {
            worst.truncate(PAIRED);
            let known = candidates.len();
            for (i, &a) in worst.iter().enumerate() {
                add(self.masks[a].clone(), &mut candidates);
                for &b in &worst[..i] {
                    add(shared(&self.masks[a], &self.masks[b]), &mut candidates);
                }
                for &c in &chosen {
                    let bits = shared(&self.masks[a], &candidates[c].hash_mask);
                    add(bits, &mut candidates);
                }
            }
            if candidates.len() == known {
                break;
            }
            chosen = choose(&candidates, vec![0], self.masks.len());
            let (rows, _) = served(&candidates, &chosen, self.masks.len());
            let costs_much = rows.iter().sum::<f64>() * ROW > PROBE;
            if round + 1 >= if costs_much { MAX_ROUNDS } else { ROUNDS } {
                break;
            }
            worst = (0..self.masks.len()).collect();
            worst.sort_by(|&a, &b| rows[b].total_cmp(&rows[a]));
        }
        if !kept.is_empty() {
            let is_kept = |c: &Candidate| kept.iter().any(|(_, mask)| *mask == c.hash_mask);
            let first = std::iter::once(0);
            let others = (1..candidates.len()).filter(|&at| is_kept(&candidates[at]));
            let with_kept = choose(&candidates, first.chain(others).collect(), self.masks.len());
            let cost = |chosen: &[usize]| cost(&candidates, chosen, self.masks.len());
            if cost(&with_kept) <= KEPT * cost(&chosen) {
                chosen = with_kept;
            }
        }
        let (rows, subtables) = served(&candidates, &chosen, self.masks.len());
        let mut rows_of = vec![vec![None; chosen.len()]; self.masks.len()];
        for (subtable, &c) in chosen.iter().enumerate() {
            candidates[c]
                .rows
                .iter()
                .for_each(|&(mask, rows)| rows_of[mask][subtable] = Some(rows));
        }
        let hash_masks = chosen.iter().map(|&c| candidates[c].hash_mask.clone()).collect();
        Choice { hash_masks, rows_of, subtables, rows: rows.iter().sum() }
    }
}

/// The bits of a word that are a 32-bit half.
fn half_bits(half: usize) -> u64 {
    0xffff_ffff << (half % 2 * 32)
}

fn contains(mask: &[u64], part: &[u64]) -> bool {
    mask.iter().zip(part).all(|(m, p)| p & !m == 0)
}

fn shared(a: &[u64], b: &[u64]) -> Bits {
    a.iter().zip(b).map(|(a, b)| a & b).collect()
}

fn ones(mask: &[u64]) -> u32 {
    mask.iter().map(|w| w.count_ones()).sum()
}

/// Makes a key for each sampled rule. The key matches the rule; in other bits it agrees with
/// another sampled rule, and the rest is random.
fn queries(rules: &[SampledRule], masks: &[Bits], seed: u64) -> Vec<Bits> {
    let mut random = seed;
    let mut next = move || {
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (random ^ random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    };
    rules
        .iter()
        .map(|rule| {
            let other = &rules[next() as usize % rules.len()];
            let masks = masks[rule.mask].iter().zip(&masks[other.mask]);
            let keys = rule.key.iter().zip(&other.key);
            masks.zip(keys).map(|((m, n), (k, l))| k & m | l & n & !m | next() & !(m | n)).collect()
        })
        .collect()
}

/// Counts which keys fall into the buckets of which rules.
struct Meter {
    /// A hash table with open addressing from the hash of a key to the weight of its rules.
    cells: Vec<Cell>,
    /// The number of the present measurement. Cells of earlier ones are vacant.
    round: u32,
}

/// A cell of the hash table of a [`Meter`].
#[derive(Clone, Copy, Default)]
struct Cell {
    hash: u64,
    weight: f64,
    /// The number of the measurement that has used the cell last.
    round: u32,
}

impl Meter {
    fn new(len: usize) -> Self {
        Self { cells: vec![Cell::default(); (2 * len).next_power_of_two()], round: 0 }
    }

    /// The cell of a hash. A cell that was vacant has no weight.
    fn cell(&mut self, hash: u64) -> &mut Cell {
        let wrap = self.cells.len() - 1;
        let mut at = hash as usize & wrap;
        while self.cells[at].round == self.round && self.cells[at].hash != hash {
            at = (at + 1) & wrap;
        }
        let cell = &mut self.cells[at];
        if cell.round != self.round {
            *cell = Cell { hash, weight: 0.0, round: self.round };
        }
        cell
    }

    /// For each mask that contains `hash_mask`, the number of rows that its rules add to a lookup on average.
    fn measure(&mut self, planner: &Planner, hash_mask: &[u64]) -> Vec<(usize, f64)> {
        self.round += 1;
        // Most hash masks have bits in few words.
        let words: Vec<(usize, u64)> =
            hash_mask.iter().copied().enumerate().filter(|(_, bits)| *bits != 0).collect();
        for (key, rule) in planner.queries.iter().zip(&planner.rules) {
            self.cell(hash(key, &words)).weight += rule.weight / planner.total;
        }
        let containing = planner.masks.iter().map(|mask| contains(mask, hash_mask));
        let containing: Vec<bool> = containing.collect();
        let mut rows = vec![None; planner.masks.len()];
        for rule in planner.rules.iter().filter(|rule| containing[rule.mask]) {
            // The key that was made for this very rule does not count.
            let met = self.cell(hash(&rule.key, &words)).weight - rule.weight / planner.total;
            *rows[rule.mask].get_or_insert(0.0) += met.max(0.0) * rule.weight;
        }
        rows.into_iter().enumerate().filter_map(|(mask, rows)| Some((mask, rows?))).collect()
    }
}

/// A hash of the bits of a key that a mask has; `words` are the words of the mask that have bits, by index.
fn hash(key: &[u64], words: &[(usize, u64)]) -> u64 {
    words.iter().fold(1, |hash, &(at, bits)| {
        let x = (hash ^ (key[at] & bits)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x ^ x >> 29
    })
}

/// What a lookup costs if some candidates are chosen, in nanoseconds.
fn cost(candidates: &[Candidate], chosen: &[usize], masks: usize) -> f64 {
    let (rows, subtables) = served(candidates, chosen, masks);
    let is_used = |subtable: &usize| subtables.contains(&Some(*subtable));
    let probes = (0..chosen.len()).filter(is_used).count();
    rows.iter().sum::<f64>() * ROW + probes as f64 * PROBE
}

/// Adds candidates to those that are `chosen` until no further one saves more than its probe costs, and leaves
/// out those that save less. The first candidate is chosen always.
fn choose(candidates: &[Candidate], mut chosen: Vec<usize>, masks: usize) -> Vec<usize> {
    let (mut current, _) = served(candidates, &chosen, masks);
    while chosen.len() < MAX_SUBTABLES {
        let saved = |c: &Candidate| -> f64 {
            c.rows.iter().map(|&(mask, rows)| (current[mask] - rows).max(0.0)).sum()
        };
        let all = candidates.iter().map(saved).enumerate();
        let Some((best, saved)) = all.max_by(|a, b| a.1.total_cmp(&b.1)) else { break };
        if saved * ROW <= PROBE {
            break;
        }
        for &(mask, rows) in &candidates[best].rows {
            current[mask] = current[mask].min(rows);
        }
        chosen.push(best);
    }
    // A later choice may have made an earlier one superfluous.
    let mut at = 1;
    while at < chosen.len() {
        let mut rest = chosen.clone();
        rest.remove(at);
        let more: f64 =
            served(candidates, &rest, masks).0.iter().zip(&current).map(|(a, b)| a - b).sum();
        if more * ROW <= PROBE {
            chosen = rest;
            (current, _) = served(candidates, &chosen, masks);
        } else {
            at += 1;
        }
    }
    chosen
}

/// For each mask, the number of rows that it adds to a lookup under the best of the chosen
/// candidates, and the index of that candidate in `chosen`. `None` for a mask of which no rule is
/// in the sample.
fn served(
    candidates: &[Candidate],
    chosen: &[usize],
    masks: usize,
) -> (Vec<f64>, Vec<Option<usize>>) {
    let mut best: Vec<(f64, Option<usize>)> = vec![(0.0, None); masks];
    for (subtable, &c) in chosen.iter().enumerate() {
        for &(mask, rows) in &candidates[c].rows {
            if best[mask].1.is_none() || rows < best[mask].0 {
                best[mask] = (rows, Some(subtable));
            }
        }
    }
    best.into_iter().unzip()
}
