//! The features of tables, as `ovs-ofctl dump-tables` prints them. Only replies of OpenFlow 1.0 to 1.2 have
//! features along with the counters.

use flow::types::OfVersion;

const OF10: &str = "    max_entries=1000000
    matching:
      exact match or wildcard: in_port eth_{src,dst,type} vlan_{vid,pcp} \
     ip_{src,dst} nw_{proto,tos} tcp_{src,dst}\n";

macro_rules! of11_actions {
    () => {
        "      Write-Actions and Apply-Actions features:
        actions: output group set_vlan_vid set_vlan_pcp strip_vlan push_vlan mod_dl_src \
         mod_dl_dst mod_nw_src mod_nw_dst mod_nw_tos mod_nw_ecn mod_nw_ttl mod_tp_src mod_tp_dst \
         dec_ttl set_mpls_label set_mpls_tc set_mpls_ttl dec_mpls_ttl push_mpls pop_mpls \
         set_queue\n"
    };
}

macro_rules! config {
    () => {
        "    config=controller
    max_entries=1000000
    instructions (table miss and others):
      instructions: apply_actions clear_actions write_actions write_metadata"
    };
}

macro_rules! metadata {
    () => {
        "    metadata: match=0xffffffffffffffff write=0xffffffffffffffff\n"
    };
}

const OF11: &str = concat!(
    config!(),
    " goto_table\n",
    of11_actions!(),
    "    matching:
      exact match or wildcard: metadata in_port eth_{src,dst,type} vlan_{vid,pcp} \
     mpls_{label,tc} ip_{src,dst} nw_{proto,tos} tcp_{src,dst}\n"
);

const OF11_LAST: &str = concat!(config!(), "\n", of11_actions!(), "    (same matching)\n");

const OF12: &str = concat!(
    metadata!(),
    config!(),
    " goto_table\n",
    "      Write-Actions and Apply-Actions features:
        actions: output group set_field strip_vlan push_vlan mod_nw_ttl dec_ttl set_mpls_ttl \
     dec_mpls_ttl push_mpls pop_mpls set_queue
        supported on Set-Field: metadata in_port_oxm eth_{src,dst} vlan_{vid,pcp} mpls_{label,tc} \
     ip_{src,dst} ipv6_{src,dst,label} ip_dscp nw_ecn arp_{op,spa,tpa,sha,tha} tcp_{src,dst} \
     udp_{src,dst} sctp_{src,dst} icmp_{type,code} icmpv6_{type,code} nd_{target,sll,tll}
    matching:
      exact match or wildcard: metadata in_port_oxm eth_{src,dst,type} vlan_{vid,pcp} \
     mpls_{label,tc} ip_{src,dst} ipv6_{src,dst,label} nw_proto ip_dscp nw_ecn \
     arp_{op,spa,tpa,sha,tha} tcp_{src,dst} udp_{src,dst} sctp_{src,dst} icmp_{type,code} \
     icmpv6_{type,code} nd_{target,sll,tll}\n"
);

const OF12_LAST: &str =
    concat!(metadata!(), config!(), "\n", "      (same actions)\n", "    (same matching)\n");

/// The features of every table, or of every table but the last if [`last`] is `Some`. `None` in versions whose
/// replies have no features.
pub(super) fn of_all(version: OfVersion) -> Option<&'static str> {
    match version {
        OfVersion::OpenFlow10 => Some(OF10),
        OfVersion::OpenFlow11 => Some(OF11),
        OfVersion::OpenFlow12 => Some(OF12),
        _ => None,
    }
}

/// The features of the last table, which has no `goto_table`. `None` in versions that print
/// the same for every table.
pub(super) fn last(version: OfVersion) -> Option<&'static str> {
    match version {
        OfVersion::OpenFlow11 => Some(OF11_LAST),
        OfVersion::OpenFlow12 => Some(OF12_LAST),
        _ => None,
    }
}
