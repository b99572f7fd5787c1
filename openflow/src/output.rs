//! Writes the bytes of a message.

/// The bytes of a message that is being written. All integers are in network byte order.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// How many bytes have been written.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes the lowest `size` bytes of `value`, 16 at most.
    pub(crate) fn integer(&mut self, value: u128, size: usize) {
        let bytes = value.to_be_bytes();
        self.bytes(&bytes[bytes.len().saturating_sub(size)..]);
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }

    /// Writes zeros until the bytes from `start` on are a multiple of 8.
    pub(crate) fn pad(&mut self, start: usize) {
        let len = self.len() - start;
        self.zeros(len.next_multiple_of(8) - len);
    }

    /// Writes a name in `size` bytes. A name that is too long is cut; the last byte is always zero.
    pub(crate) fn name(&mut self, name: &str, size: usize) {
        let name = name.as_bytes();
        let kept = name.len().min(size.saturating_sub(1));
        self.bytes(&name[..kept]);
        self.zeros(size - kept);
    }

    /// Overwrites the byte at `at`, which has been written.
    pub(crate) fn set_u8(&mut self, at: usize, value: u8) {
        if let Some(place) = self.bytes.get_mut(at) {
            *place = value;
        }
    }

    /// Removes what has been written from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Overwrites two bytes that have been written, at `at`.
    pub(crate) fn set_u16(&mut self, at: usize, value: u16) {
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// Two bytes that have been written, at `at`; 0 if there are none.
    pub(crate) fn get_u16(&self, at: usize) -> u16 {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().map_or(0, u16::from_be_bytes)
    }

    /// Writes into the two bytes at `at` how many bytes there are from `start` on.
    pub(crate) fn set_len(&mut self, at: usize, start: usize) {
        let len = self.len() - start;
        self.set_u16(at, len.try_into().unwrap_or(u16::MAX));
    }
}
