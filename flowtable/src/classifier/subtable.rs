//! A subtable: one hash table with the rules of one mask, or of several masks that were merged.
//!
//! The hash of a rule covers the bits of the subtable's *hash mask*, which every mask of the
//! subtable contains. Rules with equal hashes form a bucket. A bucket is a block of rows, one row a
//! rule, sorted by priority with the highest first; a search compares each row in full. A key
//! therefore meets at most one bucket of a subtable, and that bucket has every rule of the subtable
//! that can match the key.

use super::buckets::{Buckets, spread};
use super::lanes::{HashKeys, LANES, Layout, Line, MAX_WIDTH, MaskedWord, agree};
use super::presence::{self, Cells, Presence};
use super::rows::{Block, Header, Rows};
use super::rule::{Rank, grow};
use arrayvec::ArrayVec;
use flow::{Match, PipelineKey, PipelineMask};
use hashbrown::HashTable;
use zerocopy::FromZeros;

/// A hash table with the rules of some masks. See the [module](self).
#[derive(Debug)]
pub(super) struct Subtable {
    layout: Layout,
    hash_mask: PipelineMask,
    hash_lines: Vec<Line>,
    /// One multiplier of the hash function for each lane of the hash mask.
    multipliers: Vec<[u64; LANES]>,
    masks: Vec<LocalMask>,
    mask_lines: Vec<Line>,
    vacant_masks: Vec<u16>,
    mask_index: HashTable<u16>,
    buckets: Buckets,
    rows: Rows,
    presence: Presence,
    priorities: Priorities,
    len: usize,
    /// Number of masks whose [`Home`](super::masks::Home) is this subtable.
    pub(super) homes: u32,
}

/// One mask of the subtable. A row names its mask by the index in `Subtable::masks`.
#[derive(Clone, Copy, Debug, Default)]
struct LocalMask {
    /// The mask's number in the classifier's list of masks.
    number: u32,
    rules: u32,
}

impl Subtable {
    /// Makes a subtable that no plan asked for, so that its number of rules is unknown.
    pub(super) fn unplanned(layout: Layout, hash_mask: &PipelineMask, keys: &HashKeys) -> Self {
        Self::new(layout, hash_mask, keys, 0, presence::cells(hash_mask, 0))
    }

    /// Makes a subtable with room for `rules` rules. `cells` are the unused cells of its presence
    /// filter, from [`presence::cells`].
    pub(super) fn new(
        layout: Layout,
        hash_mask: &PipelineMask,
        keys: &HashKeys,
        rules: usize,
        cells: Cells,
    ) -> Self {
        let width = layout.width();
        let hash_lines = layout.pack(&hash_mask.bits).to_vec();
        let mut multipliers = vec![[0; LANES]; width];
        for (lane, half) in layout.lanes() {
            multipliers[lane / LANES][lane % LANES] = keys[half];
        }
        Self {
            presence: Presence::new(&layout, &hash_lines, keys, cells),
            hash_lines,
            layout,
            hash_mask: *hash_mask,
            multipliers,
            masks: Vec::new(),
            mask_lines: Vec::new(),
            vacant_masks: Vec::new(),
            mask_index: HashTable::new(),
            buckets: Buckets::new(rules),
            rows: Rows::new(width),
            priorities: Priorities::default(),
            len: 0,
            homes: 0,
        }
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn width(&self) -> usize {
        self.hash_lines.len()
    }

    pub(super) fn hash_mask(&self) -> &PipelineMask {
        &self.hash_mask
    }

    #[inline]
    pub(super) fn hash_lines(&self) -> &[Line] {
        &self.hash_lines
    }

    /// An upper bound of the priorities of the subtable's rules. A search skips the subtable when
    /// it has a rule of a higher priority.
    pub(super) fn bound(&self) -> u16 {
        self.priorities.bound()
    }

    /// Whether the subtable may have a rule of this priority. `false` is certain, `true` is not.
    pub(super) fn may_have(&self, priority: u16) -> bool {
        self.priorities.may_have(priority)
    }

    /// Number of rules in the subtable, including removed rules that wait to be purged.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether buckets have more than `rows` rows on average.
    pub(super) fn is_crowded(&self, rows: usize) -> bool {
        self.len > rows * self.buckets.len()
    }

    /// Hashes a packed key in the bits of the hash mask.
    ///
    /// This is multilinear hashing (Lemire and Kaser 2014). Two keys that differ in the hash mask
    /// collide with a probability of 2^-32. A sender cannot choose keys that collide, because the
    /// multipliers are secret.
    #[inline(always)]
    pub(super) fn hash(&self, key: &[Line]) -> u32 {
        let mut sum = 0u64;
        for ((key, mask), by) in key.iter().zip(&self.hash_lines).zip(&self.multipliers) {
            for ((key, mask), by) in key.0.iter().zip(mask.0).zip(by) {
                sum = sum.wrapping_add(u64::from(key & mask).wrapping_mul(*by));
            }
        }
        (sum >> 32) as u32
    }

    /// Number of lines that the rows of a bucket have: what adding or removing a row may move.
    pub(super) fn lines_of(&self, hash: u32) -> usize {
        self.buckets.find(hash).map_or(0, |block| block.len() * self.width())
    }

    /// The block of rows whose rules have this hash; `None` if no rule has it.
    #[inline]
    pub(super) fn bucket(&self, hash: u32) -> Option<Block> {
        self.buckets.find(hash)
    }

    #[inline]
    pub(super) fn rows(&self, block: Block) -> &[Line] {
        self.rows.get(block)
    }

    /// The packed mask with the local number `local`. `width` is the subtable's width in lines.
    #[inline(always)]
    pub(super) fn mask(&self, local: u16, width: usize) -> &[Line] {
        &self.mask_lines[usize::from(local) * width..][..width]
    }

    /// Adds a mask that has no rules yet, and returns its local number. `None` if all 65,536 local
    /// numbers are taken.
    pub(super) fn add_mask(&mut self, number: u32, mask: &PipelineMask) -> Option<u16> {
        let width = self.width();
        let local = match self.vacant_masks.pop() {
            Some(local) => local,
            None => {
                let local = u16::try_from(self.masks.len()).ok()?;
                grow(&mut self.masks, 1);
                self.masks.push(LocalMask::default());
                grow(&mut self.mask_lines, width);
                self.mask_lines.resize(self.mask_lines.len() + width, Line::default());
                local
            }
        };
        self.masks[usize::from(local)] = LocalMask { number, rules: 0 };
        let lines = &mut self.mask_lines[usize::from(local) * width..][..width];
        lines.copy_from_slice(&self.layout.pack(&mask.bits));
        let masks = &self.masks;
        let hash_of = |&at: &u16| spread(masks[usize::from(at)].number);
        self.mask_index.insert_unique(spread(number), local, hash_of);
        Some(local)
    }

    /// The local number of the mask that the classifier calls `number`; `None` if the subtable does
    /// not know this mask.
    pub(super) fn local_number(&self, number: u32) -> Option<u16> {
        let is = |&at: &u16| self.masks[usize::from(at)].number == number;
        self.mask_index.find(spread(number), is).copied()
    }

    /// Forgets a mask that has no rules here. Its local number may name another mask from now on.
    pub(super) fn drop_mask(&mut self, local: u16) {
        let number = self.masks[usize::from(local)].number;
        if let Ok(found) = self.mask_index.find_entry(spread(number), |&at| at == local) {
            found.remove();
        }
        self.vacant_masks.push(local);
    }

    /// Number of rules in this subtable that have the mask with the local number `local`.
    pub(super) fn rules_of(&self, local: u16) -> u32 {
        self.masks[usize::from(local)].rules
    }

    /// Adds a rule. Returns the rule's hash and the number of rows in its bucket, the new row included.
    pub(super) fn insert(
        &mut self,
        key: &PipelineKey,
        local: u16,
        slot: u32,
        rank: Rank,
        rank_of: impl Fn(u32) -> Rank,
    ) -> (u32, usize) {
        let mut row = self.layout.pack(key);
        let hash = self.hash(&row);
        Header { priority: rank.priority(), mask: local, slot }.write(&mut row[0]);
        let width = self.width();
        let len = match self.buckets.find_mut(hash) {
            Some(block) => {
                let lines = self.rows.get(*block);
                if !has_value(lines, &row, &self.hash_lines) {
                    self.presence.add(&row);
                }
                let at = place(lines, width, rank, rank_of);
                self.rows.insert(block, at, &row);
                block.len()
            }
            None => {
                self.presence.add(&row);
                let block = self.rows.create(&row);
                self.buckets.insert(hash, block);
                1
            }
        };
        self.priorities.add(rank.priority());
        self.masks[usize::from(local)].rules += 1;
        self.len += 1;
        (hash, len)
    }

    /// Takes out the rule in the slot `slot` and returns the local number of its mask. `None` if
    /// the subtable does not have the rule.
    pub(super) fn remove(
        &mut self,
        hash: u32,
        slot: u32,
        rank: Rank,
        rank_of: impl Fn(u32) -> Rank,
    ) -> Option<u16> {
        let width = self.width();
        let block = self.buckets.find_mut(hash)?;
        let lines = self.rows.get(*block);
        let at = place(lines, width, rank, rank_of);
        let header = Header::of(lines.get(at * width)?);
        if header.slot != slot {
            return None;
        }
        let mut row = ArrayVec::<Line, MAX_WIDTH>::new();
        lines[at * width..][..width].iter().for_each(|line| row.push(*line));
        self.rows.remove(block, at);
        if !has_value(self.rows.get(*block), &row, &self.hash_lines) {
            self.presence.remove(&row);
        }
        if block.is_empty() {
            self.buckets.remove(hash);
        }
        self.priorities.remove(header.priority);
        self.masks[usize::from(header.mask)].rules -= 1;
        self.len -= 1;
        Some(header.mask)
    }

    /// The row of the rule in the slot `slot`. The rank leads to the row by binary search, because a bucket may
    /// have thousands of rows.
    fn row(
        &self,
        hash: u32,
        slot: u32,
        rank: Rank,
        rank_of: impl Fn(u32) -> Rank,
    ) -> Option<(Header, &[Line])> {
        let width = self.width();
        let lines = self.rows(self.bucket(hash)?);
        let at = place(lines, width, rank, rank_of);
        let row = lines.get(at * width..(at + 1) * width)?;
        let header = Header::of(&row[0]);
        (header.slot == slot).then_some((header, row))
    }

    /// The key of the rule in the slot `slot`.
    pub(super) fn key(
        &self,
        hash: u32,
        slot: u32,
        rank: Rank,
        rank_of: impl Fn(u32) -> Rank,
    ) -> Option<PipelineKey> {
        let (_, row) = self.row(hash, slot, rank, rank_of)?;
        let mut key = PipelineKey::new_zeroed();
        self.layout.scatter(row, &mut key);
        Some(key)
    }

    /// The match of the rule in the slot `slot`.
    pub(super) fn rule(
        &self,
        hash: u32,
        slot: u32,
        rank: Rank,
        rank_of: impl Fn(u32) -> Rank,
    ) -> Option<Match> {
        let (header, row) = self.row(hash, slot, rank, rank_of)?;
        let (mut key, mut mask) = (PipelineKey::new_zeroed(), PipelineMask::new_zeroed());
        self.layout.scatter(row, &mut key);
        self.layout.scatter(self.mask(header.mask, self.width()), &mut mask.bits);
        Some(Match::new(&key, &mask))
    }

    /// The words of the match of the rule in the slot `slot`.
    pub(super) fn masked_words(
        &self,
        hash: u32,
        slot: u32,
        rank: Rank,
        rank_of: impl Fn(u32) -> Rank,
    ) -> Option<impl Iterator<Item = MaskedWord>> {
        let (header, row) = self.row(hash, slot, rank, rank_of)?;
        Some(self.layout.masked_words(row, self.mask(header.mask, self.width())))
    }

    /// The rules with this priority whose match is exactly `key` under the mask with the local number `local`.
    pub(super) fn find(
        &self,
        key: &PipelineKey,
        priority: u16,
        local: u16,
    ) -> impl Iterator<Item = Header> {
        let packed = self.layout.pack(key);
        let block = self.bucket(self.hash(&packed));
        let lines = block.map_or(&[][..], |block| self.rows(block));
        let lines = of_priority(lines, self.width(), priority);
        lines.chunks_exact(self.width()).filter_map(move |row| {
            let header = Header::of(&row[0]);
            let same = header.mask == local
                && row[0].0[super::lanes::HEADER..] == packed[0].0[super::lanes::HEADER..]
                && row[1..] == packed[1..];
            same.then_some(header)
        })
    }

    /// The filter that knows which values the hashed lanes of the buckets have.
    #[inline]
    pub(super) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Whether the subtable has more than two to four times the buckets that its presence filter was
    /// made for. The filter then takes most absent values for present ones.
    pub(super) fn is_outgrown(&self) -> bool {
        self.presence.is_too_small(self.buckets.len())
    }

    /// Number of places of the hash table that [`compact`](Self::compact) looks through: all of them
    /// unless the subtable is empty.
    pub(super) fn places_to_compact(&self) -> usize {
        if self.len > 0 { self.buckets.places() } else { 0 }
    }

    /// Copies the rows into a smaller allocation if less than half of the present one is in use.
    /// Returns the old allocation, for the caller to drop when no reader waits.
    pub(super) fn compact(&mut self) -> Option<Rows> {
        let needed = self.len * self.width() * size_of::<Line>();
        if self.rows.heap_size() <= 2 * needed {
            return None;
        }
        let mut rows = Rows::new(self.width());
        if self.len > 0 {
            for block in self.buckets.blocks_mut() {
                *block = rows.copy_from(&self.rows, *block);
            }
        }
        Some(std::mem::replace(&mut self.rows, rows))
    }

    /// Bytes that the subtable has on the heap.
    pub(super) fn heap_size(&self) -> usize {
        self.rows.heap_size()
            + self.buckets.heap_size()
            + self.presence.heap_size()
            + size_of_val(&*self.priorities.steps)
            + self.masks.capacity() * size_of::<LocalMask>()
            + self.mask_lines.capacity() * size_of::<Line>()
    }
}

/// Whether some row of `lines` agrees with `row` in the hash mask. All rows of a bucket do, unless
/// two values have the same hash by chance.
fn has_value(lines: &[Line], row: &[Line], hash_lines: &[Line]) -> bool {
    lines.chunks_exact(row.len()).any(|other| agree(other, row, hash_lines))
}

/// The rows of a bucket that have this priority.
pub(super) fn of_priority(lines: &[Line], width: usize, priority: u16) -> &[Line] {
    // Rows are sorted: `is_above` holds for the rows before the returned place and for none behind it.
    let end_of = |is_above: &dyn Fn(u16) -> bool| {
        let (mut low, mut high) = (0, lines.len() / width);
        while low < high {
            let middle = (low + high) / 2;
            let above = is_above(Header::of(&lines[middle * width]).priority);
            if above { low = middle + 1 } else { high = middle }
        }
        low * width
    };
    &lines[end_of(&|other| other > priority)..end_of(&|other| other >= priority)]
}

/// The index at which a rule of this rank is in its bucket, or at which it has to be inserted.
fn place(lines: &[Line], width: usize, rank: Rank, rank_of: impl Fn(u32) -> Rank) -> usize {
    let (mut low, mut high) = (0, lines.len() / width);
    while low < high {
        let middle = (low + high) / 2;
        let header = Header::of(&lines[middle * width]);
        let better = header.priority > rank.priority()
            || (header.priority == rank.priority() && rank_of(header.slot) > rank);
        if better { low = middle + 1 } else { high = middle }
    }
    low
}

/// Roughly which priorities the rules of a subtable have, so that a search can stop early.
///
/// The range of priorities is cut into 256 steps of 256 priorities. Each step has its number of
/// rules, and the highest priority that was added since the step was last empty. Removing a rule
/// does not lower that highest priority, so the bound may be too high, and is never too low.
#[derive(Debug, Default)]
struct Priorities {
    /// 256 steps; empty as long as the subtable never had a rule.
    steps: Box<[Step]>,
    top: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Step {
    rules: u32,
    highest: u8,
}

impl Priorities {
    fn add(&mut self, priority: u16) {
        let [step, low] = priority.to_be_bytes();
        if self.steps.is_empty() {
            self.steps = [Step::default(); 256].into();
        }
        let at = &mut self.steps[usize::from(step)];
        at.highest = if at.rules == 0 { low } else { at.highest.max(low) };
        at.rules += 1;
        self.top = self.top.max(step);
    }

    fn remove(&mut self, priority: u16) {
        self.steps[usize::from(priority >> 8)].rules -= 1;
        while self.top > 0 && self.steps[usize::from(self.top)].rules == 0 {
            self.top -= 1;
        }
    }

    fn may_have(&self, priority: u16) -> bool {
        let [step, low] = priority.to_be_bytes();
        let step = self.steps.get(usize::from(step));
        step.is_some_and(|step| step.rules > 0 && low <= step.highest)
    }

    fn bound(&self) -> u16 {
        let highest = self.steps.get(usize::from(self.top)).map_or(0, |step| step.highest);
        u16::from_be_bytes([self.top, highest])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_priority_is_above_the_bound() {
        let mut p = Priorities::default();
        for priority in [7, 300, 40_000, 40_010] {
            p.add(priority);
        }
        assert_eq!(p.bound(), 40_010);
        p.remove(40_010);
        assert!(p.bound() >= 40_000);
        p.remove(40_000);
        assert_eq!(p.bound(), 300);
        assert!(p.may_have(300) && p.may_have(7) && !p.may_have(8) && !p.may_have(40_000));
        p.remove(300);
        assert_eq!(p.bound(), 7);
    }
}
