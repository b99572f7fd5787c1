//! What opening a port does to its device, and undoes.

use crate::fixture::{experimental, host, ip, netlink, open};
use lab::harness::{Test, Unsupported, unsupported_if_missing};
use lab::{FrameSocket, Host, LinkSpec, OpenPort, Tbf};
use nix::sched::{CloneFlags, unshare};
use packet::{Frame, Offload};
use ports::listeners::Listeners;
use ports::netlink::{Events, LinkEvent};
use ports::shield::BRIDGE;
use ports::{Shield, TxFailure};
use std::net::UdpSocket;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("device::the_host_stack_is_shielded", the_host_stack_is_shielded),
    ("device::a_device_of_another_bridge_is_refused", a_device_of_another_bridge_is_refused),
    ("device::a_shield_left_by_a_crash_is_adopted", a_shield_left_by_a_crash_is_adopted),
    ("device::addresses_are_warned_of", addresses_are_warned_of),
    ("device::a_device_is_put_back_as_it_was", a_device_is_put_back_as_it_was),
    ("device::a_device_is_one_port_at_a_time", a_device_is_one_port_at_a_time),
    ("device::a_missing_device_is_named", a_missing_device_is_named),
    ("device::a_missing_capability_is_named", a_missing_capability_is_named),
    ("device::queueing_is_honoured_while_there_is_any", queueing_is_honoured_while_there_is_any),
    ("device::who_listens_to_a_device_sees_what_its_port_sends", who_listens_sees_what_is_sent),
    ("device::events_tell_what_happens_to_a_device", events_tell_what_happens_to_a_device),
];

/// A datagram to the switch's own address: does the stack of the switch's namespace get it?
fn stack_receives(
    port: &mut OpenPort,
    host: &mut Host,
    socket: &UdpSocket,
) -> anyhow::Result<bool> {
    host.add_neighbour(ip("10.0.0.9"), port.port.mac)?;
    let sender = host.run(|| UdpSocket::bind("10.0.0.1:0").unwrap())?;
    // When the port has heard the last one, the stack has had the first ones.
    for number in 0..20 {
        sender.send_to(&[number], "10.0.0.9:9").unwrap();
    }
    port.receive_until(|frame| frame.bytes().ends_with(&[19]) || frame.bytes()[42] == 19)?;
    socket.set_nonblocking(true).unwrap();
    Ok(socket.recv(&mut [0; 10]).is_ok())
}

fn the_host_stack_is_shielded() -> anyhow::Result<()> {
    let mut host = host("p1", 1)?;
    let mut netlink = netlink();
    let lo = netlink.link("lo").unwrap().index;
    netlink.set_up(lo, true).unwrap();
    netlink.add_address(lo, ip("10.0.0.9"), 32).unwrap();
    let socket = UdpSocket::bind("10.0.0.9:9").unwrap();

    let mut exposed = OpenPort::open("p1,shield=off")?;
    assert_eq!(exposed.port.shield(), Shield::Exposed);
    assert!(
        stack_receives(&mut exposed, &mut host, &socket)?,
        "otherwise this test proves nothing"
    );
    drop(exposed);
    while socket.recv(&mut [0; 10]).is_ok() {}

    let mut shielded = OpenPort::open("p1")?;
    if shielded.port.shield() == Shield::Exposed {
        return Err(Unsupported::lacking(format!("shield: {}", shielded.port.warnings.join("; "))));
    }
    let bridge = netlink.link(BRIDGE).unwrap();
    assert!(!bridge.is_up);
    assert_eq!(netlink.link("p1").unwrap().master, Some(bridge.index));
    assert!(!stack_receives(&mut shielded, &mut host, &socket)?);
    drop(shielded);
    assert_eq!(netlink.link("p1").unwrap().master, None);
    assert_eq!(netlink.find_link(BRIDGE).unwrap(), None);
    Ok(())
}

fn a_device_of_another_bridge_is_refused() -> anyhow::Result<()> {
    let _host = host("p1", 1)?;
    let mut netlink = netlink();
    unsupported_if_missing(
        netlink.create_bridge("docker0", &LinkSpec::default()),
        "bridge devices",
    )?;
    let (bridge, p1) = (netlink.link("docker0").unwrap().index, netlink.link("p1").unwrap().index);
    netlink.set_master(p1, Some(bridge)).unwrap();
    let error = open("p1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "device \"p1\" belongs to \"docker0\"; free it with \"ip link set p1 nomaster\", \
         or use shield=off to share it"
    );
    assert_eq!(netlink.find_link(BRIDGE).unwrap(), None);
    assert!(!netlink.link("p1").unwrap().is_up);
    drop(open("p1,shield=off").unwrap());
    assert_eq!(netlink.link("p1").unwrap().master, Some(bridge));
    Ok(())
}

fn a_shield_left_by_a_crash_is_adopted() -> anyhow::Result<()> {
    let _hosts = [host("p1", 1)?, host("p2", 2)?];
    let mut netlink = netlink();
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    unsupported_if_missing(netlink.create_bridge(BRIDGE, &up), "bridge devices")?;
    let (bridge, p1) = (netlink.link(BRIDGE).unwrap().index, netlink.link("p1").unwrap().index);
    netlink.set_master(p1, Some(bridge)).unwrap();
    let first = open("p1").unwrap();
    let second = open("p2").unwrap();
    assert_eq!([first.shield(), second.shield()], [Shield::Shielded; 2]);
    assert!(!netlink.link(BRIDGE).unwrap().is_up);
    drop(first);
    assert_eq!(netlink.link("p1").unwrap().master, None);
    assert_eq!(netlink.link("p2").unwrap().master, Some(bridge));
    drop(second);
    assert_eq!(netlink.find_link(BRIDGE).unwrap(), None);
    Ok(())
}

fn addresses_are_warned_of() -> anyhow::Result<()> {
    let _host = host("p1", 1)?;
    let mut netlink = netlink();
    let p1 = netlink.link("p1").unwrap().index;
    assert_eq!(open("p1").unwrap().warnings, [""; 0]);
    netlink.add_address(p1, ip("10.0.0.5"), 24).unwrap();
    assert_eq!(
        open("p1,shield=off").unwrap().warnings,
        ["p1 has the address 10.0.0.5/24: the host answers for it beside the switch"]
    );
    Ok(())
}

fn a_device_is_put_back_as_it_was() -> anyhow::Result<()> {
    let _host = host("p1", 1)?;
    let mut netlink = netlink();
    let before = netlink.link("p1").unwrap();
    assert!(!before.is_up);
    let port = open("p1").unwrap();
    let open_link = netlink.link("p1").unwrap();
    assert!(open_link.is_up && port.status.is_link_up());
    drop(port);
    assert!(!netlink.link("p1").unwrap().is_up);
    netlink.set_up(before.index, true).unwrap();
    drop(open("p1").unwrap());
    assert!(netlink.link("p1").unwrap().is_up, "it was up before");
    Ok(())
}

fn a_device_is_one_port_at_a_time() -> anyhow::Result<()> {
    let _host = host("p1", 1)?;
    let first = open("p1").unwrap();
    let error = open("p1").unwrap_err();
    assert_eq!(error.to_string(), "device \"p1\" is in use by this process already");
    assert!(netlink().link("p1").unwrap().is_up, "the first one is not disturbed");
    drop(first);
    drop(open("p1").unwrap());
    Ok(())
}

fn a_missing_device_is_named() -> anyhow::Result<()> {
    let message = |text| open(text).unwrap_err().to_string();
    assert_eq!(message("veth7"), "device \"veth7\": no such network device");
    assert_eq!(
        message("lo"),
        "device \"lo\" is not an Ethernet device, and only these can be ports"
    );
    Ok(())
}

fn a_missing_capability_is_named() -> anyhow::Result<()> {
    let _host = host("p1", 1)?;
    // In a further user namespace we have every capability, but none over our network namespace.
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|e| Unsupported::lacking(format!("user namespaces: {e}")))?;
    let error = open("p1").unwrap_err();
    assert!(error.is_denied());
    assert_eq!(
        error.to_string(),
        "open a packet socket for p1: CAP_NET_RAW is missing; run as root, or in a user namespace \
         of your own"
    );
    Ok(())
}

fn queueing_is_honoured_while_there_is_any() -> anyhow::Result<()> {
    let host = host("p1", 1)?;
    let mut netlink = netlink();
    let p1 = netlink.link("p1").unwrap().index;
    netlink.set_up(p1, true).unwrap();
    // Room for a few frames, and a rate at which none of them leaves during this test.
    let slow = Tbf { rate: 1000, burst: 2000, limit: 4000 };
    unsupported_if_missing(netlink.set_root_tbf(p1, slow), "token bucket")?;
    let frames = || {
        let frame = || Frame::owned(&experimental(host.mac(), 1000), Offload::NONE);
        (0..64).map(|_| frame()).collect::<Vec<_>>()
    };

    let mut port = OpenPort::open("p1")?;
    assert!(!port.port.status.bypasses_qdisc());
    let failures = port.send(frames());
    assert!(failures.len() > 50, "{}", failures.len());
    assert!(failures.iter().all(|(_, failure)| *failure == TxFailure::QueueFull));
    netlink.delete_root_qdisc(p1).unwrap();
    port.port.link_changed(&netlink.link("p1").unwrap());
    assert!(port.port.status.bypasses_qdisc());
    assert_eq!(port.send(frames()), []);
    drop(port);

    netlink.set_root_tbf(p1, slow).unwrap();
    let mut port = OpenPort::open("p1,qdisc=bypass")?;
    assert_eq!(port.send(frames()), []);
    drop(port);
    netlink.delete_root_qdisc(p1).unwrap();
    let mut port = OpenPort::open("p1,qdisc=honour")?;
    assert!(!port.port.status.bypasses_qdisc());
    assert_eq!(port.send(frames()), []);
    Ok(())
}

fn who_listens_sees_what_is_sent() -> anyhow::Result<()> {
    let _hosts = [host("p1", 1)?, host("p2", 2)?];
    let mut port = OpenPort::open("p1")?;
    let mut bypassing = OpenPort::open("p2,qdisc=bypass")?;
    let index = port.port.ifindex.expect("a network device");
    let mut listeners = Listeners::open()?;
    let mut sees = |port: &mut OpenPort, device: &str| -> anyhow::Result<bool> {
        let mut observer = FrameSocket::open(device)?;
        let index = port.port.ifindex.expect("a network device");
        let listened = listeners.read()?.has(index);
        assert!(listened);
        port.port.set_listened(listened);
        let frame = experimental([0xff; 6], 60);
        assert_eq!(port.send(vec![Frame::owned(&frame, Offload::NONE)]), []);
        // What is sent is shown before the call returns.
        while let Some(seen) = observer.receive(Duration::ZERO)? {
            if seen == frame {
                return Ok(true);
            }
        }
        Ok(false)
    };
    assert!(port.port.status.bypasses_qdisc());
    assert!(sees(&mut port, "p1")?);
    assert!(!port.port.status.bypasses_qdisc());
    assert!(!sees(&mut bypassing, "p2")?, "the user does not want that");
    // The observers are gone; the ports' own sockets do not count.
    let listened = Listeners::open()?.read()?;
    assert!(!listened.has(index));
    port.port.set_listened(false);
    assert!(port.port.status.bypasses_qdisc());
    Ok(())
}

fn events_tell_what_happens_to_a_device() -> anyhow::Result<()> {
    let mut events = Events::open().unwrap();
    let host = host("p1", 1)?;
    let mut port = OpenPort::open("p1,shield=off")?;
    let mut netlink = netlink();
    let p1 = netlink.link("p1").unwrap().index;
    let mut heard = |port: &mut OpenPort| {
        let mut gone = false;
        events
            .drain(|event| match event {
                LinkEvent::Present(link) if link.index == p1 => port.port.link_changed(&link),
                LinkEvent::Gone { index, name } if index == p1 => {
                    assert_eq!(name, "p1");
                    gone = true;
                }
                _ => {}
            })
            .unwrap();
        gone
    };
    let frame = || vec![Frame::owned(&experimental(host.mac(), 100), Offload::NONE)];
    netlink.set_mtu(p1, 1400).unwrap();
    assert!(!heard(&mut port));
    assert_eq!(port.port.status.mtu(), 1400);
    netlink.set_up(p1, false).unwrap();
    assert!(!heard(&mut port));
    assert!(!port.port.status.is_link_up());
    assert_eq!(port.send(frame()), [(0, TxFailure::LinkDown)]);
    netlink.set_up(p1, true).unwrap();
    assert!(!heard(&mut port));
    assert!(port.port.status.is_link_up());
    assert_eq!(port.send(frame()), []);
    netlink.delete_link(p1).unwrap();
    assert!(heard(&mut port));
    assert_eq!(port.send(frame()), [(0, TxFailure::LinkDown)]);
    Ok(())
}
