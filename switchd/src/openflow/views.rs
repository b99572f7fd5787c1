//! What equal monitors of several connections tell: encoded once for all of them.
//!
//! A [`View`] is what the monitors of a connection look at, and in which form. Connections with equal views
//! share one, so that the first of them that tells of a transaction leaves the messages with the journal's
//! entry, for the others to send.

use flow::flow_mod::FlowMod;
use openflow::{Encoding, MonitorFlags};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// How many bytes of messages are left with the entries of a journal at most. What is beyond
/// is encoded for each connection.
const MAX_KEPT: usize = 16 << 20;
/// For how many views an entry has messages at most.
const MAX_VIEWS: usize = 8;

/// What the monitors of a connection look at, and the form of its messages.
#[derive(Debug, PartialEq)]
pub(super) struct View {
    pub(super) encoding: Encoding,
    /// The flags and the filter of each monitor.
    pub(super) monitors: Vec<(MonitorFlags, FlowMod)>,
}

/// All views of the connections of one bridge.
#[derive(Debug, Default)]
pub(super) struct Views {
    all: Mutex<Vec<Weak<View>>>,
    /// How many bytes of messages are left with the entries of the journal.
    kept: Arc<AtomicUsize>,
}

/// What monitors tell of one transaction.
#[derive(Debug)]
pub(super) struct Told {
    /// The messages, in their order. None if the monitors have nothing to tell.
    pub(super) messages: Vec<Arc<Vec<u8>>>,
    /// Whether the transaction removed rules that were freed before they were told.
    pub(super) has_missed: bool,
    /// What is counted in `kept`: the bytes of the messages, or 0 if these are not kept.
    size: usize,
    kept: Arc<AtomicUsize>,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.kept.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// The messages of one entry of the journal, for each view that has asked.
#[derive(Debug, Default)]
pub(super) struct Tellings(Mutex<Vec<(Arc<View>, Arc<Told>)>>);

impl Views {
    /// The view like this one that other connections have, or this one.
    pub(super) fn share(&self, view: View) -> Arc<View> {
        let mut all = self.all.lock();
        all.retain(|other| other.strong_count() > 0);
        let known = all.iter().filter_map(Weak::upgrade).find(|other| **other == view);
        known.unwrap_or_else(|| {
            let view = Arc::new(view);
            all.push(Arc::downgrade(&view));
            view
        })
    }

    /// What monitors with this view tell of the transaction whose messages `tellings` are. `tell`
    /// encodes these, and says whether rules were missed; nobody calls it twice for a view as long as
    /// there is room for the messages.
    pub(super) fn told(
        &self,
        tellings: &Tellings,
        view: &Arc<View>,
        tell: impl FnOnce() -> (Vec<Vec<u8>>, bool),
    ) -> Arc<Told> {
        // Connections that ask meanwhile wait for these messages, instead of encoding them as well.
        let mut known = tellings.0.lock();
        if let Some((_, told)) = known.iter().find(|(other, _)| Arc::ptr_eq(other, view)) {
            return Arc::clone(told);
        }
        let (messages, has_missed) = tell();
        let size = messages.iter().map(Vec::len).sum();
        let before = self.kept.fetch_add(size, Ordering::Relaxed);
        let messages = messages.into_iter().map(Arc::new).collect();
        let told = Arc::new(Told { messages, has_missed, size, kept: Arc::clone(&self.kept) });
        if before + size <= MAX_KEPT && known.len() < MAX_VIEWS {
            known.push((Arc::clone(view), Arc::clone(&told)));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::Match;
    use flow::flow_mod::Command;
    use flow::types::OfVersion;

    fn view(priority: u16) -> View {
        let filter = FlowMod::new(Command::Delete, priority, Match::any(), Vec::new());
        let monitors = vec![(MonitorFlags { add: true, ..MonitorFlags::default() }, filter)];
        View { encoding: Encoding::new(OfVersion::OpenFlow14), monitors }
    }

    #[test]
    fn equal_views_are_told_by_one() {
        let views = Views::default();
        let (first, second, other) =
            (views.share(view(1)), views.share(view(1)), views.share(view(2)));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        let (tellings, mut encoded) = (Tellings::default(), 0);
        for view in [&first, &second, &other, &first] {
            let told = views.told(&tellings, view, || {
                encoded += 1;
                (vec![vec![0; 100]], false)
            });
            assert_eq!(told.messages.len(), 1);
        }
        assert_eq!((encoded, views.kept.load(Ordering::Relaxed)), (2, 200));
        drop(tellings);
        assert_eq!(views.kept.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn messages_beyond_the_limit_are_not_kept() {
        let (views, large) = (Views::default(), MAX_KEPT / 2 + 1);
        let view = views.share(view(1));
        let entries: Vec<Tellings> = (0..3).map(|_| Tellings::default()).collect();
        for tellings in &entries {
            let told = views.told(tellings, &view, || (vec![vec![0; large]], false));
            assert_eq!(told.messages[0].len(), large);
        }
        assert_eq!(views.kept.load(Ordering::Relaxed), large);
        assert_eq!(entries.iter().filter(|tellings| !tellings.0.lock().is_empty()).count(), 1);
    }
}
