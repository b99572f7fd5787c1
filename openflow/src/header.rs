//! The header of every message (`ofp_header`): version, type, length, transaction id.

use flow::types::OfVersion;

/// Size of the header in bytes.
pub const HEADER_SIZE: usize = 8;

/// The header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// The version as its number in messages: 1 for OpenFlow 1.0, and so on.
    pub version: u8,
    /// The type of the message (`OFPT_*`).
    pub kind: u8,
    /// The length of the message in bytes, with the header.
    pub len: u16,
    /// The transaction id, which a reply repeats.
    pub xid: u32,
}

impl MessageHeader {
    /// The header at the front of `bytes`; `None` if there are too few.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [version, kind, l0, l1, x0, x1, x2, x3] = *bytes.first_chunk::<HEADER_SIZE>()?;
        let len = u16::from_be_bytes([l0, l1]);
        Some(Self { version, kind, len, xid: u32::from_be_bytes([x0, x1, x2, x3]) })
    }
}

/// The number of a version in messages.
pub(crate) fn version_number(version: OfVersion) -> u8 {
    version as u8 + 1
}

/// The version with this number in messages; `None` if there is none from 1.0 to 1.5.
pub(crate) fn version_of_number(number: u8) -> Option<OfVersion> {
    OfVersion::ALL.into_iter().find(|version| version_number(*version) == number)
}
