//! The form of messages on one connection.

use crate::packet_in::PacketInForm;
use flow::types::OfVersion;

/// The form of messages: the version, and the extensions of Nicira that are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The version in the header of every message.
    pub version: OfVersion,
    /// OpenFlow 1.0: whether flow mods, and requests for flow statistics, are Nicira's messages with extensible
    /// matches (`NXT_FLOW_MOD`, `NXST_FLOW`). Decoding takes both forms whatever this says.
    pub nxm: bool,
    /// OpenFlow 1.0: whether the upper byte of a flow mod's command is a table number
    /// (`NXT_FLOW_MOD_TABLE_ID`). If not, flow mods are about every table, and rules are added to table 0.
    pub table_id: bool,
    /// The form of packet-ins (`NXT_SET_PACKET_IN_FORMAT`). Decoding takes every form whatever this says.
    pub packet_in: PacketInForm,
}

impl Encoding {
    /// The form of a new connection of `version`, without extensions.
    pub fn new(version: OfVersion) -> Self {
        Self { version, nxm: false, table_id: false, packet_in: PacketInForm::Standard }
    }

    /// Whether messages are those of OpenFlow 1.0.
    pub(crate) fn is_10(self) -> bool {
        self.version == OfVersion::OpenFlow10
    }
}
