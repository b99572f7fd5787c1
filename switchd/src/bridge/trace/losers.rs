//! The rules of a table that lost a look-up.
//!
//! All rules of the table are compared, in slices; and there is a limit for one trace. A rule is copied under
//! the lock and compared without it, because a comparison takes up to ten microseconds.

use crate::bridge::won_rules::{WonRule, WonRules};
use flow::flow_mod::{Command, FlowMod};
use flow::{Match, PipelineKey};
use flowtable::classifier::Entry;
use flowtable::policy::rule::Rule;
use flowtable::policy::xlate::TraceEvent;
use flowtable::policy::{Policy, TableRef};
use flowtable::trace::{Pass, Rival, Rivals};
use std::sync::Arc;

/// Rules that one trace compares with its packet: about two seconds' work.
const MAX_COMPARED: usize = 200_000;

/// The rules that lost a look-up and could have been expected to win it.
#[derive(Debug)]
pub struct Losers {
    /// The packet that was looked up, as the rules before have made it.
    pub packet: PipelineKey,
    /// The rules that came nearest, the nearest first. `rule` is the priority.
    pub nearest: Vec<Rival<u16>>,
    /// The number of rules that lost and are not among the nearest.
    pub others: usize,
    /// Some rules of the table were not compared, because the trace had compared too many.
    pub is_limited: bool,
}

/// Compares rules with the packet of a trace, up to a limit for all of it.
pub(super) struct Comparison<'a> {
    policy: &'a Policy,
    /// Rules that may yet be compared.
    left: usize,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(policy: &'a Policy) -> Self {
        Self { policy, left: MAX_COMPARED }
    }

    /// The rules that lost the look-ups of a pass, by the index of the step that tells how the look-up ended.
    /// Of a look-up that no rule lost, or whose winner is gone, nothing is told.
    pub(super) fn losers_of(&mut self, pass: &Pass, rules: &WonRules) -> Vec<(usize, Losers)> {
        let (mut found, mut lookup) = (Vec::new(), None);
        for (index, step) in pass.steps.iter().enumerate() {
            let winner = match &step.event {
                TraceEvent::Lookup(at, packet) => {
                    lookup = Some((*at, &**packet));
                    continue;
                }
                TraceEvent::Rule(_, rule) => rules.get(rule).map(|won| Some((rule, won))),
                TraceEvent::Miss(_) => Some(None),
                _ => continue,
            };
            if let (Some((at, packet)), Some(winner)) = (lookup.take(), winner) {
                let losers = self.losers(at, packet, winner);
                found.extend(losers.map(|losers| (index, losers)));
            }
        }
        found
    }

    /// The rules that lost the look-up of `packet` that `winner` won, or no rule. `None` if there are none.
    fn losers(
        &mut self,
        at: TableRef,
        packet: &PipelineKey,
        winner: Option<(&Arc<Rule>, &WonRule)>,
    ) -> Option<Losers> {
        let best = winner.map(|(_, won)| (won.priority, &won.matching));
        let mut rivals = Rivals::new(packet, best);
        let every = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
        let in_table = FlowMod { table: Some(at.table), ..every };
        let mut walk = self.policy.bridge(at.bridge).walk(&in_table);
        let mut is_limited = false;
        let (mut slice, mut has_more) = (Vec::new(), true);
        while has_more && !is_limited {
            has_more = walk.next_slice(|entry: Entry<'_, Arc<Rule>>| {
                if winner.is_none_or(|(won, _)| !Arc::ptr_eq(won, entry.value)) {
                    slice.push((entry.priority, entry.matches));
                }
            });
            is_limited = slice.len() > self.left;
            slice.truncate(self.left);
            self.left -= slice.len();
            for (priority, matches) in slice.drain(..) {
                rivals.consider(priority, &matches, priority);
            }
        }
        let (nearest, others) = rivals.finish();
        let is_nothing = nearest.is_empty() && others == 0 && !is_limited;
        (!is_nothing).then_some(Losers { packet: *packet, nearest, others, is_limited })
    }
}
