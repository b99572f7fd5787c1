//! The names of OpenFlow versions (`OpenFlow13`), as `-O` takes them and as requests carry them in JSON.

use flow::types::OfVersion;
use serde::{Deserialize, Deserializer, Serializer};

/// Every version with its name. A version's discriminant is its index.
pub const NAMES: [(OfVersion, &str); 6] = [
    (OfVersion::OpenFlow10, "OpenFlow10"),
    (OfVersion::OpenFlow11, "OpenFlow11"),
    (OfVersion::OpenFlow12, "OpenFlow12"),
    (OfVersion::OpenFlow13, "OpenFlow13"),
    (OfVersion::OpenFlow14, "OpenFlow14"),
    (OfVersion::OpenFlow15, "OpenFlow15"),
];

/// The name of a version: `OpenFlow13`.
pub fn name(version: OfVersion) -> &'static str {
    NAMES[version as usize].1
}

/// The version with this name, in upper or lower case; `None` if there is none.
pub fn parse(text: &str) -> Option<OfVersion> {
    NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(version, _)| *version)
}

/// Serializes a version as its name (`#[serde(with = "crate::version")]`).
pub(crate) fn serialize<S: Serializer>(version: &OfVersion, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name(*version))
}

/// Deserializes a version from its name (`#[serde(with = "crate::version")]`).
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<OfVersion, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    parse(&text).ok_or_else(|| {
        let names = NAMES.map(|(_, name)| name).join(", ");
        serde::de::Error::custom(format!("{text:?} is no OpenFlow version: use one of {names}"))
    })
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
