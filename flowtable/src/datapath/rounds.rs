//! Recirculated frames: which of them the next pass looks up, and what becomes of the received
//! frames that they stand for.
//!
//! The actions of a flow may recirculate a frame, several times where they make copies. Such frames
//! wait here until the pass is over. The next pass takes one waiting frame of each received frame,
//! so that it is a batch no larger than the first one. The order is the same as if each received
//! frame went through its passes alone, depth first: the frames that a pass recirculates come
//! before those that wait already, in the order of the actions.
//!
//! A received frame has one outcome. It is known when no frame waits that stands for the received frame.

use super::execute::{Executed, Recirculation};
use crate::conntrack::FoundConnection;
use arrayvec::ArrayVec;
use flow::key::ct_state;
use flow::verdict::DropReason;
use packet::{FrameId, MAX_BATCH};

/// Number of times that one frame may be recirculated.
pub(crate) const MAX_RECIRCULATIONS: u8 = 8;
/// Number of look-ups after recirculation for one received frame. Each pass may recirculate several copies.
pub(super) const MAX_LOOKUPS: u8 = 64;

/// A frame of a pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct PassMember {
    pub(super) frame: FrameId,
    /// The recirculation id; 0 in the first pass.
    pub(super) recirc_id: u32,
    /// Index of the received frame for which this one stands.
    pub(super) origin: u8,
    /// Number of passes that the frame has behind it.
    pub(super) round: u8,
    /// What is known of the frame's connection: an index into [`Rounds::found`] plus one; 0 for nothing.
    pub(super) found: u32,
}

impl PassMember {
    const fn received(index: usize) -> Self {
        Self {
            frame: FrameId::received(index),
            recirc_id: 0,
            origin: index as u8,
            round: 0,
            found: 0,
        }
    }
}

/// The members of the first pass.
pub(super) static RECEIVED: [PassMember; MAX_BATCH] = {
    let mut members = [PassMember::received(0); MAX_BATCH];
    let mut index = 0;
    while index < MAX_BATCH {
        members[index] = PassMember::received(index);
        index += 1;
    }
    members
};

/// The frames of one pass.
pub(super) type Pass = ArrayVec<PassMember, MAX_BATCH>;

/// What has become of a received frame and its copies so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    outputs: u32,
    /// Number of packets that wait for controllers because of the frame.
    pub(super) punted: u32,
    /// Number of look-ups after recirculation.
    lookups: u32,
    /// Number of fragments for which the received frame stands besides itself. Each may
    /// be looked up [`MAX_LOOKUPS`] times.
    more_frames: u32,
    /// Whether the frame waits for other fragments of its packet.
    waits: bool,
    /// The latest reason why nothing was sent.
    reason: Option<DropReason>,
}

impl Outcome {
    /// The outcome after one more execution. `drop` is the reason for which the flow drops its
    /// packets, if it does.
    #[inline]
    fn with(self, executed: Executed, drop: Option<DropReason>) -> Self {
        Self {
            outputs: self.outputs + executed.outputs,
            punted: self.punted + executed.punted,
            more_frames: self.more_frames + executed.fragments,
            waits: self.waits || executed.waits,
            reason: executed.cut.or(executed.refused).or(drop).or(self.reason),
            ..self
        }
    }

    /// How often the received frame and what it stands for may be looked up after recirculation.
    fn max_lookups(&self) -> u32 {
        u32::from(MAX_LOOKUPS) * (1 + self.more_frames)
    }

    /// Why the received frame is dropped; `None` if something of it was sent, or waits
    /// for controllers or other fragments.
    #[inline]
    pub(super) fn fate(&self) -> Option<DropReason> {
        let is_sent = self.outputs > 0 || self.punted > 0 || self.waits;
        (!is_sent).then(|| self.reason.unwrap_or(DropReason::RuleDrop))
    }
}

/// A frame that waits for its next pass.
#[derive(Debug)]
struct Waiting {
    member: PassMember,
    /// The next waiting frame of the same received frame: an index into `Rounds::waiting`.
    next: Option<u32>,
}

/// The waiting frames of a batch. See the [module](self). Between two batches it holds nothing but memory.
#[derive(Debug)]
pub(super) struct Rounds {
    /// The frames that the latest execution wants recirculated, in order.
    pub(super) asked: Vec<Recirculation>,
    /// What was found of the connections of the batch's frames.
    pub(super) found: Vec<FoundConnection>,
    /// All frames that wait or have waited in this batch. Those that wait are linked into a stack
    /// for each received frame.
    waiting: Vec<Waiting>,
    /// The top of each received frame's stack; `None` if no frame waits.
    tops: [Option<u32>; MAX_BATCH],
    /// The outcomes so far of the received frames for which frames wait.
    outcomes: [Outcome; MAX_BATCH],
    /// A bit for each received frame for which frames wait.
    unsettled: u64,
}

const _: () = assert!(MAX_BATCH <= 64, "Rounds::unsettled has a bit for each received frame");

impl Default for Rounds {
    fn default() -> Self {
        Self {
            asked: Vec::new(),
            found: Vec::new(),
            waiting: Vec::new(),
            tops: [None; MAX_BATCH],
            outcomes: [Outcome::default(); MAX_BATCH],
            unsettled: 0,
        }
    }
}

impl PassMember {
    /// The frame as `execute` takes it.
    pub(super) fn subject(&self) -> Recirculation {
        let Self { frame, recirc_id, found, .. } = *self;
        Recirculation { frame, recirc_id, found }
    }
}

impl Rounds {
    /// Notes what a pass has done with a frame: the result of execution, and `drop`, the reason for
    /// which the flow drops its packets, if it does. The frames in `asked` begin to wait. Returns
    /// the outcome of the received frame if no frame waits for it.
    #[inline]
    pub(super) fn settle(
        &mut self,
        member: &PassMember,
        executed: Executed,
        drop: Option<DropReason>,
    ) -> Option<Outcome> {
        if member.round == 0 && self.asked.is_empty() {
            return Some(Outcome::default().with(executed, drop));
        }
        self.settle_round(member, executed, drop)
    }

    /// As [`Self::settle`], for a frame that is recirculated or was.
    fn settle_round(
        &mut self,
        member: &PassMember,
        executed: Executed,
        drop: Option<DropReason>,
    ) -> Option<Outcome> {
        let origin = usize::from(member.origin);
        let before = if member.round == 0 { Outcome::default() } else { self.outcomes[origin] };
        let mut outcome = before.with(executed, drop);
        self.push_asked(member, &mut outcome);
        if outcome.lookups >= outcome.max_lookups() && self.tops[origin].take().is_some() {
            outcome.reason = Some(DropReason::RecirculationLimit);
        }
        let bit = 1 << origin;
        if self.tops[origin].is_none() {
            self.unsettled &= !bit;
            return Some(outcome);
        }
        self.unsettled |= bit;
        self.outcomes[origin] = outcome;
        None
    }

    /// Notes that a frame is dropped in its pass. Returns the same as [`Self::settle`].
    pub(super) fn refuse(&mut self, member: &PassMember, reason: DropReason) -> Option<Outcome> {
        self.settle(member, Executed::default(), Some(reason))
    }

    /// Notes what was found of a frame's connection, for [`PassMember::found`].
    pub(super) fn note(&mut self, found: FoundConnection) -> u32 {
        self.found.push(found);
        self.found.len() as u32
    }

    /// What is known of the connection of a frame.
    pub(super) fn found_of(&self, member: &PassMember) -> Option<&FoundConnection> {
        self.found.get((member.found as usize).checked_sub(1)?)
    }

    /// Whether the latest execution wants a frame recirculated whose connection is established.
    pub(super) fn asks_for_established(&self) -> bool {
        let asked = self.asked.last().and_then(|asked| (asked.found as usize).checked_sub(1));
        let found = asked.and_then(|at| self.found.get(at));
        found.is_some_and(|found| found.state & ct_state::ESTABLISHED != 0)
    }

    /// Whether frames wait for another pass.
    #[inline]
    pub(super) fn has_waiting(&self) -> bool {
        self.unsettled != 0
    }

    /// Puts the frames in `asked` on top of the received frame's stack.
    fn push_asked(&mut self, member: &PassMember, outcome: &mut Outcome) {
        if member.round == MAX_RECIRCULATIONS && !self.asked.is_empty() {
            outcome.reason = Some(DropReason::RecirculationLimit);
            self.asked.clear();
        }
        let top = &mut self.tops[usize::from(member.origin)];
        for Recirculation { frame, recirc_id, found } in self.asked.drain(..).rev() {
            let member = PassMember { frame, recirc_id, found, round: member.round + 1, ..*member };
            self.waiting.push(Waiting { member, next: *top });
            *top = Some(self.waiting.len() as u32 - 1);
        }
    }

    /// Fills `pass` with the next pass: the top of each received frame's stack. Returns `false` if
    /// no frame waits.
    pub(super) fn begin_pass(&mut self, pass: &mut Pass) -> bool {
        pass.clear();
        let mut left = self.unsettled;
        while left != 0 {
            let origin = left.trailing_zeros() as usize;
            left &= left - 1;
            if let Some(top) = self.tops[origin] {
                let waiting = &self.waiting[top as usize];
                self.tops[origin] = waiting.next;
                self.outcomes[origin].lookups += 1;
                pass.push(waiting.member);
            }
        }
        if pass.is_empty() {
            self.waiting.clear();
            self.found.clear();
        }
        !pass.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of a pass: received frame and recirculation id.
    type Looked = Vec<(u8, u32)>;

    /// Frames go round as `asks` says: by the recirculation id of a frame, the ids that it asks for.
    /// Returns the ids in the order of their look-ups, and the outcomes by received frame.
    fn go_round(
        received: usize,
        asks: impl Fn(u8, u32) -> Vec<u32>,
    ) -> (Vec<Looked>, Vec<(u8, Outcome)>) {
        let mut rounds = Rounds::default();
        let (mut passes, mut settled) = (Vec::new(), Vec::new());
        let mut pass: Pass = RECEIVED[..received].iter().copied().collect();
        loop {
            passes.push(pass.iter().map(|member| (member.origin, member.recirc_id)).collect());
            for member in &pass {
                let ids = asks(member.origin, member.recirc_id).into_iter();
                let frame = member.frame;
                rounds.asked.extend(ids.map(|recirc_id| Recirculation {
                    frame,
                    recirc_id,
                    found: 0,
                }));
                let outcome = rounds.settle(member, Executed::default(), None);
                settled.extend(outcome.map(|outcome| (member.origin, outcome)));
            }
            if !rounds.begin_pass(&mut pass) {
                return (passes, settled);
            }
        }
    }

    #[test]
    fn a_received_frame_goes_round_depth_first_and_all_go_together() {
        let (passes, settled) = go_round(3, |origin, id| match (origin, id) {
            (0 | 2, 0) => vec![1, 2],
            (0, 1) => vec![11, 12],
            _ => vec![],
        });
        let expected: [&[(u8, u32)]; 5] = [
            &[(0, 0), (1, 0), (2, 0)],
            &[(0, 1), (2, 1)],
            &[(0, 11), (2, 2)],
            &[(0, 12)],
            &[(0, 2)],
        ];
        assert_eq!(passes, expected);
        let order: Vec<u8> = settled.iter().map(|(origin, _)| *origin).collect();
        assert_eq!(order, [1, 2, 0], "each once, and as soon as nothing of it waits");
    }

    #[test]
    fn a_frame_that_never_stops_is_stopped() {
        let (passes, settled) = go_round(1, |_, id| vec![id + 1]);
        assert_eq!(passes.len(), 1 + usize::from(MAX_RECIRCULATIONS));
        assert_eq!(settled.len(), 1);
        assert_eq!(settled[0].1.fate(), Some(DropReason::RecirculationLimit));
    }

    #[test]
    fn a_frame_that_multiplies_is_looked_up_a_limited_number_of_times() {
        let (passes, settled) =
            go_round(2, |origin, _| if origin == 0 { vec![1; 5] } else { vec![] });
        assert_eq!(passes.len(), 1 + usize::from(MAX_LOOKUPS));
        assert_eq!(settled.len(), 2);
        assert_eq!(settled[1].1.fate(), Some(DropReason::RecirculationLimit));
        let (passes, settled) = go_round(1, |_, id| if id == 0 { vec![1; 64] } else { vec![] });
        assert_eq!(passes.len(), 1 + usize::from(MAX_LOOKUPS));
        assert_eq!(settled[0].1.fate(), Some(DropReason::RuleDrop), "64 are allowed");
    }
}
