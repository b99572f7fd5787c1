//! Extraction: reads the headers of a frame into a key, in one pass over the bytes.
//!
//! Extraction never fails. A header that is truncated, or that contradicts itself, ends the pass; the key has
//! the fields read so far, and zero in all others. Which headers contradict themselves is decided as in Open
//! vSwitch (`miniflow_extract`), because users write rules for that:
//!
//! - An IPv4 header whose lengths contradict each other or the frame's has no network fields.
//! - A TCP header that is cut off, or whose data offset is below 20 bytes, has no ports.
//! - Bytes behind the length that the IP header states are padding and are not read.
//!
//! Headers are read through the views of [`packet::wire`]. Where most frames pass, a view is over an array of
//! the fixed header's size, so that the compiler needs no bounds checks.
//!
//! Every frame is extracted, so each instruction counts. Before and after a change, measure the instructions
//! for a plain IPv4, IPv6 and ARP frame with `benches/examples/hits.rs`.

use super::key::{
    ETH_TYPE_NONE, FlowKey, HotKey, KeyRef, RareHeaders, Segment, Segments, VLAN_CFI, frag,
};
use crate::types::PortNo;
use packet::Layers;
use packet::wire::{
    ArpPacket, EthernetFrame, IcmpPacket, Icmpv6Packet, Ipv4Packet, Ipv6Extension, Ipv6Packet,
    MplsEntry, NdPacket, TcpPacket, UdpPacket, arp, eth_type, ethernet, icmp, icmpv6, ip_proto,
    ipv4, ipv6, mpls, nd, nd_option, sctp, tcp, udp,
};

/// The part of a [`FlowKey`] that does not come from the bytes of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The port that received the frame.
    pub port_no: PortNo,
    /// 0 for a frame that has just been received. Otherwise the id that [`DpAction::Recirculate`] gave, under
    /// which the policy has saved where the pipeline goes on.
    ///
    /// [`DpAction::Recirculate`]: crate::verdict::DpAction::Recirculate
    pub recirc_id: u32,
}

impl Arrival {
    /// The arrival of a frame that `port_no` has just received.
    #[inline]
    pub fn on(port_no: PortNo) -> Self {
        Self { port_no, recirc_id: 0 }
    }
}

/// Reads the headers of `frame` into a new key. Also returns the offsets of its layers, which editing needs.
///
/// At most `vlan_limit` VLAN tags are read, and at most two. The EtherType behind them becomes `dl_type`, even
/// if it is that of a further tag.
pub fn extract(arrival: Arrival, frame: &[u8], vlan_limit: u8) -> (FlowKey, Layers) {
    let (mut hot, mut rare) = (HotKey::default(), RareHeaders::default());
    let layers = extract_by_call(&mut hot, &mut rare, arrival, frame, vlan_limit);
    (KeyRef { hot: &hot, rare: &rare }.join(), layers)
}

/// As [`extract_into`], but never inlined. Every caller except the loop over received frames uses this
/// function; the reason is with [`extract_into`].
#[inline(never)]
pub fn extract_by_call(
    hot: &mut HotKey,
    rare: &mut RareHeaders,
    arrival: Arrival,
    frame: &[u8],
    vlan_limit: u8,
) -> Layers {
    extract_into(hot, rare, arrival, frame, vlan_limit)
}

/// As [`extract`], but overwrites `hot`, and in `rare` the segments that the frame has. The old contents do not
/// matter. Writing in place saves a copy of the key, which would cost as much as reading an IPv4 header.
///
/// Extraction is the largest part of the cost of a cached frame. The loop over received frames gets a tenth
/// cheaper if the compiler inlines this function there, which it does only while the crate has a single call of
/// it. Everybody else calls [`extract_by_call`].
#[inline]
pub fn extract_into(
    hot: &mut HotKey,
    rare: &mut RareHeaders,
    arrival: Arrival,
    frame: &[u8],
    vlan_limit: u8,
) -> Layers {
    *hot = HotKey::default();
    hot.port_no.set(arrival.port_no);
    hot.recirc_id.set(arrival.recirc_id);
    let mut layers = Layers::default();
    let Some(eth) = frame.first_chunk::<{ ethernet::HEADER_SIZE }>() else {
        return layers;
    };
    let eth = EthernetFrame::new_unchecked(eth);
    hot.dl_dst = eth.dst_addr();
    hot.dl_src = eth.src_addr();
    let mut walk = Walk { frame, pos: ethernet::HEADER_SIZE, end: frame.len() };
    let mut dl_type = eth.ethertype();
    if eth_type::is_vlan(dl_type) {
        dl_type = tags(hot, rare, &mut walk, dl_type, vlan_limit);
    }
    if dl_type < eth_type::LEAST {
        dl_type = snap_type(&mut walk);
    }
    hot.dl_type.set(dl_type);
    if eth_type::is_mpls(dl_type) {
        layers.l2_5 = walk.pos as u16;
        labels(hot, rare, &mut walk);
    }
    layers.l3 = walk.pos as u16;
    match dl_type {
        eth_type::IPV4 => ipv4(hot, &mut layers, walk),
        eth_type::IPV6 => ipv6(hot, rare, &mut layers, walk),
        eth_type::ARP | eth_type::RARP => arp(hot, rare, walk),
        _ => {}
    }
    layers
}

/// A position in a frame. `pos <= end <= frame.len()`.
struct Walk<'a> {
    frame: &'a [u8],
    /// Offset of the first byte that has not been read.
    pos: usize,
    /// Offset behind the last byte that may be read: the end of the frame, and from an IP header on the end of
    /// the IP packet.
    end: usize,
}

impl<'a> Walk<'a> {
    /// How many bytes may still be read.
    #[inline]
    fn left(&self) -> usize {
        self.end - self.pos
    }

    /// The bytes that may still be read.
    #[inline]
    fn rest(&self) -> &'a [u8] {
        &self.frame[self.pos..self.end]
    }

    /// The next `N` bytes, without moving on; `None` if fewer are left.
    #[inline]
    fn peek<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.rest().first_chunk()
    }

    /// The next `N` bytes, moving on behind them; `None`, without moving, if fewer are left.
    #[inline]
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let bytes = self.peek()?;
        self.pos += N;
        Some(bytes)
    }
}

/// Reads up to `limit` VLAN tags, and at most two because a key holds two, and returns the EtherType behind
/// them. `tpid` is the TPID of the first tag, which stands where an untagged frame has its EtherType.
fn tags(
    hot: &mut HotKey,
    rare: &mut RareHeaders,
    walk: &mut Walk<'_>,
    tpid: u16,
    limit: u8,
) -> u16 {
    let mut dl_type = tpid;
    for n in 0..limit.min(2) {
        if !eth_type::is_vlan(dl_type) {
            break;
        }
        let Some(&[c0, c1, t0, t1]) = walk.take() else {
            break;
        };
        let tci = u16::from_be_bytes([c0, c1]) | VLAN_CFI;
        if n == 0 {
            hot.vlan_tci.set(tci);
            if dl_type != eth_type::VLAN {
                hot.begin(rare, Segment::TAGS);
                rare.vlan_tpid.set(dl_type);
            }
        } else {
            hot.begin(rare, Segment::TAGS);
            rare.vlan2_tci.set(tci);
            rare.vlan2_tpid.set(dl_type);
        }
        dl_type = u16::from_be_bytes([t0, t1]);
    }
    dl_type
}

/// The EtherType of an 802.3 frame with an LLC/SNAP header of organisation 0 (RFC 1042); [`ETH_TYPE_NONE`] for
/// any other 802.3 frame.
fn snap_type(walk: &mut Walk<'_>) -> u16 {
    let Some(&[0xaa, 0xaa, 0x03, 0, 0, 0, t0, t1]) = walk.peek() else {
        return ETH_TYPE_NONE;
    };
    walk.pos += 8;
    let t = u16::from_be_bytes([t0, t1]);
    if t >= eth_type::LEAST { t } else { ETH_TYPE_NONE }
}

/// Reads an MPLS label stack up to the entry with the bottom-of-stack bit. The key keeps as many entries as it
/// has room for, the outermost first.
fn labels(hot: &mut HotKey, rare: &mut RareHeaders, walk: &mut Walk<'_>) {
    let mut n = 0;
    while let Some(bytes) = walk.take::<{ mpls::HEADER_SIZE }>() {
        let entry = MplsEntry::new_unchecked(bytes);
        hot.begin(rare, Segment::MPLS);
        if let Some(slot) = rare.mpls_lse.get_mut(n) {
            slot.set(entry.entry());
        }
        n += 1;
        if entry.is_bottom() {
            break;
        }
    }
}

#[inline]
fn ipv4(hot: &mut HotKey, layers: &mut Layers, mut walk: Walk<'_>) {
    let Some(bytes) = walk.peek::<{ ipv4::HEADER_SIZE }>() else {
        return;
    };
    let header = Ipv4Packet::new_unchecked(bytes);
    let (header_size, total) = (header.header_size(), usize::from(header.total_size()));
    let left = walk.left();
    let is_sound = header_size >= ipv4::HEADER_SIZE && header_size <= total && total <= left;
    // `Layers` counts padding in 16 bits, which is more than a frame on a wire can have.
    if !is_sound || left - total > 0xffff {
        return;
    }
    layers.padding = (left - total) as u16;
    walk.end -= left - total;
    hot.segments = hot.segments.or(Segments::NETWORK);
    hot.nw_addrs[..8].copy_from_slice(&bytes[ipv4::field::ADDRESSES]);
    hot.nw_tos = header.tos();
    hot.nw_ttl = header.ttl();
    hot.nw_proto = header.protocol();
    if header.is_fragment() {
        let is_later = header.is_later_fragment();
        hot.nw_frag = if is_later { frag::ANY | frag::LATER } else { frag::ANY };
    }
    walk.pos += header_size;
    transport::<true>(hot, layers, &walk);
}

fn ipv6(hot: &mut HotKey, rare: &mut RareHeaders, layers: &mut Layers, mut walk: Walk<'_>) {
    let left = walk.left();
    let Some(bytes) = walk.take::<{ ipv6::HEADER_SIZE }>() else {
        return;
    };
    let header = Ipv6Packet::new_unchecked(bytes);
    let total = ipv6::HEADER_SIZE + usize::from(header.payload_size());
    if total > left || left - total > 0xffff {
        return;
    }
    layers.padding = (left - total) as u16;
    walk.end -= left - total;
    hot.segments = hot.segments.or(Segments::NETWORK).or(Segment::IPV6.id);
    hot.nw_addrs.copy_from_slice(&bytes[ipv6::field::ADDRESSES]);
    let (mut nw_proto, mut nw_frag) = (header.next_header(), 0);
    if ip_proto::is_ipv6_extension(nw_proto) {
        let Some(behind) = behind_extensions(nw_proto, walk.rest()) else {
            return;
        };
        (nw_proto, nw_frag) = (behind.nw_proto, behind.nw_frag);
        walk.pos += behind.size;
    }
    hot.nw_tos = header.traffic_class();
    hot.ipv6_label.set(header.flow_label());
    hot.nw_ttl = header.hop_limit();
    hot.nw_proto = nw_proto;
    hot.nw_frag = nw_frag;
    transport::<false>(hot, layers, &walk);
    if nw_proto == ip_proto::ICMPV6 {
        icmpv6(hot, rare, &walk);
    }
}

/// What the extension headers of an IPv6 packet say.
struct BehindExtensions {
    /// The protocol behind the last extension header that was read; 44, the
    /// fragment header, in later fragments.
    nw_proto: u8,
    /// Fragment bits as in [`Headers::nw_frag`](super::key::Headers::nw_frag).
    nw_frag: u8,
    /// Size of the extension headers together, in bytes.
    size: usize,
}

/// Reads the extension headers at the start of `bytes`; `first` is the kind of the first one. `None` if a
/// header is cut off.
///
/// The function is never inlined: few packets have extension headers, and the others would pay for the
/// registers that this loop needs.
#[inline(never)]
fn behind_extensions(first: u8, bytes: &[u8]) -> Option<BehindExtensions> {
    let mut behind = BehindExtensions { nw_proto: first, nw_frag: 0, size: 0 };
    while ip_proto::is_ipv6_extension(behind.nw_proto) {
        let rest = bytes.get(behind.size..)?;
        let extension = Ipv6Extension::new_checked(behind.nw_proto, rest).ok()?;
        behind.size += extension.header_size();
        if extension.is_later_fragment() {
            behind.nw_frag = frag::ANY | frag::LATER;
            return Some(behind);
        }
        // A fragment header with any bit set makes the packet a first fragment, reserved bits
        // included, as in Open vSwitch.
        if extension.kind() == ip_proto::FRAGMENT && extension.offset_and_flags() != 0 {
            behind.nw_frag = frag::ANY;
        }
        behind.nw_proto = extension.next_header();
    }
    Some(behind)
}

/// Reads the transport header. The const parameter makes one copy of this function for IPv4 and one for IPv6,
/// each inlined into its only caller.
#[inline]
fn transport<const IS_IPV4: bool>(hot: &mut HotKey, layers: &mut Layers, walk: &Walk<'_>) {
    layers.l4 = walk.pos as u16;
    if hot.nw_frag & frag::LATER != 0 {
        return;
    }
    match hot.nw_proto {
        ip_proto::TCP => {
            if let Some(bytes) = walk.peek::<{ tcp::HEADER_SIZE }>() {
                let tcp = TcpPacket::new_unchecked(bytes);
                // The data offset must be at least 20 bytes, and the header must be there (RFC 9293 §3.1).
                if (tcp::HEADER_SIZE..=walk.left()).contains(&tcp.header_size()) {
                    set_ports(hot, bytes);
                    hot.tcp_flags.set(tcp.flags());
                }
            }
        }
        ip_proto::UDP => {
            if let Some(udp) = walk.peek::<{ udp::HEADER_SIZE }>() {
                set_ports(hot, udp);
            }
        }
        ip_proto::SCTP => {
            if let Some(sctp) = walk.peek::<{ sctp::HEADER_SIZE }>() {
                set_ports(hot, sctp);
            }
        }
        ip_proto::ICMP | ip_proto::IGMP if IS_IPV4 => {
            if let Some(icmp) = walk.peek::<{ icmp::HEADER_SIZE }>() {
                set_type_and_code(hot, icmp);
            }
        }
        _ => {}
    }
}

/// Reads the ports. TCP, UDP and SCTP headers all begin with them.
#[inline]
fn set_ports<const N: usize>(hot: &mut HotKey, header: &[u8; N]) {
    let udp = UdpPacket::new_unchecked(header);
    hot.tp_src.set(udp.src_port());
    hot.tp_dst.set(udp.dst_port());
}

/// Reads type and code of an ICMP, ICMPv6 or IGMP message into the members that hold ports elsewhere. IGMP's
/// second byte (Max Resp Time) counts as its code, as in Open vSwitch.
fn set_type_and_code(hot: &mut HotKey, header: &[u8; icmp::HEADER_SIZE]) {
    let icmp = IcmpPacket::new_unchecked(header);
    hot.tp_src.set(u16::from(icmp.icmp_type()));
    hot.tp_dst.set(u16::from(icmp.code()));
}

fn icmpv6(hot: &mut HotKey, rare: &mut RareHeaders, walk: &Walk<'_>) {
    let Some(header) = walk.peek::<{ icmpv6::HEADER_SIZE }>() else {
        return;
    };
    set_type_and_code(hot, header);
    if !Icmpv6Packet::new_unchecked(header).is_nd() {
        return;
    }
    hot.begin(rare, Segment::ARP);
    hot.begin(rare, Segment::ND);
    rare.nd_reserved.set(NdPacket::new_unchecked(header).reserved());
    let Ok(message) = NdPacket::new_checked(walk.rest()) else {
        return;
    };
    rare.nd_target = message.target().octets();
    for option in message.options() {
        let slot = match option.option_type() {
            nd_option::SOURCE_LINK_LAYER => &mut rare.arp_sha,
            nd_option::TARGET_LINK_LAYER => &mut rare.arp_tha,
            _ => continue,
        };
        if option.size() != nd::OPTION_SIZE {
            continue;
        }
        // The same link-layer address option twice makes the message invalid, and all its fields read as zero.
        if *slot != [0; 6] {
            rare.nd_target = [0; 16];
            rare.arp_sha = [0; 6];
            rare.arp_tha = [0; 6];
            return;
        }
        *slot = option.mac();
        if rare.nd_options_type == 0 {
            rare.nd_options_type = option.option_type();
        }
    }
}

fn arp(hot: &mut HotKey, rare: &mut RareHeaders, walk: Walk<'_>) {
    let Some(bytes) = walk.peek::<{ arp::HEADER_SIZE }>() else {
        return;
    };
    let arp = ArpPacket::new_unchecked(bytes);
    if !arp.is_ethernet_ipv4() {
        return;
    }
    hot.segments = hot.segments.or(Segments::NETWORK);
    hot.begin(rare, Segment::ARP);
    // `arp_op` has eight bits. A larger operation reads as 0, as in Open vSwitch.
    if let [0, operation] = bytes[arp::field::OPERATION] {
        hot.nw_proto = operation;
    }
    rare.arp_sha = arp.sender_hardware();
    hot.nw_addrs[..4].copy_from_slice(&bytes[arp::field::SENDER_PROTOCOL]);
    rare.arp_tha = arp.target_hardware();
    hot.nw_addrs[4..8].copy_from_slice(&bytes[arp::field::TARGET_PROTOCOL]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Headers;
    use crate::compose::compose;

    /// Offset of the IP header in an untagged frame.
    const IP: usize = 14;
    /// Offset of the TCP header behind an IPv4 header without options.
    const TCP: usize = IP + 20;

    fn tcp() -> Vec<u8> {
        let mut key = Headers { nw_proto: ip_proto::TCP, nw_ttl: 64, ..Headers::default() };
        key.dl_type.set(eth_type::IPV4);
        key.nw_addrs[..8].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        key.tp_src.set(1000);
        key.tp_dst.set(80);
        compose(&key)
    }

    /// Protocol and ports that extraction reads from a TCP packet after `edit` has changed its bytes.
    fn seen(edit: impl FnOnce(&mut Vec<u8>)) -> (u8, u16, u16) {
        let mut frame = tcp();
        edit(&mut frame);
        let (FlowKey { headers: key, .. }, _) = extract(Arrival::default(), &frame, 1);
        (key.nw_proto, key.tp_src.get(), key.tp_dst.get())
    }

    #[test]
    fn tcp_headers_that_cannot_be_as_long_as_they_say_have_no_ports() {
        for words in 0..16u8 {
            // The IP packet ends where 24 bytes of TCP do.
            let found = seen(|frame| {
                frame[IP + 3] = 44;
                frame[TCP + 12] = words << 4;
            });
            let ports = if (5..=6).contains(&words) { (1000, 80) } else { (0, 0) };
            assert_eq!(found, (6, ports.0, ports.1), "{words} words");
        }
    }

    #[test]
    fn ip_headers_that_contradict_themselves_have_no_fields() {
        assert_eq!(seen(|frame| frame[IP] = 0x44), (0, 0, 0), "a header of 16 bytes");
        assert_eq!(seen(|frame| frame[IP] = 0x4f), (0, 0, 0), "one longer than the packet");
        assert_eq!(seen(|frame| frame[IP + 2] = 0xff), (0, 0, 0), "a packet longer than the frame");
        assert_eq!(
            seen(|frame| frame[IP] = 0x65),
            (6, 1000, 80),
            "the version is nobody's business"
        );
    }

    #[test]
    fn later_fragments_have_no_ports() {
        assert_eq!(seen(|frame| frame[IP + 6] = 0x20), (6, 1000, 80), "the first one has");
        assert_eq!(seen(|frame| frame[IP + 7] = 1), (6, 0, 0));
    }

    #[test]
    fn padding_is_not_read() {
        assert_eq!(seen(|frame| frame[IP + 3] = 20), (6, 0, 0), "the ports would be padding");
    }

    #[test]
    fn the_type_behind_the_tags_that_are_looked_at_is_the_type_of_the_frame() {
        let mut frame = tcp();
        for tag in [[0x81, 0, 0, 5], [0x88, 0xa8, 0, 7]] {
            frame.splice(12..12, tag);
        }
        let seen = |limit| {
            let (FlowKey { headers: key, .. }, _) = extract(Arrival::default(), &frame, limit);
            (key.vlan_tci.get(), key.vlan2_tci.get(), key.dl_type.get(), key.tp_dst.get())
        };
        assert_eq!(seen(1), (VLAN_CFI | 7, 0, eth_type::VLAN, 0));
        assert_eq!(seen(2), (VLAN_CFI | 7, VLAN_CFI | 5, eth_type::IPV4, 80));
    }
}
