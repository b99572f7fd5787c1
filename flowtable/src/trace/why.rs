//! Why a verdict depends on the bits that it depends on: which look-up or action read each first.

use crate::policy::rule::Rule;
use crate::policy::xlate::{TraceEvent, TraceStep};
use flow::FlowMask;
use flow::action::Action;
use flow::types::TableId;
use std::sync::Arc;

/// Bits of a packet, and what made them matter.
#[derive(Clone, Debug)]
pub struct Reason {
    /// Never empty. No bit has two reasons.
    pub bits: FlowMask,
    /// What read them first.
    pub cause: Cause,
}

/// What read some bits.
#[derive(Clone, Debug)]
pub enum Cause {
    /// Every translation does.
    Always,
    /// The rule that won in this table matches on them.
    Rule(TableId, Arc<Rule>),
    /// They tell the packet from those of other rules in this table that might have won.
    OtherRules(TableId),
    /// They tell the packet from those of all rules in this table.
    Miss(TableId),
    /// An action.
    Action(Action),
}

/// The reasons for `mask` that `steps` tell, in the order of the walk. `matched` tells the bits that a
/// rule matches on.
pub fn reasons(
    mask: &FlowMask,
    steps: &[TraceStep],
    matched: impl Fn(&Arc<Rule>) -> Option<FlowMask>,
) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut add = |bits: FlowMask, cause| {
        if bits != FlowMask::default() {
            reasons.push(Reason { bits, cause });
        }
    };
    add(steps.iter().fold(*mask, |left, step| and_not(&left, &step.reads)), Cause::Always);
    for step in steps {
        match &step.event {
            TraceEvent::Rule(table, rule) => {
                let own = matched(rule).unwrap_or(step.reads);
                let others = and_not(&step.reads, &own);
                add(and_not(&step.reads, &others), Cause::Rule(*table, Arc::clone(rule)));
                add(others, Cause::OtherRules(*table));
            }
            TraceEvent::Miss(table) => add(step.reads, Cause::Miss(*table)),
            TraceEvent::Action(action) => add(step.reads, Cause::Action(action.clone())),
            // Nothing else reads.
            _ => {}
        }
    }
    reasons
}

fn and_not(a: &FlowMask, b: &FlowMask) -> FlowMask {
    let mut out = *a;
    out.words_mut().iter_mut().zip(b.words()).for_each(|(a, b)| *a &= !b);
    out
}
