//! What transactions did to the rules of one bridge, in their order, for connections that
//! tell their peers of it.
//!
//! The policy's observer appends, and every connection that wants to tell something has a [`Place`], from which
//! it reads at its own pace. An entry is what the policy hands out, without copies of rules, and is forgotten
//! once every place is behind it. The journal is bounded: the connection whose place is the oldest in a full
//! journal is closed.

use super::hub::Member;
use super::views::Tellings;
use flowtable::policy::effects::Effects;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The largest number of transactions in a journal: about 100 MB if each changed one rule.
const MAX_ENTRIES: usize = 1 << 19;
/// The largest number of steps that the transactions of a journal have together: four for each rule that a
/// table can have.
const MAX_STEPS: usize = 1 << 22;
/// How many entries a connection that [rests](Place::rest) leaves unread before it is woken to go past them.
const MAX_UNREAD: u64 = 1024;
/// How many steps the transactions of a journal have together when connections that rest are
/// woken to go past them.
const MANY_STEPS: usize = MAX_STEPS / 16;

/// What transactions did to the rules of one bridge.
#[derive(Debug, Default)]
pub(super) struct Journal {
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    /// The number of the first entry of `entries`.
    first: u64,
    entries: VecDeque<Arc<Entry>>,
    /// The sum of the steps of all entries.
    steps: usize,
    /// The sum of the steps of all entries that there ever were.
    all_steps: u64,
    /// The number behind the latest entry that removed rules.
    behind_removal: u64,
    /// When the latest entry was made, on the switch's monotonic clock.
    latest: Duration,
    places: Vec<Arc<Place>>,
}

/// What one transaction did.
#[derive(Debug)]
pub(super) struct Entry {
    /// The number of the entry: entries are numbered without gaps in their order.
    pub(super) number: u64,
    /// The sum of the steps of this entry and of all entries before it.
    all_steps: u64,
    /// The rules that the transaction changed.
    pub(super) effects: Arc<Effects>,
    /// Whether the transaction removed rules, replaced ones among them.
    pub(super) has_removed_rules: bool,
    /// Whose message caused the transaction; `None` if it was nobody's at an OpenFlow connection.
    pub(super) author: Option<Author>,
    /// When the transaction took effect, on the switch's monotonic clock.
    pub(super) at: Duration,
    /// What monitors tell of the transaction.
    pub(super) tellings: Tellings,
}

impl Entry {
    /// The sum of the steps of all entries before it.
    fn before(&self) -> u64 {
        self.all_steps - self.effects.steps() as u64
    }
}

/// The message that caused a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Author {
    /// The address of the [`Member`] that sent the message. It is compared, and never followed.
    pub(super) member: usize,
    /// The transaction id of the message.
    pub(super) xid: u32,
}

thread_local! {
    /// The message that this thread carries out.
    static AUTHOR: Cell<Option<Author>> = const { Cell::new(None) };
}

impl Author {
    /// The message that this thread carries out at the moment; `None` if it is none of an OpenFlow connection.
    pub(super) fn current() -> Option<Self> {
        AUTHOR.get()
    }

    /// Whether the message came from this member.
    pub(super) fn is(self, member: &Arc<Member>) -> bool {
        self.member == Arc::as_ptr(member) as usize
    }

    /// A message of a member.
    pub(super) fn of(member: &Arc<Member>, xid: u32) -> Self {
        Self { member: Arc::as_ptr(member) as usize, xid }
    }

    /// Carries out `change`. The changes that it makes in this thread are its author's.
    pub(super) fn carry_out<R>(self, change: impl FnOnce() -> R) -> R {
        AUTHOR.set(Some(self));
        let result = change();
        AUTHOR.set(None);
        result
    }
}

/// Which entries a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The entries of all transactions.
    Changes,
    /// The entries of transactions that removed rules.
    Removals,
}

/// How far a connection has read.
#[derive(Debug)]
pub(super) struct Place {
    member: Arc<Member>,
    subject: Subject,
    /// The number of the next entry. Changed under the lock of the log.
    next: Mutex<u64>,
    /// The connection need not be woken, unless rules are removed; see [`Place::rest`].
    rests: AtomicBool,
}

impl Place {
    /// Says whether the connection need not be woken for now, unless rules are removed. A connection that has
    /// rested looks into the journal itself.
    pub(super) fn rest(&self, rests: bool) {
        self.rests.store(rests, Ordering::Relaxed);
    }
}

impl Journal {
    /// Appends what a transaction did, if somebody wants to know. Returns whether somebody does.
    pub(super) fn append(&self, effects: &Arc<Effects>, at: Duration) -> bool {
        let has_removed_rules = effects.has_removed_rules();
        let mut log = self.log.lock();
        let is_wanted = |place: &Arc<Place>| has_removed_rules || place.subject == Subject::Changes;
        if !log.places.iter().any(is_wanted) {
            return false;
        }
        let number = log.end();
        log.steps += effects.steps();
        log.all_steps += effects.steps() as u64;
        log.latest = at;
        let (effects, author) = (Arc::clone(effects), Author::current());
        let all_steps = log.all_steps;
        let tellings = Tellings::default();
        let entry = Entry { number, all_steps, effects, has_removed_rules, author, at, tellings };
        log.entries.push_back(Arc::new(entry));
        if has_removed_rules {
            log.behind_removal = number + 1;
        }
        while log.entries.len() > MAX_ENTRIES || log.steps > MAX_STEPS {
            if !log.cut_off_oldest() {
                break;
            }
        }
        true
    }

    /// A place behind everything that has happened so far.
    pub(super) fn begin(&self, member: &Arc<Member>, subject: Subject) -> Arc<Place> {
        let mut log = self.log.lock();
        let next = Mutex::new(log.end());
        let (member, rests) = (Arc::clone(member), AtomicBool::new(false));
        let place = Arc::new(Place { member, subject, next, rests });
        log.places.push(Arc::clone(&place));
        place
    }

    /// Forgets a place.
    pub(super) fn end(&self, place: &Arc<Place>) {
        let mut log = self.log.lock();
        log.places.retain(|other| !Arc::ptr_eq(other, place));
        log.trim();
    }

    /// The next entries for a place, at most `count`, and no more than have `steps` steps together, unless the
    /// first one alone has more. They count as read.
    pub(super) fn take(&self, place: &Place, count: usize, steps: u64) -> Vec<Arc<Entry>> {
        let mut log = self.log.lock();
        let mut next = place.next.lock();
        // A place that was cut off may be in front of the first entry.
        let skipped = next.saturating_sub(log.first) as usize;
        let mut left = log.entries.iter().skip(skipped).take(count).peekable();
        let end = left
            .peek()
            .map_or(0, |first| first.before().saturating_add(steps).max(first.all_steps));
        let entries: Vec<_> = left.take_while(|entry| entry.all_steps <= end).cloned().collect();
        if let Some(last) = entries.last() {
            let was_oldest = *next == log.first;
            *next = last.number + 1;
            drop(next);
            if was_oldest {
                log.trim();
            }
        }
        entries
    }

    /// The number of entries that a place has not taken.
    pub(super) fn lag(&self, place: &Place) -> u64 {
        let log = self.log.lock();
        log.end() - (*place.next.lock()).min(log.end())
    }

    /// The number of steps of the entries that a place has not taken: about the number of
    /// rules that have changed since.
    pub(super) fn lag_steps(&self, place: &Place) -> u64 {
        let log = self.log.lock();
        let next = *place.next.lock();
        let first_left = next.saturating_sub(log.first) as usize;
        let taken = match first_left.checked_sub(1) {
            Some(last_taken) => log.entries.get(last_taken).map(|entry| entry.all_steps),
            None => Some(log.all_steps - log.steps as u64),
        };
        log.all_steps - taken.unwrap_or(log.all_steps)
    }

    /// The number that the next entry gets.
    pub(super) fn end_number(&self) -> u64 {
        self.log.lock().end()
    }

    /// When the latest entry was made, on the switch's monotonic clock: 0 if there has been none.
    pub(super) fn latest(&self) -> Duration {
        self.log.lock().latest
    }

    /// Wakes the connections that have something to read. Returns their number.
    pub(super) fn wake(&self) -> usize {
        let log = self.log.lock();
        let end = log.end();
        let has_many = log.steps > MANY_STEPS;
        // A place that rests has to be behind this number, any other one at the end.
        let for_resting = log.behind_removal.max(end.saturating_sub(MAX_UNREAD));
        let has_to_read = |place: &&Arc<Place>| {
            let rests = place.rests.load(Ordering::Relaxed) && !has_many;
            *place.next.lock() < if rests { for_resting } else { end }
        };
        let behind = log.places.iter().filter(has_to_read);
        behind.map(|place| place.member.outbox().wake()).count()
    }
}

impl Log {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Forgets the entries that every place is behind.
    fn trim(&mut self) {
        let oldest = self.places.iter().map(|place| *place.next.lock()).min();
        let oldest = oldest.unwrap_or_else(|| self.end());
        while self.first < oldest
            && let Some(entry) = self.entries.pop_front()
        {
            self.first += 1;
            self.steps -= entry.effects.steps();
        }
    }

    /// Closes the connection whose place is the oldest. False if there is none.
    fn cut_off_oldest(&mut self) -> bool {
        let places = self.places.iter().enumerate();
        let Some((index, _)) = places.min_by_key(|(_, place)| *place.next.lock()) else {
            return false;
        };
        let place = self.places.swap_remove(index);
        place.member.close();
        self.trim();
        true
    }
}
