//! Which way a packet would take through the tables, and why.
//!
//! Nothing is sent, learned or counted: translation has no side effects.

mod assumed;
mod between;
mod growing_match;
mod losers;
mod packet;

pub use assumed::Assumed;
pub use between::{HostLocation, HostName};
pub use losers::Losers;
pub use packet::MAX_FRAME_SIZE;

use super::won_rules::WonRules;
use crate::switch::OnBridge;
use flow::Match;
use flow::fields::FieldId;
use flow::key::PipelineKey;
use flow::types::{MacAddr, OfPort, PortNo};
use flowtable::policy::PortRef;
use flowtable::policy::xlate::Learn;
use flowtable::trace::{Pass, TracedFrame, as_it_comes_in, walk};
use losers::Comparison;
use packet::Meant;
use std::net::IpAddr;

/// What is to be traced.
#[derive(Clone, Debug)]
pub struct TraceRequest {
    /// What is said of the packet, and with `in_port` of the port where it comes in. A packet of which no port
    /// is said comes in at none, as the packet of a packet-out may.
    pub flow: Match,
    /// Where the packet is from.
    pub packet: TracePacket,
    /// The states of the connection that the actions `ct` find, in place of the real ones: bits of `ct_state`.
    pub ct_next: Vec<u16>,
    /// Whether the rules that lost are wanted, too. That compares the packet with all rules of each table.
    pub finds_losers: bool,
}

/// Where a packet to trace is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TracePacket {
    /// It is made of what is said of it. Fields of which nothing is said are zero, and nothing is learned from
    /// a source address of which nothing is said ([`Assumed`] tells which of them the verdict depends on).
    Described,
    /// These are its bytes, from the Ethernet header on, without a checksum behind them. What is said of the
    /// packet must be true. Without `in_port`, it comes in where its source address was learned.
    Frame(Vec<u8>),
    /// One host sends it to the other. What the MAC table knows of them is added to what is said of the packet;
    /// a packet of which no protocol is said is a ping.
    Between {
        /// The sender: gives the port, the VLAN and the source addresses.
        from: Option<HostName>,
        /// The receiver: gives the destination addresses.
        to: Option<HostName>,
    },
}

/// Why nothing can be traced.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TraceError {
    /// The source address of the frame was not learned, and nothing else tells the port.
    #[error("the source address of the packet was not learned at any port")]
    UnknownSource,
    /// The bridge has no such port.
    #[error("there is no port \"{0}\"")]
    NoPort(OfPort),
    /// The frame is shorter than an Ethernet header, or longer than what a port receives. The number is its
    /// size in bytes.
    #[error("no port receives a packet of {0} bytes")]
    FrameSize(usize),
    /// The bytes of the frame have another value in this field than what is said of it.
    #[error("the packet has another {} than the flow says", .field.def().name)]
    Contradiction {
        /// The first field in which they differ.
        field: FieldId,
        /// The packet as its bytes say.
        packet: Box<PipelineKey>,
    },
    /// What is said of the packet contradicts what is known of the hosts.
    #[error("the flow has another {} than the MAC table has for the hosts", .0.def().name)]
    OtherHosts(FieldId),
    /// What is said of the packet makes it one of another protocol than this address.
    #[error("the flow is of another protocol than the address {0}")]
    OtherProtocol(IpAddr),
    /// No host of this address was learned.
    #[error("no host {mac} was learned")]
    NoHost {
        /// The Ethernet address of the host.
        mac: MacAddr,
        /// A host that was learned and whose address is written almost like that one.
        similar: Option<(MacAddr, OfPort)>,
        /// Whether the host is the receiver.
        is_receiver: bool,
    },
    /// No frame with this source address was seen, and neither the host that the switch runs on nor one of that
    /// host's neighbours has the address.
    #[error("the switch has seen no frame from {0}")]
    NoHostWithIp(IpAddr),
    /// The sender is known in several VLANs, and nothing tells which of them is meant.
    #[error("{mac} is known in several VLANs")]
    SeveralLocations {
        /// The Ethernet address of the sender.
        mac: MacAddr,
        /// The VLANs and ports where the sender is known: two or more.
        locations: Vec<HostLocation>,
    },
}

/// The way of a packet through the tables.
#[derive(Debug)]
pub struct Trace {
    /// The look-ups of the packet by the datapath: the first one, and one after each recirculation.
    pub passes: Vec<TracedPass>,
    /// The rules that won the look-ups of all passes.
    pub rules: WonRules,
    /// The port where the packet comes in; [`OfPort::NONE`] for a packet that comes from no port.
    pub in_port: PortRef,
    /// What the trace has assumed, because nobody has said it of the packet.
    pub assumed: Assumed,
}

/// One look-up of the packet by the datapath.
#[derive(Debug)]
pub struct TracedPass {
    /// What the tables decided, and how.
    pub pass: Pass,
    /// The packet before this pass, as rules of the first bridge see it.
    pub packet: PipelineKey,
    /// What the packet would teach.
    pub learns: Vec<TracedLearn>,
    /// The rules that lost the look-up which a step of the pass ends: a rule that won, or a miss. The number is
    /// the index of the step. Empty unless the losers were asked for.
    pub losers: Vec<(usize, Losers)>,
}

/// A host that a real packet would teach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedLearn {
    /// The host, and the port where the packet shows it.
    pub learn: Learn,
    /// The port where its bridge knows it already.
    pub known: Option<OfPort>,
}

/// Follows a packet that comes in at this bridge.
///
/// # Errors
/// It is not clear which packet is meant, or where it comes in.
pub fn trace(switch: OnBridge<'_>, request: &TraceRequest) -> Result<Trace, TraceError> {
    let policy = switch.policy();
    let Meant { in_port: of_port, frame, tunnel, given } = packet::meant(switch, request)?;
    let in_port = PortRef { bridge: switch.bridge().id(), port: of_port };
    let has_sender = given.as_ref().is_none_or(|flow| FieldId::EthSrc.get_mask(flow.mask()) != 0);
    let (vlan_limit, now) = (switch.vlan_limit(), switch.now());
    let ct_next = &request.ct_next;
    let frame = TracedFrame { bytes: &frame, tunnel: &tunnel, has_sender };
    let passes = walk(policy, in_port, &frame, vlan_limit, now, ct_next);
    let assumed = given.map(|flow| assumed::assumed(switch, &flow, &passes)).unwrap_or_default();
    let rules = WonRules::of(policy, passes.iter().flat_map(|pass| &pass.steps));
    let mut comparison = request.finds_losers.then(|| Comparison::new(policy));
    let passes = passes.into_iter().map(|pass| {
        let losers = comparison.as_mut().map(|c| c.losers_of(&pass, &rules));
        TracedPass {
            packet: as_it_comes_in(&pass.key, |_: PortNo| Some(of_port)),
            learns: pass.translation.learn.iter().map(|learn| known(switch, *learn)).collect(),
            losers: losers.unwrap_or_default(),
            pass,
        }
    });
    Ok(Trace { passes: passes.collect(), rules, in_port, assumed })
}

fn known(switch: OnBridge<'_>, learn: Learn) -> TracedLearn {
    let snapshot = switch.policy().bridge(learn.host.bridge).snapshot();
    let known = snapshot.macs().lookup(learn.host.key).map(|entry| entry.port);
    TracedLearn { learn, known }
}
