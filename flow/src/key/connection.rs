//! What connection tracking says of a packet, as a key has it.

use super::{FLOW_WORDS, HEADER_WORDS, Headers, Segment};
use std::ops::Range;

/// Indices of the connection's words in [`Headers`].
const CONNECTION_WORDS: Range<usize> = {
    const BEFORE: usize = FLOW_WORDS - HEADER_WORDS;
    let (state, label) = (Segment::CT.words(), Segment::CT_LABEL.words());
    let (tuple, addresses) = (Segment::CT_TUPLE.words(), Segment::CT_IPV6.words());
    let are_neighbours =
        state.end == label.start && label.end == tuple.start && tuple.end == addresses.start;
    assert!(are_neighbours, "the segments of the connection are neighbours");
    state.start - BEFORE..addresses.end - BEFORE
};

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
        self.words_mut()[CONNECTION_WORDS].fill(0);
    }

    /// Takes over what connection tracking said of the packet of `other`.
    pub fn copy_connection(&mut self, other: &Self) {
        self.words_mut()[CONNECTION_WORDS].copy_from_slice(&other.words()[CONNECTION_WORDS]);
    }

    /// Sets every bit of the connection, for a mask.
    pub fn mark_connection(&mut self) {
        self.words_mut()[CONNECTION_WORDS].fill(u64::MAX);
    }
}
