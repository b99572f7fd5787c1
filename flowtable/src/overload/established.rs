//! The established sources of a worker: hosts whose cached flows have been in use for some time.
//!
//! The budget of new flows asks for them when strangers have used up the budget of a port. The
//! sweep, which looks at all flows anyway, collects the established sources and replaces the whole
//! set. A worker only asks, and only on the slow path. A made-up source address that is used once
//! is never among them.

use flow::FlowKey;
use flow::types::{MacAddr, PortNo};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::time::Duration;

/// How long a flow has to be in use until its source is established. The time is longer than two retries take.
pub(crate) const ESTABLISHED_AFTER: Duration = Duration::from_millis(500);

/// A source address at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    /// The port where the packets come in.
    pub(crate) port: PortNo,
    /// The packets' source MAC address.
    pub(crate) mac: MacAddr,
}

impl Source {
    /// The source of a packet with this key.
    pub(crate) fn of(key: &FlowKey) -> Self {
        Self { port: key.port_no.get(), mac: MacAddr(key.headers.dl_src) }
    }
}

/// The set of one worker. See the [module](self).
#[derive(Debug)]
pub(crate) struct EstablishedSources(Mutex<HashSet<Source, ahash::RandomState>>);

impl EstablishedSources {
    /// Makes an empty set. `seed` keys the hash function.
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(23), 0xe57);
        Self(Mutex::new(HashSet::with_hasher(hasher)))
    }

    /// Whether a source is established.
    pub(crate) fn contains(&self, source: Source) -> bool {
        self.0.lock().contains(&source)
    }

    /// Replaces the set. `sources` may have a source several times.
    pub(crate) fn replace(&self, sources: impl Iterator<Item = Source>) {
        let mut new = HashSet::with_hasher(self.0.lock().hasher().clone());
        new.extend(sources);
        let old = std::mem::replace(&mut *self.0.lock(), new);
        // The old set is freed without the lock.
        drop(old);
    }
}
