//! The words of rules: names of fields, protocols, attributes and flags. Also finds the word that is nearest to a
//! misspelt one.

use super::error::Fault;
use crate::fields::FieldId;
use ahash::RandomState;
use packet::wire::{eth_type, ip_proto};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The names of the TCP flags; the flag at index `n` is bit `n` of `tcp_flags`. Flags without a name have their
/// value in brackets, as in Open vSwitch.
pub const TCP_FLAGS: [&str; 12] =
    ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"];

/// The meaning of a word in a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The name or alias of a field, which takes a value: `nw_src`.
    Field(FieldId),
    /// A protocol word, which stands alone: `tcp` matches an EtherType and, unless it is `None`, an IP protocol.
    Protocol { dl_type: u16, nw_proto: Option<u8> },
    /// `eth`, which stands alone and matches every packet.
    Ethernet,
    /// An attribute of the rule, which takes a value: `priority`.
    Attribute(Attribute),
    /// A flag of the rule, which stands alone: `check_overlap`.
    Flag(Flag),
    /// A word of dumps that has no meaning in a request: `n_packets`. The parser skips it, so that dumps can be
    /// read back.
    Ignored,
}

/// The attributes of a rule that have a value. The discriminants are below 31: the parser keeps a set of them as
/// bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Table,
    Priority,
    Cookie,
    IdleTimeout,
    HardTimeout,
    Importance,
    OutPort,
    OutGroup,
    Name,
    Label,
}

/// The flags of a rule, as in [`FlowFlags`](crate::flow_mod::FlowFlags).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    SendFlowRem,
    CheckOverlap,
    ResetCounts,
    NoPacketCounts,
    NoByteCounts,
}

const fn protocol(dl_type: u16, nw_proto: Option<u8>) -> Word {
    Word::Protocol { dl_type, nw_proto }
}

/// Every word of a rule that is not the name of a field.
const WORDS: &[(&str, Word)] = &[
    ("ip", protocol(eth_type::IPV4, None)),
    ("ipv4", protocol(eth_type::IPV4, None)),
    ("ip4", protocol(eth_type::IPV4, None)),
    ("icmp", protocol(eth_type::IPV4, Some(ip_proto::ICMP))),
    ("tcp", protocol(eth_type::IPV4, Some(ip_proto::TCP))),
    ("udp", protocol(eth_type::IPV4, Some(ip_proto::UDP))),
    ("sctp", protocol(eth_type::IPV4, Some(ip_proto::SCTP))),
    ("arp", protocol(eth_type::ARP, None)),
    ("rarp", protocol(eth_type::RARP, None)),
    ("ipv6", protocol(eth_type::IPV6, None)),
    ("ip6", protocol(eth_type::IPV6, None)),
    ("icmp6", protocol(eth_type::IPV6, Some(ip_proto::ICMPV6))),
    ("tcp6", protocol(eth_type::IPV6, Some(ip_proto::TCP))),
    ("udp6", protocol(eth_type::IPV6, Some(ip_proto::UDP))),
    ("sctp6", protocol(eth_type::IPV6, Some(ip_proto::SCTP))),
    ("mpls", protocol(eth_type::MPLS, None)),
    ("mplsm", protocol(eth_type::MPLS_MCAST, None)),
    ("eth", Word::Ethernet),
    ("table", Word::Attribute(Attribute::Table)),
    ("priority", Word::Attribute(Attribute::Priority)),
    ("cookie", Word::Attribute(Attribute::Cookie)),
    ("idle_timeout", Word::Attribute(Attribute::IdleTimeout)),
    ("hard_timeout", Word::Attribute(Attribute::HardTimeout)),
    ("importance", Word::Attribute(Attribute::Importance)),
    ("out_port", Word::Attribute(Attribute::OutPort)),
    ("out_group", Word::Attribute(Attribute::OutGroup)),
    ("name", Word::Attribute(Attribute::Name)),
    ("label", Word::Attribute(Attribute::Label)),
    ("send_flow_rem", Word::Flag(Flag::SendFlowRem)),
    ("check_overlap", Word::Flag(Flag::CheckOverlap)),
    ("reset_counts", Word::Flag(Flag::ResetCounts)),
    ("no_packet_counts", Word::Flag(Flag::NoPacketCounts)),
    ("no_byte_counts", Word::Flag(Flag::NoByteCounts)),
    ("duration", Word::Ignored),
    ("n_packets", Word::Ignored),
    ("n_bytes", Word::Ignored),
    ("idle_age", Word::Ignored),
    ("hard_age", Word::Ignored),
    ("no_readonly_table", Word::Ignored),
    ("allow_hidden_fields", Word::Ignored),
];

/// The fields of Open vSwitch that this switch does not have. Their error says so, instead of guessing a
/// misspelling.
const FOREIGN_FIELDS: &[&str] = &[
    "dp_hash",
    "recirc_id",
    "packet_type",
    "skb_priority",
    "tun_id",
    "tunnel_id",
    "tun_src",
    "tun_dst",
    "tun_ipv4_src",
    "tun_ipv4_dst",
    "tun_ipv6_src",
    "tun_ipv6_dst",
    "tun_flags",
    "tun_ttl",
    "tun_tos",
    "tun_gbp_id",
    "tun_gbp_flags",
    "tun_erspan_idx",
    "tun_erspan_ver",
    "tun_erspan_dir",
    "tun_erspan_hwid",
    "tun_gtpu_flags",
    "tun_gtpu_msgtype",
    "ct_state",
    "ct_zone",
    "ct_mark",
    "ct_label",
    "ct_nw_proto",
    "ct_nw_src",
    "ct_nw_dst",
    "ct_ipv6_src",
    "ct_ipv6_dst",
    "ct_tp_src",
    "ct_tp_dst",
    "nsh_flags",
    "nsh_mdtype",
    "nsh_np",
    "nsh_spi",
    "nsp",
    "nsh_si",
    "nsi",
    "nsh_c1",
    "nsh_c2",
    "nsh_c3",
    "nsh_c4",
    "nsh_ttl",
];

/// What names of fields in OpenFlow messages begin with, and the name of the field that what is left belongs to
/// begins with: `NXM_NX_CT_STATE` is `ct_state`, and `NXOXM_NSH_SPI` is `nsh_spi`.
const WIRE_PREFIXES: &[(&str, &str)] = &[
    ("nxm_nx_", ""),
    ("nxm_of_", ""),
    ("nxoxm_et_", ""),
    ("nxoxm_nsh_", "nsh_"),
    ("onfoxm_et_", ""),
    ("oxm_of_", ""),
];

type Index<T> = HashMap<&'static str, T, RandomState>;

fn index<T>(words: impl IntoIterator<Item = (&'static str, T)>) -> Index<T> {
    // Only the words of this file go into the map, so fixed seeds are no way to attack it.
    let mut map = HashMap::with_hasher(RandomState::with_seeds(1, 2, 3, 4));
    map.extend(words);
    map
}

/// The words of rules: [`WORDS`], and names and aliases of fields.
static MATCH_WORDS: LazyLock<Index<Word>> = LazyLock::new(|| {
    let fields = FieldId::all().flat_map(|field| {
        let def = field.def();
        [Some(def.name), def.alias]
            .into_iter()
            .flatten()
            .map(move |name| (name, Word::Field(field)))
    });
    index(WORDS.iter().copied().chain(fields))
});

/// The names of fields in actions: names, aliases, and wire names.
static FIELD_NAMES: LazyLock<Index<FieldId>> = LazyLock::new(|| {
    index(FieldId::all().flat_map(|field| {
        let def = field.def();
        let wire = def.wire.iter().map(|w| w.name);
        [def.name].into_iter().chain(def.alias).chain(wire).map(move |name| (name, field))
    }))
});

/// The meaning of a word in a rule; `None` if the word has none. Wire names of fields have none.
pub(super) fn lookup(word: &str) -> Option<&'static Word> {
    MATCH_WORDS.get(word)
}

/// The field with this name, alias or wire name; `None` if there is none.
pub(super) fn field(name: &str) -> Option<FieldId> {
    FIELD_NAMES.get(name).copied()
}

/// Whether Open vSwitch has a field with this name, or with this name in messages, and this switch does not.
pub(super) fn is_foreign_field(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let wire =
        WIRE_PREFIXES.iter().find_map(|&(wire, field)| Some((field, name.strip_prefix(wire)?)));
    let name = wire.map_or(name.clone(), |(field, rest)| format!("{field}{rest}"));
    FOREIGN_FIELDS.contains(&name.as_str()) || name.starts_with("tun_metadata")
}

/// The fault of a field for which [`is_foreign_field`] is true.
pub(super) fn foreign_field(name: &str) -> Fault {
    Fault::new(format!("{name} is a field of Open vSwitch that this switch does not have"))
}

/// The word of a rule that is nearest to a misspelt one; `None` if none is near.
pub(super) fn nearest(word: &str) -> Option<&'static str> {
    closest(word, MATCH_WORDS.keys().copied())
}

/// The name of a field that is nearest to a misspelt one; `None` if none is near.
pub(super) fn nearest_field(name: &str) -> Option<&'static str> {
    closest(name, FIELD_NAMES.keys().copied())
}

/// The candidate that is nearest to a misspelt word; `None` if none is near. A candidate is near if it differs by
/// at most one edit from a word of 2 to 4 bytes, two edits from a word of 5 to 8 bytes, or three edits from a
/// longer word.
pub(super) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let limit = match word.len() {
        0..=1 => return None,
        2..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .filter(|c| c.len() <= LONGEST && c.len().abs_diff(word.len()) <= limit)
        .map(|c| (distance(word.as_bytes(), c.as_bytes()), c))
        .filter(|&(d, _)| d <= limit)
        .min()
        .map(|(_, c)| c)
}

/// How many edits turn `a` into `b`: insertions, deletions, replacements and swaps of neighbours, ignoring case
/// (optimal string alignment distance).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect(), vec![0; b.len() + 1]];
    for i in 1..=a.len() {
        let [before, previous, current] = &mut rows;
        current[0] = i;
        for j in 1..=b.len() {
            let same = a[i - 1].eq_ignore_ascii_case(&b[j - 1]);
            let replaced = previous[j - 1] + usize::from(!same);
            current[j] = replaced.min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                current[j] = current[j].min(before[j - 2] + 1);
            }
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::parse_action::FOREIGN as FOREIGN_ACTIONS;
    use super::*;

    #[test]
    fn every_name_of_a_field_is_found() {
        assert_eq!(lookup("nw_src"), Some(&Word::Field(FieldId::Ipv4Src)));
        assert_eq!(lookup("ip_src"), Some(&Word::Field(FieldId::Ipv4Src)));
        assert_eq!(lookup("NXM_OF_IP_SRC"), None);
        assert_eq!(field("NXM_OF_IP_SRC"), Some(FieldId::Ipv4Src));
        assert_eq!(field("OXM_OF_PKT_REG3"), Some(FieldId::XReg(3)));
        assert_eq!(lookup("tcp6"), Some(&protocol(eth_type::IPV6, Some(ip_proto::TCP))));
    }

    #[test]
    fn fields_of_open_vswitch_are_not_taken_for_misspelt_ones() {
        for name in [
            "NXM_NX_TUN_ID",
            "NXM_NX_TUN_IPV4_SRC",
            "NXM_NX_TUN_METADATA5",
            "NXM_NX_CT_STATE",
            "NXM_NX_CT_LABEL",
            "NXM_NX_DP_HASH",
            "NXOXM_NSH_SPI",
            "OXM_OF_TUNNEL_ID",
            "OXM_OF_PACKET_TYPE",
            "ct_state",
            "tun_metadata0",
        ] {
            assert!(is_foreign_field(name), "{name}");
        }
        for field in FieldId::all() {
            let wire = field.def().wire.iter().map(|wire| wire.name);
            for name in wire.chain([field.def().name]) {
                assert!(!is_foreign_field(name), "{name}");
            }
        }
        assert!(!is_foreign_field("NXM_NX_CONJ"));
    }

    #[test]
    fn the_readme_names_what_is_missing() {
        let readme = include_str!("../../../README.md");
        let (_, missing) = readme.split_once("## What is missing").unwrap();
        let words: Vec<&str> =
            missing.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        // The README names the fields of connections, tunnels and NSH by the start of their names.
        let fields = FOREIGN_FIELDS.iter().map(|name| match name.split_once('_') {
            Some((kind @ ("ct" | "tun" | "nsh"), _)) => format!("{kind}_"),
            _ => (*name).to_owned(),
        });
        let actions = FOREIGN_ACTIONS.iter().map(|name| (*name).to_owned());
        for name in fields.chain(actions) {
            assert!(words.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn misspelt_words_are_recognised() {
        assert_eq!(nearest("nw_dts"), Some("nw_dst"));
        assert_eq!(nearest("prioritty"), Some("priority"));
        assert_eq!(nearest("tp_dest"), Some("tp_dst"));
        assert_eq!(nearest("elephant"), None);
        assert_eq!(nearest("x"), None);
        assert_eq!(nearest(&"n".repeat(1000)), None);
        assert_eq!(nearest_field("NXM_NX_RAG0"), Some("NXM_NX_REG0"));
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b"abc"), 0);
        assert_eq!(distance(b"abc", b"acb"), 1);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
    }
}
