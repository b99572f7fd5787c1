//! A TAP device as a port: what the switch sends, the host's stack receives on the device, and the
//! other way round.
//!
//! The device is made if it does not exist and goes away with the port then; one that somebody made persistent
//! stays, and is put back as it was. Frames carry a virtio-net header in both directions, and the kernel is
//! told that checksums and segmentation may be left to us, so that large frames pass whole. Reading and writing
//! cost a system call a frame. Of the frames that are sent together to a device that is down, only the first
//! costs a call (`refusals`).
//!
//! A device can have several queues, each a descriptor of its own. The kernel spreads flows over them,
//! and moves a flow to the queue on which its answers are written: to the worker that has both.

use crate::buffers::{self, Buffers};
use crate::commons::Commons;
use crate::egress::{Cutter, Takes, Way, check_size, way};
use crate::handover::{HandedDevice, HandedPort, HandedQueue};
use crate::kernel_hooks::{DeviceHook, Direction, NO_HOOKS};
use crate::lock::Lock;
use crate::netlink::{Link, Netlink, NetlinkError};
use crate::netns::Netns;
use crate::refusals::Refusals;
use crate::spec::PortOptions;
use crate::sys::tun;
use crate::{
    Allotment, Guard, Port, PortError, PortKind, PortStatus, Queues, RxMemory, RxQueue, RxStats,
};
use crate::{Shield, TxFailure, TxQueue, Whereabouts};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use packet::{Batch, Frame, FrameId, HEADROOM, MAX_BATCH, Offload, VNET_HDR_SIZE};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Bytes for the largest frame a host hands over, its header and our headroom. Not a multiple of the
/// page size, which would have the headers of all slots compete for the same few lines of the cache.
const SLOT: usize = 69_632 + 192;

/// Opens the TAP device called `device`, in the calling thread's network namespace, as the port `name`.
///
/// # Errors
/// The device is not a TAP device or somebody else's, or a privilege is missing.
pub fn open(
    name: &str,
    device: &str,
    kind: PortKind,
    options: &PortOptions,
    allotment: Allotment,
) -> Result<Port, PortError> {
    let os = |operation| move |source| PortError::os(operation, device, "CAP_NET_ADMIN", source);
    let commons = Commons::here()?;
    let existed = commons.find_link(device)?;
    // The kernel lets several processes join a device of several queues, and gives each a share of its
    // frames: only the lock keeps a second switch away.
    let lock =
        existed.as_ref().map(|link| Lock::take(commons.inode(), device, link.index)).transpose()?;
    let (file, others) = attach_queues(device, existed.is_some(), allotment.rx)?;
    let takes = configure(&file).map_err(os("configure TAP device"))?;
    let link = commons.link(device)?;
    let lock = lock.map_or_else(|| Lock::take(commons.inode(), device, link.index), Ok)?;
    let wanted = options.mac.or_else(|| allotment.mac.filter(|_| existed.is_none()));
    let mac = wanted.filter(|mac| *mac != link.mac);
    let guard = TapGuard {
        file: file.try_clone().map_err(os("open TAP device"))?,
        commons,
        index: link.index,
        sets_down: existed.is_some() && !link.is_up,
        mac_before: mac.and(existed.as_ref()).map(|link| link.mac),
        is_handed: false,
        _lock: lock,
    };
    if let Some(mac) = mac {
        guard.commons.control().netlink.set_mac(link.index, device, mac)?;
    }
    if !link.is_up {
        guard.commons.set_up(link.index, true)?;
    }
    let link = guard.commons.link(device)?;
    let mut warnings = Vec::new();
    if others.len() + 1 < allotment.rx {
        warnings.push(format!("{device} was made for a single queue: one worker receives from it"));
    }
    let files = std::iter::once(file).chain(others).collect();
    let device = Device {
        guard,
        files,
        takes,
        status: status_of(&link),
        here: Some(link.clone()),
        hook: None,
        mac: link.mac,
    };
    let port = device.into_port(name, kind, allotment).map_err(os("open TAP device"))?;
    Ok(Port { warnings, ..port })
}

/// Makes the port `name` of the device called `device`, which may be in any network namespace by now, of what
/// another process hands over. The device is not changed.
///
/// # Errors
/// The device has gone, or no descriptor is left.
pub(crate) fn take_over(
    name: &str,
    device: &str,
    kind: PortKind,
    allotment: Allotment,
    handed: HandedPort,
) -> Result<Port, PortError> {
    let os = |operation| move |source| PortError::os(operation, device, "CAP_NET_ADMIN", source);
    let commons = Commons::here()?;
    let HandedDevice { index, mac, sets_down, mac_before } = handed.device;
    let is_tap = |(queue, _): &(HandedQueue, OwnedFd)| *queue == HandedQueue::Tap;
    let is_taps = handed.queues.iter().all(is_tap);
    let files: Vec<File> = handed.queues.into_iter().map(|(_, fd)| fd.into()).collect();
    let Some(file) = files.first().filter(|_| is_taps) else {
        return Err(os("take over TAP device")(ErrorKind::InvalidInput.into()));
    };
    let takes = configure(file).map_err(os("configure TAP device"))?;
    let lock = Lock::promised(commons.inode(), index);
    let file = file.try_clone().map_err(os("open TAP device"))?;
    let mut guard =
        TapGuard { file, commons, index, sets_down, mac_before, is_handed: true, _lock: lock };
    // A device that cannot be looked at, in the namespace of a stranger, counts as up.
    let (status, mac, here) = match guard.whereabouts() {
        Whereabouts::At { link, netns } => {
            let here = Some(&link).filter(|_| netns == guard.commons.inode()).cloned();
            (status_of(&link), link.mac, here)
        }
        Whereabouts::OutOfSight => (PortStatus::new(true, OUT_OF_SIGHT_MTU, false), mac, None),
        Whereabouts::Gone => return Err(PortError::NoDevice { device: device.to_owned() }),
    };
    let device = Device { guard, files, takes, status, here, hook: handed.hook, mac };
    device.into_port(name, kind, allotment).map_err(os("open TAP device"))
}

/// The MTU in bytes that a device is taken to have which cannot be looked at: the largest of a TAP device. The
/// kernel drops a frame that is longer than the device's own MTU.
const OUT_OF_SIGHT_MTU: u32 = 65_521;

fn status_of(link: &Link) -> Arc<PortStatus> {
    let status = PortStatus::new(link.is_running(), link.mtu, false);
    status.set_qdisc(&link.qdisc);
    status
}

/// A device that is ready to be a port.
struct Device {
    guard: TapGuard,
    /// The device; `None` if it is in another network namespace than this thread.
    here: Option<Link>,
    /// The executor that another process has attached.
    hook: Option<OwnedFd>,
    /// A descriptor for each queue.
    files: Vec<File>,
    takes: Takes,
    status: Arc<PortStatus>,
    mac: [u8; 6],
}

impl Device {
    fn into_port(self, name: &str, kind: PortKind, allotment: Allotment) -> io::Result<Port> {
        let Self { guard, here, hook, files, takes, status, mac } = self;
        let kernel_hook = match (&allotment.hooks, &here) {
            (None, _) => Err(NO_HOOKS.to_owned()),
            (_, None) => Err("it is in another network namespace".to_owned()),
            (Some(hooks), Some(link)) => Ok(DeviceHook::new(hooks, Direction::Egress, link, hook)),
        };
        let mut queues = Queues::default();
        for file in files.iter().cycle().take(allotment.tx) {
            let (file, status) = (file.try_clone()?, Arc::clone(&status));
            queues.tx.push(Box::new(TapTx::new(file, takes, status)));
        }
        for file in files {
            queues.rx.push(Box::new(TapRx::new(file)));
        }
        let slots = MAX_BATCH * queues.rx.len();
        Ok(Port {
            name: name.to_owned(),
            kind,
            mac,
            ifindex: Some(guard.index),
            netns: None,
            status,
            shield: Shield::NotNeeded,
            kernel_hook,
            rx_memory: RxMemory {
                queues: queues.rx.len() as u32,
                slots: slots as u32,
                slot_size: SLOT as u32,
                bytes: (slots * SLOT) as u64,
            },
            rx_opener: None,
            warnings: Vec::new(),
            queues,
            guard: Some(Box::new(guard)),
            membership: None,
        })
    }
}

/// The plain descriptor of the TAP device called `device`, which is made if it does not exist: each read
/// and each write is one frame behind a virtio-net header of [`VNET_HDR_SIZE`] bytes, and neither waits.
/// For programs that want to do without the switch.
///
/// # Errors
/// The device is not a TAP device or somebody else's, or a privilege is missing.
pub fn plain(device: &str) -> Result<File, PortError> {
    let file = attach(device, false)?;
    configure(&file)
        .map_err(|e| PortError::os("configure TAP device", device, "CAP_NET_ADMIN", e))?;
    Ok(file)
}

/// Asks for a virtio-net header with each frame, and tells the kernel that checksums and segmentation may
/// be left to us. Returns what the kernel takes on of frames that we write.
fn configure(file: &File) -> io::Result<Takes> {
    tun::set_header_size(file.as_fd(), VNET_HDR_SIZE)?;
    let tcp = tun::TUN_F_CSUM | tun::TUN_F_TSO4 | tun::TUN_F_TSO6 | tun::TUN_F_TSO_ECN;
    // Kernels before 6.2 do not know UDP segmentation.
    let udp = tun::TUN_F_USO4 | tun::TUN_F_USO6;
    match tun::set_offload(file.as_fd(), tcp | udp) {
        Ok(()) => Ok(Takes::ALL),
        Err(_) => {
            tun::set_offload(file.as_fd(), tcp)?;
            Ok(Takes::ALL.without_udp())
        }
    }
}

/// A descriptor for each of `count` queues, the first one apart; a device that was made for one queue has one.
fn attach_queues(device: &str, exists: bool, count: usize) -> Result<(File, Vec<File>), PortError> {
    let attach = |has_many| attach(device, has_many);
    let has_many = count > 1;
    let (first, has_many) = match attach(has_many) {
        Ok(file) => (file, has_many),
        // A persistent device was made for one queue or for several, and refuses the other.
        Err(PortError::Os { source, .. })
            if exists && source.raw_os_error() == Some(libc::EINVAL) =>
        {
            (attach(!has_many)?, !has_many)
        }
        Err(error) => return Err(error),
    };
    let others = if has_many { count.saturating_sub(1) } else { 0 };
    let others: Result<Vec<File>, PortError> = (0..others).map(|_| attach(true)).collect();
    Ok((first, others?))
}

fn attach(device: &str, has_many_queues: bool) -> Result<File, PortError> {
    let no_tun = |source| PortError::NoTun { device: device.to_owned(), source };
    let file = tun::open().map_err(no_tun)?;
    match tun::attach(file.as_fd(), device, has_many_queues) {
        Ok(()) => Ok(file),
        Err(source) if source.raw_os_error() == Some(libc::EBUSY) => {
            Err(PortError::InUse { device: device.to_owned(), owner: "another process".to_owned() })
        }
        // A device of another kind, or one that belongs to a user or a group without this process.
        Err(source) if source.raw_os_error() == Some(libc::EINVAL) && !is_tap(device) => {
            Err(PortError::NotTap { device: device.to_owned() })
        }
        Err(source) => Err(PortError::os("attach to TAP device", device, "CAP_NET_ADMIN", source)),
    }
}

/// Whether the device called `device`, of the calling thread's network namespace, is a TAP or TUN device. True
/// if the kernel does not tell.
fn is_tap(device: &str) -> bool {
    let link = Netlink::open().and_then(|mut netlink| netlink.find_link(device));
    link.ok().flatten().is_none_or(|link| link.kind == "tun")
}

/// Puts the device back as it was, wherever it has gone.
struct TapGuard {
    file: File,
    commons: Arc<Commons>,
    index: u32,
    sets_down: bool,
    /// The MAC address to give back to a device that existed before; `None` if the port did not change it.
    mac_before: Option<[u8; 6]>,
    /// Another process has handed the device over and uses it still: dropping this changes nothing.
    is_handed: bool,
    _lock: Lock,
}

impl TapGuard {
    fn try_set_up(&mut self, up: bool) -> Result<(), NetlinkError> {
        self.change(|netlink, index| netlink.set_up(index, up))
    }

    /// Changes the device wherever it is, by a routing socket there and its interface number there. If its
    /// namespace cannot be entered, the device is looked for where it was at first.
    fn change(
        &self,
        change: impl Fn(&mut Netlink, u32) -> Result<(), NetlinkError> + Sync,
    ) -> Result<(), NetlinkError> {
        let change_here = || change(&mut self.commons.control().netlink, self.index);
        let Ok(netns) = self.netns() else {
            return change_here();
        };
        let change_there = || {
            let mut netlink = Netlink::open()?;
            let index = netlink.link(&self.name().unwrap_or_default())?.index;
            change(&mut netlink, index)
        };
        netns.run(change_there).unwrap_or_else(|_| change_here())
    }

    fn netns(&self) -> io::Result<Netns> {
        tun::device_netns(self.file.as_fd()).map(Netns::from)
    }

    fn name(&self) -> io::Result<String> {
        tun::device_name(self.file.as_fd())
    }

    fn find(&self, name: &str) -> Option<Whereabouts> {
        let netns = self.netns().ok()?;
        let find = || Netlink::open().and_then(|mut netlink| netlink.find_link(name));
        let link = netns.run(find).ok()?.ok()??;
        Some(Whereabouts::At { netns: netns.inode().ok()?, link })
    }
}

impl Guard for TapGuard {
    fn link_changed(&mut self, link: &Link, status: &PortStatus) {
        status.set_qdisc(&link.qdisc);
    }

    fn set_up(&mut self, up: bool) -> Result<(), PortError> {
        Ok(self.try_set_up(up)?)
    }

    fn whereabouts(&mut self) -> Whereabouts {
        match self.name() {
            Ok(name) => self.find(&name).unwrap_or(Whereabouts::OutOfSight),
            Err(_) => Whereabouts::Gone,
        }
    }

    fn hand_over(&self, mac: [u8; 6]) -> HandedDevice {
        let Self { index, sets_down, mac_before, .. } = *self;
        HandedDevice { index, mac, sets_down, mac_before }
    }

    fn own(&mut self) {
        self.is_handed = false;
    }
}

impl Drop for TapGuard {
    fn drop(&mut self) {
        if self.is_handed {
            return;
        }
        let down = if self.sets_down { self.try_set_up(false) } else { Ok(()) };
        let mac = self.mac_before.map_or(Ok(()), |mac| {
            let name = self.name().unwrap_or_default();
            self.change(|netlink, index| netlink.set_mac(index, &name, mac))
        });
        for result in [down, mac] {
            match result {
                Err(error) if error.errno() != Some(libc::ENODEV) => {
                    tracing::warn!(%error, "cannot put a TAP device back as it was");
                }
                _ => {}
            }
        }
    }
}

struct TapRx {
    file: File,
    /// Slots for the frames of a batch, while there is one.
    slots: Buffers,
    stats: RxStats,
}

impl TapRx {
    fn new(file: File) -> Self {
        Self { file, slots: Buffers::new(), stats: RxStats::default() }
    }
}

impl RxQueue for TapRx {
    fn recv<'a>(&'a mut self, batch: &mut Batch<'a>) -> Result<(), PortError> {
        buffers::take(&mut self.slots);
        for slot in &mut self.slots {
            if batch.room() == 0 {
                break;
            }
            slot.resize(SLOT, 0);
            // The virtio-net header ends where the frame begins, at HEADROOM.
            let into = &mut slot[HEADROOM - VNET_HDR_SIZE..];
            let size = match rustix::io::read(&self.file, &mut *into).map_err(io::Error::from) {
                Ok(size) if size == into.len() => {
                    self.stats.truncated += 1;
                    continue;
                }
                Ok(size) if size > VNET_HDR_SIZE => size - VNET_HDR_SIZE,
                Ok(_) => {
                    self.stats.unreadable += 1;
                    continue;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                // The device is down or has gone. Events of the routing socket tell the monitor.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EIO | libc::EBADFD)) => break,
                Err(e) => return Err(PortError::os("read from", "TAP device", "CAP_NET_ADMIN", e)),
            };
            let header = slot[HEADROOM - VNET_HDR_SIZE..].first_chunk();
            let offload = header.map_or(Offload::NONE, Offload::from_bytes);
            batch.push(Frame::lent(slot, HEADROOM, HEADROOM + size, offload));
        }
        Ok(())
    }

    fn release(&mut self) {
        buffers::give_back(&mut self.slots);
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn has_more(&self) -> bool {
        let mut queue = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        // A device that is down or gone is "readable" as well, and has no frames to overtake.
        poll(&mut queue, PollTimeout::ZERO).is_ok_and(|readable| readable > 0)
            && queue[0].revents() == Some(PollFlags::POLLIN)
    }

    fn hand_over(&self) -> io::Result<(HandedQueue, OwnedFd)> {
        Ok((HandedQueue::Tap, self.file.try_clone()?.into()))
    }

    fn stats(&mut self) -> RxStats {
        self.stats
    }
}

struct TapTx {
    device: Writing,
    takes: Takes,
    status: Arc<PortStatus>,
    cutter: Cutter,
}

impl TxQueue for TapTx {
    fn send(
        &mut self,
        batch: &mut Batch<'_>,
        ids: &[FrameId],
        failures: &mut Vec<(FrameId, TxFailure)>,
    ) -> usize {
        self.device.refusals.begin();
        let mtu = self.status.mtu();
        for &id in ids {
            if let Err(failure) = self.send_one(batch.frame_mut(id), mtu) {
                failures.push((id, failure));
            }
        }
        self.cutter.take_made()
    }
}

impl TapTx {
    fn new(file: File, takes: Takes, status: Arc<PortStatus>) -> Self {
        let device = Writing { file, refusals: Refusals::default() };
        Self { device, takes, status, cutter: Cutter::default() }
    }

    fn send_one(&mut self, frame: &mut Frame<'_>, mtu: u32) -> Result<(), TxFailure> {
        let Self { device, takes, cutter, .. } = self;
        if let Some(failure) = device.refusals.end() {
            return Err(failure);
        }
        match way(frame, *takes, mtu)? {
            Way::Direct(header) => {
                if !header.is_gso() {
                    check_size(frame, frame.size(), mtu)?;
                }
                device.write(frame, header)
            }
            Way::Complete => {
                check_size(frame, frame.size(), mtu)?;
                packet::complete(frame).map_err(|_| TxFailure::NoOffload)?;
                device.write(frame, Offload::NONE)
            }
            Way::Segment => cutter.cut(frame, |segments| {
                segments.iter_mut().try_for_each(|s| device.write(s, Offload::NONE))
            }),
        }
    }
}

/// A descriptor of the device, and what the device has refused of the frames that are sent together.
struct Writing {
    file: File,
    refusals: Refusals,
}

impl Writing {
    fn write(&mut self, frame: &mut Frame<'_>, header: Offload) -> Result<(), TxFailure> {
        let result = write(&self.file, frame, header);
        match result {
            Ok(()) => self.refusals.took(),
            Err(why) => self.refusals.refused(why),
        }
        result
    }
}

fn write(file: &File, frame: &mut Frame<'_>, header: Offload) -> Result<(), TxFailure> {
    let header = header.to_bytes();
    let written = match frame.bytes_with_header(&header) {
        Some(bytes) => rustix::io::write(file, bytes),
        None => rustix::io::write(file, &[&header, frame.bytes()].concat()),
    };
    match written.map_err(Errno::raw_os_error) {
        Ok(_) => Ok(()),
        Err(libc::EIO | libc::EBADFD | libc::ENODEV) => Err(TxFailure::LinkDown),
        Err(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Err(TxFailure::QueueFull),
        Err(libc::EINVAL) if header[..2] != [0, 0] => Err(TxFailure::NoOffload),
        Err(errno) => Err(TxFailure::Other(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;

    /// Sends frames of 60 bytes together, and returns how many were sent and why the last one was not.
    fn send(queue: &mut TapTx, count: usize) -> (usize, Option<TxFailure>) {
        let mut batch = Batch::new();
        for _ in 0..count {
            batch.push(Frame::owned(&[0; 60], Offload::NONE));
        }
        let ids: Vec<FrameId> = (0..count).map(FrameId::received).collect();
        let mut failures = Vec::new();
        queue.send(&mut batch, &ids, &mut failures);
        (count - failures.len(), failures.last().map(|(_, why)| *why))
    }

    fn receive_all(far: &UnixDatagram) -> usize {
        std::iter::from_fn(|| far.recv(&mut [0; 100]).ok()).count()
    }

    /// A socket stands for the device, because its queue can be filled. A datagram that is received between two
    /// frames would make room for the second one; only a call could tell.
    #[test]
    fn a_device_that_is_full_twice_is_not_asked_again_before_the_next_frames() {
        let (near, far) = UnixDatagram::pair().unwrap();
        [&near, &far].iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        let status = PortStatus::new(true, 1500, false);
        let mut queue = TapTx::new(File::from(OwnedFd::from(near)), Takes::ALL, status);
        while send(&mut queue, MAX_BATCH).1.is_none() {}
        let mut frame = Frame::owned(&[0; 60], Offload::NONE);
        queue.device.refusals.begin();
        for _ in 0..2 {
            assert_eq!(queue.send_one(&mut frame, 1500), Err(TxFailure::QueueFull));
        }
        assert!(receive_all(&far) > 0);
        assert_eq!(queue.send_one(&mut frame, 1500), Err(TxFailure::QueueFull));
        assert_eq!(receive_all(&far), 0);
        assert_eq!(send(&mut queue, 1), (1, None));
        assert_eq!(receive_all(&far), 1);
    }

    /// The far end of a socket has gone for good, as a device has that is down.
    #[test]
    fn a_refusal_of_one_frame_alone_says_nothing_about_others() {
        let (near, far) = UnixDatagram::pair().unwrap();
        let status = PortStatus::new(true, 1500, false);
        let mut queue = TapTx::new(File::from(OwnedFd::from(near)), Takes::ALL, status);
        let mut long = Frame::owned(&[0; 1600], Offload::NONE);
        assert!(matches!(queue.send_one(&mut long, 1500), Err(TxFailure::TooLong { .. })));
        assert_eq!(queue.device.refusals.end(), None);
        queue.device.refusals.refused(TxFailure::LinkDown);
        let mut frame = Frame::owned(&[0; 60], Offload::NONE);
        assert_eq!(queue.send_one(&mut frame, 1500), Err(TxFailure::LinkDown));
        assert_eq!(send(&mut queue, 2), (2, None));
        drop(far);
    }
}
