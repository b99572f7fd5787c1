//! Sources that are established: cached flows of theirs have been in use for some time.
//!
//! The budget of new flows asks for them when strangers have used up what a port has. The sweep, which
//! looks at all flows anyway, finds them, and hands them over as a whole: the worker only asks, and only
//! on the slow path. A made-up source that is used once never gets in here.

use flow::FlowKey;
use flow::types::{MacAddr, PortNo};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::time::Duration;

/// How long a flow has to be in use until its source is established: longer than a retry or two take.
pub(crate) const ESTABLISHED_AFTER: Duration = Duration::from_millis(500);

/// A host as a port sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    /// Where its packets come in.
    pub(crate) port: PortNo,
    /// From whom they are.
    pub(crate) mac: MacAddr,
}

impl Source {
    /// The source of a packet with a key of the datapath.
    pub(crate) fn of(key: &FlowKey) -> Self {
        Self { port: key.port_no.get(), mac: MacAddr(key.headers.dl_src) }
    }
}

/// The established sources of one worker.
#[derive(Debug)]
pub(crate) struct EstablishedSources(Mutex<HashSet<Source, ahash::RandomState>>);

impl EstablishedSources {
    /// None yet. The seed keys the hash function.
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(23), 0xe57);
        Self(Mutex::new(HashSet::with_hasher(hasher)))
    }

    /// Whether this is one of them.
    pub(crate) fn contains(&self, source: Source) -> bool {
        self.0.lock().contains(&source)
    }

    /// From now on these are, each of them given once or more.
    pub(crate) fn replace(&self, sources: impl Iterator<Item = Source>) {
        let mut new = HashSet::with_hasher(self.0.lock().hasher().clone());
        new.extend(sources);
        let old = std::mem::replace(&mut *self.0.lock(), new);
        // Freed without the lock.
        drop(old);
    }
}
