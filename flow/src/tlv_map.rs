//! Which Geneve options are the fields `tun_metadata0` to `tun_metadata63` of a bridge.
//!
//! A field has a fixed place in the key of a packet, with room for an option of 16 bytes or of 4
//! ([`option_size`]). Open vSwitch has room for 124 bytes in each.

use crate::key::{LONG_OPTION, LONG_OPTIONS, SHORT_OPTION, option_size};
use packet::{MappedOption, OptionMap};
use serde::{Deserialize, Serialize};

/// An option of Geneve that is a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlvMapping {
    /// The class of the option: who has defined it.
    pub class: u16,
    /// The type of the option.
    pub kind: u8,
    /// How many bytes of the option are the field: a multiple of 4, at most [`Self::MAX_LEN`].
    pub len: u8,
    /// The number of the field, less than [`Self::FIELDS`].
    pub field: u8,
}

impl TlvMapping {
    /// The number of fields.
    pub const FIELDS: u8 = 64;
    /// The largest option in bytes.
    pub const MAX_LEN: u8 = 124;
}

/// A change of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlvMod {
    /// Adds mappings, all or none.
    Add(Vec<TlvMapping>),
    /// Removes the mappings of some fields. Only the numbers of the fields count.
    Delete(Vec<TlvMapping>),
    /// Removes every mapping.
    Clear,
}

/// The map of a bridge, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<TlvMapping>", into = "Vec<TlvMapping>")]
pub struct TlvMap(Vec<TlvMapping>);

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlvMapError {
    /// The field has an option already (`NXTTMFC_ALREADY_MAPPED`). The number is that of the field, from 0.
    #[error("field tun_metadata{0} is mapped already: delete that mapping first")]
    FieldInUse(u8),
    /// The option has a field already (`NXTTMFC_DUP_ENTRY`).
    #[error("the option with class {class:#x} and type {kind:#x} is mapped already")]
    Duplicate {
        /// The class of the option.
        class: u16,
        /// The type of the option.
        kind: u8,
    },
    /// The options together are larger than the fields of a packet (`NXTTMFC_TABLE_FULL`).
    #[error("all mapped options together may have {} bytes", TlvMap::MAX_SPACE)]
    Full,
    /// An option cannot have this length in bytes (`NXTTMFC_BAD_OPT_LEN`).
    #[error("an option cannot have {0} bytes: its length is a multiple of 4, at most 124")]
    Length(u8),
    /// The field has no room for an option of this length in bytes (`NXTTMFC_BAD_OPT_LEN`).
    #[error(
        "tun_metadata{field} has no room for {len} bytes: the fields tun_metadata0 to tun_metadata{} take options of up to {LONG_OPTION} bytes, the \
         others of up to {SHORT_OPTION}", LONG_OPTIONS - 1
    )]
    NoRoom {
        /// The number of the field.
        field: u8,
        /// The length of the option in bytes.
        len: u8,
    },
    /// No field has this number (`NXTTMFC_BAD_FIELD_IDX`).
    #[error("there is no field tun_metadata{0}: the last one is tun_metadata63")]
    NoField(u8),
}

impl TryFrom<Vec<TlvMapping>> for TlvMap {
    type Error = TlvMapError;

    fn try_from(mappings: Vec<TlvMapping>) -> Result<Self, TlvMapError> {
        let mut map = Self::default();
        map.apply(&TlvMod::Add(mappings)).map(|()| map)
    }
}

impl From<TlvMap> for Vec<TlvMapping> {
    fn from(map: TlvMap) -> Self {
        map.0
    }
}

impl TlvMap {
    /// How many bytes all mapped options have together at most.
    pub const MAX_SPACE: u32 = 256;

    /// The mappings, in the order of their fields.
    pub fn mappings(&self) -> &[TlvMapping] {
        &self.0
    }

    /// The map as tunnel ports use it.
    pub fn options(&self) -> OptionMap {
        let option = |mapping: &TlvMapping| MappedOption {
            class: mapping.class,
            option_type: mapping.kind,
            size: mapping.len,
            field: mapping.field,
        };
        OptionMap::new(self.0.iter().map(option).collect())
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Carries out a change.
    ///
    /// # Errors
    /// The first mapping that cannot be added, and why; nothing has changed.
    pub fn apply(&mut self, change: &TlvMod) -> Result<(), TlvMapError> {
        match change {
            TlvMod::Clear => self.0.clear(),
            TlvMod::Delete(gone) => {
                self.0.retain(|mapping| gone.iter().all(|other| other.field != mapping.field));
            }
            TlvMod::Add(added) => {
                let mut map = self.clone();
                added.iter().try_for_each(|mapping| map.add(*mapping))?;
                *self = map;
            }
        }
        Ok(())
    }

    fn add(&mut self, mapping: TlvMapping) -> Result<(), TlvMapError> {
        let TlvMapping { class, kind, len, field } = mapping;
        if !len.is_multiple_of(4) || len > TlvMapping::MAX_LEN {
            return Err(TlvMapError::Length(len));
        }
        if field >= TlvMapping::FIELDS {
            return Err(TlvMapError::NoField(field));
        }
        if len > option_size(field) {
            return Err(TlvMapError::NoRoom { field, len });
        }
        if self.0.iter().any(|other| other.field == field) {
            return Err(TlvMapError::FieldInUse(field));
        }
        if self.0.iter().any(|other| (other.class, other.kind) == (class, kind)) {
            return Err(TlvMapError::Duplicate { class, kind });
        }
        let space: u32 = self.0.iter().map(|other| u32::from(other.len)).sum();
        if space + u32::from(len) > Self::MAX_SPACE {
            return Err(TlvMapError::Full);
        }
        let at = self.0.partition_point(|other| other.field < field);
        self.0.insert(at, mapping);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(kind: u8, len: u8, field: u8) -> TlvMapping {
        TlvMapping { class: 0xffff, kind, len, field }
    }

    #[test]
    fn a_refused_addition_changes_nothing() {
        let mut map = TlvMap::default();
        map.apply(&TlvMod::Add(vec![mapping(1, 4, 5), mapping(0, 0, 2)])).unwrap();
        let before = map.clone();
        let mut refused = |added| map.apply(&TlvMod::Add(added)).unwrap_err();
        assert_eq!(refused(vec![mapping(7, 4, 7), mapping(8, 4, 5)]), TlvMapError::FieldInUse(5));
        let duplicate = TlvMapError::Duplicate { class: 0xffff, kind: 1 };
        assert_eq!(refused(vec![mapping(1, 4, 9)]), duplicate);
        let long = (10..17).zip([0, 1, 3, 4, 6, 7]).map(|(kind, field)| mapping(kind, 16, field));
        let short = (20..).zip(8..64).map(|(kind, field)| mapping(kind, 4, field));
        assert_eq!(refused(long.chain(short).collect()), TlvMapError::Full);
        let no_room = |field, len| TlvMapError::NoRoom { field, len };
        assert_eq!(refused(vec![mapping(9, 20, 7)]), no_room(7, 20));
        assert_eq!(refused(vec![mapping(9, 8, 8)]), no_room(8, 8));
        assert_eq!(refused(vec![mapping(9, 3, 9)]), TlvMapError::Length(3));
        assert_eq!(refused(vec![mapping(9, 4, 64)]), TlvMapError::NoField(64));
        assert_eq!(map, before);
        assert_eq!(map.mappings(), [mapping(0, 0, 2), mapping(1, 4, 5)], "in the order of fields");
    }

    #[test]
    fn mappings_are_deleted_by_field() {
        let mut map = TlvMap::default();
        map.apply(&TlvMod::Add(vec![mapping(1, 4, 5), mapping(2, 4, 6)])).unwrap();
        map.apply(&TlvMod::Delete(vec![mapping(1, 4, 9)])).unwrap();
        assert_eq!(map.mappings().len(), 2);
        map.apply(&TlvMod::Delete(vec![mapping(77, 8, 5)])).unwrap();
        assert_eq!(map.mappings(), [mapping(2, 4, 6)]);
        map.apply(&TlvMod::Clear).unwrap();
        assert!(map.is_empty());
    }
}
