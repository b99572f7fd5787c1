//! Follows a frame through all its passes: the first, and one after each recirculation.

use crate::conntrack::{FoundConnection, Tracker};
use crate::datapath::{Egress, Env, MAX_RECIRCULATIONS, Recirculation, execute};
use crate::policy::ports::PortInfo;
use crate::policy::xlate::{Circumstances, TraceStep, Translation};
use crate::policy::{Policy, PortRef};
use flow::extract::{Arrival, extract};
use flow::types::PortNo;
use flow::{FlowKey, Headers};
use packet::{Batch, Frame, FrameId, Offload};
use std::time::Duration;

/// One pass of the frame.
#[derive(Debug)]
pub struct Pass {
    /// The frame's key at the beginning of the pass.
    pub key: FlowKey,
    /// The verdict of the pass.
    pub translation: Translation,
    /// The steps of the translation.
    pub steps: Vec<TraceStep>,
}

/// A frame that somebody asks about.
#[derive(Clone, Copy, Debug)]
pub struct TracedFrame<'a> {
    /// The bytes of the frame, from the destination MAC address on.
    pub bytes: &'a [u8],
    /// Headers of which only the tunnel matters: the one that the frame comes through.
    pub tunnel: &'a Headers,
    /// Whether the frame's source address is a host's, so that `NORMAL` learns the address.
    pub has_sender: bool,
}

/// Follows a frame that comes in on `in_port`, which may be a patch port. Returns at least one
/// pass. Nothing is sent, learned or counted: the actions are executed on a copy of the frame.
///
/// The keys of the passes have the datapath's number of the port: [`PortNo::NONE`] for a patch port.
///
/// With [`OfPort::NONE`](flow::types::OfPort::NONE) as its number, `in_port` stands for no port of the bridge.
/// Connections are looked up as they are at the time `now`. `ct_next` has the states, bits of `ct_state`, that
/// the first actions `ct` find in place of the real ones.
pub fn walk(
    policy: &Policy,
    in_port: PortRef,
    frame: &TracedFrame<'_>,
    vlan_limit: u8,
    now: Duration,
    ct_next: &[u16],
) -> Vec<Pass> {
    let TracedFrame { bytes, tunnel, has_sender } = *frame;
    let mut ct_next = ct_next.iter();
    let port_no = {
        let snapshot = policy.bridge(in_port.bridge).snapshot();
        snapshot.ports().get(in_port.port).and_then(PortInfo::port_no).unwrap_or(PortNo::NONE)
    };
    let mut batch = Batch::new();
    batch.push(Frame::owned(bytes, Offload::NONE));
    let mut egress = Egress::new(0);
    let mut passes = Vec::new();
    let first = FrameId::received(0);
    let mut waiting = vec![Recirculation { frame: first, recirc_id: 0, found: 0 }];
    let (mut asked, mut found) = (Vec::new(), Vec::<FoundConnection>::new());
    // The passes hold the continuations that the recirculation ids name.
    while let Some(subject) = waiting.pop() {
        let Recirculation { frame: id, recirc_id, found: known } = subject;
        if passes.len() > usize::from(MAX_RECIRCULATIONS) {
            break;
        }
        let frame = batch.frame_mut(id);
        let (mut key, layers) = extract(Arrival { port_no, recirc_id }, frame.bytes(), vlan_limit);
        frame.layers = layers;
        key.headers.come_through(tunnel);
        let known = (known as usize).checked_sub(1).and_then(|index| found.get(index));
        if let Some(known) = known {
            key = known.written_into(&key);
        }
        // A later pass finds its bridge and port in the state that the recirculation id names.
        let in_port = (recirc_id == 0).then_some(in_port);
        let (translation, steps) = policy.trace_in(Circumstances { in_port, has_sender }, &key);
        let known_before = found.len();
        let env = Env {
            batch: &mut batch,
            egress: &mut egress,
            recirculations: &mut asked,
            punts: None,
            meters: &[],
            tracker: Tracker {
                table: policy.connections(),
                in_port: port_no,
                is_trial: true,
                budget: None,
            },
            found: &mut found,
            now,
        };
        execute(&translation.actions, env, subject, 0);
        for known in &mut found[known_before..] {
            known.state = ct_next.next().copied().unwrap_or(known.state);
        }
        passes.push(Pass { key, translation, steps });
        // The first recirculation of the pass is the next one to follow.
        waiting.extend(asked.drain(..).rev());
    }
    passes
}
