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

            /// No bit is written.
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
    /// The ports of a TCP header; its checksum covers them.
    Tcp,
    /// The ports of a UDP header; its checksum covers them unless it is zero.
    Udp,
    /// The ports of an SCTP header; its CRC32c covers them.
    Sctp,
}

/// What a controller gets with a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ControllerMeta {
    /// Bytes of the packet wanted.
    pub max_len: u16,
    /// OpenFlow reason number.
    pub reason: u8,
    /// The id of the controller that gets the packet; 0 is every one that has not asked for another id.
    pub controller_id: u16,
    /// Table that sent it.
    pub table: u8,
    /// Cookie of the rule that sent it.
    pub cookie: u64,
    /// Bytes returned with it.
    pub userdata: Vec<u8>,
}

/// One step of what the datapath does with a frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DpAction {
    /// Send the frame as it is now.
    Output(PortNo),
    /// Send a copy of at most `max_len` bytes.
    OutputTrunc {
        /// The datapath's number of the port that sends the copy.
        port: PortNo,
        /// Bytes of the copy at most, counted from the Ethernet header.
        max_len: u32,
    },
    /// Give a copy to a controller.
    Controller(Box<ControllerMeta>),
    /// Edit the MAC addresses, as [`mac_bits`](crate::types::mac_bits).
    SetEth {
        /// The source address, in the lower 48 bits.
        src: Rewrite<u64>,
        /// The destination address, in the lower 48 bits.
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
        /// The IPv4 source address.
        src: Rewrite<u32>,
        /// The IPv4 destination address.
        dst: Rewrite<u32>,
        /// The whole TOS byte: DSCP and ECN.
        tos: Rewrite<u8>,
        /// Hops that are left.
        ttl: Rewrite<u8>,
        /// For packets that are not plain ones.
        sums: AddressSums,
    },
    /// Edit the IPv6 header.
    SetIpv6 {
        /// The IPv6 source address.
        src: Rewrite<u128>,
        /// The IPv6 destination address.
        dst: Rewrite<u128>,
        /// The flow label, in the lower 20 bits.
        label: Rewrite<u32>,
        /// The whole traffic class: DSCP and ECN.
        tclass: Rewrite<u8>,
        /// Hops that are left.
        hop_limit: Rewrite<u8>,
        /// For packets that are not plain ones.
        sums: AddressSums,
    },
    /// Edit the body of an ARP packet.
    SetArp {
        /// The operation: 1 asks, 2 answers (RFC 826).
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
        /// The source port.
        src: Rewrite<u16>,
        /// The destination port.
        dst: Rewrite<u16>,
    },
    /// Edit ICMP or ICMPv6 type and code.
    SetIcmp {
        /// The message's type.
        icmp_type: Rewrite<u8>,
        /// The message's code.
        code: Rewrite<u8>,
    },
    /// Edit a neighbour solicitation or advertisement.
    SetNd {
        /// The address that the message asks or tells about.
        target: Rewrite<u128>,
        /// Source link-layer address option.
        sll: Rewrite<u64>,
        /// Target link-layer address option.
        tll: Rewrite<u64>,
    },
    /// Put a label stack entry in front and set the EtherType.
    PushMpls {
        /// The whole label stack entry (RFC 3032 section 2.1).
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
        /// Bytes that the frame is compared with, Ethernet header included, VLAN tags not.
        len: u16,
        /// What is done with a frame of more than `len` bytes.
        longer: Vec<DpAction>,
        /// What is done with a frame of `len` bytes or fewer.
        fits: Vec<DpAction>,
    },
    /// Do the steps on a copy, then go on with the frame as it was.
    Clone(Vec<DpAction>),
    /// Extract again and look up with this id. Always last.
    Recirculate(u32),
}
