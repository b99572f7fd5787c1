//! Frames that a user or controller hands to the switch: packet-outs with actions of their own, and packets
//! that go on where they waited for a controller.
//!
//! Such a frame is processed like a frame that missed every cache, except that no flow is cached, because its
//! actions serve only once. Rules, groups and tables count it. Budgets and storm control do not apply, because
//! somebody has asked for exactly this frame.

use super::cached_flow::{CachedFlow, MaskedHash};
use super::rounds::{RECEIVED, Rounds};
use super::{Datapath, Egress, Env, Moment, PortCounters, Processed, Tally, execute};
use crate::conntrack::Tracker;
use crate::policy::learning::Learning;
use crate::policy::recirc::Continuation;
use crate::policy::xlate::Translation;
use crate::policy::{Bridge, BridgeId};
use flow::extract::{Arrival, extract};
use flow::key::{Headers, PipelineKey};
use flow::metric::CacheMetric;
use flow::packet_out::PacketOut;
use flow::types::PortNo;
use packet::Batch;
use std::sync::Arc;
use std::time::Duration;

/// Where a frame that is handed in enters the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// The bridge whose ports and groups the actions name, and whose rules the action `TABLE` asks.
    pub bridge: BridgeId,
    /// The datapath's number of the packet-out's `in_port`; [`PortNo::NONE`] if the bridge has no such port.
    pub port_no: PortNo,
}

/// A packet that goes on where it waited for a controller.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// The packet as the controller sends it back: an Ethernet frame of at least 14 bytes.
    pub packet: Vec<u8>,
    /// Ingress port, registers, metadata, tunnel and connection as the controller sends them back.
    pub state: PipelineKey,
    /// What the packet goes on with.
    pub continuation: Arc<Continuation>,
}

/// The key of a packet with these headers, and with the state that a message has beside the packet. The message
/// also says which tunnel the packet goes through, and what its connection is.
fn beside(state: &PipelineKey, headers: Headers) -> PipelineKey {
    let mut key = PipelineKey { headers, ..*state };
    key.headers.copy_tunnel(&state.headers);
    key.headers.copy_connection(&state.headers);
    key
}

impl Datapath {
    /// Goes on with a packet that has waited for a controller, and is the only one in `batch`. For the rest, it
    /// is as [`inject`](Self::inject).
    pub fn resume(
        &mut self,
        now: Duration,
        ingress: Ingress,
        resumed: &Resumed,
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        counters: &PortCounters,
    ) -> Processed {
        self.hand_in(now, ingress, batch, egress, counters, |bridge, headers| {
            let key = beside(&resumed.state, headers);
            bridge.translate_resumed(&key, &resumed.continuation)
        })
    }

    /// Carries out the actions of a packet-out on its frame, which is the only one in `batch`. No
    /// port has received the frame, so `counters` should not belong to a port: the caller reads
    /// the drop reason from them.
    pub fn inject(
        &mut self,
        now: Duration,
        ingress: Ingress,
        packet: &PacketOut,
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        counters: &PortCounters,
    ) -> Processed {
        self.hand_in(now, ingress, batch, egress, counters, |bridge, headers| {
            let key =
                PipelineKey { in_port: packet.in_port.into(), ..beside(&packet.state, headers) };
            bridge.translate_packet_out(&key, &packet.actions)
        })
    }

    /// Processes a frame whose verdict `translate` gives for the frame's headers.
    fn hand_in(
        &mut self,
        now: Duration,
        ingress: Ingress,
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        counters: &PortCounters,
        translate: impl FnOnce(Bridge<'_>, Headers) -> Translation,
    ) -> Processed {
        let Some(frame) = batch.received_mut().first_mut() else {
            return Processed::default();
        };
        let (policy, in_port) = (&self.caches.policy, ingress.port_no);
        let moment = Moment { now, generation: policy.generation(), in_port, is_injected: true };
        let (flow_key, layers) = extract(Arrival::on(in_port), frame.bytes(), self.vlan_limit);
        frame.layers = layers;
        let size = frame.size() as u64;
        let translation = translate(policy.bridge(ingress.bridge), flow_key.headers);
        policy.learn(&translation.learn, now);
        let Learning { learned, refused } = policy.change_rules(&translation, now);
        self.caches.stats[CacheMetric::Learned].add(learned);
        self.caches.stats[CacheMetric::LearningRefused].add(refused);
        let watched = policy.changes().watch(
            &translation.hosts,
            &translation.rules_to_learn,
            &translation.depends,
        );
        let masked = MaskedHash::default();
        let flow = CachedFlow::new(&flow_key, translation, moment.generation, now, masked, watched);
        flow.count(1, size, now.as_millis() as u64);
        self.caches.catch_up(moment.generation);
        let mut tally = Tally::new(counters);
        let Rounds { asked, found, .. } = &mut *self.rounds;
        let table = self.caches.policy.connections();
        let tracker = Tracker { table, in_port, is_trial: false, budget: None };
        let punts = self.punts.as_deref().map(|queue| self.caches.policy.punts_into(queue));
        let (recirculations, meters) = (asked, &*flow.meters);
        let env = Env { batch, egress, recirculations, punts, meters, tracker, found, now };
        let executed = execute(&flow.actions, env, RECEIVED[0].subject(), 0);
        flow.push_stats(self.caches.registry.lookups());
        tally.settle(self.rounds.settle(&RECEIVED[0], executed, flow.drop));
        // `flow` is dropped at the end of this function: its recirculation ids have to be valid until then.
        self.go_round(moment, batch, egress, &mut tally);
        self.rounds.found.clear();
        self.caches.stats[CacheMetric::Hits].add(tally.hits);
        self.caches.flows.end_batch();
        tally.done
    }
}
