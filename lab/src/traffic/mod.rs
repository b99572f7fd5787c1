//! Traffic between namespaces, made by the kernel's own protocols: what `ping` and `iperf3` do.
//!
//! Everything here opens its sockets inside the namespaces it is given and may be called from any
//! thread. What arrives is compared with what was sent.

mod load;
mod pattern;
mod ping;
mod round_trips;
mod tcp;
mod udp;

pub use load::{LoadReport, TcpLoad};
pub use ping::{Ping, PingReport};
pub use round_trips::{RoundTripReport, RoundTrips};
pub use tcp::{TcpTransfer, Transfer};
pub use udp::{UdpExchange, UdpReport};
