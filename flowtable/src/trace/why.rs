//! Tells why a verdict depends on each bit of its mask: which look-up or action read the bit first.

use crate::policy::rule::Rule;
use crate::policy::xlate::{TraceEvent, TraceStep};
use flow::FlowMask;
use flow::action::Action;
use flow::types::TableId;
use std::sync::Arc;

/// Bits of a packet, and the reason why the verdict depends on them.
#[derive(Clone, Debug)]
pub struct Reason {
    /// The bits, at least one. No bit is in two reasons.
    pub bits: FlowMask,
    /// The step that read the bits first.
    pub cause: Cause,
}

/// The step that read some bits.
#[derive(Clone, Debug)]
pub enum Cause {
    /// Every translation reads these bits.
    Always,
    /// The rule that won in this table matches on the bits.
    Rule(TableId, Arc<Rule>),
    /// The bits show that other rules in this table, which might have won, do not match.
    OtherRules(TableId),
    /// The bits show that no rule in this table matches.
    Miss(TableId),
    /// The action reads the bits.
    Action(Action),
    /// Steps that the account of the translation leaves out read the bits.
    Omitted,
}

/// The reasons for the bits of `mask`, in the order of `steps`. `matched` returns the bits that a
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
            TraceEvent::Omitted(_) => add(step.reads, Cause::Omitted),
            // No other step reads bits.
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
