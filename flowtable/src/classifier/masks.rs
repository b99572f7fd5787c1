//! The masks that rules have, each once, with the subtable that takes its rules.

use super::lanes::HalfSet;
use super::rule::grow;
use ahash::RandomState;
use flow::PipelineMask;
use hashbrown::HashTable;

/// A mask that some rule has.
#[derive(Debug)]
pub(super) struct KnownMask {
    pub(super) halves: HalfSet,
    /// Its bits in these halves: there may be as many masks as rules.
    bits: Box<[[u8; 4]]>,
    pub(super) rules: u32,
    /// Rules that will be added soon.
    pub(super) expected: u32,
    pub(super) home: Home,
    /// Slots of some of its rules.
    sample: [u32; Self::SAMPLE],
}

/// Not a slot.
const NONE: u32 = u32::MAX;

impl KnownMask {
    /// Rules of a mask that are easily found.
    pub(super) const SAMPLE: usize = 3;

    pub(super) fn new(mask: &PipelineMask, halves: HalfSet, home: Home) -> Self {
        let bits = halves.pick(mask);
        Self { halves, bits, rules: 0, expected: 0, home, sample: [NONE; Self::SAMPLE] }
    }

    pub(super) fn mask(&self) -> PipelineMask {
        self.halves.put(&self.bits)
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one(self.mask().words())
    }

    /// Rules that there will be.
    pub(super) fn planned_rules(&self) -> u32 {
        self.rules.saturating_add(self.expected)
    }

    /// Counts a new rule. The sample has the slots with the highest hashes, so that it does not
    /// consist of rules that came together with those in the samples of other masks.
    pub(super) fn add(&mut self, slot: u32) {
        self.rules += 1;
        if let Some(least) = self.sample.iter_mut().min_by_key(|slot| hash(**slot))
            && hash(slot) > hash(*least)
        {
            *least = slot;
        }
    }

    /// Counts a rule less.
    pub(super) fn remove(&mut self, slot: u32) {
        self.rules -= 1;
        self.sample.iter_mut().filter(|s| **s == slot).for_each(|s| *s = NONE);
    }

    /// Slots of some rules.
    pub(super) fn sample(&self) -> impl Iterator<Item = u32> {
        self.sample.into_iter().filter(|slot| *slot != NONE)
    }
}

/// Spreads slots; least for [`NONE`].
fn hash(slot: u32) -> u32 {
    let x = slot.wrapping_add(1).wrapping_mul(0x9e37_79b9);
    (x ^ x >> 15).wrapping_mul(0x85eb_ca6b)
}

/// Where new rules of a mask go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) subtable: u16,
    /// The mask's number in the subtable.
    pub(super) local: u16,
}

/// All masks, numbered.
#[derive(Debug, Default)]
pub(super) struct Masks {
    list: Vec<Option<KnownMask>>,
    vacant: Vec<u32>,
    index: HashTable<u32>,
    /// The one asked for last: rules come in runs.
    last: Option<u32>,
}

impl Masks {
    pub(super) fn find(&mut self, mask: &PipelineMask, hasher: &RandomState) -> Option<u32> {
        self.last = self.peek(mask, hasher);
        self.last
    }

    /// As [`find`](Self::find), for readers.
    pub(super) fn peek(&self, mask: &PipelineMask, hasher: &RandomState) -> Option<u32> {
        if let Some(last) = self.last
            && self.is(last, mask)
        {
            return Some(last);
        }
        let hash = hasher.hash_one(mask.words());
        self.index.find(hash, |&at| self.is(at, mask)).copied()
    }

    fn is(&self, number: u32, mask: &PipelineMask) -> bool {
        let known = self.list[number as usize].as_ref();
        known.is_some_and(|known| known.mask().words() == mask.words())
    }

    pub(super) fn next_number(&self) -> u32 {
        self.vacant.last().copied().unwrap_or(self.list.len() as u32)
    }

    /// Adds a mask as [`next_number`](Self::next_number).
    pub(super) fn add(&mut self, known: KnownMask, hasher: &RandomState) {
        let number = self.next_number();
        let hash = known.hash(hasher);
        match self.vacant.pop() {
            Some(at) => self.list[at as usize] = Some(known),
            None => {
                grow(&mut self.list, 1);
                self.list.push(Some(known));
            }
        }
        let list = &self.list;
        self.index.insert_unique(hash, number, |&at| {
            list[at as usize].as_ref().map_or(0, |known| known.hash(hasher))
        });
    }

    pub(super) fn remove(&mut self, number: u32, hasher: &RandomState) {
        let Some(known) = &self.list[number as usize] else { return };
        let hash = known.hash(hasher);
        if let Ok(found) = self.index.find_entry(hash, |&at| at == number) {
            found.remove();
        }
        self.list[number as usize] = None;
        self.vacant.push(number);
        self.last = None;
    }

    /// Whether some rule has this mask still.
    pub(super) fn is_known(&self, number: u32) -> bool {
        self.list.get(number as usize).is_some_and(Option::is_some)
    }

    pub(super) fn get(&self, number: u32) -> &KnownMask {
        self.list[number as usize].as_ref().expect("a rule has this mask")
    }

    pub(super) fn get_mut(&mut self, number: u32) -> &mut KnownMask {
        self.list[number as usize].as_mut().expect("a rule has this mask")
    }

    /// All masks from a number on; `None` where a number is vacant.
    pub(super) fn behind(&self, first: u32) -> impl Iterator<Item = (u32, Option<&KnownMask>)> {
        let list = self.list.iter().enumerate().skip(first as usize);
        list.map(|(at, known)| (at as u32, known.as_ref()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &KnownMask)> {
        let numbered = self.list.iter().enumerate();
        numbered.filter_map(|(at, known)| Some((at as u32, known.as_ref()?)))
    }

    pub(super) fn heap_size(&self) -> usize {
        let bits: usize = self.iter().map(|(_, known)| size_of_val(&*known.bits)).sum();
        let list = self.list.capacity() * size_of::<Option<KnownMask>>();
        list + bits + self.index.allocation_size()
    }
}
