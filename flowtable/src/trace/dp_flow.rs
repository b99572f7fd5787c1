//! Writes the match of a cached flow as `ovs-dpctl dump-flows` does.
//!
//! `recirc_id(0),in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.0/255.255.255.0,proto=6,frag=no),tcp(dst=80)`:
//! one header for each layer, with the fields in which the mask has bits, and a mask for each field
//! in which it does not have all bits. A value is the packet's, also in the bits that do not
//! matter. Open vSwitch also prints packet types and marks; this switch has none of them.

use flow::fields::FieldId;
use flow::key::{FlowKey, FlowMask, KeyPortNo, VLAN_CFI, VLAN_PCP_MASK, VLAN_VID_MASK, frag};
use flow::text::{CT_STATES, TCP_FLAGS, TUN_FLAGS};
use flow::types::MacAddr;
use flow::{Headers, PipelineKey};
use packet::wire::{MplsEntry, eth_type, ip_proto};
use std::fmt::{Display, LowerHex, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The bits of an IPv6 flow label.
const LABEL_BITS: u32 = 0xf_ffff;

/// Appends the bits of `key` that `mask` names, for a packet that came in on `in_port`.
pub fn write_datapath_flow(out: &mut String, key: &FlowKey, mask: &FlowMask, in_port: &str) {
    let mut headers = Printer { out, is_first: true };
    if mask.bits.recirc_id.get() != 0 {
        let id = key.recirc_id.get();
        headers.put(match id {
            0 => "recirc_id(0)".to_owned(),
            id => format!("recirc_id({id:#x})"),
        });
    }
    if mask.bits.port_no != KeyPortNo::default() {
        headers.put(format!("in_port({in_port})"));
    }
    connection(&mut headers, key, mask);
    headers.fields(tunnel(key, mask));
    let mut ethernet = Fields::new("eth");
    ethernet.mac("src", key.headers.dl_src, mask.bits.headers.dl_src);
    ethernet.mac("dst", key.headers.dl_dst, mask.bits.headers.dl_dst);
    headers.fields(ethernet);
    let tags = tags(key, mask);
    // An EtherType nests the headers that it announces. The headers of a part of a flow without its
    // EtherType are not nested.
    let nests = mask.bits.headers.dl_type.get() != 0;
    for Tag { tpid, tci, mask } in &tags {
        if nests {
            headers.put(format!("eth_type({tpid:#06x})"));
        }
        if nests || *mask != 0 {
            headers.fields(vlan(*tci, *mask));
        }
        if nests {
            headers.put("encap(".to_owned());
            headers.is_first = true;
        }
    }
    network(&mut headers, key, mask);
    headers.out.extend(tags.iter().filter(|_| nests).map(|_| ')'));
}

/// Writes the headers behind the VLAN tags.
fn network(headers: &mut Printer<'_>, key: &FlowKey, mask: &FlowMask) {
    let dl_type = key.headers.dl_type.get();
    if mask.bits.headers.dl_type.get() != 0 {
        headers.put(format!("eth_type({dl_type:#06x})"));
    }
    match dl_type {
        eth_type::IPV4 => headers.fields(ipv4(key, mask)),
        eth_type::IPV6 => headers.fields(ipv6(key, mask)),
        eth_type::ARP | eth_type::RARP => headers.fields(arp(key, mask)),
        t if eth_type::is_mpls(t) => labels(headers, key, mask),
        _ => {}
    }
    if matches!(dl_type, eth_type::IPV4 | eth_type::IPV6) && key.headers.nw_frag & frag::LATER == 0
    {
        transport(headers, key, mask);
    }
}

/// Writes what the flow says of connections, as Open vSwitch before the headers.
fn connection(headers: &mut Printer<'_>, key: &FlowKey, mask: &FlowMask) {
    let (key, mask) = (&key.headers, &mask.bits.headers);
    if mask.ct_state.get() != 0 {
        let state = flags(&CT_STATES, key.ct_state.get(), mask.ct_state.get());
        headers.put(format!("ct_state({state})"));
    }
    if mask.ct_zone.get() != 0 {
        headers.put(format!("ct_zone({})", key.ct_zone));
    }
    let part = |name: &str, value: u128, mask: u128, all: u128| match mask {
        0 => None,
        mask if mask == all => Some(format!("{name}({value:#x})")),
        mask => Some(format!("{name}({value:#x}/{mask:#x})")),
    };
    let mark =
        part("ct_mark", key.ct_mark.get().into(), mask.ct_mark.get().into(), u32::MAX.into());
    let label = u128::from_be_bytes;
    let label = part("ct_label", label(key.ct_label), label(mask.ct_label), u128::MAX);
    mark.into_iter().chain(label).for_each(|part| headers.put(part));
}

/// What the flow says of the tunnel that the packet came through.
fn tunnel(key: &FlowKey, mask: &FlowMask) -> Fields {
    let (key, mask) = (&key.headers, &mask.bits.headers);
    let mut fields = Fields::new("tunnel");
    fields.hex("tun_id", key.tun_id.get(), mask.tun_id.get(), u64::MAX);
    let v4 = |address: u32| Ipv4Addr::from(address);
    fields.address("src", v4(key.tun_src.get()), v4(mask.tun_src.get()));
    fields.address("dst", v4(key.tun_dst.get()), v4(mask.tun_dst.get()));
    let v6 = |address: [u8; 16]| Ipv6Addr::from(address);
    fields.address("ipv6_src", v6(key.tun_ipv6_src), v6(mask.tun_ipv6_src));
    fields.address("ipv6_dst", v6(key.tun_ipv6_dst), v6(mask.tun_ipv6_dst));
    fields.hex("tos", key.tun_tos, mask.tun_tos, u8::MAX);
    fields.number("ttl", key.tun_ttl, mask.tun_ttl, u8::MAX);
    fields.hex("gbp_id", key.tun_gbp_id.get(), mask.tun_gbp_id.get(), u16::MAX);
    fields.hex("gbp_flags", key.tun_gbp_flags, mask.tun_gbp_flags, u8::MAX);
    if mask.tun_flags.get() != 0 {
        let flags = flags(&TUN_FLAGS, key.tun_flags.get(), mask.tun_flags.get());
        fields.put("flags", flags);
    }
    options(&mut fields, key, mask);
    fields
}

/// What the flow says of options of Geneve: `NP` of one that is not there, as Open vSwitch has it.
fn options(fields: &mut Fields, key: &Headers, mask: &Headers) {
    let of = |headers: &Headers| PipelineKey { headers: *headers, ..PipelineKey::default() };
    let (there, looked_at) = (key.tun_options.get(), mask.tun_options.get());
    if looked_at == 0 && mask.tun_metadata == Headers::default().tun_metadata {
        return;
    }
    let (key, mask) = (of(key), of(mask));
    for field in FieldId::tun_metadata() {
        let (name, bit) = (field.def().name, field.option_bit());
        match field.read(&mask) {
            _ if looked_at & bit & !there != 0 => fields.put(name, "NP".to_owned()),
            0 if looked_at & bit != 0 => fields.put(name, "0/0".to_owned()),
            bits => fields.hex(name, field.read(&key), bits, field.full_mask()),
        }
    }
}

fn ipv4(key: &FlowKey, mask: &FlowMask) -> Fields {
    let mut fields = Fields::new("ipv4");
    fields.address(
        "src",
        Ipv4Addr::from(key.headers.nw_src()),
        Ipv4Addr::from(mask.bits.headers.nw_src()),
    );
    fields.address(
        "dst",
        Ipv4Addr::from(key.headers.nw_dst()),
        Ipv4Addr::from(mask.bits.headers.nw_dst()),
    );
    fields.number("proto", key.headers.nw_proto, mask.bits.headers.nw_proto, u8::MAX);
    fields.hex("tos", key.headers.nw_tos, mask.bits.headers.nw_tos, u8::MAX);
    fields.number("ttl", key.headers.nw_ttl, mask.bits.headers.nw_ttl, u8::MAX);
    fields.frag(key, mask);
    fields
}

fn ipv6(key: &FlowKey, mask: &FlowMask) -> Fields {
    let mut fields = Fields::new("ipv6");
    fields.address(
        "src",
        Ipv6Addr::from(key.headers.ipv6_src()),
        Ipv6Addr::from(mask.bits.headers.ipv6_src()),
    );
    fields.address(
        "dst",
        Ipv6Addr::from(key.headers.ipv6_dst()),
        Ipv6Addr::from(mask.bits.headers.ipv6_dst()),
    );
    fields.hex(
        "label",
        key.headers.ipv6_label.get(),
        mask.bits.headers.ipv6_label.get(),
        LABEL_BITS,
    );
    fields.number("proto", key.headers.nw_proto, mask.bits.headers.nw_proto, u8::MAX);
    fields.hex("tclass", key.headers.nw_tos, mask.bits.headers.nw_tos, u8::MAX);
    fields.number("hlimit", key.headers.nw_ttl, mask.bits.headers.nw_ttl, u8::MAX);
    fields.frag(key, mask);
    fields
}

fn arp(key: &FlowKey, mask: &FlowMask) -> Fields {
    let mut fields = Fields::new("arp");
    fields.address(
        "sip",
        Ipv4Addr::from(key.headers.nw_src()),
        Ipv4Addr::from(mask.bits.headers.nw_src()),
    );
    fields.address(
        "tip",
        Ipv4Addr::from(key.headers.nw_dst()),
        Ipv4Addr::from(mask.bits.headers.nw_dst()),
    );
    fields.number("op", key.headers.nw_proto, mask.bits.headers.nw_proto, u8::MAX);
    fields.mac("sha", key.headers.arp_sha, mask.bits.headers.arp_sha);
    fields.mac("tha", key.headers.arp_tha, mask.bits.headers.arp_tha);
    fields
}

/// Writes the label stack, as Open vSwitch with a mask for each entry.
fn labels(headers: &mut Printer<'_>, key: &FlowKey, mask: &FlowMask) {
    for (lse, mask) in key.headers.mpls_lse.iter().zip(&mask.bits.headers.mpls_lse) {
        if mask.get() != 0 {
            let entry = |bits: u32| MplsEntry::new_unchecked(bits.to_be_bytes());
            let (lse, mask) = (entry(lse.get()), entry(mask.get()));
            headers.put(format!(
                "mpls(label={}/{:#x},tc={}/{:x},ttl={}/{:#x},bos={}/{:x})",
                lse.label(),
                mask.label(),
                lse.tc(),
                mask.tc(),
                lse.ttl(),
                mask.ttl(),
                u8::from(lse.is_bottom()),
                u8::from(mask.is_bottom())
            ));
        }
    }
}

fn transport(headers: &mut Printer<'_>, key: &FlowKey, mask: &FlowMask) {
    let ports = |name, src, dst| {
        let mut fields = Fields::new(name);
        fields.number(src, key.headers.tp_src.get(), mask.bits.headers.tp_src.get(), u16::MAX);
        fields.number(dst, key.headers.tp_dst.get(), mask.bits.headers.tp_dst.get(), u16::MAX);
        fields
    };
    // The key has type and code of ICMP in the low bytes of the ports.
    let icmp = |name| {
        let mut fields = Fields::new(name);
        fields.number(
            "type",
            key.headers.tp_src.get() as u8,
            mask.bits.headers.tp_src.get() as u8,
            u8::MAX,
        );
        fields.number(
            "code",
            key.headers.tp_dst.get() as u8,
            mask.bits.headers.tp_dst.get() as u8,
            u8::MAX,
        );
        fields
    };
    match key.headers.nw_proto {
        ip_proto::TCP => {
            headers.fields(ports("tcp", "src", "dst"));
            let (flags, flags_mask) =
                (key.headers.tcp_flags.get(), mask.bits.headers.tcp_flags.get());
            if flags_mask != 0 {
                headers.put(format!("tcp_flags({})", self::flags(&TCP_FLAGS, flags, flags_mask)));
            }
        }
        ip_proto::UDP => headers.fields(ports("udp", "src", "dst")),
        ip_proto::SCTP => headers.fields(ports("sctp", "src", "dst")),
        ip_proto::ICMP => headers.fields(icmp("icmp")),
        ip_proto::ICMPV6 => {
            headers.fields(icmp("icmpv6"));
            let mut fields = Fields::new("nd");
            let [target, target_mask] =
                [key.headers.nd_target, mask.bits.headers.nd_target].map(Ipv6Addr::from);
            fields.address("target", target, target_mask);
            fields.mac("sll", key.headers.arp_sha, mask.bits.headers.arp_sha);
            fields.mac("tll", key.headers.arp_tha, mask.bits.headers.arp_tha);
            headers.fields(fields);
        }
        _ => {}
    }
}

/// Writes flags: `+syn-ack`, or `syn|ack` if all of them matter. `names` has the name of each, from bit 0 on.
fn flags(names: &[&str], flags: u16, mask: u16) -> String {
    let name = |bit: usize| names[bit];
    let bits = (0..names.len()).filter(|bit| mask >> bit & 1 != 0);
    let is_set = |bit: &usize| flags >> bit & 1 != 0;
    if u32::from(mask) == (1 << names.len()) - 1 {
        let set: Vec<&str> = bits.filter(is_set).map(name).collect();
        return if set.is_empty() { "0".to_owned() } else { set.join("|") };
    }
    bits.map(|bit| format!("{}{}", if is_set(&bit) { '+' } else { '-' }, name(bit))).collect()
}

struct Tag {
    tpid: u16,
    tci: u16,
    mask: u16,
}

/// The VLAN tags of a packet that has tags.
fn tags(key: &FlowKey, mask: &FlowMask) -> Vec<Tag> {
    let outer =
        (key.headers.vlan_tpid.get(), key.headers.vlan_tci.get(), mask.bits.headers.vlan_tci.get());
    let inner = (
        key.headers.vlan2_tpid.get(),
        key.headers.vlan2_tci.get(),
        mask.bits.headers.vlan2_tci.get(),
    );
    [outer, inner]
        .into_iter()
        .filter(|(_, tci, _)| tci & VLAN_CFI != 0)
        .map(|(tpid, tci, mask)| Tag {
            tpid: if tpid == 0 { eth_type::VLAN } else { tpid },
            tci,
            mask,
        })
        .collect()
}

fn vlan(tci: u16, mask: u16) -> Fields {
    let mut fields = Fields::new("vlan");
    let (vid, vid_mask) = (tci & VLAN_VID_MASK, mask & VLAN_VID_MASK);
    let (pcp, pcp_mask) = (tci >> 13, (mask & VLAN_PCP_MASK) >> 13);
    // Both fields are written or none. A field that does not matter gets a mask of zero.
    for (name, value, mask, full) in
        [("vid", vid, vid_mask, VLAN_VID_MASK), ("pcp", pcp, pcp_mask, VLAN_PCP_MASK >> 13)]
    {
        fields.put(
            name,
            match mask == full {
                true => value.to_string(),
                false => format!("{value}/{mask:#x}"),
            },
        );
    }
    fields
}

/// Prints headers with commas between them.
struct Printer<'a> {
    out: &'a mut String,
    is_first: bool,
}

impl Printer<'_> {
    fn put(&mut self, header: String) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(',');
        }
        self.out.push_str(&header);
    }

    /// Prints a header, if it has fields that matter.
    fn fields(&mut self, fields: Fields) {
        if !fields.text.is_empty() {
            self.put(format!("{}({})", fields.name, fields.text));
        }
    }
}

/// The fields of a header in which the mask has bits.
struct Fields {
    name: &'static str,
    text: String,
}

impl Fields {
    fn new(name: &'static str) -> Self {
        Self { name, text: String::new() }
    }

    fn put(&mut self, name: &str, value: String) {
        let comma = if self.text.is_empty() { "" } else { "," };
        let _ = write!(self.text, "{comma}{name}={value}");
    }

    fn number<N: Display + LowerHex + Default + PartialEq>(
        &mut self,
        name: &str,
        value: N,
        mask: N,
        full: N,
    ) {
        if mask == full {
            self.put(name, value.to_string());
        } else if mask != N::default() {
            self.put(name, format!("{value}/{mask:#x}"));
        }
    }

    fn hex<N: LowerHex + Default + PartialEq>(&mut self, name: &str, value: N, mask: N, full: N) {
        let value = match value == N::default() {
            true => "0".to_owned(),
            false => format!("{value:#x}"),
        };
        if mask == full {
            self.put(name, value);
        } else if mask != N::default() {
            self.put(name, format!("{value}/{mask:#x}"));
        }
    }

    fn mac(&mut self, name: &str, value: [u8; 6], mask: [u8; 6]) {
        if mask == [0xff; 6] {
            self.put(name, MacAddr(value).to_string());
        } else if mask != [0; 6] {
            self.put(name, format!("{}/{}", MacAddr(value), MacAddr(mask)));
        }
    }

    /// `mask` is an address, too: `10.0.0.0/255.255.255.0`.
    fn address<A: Display + Octets>(&mut self, name: &str, value: A, mask: A) {
        if mask.is_all(0xff) {
            self.put(name, value.to_string());
        } else if !mask.is_all(0) {
            self.put(name, format!("{value}/{mask}"));
        }
    }

    fn frag(&mut self, key: &FlowKey, mask: &FlowMask) {
        if mask.bits.headers.nw_frag == 0 {
            return;
        }
        let kind = match key.headers.nw_frag & (frag::ANY | frag::LATER) {
            0 => "no",
            frag::ANY => "first",
            _ => "later",
        };
        self.put("frag", kind.to_owned());
    }
}

trait Octets {
    fn is_all(&self, octet: u8) -> bool;
}

impl Octets for Ipv4Addr {
    fn is_all(&self, octet: u8) -> bool {
        self.octets() == [octet; 4]
    }
}

impl Octets for Ipv6Addr {
    fn is_all(&self, octet: u8) -> bool {
        self.octets() == [octet; 16]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::fields::FieldId;
    use flow::text::{ParseContext, parse_match};

    /// The bits of `packet` that a rule with `mask` reads.
    #[track_caller]
    fn check(packet: &str, mask: &str, expected: &str) {
        let parse = |text| parse_match(text, &ParseContext::default()).expect(text);
        let (key, mask) = (*parse(packet).key(), *parse(mask).mask());
        let key = FlowKey { headers: key.headers, ..FlowKey::default() };
        let port_no = match FieldId::InPort.is_exact(&mask) {
            true => KeyPortNo::ALL_BITS,
            false => KeyPortNo::default(),
        };
        let bits = FlowKey { port_no, recirc_id: u32::MAX.into(), headers: mask.bits.headers };
        let mask = FlowMask { bits };
        let mut out = String::new();
        write_datapath_flow(&mut out, &key, &mask, "1");
        assert_eq!(out, format!("recirc_id(0),{expected}"));
    }

    #[test]
    fn headers_read_as_in_open_vswitch() {
        check(
            "in_port=1,tcp,nw_dst=10.0.0.0,tp_dst=80,tcp_flags=+syn-ack,nw_ttl=64",
            "in_port=1,tcp,nw_dst=10.0.0.0/24,tp_dst=80,tcp_flags=+syn-ack,nw_ttl=64,nw_frag=no",
            "in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.0/255.255.255.0,proto=6,ttl=64,frag=no),\
             tcp(dst=80),tcp_flags(+syn-ack)",
        );
        check(
            "udp,tp_src=0x1000,nw_tos=16",
            "udp,tp_src=0x1000/0xf000,nw_tos=0",
            "eth_type(0x0800),ipv4(proto=17,tos=0x10/0xfc),udp(src=4096/0xf000)",
        );
        check(
            "udp6,ipv6_dst=2001:db8::,ipv6_label=5",
            "udp6,ipv6_dst=2001:db8::/32,ipv6_label=5",
            "eth_type(0x86dd),ipv6(dst=2001:db8::/ffff:ffff::,label=0x5,proto=17)",
        );
        check(
            "dl_src=aa:00:00:00:00:00,dl_type=0x9000",
            "dl_src=aa:00:00:00:00:00/ff:00:00:00:00:00,dl_type=0x9000",
            "eth(src=aa:00:00:00:00:00/ff:00:00:00:00:00),eth_type(0x9000)",
        );
    }

    #[test]
    fn tags_enclose_what_they_tag() {
        check(
            "dl_vlan=5,dl_vlan_pcp=3,ip",
            "dl_vlan=5,dl_vlan_pcp=3,ip",
            "eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x0800))",
        );
        check("dl_vlan=9,arp", "dl_vlan=1", "vlan(vid=9,pcp=0/0x0)");
    }

    #[test]
    fn other_protocols_have_their_headers() {
        check(
            "arp,arp_op=1,arp_spa=10.0.0.1,arp_sha=aa:00:00:00:00:01",
            "arp,arp_op=1,arp_spa=10.0.0.1,arp_sha=aa:00:00:00:00:01",
            "eth_type(0x0806),arp(sip=10.0.0.1,op=1,sha=aa:00:00:00:00:01)",
        );
        check(
            "icmp,icmp_type=8,icmp_code=0",
            "icmp,icmp_type=8,icmp_code=0",
            "eth_type(0x0800),ipv4(proto=1),icmp(type=8,code=0)",
        );
        check(
            "icmp6,icmp_type=135,nd_target=fe80::1,nd_sll=aa:00:00:00:00:02",
            "icmp6,icmp_type=135,nd_target=fe80::1,nd_sll=aa:00:00:00:00:02",
            "eth_type(0x86dd),ipv6(proto=58),icmpv6(type=135),\
             nd(target=fe80::1,sll=aa:00:00:00:00:02)",
        );
        check(
            "mpls,mpls_label=100,mpls_bos=1,mpls_ttl=64",
            "mpls,mpls_label=100,mpls_bos=1",
            "eth_type(0x8847),mpls(label=100/0xfffff,tc=0/0,ttl=64/0x0,bos=1/1)",
        );
        check("sctp,tp_dst=5", "sctp,tp_dst=5", "eth_type(0x0800),ipv4(proto=132),sctp(dst=5)");
    }
}
