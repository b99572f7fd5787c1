//! What the switch knows about one frame: plain old data in network byte order.
//!
//! [`Headers`] are what the frame says. Two keys put something beside them:
//!
//! - [`FlowKey`] is what caches look at: the datapath's number of the ingress port and the pass.
//! - [`PipelineKey`] is what rules match: OpenFlow's number of the ingress port, and what no cache needs to know,
//!   because it starts at zero for every frame: registers and `metadata`.
//!
//! The two numbers of a port have types of their own, [`PortNo`] and [`OfPort`], in keys as elsewhere. Word `n` of a
//! `FlowKey` has the same headers as word `n` of a `PipelineKey`, for all words but the first.
//!
//! A [`FlowKey`] is laid out in segments of 64-bit words, the common ones first, so that a frame pays only for what it
//! has:
//!
//! ```text
//! words 0-2   ingress, Ethernet, outer VLAN tag      every frame
//! words 3-5   network and transport, IPv4 addresses  IPv4, ARP
//! words 6-8   the rest of the IPv6 addresses         IPv6
//! words 9-15  second tag, MPLS, ARP and ND bodies    the few that have them
//! ```
//!
//! Hashing, comparing and masking are loops over the words in use; all words behind them are zero but for the
//! [`shape`](Headers::shape).
//!
//! A [`Mask`] has the layout of its key, and the one-bits in it matter. It is a type of its own, so that nobody
//! takes one for the other.

use crate::bit_set::{BitSet, blocks};
use crate::types::{OfPort, PortNo};
use std::mem::offset_of;
use zerocopy::byteorder::network_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Words of [`Headers`].
pub const HEADER_WORDS: usize = 15;
/// Words of a [`FlowKey`].
pub const FLOW_WORDS: usize = 1 + HEADER_WORDS;
/// Words of a [`PipelineKey`].
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

/// `nw_frag` bits.
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

            /// The port.
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

/// The headers of one frame. See the [module](self) for the layout.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct Headers {
    /// Destination MAC.
    pub dl_dst: [u8; 6],
    /// EtherType behind the tags, or [`ETH_TYPE_NONE`].
    pub dl_type: U16,
    /// Source MAC.
    pub dl_src: [u8; 6],
    /// Outer VLAN tag with [`VLAN_CFI`] set, or 0 for an untagged frame.
    pub vlan_tci: U16,

    /// IP protocol, or the low byte of the ARP opcode.
    pub nw_proto: u8,
    /// IPv4 TOS or IPv6 traffic class.
    pub nw_tos: u8,
    /// IPv4 TTL or IPv6 hop limit.
    pub nw_ttl: u8,
    /// [`frag`] bits.
    pub nw_frag: u8,
    /// IPv6 flow label, low 20 bits.
    pub ipv6_label: U32,
    /// Transport source port, or ICMP type.
    pub tp_src: U16,
    /// Transport destination port, or ICMP code.
    pub tp_dst: U16,
    /// TCP flags, low 12 bits.
    pub tcp_flags: U16,
    /// Number of words in use, this one not counted: keys of different shapes differ, whatever their
    /// words say. Derived from the headers, so no match ever looks at it.
    pub shape: U16,
    /// IPv4 addresses (source, destination) or ARP protocol addresses in the first 8 bytes;
    /// IPv6 source and destination in all 32. Read through the accessors.
    pub nw_addrs: [u8; 32],

    /// TPID of the outer tag when it is not 0x8100, else 0.
    pub vlan_tpid: U16,
    /// TPID of the second tag, 0 when there is none or it is not looked at.
    pub vlan2_tpid: U16,
    /// Second tag with [`VLAN_CFI`] set, or 0.
    pub vlan2_tci: U16,
    /// Zero.
    pub _pad0: [u8; 2],
    /// MPLS label stack entries, outermost first; 0 where absent.
    pub mpls_lse: [U32; 3],
    /// Reserved field of a neighbour advertisement or solicitation.
    pub nd_reserved: U32,
    /// ARP sender hardware address, or the ND source link-layer address option.
    pub arp_sha: [u8; 6],
    /// Type of the first ND option.
    pub nd_options_type: u8,
    /// Zero.
    pub _pad1: u8,
    /// ARP target hardware address, or the ND target link-layer address option.
    pub arp_tha: [u8; 6],
    /// Zero.
    pub _pad2: [u8; 2],
    /// ND target address.
    pub nd_target: [u8; 16],
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
    /// What the frame says.
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
    /// `pkt_mark`.
    pub pkt_mark: U32,
    /// The frame as it is at this point of the pipeline.
    pub headers: Headers,
    /// OpenFlow `metadata`.
    pub metadata: U64,
    /// `reg0` to `reg31`.
    pub regs: [U32; 32],
    /// Output port in the action set.
    pub actset_output: U32,
    /// `conj_id`.
    pub conj_id: U32,
}

/// Which bits of a key matter: those that are one in `bits`, which has the layout of the key.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Mask<K> {
    /// One-bits where the key matters.
    pub bits: K,
}

/// Which bits of a [`FlowKey`] matter.
pub type FlowMask = Mask<FlowKey>;
/// Which bits of a [`PipelineKey`] matter.
pub type PipelineMask = Mask<PipelineKey>;

const _: () = assert!(size_of::<Headers>() == 8 * HEADER_WORDS);
const _: () = assert!(size_of::<FlowKey>() == 8 * FLOW_WORDS);
const _: () = assert!(size_of::<PipelineKey>() == 8 * PIPELINE_WORDS);
const _: () = assert!(offset_of!(FlowKey, headers) == offset_of!(PipelineKey, headers));

impl FlowKey {
    /// Words that a frame without a network header uses.
    pub const L2_WORDS: usize = 3;
    /// Words that IPv4 and plain ARP use.
    pub const IPV4_WORDS: usize = 6;
    /// Words that IPv6 uses.
    pub const IPV6_WORDS: usize = 9;

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

impl Headers {
    /// The headers as words, for comparing.
    #[inline]
    pub fn words(&self) -> &[u64; HEADER_WORDS] {
        zerocopy::transmute_ref!(self)
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

    /// IPv6 source address.
    pub fn ipv6_src(&self) -> [u8; 16] {
        let (src, _) = self.nw_addrs.split_at(16);
        src.try_into().expect("half of 32 bytes")
    }

    /// IPv6 destination address.
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
    fn segments_begin_at_their_words() {
        let at = |offset| offset_of!(FlowKey, headers) + offset;
        assert_eq!(at(offset_of!(Headers, nw_proto)), 8 * FlowKey::L2_WORDS);
        assert_eq!(at(offset_of!(Headers, nw_addrs)) + 8, 8 * FlowKey::IPV4_WORDS);
        assert_eq!(at(offset_of!(Headers, vlan_tpid)), 8 * FlowKey::IPV6_WORDS);
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
