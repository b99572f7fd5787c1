//! Names of OpenFlow versions, in text and in requests.

use flow::types::OfVersion;
use serde::{Deserialize, Deserializer, Serializer};

/// All versions with the names that `-O` takes.
pub const NAMES: [(OfVersion, &str); 6] = [
    (OfVersion::OpenFlow10, "OpenFlow10"),
    (OfVersion::OpenFlow11, "OpenFlow11"),
    (OfVersion::OpenFlow12, "OpenFlow12"),
    (OfVersion::OpenFlow13, "OpenFlow13"),
    (OfVersion::OpenFlow14, "OpenFlow14"),
    (OfVersion::OpenFlow15, "OpenFlow15"),
];

/// The name of a version.
pub fn name(version: OfVersion) -> &'static str {
    NAMES[version as usize].1
}

/// The version with this name, whatever the case.
pub fn parse(text: &str) -> Option<OfVersion> {
    NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(version, _)| *version)
}

/// Writes a version by its name, for serde's `with`.
pub(crate) fn serialize<S: Serializer>(version: &OfVersion, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name(*version))
}

/// Reads a version by its name, for serde's `with`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<OfVersion, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no OpenFlow version")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_found_by_its_name() {
        for (version, text) in NAMES {
            assert_eq!(name(version), text);
            assert_eq!(parse(&text.to_lowercase()), Some(version));
        }
        assert_eq!(parse("OpenFlow16"), None);
    }
}
