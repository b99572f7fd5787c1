//! What the switch knows about one frame: plain old data in network byte order.
//!
//! [`Headers`] are what the frame says. Two keys put something beside them:
//!
//! - [`FlowKey`] is what caches look at: the datapath's number of the ingress port and the pass.
//! - [`PipelineKey`] is what rules match: OpenFlow's number of the ingress port, and what no cache needs to
//!   know, because it starts at zero for every frame: registers and `metadata`.
//!
//! The two numbers of a port have types of their own, [`PortNo`] and [`OfPort`], in keys as elsewhere. Word `n`
//! of a `FlowKey` has the same headers as word `n` of a `PipelineKey`, for all words but the first.
//!
//! # Segments
//!
//! A [`FlowKey`] is laid out in segments of 64-bit words. Every frame has the first six words, the *head*. The
//! others are there if the frame has such headers, which [`Headers::segments`] says, one bit a segment; the
//! words of a segment that is not there are zero. So a frame pays for what it has: hashing, comparing and
//! masking look at the head, and then at the segments that are there.
//!
//! ```text
//! words 0-2    ingress, Ethernet, outer VLAN tag      \ head
//! words 3-5    network and transport, IPv4 addresses  /       \
//! words 6-8    the rest of the IPv6 addresses         IPV6    / hot
//! word  9      second tag, tags of other types        TAGS    \
//! words 10-11  label stack                            MPLS     | rare
//! words 12-13  ARP and ND hardware addresses          ARP      |
//! words 14-16  ND target                              ND      |
//! word  17     connection: state, zone, mark          CT      |
//! words 18-19  connection: label                      LABEL   |
//! words 20-21  connection: its first packet, IPv4     CT4     |
//! words 22-25  connection: its first packet's IPv6    CT6      |
//! words 26-28  tunnel: key, IPv4 addresses, the rest  TUNNEL   |
//! words 29-32  tunnel: IPv6 addresses                 TUN6     |
//! words 33-77  tunnel: options of Geneve              OPTIONS /
//! ```
//!
//! Most frames have the first nine words and no others. A batch keeps these as [`HotKey`]s, close together. It
//! keeps the rest as [`RareHeaders`] in an array of its own, which is not touched as long as no frame needs it.
//! If a frame does not have a segment, the words of the segment there are those of some frame before.
//! [`FlowKey`] is both in one, with zeroes.
//!
//! What connection tracking says of a packet is no header, and still stands among the headers, because it
//! belongs to one frame as they do: `ct(...)` finds it out between two passes. A label of zero has no segment.
//! So it is with the header of the tunnel that a packet goes through: rules write there what the next tunnel
//! port is to send.
//!
//! To add a segment: put its fields at the end of the rare [headers](Headers), whole words of them; give it a
//! bit, as a [`Segment`] in [`SEGMENTS`]; let extraction call [`HotKey::begin`] before it fills it in. A frame
//! without it costs what it cost before. The build fails where words are counted and the table does not say
//! whose they are. Tests with the feature `artificial-segment` have such a segment, of 56 words, and hold the
//! rest of the switch to it.
//!
//! A [`Mask`] has the layout of its key, and the one-bits in it matter. It is a type of its own, so that nobody
//! takes one for the other.

mod connection;
mod segment;
mod tunnel;

pub use connection::ct_state;
pub use segment::{SEGMENTS, Segment, Segments};
pub(crate) use tunnel::metadata_place;
pub use tunnel::{LONG_OPTION, LONG_OPTIONS, SHORT_OPTION, option_size, tun_flags};

use crate::bit_set::{BitSet, blocks};
use crate::types::{OfPort, PortNo};
use std::mem::offset_of;
use std::ops::Range;
use zerocopy::byteorder::network_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Number of 64-bit words of [`Headers`].
pub const HEADER_WORDS: usize = 77 + ARTIFICIAL_WORDS;
/// Words of the segment that no frame has, with which tests try whether a
/// key can grow (feature `artificial-segment`).
const ARTIFICIAL_WORDS: usize = if cfg!(feature = "artificial-segment") { 56 } else { 0 };
/// Number of 64-bit words of a [`FlowKey`].
pub const FLOW_WORDS: usize = 1 + HEADER_WORDS;
/// Number of words of the head: the first words of a [`FlowKey`], which every frame has.
pub const HEAD_WORDS: usize = 6;
/// Number of 64-bit words of a [`HotKey`].
pub const HOT_WORDS: usize = 9;
/// Number of 64-bit words of [`RareHeaders`].
pub const RARE_WORDS: usize = FLOW_WORDS - HOT_WORDS;
/// Number of 64-bit words of a [`PipelineKey`].
pub const PIPELINE_WORDS: usize = FLOW_WORDS + 18;

/// A set of words of a [`FlowKey`].
pub type WordSet = BitSet<{ blocks(FLOW_WORDS) }>;

/// `vlan_tci`: the bit that says "a tag is present" in keys and matches (the CFI/DEI bit on the wire).
pub const VLAN_CFI: u16 = 0x1000;
/// `vlan_tci`: the VLAN id.
pub const VLAN_VID_MASK: u16 = 0x0fff;
/// `vlan_tci`: the priority code point.
pub const VLAN_PCP_MASK: u16 = 0xe000;
/// `dl_type` of a frame with an 802.3 length field and no SNAP type (OpenFlow 1.0 §3.4: 0x05ff).
pub const ETH_TYPE_NONE: u16 = 0x05ff;

/// The bits of `nw_frag` (ovs-fields(7), `ip_frag`).
pub mod frag {
    /// The packet is a fragment.
    pub const ANY: u8 = 1;
    /// The packet is a fragment other than the first, so it has no transport header.
    pub const LATER: u8 = 2;
}

/// Declares a port number of a key: 32 bits wide, of which the upper half is zero.
macro_rules! key_port {
    ($(#[$doc:meta])* $name:ident, $port:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name(U32);

        impl $name {
            /// For masks: every bit of the number matters.
            pub const ALL_BITS: Self = Self(U32::new(u32::MAX));

            /// The port's number, in the width that ports have outside keys.
            #[inline]
            pub fn get(self) -> $port {
                $port(self.0.get() as u16)
            }

            /// Puts another port in place of this one.
            #[inline]
            pub fn set(&mut self, port: $port) {
                *self = port.into();
            }
        }

        impl From<$port> for $name {
            #[inline]
            fn from(port: $port) -> Self {
                Self(u32::from(port.0).into())
            }
        }
    };
}

key_port! {
    /// A port of the datapath, as a [`FlowKey`] holds it.
    KeyPortNo, PortNo
}

key_port! {
    /// A port of OpenFlow, as a [`PipelineKey`] holds it.
    KeyOfPort, OfPort
}

/// Declares the headers, and the two parts of them that a batch keeps apart.
macro_rules! headers {
    (
        hot { $($(#[$hot_doc:meta])* $hot:ident: $hot_type:ty,)* }
        rare { $($(#[$rare_doc:meta])* $rare:ident: $rare_type:ty,)* }
    ) => {
        /// The headers of one frame. See the [module](self) for the layout.
        #[derive(
            Clone, Copy, Debug, Default, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(C, align(8))]
        pub struct Headers {
            $($(#[$hot_doc])* pub $hot: $hot_type,)*
            $($(#[$rare_doc])* pub $rare: $rare_type,)*
        }

        /// The words of a [`FlowKey`] that most frames need.
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(C, align(8))]
        pub struct HotKey {
            /// The port that the frame came in on.
            pub port_no: KeyPortNo,
            /// Which saved pipeline state this pass continues; 0 is a fresh frame.
            pub recirc_id: U32,
            $($(#[$hot_doc])* pub $hot: $hot_type,)*
        }

        /// The words of a [`FlowKey`] that few frames need. Only the [segments](HotKey::segments) that the
        /// frame has are its own.
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(C, align(8))]
        pub struct RareHeaders {
            $($(#[$rare_doc])* pub $rare: $rare_type,)*
        }
    };
}

headers! {
    hot {
        /// Destination MAC.
        dl_dst: [u8; 6],
        /// EtherType behind the tags, or [`ETH_TYPE_NONE`].
        dl_type: U16,
        /// Source MAC.
        dl_src: [u8; 6],
        /// Outer VLAN tag with [`VLAN_CFI`] set, or 0 for an untagged frame.
        vlan_tci: U16,

        /// IP protocol, or the low byte of the ARP opcode.
        nw_proto: u8,
        /// IPv4 TOS or IPv6 traffic class.
        nw_tos: u8,
        /// IPv4 TTL or IPv6 hop limit.
        nw_ttl: u8,
        /// Whether the packet is a fragment: bits of [`frag`].
        nw_frag: u8,
        /// IPv6 flow label, low 20 bits.
        ipv6_label: U32,
        /// Transport source port, or ICMP type.
        tp_src: U16,
        /// Transport destination port, or ICMP code.
        tp_dst: U16,
        /// TCP flags, low 12 bits.
        tcp_flags: U16,
        /// The segments that the frame has. Frames with different headers therefore have different
        /// keys, even if their words are equal. Derived from the headers: no match looks at it.
        segments: Segments,
        /// IPv4 addresses (source, destination) or ARP protocol addresses in the first 8 bytes;
        /// IPv6 source and destination in all 32. Read through the accessors.
        nw_addrs: [u8; 32],
    }
    rare {
        /// TPID of the outer tag when it is not 0x8100, else 0.
        vlan_tpid: U16,
        /// TPID of the second tag, 0 when there is none or it is not looked at.
        vlan2_tpid: U16,
        /// Second tag with [`VLAN_CFI`] set, or 0.
        vlan2_tci: U16,
        /// Always zero. Fills the word.
        _pad0: [u8; 2],

        /// MPLS label stack entries, outermost first; 0 where absent.
        mpls_lse: [U32; 3],
        /// Always zero. Fills the word.
        _pad1: [u8; 4],

        /// ARP sender hardware address, or the ND source link-layer address option.
        arp_sha: [u8; 6],
        /// Type of the first ND option.
        nd_options_type: u8,
        /// Always zero. Fills the word.
        _pad2: u8,
        /// ARP target hardware address, or the ND target link-layer address option.
        arp_tha: [u8; 6],
        /// Always zero. Fills the word.
        _pad3: [u8; 2],

        /// Target address of neighbor discovery (RFC 4861 §4.3).
        nd_target: [u8; 16],
        /// Reserved field of a neighbor advertisement or solicitation.
        nd_reserved: U32,
        /// Always zero. Fills the word.
        _pad4: [u8; 4],

        /// What was found out about the packet's connection: bits of [`ct_state`]; 0 if nobody looked.
        ct_state: U16,
        /// The zone in which the connection was looked up.
        ct_zone: U16,
        /// The mark of the connection.
        ct_mark: U32,

        /// The label of the connection.
        ct_label: [u8; 16],

        /// IPv4 source address of the connection's first packet.
        ct_nw_src: U32,
        /// IPv4 destination address of the connection's first packet.
        ct_nw_dst: U32,
        /// Transport source port of the connection's first packet, or its ICMP type.
        ct_tp_src: U16,
        /// Transport destination port of the connection's first packet, or its ICMP code.
        ct_tp_dst: U16,
        /// IP protocol of the connection's first packet.
        ct_nw_proto: u8,
        /// Always zero. Fills the word.
        _pad5: [u8; 3],

        /// IPv6 source address of the connection's first packet.
        ct_ipv6_src: [u8; 16],
        /// IPv6 destination address of the connection's first packet.
        ct_ipv6_dst: [u8; 16],

        /// The key of the tunnel: a VNI, or the key of GRE.
        tun_id: U64,
        /// IPv4 address of the tunnel's end that sends the packet.
        tun_src: U32,
        /// IPv4 address of the tunnel's end that receives the packet.
        tun_dst: U32,
        /// What the tunnel's header says of the packet: bits of [`tun_flags`].
        tun_flags: U16,
        /// The group of the packet's sender (VXLAN's extension for group-based policy).
        tun_gbp_id: U16,
        /// The flags of VXLAN's extension for group-based policy.
        tun_gbp_flags: u8,
        /// TOS or traffic class of the tunnel's IP header.
        tun_tos: u8,
        /// TTL or hop limit of the tunnel's IP header.
        tun_ttl: u8,
        /// Always zero. Fills the word.
        _pad6: u8,

        /// IPv6 address of the tunnel's end that sends the packet.
        tun_ipv6_src: [u8; 16],
        /// IPv6 address of the tunnel's end that receives the packet.
        tun_ipv6_dst: [u8; 16],

        /// Which of the fields `tun_metadata0` to `tun_metadata63` the packet has: bit `n` for field `n`.
        tun_options: U64,
        /// The options of Geneve that are fields: 16 bytes for each of the fields 0 to 7, then 4 bytes for each
        /// of the fields 8 to 63. An option stands at the end of its place, behind zeros. Those that the packet
        /// lacks are zero.
        tun_metadata: [[u8; 32]; 11],

        /// What no frame has: for tests. In two halves, because longer arrays have no default.
        #[cfg(feature = "artificial-segment")]
        artificial: [[U64; ARTIFICIAL_WORDS / 2]; 2],
    }
}

/// What caches look at: the headers of one frame, and where it came in.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct FlowKey {
    /// The port that the frame came in on.
    pub port_no: KeyPortNo,
    /// Which saved pipeline state this pass continues; 0 is a fresh frame.
    pub recirc_id: U32,
    /// The headers of the frame.
    pub headers: Headers,
}

/// What rules match: headers as they are at this point of the pipeline, and the state beside them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct PipelineKey {
    /// The port that the frame came in on, or that a rule says it came in on.
    pub in_port: KeyOfPort,
    /// `pkt_mark` (ovs-fields(7)), which the packet keeps from bridge to bridge.
    pub pkt_mark: U32,
    /// The frame as it is at this point of the pipeline.
    pub headers: Headers,
    /// The `metadata` field of OpenFlow, 64 bits.
    pub metadata: U64,
    /// The registers `reg0` to `reg31`, 32 bits each.
    pub regs: [U32; 32],
    /// The output port in the action set, `actset_output` (OpenFlow 1.5 §7.2.3.9).
    pub actset_output: U32,
    /// The id of a conjunctive match, `conj_id` (ovs-fields(7)).
    pub conj_id: U32,
}

/// Which bits of a key matter: those that are one in `bits`, which has the layout of the key.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Mask<K> {
    /// A one for each bit of the key that matters.
    pub bits: K,
}

/// Which bits of a [`FlowKey`] matter.
pub type FlowMask = Mask<FlowKey>;
/// Which bits of a [`PipelineKey`] matter.
pub type PipelineMask = Mask<PipelineKey>;

const _: () = assert!(size_of::<Headers>() == 8 * HEADER_WORDS);
const _: () = assert!(size_of::<FlowKey>() == 8 * FLOW_WORDS);
const _: () = assert!(size_of::<HotKey>() == 8 * HOT_WORDS);
const _: () = assert!(size_of::<RareHeaders>() == 8 * RARE_WORDS);
const _: () = assert!(size_of::<PipelineKey>() == 8 * PIPELINE_WORDS);
const _: () = assert!(offset_of!(FlowKey, headers) == offset_of!(PipelineKey, headers));
const _: () = assert!(offset_of!(FlowKey, headers) == offset_of!(HotKey, dl_dst));

/// A [`FlowKey`], as its two parts.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Parts {
    hot: HotKey,
    rare: RareHeaders,
}

/// A key in its two parts, wherever they are.
#[derive(Clone, Copy, Debug)]
pub struct KeyRef<'a> {
    /// The words that most frames need.
    pub hot: &'a HotKey,
    /// The words that few frames need. Only the segments that the frame has are valid.
    pub rare: &'a RareHeaders,
}

impl<'a> KeyRef<'a> {
    /// The words of a segment, if the frame has it.
    #[inline]
    pub fn segment(self, segment: &Segment) -> Option<&'a [u64]> {
        if !self.hot.segments.meets(segment.id) {
            return None;
        }
        let Range { start, end } = segment.words();
        match start.checked_sub(HOT_WORDS) {
            None => self.hot.words().get(start..end),
            Some(start) => self.rare.words().get(start..end - HOT_WORDS),
        }
    }

    /// Both parts in one.
    pub fn join(self) -> FlowKey {
        let mut key = FlowKey::default();
        let (hot, _) = key.words_mut().split_at_mut(HOT_WORDS);
        hot.copy_from_slice(self.hot.words());
        if self.hot.segments.meets(Segments::RARE) {
            for segment in self.hot.segments.behind_head() {
                if let Some(words) = self.segment(segment) {
                    key.words_mut()[segment.words()].copy_from_slice(words);
                }
            }
        }
        key
    }
}

impl HotKey {
    /// The key as words, for hashing, comparing and masking.
    #[inline]
    pub fn words(&self) -> &[u64; HOT_WORDS] {
        zerocopy::transmute_ref!(self)
    }

    /// Says that the frame has a rare segment, whose words are zero until they are filled in.
    ///
    /// # Panics
    /// If the segment is not a rare one.
    #[inline]
    pub fn begin(&mut self, rare: &mut RareHeaders, segment: Segment) {
        if !self.segments.meets(segment.id) {
            let words: &mut [u64; RARE_WORDS] = zerocopy::transmute_mut!(rare);
            let Range { start, end } = segment.words();
            words[start - HOT_WORDS..end - HOT_WORDS].fill(0);
            self.segments = self.segments.or(segment.id);
        }
    }
}

impl RareHeaders {
    /// The headers as words, for hashing, comparing and masking.
    #[inline]
    pub fn words(&self) -> &[u64; RARE_WORDS] {
        zerocopy::transmute_ref!(self)
    }
}

impl FlowKey {
    /// The key in its two parts.
    #[inline]
    pub fn parts(&self) -> KeyRef<'_> {
        let Parts { hot, rare } = zerocopy::transmute_ref!(self);
        KeyRef { hot, rare }
    }

    /// The key as words, for hashing, comparing and masking.
    #[inline]
    pub fn words(&self) -> &[u64; FLOW_WORDS] {
        zerocopy::transmute_ref!(self)
    }

    /// The key as words, to edit.
    #[inline]
    pub fn words_mut(&mut self) -> &mut [u64; FLOW_WORDS] {
        zerocopy::transmute_mut!(self)
    }
}

impl PartialEq for Headers {
    /// Compares words: field by field takes five times as many instructions.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.words() == other.words()
    }
}

impl Headers {
    /// The headers as words, for comparing.
    #[inline]
    pub fn words(&self) -> &[u64; HEADER_WORDS] {
        zerocopy::transmute_ref!(self)
    }

    /// The headers as words, to edit.
    #[inline]
    pub fn words_mut(&mut self) -> &mut [u64; HEADER_WORDS] {
        zerocopy::transmute_mut!(self)
    }

    /// IPv4 source or ARP sender protocol address.
    #[inline]
    pub fn nw_src(&self) -> u32 {
        u32::from_be_bytes([self.nw_addrs[0], self.nw_addrs[1], self.nw_addrs[2], self.nw_addrs[3]])
    }

    /// IPv4 destination or ARP target protocol address.
    #[inline]
    pub fn nw_dst(&self) -> u32 {
        u32::from_be_bytes([self.nw_addrs[4], self.nw_addrs[5], self.nw_addrs[6], self.nw_addrs[7]])
    }

    /// The IPv6 source address.
    pub fn ipv6_src(&self) -> [u8; 16] {
        let (src, _) = self.nw_addrs.split_at(16);
        src.try_into().expect("half of 32 bytes")
    }

    /// The IPv6 destination address.
    pub fn ipv6_dst(&self) -> [u8; 16] {
        let (_, dst) = self.nw_addrs.split_at(16);
        dst.try_into().expect("half of 32 bytes")
    }
}

impl PipelineKey {
    /// The key as words, for hashing, comparing and masking.
    #[inline]
    pub fn words(&self) -> &[u64; PIPELINE_WORDS] {
        zerocopy::transmute_ref!(self)
    }

    /// The key as words, to edit.
    #[inline]
    pub fn words_mut(&mut self) -> &mut [u64; PIPELINE_WORDS] {
        zerocopy::transmute_mut!(self)
    }

    /// Clears every bit that is zero in `mask`.
    pub fn masked(&self, mask: &PipelineMask) -> Self {
        let mut out = *self;
        for (w, m) in out.words_mut().iter_mut().zip(mask.words()) {
            *w &= m;
        }
        out
    }

    /// Whether this key agrees with `value` in every bit that is one in `mask`.
    pub fn matches(&self, value: &Self, mask: &PipelineMask) -> bool {
        let pairs = self.words().iter().zip(value.words());
        pairs.zip(mask.words()).all(|((a, b), m)| (a ^ b) & m == 0)
    }
}

impl FlowMask {
    /// The mask as words.
    #[inline]
    pub fn words(&self) -> &[u64; FLOW_WORDS] {
        self.bits.words()
    }

    /// The mask as words, to edit.
    #[inline]
    pub fn words_mut(&mut self) -> &mut [u64; FLOW_WORDS] {
        self.bits.words_mut()
    }
}

impl PipelineMask {
    /// The mask as words.
    #[inline]
    pub fn words(&self) -> &[u64; PIPELINE_WORDS] {
        self.bits.words()
    }

    /// The mask as words, to edit.
    #[inline]
    pub fn words_mut(&mut self) -> &mut [u64; PIPELINE_WORDS] {
        self.bits.words_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_two_parts_is_the_same_key() {
        let mut hot = HotKey { dl_dst: [1; 6], nw_addrs: [2; 32], ..HotKey::default() };
        // The words of an earlier frame.
        let mut rare =
            RareHeaders { vlan_tpid: 7.into(), nd_target: [7; 16], ..RareHeaders::default() };
        hot.begin(&mut rare, Segment::ND);
        rare.nd_reserved.set(3);
        hot.begin(&mut rare, Segment::ND);
        let key = KeyRef { hot: &hot, rare: &rare }.join();
        assert_eq!((key.headers.dl_dst, key.headers.nw_addrs), ([1; 6], [2; 32]));
        assert_eq!((key.headers.vlan_tpid.get(), key.headers.nd_target), (0, [0; 16]));
        assert_eq!(key.headers.nd_reserved.get(), 3);
        assert_eq!(key.parts().join(), key);
        assert_eq!(key.parts().segment(&Segment::ND), Some(&key.words()[14..17]));
        assert_eq!(key.parts().segment(&Segment::TAGS), None);
    }

    #[test]
    fn masked_bits_do_not_count() {
        let mut a = PipelineKey::default();
        let mut mask = PipelineMask::default();
        a.headers.nw_ttl = 64;
        assert!(a.matches(&PipelineKey::default(), &mask));
        mask.bits.headers.nw_ttl = 0xff;
        assert!(!a.matches(&PipelineKey::default(), &mask));
        assert_eq!(a.masked(&mask).headers.nw_ttl, 64);
    }
}
