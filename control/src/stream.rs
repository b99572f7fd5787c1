//! Frames over anything that reads and writes: used by both sides of a session.

use crate::frame::{self, Decoder, FrameError, Kind, MAX_BODY, TEXT_SIZE};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind, Read, Write};

/// The conversation cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer is gone, or did not read or write for too long.
    #[error("the control connection failed")]
    Io(#[from] io::Error),
    /// The peer closed the connection in the middle of a message, or before answering.
    #[error("the control connection ended in the middle of the conversation")]
    CutOff,
    /// The peer does not speak this protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A body is not the JSON that its kind promises.
    #[error("a message of the control protocol cannot be read")]
    Json(#[from] serde_json::Error),
    /// A message of another kind was due.
    #[error("a message of kind {0:?} came out of turn")]
    OutOfTurn(Kind),
    /// The peer speaks another version of the protocol; the text is for the user.
    #[error("{0}")]
    Version(String),
}

impl StreamError {
    /// Whether the peer did not read or write for as long as the connection allows.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Io(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

/// Takes frames from a byte stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    from: R,
    decoder: Decoder,
    space: Box<[u8]>,
}

impl<R: Read> FrameReader<R> {
    /// A reader that has received nothing yet and refuses bodies longer than `max_body`, until
    /// [`FrameReader::set_max_body`].
    pub fn new(from: R, max_body: usize) -> Self {
        Self { from, decoder: Decoder::new(max_body), space: vec![0; 64 << 10].into() }
    }

    /// Changes the size of the bodies that are refused, in bytes.
    pub fn set_max_body(&mut self, max_body: usize) {
        self.decoder.set_max_body(max_body.min(MAX_BODY));
    }

    /// The next frame; `None` if the stream ended before it began.
    ///
    /// # Errors
    /// The stream failed, ended inside a frame, or holds something else than frames.
    pub fn next_frame(&mut self) -> Result<Option<(Kind, &[u8])>, StreamError> {
        while !self.decoder.has_frame()? {
            let n = match self.from.read(&mut self.space) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            if n == 0 {
                return match self.decoder.pending() {
                    0 => Ok(None),
                    _ => Err(StreamError::CutOff),
                };
            }
            self.decoder.feed(&self.space[..n]);
        }
        Ok(self.decoder.next_frame()?)
    }

    /// The body of the next frame, which has to be of this kind.
    ///
    /// # Errors
    /// As [`FrameReader::next_frame`]; it is of another kind; it is not a `T`.
    pub fn expect<T: DeserializeOwned>(&mut self, wanted: Kind) -> Result<T, StreamError> {
        match self.next_frame()? {
            Some((kind, body)) if kind == wanted => Ok(serde_json::from_slice(body)?),
            Some((kind, _)) => Err(StreamError::OutOfTurn(kind)),
            None => Err(StreamError::CutOff),
        }
    }
}

/// Puts frames into a byte stream.
#[derive(Debug)]
pub struct FrameWriter<W> {
    to: W,
    bytes: Vec<u8>,
}

impl<W: Write> FrameWriter<W> {
    /// A writer that sends nothing before the first [`FrameWriter::flush`].
    pub fn new(to: W) -> Self {
        Self { to, bytes: Vec::new() }
    }

    /// Adds a frame, and sends what has gathered once that is much.
    ///
    /// # Errors
    /// The body is too long, or the stream failed.
    pub fn put(&mut self, kind: Kind, body: &[u8]) -> Result<(), StreamError> {
        frame::encode(&mut self.bytes, kind, body)?;
        if self.bytes.len() >= TEXT_SIZE {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds a frame with a JSON body.
    ///
    /// # Errors
    /// As [`FrameWriter::put`].
    pub fn put_json<T: Serialize>(&mut self, kind: Kind, value: &T) -> Result<(), StreamError> {
        self.put(kind, &serde_json::to_vec(value)?)
    }

    /// Sends what has gathered.
    ///
    /// # Errors
    /// The stream failed.
    pub fn flush(&mut self) -> Result<(), StreamError> {
        self.to.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(self.to.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_pass_and_a_cut_is_noticed() {
        let mut bytes = Vec::new();
        let mut writer = FrameWriter::new(&mut bytes);
        writer.put_json(Kind::Reply, &vec![1, 2]).unwrap();
        writer.put(Kind::Text, b"a line\n").unwrap();
        writer.flush().unwrap();

        let mut reader = FrameReader::new(&bytes[..], MAX_BODY);
        assert_eq!(reader.expect::<Vec<u8>>(Kind::Reply).unwrap(), [1, 2]);
        assert_eq!(reader.next_frame().unwrap(), Some((Kind::Text, &b"a line\n"[..])));
        assert!(reader.next_frame().unwrap().is_none());

        let mut cut = FrameReader::new(&bytes[..bytes.len() - 1], MAX_BODY);
        cut.expect::<Vec<u8>>(Kind::Reply).unwrap();
        assert!(matches!(cut.next_frame(), Err(StreamError::CutOff)));
    }

    #[test]
    fn a_frame_of_another_kind_is_out_of_turn() {
        let bytes = [0, 0, 0, 0, Kind::End as u8];
        let mut reader = FrameReader::new(&bytes[..], MAX_BODY);
        assert!(matches!(reader.expect::<u8>(Kind::Reply), Err(StreamError::OutOfTurn(Kind::End))));
    }
}
