//! Sources that are established: cached flows of theirs have been in use for some time.
//!
//! The budget of new flows asks for them when strangers have used up what a port has. The sweep, which
//! looks at all flows anyway, finds them, and hands them over as a whole: the worker only asks, and only
//! on the slow path. A made-up source that is used once never gets in here.

use crate::flow::FlowKey;
use crate::types::{MacAddr, PortNo};
use parking_lot::Mutex;
use std::time::Duration;

/// How long a flow has to be in use until its source is established: longer than a retry or two take.
pub(super) const ESTABLISHED_AFTER: Duration = Duration::from_millis(500);

/// A host as a port sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    /// Where its packets come in.
    pub(super) port: PortNo,
    /// From whom they are.
    pub(super) mac: MacAddr,
}

impl Source {
    /// The source of a packet with a key of the datapath, whose port numbers are 16 bits wide.
    pub(super) fn of(key: &FlowKey) -> Self {
        Self { port: PortNo(key.in_port.get() as u16), mac: MacAddr(key.dl_src) }
    }
}

/// The established sources of one worker, in order.
#[derive(Debug, Default)]
pub(super) struct EstablishedSources(Mutex<Vec<Source>>);

impl EstablishedSources {
    /// Whether this is one of them.
    pub(super) fn contains(&self, source: Source) -> bool {
        self.0.lock().binary_search(&source).is_ok()
    }

    /// From now on these are, each of them given once or more.
    pub(super) fn replace(&self, mut sources: Vec<Source>) {
        sources.sort_unstable();
        sources.dedup();
        sources.shrink_to_fit();
        let old = std::mem::replace(&mut *self.0.lock(), sources);
        // Freed without the lock.
        drop(old);
    }
}
