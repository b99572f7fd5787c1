//! An amount of memory, from a command line or a file: `256M`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Bytes, from 1 MiB to 1 TiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySize(u64);

/// The units and their powers of two, the largest first.
const UNITS: [(char, u32); 3] = [('G', 30), ('M', 20), ('K', 10)];

impl MemorySize {
    /// This many MiB.
    ///
    /// # Panics
    /// It is out of the limits. In a constant the compiler finds that.
    pub const fn mebibytes(number: u64) -> Self {
        assert!(1 <= number && number <= 1 << 20, "a size is within the limits");
        Self(number << 20)
    }

    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = UNITS.into_iter().find_map(|(unit, power)| {
            let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
            number.checked_mul(1 << power)
        });
        let is_within = |bytes: &u64| (1 << 20..=1 << 40).contains(bytes);
        let wrong = || "must be a size from 1M to 1024G, such as 8192K, 256M or 2G".to_owned();
        parsed.filter(is_within).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, power): &(char, u32)| self.0.trailing_zeros() >= *power;
        // Every size is a multiple of the smallest unit.
        let (unit, power) = UNITS.into_iter().find(fits).unwrap_or(('K', 10));
        write!(f, "{}{unit}", self.0 >> power)
    }
}

impl Serialize for MemorySize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |error| de::Error::custom(format_args!("\"{text}\": {error}"));
        text.parse().map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_a_unit() {
        let check = |text: &str, bytes: u64, printed: &str| {
            let size: MemorySize = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, printed));
        };
        check("256M", 256 << 20, "256M");
        check("2048K", 2 << 20, "2M");
        check("1025K", 1025 << 10, "1025K");
        check("1024M", 1 << 30, "1G");
        for wrong in ["", "256", "M", "0M", "512K", "-1M", "1.5G", "99999999999G", "256MiB"] {
            let error = wrong.parse::<MemorySize>().unwrap_err();
            assert!(error.contains("from 1M to 1024G"), "{wrong}: {error}");
        }
    }
}
