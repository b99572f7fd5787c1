//! Rules as the search sees them: rows of packed keys, the rows of one bucket side by side.
//!
//! A row is one or more [`Line`]s. Its first two lanes are a header: priority and number of the mask
//! in its group, and the rule's slot. A bucket's rows lie in one block, the best first. Blocks have
//! capacities 1, 2, 3, 4, 6, 8, 12, 16, ...; vacated ones wait for the next of their class.

use super::lanes::Line;
use super::rule::grow;

/// The header of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) priority: u16,
    /// Number of the mask in its group.
    pub(super) mask: u16,
    pub(super) slot: u32,
}

impl Header {
    #[inline(always)]
    pub(super) fn of(row: &Line) -> Self {
        let [first, slot, ..] = row.0;
        Self { priority: (first >> 16) as u16, mask: first as u16, slot }
    }

    pub(super) fn write(self, row: &mut Line) {
        row.0[0] = u32::from(self.priority) << 16 | u32::from(self.mask);
        row.0[1] = self.slot;
    }
}

/// Consecutive rows: all those of one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// In rows.
    start: u32,
    len: u32,
}

/// Memory for the rows of one group.
#[derive(Debug)]
pub(super) struct Rows {
    lines: Vec<Line>,
    width: usize,
    /// Vacated blocks by class.
    vacant: Vec<Vec<u32>>,
}

/// The class of the smallest block for so many rows.
fn class(len: u32) -> usize {
    match len {
        0 | 1 => 0,
        2 => 1,
        _ => {
            let log = (len - 1).ilog2();
            let middle = 3 << (log - 1);
            (2 * log - 1) as usize + usize::from(len > middle) + 1
        }
    }
}

/// Rows in a block of this class.
fn capacity(class: usize) -> u32 {
    match class {
        0 => 1,
        c if c % 2 == 1 => 2 << (c / 2),
        c => 3 << (c / 2 - 1),
    }
}

impl Rows {
    pub(super) fn new(width: usize) -> Self {
        Self { lines: Vec::new(), width, vacant: Vec::new() }
    }

    /// The lines of a block's rows.
    #[inline]
    pub(super) fn get(&self, block: Block) -> &[Line] {
        &self.lines[self.range(block)]
    }

    fn range(&self, block: Block) -> std::ops::Range<usize> {
        let start = block.start as usize * self.width;
        start..start + block.len as usize * self.width
    }

    /// A block with one row.
    pub(super) fn create(&mut self, row: &[Line]) -> Block {
        let block = Block { start: self.allocate(0), len: 1 };
        let range = self.range(block);
        self.lines[range].copy_from_slice(row);
        block
    }

    /// Puts a row before the one numbered `at`.
    pub(super) fn insert(&mut self, block: &mut Block, at: usize, row: &[Line]) {
        let old = *block;
        if class(old.len + 1) != class(old.len) {
            block.start = self.allocate(class(old.len + 1));
            self.copy(old, block.start);
            self.vacate(old);
        }
        block.len += 1;
        let range = self.range(*block);
        let lines = &mut self.lines[range];
        let at = at * self.width;
        lines.copy_within(at..lines.len() - self.width, at + self.width);
        lines[at..at + self.width].copy_from_slice(row);
    }

    /// Takes out a row. An empty block is gone.
    pub(super) fn remove(&mut self, block: &mut Block, at: usize) {
        let range = self.range(*block);
        let lines = &mut self.lines[range];
        lines.copy_within((at + 1) * self.width.., at * self.width);
        let old = *block;
        block.len -= 1;
        if block.len == 0 {
            self.vacate(old);
        } else if class(old.len) != class(block.len) {
            let start = self.allocate(class(block.len));
            self.copy(*block, start);
            self.vacate(old);
            block.start = start;
        }
    }

    fn copy(&mut self, from: Block, start: u32) {
        let range = self.range(from);
        self.lines.copy_within(range, start as usize * self.width);
    }

    pub(super) fn heap_size(&self) -> usize {
        let vacant: usize = self.vacant.iter().map(|v| v.capacity() * size_of::<u32>()).sum();
        self.lines.capacity() * size_of::<Line>() + vacant
    }

    fn allocate(&mut self, class: usize) -> u32 {
        if let Some(start) = self.vacant.get_mut(class).and_then(Vec::pop) {
            return start;
        }
        let start = u32::try_from(self.lines.len() / self.width).expect("fewer than 2^32 rows");
        let more = capacity(class) as usize * self.width;
        grow(&mut self.lines, more);
        self.lines.resize(self.lines.len() + more, Line::default());
        start
    }

    fn vacate(&mut self, block: Block) {
        let class = class(block.len);
        if self.vacant.len() <= class {
            self.vacant.resize_with(class + 1, Vec::new);
        }
        self.vacant[class].push(block.start);
    }
}

impl Block {
    pub(super) fn is_empty(self) -> bool {
        self.len == 0
    }

    pub(super) fn len(self) -> usize {
        self.len as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_room_and_waste_at_most_a_third() {
        let capacities: Vec<u32> = (0..9).map(capacity).collect();
        assert_eq!(capacities, [1, 2, 3, 4, 6, 8, 12, 16, 24]);
        for len in 1..10_000 {
            let fits = capacity(class(len));
            assert!(fits >= len && 2 * fits <= 3 * len, "{len} rows in {fits}");
        }
    }

    #[test]
    fn rows_keep_their_order_while_blocks_grow_and_shrink() {
        let line = |n: usize| Line([n as u32; 8]);
        let mut rows = Rows::new(1);
        let mut block = rows.create(&[line(0)]);
        for n in 1..50 {
            rows.insert(&mut block, n, &[line(n)]);
        }
        rows.insert(&mut block, 0, &[line(99)]);
        rows.remove(&mut block, 25);
        let expected: Vec<Line> =
            std::iter::once(99).chain((0..50).filter(|n| *n != 24)).map(line).collect();
        assert_eq!(rows.get(block), expected);
        let size = rows.lines.len();
        while !block.is_empty() {
            rows.remove(&mut block, 0);
        }
        rows.create(&[line(7)]);
        assert!(rows.lines.len() < size + 100);
    }
}
