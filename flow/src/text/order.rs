//! The order of actions and instructions.
//!
//! OpenFlow 1.1 and later execute instructions in a fixed order, so a list must be written in it:
//! actions, `clear_actions`, `write_actions`, `write_metadata`, `goto_table`. An action set holds
//! fewer actions than a list.

use super::print::is_plain_controller;
use crate::action::Action;

/// Whether a list of actions is that of a rule, or is part of another action or of a bucket. A nested list
/// can have no instructions, such as `goto_table`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nesting {
    /// Behind `actions=`.
    Outermost,
    /// In `clone(...)`, `write_actions(...)` or a bucket.
    Nested,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Instruction {
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

/// The index of the first action out of order, and what is wrong with it.
pub(super) fn check(actions: &[Action], nesting: Nesting) -> Result<(), (usize, String)> {
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

/// Whether an action set can hold the action.
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
