//! The first cache: from the hash of a packet's key to the number of the cached flow that packets
//! with this hash belonged to.
//!
//! An entry has four bytes: some bits of the hash and the number of a cached flow. It is a guess; the flow's
//! mask and key decide ([`CachedFlow::covers`](super::CachedFlow::covers)). All microflows of one verdict
//! therefore share one flow, the entries of a hundred thousand microflows fit the second-level cache of a
//! processor, and a wrong or outdated entry costs a comparison and nothing else.
//!
//! Each hash has eight places, a set. The hash is keyed, so that no sender can choose the set of its packets.

use flow::key::{FLOW_WORDS, HEAD_WORDS, HOT_WORDS, KeyRef, RareHeaders, Segment, Segments};

/// Number of places of a set, half a cache line.
const WAYS: usize = 8;
/// Bits of an entry that hold the flow's number plus one, so that an empty entry is zero.
const INDEX_BITS: u32 = 20;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;

/// Number of flows that entries can name.
pub(super) const MAX_FLOWS: usize = INDEX_MASK as usize - 1;

/// Hashes keys with secret numbers: a multiplier for each word, and an initial value.
#[derive(Clone, Debug)]
pub(super) struct KeyHasher([u64; FLOW_WORDS + 1]);

impl KeyHasher {
    pub(super) fn new(seed: u64) -> Self {
        let random = ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(17), 0xe3c);
        Self(std::array::from_fn(|i| random.hash_one(i)))
    }

    /// The hash of the segments that a key has: a sum of products with secret multipliers. Pairs of
    /// words do not depend on each other, so that the processor overlaps the multiplications.
    ///
    /// Always inlined: the compiler leaves off doing so when a further place computes hashes, and a hit takes
    /// four instructions more then.
    #[inline(always)]
    pub(super) fn hash(&self, key: KeyRef<'_>) -> u64 {
        const { assert!(HEAD_WORDS == 6 && HOT_WORDS == 9, "every hot word goes into the hash") }
        let w = key.hot.words();
        let s = &self.0;
        let pair = |i: usize| fold(w[i] ^ s[i], w[i + 1] ^ s[i + 1]);
        let mut sum = pair(0).wrapping_add(pair(2)).wrapping_add(pair(4));
        let segments = key.hot.segments;
        if segments.meets(Segments::BEHIND_HEAD) {
            if segments.meets(Segment::IPV6.id) {
                sum = sum.wrapping_add(pair(6)).wrapping_add(fold(w[8] ^ s[8], s[9]));
            }
            // The hardware addresses of ARP are the rare segment that most frames with one have, and its words
            // have constant places.
            if segments.meets(Segment::ARP.id) {
                const { assert!(Segment::ARP.len == 2) }
                let (i, rare) = (Segment::ARP.start, key.rare.words());
                sum = sum.wrapping_add(fold(rare[i - HOT_WORDS] ^ s[i], s[i + 1]));
                sum = sum.wrapping_add(fold(rare[i + 1 - HOT_WORDS] ^ s[i + 1], s[i + 2]));
            }
            if segments.meets(Segments::VERY_RARE) {
                return self.hash_with_rare(sum, segments, key.rare);
            }
        }
        fold(sum, s[FLOW_WORDS])
    }

    /// As [`hash`](Self::hash), never inlined.
    #[inline(never)]
    pub(super) fn hash_by_call(&self, key: KeyRef<'_>) -> u64 {
        self.hash(key)
    }

    /// The hash of a key that has rare segments other than that of ARP. `sum` is the sum over its other words.
    /// A tail call to a separate function spares plain frames the saving of registers.
    #[inline(never)]
    fn hash_with_rare(&self, mut sum: u64, segments: Segments, rare: &RareHeaders) -> u64 {
        let (words, s) = (rare.words(), &self.0);
        for &Segment { start, len, .. } in segments.and(Segments::VERY_RARE).behind_head() {
            let words = &words[start - HOT_WORDS..][..len];
            for (word, secrets) in words.iter().zip(s[start..=start + len].windows(2)) {
                sum = sum.wrapping_add(fold(word ^ secrets[0], secrets[1]));
            }
        }
        fold(sum, s[FLOW_WORDS])
    }

    /// The hash of some words. Their order matters.
    #[inline]
    pub(super) fn hash_words(&self, first: u64, words: impl Iterator<Item = (usize, u64)>) -> u64 {
        let s = &self.0;
        let sum = words.fold(first, |sum, (i, word)| {
            sum.wrapping_add(fold(word ^ s[i], s[i + 1])).rotate_left(5)
        });
        fold(sum ^ s[0], s[FLOW_WORDS])
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

type Set = [u32; WAYS];

/// The first cache of one worker.
#[derive(Debug)]
pub(super) struct Signatures {
    sets: Vec<Set>,
    /// Number of sets minus one. The number of sets is a power of two.
    set_mask: usize,
}

impl Signatures {
    /// Makes a cache with room for `entries` entries, rounded up to a power of two; 0 turns it off.
    pub(super) fn new(entries: usize) -> Self {
        let sets = match entries {
            0 => 0,
            n => n.clamp(WAYS, 1 << 24).next_power_of_two() / WAYS,
        };
        Self { sets: vec![Set::default(); sets], set_mask: sets.wrapping_sub(1) }
    }

    /// How many entries the cache can hold.
    pub(super) fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    #[inline]
    fn set(&self, hash: u64) -> Option<&Set> {
        self.sets.get(hash as usize & self.set_mask)
    }

    /// The number of a flow that a packet with this hash may belong to.
    #[inline]
    pub(super) fn first(&self, hash: u64) -> Option<u32> {
        let set = self.set(hash)?;
        let tag = tag(hash);
        // All places are compared without a branch; a search that stops early would branch at each place. To
        // combine the numbers by OR takes a vector instruction each; to choose one of them would take four.
        // Only one entry of a set has the tag.
        let named = set.map(|entry| {
            let is_same = (entry ^ tag) & !INDEX_MASK == 0;
            if is_same { entry & INDEX_MASK } else { 0 }
        });
        named.into_iter().fold(0, |number, other| number | other).checked_sub(1)
    }

    /// The place of the entry that names this flow for packets with this hash.
    #[inline]
    pub(super) fn place(&self, hash: u64, index: u32) -> Option<usize> {
        let at = hash as usize & self.set_mask;
        let entry = tag(hash) | (index + 1);
        // Without a branch for each place, as in `first`.
        let ways = self.sets.get(at)?.iter().zip(1..);
        let way = ways.fold(0, |way, (other, n)| if *other == entry { n } else { way });
        Some(at * WAYS + usize::checked_sub(way, 1)?)
    }

    /// Remembers that packets with this hash belong to the flow number `index`, and no other one. In a full set
    /// one of two entries goes: the one whose flow is gone, or the one that, by `used`, was out of use for
    /// longer. Returns whether an entry had to go.
    ///
    /// The hash chooses the two entries. Evicting the oldest of all entries would be the worst
    /// choice when more flows than places take turns: the oldest is the next one to come, and no
    /// flow would ever be found. With two candidates some flows compete for a place, and the other
    /// ones keep theirs.
    pub(super) fn insert<U: Ord>(
        &mut self,
        hash: u64,
        index: u32,
        used: impl Fn(u32) -> Option<U>,
    ) -> bool {
        let at = hash as usize & self.set_mask;
        let Some(set) = self.sets.get_mut(at) else {
            return false;
        };
        let entry = tag(hash) | (index + 1);
        if let Some(way) = room(set, entry) {
            set[way] = entry;
            return false;
        }
        let [first, second] = [40, 43].map(|bit| (hash >> bit) as usize % WAYS);
        let used = |way: usize| used((set[way] & INDEX_MASK) - 1);
        let way = if used(second) < used(first) { second } else { first };
        set[way] = entry;
        true
    }

    /// Where [`put`](Self::put) can write an entry, and whether another one has to go for that, which it has
    /// only if `may_go` says so of its place. `None` if there is no room.
    pub(super) fn find_room(
        &self,
        hash: u64,
        index: u32,
        may_go: impl FnOnce(usize) -> bool,
    ) -> Option<(usize, bool)> {
        let at = hash as usize & self.set_mask;
        let (way, has_to_go) = match room(self.sets.get(at)?, tag(hash) | (index + 1)) {
            Some(way) => (way, false),
            None => ((hash >> 40) as usize % WAYS, true),
        };
        let place = at * WAYS + way;
        (!has_to_go || may_go(place)).then_some((place, has_to_go))
    }

    /// Writes the entry that names a flow for packets with this hash, at a place that
    /// [`find_room`](Self::find_room) has found for it.
    pub(super) fn put(&mut self, place: usize, hash: u64, index: u32) {
        self.sets[place / WAYS][place % WAYS] = tag(hash) | (index + 1);
    }
}

/// The way of a set where this entry belongs: that of the entry with the same tag if there is one, or else an
/// empty one. An entry with the same tag is outdated as a rule, because the flow that it names is gone or has
/// another number now. Beside it, the new one would not be found ([`Signatures::first`]).
fn room(set: &Set, entry: u32) -> Option<usize> {
    let is_empty = |e: u32| e & INDEX_MASK == 0;
    let has_tag = |e: u32| !is_empty(e) && (e ^ entry) & !INDEX_MASK == 0;
    let of_tag = set.iter().position(|&e| has_tag(e));
    of_tag.or_else(|| set.iter().position(|&e| is_empty(e)))
}

#[inline]
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 & !INDEX_MASK
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::FlowKey;
    use flow::key::HotKey;

    /// Every flow exists, and was used at the time that is its number.
    fn by_number(flow: u32) -> Option<u32> {
        Some(flow)
    }

    /// A hash with a tag of its own that looks at these two places of a full set.
    fn hash(n: u32, ways: [u64; 2]) -> u64 {
        u64::from(n) << 52 | ways[0] << 40 | ways[1] << 43
    }

    /// One set, full of flows 10 to 17.
    fn full_set() -> Signatures {
        let mut cache = Signatures::new(WAYS);
        (0..8).for_each(|n| assert!(!cache.insert(hash(n, [0, 0]), n + 10, by_number)));
        cache
    }

    #[test]
    fn an_inserted_flow_is_found() {
        let mut cache = Signatures::new(64);
        assert_eq!(cache.first(0x1234_5678_0000_0001), None);
        assert!(!cache.insert(0x1234_5678_0000_0001, 0, by_number));
        assert_eq!(cache.first(0x1234_5678_0000_0001), Some(0));
        assert_eq!(cache.first(0x7234_5678_0000_0001), None, "another signature");
        assert_eq!(cache.first(0x1234_5678_0000_0002), None, "another set");
    }

    #[test]
    fn a_flow_that_comes_back_with_another_number_is_found() {
        // In a set with room, and in a full one.
        for mut cache in [Signatures::new(WAYS), full_set()] {
            assert!(!cache.insert(hash(3, [0, 0]), 13, by_number));
            assert!(!cache.insert(hash(3, [0, 0]), 20, by_number));
            assert_eq!(cache.first(hash(3, [0, 0])), Some(20));
            let (place, has_to_go) = cache.find_room(hash(3, [0, 0]), 41, |_| false).unwrap();
            assert!(!has_to_go);
            cache.put(place, hash(3, [0, 0]), 41);
            assert_eq!(cache.first(hash(3, [0, 0])), Some(41));
            assert_eq!(cache.place(hash(3, [0, 0]), 41), Some(place));
        }
    }

    #[test]
    fn of_two_entries_of_a_full_set_the_older_goes() {
        let mut cache = full_set();
        assert!(cache.insert(hash(8, [6, 3]), 30, by_number));
        assert_eq!(cache.first(hash(3, [0, 0])), None);
        assert_eq!(cache.first(hash(8, [6, 3])), Some(30));
        assert!(cache.insert(hash(9, [2, 3]), 31, by_number));
        assert_eq!(cache.first(hash(2, [0, 0])), None);
        assert_eq!(cache.first(hash(0, [0, 0])), Some(10));
    }

    #[test]
    fn an_entry_whose_flow_is_gone_goes_first() {
        let mut cache = full_set();
        let gone = |flow| (flow != 15).then_some(flow);
        assert!(cache.insert(hash(9, [1, 5]), 9, gone));
        assert_eq!(cache.first(hash(5, [0, 0])), None);
        assert_eq!(cache.first(hash(9, [1, 5])), Some(9));
    }

    #[test]
    fn of_more_flows_than_places_that_come_in_turn_most_are_found() {
        let mut cache = Signatures::new(4096);
        let hasher = KeyHasher::new(1);
        let hashes: Vec<u64> = (0..4096)
            .map(|n| {
                let mut key = FlowKey::default();
                key.headers.tp_src.set(n);
                hasher.hash(key.parts())
            })
            .collect();
        let mut found = 0;
        for _ in 0..10 {
            for (flow, &hash) in (0..).zip(&hashes) {
                let is_found = cache.first(hash) == Some(flow);
                found += u32::from(is_found);
                if !is_found {
                    cache.insert(hash, flow, |_| Some(0));
                }
            }
        }
        assert!(found > 25_000, "{found} of 40,960, of which the first 4,096 cannot be");
    }

    #[test]
    fn a_cache_without_places_remembers_nothing() {
        let mut cache = Signatures::new(0);
        assert!(!cache.insert(1, 1, by_number));
        assert_eq!(cache.first(1), None);
        assert_eq!(cache.capacity(), 0);
    }

    #[test]
    fn keys_that_differ_in_one_bit_have_different_hashes() {
        let hasher = KeyHasher::new(1);
        let mut base = FlowKey::default();
        base.headers.segments =
            flow::key::SEGMENTS.iter().fold(Segments::NETWORK, |all, s| all.or(s.id));
        let hash = hasher.hash(base.parts());
        let counted = base.headers.segments;
        for word in 0..FLOW_WORDS {
            for bit in 0..64 {
                let mut key = base;
                key.words_mut()[word] ^= 1 << bit;
                // Without its bit, a segment is not looked at.
                if key.headers.segments == counted {
                    assert_ne!(hasher.hash(key.parts()), hash, "word {word} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn words_of_segments_that_a_key_does_not_have_do_not_count() {
        let hasher = KeyHasher::new(1);
        let (hot, mut rare) = (HotKey::default(), RareHeaders::default());
        let hash = hasher.hash(KeyRef { hot: &hot, rare: &rare });
        rare.mpls_lse[0].set(5);
        assert_eq!(hasher.hash(KeyRef { hot: &hot, rare: &rare }), hash);
    }
}
