//! Packet-outs: a frame that no port received, with actions of its own.
//!
//! It goes the way of a frame that missed every cache, except that nothing of it is remembered: its
//! actions serve once. What it does on the way counts as always, at rules, groups and tables. It has
//! no budget and no storm limit, for somebody asked for it by hand.

use super::cached_flow::{CachedFlow, Place};
use super::{Datapath, Egress, Moment, PortCounters, Processed};
use crate::policy::BridgeId;
use flow::extract::{Arrival, extract};
use flow::key::PipelineKey;
use flow::packet_out::PacketOut;
use flow::types::PortNo;
use packet::Batch;
use std::sync::Arc;
use std::time::Duration;

impl Datapath {
    /// Does what a packet-out of a bridge says with its frame, the only one in `batch`. `in_port` is the
    /// datapath's number of its port. The frame was not received by anybody, so `counters` should
    /// be nobody's: they tell what became of it.
    pub fn inject(
        &mut self,
        now: Duration,
        bridge: BridgeId,
        in_port: PortNo,
        packet: &PacketOut,
        batch: &mut Batch<'_>,
        egress: &mut Egress,
        counters: &PortCounters,
    ) -> Processed {
        let Some(frame) = batch.received_mut().first_mut() else {
            return Processed::default();
        };
        let moment = Moment { now, generation: self.policy.generation(), in_port };
        self.catch_up(moment.generation);
        let (flow_key, layers) = extract(Arrival::on(in_port), frame.bytes(), self.vlan_limit);
        frame.layers = layers;
        let size = frame.size() as u64;
        let (in_port, headers) = (packet.in_port.into(), flow_key.headers);
        let key = PipelineKey { in_port, headers, ..packet.state };
        let translation = self.policy.bridge(bridge).translate_packet_out(&key, &packet.actions);
        self.policy.learn(&translation.learn, now);
        let watched = self.policy.changes().watch(&translation.hosts, &translation.depends);
        let place = Place::default();
        let flow = CachedFlow::new(&flow_key, translation, moment.generation, now, place, watched);
        let flow = Arc::new(flow);
        flow.count(1, size, now.as_millis() as u64);
        flow.push_stats(self.registry.lookups());
        match self.frame(moment, batch, 0, &flow, egress) {
            None => Processed { queued: 1, dropped: 0 },
            Some(reason) => {
                counters.rx_dropped(reason).add(1);
                Processed { queued: 0, dropped: 1 }
            }
        }
    }
}
