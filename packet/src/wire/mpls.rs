//! An entry of an MPLS label stack (RFC 3032 §2.1; RFC 5462 for the traffic class).

use super::{Field, WireError, check_size, put_u32, u32_at};
use std::fmt;

/// The byte ranges of the fields in an entry, which is an integer of 32 bits.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    pub const ENTRY: Field = 0..4;
}

/// Size of an entry in bytes.
pub const HEADER_SIZE: usize = field::ENTRY.end;

/// The bits of the entry that are the label.
pub const LABEL_MASK: u32 = 0xffff_f000;
/// The number of the label's lowest bit in the entry.
pub const LABEL_SHIFT: u32 = 12;
/// The bits of the entry that are the traffic class.
pub const TC_MASK: u32 = 0x0e00;
/// The number of the traffic class's lowest bit in the entry.
pub const TC_SHIFT: u32 = 9;
/// The bit of the entry that marks the bottom of the stack (S).
pub const BOTTOM: u32 = 0x100;
/// The bits of the entry that are the time to live.
pub const TTL_MASK: u32 = 0xff;

/// A view over an entry of a label stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MplsEntry<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> MplsEntry<T> {
    /// A view of `buffer` as an entry, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as an entry.
    ///
    /// # Errors
    /// The buffer is shorter than the entry.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("MPLS", buffer.as_ref(), HEADER_SIZE)?;
        Ok(Self { buffer })
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// The entry with all its fields, as a host integer.
    #[inline]
    pub fn entry(&self) -> u32 {
        u32_at(self.buffer.as_ref(), field::ENTRY)
    }

    /// The label, a number of 20 bits.
    #[inline]
    pub fn label(&self) -> u32 {
        self.entry() >> LABEL_SHIFT
    }

    /// The traffic class, 0 to 7.
    #[inline]
    pub fn tc(&self) -> u8 {
        ((self.entry() & TC_MASK) >> TC_SHIFT) as u8
    }

    /// Whether this is the last entry of the stack (S).
    #[inline]
    pub fn is_bottom(&self) -> bool {
        self.entry() & BOTTOM != 0
    }

    /// The number of hops that the packet may still take.
    #[inline]
    pub fn ttl(&self) -> u8 {
        (self.entry() & TTL_MASK) as u8
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> MplsEntry<T> {
    /// Writes the entry with all its fields.
    #[inline]
    pub fn set_entry(&mut self, value: u32) {
        put_u32(self.buffer.as_mut(), field::ENTRY, value);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for MplsEntry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (label, tc, ttl) = (self.label(), self.tc(), self.ttl());
        write!(f, "MPLS label={label} tc={tc} ttl={ttl} bos={}", u8::from(self.is_bottom()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_literal_bytes_are_read() {
        // Label 16 to 18 as Wireshark shows them in its sample of two labels.
        let entry = MplsEntry::new_checked([0x00, 0x01, 0x0a, 0xff]).unwrap();
        assert_eq!(
            (entry.label(), entry.tc(), entry.is_bottom(), entry.ttl()),
            (16, 5, false, 255)
        );
        let entry = MplsEntry::new_checked([0x00, 0x01, 0x21, 0xfe]).unwrap();
        assert_eq!((entry.label(), entry.tc(), entry.is_bottom(), entry.ttl()), (18, 0, true, 254));
        assert_eq!(entry.to_string(), "MPLS label=18 tc=0 ttl=254 bos=1");
        assert!(MplsEntry::new_checked([0, 1, 2]).is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = [0; HEADER_SIZE];
        let mut entry = MplsEntry::new_unchecked(&mut bytes);
        entry.set_entry(0xfffff << LABEL_SHIFT | 7 << TC_SHIFT | BOTTOM | 64);
        assert_eq!(
            (entry.label(), entry.tc(), entry.is_bottom(), entry.ttl()),
            (0xfffff, 7, true, 64)
        );
        assert_eq!(bytes, [0xff, 0xff, 0xff, 64]);
        assert_eq!(LABEL_MASK | TC_MASK | BOTTOM | TTL_MASK, u32::MAX);
        assert_eq!(LABEL_MASK ^ TC_MASK ^ BOTTOM ^ TTL_MASK, u32::MAX);
    }
}
