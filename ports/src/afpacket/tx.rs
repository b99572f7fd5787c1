//! Sending to a network device, many frames with one system call, out of the memory they lie in.
//!
//! The virtio-net header is written directly before each frame, into the slot of the receive ring or
//! the headroom of a copy. The socket's protocol is none, so that it never receives.

use super::multi_tx::FloodTarget;
use crate::egress::{Segments, Takes, Way, way};
use crate::sys::mmsg::Messages;
use crate::sys::packet as socket;
use crate::{PortStatus, TxFailure, TxQueue};
use arrayvec::ArrayVec;
use packet::{Batch, Frame, FrameId, MAX_BATCH, Offload, VNET_HDR_SIZE};
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Frames of one system call.
const MAX_CALL: usize = MAX_BATCH;

/// Bytes that may wait in the socket for the device or its queueing discipline.
const SEND_BUFFER: i32 = 8 << 20;

pub(crate) struct PacketTx {
    socket: OwnedFd,
    flood: FloodTarget,
    status: Arc<PortStatus>,
    bypasses_qdisc: bool,
    messages: Messages,
    segments: Segments,
}

type Failures = Vec<(FrameId, TxFailure)>;

impl PacketTx {
    /// A queue over `socket`, which gets its options here and is to be bound by the caller.
    pub(crate) fn new(socket: OwnedFd, flood: FloodTarget) -> std::io::Result<Self> {
        let status = Arc::clone(&flood.status);
        let fd = socket.as_fd();
        socket::set_option(fd, socket::PACKET_VNET_HDR, 1)?;
        socket::set_send_buffer(fd, SEND_BUFFER)?;
        let bypasses_qdisc = status.bypasses_qdisc();
        socket::set_option(fd, socket::PACKET_QDISC_BYPASS, i32::from(bypasses_qdisc))?;
        Ok(Self {
            socket,
            flood,
            status,
            bypasses_qdisc,
            messages: Messages::new(MAX_CALL),
            segments: Segments::default(),
        })
    }

    fn follow_status(&mut self) {
        let bypass = self.status.bypasses_qdisc();
        if bypass != self.bypasses_qdisc {
            self.bypasses_qdisc = bypass;
            let set = socket::set_option(
                self.socket.as_fd(),
                socket::PACKET_QDISC_BYPASS,
                i32::from(bypass),
            );
            if let Err(error) = set {
                tracing::warn!(%error, bypass, "cannot change the use of the queueing discipline");
            }
        }
    }

    /// Cuts a frame in software and sends the segments. The frame failed if one of them did.
    fn send_segments(&mut self, frame: &Frame<'_>) -> Result<(), TxFailure> {
        let mut result = Ok(());
        let segments = self.segments.cut(frame)?;
        for segments in segments.chunks_mut(MAX_CALL) {
            let mut datagrams = ArrayVec::<IoSlice<'_>, MAX_CALL>::new();
            for segment in segments.iter_mut() {
                let header = Offload::NONE.to_bytes();
                if let Some(bytes) = segment.bytes_with_header(&header) {
                    datagrams.push(IoSlice::new(bytes));
                }
            }
            let (socket, status) = (&self.socket, &self.status);
            flush(&mut self.messages, socket, status, &datagrams, |_, failure| {
                result = Err(failure);
            });
        }
        result
    }
}

impl TxQueue for PacketTx {
    fn flood_target(&self) -> Option<&FloodTarget> {
        self.status.bypasses_qdisc().then_some(&self.flood)
    }

    fn send(&mut self, batch: &mut Batch<'_>, ids: &[FrameId], failures: &mut Failures) {
        self.follow_status();
        let mtu = self.status.mtu();
        // Frames that go out as they are, collected until one needs another way or a call is full.
        let mut direct = ArrayVec::<FrameId, MAX_CALL>::new();
        for &id in ids {
            let frame = batch.frame_mut(id);
            match prepare(frame, mtu) {
                Ok(Way::Direct(header)) => {
                    write_header(frame, header);
                    direct.push(id);
                    if direct.is_full() {
                        self.flush_direct(batch, &mut direct, failures);
                    }
                }
                Ok(Way::Complete | Way::Segment) => {
                    self.flush_direct(batch, &mut direct, failures);
                    if let Err(failure) = self.send_segments(batch.frame(id)) {
                        failures.push((id, failure));
                    }
                }
                Err(failure) => {
                    self.flush_direct(batch, &mut direct, failures);
                    failures.push((id, failure));
                }
            }
        }
        self.flush_direct(batch, &mut direct, failures);
    }
}

/// Decides how a frame goes out, and completes its checksum if nobody else can.
pub(super) fn prepare(frame: &mut Frame<'_>, mtu: u32) -> Result<Way, TxFailure> {
    match way(frame, Takes::ALL, mtu)? {
        Way::Complete => packet::complete(frame)
            .map(|()| Way::Direct(Offload::NONE))
            .map_err(|_| TxFailure::NoOffload),
        way => Ok(way),
    }
}

impl PacketTx {
    fn flush_direct(
        &mut self,
        batch: &Batch<'_>,
        ids: &mut ArrayVec<FrameId, MAX_CALL>,
        failures: &mut Failures,
    ) {
        if ids.is_empty() {
            return;
        }
        let mut datagrams = ArrayVec::<IoSlice<'_>, MAX_CALL>::new();
        for &id in &*ids {
            // `write_header` made sure of the room.
            let bytes = batch.frame(id).bytes_and_before(VNET_HDR_SIZE).unwrap_or_default();
            datagrams.push(IoSlice::new(bytes));
        }
        flush(&mut self.messages, &self.socket, &self.status, &datagrams, |index, failure| {
            failures.push((ids[index], failure));
        });
        drop(datagrams);
        ids.clear();
    }
}

/// Writes `header` directly before the frame, which moves to memory of its own if it has no room left.
pub(super) fn write_header(frame: &mut Frame<'_>, header: Offload) {
    let header = header.to_bytes();
    if frame.bytes_with_header(&header).is_none() {
        let mut copy = frame.copy_in(Vec::new());
        copy.bytes_with_header(&header);
        *frame = copy;
    }
}

/// Sends all datagrams but those that the kernel refuses, which are told to `refused`.
fn flush(
    messages: &mut Messages,
    socket: &OwnedFd,
    status: &PortStatus,
    datagrams: &[IoSlice<'_>],
    mut refused: impl FnMut(usize, TxFailure),
) {
    let mut done = 0;
    while done < datagrams.len() {
        // A call ends at the first datagram refused, without telling why unless it was the first of
        // the call. So the next call begins with it, and what is refused then is left out.
        match messages.send(socket.as_fd(), &datagrams[done..]) {
            Ok(sent) => done += sent,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let (is_up, mtu) = (status.is_link_up(), status.mtu());
                refused(done, failure(&error, is_up, mtu, &datagrams[done]));
                done += 1;
            }
        }
    }
}

/// What the kernel's refusal of these bytes, the virtio-net header included, says about the frame.
pub(super) fn failure(error: &std::io::Error, is_up: bool, mtu: u32, bytes: &[u8]) -> TxFailure {
    let has_work = bytes.iter().take(2).any(|byte| *byte != 0);
    match error.raw_os_error().unwrap_or(0) {
        libc::ENETDOWN | libc::ENXIO | libc::ENODEV => TxFailure::LinkDown,
        // A device without carrier swallows what is sent around its queueing discipline.
        libc::ENOBUFS | libc::EAGAIN if !is_up => TxFailure::LinkDown,
        libc::ENOBUFS | libc::EAGAIN => TxFailure::QueueFull,
        libc::EMSGSIZE => {
            TxFailure::TooLong { size: bytes.len().saturating_sub(VNET_HDR_SIZE) as u32, mtu }
        }
        libc::EINVAL if has_work => TxFailure::NoOffload,
        errno => TxFailure::Other(errno),
    }
}
