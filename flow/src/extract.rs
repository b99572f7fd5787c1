//! Bytes to key, in one pass.
//!
//! Extraction never fails: a truncated or absurd header ends the walk, and what was read so far is
//! the key. What counts as absurd follows Open vSwitch, because rules are written against it: an IPv4
//! header whose lengths contradict each other has no network fields at all (they read as zero), a TCP
//! header that is cut off, or shorter than it may be, has no ports.
//!
//! Bytes behind the length that the IP header states are padding and never read.

use super::key::{ETH_TYPE_NONE, FlowKey, VLAN_CFI, frag};
use crate::types::PortNo;
use packet::Layers;
use packet::wire::{eth_type, ethernet, icmpv6_type, ip_proto, nd_option};

/// Reads the headers of `frame`. At most `vlan_limit` tags are looked at; the type behind them is
/// `dl_type` even when it announces another tag.
pub fn extract(in_port: PortNo, recirc_id: u32, frame: &[u8], vlan_limit: u8) -> (FlowKey, Layers) {
    let mut key = FlowKey::default();
    let layers = extract_into(&mut key, in_port, recirc_id, frame, vlan_limit);
    (key, layers)
}

/// As [`extract`], into a key of whatever contents: copying it costs as much as reading an IPv4 header.
#[inline]
pub fn extract_into(
    key: &mut FlowKey,
    in_port: PortNo,
    recirc_id: u32,
    frame: &[u8],
    vlan_limit: u8,
) -> Layers {
    *key = FlowKey::default();
    let mut layers = Layers::default();
    key.in_port.set(u32::from(in_port.0));
    key.recirc_id.set(recirc_id);
    key.shape.set(FlowKey::L2_WORDS as u16);
    let Some(eth) = frame.first_chunk::<{ ethernet::HEADER_SIZE }>() else {
        return layers;
    };
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *eth;
    key.dl_dst = [d0, d1, d2, d3, d4, d5];
    key.dl_src = [s0, s1, s2, s3, s4, s5];
    let mut walk = Walk { frame, pos: ethernet::HEADER_SIZE, end: frame.len() };
    let mut dl_type = u16::from_be_bytes([t0, t1]);
    if eth_type::is_vlan(dl_type) {
        dl_type = tags(key, &mut walk, dl_type, vlan_limit);
    }
    if dl_type < 0x600 {
        dl_type = snap_type(&mut walk);
    }
    key.dl_type.set(dl_type);
    if eth_type::is_mpls(dl_type) {
        layers.l2_5 = walk.pos as u16;
        labels(key, &mut walk);
    }
    layers.l3 = walk.pos as u16;
    match dl_type {
        eth_type::IPV4 => ipv4(key, &mut layers, walk),
        eth_type::IPV6 => ipv6(key, &mut layers, walk),
        eth_type::ARP | eth_type::RARP => arp(key, walk),
        _ => {}
    }
    layers
}

/// A position in the frame and the end of what may be read.
struct Walk<'a> {
    frame: &'a [u8],
    pos: usize,
    end: usize,
}

impl<'a> Walk<'a> {
    #[inline]
    fn left(&self) -> usize {
        self.end - self.pos
    }

    /// The next `N` bytes without consuming them.
    #[inline]
    fn peek<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.frame[self.pos..self.end].first_chunk()
    }

    /// The next `N` bytes.
    #[inline]
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let bytes = self.peek()?;
        self.pos += N;
        Some(bytes)
    }

    /// Passes over `n` bytes if there are so many.
    #[inline]
    fn skip(&mut self, n: usize) -> Option<()> {
        (n <= self.left()).then(|| self.pos += n)
    }
}

/// Reads tags and returns the type behind them. `tpid` is the first tag's.
fn tags(key: &mut FlowKey, walk: &mut Walk<'_>, tpid: u16, limit: u8) -> u16 {
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
            key.vlan_tci.set(tci);
            if dl_type != eth_type::VLAN {
                key.vlan_tpid.set(dl_type);
                key.shape.set(super::key::FLOW_WORDS as u16);
            }
        } else {
            key.vlan2_tci.set(tci);
            key.vlan2_tpid.set(dl_type);
            key.shape.set(super::key::FLOW_WORDS as u16);
        }
        dl_type = u16::from_be_bytes([t0, t1]);
    }
    dl_type
}

/// The type of an 802.3 frame with an LLC/SNAP header of organisation 0 (RFC 1042).
fn snap_type(walk: &mut Walk<'_>) -> u16 {
    let Some(&[0xaa, 0xaa, 0x03, 0, 0, 0, t0, t1]) = walk.peek() else {
        return ETH_TYPE_NONE;
    };
    walk.pos += 8;
    let t = u16::from_be_bytes([t0, t1]);
    if t >= 0x600 { t } else { ETH_TYPE_NONE }
}

/// Keeps the first three entries, walks to the bottom of the stack.
fn labels(key: &mut FlowKey, walk: &mut Walk<'_>) {
    let mut n = 0;
    while let Some(&lse) = walk.take::<4>() {
        if let Some(slot) = key.mpls_lse.get_mut(n) {
            slot.set(u32::from_be_bytes(lse));
        }
        n += 1;
        if lse[2] & 1 != 0 {
            break;
        }
    }
    if n > 0 {
        use_words(key, super::key::FLOW_WORDS);
    }
}

/// The key uses at least `n` words.
#[inline]
fn use_words(key: &mut FlowKey, n: usize) {
    if (key.shape.get() as usize) < n {
        key.shape.set(n as u16);
    }
}

#[inline]
fn ipv4(key: &mut FlowKey, layers: &mut Layers, mut walk: Walk<'_>) {
    let Some(header) = walk.peek::<20>() else {
        return;
    };
    let header_size = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let left = walk.left();
    if header_size < 20 || header_size > total || total > left || left - total > 0xffff {
        return;
    }
    layers.padding = (left - total) as u16;
    walk.end -= left - total;
    use_words(key, FlowKey::IPV4_WORDS);
    key.nw_addrs[..8].copy_from_slice(&header[12..20]);
    key.nw_tos = header[1];
    key.nw_ttl = header[8];
    key.nw_proto = header[9];
    let offset = u16::from_be_bytes([header[6], header[7]]);
    if offset & 0x3fff != 0 {
        key.nw_frag = if offset & 0x1fff != 0 { frag::ANY | frag::LATER } else { frag::ANY };
    }
    walk.pos += header_size;
    transport(key, layers, walk);
}

fn ipv6(key: &mut FlowKey, layers: &mut Layers, mut walk: Walk<'_>) {
    let left = walk.left();
    let Some(header) = walk.take::<40>() else {
        return;
    };
    let total = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if total > left || left - total > 0xffff {
        return;
    }
    layers.padding = (left - total) as u16;
    walk.end -= left - total;
    use_words(key, FlowKey::IPV6_WORDS);
    key.nw_addrs.copy_from_slice(&header[8..40]);
    let Some((nw_proto, nw_frag)) = extension_headers(header[6], &mut walk) else {
        return;
    };
    let first = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    key.nw_tos = (first >> 20) as u8;
    key.ipv6_label.set(first & 0x000f_ffff);
    key.nw_ttl = header[7];
    key.nw_proto = nw_proto;
    key.nw_frag = nw_frag;
    transport(key, layers, walk);
}

/// Walks to the header that is no extension; `None` if one of them is cut off.
fn extension_headers(first: u8, walk: &mut Walk<'_>) -> Option<(u8, u8)> {
    let (mut next, mut nw_frag) = (first, 0);
    loop {
        match next {
            ip_proto::HOP_BY_HOP | ip_proto::ROUTING | ip_proto::DESTINATION_OPTIONS => {
                let ext = walk.peek::<8>()?;
                next = ext[0];
                walk.skip((usize::from(ext[1]) + 1) * 8)?;
            }
            ip_proto::AUTHENTICATION => {
                let ext = walk.peek::<8>()?;
                next = ext[0];
                walk.skip((usize::from(ext[1]) + 2) * 4)?;
            }
            ip_proto::FRAGMENT => {
                let ext = walk.take::<8>()?;
                next = ext[0];
                let offset = u16::from_be_bytes([ext[2], ext[3]]);
                if offset != 0 {
                    nw_frag = frag::ANY;
                    if offset & 0xfff8 != 0 {
                        return Some((ip_proto::FRAGMENT, frag::ANY | frag::LATER));
                    }
                }
            }
            _ => return Some((next, nw_frag)),
        }
    }
}

#[inline]
fn transport(key: &mut FlowKey, layers: &mut Layers, walk: Walk<'_>) {
    layers.l4 = walk.pos as u16;
    if key.nw_frag & frag::LATER != 0 {
        return;
    }
    let is_ipv4 = key.dl_type.get() == eth_type::IPV4;
    match key.nw_proto {
        ip_proto::TCP => {
            if let Some(tcp) = walk.peek::<20>().filter(|tcp| is_sound_tcp(tcp, walk.left())) {
                set_ports(key, tcp);
                key.tcp_flags.set(u16::from_be_bytes([tcp[12], tcp[13]]) & 0x0fff);
            }
        }
        ip_proto::UDP => {
            if let Some(udp) = walk.peek::<8>() {
                set_ports(key, udp);
            }
        }
        ip_proto::SCTP => {
            if let Some(sctp) = walk.peek::<12>() {
                set_ports(key, sctp);
            }
        }
        ip_proto::ICMP if is_ipv4 => {
            if let Some(icmp) = walk.peek::<8>() {
                set_type_and_code(key, icmp[0], icmp[1]);
            }
        }
        ip_proto::IGMP if is_ipv4 => {
            if let Some(igmp) = walk.peek::<8>() {
                set_type_and_code(key, igmp[0], igmp[1]);
            }
        }
        ip_proto::ICMPV6 if !is_ipv4 => icmpv6(key, walk),
        _ => {}
    }
}

/// The header is as long as it says (RFC 9293 §3.1), in a packet that has `left` bytes from here on.
#[inline]
fn is_sound_tcp(tcp: &[u8; 20], left: usize) -> bool {
    (20..=left).contains(&(usize::from(tcp[12] >> 4) * 4))
}

#[inline]
fn set_ports<const N: usize>(key: &mut FlowKey, header: &[u8; N]) {
    key.tp_src.set(u16::from_be_bytes([header[0], header[1]]));
    key.tp_dst.set(u16::from_be_bytes([header[2], header[3]]));
}

fn set_type_and_code(key: &mut FlowKey, icmp_type: u8, icmp_code: u8) {
    key.tp_src.set(u16::from(icmp_type));
    key.tp_dst.set(u16::from(icmp_code));
}

fn icmpv6(key: &mut FlowKey, mut walk: Walk<'_>) {
    let Some(icmp) = walk.take::<8>() else {
        return;
    };
    set_type_and_code(key, icmp[0], icmp[1]);
    if !matches!(icmp[0], icmpv6_type::ND_SOLICIT | icmpv6_type::ND_ADVERT) || icmp[1] != 0 {
        return;
    }
    use_words(key, super::key::FLOW_WORDS);
    key.nd_reserved.set(u32::from_be_bytes([icmp[4], icmp[5], icmp[6], icmp[7]]));
    let Some(&target) = walk.take::<16>() else {
        return;
    };
    key.nd_target = target;
    // Options (RFC 4861 §4.6): type, length in units of 8 bytes, then here a MAC address. The same
    // address option twice makes the whole message invalid.
    while let Some(&[kind, units, a, b, c, d, e, f]) = walk.peek() {
        let size = usize::from(units) * 8;
        if size == 0 || size > walk.left() {
            break;
        }
        if size == 8 && matches!(kind, nd_option::SOURCE_LINK_LAYER | nd_option::TARGET_LINK_LAYER)
        {
            let slot = if kind == nd_option::SOURCE_LINK_LAYER {
                &mut key.arp_sha
            } else {
                &mut key.arp_tha
            };
            if *slot != [0; 6] {
                key.nd_target = [0; 16];
                key.arp_sha = [0; 6];
                key.arp_tha = [0; 6];
                return;
            }
            *slot = [a, b, c, d, e, f];
            if key.nd_options_type == 0 {
                key.nd_options_type = kind;
            }
        }
        walk.pos += size;
    }
}

fn arp(key: &mut FlowKey, walk: Walk<'_>) {
    // Ethernet and IPv4 only (RFC 826): hardware type 1, protocol 0x0800, sizes 6 and 4.
    let Some(arp) = walk.peek::<28>() else {
        return;
    };
    if arp[..6] != [0, 1, 8, 0, 6, 4] {
        return;
    }
    use_words(key, super::key::FLOW_WORDS);
    if arp[6] == 0 {
        key.nw_proto = arp[7];
    }
    key.arp_sha.copy_from_slice(&arp[8..14]);
    key.nw_addrs[..4].copy_from_slice(&arp[14..18]);
    key.arp_tha.copy_from_slice(&arp[18..24]);
    key.nw_addrs[4..8].copy_from_slice(&arp[24..28]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::compose;

    /// Where the IP header begins in an untagged frame, and the transport header behind 20 bytes of it.
    const IP: usize = 14;
    const TCP: usize = IP + 20;

    fn tcp() -> Vec<u8> {
        let mut key = FlowKey { nw_proto: ip_proto::TCP, nw_ttl: 64, ..FlowKey::default() };
        key.dl_type.set(eth_type::IPV4);
        key.nw_addrs[..8].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        key.tp_src.set(1000);
        key.tp_dst.set(80);
        compose(&key)
    }

    /// Protocol and ports of a TCP packet once its bytes were edited.
    fn seen(edit: impl FnOnce(&mut Vec<u8>)) -> (u8, u16, u16) {
        let mut frame = tcp();
        edit(&mut frame);
        let (key, _) = extract(PortNo(0), 0, &frame, 1);
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
            let (key, _) = extract(PortNo(0), 0, &frame, limit);
            (key.vlan_tci.get(), key.vlan2_tci.get(), key.dl_type.get(), key.tp_dst.get())
        };
        assert_eq!(seen(1), (VLAN_CFI | 7, 0, eth_type::VLAN, 0));
        assert_eq!(seen(2), (VLAN_CFI | 7, VLAN_CFI | 5, eth_type::IPV4, 80));
    }
}
