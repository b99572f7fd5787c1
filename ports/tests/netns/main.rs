//! Ports against the kernel: each test is a process of its own in a network namespace of its own
//! (and a user namespace, for those who are not root), with veth pairs to further namespaces.
//!
//! What a kernel cannot do is skipped aloud; with `SWITCHD_REQUIRE=netns` a machine without namespaces
//! makes the tests fail. Arguments are parts of test names.

mod device;
mod fixture;
mod offloads;
mod tap;
mod traffic;

use std::process::ExitCode;

fn main() -> ExitCode {
    lab::harness::run(&[device::TESTS, offloads::TESTS, tap::TESTS, traffic::TESTS].concat())
}
