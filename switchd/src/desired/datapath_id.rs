//! The number by which controllers know a bridge.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A datapath id: 64 bits, written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatapathId(pub u64);

impl FromStr for DatapathId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_valid = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        // Open vSwitch, too, has no bridge with the id 0.
        let id = u64::from_str_radix(text, 16).ok().filter(|id| is_valid && *id != 0);
        let wrong = "must be 16 hexadecimal digits, not all 0, for example 00002a1b3c4d5e6f";
        id.map(Self).ok_or_else(|| wrong.to_owned())
    }
}

impl fmt::Display for DatapathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for DatapathId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DatapathId {
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
    fn an_id_has_sixteen_digits() {
        let id: DatapathId = "00002A1b3c4d5e6f".parse().unwrap();
        assert_eq!(id, DatapathId(0x2a1b_3c4d_5e6f));
        assert_eq!(id.to_string(), "00002a1b3c4d5e6f");
        for wrong in ["", "1", "0x2a1b3c4d5e6f00", "+0002a1b3c4d5e6f", "0000000000000000"] {
            assert!(wrong.parse::<DatapathId>().is_err(), "{wrong}");
        }
    }
}
