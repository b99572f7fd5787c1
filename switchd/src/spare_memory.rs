//! Gives memory back to the system when caches have emptied.
//!
//! A cached flow has a kilobyte and more in several pieces. When many flows have been freed, their memory lies between
//! pieces that are in use, and the allocator keeps it. The monitor looks at the number of cached flows and has the
//! allocator give memory back when most of them have gone.

/// A smaller number of flows is not worth a walk through the heaps.
const MANY: usize = 8192;

/// Remembers how many flows the caches had.
#[derive(Debug, Default)]
pub(crate) struct SpareMemory {
    /// The largest number of cached flows since memory was given back.
    peak: usize,
}

impl SpareMemory {
    /// Gives memory back if the caches of all workers, which have `flows` flows now, had many more.
    pub(crate) fn look(&mut self, flows: usize) {
        if self.is_due(flows) {
            ports::give_back_memory();
        }
    }

    fn is_due(&mut self, flows: usize) -> bool {
        self.peak = self.peak.max(flows);
        let is_due = self.peak - flows >= MANY && flows < self.peak / 2;
        if is_due {
            self.peak = flows;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_most_flows_have_gone() {
        let mut memory = SpareMemory::default();
        let mut check =
            |flows: usize, expected| assert_eq!(memory.is_due(flows), expected, "{flows}");
        check(MANY - 1, false);
        check(0, false);
        check(100_000, false);
        check(60_000, false);
        check(40_000, true);
        check(39_000, false);
        check(30_000, false);
        check(19_000, true);
        check(0, true);
        check(0, false);
    }
}
