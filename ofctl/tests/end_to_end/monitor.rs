//! The verb `monitor`: events reach several readers, and a reader that is too slow learns how many it lost.

use crate::bench::Bench;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// How long a test waits for a line before it fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running `ofctl monitor`, which is killed at the end.
pub(crate) struct Monitor {
    child: Child,
    /// The lines of its output, as they arrive.
    lines: Receiver<String>,
}

impl Monitor {
    pub(crate) fn start(bench: &Bench, arguments: &[&str]) -> Self {
        let (child, stdout) = watch(bench, arguments);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for the next line of the output.
    pub(crate) fn next(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("an event is told")
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

pub(crate) fn end(child: &mut Child) {
    // The process may have ended by itself, which makes both calls fail.
    let _ = child.kill();
    let _ = child.wait();
}

/// Starts `ofctl monitor`, and waits until its subscription has begun.
pub(crate) fn watch(bench: &Bench, arguments: &[&str]) -> (Child, ChildStdout) {
    let mut child = bench.spawn(&[&["monitor"], arguments].concat());
    let stdout = child.stdout.take().expect("it is piped");
    let stderr = child.stderr.as_mut().expect("it is piped");
    let mut said = String::new();
    // A buffer of one byte reads no further than the line.
    BufReader::with_capacity(1, stderr).read_line(&mut said).expect("it says something");
    assert_eq!(said, "ofctl: watching; Ctrl-C ends\n");
    (child, stdout)
}

/// The line without its duration, which differs from run to run.
fn timeless(line: &str) -> String {
    let words = line.split(' ').filter(|word| !word.starts_with("duration="));
    words.collect::<Vec<_>>().join(" ")
}

/// A broadcast frame from the MAC address 02:00:00:00:00:`src`.
fn frame(src: u8) -> Vec<u8> {
    [&[0xff; 6][..], &[2, 0, 0, 0, 0, src, 0x88, 0xb5], &[0; 46]].concat()
}

#[test]
fn rules_are_told_with_their_reason_and_last_counters() {
    let bench = Bench::new();
    let monitor = Monitor::start(&bench, &["br0", "flows"]);
    bench.ok(&["add-flow", "cookie=0x1,priority=5,in_port=1,actions=output:2"]);
    assert_eq!(
        monitor.next(),
        "event=ADDED table=0 cookie=0x1 priority=5,in_port=1 actions=output:2"
    );
    for n in 0..5 {
        bench.ports[0].inject(&frame(n));
    }
    lab::eventually("the frames to be sent", || bench.ports[1].sent_count() == 5).unwrap();
    bench.ok(&["-O", "OpenFlow13", "mod-flows", "in_port=1,actions=output:3"]);
    assert_eq!(
        monitor.next(),
        "event=MODIFIED table=0 cookie=0x1 priority=5,in_port=1 actions=output:3"
    );
    bench.ok(&["add-flow", "table=1,priority=5,in_port=1,actions=drop"]);
    assert_eq!(monitor.next(), "event=ADDED table=1 cookie=0 priority=5,in_port=1 actions=drop");
    bench.ok(&["--strict", "del-flows", "table=0,priority=5,in_port=1"]);
    assert_eq!(
        timeless(&monitor.next()),
        "event=DELETED reason=delete table=0 cookie=0x1 n_packets=5 n_bytes=300 \
         priority=5,in_port=1 actions=output:3"
    );
    bench.ok(&["add-flow", "table=1,priority=5,in_port=1,actions=output:1"]);
    assert_eq!(
        timeless(&monitor.next()),
        "event=DELETED reason=replaced table=1 cookie=0 n_packets=0 n_bytes=0 \
         priority=5,in_port=1 actions=drop"
    );
    assert_eq!(
        monitor.next(),
        "event=ADDED table=1 cookie=0 priority=5,in_port=1 actions=output:1"
    );
}

#[test]
fn groups_take_their_rules_along() {
    let bench = Bench::new();
    let monitor = Monitor::start(&bench, &["-O", "OpenFlow13", "flows,groups"]);
    bench.ok(&["-O", "OpenFlow13", "add-group", "group_id=1,type=all,bucket=output:1"]);
    assert_eq!(
        monitor.next(),
        "br0: event=GROUP_ADDED group_id=1,type=all,bucket=actions=output:1"
    );
    bench.ok(&["-O", "OpenFlow13", "add-flow", "ip,actions=group:1"]);
    assert_eq!(monitor.next(), "br0: event=ADDED table=0 cookie=0 ip actions=group:1");
    bench.ok(&["-O", "OpenFlow13", "mod-group", "group_id=1,type=all,bucket=output:2"]);
    assert_eq!(
        monitor.next(),
        "br0: event=GROUP_MODIFIED group_id=1,type=all,bucket=actions=output:2"
    );
    bench.ok(&["-O", "OpenFlow13", "del-groups"]);
    assert_eq!(monitor.next(), "br0: event=GROUP_DELETED group_id=1");
    assert!(monitor.next().starts_with("br0: event=DELETED reason=group_delete table=0 cookie=0 "));
}

#[test]
fn ports_and_hosts_are_told() {
    let bench = Bench::new();
    let ports = Monitor::start(&bench, &["ports", "--names"]);
    let hosts = Monitor::start(&bench, &["br0", "hosts", "--names"]);
    bench.ok(&["mod-port", "p3", "no-flood"]);
    let line = ports.next();
    assert!(line.starts_with("br0: event=PORT_MODIFIED port=3 name=p3 mac="), "{line}");
    assert!(line.ends_with(" link=up config=NO_FLOOD"), "{line}");
    bench.ok(&["set-port", "p2", "tag=10"]);
    let line = ports.next();
    assert!(line.ends_with(" link=up vlan_mode=access tag=10"), "{line}");
    bench.ports[0].inject(&frame(1));
    assert_eq!(hosts.next(), "event=HOST_LEARNED vlan=0 mac=02:00:00:00:00:01 port=p1");
    bench.ports[2].inject(&frame(1));
    assert_eq!(hosts.next(), "event=HOST_MOVED vlan=0 mac=02:00:00:00:00:01 from=p1 port=p3");
    bench.ok(&["fdb-add", "p1", "0", "02:00:00:00:00:09"]);
    assert_eq!(hosts.next(), "event=HOST_ADDED vlan=0 mac=02:00:00:00:00:09 port=p1");
    bench.ok(&["del-port", "p3"]);
    assert_eq!(ports.next(), "br0: event=PORT_DELETED port=3 name=p3");
    assert_eq!(
        hosts.next(),
        "event=HOST_DELETED reason=flushed vlan=0 mac=02:00:00:00:00:01 port=3"
    );
}

#[test]
fn records_are_for_machines() {
    let bench = Bench::new();
    let monitor = Monitor::start(&bench, &["--json"]);
    bench.ok(&["add-flow", "cookie=7,udp,actions=2"]);
    let record: serde_json::Value = serde_json::from_str(&monitor.next()).expect("one a line");
    assert_eq!(record["event"], "flow_added");
    assert_eq!((&record["bridge"], &record["flow"]["match"]), (&"br0".into(), &"udp".into()));
    bench.ok(&["del-flows", "udp"]);
    let record: serde_json::Value = serde_json::from_str(&monitor.next()).expect("one a line");
    assert_eq!((&record["event"], &record["reason"]), (&"flow_deleted".into(), &"delete".into()));
    assert_eq!(record["flow"]["cookie"], "0x7");
}

#[test]
fn all_that_happens_in_two_bridges_is_told_with_the_bridge() {
    let bench = Bench::new();
    bench.ok(&["add-br", "br1"]);
    bench.ok(&["add-port", "br0", "patch:to-br1", "peer=to-br0"]);
    let all = Monitor::start(&bench, &[]);
    let rules = Monitor::start(&bench, &["br1", "flows", "--json"]);
    let record =
        || -> serde_json::Value { serde_json::from_str(&rules.next()).expect("one record a line") };
    let line = || timeless(&all.next());

    bench.ok(&["add-port", "br1", "patch:to-br0", "peer=to-br1"]);
    let told = line();
    assert!(told.starts_with("br1: event=PORT_ADDED port=1 name=to-br0 mac="), "{told}");
    bench.ok(&["add-flow", "br0", "priority=5,in_port=p1,actions=output:to-br1"]);
    assert_eq!(line(), "br0: event=ADDED table=0 cookie=0 priority=5,in_port=1 actions=output:4");
    bench.ok(&["add-flow", "br1", "cookie=0x7,priority=5,in_port=1,actions=drop"]);
    assert_eq!(line(), "br1: event=ADDED table=0 cookie=0x7 priority=5,in_port=1 actions=drop");
    let added = record();
    assert_eq!((&added["event"], &added["bridge"]), (&"flow_added".into(), &"br1".into()));

    for n in 0..5 {
        bench.ports[0].inject(&frame(n));
    }
    let received = || bench.ok(&["dump-ports", "br1", "to-br0"]).contains("rx pkts=5,");
    lab::eventually("the frames to cross the patch", received).unwrap();
    bench.ok(&["-O", "OpenFlow13", "mod-flows", "br1", "in_port=1,actions=NORMAL"]);
    assert_eq!(
        line(),
        "br1: event=MODIFIED table=0 cookie=0x7 priority=5,in_port=1 actions=NORMAL"
    );
    assert_eq!(record()["event"], "flow_modified");
    // The second bridge learns; in the first one no NORMAL has seen the frame.
    bench.ports[0].inject(&frame(1));
    assert_eq!(line(), "br1: event=HOST_LEARNED vlan=0 mac=02:00:00:00:00:01 port=1");
    bench.ok(&["del-flows", "br1", "cookie=0x7/-1"]);
    assert_eq!(
        line(),
        "br1: event=DELETED reason=delete table=0 cookie=0x7 n_packets=6 n_bytes=360 \
         priority=5,in_port=1 actions=NORMAL"
    );
    let removed = record();
    assert_eq!((&removed["bridge"], &removed["reason"]), (&"br1".into(), &"delete".into()));
    assert_eq!(
        (&removed["flow"]["n_packets"], &removed["flow"]["n_bytes"]),
        (&6.into(), &360.into())
    );
    bench.ok(&["del-flows", "br0", "in_port=p1"]);
    assert_eq!(
        line(),
        "br0: event=DELETED reason=delete table=0 cookie=0 n_packets=6 n_bytes=360 \
         priority=5,in_port=1 actions=output:4"
    );

    bench.ok(&["del-br", "br1"]);
    let mut rest = Vec::new();
    while rest.last().is_none_or(|line| line != "br1: event=BRIDGE_DELETED name=br1") {
        rest.push(line());
    }
    let told = |words: &str| rest.iter().any(|line| line.starts_with(words));
    assert!(told("br1: event=PORT_DELETED port=1 name=to-br0"), "{rest:?}");
    assert!(
        told("br1: event=HOST_DELETED reason=flushed vlan=0 mac=02:00:00:00:00:01"),
        "{rest:?}"
    );
    assert!(told("br1: event=DELETED reason=delete table=0 cookie=0 n_packets="), "{rest:?}");
    assert_eq!(record()["flow"]["actions"], "NORMAL", "the rule that every bridge begins with");
}

#[test]
fn a_slow_reader_holds_nobody_up_and_is_told_what_it_has_lost() {
    const RULES: usize = 100_000;
    let bench = Bench::new();
    // The test does not read the output of this monitor.
    let (mut slow, mut unread) = watch(&bench, &["br0", "flows"]);
    let quick = Monitor::start(&bench, &["br0", "ports"]);
    let rules: String = (0..RULES).map(|n| format!("reg1={n},actions=2\n")).collect();
    bench.ok(&["add-flows", &bench.file("many", &rules)]);
    bench.ok(&["mod-port", "p3", "no-flood"]);
    assert!(quick.next().starts_with("event=PORT_MODIFIED port=3 "));
    // Now the test reads the output, up to the event behind the lost ones.
    let mut reader = BufReader::new(&mut unread).lines().map(|line| line.expect("text"));
    let (mut told, mut lost) = (0, 0);
    while told + lost < RULES {
        let line = reader.next().expect("all events are told or counted");
        match line.strip_suffix(" events lost") {
            Some(count) => lost += count.parse::<usize>().expect("a number"),
            None => {
                assert!(line.starts_with("event=ADDED table=0 "), "{line}");
                told += 1;
            }
        }
    }
    assert_eq!(told + lost, RULES);
    assert!(lost > 0, "a hundred thousand lines fit no queue");
    bench.ok(&["add-flow", "udp,actions=2"]);
    assert_eq!(
        reader.next().expect("it goes on"),
        "event=ADDED table=0 cookie=0 udp actions=output:2"
    );
    end(&mut slow);
}

#[test]
fn what_cannot_be_watched_is_told() {
    let bench = Bench::new();
    let refused = |arguments: &[&str], status, message: &str| {
        let (actual, output, errors) = bench.run(&[&["monitor"], arguments].concat());
        assert_eq!((actual, output.as_str(), errors.as_str()), (status, "", message));
    };
    refused(
        &["frob"],
        2,
        "ofctl: \"frob\" is neither a bridge nor a kind of event: bridges are br0; kinds are \
         flows, groups, meters, ports, hosts, bridges, conntrack\n",
    );
    refused(
        &["br0", "flows,frob"],
        2,
        "ofctl: unknown kind of event \"frob\": kinds are flows, groups, meters, ports, hosts, bridges, \
         conntrack\n",
    );
    refused(&["br7", "flows"], 1, "ofctl: there is no bridge \"br7\"\nhint: this switch has br0\n");
    let all: Vec<_> = (0..16).map(|_| watch(&bench, &[])).collect();
    refused(&[], 1, "ofctl: the switch has 16 monitors already: end one of them\n");
    for (mut child, _) in all {
        end(&mut child);
    }
}

#[test]
fn a_switch_that_ends_ends_its_monitors() {
    let bench = Bench::new();
    let (child, mut stdout) = watch(&bench, &[]);
    drop(bench);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("it ends");
    assert!(rest.lines().all(|line| line.starts_with("br0: event=PORT_")), "{rest}");
    let end = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&end.stderr), "ofctl: the switch has ended the session\n");
    assert_eq!(end.status.code(), Some(1));
}
