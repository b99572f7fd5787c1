//! Packet-outs of peers: whether they can be sent, those that are under way, and those that
//! a worker carries out itself.
//!
//! A connection's thread hands a packet-out to the first worker, and does not wait before the peer says
//! something else. A worker that has given a packet to a controller can listen for the answer itself
//! ([`Answering`]), because to wake the thread takes longer than everything else that is done with a packet.

use super::hub::Member;
use super::refuse;
use crate::bridge::packet_out;
use crate::punts::Answering;
use crate::switch::OnBridge;
use crate::worker::Injected;
use crossbeam::channel::Receiver;
use flow::packet_out::PacketOut;
use flow::types::OfVersion;
use flowtable::datapath::Ingress;
use flowtable::policy::{Bridge, BridgeId, Policy};
use openflow::{ControllerRole, ErrorCode, check_packet_out};
use std::sync::Arc;

/// Checks that a packet-out can be carried out.
///
/// # Errors
/// OpenFlow's error for the first thing that is wrong.
pub(super) fn check(
    bridge: Bridge<'_>,
    packet: &PacketOut,
    version: OfVersion,
) -> Result<(), ErrorCode> {
    check_packet_out(packet, version)?;
    // As in Open vSwitch, the packet may have come through a port that is gone by now.
    packet_out::check(bridge, packet, true).map_err(|error| refuse::packet_out(&error))
}

/// Packet-outs that the peer has sent one behind the other, and that are under way. Nobody waits for them
/// before the peer sends a message of another type.
#[derive(Default)]
pub(super) struct PacketOuts {
    /// Receives what became of the latest one, which is the last one to be sent; `None` if none is under way.
    latest: Option<Receiver<Injected>>,
    /// How many have been begun since the last wait.
    count: usize,
}

impl PacketOuts {
    /// How many are under way at most.
    const MOST: usize = 64;

    /// Begins to send another one.
    pub(super) fn begin(&mut self, on: &OnBridge<'_>, packet: PacketOut) {
        if let Some(latest) = on.begin_to_inject(packet) {
            self.latest = Some(latest);
            self.count += 1;
        }
        if self.count >= Self::MOST {
            self.wait();
        }
    }

    /// Receives what became of the latest one that is under way; `None` if none is.
    pub(super) fn under_way(&self) -> Option<Receiver<Injected>> {
        self.latest.clone()
    }

    /// Waits until all have been sent.
    pub(super) fn wait(&mut self) {
        self.count = 0;
        if let Some(latest) = self.latest.take() {
            // The channel is closed without an answer if the switch ends.
            let _ = latest.recv();
        }
    }
}

/// A peer that gets packet-ins, and to whose packet-outs a worker can listen.
pub(super) struct PacketOutPeer {
    /// What the rest of the switch knows of the peer's connection.
    member: Arc<Member>,
    /// The bridge of the connection, in the policy.
    policy: Arc<Policy>,
    bridge: BridgeId,
}

impl PacketOutPeer {
    pub(super) fn new(member: Arc<Member>, policy: &Arc<Policy>, bridge: BridgeId) -> Self {
        Self { member, policy: Arc::clone(policy), bridge }
    }

    /// What the rest of the switch knows of the peer's connection.
    pub(super) fn member(&self) -> &Member {
        &self.member
    }
}

impl Answering for PacketOutPeer {
    fn listen(&self) -> bool {
        self.member.line().listen()
    }

    fn end_listening(&self) {
        self.member.line().end_listening();
    }

    fn look(&self, send: &mut dyn FnMut(Ingress, PacketOut)) -> bool {
        self.member.line().look(|packet, version| {
            let bridge = self.policy.bridge(self.bridge);
            let is_slave = self.member.settings().role == ControllerRole::Slave;
            // Whoever refuses it tells the peer why.
            if is_slave || check(bridge, &packet, version).is_err() {
                return false;
            }
            let Some(ingress) = packet_out::ingress(bridge, &packet) else { return false };
            send(ingress, packet);
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::desired::{DEFAULT_BRIDGE, Desired};
    use crate::openflow::OpenFlowServer;
    use crate::punts::Answering;
    use crate::switch::{Config, Switch};
    use flow::text::{ParseContext, parse_flow, parse_packet_out};
    use flow::types::OfVersion;
    use openflow::{Encoding, HEADER_SIZE, MessageHeader, OfMessage, SwitchConfig};
    use ports::dummy::{self, Dummy, DummyOptions};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// How long a test waits for what has to happen.
    const PATIENCE: Duration = Duration::from_secs(60);
    const VERSION: OfVersion = OfVersion::OpenFlow13;
    /// The size of an Ethernet header, in bytes.
    const HEADER: usize = 14;
    /// Frames of this EtherType go where the controller's latest rule says.
    const ETHERTYPE: u16 = 0x1111;

    fn frame(number: u32) -> Vec<u8> {
        let mut frame = vec![2; HEADER - 2];
        frame.extend(ETHERTYPE.to_be_bytes());
        frame.extend(number.to_be_bytes());
        frame
    }

    /// A controller that wants packet-ins.
    struct Controller(UnixStream);

    impl Controller {
        fn connect(socket: &Path) -> Self {
            let stream = UnixStream::connect(socket).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut controller = Self(stream);
            let hello = OfMessage::Hello(vec![VERSION]);
            let wants_packets = SwitchConfig { miss_send_len: 128, ..SwitchConfig::default() };
            let messages = [hello, OfMessage::SetConfig(wants_packets), OfMessage::BarrierRequest];
            controller.say(&messages);
            assert!(matches!(controller.next(), OfMessage::Hello(_)));
            assert_eq!(controller.next(), OfMessage::BarrierReply);
            controller
        }

        fn say(&mut self, messages: &[OfMessage]) {
            let encode = |message: &OfMessage| message.encode(Encoding::new(VERSION), 1);
            let bytes: Vec<u8> = messages.iter().flat_map(encode).collect();
            self.0.write_all(&bytes).unwrap();
        }

        fn next(&mut self) -> OfMessage {
            let mut message = vec![0; HEADER_SIZE];
            self.0.read_exact(&mut message).unwrap();
            message.resize(MessageHeader::read(&message).unwrap().len.into(), 0);
            self.0.read_exact(&mut message[HEADER_SIZE..]).unwrap();
            OfMessage::decode(&message, Encoding::new(VERSION)).unwrap()
        }
    }

    /// Has frames of [`ETHERTYPE`] leave through a port from now on.
    fn rule(port: usize) -> OfMessage {
        let text = format!("dl_type={ETHERTYPE:#x},actions=output:{port}");
        OfMessage::FlowMod(Box::new(parse_flow(&text, &ParseContext::default()).unwrap()))
    }

    /// Sends a frame where the rules say.
    fn packet_out(number: u32) -> OfMessage {
        let hex: String = frame(number).iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("in_port=1,packet={hex},actions=TABLE");
        OfMessage::PacketOut(Box::new(parse_packet_out(&text, &ParseContext::default()).unwrap()))
    }

    fn numbers(far: &Dummy) -> Vec<u32> {
        let number = |frame: &[u8]| u32::from_be_bytes(frame[HEADER..].try_into().unwrap());
        far.sent().iter().map(|sent| number(&sent.bytes)).collect()
    }

    #[test]
    fn packet_outs_and_rules_keep_their_order_whoever_carries_them_out() {
        let folder = std::env::temp_dir().join(format!("switchd-outs-{}", std::process::id()));
        let switch = Arc::new(Switch::start(Config::new(Desired::one_bridge())).unwrap());
        let far = ["p1", "p2", "p3"].map(|name| {
            let (port, far) = dummy::open(name, DummyOptions::default()).unwrap();
            switch.add_open_port(DEFAULT_BRIDGE, port).unwrap();
            far
        });
        let on = switch.on(DEFAULT_BRIDGE).unwrap();
        let server = OpenFlowServer::start(&folder, &switch);
        let mut controller = Controller::connect(&folder.join(format!("{DEFAULT_BRIDGE}.mgmt")));
        controller.say(&[rule(2)]);
        let hub = switch.hubs().of(on.bridge().id()).unwrap();
        let member = Arc::clone(&hub.members()[0]);
        let peer = Arc::clone(hub.listeners().lock()[0].peer());

        // The frames that have to leave through ports 2 and 3.
        let mut expected = [vec![], vec![]];
        let (mut port, deadline) = (2, Instant::now() + PATIENCE);
        for number in (0..1600).step_by(2) {
            let mut said = vec![packet_out(number)];
            expected[port - 2].push(number);
            if number % 150 == 0 {
                port = 5 - port;
                said.extend([rule(port), packet_out(number + 1)]);
                expected[port - 2].push(number + 1);
            }
            // This thread listens in place of a worker, as often as the connection's thread sleeps.
            let mut listens = false;
            while number % 8 != 0 && !listens && Instant::now() < deadline {
                listens = member.line().is_lent() && peer.listen();
                std::thread::yield_now();
            }
            controller.say(&said);
            let mut is_sent = false;
            while listens && !is_sent {
                listens = peer.look(&mut |_, packet| {
                    on.inject(packet).unwrap();
                    is_sent = true;
                });
            }
            peer.end_listening();
        }
        controller.say(&[OfMessage::BarrierRequest]);
        assert_eq!(controller.next(), OfMessage::BarrierReply);
        assert!([&far[1], &far[2]].map(numbers) == expected);
        assert!(member.line().carried_out() > 400);
        drop(server);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
