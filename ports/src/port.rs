//! What every kind of port is: queues that workers own, and the port they belong to.
//!
//! A [`Port`] is opened and kept by the control thread. Its queues are taken out
//! ([`Port::take_queues`]) and given to workers, each queue to exactly one; a queue is never shared,
//! so nothing on the path of a frame locks. What the control thread learns later (link went down,
//! MTU changed) reaches the queues through the atomics of [`PortStatus`].
//!
//! Receiving and sending are separate objects, so that a frame which still lies in the receive ring
//! can leave through the same port.
//!
//! Dropping the [`Port`] gives the device back as it was: flags, master, created devices. Its queues
//! may be dropped before or after, on their own threads.

use crate::commons::Commons;
use crate::egress::Takes;
use crate::handover::{HandedDevice, HandedQueue, RingPositions};
use crate::kernel_hooks::DeviceHook;
use crate::shield::{self, Leaving};
use crate::tunnel::{Membership, TunnelKind};
use packet::{Batch, FrameId, Prioritized, TunnelKey};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Receives frames. Owned by one worker thread.
pub trait RxQueue: Send {
    /// Receives up to `batch.room()` frames into `batch`, which is empty on entry. No frame waiting
    /// is `Ok` with an empty batch; the call never blocks.
    ///
    /// The frames lie in slots of the queue. They stay lent until [`RxQueue::release`], which is
    /// called when everything that refers to them was sent.
    ///
    /// # Errors
    /// What the kernel reported. The queue stays usable: `ENETDOWN` and `ENETUNREACH` pass when the
    /// device comes back, [`crate::PortError::NoDevice`] does not.
    fn recv<'a>(&'a mut self, batch: &mut Batch<'a>) -> Result<(), crate::PortError>;

    /// Gives the slots of the last batch back, an empty one included: there may have been frames that
    /// cannot be read.
    fn release(&mut self);

    /// Lets frames in, or not. A queue that is to take the place of another one is closed at first.
    ///
    /// # Errors
    /// The kernel has no memory left; nothing changed.
    fn set_open(&mut self, _open: bool) -> Result<(), crate::PortError> {
        Ok(())
    }

    /// Has `successor`, a closed queue of the same port, receive from now on instead of this one. What has
    /// arrived here stays.
    ///
    /// # Errors
    /// The kernel has no memory left; this queue goes on receiving.
    fn give_way_to(&mut self, _successor: &mut dyn RxQueue) -> Result<(), crate::PortError> {
        Ok(())
    }

    /// Becomes readable when frames wait; `None` if only polling by [`RxQueue::recv`] can tell.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Whether frames wait in the queue itself, so that its descriptor does not tell of them.
    fn holds_frames(&self) -> bool {
        false
    }

    /// Whether the queue holds a frame that has arrived behind the last batch. A queue
    /// that cannot tell returns `false`.
    fn has_more(&self) -> bool {
        false
    }

    /// Counts since the queue was opened.
    fn stats(&mut self) -> RxStats;

    /// A description of the queue and a descriptor of it, by which another process
    /// can go on receiving ([`crate::handover`]).
    ///
    /// # Errors
    /// The queue is of a kind that cannot be handed over, or no descriptor is left.
    fn hand_over(&self) -> io::Result<(HandedQueue, OwnedFd)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Adds the place in the ring, if the queue has one, at which another process has to go
    /// on. No frame is lent.
    fn tell_position(&self, _positions: &mut RingPositions) {}

    /// Goes on at the place in the ring at which another process has stopped. No frame is lent.
    fn go_on_at(&mut self, _positions: &RingPositions) {}
}

/// Sends frames. Owned by one worker thread.
pub trait TxQueue: Send {
    /// How the port can be sent to together with others, if it can at present.
    fn flood_target(&self) -> Option<&crate::FloodTarget> {
        None
    }

    /// Sends the frames `ids` of `batch` in this order; never blocks.
    ///
    /// A frame that could not be sent is added to `failures` with the reason, in the order of `ids`;
    /// every other one was accepted. Work left undone ([`packet::Offload`]) that the port cannot
    /// take on is done here. Returns the number of segments that were made in software.
    ///
    /// On return the bytes of a frame are as before, except for a checksum that was completed in
    /// software. Its headroom may be overwritten.
    fn send(
        &mut self,
        batch: &mut Batch<'_>,
        ids: &[FrameId],
        failures: &mut Vec<(FrameId, TxFailure)>,
    ) -> usize;

    /// As [`send`](Self::send), for frames of which some, those of `prioritized`, have a priority for the
    /// queueing discipline of the device. Frames of the same priority are sent in this order. A port without a
    /// queueing discipline sends all in this order.
    fn send_prioritized(
        &mut self,
        batch: &mut Batch<'_>,
        ids: &[FrameId],
        _prioritized: &[Prioritized],
        failures: &mut Vec<(FrameId, TxFailure)>,
    ) -> usize {
        self.send(batch, ids, failures)
    }

    /// As [`send`](Self::send), for the frames of a tunnel port, whose outer headers are to say what `keys`
    /// says, in the same order. A port that is no tunnel port has no outer headers.
    fn send_tunneled(
        &mut self,
        batch: &mut Batch<'_>,
        ids: &[FrameId],
        _keys: &[TunnelKey],
        failures: &mut Vec<(FrameId, TxFailure)>,
    ) -> usize {
        self.send(batch, ids, failures)
    }

    /// Frames that the queue of a tunnel port has made since the last call, for senders whose frames were too
    /// long for the way: each is to be processed as if it had come through the tunnel.
    fn take_answers(&mut self) -> Vec<(TunnelKey, Vec<u8>)> {
        Vec::new()
    }
}

/// Counts of a receive queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxStats {
    /// Frames that found no free slot, as counted by the kernel.
    pub kernel_drops: u64,
    /// Frames that were longer than a slot and could not be received.
    pub truncated: u64,
    /// Frames that the kernel handed over without their bytes.
    pub unreadable: u64,
    /// Frames that were longer than a slot and received by a system call of their own.
    pub copied: u64,
}

/// Why a frame was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TxFailure {
    /// The device's queue, or the socket's buffer, was full.
    QueueFull,
    /// The device is down or has gone.
    LinkDown,
    /// The frame, or one segment of it, is longer than the device takes.
    TooLong {
        /// Bytes of the frame, link header included, without the frame check sequence.
        size: u32,
        /// The device's MTU; the link header is not counted in it.
        mtu: u32,
    },
    /// The frame asks for checksum or segmentation work that nobody here can do: its description
    /// contradicts its bytes.
    NoOffload,
    /// The frame is shorter than an Ethernet header.
    TooShort,
    /// The frame is longer than the way to a tunnel's remote end allows.
    ExceedsPath {
        /// Bytes of the frame, or of the datagrams that it was to become.
        size: u32,
        /// Bytes that the way allows.
        mtu: u32,
    },
    /// The host has no way to a tunnel's remote end.
    NoRoute,
    /// The route to a tunnel's remote end leads through a port of this switch.
    Loop,
    /// A tunnel's remote end is an address of the host itself.
    ToSelf,
    /// A firewall of the host refuses the datagram.
    Refused,
    /// The kernel refused it with this error number.
    Other(i32),
}

impl std::fmt::Display for TxFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::QueueFull => f.write_str("the queue of the port was full"),
            Self::LinkDown => f.write_str("the port is down"),
            Self::TooLong { size, mtu } => write!(
                f,
                "{size} bytes exceed the MTU of {mtu} (one 802.1Q tag is free, an 802.1ad or a \
                 second one is not)"
            ),
            Self::NoOffload => f.write_str("its checksum or segmentation request is not valid"),
            Self::TooShort => f.write_str("it is shorter than an Ethernet header"),
            Self::ExceedsPath { size, mtu } => {
                write!(f, "{size} bytes exceed the {mtu} that the way to the remote end allows")
            }
            Self::NoRoute => f.write_str("the host has no way to the tunnel's remote end"),
            Self::Loop => {
                f.write_str("the route to the remote end leads through a port of this switch")
            }
            Self::ToSelf => f.write_str("the remote end is an address of the host itself"),
            Self::Refused => f.write_str("a firewall or a route of the host refuses it"),
            Self::Other(errno) => {
                write!(f, "the kernel refused it: {}", std::io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

/// What a port is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortKind {
    /// A network device of the host, through AF_PACKET.
    System,
    /// A TAP device whose other end is the host or a virtual machine.
    Tap,
    /// A TAP device named after the switch, through which the host itself takes part.
    Internal,
    /// Memory of this process, for tests.
    Dummy,
    /// Sockets of the host's own stack, which it shares with other tunnel ports.
    Tunnel(TunnelKind),
}

impl PortKind {
    /// The word that commands print and take.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Tap => "tap",
            Self::Internal => "internal",
            Self::Dummy => "dummy",
            Self::Tunnel(kind) => kind.name(),
        }
    }
}

/// Whether the host's own network stack sees the frames of a port, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shield {
    /// The stack sees none: the switch alone decides about every frame.
    Shielded,
    /// The stack sees them all, and may answer or route a frame that the rules drop.
    Exposed,
    /// This kind of port has no stack of the host behind it.
    NotNeeded,
}

impl Shield {
    /// The word that commands print.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shielded => "shielded",
            Self::Exposed => "exposed",
            Self::NotNeeded => "not-needed",
        }
    }
}

/// The state of a device that its queues need to know.
///
/// Written by the control thread, read by workers once a batch.
#[derive(Debug)]
pub struct PortStatus {
    link_up: AtomicBool,
    mtu: AtomicU32,
    bypass_qdisc: AtomicBool,
    has_chosen_qdisc: AtomicBool,
    is_listened: AtomicBool,
    has_far_peer: AtomicBool,
    /// The work on unfinished frames that the device takes on ([`Takes::to_bits`]).
    takes: AtomicU64,
}

impl PortStatus {
    /// The state of a device when its port is opened. All work on unfinished frames is left to the device.
    pub fn new(link_up: bool, mtu: u32, bypass_qdisc: bool) -> Arc<Self> {
        Arc::new(Self {
            link_up: link_up.into(),
            mtu: mtu.into(),
            bypass_qdisc: bypass_qdisc.into(),
            has_chosen_qdisc: false.into(),
            is_listened: false.into(),
            has_far_peer: false.into(),
            takes: Takes::ALL.to_bits().into(),
        })
    }

    /// The device is up and has a carrier.
    pub fn is_link_up(&self) -> bool {
        self.link_up.load(Ordering::Relaxed)
    }

    /// The device's MTU, without link header.
    pub fn mtu(&self) -> u32 {
        self.mtu.load(Ordering::Relaxed)
    }

    /// Frames go to the device directly, not through its queueing discipline.
    pub fn bypasses_qdisc(&self) -> bool {
        self.bypass_qdisc.load(Ordering::Relaxed)
    }

    /// Whether somebody has given the device a queueing discipline that devices do not have
    /// by themselves, such as `htb`.
    pub fn has_chosen_qdisc(&self) -> bool {
        self.has_chosen_qdisc.load(Ordering::Relaxed)
    }

    /// Whether somebody listens to the device beside the switch, as `tcpdump` does.
    pub fn is_listened(&self) -> bool {
        self.is_listened.load(Ordering::Relaxed)
    }

    /// Whether the device is one end of a veth pair whose other end is in another network namespace.
    pub fn has_far_peer(&self) -> bool {
        self.has_far_peer.load(Ordering::Relaxed)
    }

    /// Tells whether the other end of the device's veth pair is in another network namespace.
    pub(crate) fn set_far_peer(&self, has_far_peer: bool) {
        self.has_far_peer.store(has_far_peer, Ordering::Relaxed);
    }

    /// Tells what the queueing discipline of the device is called.
    pub(crate) fn set_qdisc(&self, name: &str) {
        let is_usual =
            ["", "noop", "noqueue", "pfifo_fast", "mq", "fq", "fq_codel"].contains(&name);
        self.has_chosen_qdisc.store(!is_usual, Ordering::Relaxed);
    }

    /// The work on unfinished frames that is left to the device. The queueing discipline takes all of it on.
    pub(crate) fn takes(&self) -> Takes {
        if self.bypasses_qdisc() {
            Takes::from_bits(self.takes.load(Ordering::Relaxed))
        } else {
            Takes::ALL
        }
    }

    /// Tells workers what work the device takes on if its frames go around the queueing discipline.
    pub(crate) fn set_takes(&self, takes: Takes) {
        self.takes.store(takes.to_bits(), Ordering::Relaxed);
    }

    /// Tells workers whether the device is up with a carrier.
    pub fn set_link_up(&self, up: bool) {
        self.link_up.store(up, Ordering::Relaxed);
    }

    /// Tells workers the device's MTU, in bytes without link header.
    pub fn set_mtu(&self, mtu: u32) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }

    /// Tells workers whether frames go around the queueing discipline.
    pub fn set_bypass_qdisc(&self, bypass: bool) {
        self.bypass_qdisc.store(bypass, Ordering::Relaxed);
    }
}

/// What keeps a port's device as the port needs it, and puts it back as it was when dropped.
pub(crate) trait Guard: Send {
    /// The device changed: adapts what depends on it beyond [`PortStatus`].
    fn link_changed(&mut self, link: &crate::netlink::Link, status: &PortStatus);

    /// Somebody listens to the device beside the switch, or no longer: adapts how frames are sent.
    fn set_listened(&mut self, _listened: bool, _status: &PortStatus) {}

    /// Whether somebody else, such as a bridge, has taken the device although it is a port.
    fn is_taken(&self, _link: &crate::netlink::Link) -> bool {
        false
    }

    /// Whether the shield keeps the device's frames from the host's own stack, as it should. True for a port
    /// without a shield.
    fn shield_holds(&self) -> bool {
        true
    }

    /// Sets the device up or down.
    ///
    /// # Errors
    /// It has gone.
    fn set_up(&mut self, up: bool) -> Result<(), crate::PortError>;

    /// Where the device is, if it can leave without the port noticing.
    fn whereabouts(&mut self) -> Whereabouts {
        Whereabouts::Gone
    }

    /// Describes the device, whose MAC address is `mac`, and how it is to be put back.
    fn hand_over(&self, mac: [u8; 6]) -> HandedDevice;

    /// From now on the device is put back when this is dropped, although it was handed over by another process.
    fn own(&mut self);

    /// What puts the device back, together with other devices: dropping this does not do it any more. `None` if
    /// dropping this has to do it.
    fn leave_shield(&mut self) -> Option<(Arc<Commons>, Leaving)> {
        None
    }
}

/// Where the device of an open port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// In a network namespace that can be looked at.
    At {
        /// The inode number of the namespace ([`crate::netns::Netns::inode`]), which no other one has.
        netns: u64,
        /// The device as the kernel describes it there.
        link: crate::netlink::Link,
    },
    /// Somewhere where it cannot be looked at.
    OutOfSight,
    /// The device no longer exists.
    Gone,
}

/// The memory that frames are received into, all queues together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxMemory {
    /// Receive queues, each with a ring of its own.
    pub queues: u32,
    /// Frames that can wait in all rings together.
    pub slots: u32,
    /// Bytes of a slot, the kernel's header included.
    pub slot_size: u32,
    /// Bytes of all rings together.
    pub bytes: u64,
}

/// Puts back the devices of many ports as they were before they became ports: what dropping the
/// ports does, with fewer system calls. Drop the ports next, because the host's own stack may hear
/// their frames from now on.
pub fn put_back_devices(ports: &mut [Port]) {
    let mut by_namespace = BTreeMap::<u64, (Arc<Commons>, Vec<Leaving>)>::new();
    for guard in ports.iter_mut().filter_map(|port| port.guard.as_mut()) {
        if let Some((commons, leaving)) = guard.leave_shield() {
            let (_, all) = by_namespace.entry(commons.inode()).or_insert((commons, Vec::new()));
            all.push(leaving);
        }
    }
    for (commons, leaving) in by_namespace.into_values() {
        shield::free_all(&commons, leaving);
    }
}

/// Queues of a port, for the workers.
#[derive(Default)]
pub struct Queues {
    /// One for each receiving worker.
    pub rx: Vec<Box<dyn RxQueue>>,
    /// One for every worker.
    pub tx: Vec<Box<dyn TxQueue>>,
}

/// An open port: what the control thread keeps of it after workers have taken the queues.
pub struct Port {
    /// The name it was opened by.
    pub name: String,
    /// What it is made of.
    pub kind: PortKind,
    /// The MAC address of its device.
    pub mac: [u8; 6],
    /// Interface number in its network namespace; `None` for a port in memory.
    pub ifindex: Option<u32>,
    /// The named network namespace in which the device was opened, by its inode number
    /// ([`crate::netns::Netns::inode`]); `None` if the target named none.
    pub netns: Option<u64>,
    /// What can change while it is open.
    pub status: Arc<PortStatus>,
    /// Whether the host's own stack heard its frames when it was opened.
    pub(crate) shield: Shield,
    /// The memory that its frames are received into.
    pub rx_memory: RxMemory,
    /// Opens the receive queues again, with rings of another size; `None` for a port without rings.
    pub rx_opener: Option<Arc<crate::RxOpener>>,
    /// What a user should know about it, in whole sentences.
    pub warnings: Vec<String>,
    pub(crate) queues: Queues,
    pub(crate) guard: Option<Box<dyn Guard>>,
    /// The endpoints that a tunnel port shares with others; `None` for any other port.
    pub membership: Option<Membership>,
    /// By what the programs of its [`Allotment`](crate::Allotment::hooks) can see its frames, or why they
    /// cannot, for a person to read. Dropped last: the judge is the filter of the queues.
    pub kernel_hook: Result<Arc<DeviceHook>, String>,
}

impl Port {
    /// Takes the queues, to give them to workers. A second call finds none.
    pub fn take_queues(&mut self) -> Queues {
        std::mem::take(&mut self.queues)
    }

    /// Adapts to a new state of the device, as reported by [`crate::netlink::Events`].
    pub fn link_changed(&mut self, link: &crate::netlink::Link) {
        self.status.set_link_up(link.is_running());
        self.status.set_mtu(link.mtu);
        self.status.set_far_peer(link.has_far_peer);
        self.mac = link.mac;
        if let Some(guard) = &mut self.guard {
            guard.link_changed(link, &self.status);
        }
    }

    /// Whether somebody else has made the device theirs, as a bridge does.
    pub fn is_taken(&self, link: &crate::netlink::Link) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.is_taken(link))
    }

    /// Whether the host's own stack hears its frames, as far as is known.
    pub fn shield(&self) -> Shield {
        let holds = self.guard.as_ref().is_none_or(|guard| guard.shield_holds());
        match self.shield {
            Shield::Shielded if !holds => Shield::Exposed,
            shield => shield,
        }
    }

    /// Says whether somebody listens to the device beside the switch ([`crate::listeners`]). While
    /// somebody does, the port's frames pass the queueing discipline, where listeners see them,
    /// unless its options forbid that.
    pub fn set_listened(&mut self, listened: bool) {
        self.status.is_listened.store(listened, Ordering::Relaxed);
        if let Some(guard) = &mut self.guard {
            guard.set_listened(listened, &self.status);
        }
    }

    /// Sets the device up or down; a port in memory just says so.
    ///
    /// # Errors
    /// The device has gone.
    pub fn set_up(&mut self, up: bool) -> Result<(), crate::PortError> {
        match &mut self.guard {
            Some(guard) => guard.set_up(up),
            None => {
                self.status.set_link_up(up);
                Ok(())
            }
        }
    }

    /// Describes the device for another process that takes the port over; `None` for a port in memory.
    pub fn hand_over(&self) -> Option<HandedDevice> {
        self.guard.as_ref().map(|guard| guard.hand_over(self.mac))
    }

    /// The descriptor by which another process keeps the executor of the port's device
    /// ([`crate::KernelHooks`]); `None` if there is no executor.
    pub fn hook(&self) -> Option<BorrowedFd<'_>> {
        self.kernel_hook.as_ref().ok()?.descriptor()
    }

    /// The process that has handed the port over does not use it any more: dropping the port puts the device
    /// back from now on.
    pub fn own(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.own();
        }
    }

    /// Where the device is now. A TAP device stays at the other end of its port's descriptors wherever
    /// it goes; of another device that has left, this says that it is gone.
    pub fn whereabouts(&mut self) -> Whereabouts {
        self.guard.as_mut().map_or(Whereabouts::Gone, |guard| guard.whereabouts())
    }
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
