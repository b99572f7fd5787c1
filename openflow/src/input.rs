//! Reads the bytes of a message from front to back, and never beyond their end.

use crate::error::ErrorCode;

/// The experimenter id of Nicira, whose extensions Open vSwitch has (`NX_VENDOR_ID`).
pub(crate) const VENDOR_NICIRA: u32 = 0x0000_2320;
/// The experimenter id of the Open Networking Foundation (`ONF_VENDOR_ID`).
pub(crate) const ONF: u32 = 0x4f4e_4600;

/// The rest of a message, or of a part of a message. All integers are in network byte order.
///
/// Reading takes bytes from the front. Where bytes are missing, reading returns the error that
/// the part was made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
    short: ErrorCode,
}

impl<'a> Input<'a> {
    /// Bytes of which a reader that misses some says `short`.
    pub(crate) fn new(rest: &'a [u8], short: ErrorCode) -> Self {
        Self { rest, short }
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether all bytes that are left are 0.
    pub(crate) fn is_zero(&self) -> bool {
        self.rest.iter().all(|byte| *byte == 0)
    }

    /// All bytes that are left, without taking them.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], ErrorCode> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes `count` bytes as a part of their own, which says `short` where bytes are missing.
    pub(crate) fn part(&mut self, count: usize, short: ErrorCode) -> Result<Self, ErrorCode> {
        Ok(Self::new(self.take(count)?, short))
    }

    /// Takes `count` bytes that mean nothing.
    pub(crate) fn skip(&mut self, count: usize) -> Result<(), ErrorCode> {
        self.take(count).map(|_| ())
    }

    /// Takes the bytes that fill up `len` to a multiple of 8, as far as there are any.
    pub(crate) fn skip_padding(&mut self, len: usize) {
        let padding = len.next_multiple_of(8) - len;
        self.rest = self.rest.get(padding..).unwrap_or_default();
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ErrorCode> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(self.short)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ErrorCode> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ErrorCode> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ErrorCode> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ErrorCode> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes an integer of `size` bytes, 16 at most.
    pub(crate) fn integer(&mut self, size: usize) -> Result<u128, ErrorCode> {
        Ok(match *self.take(size)? {
            // Most fields have one of these sizes.
            [byte] => byte.into(),
            [a, b] => u16::from_be_bytes([a, b]).into(),
            [a, b, c, d] => u32::from_be_bytes([a, b, c, d]).into(),
            ref bytes => bytes.iter().fold(0, |value, byte| value << 8 | u128::from(*byte)),
        })
    }

    /// Takes a name that fills `N` bytes and ends at the first zero.
    pub(crate) fn name<const N: usize>(&mut self) -> Result<String, ErrorCode> {
        let bytes: [u8; N] = self.array()?;
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }
}
