//! The only language of the fast path: a short, flat list of what to do with a frame.
//!
//! Translation (`flowtable::policy`) produces it from rules; `execute` and every later back-end
//! implement it. Values are host integers. A rewrite carries a mask, so that a cached flow may leave
//! the bits alone that it did not look at.

use crate::types::PortNo;

/// New bits and which of them are written. `value` is zero outside `mask`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rewrite<T> {
    /// The new bits.
    pub value: T,
    /// Which bits are written.
    pub mask: T,
}

macro_rules! rewrite {
    ($($t:ty),*) => { $(
        impl Rewrite<$t> {
            /// Writes the bits of `mask` from `value`.
            pub fn new(value: $t, mask: $t) -> Self {
                Self { value: value & mask, mask }
            }

            /// Changes nothing.
            pub fn is_none(self) -> bool {
                self.mask == 0
            }

            /// `old` with the masked bits replaced.
            #[inline]
            pub fn of(self, old: $t) -> $t {
                old & !self.mask | self.value
            }
        }
    )* };
}
rewrite!(u8, u16, u32, u64, u128);

/// What a change of addresses does to the transport checksum of a packet that is not a plain one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressSums {
    /// What is right: a later fragment has no checksum; an atomic one (RFC 6946) has one, and so has
    /// a packet with a routing header.
    #[default]
    Right,
    /// What Open vSwitch 3.1 does: bytes of later IPv4 fragments are changed as if they were one; that
    /// of an atomic IPv6 fragment, or behind a routing header with segments left, is left wrong.
    AsOvs,
}

/// Which transport header a port rewrite edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

/// What a controller gets with a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ControllerMeta {
    /// Bytes of the packet wanted.
    pub max_len: u16,
    /// OpenFlow reason number.
    pub reason: u8,
    /// Which controller.
    pub controller_id: u16,
    /// Table that sent it.
    pub table: u8,
    /// Cookie of the rule that sent it.
    pub cookie: u64,
    /// Bytes returned with it.
    pub userdata: Vec<u8>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DpAction {
    /// Send the frame as it is now.
    Output(PortNo),
    /// Send a copy of at most `max_len` bytes.
    OutputTrunc {
        /// Where to.
        port: PortNo,
        /// Bytes.
        max_len: u32,
    },
    /// Give a copy to a controller.
    Controller(Box<ControllerMeta>),
    /// Edit the MAC addresses, as [`mac_bits`].
    SetEth {
        /// Source.
        src: Rewrite<u64>,
        /// Destination.
        dst: Rewrite<u64>,
    },
    /// Put a tag in front of the outermost one.
    PushVlan {
        /// Tag protocol identifier.
        tpid: u16,
        /// Priority and VLAN id; the CFI bit goes out as zero.
        tci: u16,
    },
    /// Remove the outermost tag.
    PopVlan,
    /// Edit the IPv4 header.
    SetIpv4 {
        /// Source address.
        src: Rewrite<u32>,
        /// Destination address.
        dst: Rewrite<u32>,
        /// TOS.
        tos: Rewrite<u8>,
        /// TTL.
        ttl: Rewrite<u8>,
        /// For packets that are not plain ones.
        sums: AddressSums,
    },
    /// Edit the IPv6 header.
    SetIpv6 {
        /// Source address.
        src: Rewrite<u128>,
        /// Destination address.
        dst: Rewrite<u128>,
        /// Flow label.
        label: Rewrite<u32>,
        /// Traffic class.
        tclass: Rewrite<u8>,
        /// Hop limit.
        hop_limit: Rewrite<u8>,
        /// For packets that are not plain ones.
        sums: AddressSums,
    },
    /// Edit the body of an ARP packet.
    SetArp {
        /// Opcode.
        op: Rewrite<u16>,
        /// Sender protocol address.
        spa: Rewrite<u32>,
        /// Target protocol address.
        tpa: Rewrite<u32>,
        /// Sender hardware address.
        sha: Rewrite<u64>,
        /// Target hardware address.
        tha: Rewrite<u64>,
    },
    /// Edit the ports.
    SetPorts {
        /// Of which header.
        transport: Transport,
        /// Source.
        src: Rewrite<u16>,
        /// Destination.
        dst: Rewrite<u16>,
    },
    /// Edit ICMP or ICMPv6 type and code.
    SetIcmp {
        /// Type.
        icmp_type: Rewrite<u8>,
        /// Code.
        code: Rewrite<u8>,
    },
    /// Edit a neighbour solicitation or advertisement.
    SetNd {
        /// Target address.
        target: Rewrite<u128>,
        /// Source link-layer address option.
        sll: Rewrite<u64>,
        /// Target link-layer address option.
        tll: Rewrite<u64>,
    },
    /// Put a label stack entry in front and set the EtherType.
    PushMpls {
        /// The entry.
        lse: u32,
        /// MPLS unicast or multicast.
        ethertype: u16,
    },
    /// Remove the outermost entry and set the EtherType.
    PopMpls {
        /// What is behind it.
        ethertype: u16,
    },
    /// Edit the outermost label stack entry.
    SetMpls(Rewrite<u32>),
    /// Go on by the frame's length, without tags.
    CheckLen {
        /// Bytes.
        len: u16,
        /// If it is longer.
        longer: Vec<DpAction>,
        /// Otherwise.
        fits: Vec<DpAction>,
    },
    /// Do the steps on a copy, then go on with the frame as it was.
    Clone(Vec<DpAction>),
    /// Extract again and look up with this id. Always last.
    Recirculate(u32),
}
