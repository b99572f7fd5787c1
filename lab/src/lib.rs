//! Small networks to try the switch in, made of nothing but the kernel.
//!
//! A laboratory is a network namespace of this process ([`enter`]), in which the switch runs, and
//! one further namespace for each [`Host`], joined to it by a veth pair or a TAP device. Hosts are
//! plain Linux: their stack and their offloads are as the kernel makes them, which is the point.
//! Nothing here needs root or a program that somebody would have to install: user namespaces give
//! the rights, [`Netlink`] does what `ip` does, and [`traffic`] does what `ping` and
//! `iperf3` do.
//!
//! The demo, the namespaced tests and the forwarding benchmark are built on it. It is not part of
//! the switch, and the switch does not know it.

mod counters;
mod daemon;
mod error;
mod frames;
pub mod harness;
mod host;
mod namespace;
mod netlink;
mod port_text;
mod source;
pub mod traffic;
mod wait;
mod wire;

pub use counters::{Counters, InterfaceCounters};
pub use daemon::{Daemon, RunDir};
pub use error::LabError;
pub use frames::{EXPERIMENTAL, FrameSocket, experimental_frame};
pub use host::{Host, HostPlan, InterfaceVlan, has_taps};
pub use namespace::{Namespace, enter};
pub use netlink::{LinkSpec, Netlink, Tbf, Vxlan};
pub use port_text::open_port;
pub use source::FrameSource;
pub use wait::{PATIENCE, eventually, within};
pub use wire::{OpenPort, Wire};
