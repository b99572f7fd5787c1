//! The rules of a table that lost a look-up.
//!
//! All rules of the table are compared, in slices, so that no lock is held long; and there is a limit
//! for one trace.

use super::words::{Described, describe};
use crate::switch::OnBridge;
use control::record::{LostRecord, TraceEventRecord};
use flow::flow_mod::{Command, FlowMod};
use flow::text::PrintOptions;
use flow::types::TableId;
use flow::{Match, PipelineKey};
use flowtable::classifier::Entry;
use flowtable::policy::rule::Rule;

use flowtable::trace::Rivals;
use std::sync::Arc;

/// Rules that one trace compares with its packet: about a second's work.
const MAX_COMPARED: usize = 1_000_000;

/// Looks for the rules that lost, within the limit of a trace.
pub(super) struct Losers<'a> {
    switch: &'a OnBridge<'a>,
    options: PrintOptions<'a>,
    left: usize,
}

impl<'a> Losers<'a> {
    pub(super) fn new(switch: &'a OnBridge<'a>, options: PrintOptions<'a>) -> Self {
        Self { switch, options, left: MAX_COMPARED }
    }

    /// Of the look-up of `packet` that `winner` won, or no rule. `None` if there is none to name.
    pub(super) fn of(
        &mut self,
        table: TableId,
        packet: &PipelineKey,
        winner: Option<(&Arc<Rule>, &Described)>,
    ) -> Option<TraceEventRecord> {
        let best = winner.map(|(_, won)| (won.priority, &won.matching));
        let mut rivals = Rivals::new(packet, best);
        let every = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
        let in_table = FlowMod { table: Some(table), ..every };
        let mut walk = self.switch.bridge().walk(&in_table);
        let mut is_limited = false;
        let mut compare = |entry: Entry<'_, Arc<Rule>>| {
            if self.left == 0 {
                is_limited = true;
                return;
            }
            self.left -= 1;
            if winner.is_none_or(|(won, _)| !Arc::ptr_eq(won, entry.value)) {
                rivals.consider(entry.priority, &entry.matches, entry.priority);
            }
        };
        while walk.next_slice(&mut compare) {}
        let (named, others) = rivals.finish(self.options.ports);
        let rules: Vec<LostRecord> = named
            .into_iter()
            .map(|rival| LostRecord {
                rule: describe(&rival.matching, rival.rule, &self.options),
                on: rival.lost.on().to_owned(),
                reason: rival.lost.reason(),
            })
            .collect();
        let others = others as u64;
        (!rules.is_empty() || others > 0 || is_limited).then_some(TraceEventRecord::Lost {
            rules,
            others,
            is_limited,
        })
    }
}
