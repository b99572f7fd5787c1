//! Goals: a ratio of two results of the same run that should be reached.

use serde::Serialize;

/// A ratio that was wanted, and the one that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// What is compared with what.
    pub name: String,
    /// What was measured; absent if one side is.
    pub measured: Option<f64>,
    /// The limit.
    pub wanted: Wanted,
}

/// The limit of a goal.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Not less.
    AtLeast(f64),
    /// Less.
    Below(f64),
}

impl Goal {
    /// `ours` is to be at least `factor` times `theirs`.
    pub fn at_least(name: &str, ours: Option<f64>, factor: f64, theirs: Option<f64>) -> Self {
        let measured = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        Self { name: name.to_owned(), measured, wanted: Wanted::AtLeast(factor) }
    }

    /// `measured` is to be less than `limit`.
    pub fn below(name: &str, measured: Option<f64>, limit: f64) -> Self {
        Self { name: name.to_owned(), measured, wanted: Wanted::Below(limit) }
    }

    /// Whether it was reached; absent if it was not measured.
    pub fn is_met(&self) -> Option<bool> {
        self.measured.map(|measured| match self.wanted {
            Wanted::AtLeast(limit) => measured >= limit,
            Wanted::Below(limit) => measured < limit,
        })
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = match self.is_met() {
            None => "not measured",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        let wanted = match self.wanted {
            Wanted::AtLeast(limit) => format!(">= {limit}"),
            Wanted::Below(limit) => format!("< {limit}"),
        };
        let measured = self.measured.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        write!(f, "{:<62} {wanted:>7} {measured:>6}  {verdict}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_without_both_sides_is_neither_met_nor_missed() {
        assert_eq!(Goal::at_least("twice", Some(2.0), 2.0, None).is_met(), None);
        assert_eq!(Goal::at_least("twice", Some(2.0), 2.0, Some(1.0)).is_met(), Some(true));
        assert_eq!(Goal::at_least("twice", Some(1.9), 2.0, Some(1.0)).is_met(), Some(false));
        assert_eq!(Goal::below("idle", Some(1.0), 1.0).is_met(), Some(false));
    }
}
