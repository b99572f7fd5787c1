//! Which connections a [`CtFilter`] is about.

use super::shard::CtEntry;
use super::tuple::CtTuple;
use flow::ct_filter::{CtEnds, CtFilter};
use packet::wire::ip_proto;

/// Whether a connection fits the filter.
pub(super) fn admits(filter: &CtFilter, connection: &CtEntry) -> bool {
    let CtFilter { zone, mark, label, protocol, original, reply } = filter;
    zone.is_none_or(|zone| connection.canonical.zone == zone)
        && mark.is_none_or(|mark| connection.mark & mark.mask == mark.value)
        && label.is_none_or(|label| connection.label & label.mask == label.value)
        && protocol.is_none_or(|protocol| connection.canonical.protocol == protocol)
        && match *reply == CtEnds::default() && original.is_complete() {
            // As in Open vSwitch, a packet names its connection, whichever way it goes.
            true => {
                fits(original, || connection.original()) || fits(original, || connection.reply())
            }
            false => fits(original, || connection.original()) && fits(reply, || connection.reply()),
        }
}

fn fits(ends: &CtEnds, tuple: impl Fn() -> CtTuple) -> bool {
    if *ends == CtEnds::default() {
        return true;
    }
    let tuple = tuple();
    let (source, destination) = (&tuple.source, &tuple.destination);
    let is_icmp = matches!(tuple.protocol, ip_proto::ICMP | ip_proto::ICMPV6);
    let has_ports = ip_proto::has_ports(tuple.protocol);
    ends.source.is_none_or(|address| tuple.address(source) == address)
        && ends.destination.is_none_or(|address| tuple.address(destination) == address)
        && ends.source_port.is_none_or(|port| has_ports && source.port == port)
        && ends.destination_port.is_none_or(|port| has_ports && destination.port == port)
        && ends.icmp_id.is_none_or(|id| is_icmp && source.port == id)
        && ends.icmp_type.is_none_or(|kind| is_icmp && source.icmp_type == kind)
        // The code of a query is always zero.
        && ends.icmp_code.is_none_or(|code| is_icmp && code == 0)
}
