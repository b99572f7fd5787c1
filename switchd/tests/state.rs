//! State over the end of a process: killed while clients change rules, stopped, and
//! started with another command line.

use control::{Client, FlowCommand, Format, Operation, Reply, SavedQuery};
use lab::{Daemon, RunDir};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::thread;

const SWITCHD: &str = env!("CARGO_BIN_EXE_switchd");
/// Rules that each client adds at most before the switch is killed.
const RULES: usize = 5000;

/// A switch with two ports in memory that keeps its state in this directory.
fn start(state: &Path, more: &[&str]) -> Daemon {
    let state = state.to_str().expect("a path that is text");
    let ports = ["--state", state, "--port", "dummy:p1", "--port", "dummy:p2"];
    Daemon::start(Path::new(SWITCHD), ports.iter().chain(more)).unwrap()
}

/// Adds rules one by one, `from` is part of each. Returns how many the switch has
/// confirmed before it was killed.
fn add_rules(mut client: Client, from: usize) -> usize {
    let add = |n: &usize| {
        let rule = format!("table={},ip,nw_dst=10.0.{}.{},actions=1", from, n / 256, n % 256);
        client.change_flows(FlowCommand::Add, &rule).is_ok()
    };
    (0..RULES).take_while(add).count()
}

fn count(client: &mut Client, filter: &str) -> usize {
    client.flows(filter).unwrap().len()
}

#[test]
fn a_rule_that_was_confirmed_survives_a_kill() {
    let state = RunDir::new().unwrap();
    for round in 0..5 {
        let daemon = start(state.path(), &[]);
        daemon.client().unwrap().change_flows(FlowCommand::Delete, "ip").unwrap();
        let clients: Vec<_> = (1..=3).map(|n| (n, daemon.client().unwrap())).collect();
        let confirmed: Vec<usize> = thread::scope(|scope| {
            let threads: Vec<_> = clients
                .into_iter()
                .map(|(n, client)| scope.spawn(move || add_rules(client, n)))
                .collect();
            let mut client = daemon.client().unwrap();
            let wanted = 50 * (round + 1);
            lab::eventually("some rules", || count(&mut client, "ip") >= wanted).unwrap();
            daemon.crash().unwrap();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let daemon = start(state.path(), &[]);
        let mut client = daemon.client().unwrap();
        for (n, confirmed) in (1..).zip(confirmed) {
            let kept = count(&mut client, &format!("table={n}"));
            // The last one may have been kept and not been confirmed.
            assert!((confirmed..=confirmed + 1).contains(&kept), "{kept} of {confirmed}");
        }
        daemon.stop().unwrap();
    }
}

/// The whole switch as text.
fn save(client: &mut Client) -> String {
    let mut text = String::new();
    let mut add = |piece: &str| {
        text.push_str(piece);
        Ok(())
    };
    let operation = Operation::Save { format: Format::Text };
    client.call(operation, &mut std::io::empty(), &mut add).unwrap();
    text
}

fn apply(client: &mut Client, text: &str, confirm: Option<u32>) {
    let query = SavedQuery { name: "new.toml".to_owned(), ..SavedQuery::default() };
    let operation = Operation::Apply { query, confirm };
    client.call(operation, &mut text.as_bytes(), &mut |_| Ok(())).unwrap();
}

#[test]
fn a_change_that_was_not_confirmed_is_taken_back_after_a_kill() {
    let state = RunDir::new().unwrap();
    let daemon = start(state.path(), &[]);
    let mut client = daemon.client().unwrap();
    client.change_flows(FlowCommand::Add, "arp,actions=2").unwrap();
    let before = save(&mut client);
    let other = before.replace("arp actions=output:2", "udp actions=output:1");
    let other = other.replace("device = \"dummy:p2\"", "device = \"dummy:p7\"");
    apply(&mut client, &other, Some(3600));
    assert_eq!(save(&mut client), other);
    daemon.crash().unwrap();
    let daemon = start(state.path(), &[]);
    let mut client = daemon.client().unwrap();
    assert_eq!(save(&mut client), before);
    let log = daemon.log();
    assert!(log.contains("\"apply new.toml\" of ") && log.contains("it is taken back"), "{log}");
    // Once more, confirmed.
    apply(&mut client, &other, Some(3600));
    client.ask(Operation::Confirm).unwrap();
    daemon.crash().unwrap();
    let daemon = start(state.path(), &[]);
    let mut client = daemon.client().unwrap();
    assert_eq!(save(&mut client), other);
    // The history is there, too.
    let Reply::History(states) = client.ask(Operation::History).unwrap() else { panic!() };
    assert_eq!(states.iter().map(|state| state.number).collect::<Vec<_>>(), [1, 2]);
    client.ask(Operation::Rollback { to: Some(1), format: Format::Text }).unwrap();
    assert_eq!(save(&mut client), before);
    daemon.stop().unwrap();
    let daemon = start(state.path(), &[]);
    assert_eq!(save(&mut daemon.client().unwrap()), before);
}

#[test]
fn a_bridge_that_does_not_persist_begins_anew() {
    let state = RunDir::new().unwrap();
    let daemon = start(state.path(), &[]);
    let mut client = daemon.client().unwrap();
    let name = "br1".to_owned();
    client.ask(Operation::AddBr { name: name.clone(), datapath_id: None, persist: false }).unwrap();
    client.set_bridge(Some("br0".to_owned()));
    client.change_flows(FlowCommand::Add, "arp,actions=2").unwrap();
    let kept = save(&mut client);
    client.set_bridge(Some(name));
    client.change_flows(FlowCommand::Add, "udp,actions=2").unwrap();
    client.ask(Operation::AddPort { spec: "dummy:q1".to_owned() }).unwrap();
    assert_ne!(save(&mut client), kept);
    daemon.crash().unwrap();
    let daemon = start(state.path(), &[]);
    let mut client = daemon.client().unwrap();
    assert_eq!(save(&mut client), kept);
    // From now on it persists, with what it has got meanwhile.
    client.set_bridge(Some("br1".to_owned()));
    client.change_flows(FlowCommand::Add, "udp,actions=2").unwrap();
    let text = save(&mut client).replace("persist = false\n", "");
    apply(&mut client, &text, None);
    daemon.crash().unwrap();
    let daemon = start(state.path(), &[]);
    assert_eq!(save(&mut daemon.client().unwrap()), text);
    daemon.stop().unwrap();
}

#[test]
fn sighup_reads_the_file_again() {
    let state = RunDir::new().unwrap();
    let file = state.path().join("switch.toml");
    let bridge = |ports: &str| format!("[[bridge]]\nname = \"br0\"\nport = [{ports}]\n");
    let write = |text: &str| fs::write(&file, text).unwrap();
    write(&bridge("{device=\"dummy:a\"}, {device=\"dummy:b\"}"));
    let kept = state.path().join("state");
    let arguments = ["--config", file.to_str().unwrap(), "--state", kept.to_str().unwrap()];
    let daemon = Daemon::start(Path::new(SWITCHD), arguments).unwrap();
    let mut client = daemon.client().unwrap();
    client.change_flows(FlowCommand::Add, "arp,actions=2").unwrap();
    client.ask(Operation::AddPort { spec: "dummy:c".to_owned() }).unwrap();
    let log_has = |daemon: &Daemon, text: &str| {
        lab::eventually("a line in the log", || daemon.log().contains(text)).unwrap();
    };
    write(&bridge("{device=\"dummy:b\", number=2, tag=7}, {device=\"dummy:d\"}"));
    daemon.signal(Signal::SIGHUP).unwrap();
    log_has(&daemon, "switch.toml is read again: 3 changes");
    log_has(&daemon, "~ br0 port dummy:b,number=2,vlan_mode=access,tag=7 (was: dummy:b,number=2)");
    let text = save(&mut client);
    let devices: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("device = ")).collect();
    assert_eq!(devices, ["\"dummy:b\"", "\"dummy:c\"", "\"dummy:d\""], "{text}");
    assert!(text.contains("arp actions=output:2"), "{text}");

    write("[[bridge]]\nname = \"br0\"\nnam = 1\n");
    daemon.signal(Signal::SIGHUP).unwrap();
    log_has(&daemon, "nothing is changed");
    log_has(&daemon, "switch.toml:3:1: unknown key");
    assert_eq!(save(&mut client), text);
    // The next start has nothing to do: the file says what it said when it was last read.
    write(&bridge("{device=\"dummy:b\", number=2, tag=7}, {device=\"dummy:d\"}"));
    client.ask(Operation::DelPort { port: "d".to_owned() }).unwrap();
    let text = save(&mut client);
    daemon.crash().unwrap();
    let daemon = Daemon::start(Path::new(SWITCHD), arguments).unwrap();
    assert_eq!(save(&mut daemon.client().unwrap()), text);
    daemon.stop().unwrap();

    let mut daemon = Daemon::start(Path::new(SWITCHD), ["--port", "dummy:a"]).unwrap();
    daemon.signal(Signal::SIGHUP).unwrap();
    assert!(daemon.wait().unwrap().success(), "without --config it ends");
}

#[test]
fn a_switch_that_is_stopped_says_what_it_keeps() {
    let state = RunDir::new().unwrap();
    let daemon = start(state.path(), &["--state-sync", "interval"]);
    daemon.client().unwrap().change_flows(FlowCommand::Add, "arp,actions=2").unwrap();
    let (status, log) = daemon.stop().unwrap();
    assert!(status.success() && log.contains("state is kept in "), "{log}");
    let state_dir = state.path().to_str().unwrap();
    // Neither a port nor a file is needed any more.
    let daemon = Daemon::start(Path::new(SWITCHD), ["--state", state_dir]).unwrap();
    let mut client = daemon.client().unwrap();
    assert_eq!(count(&mut client, "arp"), 1);
    assert_eq!(client.port_stats().unwrap().len(), 2);
    daemon.stop().unwrap();
    let one_port = ["--state", state_dir, "--port", "dummy:p2,number=2"];
    let daemon = Daemon::start(Path::new(SWITCHD), one_port).unwrap();
    assert_eq!(daemon.client().unwrap().port_stats().unwrap().len(), 1);
    let (_, log) = daemon.stop().unwrap();
    assert!(log.contains("port p1: taken away, as it is not configured any more"), "{log}");
    let daemon = Daemon::start(Path::new(SWITCHD), ["--port", "dummy:p1"]).unwrap();
    let (_, log) = daemon.stop().unwrap();
    assert!(log.contains("--state DIR keeps them") && log.contains("are not kept"), "{log}");
}
