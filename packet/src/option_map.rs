//! [`OptionMap`]: which options of Geneve a tunnel port knows, and which fields of a packet they are.

use crate::wire::{GeneveOption, GeneveOptions, geneve};
use std::sync::Arc;

/// An option of Geneve that is a field of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MappedOption {
    /// The class of the option: who has defined it.
    pub class: u16,
    /// The type of the option, including the bit of critical ones.
    pub option_type: u8,
    /// How many bytes of data the option has: a multiple of 4, at most 124.
    pub size: u8,
    /// The number of the field, below 64.
    pub field: u8,
}

/// The options of Geneve that are fields. Options that are not in the map are skipped, or
/// refused if they are critical.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionMap(Vec<MappedOption>);

impl OptionMap {
    /// The map of these options. Each of them is to have a field and a class and type of its own.
    pub const fn new(options: Vec<MappedOption>) -> Self {
        Self(options)
    }

    /// The options, in the order in which they are sent.
    pub fn options(&self) -> &[MappedOption] {
        &self.0
    }

    /// Whether no option is a field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The field that an option is; `None` if it is not in the map.
    pub fn find(&self, option: &GeneveOption<&[u8]>) -> Option<&MappedOption> {
        let id = (option.class(), option.option_type());
        self.0.iter().find(|mapped| (mapped.class, mapped.option_type) == id)
    }

    /// Whether the options of a header, which are whole, can be taken: every critical one is in the map, and
    /// those in the map have the size that they have there. Open vSwitch drops packets with other sizes, too.
    pub fn takes(&self, options: &[u8]) -> bool {
        GeneveOptions::new(options).all(|option| match self.find(&option) {
            Some(mapped) => option.data().len() == usize::from(mapped.size),
            None => !option.is_critical(),
        })
    }

    /// The options of a header to be sent: for each option of the map, what `value` returns, as a number whose
    /// lowest byte is the last one of the option. `None` leaves the option out. Returns no bytes at all if each
    /// is left out.
    pub fn compose(
        &self,
        mut value: impl FnMut(&MappedOption) -> Option<u128>,
    ) -> Option<Arc<[u8]>> {
        let mut bytes = Vec::new();
        for mapped in &self.0 {
            let Some(value) = value(mapped) else { continue };
            let (start, size) = (bytes.len(), usize::from(mapped.size));
            bytes.resize(start + geneve::OPTION_HEADER_SIZE + size, 0);
            let (header, data) = bytes[start..].split_at_mut(geneve::OPTION_HEADER_SIZE);
            GeneveOption::new_unchecked(header).set_header(
                mapped.class,
                mapped.option_type,
                geneve::OPTION_HEADER_SIZE + size,
            );
            let value = value.to_be_bytes();
            let common = size.min(value.len());
            data[size - common..].copy_from_slice(&value[value.len() - common..]);
        }
        (!bytes.is_empty()).then(|| bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGICAL: MappedOption =
        MappedOption { class: 0x0102, option_type: 0x80, size: 4, field: 0 };
    const LONG: MappedOption = MappedOption { class: 0xffff, option_type: 1, size: 20, field: 3 };

    #[test]
    fn options_that_are_composed_are_taken() {
        let map = OptionMap::new(vec![LOGICAL, LONG]);
        assert_eq!(map.compose(|_| None), None);
        let some = map.compose(|mapped| (mapped.field == 0).then_some(0x0003_0005)).unwrap();
        assert_eq!(some[..], [1, 2, 0x80, 1, 0, 3, 0, 5]);
        let both = map.compose(|mapped| Some(mapped.field.into())).unwrap();
        assert_eq!(both.len(), 8 + 24);
        assert_eq!(both[both.len() - 1], 3, "the number is at the end of the option");
        assert!(map.takes(&some) && map.takes(&both));
    }

    #[test]
    fn unknown_critical_options_and_other_sizes_are_not_taken() {
        let map = OptionMap::new(vec![LOGICAL]);
        assert!(map.takes(&[]));
        assert!(map.takes(&[1, 2, 3, 1, 9, 9, 9, 9]), "unknown, and not critical");
        assert!(!map.takes(&[1, 2, 0x83, 1, 9, 9, 9, 9]), "unknown and critical");
        assert!(!map.takes(&[1, 2, 0x80, 2, 0, 0, 0, 0, 0, 0, 0, 0]), "of another size");
        assert!(!OptionMap::default().takes(&[1, 2, 0x80, 1, 0, 3, 0, 5]));
    }
}
