//! Pipeline state that waits for another pass of its packet.
//!
//! Equal states share an id, so that packets of one flow keep hitting the same cached flow. A state
//! lives as long as somebody holds its [`Continuation`]; the table only remembers it weakly.

use super::bridge::BridgeId;
use super::xlate::Suspended;
use flow::PipelineKey;
use flow::action::Action;
use flow::types::TableId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// States at most. A packet that needs one more is dropped.
const MAX_STATES: usize = 65_536;

/// What goes on when the packet comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FrozenState {
    pub(super) suspended: Vec<Suspended>,
    pub(super) action_set: Vec<Action>,
    pub(super) stack: Vec<(u128, u16)>,
    /// Registers, metadata and ingress port; the headers are extracted anew.
    pub(super) key: PipelineKey,
    /// The bridge that the packet is in.
    pub(super) bridge: BridgeId,
    pub(super) table: TableId,
    /// The packet has been hashed for a `select` group.
    pub(super) hashed: bool,
}

/// A state with its id.
#[derive(Debug)]
pub struct Continuation {
    /// Names it in [`DpAction::Recirculate`](flow::verdict::DpAction::Recirculate) and in keys.
    pub id: u32,
    pub(super) state: FrozenState,
}

/// States by id and by value.
#[derive(Debug, Default)]
pub struct RecircTable(Mutex<States>);

#[derive(Debug, Default)]
struct States {
    by_id: HashMap<u32, Weak<Continuation>>,
    by_hash: HashMap<u64, Vec<u32>>,
    hasher: std::hash::RandomState,
    last: u32,
}

impl RecircTable {
    /// The state with this id, while somebody holds it.
    pub fn get(&self, id: u32) -> Option<Arc<Continuation>> {
        self.0.lock().by_id.get(&id)?.upgrade()
    }

    /// An id for the state. `None` if there are too many.
    pub(super) fn allocate(&self, state: FrozenState) -> Option<Arc<Continuation>> {
        use std::hash::BuildHasher;
        let mut states = self.0.lock();
        let hash = states.hasher.hash_one((&state.suspended, &state.action_set, state.key.words()));
        let known = states.by_hash.get(&hash).into_iter().flatten();
        for id in known {
            if let Some(same) = states.by_id.get(id).and_then(Weak::upgrade)
                && same.state == state
            {
                return Some(same);
            }
        }
        if states.by_id.len() >= MAX_STATES {
            states.forget_dead();
            if states.by_id.len() >= MAX_STATES {
                return None;
            }
        }
        let id = states.next_id();
        let continuation = Arc::new(Continuation { id, state });
        states.by_id.insert(id, Arc::downgrade(&continuation));
        states.by_hash.entry(hash).or_default().push(id);
        Some(continuation)
    }
}

impl States {
    fn next_id(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1).max(1);
            if !self.by_id.contains_key(&self.last) {
                return self.last;
            }
        }
    }

    fn forget_dead(&mut self) {
        self.by_id.retain(|_, state| state.strong_count() > 0);
        let Self { by_id, by_hash, .. } = self;
        by_hash.retain(|_, ids| {
            ids.retain(|id| by_id.contains_key(id));
            !ids.is_empty()
        });
    }
}
