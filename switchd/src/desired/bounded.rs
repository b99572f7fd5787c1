//! A number between two limits, from a command line or a file.

use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;
use std::str::FromStr;

/// A number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bounded<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Bounded<MIN, MAX> {
    /// `None` if it is out of the limits.
    pub const fn new(number: u32) -> Option<Self> {
        if number < MIN || number > MAX { None } else { Some(Self(number)) }
    }

    /// A number that the program chose.
    ///
    /// # Panics
    /// It is out of the limits. In a constant the compiler finds that.
    pub const fn of(number: u32) -> Self {
        Self::new(number).expect("the program's own numbers are within the limits")
    }

    /// The number, which is within the bounds.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> FromStr for Bounded<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("must be a number from {MIN} to {MAX}");
        text.parse().ok().and_then(Self::new).ok_or_else(wrong)
    }
}

impl<const MIN: u32, const MAX: u32> fmt::Display for Bounded<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        let wrong =
            || de::Error::custom(format_args!("{number}: must be a number from {MIN} to {MAX}"));
        u32::try_from(number).ok().and_then(Self::new).ok_or_else(wrong)
    }
}
