//! The masks of all rules. Each mask is there once, and has the subtable that takes its rules.

use super::lanes::HalfSet;
use super::rule::grow;
use ahash::RandomState;
use flow::PipelineMask;
use hashbrown::HashTable;

/// A mask that at least one rule has, or that an announced rule will have.
#[derive(Debug)]
pub(super) struct KnownMask {
    pub(super) halves: HalfSet,
    /// The mask's bits in `halves`. A whole mask would take hundreds of bytes, and a table may have as many
    /// masks as rules.
    bits: Box<[[u8; 4]]>,
    pub(super) rules: u32,
    /// Rules with this mask that [`Classifier::expect`](super::Classifier::expect) has announced.
    pub(super) expected: u32,
    pub(super) home: Home,
    /// Number of rules with this mask that are in other subtables than the home.
    pub(super) away: u32,
    /// The subtable that has the rules which are away. `None` if there are none, or
    /// if several subtables have them.
    former: Option<Home>,
    /// Slots of some rules with this mask; [`NONE`] where there is no rule.
    sample: [u32; Self::SAMPLE],
}

/// Stands for "no slot" in a sample.
const NONE: u32 = u32::MAX;

impl KnownMask {
    /// Number of rules of each mask that a survey finds without searching.
    pub(super) const SAMPLE: usize = 3;

    pub(super) fn new(mask: &PipelineMask, halves: HalfSet, home: Home) -> Self {
        let bits = halves.pick(mask);
        let (away, former) = (0, None);
        Self {
            halves,
            bits,
            rules: 0,
            expected: 0,
            home,
            away,
            former,
            sample: [NONE; Self::SAMPLE],
        }
    }

    /// Gives the mask another home, where it has `rules_there` rules already. Its other rules
    /// are away from then on.
    fn move_home(&mut self, home: Home, rules_there: u32) {
        self.former = (self.away == 0).then_some(self.home);
        self.home = home;
        self.away = self.rules - rules_there;
    }

    /// Where the rules are that are away from home.
    pub(super) fn away(&self) -> Away {
        match (self.away, self.former) {
            (0, _) => Away::Nowhere,
            (_, Some(former)) => Away::At(former),
            (_, None) => Away::Anywhere,
        }
    }

    pub(super) fn mask(&self) -> PipelineMask {
        self.halves.put(&self.bits)
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one(self.mask().words())
    }

    /// Number of rules that a plan has to reckon with: those in the table and the announced ones.
    pub(super) fn planned_rules(&self) -> u32 {
        self.rules.saturating_add(self.expected)
    }

    /// Counts a new rule. The sample has the slots with the highest hashes. Choosing the latest
    /// rules instead would give samples of rules that were added together and are alike.
    pub(super) fn add(&mut self, slot: u32) {
        self.rules += 1;
        if let Some(least) = self.sample.iter_mut().min_by_key(|slot| hash(**slot))
            && hash(slot) > hash(*least)
        {
            *least = slot;
        }
    }

    /// Counts a rule that is gone.
    pub(super) fn remove(&mut self, slot: u32) {
        self.rules -= 1;
        self.sample.iter_mut().filter(|s| **s == slot).for_each(|s| *s = NONE);
    }

    /// Slots of some rules with this mask.
    pub(super) fn sample(&self) -> impl Iterator<Item = u32> {
        self.sample.into_iter().filter(|slot| *slot != NONE)
    }
}

/// A hash of a slot. [`NONE`] has the lowest one.
fn hash(slot: u32) -> u32 {
    let x = slot.wrapping_add(1).wrapping_mul(0x9e37_79b9);
    (x ^ x >> 15).wrapping_mul(0x85eb_ca6b)
}

/// The subtable that takes new rules of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) subtable: u16,
    /// The mask's local number in that subtable.
    pub(super) local: u16,
}

/// Where the rules of a mask are that are not in the mask's home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Away {
    /// All rules are at home.
    Nowhere,
    /// In this subtable, where the mask has this local number.
    At(Home),
    /// In one or several subtables.
    Anywhere,
}

/// All masks by number.
#[derive(Debug, Default)]
pub(super) struct Masks {
    list: Vec<Option<KnownMask>>,
    vacant: Vec<u32>,
    index: HashTable<u32>,
    /// The number of the mask that was asked for last. Rules of one mask are often added in a row.
    last: Option<u32>,
    /// Number of rules of all masks that are in other subtables than their masks' homes.
    away: usize,
}

impl Masks {
    pub(super) fn find(&mut self, mask: &PipelineMask, hasher: &RandomState) -> Option<u32> {
        self.last = self.peek(mask, hasher);
        self.last
    }

    /// As [`find`](Self::find), without remembering the mask for the next call.
    pub(super) fn peek(&self, mask: &PipelineMask, hasher: &RandomState) -> Option<u32> {
        if let Some(last) = self.last
            && self.is(last, mask)
        {
            return Some(last);
        }
        let hash = hasher.hash_one(mask.words());
        self.index.find(hash, |&at| self.is(at, mask)).copied()
    }

    /// Whether a number is the one of this mask.
    pub(super) fn is(&self, number: u32, mask: &PipelineMask) -> bool {
        let known = self.list[number as usize].as_ref();
        known.is_some_and(|known| known.halves.are_all_of(&known.bits, mask))
    }

    pub(super) fn next_number(&self) -> u32 {
        self.vacant.last().copied().unwrap_or(self.list.len() as u32)
    }

    /// Adds a mask under the number that [`next_number`](Self::next_number) returns.
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

    /// Whether this number is a mask's.
    pub(super) fn is_known(&self, number: u32) -> bool {
        self.list.get(number as usize).is_some_and(Option::is_some)
    }

    pub(super) fn get(&self, number: u32) -> &KnownMask {
        self.list[number as usize].as_ref().expect("a rule has this mask")
    }

    pub(super) fn get_mut(&mut self, number: u32) -> &mut KnownMask {
        self.list[number as usize].as_mut().expect("a rule has this mask")
    }

    /// Gives a mask another home, where it has `rules_there` rules already.
    pub(super) fn move_home(&mut self, number: u32, home: Home, rules_there: u32) {
        let known = self.list[number as usize].as_mut().expect("a rule has this mask");
        self.away -= known.away as usize;
        known.move_home(home, rules_there);
        self.away += known.away as usize;
    }

    /// Counts a rule of a mask that was away from the mask's home and is taken out of its subtable.
    pub(super) fn take_away(&mut self, number: u32) {
        self.get_mut(number).away -= 1;
        self.away -= 1;
    }

    /// Whether some rules are in other subtables than their masks' homes.
    pub(super) fn has_away(&self) -> bool {
        self.away > 0
    }

    /// All numbers from `first` on, each with its mask; `None` where the number is vacant.
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
