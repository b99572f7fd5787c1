//! Connections to come that other connections have told of.
//!
//! What is expected is bounded: [`MAX_EXPECTED`] in all and [`MAX_OF_PARENT`] of one connection, of which the
//! oldest gives way; for [`KEPT_MS`] at most, and no longer than the connection that told of it. The connection
//! to come takes it away when it is committed. A packet that begins a connection asks for it, with one load if
//! nothing is expected.

use super::CtTuple;
use arrayvec::ArrayVec;
use flow::nat::Nat;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many connections are expected at most.
const MAX_EXPECTED: usize = 8192;
/// How many connections are expected at most because of one connection.
const MAX_OF_PARENT: usize = 8;
/// How long a connection is expected, in milliseconds. Linux has the same limit for FTP.
const KEPT_MS: u64 = 300_000;

/// What is known of a connection to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conntrack) struct Expectation {
    /// The tuple of the first packet of the connection that told of it.
    pub(in crate::conntrack) parent: CtTuple,
    /// The mark of that connection.
    pub(in crate::conntrack) mark: u32,
    /// The label of that connection.
    pub(in crate::conntrack) label: u128,
    /// How the connection is to be translated; `None` if it is not.
    pub(in crate::conntrack) nat: Option<Nat>,
}

/// The connections to come. See the [module](self).
#[derive(Debug)]
pub(in crate::conntrack) struct Expectations {
    /// How many there are. Changes with `table` locked.
    count: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    /// By the tuple of the first packet with source port 0, which may be any: what is expected, and until when.
    expected: HashMap<CtTuple, (Expectation, u64), ahash::RandomState>,
    /// The tuples that each parent has told of, the oldest first.
    of_parent: HashMap<CtTuple, ArrayVec<CtTuple, MAX_OF_PARENT>, ahash::RandomState>,
}

impl Table {
    fn remove(&mut self, tuple: &CtTuple) {
        let Some((expectation, _)) = self.expected.remove(tuple) else { return };
        if let Some(told) = self.of_parent.get_mut(&expectation.parent) {
            told.retain(|other| other != tuple);
            if told.is_empty() {
                self.of_parent.remove(&expectation.parent);
            }
        }
    }
}

/// The tuple under which a connection is expected that begins with a packet with this tuple.
fn key(tuple: &CtTuple) -> CtTuple {
    let mut key = *tuple;
    key.source.port = 0;
    key
}

impl Expectations {
    pub(in crate::conntrack) fn new(hasher: &ahash::RandomState) -> Self {
        let expected = HashMap::with_hasher(hasher.clone());
        let of_parent = HashMap::with_hasher(hasher.clone());
        Self { count: AtomicUsize::new(0), table: Mutex::new(Table { expected, of_parent }) }
    }

    /// Whether no connection is expected.
    #[inline]
    pub(in crate::conntrack) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Calls `change` with the table.
    fn with<R>(&self, change: impl FnOnce(&mut Table) -> R) -> R {
        let mut table = self.table.lock();
        let result = change(&mut table);
        self.count.store(table.expected.len(), Ordering::Relaxed);
        result
    }

    /// Expects a connection whose first packet has this tuple, but for the source port.
    pub(super) fn insert(&self, now: u64, tuple: CtTuple, expectation: Expectation) {
        let tuple = key(&tuple);
        self.with(|table| {
            table.remove(&tuple);
            let told = table.of_parent.get(&expectation.parent);
            let oldest = told.filter(|told| told.is_full()).map(|told| told[0]);
            if let Some(oldest) = oldest {
                table.remove(&oldest);
            }
            if table.expected.len() < MAX_EXPECTED {
                table.of_parent.entry(expectation.parent).or_default().push(tuple);
                table.expected.insert(tuple, (expectation, now + KEPT_MS));
            }
        });
    }

    /// What is known of the connection that begins with a packet with this tuple; `None` if it is not expected.
    pub(in crate::conntrack) fn get(&self, now: u64, tuple: &CtTuple) -> Option<Expectation> {
        if self.is_empty() {
            return None;
        }
        let table = self.table.lock();
        let expected = table.expected.get(&key(tuple));
        expected.filter(|(_, until)| *until > now).map(|(expectation, _)| *expectation)
    }

    /// No longer expects the connection that begins with a packet with this tuple.
    pub(in crate::conntrack) fn fulfil(&self, tuple: &CtTuple) {
        self.with(|table| table.remove(&key(tuple)));
    }

    /// Forgets what a connection has told, which began with a packet with this tuple.
    pub(in crate::conntrack) fn forget(&self, parent: &CtTuple) {
        if self.is_empty() {
            return;
        }
        self.with(|table| {
            for tuple in table.of_parent.remove(parent).unwrap_or_default() {
                table.expected.remove(&tuple);
            }
        });
    }

    /// Forgets what was expected for too long.
    pub(in crate::conntrack) fn sweep(&self, now: u64) {
        if self.is_empty() {
            return;
        }
        self.with(|table| {
            let over = table.expected.iter().filter(|(_, (_, until))| *until <= now);
            let over: Vec<CtTuple> = over.map(|(tuple, _)| *tuple).collect();
            over.iter().for_each(|tuple| table.remove(tuple));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(source: u16, destination: u16) -> CtTuple {
        let mut tuple = CtTuple { protocol: 6, ..CtTuple::default() };
        (tuple.source.port, tuple.destination.port) = (source, destination);
        tuple
    }

    fn expectation(parent: u16) -> Expectation {
        Expectation { parent: tuple(parent, 21), mark: 1, label: 2, nat: None }
    }

    fn expectations() -> Expectations {
        Expectations::new(&ahash::RandomState::with_seeds(1, 2, 3, 4))
    }

    #[test]
    fn a_connection_is_expected_from_any_port_until_it_comes() {
        let expected = expectations();
        assert!(expected.is_empty());
        expected.insert(0, tuple(7, 1000), expectation(1));
        assert_eq!(expected.get(5, &tuple(9, 1000)), Some(expectation(1)));
        assert_eq!(expected.get(5, &tuple(9, 1001)), None);
        assert_eq!(expected.get(KEPT_MS, &tuple(9, 1000)), None, "it came too late");
        expected.fulfil(&tuple(9, 1000));
        assert_eq!(expected.get(5, &tuple(9, 1000)), None);
        assert!(expected.is_empty() && expected.table.lock().of_parent.is_empty());
    }

    #[test]
    fn what_is_expected_goes_with_its_time_and_with_the_connection_that_told_of_it() {
        let expected = expectations();
        expected.insert(0, tuple(0, 1000), expectation(1));
        expected.insert(9, tuple(0, 1001), expectation(1));
        expected.insert(9, tuple(0, 1002), expectation(2));
        expected.sweep(KEPT_MS);
        assert_eq!(expected.count.load(Ordering::Relaxed), 2);
        expected.forget(&tuple(2, 21));
        assert!(expected.get(9, &tuple(0, 1001)).is_some());
        assert!(expected.get(9, &tuple(0, 1002)).is_none());
        expected.sweep(KEPT_MS + 9);
        assert!(expected.is_empty() && expected.table.lock().of_parent.is_empty());
    }

    #[test]
    fn the_oldest_of_many_gives_way_and_a_full_table_takes_none() {
        let expected = expectations();
        for port in 0..=MAX_OF_PARENT as u16 {
            expected.insert(0, tuple(0, port + 1), expectation(1));
        }
        assert!(expected.get(0, &tuple(0, 1)).is_none());
        assert!(expected.get(0, &tuple(0, 2)).is_some());
        for parent in 0..MAX_EXPECTED as u16 {
            expected.insert(0, tuple(0, parent + 100), expectation(parent));
        }
        assert_eq!(expected.count.load(Ordering::Relaxed), MAX_EXPECTED);
    }
}
