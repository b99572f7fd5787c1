//! The counters of exporters of flow records (IPFIX).

use crate::put;
use openflow::IpfixStats;
use std::fmt::Write;

/// Prints the counters of a bridge's exporter.
pub(crate) fn put_bridge(out: &mut String, stats: &IpfixStats) {
    out.push_str("\n  bridge ipfix: ");
    put_counters(out, stats, "                ");
}

/// Prints the counters of the exporters that rules name.
pub(crate) fn put_flows(out: &mut String, exporters: &[IpfixStats]) {
    put!(out, " {} ids\n", exporters.len());
    for stats in exporters {
        put!(out, "  id {:3}: ", stats.collector_set);
        put_counters(out, stats, "          ");
    }
}

/// Prints two lines of counters, of which the second one begins with `indent`.
fn put_counters(out: &mut String, stats: &IpfixStats, indent: &str) {
    let number = |counter: Option<u64>| counter.map_or("?".to_owned(), |count| count.to_string());
    put!(
        out,
        "flows={}, current flows={}, sampled pkts={}, ipv4 ok={}, ipv6 ok={}, tx pkts={}\n",
        number(stats.flows),
        number(stats.current_flows),
        number(stats.packets),
        number(stats.ipv4_packets),
        number(stats.ipv6_packets),
        number(stats.sent)
    );
    put!(
        out,
        "{indent}pkts errs={}, ipv4 errs={}, ipv6 errs={}, tx errs={}\n",
        number(stats.errors),
        number(stats.ipv4_errors),
        number(stats.ipv6_errors),
        number(stats.send_errors)
    );
}
