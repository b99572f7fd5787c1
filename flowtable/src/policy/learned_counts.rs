//! Counts of learned rules, and of the rules that learn with `delete_learned`: the limits of `learn(...)` and
//! the deletion of what has lost its last teacher need them.
//!
//! The counts are those that the change which is being prepared leaves. Taking the change back counts back.

use super::rule::Rule;
use super::tables::Tables;
use flow::action::Action;
use flow::learn::Learner;
use flow::types::{Cookie, TableId};
use std::collections::HashMap;
use std::hash::Hash;

/// How many learned rules a table has.
#[derive(Debug, Default)]
pub(super) struct LearnedCounts {
    all: usize,
    by_cookie: HashMap<Cookie, usize>,
}

impl LearnedCounts {
    fn add(&mut self, cookie: Cookie) {
        self.all += 1;
        *self.by_cookie.entry(cookie).or_default() += 1;
    }

    fn subtract(&mut self, cookie: Cookie) {
        self.all -= 1;
        take_one(&mut self.by_cookie, cookie);
    }
}

/// Subtracts one from a count, which goes when it is 0. Returns whether it went.
fn take_one<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) -> bool {
    match counts.get_mut(&key) {
        Some(count) if *count > 1 => {
            *count -= 1;
            false
        }
        Some(_) => counts.remove(&key).is_some(),
        None => false,
    }
}

impl Tables {
    /// Leaves a rule that goes out of the counts of learning. Returns the tables and cookies that have lost
    /// their last learner with `delete_learned`.
    pub(super) fn uncount_learning(&mut self, rule: &Rule) -> Vec<(TableId, Cookie)> {
        if rule.learned_by.is_some() {
            self.table_mut(rule.table).learned.subtract(rule.cookie);
        }
        let learners = deleting_learners(&rule.actions);
        let taught: Vec<_> = learners.iter().map(|l| (l.table, l.cookie)).collect();
        taught.into_iter().filter(|key| take_one(&mut self.learners, *key)).collect()
    }

    /// Takes a rule that comes, or comes back, into the counts of learning.
    pub(super) fn count_learning(&mut self, rule: &Rule) {
        if rule.learned_by.is_some() {
            self.table_mut(rule.table).learned.add(rule.cookie);
        }
        for learner in deleting_learners(&rule.actions) {
            *self.learners.entry((learner.table, learner.cookie)).or_default() += 1;
        }
    }

    /// Whether a rule learns with `delete_learned` into a table with a cookie.
    pub(super) fn has_learner(&self, table: TableId, cookie: Cookie) -> bool {
        self.learners.contains_key(&(table, cookie))
    }

    /// The number of learned rules of a table.
    pub fn learned_in(&self, table: TableId) -> usize {
        self.table(table).map_or(0, |table| table.learned.all)
    }

    /// The number of learned rules of a table that have a cookie.
    pub(super) fn learned_with(&self, table: TableId, cookie: Cookie) -> usize {
        let count = self.table(table).and_then(|table| table.learned.by_cookie.get(&cookie));
        count.copied().unwrap_or_default()
    }
}

/// The actions `learn` with `delete_learned` of a list, nested ones included.
fn deleting_learners(actions: &[Action]) -> Vec<&Learner> {
    let mut learners = Vec::new();
    for action in actions {
        match action {
            Action::Learn(learner) if learner.delete_learned => learners.push(&**learner),
            action => learners.extend(deleting_learners(action.nested().actions())),
        }
    }
    learners
}
