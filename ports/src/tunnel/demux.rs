//! Finds the tunnel port that a received frame belongs to: the most specific one, as in Open vSwitch.
//!
//! A port may fix the key, the remote address and its own address of the frames that it takes. Of the ports
//! that would take a frame, one that fixes the key comes before others, then one that fixes the remote address,
//! then one that fixes its own.

use super::bfd::BfdTap;
use crate::PortStatus;
use packet::OptionMap;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Why a tunnel port refuses what it has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelRefusal {
    /// The outer header says that there is congestion, and the packet's sender does not know ECN.
    Congested,
    /// The tunnel's header is damaged or asks for what this end does not know.
    Header,
}

/// How many received frames a tunnel port has refused before the pipeline saw them.
#[derive(Debug, Default)]
pub struct RefusedCount {
    congested: AtomicU64,
    header: AtomicU64,
}

impl RefusedCount {
    pub(crate) fn add(&self, refusal: TunnelRefusal) {
        let count = match refusal {
            TunnelRefusal::Congested => &self.congested,
            TunnelRefusal::Header => &self.header,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of frames that were refused for a reason.
    pub fn get(&self, refusal: TunnelRefusal) -> u64 {
        match refusal {
            TunnelRefusal::Congested => self.congested.load(Ordering::Relaxed),
            TunnelRefusal::Header => self.header.load(Ordering::Relaxed),
        }
    }
}

/// The frames that a port takes: `None` takes any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    pub(crate) key: Option<u64>,
    pub(crate) remote: Option<IpAddr>,
    pub(crate) local: Option<IpAddr>,
}

/// A tunnel port among those of an endpoint.
#[derive(Debug)]
pub(crate) struct Member {
    /// The number that the switch has given the port.
    pub(crate) port: u16,
    pub(crate) has_group_policy: bool,
    /// The options of Geneve that are fields.
    pub(crate) options: Arc<OptionMap>,
    pub(crate) status: Arc<PortStatus>,
    pub(crate) refused: Arc<RefusedCount>,
    pub(crate) bfd: Arc<BfdTap>,
}

/// The ports of an endpoint, at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    by_pattern: HashMap<Pattern, Arc<Member>>,
}

impl Ports {
    /// The port that a frame belongs to; `None` if no port takes the frame.
    pub(crate) fn find(&self, key: u64, remote: IpAddr, local: IpAddr) -> Option<&Arc<Member>> {
        for key in [Some(key), None] {
            for remote in [Some(remote), None] {
                for local in [Some(local), None] {
                    if let Some(member) = self.by_pattern.get(&Pattern { key, remote, local }) {
                        return Some(member);
                    }
                }
            }
        }
        None
    }
}

/// The ports of an endpoint, which come and go while workers look them up.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    /// Rises with each change of `ports`.
    version: AtomicU64,
    ports: RwLock<Arc<Ports>>,
}

impl Demux {
    pub(crate) fn insert(&self, pattern: Pattern, member: Member) {
        self.change(|ports| {
            ports.by_pattern.insert(pattern, Arc::new(member));
        });
    }

    pub(crate) fn remove(&self, pattern: &Pattern) {
        self.change(|ports| {
            ports.by_pattern.remove(pattern);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Ports)) {
        let mut ports = self.ports.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut ports));
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// A worker's picture of the ports, which takes the lock only when they have changed.
#[derive(Debug)]
pub(crate) struct DemuxReader {
    demux: Arc<Demux>,
    version: u64,
    ports: Arc<Ports>,
}

impl DemuxReader {
    pub(crate) fn new(demux: Arc<Demux>) -> Self {
        let mut reader = Self { demux, version: u64::MAX, ports: Arc::default() };
        reader.refresh();
        reader
    }

    /// Takes over what has changed. Returns whether anything has.
    pub(crate) fn refresh(&mut self) -> bool {
        let version = self.demux.version.load(Ordering::Acquire);
        let is_new = version != self.version;
        if is_new {
            // The lock makes the version and the ports belong together.
            let ports = self.demux.ports.read().unwrap_or_else(PoisonError::into_inner);
            self.version = self.demux.version.load(Ordering::Acquire);
            self.ports = Arc::clone(&ports);
        }
        is_new
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }
}

#[cfg(test)]
mod tests {
    use super::super::bfd::BfdInbox;
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_most_specific_port_takes_a_frame() {
        let demux = Arc::new(Demux::default());
        let mut reader = DemuxReader::new(Arc::clone(&demux));
        let patterns = [
            (None, None, None),
            (None, None, Some(2)),
            (None, Some(1), None),
            (None, Some(1), Some(2)),
            (Some(7), None, None),
            (Some(7), None, Some(2)),
            (Some(7), Some(1), None),
            (Some(7), Some(1), Some(2)),
        ];
        let pattern = |(key, remote, local): (Option<u64>, Option<u8>, Option<u8>)| Pattern {
            key,
            remote: remote.map(address),
            local: local.map(address),
        };
        for (port, fixed) in (0..).zip(patterns) {
            let member = Member {
                port,
                has_group_policy: false,
                options: Arc::default(),
                status: PortStatus::new(true, 1450, true),
                refused: Arc::default(),
                bfd: BfdTap::new(BfdInbox::new().0),
            };
            demux.insert(pattern(fixed), member);
            assert!(reader.refresh() && !reader.refresh());
            let found = reader.ports().find(7, address(1), address(2)).unwrap();
            assert_eq!(found.port, port, "each is more specific than those before");
        }
        assert_eq!(reader.ports().find(8, address(1), address(3)).unwrap().port, 2);
        assert_eq!(reader.ports().find(8, address(3), address(3)).unwrap().port, 0);
        demux.remove(&pattern(patterns[0]));
        reader.refresh();
        assert!(reader.ports().find(8, address(3), address(3)).is_none());
    }
}
