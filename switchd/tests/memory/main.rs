//! The whole switch over ports in memory: no privilege, no kernel interfaces.

mod bench;
mod counters;
mod hosts;
mod offloads;
mod rules;
