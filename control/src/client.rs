//! A blocking client of the daemon, which `ofctl`, the demo and tests use.
//!
//! [`Client::call`] makes any request. The other methods are shorter ways to make frequent ones. The caller
//! opens the connection and sets its timeouts.

use crate::frame::{Kind, MAX_BODY, MAX_REQUEST_BODY, TEXT_SIZE};
use crate::hello::Hello;
use crate::record::{
    Aggregate, ConnectionRecord, FdbRecord, FlowRecord, PortRecord, PortStatsRecord, SwitchRecord,
};
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::request::{FlowCommand, FlowMods, FlowQuery, Format, MonitorQuery, Operation, Request};
use crate::stream::{FrameReader, FrameWriter, StreamError};
use flow::ct_filter::CtFilter;
use std::io::{self, Read, Write};

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The daemon refused the request and changed nothing.
    #[error(transparent)]
    Refused(#[from] Box<Refusal>),
    /// The connection failed, or the peer violated the protocol. The session is over.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The daemon made no progress for as long as the connection's timeout. The session is over.
    #[error("the switch was silent while this program waited for {waited_for}")]
    Late {
        /// The step of the session that did not come: `the answer to dump-flows`.
        waited_for: String,
    },
    /// The caller's `text` could not be read. The daemon has an incomplete request, so the session is over.
    #[error("read the text of the request")]
    Source(#[source] io::Error),
    /// The caller's `sink` failed to take the answer.
    #[error("write the answer")]
    Sink(#[source] io::Error),
    /// A line of the caller's `text` does not fit into a frame. The session is over.
    #[error("line {line} is longer than {MAX_REQUEST_BODY} bytes: split it into shorter lines")]
    LineTooLong {
        /// The number of the line, from 1.
        line: usize,
    },
    /// The daemon sent a [`Reply`] of another kind than the operation has.
    #[error(
        "the switch answered something that does not fit the request: use programs from the same build"
    )]
    UnexpectedReply,
}

impl ClientError {
    /// The daemon's refusal; `None` for every other error.
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
    /// Begins a session on a new connection by exchanging [`Hello`]s. `program` is the client's name and
    /// version, for the daemon's messages.
    ///
    /// # Errors
    /// The connection failed, the peer does not speak this version of the protocol, or
    /// the daemon refuses the session.
    pub fn open(
        from: impl Read + Send + 'static,
        to: impl Write + Send + 'static,
        program: &str,
    ) -> Result<Self, ClientError> {
        let mut from = FrameReader::new(Box::new(from) as Box<dyn Read + Send>, MAX_BODY);
        let mut to = FrameWriter::new(Box::new(to) as Box<dyn Write + Send>);
        to.put_json(Kind::Hello, &Hello::new(program))?;
        let sent = to.flush();
        // A daemon that refuses the session sends a refusal and closes the connection,
        // even if `sent` has failed.
        let answer = match (next_answer(&mut from), sent) {
            (Ok(Some(frame)), _) => frame,
            (_, Err(error)) | (Err(error), Ok(())) => return Err(late(error, || "a session")),
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

    /// The daemon's [`Hello`]: its version and its bridges.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Sets the bridge that later requests are about. `None` is the only bridge of the switch.
    pub fn set_bridge(&mut self, bridge: Option<String>) {
        self.bridge = bridge;
    }

    /// The name of the bridge that requests are about: the one that was set, or the only one of the switch.
    /// `None` while several are there and none was set.
    pub fn bridge(&self) -> Option<&str> {
        match (&self.bridge, &*self.hello.bridges) {
            (Some(bridge), _) => Some(bridge),
            (None, [only]) => Some(only),
            _ => None,
        }
    }

    /// Makes a request and waits for its reply. If the operation takes text, all of `text` is sent. Text in the
    /// answer goes to `sink`, in pieces of whole lines.
    ///
    /// # Errors
    /// See [`ClientError`]. The session can go on after [`ClientError::Refused`], and after
    /// [`ClientError::Sink`] if the operation takes no text.
    pub fn call(
        &mut self,
        operation: Operation,
        text: &mut dyn Read,
        sink: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Reply, ClientError> {
        let name = operation.name().replace('_', "-");
        match self.send(operation, text) {
            Ok(()) => self.receive(sink).map_err(|error| match error {
                ClientError::Stream(error) => late(error, || format!("the answer to {name}")),
                error => error,
            }),
            Err(ClientError::Stream(error)) if error.is_timeout() => {
                Err(ClientError::Late { waited_for: format!("room to send {name}") })
            }
            // A daemon that closes the connection early has sent a refusal before.
            Err(error @ ClientError::Stream(StreamError::Io(_))) => {
                self.receive(sink).map_err(|refused| match refused {
                    ClientError::Refused(_) => refused,
                    _ => error,
                })
            }
            Err(error) => Err(error),
        }
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
            let (kind, body) = next_answer(&mut self.from)?.ok_or(StreamError::CutOff)?;
            match kind {
                Kind::Text if failed.is_none() => {
                    failed = sink(as_text(body)?).err();
                    // The reader of `sink` is gone. Returning closes the connection, and
                    // the daemon stops the dump.
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

    /// Subscribes to events. `started` is called once when the subscription has begun. `sink` gets the events
    /// as they happen, in pieces of whole lines, until the daemon closes the connection.
    ///
    /// # Errors
    /// See [`ClientError`]. The session is over after any of them.
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

    /// Makes a request of an operation without text. Text in the answer is dropped.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ask(&mut self, operation: Operation) -> Result<Reply, ClientError> {
        self.call(operation, &mut io::empty(), &mut |_| Ok(()))
    }

    /// Makes a request whose answer is text with one JSON record a line ([`Format::Json`]).
    ///
    /// # Errors
    /// See [`ClientError`]. A record that is not a `T` is [`ClientError::Sink`].
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

    /// Adds, modifies or deletes rules in one transaction. `text` is a file of rules, as `ofctl add-flows`
    /// takes it. Returns how many lines were carried out.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn change_flows(&mut self, command: FlowCommand, text: &str) -> Result<u64, ClientError> {
        let mods = FlowMods { command, file: true, ..FlowMods::default() };
        match self.call(Operation::FlowMods(mods), &mut text.as_bytes(), &mut |_| Ok(()))? {
            Reply::Changed(changed) => Ok(changed.count),
            _ => Err(ClientError::UnexpectedReply),
        }
    }

    /// Adds one rule, as `ofctl add-flow` takes it: `tcp,actions=output:2`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn add_flow(&mut self, rule: &str) -> Result<(), ClientError> {
        let mods = FlowMods::default();
        self.call(Operation::FlowMods(mods), &mut rule.as_bytes(), &mut |_| Ok(())).map(drop)
    }

    /// Deletes the rules that `filter` covers, as `ofctl del-flows` takes it. An
    /// empty filter covers every rule.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn del_flows(&mut self, filter: &str) -> Result<(), ClientError> {
        let mods = FlowMods { command: FlowCommand::Delete, ..FlowMods::default() };
        self.call(Operation::FlowMods(mods), &mut filter.as_bytes(), &mut |_| Ok(())).map(drop)
    }

    /// The rules that `filter` covers, with counters and ages. An empty filter covers every rule.
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

    /// The sums of the counters of the rules that `filter` covers. An empty filter covers every rule.
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

    /// The bridge and its ports.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn show(&mut self) -> Result<SwitchRecord, ClientError> {
        match self.ask(Operation::Show)? {
            Reply::Switch(switch) => Ok(switch),
            _ => Err(ClientError::UnexpectedReply),
        }
    }

    /// The ports of the bridge, without their counters.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ports(&mut self) -> Result<Vec<PortRecord>, ClientError> {
        match self.ask(Operation::DumpPortsDesc { port: None })? {
            Reply::Ports(ports) => Ok(ports),
            _ => Err(ClientError::UnexpectedReply),
        }
    }

    /// The counters of the bridge's ports.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn port_stats(&mut self) -> Result<Vec<PortStatsRecord>, ClientError> {
        match self.ask(Operation::DumpPorts { port: None })? {
            Reply::PortStats(stats) => Ok(stats),
            _ => Err(ClientError::UnexpectedReply),
        }
    }

    /// The entries of the bridge's MAC table, learned and static.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn fdb(&mut self) -> Result<Vec<FdbRecord>, ClientError> {
        self.list(Operation::FdbShow)
    }

    /// The connections of a zone, or of all zones.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn connections(&mut self, filter: CtFilter) -> Result<Vec<ConnectionRecord>, ClientError> {
        self.list(Operation::DumpConnections { filter })
    }
}

/// The next frame that is more than a sign of life; `None` at the end of the stream.
fn next_answer<R: Read>(from: &mut FrameReader<R>) -> Result<Option<(Kind, &[u8])>, StreamError> {
    while from.peek()? == Some(Kind::Working) {
        from.next_frame()?;
    }
    from.next_frame()
}

/// The error of a connection, or [`ClientError::Late`] if it is a timeout.
fn late<T: Into<String>>(error: StreamError, waited_for: impl FnOnce() -> T) -> ClientError {
    match error.is_timeout() {
        true => ClientError::Late { waited_for: waited_for().into() },
        false => error.into(),
    }
}

/// Sends text in frames of whole lines.
fn send_text<W: Write>(to: &mut FrameWriter<W>, text: &mut dyn Read) -> Result<(), ClientError> {
    let mut chunk = Vec::with_capacity(TEXT_SIZE);
    let mut lines = 0;
    loop {
        // Reading doubles an unfinished line each time, so that the search for its end
        // takes linear time in all.
        let want = TEXT_SIZE.max(chunk.len());
        let got = text.take(want as u64).read_to_end(&mut chunk).map_err(ClientError::Source)?;
        if got == 0 {
            break;
        }
        let Some(newline) = chunk.iter().rposition(|&b| b == b'\n') else {
            if chunk.len() > MAX_REQUEST_BODY {
                return Err(ClientError::LineTooLong { line: lines + 1 });
            }
            continue;
        };
        if newline >= MAX_REQUEST_BODY {
            return Err(ClientError::LineTooLong { line: lines + 1 });
        }
        lines += chunk[..=newline].iter().filter(|&&b| b == b'\n').count();
        to.put(Kind::Text, &chunk[..=newline])?;
        chunk.drain(..=newline);
    }
    if chunk.len() > MAX_REQUEST_BODY {
        return Err(ClientError::LineTooLong { line: lines + 1 });
    }
    if !chunk.is_empty() {
        to.put(Kind::Text, &chunk)?;
    }
    Ok(())
}

/// The body of a frame of kind [`Kind::Text`], which has to be UTF-8.
fn as_text(body: &[u8]) -> Result<&str, StreamError> {
    std::str::from_utf8(body)
        .map_err(|e| StreamError::Io(io::Error::new(io::ErrorKind::InvalidData, e)))
}

/// The refusal in a [`Kind::Reply`] that the daemon sends instead of its `Hello`.
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
    use crate::reply::Changed;
    use std::sync::{Arc, Mutex};

    /// The bytes that a client has sent.
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

    /// A client of a daemon that sends these frames behind its `Hello`, whatever it receives.
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
        let (mut client, sent) =
            client(&[reply(Ok(Reply::Changed(Changed { count: 2, ..Changed::default() })))]);
        assert_eq!(client.change_flows(FlowCommand::Add, "a\nb").unwrap(), 2);
        let frames = sent.frames();
        let kinds: Vec<_> = frames.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Hello, Kind::Request, Kind::Text, Kind::Text, Kind::End]);
        assert_eq!((frames[2].1.as_str(), frames[3].1.as_str()), ("a\n", "b"));
    }

    #[test]
    fn long_texts_travel_in_chunks_of_whole_lines() {
        let (mut client, sent) = client(&[reply(Ok(Reply::Changed(Changed::default())))]);
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
        let text = "a\n".to_owned() + &"x".repeat(MAX_REQUEST_BODY + 1);
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
    fn signs_of_life_are_no_answer() {
        let working = || (Kind::Working, String::new());
        let says = [working(), working(), reply(Ok(Reply::Done)), working()];
        let (mut client, _) = client(&says);
        assert_eq!(client.ask(Operation::Sync).unwrap(), Reply::Done);
        assert!(matches!(
            client.ask(Operation::Sync),
            Err(ClientError::Stream(StreamError::CutOff))
        ));
    }

    #[test]
    fn a_silent_daemon_is_told_with_what_was_waited_for() {
        /// Gives a `Hello`, and then no more within the time limit.
        struct Silent(io::Cursor<Vec<u8>>);
        impl Read for Silent {
            fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
                match self.0.read(space)? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    n => Ok(n),
                }
            }
        }
        let waited_for = |error| match error {
            ClientError::Late { waited_for } => waited_for,
            other => panic!("{other}"),
        };
        let silent = Silent(io::Cursor::default());
        let error = Client::open(silent, io::sink(), "test").unwrap_err();
        assert_eq!(waited_for(error), "a session");
        let mut bytes = Vec::new();
        let hello = serde_json::to_vec(&Hello::new("switchd")).unwrap();
        crate::frame::encode(&mut bytes, Kind::Hello, &hello).unwrap();
        let mut client = Client::open(Silent(io::Cursor::new(bytes)), io::sink(), "test").unwrap();
        let error = client.ask(Operation::DumpTables).unwrap_err();
        assert_eq!(waited_for(error), "the answer to dump-tables");
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
        let told = format!("switchd 9.0 speaks version {PROTOCOL_OF_TOMORROW} of");
        assert!(error.to_string().contains(&told), "{error}");
    }

    const PROTOCOL_OF_TOMORROW: u32 = crate::PROTOCOL + 1;
}
