//! Headers of fields in messages (`oxm_class`, `oxm_field`, `oxm_hasmask`,
//! `oxm_length`; OpenFlow 1.3.5 §7.2.3.2).

use crate::error::ErrorCode;
use crate::input::Input;
use crate::output::Encoder;
use flow::fields::{FieldId, WireName};
use flow::types::OfVersion;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The class of fields that an experimenter defines. Four bytes with the experimenter's id stand between the
/// header and the value.
const EXPERIMENTER_CLASS: u16 = 0xffff;

/// What a header of a field says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldHeader {
    /// The field; `None` if no field of the table has the numbers.
    pub(crate) field: Option<FieldId>,
    pub(crate) class: u16,
    pub(crate) number: u8,
    pub(crate) has_mask: bool,
    /// How many bytes the value and the mask have together.
    pub(crate) size: usize,
}

/// The fields by their numbers in messages.
struct Fields {
    /// The fields of the classes that most messages have, by number: those of OpenFlow, and those of Nicira. A
    /// table of its own for them takes a quarter of the time of the map.
    common: [[Option<FieldId>; 128]; COMMON.len()],
    /// All fields, by class, experimenter and number.
    all: HashMap<(u16, u32, u8), FieldId>,
}

/// The classes in `Fields::common`.
const COMMON: [u16; 3] = [0x8000, 0, 1];

static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let names = |field: FieldId| field.def().wire.iter().map(move |name| (name, field));
    let mut fields = Fields { common: [[None; 128]; COMMON.len()], all: HashMap::new() };
    for (name, field) in FieldId::all().flat_map(names) {
        let WireName { class, experimenter, number, .. } = *name;
        fields.all.insert((class, experimenter, number), field);
        if let Some(place) = place(class, number) {
            fields.common[place.0][place.1] = Some(field);
        }
    }
    fields
});

/// Where a field of a common class is in `Fields::common`.
fn place(class: u16, number: u8) -> Option<(usize, usize)> {
    let at = COMMON.iter().position(|common| *common == class)?;
    (number < 128).then_some((at, usize::from(number)))
}

/// The field with these numbers; `None` if no field has them.
fn find(class: u16, experimenter: u32, number: u8) -> Option<FieldId> {
    match place(class, number) {
        Some((class, number)) => FIELDS.common[class][number],
        None => FIELDS.all.get(&(class, experimenter, number)).copied(),
    }
}

impl FieldHeader {
    /// Takes a header from the front of `input`.
    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, ErrorCode> {
        let class = input.u16()?;
        let (number, size) = (input.u8()?, usize::from(input.u8()?));
        let (has_mask, number) = (number & 1 != 0, number >> 1);
        let (experimenter, size) = match class {
            EXPERIMENTER_CLASS => {
                let size = size.checked_sub(4).ok_or(ErrorCode::BadMatchLength)?;
                (input.u32()?, size)
            }
            _ => (0, size),
        };
        let field = find(class, experimenter, number);
        Ok(Self { field, class, number, has_mask, size })
    }

    /// Size in bytes of the value. If there is a mask and the size of both is odd, a byte is left
    /// over, as in Open vSwitch.
    pub(crate) fn value_size(&self) -> usize {
        self.size >> u8::from(self.has_mask)
    }

    /// The field, if it has the size that the header says. The size is part of what names a field.
    pub(crate) fn fitting_field(&self) -> Option<FieldId> {
        let fits = |f: &FieldId| f.is_option() || self.value_size() == f.def().wire_len();
        self.field.filter(fits)
    }

    /// The field of a header that stands alone in an action: without mask, and with the
    /// size that the field has.
    pub(crate) fn decode_alone(input: &mut Input<'_>) -> Result<FieldId, ErrorCode> {
        let header = Self::decode(input)?;
        match header.fitting_field() {
            None => Err(ErrorCode::BadField),
            Some(_) if header.has_mask => Err(ErrorCode::BadMask),
            Some(field) => Ok(field),
        }
    }

    /// As [`decode_alone`](Self::decode_alone), in an action that Nicira defined before there were headers of
    /// eight bytes. Open vSwitch does not mind if such a header says that there is a mask.
    pub(crate) fn decode_short(input: &mut Input<'_>) -> Result<FieldId, ErrorCode> {
        Self::decode(input)?.fitting_field().ok_or(ErrorCode::BadSetType)
    }
}

/// The name of a field in messages of `version`, where Nicira's extensions count as 1.0. A field without a name
/// has no place in a message; callers ask for fields that have one.
fn name(field: FieldId, version: OfVersion) -> Option<&'static WireName> {
    field.wire_name(version)
}

/// Whether the header of the field has eight bytes, as those of experimenter fields have.
pub(crate) fn is_long(field: FieldId, version: OfVersion) -> bool {
    name(field, version).is_some_and(|name| name.class == EXPERIMENTER_CLASS)
}

/// Size in bytes of the longest option, which headers of options without a value name. Values of options have
/// sizes that differ.
const LONGEST_OPTION: usize = 124;

/// Size in bytes of a value in a message. Of an option, it is the number of words that the value and the mask
/// need, at least one.
fn value_size(field: FieldId, value: u128, mask: Option<u128>) -> usize {
    match field.is_option() {
        true => {
            let bits = 128 - (value | mask.unwrap_or_default()).leading_zeros() as usize;
            bits.div_ceil(32).max(1) * 4
        }
        false => field.def().wire_len(),
    }
}

/// Reads `size` bytes of a value or mask, of which those that no field has room for are zero.
///
/// # Errors
/// The bytes end before, or the error `too_long`.
pub(crate) fn take_value(
    input: &mut Input<'_>,
    size: usize,
    too_long: ErrorCode,
) -> Result<u128, ErrorCode> {
    let excess = size.saturating_sub(size_of::<u128>());
    if !input.part(excess, ErrorCode::BadMatchLength)?.is_zero() {
        return Err(too_long);
    }
    match size - excess {
        0 => Ok(0),
        size => input.integer(size),
    }
}

/// Writes the header of a field that stands alone, or in front of whatever else; if `has_mask`, with the size
/// of a value and a mask.
pub(crate) fn put_header(out: &mut Encoder, field: FieldId, version: OfVersion, has_mask: bool) {
    let size = if field.is_option() { LONGEST_OPTION } else { field.def().wire_len() };
    put_header_of(out, field, version, has_mask, size);
}

/// Writes the header of a field, in front of a value of
/// [`FieldDef::wire_len`](flow::fields::FieldDef::wire_len) bytes.
pub(crate) fn put_header_of_value(out: &mut Encoder, field: FieldId, version: OfVersion) {
    put_header_of(out, field, version, false, field.def().wire_len());
}

/// Writes the header of a field, with the size of a value of `size` bytes and, if `has_mask`,
/// of a mask behind it.
fn put_header_of(
    out: &mut Encoder,
    field: FieldId,
    version: OfVersion,
    has_mask: bool,
    size: usize,
) {
    let Some(name) = name(field, version) else {
        return;
    };
    let is_long = name.class == EXPERIMENTER_CLASS;
    let size = (size << u8::from(has_mask)) + if is_long { 4 } else { 0 };
    out.u16(name.class);
    out.u8(name.number << 1 | u8::from(has_mask));
    out.u8(size as u8);
    if is_long {
        out.u32(name.experimenter);
    }
}

/// Writes a field with its value. A `mask` of every bit of the field is left out.
pub(crate) fn put(out: &mut Encoder, field: FieldId, version: OfVersion, value: u128, mask: u128) {
    put_with(out, field, version, value, (mask != field.full_mask()).then_some(mask));
}

/// Writes a field with its value, and with a mask if there is one.
pub(crate) fn put_with(
    out: &mut Encoder,
    field: FieldId,
    version: OfVersion,
    value: u128,
    mask: Option<u128>,
) {
    let size = value_size(field, value, mask);
    put_header_of(out, field, version, mask.is_some(), size);
    out.integer(value, size);
    if let Some(mask) = mask {
        out.integer(mask, size);
    }
}
