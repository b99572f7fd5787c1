//! Makes the steps of the kernel's programs of datapath actions, or says why that cannot be.
//!
//! Offsets in a frame are constant: a frame that the kernel looks up has no IPv4 options, no IPv6 extension
//! headers, and at most one VLAN tag, which the kernel keeps out of the frame. When a program pushes a second
//! tag, the first one goes into the frame, and what is behind it moves by four bytes.

use crate::layout::{KEY_WORDS, STEPS, WRAP_SIZE, code};
use crate::maps::{KeyWords, Step};
use crate::tunnels::Departure;
use flow::key::{Segment, Segments, VLAN_CFI};
use flow::types::PortNo;
use flow::verdict::{DpAction, DropReason, Rewrite, Transport};
use flow::{FlowKey, FlowMask};
use std::fmt;

const ETHERNET: u16 = 14;
const TAG: u16 = 4;
const TPID_8021Q: u16 = 0x8100;
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const TCP: u8 = 6;

// linux/bpf.h: the flag of bpf_redirect for what the device is to receive, not to send.
const INTO_DEVICE: u8 = 1;
/// The flag of a last step that hands the frame to the device's peer.
const TO_PEER: u8 = 2;
// linux/bpf.h: flags of bpf_skb_store_bytes and bpf_l4_csum_replace.
const RECOMPUTE_SUM: u32 = 1;
const PSEUDO_HEADER: u32 = 1 << 4;
const OF_IPV6: u32 = 1 << 7;

/// Why a flow stays with the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The ingress port does not take part, for this reason.
    InPort(String),
    /// An egress port does not take part, for this reason.
    OutPort(String),
    /// Storm control counts the frames.
    Flood,
    /// The verdict looks at headers that the kernel does not read.
    Headers,
    /// The kernel does not carry out an action of this kind.
    Action(&'static str),
    /// There are more steps than a program can have.
    TooLong,
    /// All places for flows, programs or masks are taken, or the bucket is full.
    Full,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InPort(why) => write!(f, "the ingress port does not take part: {why}"),
            Self::OutPort(why) => write!(f, "an egress port does not take part: {why}"),
            Self::Flood => f.write_str("the frames are flooded, and storm control counts them"),
            Self::Headers => f.write_str(
                "the verdict depends on headers that the kernel does not read: a second tag, MPLS, bodies of ARP or ND, \
                 a tunnel, a connection",
            ),
            Self::Action(what) => f.write_str(what),
            Self::TooLong => write!(f, "more than {STEPS} steps"),
            Self::Full => f.write_str("all places are taken"),
        }
    }
}

/// A device by which flows may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// The number of the device.
    pub(crate) ifindex: u32,
    /// The device's MTU, without link header.
    pub(crate) mtu: u32,
    /// On which way the frames leave.
    pub(crate) way: Way,
}

/// On which way frames leave by a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The device sends them.
    OutOfDevice,
    /// They go to the host, as if the device had received them.
    IntoDevice,
    /// The other end of the veth pair receives them without more ado, if they are for one host: the kernel
    /// takes them for frames to the host that is there.
    ToPeer,
}

/// One output of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The port that sends.
    pub(crate) port_no: PortNo,
    /// By how many bytes the frame is longer than it was when it was received.
    pub(crate) growth: i32,
}

/// What a flow's actions have become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiled {
    pub(crate) steps: Vec<Step>,
    /// The outputs, in order; empty if the frames are dropped.
    pub(crate) sent: Vec<Sent>,
    /// Bytes of the largest frame, or segment, that all outputs take, without a tag that the kernel keeps out
    /// of the frame.
    pub(crate) max_size: u64,
    /// Bytes of the largest frame, whatever segments it is to be cut into.
    pub(crate) max_total: u64,
}

/// The words of key and mask that the kernel compares; `ifindex` stands in place of the port.
///
/// The kernel looks up frames that have none of the rare segments but that of ARP: there all words are zero. So
/// a mask may have bits there, as long as the masked key is zero. `known` are segments that frames are told
/// apart by in another way.
///
/// # Errors
/// The verdict is for frames that have other rare segments, or depends on the body of ARP.
pub(crate) fn key_words(
    key: &FlowKey,
    mask: &FlowMask,
    ifindex: u32,
    known: &[Segment],
) -> Result<(KeyWords, KeyWords), Refusal> {
    let (all, all_bits) = (key.words(), mask.words());
    let is_known = |word| known.iter().any(|segment| segment.words().contains(&word));
    let is_rare =
        (KEY_WORDS..all.len()).any(|word| all[word] & all_bits[word] != 0 && !is_known(word));
    let (headers, header_bits) = (&key.headers, &mask.bits.headers);
    let is_no_arp = header_bits.dl_type.get() == u16::MAX && headers.dl_type.get() != ARP;
    let looks_at_arp = !is_no_arp && Segment::ARP.words().any(|word| all_bits[word] != 0);
    let looks_at_segments = header_bits.segments != Segments::NONE;
    if is_rare || looks_at_arp || looks_at_segments || key.recirc_id.get() != 0 {
        return Err(Refusal::Headers);
    }
    let mut bits: KeyWords = std::array::from_fn(|word| all_bits[word]);
    let mut words: KeyWords = std::array::from_fn(|word| all[word] & all_bits[word]);
    (words[0], bits[0]) = (ifindex.into(), u32::MAX.into());
    Ok((words, bits))
}

/// Makes steps of the actions of a flow with this key and mask. `exit` knows the devices of ports, or why a
/// port has none, and `departure` how frames leave through a tunnel, if they do.
///
/// # Errors
/// The kernel cannot do what the actions say.
pub(crate) fn compile(
    key: &FlowKey,
    mask: &FlowMask,
    actions: &[DpAction],
    drop: Option<DropReason>,
    has_ipv6_sums: bool,
    exit: impl Fn(PortNo) -> Result<Exit, Refusal>,
    departure: Option<&Departure>,
) -> Result<Compiled, Refusal> {
    let mut compiler = Compiler {
        key,
        mask,
        has_ipv6_sums,
        exit,
        departure,
        has_wrapped: false,
        tags: None,
        growth: 0,
        last_way: None,
        done: Compiled::new(),
    };
    let may_hand_over = is_for_one_host(key, mask, actions);
    let is_output =
        |action: &DpAction| matches!(action, DpAction::Output(_) | DpAction::Tunnel { .. });
    let last = actions.iter().rposition(is_output);
    match (last, drop) {
        (Some(last), None) => {
            for action in &actions[..=last] {
                compiler.action(action)?;
            }
            // What follows the last output changes nothing that anybody gets, unless it is
            // something else than an edit.
            let mut rest = actions[last + 1..].iter();
            if let Some(other) = rest.find(|action| !is_edit(action)) {
                return Err(refused(other));
            }
        }
        (None, Some(_)) => {
            if let Some(other) = actions.iter().find(|action| !is_edit(action)) {
                return Err(refused(other));
            }
        }
        _ => {
            return Err(Refusal::Action("the outcome is known only when the actions are executed"));
        }
    }
    let leaves_by_tunnel = compiler.has_wrapped;
    let mut done = compiler.done;
    match done.steps.last_mut() {
        Some(_) if leaves_by_tunnel => {}
        Some(send) if last.is_some() => {
            send[0] = send[0] & !0xff | u64::from(code::SEND_LAST);
            if may_hand_over && compiler.last_way == Some(Way::ToPeer) {
                send[0] |= u64::from(TO_PEER) << 8;
            }
        }
        _ => done.steps.push(step(code::DROP, 0, 0, 0)),
    }
    if done.steps.len() > STEPS { Err(Refusal::TooLong) } else { Ok(done) }
}

/// Whether all frames of a flow are for one host, whose address no action writes.
fn is_for_one_host(key: &FlowKey, mask: &FlowMask, actions: &[DpAction]) -> bool {
    let is_group = key.headers.dl_dst[0] & 1 != 0;
    mask.bits.headers.dl_dst == [0xff; 6]
        && !is_group
        && !actions.iter().any(|action| matches!(action, DpAction::SetEth { .. }))
}

/// Whether an action changes the frame and nothing else.
fn is_edit(action: &DpAction) -> bool {
    use DpAction::*;
    matches!(
        action,
        SetEth { .. }
            | PushVlan { .. }
            | PopVlan
            | SetIpv4 { .. }
            | SetIpv6 { .. }
            | SetPorts { .. }
            | SetArp { .. }
            | SetIcmp { .. }
            | SetNd { .. }
            | SetNdExt { .. }
    )
}

fn refused(action: &DpAction) -> Refusal {
    Refusal::Action(match action {
        DpAction::Controller(_) => "a controller gets the frames",
        DpAction::Meter(_) => "a meter counts the frames",
        DpAction::Recirculate(_) => "the frames go round again",
        DpAction::SetArp { .. }
        | DpAction::SetNd { .. }
        | DpAction::SetNdExt { .. }
        | DpAction::SetIcmp { .. } => "the kernel does not change the body of ARP, ND or ICMP",
        DpAction::OutputTrunc { .. } | DpAction::TunnelTrunc { .. } => {
            "the kernel does not truncate frames"
        }
        DpAction::OutputQueued { .. } => "the kernel cache does not choose queues",
        _ => "the kernel has no step for an action",
    })
}

impl Compiled {
    fn new() -> Self {
        Self { steps: Vec::new(), sent: Vec::new(), max_size: u64::MAX, max_total: u64::MAX }
    }
}

/// A step as its four words.
fn step(code: u8, size: u8, offset: u16, arg: u32) -> Step {
    [
        u64::from(code) | u64::from(size) << 8 | u64::from(offset) << 16 | u64::from(arg) << 32,
        0,
        0,
        0,
    ]
}

/// The checksums that cover the bytes of a `SET`.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Offset of the IPv4 header's; 0: the bytes are not covered.
    l3: u16,
    /// Offset of the transport's; 0: the bytes are not covered.
    l4: u16,
    l4_flags: u32,
    /// Flags for bytes that no checksum covers.
    store: u32,
}

struct Compiler<'a, E> {
    key: &'a FlowKey,
    mask: &'a FlowMask,
    has_ipv6_sums: bool,
    exit: E,
    departure: Option<&'a Departure>,
    /// The frame has left through a tunnel.
    has_wrapped: bool,
    /// TPIDs of the tags that the frame has at this point, the outermost last; `None` until
    /// tags are pushed or popped.
    tags: Option<Vec<u16>>,
    /// By how many bytes the frame is longer than when it was received.
    growth: i32,
    /// On which way the last output sends.
    last_way: Option<Way>,
    done: Compiled,
}

impl<E: Fn(PortNo) -> Result<Exit, Refusal>> Compiler<'_, E> {
    fn action(&mut self, action: &DpAction) -> Result<(), Refusal> {
        if self.has_wrapped {
            return Err(Refusal::Action(
                "the frames leave through a tunnel, and by other ports behind it",
            ));
        }
        match *action {
            DpAction::Output(port_no) => self.output(port_no),
            DpAction::Tunnel { port, .. } => self.wrap(port),
            DpAction::SetEth { src, dst } => {
                for (offset, Rewrite { value, mask }) in [(0, dst), (6, src)] {
                    let [value, mask] = [value, mask].map(|n| (n << 16).to_be_bytes());
                    self.set(offset, 6, value, mask, Sums::default());
                }
                Ok(())
            }
            DpAction::PushVlan { tpid, tci } => {
                self.tags()?.push(tpid);
                self.growth += i32::from(TAG);
                let arg = u32::from(tpid.to_be()) << 16 | u32::from(tci);
                self.done.steps.push(step(code::PUSH_TAG, 0, 0, arg));
                Ok(())
            }
            DpAction::PopVlan => {
                if self.tags()?.pop().is_none() {
                    return Err(Refusal::Action("there is no tag to pop"));
                }
                self.growth -= i32::from(TAG);
                self.done.steps.push(step(code::POP_TAG, 0, 0, 0));
                Ok(())
            }
            DpAction::SetIpv4 { src, dst, tos, ttl, .. } => self.ipv4(src, dst, tos, ttl),
            DpAction::SetIpv6 { src, dst, label, tclass, hop_limit, .. } => {
                self.ipv6([src, dst], label, tclass, hop_limit)
            }
            DpAction::SetPorts { transport: Transport::Tcp, src, dst } => self.tcp_ports(src, dst),
            // The checksum of a UDP packet that carries a tunnel cannot be told from that of the packet inside.
            DpAction::SetPorts { .. } => {
                Err(Refusal::Action("the kernel changes ports of TCP only"))
            }
            ref other => Err(refused(other)),
        }
    }

    /// The tags of the frame at this point.
    fn tags(&mut self) -> Result<&mut Vec<u16>, Refusal> {
        let (key, mask) = (&self.key.headers, &self.mask.bits.headers);
        if self.tags.is_none() && mask.vlan_tci.get() & VLAN_CFI == 0 {
            return Err(Refusal::Action("the flow has frames with and without tag"));
        }
        let is_tagged = key.vlan_tci.get() & VLAN_CFI != 0;
        Ok(self.tags.get_or_insert_with(|| if is_tagged { vec![TPID_8021Q] } else { Vec::new() }))
    }

    /// Offset of the network header.
    fn l3(&self) -> u16 {
        let tags = self.tags.as_ref().map_or(0, Vec::len) as u16;
        ETHERNET + TAG * tags.saturating_sub(1)
    }

    fn output(&mut self, port_no: PortNo) -> Result<(), Refusal> {
        let Exit { ifindex, mtu, way } = (self.exit)(port_no)?;
        self.last_way = Some(way);
        let flags = if way == Way::IntoDevice { INTO_DEVICE } else { 0 };
        self.done.steps.push(step(code::SEND_COPY, flags, 0, ifindex));
        self.done.sent.push(Sent { port_no, growth: self.growth });
        // As `ports::egress` compares: the Ethernet header is free, and one tag of 802.1Q.
        let tags = self.tags.as_deref().unwrap_or_default();
        let taken = u64::from(TAG) * tags.len() as u64;
        let free = if tags.last() == Some(&TPID_8021Q) { u64::from(TAG) } else { 0 };
        let most = (u64::from(mtu) + u64::from(ETHERNET) + free).saturating_sub(taken);
        self.done.max_size = self.done.max_size.min(most);
        Ok(())
    }

    /// Sends the frame through a tunnel, as the last step.
    fn wrap(&mut self, port_no: PortNo) -> Result<(), Refusal> {
        let Some(departure) = self.departure else {
            return Err(Refusal::Action("the kernel cache has no way through the tunnel"));
        };
        if !self.tags()?.is_empty() {
            return Err(Refusal::Action("the kernel puts no frames with tags into tunnels"));
        }
        if !self.is_type(IPV4) && !self.is_type(IPV6) {
            return Err(Refusal::Action("the kernel puts IP packets into tunnels, and no others"));
        }
        self.has_wrapped = true;
        self.done.steps.push(step(code::WRAP, 0, 0, departure.device));
        self.done.steps.extend(departure.header_steps());
        self.done.sent.push(Sent { port_no, growth: self.growth });
        self.done.max_size = self.done.max_size.min(departure.room.into());
        self.done.max_total = (usize::from(u16::MAX) - WRAP_SIZE) as u64;
        Ok(())
    }

    /// Changes `size` bytes at `offset`, of which `value` and `mask` have the first bytes as
    /// they lie in the frame.
    fn set(&mut self, offset: u16, size: u8, value: [u8; 8], mask: [u8; 8], sums: Sums) {
        let (value, mask) = (u64::from_ne_bytes(value), u64::from_ne_bytes(mask));
        if mask == 0 {
            return;
        }
        let [head, ..] = step(code::SET, size, offset, sums.store);
        let of_sums =
            u64::from(sums.l3) | u64::from(sums.l4) << 16 | u64::from(sums.l4_flags) << 32;
        self.done.steps.push([head, of_sums, value & mask, mask]);
    }

    /// Whether all frames of the flow have this EtherType.
    fn is_type(&self, dl_type: u16) -> bool {
        self.mask.bits.headers.dl_type.get() == u16::MAX
            && self.key.headers.dl_type.get() == dl_type
    }

    /// The protocol of the frames, which are no fragments.
    fn whole_packets(&self) -> Result<u8, Refusal> {
        let (key, mask) = (&self.key.headers, &self.mask.bits.headers);
        let is_known = mask.nw_proto == u8::MAX && mask.nw_frag & 3 == 3 && key.nw_frag & 3 == 0;
        let unknown = Refusal::Action("the flow has fragments, or packets of several protocols");
        if is_known { Ok(key.nw_proto) } else { Err(unknown) }
    }

    fn ipv4(
        &mut self,
        src: Rewrite<u32>,
        dst: Rewrite<u32>,
        tos: Rewrite<u8>,
        ttl: Rewrite<u8>,
    ) -> Result<(), Refusal> {
        if !self.is_type(IPV4) {
            return Err(Refusal::Headers);
        }
        let l3 = self.l3();
        let header = Sums { l3: l3 + 10, ..Sums::default() };
        // In pairs of bytes: the sum is one of 16-bit words.
        self.set(l3, 2, at(1, &[tos.value]), at(1, &[tos.mask]), header);
        self.set(l3 + 8, 2, at(0, &[ttl.value]), at(0, &[ttl.mask]), header);
        if src.is_none() && dst.is_none() {
            return Ok(());
        }
        let both = match self.whole_packets()? {
            TCP => Sums { l4: l3 + 20 + 16, l4_flags: PSEUDO_HEADER, ..header },
            ICMP => header,
            _ => return Err(addresses_refused()),
        };
        for (offset, Rewrite { value, mask }) in [(12, src), (16, dst)] {
            let [value, mask] = [value, mask].map(|n| at(0, &n.to_be_bytes()));
            self.set(l3 + offset, 4, value, mask, both);
        }
        Ok(())
    }

    fn ipv6(
        &mut self,
        addresses: [Rewrite<u128>; 2],
        label: Rewrite<u32>,
        tclass: Rewrite<u8>,
        hop_limit: Rewrite<u8>,
    ) -> Result<(), Refusal> {
        if !self.is_type(IPV6) {
            return Err(Refusal::Headers);
        }
        let l3 = self.l3();
        let no_sum = Sums { store: RECOMPUTE_SUM, ..Sums::default() };
        let first =
            |label: u32, tclass: u8| at(0, &(label | u32::from(tclass) << 20).to_be_bytes());
        self.set(l3, 4, first(label.value, tclass.value), first(label.mask, tclass.mask), no_sum);
        self.set(l3 + 6, 2, at(1, &[hop_limit.value]), at(1, &[hop_limit.mask]), no_sum);
        if addresses.iter().all(|rewrite| rewrite.is_none()) {
            return Ok(());
        }
        if self.whole_packets()? != TCP || !self.has_ipv6_sums {
            return Err(addresses_refused());
        }
        let sums = Sums { l4: l3 + 40 + 16, l4_flags: PSEUDO_HEADER | OF_IPV6, ..Sums::default() };
        for (offset, Rewrite { value, mask }) in [(8, addresses[0]), (24, addresses[1])] {
            for half in 0..2u16 {
                let part = |n: u128| ((n << (64 * u32::from(half)) >> 64) as u64).to_be_bytes();
                self.set(l3 + offset + 8 * half, 8, part(value), part(mask), sums);
            }
        }
        Ok(())
    }

    fn tcp_ports(&mut self, src: Rewrite<u16>, dst: Rewrite<u16>) -> Result<(), Refusal> {
        let header = match () {
            () if self.is_type(IPV4) => 20,
            () if self.is_type(IPV6) => 40,
            () => return Err(Refusal::Headers),
        };
        if self.whole_packets()? != TCP {
            return Err(Refusal::Headers);
        }
        let l4 = self.l3() + header;
        let sums = Sums { l4: l4 + 16, ..Sums::default() };
        for (offset, Rewrite { value, mask }) in [(0, src), (2, dst)] {
            let [value, mask] = [value, mask].map(|n| at(0, &n.to_be_bytes()));
            self.set(l4 + offset, 2, value, mask, sums);
        }
        Ok(())
    }
}

fn addresses_refused() -> Refusal {
    Refusal::Action("the kernel changes addresses of TCP and ICMP over IPv4, and of TCP over IPv6")
}

/// Bytes at a place among eight, of which the others are zero.
fn at(place: usize, bytes: &[u8]) -> [u8; 8] {
    let mut all = [0; 8];
    all[place..place + bytes.len()].copy_from_slice(bytes);
    all
}
