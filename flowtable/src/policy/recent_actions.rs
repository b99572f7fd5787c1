//! Remembers action lists of rules that were added recently, so that rules with equal lists share one.
//!
//! A large table usually has few different lists, such as one output for each port and `drop`. When
//! a list is not found here, it takes memory of its own and nothing else is lost. So the memory may
//! forget any list at any time.

use flow::action::Action;
use std::sync::Arc;

/// Number of lists that are remembered. A list is at the index that its hash gives.
const PLACES: usize = 1024;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct RecentActions {
    places: Box<[Option<Arc<[Action]>>]>,
    hasher: ahash::RandomState,
}

impl RecentActions {
    /// Makes an empty memory. `seed` keys the hash function.
    pub(super) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, 0xac7, !seed, 0x105);
        Self { places: vec![None; PLACES].into(), hasher }
    }

    /// A list with these actions: one that another rule has already, or a new one.
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
