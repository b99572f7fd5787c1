//! Requests of many threads that one of them carries out together.
//!
//! A system call for each request, under a lock, has every thread wait for its turn, and each turn costs
//! a change of threads. Here a thread leaves its request in a queue. If no other thread is serving the queue,
//! the thread serves the queue itself until it is empty; otherwise the thread sleeps until its answer is there.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A queue of requests `Q`, each of which gets an answer `A`.
#[derive(Debug)]
pub(crate) struct Combiner<Q, A>(Mutex<State<Q, A>>);

#[derive(Debug)]
struct State<Q, A> {
    waiting: VecDeque<(Q, Arc<Ticket<A>>)>,
    /// A thread is serving the queue, and will see every request that is added.
    is_served: bool,
}

/// What a thread waits for.
#[derive(Debug)]
struct Ticket<A> {
    answer: Mutex<Option<A>>,
    answered: Condvar,
}

impl<Q, A> Default for Combiner<Q, A> {
    fn default() -> Self {
        Self(Mutex::new(State { waiting: VecDeque::new(), is_served: false }))
    }
}

impl<Q, A> Combiner<Q, A> {
    /// Returns the answer to `request`. `serve` answers up to `most` requests in their order; it runs on
    /// this thread, for requests of other threads as well, or on another thread that is in this function.
    pub(crate) fn ask(&self, request: Q, most: usize, serve: impl Fn(Vec<Q>) -> Vec<A>) -> A {
        let ticket = Arc::new(Ticket { answer: Mutex::new(None), answered: Condvar::new() });
        let mut state = lock(&self.0);
        state.waiting.push_back((request, Arc::clone(&ticket)));
        if !state.is_served {
            state.is_served = true;
            while !state.waiting.is_empty() {
                let count = state.waiting.len().min(most.max(1));
                let (requests, tickets): (Vec<Q>, Vec<_>) = state.waiting.drain(..count).unzip();
                drop(state);
                let answers = serve(requests);
                assert_eq!(answers.len(), count, "every request has an answer");
                for (ticket, answer) in tickets.iter().zip(answers) {
                    *lock(&ticket.answer) = Some(answer);
                    ticket.answered.notify_one();
                }
                state = lock(&self.0);
            }
            state.is_served = false;
        }
        drop(state);
        let mut answer = lock(&ticket.answer);
        loop {
            match answer.take() {
                Some(answer) => return answer,
                None => {
                    answer = ticket.answered.wait(answer).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// No code that may panic runs under these locks, so that a poisoned one guards whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const THREADS: usize = 8;

    #[test]
    fn every_thread_gets_its_own_answer_and_requests_are_served_together() {
        let (combiner, calls) = (Combiner::default(), AtomicUsize::new(0));
        let all = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (combiner, calls, all) = (&combiner, &calls, &all);
                scope.spawn(move || {
                    let serve = |requests: Vec<usize>| {
                        // The first call waits until the requests of the other threads are in the queue.
                        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                            all.wait();
                            while lock(&combiner.0).waiting.len() < THREADS - 1 {
                                std::thread::yield_now();
                            }
                        }
                        assert!(requests.len() <= 4);
                        requests.into_iter().map(|request| 10 * request).collect()
                    };
                    if thread > 0 {
                        all.wait();
                    }
                    assert_eq!(combiner.ask(thread, 4, serve), 10 * thread);
                });
            }
        });
        // One request alone, the seven others in two calls.
        assert_eq!(calls.into_inner(), 3);
    }

    #[test]
    fn a_queue_that_was_emptied_is_served_again() {
        let combiner = Combiner::default();
        let answers: Vec<_> = (0..3).map(|n| combiner.ask(n, 1, |all: Vec<i32>| all)).collect();
        assert_eq!(answers, [0, 1, 2]);
    }
}
