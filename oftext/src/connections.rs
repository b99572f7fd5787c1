//! Requests to forget connections.

use crate::put;
use flow::ct_filter::{CtEnds, CtFilter};
use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

/// The IP protocols whose tuples have an identifier, a type and a code in place of ports.
const ICMP: [u8; 2] = [1, 58];

/// Prints which connections a request is about: what it does not say is zero.
pub(crate) fn put_flush(out: &mut String, protocol: u8, filter: &CtFilter) {
    let CtFilter { zone, original, reply, .. } = filter;
    let addresses = [original.source, original.destination, reply.source, reply.destination];
    let words = match addresses.iter().flatten().any(IpAddr::is_ipv4) {
        true => ["ct_nw_src", "ct_nw_dst"],
        false => ["ct_ipv6_src", "ct_ipv6_dst"],
    };
    put!(out, " zone={} '", zone.unwrap_or(0));
    put_ends(out, original, protocol, words);
    put!(out, ",ct_nw_proto={protocol}' '");
    put_ends(out, reply, protocol, words);
    out.push('\'');
}

fn put_ends(out: &mut String, ends: &CtEnds, protocol: u8, [source, destination]: [&str; 2]) {
    let shown = |address: Option<IpAddr>| address.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
    put!(out, "{source}={},{destination}={}", shown(ends.source), shown(ends.destination));
    if ICMP.contains(&protocol) {
        let (id, kind) = (ends.icmp_id.unwrap_or(0), ends.icmp_type.unwrap_or(0));
        put!(out, ",icmp_id={id},icmp_type={kind},icmp_code={}", ends.icmp_code.unwrap_or(0));
    } else {
        let [source, destination] =
            [ends.source_port, ends.destination_port].map(|p| p.unwrap_or(0));
        put!(out, ",ct_tp_src={source},ct_tp_dst={destination}");
    }
}
