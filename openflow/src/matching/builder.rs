//! Collects the fields of a match while a message is decoded.

use crate::error::ErrorCode;
use flow::Match;
use flow::fields::{FieldId, TextForm};
use flow::key::{PipelineKey, PipelineMask, VLAN_CFI};

/// A match that is being decoded.
#[derive(Default)]
pub(super) struct MatchBuilder {
    pub(super) key: PipelineKey,
    pub(super) mask: PipelineMask,
}

impl MatchBuilder {
    /// Adds a field, with the checks that Open vSwitch makes for extensible matches. Only if
    /// `is_strict`, the match has to have what the field needs. The caller has checked that the value
    /// has no bit outside the mask.
    pub(super) fn add(
        &mut self,
        field: FieldId,
        value: u128,
        mask: u128,
        is_strict: bool,
    ) -> Result<(), ErrorCode> {
        let def = field.def();
        let legal = field.full_mask();
        // Not every field has all bits of its bytes, and a mask of all bytes is an exact match.
        let bits = if def.form == TextForm::Port32 { mask } else { mask & legal };
        if !def.maskable && mask != 0 && bits != legal && mask != def.whole {
            return Err(ErrorCode::BadMask);
        }
        let is_port = def.form != TextForm::Port32 || is_port(value) || mask == 0;
        if value & !legal != 0 || !is_port {
            return Err(ErrorCode::BadValue);
        }
        let option = field.option_bit();
        let has_option = self.mask.bits.headers.tun_options.get() & option != 0;
        if has_option || field.get_mask(&self.mask) != 0 {
            return Err(ErrorCode::DuplicateField);
        }
        if is_strict && !def.prerequisite.implied_by(&self.key, &self.mask) {
            return Err(ErrorCode::BadPrerequisite);
        }
        if bits != 0 {
            self.set(field, value, bits);
        } else if option != 0 {
            // An option whose value does not matter has to be there.
            self.set(FieldId::TunOptions, u128::MAX, option.into());
        }
        Ok(())
    }

    /// Adds a field without any check.
    pub(super) fn set(&mut self, field: FieldId, value: u128, mask: u128) {
        field.write(&mut self.key, value, mask);
        field.set_mask(&mut self.mask, mask);
        if field == FieldId::VlanPcp {
            self.mask.bits.headers.vlan_tci |= VLAN_CFI;
        }
    }

    /// Sets what the match says of the VLAN tag.
    pub(super) fn set_tci(&mut self, tci: u16, mask: u16) {
        self.key.headers.vlan_tci = tci.into();
        self.mask.bits.headers.vlan_tci = mask.into();
    }

    pub(super) fn build(&self) -> Match {
        Match::new(&self.key, &self.mask)
    }

    /// As [`build`](Self::build), into a match that is there already.
    pub(super) fn build_into(&self, matching: &mut Match) {
        matching.assign(&self.key, &self.mask);
    }
}

/// Whether 32 bits are a port number: one of 16 bits, or a reserved one with 0xffff in the upper half.
pub(crate) fn is_port(port: u128) -> bool {
    port < 0xff00 || (0xffff_ff00..=0xffff_ffff).contains(&port)
}
