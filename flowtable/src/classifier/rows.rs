//! Rules as the search sees them: rows of packed keys, with the rows of one bucket side by side.
//!
//! A row is one [`Line`] or several. The first two lanes of a row are its header: the rule's
//! priority, the local number of its mask, and its slot. The rows of a bucket lie in one block, the
//! highest priority first. A block has room for 1, 2, 3, 4, 6, 8, 12, 16, ... rows. These sizes are
//! called classes; a vacated block waits for the next bucket of its class.

use super::lanes::Line;
use super::rule::grow;

/// The first two lanes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) priority: u16,
    /// The mask's local number in the subtable.
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

/// Where the rows of one bucket are in [`Rows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Index of the first row, counted over all pieces.
    start: u32,
    len: u32,
}

/// Memory for the rows of one subtable. It is allocated in pieces, so that it grows without moving rows.
#[derive(Debug)]
pub(super) struct Rows {
    /// Each piece has [`PIECE`] rows, or one block that is larger than that.
    pieces: Vec<Vec<Line>>,
    width: usize,
    /// For each class the start of the block that was vacated last, or [`NONE`]. The first lane of
    /// a vacant block has the start of the one vacated before it.
    vacant: Vec<u32>,
}

/// Number of rows in a piece.
const PIECE: usize = 256;
/// Stands for "no block" in a list of vacant blocks.
const NONE: u32 = u32::MAX;

/// The class of the smallest block that holds `len` rows.
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

/// Number of rows that a block of this class has room for.
fn capacity(class: usize) -> u32 {
    match class {
        0 => 1,
        c if c % 2 == 1 => 2 << (c / 2),
        c => 3 << (c / 2 - 1),
    }
}

impl Rows {
    pub(super) fn new(width: usize) -> Self {
        Self { pieces: Vec::new(), width, vacant: Vec::new() }
    }

    /// The lines of the rows of a block.
    #[inline]
    pub(super) fn get(&self, block: Block) -> &[Line] {
        let piece = &self.pieces[block.start as usize / PIECE];
        &piece[self.range(block)]
    }

    fn get_mut(&mut self, block: Block) -> &mut [Line] {
        let range = self.range(block);
        &mut self.pieces[block.start as usize / PIECE][range]
    }

    /// The range of a block's lines within its piece.
    fn range(&self, block: Block) -> std::ops::Range<usize> {
        let start = block.start as usize % PIECE * self.width;
        start..start + block.len as usize * self.width
    }

    /// Makes a block with one row.
    pub(super) fn create(&mut self, row: &[Line]) -> Block {
        let block = Block { start: self.allocate(0), len: 1 };
        self.get_mut(block).copy_from_slice(row);
        block
    }

    /// Copies a block from `rows` to a new block here.
    pub(super) fn copy_from(&mut self, rows: &Self, block: Block) -> Block {
        let copy = Block { start: self.allocate(class(block.len)), ..block };
        self.get_mut(copy).copy_from_slice(rows.get(block));
        copy
    }

    /// Inserts a row into a block before its row number `at`.
    pub(super) fn insert(&mut self, block: &mut Block, at: usize, row: &[Line]) {
        let old = *block;
        if class(old.len + 1) != class(old.len) {
            block.start = self.allocate(class(old.len + 1));
            self.copy(old, block.start);
            self.vacate(old);
        }
        block.len += 1;
        let width = self.width;
        let lines = self.get_mut(*block);
        let at = at * width;
        lines.copy_within(at..lines.len() - width, at + width);
        lines[at..at + width].copy_from_slice(row);
    }

    /// Removes the row number `at` of a block. A block that becomes empty is given back and must
    /// not be used again.
    pub(super) fn remove(&mut self, block: &mut Block, at: usize) {
        let width = self.width;
        self.get_mut(*block).copy_within((at + 1) * width.., at * width);
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
        let to = Block { start, ..from };
        let [from_piece, to_piece] = [from, to].map(|block| block.start as usize / PIECE);
        let [from, to] = [from, to].map(|block| self.range(block));
        if from_piece == to_piece {
            self.pieces[to_piece].copy_within(from, to.start);
        } else if let Ok([source, target]) = self.pieces.get_disjoint_mut([from_piece, to_piece]) {
            target[to].copy_from_slice(&source[from]);
        }
    }

    pub(super) fn heap_size(&self) -> usize {
        let lines: usize = self.pieces.iter().map(Vec::capacity).sum();
        lines * size_of::<Line>()
    }

    fn allocate(&mut self, class: usize) -> u32 {
        if let Some(&start) = self.vacant.get(class).filter(|start| **start != NONE) {
            self.vacant[class] = *self.link(start);
            return start;
        }
        let more = capacity(class) as usize * self.width;
        let fits = |piece: &Vec<Line>| piece.len() + more <= PIECE * self.width;
        if !self.pieces.last().is_some_and(fits) {
            // The first piece of a subtable starts small. A block larger than a piece gets a piece
            // of its own.
            let room = if self.pieces.is_empty() { 0 } else { PIECE * self.width };
            self.pieces.push(Vec::with_capacity(room.max(more)));
        }
        let number = self.pieces.len() - 1;
        let piece = &mut self.pieces[number];
        let start = number * PIECE + piece.len() / self.width;
        grow(piece, more);
        piece.resize(piece.len() + more, Line::default());
        u32::try_from(start).expect("fewer than 2^32 rows")
    }

    fn vacate(&mut self, block: Block) {
        let class = class(block.len);
        if self.vacant.len() <= class {
            self.vacant.resize(class + 1, NONE);
        }
        *self.link(block.start) = std::mem::replace(&mut self.vacant[class], block.start);
    }

    /// The lane in which a vacant block has the start of the block vacated before it.
    fn link(&mut self, start: u32) -> &mut u32 {
        let at = start as usize % PIECE * self.width;
        &mut self.pieces[start as usize / PIECE][at].0[0]
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
    fn blocks_of_any_size_are_within_a_piece() {
        let line = |n: u32| [Line([n; 8]), Line([!n; 8])];
        let mut rows = Rows::new(2);
        let mut blocks: Vec<Block> = (0..3).map(|n| rows.create(&line(n))).collect();
        for n in 3..9000 {
            let block = match n % 90 {
                0 => 0,
                1..40 => 1,
                _ => 2,
            };
            let at = blocks[block].len();
            rows.insert(&mut blocks[block], at, &line(n));
        }
        for block in &blocks {
            let numbers: Vec<u32> = rows.get(*block).chunks(2).map(|row| row[0].0[0]).collect();
            assert_eq!(numbers.len(), block.len());
            assert!(
                numbers.is_sorted()
                    && rows.get(*block).chunks(2).all(|row| row == line(row[0].0[0]))
            );
        }
        assert_eq!(blocks.iter().map(|block| block.len()).sum::<usize>(), 9000);
    }

    #[test]
    fn a_copied_block_takes_no_more_room_than_it_needs() {
        let line = |n: u32| Line([n; 8]);
        let mut rows = Rows::new(1);
        let mut block = rows.create(&[line(0)]);
        (1..1000).for_each(|n| rows.insert(&mut block, n, &[line(n as u32)]));
        (10..1000).for_each(|_| rows.remove(&mut block, 10));
        let mut few = Rows::new(1);
        let copy = few.copy_from(&rows, block);
        assert_eq!(few.get(copy), (0..10).map(line).collect::<Vec<_>>());
        assert!(
            few.heap_size() < 20 * size_of::<Line>() && rows.heap_size() > 100 * few.heap_size()
        );
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
        let size = rows.pieces[0].len();
        while !block.is_empty() {
            rows.remove(&mut block, 0);
        }
        rows.create(&[line(7)]);
        assert!(rows.pieces[0].len() < size + 100);
    }
}
