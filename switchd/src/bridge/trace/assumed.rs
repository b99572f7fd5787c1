//! What a trace assumes of a packet, because nobody has said it.

use super::between;
use crate::switch::OnBridge;
use flow::Match;
use flow::fields::FieldId;
use flow::key::PipelineMask;
use flow::text::packet_fields;
use flow::types::{MacAddr, OfPort};
use flowtable::trace::Pass;
use packet::wire::eth_type;
use std::net::IpAddr;

/// Fields about which a trace needs no note if nobody gives them: no VLAN tag and no fragment are what
/// everybody means, and a missing `in_port` has a note of its own.
const PLAIN: [FieldId; 3] = [FieldId::InPort, FieldId::VlanTci, FieldId::IpFrag];

/// What a trace has assumed of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assumed {
    /// The packet comes from no port.
    pub comes_from_no_port: bool,
    /// Fields that were taken as zero, and on which the verdict depends.
    pub fields: Vec<FieldId>,
    /// The host to which the packet's destination IP address belongs, if its
    /// destination MAC address was assumed.
    pub receiver: Option<(IpAddr, MacAddr, OfPort)>,
}

/// What the passes of a trace have assumed of a packet of which only `given` was said.
pub(super) fn assumed(switch: OnBridge<'_>, given: &Match, passes: &[Pass]) -> Assumed {
    let mut read = PipelineMask::default();
    for pass in passes {
        // The first word of either mask is the port, which has a note of its own; then come the headers.
        let words = read.words_mut().iter_mut().zip(pass.translation.mask.words());
        words.skip(1).for_each(|(all, word)| *all |= word);
    }
    let headers = &given.key().headers;
    let is_assumed = |field: &FieldId| {
        !PLAIN.contains(field) && field.get_mask(given.mask()) == 0 && field.get_mask(&read) != 0
    };
    let fields: Vec<FieldId> = packet_fields(headers).into_iter().filter(is_assumed).collect();
    let ip = match headers.dl_type.get() {
        eth_type::IPV4 => Some(IpAddr::from(headers.nw_dst().to_be_bytes())),
        eth_type::IPV6 => Some(IpAddr::from(headers.ipv6_dst())),
        _ => None,
    };
    let receiver = ip.filter(|ip| !ip.is_unspecified() && fields.contains(&FieldId::EthDst));
    Assumed {
        comes_from_no_port: FieldId::InPort.get_mask(given.mask()) == 0,
        receiver: receiver.and_then(|ip| {
            let (mac, port) = between::find(switch, ip)?;
            Some((ip, mac, port))
        }),
        fields,
    }
}
