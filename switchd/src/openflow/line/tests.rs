//! Who writes to a peer and listens to it, and in which order.

use super::*;
use crossbeam::channel;
use flow::key::PipelineKey;
use flow::types::OfPort;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

fn encoding() -> Encoding {
    Encoding::new(OfVersion::OpenFlow13)
}

struct Connection {
    line: Line,
    outbox: Outbox,
    near: UnixStream,
    far: UnixStream,
}

impl Connection {
    fn new() -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        Self { line: Line::default(), outbox: Outbox::new().unwrap(), near, far }
    }

    /// Lends the line, and returns at what the thread sleeps.
    fn lend(&self) -> Readiness {
        self.lend_with(true, None)
    }

    fn lend_with(
        &self,
        is_between_messages: bool,
        under_way: Option<Receiver<Injected>>,
    ) -> Readiness {
        let stream = SecondStream::new(Box::new(self.near.try_clone().unwrap())).unwrap();
        let readiness = stream.readiness();
        let encoding = encoding();
        self.line.lend(Way { stream, encoding, is_between_messages, under_way });
        readiness
    }

    /// Looks once, and carries every packet-out out. Returns whether the line is still listened to, and the
    /// ports from which the packets seem to come.
    fn look(&self) -> (bool, Vec<u16>) {
        let mut ports = Vec::new();
        let still_listens = self.line.look(|packet, version| {
            assert_eq!(version, encoding().version);
            ports.push(packet.in_port.0);
            true
        });
        (still_listens, ports)
    }

    /// What the thread can read.
    fn left(&mut self) -> Vec<u8> {
        let mut left = vec![0; 1 << 16];
        let count = self.near.read(&mut left).unwrap();
        left.truncate(count);
        left
    }

    /// Sends what the peer says.
    fn say(&mut self, messages: &[&[u8]]) {
        self.far.write_all(&messages.concat()).unwrap();
    }

    fn write(&self, message: &OfMessage) -> Result<(), NotFree> {
        self.line.write(&self.outbox, message, || true)
    }

    /// Everything that the peer can read.
    fn read(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let error = self.far.read_to_end(&mut all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        all
    }
}

fn message(size: usize) -> OfMessage {
    OfMessage::EchoRequest(vec![7; size])
}

/// A packet-out whose packet seems to come from a port.
fn packet_out(port: u16) -> Vec<u8> {
    let (in_port, state) = (OfPort(port), PipelineKey::default());
    let packet = PacketOut { in_port, packet: vec![2; 60], state, actions: Vec::new() };
    OfMessage::PacketOut(Box::new(packet)).encode(encoding(), port.into())
}

fn is_readable(it: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(it.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
}

#[test]
fn a_message_is_written_while_the_line_is_lent_and_the_outbox_is_empty() {
    let mut connection = Connection::new();
    connection.write(&message(0)).unwrap_err();
    connection.lend();
    connection.write(&message(1)).unwrap();
    assert_eq!(connection.read(), message(1).encode(encoding(), 0));
    connection.outbox.put(Arc::new(message(2)), 1).unwrap();
    connection.write(&message(3)).unwrap_err();
    connection.outbox.take();
    connection.write(&message(4)).unwrap();
    assert!(connection.line.take_back().rest.is_empty());
    connection.write(&message(5)).unwrap_err();
    assert_eq!(connection.read(), message(4).encode(encoding(), 0));
}

#[test]
fn a_message_beyond_a_limit_is_not_written_and_the_limit_is_asked_only_if_it_could_be() {
    let mut connection = Connection::new();
    let refuse = || false;
    connection.line.write(&connection.outbox, &message(0), || panic!("asked")).unwrap_err();
    connection.lend();
    connection.line.write(&connection.outbox, &message(0), refuse).unwrap();
    assert!(connection.read().is_empty());
    let held = connection.line.0.lock();
    connection.line.write(&connection.outbox, &message(0), || panic!("asked")).unwrap_err();
    drop(held);
}

#[test]
fn what_the_peer_does_not_take_is_left_to_the_thread() {
    let mut connection = Connection::new();
    connection.lend();
    assert!(connection.outbox.fall_asleep());
    let message = message(30_000);
    let mut written = 0;
    while connection.write(&message).is_ok() {
        written += 1;
    }
    assert!(is_readable(&connection.outbox), "the thread is woken");
    let mut all = connection.read();
    connection.write(&message).unwrap_err();
    let TakenBack { stream, rest, .. } = connection.line.take_back();
    assert!(stream.is_some() && !rest.is_empty());
    all.extend(rest);
    assert!(all == message.encode(encoding(), 0).repeat(written));
}

#[test]
fn what_a_peer_sends_wakes_the_thread_only_while_nobody_listens() {
    let mut connection = Connection::new();
    let readiness = connection.lend();
    assert!(connection.line.listen() && !connection.line.listen(), "one listens");
    assert_eq!(connection.look(), (true, vec![]));
    connection.say(&[&packet_out(1)]);
    assert!(!is_readable(&readiness));
    assert_eq!(connection.look(), (true, vec![1]));
    connection.say(&[&packet_out(2), &packet_out(3)]);
    assert_eq!(connection.look(), (true, vec![2, 3]));
    assert_eq!(connection.line.carried_out(), 3);
    connection.say(&[&packet_out(4)]);
    connection.line.end_listening();
    assert!(is_readable(&readiness));
    assert_eq!(connection.look(), (false, vec![]));
    assert!(connection.line.take_back().heard_at.is_some());
    assert!(connection.line.take_back().heard_at.is_none());
    assert_eq!(connection.left(), packet_out(4));
}

#[test]
fn what_is_no_packet_out_is_left_to_the_thread_with_everything_behind_it() {
    let barrier = OfMessage::BarrierRequest.encode(encoding(), 9);
    let half = &packet_out(6)[..20];
    let many: Vec<Vec<u8>> = (0..=FEW as u16).map(packet_out).collect();
    let many = many.concat();
    let (one, other) = (packet_out(1), packet_out(5));
    for (said, carried_out, left) in [
        (vec![&one[..], &barrier, &other], vec![1], vec![&barrier[..], &other]),
        (vec![&barrier, &other], vec![], vec![&barrier, &other]),
        (vec![&one, half], vec![1], vec![half]),
        (vec![&many], (0..FEW as u16).collect(), vec![&many[many.len() - one.len()..]]),
    ] {
        let mut connection = Connection::new();
        let readiness = connection.lend();
        assert!(connection.line.listen());
        connection.say(&said);
        assert_eq!(connection.look(), (false, carried_out));
        assert!(is_readable(&readiness), "the thread is woken");
        assert_eq!(connection.left(), left.concat());
        // Whoever says something else is left to the thread for a while.
        for _ in 0..UNHEARD {
            assert!(!connection.line.listen());
        }
        assert!(connection.line.listen());
    }
}

#[test]
fn a_packet_out_that_cannot_be_carried_out_is_left_to_the_thread() {
    let mut connection = Connection::new();
    let readiness = connection.lend();
    assert!(connection.line.listen());
    connection.say(&[&packet_out(1), &packet_out(2)]);
    assert!(!connection.line.look(|packet, _| packet.in_port.0 == 1));
    assert!(is_readable(&readiness));
    assert_eq!(connection.left(), packet_out(2));
}

#[test]
fn packet_outs_come_behind_those_that_are_under_way() {
    let mut connection = Connection::new();
    let (done, under_way) = channel::bounded(1);
    connection.lend_with(true, Some(under_way));
    assert!(connection.line.listen());
    connection.say(&[&packet_out(1)]);
    assert_eq!(connection.look(), (true, vec![]));
    done.send(Injected::default()).unwrap();
    assert_eq!(connection.look(), (true, vec![1]));
}

#[test]
fn nobody_listens_where_only_the_thread_can_read() {
    let connection = Connection::new();
    assert!(!connection.line.listen(), "it was not lent");
    connection.lend_with(false, None);
    assert!(!connection.line.listen(), "a part of a message has come");
    connection.line.take_back();
    connection.lend();
    let held = connection.line.0.lock();
    assert!(!connection.line.listen(), "the lock is held");
    drop(held);
    assert!(connection.line.listen());
    connection.line.take_back();
    assert_eq!(connection.look(), (false, vec![]));
}

#[test]
fn a_peer_that_goes_wakes_the_thread() {
    let connection = Connection::new();
    let readiness = connection.lend();
    assert!(connection.line.listen());
    drop(connection.far);
    assert!(is_readable(&readiness));
    assert!(!connection.line.look(|_, _| panic!("nothing came")));
}
