//! Workloads and instruments that the benchmarks share.

pub mod attack;
pub mod classbench;
pub mod classbench_like;
pub mod cpu_time;
pub mod forwarding;
pub mod generate;
pub mod interrupt;
pub mod null_port;
pub mod openflow;
pub mod report;
pub mod rules;
pub mod workload;
