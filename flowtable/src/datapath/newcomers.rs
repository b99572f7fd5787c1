//! Frames that begin connections, and need not wait for another pass.
//!
//! A frame that `ct(...)` tracks is looked up twice: as it comes, and with what was found of its connection. Of
//! most frames that begin a connection the tracker says without a lock that nobody knows it. All of these find
//! the same, so the second look-up is among a few flows, and the frame is executed right away: a flood of such
//! frames is the last thing that should take a worker's time.
//!
//! Whatever is not certain goes round: a frame whose connection may be known, and one whose flow is not among
//! the usual ones.

use super::caches::Caches;
use super::rounds::PassMember;
use super::tracked::{Stage, TrackedRun};
use super::{Moment, Tally};
use crate::conntrack::Newcomer;
use arrayvec::ArrayVec;
use flow::key::{KeyRef, RareHeaders, Segments};
use flow::verdict::DpAction;
use packet::MAX_BATCH;

/// The frames of a run that may begin connections.
pub(super) struct Newcomers {
    /// A bit for each of these frames, by its place in the run.
    places: u64,
    list: ArrayVec<Newcomer, MAX_BATCH>,
}

impl Newcomers {
    /// None. Their memory is not written, so this takes no time.
    #[inline]
    pub(super) fn none() -> Self {
        Self { places: 0, list: ArrayVec::new() }
    }

    /// Reads those of a run's frames that have a bit in `frames`. To be called once.
    ///
    /// Not inlined, so that runs of established connections do not pay for it.
    #[inline(never)]
    pub(super) fn read(&mut self, mut frames: u64, run: &TrackedRun<'_>, stage: &Stage<'_, '_>) {
        let [DpAction::Ct(action), ..] = &*run.flow.actions else { return };
        let connections = stage.policy.connections();
        while frames != 0 {
            let n = frames.trailing_zeros() as usize;
            frames &= frames - 1;
            let frame = stage.batch.frame(run.members[n].frame);
            if !run.keys[n].segments.meets(Segments::RARE)
                && let Some(newcomer) = connections.newcomer(frame, action.zone)
            {
                self.list.push(newcomer);
                self.places |= 1 << n;
            }
        }
        connections.look_for(&mut self.list);
    }

    /// Frame number `n` of the run; `None` if it is not one of these frames.
    #[inline]
    pub(super) fn get(&self, n: usize) -> Option<&Newcomer> {
        let before = self.places & ((1 << n) - 1);
        let is_there = self.places & 1 << n != 0;
        is_there.then(|| &self.list[before.count_ones() as usize])
    }
}

/// Executes what there is to do in its second pass on a newcomer, frame number `n` of the run, if it is certain
/// to begin a connection. Returns whether it is. If not, nothing has happened.
#[inline(never)]
pub(super) fn execute(
    newcomer: &Newcomer,
    n: usize,
    run: &TrackedRun<'_>,
    stage: &mut Stage<'_, '_>,
    caches: &Caches,
    tally: &mut Tally<'_>,
) -> bool {
    let Moment { now, generation, .. } = stage.moment;
    let connections = stage.policy.connections();
    let Some(found) = connections.found_of_new(now, newcomer, stage.budget()) else { return false };
    let [.., DpAction::Recirculate(id)] = &*run.flow.actions else { return false };
    let (mut hot, mut rare) = (run.keys[n], RareHeaders::default());
    hot.recirc_id.set(*id);
    found.write(&mut hot, &mut rare);
    let key = KeyRef { hot: &hot, rare: &rare };
    let next = caches.later.find(&caches.flows, |flow| {
        flow.may_end_a_first_pass() && caches.is_flow_of(flow, key, generation)
    });
    let Some(flow) = next.and_then(|next| caches.flows.get(next)) else { return false };
    let (member, size) = (&run.members[n], run.sizes[n]);
    flow.count(1, size.into(), now.as_millis() as u64);
    tally.hits += 1;
    // What most rules do with connections that begin.
    if let [DpAction::Ct(action), DpAction::Output(port)] = &*flow.actions
        && found.may_begin_with(action)
        && action.commit.is_some_and(|commit| commit.alg.is_none())
    {
        connections.begin_new(now, newcomer, action, size as usize, stage.budget());
        stage.egress.push(*port, member.frame);
        tally.done.queued += 1;
        return true;
    }
    let member = PassMember { found: stage.rounds.note(found), ..*member };
    let executed = stage.execute(flow, &flow.actions, &member);
    tally.settle(stage.rounds.settle(&member, executed, flow.drop));
    true
}
