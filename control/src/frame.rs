//! Frames: how messages are told apart on a byte stream.
//!
//! ```text
//! 0         4      5
//! ┌─────────┬──────┬──────────────┐
//! │ size    │ kind │ body         │   size: bytes of the body, big-endian
//! └─────────┴──────┴──────────────┘
//! ```
//!
//! A frame that announces too much is refused from its first five bytes. Memory grows with the bytes
//! that have arrived, not with those that were announced.

/// Bytes before a body.
pub const HEADER_SIZE: usize = 5;

/// Bytes of a body at most.
pub const MAX_BODY: usize = 16 << 20;

/// Bytes of text that a sender should put into one frame: few system calls, little memory.
pub const TEXT_SIZE: usize = 256 << 10;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// JSON [`Hello`](crate::Hello): the first frame in each direction.
    Hello = 1,
    /// JSON [`Request`](crate::Request): the client asks for something.
    Request = 2,
    /// Whole lines of text; part of a request or of an answer.
    Text = 3,
    /// Empty: the text of a request is complete.
    End = 4,
    /// JSON result of a request: [`Reply`](crate::Reply) or [`Refusal`](crate::Refusal).
    Reply = 5,
}

impl TryFrom<u8> for Kind {
    type Error = FrameError;

    fn try_from(byte: u8) -> Result<Self, FrameError> {
        Ok(match byte {
            1 => Self::Hello,
            2 => Self::Request,
            3 => Self::Text,
            4 => Self::End,
            5 => Self::Reply,
            _ => return Err(FrameError::UnknownKind(byte)),
        })
    }
}

/// The bytes are not frames of this protocol. There is no way to go on behind them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The body is longer than allowed: announced by a header, or given to [`encode`].
    #[error("a message of {size} bytes is too long: the control protocol takes {max}")]
    TooLong {
        /// Bytes of the body.
        size: usize,
        /// Bytes that it may have.
        max: usize,
    },
    /// No frame has this kind.
    #[error("a message of kind {0} is unknown to the control protocol")]
    UnknownKind(u8),
}

/// Appends a frame.
///
/// # Errors
/// The body is longer than [`MAX_BODY`]; nothing was appended.
pub fn encode(out: &mut Vec<u8>, kind: Kind, body: &[u8]) -> Result<(), FrameError> {
    if body.len() > MAX_BODY {
        return Err(FrameError::TooLong { size: body.len(), max: MAX_BODY });
    }
    out.extend((body.len() as u32).to_be_bytes());
    out.push(kind as u8);
    out.extend(body);
    Ok(())
}

/// Cuts a byte stream into frames.
#[derive(Debug)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// Where the next frame begins; what is before it has been taken.
    start: usize,
    max_body: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(MAX_BODY)
    }
}

impl Decoder {
    /// A decoder that has received nothing yet and refuses bodies longer than `max_body`.
    pub fn new(max_body: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, max_body }
    }

    /// Changes the size that is refused.
    pub fn set_max_body(&mut self, max_body: usize) {
        self.max_body = max_body;
    }

    /// Takes bytes as they arrive.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend(bytes);
    }

    /// The next frame, if all of it has arrived.
    ///
    /// # Errors
    /// The bytes are no frame, or one that is too long. The stream is of no further use.
    pub fn next_frame(&mut self) -> Result<Option<(Kind, &[u8])>, FrameError> {
        let Some((kind, size)) = self.arrived()? else {
            return Ok(None);
        };
        let at = self.start + HEADER_SIZE;
        self.start = at + size;
        Ok(Some((kind, &self.bytes[at..at + size])))
    }

    /// Whether [`Decoder::next_frame`] has one.
    ///
    /// # Errors
    /// As there.
    pub fn has_frame(&self) -> Result<bool, FrameError> {
        Ok(self.arrived()?.is_some())
    }

    /// Kind and size of the next frame, if all of it has arrived.
    fn arrived(&self) -> Result<Option<(Kind, usize)>, FrameError> {
        let rest = &self.bytes[self.start..];
        let Some((&[a, b, c, d, kind], body)) = rest.split_first_chunk::<HEADER_SIZE>() else {
            return Ok(None);
        };
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        if size > self.max_body {
            return Err(FrameError::TooLong { size, max: self.max_body });
        }
        let kind = Kind::try_from(kind)?;
        Ok((body.len() >= size).then_some((kind, size)))
    }

    /// Bytes that arrived and are not taken yet: a stream that ends here was cut off.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_size_kind_and_body() {
        let mut out = Vec::new();
        encode(&mut out, Kind::Text, b"ab").unwrap();
        assert_eq!(out, b"\x00\x00\x00\x02\x03ab");
    }

    #[test]
    fn frames_come_out_whole_however_their_bytes_arrive() {
        let mut bytes = Vec::new();
        encode(&mut bytes, Kind::Request, b"first").unwrap();
        encode(&mut bytes, Kind::End, b"").unwrap();
        encode(&mut bytes, Kind::Text, b"last").unwrap();
        for step in 1..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(step) {
                decoder.feed(piece);
                while let Some((kind, body)) = decoder.next_frame().unwrap() {
                    seen.push((kind, body.to_vec()));
                }
            }
            let expected =
                [(Kind::Request, &b"first"[..]), (Kind::End, b""), (Kind::Text, b"last")];
            assert!(seen.iter().map(|(k, b)| (*k, &b[..])).eq(expected), "{step}: {seen:?}");
            assert_eq!(decoder.pending(), 0);
        }
    }

    #[test]
    fn a_frame_that_announces_too_much_is_refused_by_its_header() {
        let mut decoder = Decoder::new(10);
        decoder.feed(&[0, 0, 0, 11, 3]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong { size: 11, max: 10 }));
        let mut decoder = Decoder::default();
        decoder.feed(b"GET / HTTP/1.1\r\n");
        assert!(matches!(decoder.next_frame(), Err(FrameError::TooLong { .. })));
        let body = vec![0; MAX_BODY + 1];
        assert!(encode(&mut Vec::new(), Kind::Text, &body).is_err());
    }

    #[test]
    fn an_unknown_kind_is_an_error() {
        let mut decoder = Decoder::default();
        decoder.feed(&[0, 0, 0, 0, 77]);
        assert_eq!(decoder.next_frame(), Err(FrameError::UnknownKind(77)));
    }
}
