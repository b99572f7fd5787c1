//! State over the end of a process: killed while clients change rules, stopped, and started with another command line.

use control::{Client, FlowCommand};
use lab::{Daemon, RunDir};
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

/// Adds rules one by one, `from` is part of each. Returns how many the switch has confirmed before it was killed.
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
