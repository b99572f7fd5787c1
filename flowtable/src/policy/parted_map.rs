//! A hash map whose growth nobody has to wait for.
//!
//! A hash map that is full moves all of its entries to a table of twice the size. With a hundred thousand
//! entries this takes milliseconds, in which the writer has the lock that workers wait for. A parted map is cut
//! into parts by hash, each a hash table of its own, and the parts grow one by one.

use ahash::RandomState;
use hashbrown::HashTable;
use std::borrow::Borrow;
use std::hash::Hash;

/// Number of parts. Each has about 4000 of a million entries.
const PARTS: usize = 256;

/// A hash map in [`PARTS`] parts. An empty one that has never had an entry has no memory.
#[derive(Debug)]
pub(super) struct PartedMap<K, V> {
    /// Empty until the first entry comes.
    parts: Box<[HashTable<(K, V)>]>,
    len: usize,
    hasher: RandomState,
}

impl<K: Hash + Eq, V> PartedMap<K, V> {
    /// An empty map that hashes with `hasher`.
    pub(super) fn new(hasher: RandomState) -> Self {
        Self { parts: Box::default(), len: 0, hasher }
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The value of a key, or `None` if the map does not have the key.
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let part = self.parts.get(part_of(hash))?;
        part.find(hash, |(known, _)| known.borrow() == key).map(|(_, value)| value)
    }

    /// As [`get`](Self::get), for a change of the value.
    pub(super) fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let part = self.parts.get_mut(part_of(hash))?;
        part.find_mut(hash, |(known, _)| known.borrow() == key).map(|(_, value)| value)
    }

    /// Sets the value of a key. Returns the value that the key had before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(known) = self.get_mut(&key) {
            return Some(std::mem::replace(known, value));
        }
        self.add(key, value);
        None
    }

    /// The value of a key, which gets the default value if the map does not have the key.
    pub(super) fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
        K: Clone,
    {
        if self.get(&key).is_none() {
            self.add(key.clone(), V::default());
        }
        self.get_mut(&key).expect("the key was there or has been added")
    }

    /// Removes a key. Returns the value that the key had.
    pub(super) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let part = self.parts.get_mut(part_of(hash))?;
        let entry = part.find_entry(hash, |(known, _)| known.borrow() == key).ok()?;
        let ((_, value), _) = entry.remove();
        self.len -= 1;
        Some(value)
    }

    /// Every entry, in no particular order: too much for one lock but in tests.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.parts.iter().flatten()
    }

    /// Adds a key that the map does not have.
    fn add(&mut self, key: K, value: V) {
        if self.parts.is_empty() {
            self.parts = (0..PARTS).map(|_| HashTable::new()).collect();
        }
        let hash = self.hasher.hash_one(&key);
        let hasher = &self.hasher;
        self.parts[part_of(hash)]
            .insert_unique(hash, (key, value), |(key, _)| hasher.hash_one(key));
        self.len += 1;
    }
}

/// The part for a hash. A hash table takes an entry's place from the low bits of the hash and the
/// entry's tag from the high ones, so the part is made of bits between them.
fn part_of(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::Arc;

    #[test]
    fn a_parted_map_does_what_a_hash_map_does() {
        let mut map = PartedMap::new(RandomState::with_seeds(1, 2, 3, 4));
        let mut expected = HashMap::new();
        let mut random = 1u64;
        for step in 0..20_000u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = (random >> 33) % 3000;
            match random >> 60 {
                0..8 => assert_eq!(map.insert(key, step), expected.insert(key, step)),
                8..10 => {
                    *map.or_default(key) += 1;
                    *expected.entry(key).or_default() += 1;
                }
                _ => assert_eq!(map.remove(&key), expected.remove(&key)),
            }
            assert_eq!((map.get(&key), map.len()), (expected.get(&key), expected.len()));
        }
        let mut entries: Vec<_> = map.iter().copied().collect();
        entries.sort_unstable();
        let mut all: Vec<_> = expected.into_iter().collect();
        all.sort_unstable();
        assert_eq!(entries, all);
    }

    #[test]
    fn names_are_found_without_a_copy_of_them() {
        let mut map = PartedMap::new(RandomState::with_seeds(1, 2, 3, 4));
        assert_eq!(map.get("web"), None);
        assert_eq!(map.insert(Arc::<str>::from("web"), 1), None);
        assert_eq!((map.get("web"), map.get("dns")), (Some(&1), None));
        assert_eq!((map.remove("dns"), map.remove("web")), (None, Some(1)));
        assert_eq!(map.len(), 0);
    }

    #[test]
    fn the_parts_share_the_entries_evenly() {
        let mut map = PartedMap::new(RandomState::with_seeds(1, 2, 3, 4));
        for n in 0..256_000u32 {
            map.insert(n, ());
        }
        let largest = map.parts.iter().map(HashTable::len).max();
        assert!(largest < Some(1200), "{largest:?} of 1000 on average");
    }
}
