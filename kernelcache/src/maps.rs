//! The shared memory, as operations on flows, programs, masks and counts.

use crate::layout::{
    BUCKETS, COUNT_WORDS, FLOWS, KEY_WORDS, MASKS, STEP_WORDS, STEPS, TUNNEL_PROBES, TUNNELS, WAYS,
    conf, flow_words, tunnel_words,
};
use ports::SharedWords;
use std::sync::atomic::Ordering;

/// The words of a masked key or of a mask.
pub(crate) type KeyWords = [u64; KEY_WORDS];
/// The words of a step.
pub(crate) type Step = [u64; STEP_WORDS];

/// The shared memory. Its owner holds a lock while it writes; the programs read at any time.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) conf: SharedWords,
    pub(crate) table: SharedWords,
    pub(crate) flows: SharedWords,
    pub(crate) programs: SharedWords,
    pub(crate) counts: SharedWords,
    pub(crate) tunnels: SharedWords,
    pub(crate) processors: usize,
}

/// What all processors have counted for a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Time of the last packet, `CLOCK_MONOTONIC` in nanoseconds; 0 if there was none.
    pub(crate) used_ns: u64,
    /// Frames that the kernel could not put into a tunnel. They are not among the packets.
    pub(crate) failed: u64,
}

/// A flow as the programs need it.
#[derive(Debug)]
pub(crate) struct FlowWords {
    pub(crate) program: u32,
    pub(crate) mask_version: u32,
    pub(crate) max_size: u64,
    pub(crate) max_total: u64,
    pub(crate) key: KeyWords,
}

/// The outer headers by which the programs know the frames of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OuterHeaders {
    /// The addresses: source in the lower half, destination in the upper, each in network byte order.
    pub(crate) addresses: u64,
    /// The second word of the tunnel's header and the UDP destination port, in network
    /// byte order, and the kind.
    pub(crate) header: u64,
}

impl Maps {
    /// Begins with this seed, no masks, and no flow that counts or can be found. Marks begin with
    /// `nonce`, unless they begin with another number already, by which programs know the marks of frames
    /// that are on their way.
    pub(crate) fn begin(&self, nonce: u64, seed: u64) {
        self.set_generation(u64::MAX);
        (0..MASKS).for_each(|place| self.remove_mask(place));
        (0..BUCKETS * WAYS).for_each(|entry| self.unfile(entry));
        (0..TUNNELS).for_each(|entry| self.remove_tunnel(entry));
        let own = self.conf.at(conf::NONCE);
        if own.load(Ordering::Relaxed) == 0 {
            own.store(nonce, Ordering::Relaxed);
        }
        self.conf.at(conf::SEED).store(seed, Ordering::Relaxed);
        self.conf.at(conf::MASK_COUNT).store(MASKS as u64, Ordering::Relaxed);
    }

    /// From now on no flow with an older stamp is used for frames that arrive.
    pub(crate) fn set_generation(&self, generation: u64) {
        self.conf.at(conf::GENERATION).store(generation, Ordering::SeqCst);
    }

    /// Puts a mask into a place that has none, under which there is no flow.
    pub(crate) fn put_mask(&self, place: usize, version: u32, words: &KeyWords) {
        let at = conf::mask(place);
        for (i, word) in words.iter().enumerate() {
            self.conf.at(at + 1 + i).store(*word, Ordering::Relaxed);
        }
        self.conf.at(at).store(version.into(), Ordering::Release);
    }

    /// Takes a mask out, so that frames are not looked up under it.
    pub(crate) fn remove_mask(&self, place: usize) {
        self.conf.at(conf::mask(place)).store(0, Ordering::Release);
    }

    /// Puts a program into a place that no flow uses.
    pub(crate) fn put_program(&self, place: usize, steps: &[Step]) {
        let first = place * STEPS * STEP_WORDS;
        for (i, word) in steps.iter().flatten().enumerate() {
            self.programs.at(first + i).store(*word, Ordering::Relaxed);
        }
    }

    /// Puts a flow into a place that has none.
    pub(crate) fn put_flow(&self, place: usize, flow: &FlowWords, stamp: u64) {
        let first = place * flow_words::WORDS;
        for (i, word) in flow.key.iter().enumerate() {
            self.flows.at(first + flow_words::KEY + i).store(*word, Ordering::Relaxed);
        }
        let program_and_mask = u64::from(flow.program) | u64::from(flow.mask_version) << 32;
        let at = first + flow_words::PROGRAM_AND_MASK;
        self.flows.at(at).store(program_and_mask, Ordering::Relaxed);
        self.flows.at(first + flow_words::MAX_SIZE).store(flow.max_size, Ordering::Relaxed);
        self.flows.at(first + flow_words::MAX_TOTAL).store(flow.max_total, Ordering::Relaxed);
        self.set_stamp(place, stamp);
    }

    /// The generation at which the verdict of a flow was last known to be right.
    pub(crate) fn stamp(&self, place: usize) -> u64 {
        self.flows.at(place * flow_words::WORDS + flow_words::STAMP).load(Ordering::Relaxed)
    }

    /// Says up to which generation the verdict of a flow is known to be right; 0: it must not be used.
    pub(crate) fn set_stamp(&self, place: usize, stamp: u64) {
        let at = place * flow_words::WORDS + flow_words::STAMP;
        self.flows.at(at).store(stamp, Ordering::Release);
    }

    /// The masked key of a flow, and the version of its mask.
    pub(crate) fn key(&self, place: usize) -> (KeyWords, u32) {
        let first = place * flow_words::WORDS;
        let word = |i: usize| self.flows.at(first + i).load(Ordering::Relaxed);
        let key = std::array::from_fn(|i| word(flow_words::KEY + i));
        (key, (word(flow_words::PROGRAM_AND_MASK) >> 32) as u32)
    }

    /// The hash under which a masked key is filed, as the programs compute it.
    pub(crate) fn hash(&self, mask_version: u32, key: &KeyWords) -> u64 {
        let seed = self.conf.at(conf::SEED).load(Ordering::Relaxed);
        key.iter().fold(seed.wrapping_add(mask_version.into()), |hash, word| mix(hash, *word))
    }

    /// Puts outer headers into the table, from which moment frames that have them have `number` in their key.
    /// Returns the entry; `None` if there is no room.
    pub(crate) fn put_tunnel(&self, outer: OuterHeaders, number: u32) -> Option<usize> {
        let hash = mix(mix(0, outer.addresses), outer.header);
        let mut entries = (0..TUNNEL_PROBES).map(|i| (hash as usize).wrapping_add(i) % TUNNELS);
        let word = |entry: usize, word| self.tunnels.at(entry * tunnel_words::WORDS + word);
        let entry = entries
            .find(|&entry| word(entry, tunnel_words::NUMBER).load(Ordering::Relaxed) == 0)?;
        word(entry, tunnel_words::ADDRESSES).store(outer.addresses, Ordering::Relaxed);
        word(entry, tunnel_words::HEADER).store(outer.header, Ordering::Relaxed);
        word(entry, tunnel_words::NUMBER).store(number.into(), Ordering::Release);
        Some(entry)
    }

    /// Takes outer headers out of the table.
    pub(crate) fn remove_tunnel(&self, entry: usize) {
        let number = self.tunnels.at(entry * tunnel_words::WORDS + tunnel_words::NUMBER);
        number.store(0, Ordering::Release);
    }

    /// The entries of the bucket of a hash, as indices into the table.
    fn bucket(hash: u64) -> std::ops::Range<usize> {
        let first = (hash as usize % BUCKETS) * WAYS;
        first..first + WAYS
    }

    /// The entry that names a flow with this hash of which `is_wanted` is true: its
    /// index, and the flow's place.
    pub(crate) fn find(
        &self,
        hash: u64,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Option<(usize, usize)> {
        Self::bucket(hash).find_map(|index| {
            let entry = self.table.at(index).load(Ordering::Relaxed);
            let place = entry as usize % FLOWS;
            (entry != 0 && entry >> 32 == hash >> 32 && is_wanted(place)).then_some((index, place))
        })
    }

    /// An empty entry of the bucket of a hash; `None` if there is none.
    pub(crate) fn empty_entry(&self, hash: u64) -> Option<usize> {
        Self::bucket(hash).find(|index| self.table.at(*index).load(Ordering::Relaxed) == 0)
    }

    /// Files a flow, from which moment frames find it.
    pub(crate) fn file(&self, entry: usize, hash: u64, place: usize) {
        self.table.at(entry).store(hash >> 32 << 32 | place as u64, Ordering::Release);
    }

    /// Empties an entry, from which moment frames do not find its flow any more.
    pub(crate) fn unfile(&self, entry: usize) {
        self.table.at(entry).store(0, Ordering::Release);
    }

    /// What was counted for a place since the start.
    pub(crate) fn count(&self, place: usize) -> Count {
        let mut sum = Count::default();
        for processor in 0..self.processors {
            let first = (processor * FLOWS + place) * COUNT_WORDS;
            let word = |i: usize| self.counts.at(first + i).load(Ordering::Relaxed);
            sum.packets += word(0);
            sum.bytes += word(1);
            sum.used_ns = sum.used_ns.max(word(2));
            sum.failed += word(3);
        }
        sum
    }
}

fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 32
}
