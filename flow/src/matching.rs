//! A condition on packets: a masked key and its mask.

use super::fields::FieldId;
use super::key::{PipelineKey, PipelineMask};

/// Which packets. Canonical: bits outside the mask are zero.
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

    /// Says of the bits `replaced` of a field that those of `mask` are as in `value`, and of the others
    /// nothing. That a VLAN id implies a tag is up to the caller.
    #[inline]
    pub fn set(&mut self, field: FieldId, value: u128, mask: u128, replaced: u128) {
        let def = field.def();
        def.put(&mut self.key, value & mask, replaced);
        def.put(&mut self.mask.bits, mask, replaced);
    }

    /// The values, zero outside the mask.
    pub fn key(&self) -> &PipelineKey {
        &self.key
    }

    /// The bits that matter.
    pub fn mask(&self) -> &PipelineMask {
        &self.mask
    }

    /// Whether a packet is covered.
    pub fn matches(&self, packet: &PipelineKey) -> bool {
        packet.matches(&self.key, &self.mask)
    }

    /// Whether every packet of `other` is covered too: the loose test of modify and delete.
    pub fn covers(&self, other: &Self) -> bool {
        let masks = self.mask.words().iter().zip(other.mask.words());
        masks.clone().all(|(a, b)| a & !b == 0) && other.key.matches(&self.key, &self.mask)
    }

    /// Whether some packet is covered by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let masks = self.mask.words().iter().zip(other.mask.words());
        let keys = self.key.words().iter().zip(other.key.words());
        masks.zip(keys).all(|((ma, mb), (a, b))| (a ^ b) & ma & mb == 0)
    }
}
