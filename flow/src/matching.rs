//! The match of a rule: which bits of a packet's key it looks at, and which values they must have.

use super::fields::FieldId;
use super::key::{PipelineKey, PipelineMask};
use super::prerequisite::Prerequisite;

/// A condition on packets: a packet matches if its key has, in the bits of the mask, the values of this key.
///
/// The form is canonical: bits of the key outside the mask are zero. So two matches of the same packets, made
/// from the same fields, are equal (`==`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Match {
    key: PipelineKey,
    mask: PipelineMask,
}

impl Match {
    /// The match of every packet.
    pub fn any() -> Self {
        Self::default()
    }

    /// The packets that agree with `key` in the bits of `mask`.
    pub fn new(key: &PipelineKey, mask: &PipelineMask) -> Self {
        Self { key: key.masked(mask), mask: *mask }
    }

    /// Makes this the match of the packets that agree with `key` in the bits of `mask`, without a
    /// copy of a whole match.
    pub fn assign(&mut self, key: &PipelineKey, mask: &PipelineMask) {
        let words = self.key.words_mut().iter_mut().zip(key.words()).zip(mask.words());
        words.for_each(|((own, key), mask)| *own = key & mask);
        self.mask.words_mut().copy_from_slice(mask.words());
    }

    /// Changes what the match says of the bits `replaced` of a field. Afterwards those in `mask` must be as in
    /// `value`, and the remaining ones may be anything. `value`, `mask` and `replaced` are right-aligned, and
    /// `mask` is a part of `replaced`.
    ///
    /// The tag-present bit is not set along with a VLAN id or priority: the caller sets it. A packet must have
    /// an option whatever is said of its bits, even if `mask` is zero.
    #[inline]
    pub fn set(&mut self, field: FieldId, value: u128, mask: u128, replaced: u128) {
        let def = field.def();
        def.put(&mut self.key, value & mask, replaced);
        def.put(&mut self.mask.bits, mask, replaced);
        field.mark_option(&mut self.key);
        field.mark_option(&mut self.mask.bits);
    }

    /// The values that a packet must have in the bits of the mask; all other bits are zero.
    pub fn key(&self) -> &PipelineKey {
        &self.key
    }

    /// The bits that the match looks at.
    pub fn mask(&self) -> &PipelineMask {
        &self.mask
    }

    /// Whether every packet that the match selects has the fields behind a prerequisite.
    pub fn implies(&self, prerequisite: Prerequisite) -> bool {
        prerequisite.implied_by(&self.key, &self.mask)
    }

    /// Whether the match selects `packet`.
    pub fn matches(&self, packet: &PipelineKey) -> bool {
        packet.matches(&self.key, &self.mask)
    }

    /// Whether every packet that `other` selects is selected by this match too. Non-strict modifications and
    /// deletions change the rules whose match is covered by the request's (OpenFlow 1.3.5 §6.4).
    pub fn covers(&self, other: &Self) -> bool {
        let masks = self.mask.words().iter().zip(other.mask.words());
        masks.clone().all(|(a, b)| a & !b == 0) && other.key.matches(&self.key, &self.mask)
    }

    /// Whether there can be a packet that both matches select (`check_overlap`).
    pub fn overlaps(&self, other: &Self) -> bool {
        let masks = self.mask.words().iter().zip(other.mask.words());
        let keys = self.key.words().iter().zip(other.key.words());
        masks.zip(keys).all(|((ma, mb), (a, b))| (a ^ b) & ma & mb == 0)
    }
}
