//! The words of rules: names of fields, protocols, attributes and flags. Also finds the word that is nearest to
//! a misspelt one.

use super::error::Fault;
use super::vocabulary::vocabulary;
use crate::fields::FieldId;
use ahash::RandomState;
use packet::wire::{eth_type, ip_proto};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The names of the TCP flags; the flag at index `n` is bit `n` of `tcp_flags`. Flags without a name have their
/// value in brackets, as in Open vSwitch.
pub const TCP_FLAGS: [&str; 12] =
    ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"];

/// The names of the flags of a connection's state; the flag at index `n` is bit `n` of `ct_state`.
pub const CT_STATES: [&str; 8] = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];

/// The names of the flags of a tunnel's header; the flag at index `n` is bit `n` of `tun_flags`.
pub const TUN_FLAGS: [&str; 1] = ["oam"];

/// The meaning of a word in a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The name or alias of a field, which takes a value: `nw_src`.
    Field(FieldId),
    /// A protocol word, which stands alone: `tcp` matches an EtherType and, unless it
    /// is `None`, an IP protocol.
    Protocol { dl_type: u16, nw_proto: Option<u8> },
    /// `eth`, which stands alone and matches every packet.
    Ethernet,
    /// An attribute of the rule, which takes a value: `priority`.
    Attribute(Attribute),
    /// A flag of the rule, which stands alone: `check_overlap`.
    Flag(Flag),
    /// A word of dumps that has no meaning in a request: `n_packets`. The parser skips it, so that
    /// dumps can be read back.
    Ignored,
}

#[rustfmt::skip]
vocabulary! {
    /// The attributes of a rule that have a value. The discriminants are below 31: the parser keeps a set of
    /// them as bits.
    pub(crate) enum Attribute {
        /// The table that holds the rule, 0 to 253; 0 if it is not given. Packets begin in table 0.
        /// `dump-flows table=255` and `del-flows table=255` are about all tables.
        Table: "table", "table=N", "add-flow \"table=1,ip,actions=output:2\"";
        /// Of the rules of a table that match a packet, the one with the highest priority is carried out: 0 to
        /// 65535; 32768 if it is not given.
        Priority: "priority", "priority=N", "add-flow \"priority=100,icmp,actions=drop\"";
        /// A number of 64 bits that the rule carries for its owner. With a mask, commands select rules by it;
        /// `-1` is the mask of all bits.
        Cookie: "cookie", "cookie=N, cookie=N/MASK", "del-flows \"cookie=0x2a/-1\"";
        /// The rule is removed after this many seconds without a packet, 1 to 65535; 0 means never.
        IdleTimeout: "idle_timeout", "idle_timeout=SECONDS", "add-flow \"idle_timeout=60,tcp,tcp_dst=80,actions=output:2\"";
        /// The rule is removed this many seconds after it was added, 1 to 65535; 0 means never.
        HardTimeout: "hard_timeout", "hard_timeout=SECONDS", "add-flow \"hard_timeout=300,ip,nw_src=10.0.0.9,actions=drop\"";
        /// A number of 16 bits that the rule carries: how important it is if a full table has
        /// to remove rules (OpenFlow 1.4).
        Importance: "importance", "importance=N", "-O OpenFlow14 add-flow \"importance=5,arp,actions=NORMAL\"";
        /// Selects rules with an `output` to this port, for lists and deletions.
        OutPort: "out_port", "out_port=PORT", "dump-flows \"out_port=2\"";
        /// Selects rules with this `group`, for lists and deletions.
        OutGroup: "out_group", "out_group=ID", "-O OpenFlow13 dump-flows \"out_group=1\"";
        /// A name of at most 63 bytes that no other rule of the bridge has: letters, digits and `-_.:/@+`.
        Name: "name", "name=TEXT", "add-flow \"name=web,tcp,tcp_dst=80,actions=output:2\"";
        /// A label of at most 63 bytes that several rules may share. Commands select rules by it.
        Label: "label", "label=TEXT", "del-flows \"label=shop\"";
    }
}

#[rustfmt::skip]
vocabulary! {
    /// The flags of a rule, as in [`FlowFlags`](crate::flow_mod::FlowFlags).
    pub(crate) enum Flag {
        /// Controllers are told when the rule expires or is deleted. The switch connects to no controllers;
        /// `ofctl monitor flows` tells of every rule.
        SendFlowRem: "send_flow_rem", "send_flow_rem", "add-flow \"send_flow_rem,arp,actions=NORMAL\"";
        /// The rule is refused if the table has a rule of the same priority that a packet can match, too.
        CheckOverlap: "check_overlap", "check_overlap", "add-flow \"check_overlap,priority=7,arp,actions=NORMAL\"";
        /// `mod-flows`, and an `add-flow` that replaces a rule, set the rule's counters to zero.
        ResetCounts: "reset_counts", "reset_counts", "-O OpenFlow13 add-flow \"reset_counts,arp,actions=NORMAL\"";
        /// The rule need not count packets. This switch counts them all the same.
        NoPacketCounts: "no_packet_counts", "no_packet_counts", "-O OpenFlow13 add-flow \"no_packet_counts,arp,actions=NORMAL\"";
        /// The rule need not count bytes. This switch counts them all the same.
        NoByteCounts: "no_byte_counts", "no_byte_counts", "-O OpenFlow13 add-flow \"no_byte_counts,arp,actions=NORMAL\"";
    }
}

const fn protocol(dl_type: u16, nw_proto: Option<u8>) -> Word {
    Word::Protocol { dl_type, nw_proto }
}

/// The words of a rule that are neither the name of a field nor an attribute or a flag.
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
    ("duration", Word::Ignored),
    ("n_packets", Word::Ignored),
    ("n_bytes", Word::Ignored),
    ("idle_age", Word::Ignored),
    ("hard_age", Word::Ignored),
    ("no_readonly_table", Word::Ignored),
    ("allow_hidden_fields", Word::Ignored),
];

/// The fields of Open vSwitch that this switch does not have. Their error says so,
/// instead of guessing a misspelling.
const FOREIGN_FIELDS: &[&str] = &[
    "dp_hash",
    "recirc_id",
    "packet_type",
    "skb_priority",
    "tun_erspan_idx",
    "tun_erspan_ver",
    "tun_erspan_dir",
    "tun_erspan_hwid",
    "tun_gtpu_flags",
    "tun_gtpu_msgtype",
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

/// The words of rules: [`WORDS`], attributes, flags, and names and aliases of fields.
static MATCH_WORDS: LazyLock<Index<Word>> = LazyLock::new(|| {
    let fields = FieldId::all().flat_map(|field| {
        let def = field.def();
        [Some(def.name), def.alias]
            .into_iter()
            .flatten()
            .map(move |name| (name, Word::Field(field)))
    });
    let attributes = Attribute::ALL.iter().flat_map(|&attribute| {
        attribute.description().names.iter().map(move |&name| (name, Word::Attribute(attribute)))
    });
    let flags = Flag::ALL.iter().flat_map(|&flag| {
        flag.description().names.iter().map(move |&name| (name, Word::Flag(flag)))
    });
    index(WORDS.iter().copied().chain(fields).chain(attributes).chain(flags))
});

/// The names of fields in actions: names, aliases, and wire names.
static FIELD_NAMES: LazyLock<Index<FieldId>> = LazyLock::new(|| {
    index(FieldId::all().flat_map(|field| {
        let def = field.def();
        let wire = def.wire.iter().map(|w| w.name);
        [def.name].into_iter().chain(def.alias).chain(wire).map(move |name| (name, field))
    }))
});

/// The words that stand for an EtherType and, unless it is `None`, an IP protocol.
pub(crate) fn protocols() -> impl Iterator<Item = (&'static str, u16, Option<u8>)> {
    WORDS.iter().filter_map(|&(name, word)| match word {
        Word::Protocol { dl_type, nw_proto } => Some((name, dl_type, nw_proto)),
        _ => None,
    })
}

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
    FOREIGN_FIELDS.contains(&name.as_str())
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

/// The candidate that is nearest to a misspelt word; `None` if none is near. A candidate is near if it differs
/// by at most one edit from a word of 2 to 4 bytes, two edits from a word of 5 to 8 bytes, or three edits from
/// a longer word.
pub(crate) fn closest<'a>(
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
        for name in ["tun_erspan_ver", "NXM_NX_DP_HASH", "NXOXM_NSH_SPI", "OXM_OF_PACKET_TYPE"] {
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
