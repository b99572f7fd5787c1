//! Traffic between namespaces, as `ping` and `iperf3` make it, with the kernel's own protocols.
//!
//! Each function opens its sockets in the namespaces that it is given, and may be called from any thread.
//! Receivers compare the bytes with those that were sent, except in [`TcpLoad`].

mod calls;
mod load;
mod numbered;
mod pattern;
mod ping;
mod round_trips;
mod tcp;
mod udp;

pub use calls::Calls;
pub use load::{LoadReport, TcpLoad};
pub use numbered::{NumberedReport, NumberedStream};
pub use ping::{Ping, PingReport};
pub use round_trips::{RoundTripReport, RoundTrips};
pub use tcp::{TcpTransfer, Transfer};
pub use udp::{UdpExchange, UdpReport};
