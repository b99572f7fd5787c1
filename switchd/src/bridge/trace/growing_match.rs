//! A match that grows field by field, without contradicting itself.

use flow::Match;
use flow::fields::FieldId;
use flow::key::{PipelineKey, PipelineMask};

/// A match to which more fields are added.
pub(super) struct GrowingMatch {
    key: PipelineKey,
    mask: PipelineMask,
}

impl GrowingMatch {
    pub(super) fn new(flow: &Match) -> Self {
        Self { key: *flow.key(), mask: *flow.mask() }
    }

    pub(super) fn key(&self) -> &PipelineKey {
        &self.key
    }

    /// Whether the match has any bit of a field.
    pub(super) fn has(&self, field: FieldId) -> bool {
        field.get_mask(&self.mask) != 0
    }

    /// Gives a field a value. False if the match has another one there, and keeps it.
    pub(super) fn set(&mut self, field: FieldId, value: u128) -> bool {
        let known = field.get_mask(&self.mask);
        let agrees = (field.read(&self.key) ^ value) & known == 0;
        if agrees {
            field.write(&mut self.key, value, u128::MAX);
            field.set_mask(&mut self.mask, field.full_mask());
        }
        agrees
    }

    pub(super) fn finish(self) -> Match {
        Match::new(&self.key, &self.mask)
    }
}
