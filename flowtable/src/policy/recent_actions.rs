//! Lists of actions that rules were given lately, so that rules with equal ones share them.
//!
//! A large table has few different ones, as a rule: a port each, or `drop`. A list that is not found
//! is only not shared, so there is no need to remember all, nor to forget any in time.

use flow::action::Action;
use std::sync::Arc;

/// Lists that are remembered, each at the place that its hash names.
const PLACES: usize = 1024;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct RecentActions {
    places: Box<[Option<Arc<[Action]>>]>,
    hasher: ahash::RandomState,
}

impl RecentActions {
    /// None yet. The seed keys the hash function.
    pub(super) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, 0xac7, !seed, 0x105);
        Self { places: vec![None; PLACES].into(), hasher }
    }

    /// These actions, in memory that another rule may have already.
    pub(super) fn share(&mut self, actions: &[Action]) -> Arc<[Action]> {
        let place = self.hasher.hash_one(actions) as usize % PLACES;
        match &self.places[place] {
            Some(known) if **known == *actions => Arc::clone(known),
            _ => Arc::clone(self.places[place].insert(actions.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_actions_are_one_and_others_are_not() {
        let mut recent = RecentActions::new(1);
        let lists: Vec<_> =
            (0..5000).map(|n| recent.share(&[Action::SetQueue(n), Action::Exit])).collect();
        for (n, list) in lists.iter().enumerate() {
            assert_eq!(**list, [Action::SetQueue(n as u32), Action::Exit]);
        }
        let (first, second) =
            (recent.share(&[Action::PopQueue]), recent.share(&[Action::PopQueue]));
        assert!(Arc::ptr_eq(&first, &second));
    }
}
