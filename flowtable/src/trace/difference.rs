//! Finds the fields in which a packet differs from a match.

use flow::Match;
use flow::fields::FieldId;
use flow::key::{PipelineKey, PipelineMask, VLAN_CFI};
use flow::text::{DEFAULT_PRIORITY, PortNames, write_match};

/// Fields that are compared first, because the other fields depend on them.
const FIRST: [FieldId; 4] = [FieldId::InPort, FieldId::VlanTci, FieldId::EthType, FieldId::IpProto];

/// The fields in which `packet` differs from the match.
pub fn differences(matching: &Match, packet: &PipelineKey) -> Vec<FieldId> {
    let mut left = PipelineMask::default();
    let wanted = matching.key().words().iter().zip(matching.mask().words());
    let words = packet.words().iter().zip(wanted);
    let mut any = 0;
    for (bits, (have, (want, mask))) in left.words_mut().iter_mut().zip(words) {
        *bits = (have ^ want) & mask;
        any |= *bits;
    }
    if any == 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    for field in FIRST.into_iter().chain(FieldId::all()) {
        // Fields share bits: the operation of an ARP packet is where other packets have their IP protocol.
        if field.prerequisite_met(matching.key()) && field.get_mask(&left) != 0 {
            found.push(field);
            field.clear_mask(&mut left, u128::MAX);
        }
    }
    found
}

/// A field of a packet and the same field of a match, both written as in matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What the packet has, for example `tp_dst=443`, `udp` or `no VLAN tag`.
    pub packet: String,
    /// What the match wants, for example `tp_dst=80`, `tcp` or `dl_vlan=5`.
    pub wanted: String,
}

impl Difference {
    /// Writes one of the [`differences`].
    pub fn new(
        field: FieldId,
        matching: &Match,
        packet: &PipelineKey,
        names: &dyn PortNames,
    ) -> Self {
        if matches!(field, FieldId::EthType | FieldId::IpProto) {
            let has_proto = matching.mask().bits.headers.nw_proto != 0;
            return Self {
                packet: kind(packet, true, names),
                wanted: kind(matching.key(), has_proto, names),
            };
        }
        let text = |key: &PipelineKey| match field {
            FieldId::VlanTci if key.headers.vlan_tci.get() & VLAN_CFI == 0 => "no VLAN tag".into(),
            _ => one_field(field, matching.mask(), key, names),
        };
        Self { packet: text(packet), wanted: text(matching.key()) }
    }
}

/// A field of a packet as matches write it: `tp_dst=443`.
pub fn field_text(field: FieldId, packet: &PipelineKey, names: &dyn PortNames) -> String {
    let mut mask = PipelineMask::default();
    field.prerequisite_mask(&mut mask);
    field.set_mask(&mut mask, field.full_mask());
    match field {
        FieldId::EthType => format!("dl_type={:#06x}", packet.headers.dl_type.get()),
        FieldId::IpProto => format!("nw_proto={}", packet.headers.nw_proto),
        _ => one_field(field, &mask, packet, names),
    }
}

/// `tcp`, `arp`, `dl_type=0x88cc`
fn kind(key: &PipelineKey, with_proto: bool, names: &dyn PortNames) -> String {
    let mut mask = PipelineMask::default();
    mask.bits.headers.dl_type.set(u16::MAX);
    if with_proto && crate::policy::xlate::is_ip(&key.headers) {
        mask.bits.headers.nw_proto = u8::MAX;
    }
    shown(key, &mask, names)
}

/// Writes the bits of one field that `mask` has. The name of some fields depends on the kind of the
/// packet, so the kind is added for the printer and taken away again.
fn one_field(
    field: FieldId,
    mask: &PipelineMask,
    key: &PipelineKey,
    names: &dyn PortNames,
) -> String {
    let mut context = PipelineMask::default();
    context.bits.headers.dl_type = mask.bits.headers.dl_type;
    context.bits.headers.nw_proto = mask.bits.headers.nw_proto;
    // The operation of an ARP packet is where other packets have their IP protocol.
    field.clear_mask(&mut context, u128::MAX);
    let mut with_field = context;
    field.set_mask(&mut with_field, field.get_mask(mask));
    let around = shown(key, &context, names);
    let text = shown(key, &with_field, names);
    let words = text.split(',').filter(|word| !around.split(',').any(|other| other == *word));
    words.collect::<Vec<_>>().join(",")
}

fn shown(key: &PipelineKey, mask: &PipelineMask, names: &dyn PortNames) -> String {
    let mut out = String::new();
    write_match(&mut out, &Match::new(key, mask), DEFAULT_PRIORITY, names);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::text::{NoPortNames, ParseContext, parse_match};

    fn check(rule: &str, packet: &str, expected: &[(&str, &str)]) {
        let context = ParseContext::default();
        let matching = parse_match(rule, &context).expect(rule);
        let packet = *parse_match(packet, &context).expect(packet).key();
        let found: Vec<_> = differences(&matching, &packet)
            .into_iter()
            .map(|field| Difference::new(field, &matching, &packet, &NoPortNames))
            .map(|d| (d.packet, d.wanted))
            .collect();
        let expected: Vec<_> =
            expected.iter().map(|(p, w)| ((*p).to_owned(), (*w).to_owned())).collect();
        assert_eq!(found, expected, "{rule}");
    }

    #[test]
    fn fields_are_named_as_in_matches() {
        let packet = "in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=443";
        check("tcp,tp_dst=443", packet, &[]);
        check("tcp,tp_dst=80", packet, &[("tp_dst=443", "tp_dst=80")]);
        check("ip,nw_dst=10.1.0.0/16", packet, &[("nw_dst=10.0.0.0/16", "nw_dst=10.1.0.0/16")]);
        check("in_port=2", packet, &[("in_port=1", "in_port=2")]);
        check("reg3=7", packet, &[("reg3=0", "reg3=0x7")]);
    }

    #[test]
    fn the_kind_of_a_packet_comes_first() {
        check("udp,tp_dst=53", "tcp,tp_dst=80", &[("tcp", "udp"), ("tp_dst=80", "tp_dst=53")]);
        check("arp", "tcp", &[("tcp", "arp")]);
        check("arp,arp_op=2", "arp,arp_op=1", &[("arp_op=1", "arp_op=2")]);
        check("ip", "in_port=1,dl_type=0x88cc", &[("dl_type=0x88cc", "ip")]);
        check("icmp,icmp_type=8", "icmp,icmp_type=0", &[("icmp_type=0", "icmp_type=8")]);
        check("ipv6,ipv6_src=::1", "ipv6,ipv6_src=::2", &[("ipv6_src=::2", "ipv6_src=::1")]);
    }

    #[test]
    fn tags_are_there_or_not() {
        check("dl_vlan=5", "tcp", &[("no VLAN tag", "dl_vlan=5")]);
        check("dl_vlan=5", "tcp,dl_vlan=6", &[("dl_vlan=6", "dl_vlan=5")]);
        check(
            "vlan_tci=0",
            "tcp,dl_vlan=6,dl_vlan_pcp=0",
            &[("dl_vlan=6,dl_vlan_pcp=0", "no VLAN tag")],
        );
    }
}
