//! The gate through which everybody passes who changes something, so that nothing changes while another program
//! prepares to take over.
//!
//! Commands wait at the closed gate ([`Gate::enter`]). Work that can be
//! done later is left ([`Gate::try_enter`]).

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The time between two signs that somebody waits for those who are inside.
const STEP: Duration = Duration::from_millis(500);

/// The gate; open at first.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    position: Position,
    /// The number of those who have entered and not left.
    inside: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    #[default]
    Open,
    Closed,
    /// Another program has taken over.
    HandedOver,
    /// The switch ends, and no other program can take over any more.
    Ended,
}

/// Another program has taken over from this one, in which nothing may be changed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another program has taken over from this one")]
pub(crate) struct HandedOver;

/// Why the gate could not be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CloseError {
    /// Somebody else has closed the gate.
    #[error("another restart is under way")]
    Closed,
    /// Those who were inside did not leave in time.
    #[error("changes that were under way did not end within {} s", .0.as_secs())]
    Late(Duration),
}

/// Held by somebody who changes something.
#[derive(Debug)]
pub(crate) struct Passage<'a>(&'a Gate);

/// Held while the gate is closed. Dropping this value opens the gate again.
#[derive(Debug)]
pub(crate) struct ClosedGate<'a>(&'a Gate);

impl Gate {
    /// Waits until the gate is open, and enters.
    ///
    /// # Errors
    /// Another program has taken over.
    pub(crate) fn enter(&self) -> Result<Passage<'_>, HandedOver> {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.position == Position::Closed);
        match state.position {
            Position::HandedOver => Err(HandedOver),
            Position::Open | Position::Closed | Position::Ended => {
                state.inside += 1;
                Ok(Passage(self))
            }
        }
    }

    /// Enters if the gate is open.
    pub(crate) fn try_enter(&self) -> Option<Passage<'_>> {
        let mut state = self.state.lock();
        if state.position != Position::Open {
            return None;
        }
        state.inside += 1;
        Some(Passage(self))
    }

    /// Closes the gate, and waits for `limit` until all who are inside have left. Meanwhile `waiting` is called
    /// twice a second.
    ///
    /// # Errors
    /// Somebody else has closed the gate, or somebody is inside still; the gate is as it was.
    pub(crate) fn close(
        &self,
        limit: Duration,
        waiting: impl Fn(),
    ) -> Result<ClosedGate<'_>, CloseError> {
        let mut state = self.state.lock();
        if state.position != Position::Open {
            return Err(CloseError::Closed);
        }
        state.position = Position::Closed;
        let until = Instant::now() + limit;
        while state.inside > 0 && Instant::now() < until {
            let step = until.min(Instant::now() + STEP);
            self.changed.wait_while_until(&mut state, |state| state.inside > 0, step);
            MutexGuard::unlocked(&mut state, &waiting);
        }
        let is_empty = state.inside == 0;
        drop(state);
        let closed = ClosedGate(self);
        if is_empty { Ok(closed) } else { Err(CloseError::Late(limit)) }
    }

    /// Waits for a hand-over that is under way, and allows no further one: the switch ends.
    ///
    /// # Errors
    /// Another program has taken over.
    pub(crate) fn end(&self) -> Result<(), HandedOver> {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.position == Position::Closed);
        if state.position == Position::HandedOver {
            return Err(HandedOver);
        }
        state.position = Position::Ended;
        Ok(())
    }

    /// Whether another program has taken over.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.state.lock().position == Position::HandedOver
    }

    fn set(&self, position: Position) {
        self.state.lock().position = position;
        self.changed.notify_all();
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        self.0.state.lock().inside -= 1;
        self.0.changed.notify_all();
    }
}

impl ClosedGate<'_> {
    /// Another program has taken over: the gate stays closed for ever, and tells so to those who wait.
    pub(crate) fn hand_over(self) {
        self.0.set(Position::HandedOver);
    }
}

impl Drop for ClosedGate<'_> {
    fn drop(&mut self) {
        if self.0.state.lock().position == Position::Closed {
            self.0.set(Position::Open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_closed_gate_lets_nobody_in_until_it_opens() {
        let gate = Gate::default();
        let passage = gate.enter().unwrap();
        assert_eq!(
            gate.close(Duration::ZERO, || ()).unwrap_err(),
            CloseError::Late(Duration::ZERO)
        );
        assert!(gate.try_enter().is_some(), "it is open again");
        drop(passage);
        let closed = gate.close(LONG, || ()).unwrap();
        assert!(gate.try_enter().is_none());
        assert_eq!(gate.close(LONG, || ()).unwrap_err(), CloseError::Closed);
        let is_open = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let entered = gate.enter().is_ok();
                (entered, is_open.load(Ordering::SeqCst))
            });
            is_open.store(true, Ordering::SeqCst);
            drop(closed);
            assert_eq!(waiting.join().unwrap(), (true, true));
        });
    }

    #[test]
    fn who_closes_the_gate_gives_signs_of_life() {
        let gate = Gate::default();
        let (signs, passage) = (AtomicUsize::new(0), Mutex::new(gate.enter().ok()));
        let leave_at_the_second = || {
            if signs.fetch_add(1, Ordering::Relaxed) == 1 {
                drop(passage.lock().take());
            }
        };
        gate.close(LONG, leave_at_the_second).unwrap();
        assert!(signs.into_inner() >= 2);
    }

    #[test]
    fn who_waits_is_told_of_the_other_program() {
        let gate = Gate::default();
        let closed = gate.close(LONG, || ()).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.enter().map(drop));
            closed.hand_over();
            assert_eq!(waiting.join().unwrap(), Err(HandedOver));
        });
        assert!(gate.try_enter().is_none());
        assert_eq!(gate.close(LONG, || ()).unwrap_err(), CloseError::Closed);
        assert!(gate.is_handed_over());
        assert_eq!(gate.end(), Err(HandedOver));
    }

    #[test]
    fn a_switch_that_ends_is_not_handed_over() {
        let gate = Gate::default();
        gate.end().unwrap();
        assert_eq!(gate.close(LONG, || ()).unwrap_err(), CloseError::Closed);
        assert!(gate.enter().is_ok() && !gate.is_handed_over());
    }
}
