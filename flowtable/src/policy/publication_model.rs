//! Every order in which threads can run through the publication, tried out.
//!
//! The file under test is the real one, compiled once more with the locks and atomics of `loom`. It runs each
//! model again and again: with every switch between threads, and with every value that a read may return
//! under the memory orderings of the code. That the models would find a mistake is tested too, by doing
//! things in the wrong order.

#[allow(clippy::duplicate_mod, reason = "the same code on other locks is the point")]
#[allow(dead_code, reason = "nobody asks the locks of a model what was done under them")]
#[path = "publication.rs"]
mod publication;

use crate::classifier::Version;
use loom::sync::Arc;
use loom::thread;
use publication::{Generations, Published};
use sync::{AtomicU64, Ordering};

/// What `super::sync` is in the program.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
    use loom::sync::{Mutex as LoomMutex, RwLock as LoomRwLock, RwLockWriteGuard};
    pub(super) use loom::sync::{MutexGuard, RwLockReadGuard};

    #[derive(Debug)]
    pub(super) struct Mutex<T>(LoomMutex<T>);

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Self {
            Self(LoomMutex::new(value))
        }

        pub(super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    impl<T> Mutex<T> {
        /// Waits as long as it takes: the model has no clock.
        pub(super) fn try_lock_for(&self, _: std::time::Duration) -> Option<MutexGuard<'_, T>> {
            Some(self.lock())
        }
    }

    #[derive(Debug)]
    pub(super) struct RwLock<T>(LoomRwLock<T>);

    impl<T> RwLock<T> {
        pub(super) fn new(value: T) -> Self {
            Self(LoomRwLock::new(value))
        }

        pub(super) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap()
        }

        pub(super) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap()
        }

        pub(super) fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
            self.0.try_write().ok()
        }
    }

    pub(super) fn give_way<T>(guard: RwLockWriteGuard<'_, T>) {
        drop(guard);
    }
}

/// A rule: since and until when it is visible.
#[derive(Clone, Copy, Debug)]
struct ModelRule {
    added: Version,
    removed: Version,
    is_freed: bool,
}

const NEVER: Version = Version(u64::MAX);

impl ModelRule {
    fn new(added: Version) -> Self {
        Self { added, removed: NEVER, is_freed: false }
    }

    fn is_visible(&self, version: Version) -> bool {
        self.added <= version && version < self.removed
    }
}

/// One rule that is there from the start.
fn one_rule() -> Arc<Published<Vec<ModelRule>>> {
    Arc::new(Published::new(vec![ModelRule::new(Version(0))]))
}

/// Removes the rule and publishes that.
fn remove(rules: &Published<Vec<ModelRule>>) {
    let (_writer, next) = rules.begin();
    rules.step(|rules| rules[0].removed = next);
    rules.publish(next);
}

/// Frees the rule if nobody sees it.
fn purge(rules: &Published<Vec<ModelRule>>) {
    rules.step(|content| {
        if content[0].removed <= rules.oldest() {
            content[0].is_freed = true;
        }
    });
}

#[test]
fn a_change_of_two_steps_is_seen_whole_or_not_at_all() {
    loom::model(|| {
        let rules = Arc::new(Published::new(Vec::new()));
        let theirs = Arc::clone(&rules);
        let writer = thread::spawn(move || {
            let (_writer, next) = theirs.begin();
            theirs.step(|rules| rules.push(ModelRule::new(next)));
            theirs.step(|rules| rules.push(ModelRule::new(next)));
            theirs.publish(next);
        });
        let count = || {
            let (rules, version) = rules.read();
            rules.iter().filter(|rule| rule.is_visible(version)).count()
        };
        let (first, second) = (count(), count());
        assert!([(0, 0), (0, 2), (2, 2)].contains(&(first, second)), "{first}, then {second}");
        writer.join().unwrap();
        assert_eq!(count(), 2);
    });
}

#[test]
fn two_writers_prepare_different_versions() {
    loom::model(|| {
        let rules = one_rule();
        let change = |rules: &Published<Vec<ModelRule>>| {
            let (_writer, next) = rules.begin();
            rules.step(|rules| rules.push(ModelRule::new(next)));
            rules.publish(next);
        };
        let theirs = Arc::clone(&rules);
        let writer = thread::spawn(move || change(&theirs));
        change(&rules);
        writer.join().unwrap();
        let (content, version) = rules.read();
        assert_eq!(version, Version(2));
        assert_ne!(content[1].added, content[2].added);
    });
}

#[test]
fn what_a_reader_sees_is_not_freed() {
    loom::model(|| {
        let rules = one_rule();
        let theirs = Arc::clone(&rules);
        let writer = thread::spawn(move || {
            remove(&theirs);
            purge(&theirs);
        });
        {
            let (content, version) = rules.read();
            assert!(!(content[0].is_visible(version) && content[0].is_freed));
        }
        writer.join().unwrap();
        assert!(rules.read().0[0].is_freed, "nobody holds it");
    });
}

#[test]
#[should_panic(expected = "freed")]
fn a_version_taken_before_the_lock_would_be_too_old() {
    loom::model(|| {
        let rules = one_rule();
        let theirs = Arc::clone(&rules);
        let writer = thread::spawn(move || {
            remove(&theirs);
            purge(&theirs);
        });
        let version = rules.version();
        let (content, _) = rules.read();
        assert!(!(content[0].is_visible(version) && content[0].is_freed), "freed");
        drop(content);
        writer.join().unwrap();
    });
}

#[test]
fn a_version_that_is_held_stays_as_it_is() {
    loom::model(|| {
        let rules = one_rule();
        let theirs = Arc::clone(&rules);
        let writer = thread::spawn(move || {
            remove(&theirs);
            purge(&theirs);
        });
        let hold = rules.hold();
        for _ in 0..2 {
            let (content, _) = rules.read();
            assert!(!(content[0].is_visible(hold.version()) && content[0].is_freed));
        }
        drop(hold);
        writer.join().unwrap();
        purge(&rules);
        assert!(rules.read().0[0].is_freed, "nobody holds it any more");
    });
}

/// A worker's memory of a verdict.
struct Cached {
    generation: u64,
    is_old: bool,
}

/// A worker that remembers verdicts under generations, beside a command, `commit`, that removes the
/// rule. No verdict of the time before may be used once the command has returned.
fn check_staleness(commit: fn(&Published<Vec<ModelRule>>, &Generations<Vec<u64>>)) {
    loom::model(move || {
        let rules = one_rule();
        let generations = Arc::new(Generations::new(Vec::new()));
        let returned = Arc::new(AtomicU64::new(0));
        let theirs = (Arc::clone(&rules), Arc::clone(&generations), Arc::clone(&returned));
        let command = thread::spawn(move || {
            commit(&theirs.0, &theirs.1);
            theirs.2.store(1, Ordering::Release);
        });
        let mut cached = Cached { generation: 0, is_old: true };
        let mut batch = || {
            // Frames that come after the command are sent by somebody who knows that it returned.
            let came_after = returned.load(Ordering::Acquire) == 1;
            let generation = generations.latest();
            if cached.generation != generation {
                let (content, version) = rules.read();
                cached = Cached { generation, is_old: content[0].is_visible(version) };
            }
            assert!(!(came_after && cached.is_old), "stale");
        };
        batch();
        batch();
        command.join().unwrap();
        batch();
        let (log, latest) = generations.log();
        assert_eq!((log.as_slice(), latest), (&[2][..], 2));
    });
}

#[test]
fn no_old_verdict_is_used_after_a_command_has_returned() {
    check_staleness(|rules, generations| {
        remove(rules);
        generations.record(|log, generation| log.push(generation));
    });
}

#[test]
#[should_panic(expected = "stale")]
fn a_generation_counted_before_the_change_is_visible_would_leave_old_verdicts() {
    check_staleness(|rules, generations| {
        generations.record(|log, generation| log.push(generation));
        remove(rules);
    });
}
