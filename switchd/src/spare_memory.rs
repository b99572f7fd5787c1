//! Gives memory back to the system when caches or tables have emptied.
//!
//! A cached flow has a kilobyte and more in several pieces, and a rule has some hundred bytes. When
//! many of them have been freed, their memory lies between pieces that are in use, and the allocator
//! keeps it. The monitor looks at their numbers and has the allocator give memory back when most flows
//! or most rules have gone.

/// A smaller number of flows or rules is not worth a walk through the heaps.
const MANY: usize = 8192;

/// Remembers how many cached flows and rules there were.
#[derive(Debug, Default)]
pub(crate) struct SpareMemory {
    flows: Peak,
    rules: Peak,
}

/// The largest number of something since memory was given back.
#[derive(Debug, Default)]
struct Peak(usize);

impl SpareMemory {
    /// Gives memory back if there were many more flows in the caches of all workers, or many more rules, than
    /// there are now.
    pub(crate) fn look(&mut self, flows: usize, rules: usize) {
        let has_lost_flows = self.flows.has_fallen(flows);
        let has_lost_rules = self.rules.has_fallen(rules);
        if has_lost_flows || has_lost_rules {
            ports::give_back_memory();
        }
    }
}

impl Peak {
    /// Whether most of many have gone, now that there are `number`. The peak is `number` then.
    fn has_fallen(&mut self, number: usize) -> bool {
        self.0 = self.0.max(number);
        let has_fallen = self.0 - number >= MANY && number < self.0 / 2;
        if has_fallen {
            self.0 = number;
        }
        has_fallen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_has_fallen_when_most_of_many_have_gone() {
        let mut peak = Peak::default();
        let mut check =
            |number: usize, expected| assert_eq!(peak.has_fallen(number), expected, "{number}");
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
