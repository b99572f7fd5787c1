//! Every order in which a worker, another one and a command can use the pulse of a
//! connection, tried out by `loom`.
//!
//! The file under test is the real one, compiled once more with the atomics of `loom`.

#[allow(clippy::duplicate_mod, reason = "the same code on other atomics is the point")]
#[path = "pulse.rs"]
mod pulse;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use pulse::Pulse;

/// What `super::sync` is in the program.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
}

#[test]
fn a_frame_that_comes_behind_a_change_finds_it() {
    loom::model(|| {
        let pulse = Arc::new(Pulse::default());
        pulse.set_expires(100);
        let has_returned = Arc::new(AtomicBool::new(false));
        let worker = {
            let (pulse, has_returned) = (Arc::clone(&pulse), Arc::clone(&has_returned));
            thread::spawn(move || {
                // The frame comes, and then the worker looks at it.
                let comes_later = has_returned.load(Ordering::Acquire);
                let is_same = pulse.put_off(0, 10, 110);
                assert!(!(comes_later && is_same));
            })
        };
        pulse.advance();
        has_returned.store(true, Ordering::Release);
        worker.join().unwrap();
        assert_eq!(pulse.edition(), 1);
        assert!(!pulse.put_off(0, 12, 112));
    });
}

#[test]
fn nobody_puts_off_the_end_of_the_next_connection() {
    loom::model(|| {
        let pulse = Arc::new(Pulse::default());
        pulse.set_expires(100);
        let worker = {
            let pulse = Arc::clone(&pulse);
            thread::spawn(move || pulse.put_off(0, 10, 110))
        };
        // The connection goes, and another one gets the slot.
        pulse.advance();
        pulse.set_expires(50);
        worker.join().unwrap();
        assert_eq!((pulse.edition(), pulse.expires()), (1, 50));
    });
}

#[test]
fn of_two_workers_the_later_end_holds() {
    loom::model(|| {
        let pulse = Arc::new(Pulse::default());
        pulse.set_expires(100);
        let workers = [110, 120].map(|expires| {
            let pulse = Arc::clone(&pulse);
            thread::spawn(move || pulse.put_off(0, expires - 100, expires))
        });
        assert!(workers.into_iter().all(|worker| worker.join().unwrap()));
        assert_eq!(pulse.expires(), 120);
    });
}
