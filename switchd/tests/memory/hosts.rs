//! Two TCP/IP hosts in memory talk through the switch.

use crate::bench::Bench;
use lab::PATIENCE;
use ports::dummy::Dummy;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

/// A network card at the far end of a port.
struct Card<'a>(&'a Dummy);

struct Received(Vec<u8>);
struct Sender<'a>(&'a Dummy);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, size: usize, write: F) -> R {
        let mut frame = vec![0; size];
        let result = write(&mut frame);
        self.0.inject(&frame);
        result
    }
}

impl Device for Card<'_> {
    type RxToken<'t>
        = Received
    where
        Self: 't;
    type TxToken<'t>
        = Sender<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sender<'_>)> {
        Some((Received(self.0.next_sent()?.bytes), Sender(self.0)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sender<'_>> {
        Some(Sender(self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct Host<'a> {
    card: Card<'a>,
    interface: Interface,
    sockets: SocketSet<'static>,
    tcp: SocketHandle,
}

impl<'a> Host<'a> {
    fn new(n: u8, port: &'a Dummy) -> Self {
        let mut card = Card(port);
        let mac = EthernetAddress([2, 0, 0, 0, 0, n]);
        let mut interface = Interface::new(Config::new(mac.into()), &mut card, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::v4(10, 0, 0, n), 24)).expect("room for one");
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; 65_535]);
        let mut sockets = SocketSet::new(Vec::new());
        let tcp = sockets.add(tcp::Socket::new(buffer(), buffer()));
        Self { card, interface, sockets, tcp }
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.tcp)
    }

    fn poll(&mut self, now: Instant) {
        self.interface.poll(now, &mut self.card, &mut self.sockets);
    }
}

/// Moves `size` bytes and returns how many arrived as they were sent.
fn transfer(bench: &Bench, size: usize) -> usize {
    let (mut a, mut b) = (Host::new(1, &bench.ports[0]), Host::new(2, &bench.ports[1]));
    b.socket().listen(80).expect("a free port");
    let address = (IpAddress::v4(10, 0, 0, 2), 80);
    a.sockets
        .get_mut::<tcp::Socket<'_>>(a.tcp)
        .connect(a.interface.context(), address, 5000)
        .expect("a closed socket");
    let pattern = |at: usize| (at * 7 + at / 251) as u8;
    let (mut sent, mut received) = (0, 0);
    let begin = std::time::Instant::now();
    while received < size && begin.elapsed() < PATIENCE {
        let now = Instant::from_micros(begin.elapsed().as_micros() as i64);
        a.poll(now);
        b.poll(now);
        if a.socket().can_send() && sent < size {
            let piece: Vec<u8> = (sent..size.min(sent + 8000)).map(pattern).collect();
            sent += a.socket().send_slice(&piece).expect("an open socket");
        }
        while b.socket().can_recv() {
            let at = received;
            received += b
                .socket()
                .recv(|data| {
                    let good = data.iter().enumerate().all(|(i, byte)| *byte == pattern(at + i));
                    assert!(good, "the contents changed on the way");
                    (data.len(), data.len())
                })
                .expect("an open socket");
        }
        std::thread::yield_now();
    }
    received
}

#[test]
fn tcp_crosses_the_learning_switch() {
    let bench = Bench::new(2);
    assert_eq!(transfer(&bench, 1_000_000), 1_000_000);
}

#[test]
fn tcp_crosses_rules_that_rewrite_both_ways() {
    let bench = Bench::new(2);
    bench.add(&[
        "priority=9,in_port=1,tcp,tp_dst=80,actions=mod_tp_src:6000,dec_ttl,2",
        "priority=9,in_port=2,tcp,tp_dst=6000,actions=mod_tp_dst:5000,mod_nw_tos:16,1",
    ]);
    assert_eq!(transfer(&bench, 200_000), 200_000);
}
