//! A frame's way, as often as it is looked up: once, and again after each recirculation.

use crate::datapath::{Egress, Env, MAX_RECIRCULATIONS, Recirculation, execute};
use crate::policy::ports::PortInfo;
use crate::policy::xlate::{TraceStep, Translation};
use crate::policy::{Policy, PortRef};
use flow::FlowKey;
use flow::extract::{Arrival, extract};
use flow::types::PortNo;
use packet::{Batch, Frame, FrameId, Offload};

/// One look-up of the frame.
#[derive(Debug)]
pub struct Pass {
    /// The frame as it is then.
    pub key: FlowKey,
    /// The verdict.
    pub translation: Translation,
    /// How it came about.
    pub steps: Vec<TraceStep>,
}

/// Follows a frame that comes in on `in_port`, which may be a patch port. There is one pass at least. Nothing is
/// sent, learned or counted: what the datapath would do is done to a copy.
///
/// The keys of the passes have the datapath's number of the port: [`PortNo::NONE`] for a patch port.
pub fn walk(policy: &Policy, in_port: PortRef, frame: &[u8], vlan_limit: u8) -> Vec<Pass> {
    let port_no = {
        let snapshot = policy.bridge(in_port.bridge).snapshot();
        snapshot.ports().get(in_port.port).and_then(PortInfo::port_no).unwrap_or(PortNo::NONE)
    };
    let mut batch = Batch::new();
    batch.push(Frame::owned(frame, Offload::NONE));
    let mut egress = Egress::new(0);
    let mut passes = Vec::new();
    let first = FrameId::received(0);
    let mut waiting = vec![Recirculation { frame: first, recirc_id: 0 }];
    let mut asked = Vec::new();
    // The passes hold what the recirculation ids stand for.
    while let Some(Recirculation { frame: id, recirc_id }) = waiting.pop() {
        if passes.len() > usize::from(MAX_RECIRCULATIONS) {
            break;
        }
        let frame = batch.frame_mut(id);
        let (key, layers) = extract(Arrival { port_no, recirc_id }, frame.bytes(), vlan_limit);
        frame.layers = layers;
        // Later passes find their bridge and its port in what the recirculation id stands for.
        let (translation, steps) = match recirc_id {
            0 => policy.trace_at(in_port, &key),
            _ => policy.trace(&key),
        };
        let env = Env { batch: &mut batch, egress: &mut egress, recirculations: &mut asked };
        execute(&translation.actions, env, id, 0);
        passes.push(Pass { key, translation, steps });
        // The first of them goes next.
        waiting.extend(asked.drain(..).rev());
    }
    passes
}
