//! The segments of a key: which words of a [`FlowKey`] belong together, and which of them a frame has.

#[cfg(feature = "artificial-segment")]
use super::ARTIFICIAL_WORDS;
use super::{FLOW_WORDS, FlowKey, HEAD_WORDS, HOT_WORDS, Headers};
use std::mem::offset_of;
use std::ops::Range;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Which [segments](super) a key has beside the head, one bit each.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Segments(u16);

impl Segments {
    /// The empty set, which a frame without network header has.
    pub const NONE: Self = Self(0);
    /// The network header was read. Its words are in the head, where they are zero without it.
    pub const NETWORK: Self = Self(1);
    /// The segments whose words are behind the head.
    pub const BEHIND_HEAD: Self = Self(!Self::NETWORK.0);
    /// The segments whose words are in [`RareHeaders`](super::RareHeaders).
    pub const RARE: Self = Self(!(Self::NETWORK.0 | Segment::IPV6.id.0));
    /// The segments of [`RARE`](Self::RARE) without that of ARP, which each network has now and then.
    pub const VERY_RARE: Self = Self(Self::RARE.0 & !Segment::ARP.id.0);

    /// Whether the set has no segment.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether some segment is in both sets.
    #[inline]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The segments that are in both sets.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The segments behind the head that are in the set, in the order of their words. This takes as many steps
    /// as the set has segments: a frame that has one does not pay for those that it lacks.
    #[inline]
    pub fn behind_head(self) -> impl Iterator<Item = &'static Segment> {
        static TABLE: [Segment; SEGMENTS.len()] = SEGMENTS;
        let mut rest = self.0 & Self::BEHIND_HEAD.0;
        std::iter::from_fn(move || {
            let segment = TABLE.get((rest.trailing_zeros() as usize).wrapping_sub(1))?;
            rest &= rest - 1;
            Some(segment)
        })
    }

    /// The segments that are in one of the sets or in both.
    #[inline]
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A run of words of a [`FlowKey`] that a frame has or has not as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// The segment's bit in [`Headers::segments`].
    pub id: Segments,
    /// Index of the segment's first word in a [`FlowKey`].
    pub start: usize,
    /// Number of the segment's words.
    pub len: usize,
}

impl Segment {
    /// The 24 bytes by which two IPv6 addresses are longer than two IPv4 addresses.
    pub const IPV6: Self = Self::new(1, offset_of!(Headers, nw_addrs) + 8, 3);
    /// The second VLAN tag, and TPIDs other than 0x8100.
    pub const TAGS: Self = Self::new(2, offset_of!(Headers, vlan_tpid), 1);
    /// The MPLS label stack.
    pub const MPLS: Self = Self::new(3, offset_of!(Headers, mpls_lse), 2);
    /// The hardware addresses of ARP or neighbor discovery.
    pub const ARP: Self = Self::new(4, offset_of!(Headers, arp_sha), 2);
    /// The target and the reserved field of neighbor discovery.
    pub const ND: Self = Self::new(5, offset_of!(Headers, nd_target), 3);
    /// State, zone and mark of the packet's connection. Every packet that was tracked has this segment.
    pub const CT: Self = Self::new(6, offset_of!(Headers, ct_state), 1);
    /// The label of the packet's connection, unless the label is zero.
    pub const CT_LABEL: Self = Self::new(7, offset_of!(Headers, ct_label), 2);
    /// The first packet of the packet's connection: protocol, ports, IPv4 addresses.
    pub const CT_TUPLE: Self = Self::new(8, offset_of!(Headers, ct_nw_src), 2);
    /// The IPv6 addresses of the first packet of the packet's connection.
    pub const CT_IPV6: Self = Self::new(9, offset_of!(Headers, ct_ipv6_src), 4);

    /// The tunnel that the packet came through: key, IPv4 addresses, flags. Every frame of a tunnel port has
    /// this segment, and no frame of another port.
    pub const TUNNEL: Self = Self::new(10, offset_of!(Headers, tun_id), 3);
    /// The IPv6 addresses of the tunnel that the packet came through.
    pub const TUNNEL_IPV6: Self = Self::new(11, offset_of!(Headers, tun_ipv6_src), 4);

    /// The options of the Geneve header that the packet came with, or goes out with. Few
    /// frames of tunnels have any.
    pub const TUNNEL_OPTIONS: Self = Self::new(12, offset_of!(Headers, tun_options), 45);

    /// A segment that no frame has, for tests.
    #[cfg(feature = "artificial-segment")]
    pub const ARTIFICIAL: Self = Self::new(13, offset_of!(Headers, artificial), ARTIFICIAL_WORDS);

    const fn new(bit: u32, offset_in_headers: usize, len: usize) -> Self {
        let offset = offset_of!(FlowKey, headers) + offset_in_headers;
        assert!(offset.is_multiple_of(8), "a segment begins with a word");
        Self { id: Segments(1 << bit), start: offset / 8, len }
    }

    /// Indices of the segment's words in a [`FlowKey`].
    #[inline]
    pub const fn words(&self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

/// The segments behind the head, in the order of their words.
#[cfg(not(feature = "artificial-segment"))]
pub const SEGMENTS: [Segment; 12] = REAL_SEGMENTS;
/// The segments behind the head, in the order of their words.
#[cfg(feature = "artificial-segment")]
pub const SEGMENTS: [Segment; 13] = {
    let mut all = [Segment::ARTIFICIAL; 13];
    let (real, _) = all.split_at_mut(REAL_SEGMENTS.len());
    real.copy_from_slice(&REAL_SEGMENTS);
    all
};
/// The segments behind the head that a frame may have.
const REAL_SEGMENTS: [Segment; 12] = [
    Segment::IPV6,
    Segment::TAGS,
    Segment::MPLS,
    Segment::ARP,
    Segment::ND,
    Segment::CT,
    Segment::CT_LABEL,
    Segment::CT_TUPLE,
    Segment::CT_IPV6,
    Segment::TUNNEL,
    Segment::TUNNEL_IPV6,
    Segment::TUNNEL_OPTIONS,
];

// Each word behind the head is in one segment, and each segment has a bit of its own.
const _: () = {
    let (mut next, mut seen, mut i) = (HEAD_WORDS, Segments::NETWORK, 0);
    while i < SEGMENTS.len() {
        let Segment { id, start, len } = SEGMENTS[i];
        // `Segments::behind_head` finds a segment by the number of its bit.
        assert!(start == next && id.0 == 1 << (i + 1) && !seen.meets(id));
        assert!(id.meets(Segments::RARE) == (start >= HOT_WORDS));
        (next, seen, i) = (start + len, seen.or(id), i + 1);
    }
    assert!(next == FLOW_WORDS);
};
