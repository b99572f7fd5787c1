//! What a key says of the tunnel that a packet came through, or goes through next.

use super::{FLOW_WORDS, HEADER_WORDS, Headers, Segment};
use std::ops::Range;

/// The bits of `tun_flags` (ovs-fields(7)).
pub mod tun_flags {
    /// The packet is a control packet of the tunnel's ends, no data (OAM, the flag O of Geneve).
    pub const OAM: u16 = 0x01;
}

/// Indices of the tunnel's words in [`Headers`].
const TUNNEL_WORDS: Range<usize> = {
    const BEFORE: usize = FLOW_WORDS - HEADER_WORDS;
    let (first, last) = (Segment::TUNNEL.words(), Segment::TUNNEL_IPV6.words());
    assert!(first.end == last.start, "the two segments of the tunnel are neighbours");
    first.start - BEFORE..last.end - BEFORE
};

impl Headers {
    /// Takes over what `other` says of the tunnel.
    pub fn copy_tunnel(&mut self, other: &Self) {
        self.words_mut()[TUNNEL_WORDS].copy_from_slice(&other.words()[TUNNEL_WORDS]);
    }

    /// Says that the packet came through the tunnel that `other` has, if `other` has one.
    pub fn come_through(&mut self, other: &Self) {
        let has = |segment: Segment| {
            let words = segment.words();
            let before = FLOW_WORDS - HEADER_WORDS;
            other.words()[words.start - before..words.end - before].iter().any(|word| *word != 0)
        };
        self.copy_tunnel(other);
        if has(Segment::TUNNEL) || has(Segment::TUNNEL_IPV6) {
            self.segments = self.segments.or(Segment::TUNNEL.id);
        }
        if has(Segment::TUNNEL_IPV6) {
            self.segments = self.segments.or(Segment::TUNNEL_IPV6.id);
        }
    }

    /// Sets every bit of the tunnel, for a mask.
    pub fn mark_tunnel(&mut self) {
        self.words_mut()[TUNNEL_WORDS].fill(u64::MAX);
    }
}
