//! The slots of a shard.
//!
//! They are in blocks that stay where they are. A vector of connections would be copied when it grows, which
//! takes time from the worker whose packet begins one more connection, and leaves a hole in memory.

use super::shard::CtEntry;

/// Number of slots of a block.
const BLOCK: usize = 16;

type Block = [Option<CtEntry>; BLOCK];

/// See the [module](self).
#[derive(Debug, Default)]
// Blocks in the vector itself would be copied when it grows.
#[allow(clippy::vec_box)]
pub(super) struct Slots {
    blocks: Vec<Box<Block>>,
    len: u32,
}

impl Slots {
    /// Number of slots, which have the numbers from 0 on.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The connection in this slot.
    pub(super) fn get(&self, slot: u32) -> Option<&CtEntry> {
        self.blocks.get(slot as usize / BLOCK)?[slot as usize % BLOCK].as_ref()
    }

    /// The connection in this slot, to change.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut CtEntry> {
        self.blocks.get_mut(slot as usize / BLOCK)?[slot as usize % BLOCK].as_mut()
    }

    /// Puts a connection into this slot.
    ///
    /// # Panics
    /// There is no such slot.
    pub(super) fn put(&mut self, slot: u32, connection: CtEntry) {
        self.blocks[slot as usize / BLOCK][slot as usize % BLOCK] = Some(connection);
    }

    /// Takes the connection out of this slot.
    pub(super) fn take(&mut self, slot: u32) -> Option<CtEntry> {
        self.blocks.get_mut(slot as usize / BLOCK)?[slot as usize % BLOCK].take()
    }

    /// Adds a slot with a connection. Returns its number.
    pub(super) fn push(&mut self, connection: CtEntry) -> u32 {
        let slot = self.len;
        if slot as usize == self.blocks.len() * BLOCK {
            self.blocks.push(Box::new([const { None }; BLOCK]));
        }
        self.len += 1;
        self.put(slot, connection);
        slot
    }
}
