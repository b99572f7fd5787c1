//! Packet-outs: a frame that no port received, with actions of its own.
//!
//! It goes the way of a frame that missed every cache, except that nothing of it is remembered: its
//! actions serve once. What it does on the way counts as always, at rules, groups and tables. It has
//! no budget and no storm limit, for somebody asked for it by hand.

use super::cached_flow::{CachedFlow, MaskedHash};
use super::rounds::{RECEIVED, Rounds};
use super::{Datapath, Egress, Env, Moment, PortCounters, Processed, Tally, execute};
use crate::policy::BridgeId;
use flow::extract::{Arrival, extract};
use flow::key::PipelineKey;
use flow::packet_out::PacketOut;
use flow::types::PortNo;
use packet::Batch;
use std::time::Duration;

/// Where a packet-out enters the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// The bridge whose rules and ports its actions name.
    pub bridge: BridgeId,
    /// The port that it seems to have come in on; [`PortNo::NONE`] if it names none of the bridge.
    pub port_no: PortNo,
}

impl Datapath {
    /// Does what a packet-out says with its frame, the only one in `batch`. The frame was not received by
    /// anybody, so `counters` should be nobody's: they tell what became of it.
    pub fn inject(
        &mut self,
        now: Duration,
        ingress: Ingress,
        packet: &PacketOut,
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        counters: &PortCounters,
    ) -> Processed {
        let Some(frame) = batch.received_mut().first_mut() else {
            return Processed::default();
        };
        let (policy, in_port) = (&self.caches.policy, ingress.port_no);
        let moment = Moment { now, generation: policy.generation(), in_port, is_injected: true };
        let (flow_key, layers) = extract(Arrival::on(in_port), frame.bytes(), self.vlan_limit);
        frame.layers = layers;
        let size = frame.size() as u64;
        let (in_port, headers) = (packet.in_port.into(), flow_key.headers);
        let key = PipelineKey { in_port, headers, ..packet.state };
        let translation = policy.bridge(ingress.bridge).translate_packet_out(&key, &packet.actions);
        policy.learn(&translation.learn, now);
        let watched = policy.changes().watch(&translation.hosts, &translation.depends);
        let masked = MaskedHash::default();
        let flow = CachedFlow::new(&flow_key, translation, moment.generation, now, masked, watched);
        flow.count(1, size, now.as_millis() as u64);
        flow.push_stats(self.caches.registry.lookups());
        self.caches.catch_up(moment.generation);
        let mut tally = Tally::new(counters);
        let Rounds { asked, .. } = &mut *self.rounds;
        let env = Env { batch, egress, recirculations: asked };
        let executed = execute(&flow.actions, env, RECEIVED[0].frame, 0);
        tally.settle(self.rounds.settle(&RECEIVED[0], executed, flow.drop));
        // The flow lives until its frames are back.
        self.go_round(moment, batch, egress, &mut tally);
        self.caches.stats.hits.add(tally.hits);
        self.caches.flows.end_batch();
        tally.done
    }
}
