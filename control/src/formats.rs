//! Flow formats in messages: by the names that `ovs-ofctl -F` takes, such as `NXM+table_id,OpenFlow10`.

use flow::text::Protocols;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(
    formats: &Protocols,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(formats)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Protocols, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}
