//! What a key says of the tunnel that a packet came through, or goes through next.

use super::{FLOW_WORDS, HEADER_WORDS, Headers, HotKey, RareHeaders, Segment};
use packet::wire::GeneveOptions;
use packet::{OptionMap, TunnelKey};
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
    let (first, next) = (Segment::TUNNEL.words(), Segment::TUNNEL_IPV6.words());
    let last = Segment::TUNNEL_OPTIONS.words();
    let are_neighbours = first.end == next.start && next.end == last.start;
    assert!(are_neighbours, "the segments of the tunnel are neighbours");
    first.start - BEFORE..last.end - BEFORE
};

impl HotKey {
    /// Says through which tunnel the frame came, once the frame's own headers are in the key. `map` says which
    /// options are fields.
    pub fn come_through(&mut self, rare: &mut RareHeaders, tunnel: &TunnelKey, map: &OptionMap) {
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
        if let Some(options) = &tunnel.options {
            hot.take_options(rare, options, map);
        }
    }

    /// Fills in the options that are fields. Later ones replace earlier ones of the same kind.
    fn take_options(&mut self, rare: &mut RareHeaders, options: &[u8], map: &OptionMap) {
        for option in GeneveOptions::new(options) {
            let Some(mapped) = map.find(&option) else { continue };
            let place = metadata_place(mapped.field);
            let data = option.data();
            // An option of another size came before the map was changed.
            if data.len() != usize::from(mapped.size) || data.len() > place.len() {
                continue;
            }
            self.begin(rare, Segment::TUNNEL_OPTIONS);
            rare.tun_options.set(rare.tun_options.get() | 1 << mapped.field);
            let bytes = &mut rare.tun_metadata.as_flattened_mut()[place];
            let start = bytes.len() - data.len();
            bytes[start..].copy_from_slice(data);
        }
    }
}

/// How many of the fields `tun_metadata0` to `tun_metadata63` have [`LONG_OPTION`] bytes: the first ones.
pub const LONG_OPTIONS: u8 = 8;
/// How many bytes a long option has at most.
pub const LONG_OPTION: u8 = 16;
/// How many bytes the options of the other fields have at most.
pub const SHORT_OPTION: u8 = 4;

/// How many bytes the option that is field `tun_metadataN` has at most.
pub const fn option_size(field: u8) -> u8 {
    if field < LONG_OPTIONS { LONG_OPTION } else { SHORT_OPTION }
}

/// The bytes of `tun_metadata` in a key that belong to a field.
pub(crate) const fn metadata_place(field: u8) -> Range<usize> {
    let start = match field.checked_sub(LONG_OPTIONS) {
        None => LONG_OPTION as usize * field as usize,
        Some(short) => {
            LONG_OPTION as usize * LONG_OPTIONS as usize + SHORT_OPTION as usize * short as usize
        }
    };
    start..start + option_size(field) as usize
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
        for segment in [Segment::TUNNEL, Segment::TUNNEL_IPV6, Segment::TUNNEL_OPTIONS] {
            if has(segment) {
                self.segments = self.segments.or(Segment::TUNNEL.id).or(segment.id);
            }
        }
    }

    /// Sets every bit of the tunnel, for a mask.
    pub fn mark_tunnel(&mut self) {
        self.words_mut()[TUNNEL_WORDS].fill(u64::MAX);
    }
}
