//! Frames: the encoding of messages on a byte stream.
//!
//! ```text
//! 0         4      5
//! ┌─────────┬──────┬──────────────┐
//! │ size    │ kind │ body         │   size: size of the body in bytes, big-endian
//! └─────────┴──────┴──────────────┘
//! ```
//!
//! A frame whose header states too large a size is refused as soon as the header has arrived. The decoder
//! allocates memory for bytes that have arrived, not for the size that a header states.

/// Size of the header in front of a body, in bytes.
pub const HEADER_SIZE: usize = 5;

/// Size of the largest body, in bytes.
pub const MAX_BODY: usize = 16 << 20;

/// Size of the largest body that the daemon takes from a client, in bytes. A request or a line of text is no
/// longer: an action list or a group of 64 KiB, the most that OpenFlow can encode, has less text. So the
/// unfinished frames of all sessions together take little memory.
pub const MAX_REQUEST_BODY: usize = 1 << 20;

/// Size of a text frame that a sender should aim at, in bytes: large enough for few system calls, small enough
/// for little memory.
pub const TEXT_SIZE: usize = 256 << 10;

/// The kind of a frame, which says what its body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A [`Hello`](crate::Hello) in JSON: the first frame in each direction.
    Hello = 1,
    /// A [`Request`](crate::Request) in JSON, from the client.
    Request = 2,
    /// Whole lines of text in UTF-8, which belong to a request or to an answer.
    Text = 3,
    /// No body. The client ends the text of a request with this frame.
    End = 4,
    /// A `Result` of a [`Reply`](crate::Reply) or a [`Refusal`](crate::Refusal) in JSON: the daemon's answer,
    /// behind its text.
    Reply = 5,
    /// No body. The daemon sends this frame now and then while a client waits for a session or an answer and
    /// the switch makes progress, so that the client's time limit starts anew.
    Working = 6,
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
            6 => Self::Working,
            _ => return Err(FrameError::UnknownKind(byte)),
        })
    }
}

/// Why bytes are no frame of this protocol. The end of such bytes cannot be found, so the session is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A header states too large a body, or the body given to [`encode`] is too large.
    #[error("a message of {size} bytes is too long: the control protocol takes {max}")]
    TooLong {
        /// Size of the body in bytes.
        size: usize,
        /// Size of the largest body that is accepted, in bytes.
        max: usize,
    },
    /// A header has a kind that no [`Kind`] has.
    #[error("a message of kind {0} is unknown to the control protocol")]
    UnknownKind(u8),
}

/// Appends the header and the body of a frame to `out`.
///
/// # Errors
/// The body is longer than [`MAX_BODY`]. Then `out` is unchanged.
pub fn encode(out: &mut Vec<u8>, kind: Kind, body: &[u8]) -> Result<(), FrameError> {
    if body.len() > MAX_BODY {
        return Err(FrameError::TooLong { size: body.len(), max: MAX_BODY });
    }
    out.extend((body.len() as u32).to_be_bytes());
    out.push(kind as u8);
    out.extend(body);
    Ok(())
}

/// Splits a byte stream into frames.
#[derive(Debug)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// Offset of the next frame in `bytes`. The bytes in front of it belong to frames that were returned.
    start: usize,
    max_body: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(MAX_BODY)
    }
}

impl Decoder {
    /// A decoder at the beginning of a stream, which refuses bodies of more than `max_body` bytes.
    pub fn new(max_body: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, max_body }
    }

    /// Changes the size of the largest body that is accepted, in bytes, from the next frame on.
    pub fn set_max_body(&mut self, max_body: usize) {
        self.max_body = max_body;
    }

    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend(bytes);
    }

    /// Returns the next frame and moves on behind it; `None` if a part of it has not arrived.
    ///
    /// # Errors
    /// The bytes are no frame, or the frame is too long. Later calls return the same error.
    pub fn next_frame(&mut self) -> Result<Option<(Kind, &[u8])>, FrameError> {
        let Some((kind, size)) = self.arrived()? else {
            return Ok(None);
        };
        let at = self.start + HEADER_SIZE;
        self.start = at + size;
        Ok(Some((kind, &self.bytes[at..at + size])))
    }

    /// The kind of the frame that [`Decoder::next_frame`] would return; `None` if a part of it has not arrived.
    ///
    /// # Errors
    /// As [`Decoder::next_frame`].
    pub fn peek(&self) -> Result<Option<Kind>, FrameError> {
        Ok(self.arrived()?.map(|(kind, _)| kind))
    }

    /// Kind of the next frame and size of its body; `None` if a part of the frame has not arrived.
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

    /// How many bytes of an unfinished frame have arrived. If the stream ends while this is not 0,
    /// a frame was cut off.
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
