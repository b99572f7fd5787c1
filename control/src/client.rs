//! A blocking client, for `ofctl`, the demo and the tests.
//!
//! [`Client::call`] is the whole protocol; the other functions are the requests that programs make
//! most, without the ceremony. The caller opens the connection and sets its timeouts.

use crate::frame::{Kind, MAX_BODY, TEXT_SIZE};
use crate::hello::Hello;
use crate::record::{Aggregate, FdbRecord, FlowRecord, PortRecord, PortStatsRecord, SwitchRecord};
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::request::{FlowCommand, FlowMods, FlowQuery, Format, MonitorQuery, Operation, Request};
use crate::stream::{FrameReader, FrameWriter, StreamError};
use std::io::{self, Read, Write};

/// A request got no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The daemon understood the request and did not carry it out.
    #[error(transparent)]
    Refused(#[from] Box<Refusal>),
    /// The connection broke, or what came through it was not this protocol.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The text of the request could not be read.
    #[error("read the text of the request")]
    Source(#[source] io::Error),
    /// What came back could not be passed on.
    #[error("write the answer")]
    Sink(#[source] io::Error),
    /// A line of a request does not fit a message.
    #[error("line {line} is longer than {MAX_BODY} bytes")]
    LineTooLong {
        /// The number of the line, from 1.
        line: usize,
    },
    /// The daemon's answer does not belong to the request.
    #[error("the switch answered something that does not fit the request")]
    UnexpectedReply,
}

impl ClientError {
    /// The daemon's refusal, if that is what it is.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// A session with a daemon.
pub struct Client {
    from: FrameReader<Box<dyn Read + Send>>,
    to: FrameWriter<Box<dyn Write + Send>>,
    hello: Hello,
    bridge: Option<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("hello", &self.hello).finish_non_exhaustive()
    }
}

impl Client {
    /// Exchanges greetings on a fresh connection. `program` is who we are.
    ///
    /// # Errors
    /// The connection failed, the peer is not a daemon of this protocol's version, or it refuses.
    pub fn open(
        from: impl Read + Send + 'static,
        to: impl Write + Send + 'static,
        program: &str,
    ) -> Result<Self, ClientError> {
        let mut from = FrameReader::new(Box::new(from) as Box<dyn Read + Send>, MAX_BODY);
        let mut to = FrameWriter::new(Box::new(to) as Box<dyn Write + Send>);
        to.put_json(Kind::Hello, &Hello::new(program))?;
        let sent = to.flush();
        // A daemon that has no time hangs up, and says why first.
        let answer = match (from.next_frame(), sent) {
            (Ok(Some(frame)), _) => frame,
            (_, Err(error)) | (Err(error), Ok(())) => return Err(error.into()),
            (Ok(None), Ok(())) => return Err(StreamError::CutOff.into()),
        };
        let hello: Hello = match answer {
            (Kind::Hello, body) => serde_json::from_slice(body).map_err(StreamError::from)?,
            (Kind::Reply, body) => return Err(refusal(body)?.into()),
            (kind, _) => return Err(StreamError::OutOfTurn(kind).into()),
        };
        hello.check().map_err(StreamError::Version)?;
        Ok(Self { from, to, hello, bridge: None })
    }

    /// What the daemon said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Names the bridge that all further requests are about.
    pub fn set_bridge(&mut self, bridge: Option<String>) {
        self.bridge = bridge;
    }

    /// Makes a request. `text` is sent with it, if it takes text; streamed answers go to `sink`,
    /// piece by piece, each of whole lines.
    ///
    /// # Errors
    /// See [`ClientError`]. After a [`ClientError::Refused`] or a [`ClientError::Sink`] from a
    /// request without text the session can go on.
    pub fn call(
        &mut self,
        operation: Operation,
        text: &mut dyn Read,
        sink: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Reply, ClientError> {
        let sent = self.send(operation, text);
        if let Err(ClientError::Stream(StreamError::Io(_))) = sent {
            // A daemon that hangs up says why first.
            return self.receive(sink).map_err(|e| match e {
                ClientError::Refused(_) => e,
                _ => sent.err().unwrap_or(e),
            });
        }
        sent?;
        self.receive(sink)
    }

    fn send(&mut self, operation: Operation, text: &mut dyn Read) -> Result<(), ClientError> {
        let takes_text = operation.takes_text();
        let request = Request { bridge: self.bridge.clone(), operation };
        self.to.put_json(Kind::Request, &request)?;
        if takes_text {
            send_text(&mut self.to, text)?;
            self.to.put(Kind::End, b"")?;
        }
        Ok(self.to.flush()?)
    }

    fn receive(
        &mut self,
        sink: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Reply, ClientError> {
        let mut failed = None;
        loop {
            let (kind, body) = self.from.next_frame()?.ok_or(StreamError::CutOff)?;
            match kind {
                Kind::Text if failed.is_none() => {
                    failed = sink(as_text(body)?).err();
                    // Nobody reads on, so the daemon need not go on.
                    if failed.as_ref().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
                        break;
                    }
                }
                Kind::Text => {}
                Kind::Reply if failed.is_some() => break,
                Kind::Reply => {
                    let result: Result<Reply, Box<Refusal>> =
                        serde_json::from_slice(body).map_err(StreamError::from)?;
                    return Ok(result?);
                }
                _ => return Err(StreamError::OutOfTurn(kind).into()),
            }
        }
        Err(failed.map_or(ClientError::UnexpectedReply, ClientError::Sink))
    }

    /// Asks to be told of events. `sink` gets them as they come, in pieces of whole lines, until the daemon
    /// ends the session.
    ///
    /// # Errors
    /// See [`ClientError`]; among them that `sink` failed.
    pub fn monitor(
        &mut self,
        query: MonitorQuery,
        started: impl FnOnce(),
        sink: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        match self.ask(Operation::Monitor(query))? {
            Reply::Done => started(),
            _ => return Err(ClientError::UnexpectedReply),
        }
        while let Some((kind, body)) = self.from.next_frame()? {
            match kind {
                Kind::Text => sink(as_text(body)?).map_err(ClientError::Sink)?,
                _ => return Err(StreamError::OutOfTurn(kind).into()),
            }
        }
        Ok(())
    }

    /// Makes a request that neither takes nor streams text.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ask(&mut self, operation: Operation) -> Result<Reply, ClientError> {
        self.call(operation, &mut io::empty(), &mut |_| Ok(()))
    }

    /// Makes a request whose answer is a stream of JSON records.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn list<T: serde::de::DeserializeOwned>(
        &mut self,
        operation: Operation,
    ) -> Result<Vec<T>, ClientError> {
        let mut records = Vec::new();
        self.call(operation, &mut io::empty(), &mut |text| {
            for line in text.lines() {
                records.push(serde_json::from_str(line)?);
            }
            Ok(())
        })?;
        Ok(records)
    }

    /// Changes rules, all or none: the lines of a file of rules.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn change_flows(&mut self, command: FlowCommand, text: &str) -> Result<u64, ClientError> {
        let mods = FlowMods { command, file: true, ..FlowMods::default() };
        match self.call(Operation::FlowMods(mods), &mut text.as_bytes(), &mut |_| Ok(()))? {
            Reply::Changed(n) => Ok(n),
            _ => Err(ClientError::UnexpectedReply),
        }
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn add_flow(&mut self, rule: &str) -> Result<(), ClientError> {
        let mods = FlowMods::default();
        self.call(Operation::FlowMods(mods), &mut rule.as_bytes(), &mut |_| Ok(())).map(drop)
    }

    /// Deletes the rules that `filter` covers; an empty one covers all.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn del_flows(&mut self, filter: &str) -> Result<(), ClientError> {
        let mods = FlowMods { command: FlowCommand::Delete, ..FlowMods::default() };
        self.call(Operation::FlowMods(mods), &mut filter.as_bytes(), &mut |_| Ok(())).map(drop)
    }

    /// Lists the rules that `filter` covers; an empty one covers all.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn flows(&mut self, filter: &str) -> Result<Vec<FlowRecord>, ClientError> {
        let filter = filter.to_owned();
        self.list(Operation::DumpFlows(FlowQuery {
            filter,
            format: Format::Json,
            ages: true,
            ..FlowQuery::default()
        }))
    }

    /// Adds up the counters of the rules that `filter` covers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn aggregate(&mut self, filter: &str) -> Result<Aggregate, ClientError> {
        let query = FlowQuery { filter: filter.to_owned(), ..FlowQuery::default() };
        match self.ask(Operation::DumpAggregate(query))? {
            Reply::Aggregate(sums) => Ok(sums),
            _ => Err(ClientError::UnexpectedReply),
        }
    }

    /// The switch and its ports.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn show(&mut self) -> Result<SwitchRecord, ClientError> {
        match self.ask(Operation::Show)? {
            Reply::Switch(switch) => Ok(switch),
            _ => Err(ClientError::UnexpectedReply),
        }
    }

    /// The ports.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ports(&mut self) -> Result<Vec<PortRecord>, ClientError> {
        match self.ask(Operation::DumpPortsDesc { port: None })? {
            Reply::Ports(ports) => Ok(ports),
            _ => Err(ClientError::UnexpectedReply),
        }
    }

    /// The ports' counters.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn port_stats(&mut self) -> Result<Vec<PortStatsRecord>, ClientError> {
        match self.ask(Operation::DumpPorts { port: None })? {
            Reply::PortStats(stats) => Ok(stats),
            _ => Err(ClientError::UnexpectedReply),
        }
    }

    /// The hosts that were learned.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn fdb(&mut self) -> Result<Vec<FdbRecord>, ClientError> {
        self.list(Operation::FdbShow)
    }
}

/// Sends text in chunks of whole lines.
fn send_text<W: Write>(to: &mut FrameWriter<W>, text: &mut dyn Read) -> Result<(), ClientError> {
    let mut chunk = Vec::with_capacity(TEXT_SIZE);
    let mut lines = 0;
    loop {
        // As much again as is left over from before, so that a long line is not searched often.
        let want = TEXT_SIZE.max(chunk.len());
        let got = text.take(want as u64).read_to_end(&mut chunk).map_err(ClientError::Source)?;
        if got == 0 {
            break;
        }
        let Some(newline) = chunk.iter().rposition(|&b| b == b'\n') else {
            if chunk.len() > MAX_BODY {
                return Err(ClientError::LineTooLong { line: lines + 1 });
            }
            continue;
        };
        if newline >= MAX_BODY {
            return Err(ClientError::LineTooLong { line: lines + 1 });
        }
        lines += chunk[..=newline].iter().filter(|&&b| b == b'\n').count();
        to.put(Kind::Text, &chunk[..=newline])?;
        chunk.drain(..=newline);
    }
    if chunk.len() > MAX_BODY {
        return Err(ClientError::LineTooLong { line: lines + 1 });
    }
    if !chunk.is_empty() {
        to.put(Kind::Text, &chunk)?;
    }
    Ok(())
}

/// The body of a frame of text.
fn as_text(body: &[u8]) -> Result<&str, StreamError> {
    std::str::from_utf8(body)
        .map_err(|e| StreamError::Io(io::Error::new(io::ErrorKind::InvalidData, e)))
}

/// A reply that has to be a refusal: the daemon does not want to talk.
fn refusal(body: &[u8]) -> Result<Box<Refusal>, ClientError> {
    match serde_json::from_slice(body).map_err(StreamError::from)? {
        Err(refusal) => Ok(refusal),
        Ok::<Reply, Box<Refusal>>(_) => Err(ClientError::UnexpectedReply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Reason;
    use std::sync::{Arc, Mutex};

    /// What a client sent, as (kind, body).
    #[derive(Clone, Default)]
    struct Sent(Arc<Mutex<Vec<u8>>>);

    impl Write for Sent {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sent {
        fn frames(&self) -> Vec<(Kind, String)> {
            let bytes = self.0.lock().unwrap().clone();
            let mut reader = FrameReader::new(&bytes[..], MAX_BODY);
            let mut frames = Vec::new();
            while let Some((kind, body)) = reader.next_frame().unwrap() {
                frames.push((kind, String::from_utf8(body.to_vec()).unwrap()));
            }
            frames
        }
    }

    /// A client of a daemon that says these things whatever it hears.
    fn client(says: &[(Kind, String)]) -> (Client, Sent) {
        let mut bytes = Vec::new();
        crate::frame::encode(
            &mut bytes,
            Kind::Hello,
            &serde_json::to_vec(&Hello::new("switchd")).unwrap(),
        )
        .unwrap();
        for (kind, body) in says {
            crate::frame::encode(&mut bytes, *kind, body.as_bytes()).unwrap();
        }
        let sent = Sent::default();
        (Client::open(io::Cursor::new(bytes), sent.clone(), "test").unwrap(), sent)
    }

    fn reply(result: Result<Reply, Refusal>) -> (Kind, String) {
        (Kind::Reply, serde_json::to_string(&result).unwrap())
    }

    #[test]
    fn a_transaction_is_request_text_and_end() {
        let (mut client, sent) = client(&[reply(Ok(Reply::Changed(2)))]);
        assert_eq!(client.change_flows(FlowCommand::Add, "a\nb").unwrap(), 2);
        let frames = sent.frames();
        let kinds: Vec<_> = frames.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Hello, Kind::Request, Kind::Text, Kind::Text, Kind::End]);
        assert_eq!((frames[2].1.as_str(), frames[3].1.as_str()), ("a\n", "b"));
    }

    #[test]
    fn long_texts_travel_in_chunks_of_whole_lines() {
        let (mut client, sent) = client(&[reply(Ok(Reply::Changed(0)))]);
        let line = format!("{}\n", "x".repeat(999));
        let text = line.repeat(1000) + "the end";
        client.change_flows(FlowCommand::Add, &text).unwrap();
        let frames = sent.frames();
        let chunks: Vec<_> = frames.iter().filter(|(kind, _)| *kind == Kind::Text).collect();
        assert!(chunks.len() > 3);
        assert!(chunks[..chunks.len() - 1].iter().all(|(_, text)| text.ends_with('\n')));
        assert_eq!(chunks.iter().map(|(_, text)| text.as_str()).collect::<String>(), text);
    }

    #[test]
    fn a_line_that_fits_no_message_is_refused() {
        let (mut client, _) = client(&[]);
        let text = "a\n".to_owned() + &"x".repeat(MAX_BODY + 1);
        let error = client.change_flows(FlowCommand::Add, &text).unwrap_err();
        assert!(matches!(error, ClientError::LineTooLong { line: 2 }), "{error}");
    }

    #[test]
    fn a_refusal_is_an_error_and_the_session_goes_on() {
        let refusal = Refusal::new(Reason::Switch, "table full");
        let (mut client, _) = client(&[reply(Err(refusal.clone())), reply(Ok(Reply::Done))]);
        let error = client.add_flow("actions=drop").unwrap_err();
        assert_eq!(error.refusal(), Some(&refusal));
        assert_eq!(client.ask(Operation::Sync).unwrap(), Reply::Done);
    }

    #[test]
    fn a_monitor_hears_until_the_daemon_ends_the_session() {
        let says = [
            reply(Ok(Reply::Done)),
            (Kind::Text, "one\n".to_owned()),
            (Kind::Text, "two\nthree\n".to_owned()),
        ];
        let (mut client, _) = client(&says);
        let (mut heard, mut has_started) = (String::new(), false);
        let result = client.monitor(MonitorQuery::default(), || has_started = true, &mut |text| {
            heard += text;
            Ok(())
        });
        result.unwrap();
        assert_eq!((has_started, heard.as_str()), (true, "one\ntwo\nthree\n"));
    }

    #[test]
    fn a_list_is_records_in_text() {
        let records =
            "{\"port\":1,\"name\":\"p1\",\"vlan\":0,\"mac\":\"02:00:00:00:00:01\",\"age\":3}\n";
        let says = [
            (Kind::Text, records.to_owned()),
            (Kind::Text, records.to_owned()),
            reply(Ok(Reply::Listed(2))),
        ];
        let (mut client, _) = client(&says);
        assert_eq!(client.fdb().unwrap().len(), 2);
    }

    #[test]
    fn a_daemon_of_another_version_is_not_talked_to() {
        let hello = Hello { protocol: PROTOCOL_OF_TOMORROW, ..Hello::new("switchd 9.0") };
        let mut bytes = Vec::new();
        let body = serde_json::to_vec(&hello).unwrap();
        crate::frame::encode(&mut bytes, Kind::Hello, &body).unwrap();
        let error = Client::open(io::Cursor::new(bytes), io::sink(), "test").unwrap_err();
        assert!(error.to_string().contains("switchd 9.0 speaks version 2"), "{error}");
    }

    const PROTOCOL_OF_TOMORROW: u32 = crate::PROTOCOL + 1;
}
