//! Test networks of Linux network namespaces, in which the switch runs.
//!
//! A *laboratory* has one network namespace for the switch, which the test process enters ([`enter`]), and one
//! for each [`Host`]. A veth pair or a TAP device connects each host to the switch. Hosts use the network stack
//! of the kernel with its default offloads, so that the switch is tested with the frames that real hosts send.
//!
//! A laboratory needs neither root nor other programs. User namespaces give the process the rights that it
//! needs, [`Netlink`] does the work of `ip`, and [`traffic`] that of `ping` and `iperf3`.
//!
//! The demo, the namespaced tests and the forwarding benchmark use this crate. The switch does not.

mod counters;
mod daemon;
mod error;
mod frames;
pub mod harness;
mod host;
mod namespace;
mod netlink;
mod open_vswitch;
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
pub use netlink::{Feature, LinkSpec, Netlink, RouteChoice, Tbf, Vxlan};
pub use open_vswitch::OpenVswitch;
pub use port_text::open_port;
pub use source::FrameSource;
pub use wait::{PATIENCE, eventually, within};
pub use wire::{OpenPort, Wire};
