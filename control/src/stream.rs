//! Sends and receives frames over anything that implements `Write` and `Read`. Client and
//! daemon both use this module.

use crate::frame::{self, Decoder, FrameError, Kind, MAX_BODY, TEXT_SIZE};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind, Read, Write};

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Reading from or writing to the connection failed, or the peer exceeded a timeout of the connection.
    #[error("the control connection failed")]
    Io(#[from] io::Error),
    /// The peer closed the connection inside a frame, or before it answered a request.
    #[error("the control connection ended in the middle of the conversation")]
    CutOff,
    /// The peer sent bytes that are no frame of this protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The body of a frame is not the JSON that frames of its kind have.
    #[error("a message of the control protocol cannot be read")]
    Json(#[from] serde_json::Error),
    /// The peer sent a frame of this kind where the protocol wants another kind.
    #[error("a message of kind {0:?} came out of turn")]
    OutOfTurn(Kind),
    /// The peer speaks another version of the protocol. The text is [`Hello::check`](crate::Hello::check)'s.
    #[error("{0}")]
    Version(String),
}

impl StreamError {
    /// Whether the peer exceeded a timeout of the connection.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Io(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

/// Receives frames from a byte stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    from: R,
    decoder: Decoder,
    space: Box<[u8]>,
}

impl<R: Read> FrameReader<R> {
    /// A reader at the beginning of a stream, which refuses bodies of more than `max_body` bytes until
    /// [`FrameReader::set_max_body`] is called.
    pub fn new(from: R, max_body: usize) -> Self {
        Self { from, decoder: Decoder::new(max_body), space: vec![0; 64 << 10].into() }
    }

    /// Changes the size of the largest body that is accepted, in bytes. [`MAX_BODY`] remains the limit.
    pub fn set_max_body(&mut self, max_body: usize) {
        self.decoder.set_max_body(max_body.min(MAX_BODY));
    }

    /// Waits for the next frame and returns its kind, but leaves the frame for [`FrameReader::next_frame`].
    /// `None` if the stream ended at the end of a frame.
    ///
    /// # Errors
    /// The stream failed, ended inside a frame, or has bytes that are no frame.
    pub fn peek(&mut self) -> Result<Option<Kind>, StreamError> {
        loop {
            if let Some(kind) = self.decoder.peek()? {
                return Ok(Some(kind));
            }
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
    }

    /// Waits for the next frame; `None` if the stream ended at the end of a frame.
    ///
    /// # Errors
    /// As [`FrameReader::peek`].
    pub fn next_frame(&mut self) -> Result<Option<(Kind, &[u8])>, StreamError> {
        self.peek()?;
        Ok(self.decoder.next_frame()?)
    }

    /// Waits for the next frame, which has to be of the wanted kind, and parses its JSON body.
    ///
    /// # Errors
    /// As [`FrameReader::next_frame`]. Also, the stream has ended, the frame is of another kind, or
    /// its body is no `T`.
    pub fn expect<T: DeserializeOwned>(&mut self, wanted: Kind) -> Result<T, StreamError> {
        match self.next_frame()? {
            Some((kind, body)) if kind == wanted => Ok(serde_json::from_slice(body)?),
            Some((kind, _)) => Err(StreamError::OutOfTurn(kind)),
            None => Err(StreamError::CutOff),
        }
    }
}

/// Sends frames to a byte stream, many of them with one system call.
#[derive(Debug)]
pub struct FrameWriter<W> {
    to: W,
    bytes: Vec<u8>,
}

impl<W: Write> FrameWriter<W> {
    /// A writer that has no frames yet.
    pub fn new(to: W) -> Self {
        Self { to, bytes: Vec::new() }
    }

    /// Adds a frame to the buffer, and sends the buffer if it has [`TEXT_SIZE`] bytes or more.
    ///
    /// # Errors
    /// The body is longer than [`MAX_BODY`], and the frame was not added; or the stream failed.
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

    /// Sends the frames in the buffer and flushes the stream.
    ///
    /// # Errors
    /// The stream failed. A part of the frames may have been sent, so the session is over.
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
