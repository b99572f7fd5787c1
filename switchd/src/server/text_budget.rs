//! How much text all sessions together may hold.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of text that wait for the end of their transaction, in all sessions: some millions of rules.
pub(super) const MAX_TEXT: usize = 512 << 20;

/// Counts the text that is held.
#[derive(Debug, Default)]
pub(super) struct TextBudget {
    used: AtomicUsize,
}

/// The text of one transaction, within the budget.
#[derive(Debug)]
pub(super) struct Text<'a> {
    budget: &'a TextBudget,
    bytes: Vec<u8>,
}

impl TextBudget {
    /// Room for a new transaction.
    pub(super) fn text(&self) -> Text<'_> {
        Text { budget: self, bytes: Vec::new() }
    }
}

impl Text<'_> {
    /// Takes more; false if there is no room.
    pub(super) fn push(&mut self, more: &[u8]) -> bool {
        let before = self.budget.used.fetch_add(more.len(), Ordering::Relaxed);
        if before + more.len() > MAX_TEXT {
            self.budget.used.fetch_sub(more.len(), Ordering::Relaxed);
            return false;
        }
        self.bytes.extend(more);
        true
    }

    /// The text that has been taken.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Drops the text, and gives its bytes back to the budget.
    pub(super) fn clear(&mut self) {
        self.budget.used.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        self.bytes = Vec::new();
    }
}

impl Drop for Text<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_share_the_room_and_give_it_back() {
        let budget = TextBudget::default();
        let half = vec![0; MAX_TEXT / 2];
        let mut first = budget.text();
        assert!(first.push(&half));
        assert!(first.push(b"more"));
        let mut second = budget.text();
        assert!(!second.push(&half));
        assert!(second.push(b"a little"));
        drop(first);
        assert!(second.push(&half));
        second.clear();
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
