//! Sending copies of frames to many devices with one system call.
//!
//! A packet socket that is not bound to a device sends each datagram to the device that its address names
//! (packet(7)), so that `sendmmsg` can carry the copies of a flood, where a socket for each port takes a call
//! for each copy. The sockets of the ports stay for everything else: what a slow device holds back fills
//! the send buffer of its own socket then, and nobody else's.
//!
//! Only ports whose frames go around the queueing discipline take part, because that is a property of the
//! socket. The ports of a namespace have such a socket for each of their sending queues.

use super::calls::failure;
use super::tx::{prepare, write_header};
use crate::egress::Way;
use crate::flood_socket::FloodSocket;
use crate::sys::mmsg::AddressedMessages;
use crate::{PortStatus, TxFailure};
use packet::{Batch, FrameId, VNET_HDR_SIZE};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Copies of one system call.
const MAX_CALL: usize = 256;

/// How a port can be reached together with others.
#[derive(Clone, Debug)]
pub struct FloodTarget {
    pub(crate) socket: Arc<FloodSocket>,
    pub(crate) ifindex: u32,
    pub(crate) status: Arc<PortStatus>,
}

/// A copy that waits for the next call.
struct Copy {
    /// What the caller calls the port.
    port: usize,
    id: FrameId,
    ifindex: u32,
    mtu: u32,
    is_up: bool,
}

/// Collects copies for many ports and sends them together. Owned by one worker thread.
pub struct FloodSender {
    messages: AddressedMessages,
    socket: Option<Arc<FloodSocket>>,
    copies: Vec<Copy>,
    failures: Vec<(usize, FrameId, TxFailure)>,
}

impl Default for FloodSender {
    fn default() -> Self {
        Self {
            messages: AddressedMessages::new(MAX_CALL),
            socket: None,
            copies: Vec::with_capacity(MAX_CALL),
            failures: Vec::new(),
        }
    }
}

impl FloodSender {
    /// Takes a frame for the port that the caller calls `port`; false if it has to be sent by the port's own
    /// queue. The frame's bytes must not change until [`FloodSender::finish`].
    pub fn add(
        &mut self,
        target: &FloodTarget,
        port: usize,
        batch: &mut Batch<'_>,
        id: FrameId,
    ) -> bool {
        let (takes, mtu) = (target.status.takes(), target.status.mtu());
        let frame = batch.frame_mut(id);
        // A frame that the port refuses, or that is to be cut, is left to its queue.
        let Ok(Way::Direct(header)) = prepare(frame, takes, mtu) else { return false };
        write_header(frame, header);
        let is_same = self.socket.as_ref().is_none_or(|socket| Arc::ptr_eq(socket, &target.socket));
        if !is_same || self.copies.len() == MAX_CALL {
            self.flush(batch);
        }
        if self.socket.is_none() {
            self.socket = Some(Arc::clone(&target.socket));
        }
        let is_up = target.status.is_link_up();
        self.copies.push(Copy { port, id, ifindex: target.ifindex, mtu, is_up });
        true
    }

    /// Sends what was taken, and tells of each copy that was not accepted.
    pub fn finish(&mut self, batch: &Batch<'_>, mut failed: impl FnMut(usize, FrameId, TxFailure)) {
        self.flush(batch);
        self.failures.drain(..).for_each(|(port, id, failure)| failed(port, id, failure));
    }

    fn flush(&mut self, batch: &Batch<'_>) {
        let Self { messages, socket, copies, failures } = self;
        let Some(socket) = socket.take() else { return };
        let datagrams = copies.iter().map(|copy| {
            // `write_header` made sure of the room.
            let bytes = batch.frame(copy.id).bytes_and_before(VNET_HDR_SIZE).unwrap_or_default();
            (copy.ifindex, IoSlice::new(bytes))
        });
        let datagrams: arrayvec::ArrayVec<_, MAX_CALL> = datagrams.collect();
        let mut done = 0;
        while done < datagrams.len() {
            // As in `calls`: the next call begins with what ended this one, and tells why.
            match messages.send(socket.as_fd(), &datagrams[done..]) {
                Ok(sent) => done += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let (copy, (_, bytes)) = (&copies[done], &datagrams[done]);
                    let reason = failure(&error, copy.is_up, copy.mtu, bytes);
                    // A port that is down, or whose queue is full, does not take the next copy either. If the
                    // buffer of all ports is full, each port finds out at the cost of one call.
                    let is_over = matches!(reason, TxFailure::LinkDown | TxFailure::QueueFull);
                    let same = copies[done..].iter().take_while(|next| next.port == copy.port);
                    let count = if is_over { same.count() } else { 1 };
                    let refused = copies[done..].iter().take(count);
                    failures.extend(refused.map(|copy| (copy.port, copy.id, reason)));
                    done += count;
                }
            }
        }
        drop(datagrams);
        copies.clear();
    }
}
