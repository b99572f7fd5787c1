//! The ways to the remote ends of a tunnel port: how long a frame may be, and whether groups of datagrams can be sent.

use super::devices::{OwnDevices, TunnelGroup};
use super::sockets::{asking, path_mtu};
use crate::PortError;
use crate::netlink::Netlink;
use crate::rootless;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The kernel is asked again for the MTU and the device of a way after this time. The two questions take some 20 µs.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Groups of datagrams are tried again after this time on a way where the kernel refused them.
const TRY_GROUPS_AGAIN: Duration = Duration::from_secs(120);
/// Ways that are remembered. When there are more, all are forgotten, and the kernel is asked again.
const MAX_PATHS: usize = 16_384;
/// The MTU of a way of which the kernel says nothing.
const UNKNOWN_MTU: u32 = 65_535;

/// Asks the kernel for ways, in the network namespace of an endpoint.
pub(super) struct Asking {
    /// A UDP socket that only asks for routes and MTUs: it is connected to a remote end, and never sends.
    socket: OwnedFd,
    routes: Mutex<Netlink>,
    netns: Option<String>,
    devices: Arc<OwnDevices>,
}

impl Asking {
    /// Opens the sockets in the calling thread's network namespace, which is the one called `netns`.
    pub(super) fn open(
        is_v6: bool,
        netns: Option<&str>,
        devices: &Arc<OwnDevices>,
    ) -> Result<Self, PortError> {
        let socket = |source: io::Error| PortError::Os {
            operation: "open a socket that asks for",
            object: "the way of a tunnel".to_owned(),
            source,
        };
        Ok(Self {
            socket: asking(is_v6).map_err(socket)?,
            routes: Mutex::new(Netlink::open()?),
            netns: netns.map(str::to_owned),
            devices: Arc::clone(devices),
        })
    }

    /// Whether what is sent to a remote end would come back to the bridges of this switch.
    fn leads_back(&self, group: TunnelGroup, remote: IpAddr) -> bool {
        // The devices of the switch are inside.
        if self.netns.is_none() && rootless::has_outside() {
            return false;
        }
        // Whoever panicked has left a socket that can be asked again.
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a route nothing is sent, and nothing comes back.
        let device = routes.route_device(remote).ok().flatten();
        device.is_some_and(|index| self.devices.leads_back(self.netns.as_deref(), index, group))
    }
}

/// What a tunnel port shows of its way. With several remote ends, it is that of the one that was asked for last.
#[derive(Debug, Default)]
pub struct PathState {
    mtu: AtomicU32,
    is_without_groups: AtomicBool,
    is_loop: AtomicBool,
}

impl PathState {
    /// The MTU of the way, in bytes from the outer IP header on; `None` before something was sent.
    pub fn mtu(&self) -> Option<u32> {
        Some(self.mtu.load(Ordering::Relaxed)).filter(|mtu| *mtu != 0)
    }

    /// Whether the route leads through a port of this switch, so that nothing is sent.
    pub fn is_loop(&self) -> bool {
        self.is_loop.load(Ordering::Relaxed)
    }

    /// Whether several datagrams are sent at once (`UDP_SEGMENT`).
    pub fn sends_groups(&self) -> bool {
        !self.is_without_groups.load(Ordering::Relaxed)
    }
}

/// The way to one remote end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// Bytes of the largest packet, from the outer IP header on.
    pub(super) mtu: u32,
    asked: Instant,
    /// Whether the route leads through a port of this switch.
    pub(super) is_loop: bool,
    refused_groups: Option<Instant>,
}

impl Path {
    /// Whether datagrams are sent in groups.
    pub(super) fn sends_groups(&self) -> bool {
        self.refused_groups.is_none()
    }
}

/// The ways of one queue.
#[derive(Debug, Default)]
pub(super) struct Paths {
    by_remote: HashMap<IpAddr, Path>,
    last: Option<(IpAddr, Path)>,
}

impl Paths {
    /// The way to a remote end. `asking` is a socket of the remote's version of IP.
    pub(super) fn path(
        &mut self,
        asking: &Asking,
        group: TunnelGroup,
        remote: IpAddr,
        now: Instant,
        state: &PathState,
    ) -> Path {
        if let Some((known, path)) = self.last
            && known == remote
            && now.saturating_duration_since(path.asked) < ASK_AGAIN
        {
            return path;
        }
        let known = self.by_remote.get(&remote).copied();
        match known.filter(|path| now.saturating_duration_since(path.asked) < ASK_AGAIN) {
            Some(path) => {
                self.last = Some((remote, path));
                path
            }
            None => self.ask_again(asking, group, remote, now, state),
        }
    }

    /// Asks the kernel for the way to a remote end, whatever is known of it: because that is old, or because
    /// the kernel has refused a datagram as too long.
    pub(super) fn ask_again(
        &mut self,
        asking: &Asking,
        group: TunnelGroup,
        remote: IpAddr,
        now: Instant,
        state: &PathState,
    ) -> Path {
        let known = self.by_remote.get(&remote).copied();
        let path = self.ask(asking, group, remote, known, now, state);
        self.last = Some((remote, path));
        path
    }

    /// The kernel refuses groups of datagrams on the way to a remote end.
    pub(super) fn refuse_groups(&mut self, remote: IpAddr, now: Instant, state: &PathState) {
        if let Some(path) = self.by_remote.get_mut(&remote) {
            path.refused_groups = Some(now);
            state.is_without_groups.store(true, Ordering::Relaxed);
        }
        self.last = None;
    }

    /// The MTU of the way to a remote end, as far as it was asked for.
    pub(super) fn known_mtu(&self, remote: IpAddr) -> u32 {
        self.by_remote.get(&remote).map_or(UNKNOWN_MTU, |path| path.mtu)
    }

    fn ask(
        &mut self,
        asking: &Asking,
        group: TunnelGroup,
        remote: IpAddr,
        known: Option<Path>,
        now: Instant,
        state: &PathState,
    ) -> Path {
        // What is sent without a way fails, and says so then.
        let mtu = path_mtu(asking.socket.as_fd(), remote).unwrap_or(UNKNOWN_MTU);
        let is_loop = asking.leads_back(group, remote);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < TRY_GROUPS_AGAIN;
        let refused_groups = known.and_then(|path| path.refused_groups).filter(is_recent);
        if self.by_remote.len() >= MAX_PATHS {
            self.by_remote.clear();
        }
        let path = Path { mtu, asked: now, is_loop, refused_groups };
        self.by_remote.insert(remote, path);
        state.mtu.store(mtu, Ordering::Relaxed);
        state.is_loop.store(is_loop, Ordering::Relaxed);
        state.is_without_groups.store(refused_groups.is_some(), Ordering::Relaxed);
        path
    }
}
