//! Ports against the kernel: each test is a process of its own in a network namespace of its own
//! (and a user namespace, for those who are not root), with veth pairs to further namespaces.
//!
//! This test has no harness, because a process with threads cannot make a user namespace. It runs
//! itself again for each test and prints what was skipped, and why, at the end. With
//! `SWITCHD_REQUIRE=netns` a skip is a failure. Arguments are parts of test names.

mod device;
mod lab;
mod tap;
mod traffic;

use lab::{Outcome, Skip};
use std::process::{Command, ExitCode, Stdio};

/// Names the test that a child process is to run.
const CHILD: &str = "SWITCHD_PORTS_TEST";
const SKIPPED: u8 = 77;
/// Seconds after which the kernel ends a test that hangs.
const PATIENCE: u32 = 60;

type Test = (&'static str, fn() -> Outcome);

const TESTS: &[Test] = &[
    ("tags_are_kept_in_both_directions", traffic::tags_are_kept_in_both_directions),
    ("large_frames_pass_whole", traffic::large_frames_pass_whole),
    ("large_slots_do_without_copies", traffic::large_slots_do_without_copies),
    ("tunnels_of_hosts_pass", traffic::tunnels_of_hosts_pass),
    ("own_frames_are_not_heard", traffic::own_frames_are_not_heard),
    ("a_source_sends_its_frames_in_rotation", traffic::a_source_sends_its_frames_in_rotation),
    ("ring_overflow_is_counted", traffic::ring_overflow_is_counted),
    ("a_refused_frame_does_not_stop_the_others", traffic::a_refused_frame_does_not_stop_the_others),
    ("the_host_stack_is_shielded", device::the_host_stack_is_shielded),
    ("a_device_of_another_bridge_is_refused", device::a_device_of_another_bridge_is_refused),
    ("a_shield_left_by_a_crash_is_adopted", device::a_shield_left_by_a_crash_is_adopted),
    ("addresses_are_warned_of", device::addresses_are_warned_of),
    ("a_device_is_put_back_as_it_was", device::a_device_is_put_back_as_it_was),
    ("a_device_is_one_port_at_a_time", device::a_device_is_one_port_at_a_time),
    ("a_missing_device_is_named", device::a_missing_device_is_named),
    ("a_missing_capability_is_named", device::a_missing_capability_is_named),
    ("queueing_is_honoured_while_there_is_any", device::queueing_is_honoured_while_there_is_any),
    ("events_tell_what_happens_to_a_device", device::events_tell_what_happens_to_a_device),
    ("a_tap_device_carries_frames_and_goes_away", tap::a_tap_device_carries_frames_and_goes_away),
];

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(CHILD) {
        return run_child(&name);
    }
    let filters: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let is_wanted = |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(f));
    if std::env::args().any(|a| a == "--list") {
        TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, _) in TESTS.iter().filter(|(name, _)| is_wanted(name)) {
        let output = Command::new(std::env::current_exe().expect("this program has a path"))
            .env(CHILD, name)
            .stdin(Stdio::null())
            .output()
            .expect("this program can be run again");
        let said = String::from_utf8_lossy(&output.stdout);
        match output.status.code() {
            Some(0) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Some(code) if code == i32::from(SKIPPED) => {
                skipped += 1;
                println!("test {name} ... skipped: {}", said.trim());
            }
            _ => {
                failed += 1;
                let errors = String::from_utf8_lossy(&output.stderr);
                println!("test {name} ... FAILED ({})\n{said}{errors}", output.status);
            }
        }
    }
    let requires =
        std::env::var("SWITCHD_REQUIRE").is_ok_and(|r| r.split(',').any(|r| r == "netns"));
    println!("\nnetns: {passed} passed, {failed} failed, {skipped} skipped");
    if skipped > 0 && requires {
        println!("SWITCHD_REQUIRE=netns: what is skipped has failed");
        return ExitCode::FAILURE;
    }
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run_child(name: &str) -> ExitCode {
    let Some((_, test)) = TESTS.iter().find(|(n, _)| *n == name) else {
        eprintln!("no test is called {name}");
        return ExitCode::FAILURE;
    };
    nix::unistd::alarm::set(PATIENCE);
    match lab::enter_namespace().and_then(|()| test()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Skip(reason)) => {
            println!("{reason}");
            ExitCode::from(SKIPPED)
        }
    }
}
