//! What a key says of the tunnel that a packet came through, or goes through next.

use super::{FLOW_WORDS, HEADER_WORDS, Headers, HotKey, RareHeaders, Segment};
use packet::TunnelKey;
use std::net::IpAddr;
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

impl HotKey {
    /// Says through which tunnel the frame came, once the frame's own headers are in the key.
    pub fn come_through(&mut self, rare: &mut RareHeaders, tunnel: &TunnelKey) {
        let hot = self;
        hot.begin(rare, Segment::TUNNEL);
        rare.tun_id.set(tunnel.id);
        match (tunnel.source, tunnel.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                rare.tun_src.set(source.to_bits());
                rare.tun_dst.set(destination.to_bits());
            }
            (source, destination) => {
                hot.begin(rare, Segment::TUNNEL_IPV6);
                rare.tun_ipv6_src = ipv6(source);
                rare.tun_ipv6_dst = ipv6(destination);
            }
        }
        rare.tun_flags.set(if tunnel.is_oam { tun_flags::OAM } else { 0 });
        rare.tun_gbp_id.set(tunnel.group_policy.id);
        rare.tun_gbp_flags = tunnel.group_policy.flags;
        (rare.tun_tos, rare.tun_ttl) = (tunnel.tos, tunnel.ttl);
    }
}

/// The bytes of an address; those of an IPv4 address mapped into IPv6.
fn ipv6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

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
