//! A subscriber's queue of events: bounded, and never waited for.
//!
//! A full queue drops what comes and counts it. The count stands in the queue where the events are
//! missing, so that the subscriber learns of the gap in its place.

use super::event::{Event, Kinds};
use flowtable::conntrack::CtEvent;
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a subscriber wants to hear of.
#[derive(Clone, Debug)]
pub struct Interest {
    /// The bridge with this name; `None` is every bridge.
    pub bridge: Option<Arc<str>>,
    /// The kinds of events that the subscriber wants.
    pub kinds: Kinds,
}

impl Interest {
    /// Whether it is about kinds of events of a bridge.
    pub fn covers(&self, bridge: &str, kinds: Kinds) -> bool {
        self.kinds.intersects(kinds) && self.bridge.as_deref().is_none_or(|name| name == bridge)
    }
}

/// What a subscriber takes from its queue.
#[derive(Clone, Debug)]
pub enum Item {
    /// Something that happened to a bridge.
    Event(Arc<Event>),
    /// A connection was made or has ended.
    Connection(Arc<CtEvent>),
    /// This number of events is missing here, because the queue was full.
    Lost(u64),
}

/// The queue between the thread that tells events and one subscriber.
#[derive(Debug)]
pub(super) struct Queue {
    interest: Interest,
    capacity: usize,
    /// What was observed before the subscription has been told.
    is_open: AtomicBool,
    items: Mutex<VecDeque<Item>>,
    /// Readable once there are items.
    ready: EventFd,
}

impl Queue {
    /// An empty queue for `capacity` events.
    ///
    /// # Errors
    /// No descriptor could be had.
    pub(super) fn new(interest: Interest, capacity: usize) -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let ready = EventFd::from_value_and_flags(0, flags)?;
        let is_open = AtomicBool::new(false);
        Ok(Self { interest, capacity, is_open, items: Mutex::default(), ready })
    }

    pub(super) fn interest(&self) -> &Interest {
        &self.interest
    }

    /// From now on the queue takes events.
    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Appends events; those that find no room are counted.
    pub(super) fn put<'a>(&self, events: impl Iterator<Item = &'a Arc<Event>>) {
        if self.is_open.load(Ordering::Relaxed) {
            self.append(events.map(|event| Item::Event(Arc::clone(event))));
        }
    }

    /// Appends events of connections, and the number of those that are missing behind them. These events are in
    /// no line with others, so the queue takes them from the beginning.
    pub(super) fn put_connections(&self, events: &[Arc<CtEvent>], missing: u64) {
        let events = events.iter().map(|event| Item::Connection(Arc::clone(event)));
        self.append(events.chain((missing > 0).then_some(Item::Lost(missing))));
    }

    fn append(&self, new: impl Iterator<Item = Item>) {
        let mut items = self.items.lock();
        let was_empty = items.is_empty();
        for item in new {
            match item {
                Item::Lost(count) => lose(&mut items, count),
                item if items.len() < self.capacity => items.push_back(item),
                _ => lose(&mut items, 1),
            }
        }
        let has_items = !items.is_empty();
        drop(items);
        if was_empty && has_items {
            self.wake();
        }
    }

    /// Counts events that were lost before they could be put.
    pub(super) fn lose(&self, count: u64) {
        if !self.is_open.load(Ordering::Relaxed) {
            return;
        }
        lose(&mut self.items.lock(), count);
        self.wake();
    }

    fn wake(&self) {
        // A counter that is full is readable as well.
        let _ = self.ready.write(1);
    }

    fn take(&self) -> VecDeque<Item> {
        // First, so that what comes after the look is announced again.
        let _ = self.ready.read();
        std::mem::take(&mut self.items.lock())
    }
}

fn lose(items: &mut VecDeque<Item>, count: u64) {
    match items.back_mut() {
        Some(Item::Lost(lost)) => *lost += count,
        _ => items.push_back(Item::Lost(count)),
    }
}

/// A subscriber's end of its queue. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription(pub(super) Arc<Queue>);

impl Subscription {
    /// What has gathered since the last call.
    pub fn take(&self) -> VecDeque<Item> {
        self.0.take()
    }
}

impl AsFd for Subscription {
    /// Readable once [`Subscription::take`] has something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.ready.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::What;
    use super::*;
    use std::time::Duration;

    fn event() -> Arc<Event> {
        let bridge = "br0".into();
        Arc::new(Event { bridge, at: Duration::ZERO, what: What::BridgeAdded })
    }

    fn queue(capacity: usize) -> Queue {
        let queue = Queue::new(Interest { bridge: None, kinds: Kinds::ALL }, capacity).unwrap();
        queue.open();
        queue
    }

    /// Events as `.`, gaps as their number.
    fn words(items: impl IntoIterator<Item = Item>) -> String {
        let word = |item| match item {
            Item::Event(_) => ".".to_owned(),
            Item::Connection(_) => "c".to_owned(),
            Item::Lost(count) => count.to_string(),
        };
        items.into_iter().map(word).collect()
    }

    #[test]
    fn a_full_queue_counts_what_it_loses_where_it_is_missing() {
        let queue = queue(3);
        let events: Vec<_> = (0..5).map(|_| event()).collect();
        queue.put(events.iter());
        assert_eq!(words(queue.take()), "...2");
        queue.put(events[..2].iter());
        queue.lose(7);
        queue.put(events.iter());
        assert_eq!(words(queue.take()), "..12");
        queue.put(events[..1].iter());
        assert_eq!(words(queue.take()), ".");
    }

    #[test]
    fn connections_come_from_the_beginning_and_are_bounded_too() {
        use flowtable::conntrack::{ConnectionInfo, CtChange, CtTuple};
        let tuple = CtTuple::default();
        let connection = ConnectionInfo {
            original: tuple,
            reply: tuple.reversed(),
            mark: 0,
            label: 0,
            left: Duration::ZERO,
            tcp: None,
            alg: None,
            parent: None,
        };
        let event_of = |_| {
            let connection = connection.clone();
            Arc::new(CtEvent { connection, what: CtChange::Made })
        };
        let made = [0, 1, 2].map(event_of);
        let interest = Interest { bridge: None, kinds: Kinds::CONNECTIONS };
        assert!(!interest.covers("br0", Kinds::ALL));
        let queue = Queue::new(interest, 4).unwrap();
        queue.put([event()].iter());
        queue.put_connections(&made, 0);
        queue.put_connections(&made, 5);
        assert_eq!(words(queue.take()), "cccc7");
        queue.put_connections(&made[..1], 2);
        queue.put_connections(&made[..1], 0);
        assert_eq!(words(queue.take()), "c2c");
    }

    #[test]
    fn an_interest_is_a_bridge_and_kinds() {
        let one = Interest { bridge: Some("br1".into()), kinds: Kinds::PORTS | Kinds::HOSTS };
        assert!(one.covers("br1", Kinds::PORTS) && one.covers("br1", Kinds::ALL));
        assert!(!one.covers("br1", Kinds::RULES) && !one.covers("br0", Kinds::PORTS));
        let every = Interest { bridge: None, kinds: Kinds::RULES };
        assert!(every.covers("br7", Kinds::RULES));
    }
}
