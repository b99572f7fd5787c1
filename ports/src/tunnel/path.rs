//! The ways to the remote ends of a tunnel port: how long a frame may be, and whether groups
//! of datagrams can be sent.

use super::devices::{OwnDevices, TunnelGroup};
use super::sockets::{asking, path_mtu};
use crate::PortError;
use crate::netlink::{Netlink, Route, Sender};
use crate::rootless;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The kernel is asked again for the MTU and the device of a way after this time. The two
/// questions take some 20 µs.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Groups of datagrams are tried again after this time on a way where the kernel refused them.
const TRY_GROUPS_AGAIN: Duration = Duration::from_secs(120);
/// Ways that are remembered. When there are more, all are forgotten, and the kernel is asked again.
const MAX_PATHS: usize = 16_384;
/// The MTU of a way of which the kernel says nothing.
const UNKNOWN_MTU: u32 = 65_535;

/// Asks the kernel for ways, in the network namespace of an endpoint.
pub(super) struct Asking {
    /// One question at a time: the answer is that of the remote end to which the socket is connected.
    sockets: Mutex<AskingSockets>,
    sender: Sender,
    netns: Option<String>,
    devices: Arc<OwnDevices>,
}

struct AskingSockets {
    /// A UDP socket that only asks for routes and MTUs: it is connected to a remote end, and never sends.
    datagram: OwnedFd,
    routes: Netlink,
}

impl Asking {
    /// Opens the sockets in the calling thread's network namespace, which is the one called `netns`.
    pub(super) fn open(
        is_v6: bool,
        sender: Sender,
        netns: Option<&str>,
        devices: &Arc<OwnDevices>,
    ) -> Result<Self, PortError> {
        let socket = |source: io::Error| PortError::Os {
            operation: "open a socket that asks for",
            object: "the way of a tunnel".to_owned(),
            source,
        };
        let datagram = asking(is_v6, sender.source, sender.mark).map_err(socket)?;
        Ok(Self {
            sockets: Mutex::new(AskingSockets { datagram, routes: Netlink::open()? }),
            sender,
            netns: netns.map(str::to_owned),
            devices: Arc::clone(devices),
        })
    }

    /// The network namespace of the ways; `None` is that of the switch.
    pub(super) fn netns(&self) -> Option<&str> {
        self.netns.as_deref()
    }

    /// The MTU of the way to a remote end, if there is a way, its route, and why nothing is sent there.
    pub(super) fn ask(
        &self,
        group: TunnelGroup,
        remote: IpAddr,
    ) -> (Option<u32>, Route, Option<Obstacle>) {
        // Whoever panicked has left sockets that can be asked again.
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let mtu = path_mtu(sockets.datagram.as_fd(), remote, self.sender.udp_port).ok();
        // Without a route nothing is sent, and nothing comes back.
        let route = sockets.routes.route(remote, self.sender).unwrap_or_default();
        if route.is_local {
            return (mtu, route, Some(Obstacle::OwnAddress));
        }
        // The devices of a switch without root are inside, and its tunnels outside.
        let may_have_devices = self.netns.is_some() || !rootless::has_outside();
        let leads_back = |index| self.devices.leads_back(self.netns.as_deref(), index, group);
        let is_loop = may_have_devices && route.device.is_some_and(leads_back);
        (mtu, route, is_loop.then_some(Obstacle::OwnPort))
    }
}

/// Why nothing is sent to a remote end, although there is a way: it would come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The route leads through a port of this switch.
    OwnPort = 1,
    /// The remote end is an address of the host itself.
    OwnAddress,
}

/// What a tunnel port shows of its way. With several remote ends, it is that of the one
/// that was asked for last.
#[derive(Debug, Default)]
pub struct PathState {
    mtu: AtomicU32,
    is_without_groups: AtomicBool,
    /// The number of the [`Obstacle`], beginning with 1; 0 if there is none.
    obstacle: AtomicU8,
}

impl PathState {
    /// The MTU of the way, in bytes from the outer IP header on; `None` before something was
    /// sent, and without a way.
    pub fn mtu(&self) -> Option<u32> {
        Some(self.mtu.load(Ordering::Relaxed)).filter(|mtu| *mtu != 0)
    }

    /// Why nothing is sent, although there is a way.
    pub fn obstacle(&self) -> Option<Obstacle> {
        let number = self.obstacle.load(Ordering::Relaxed);
        [Obstacle::OwnPort, Obstacle::OwnAddress].into_iter().find(|known| *known as u8 == number)
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
    /// Why nothing is sent.
    pub(super) obstacle: Option<Obstacle>,
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
        let (mtu, _, obstacle) = asking.ask(group, remote);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < TRY_GROUPS_AGAIN;
        let refused_groups = known.and_then(|path| path.refused_groups).filter(is_recent);
        if self.by_remote.len() >= MAX_PATHS {
            self.by_remote.clear();
        }
        let shown = mtu.filter(|_| obstacle.is_none()).unwrap_or_default();
        // What is sent without a way fails, and says so then.
        let mtu = mtu.unwrap_or(UNKNOWN_MTU);
        let path = Path { mtu, asked: now, obstacle, refused_groups };
        self.by_remote.insert(remote, path);
        state.mtu.store(shown, Ordering::Relaxed);
        state.obstacle.store(obstacle.map_or(0, |obstacle| obstacle as u8), Ordering::Relaxed);
        state.is_without_groups.store(refused_groups.is_some(), Ordering::Relaxed);
        path
    }
}
