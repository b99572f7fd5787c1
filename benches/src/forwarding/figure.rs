//! The numbers that a measurement gives: the columns of the table.

use crate::report::Better;

/// A number about what is between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Figure {
    /// Frames per second that arrive: how many bytes each, of how many flows.
    Frames(usize, usize),
    /// Processor time that a million small frames of this many flows take, of sender and switch together.
    CpuPerFrame(usize),
    /// Processor time of the switch's processes alone while small frames of one flow come as fast as they go.
    SwitchCpu,
    /// Throughput of this many TCP streams together.
    Tcp(usize),
    /// Processors of the whole machine that two billion bits a second of TCP take.
    PacedTcp,
    /// Requests of one byte that are answered in a second.
    RoundTrips,
    /// The time that half of the answers do not exceed.
    RoundTripMedian,
    /// The time that 99 % of the answers do not exceed.
    RoundTripTail,
    /// TCP connections that are opened, used for one request and closed in a second, one after the other.
    Calls,
    /// Processor time that the switch takes while nothing comes.
    IdleCpu,
    /// Memory that the switch's processes occupy.
    Memory,
}

impl Figure {
    /// Small and full frames, of one flow and of many.
    pub const FRAMES: [Self; 4] = [
        Self::Frames(60, 1),
        Self::Frames(60, 10_000),
        Self::Frames(1514, 1),
        Self::Frames(1514, 10_000),
    ];

    /// What the table calls it.
    pub fn name(self) -> String {
        match self {
            Self::Frames(size, 1) => format!("{size} B, 1 flow"),
            Self::Frames(size, flows) => format!("{size} B, {}k flows", flows / 1000),
            Self::CpuPerFrame(1) => "CPU, 60 B".to_owned(),
            Self::CpuPerFrame(flows) => format!("CPU, {}k flows", flows / 1000),
            Self::SwitchCpu => "switch's CPU".to_owned(),
            Self::Tcp(1) => "1 TCP stream".to_owned(),
            Self::Tcp(streams) => format!("{streams} streams"),
            Self::PacedTcp => "2 Gbit/s of TCP".to_owned(),
            Self::RoundTrips => "round trips".to_owned(),
            Self::RoundTripMedian => "p50".to_owned(),
            Self::RoundTripTail => "p99".to_owned(),
            Self::Calls => "connections".to_owned(),
            Self::IdleCpu => "idle CPU".to_owned(),
            Self::Memory => "memory".to_owned(),
        }
    }

    /// The unit that the table gives the numbers in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Frames(..) => "Mpps",
            Self::CpuPerFrame(_) => "s/M frames",
            Self::Tcp(_) => "Gbit/s",
            Self::PacedTcp => "cores",
            Self::RoundTrips | Self::Calls => "/s",
            Self::RoundTripMedian | Self::RoundTripTail => "µs",
            Self::IdleCpu | Self::SwitchCpu => "% of a core",
            Self::Memory => "MiB",
        }
    }

    /// Which of two is better.
    pub fn better(self) -> Better {
        match self {
            Self::Frames(..) | Self::Tcp(_) | Self::RoundTrips | Self::Calls => Better::Higher,
            _ => Better::Lower,
        }
    }
}
