//! Lists of fields, in the names and the order of Open vSwitch, and folded as
//! it folds them: `eth_{src,dst}`, `reg0...reg15`.

use flow::fields::FieldId;

/// Open vSwitch's names of fields that messages about tables have, in its order. Registers stand between
/// `pkt_mark` and `eth_src`.
const ORDER: [&str; 69] = [
    "dp_hash",
    "recirc_id",
    "packet_type",
    "conj_id",
    "tun_id",
    "tun_src",
    "tun_dst",
    "tun_ipv6_src",
    "tun_ipv6_dst",
    "tun_flags",
    "tun_gbp_id",
    "tun_gbp_flags",
    "tun_metadata",
    "metadata",
    "in_port",
    "in_port_oxm",
    "actset_output",
    "skb_priority",
    "pkt_mark",
    "reg",
    "xreg",
    "xxreg",
    "eth_src",
    "eth_dst",
    "eth_type",
    "vlan_tci",
    "vlan_vid",
    "vlan_pcp",
    "mpls_label",
    "mpls_tc",
    "mpls_bos",
    "mpls_ttl",
    "ip_src",
    "ip_dst",
    "ipv6_src",
    "ipv6_dst",
    "ipv6_label",
    "nw_proto",
    "nw_tos",
    "ip_dscp",
    "nw_ecn",
    "nw_ttl",
    "ip_frag",
    "arp_op",
    "arp_spa",
    "arp_tpa",
    "arp_sha",
    "arp_tha",
    "tcp_src",
    "tcp_dst",
    "tcp_flags",
    "udp_src",
    "udp_dst",
    "sctp_src",
    "sctp_dst",
    "icmp_type",
    "icmp_code",
    "icmpv6_type",
    "icmpv6_code",
    "nd_target",
    "nd_sll",
    "nd_tll",
    "nd_reserved",
    "nd_options_type",
    "nsh_flags",
    "nsh_mdtype",
    "nsh_np",
    "nsh_spi",
    "nsh_si",
];

/// The place of a name in the order: by kind, and registers by their numbers.
fn place(name: &str) -> (usize, u32) {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[letters.len()..].parse().unwrap_or(0);
    let known = |word: &str| ORDER.iter().position(|known| *known == word);
    match known(name).or_else(|| known(letters)) {
        Some(place) => (place, number),
        None => (ORDER.len(), number),
    }
}

/// The name of a field in Open vSwitch.
pub(crate) fn name_of(field: FieldId) -> &'static str {
    let def = field.def();
    let is_known = |name: &&str| ORDER.contains(name);
    [Some(def.name), def.alias].into_iter().flatten().find(is_known).unwrap_or(def.name)
}

/// Appends names of fields, in order and folded, with blanks between them.
pub(crate) fn put_fields(out: &mut String, names: &[&'static str]) {
    let mut sorted = names.to_vec();
    sorted.sort_by_key(|name| place(name));
    sorted.dedup();
    out.push_str(&fold(&sorted).join(" "));
}

/// The part of a name in front of its first underline; `None` if it has none.
fn family(name: &str) -> Option<&str> {
    name.split_once('_').map(|(family, _)| family)
}

/// Folds neighbours: names of one family into braces, and numbered names into a range.
fn fold(names: &[&str]) -> Vec<String> {
    let mut folded = Vec::new();
    let mut rest = names;
    while let [first, ..] = rest {
        let same =
            rest.iter().take_while(|name| family(name).is_some() && family(name) == family(first));
        let numbered = numbered(rest);
        let count = same.count();
        if numbered > 1 {
            folded.push(format!("{first}...{}", rest[numbered - 1]));
            rest = &rest[numbered..];
        } else if count > 1 {
            let family = family(first).unwrap_or_default();
            let members: Vec<&str> = rest[..count]
                .iter()
                .filter_map(|name| name.split_once('_'))
                .map(|(_, member)| member)
                .collect();
            folded.push(format!("{family}_{{{}}}", fold(&members).join(",")));
            rest = &rest[count..];
        } else {
            folded.push((*first).to_owned());
            rest = &rest[1..];
        }
    }
    folded
}

/// How many of the names at the front differ only in a number that grows by one.
fn numbered(names: &[&str]) -> usize {
    let split = |name: &str| {
        let letters = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let number: u32 = name[letters..].parse().ok()?;
        Some((name[..letters].to_owned(), number))
    };
    let Some((letters, from)) = names.first().and_then(|name| split(name)) else {
        return 0;
    };
    (from..)
        .zip(names)
        .take_while(|(number, name)| split(name) == Some((letters.clone(), *number)))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&'static str], expected: &str) {
        let mut out = String::new();
        put_fields(&mut out, names);
        assert_eq!(out, expected);
    }

    #[test]
    fn families_and_numbers_are_folded() {
        check(&["eth_dst", "in_port", "eth_src", "metadata"], "metadata in_port eth_{src,dst}");
        check(&["in_port_oxm", "in_port", "nw_proto"], "in_{port,port_oxm} nw_proto");
        check(&["reg1", "reg0", "reg2", "xreg0", "reg4"], "reg0...reg2 reg4 xreg0");
        check(&["nd_target", "nd_options_type"], "nd_{target,options_type}");
        check(&["nw_tos", "ip_dscp", "nw_ttl", "nw_ecn"], "nw_tos ip_dscp nw_{ecn,ttl}");
    }
}
