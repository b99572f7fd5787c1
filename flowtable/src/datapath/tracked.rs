//! A run of received frames whose flow has them tracked and then goes round, and nothing else.
//!
//! Frames of established connections take [shortcuts](super::shortcuts), and successive ones that come to the
//! same flow are executed and counted together. Frames that are certain to begin connections are executed right
//! away ([`newcomers`]). The other frames are tracked one by one, and go round.

use super::cached_flow::CachedFlow;
use super::caches::Caches;
use super::execute::{Env, Executed, execute};
use super::newcomers::{self, Newcomers};
use super::rounds::{PassMember, Rounds};
use super::shortcuts::{Crossing, Shortcuts};
use super::{Egress, Moment, PortNo, PuntQueue, Tally};
use crate::conntrack::{CtBudget, Tracker};
use crate::policy::Policy;
use flow::key::HotKey;
use flow::verdict::DpAction;
use packet::Batch;
use std::ops::Range;

/// What actions are executed with.
pub(super) struct Stage<'s, 'a> {
    pub(super) policy: &'s Policy,
    pub(super) punts: Option<&'s PuntQueue>,
    pub(super) begun: &'s CtBudget,
    pub(super) rounds: &'s mut Rounds,
    pub(super) batch: &'s mut Batch<'a>,
    pub(super) egress: &'s mut Egress,
    pub(super) moment: Moment,
}

impl<'s> Stage<'s, '_> {
    /// The budget by which frames begin connections.
    pub(super) fn budget(&self) -> (&'s CtBudget, PortNo) {
        (self.begun, self.moment.in_port)
    }

    /// Executes actions of a flow on a frame.
    #[inline]
    pub(super) fn execute(
        &mut self,
        flow: &CachedFlow,
        actions: &[DpAction],
        member: &PassMember,
    ) -> Executed {
        let budget = Some(self.budget());
        let Self { policy, punts, rounds, batch, egress, moment, .. } = self;
        let env = Env {
            batch,
            egress,
            recirculations: &mut rounds.asked,
            punts: punts.map(|queue| policy.punts_into(queue)),
            meters: &flow.meters,
            tracker: Tracker {
                table: policy.connections(),
                in_port: moment.in_port,
                is_trial: false,
                budget,
            },
            found: &mut rounds.found,
            now: moment.now,
        };
        execute(actions, env, member.subject(), member.origin.into())
    }
}

/// The frames of a run. Slices have an element for each frame.
#[derive(Clone, Copy)]
pub(super) struct TrackedRun<'r> {
    /// The flow that tracks the frames.
    pub(super) flow: &'r CachedFlow,
    /// The number of the flow.
    pub(super) index: u32,
    /// The place of the first frame in the batch.
    pub(super) first: usize,
    pub(super) members: &'r [PassMember],
    pub(super) keys: &'r [HotKey],
    pub(super) hashes: &'r [u64],
    pub(super) sizes: &'r [u32],
}

impl TrackedRun<'_> {
    /// Executes what there is to do on the frames.
    #[inline(never)]
    pub(super) fn execute(
        self,
        stage: &mut Stage<'_, '_>,
        caches: &Caches,
        shortcuts: &mut Shortcuts,
        tally: &mut Tally<'_>,
    ) {
        let Self { flow, index, members, keys, hashes, .. } = self;
        let without = shortcuts.look_up(&caches.signatures, flow, index, keys, hashes);
        let crossing = Crossing {
            connections: stage.policy.connections(),
            flows: &caches.flows,
            generation: stage.moment.generation,
            now: stage.moment.now.as_millis() as u64,
        };
        let mut newcomers = Newcomers::none();
        if without != 0 {
            newcomers.read(without, &self, stage);
        }
        // The frames before this one that come to the same flow, and the number of that flow.
        let mut straight = (0..0, 0);
        for (n, member) in members.iter().enumerate() {
            let frame = stage.batch.frame_mut(member.frame);
            if let Some((next, translation)) = shortcuts.take(n, &keys[n], flow, frame, crossing) {
                if let Some(translation) = translation {
                    translation.apply(frame);
                }
                if next != straight.1 {
                    self.finish(straight, stage, crossing, tally);
                    straight = (n..n, next);
                }
                straight.0.end += 1;
                continue;
            }
            self.finish(straight, stage, crossing, tally);
            straight = (n + 1..n + 1, 0);
            if let Some(newcomer) = newcomers.get(n)
                && !shortcuts.may_follow_one_that_goes_round(&keys[n])
                && newcomers::execute(newcomer, n, &self, stage, caches, tally)
            {
                continue;
            }
            shortcuts.go_round(&keys[n]);
            let executed = stage.execute(flow, &flow.actions, member);
            if stage.rounds.asks_for_established() {
                shortcuts.wish(member.origin, &keys[n], hashes[n], flow, index);
            }
            tally.settle(stage.rounds.settle(member, executed, flow.drop));
        }
        self.finish(straight, stage, crossing, tally);
    }

    /// Executes the actions of the flow number `next` on some frames that have come to it by shortcuts.
    fn finish(
        &self,
        (frames, next): (Range<usize>, u32),
        stage: &mut Stage<'_, '_>,
        crossing: Crossing<'_>,
        tally: &mut Tally<'_>,
    ) {
        let number = frames.len() as u64;
        let Some(flow) = crossing.flows.get(next).filter(|_| number > 0) else { return };
        let bytes = self.sizes[frames.clone()].iter().map(|size| u64::from(*size)).sum();
        flow.count(number, bytes, crossing.now);
        tally.hits += number;
        stage.begun.saw_known(number);
        if let Some(port) = flow.only_output {
            stage.egress.push_run(port, self.first + frames.start..self.first + frames.end);
            tally.done.queued += number;
            return;
        }
        for member in &self.members[frames] {
            let executed = stage.execute(flow, &flow.actions, member);
            tally.settle(stage.rounds.settle(member, executed, flow.drop));
        }
    }
}
