//! Goals: a number, or a ratio of two results of the same run, that should be reached.

use serde::Serialize;

/// A number that was wanted, and the one that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// What is to be reached, or compared with what.
    pub name: String,
    /// What was measured; absent if it, or one side of a ratio, is.
    pub measured: Option<f64>,
    /// The limit that it is compared with.
    pub wanted: GoalLimit,
}

/// The limit of a goal.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GoalLimit {
    /// The number must not be less than this.
    AtLeast(f64),
    /// The number must not be more than this.
    AtMost(f64),
    /// The number must be less than this.
    Below(f64),
}

impl Goal {
    /// `measured` is to be at least `limit`.
    pub fn at_least(name: &str, measured: Option<f64>, limit: f64) -> Self {
        Self { name: name.to_owned(), measured, wanted: GoalLimit::AtLeast(limit) }
    }

    /// `ours` is to be at least `factor` times `theirs`.
    pub fn ratio(name: &str, ours: Option<f64>, factor: f64, theirs: Option<f64>) -> Self {
        Self::at_least(name, ours.zip(theirs).map(|(ours, theirs)| ours / theirs), factor)
    }

    /// `measured` is to be `limit` or less.
    pub fn at_most(name: &str, measured: Option<f64>, limit: f64) -> Self {
        Self { name: name.to_owned(), measured, wanted: GoalLimit::AtMost(limit) }
    }

    /// `measured` is to be less than `limit`.
    pub fn below(name: &str, measured: Option<f64>, limit: f64) -> Self {
        Self { name: name.to_owned(), measured, wanted: GoalLimit::Below(limit) }
    }

    /// Whether it was reached; absent if it was not measured.
    pub fn is_met(&self) -> Option<bool> {
        self.measured.map(|measured| match self.wanted {
            GoalLimit::AtLeast(limit) => measured >= limit,
            GoalLimit::AtMost(limit) => measured <= limit,
            GoalLimit::Below(limit) => measured < limit,
        })
    }
}

impl std::fmt::Display for Goal {
    /// The width is that of the name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = match self.is_met() {
            None => "not measured",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        let wanted = match self.wanted {
            GoalLimit::AtLeast(limit) => format!(">= {limit}"),
            GoalLimit::AtMost(limit) => format!("<= {limit}"),
            GoalLimit::Below(limit) => format!("< {limit}"),
        };
        let measured = match self.measured {
            None => "-".to_owned(),
            Some(number) if number.abs() < 100.0 => format!("{number:.2}"),
            Some(number) => format!("{number:.0}"),
        };
        let width = f.width().unwrap_or(0);
        write!(f, "{:<width$} {wanted:>7} {measured:>6}  {verdict}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_without_both_sides_is_neither_met_nor_missed() {
        assert_eq!(Goal::ratio("twice", Some(2.0), 2.0, None).is_met(), None);
        assert_eq!(Goal::ratio("twice", Some(2.0), 2.0, Some(1.0)).is_met(), Some(true));
        assert_eq!(Goal::ratio("twice", Some(1.9), 2.0, Some(1.0)).is_met(), Some(false));
    }

    #[test]
    fn a_limit_may_be_reached_unless_it_is_to_stay_below() {
        assert_eq!(Goal::at_least("rate", Some(1.0), 1.0).is_met(), Some(true));
        assert_eq!(Goal::at_most("wrong", Some(0.0), 0.0).is_met(), Some(true));
        assert_eq!(Goal::at_most("wrong", Some(1.0), 0.0).is_met(), Some(false));
        assert_eq!(Goal::below("idle", Some(1.0), 1.0).is_met(), Some(false));
    }

    #[test]
    fn large_numbers_have_no_decimals() {
        let goal = Goal::at_least("setup", Some(1323.74), 300.0).to_string();
        assert!(goal.ends_with(" >= 300   1324  met"), "{goal}");
    }
}
