//! One session: greetings, then requests until the client leaves or misbehaves.

use super::answer::Sender;
use super::dispatch;
use super::peer::Peer;
use super::progress::Outlet;
use super::restart;
use super::sessions::{Phase, SessionState, Shared};
use crate::edition;
use control::frame::{Kind, MAX_REQUEST_BODY};
use control::stream::{FrameReader, FrameWriter, StreamError};
use control::{Hello, Operation, Reason, Refusal, Reply, Request};
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A client may think this long between two requests, or between two pieces of one.
const READ_TIMEOUT: Duration = Duration::from_secs(600);
/// A client has to say who it is within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that takes nothing for this long has gone, or might as well.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The greeting and the requests are small; only text is not.
const MAX_HELLO: usize = 4096;

/// Limits how long the session's thread may wait for its client.
pub(super) fn set_timeouts(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(HELLO_TIMEOUT))?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))
}

/// Serves one client to the end.
pub(super) fn run(
    shared: &Shared,
    state: &SessionState,
    stream: UnixStream,
) -> Result<(), StreamError> {
    let mut from = FrameReader::new(&stream, MAX_HELLO);
    let mut to = FrameWriter::new(Outlet::new(&stream, &state.writing, &shared.progress));
    let result = converse(shared, state, &stream, &mut from, &mut to);
    // Whoever is sent away is told why, as far as possible.
    let refusal = match &result {
        _ if state.is_evicted() => {
            let message = "the session was idle while other clients waited for one";
            Refusal::new(Reason::Limit, message).with_hint("try again")
        }
        Err(e @ (StreamError::Frame(_) | StreamError::Json(_) | StreamError::OutOfTurn(_))) => {
            Refusal::new(Reason::Protocol, e.to_string())
        }
        _ => return result,
    };
    to.put_json(Kind::Reply, &Err::<Reply, _>(refusal))?;
    to.flush()?;
    result
}

fn converse(
    shared: &Shared,
    state: &SessionState,
    stream: &UnixStream,
    from: &mut FrameReader<&UnixStream>,
    to: &mut Sender<'_>,
) -> Result<(), StreamError> {
    // A connection without a word is somebody who looks whether we live.
    let hello: Hello = match from.next_frame()? {
        None => return Ok(()),
        Some((Kind::Hello, body)) => serde_json::from_slice(body)?,
        Some((kind, _)) => return Err(StreamError::OutOfTurn(kind)),
    };
    let peer = Peer::of(stream);
    let mut ours = Hello::new(edition::program());
    ours.bridges = shared.switch.bridge_names();
    to.put_json(Kind::Hello, &ours)?;
    to.flush()?;
    // The client compares the versions too, and has the user's ear.
    hello.check().map_err(StreamError::Version)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    from.set_max_body(MAX_REQUEST_BODY);
    loop {
        state.enter(Phase::Receiving(Instant::now()));
        let request: Request = match from.next_frame()? {
            None => return Ok(()),
            Some((Kind::Request, body)) => serde_json::from_slice(body)?,
            Some((kind, _)) => return Err(StreamError::OutOfTurn(kind)),
        };
        if let Operation::Monitor(query) = &request.operation {
            match dispatch::monitor(&shared.switch, &request, query) {
                Ok(watch) => {
                    to.put_json(Kind::Reply, &Ok::<_, Refusal>(Reply::Done))?;
                    to.flush()?;
                    state.enter(Phase::Watching);
                    return watch.follow(stream, to);
                }
                Err(refusal) => to.put_json(Kind::Reply, &Err::<Reply, _>(refusal))?,
            }
            to.flush()?;
            continue;
        }
        if request.operation == Operation::Restart {
            state.enter(Phase::Working);
            restart::answer(shared, to)?;
            continue;
        }
        let mut text = shared.texts.text();
        let mut fits = true;
        if request.operation.takes_text() {
            fits = receive_text(from, state, &mut text)?;
        }
        state.enter(Phase::Working);
        let result = match fits {
            true => {
                let progress = &shared.progress;
                let (switch, text) = (&shared.switch, text.bytes());
                dispatch::carry_out(switch, &request, peer.user(), text, progress, to)?
            }
            false => Err(super::refuse::too_much_text()),
        };
        peer.tell(&request, &result);
        // Before the answer, so that nothing of the request is left when it is there.
        drop(text);
        to.put_json(Kind::Reply, &result)?;
        to.flush()?;
    }
}

/// Takes the text of a request; false if it is more than the switch can hold, and nothing is kept.
fn receive_text(
    from: &mut FrameReader<&UnixStream>,
    state: &SessionState,
    text: &mut super::text_budget::Text<'_>,
) -> Result<bool, StreamError> {
    let mut fits = true;
    loop {
        state.enter(Phase::Receiving(Instant::now()));
        match from.next_frame()?.ok_or(StreamError::CutOff)? {
            (Kind::Text, _) if !fits => {}
            (Kind::Text, chunk) => {
                fits = text.push(chunk);
                if !fits {
                    text.clear();
                }
            }
            (Kind::End, _) => return Ok(fits),
            (kind, _) => return Err(StreamError::OutOfTurn(kind)),
        }
    }
}
