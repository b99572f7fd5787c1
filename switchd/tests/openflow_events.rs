//! What the switch says to controllers on its own: rules, ports, roles and requests
//! of others, and flow monitors.
//!
//! `data/ovs-ofctl-monitor-1N.txt` have what `ovs-ofctl monitor` printed of Open vSwitch 3.1 while commands
//! were carried out; `openflow/tests/record_events` makes them.

mod served;

use flow::flow_mod::{Command as FlowCommand, FlowMod};
use flow::group::GroupMod;
use flow::table_mod::{TableMod, TableSettings, VacancyThresholds};
use flow::text::{ParseContext, parse_flow};
use flow::types::{Cookie, GroupId, MacAddr, OfPort, OfVersion, TableId};
use openflow::{
    AsyncForm, AsyncKind, AsyncMasks, ControllerRole, Encoding, ErrorCode, FlowMonitor,
    FlowRemoved, FlowRemovedReason, FlowUpdate, MessageHeader, MonitorCommand, MonitorEvent,
    MonitorFlags, MultipartReply, MultipartRequest, OfMessage, PortMod, PortReason, RequestForward,
    RoleMessage, SwitchConfig, TableDesc, TableReason, TableStatus, port_config, port_state,
};
use ports::dummy::{self, DummyOptions};
use ports::spec::Target;
use served::{Served, has_ofctl, plain, sorted};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use switchd::desired::{self, DEFAULT_BRIDGE, Kind};

/// A controller at the bridge's socket. Unlike a session of the crate `openflow`, it hands errors on.
struct Controller {
    stream: UnixStream,
    encoding: Encoding,
    received: Vec<u8>,
    xid: u32,
}

impl Controller {
    /// Connects, and asks for messages that nobody asks for.
    fn connect(served: &Served, version: OfVersion) -> Self {
        let stream = UnixStream::connect(served.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let encoding = Encoding::new(version);
        let mut controller = Self { stream, encoding, received: Vec::new(), xid: 100 };
        controller.send(&OfMessage::Hello(vec![version]));
        assert!(matches!(controller.next(), OfMessage::Hello(_)));
        controller.send(&OfMessage::SetConfig(SwitchConfig {
            miss_send_len: 128,
            ..SwitchConfig::default()
        }));
        assert_eq!(controller.until_barrier(), []);
        controller
    }

    fn send(&mut self, message: &OfMessage) -> u32 {
        self.xid += 1;
        self.stream.write_all(&message.encode(self.encoding, self.xid)).unwrap();
        self.xid
    }

    fn next(&mut self) -> OfMessage {
        loop {
            if let Some(header) = MessageHeader::read(&self.received)
                && let Some(bytes) = self.received.get(..header.len.into())
            {
                let message = OfMessage::decode(bytes, self.encoding).unwrap();
                self.received.drain(..usize::from(header.len));
                return message;
            }
            let mut buffer = [0; 1 << 16];
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the switch has closed the connection");
            self.received.extend_from_slice(&buffer[..read]);
        }
    }

    /// Everything up to the reply to a barrier.
    fn until_barrier(&mut self) -> Vec<OfMessage> {
        self.send(&OfMessage::BarrierRequest);
        let mut messages = Vec::new();
        loop {
            match self.next() {
                OfMessage::BarrierReply => return messages,
                message => messages.push(message),
            }
        }
    }

    fn flow_mod(&mut self, command: FlowCommand, text: &str) -> u32 {
        let version = self.encoding.version;
        self.send(&OfMessage::FlowMod(Box::new(flow_mod(command, text, version))))
    }

    fn role(&mut self, role: ControllerRole, generation: u64) -> OfMessage {
        self.send(&OfMessage::RoleRequest(RoleMessage { role, generation, is_nicira: false }));
        self.next()
    }

    fn set_async(&mut self, kind: AsyncKind, is_for_slaves: bool, mask: u32) {
        let mut masks = AsyncMasks::default();
        masks.set(kind, is_for_slaves, mask);
        let version = self.encoding.version;
        let is_14 = version >= OfVersion::OpenFlow14;
        let form = if is_14 { AsyncForm::Standard } else { AsyncForm::NiciraList };
        self.send(&OfMessage::SetAsync(masks, form));
        assert_eq!(self.until_barrier(), []);
    }

    fn monitor(&mut self, id: u32, flags: MonitorFlags, text: &str) -> Vec<FlowUpdate> {
        let version = self.encoding.version;
        let filter = Box::new(flow_mod(FlowCommand::Delete, text, version));
        let monitor = FlowMonitor { id, command: MonitorCommand::Add, flags, filter };
        self.send(&OfMessage::MultipartRequest(MultipartRequest::FlowMonitor(vec![monitor])));
        match self.next() {
            OfMessage::MultipartReply(MultipartReply::FlowMonitor(updates), false) => updates,
            other => panic!("{other:?}"),
        }
    }
}

fn flow_mod(command: FlowCommand, text: &str, version: OfVersion) -> FlowMod {
    parse_flow(text, &ParseContext { version, command, ..ParseContext::default() }).unwrap()
}

const EVERYTHING: MonitorFlags = MonitorFlags {
    initial: true,
    add: true,
    removed: true,
    modify: true,
    instructions: true,
    no_abbrev: false,
    own: true,
};

/// What monitors told, in words.
fn told(messages: &[OfMessage]) -> Vec<String> {
    let updates = messages.iter().flat_map(|message| match message {
        OfMessage::MultipartReply(MultipartReply::FlowMonitor(updates), _) => updates.clone(),
        OfMessage::FlowMonitorPaused => vec![FlowUpdate::Paused],
        OfMessage::FlowMonitorResumed => vec![FlowUpdate::Resumed],
        other => panic!("{other:?}"),
    });
    updates.map(|update| word(&update)).collect()
}

fn word(update: &FlowUpdate) -> String {
    match update {
        FlowUpdate::Rule(rule) => {
            let event = match rule.event {
                MonitorEvent::Initial => "initial".to_owned(),
                MonitorEvent::Added => "added".to_owned(),
                MonitorEvent::Modified => "modified".to_owned(),
                MonitorEvent::Removed(reason) => format!("removed {reason:?}"),
            };
            format!("{event} {} {:#x}", rule.priority, rule.cookie.0)
        }
        FlowUpdate::Abbrev(xid) => format!("abbreviated {xid}"),
        other => format!("{other:?}"),
    }
}

/// A running `ovs-ofctl monitor`.
struct Monitor {
    child: Child,
    control: std::path::PathBuf,
    printed: std::path::PathBuf,
    /// How many bytes of what it printed have been compared.
    place: usize,
}

impl Monitor {
    fn start(served: &Served, version: OfVersion) -> Self {
        let control = served.folder.join("monitor.ctl");
        let printed = served.folder.join("monitor.txt");
        let file = std::fs::File::create(&printed).unwrap();
        let child = Command::new("ovs-ofctl")
            .args([
                "-O",
                &format!("OpenFlow1{}", version as u8),
                "monitor",
                DEFAULT_BRIDGE,
                "128",
                "watch:",
            ])
            .arg(format!("--unixctl={}", control.display()))
            .env("OVS_RUNDIR", &served.folder)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        lab::eventually("ovs-ofctl monitor listens", || control.exists()).unwrap();
        Self { child, control, printed, place: 0 }
    }

    fn appctl(&self, words: &[&str]) {
        let done = Command::new("ovs-appctl").arg("-t").arg(&self.control).args(words).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{words:?}: {done:?}");
    }

    /// Waits until it has printed what is expected, in whatever order. Returns what it has printed
    /// if that is something else.
    fn expect(&mut self, expected: &str) -> Result<(), String> {
        self.appctl(&["ofctl/barrier"]);
        let mut got = String::new();
        let seen = lab::eventually("ovs-ofctl monitor prints what is expected", || {
            let text = std::fs::read_to_string(&self.printed).unwrap();
            got = text[self.place..].to_owned();
            sorted(&without_times(&got)) == sorted(&without_times(expected))
        });
        self.place += got.len();
        seen.map_err(|_| format!("{got}--- expected\n{expected}"))
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was printed without what differs from run to run and from switch to switch.
fn without_times(text: &str) -> String {
    let mut out = String::new();
    for line in plain(text).lines() {
        let words = line.split(' ').map(|word| match word.strip_prefix("duration") {
            Some(_) => "duration*",
            None => word,
        });
        out += &(words.collect::<Vec<_>>().join(" ") + "\n");
    }
    out
}

fn check(version: OfVersion, text: &str) {
    if !has_ofctl() {
        return;
    }
    let served = Served::start();
    let done = served.ofctl(version, &["del-flows"]);
    assert!(done.status.success(), "{done:?}");
    let done = served.ofctl(version, &["add-flow", "priority=1,icmp,actions=output:1"]);
    assert!(done.status.success(), "{done:?}");
    let mut monitor = Monitor::start(&served, version);
    let mut other = None;
    let mut wrong = String::new();
    for block in text.split("\n# ") {
        let block = block.strip_prefix("# ").unwrap_or(block);
        let (command, expected) = block.split_once('\n').unwrap_or((block, ""));
        let words: Vec<&str> = command.split('\t').collect();
        let role = |generation: u8| {
            let mut bytes = vec![version as u8 + 1, 24, 0, 24, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 0];
            bytes.extend([0, 0, 0, 0, 0, 0, 0, 10 * version as u8 + generation]);
            bytes
        };
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match words[..] {
            ["monitor"] | ["wait"] => {}
            ["send", message] => monitor.appctl(&["ofctl/send", message]),
            ["role"] => monitor.appctl(&["ofctl/send", &hex(&role(0))]),
            ["other role"] => {
                let mut stream = UnixStream::connect(served.socket()).unwrap();
                stream.write_all(&[version as u8 + 1, 0, 0, 8, 0, 0, 0, 1]).unwrap();
                stream.write_all(&role(1)).unwrap();
                // Its reply, behind which the other connection has been told.
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                stream.read_exact(&mut [0; 16 + 24]).unwrap();
                other = Some(stream);
            }
            [verb, ref arguments @ ..] => {
                let mut words: Vec<&str> = verb.split(' ').collect();
                words.rotate_left(1);
                words.extend(arguments);
                let done = served.ofctl(version, &words);
                assert!(done.status.success(), "{words:?}: {done:?}");
            }
            [] => {}
        }
        if words == ["wait"] {
            // Rules whose time is over go when somebody looks.
            lab::eventually("the rule with a hard timeout goes", || {
                served.switch.sweep();
                let on = served.switch.on(DEFAULT_BRIDGE).unwrap();
                on.bridge().snapshot().tables().len(TableId::default()) == 1
            })
            .unwrap();
        }
        if let Err(differs) = monitor.expect(expected) {
            wrong += &format!("=== {command}\n{differs}");
        }
    }
    drop(other);
    assert!(wrong.is_empty(), "{version:?}\n{wrong}");
}

#[test]
fn ovs_ofctl_monitor_prints_what_it_prints_of_open_vswitch() {
    let texts = [
        include_str!("data/ovs-ofctl-monitor-10.txt"),
        include_str!("data/ovs-ofctl-monitor-11.txt"),
        include_str!("data/ovs-ofctl-monitor-12.txt"),
        include_str!("data/ovs-ofctl-monitor-13.txt"),
        include_str!("data/ovs-ofctl-monitor-14.txt"),
        include_str!("data/ovs-ofctl-monitor-15.txt"),
    ];
    std::thread::scope(|scope| {
        for (version, text) in OfVersion::ALL.into_iter().zip(texts) {
            scope.spawn(move || check(version, text));
        }
    });
}

fn removed(messages: &[OfMessage]) -> Vec<FlowRemoved> {
    let one = |message: &OfMessage| match message {
        OfMessage::FlowRemoved(removed) => (**removed).clone(),
        other => panic!("{other:?}"),
    };
    messages.iter().map(one).collect()
}

#[test]
fn a_rule_that_is_gone_is_told_with_its_reason_and_its_last_counters() {
    for version in OfVersion::ALL {
        let served = Served::start();
        let mut controller = Controller::connect(&served, version);
        controller.flow_mod(
            FlowCommand::Add,
            "priority=7,cookie=0x9,send_flow_rem,idle_timeout=60,hard_timeout=90,in_port=1,actions=output:2",
        );
        controller.flow_mod(FlowCommand::Add, "priority=8,cookie=0x9,in_port=2,actions=drop");
        assert_eq!(controller.until_barrier(), []);
        served.far[0].inject(&[0xee; 60]);
        lab::eventually("the frame leaves", || served.far[1].next_sent().is_some()).unwrap();
        // A rule in the place of another one is no removal.
        controller.flow_mod(FlowCommand::Add, "priority=8,cookie=0x8,in_port=2,actions=output:1");
        controller.flow_mod(FlowCommand::Delete, "in_port=1");
        controller.flow_mod(FlowCommand::Delete, "in_port=2");
        let told = removed(&[controller.next()]);
        let FlowRemoved { matching, priority, cookie, reason, table, .. } = &told[0];
        let expected = flow_mod(FlowCommand::Delete, "in_port=1", version);
        assert_eq!(
            (matching, *priority, *cookie),
            (&expected.matching, 7, Cookie(9)),
            "{version:?}"
        );
        assert_eq!(*reason, FlowRemovedReason::Delete);
        let is_10 = version == OfVersion::OpenFlow10;
        assert_eq!(*table, (!is_10).then(TableId::default), "{version:?}");
        assert_eq!((told[0].packets, told[0].bytes), (Some(1), Some(60)), "{version:?}");
        assert_eq!((told[0].idle_timeout, told[0].hard_timeout), (60, if is_10 { 0 } else { 90 }));
        assert_eq!(controller.until_barrier(), [], "the other rule has no flag");
    }
}

#[test]
fn nothing_is_lost_when_many_rules_go_at_once() {
    const RULES: usize = 20_000;
    let served = Served::start();
    let version = OfVersion::OpenFlow13;
    let mut controllers = [(); 2].map(|()| Controller::connect(&served, version));
    let rules: Vec<FlowMod> = (0..RULES)
        .map(|n| {
            let text = format!("priority={n},send_flow_rem,cookie={n},in_port=1,actions=output:2");
            flow_mod(FlowCommand::Add, &text, version)
        })
        .collect();
    let on = served.switch.on(DEFAULT_BRIDGE).unwrap();
    on.bridge().apply(&rules, on.now()).unwrap();
    controllers[0].flow_mod(FlowCommand::Delete, "cookie=0/0");
    for controller in &mut controllers {
        let mut cookies: Vec<u64> =
            (0..RULES).map(|_| removed(&[controller.next()])[0].cookie.0).collect();
        cookies.sort_unstable();
        assert!(cookies.into_iter().eq(0..RULES as u64));
        assert_eq!(controller.until_barrier(), []);
    }
}

#[test]
fn a_new_master_demotes_the_old_one_and_stale_elections_are_refused() {
    let served = Served::start();
    let mut first = Controller::connect(&served, OfVersion::OpenFlow14);
    let mut second = Controller::connect(&served, OfVersion::OpenFlow13);
    let reply =
        |role, generation| OfMessage::RoleReply(RoleMessage { role, generation, is_nicira: false });
    let (master, slave) = (ControllerRole::Master, ControllerRole::Slave);
    assert_eq!(first.role(ControllerRole::NoChange, 0), reply(ControllerRole::Equal, u64::MAX));
    assert_eq!(first.role(master, 7), reply(master, 7));
    let stale = second.role(master, 6);
    let code = |message: &OfMessage| match message {
        OfMessage::Error(error) => error.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(&stale), Some(ErrorCode::RoleStale));
    assert_eq!(first.until_barrier(), []);
    assert_eq!(second.role(master, 8), reply(master, 8));
    let [OfMessage::RoleStatus(status)] = first.until_barrier()[..] else {
        panic!("the old master is not told");
    };
    assert_eq!((status.role, status.generation), (slave, 8));
    // A slave must not change anything, and hears of ports only.
    first.flow_mod(FlowCommand::Add, "in_port=1,actions=output:2");
    let refused = first.until_barrier();
    assert_eq!(refused.iter().map(code).collect::<Vec<_>>(), [Some(ErrorCode::IsSlave)]);
    second.flow_mod(FlowCommand::Add, "send_flow_rem,in_port=1,actions=output:2");
    second.flow_mod(FlowCommand::Delete, "in_port=1");
    assert_eq!(removed(&[second.next()]).len(), 1);
    assert_eq!(second.until_barrier(), []);
    let down = PortMod {
        port: OfPort(1),
        mac: port_mac(&served, 1),
        config: port_config::NO_FWD,
        mask: port_config::NO_FWD,
        advertise: 0,
    };
    second.send(&OfMessage::PortMod(down));
    // The message that nobody asked for about its own request is for OpenFlow 1.5 only.
    assert_eq!(second.until_barrier(), []);
    match &first.until_barrier()[..] {
        [OfMessage::PortStatus(status)] => {
            assert_eq!((status.reason, status.port.port), (PortReason::Modify, OfPort(1)));
            assert_eq!(status.port.config, port_config::NO_FWD);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(first.role(ControllerRole::Equal, 0), reply(ControllerRole::Equal, 8));
}

#[test]
fn flags_of_spanning_trees_are_kept_and_shown_to_the_version_that_has_them() {
    let served = Served::start();
    let [mut author, mut old] =
        [(); 2].map(|()| Controller::connect(&served, OfVersion::OpenFlow10));
    let mut newer = Controller::connect(&served, OfVersion::OpenFlow13);
    let flags = port_config::NO_STP | port_config::NO_RECV_STP;
    let mut shown = |config, mask| {
        let mac = port_mac(&served, 1);
        let change = PortMod { port: OfPort(1), mac, config, mask, advertise: 0 };
        author.send(&OfMessage::PortMod(change));
        assert_eq!(author.until_barrier(), []);
        [old.until_barrier(), newer.until_barrier()].map(|heard| match &heard[..] {
            [OfMessage::PortStatus(status)] => Some(status.port.config),
            [] => None,
            other => panic!("{other:?}"),
        })
    };
    let (stp, no_forward) = (port_config::NO_RECV_STP, port_config::NO_FWD);
    assert_eq!(shown(flags, flags), [Some(flags), None]);
    assert_eq!(shown(0, port_config::NO_STP), [Some(stp), None]);
    assert_eq!(shown(no_forward, no_forward), [Some(stp | no_forward), Some(no_forward)]);
    assert_eq!(shown(0, flags | no_forward), [Some(0), Some(0)]);
    // To later versions, these bits have no meaning.
    let mac = port_mac(&served, 1);
    let (config, mask) = (flags | no_forward, flags | no_forward);
    newer.send(&OfMessage::PortMod(PortMod { port: OfPort(1), mac, config, mask, advertise: 0 }));
    assert_eq!(newer.until_barrier(), []);
    match &old.until_barrier()[..] {
        [OfMessage::PortStatus(status)] => assert_eq!(status.port.config, no_forward),
        other => panic!("{other:?}"),
    }
}

fn port_mac(served: &Served, number: u16) -> MacAddr {
    let ports = served.switch.on(DEFAULT_BRIDGE).unwrap().ports();
    ports.into_iter().find(|port| port.of_port == OfPort(number)).unwrap().mac
}

#[test]
fn who_chooses_among_messages_asks_for_them() {
    let served = Served::start();
    for version in [OfVersion::OpenFlow10, OfVersion::OpenFlow13, OfVersion::OpenFlow14] {
        let mut controller = Controller::connect(&served, version);
        let nothing = SwitchConfig::default();
        controller.send(&OfMessage::SetConfig(nothing));
        // A reason of packet-ins is the flag for the TTL, which versions up to 1.2 have.
        let masks = [(AsyncKind::PacketIn, 1 << 2), (AsyncKind::PortStatus, 7)];
        masks.iter().for_each(|&(kind, mask)| controller.set_async(kind, false, mask));
        controller.send(&OfMessage::GetConfigRequest);
        let OfMessage::GetConfigReply(config) = controller.next() else { panic!() };
        let has_flag = version == OfVersion::OpenFlow10;
        assert_eq!((config.miss_send_len, config.invalid_ttl), (128, has_flag), "{version:?}");
        let (port, _far) = dummy::open("p3", DummyOptions::default()).unwrap();
        served.switch.add_open_port(DEFAULT_BRIDGE, port).unwrap();
        assert!(served.switch.remove_port(DEFAULT_BRIDGE, OfPort(3)));
        assert!(!controller.until_barrier().is_empty(), "{version:?}");
    }
}

#[test]
fn a_port_comes_for_controllers_with_its_device() {
    let served = Served::start();
    let mut told = Controller::connect(&served, OfVersion::OpenFlow14);
    told.set_async(AsyncKind::PortStatus, false, 7);
    assert_eq!(told.until_barrier(), []);
    let port = |name: &str, target| desired::Port::new(name, Kind::Device(target));
    let number = served.switch.add_port(DEFAULT_BRIDGE, port("p3", Target::Dummy)).unwrap();
    let [OfMessage::PortStatus(added)] = &told.until_barrier()[..] else { panic!() };
    assert_eq!((added.reason, added.port.port), (PortReason::Add, number));
    assert_eq!(added.port.mac, port_mac(&served, number.0));
    assert_eq!(added.port.state & port_state::LINK_DOWN, 0);
    assert!(served.switch.remove_port(DEFAULT_BRIDGE, number));
    let [OfMessage::PortStatus(gone)] = &told.until_barrier()[..] else { panic!() };
    assert_eq!((gone.reason, gone.port.mac), (PortReason::Delete, added.port.mac));
    // A port that never has a device never comes, and does not go.
    let device = "no-such-device".to_owned();
    let missing = port(&device, Target::System { device: device.clone() });
    let number = served.switch.add_port(DEFAULT_BRIDGE, missing).unwrap();
    assert!(served.switch.remove_port(DEFAULT_BRIDGE, number));
    assert_eq!(told.until_barrier(), []);
}

#[test]
fn ports_that_come_and_go_are_told_to_who_asked() {
    let served = Served::start();
    let mut told = Controller::connect(&served, OfVersion::OpenFlow15);
    let mut other = Controller::connect(&served, OfVersion::OpenFlow10);
    other.set_async(AsyncKind::PortStatus, false, 1 << PortReason::Add as u8);
    let (port, _far) = dummy::open("p3", DummyOptions::default()).unwrap();
    served.switch.add_open_port(DEFAULT_BRIDGE, port).unwrap();
    assert!(served.switch.remove_port(DEFAULT_BRIDGE, OfPort(3)));
    let seen = |controller: &mut Controller| {
        let messages = controller.until_barrier();
        let reasons = messages.iter().map(|message| match message {
            OfMessage::PortStatus(status) => {
                assert_eq!((status.port.port, &*status.port.name), (OfPort(3), "p3"));
                status.reason
            }
            other => panic!("{other:?}"),
        });
        let mut reasons: Vec<PortReason> = reasons.collect();
        reasons.dedup();
        reasons
    };
    assert_eq!(seen(&mut other), [PortReason::Add]);
    let all = seen(&mut told);
    assert_eq!((all.first(), all.last()), (Some(&PortReason::Add), Some(&PortReason::Delete)));
}

#[test]
fn group_mods_of_others_are_forwarded_to_who_asked() {
    let served = Served::start();
    for version in [OfVersion::OpenFlow13, OfVersion::OpenFlow14, OfVersion::OpenFlow15] {
        let mut asker = Controller::connect(&served, version);
        let mut other = Controller::connect(&served, OfVersion::OpenFlow15);
        asker.set_async(AsyncKind::RequestForward, false, 3);
        let request = OfMessage::GroupMod(GroupMod::Delete(GroupId(9)));
        let xid = other.send(&request);
        assert_eq!(other.until_barrier(), []);
        let forwarded = asker.until_barrier();
        let expected = RequestForward { xid, request: Box::new(request.clone()) };
        assert_eq!(forwarded, [OfMessage::RequestForward(expected)], "{version:?}");
        asker.send(&request);
        assert_eq!(asker.until_barrier(), [], "its own");
    }
}

#[test]
fn who_asked_hears_that_a_table_is_nearly_full_and_that_it_has_room_again() {
    let served = Served::start();
    let table = TableId::new(1).unwrap();
    let limited = TableSettings { flow_limit: Some(10), ..TableSettings::default() };
    let limit = |bridge: &mut desired::Bridge| bridge.tables.set(table, limited);
    served.switch.change_bridge(DEFAULT_BRIDGE, limit).unwrap();
    let versions = [OfVersion::OpenFlow13, OfVersion::OpenFlow14, OfVersion::OpenFlow15];
    let mut askers = versions.map(|version| Controller::connect(&served, version));
    askers.iter_mut().for_each(|asker| asker.set_async(AsyncKind::TableStatus, false, 0b1_1000));
    let mut silent = Controller::connect(&served, OfVersion::OpenFlow14);
    let thresholds = VacancyThresholds { down: 30, up: 60 };
    let vacancy = Some(Some(thresholds));
    let watch = TableMod { table: Some(table), vacancy, ..TableMod::default() };
    silent.send(&OfMessage::TableMod(watch));
    let eviction_flags = Some(7);
    let mut check = |command, priorities: std::ops::RangeInclusive<u16>, expected: Option<_>| {
        let actions = if command == FlowCommand::Add { ",actions=drop" } else { "" };
        for priority in priorities {
            silent.flow_mod(command, &format!("table=1,priority={priority}{actions}"));
        }
        assert_eq!(silent.until_barrier(), [], "who has not asked hears nothing");
        let expected = expected.map(|(reason, vacancy)| {
            let vacancy = Some((thresholds, vacancy));
            let table = TableDesc { table, eviction: false, eviction_flags, vacancy };
            OfMessage::TableStatus(TableStatus { reason, table })
        });
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(askers[0].until_barrier(), [], "OpenFlow 1.3 has no such message");
        for asker in &mut askers[1..] {
            assert_eq!(asker.until_barrier(), expected);
        }
    };
    let (add, delete) = (FlowCommand::Add, FlowCommand::DeleteStrict);
    check(add, 1..=7, None);
    check(add, 8..=8, Some((TableReason::VacancyDown, 20)));
    check(add, 9..=10, None);
    check(delete, 1..=6, None);
    check(delete, 7..=7, Some((TableReason::VacancyUp, 70)));
    check(delete, 8..=10, None);
    // Whoever causes the event hears of it in front of the reply to its barrier.
    let [_, asker, _] = &mut askers;
    for priority in 1..=8 {
        asker.flow_mod(add, &format!("table=1,priority={priority},actions=drop"));
    }
    assert!(matches!(asker.until_barrier()[..], [OfMessage::TableStatus(_)]));
}

#[test]
fn a_monitor_tells_what_was_there_and_every_change_before_the_barrier_reply() {
    for version in OfVersion::ALL {
        let served = Served::start();
        let mut watching = Controller::connect(&served, version);
        let mut changing = Controller::connect(&served, OfVersion::OpenFlow13);
        changing.flow_mod(FlowCommand::Delete, "cookie=0/0");
        changing.flow_mod(FlowCommand::Add, "table=1,priority=3,cookie=1,ip,actions=output:1");
        changing.flow_mod(FlowCommand::Add, "table=2,priority=4,cookie=2,ip,actions=output:1");
        assert_eq!(changing.until_barrier(), []);
        let listed = watching.monitor(5, EVERYTHING, "table=1,ip");
        let initial = if version >= OfVersion::OpenFlow14 { "initial" } else { "added" };
        let listed: Vec<_> = listed.iter().map(word).collect();
        assert_eq!(listed, [format!("{initial} 3 0x1")], "{version:?}");
        changing.flow_mod(FlowCommand::Add, "table=1,priority=5,cookie=3,tcp,actions=output:1");
        changing.flow_mod(FlowCommand::Add, "table=1,priority=6,cookie=4,arp,actions=output:1");
        changing.flow_mod(FlowCommand::Modify, "table=1,tcp,actions=output:2");
        // Nothing changes.
        changing.flow_mod(FlowCommand::Modify, "table=1,tcp,actions=output:2");
        changing.flow_mod(FlowCommand::Add, "table=1,priority=3,cookie=7,ip,actions=output:2");
        changing.flow_mod(FlowCommand::Delete, "table=1,tcp");
        assert_eq!(changing.until_barrier(), []);
        let changes = ["added 5 0x3", "modified 5 0x3", "added 3 0x7", "removed Delete 5 0x3"];
        assert_eq!(told(&watching.until_barrier()), changes, "{version:?}");
        let is_15 = version == OfVersion::OpenFlow15;
        let again = FlowMonitor {
            id: 5,
            command: MonitorCommand::Add,
            flags: EVERYTHING,
            filter: Box::new(flow_mod(FlowCommand::Delete, "", version)),
        };
        let request = MultipartRequest::FlowMonitor(vec![again]);
        watching.send(&OfMessage::MultipartRequest(request));
        match watching.next() {
            OfMessage::Error(error) => assert_eq!(error.code, Some(ErrorCode::MonitorExists)),
            other => panic!("{other:?}"),
        }
        if version < OfVersion::OpenFlow14 {
            watching.send(&OfMessage::FlowMonitorCancel(5));
            assert_eq!(watching.until_barrier(), []);
        } else {
            let delete = MultipartRequest::FlowMonitor(vec![FlowMonitor::delete(5)]);
            watching.send(&OfMessage::MultipartRequest(delete));
            assert_eq!(told(&watching.until_barrier()), [""; 0], "an empty reply, {is_15}");
        }
        changing.flow_mod(FlowCommand::Delete, "cookie=0/0");
        assert_eq!(changing.until_barrier(), []);
        assert_eq!(watching.until_barrier(), []);
    }
}

/// A frame whose source address ends in this number.
fn frame_from(host: u8) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, host, 0x88, 0xb5]);
    frame.resize(60, 0);
    frame
}

#[test]
fn rules_that_packets_make_are_told_as_others_are() {
    for version in [OfVersion::OpenFlow10, OfVersion::OpenFlow13, OfVersion::OpenFlow15] {
        let served = Served::start();
        let mut watching = Controller::connect(&served, version);
        let mut changing = Controller::connect(&served, OfVersion::OpenFlow13);
        let learner = |table: u8, more: &str| {
            format!(
                "priority=3,in_port=1,actions=learn(table={table},priority=9,cookie=0x77,{more},send_flow_rem,\
                 NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),output:2"
            )
        };
        let pass = |host: u8| {
            served.far[0].inject(&frame_from(host));
            lab::eventually("the frame leaves", || served.far[1].next_sent().is_some()).unwrap();
        };
        changing.flow_mod(FlowCommand::Delete, "cookie=0/0");
        changing.flow_mod(FlowCommand::Add, &learner(1, "delete_learned"));
        assert_eq!(changing.until_barrier(), []);
        assert_eq!(watching.monitor(5, EVERYTHING, "table=1"), []);
        pass(1);
        assert_eq!(told(&watching.until_barrier()), ["added 9 0x77"], "{version:?}");
        pass(1);
        assert_eq!(told(&watching.until_barrier()), [""; 0], "the rule is there already");
        pass(2);
        assert_eq!(told(&watching.until_barrier()), ["added 9 0x77"]);
        // With the rule that made them go those that it made.
        changing.flow_mod(FlowCommand::Delete, "table=0,in_port=1");
        let gone = removed(&changing.until_barrier());
        assert_eq!(gone.len(), 2, "{version:?}");
        for rule in gone {
            let is_one = rule.priority == 9 && rule.cookie == Cookie(0x77);
            assert!(is_one && rule.reason == FlowRemovedReason::Delete, "{rule:?}");
        }
        let is_removal = |message: &OfMessage| matches!(message, OfMessage::FlowRemoved(_));
        let (gone, updates): (Vec<_>, Vec<_>) =
            watching.until_barrier().into_iter().partition(is_removal);
        assert_eq!(removed(&gone).len(), 2);
        assert_eq!(told(&updates), ["removed Delete 9 0x77"; 2], "{version:?}");
        // Their timeouts are told, too.
        changing.flow_mod(FlowCommand::Add, &learner(2, "hard_timeout=1"));
        assert_eq!(changing.until_barrier(), []);
        pass(3);
        let mut gone = Vec::new();
        lab::eventually("the rule expires", || {
            served.switch.sweep();
            gone = removed(&changing.until_barrier());
            !gone.is_empty()
        })
        .unwrap();
        let expected = flow_mod(FlowCommand::Delete, "dl_dst=02:00:00:00:00:03", version);
        assert_eq!(gone[0].matching, expected.matching);
        assert_eq!(gone[0].reason, FlowRemovedReason::HardTimeout);
        assert_eq!(gone[0].table, TableId::new(2));
    }
}

#[test]
fn own_changes_are_abbreviated_unless_the_monitor_wants_them() {
    for version in [OfVersion::OpenFlow10, OfVersion::OpenFlow13, OfVersion::OpenFlow14] {
        let served = Served::start();
        let mut watching = Controller::connect(&served, version);
        let flags = MonitorFlags { own: false, initial: false, ..EVERYTHING };
        assert_eq!(watching.monitor(1, flags, ""), []);
        let xid = watching.flow_mod(FlowCommand::Add, "priority=3,in_port=1,actions=output:2");
        assert_eq!(told(&watching.until_barrier()), [format!("abbreviated {xid}")]);
        let mut other = Controller::connect(&served, version);
        other.flow_mod(FlowCommand::Delete, "in_port=1");
        assert_eq!(other.until_barrier(), []);
        assert_eq!(told(&watching.until_barrier()), ["removed Delete 3 0x0"], "{version:?}");
    }
}

#[test]
fn a_monitor_that_is_not_read_pauses_and_loses_nothing() {
    const RULES: u64 = 30_000;
    for version in [OfVersion::OpenFlow10, OfVersion::OpenFlow13, OfVersion::OpenFlow15] {
        let served = Served::start();
        let mut watching = Controller::connect(&served, version);
        let mut known = BTreeMap::new();
        for update in watching.monitor(1, EVERYTHING, "") {
            apply(&mut known, &update);
        }
        let on = served.switch.on(DEFAULT_BRIDGE).unwrap();
        let rule = |n: u64, cookie: u64| {
            let text = format!(
                "priority={},cookie={cookie},in_port={},actions=output:2",
                n % 60_000,
                1 + n % 2
            );
            flow_mod(FlowCommand::Add, &text, OfVersion::OpenFlow13)
        };
        for n in 0..RULES {
            on.bridge().apply(&[rule(n, n)], on.now()).unwrap();
        }
        // Some go, and some come again.
        for n in (0..RULES).step_by(3) {
            let gone = FlowMod { command: FlowCommand::DeleteStrict, ..rule(n, 0) };
            on.bridge().apply(&[gone], on.now()).unwrap();
        }
        for n in (0..RULES).step_by(6) {
            on.bridge().apply(&[rule(n, n + 1)], on.now()).unwrap();
        }
        let mut expected = BTreeMap::new();
        let every = flow_mod(FlowCommand::Delete, "", version);
        let mut walk = on.bridge().walk(&every);
        while walk.next_slice(|entry| {
            expected.insert((entry.priority, format!("{:?}", entry.matches)), entry.value.cookie);
        }) {}
        let (mut pauses, mut resumptions) = (0, 0);
        while known != expected || pauses != resumptions {
            let updates = match watching.next() {
                OfMessage::MultipartReply(MultipartReply::FlowMonitor(updates), _) => updates,
                OfMessage::FlowMonitorPaused => vec![FlowUpdate::Paused],
                OfMessage::FlowMonitorResumed => vec![FlowUpdate::Resumed],
                other => panic!("{other:?}"),
            };
            for update in updates {
                pauses += u32::from(update == FlowUpdate::Paused);
                resumptions += u32::from(update == FlowUpdate::Resumed);
                apply(&mut known, &update);
            }
        }
        assert!(pauses > 0, "{version:?}");
        assert_eq!(watching.until_barrier(), []);
    }
}

/// Rules by priority and match, with their cookies.
type Known = BTreeMap<(u16, String), Cookie>;

/// Does to what a controller knows what a monitor tells.
fn apply(known: &mut Known, update: &FlowUpdate) {
    let FlowUpdate::Rule(rule) = update else {
        return;
    };
    let at = (rule.priority, format!("{:?}", rule.matching));
    match rule.event {
        MonitorEvent::Initial | MonitorEvent::Added => drop(known.insert(at, rule.cookie)),
        MonitorEvent::Modified => {
            assert!(
                known.insert(at, rule.cookie).is_some(),
                "a rule is modified that is not known"
            );
        }
        MonitorEvent::Removed(_) => {
            assert!(known.remove(&at).is_some(), "a rule is removed that is not known");
        }
    }
}

/// Flow mods, some of which are refused, and between them requests that are answered, with
/// transaction ids from 0 on.
fn mixed_messages(seed: u64, encoding: Encoding) -> Vec<Vec<u8>> {
    let mut state = seed;
    let mut below = |limit: u64| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) % limit
    };
    let mut message = |xid: u32| {
        let (priority, port) = (below(6), 1 + below(2));
        let add = |actions: &str| {
            let text = format!("priority={priority},cookie={xid},in_port=1,actions={actions}");
            flow_mod(FlowCommand::Add, &text, encoding.version)
        };
        let flow_mod = match below(20) {
            0 => return OfMessage::EchoRequest(vec![1, 2, 3]).encode(encoding, xid),
            1 => return OfMessage::GetConfigRequest.encode(encoding, xid),
            2 => {
                let add = OfMessage::FlowMod(Box::new(add("output:1")));
                let mut bytes = add.encode(encoding, xid);
                // There is no such command.
                bytes[25] = 77;
                return bytes;
            }
            3 | 4 => add("group:9"),
            5 | 6 => {
                let text = format!("priority={priority},in_port=1");
                flow_mod(FlowCommand::DeleteStrict, &text, encoding.version)
            }
            7 => {
                let text = format!("in_port=1,actions=output:{port}");
                flow_mod(FlowCommand::Modify, &text, encoding.version)
            }
            _ => add(&format!("output:{port}")),
        };
        OfMessage::FlowMod(Box::new(flow_mod)).encode(encoding, xid)
    };
    (0..100).map(&mut message).collect()
}

/// Sends mixed messages, `together` of them at a time. Returns the replies, and what a
/// monitor of another controller told.
fn replies_and_updates(seed: u64, together: usize) -> (Vec<OfMessage>, Vec<String>) {
    let served = Served::start();
    let mut watching = Controller::connect(&served, OfVersion::OpenFlow14);
    watching.monitor(1, EVERYTHING, "");
    let mut changing = Controller::connect(&served, OfVersion::OpenFlow14);
    let mut replies = Vec::new();
    for part in mixed_messages(seed, changing.encoding).chunks(together) {
        changing.stream.write_all(&part.concat()).unwrap();
        replies.extend(changing.until_barrier());
    }
    let updates = watching.until_barrier();
    (replies, told(&updates))
}

#[test]
fn messages_sent_at_once_are_answered_and_told_as_those_sent_one_by_one() {
    for seed in 0..5 {
        let (replies, updates) = replies_and_updates(seed, 1);
        assert!(!replies.is_empty() && updates.len() > 20, "seed {seed}");
        for together in [7, 100] {
            let same = replies_and_updates(seed, together);
            assert_eq!(same.0, replies, "seed {seed}, {together} at a time");
            assert_eq!(same.1, updates, "seed {seed}, {together} at a time");
        }
    }
}
