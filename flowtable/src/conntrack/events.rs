//! Which connections are made and end, for somebody who watches.
//!
//! [`CtEvents`] is the queue between those who make and remove connections, mostly workers, and one reader. It
//! is bounded: an event that finds no room is counted as lost, and nobody waits for the reader. An event is put
//! while the shard of its connection is locked, so the events of one tuple are in their order.
//!
//! While nobody watches, a connection that is made or removed costs one look at a flag. Packets are
//! counted only of connections that are made while somebody watches: their entries have a place for the
//! counts, and other entries have none. A worker that remembers a counted connection moves it on under the
//! lock of its shard (`known`).

use super::Connections;
use super::connection::ConnectionInfo;
use super::shard::{CtEntry, CtShard};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The largest number of events that wait for the reader: some five megabytes.
pub const CT_EVENT_QUEUE: usize = 16_384;
/// Number of events that are stored together.
const BLOCK: usize = 256;

/// A connection that was made or has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CtEvent {
    /// The connection as it is, or was when it ended. An ended connection has no time left.
    pub connection: ConnectionInfo,
    /// What happened to the connection.
    pub what: CtChange,
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtChange {
    /// A rule has committed the connection.
    Made,
    /// The connection was removed.
    Ended {
        /// Why the connection was removed.
        why: CtEnding,
        /// The time since the connection was made, in tenths of a second.
        duration: Duration,
        /// The packets of the connection; `None` if it was made while nobody watched.
        counts: Option<CtCounts>,
    },
}

/// Why a connection was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtEnding {
    /// No packet came for as long as its timeout says.
    Timeout,
    /// Both ends of TCP had closed it, or one had reset it.
    Closed,
    /// Somebody has asked for it.
    Flushed,
    /// The table was full, and the connection half-open.
    Evicted,
    /// A packet from its other end began another one with `ct(commit,force)`.
    Replaced,
}

impl CtEnding {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Flushed => "flushed",
            Self::Evicted => "evicted",
            Self::Replaced => "replaced",
        }
    }

    /// Why a connection is removed whose time has come.
    pub(super) fn of_expired(connection: &CtEntry) -> Self {
        if connection.state.is_closed() { Self::Closed } else { Self::Timeout }
    }
}

/// The packets of one direction of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtCount {
    /// Number of frames.
    pub packets: u64,
    /// Size of these frames in bytes, with their Ethernet headers, as rules count.
    pub bytes: u64,
}

/// The packets of a connection. Packets that are invalid, and ICMP errors about others, are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtCounts {
    /// Those in the direction of the connection's first packet.
    pub original: CtCount,
    /// Those in the other direction.
    pub reply: CtCount,
}

impl CtCounts {
    /// Counts a frame of this size in bytes.
    pub(super) fn add(&mut self, is_reply: bool, size: usize) {
        let count = if is_reply { &mut self.reply } else { &mut self.original };
        count.packets += 1;
        count.bytes += size as u64;
    }
}

/// The events of connections: a bounded queue between those who make and remove connections and one reader.
#[derive(Debug, Default)]
pub struct CtEvents {
    is_watched: AtomicBool,
    waiting: Mutex<Waiting>,
    bell: OnceLock<Bell>,
}

/// The events that have gathered.
#[derive(Debug, Default)]
pub struct CtNews {
    /// The events, in their order.
    pub events: Vec<CtEvent>,
    /// Number of events behind these that found no room.
    pub lost: u64,
}

/// What the reader has not taken yet.
#[derive(Debug, Default)]
struct Waiting {
    /// The events, in blocks of [`BLOCK`]. No worker moves those that wait because of one more.
    blocks: Vec<Vec<CtEvent>>,
    lost: u64,
}

impl Waiting {
    /// Number of events.
    fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.len())
    }
}

struct Bell(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

impl CtEvents {
    /// Has `ring` called when the first event waits behind a [`take`](Self::take). It is called by workers and
    /// under locks, so it must not wait. The first call counts.
    pub fn set_bell(&self, ring: impl Fn() + Send + Sync + 'static) {
        let _ = self.bell.set(Bell(Box::new(ring)));
    }

    /// Begins to gather events. [`Connections::stop_watching`] ends it.
    pub fn watch(&self) {
        self.is_watched.store(true, Ordering::Relaxed);
    }

    /// Whether events are gathered.
    pub fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Relaxed)
    }

    /// What has gathered since the last call, for the reader.
    pub fn take(&self) -> CtNews {
        let Waiting { blocks, lost } = std::mem::take(&mut *self.waiting.lock());
        CtNews { events: blocks.into_iter().flatten().collect(), lost }
    }

    fn put(&self, event: CtEvent) {
        let mut waiting = self.waiting.lock();
        let len = waiting.len();
        if len >= CT_EVENT_QUEUE {
            waiting.lost += 1;
            return;
        }
        match waiting.blocks.last_mut().filter(|last| last.len() < BLOCK) {
            Some(last) => last.push(event),
            None => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(event);
                waiting.blocks.push(block);
            }
        }
        drop(waiting);
        if len == 0
            && let Some(Bell(ring)) = self.bell.get()
        {
            ring();
        }
    }
}

impl Connections {
    /// Where to hear of connections that are made and end.
    pub fn events(&self) -> &Arc<CtEvents> {
        &self.events
    }

    /// Stops gathering events, forgets those that wait for the reader, and stops counting packets.
    pub fn stop_watching(&self) {
        self.events.is_watched.store(false, Ordering::Relaxed);
        self.events.take();
        // Whoever has seen the flag set has let go of the shard before its turn comes here.
        let Ok(()) = self.in_slices::<Infallible>(|shard, slots| {
            slots.for_each(|slot| shard.stop_counting(slot));
            Ok(())
        });
    }

    /// Tells of the connection in a slot, which a packet has just begun. Counts this packet, of `size` bytes.
    #[cold]
    pub(super) fn tell_made(&self, shard: &mut CtShard, slot: u32, now: u64, size: usize) {
        let left = shard.expires(slot).saturating_sub(now);
        let Some(connection) = shard.get_mut(slot) else { return };
        let mut counts = CtCounts::default();
        counts.add(false, size);
        connection.counts = Some(Box::new(counts));
        self.events.put(CtEvent { connection: connection.info(left), what: CtChange::Made });
    }

    /// Tells of a connection that has been removed.
    #[cold]
    pub(super) fn tell_ended(&self, connection: &CtEntry, why: CtEnding, now: u64) {
        let (duration, counts) = (connection.age(now), connection.counts.as_deref().copied());
        let what = CtChange::Ended { why, duration, counts };
        self.events.put(CtEvent { connection: connection.info(0), what });
    }
}
