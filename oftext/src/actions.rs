//! Types of actions as bits: what groups and tables can do.

use crate::bits::put_names;
use flow::types::OfVersion;

/// The actions of OpenFlow 1.0 (`OFPAT10_*`), in the order in which Open vSwitch prints them.
const ACTIONS_10: [(u32, &str); 12] = [
    (1 << 0, "output"),
    (1 << 11, "enqueue"),
    (1 << 1, "set_vlan_vid"),
    (1 << 2, "set_vlan_pcp"),
    (1 << 3, "strip_vlan"),
    (1 << 4, "mod_dl_src"),
    (1 << 5, "mod_dl_dst"),
    (1 << 6, "mod_nw_src"),
    (1 << 7, "mod_nw_dst"),
    (1 << 8, "mod_nw_tos"),
    (1 << 9, "mod_tp_src"),
    (1 << 10, "mod_tp_dst"),
];

/// The actions of OpenFlow 1.1 (`OFPAT11_*`).
const ACTIONS_11: [(u32, &str); 23] = [
    (1 << 0, "output"),
    (1 << 22, "group"),
    (1 << 1, "set_vlan_vid"),
    (1 << 2, "set_vlan_pcp"),
    (1 << 18, "strip_vlan"),
    (1 << 17, "push_vlan"),
    (1 << 3, "mod_dl_src"),
    (1 << 4, "mod_dl_dst"),
    (1 << 5, "mod_nw_src"),
    (1 << 6, "mod_nw_dst"),
    (1 << 7, "mod_nw_tos"),
    (1 << 8, "mod_nw_ecn"),
    (1 << 23, "mod_nw_ttl"),
    (1 << 9, "mod_tp_src"),
    (1 << 10, "mod_tp_dst"),
    (1 << 24, "dec_ttl"),
    (1 << 13, "set_mpls_label"),
    (1 << 14, "set_mpls_tc"),
    (1 << 15, "set_mpls_ttl"),
    (1 << 16, "dec_mpls_ttl"),
    (1 << 19, "push_mpls"),
    (1 << 20, "pop_mpls"),
    (1 << 21, "set_queue"),
];

/// The actions of OpenFlow 1.2 and later (`OFPAT12_*`), which have `set_field` in place of most others.
const ACTIONS_12: [(u32, &str); 12] = [
    (1 << 0, "output"),
    (1 << 22, "group"),
    (1 << 25, "set_field"),
    (1 << 18, "strip_vlan"),
    (1 << 17, "push_vlan"),
    (1 << 23, "mod_nw_ttl"),
    (1 << 24, "dec_ttl"),
    (1 << 15, "set_mpls_ttl"),
    (1 << 16, "dec_mpls_ttl"),
    (1 << 19, "push_mpls"),
    (1 << 20, "pop_mpls"),
    (1 << 21, "set_queue"),
];

/// Appends the names of the actions whose bits are set. Bits that mean nothing are left out.
pub(crate) fn put_actions(out: &mut String, bits: u32, version: OfVersion) {
    let names: &[(u32, &str)] = match version {
        OfVersion::OpenFlow10 => &ACTIONS_10,
        OfVersion::OpenFlow11 => &ACTIONS_11,
        _ => &ACTIONS_12,
    };
    let known = names.iter().fold(0, |known, (bit, _)| known | bit);
    match bits & known {
        0 => out.push_str("(none)"),
        bits => put_names(out, bits, names),
    }
}
