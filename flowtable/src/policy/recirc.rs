//! Pipeline state that is kept for the next pass of a packet.
//!
//! Equal states share an id, so that the packets of one flow hit the same cached flow in every
//! pass. A state lives as long as its [`Continuation`] is held. A cached flow holds the
//! continuations that its actions name. The table has weak references only, and forgets a state
//! when its last holder drops it.
//!
//! Translations use this table; frames that hit a cached flow do not. The table is divided into
//! shards with a lock each, so that workers that translate at the same time rarely wait for each
//! other. The hash of a state chooses the shard, and the low bits of the state's id repeat the
//! shard's number.

use super::bridge_id::BridgeId;
use flow::PipelineKey;
use flow::action::Action;
use flow::types::TableId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// Number of low bits of an id that have the shard's number.
const SHARD_BITS: u32 = 4;
const SHARDS: usize = 1 << SHARD_BITS;
/// Number of states of a shard, at most; 65,536 in all shards. A packet that needs one more is
/// dropped.
const MAX_STATES: usize = 4096;

/// A list of actions that a freeze interrupted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Suspended {
    pub(super) table: TableId,
    pub(super) cookie: u64,
    pub(super) actions: Vec<Action>,
}

/// The state with which the next pass of a packet begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FrozenState {
    pub(super) suspended: Vec<Suspended>,
    pub(super) action_set: Vec<Action>,
    pub(super) stack: Vec<(u128, u16)>,
    /// Registers, metadata and ingress port. The headers are zero here, because the next pass
    /// extracts them again.
    pub(super) key: PipelineKey,
    /// The bridge in which the packet is.
    pub(super) bridge: BridgeId,
    pub(super) table: TableId,
    /// Whether the packet has been hashed for a `select` group.
    pub(super) hashed: bool,
}

/// A state with its id. The state lives as long as this value.
#[derive(Debug)]
pub struct Continuation {
    /// The number that stands for the state in
    /// [`DpAction::Recirculate`](flow::verdict::DpAction::Recirculate) and in keys. Never 0, the
    /// number of packets in their first pass.
    pub id: u32,
    pub(super) state: FrozenState,
    hash: u64,
    /// The table to tell when this value is dropped.
    shards: Weak<Shards>,
}

impl Drop for Continuation {
    fn drop(&mut self) {
        if let Some(shards) = self.shards.upgrade() {
            shards.of_id(self.id).lock().forget(self.id, self.hash);
        }
    }
}

/// All states, to be found by id and by value.
#[derive(Debug)]
pub struct RecircTable {
    shards: Arc<Shards>,
    hasher: ahash::RandomState,
}

#[derive(Debug, Default)]
struct Shards([Mutex<Shard>; SHARDS]);

#[derive(Debug, Default)]
struct Shard {
    by_id: BTreeMap<u32, Weak<Continuation>>,
    /// The ids of the states with a hash. There is nearly always one.
    by_hash: BTreeMap<u64, Vec<u32>>,
    /// Number of ids given out so far.
    numbered: u32,
}

impl Shards {
    fn of_id(&self, id: u32) -> &Mutex<Shard> {
        &self.0[id as usize % SHARDS]
    }
}

impl RecircTable {
    /// Makes a table without states. `seed` keys the hash function.
    pub(super) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(17), 0x5eed);
        Self { shards: Arc::default(), hasher }
    }

    /// The state with this id; `None` if nobody holds it any more.
    pub fn get(&self, id: u32) -> Option<Arc<Continuation>> {
        self.shards.of_id(id).lock().by_id.get(&id)?.upgrade()
    }

    /// The continuation of a state: an existing one with an equal state, or a new one. `None` if
    /// the shard is full.
    pub(super) fn allocate(&self, state: FrozenState) -> Option<Arc<Continuation>> {
        let FrozenState { suspended, action_set, stack, key, bridge, table, hashed } = &state;
        let parts = (suspended, action_set, stack, key.words(), bridge, table, hashed);
        let hash = self.hasher.hash_one(parts);
        let shard_no = hash as u32 % SHARDS as u32;
        // Dropping the last reference to a state takes the shard's lock. These references are
        // therefore dropped after the lock.
        let mut others = Vec::new();
        let mut shard = self.shards.of_id(shard_no).lock();
        for id in shard.by_hash.get(&hash).into_iter().flatten() {
            if let Some(known) = shard.by_id.get(id).and_then(Weak::upgrade) {
                if known.state == state {
                    return Some(known);
                }
                others.push(known);
            }
        }
        if shard.by_id.len() >= MAX_STATES {
            return None;
        }
        let id = shard.next_id(shard_no);
        let shards = Arc::downgrade(&self.shards);
        let continuation = Arc::new(Continuation { id, state, hash, shards });
        shard.by_id.insert(id, Arc::downgrade(&continuation));
        shard.by_hash.entry(hash).or_default().push(id);
        Some(continuation)
    }
}

impl Shard {
    fn next_id(&mut self, shard_no: u32) -> u32 {
        loop {
            self.numbered = self.numbered.wrapping_add(1);
            let id = self.numbered << SHARD_BITS | shard_no;
            // 0 is the id of packets in their first pass.
            if id != 0 && !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    fn forget(&mut self, id: u32, hash: u64) {
        self.by_id.remove(&id);
        if let Some(ids) = self.by_hash.get_mut(&hash) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_hash.remove(&hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(n: u64) -> FrozenState {
        FrozenState {
            suspended: Vec::new(),
            action_set: Vec::new(),
            stack: vec![(n.into(), 16)],
            key: PipelineKey::default(),
            bridge: BridgeId::FIRST,
            table: TableId::default(),
            hashed: false,
        }
    }

    fn len(table: &RecircTable) -> (usize, usize) {
        let shards = || table.shards.0.iter().map(|shard| shard.lock());
        (shards().map(|s| s.by_id.len()).sum(), shards().map(|s| s.by_hash.len()).sum())
    }

    #[test]
    fn equal_states_share_an_id_while_somebody_holds_it() {
        let table = RecircTable::new(1);
        let (one, other) = (table.allocate(state(1)).unwrap(), table.allocate(state(2)).unwrap());
        assert_ne!(one.id, other.id);
        assert!(Arc::ptr_eq(&one, &table.allocate(state(1)).unwrap()));
        assert!(Arc::ptr_eq(&one, &table.get(one.id).unwrap()));
        let id = one.id;
        drop(one);
        assert!(table.get(id).is_none());
        assert_ne!(table.allocate(state(1)).unwrap().id, id, "a cached flow may still match it");
    }

    #[test]
    fn states_that_nobody_holds_leave_nothing_behind() {
        let table = RecircTable::new(1);
        for round in 0..10 {
            let held: Vec<_> = (0..1000).map(|n| table.allocate(state(n))).collect();
            assert!(held.iter().all(Option::is_some));
            assert_eq!(len(&table), (1000, 1000), "round {round}");
        }
        assert_eq!(len(&table), (0, 0));
    }

    #[test]
    fn there_is_a_limit_and_it_is_lifted_again() {
        let table = RecircTable::new(1);
        let held: Vec<_> = (0..70_000).filter_map(|n| table.allocate(state(n))).collect();
        assert!((65_000..=65_536).contains(&held.len()), "{}", held.len());
        drop(held);
        assert!(table.allocate(state(0)).is_some());
    }

    #[test]
    fn threads_agree_about_ids() {
        let table = RecircTable::new(1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..20_000 {
                        let held = table.allocate(state(n % 8)).unwrap();
                        assert_eq!(table.get(held.id).unwrap().state, state(n % 8));
                    }
                });
            }
        });
        assert_eq!(len(&table), (0, 0));
    }
}
