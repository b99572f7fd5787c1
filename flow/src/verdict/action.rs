//! Datapath actions: the flat list that the fast path carries out for each frame of a cached flow.
//!
//! Translation (`flowtable::policy`) produces the list from the rules' [`Action`](crate::action::Action)s, and
//! `flowtable::datapath::execute` carries it out. All values are host integers.
//!
//! A field is edited by a [`Rewrite`], which has a mask: frames of one cached flow may differ in the bits that
//! the translation did not look at, and those bits have to stay as they are.

use super::drop_reason::DropReason;
use super::packet_in::PacketInReason;
use crate::ct::CtAlg;
use crate::key::PipelineKey;
use crate::nat::Nat;
use crate::types::{BridgeId, MacAddr, MeterId, PortNo};
use packet::TunnelKey;
use std::sync::Arc;

/// A change of some bits of a field. The default changes no bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rewrite<T> {
    /// The new values of the bits in `mask`; all other bits are zero.
    pub value: T,
    /// The bits of the field that change.
    pub mask: T,
}

macro_rules! rewrite {
    ($($t:ty),*) => { $(
        impl Rewrite<$t> {
            /// The change that gives the bits of `mask` the values that they have in `value`.
            pub fn new(value: $t, mask: $t) -> Self {
                Self { value: value & mask, mask }
            }

            /// The change of a field that has the value `from` and is to have the value `to`, as far as the
            /// bits of `mask` go: no change if the two are equal.
            pub fn between(from: $t, to: $t, mask: $t) -> Self {
                if from == to { Self::new(0, 0) } else { Self::new(to, mask) }
            }

            /// Whether the rewrite changes no bit.
            pub fn is_none(self) -> bool {
                self.mask == 0
            }

            /// The field's value after the change, if its value before was `old`.
            #[inline]
            pub fn of(self, old: $t) -> $t {
                old & !self.mask | self.value
            }
        }
    )* };
}
rewrite!(u8, u16, u32, u64, u128);

/// How a change of IP addresses adjusts the transport checksum of fragments and of packets with a routing
/// header. All other packets are treated alike by both variants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressSums {
    /// As the standards say: payload of later fragments is left alone, because they have no transport header.
    /// The checksums of atomic fragments (RFC 6946) and of packets with a routing header are adjusted.
    #[default]
    Right,
    /// As Open vSwitch 3.1 does (`switchd --lenient`): payload bytes of later IPv4 fragments are changed as if
    /// they were a checksum. The checksums of atomic IPv6 fragments, and of packets whose routing header has
    /// segments left, are not adjusted and become wrong.
    AsOvs,
}

/// The transport header whose ports [`DpAction::SetPorts`] changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP. Its checksum covers the ports and is adjusted.
    Tcp,
    /// UDP. Its checksum covers the ports and is adjusted; zero means that the sender computed none, and stays.
    Udp,
    /// SCTP. Its CRC32c covers the ports and is computed again.
    Sctp,
}

/// What a controller is told of a packet beside the packet itself
/// (OpenFlow `OFPT_PACKET_IN`), and which controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerMeta {
    /// The bridge whose controllers get the packet.
    pub bridge: BridgeId,
    /// How many bytes of the packet the action asks for; 65535 asks for the whole packet. Controllers
    /// get whole packets whatever the number is, as those of Open vSwitch do, because the switch has
    /// no buffers for the rest.
    pub max_len: u16,
    /// Why the packet goes to a controller.
    pub reason: PacketInReason,
    /// The id of the controller that gets the packet; 0 is every controller that has not asked for another id.
    pub controller_id: u16,
    /// The table whose rule sent the packet to the controller, or which has no rule for the packet: 0 to 253.
    pub table: u8,
    /// The cookie of that rule; 0 without rule, and all ones in a packet-out.
    pub cookie: u64,
    /// The bytes that the action gave as `userdata`, for the controller to recognise the action by.
    pub userdata: Vec<u8>,
    /// Ingress port, registers and metadata of the packet. The headers are zero but for those of the tunnel and
    /// the connection, and the EtherType: the others are in the packet.
    pub state: PipelineKey,
    /// Why the packet is dropped, should no controller want it and nothing else be done with it.
    pub unwanted: DropReason,
    /// The id of the state with which the packet goes on once a controller resumes it; `None` if the packet
    /// does not wait for that.
    pub paused: Option<u32>,
    /// The meter that limits the packet-ins; `None` if none does.
    pub meter: Option<MeterRef>,
}

/// A meter among those of a verdict, which has them beside its actions, because they hold state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MeterRef {
    /// The number of the meter in its bridge.
    pub id: MeterId,
    /// The index of the meter among those of the verdict.
    pub index: u16,
}

/// How the datapath looks up the connection of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CtAction {
    /// The zone in which the connection is looked up.
    pub zone: u16,
    /// What happens to the connection; `None` if it is looked up and not remembered.
    pub commit: Option<CtCommit>,
    /// How addresses and ports are translated; `None` leaves them as they are.
    pub nat: Option<Nat>,
}

/// How the datapath commits a connection: remembers it, and writes mark and label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CtCommit {
    /// Whether a connection whose first packet went the other way is forgotten, and begins anew.
    pub force: bool,
    /// The mark of the connection.
    pub mark: Rewrite<u32>,
    /// The label of the connection.
    pub label: Rewrite<u128>,
    /// The helper that a connection that begins gets; `None` if it gets none.
    pub alg: Option<CtAlg>,
}

/// One step that the datapath carries out on a frame. Steps are carried out in order, each on the frame as the
/// steps before left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DpAction {
    /// Sends the frame, as it is at this step, from a port.
    Output(PortNo),
    /// Sends a copy of the frame that is cut off behind `max_len` bytes.
    OutputTrunc {
        /// The port that sends the copy.
        port: PortNo,
        /// Size of the copy in bytes, counted from the Ethernet header. A shorter frame is sent whole.
        max_len: u32,
        /// As in [`OutputQueued`](Self::OutputQueued); 0 if no queue was chosen.
        priority: u32,
    },
    /// Sends the frame, as it is at this step, from a port through a queue.
    OutputQueued {
        /// The port that sends the frame.
        port: PortNo,
        /// The priority by which the queueing discipline of the port's device
        /// chooses the queue (`SO_PRIORITY`, socket(7)).
        priority: u32,
    },
    /// Sends the frame, as it is at this step, from a tunnel port.
    Tunnel {
        /// The tunnel port that sends the frame.
        port: PortNo,
        /// What the outer headers are to say.
        key: Arc<TunnelKey>,
    },
    /// Sends a copy of the frame that is cut off behind `max_len` bytes from a tunnel port.
    TunnelTrunc {
        /// The tunnel port that sends the copy.
        port: PortNo,
        /// What the outer headers are to say.
        key: Arc<TunnelKey>,
        /// Size of the copy in bytes, counted from the inner Ethernet header. A shorter frame is sent whole.
        max_len: u32,
    },
    /// Sends the answer to the ARP request or the neighbour solicitation that the frame is.
    Answer {
        /// The port that sends the answer.
        port: PortNo,
        /// The MAC address of the host that is asked for.
        mac: MacAddr,
    },
    /// Gives a copy of the frame to the controllers that want it.
    Controller(Arc<ControllerMeta>),
    /// Sends the frame through a meter. A frame that the meter drops takes no further step of its list, nor of
    /// the lists around that on the same copy of the frame.
    Meter(MeterRef),
    /// Changes the MAC addresses, which are integers as [`mac_bits`](crate::types::mac_bits) makes them.
    SetEth {
        /// The source address, in the lower 48 bits.
        src: Rewrite<u64>,
        /// The destination address, in the lower 48 bits.
        dst: Rewrite<u64>,
    },
    /// Puts a VLAN tag in front of the tags that the frame has.
    PushVlan {
        /// The tag's protocol identifier: 0x8100 (802.1Q) or 0x88a8 (802.1ad).
        tpid: u16,
        /// The tag control information: priority in the upper 3 bits, VLAN id in the
        /// lower 12, zero between them.
        tci: u16,
    },
    /// Removes the outermost VLAN tag.
    PopVlan,
    /// Changes the IPv4 header and adjusts its checksum and the transport's.
    SetIpv4 {
        /// The IPv4 source address.
        src: Rewrite<u32>,
        /// The IPv4 destination address.
        dst: Rewrite<u32>,
        /// The TOS byte: DSCP in the upper 6 bits, ECN in the lower 2.
        tos: Rewrite<u8>,
        /// The time to live.
        ttl: Rewrite<u8>,
        /// How the transport checksum follows a change of the addresses.
        sums: AddressSums,
    },
    /// Changes the IPv6 header and adjusts the transport's checksum.
    SetIpv6 {
        /// The IPv6 source address.
        src: Rewrite<u128>,
        /// The IPv6 destination address.
        dst: Rewrite<u128>,
        /// The flow label, in the lower 20 bits.
        label: Rewrite<u32>,
        /// The traffic class: DSCP in the upper 6 bits, ECN in the lower 2.
        tclass: Rewrite<u8>,
        /// The hop limit of the IPv6 header.
        hop_limit: Rewrite<u8>,
        /// How the transport checksum follows a change of the addresses.
        sums: AddressSums,
    },
    /// Changes an ARP or RARP packet for IPv4 over Ethernet (RFC 826).
    SetArp {
        /// The operation: 1 is a request, 2 a reply.
        op: Rewrite<u16>,
        /// The sender's IPv4 address (`ar$spa`).
        spa: Rewrite<u32>,
        /// The target's IPv4 address (`ar$tpa`).
        tpa: Rewrite<u32>,
        /// The sender's MAC address (`ar$sha`), in the lower 48 bits.
        sha: Rewrite<u64>,
        /// The target's MAC address (`ar$tha`), in the lower 48 bits.
        tha: Rewrite<u64>,
    },
    /// Changes the ports of a transport header and adjusts its checksum.
    SetPorts {
        /// The header that the ports are in.
        transport: Transport,
        /// The source port.
        src: Rewrite<u16>,
        /// The destination port.
        dst: Rewrite<u16>,
    },
    /// Changes type and code of an ICMP or ICMPv6 message and adjusts its checksum.
    SetIcmp {
        /// The type, the first byte of the message.
        icmp_type: Rewrite<u8>,
        /// The code, the second byte of the message.
        code: Rewrite<u8>,
    },
    /// Changes a neighbour solicitation or advertisement (RFC 4861 §4.3, §4.4) and adjusts its checksum.
    SetNd {
        /// The address that is asked for (solicitation) or announced (advertisement).
        target: Rewrite<u128>,
        /// The MAC address in the Source Link-Layer Address option, in the lower 48 bits.
        sll: Rewrite<u64>,
        /// The MAC address in the Target Link-Layer Address option, in the lower 48 bits.
        tll: Rewrite<u64>,
    },
    /// Changes the rest of a neighbour solicitation or advertisement and adjusts its checksum.
    SetNdExt {
        /// The four bytes in front of the target, with the flags of an advertisement.
        reserved: Rewrite<u32>,
        /// The type of the first option with a link-layer address.
        option_type: Rewrite<u8>,
    },
    /// Puts a label stack entry in front of the layer 3 header and changes the frame's EtherType.
    PushMpls {
        /// The entry: label, traffic class, bottom of stack and TTL (RFC 3032 §2.1).
        lse: u32,
        /// The frame's new EtherType: 0x8847 (unicast) or 0x8848 (multicast).
        ethertype: u16,
    },
    /// Removes the outermost label stack entry and changes the frame's EtherType.
    PopMpls {
        /// The frame's new EtherType: that of the header behind the entry.
        ethertype: u16,
    },
    /// Changes the outermost label stack entry (RFC 3032 §2.1).
    SetMpls(Rewrite<u32>),
    /// Carries out one of two lists, depending on the length of the frame. Steps behind this one are carried
    /// out in both cases.
    CheckLen {
        /// Length in bytes that the frame is compared with. The Ethernet header counts, VLAN tags do not.
        len: u16,
        /// The steps for a frame of more than `len` bytes.
        longer: Vec<DpAction>,
        /// The steps for a frame of `len` bytes or fewer.
        fits: Vec<DpAction>,
    },
    /// Carries out the steps on a copy of the frame. The steps behind this one see
    /// the frame without their changes.
    Clone(Vec<DpAction>),
    /// Looks the frame's connection up, and tells the pass that a later step of the list begins.
    Ct(Box<CtAction>),
    /// Forgets which connection was looked up, so that the next [`Ct`](Self::Ct) looks again.
    CtClear,
    /// Extracts the frame's key again and looks it up with this id, under which the policy has saved where the
    /// pipeline goes on. Always the last step of its list.
    Recirculate(u32),
}
