//! Searches the best rule for a key, and then few bits of the key that explain the answer.

use super::Filed;
use super::lanes::{HEADER, LANES, Layout, Line, agree};
use super::rows::{Block, Header};
use super::rule::{Rules, Version};
use super::subtable::Subtable;
use arrayvec::ArrayVec;
use flow::{PipelineKey, PipelineMask};

/// Number of probes that a search remembers to explain them with few bits. Further probes add all
/// bits of their subtable to the mask at once.
const REMEMBERED: usize = 64;

/// The probes of a search, in order.
pub(super) type Probes = ArrayVec<Probe, REMEMBERED>;

/// Where the rows end that a search had to look at: at this priority, and at this row if there is one.
type End<'a> = (u16, Option<&'a [Line]>);

/// The arguments of one search.
pub(super) struct Search<'a, 'k, T> {
    pub(super) rules: &'a Rules<Filed<T>>,
    pub(super) subtables: &'a [Subtable],
    /// For each subtable with rules its bound of priorities and its number, sorted by the bound
    /// with the highest first.
    pub(super) order: &'a [(u16, u16)],
    pub(super) key: &'k PipelineKey,
    pub(super) version: Version,
}

/// A rule that matches the key, and where its row is.
pub(super) struct Hit<'a, T> {
    pub(super) priority: u16,
    pub(super) row: &'a [Line],
    pub(super) mask: &'a [Line],
    pub(super) subtable: &'a Subtable,
    pub(super) filed: &'a Filed<T>,
    pub(super) rank: super::rule::Rank,
}

/// Which bucket a probe of a subtable has found; `block` is `None` if there was none.
#[derive(Clone, Copy)]
pub(super) struct Probe {
    subtable: u16,
    block: Option<Block>,
}

/// Key and mask of the search, packed for the subtables of one layout. The mask is packed later
/// than the key, because most searches need the packed mask for one layout only.
pub(super) struct Packed<'a, const W: usize> {
    layout: Option<&'a Layout>,
    key: [Line; W],
    mask: [Line; W],
    has_mask: bool,
}

impl<'a, T> Search<'a, '_, T> {
    /// Runs the search among the rules whose values may win, and adds the bits that
    /// explain the answer to `mask`.
    ///
    /// `W` is at least the width in lines of every subtable. `W` is 1 only if every subtable has
    /// the width 1.
    #[inline(always)]
    pub(super) fn run<const W: usize>(
        &self,
        mask: &mut PipelineMask,
        may_win: impl Fn(&'a T) -> bool,
    ) -> Option<&'a T> {
        let mut probes = Probes::new();
        let mut packed = Packed::<'a, W>::new();
        let mut best: Option<Hit<'a, T>> = None;
        for &(bound, number) in self.order {
            if best.as_ref().is_some_and(|best| best.priority > bound) {
                break;
            }
            let subtable = &self.subtables[usize::from(number)];
            packed.turn_key(subtable.layout(), self.key, mask);
            let block = subtable.bucket(subtable.hash(&packed.key));
            if let Some(block) = block {
                self.scan::<W>(subtable, block, &packed.key, &mut best, &may_win);
            }
            packed.remember(&mut probes, number, subtable, block, self.key, mask);
        }
        if let Some(best) = &best {
            packed.turn(best.subtable.layout(), self.key, mask);
            packed.add(best.mask);
        }
        let end = best.as_ref().map(|best| (best.priority, Some(best.row)));
        explain(self, &mut packed, &probes, end, mask);
        best.map(|best| &best.filed.value)
    }

    /// Looks through a bucket for a rule that beats `best`.
    #[inline(always)]
    fn scan<const W: usize>(
        &self,
        subtable: &'a Subtable,
        block: Block,
        key: &[Line; W],
        best: &mut Option<Hit<'a, T>>,
        may_win: impl Fn(&'a T) -> bool,
    ) {
        let width = if W == 1 { 1 } else { subtable.width() };
        for row in subtable.rows(block).chunks_exact(width) {
            let header = Header::of(&row[0]);
            if best.as_ref().is_some_and(|best| best.priority > header.priority) {
                break;
            }
            let Some(hit) = self.hit(subtable, row, key) else { continue };
            if !may_win(&hit.filed.value) {
                continue;
            }
            if best.as_ref().is_none_or(|best| hit.rank > best.rank) {
                *best = Some(hit);
            }
            break;
        }
    }

    /// The rule of a row, if it matches the packed key and is visible.
    #[inline(always)]
    pub(super) fn hit<const W: usize>(
        &self,
        subtable: &'a Subtable,
        row: &'a [Line],
        key: &[Line; W],
    ) -> Option<Hit<'a, T>> {
        let Header { priority, mask, slot } = Header::of(&row[0]);
        let mask = subtable.mask(mask, row.len());
        if !agree(&key[..row.len()], row, mask) {
            return None;
        }
        let (_, rule) = self.rules.at(slot)?;
        let filed = &rule.value;
        rule.is_visible(self.version).then(|| Hit {
            priority,
            row,
            mask,
            subtable,
            filed,
            rank: rule.rank(),
        })
    }
}

/// Adds bits of the key to `mask` that explain what the probes did not find in front of `end`; `None` is the
/// end of all rows.
#[inline(always)]
pub(super) fn explain<'a, T, const W: usize>(
    search: &Search<'a, '_, T>,
    packed: &mut Packed<'a, W>,
    probes: &Probes,
    end: Option<End<'a>>,
    mask: &mut PipelineMask,
) {
    for probe in probes {
        let subtable = &search.subtables[usize::from(probe.subtable)];
        packed.turn(subtable.layout(), search.key, mask);
        match probe.block {
            None => packed.explain_miss(subtable),
            Some(block) => packed.explain_rows(subtable, block, end),
        }
    }
    packed.flush(mask);
}

impl<'a, const W: usize> Packed<'a, W> {
    pub(super) fn new() -> Self {
        let lines = [Line::default(); W];
        Self { layout: None, key: lines, mask: lines, has_mask: false }
    }

    /// The packed key.
    #[inline(always)]
    pub(super) fn key(&self) -> &[Line; W] {
        &self.key
    }

    /// Remembers the probe of a subtable, to be explained later. What exceeds the memory is explained at once.
    #[inline(always)]
    pub(super) fn remember(
        &mut self,
        probes: &mut Probes,
        number: u16,
        subtable: &'a Subtable,
        block: Option<Block>,
        key: &PipelineKey,
        mask: &mut PipelineMask,
    ) {
        if probes.try_push(Probe { subtable: number, block }).is_err() {
            self.turn(subtable.layout(), key, mask);
            self.add_all(subtable, block);
        }
    }

    /// Packs the key for this layout, unless it is already.
    #[inline(always)]
    pub(super) fn turn_key(
        &mut self,
        layout: &'a Layout,
        key: &PipelineKey,
        mask: &mut PipelineMask,
    ) {
        if self.layout.is_some_and(|current| current.set() == layout.set()) {
            return;
        }
        self.flush(mask);
        layout.gather(key, &mut self.key);
        self.layout = Some(layout);
    }

    /// Packs the key and the mask for this layout, unless they are already.
    #[inline(always)]
    pub(super) fn turn(&mut self, layout: &'a Layout, key: &PipelineKey, mask: &mut PipelineMask) {
        self.turn_key(layout, key, mask);
        if !self.has_mask {
            layout.gather(&mask.bits, &mut self.mask);
            self.has_mask = true;
        }
    }

    /// Adds the bits of the packed mask to the caller's mask.
    #[inline(always)]
    fn flush(&mut self, mask: &mut PipelineMask) {
        if let Some(layout) = self.layout
            && self.has_mask
        {
            layout.scatter(&self.mask, &mut mask.bits);
            self.has_mask = false;
        }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, bits: &[Line]) {
        for (mask, bits) in self.mask.iter_mut().zip(bits) {
            for (mask, bits) in mask.0.iter_mut().zip(bits.0) {
                *mask |= bits;
            }
        }
    }

    /// Adds every bit that the probe of a subtable may have looked at.
    #[cold]
    fn add_all(&mut self, subtable: &Subtable, block: Option<Block>) {
        self.add(subtable.hash_lines());
        if let Some(block) = block {
            for row in subtable.rows(block).chunks_exact(subtable.width()) {
                self.add(subtable.mask(Header::of(&row[0]).mask, subtable.width()));
            }
        }
    }

    /// Adds bits of the key that explain why it has no bucket in a subtable.
    #[inline(always)]
    fn explain_miss(&mut self, subtable: &Subtable) {
        let missing =
            subtable.hash_lines().iter().zip(&self.mask).fold([0; LANES], |all, (h, m)| {
                std::array::from_fn(|lane| all[lane] | h.0[lane] & !m.0[lane])
            });
        if missing == [0; LANES] {
            return;
        }
        match subtable.presence().explain(&self.key, &self.mask) {
            Some((lane, bits)) => self.mask[lane / LANES].0[lane % LANES] |= bits,
            None => self.add(subtable.hash_lines()),
        }
    }

    /// Adds bits of the key that explain why this is its bucket, and why no row of the bucket
    /// in front of `end` matches.
    #[inline(always)]
    fn explain_rows(&mut self, subtable: &Subtable, block: Block, end: Option<End<'a>>) {
        self.add(subtable.hash_lines());
        let width = if W == 1 { 1 } else { subtable.width() };
        for row in subtable.rows(block).chunks_exact(width) {
            let header = Header::of(&row[0]);
            if let Some((priority, last)) = end
                && (priority > header.priority || last.is_some_and(|last| std::ptr::eq(last, row)))
            {
                break;
            }
            self.explain_row(row, subtable.mask(header.mask, width));
        }
    }

    /// Adds bits of the key that explain why a row does not match, unless the mask has such bits already.
    #[inline(always)]
    fn explain_row(&mut self, row: &[Line], mask: &[Line]) {
        let mut explained = [0; LANES];
        for (((key, row), mask), known) in self.key.iter().zip(row).zip(mask).zip(&self.mask) {
            for (lane, explained) in explained.iter_mut().enumerate() {
                *explained |= (key.0[lane] ^ row.0[lane]) & mask.0[lane] & known.0[lane];
            }
        }
        if explained == [0; LANES] {
            self.tell_apart(row, mask);
        }
    }

    /// Extends the mask in one lane in which the row differs from the key: in the lane that needs
    /// the fewest additional bits. The bits are those of the row's mask from the highest one down
    /// to the first that differs.
    fn tell_apart(&mut self, row: &[Line], mask: &[Line]) {
        let mut cheapest: Option<(u32, usize, u32)> = None;
        for (line, (row, mask)) in row.iter().zip(mask).enumerate() {
            for lane in 0..LANES {
                if line == 0 && lane < HEADER {
                    continue;
                }
                let differ = (self.key[line].0[lane] ^ row.0[lane]) & mask.0[lane];
                if differ == 0 {
                    continue;
                }
                let below = u32::MAX.checked_shr(differ.leading_zeros() + 1).unwrap_or(0);
                let bits = mask.0[lane] & !below;
                let cost = (bits & !self.mask[line].0[lane]).count_ones();
                if cheapest.is_none_or(|(least, ..)| cost <= least) {
                    cheapest = Some((cost, line * LANES + lane, bits));
                }
            }
        }
        if let Some((_, at, bits)) = cheapest {
            self.mask[at / LANES].0[at % LANES] |= bits;
        }
    }
}
