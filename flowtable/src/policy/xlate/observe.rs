//! Who listens to a translation: nobody, or one who keeps an account of it.
//!
//! `translate` is the same code for the cache and for `trace`. A type parameter tells it who
//! listens: with [`Unobserved`] the compiler leaves nothing of the telling. An observer hears of
//! every step; it cannot change any.

use super::Note;
use crate::classifier::Version;
use crate::policy::TableRef;
use crate::policy::rule::Rule;
use crate::policy::tables::Tables;
use flow::action::Action;
use flow::types::TableId;
use flow::{PipelineKey, PipelineMask};
use std::sync::Arc;

/// Hears of the steps of a translation, in their order. What `enter_...` begins, `leave` ends.
///
/// No method has a body here, so that no observer misses a kind of step that comes later.
pub trait TranslationObserver {
    /// Whether the observer does anything with what it hears. If not, nothing is computed for it.
    const LISTENS: bool;

    /// The bits of the packet that were read so far, between two steps.
    fn read(&mut self, mask: &PipelineMask);

    /// The packet is in the bridge of this name from now on.
    fn enter_bridge(&mut self, name: &Arc<str>);

    /// The packet, as it is then, is looked up in a table of the bridge that it is
    /// in. `enter_rule` or `miss` follows.
    fn look_up(&mut self, at: TableRef, packet: &PipelineKey);

    /// A rule won the look-up, and its actions follow.
    fn enter_rule(&mut self, won: &Won<'_>);

    /// No rule of the table matched.
    fn miss(&mut self, table: TableId);

    /// Another pass goes on where an earlier one stopped, in this table.
    fn resume(&mut self, table: TableId);

    /// A bucket of the group is executed: by its place in the group's list.
    fn enter_bucket(&mut self, index: usize);

    /// The action set is executed.
    fn enter_action_set(&mut self);

    /// What was entered last is over.
    fn leave(&mut self);

    /// An action begins. What it leads to follows, and then `end_action`.
    fn begin_action(&mut self, action: &Action);

    /// The latest action that has not ended is over. `written` has a one for each bit of the packet, or of the
    /// state beside it, that has another value than before the action.
    fn end_action(&mut self, written: &PipelineMask);

    /// A remark on the action that was begun last.
    fn note(&mut self, note: impl FnOnce() -> Note);

    /// The translation is over, and this is the packet as it is then.
    fn finish(&mut self, packet: &PipelineKey);
}

/// A rule that won a look-up.
pub struct Won<'a> {
    /// The table that the packet was looked up in.
    pub table: TableId,
    /// The rule with the highest priority of those that match.
    pub rule: &'a Arc<Rule>,
    pub(super) tables: &'a Tables,
    pub(super) version: Version,
}

impl Won<'_> {
    /// Shows `visit` the better rules that overlap with the winner: some packet matches both, and they
    /// would win it. At most `limit` rules of the table are looked at. Returns how many were; `limit` of
    /// them may not be all.
    pub fn better_overlapping(&self, limit: usize, visit: impl FnMut(&Arc<Rule>)) -> usize {
        self.tables.better_overlapping(self.rule.place(), self.version, limit, visit)
    }
}

/// The observer of a translation that nobody watches. It hears nothing, and costs nothing.
pub struct Unobserved;

impl TranslationObserver for Unobserved {
    const LISTENS: bool = false;

    #[inline(always)]
    fn read(&mut self, _: &PipelineMask) {}

    #[inline(always)]
    fn enter_bridge(&mut self, _: &Arc<str>) {}

    #[inline(always)]
    fn look_up(&mut self, _: TableRef, _: &PipelineKey) {}

    #[inline(always)]
    fn enter_rule(&mut self, _: &Won<'_>) {}

    #[inline(always)]
    fn miss(&mut self, _: TableId) {}

    #[inline(always)]
    fn resume(&mut self, _: TableId) {}

    #[inline(always)]
    fn enter_bucket(&mut self, _: usize) {}

    #[inline(always)]
    fn enter_action_set(&mut self) {}

    #[inline(always)]
    fn leave(&mut self) {}

    #[inline(always)]
    fn begin_action(&mut self, _: &Action) {}

    #[inline(always)]
    fn end_action(&mut self, _: &PipelineMask) {}

    #[inline(always)]
    fn note(&mut self, _: impl FnOnce() -> Note) {}

    #[inline(always)]
    fn finish(&mut self, _: &PipelineKey) {}
}
