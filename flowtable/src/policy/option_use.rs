//! Which options of Geneve rules use, as fields `tun_metadata0` to `tun_metadata63`, and whether the bridge's
//! map has them.

use super::Bridge;
use super::refused::FlowModError;
use super::tables::Tables;
use flow::Match;
use flow::action::{Action, any_action};
use flow::fields::{FieldId, ones};
use flow::flow_mod::{Command, FlowMod};
use packet::OptionMap;
use std::sync::Arc;

/// Shows `visit` the options that a match looks at, with the bits that have to be within the option.
fn of_match(matching: &Match, visit: &mut dyn FnMut(FieldId, u128)) {
    for field in FieldId::options_in(matching.mask().bits.headers.tun_options.get()) {
        let mask = field.get_mask(matching.mask());
        // An exact match of a short value has a mask of all bits that any option may have.
        let is_exact = mask == field.full_mask();
        visit(field, if is_exact { field.read(matching.key()) } else { mask });
    }
}

/// Shows `visit` the options that an action names, with the bits that have to be within the option.
fn of_action(action: &Action, visit: &mut dyn FnMut(FieldId, u128)) {
    action.named_bits(&mut |field, bits| {
        if field.is_option() {
            visit(field, bits);
        }
    });
}

impl Tables {
    /// Whether the map has the options of a match.
    ///
    /// # Errors
    /// [`FlowModError::UnmappedOption`] or [`FlowModError::OptionTooShort`], about the
    /// first option that is wrong.
    pub(super) fn check_options_of_match(&self, matching: &Match) -> Result<(), FlowModError> {
        let mut checked = Ok(());
        of_match(matching, &mut |field, bits| {
            if checked.is_ok() {
                checked = check_option(&self.options, field, bits);
            }
        });
        checked
    }

    /// Whether the map has the options of an action, apart from those of actions inside it.
    ///
    /// # Errors
    /// The same as those of [`check_options_of_match`](Self::check_options_of_match).
    pub(super) fn check_options_of_action(&self, action: &Action) -> Result<(), FlowModError> {
        let mut checked = Ok(());
        of_action(action, &mut |field, bits| {
            if checked.is_ok() {
                checked = check_option(&self.options, field, bits);
            }
        });
        checked
    }
}

/// Whether the map has an option, and these bits of it.
fn check_option(map: &OptionMap, field: FieldId, bits: u128) -> Result<(), FlowModError> {
    let FieldId::TunMetadata(number) = field else { return Ok(()) };
    match map.options().iter().find(|option| option.field == number) {
        None => Err(FlowModError::UnmappedOption(number)),
        Some(option) if bits & !ones(u16::from(option.size) * 8) != 0 => {
            Err(FlowModError::OptionTooShort { field: number, size: option.size })
        }
        Some(_) => Ok(()),
    }
}

impl Bridge<'_> {
    /// Says which options of Geneve are fields. Rules that are added afterwards can use these and no others.
    pub fn map_options(self, options: Arc<OptionMap>) {
        self.step(|tables| tables.options = options);
    }

    /// Which options of Geneve are fields.
    pub fn options(self) -> Arc<OptionMap> {
        let (tables, _) = self.policy.tables.read();
        Arc::clone(&tables.of(self.id).options)
    }

    /// Which options rules of the bridge use: bit `n` for `tun_metadataN`.
    pub fn used_options(self) -> u64 {
        let every = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
        let mut used = 0;
        let mut walk = self.walk(&every);
        while walk.next_slice(|entry| {
            let mut visit = |field: FieldId, _: u128| used |= field.option_bit();
            of_match(&entry.matches, &mut visit);
            any_action(&entry.value.actions, &mut |action| {
                of_action(action, &mut visit);
                false
            });
        }) {}
        used
    }
}
