//! Questions about cached flows: which there are, and why they look at the bits that they look at.
//!
//! A cached flow is read while its worker goes on; a list has what was there at some moment while it was made.

use super::won_rules::WonRules;
use crate::switch::OnBridge;
use flow::Match;
use flow::fields::FieldId;
use flow::key::{FlowKey, FlowMask, KeyPortNo, PipelineMask};
use flow::types::OfPort;
use flowtable::datapath::CachedFlow;
use flowtable::policy::Bridge;
use flowtable::policy::ports::PortInfo;
use flowtable::trace::{Reason, reasons};
use std::sync::Arc;

/// The cached flows that a packet of a match may belong to.
#[derive(Clone, Debug)]
pub struct CachedFlowFilter {
    key: FlowKey,
    mask: FlowMask,
}

/// A match that does not say which cached flows are wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CachedFlowFilterError {
    /// It has registers or metadata, which no cached flow knows.
    #[error("cached flows match packets, which have no registers or metadata")]
    NotOfPackets,
    /// The bridge has no such port.
    #[error("there is no port \"{0}\"")]
    NoPort(OfPort),
    /// The port is a patch port: the cached flows of its packets begin where these were received.
    #[error("no cached flow begins at port {0}, which is a patch port")]
    PatchPort(OfPort),
}

impl CachedFlowFilter {
    /// Wants the flows that may have a packet of `wanted`, which comes in at a port of `bridge`.
    ///
    /// # Errors
    /// The match names a port without cached flows, or what packets do not have.
    pub fn new(bridge: Bridge<'_>, wanted: &Match) -> Result<Self, CachedFlowFilterError> {
        let mut state = *wanted.mask();
        (state.bits.in_port, state.bits.headers) = Default::default();
        if state != PipelineMask::default() {
            return Err(CachedFlowFilterError::NotOfPackets);
        }
        let mut key = FlowKey { headers: wanted.key().headers, ..FlowKey::default() };
        let mut mask = header_bits(wanted.mask());
        if FieldId::InPort.is_exact(wanted.mask()) {
            let of_port = wanted.key().in_port.get();
            let snapshot = bridge.snapshot();
            let port =
                snapshot.ports().get(of_port).ok_or(CachedFlowFilterError::NoPort(of_port))?;
            let port_no =
                PortInfo::port_no(port).ok_or(CachedFlowFilterError::PatchPort(of_port))?;
            key.port_no.set(port_no);
            mask.bits.port_no = KeyPortNo::ALL_BITS;
        }
        Ok(Self { key, mask })
    }

    fn may_cover(&self, flow: &CachedFlow) -> bool {
        let (key, mask) = (flow.key(), flow.mask());
        let values = key.words().iter().zip(self.key.words());
        let masks = mask.words().iter().zip(self.mask.words());
        values.zip(masks).all(|((a, b), (m, n))| (a ^ b) & m & n == 0)
    }
}

/// The cached flows of each worker that `filter` wants, and whose packets come in at a port of this bridge.
pub fn list(switch: OnBridge<'_>, filter: &CachedFlowFilter) -> Vec<Vec<Arc<CachedFlow>>> {
    let is_elsewhere = |flow: &CachedFlow| {
        let at = switch.policy().port_ref(flow.key().port_no.get());
        at.is_some_and(|at| at.bridge != switch.bridge().id())
    };
    let is_wanted = |flow: &CachedFlow| filter.may_cover(flow) && !is_elsewhere(flow);
    let mut workers = switch.cached_flows();
    workers.iter_mut().for_each(|flows| flows.retain(|flow| is_wanted(flow)));
    workers
}

/// Why a cached flow looks at the bits of its mask.
#[derive(Debug)]
pub struct CachedFlowReasons {
    /// What read which bits first, in the order of the walk through the tables.
    pub reasons: Vec<Reason>,
    /// The rules that the reasons name.
    pub rules: WonRules,
    /// The rules have changed since the flow was cached: today its packets go another way, which its worker
    /// finds out with the next one.
    pub has_changed: bool,
}

/// Translates the packet of a cached flow again: the reasons are those of the rules as they are now.
pub fn explain(switch: OnBridge<'_>, flow: &CachedFlow) -> CachedFlowReasons {
    let policy = switch.policy();
    let (translation, steps) = policy.trace(&flow.key());
    let rules = WonRules::of(policy, &steps);
    let reasons = reasons(&translation.mask, &steps, |rule| {
        Some(header_bits(rules.get(rule)?.matching.mask()))
    });
    let is_the_same = *flow.actions == translation.actions[..] && flow.drop == translation.drop;
    CachedFlowReasons { reasons, rules, has_changed: !is_the_same }
}

/// The bits of headers that a rule's mask has.
fn header_bits(mask: &PipelineMask) -> FlowMask {
    FlowMask { bits: FlowKey { headers: mask.bits.headers, ..FlowKey::default() } }
}
