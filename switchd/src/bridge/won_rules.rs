//! The rules that a packet met, with what the tables know of them beside the rule itself.

use flow::Match;
use flowtable::policy::Policy;
use flowtable::policy::rule::Rule;
use flowtable::policy::xlate::{TraceEvent, TraceStep};
use std::collections::HashMap;
use std::sync::Arc;

/// Match and priority of the rules that won the look-ups of a translation.
#[derive(Debug, Default)]
pub struct WonRules(HashMap<usize, WonRule>);

/// A rule that won a look-up.
#[derive(Debug)]
pub struct WonRule {
    /// The priority of the rule.
    pub priority: u16,
    /// The match of the rule.
    pub matching: Match,
    /// Keeps the address, by which the rule is found, from being given to another one.
    _rule: Arc<Rule>,
}

impl WonRules {
    /// Looks up the rules that some steps name. A rule that was removed and freed since is left out.
    pub(super) fn of<'a>(policy: &Policy, steps: impl IntoIterator<Item = &'a TraceStep>) -> Self {
        let won = steps.into_iter().filter_map(|step| match &step.event {
            TraceEvent::Rule(_, rule) => Some(rule),
            _ => None,
        });
        let found = won.filter_map(|rule| {
            let (priority, matching) = policy.match_of(rule)?;
            let _rule = Arc::clone(rule);
            Some((address(rule), WonRule { priority, matching, _rule }))
        });
        Self(found.collect())
    }

    /// What is known of a rule. `None` if it was removed and freed before it could be asked for.
    pub fn get(&self, rule: &Arc<Rule>) -> Option<&WonRule> {
        self.0.get(&address(rule))
    }
}

fn address(rule: &Arc<Rule>) -> usize {
    Arc::as_ptr(rule).addr()
}
