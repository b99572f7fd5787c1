//! The budget of one translation: how many steps it takes, and how many datapath actions it emits.
//!
//! Rules and groups come from files and controllers that a stranger may have written, and a packet makes the
//! switch walk through them. Limits on single things (resubmits, depth) do not bound the walk: a list may test
//! the packet's length twenty times, which doubles the rest of the list each time, and groups may name other
//! groups twice. Whatever a walk does that takes time in proportion to what rules contain spends steps here:
//! executing an action, looking at a bucket, copying a list, a stack or an action set. A walk that has spent
//! its budget is over, and the packet is dropped.

use super::{Ctx, TranslationObserver};
use flow::Match;
use flow::action::{Action, list_size};
use flow::types::TableId;
use flow::verdict::DropReason;

/// How many steps the translation of one packet may take. A step is an action that is executed, a bucket that
/// is looked at, or sixteen elements that are copied. All 4096 resubmits that one packet may cause can lead to
/// rules with 15 actions.
pub const MAX_STEPS: usize = 65_536;
/// How many datapath actions one translation may emit, nested ones included. One more step may exceed it by the
/// actions of a flood, which are one for each port.
pub(in crate::policy) const MAX_EMITTED: usize = 32_768;
/// How many datapath actions, nested ones included, may have been emitted in front of a resubmit. Further
/// resubmits are left out, and the packet goes where it went so far: Open vSwitch does so when the actions take
/// more than 64 KiB, and an output takes 8 bytes. [`MAX_EMITTED`] is for lists that emit more without
/// resubmits, and drops the packet.
pub(super) const MAX_BEFORE_RESUBMIT: usize = 8192;
/// How many elements of a list are copied or searched in one step.
const COPIED_A_STEP: usize = 16;

/// The size of a list of actions that counts as one element, in bytes as [`list_size`] counts them.
const ACTION_SIZE: usize = 16;

/// As how many elements a list of actions counts when it is copied, with what its actions contain: other lists,
/// and the bytes for a controller.
pub(super) fn weight(actions: &[Action]) -> usize {
    list_size(actions) / ACTION_SIZE
}

/// The rule that the packet had met last when its translation had spent the budget.
#[derive(Clone, Debug)]
pub struct Exhausted {
    /// The table of the rule.
    pub table: TableId,
    /// The priority of the rule.
    pub priority: u16,
    /// The match of the rule.
    pub matching: Match,
}

/// What a translation has spent.
#[derive(Debug, Default)]
pub(super) struct Spent {
    pub(super) steps: usize,
    /// The number of datapath actions that are not in the list that is being appended to: those inside nested
    /// actions, and those of the lists that go on when the current one has ended.
    pub(super) elsewhere: usize,
}

impl<O: TranslationObserver> Ctx<'_, O> {
    /// Spends one step. Returns whether the translation may go on; if not, the packet is dropped.
    #[inline]
    pub(super) fn spend(&mut self) -> bool {
        self.spent.steps += 1;
        if self.spent.steps <= MAX_STEPS && self.emitted() <= MAX_EMITTED {
            return true;
        }
        self.exhausted();
        false
    }

    /// Spends the steps for copying or searching `len` elements. Returns whether the translation may go on.
    #[inline]
    pub(super) fn spend_for(&mut self, len: usize) -> bool {
        self.spent.steps += len / COPIED_A_STEP;
        self.spend()
    }

    /// How many datapath actions have been emitted so far, nested ones included.
    #[inline]
    pub(super) fn emitted(&self) -> usize {
        self.spent.elsewhere + self.out.actions.len()
    }

    #[cold]
    fn exhausted(&mut self) {
        // A patch crossing takes errors back, but steps stay spent: the bridge in front
        // ends with its next step.
        if self.out.exhausted_by.is_none()
            && let Some(rule) = self.out.rules.last()
        {
            let place = rule.place();
            let entry = self.view.tables.of(rule.bridge).rule(place);
            self.out.exhausted_by = entry.map(|entry| {
                Box::new(Exhausted {
                    table: place.0,
                    priority: entry.priority,
                    matching: entry.matches,
                })
            });
        }
        self.fail(DropReason::TooManyActions);
    }
}
