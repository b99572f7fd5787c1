//! What connection tracking says of a packet, as a key has it.

use super::Headers;

/// The bits of `ct_state` (ovs-fields(7)). Zero says that no connection was looked up.
pub mod ct_state {
    /// The packet begins a connection that is not committed yet.
    pub const NEW: u16 = 0x01;
    /// The packet belongs to a committed connection.
    pub const ESTABLISHED: u16 = 0x02;
    /// The packet is about a committed connection: an ICMP error, or a connection that another one announced.
    pub const RELATED: u16 = 0x04;
    /// The packet goes against the direction of the connection's first packet.
    pub const REPLY: u16 = 0x08;
    /// The packet cannot belong to any connection.
    pub const INVALID: u16 = 0x10;
    /// A connection was looked up for the packet.
    pub const TRACKED: u16 = 0x20;
    /// The connection's source address or port is translated.
    pub const SRC_NAT: u16 = 0x40;
    /// The connection's destination address or port is translated.
    pub const DST_NAT: u16 = 0x80;
}

impl Headers {
    /// Forgets what connection tracking said of the packet.
    pub fn clear_connection(&mut self) {
        let cleared = Self::default();
        (self.ct_state, self.ct_zone, self.ct_mark) =
            (cleared.ct_state, cleared.ct_zone, cleared.ct_mark);
        (self.ct_label, self.ct_nw_proto) = (cleared.ct_label, cleared.ct_nw_proto);
        (self.ct_nw_src, self.ct_nw_dst) = (cleared.ct_nw_src, cleared.ct_nw_dst);
        (self.ct_tp_src, self.ct_tp_dst) = (cleared.ct_tp_src, cleared.ct_tp_dst);
        (self.ct_ipv6_src, self.ct_ipv6_dst) = (cleared.ct_ipv6_src, cleared.ct_ipv6_dst);
    }
}
