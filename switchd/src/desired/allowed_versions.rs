//! The versions of OpenFlow that a bridge speaks.

use control::version::{NAMES, name, parse};
use flow::types::OfVersion;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Versions of OpenFlow, the lowest one first: one at least, and none twice. By default all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedVersions(Vec<OfVersion>);

impl AllowedVersions {
    /// The versions with these names (`OpenFlow13`). No name at all allows every version, as in `ovs-vsctl`.
    ///
    /// # Errors
    /// A name that no version has.
    pub fn of_names<T: AsRef<str>>(names: &[T]) -> Result<Self, String> {
        let read = |text: &T| {
            let text = text.as_ref();
            let all = NAMES.map(|(_, name)| name).join(", ");
            parse(text).ok_or_else(|| format!("\"{text}\" is no OpenFlow version: use {all}"))
        };
        let mut versions = names.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        versions.sort_unstable();
        versions.dedup();
        Ok(if versions.is_empty() { Self::default() } else { Self(versions) })
    }

    /// The versions, the lowest one first.
    pub fn versions(&self) -> &[OfVersion] {
        &self.0
    }

    /// Their names, the lowest version first.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|version| name(*version)).collect()
    }

    /// Whether every version is allowed.
    pub fn is_all(&self) -> bool {
        self.0.len() == OfVersion::ALL.len()
    }
}

impl Default for AllowedVersions {
    fn default() -> Self {
        Self(OfVersion::ALL.to_vec())
    }
}

impl FromStr for AllowedVersions {
    type Err = String;

    /// Reads names with commas between.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::of_names(&text.split(',').map(str::trim).collect::<Vec<_>>())
    }
}

impl fmt::Display for AllowedVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

impl Serialize for AllowedVersions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.names().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AllowedVersions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of_names(&Vec::<String>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_version_at_all_is_every_version() {
        assert!(AllowedVersions::of_names::<&str>(&[]).unwrap().is_all());
        let some: AllowedVersions = "OpenFlow13, openflow10,OpenFlow13".parse().unwrap();
        assert_eq!(some.to_string(), "OpenFlow10,OpenFlow13");
        assert!(!some.is_all());
        let error = "OpenFlow16".parse::<AllowedVersions>().unwrap_err();
        assert!(
            error.starts_with("\"OpenFlow16\" is no OpenFlow version: use OpenFlow10"),
            "{error}"
        );
    }
}
