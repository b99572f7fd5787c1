//! Pipeline state that is kept for the next pass of a packet.
//!
//! Equal states share an id, so that the packets of one flow hit the same cached flow in every
//! pass. A state lives as long as its [`Continuation`] is held. A cached flow holds the
//! continuations that its actions name. The table has weak references only, and forgets a state
//! when its last holder drops it.
//!
//! The ports share the table fairly: a port may have as many states kept as there is room for other
//! ports' states. So a port that makes ever new states leaves half of the room, and two of them leave
//! a third. A state beyond that is not refused, but lasts for the frame only that needs it: its cached
//! flow is not kept, and the next frame is translated again, within the budget of new flows.
//!
//! Rules decide how large a state is: a list of actions, an action set and a stack may have
//! hundreds of kilobytes. So a state takes room in proportion to its size, and all states together
//! have a bounded size in memory.
//!
//! Translations use this table; frames that hit a cached flow do not. The table is divided into shards with a
//! lock each, so that workers that translate at the same time rarely wait for each other. The hash of a state
//! chooses the shard, and the low bits of the state's id repeat the shard's number.

use super::bridge_id::{BridgeId, PortRef};
use flow::PipelineKey;
use flow::action::{Action, list_size};
use flow::types::TableId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

/// Number of low bits of an id that have the shard's number.
const SHARD_BITS: u32 = 4;
const SHARDS: usize = 1 << SHARD_BITS;
/// Room of a shard for states that are kept; 65,536 in all shards. A usual state takes 1.
const MAX_STATES: usize = 4096;
/// Room of a shard for further states, each for one frame. A batch has 64 frames, each of which goes
/// round eight times at most. A packet that needs more is dropped.
const MAX_PASSING: usize = 4096;
/// A state takes one more for each of these bytes of its lists and its stack.
const ROOM: usize = 1024;

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
    /// extracts them again, except that the tunnel's fields are here if `has_tunnel` says so.
    pub(super) key: PipelineKey,
    /// Whether rules have changed the fields of the tunnel, so that the next pass has them from
    /// `key`, not from the frame.
    pub(super) has_tunnel: bool,
    /// The bridge in which the packet is.
    pub(super) bridge: BridgeId,
    pub(super) table: TableId,
    /// Whether the packet has been hashed for a `select` group.
    pub(super) hashed: bool,
    /// Whether the packet is still known to belong to a connection, if it does.
    pub(super) keeps_connection: bool,
    /// The priority of outputs that follow; 0 as long as no rule has chosen a queue.
    pub(super) priority: u32,
}

impl FrozenState {
    /// The room that the state takes in the table.
    fn room(&self) -> usize {
        let lists = self.suspended.iter().map(|list| list_size(&list.actions)).sum::<usize>();
        // An action takes 48 bytes in memory where `list_size` says 16.
        let actions = 3 * (lists + list_size(&self.action_set));
        1 + (actions + size_of_val(&self.stack[..])) / ROOM
    }
}

/// A state with its id. The state lives as long as this value.
#[derive(Debug)]
pub struct Continuation {
    /// The number that stands for the state in
    /// [`DpAction::Recirculate`](flow::verdict::DpAction::Recirculate) and in keys. Never 0, the
    /// number of packets in their first pass.
    pub id: u32,
    pub(super) state: FrozenState,
    /// The port that the packet came in on, whose share of the table the state takes.
    owner: PortRef,
    /// Whether the state is beyond the share of its port. Such a state is for one frame, and no flow
    /// that depends on the state is to be cached.
    pub(super) is_passing: bool,
    /// The room that the state takes in the table.
    room: usize,
    hash: u64,
    /// The table to tell when this value is dropped.
    shards: Weak<Shards>,
}

impl Continuation {
    /// The bridge in which the packet is.
    pub fn bridge(&self) -> BridgeId {
        self.state.bridge
    }

    /// `actset_output` of the packet, which no message carries.
    pub fn actset_output(&self) -> u32 {
        self.state.key.actset_output.get()
    }

    /// The room that the state takes, in units of about a kilobyte.
    pub fn room(&self) -> usize {
        self.room
    }
}

impl Drop for Continuation {
    fn drop(&mut self) {
        if let Some(shards) = self.shards.upgrade() {
            shards.of_id(self.id).lock().forget(self);
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
    /// The room that the states that are kept take, of all ports.
    kept: usize,
    /// The same for each port that has states.
    kept_of: HashMap<PortRef, usize>,
    /// The room that the states for one frame take.
    passing: usize,
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

    /// The continuation of a state of a packet that came in on `owner`: an existing one with an equal
    /// state, or a new one. `None` if too many frames are going round at once.
    pub(super) fn allocate(&self, state: FrozenState, owner: PortRef) -> Option<Arc<Continuation>> {
        let FrozenState {
            suspended,
            action_set,
            stack,
            key,
            has_tunnel,
            bridge,
            table,
            hashed,
            keeps_connection,
            priority,
        } = &state;
        let flags = (hashed, keeps_connection, has_tunnel, priority);
        let parts = (suspended, action_set, stack, key.words(), bridge, table, flags);
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
        let room = state.room();
        let is_passing = !shard.keep(owner, room);
        if is_passing {
            if shard.passing + room > MAX_PASSING {
                return None;
            }
            shard.passing += room;
        }
        let id = shard.next_id(shard_no);
        let shards = Arc::downgrade(&self.shards);
        let continuation = Continuation { id, state, owner, is_passing, room, hash, shards };
        let continuation = Arc::new(continuation);
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

    /// Counts a state that is kept for a port and takes some room. Returns false, and counts nothing, if the
    /// port would have more than its share.
    fn keep(&mut self, owner: PortRef, room: usize) -> bool {
        let kept = self.kept_of.get(&owner).copied().unwrap_or(0);
        let has_room = self.kept + kept + room <= MAX_STATES;
        if has_room {
            self.kept += room;
            self.kept_of.insert(owner, kept + room);
        }
        has_room
    }

    fn forget(&mut self, Continuation { id, hash, owner, is_passing, room, .. }: &Continuation) {
        if *is_passing {
            self.passing -= room;
        } else {
            self.kept -= room;
            if let Some(kept) = self.kept_of.get_mut(owner) {
                *kept -= room;
                if *kept == 0 {
                    self.kept_of.remove(owner);
                }
            }
        }
        self.by_id.remove(id);
        if let Some(ids) = self.by_hash.get_mut(hash) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_hash.remove(hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::types::OfPort;

    fn state(n: u64) -> FrozenState {
        FrozenState {
            suspended: Vec::new(),
            action_set: Vec::new(),
            stack: vec![(n.into(), 16)],
            key: PipelineKey::default(),
            bridge: BridgeId::FIRST,
            table: TableId::default(),
            hashed: false,
            keeps_connection: false,
            priority: 0,
            has_tunnel: false,
        }
    }

    fn port(n: u16) -> PortRef {
        PortRef { bridge: BridgeId::FIRST, port: OfPort(n) }
    }

    fn len(table: &RecircTable) -> (usize, usize) {
        let shards = || table.shards.0.iter().map(|shard| shard.lock());
        (shards().map(|s| s.by_id.len()).sum(), shards().map(|s| s.by_hash.len()).sum())
    }

    #[test]
    fn equal_states_share_an_id_while_somebody_holds_it() {
        let table = RecircTable::new(1);
        let (one, other) = (
            table.allocate(state(1), port(1)).unwrap(),
            table.allocate(state(2), port(1)).unwrap(),
        );
        assert_ne!(one.id, other.id);
        assert!(Arc::ptr_eq(&one, &table.allocate(state(1), port(1)).unwrap()));
        assert!(Arc::ptr_eq(&one, &table.get(one.id).unwrap()));
        let id = one.id;
        drop(one);
        assert!(table.get(id).is_none());
        assert_ne!(
            table.allocate(state(1), port(1)).unwrap().id,
            id,
            "a cached flow may still match it"
        );
    }

    #[test]
    fn states_that_nobody_holds_leave_nothing_behind() {
        let table = RecircTable::new(1);
        for round in 0..10 {
            let held: Vec<_> = (0..1000).map(|n| table.allocate(state(n), port(1))).collect();
            assert!(held.iter().all(Option::is_some));
            assert_eq!(len(&table), (1000, 1000), "round {round}");
        }
        assert_eq!(len(&table), (0, 0));
    }

    /// How many of this number of states of a port are kept; all of them are given to `held`.
    fn kept(
        table: &RecircTable,
        owner: PortRef,
        number: u64,
        held: &mut Vec<Arc<Continuation>>,
    ) -> usize {
        let first = u64::from(owner.port.0) << 32;
        let states = (first..first + number).filter_map(|n| table.allocate(state(n), owner));
        let before = held.len();
        held.extend(states);
        held[before..].iter().filter(|continuation| !continuation.is_passing).count()
    }

    #[test]
    fn a_port_that_makes_ever_new_states_leaves_room_for_others() {
        let (table, mut held) = (RecircTable::new(1), Vec::new());
        let greedy = kept(&table, port(1), 60_000, &mut held);
        assert!((32_000..=32_768).contains(&greedy), "{greedy}");
        assert_eq!(kept(&table, port(2), 1000, &mut held), 1000);
        let second = kept(&table, port(3), 30_000, &mut held);
        assert!((15_000..=16_384).contains(&second), "{second}");
        assert_eq!(kept(&table, port(4), 1000, &mut held), 1000);
        drop(held);
        assert_eq!(len(&table), (0, 0));
        assert!(table.shards.0.iter().all(|shard| shard.lock().kept_of.is_empty()));
    }

    #[test]
    fn states_beyond_the_share_of_a_port_last_for_a_frame() {
        let (table, mut held) = (RecircTable::new(1), Vec::new());
        kept(&table, port(1), 50_000, &mut held);
        for n in 0..200_000u64 {
            let passing =
                table.allocate(state((n + 1) << 48), port(1)).expect("the others are gone");
            assert!(passing.is_passing && table.get(passing.id).is_some());
        }
        // There is a limit to these, too, and it is lifted again.
        let count = held.len() + kept(&table, port(2), 0, &mut held);
        let all = (0..200_000u64).filter_map(|n| table.allocate(state((n + 1) << 40), port(1)));
        held.extend(all);
        assert!(held.len() > count && held.len() <= SHARDS * (MAX_STATES + MAX_PASSING));
        drop(held);
        assert!(!table.allocate(state(0), port(1)).unwrap().is_passing);
    }

    #[test]
    fn a_large_state_takes_the_room_of_many() {
        let (table, mut held) = (RecircTable::new(1), Vec::new());
        for n in 0..10_000 {
            let large = FrozenState { stack: vec![(n, 128); 4096], ..state(0) };
            held.extend(table.allocate(large, port(1)));
        }
        let bytes: usize = held.iter().map(|c| size_of_val(&c.state.stack[..])).sum();
        let most = SHARDS * (MAX_STATES + MAX_PASSING) * ROOM;
        assert!(bytes > most / 2 && bytes <= most, "{bytes} bytes");
        assert_eq!(kept(&table, port(2), 1000, &mut held), 1000, "others have room");
        drop(held);
        let shards = table.shards.0.iter().map(|shard| shard.lock());
        assert!(shards.into_iter().all(|shard| (shard.kept, shard.passing) == (0, 0)));
    }

    #[test]
    fn threads_agree_about_ids() {
        let table = RecircTable::new(1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..20_000 {
                        let held = table.allocate(state(n % 8), port(1)).unwrap();
                        assert_eq!(table.get(held.id).unwrap().state, state(n % 8));
                    }
                });
            }
        });
        assert_eq!(len(&table), (0, 0));
    }
}
