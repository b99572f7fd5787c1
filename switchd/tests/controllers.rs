//! Controllers: the switch connects to them and waits for them, loses them, and does
//! without them. Nothing needs privileges.

#[path = "controllers/bench.rs"]
mod bench;
#[path = "controllers/tls.rs"]
mod tls;

use bench::{Bench, FakeController, HELLO_10, HELLO_13, Peer, barrier};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};
use switchd::desired::FailMode;

#[test]
fn a_controller_that_is_killed_is_connected_again_when_it_is_back() {
    let controller = FakeController::listen(0);
    let bench = Bench::start();
    bench.set_controllers(&[&controller.target("max_backoff=1000,inactivity_probe=0")]);
    let mut peer = controller.accept();
    peer.shake_hands(&HELLO_13);
    assert_eq!(peer.ask(&barrier(4, 7)), (21, 7), "the reply to a barrier");
    bench.wait_for_status("is_connected=true state=ACTIVE role=other version=OpenFlow13");
    let port = controller.port();
    drop((peer, controller));
    bench.wait_for_status("is_connected=false");
    bench.wait_for_status("last_error=");
    let controller = FakeController::listen(port);
    controller.accept().shake_hands(&HELLO_13);
}

#[test]
fn a_standalone_bridge_is_a_learning_switch_until_its_controller_comes() {
    let controller = FakeController::listen(0);
    let (port, target) =
        (controller.port(), controller.target("inactivity_probe=1000,max_backoff=1000"));
    drop(controller);
    let bench = Bench::start();
    assert_eq!(bench.rules(), ["priority=0 actions=NORMAL"]);
    bench.set_controllers(&[&target]);
    let begun = Instant::now();
    assert!(bench.rules().is_empty(), "{:?}", bench.rules());
    bench.wait_for_rules(&["priority=0 actions=NORMAL"]);
    assert!(begun.elapsed() >= Duration::from_secs(3), "three probe intervals");
    let controller = FakeController::listen(port);
    let mut peer = controller.accept();
    peer.shake_hands(&HELLO_13);
    assert_eq!(peer.ask(&barrier(4, 1)), (21, 1));
    assert!(bench.rules().is_empty(), "before the first message was carried out");
}

#[test]
fn a_secure_bridge_has_no_rules_of_its_own() {
    let controller = FakeController::listen(0);
    let target = controller.target("inactivity_probe=1000,max_backoff=1000");
    drop(controller);
    let bench = Bench::start();
    bench.set_fail_mode(FailMode::Secure);
    assert!(bench.rules().is_empty());
    bench.set_controllers(&[&target]);
    bench.wait_for_status("state=BACKOFF");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert!(bench.rules().is_empty());
        std::thread::yield_now();
    }
}

#[test]
fn a_silent_controller_is_asked_and_then_given_up() {
    let controller = FakeController::listen(0);
    let bench = Bench::start();
    bench.set_controllers(&[&controller.target("inactivity_probe=1000,max_backoff=1000")]);
    let mut peer = controller.accept();
    peer.shake_hands(&HELLO_13);
    assert_eq!(peer.read().kind, 2, "an echo request");
    bench.wait_for_status("state=IDLE");
    assert!(peer.is_closed());
    bench.wait_for_status("did not answer an echo request");
    // One that answers stays.
    let mut peer = controller.accept();
    peer.shake_hands(&HELLO_13);
    for _ in 0..3 {
        let request = peer.read();
        assert_eq!(request.kind, 2);
        peer.write(&[4, 3, 0, 8, 0, 0, 0, 0]);
    }
    bench.wait_for_status("is_connected=true state=ACTIVE");
}

#[test]
fn a_controller_without_hello_is_none() {
    let controller = FakeController::listen(0);
    let bench = Bench::start();
    bench.set_controllers(&[&controller.target("max_backoff=1000")]);
    let mut peer = controller.accept();
    assert_eq!(peer.read().kind, 0, "the switch's own HELLO");
    assert!(peer.is_closed());
    bench.wait_for_status("the peer sent no HELLO for 1 s");
}

#[test]
fn a_bridge_waits_for_controllers_at_a_tcp_port_and_a_socket() {
    let bench = Bench::start();
    let path = bench.folder.join("more.sock");
    bench.set_controllers(&["ptcp:0:127.0.0.1", &format!("punix:{}", path.display())]);
    assert_eq!(bench.rules().len(), 1, "a bridge that only waits still stands alone");
    let mut tcp = Peer::tcp(bench.listening());
    let mut unix = Peer::unix(&path);
    for (peer, hello, version) in [(&mut tcp, &HELLO_13, 4), (&mut unix, &HELLO_10, 1)] {
        peer.shake_hands(hello);
        let reply = if version == 1 { 19 } else { 21 };
        let kind = if version == 1 { 18 } else { 20 };
        assert_eq!(peer.ask(&[version, kind, 0, 8, 0, 0, 0, 9]), (reply, 9));
    }
    bench.set_controllers(&[]);
    assert!(tcp.is_closed() && unix.is_closed());
    assert!(!path.exists());
}

#[test]
fn a_controller_is_reached_at_a_unix_socket_and_by_name() {
    let bench = Bench::start();
    let socket = UnixListener::bind(bench.folder.join("ctl")).unwrap();
    let controller = FakeController::listen(0);
    let named = format!("tcp:localhost:{},inactivity_probe=0", controller.port());
    bench.set_controllers(&["unix:ctl,inactivity_probe=0", &named]);
    let mut peers = [Peer::over(socket.accept().unwrap().0), controller.accept()];
    for peer in &mut peers {
        peer.shake_hands(&HELLO_13);
        assert_eq!(peer.ask(&barrier(4, 1)), (21, 1));
    }
    bench.set_controllers(&["tcp:no-such-host.invalid", "unix:nothing"]);
    bench.wait_for_status("tcp:no-such-host.invalid is_connected=false state=BACKOFF");
    bench.wait_for_status("last_error=\"No such file or directory\"");
}

#[test]
fn only_allowed_versions_are_spoken() {
    let bench = Bench::start();
    bench.set_protocols("OpenFlow10,OpenFlow13");
    let mut peer = Peer::unix(&bench.folder.join("br0.mgmt"));
    assert_eq!(peer.read().version, 4, "the highest version that is allowed");
    // A bitmap with OpenFlow 1.5 alone.
    peer.write(&[6, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x40]);
    assert_eq!(peer.read().kind, 1, "an error");
    assert!(peer.is_closed());
}

#[test]
fn the_state_tells_what_a_peer_speaks_instead() {
    let bench = Bench::start();
    bench.set_protocols("OpenFlow13,OpenFlow14");
    bench.set_controllers(&["ptcp:0:127.0.0.1"]);
    let mut old = Peer::tcp(bench.listening());
    old.write(&HELLO_10);
    assert_eq!(old.read().version, 5);
    let error = old.read();
    assert_eq!((error.version, error.kind), (1, 1), "an error that the peer can read");
    assert!(old.is_closed());
    let expected =
        "no common version: this side speaks OpenFlow13, OpenFlow14, the peer OpenFlow10";
    bench.wait_for_status(expected);
    let mut tls = Peer::tcp(bench.listening());
    // The beginning of a ClientHello (RFC 8446 §5.1).
    tls.write(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
    assert!(tls.is_closed());
    bench.wait_for_status("the peer speaks TLS");
}

#[test]
fn garbage_ends_its_connection_and_no_other_one() {
    let bench = Bench::start();
    bench.set_controllers(&["ptcp:0:127.0.0.1,inactivity_probe=0"]);
    let mut good = Peer::tcp(bench.listening());
    good.shake_hands(&HELLO_13);
    let garbage: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: switch\r\n\r\n",
        &[4, 20, 0, 8, 0, 0, 0, 1],
        &[0xff; 64],
        &[4, 0, 0, 7, 0, 0, 0, 1, 0],
    ];
    for bytes in garbage {
        let mut bad = Peer::tcp(bench.listening());
        bad.write(bytes);
        assert!(bad.is_closed(), "{bytes:?}");
    }
    let mut bad = Peer::tcp(bench.listening());
    bad.shake_hands(&HELLO_13);
    bad.write(&[4, 0xee, 0, 8, 0, 0, 0, 5]);
    assert_eq!(
        bad.read().kind,
        1,
        "a message that nobody knows gets an error, and the connection lives"
    );
    assert_eq!(bad.ask(&barrier(4, 6)), (21, 6));
    bad.write(&[4, 20, 0, 3, 0, 0, 0, 5]);
    assert!(bad.is_closed(), "a length that cannot be");
    assert_eq!(good.ask(&barrier(4, 2)), (21, 2));
}

#[test]
fn who_does_not_read_delays_nobody() {
    let bench = Bench::start();
    bench.set_controllers(&["ptcp:0:127.0.0.1,inactivity_probe=0"]);
    bench.add_rules(20_000);
    let mut slow = Peer::tcp(bench.listening());
    slow.shake_hands(&HELLO_13);
    // Statistics of all flows, again and again, of which nothing is read.
    let mut request = vec![4, 18, 0, 56, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0];
    request.extend([0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    request.extend([0; 16]);
    request.extend([0, 1, 0, 4, 0, 0, 0, 0]);
    (0..16).for_each(|_| slow.write(&request));
    let mut good = Peer::tcp(bench.listening());
    good.shake_hands(&HELLO_13);
    for xid in 0..200 {
        assert_eq!(good.ask(&barrier(4, xid)), (21, xid));
    }
    assert_eq!(slow.read().kind, 19, "it gets its answer all the same");
}

#[test]
fn a_bridge_that_is_removed_ends_its_connections() {
    let controller = FakeController::listen(0);
    let bench = Bench::start();
    bench.set_controllers(&[&controller.target("inactivity_probe=0"), "ptcp:0:127.0.0.1"]);
    let mut active = controller.accept();
    active.shake_hands(&HELLO_13);
    let mut passive = Peer::tcp(bench.listening());
    passive.shake_hands(&HELLO_13);
    let mut own = Peer::unix(&bench.folder.join("br0.mgmt"));
    own.shake_hands(&HELLO_13);
    bench.remove_bridge();
    assert!(active.is_closed() && passive.is_closed() && own.is_closed());
}

#[test]
fn a_controller_that_stays_keeps_its_connection() {
    let (one, two) = (FakeController::listen(0), FakeController::listen(0));
    let bench = Bench::start();
    bench.set_controllers(&[&one.target("inactivity_probe=0"), &two.target("inactivity_probe=0")]);
    let (mut first, mut second) = (one.accept(), two.accept());
    first.shake_hands(&HELLO_13);
    second.shake_hands(&HELLO_13);
    bench.set_controllers(&[&one.target("inactivity_probe=0")]);
    assert!(second.is_closed());
    assert_eq!(first.ask(&barrier(4, 3)), (21, 3));
}

#[test]
fn a_bundle_that_is_left_alone_is_given_up() {
    let bench = Bench::start();
    let mut peer = Peer::unix(&bench.folder.join("br0.mgmt"));
    peer.shake_hands(&[5, 0, 0, 8, 0, 0, 0, 1]);
    // OFPT_BUNDLE_CONTROL of OpenFlow 1.4: open bundle 1, atomic and ordered.
    let open = [5, 33, 0, 16, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 3];
    assert_eq!(peer.ask(&open), (33, 7));
    let error = peer.read();
    assert_eq!((error.kind, error.xid), (1, 7));
    assert_eq!(error.body[..4], [0, 17, 0, 14], "OFPBFC_TIMEOUT");
    let commit = [5, 33, 0, 16, 0, 0, 0, 8, 0, 0, 0, 1, 0, 4, 0, 3];
    assert_eq!(peer.ask(&commit), (1, 8), "the bundle is gone");
}

#[test]
fn messages_of_controllers_can_be_read_at_a_socket() {
    let controller = FakeController::listen(0);
    let bench = Bench::start();
    let socket = bench.folder.join("br0.snoop");
    assert!(Peer::unix(&socket).is_closed(), "there is no controller to listen to");
    bench.set_controllers(&[&controller.target("inactivity_probe=0")]);
    let mut peer = controller.accept();
    peer.shake_hands(&HELLO_13);
    let mut snooper = Peer::unix(&socket);
    snooper.shake_hands(&HELLO_10);
    let mut seen = Vec::new();
    for xid in 0.. {
        assert_eq!(peer.ask(&barrier(4, xid)), (21, xid));
        // The answer to an echo request tells that there is nothing to be read but what was read.
        snooper.write(&[1, 2, 0, 8, 0, 0, 0xff, 0xff]);
        loop {
            let message = snooper.read();
            if message.xid == 0xffff {
                break;
            }
            // The reader may be let in between a request and its answer.
            if message.kind == 20 || !seen.is_empty() {
                seen.push((message.version, message.kind, message.xid));
            }
        }
        if seen.len() >= 4 {
            break;
        }
    }
    let (_, _, first) = seen[0];
    assert_eq!(seen[..4], [(4, 20, first), (4, 21, first), (4, 20, first + 1), (4, 21, first + 1)]);
    bench.set_controllers(&[]);
    assert!(peer.is_closed());
}
