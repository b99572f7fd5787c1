//! Checks the order of the actions and instructions of a list.
//!
//! OpenFlow 1.1 and later carry out instructions in a fixed order, whatever the order in the message (OpenFlow
//! 1.3.5 §5.9). So a list must be written in this order: actions, `clear_actions`, `write_actions`,
//! `write_metadata`, `goto_table`.

use super::print::is_plain_controller;
use crate::action::Action;

/// Whether a list of actions is that of a rule or part of something else. Only the list of a rule can have
/// instructions, such as `goto_table`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nesting {
    /// The list of a rule, behind `actions=`.
    Outermost,
    /// The list of a rule in a dump. The order is not checked, because dumps of OpenFlow 1.0 have actions instead of
    /// instructions: `write_metadata:5,resubmit(,4)`.
    Dumped,
    /// A list in `clone(...)`, in `write_actions(...)`, in a bucket or in a packet-out.
    Nested,
}

/// The instructions in the order in which OpenFlow carries them out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Instruction {
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
            Action::ClearActions => Self::Clear,
            Action::WriteActions(_) => Self::Write,
            Action::WriteMetadata { .. } => Self::Metadata,
            Action::GotoTable(_) => Self::Goto,
            _ => Self::Apply,
        }
    }

    fn name(self) -> &'static str {
        match self {
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
    let mut last = Instruction::Apply;
    for (index, action) in actions.iter().enumerate() {
        let next = Instruction::of(action);
        if next != Instruction::Apply && nesting == Nesting::Nested {
            return Err((index, format!("{} is not allowed here", next.name())));
        }
        if next < last {
            return Err((index, format!("{} must come before {}", next.name(), last.name())));
        }
        if next == last && next != Instruction::Apply {
            return Err((index, format!("{} is given twice", next.name())));
        }
        last = next;
    }
    Ok(())
}

/// Whether `write_actions` can put the action into the action set, in Open vSwitch (`ofpacts_get_openflow_actions`
/// with `OVSINST_OFPIT11_WRITE_ACTIONS`).
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
        | Action::SetQueue(_)
        | Action::SetVlanVid { .. }
        | Action::SetVlanPcp { .. } => true,
        Action::OutputReg { .. }
        | Action::OutputTrunc { .. }
        | Action::Enqueue { .. }
        | Action::PopQueue
        | Action::StackPush(_)
        | Action::StackPop(_)
        | Action::Clone(_)
        | Action::CheckPktLarger { .. }
        | Action::Exit
        | Action::Note(_)
        | Action::ClearActions
        | Action::WriteActions(_)
        | Action::WriteMetadata { .. }
        | Action::GotoTable(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{OfPort, TableId};

    #[test]
    fn instructions_stand_behind_actions() {
        let output = Action::Output { port: OfPort(1) };
        let goto = Action::GotoTable(TableId::default());
        let check = |list: &[Action], nesting| check(list, nesting).map_err(|(i, _)| i);
        assert_eq!(check(&[output.clone(), goto.clone()], Nesting::Outermost), Ok(()));
        assert_eq!(check(&[goto.clone(), output.clone()], Nesting::Outermost), Err(1));
        assert_eq!(check(&[goto.clone(), goto.clone()], Nesting::Outermost), Err(1));
        assert_eq!(check(&[goto], Nesting::Nested), Err(0));
        assert_eq!(check(&[output.clone(), output], Nesting::Nested), Ok(()));
    }
}
