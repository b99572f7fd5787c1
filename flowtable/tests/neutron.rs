//! Three bridges as Neutron joins them, with rules of the kind that it installs: frame by frame what Open
//! vSwitch made of it (`data/neutron.txt`).

use flow::flow_mod::FlowMod;
use flow::text::{ParseContext, parse_flow};
use flow::types::{MacAddr, OfPort, PortNo};
use flowtable::datapath::{CacheConfig, Datapath, Egress, PortCounters};
use flowtable::policy::Policy;
use flowtable::policy::ports::{PortInfo, VlanMode};
use packet::{Batch, Frame, Offload};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const RECORD: &str = include_str!("data/neutron.txt");

/// The bridges of the record, in front of one datapath.
struct Switch {
    policy: Arc<Policy>,
    datapath: Datapath,
    egress: Egress,
    /// Datapath numbers by name.
    ports: BTreeMap<String, PortNo>,
    now: Duration,
}

impl Switch {
    fn new(config: CacheConfig) -> Self {
        let policy = Arc::new(Policy::new(11));
        let datapath = Datapath::new(Arc::clone(&policy), config, 1, 13);
        let (egress, ports) = (Egress::new(8), BTreeMap::new());
        Self { policy, datapath, egress, ports, now: Duration::from_secs(1) }
    }

    fn add_port(&mut self, bridge: &str, number: &str, name: &str, settings: Option<&str>) {
        let port_no = PortNo(self.ports.len() as u16);
        self.ports.insert(name.to_owned(), port_no);
        let mut port = PortInfo::new(port_no, of_port(number), name, MacAddr::default());
        if let Some(tag) = settings.and_then(|settings| settings.strip_prefix("tag=")) {
            port.vlan = VlanMode::Access(tag.parse().unwrap());
        }
        self.insert(bridge, port);
    }

    fn insert(&self, bridge: &str, port: PortInfo) {
        let bridge = self.policy.find_bridge(bridge).unwrap();
        bridge.with_ports(|ports| ports.insert(port));
    }

    fn add_flow(&self, bridge: &str, text: &str) {
        let rule: FlowMod = parse_flow(text, &ParseContext::default()).expect(text);
        self.policy.find_bridge(bridge).unwrap().apply(&[rule], self.now).unwrap();
    }

    /// The frames that leave when one comes in, each with the name of its port, in the order of the names.
    fn send(&mut self, port: &str, frame: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut batch = Batch::new();
        batch.push(Frame::owned(frame, Offload::NONE));
        let counters = PortCounters::default();
        self.now += Duration::from_millis(1);
        let in_port = self.ports[port];
        self.datapath.process(self.now, in_port, &mut batch, &mut self.egress, &counters);
        let mut left = Vec::new();
        for (name, port_no) in &self.ports {
            let queue = self.egress.queue(*port_no).iter();
            left.extend(queue.map(|&id| (name.clone(), batch.frame(id).bytes().to_vec())));
        }
        self.egress.clear(&mut batch);
        left
    }

    /// Packets and bytes that a patch port received, and those that it sent.
    fn patch_counters(&self, bridge: &str, name: &str) -> [u64; 4] {
        self.datapath.registry().push_stats();
        let snapshot = self.policy.find_bridge(bridge).unwrap().snapshot();
        let counters = &snapshot.ports().by_name(name).unwrap().as_patch().unwrap().counters;
        let (received, sent) = (counters.received(), counters.sent());
        [received.0, received.1, sent.0, sent.1]
    }
}

fn of_port(text: &str) -> OfPort {
    OfPort(text.parse().unwrap())
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |n: usize| u8::from_str_radix(&hex[n..n + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn replay(config: CacheConfig) {
    let mut switch = Switch::new(config);
    let mut expected: Vec<(String, Vec<u8>)> = Vec::new();
    let mut got = Vec::new();
    let mut frame = String::new();
    for line in RECORD.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] != "out" {
            assert_eq!(got, expected, "{frame}");
            (got, expected) = (Vec::new(), Vec::new());
        }
        match words[..] {
            ["bridge", name] => _ = switch.policy.add_bridge(name).unwrap(),
            ["port", bridge, number, name] => switch.add_port(bridge, number, name, None),
            ["port", bridge, number, name, settings] => {
                switch.add_port(bridge, number, name, Some(settings));
            }
            ["patch", bridge, number, name, peer] => {
                let port = PortInfo::patch(of_port(number), name, peer, MacAddr::default());
                switch.insert(bridge, port);
            }
            ["flow", bridge, rule] => switch.add_flow(bridge, rule),
            ["frame", port, hex] => {
                frame = line.to_owned();
                got = switch.send(port, &bytes(hex));
            }
            ["out", port, hex] => expected.push((port.to_owned(), bytes(hex))),
            ["count", bridge, port, ref counts @ ..] => {
                let counts: Vec<u64> = counts.iter().map(|n| n.parse().unwrap()).collect();
                assert_eq!(switch.patch_counters(bridge, port)[..], counts, "{port}");
            }
            _ => panic!("not a line of the record: {line}"),
        }
    }
    assert_eq!(got, expected, "{frame}");
}

#[test]
fn frames_leave_where_they_leave_open_vswitch() {
    replay(CacheConfig::default());
}

#[test]
fn frames_leave_there_without_caches_too() {
    replay(CacheConfig { max_flows: 1, ..CacheConfig::default() });
}
