//! The ways to the remote ends of a tunnel port: how long a frame may be, and whether groups of datagrams can be sent.

use super::sockets::path_mtu;
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The kernel is asked again for the MTU of a way after this time.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Groups of datagrams are tried again after this time on a way where the kernel refused them.
const TRY_GROUPS_AGAIN: Duration = Duration::from_secs(120);
/// Ways that are remembered. When there are more, all are forgotten, and the kernel is asked again.
const MAX_PATHS: usize = 16_384;
/// The MTU of a way of which the kernel says nothing.
const UNKNOWN_MTU: u32 = 65_535;

/// What a tunnel port shows of its way. With several remote ends, it is that of the one that was asked for last.
#[derive(Debug, Default)]
pub struct PathState {
    mtu: AtomicU32,
    is_without_groups: AtomicBool,
}

impl PathState {
    /// The MTU of the way, in bytes from the outer IP header on; `None` before something was sent.
    pub fn mtu(&self) -> Option<u32> {
        Some(self.mtu.load(Ordering::Relaxed)).filter(|mtu| *mtu != 0)
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
        asking: BorrowedFd<'_>,
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
        let path = match known {
            Some(path) if now.saturating_duration_since(path.asked) < ASK_AGAIN => path,
            known => self.ask(asking, remote, known, now, state),
        };
        self.last = Some((remote, path));
        path
    }

    /// The kernel has refused something that was too long: its answer may have changed.
    pub(super) fn ask_again(
        &mut self,
        asking: BorrowedFd<'_>,
        remote: IpAddr,
        now: Instant,
        state: &PathState,
    ) -> Path {
        let known = self.by_remote.get(&remote).copied();
        let path = self.ask(asking, remote, known, now, state);
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
        asking: BorrowedFd<'_>,
        remote: IpAddr,
        known: Option<Path>,
        now: Instant,
        state: &PathState,
    ) -> Path {
        // What is sent without a way fails, and says so then.
        let mtu = path_mtu(asking, remote).unwrap_or(UNKNOWN_MTU);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < TRY_GROUPS_AGAIN;
        let refused_groups = known.and_then(|path| path.refused_groups).filter(is_recent);
        if self.by_remote.len() >= MAX_PATHS {
            self.by_remote.clear();
        }
        let path = Path { mtu, asked: now, refused_groups };
        self.by_remote.insert(remote, path);
        state.mtu.store(mtu, Ordering::Relaxed);
        state.is_without_groups.store(refused_groups.is_some(), Ordering::Relaxed);
        path
    }
}
