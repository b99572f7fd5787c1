//! What the programs make of frames that go into tunnels and come out of them.

use super::{Bench, NEXT, REDIRECT, packet, run_classifier};
use crate::TunnelPort;
use flow::types::{MacAddr, OfPort, PortNo};
use flow::verdict::DpAction;
use flowtable::policy::BridgeId;
use flowtable::policy::ports::{Inherited, PortInfo, TunnelEgress, TunnelLocal};
use lab::{LinkSpec, Namespace, Netlink};
use packet::wire::{GenevePacket, Ipv4Packet, UdpPacket, VxlanPacket, geneve};
use packet::{OptionMap, TunnelKey, Tunneled};
use ports::Port;
use ports::tunnel::{Endpoints, TunnelKind, TunnelTarget, WRAP_PORTS, WRAP_SIZE};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// The port behind which the tunnel is.
const TUNNEL: PortNo = PortNo(1);
const VNI: u32 = 0x12_3456;
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ETHERNET: usize = 14;

/// Runs a test in a network with the address [`OWN`], where the bench's second port is a tunnel port.
fn with_tunnel(kind: TunnelKind, rules: &[&str], test: impl FnOnce(Bench) + Send) {
    let Ok(network) = Namespace::new() else {
        return println!("skipped: there are no network namespaces");
    };
    let run = || {
        let Some(bench) = Bench::new(rules) else { return };
        let mut netlink = Netlink::open().unwrap();
        let up = LinkSpec { up: true, ..LinkSpec::default() };
        netlink.create_veth("under", &up, "wire", &up).unwrap();
        let index = netlink.link("under").unwrap().index;
        netlink.add_address(index, OWN.into(), 24).unwrap();
        let port = open(kind);
        let tunnel = Arc::clone(port.membership.as_ref().unwrap().in_kernel().unwrap());
        let egress = TunnelEgress {
            key: Some(VNI.into()),
            remote: Some(REMOTE.into()),
            local: TunnelLocal::Any,
            tos: Inherited::Fixed(0),
            ttl: Inherited::Fixed(TunnelEgress::DEFAULT_TTL),
            has_group_policy: false,
            options: Arc::default(),
        };
        bench.policy.bridge(BridgeId::FIRST).with_ports(|ports| {
            let info = PortInfo::new(TUNNEL, OfPort(2), "tunnel", MacAddr::default());
            ports.insert(PortInfo { tunnel: Some(Arc::new(egress)), ..info });
        });
        bench.cache.remove_port(TUNNEL);
        bench.cache.add_tunnel(TUNNEL, Ok(TunnelPort { tunnel, counters: Arc::default() }));
        test(bench);
    };
    network.run(run).unwrap();
}

fn open(kind: TunnelKind) -> Port {
    let target = TunnelTarget {
        name: "tunnel".to_owned(),
        kind,
        udp_port: kind.default_port(),
        remote: Some(REMOTE.into()),
        local: None,
        in_key: Some(VNI.into()),
        netns: None,
        dont_fragment: true,
        has_checksum: true,
        mark: 0,
        has_group_policy: false,
        source_ports: 8,
    };
    Endpoints::default().open_port(&target, 0, [2, 0, 0, 0, 0, 9], 1, false).unwrap()
}

/// What the outer headers of a frame from the remote end say.
fn from_remote() -> TunnelKey {
    TunnelKey {
        id: VNI.into(),
        source: REMOTE.into(),
        destination: OWN.into(),
        ttl: 64,
        ..TunnelKey::default()
    }
}

impl Bench {
    /// Has the switch process a frame that came through the tunnel until its flow is in
    /// the kernel, beside `flows` others.
    fn teach_from_tunnel(&mut self, frame: &[u8], flows: u64) {
        let options = OptionMap::default();
        let keys = [from_remote()];
        lab::eventually("the flow is in the kernel", || {
            let tunneled = Tunneled { port: TUNNEL.0, keys: &keys, options: &options };
            self.process_at(TUNNEL, frame, Some(tunneled));
            self.cache.counts().flows == flows + 1
        })
        .unwrap();
    }

    fn wrap(&self, frame: &[u8]) -> (u32, Vec<u8>) {
        super::execute(&self.ebpf, frame)
    }

    fn unwrap(&self, datagram: &[u8]) -> (u32, Vec<u8>) {
        run_classifier(&self.ebpf, "unwrap", datagram)
    }
}

/// The bytes of the tunnel's header.
fn tunnel_header(datagram: &[u8]) -> &[u8] {
    &datagram[ETHERNET + 28..ETHERNET + WRAP_SIZE]
}

/// The datagram as the other end would have sent it.
fn turned(datagram: &[u8]) -> Vec<u8> {
    let mut turned = datagram.to_vec();
    let mut ip = Ipv4Packet::new_unchecked(&mut turned[ETHERNET..]);
    ip.set_src_addr(REMOTE);
    ip.set_dst_addr(OWN);
    turned
}

#[test]
fn a_frame_goes_into_a_tunnel_and_comes_out_as_it_was() {
    for kind in [TunnelKind::Vxlan, TunnelKind::Geneve] {
        let rules = ["in_port=1,actions=2", "in_port=2,actions=1"];
        with_tunnel(kind, &rules, |mut bench| {
            for (count, (dl_type, nw_proto)) in
                [(0x0800, 6), (0x0800, 17), (0x0800, 1), (0x86dd, 6)].into_iter().enumerate()
            {
                let frame = packet(dl_type, nw_proto);
                let before = bench.cache.counts().flows;
                bench.teach(&frame);
                // ECN is all that the verdict depends on, besides the version of IP.
                let is_new = matches!(count, 0 | 3);
                let learned = bench.cache.counts().flows - before;
                assert_eq!(learned, u64::from(is_new), "{kind}: {dl_type:x}");
                let (verdict, made) = bench.wrap(&frame);
                assert_eq!(verdict, REDIRECT, "{kind}");
                check(kind, &made, &frame);
                if is_new {
                    bench.teach_from_tunnel(&frame, before + 1);
                }
                assert_eq!(bench.unwrap(&turned(&made)), (REDIRECT, frame), "{kind}");
            }
        });
    }
}

/// The outer headers say what they are to say, and the frame is behind them.
fn check(kind: TunnelKind, datagram: &[u8], frame: &[u8]) {
    let ip = Ipv4Packet::new_checked(&datagram[ETHERNET..]).unwrap();
    assert!(ip.is_checksum_right());
    assert_eq!((ip.src_addr(), ip.dst_addr(), ip.ttl()), (OWN, REMOTE, 64));
    assert_eq!(usize::from(ip.total_size()), WRAP_SIZE + frame.len());
    let udp = UdpPacket::new_checked(ip.payload()).unwrap();
    assert_eq!((udp.dst_port(), udp.checksum()), (kind.default_port(), 0));
    assert_eq!(usize::from(udp.size()), 16 + frame.len());
    assert_ne!(udp.src_port(), 0);
    let vni = match kind {
        TunnelKind::Vxlan => VxlanPacket::new_checked(tunnel_header(datagram)).unwrap().vni(),
        _ => GenevePacket::new_checked(tunnel_header(datagram)).unwrap().vni(),
    };
    assert_eq!(vni, VNI);
    assert_eq!(&datagram[ETHERNET + WRAP_SIZE..], frame);
}

#[test]
fn flows_are_spread_over_the_source_ports() {
    with_tunnel(TunnelKind::Vxlan, &["actions=2"], |mut bench| {
        let mut frame = packet(0x0800, 17);
        bench.teach(&frame);
        let mut ports = std::collections::BTreeSet::new();
        for number in 0..200u8 {
            frame[29] = number;
            let (_, made) = bench.wrap(&frame);
            ports.insert(UdpPacket::new_unchecked(&made[ETHERNET + 20..]).src_port());
        }
        assert_eq!(ports.len(), WRAP_PORTS, "{ports:?}");
    });
}

#[test]
fn datagrams_that_only_the_sockets_understand_are_left_to_them() {
    let rules = ["in_port=1,actions=2", "in_port=2,actions=1"];
    with_tunnel(TunnelKind::Vxlan, &rules, |mut bench| {
        let frame = packet(0x0800, 17);
        bench.teach(&frame);
        bench.teach_from_tunnel(&frame, 1);
        let datagram = turned(&bench.wrap(&frame).1);
        assert_eq!(bench.unwrap(&datagram).0, REDIRECT);
        // Bytes of the outer IP, UDP and VXLAN headers, and of the packet inside.
        let (ip, udp, vxlan, inner) =
            (ETHERNET, ETHERNET + 20, ETHERNET + 28, ETHERNET + WRAP_SIZE);
        let changes = [
            ("a tag", 12, 0x81),
            ("an option of IP", ip, 0x46),
            ("congestion", ip + 1, 3),
            ("more fragments", ip + 6, 0x20),
            ("another protocol", ip + 9, 6),
            ("another source", ip + 15, 9),
            ("another destination", ip + 19, 9),
            ("another size", ip + 3, 1),
            ("another UDP port", udp + 3, 1),
            ("a checksum", udp + 6, 1),
            ("an unknown flag", vxlan, 0x0c),
            ("another VNI", vxlan + 6, 1),
            ("a reserved byte", vxlan + 7, 1),
            ("an option of IP inside", inner + 14, 0x46),
        ];
        for (what, at, byte) in changes {
            let mut changed = datagram.clone();
            changed[at] = byte;
            Ipv4Packet::new_unchecked(&mut changed[ETHERNET..]).fill_checksum();
            assert_eq!(bench.unwrap(&changed), (NEXT, changed), "{what}");
        }
        let mut damaged = datagram.clone();
        damaged[ip + 10] ^= 1;
        assert_eq!(bench.unwrap(&damaged).0, NEXT, "a wrong checksum of the outer IP header");
        let mut bfd = datagram.clone();
        bfd[inner + 36..inner + 38].copy_from_slice(&3784u16.to_be_bytes());
        assert_eq!(bench.unwrap(&bfd).0, NEXT, "BFD");
        bench.cache.remove_port(TUNNEL);
        assert_eq!(bench.unwrap(&datagram).0, NEXT, "the port is gone");
    });
}

#[test]
fn frames_that_the_kernel_cannot_put_into_tunnels_stay_with_the_switch() {
    let tagged = "actions=mod_vlan_vid:5,2";
    for (rule, dl_type) in [("actions=2", 0x0806), ("actions=2", 0x88b5), (tagged, 0x0800)] {
        with_tunnel(TunnelKind::Vxlan, &[rule], |mut bench| {
            bench.teach(&packet(dl_type, 1));
            assert_eq!(bench.cache.counts().flows, 0, "{rule}: {dl_type:x}");
        });
    }
    // A frame that leaves room for nothing else in a packet of the way.
    with_tunnel(TunnelKind::Vxlan, &["actions=2"], |mut bench| {
        let mut frame = packet(0x0800, 17);
        bench.teach(&frame);
        frame.resize(1500 - WRAP_SIZE, 0);
        assert_eq!(bench.wrap(&frame).0, REDIRECT);
        frame.push(0);
        assert_eq!(bench.wrap(&frame).0, NEXT, "a byte too many");
        frame.truncate(60);
        assert_eq!(bench.wrap(&frame).0, NEXT, "it would overtake the one before");
    });
}

/// The kernel attaches a program to a device only once.
#[test]
fn a_process_that_goes_on_with_the_programs_can_take_frames_out_of_tunnels() {
    let rules = ["in_port=1,actions=2", "in_port=2,actions=1"];
    with_tunnel(TunnelKind::Vxlan, &rules, |mut bench| {
        bench.teach_from_tunnel(&packet(0x0800, 17), 0);
        bench.cache.suspend();
        let under = Netlink::open().unwrap().link("under").unwrap().index;
        assert_eq!(bench.cache.hooks().unwrapper_of(under).attach(), Ok(()));
        // It may have been in vain, and this process goes on.
        bench.cache.resume();
        bench.teach_from_tunnel(&packet(0x0800, 17), 0);
    });
}

#[test]
fn options_of_geneve_stay_with_the_sockets() {
    with_tunnel(
        TunnelKind::Geneve,
        &["in_port=1,actions=2", "in_port=2,actions=1"],
        |mut bench| {
            let frame = packet(0x0800, 17);
            bench.teach(&frame);
            bench.teach_from_tunnel(&frame, 1);
            let mut datagram = turned(&bench.wrap(&frame).1);
            let mut header = GenevePacket::new_unchecked(&mut datagram[ETHERNET + 28..]);
            header.set_header_size(geneve::HEADER_SIZE + 4);
            assert_eq!(bench.unwrap(&datagram).0, NEXT);
        },
    );
}

#[test]
fn flows_begin_anew_when_too_many_ways_are_remembered() {
    with_tunnel(TunnelKind::Vxlan, &["actions=2"], |mut bench| {
        let frame = packet(0x0800, 17);
        bench.teach(&frame);
        let flow = bench.datapath.registry().flows().pop().unwrap();
        let sweep = |bench: &Bench| bench.cache.sweep(Duration::from_secs(1));
        sweep(&bench);
        assert_eq!(bench.cache.counts().flows, 1);
        for number in 0..4096u32 {
            let destination = Ipv4Addr::from_bits(0x0a00_0000 + number).into();
            let key = Arc::new(TunnelKey { destination, ..from_remote() });
            let actions = [DpAction::Tunnel { port: TUNNEL, key }];
            // There is no route to most of them, which is remembered, too.
            let _ = bench.cache.could_hold(&flow.key(), &flow.mask(), &actions, None, false);
        }
        sweep(&bench);
        assert_eq!(bench.cache.counts().flows, 0);
        bench.teach(&frame);
        assert_eq!(bench.cache.counts().flows, 1);
    });
}
