//! The switch in real networks: namespaces, veth pairs, TAP devices and the kernel's own protocols.
//!
//! Needs no root where users may have user namespaces, and skips aloud where they may not;
//! `SWITCHD_REQUIRE=netns` makes that a failure. A name, or a part of one, selects tests.

mod bridges;
mod confinement;
mod connections;
mod controllers;
mod cookbook;
mod fixture;
mod floods;
mod frames;
mod helpers;
mod interop;
mod kernel_cache;
mod kernel_life;
mod kernel_ports;
mod kernel_races;
mod kernel_stale;
mod kernel_tunnels;
mod laboratory;
mod life;
mod memory;
mod offloads;
mod other_netns;
mod ownership;
mod queues;
mod reserved;
mod restart;
mod restart_clients;
mod rootless;
mod rules;
mod saved;
mod shield;
mod taps;
mod traffic;
mod translations;
mod trouble;
mod tunnels;
mod tunnels_life;
mod tunnels_ovs;
mod upgrade;
mod vlans;
mod workers;

use std::process::ExitCode;

fn main() -> ExitCode {
    let tests: Vec<_> = [
        bridges::TESTS,
        controllers::TESTS,
        cookbook::TESTS,
        confinement::TESTS,
        connections::TESTS,
        floods::TESTS,
        frames::TESTS,
        helpers::TESTS,
        interop::TESTS,
        kernel_cache::TESTS,
        kernel_life::TESTS,
        kernel_ports::TESTS,
        kernel_races::TESTS,
        kernel_stale::TESTS,
        kernel_tunnels::TESTS,
        laboratory::TESTS,
        life::TESTS,
        memory::TESTS,
        offloads::TESTS,
        ownership::TESTS,
        other_netns::TESTS,
        queues::TESTS,
        reserved::TESTS,
        restart::TESTS,
        restart_clients::TESTS,
        rootless::TESTS,
        rules::TESTS,
        saved::TESTS,
        shield::TESTS,
        taps::TESTS,
        traffic::TESTS,
        translations::TESTS,
        trouble::TESTS,
        tunnels::TESTS,
        tunnels_life::TESTS,
        tunnels_ovs::TESTS,
        upgrade::TESTS,
        vlans::TESTS,
        workers::TESTS,
    ]
    .concat();
    lab::harness::run(&tests)
}
