//! Checks the order of the actions and instructions of a list.
//!
//! OpenFlow 1.1 and later carry out instructions in a fixed order, whatever the order in the message (OpenFlow
//! 1.3.5 §5.9). So a list must be written in this order: `meter`, actions, `clear_actions`,
//! `write_actions`, `write_metadata`, `goto_table`.

use super::print::is_plain_controller;
use crate::action::Action;

/// Whether a list of actions is that of a rule or part of something else. Only the list of a rule can have
/// instructions, such as `goto_table`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nesting {
    /// The list of a rule, behind `actions=`.
    Outermost,
    /// The list of a rule in a dump. The order is not checked, because dumps of OpenFlow 1.0 have actions
    /// instead of instructions: `write_metadata:5,resubmit(,4)`.
    Dumped,
    /// The list of a bucket or of a packet-out. `meter` may begin it: OpenFlow 1.5 has that as an action.
    OutsideRules,
    /// A list in `clone(...)` or in `write_actions(...)`.
    Nested,
}

/// The instructions in the order in which OpenFlow carries them out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Instruction {
    Meter,
    /// `OFPIT_APPLY_ACTIONS`, which holds every plain action.
    Apply,
    Clear,
    Write,
    Metadata,
    Goto,
}

impl Instruction {
    fn of(action: &Action) -> Self {
        match action {
            Action::Meter(_) => Self::Meter,
            Action::ClearActions => Self::Clear,
            Action::WriteActions(_) => Self::Write,
            Action::WriteMetadata { .. } => Self::Metadata,
            Action::GotoTable(_) => Self::Goto,
            _ => Self::Apply,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Meter => "meter",
            Self::Apply => "an action",
            Self::Clear => "clear_actions",
            Self::Write => "write_actions",
            Self::Metadata => "write_metadata",
            Self::Goto => "goto_table",
        }
    }
}

/// Checks the order of a list. The error is the index of the first action out of order and a message about it.
pub(super) fn check(actions: &[Action], nesting: Nesting) -> Result<(), (usize, String)> {
    if nesting == Nesting::Dumped {
        return Ok(());
    }
    let mut last = None;
    for (index, action) in actions.iter().enumerate() {
        let next = Instruction::of(action);
        let is_allowed = match nesting {
            Nesting::Nested => next == Instruction::Apply,
            Nesting::OutsideRules => next <= Instruction::Apply,
            Nesting::Outermost | Nesting::Dumped => true,
        };
        if !is_allowed {
            return Err((index, format!("{} is not allowed here", next.name())));
        }
        if let Some(last) = last.filter(|last| next < *last) {
            return Err((index, format!("{} must come before {}", next.name(), last.name())));
        }
        if last == Some(next) && next != Instruction::Apply {
            return Err((index, format!("{} is given twice", next.name())));
        }
        last = Some(next);
    }
    Ok(())
}

/// Whether `write_actions` can put the action into the action set, in Open vSwitch
/// (`ofpacts_get_openflow_actions` with `OVSINST_OFPIT11_WRITE_ACTIONS`).
pub(super) fn fits_action_set(action: &Action) -> bool {
    match action {
        Action::Controller { .. } => is_plain_controller(action),
        Action::Output { .. }
        | Action::Group(_)
        | Action::Resubmit { .. }
        | Action::StripVlan
        | Action::PopMpls(_)
        | Action::PushMpls(_)
        | Action::PushVlan(_)
        | Action::DecTtl(_)
        | Action::DecMplsTtl
        | Action::SetField { .. }
        | Action::Move { .. }
        | Action::SetEthSrc(_)
        | Action::SetEthDst(_)
        | Action::SetIpDscp(_)
        | Action::SetIpEcn(_)
        | Action::SetIpTtl(_)
        | Action::SetIpv4Src(_)
        | Action::SetIpv4Dst(_)
        | Action::SetL4Src(_)
        | Action::SetL4Dst(_)
        | Action::SetMplsLabel(_)
        | Action::SetMplsTc(_)
        | Action::SetMplsTtl(_)
        | Action::SetTunnel { .. }
        | Action::SetQueue(_)
        | Action::Ct(_)
        | Action::SetVlanVid { .. }
        | Action::SetVlanPcp { .. } => true,
        Action::OutputReg { .. }
        | Action::OutputTrunc { .. }
        | Action::Enqueue { .. }
        | Action::Meter(_)
        | Action::PopQueue
        | Action::DeleteField(_)
        | Action::StackPush(_)
        | Action::StackPop(_)
        | Action::Clone(_)
        | Action::CheckPktLarger { .. }
        | Action::CtClear
        | Action::Learn(_)
        | Action::FinTimeout { .. }
        | Action::Multipath(_)
        | Action::Bundle(_)
        | Action::Sample(_)
        | Action::Exit
        | Action::Note(_)
        | Action::Conjunction(_)
        | Action::ClearActions
        | Action::WriteActions(_)
        | Action::WriteMetadata { .. }
        | Action::GotoTable(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{MeterId, OfPort, TableId};

    #[test]
    fn instructions_stand_behind_actions() {
        let output = Action::output(OfPort(1));
        let goto = Action::GotoTable(TableId::default());
        let check = |list: &[Action], nesting| check(list, nesting).map_err(|(i, _)| i);
        assert_eq!(check(&[output.clone(), goto.clone()], Nesting::Outermost), Ok(()));
        assert_eq!(check(&[goto.clone(), output.clone()], Nesting::Outermost), Err(1));
        assert_eq!(check(&[goto.clone(), goto.clone()], Nesting::Outermost), Err(1));
        assert_eq!(check(&[goto], Nesting::Nested), Err(0));
        let meter = Action::Meter(MeterId(1));
        assert_eq!(check(&[meter.clone(), output.clone()], Nesting::Outermost), Ok(()));
        assert_eq!(check(&[meter.clone(), output.clone()], Nesting::OutsideRules), Ok(()));
        assert_eq!(check(&[output.clone(), meter.clone()], Nesting::Outermost), Err(1));
        assert_eq!(check(&[meter.clone(), meter.clone()], Nesting::Outermost), Err(1));
        assert_eq!(check(&[meter], Nesting::Nested), Err(0));
        assert_eq!(check(&[output.clone(), output], Nesting::Nested), Ok(()));
    }
}
