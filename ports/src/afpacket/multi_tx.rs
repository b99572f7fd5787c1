//! Sending copies of frames to many devices with one system call.
//!
//! There are two ways. Where the switch has eBPF programs ([`FloodProgram`]), one of them sends a frame to all
//! devices, and the copies share the frame's bytes. A call costs what two copies cost without it, so that it is
//! for frames with several copies, and it cannot say that work on the frame is left to the devices.
//!
//! Otherwise, `sendmmsg` carries the copies of a flood: a packet socket that is not bound to a device sends
//! each datagram to the device that its address names (packet(7)). A socket for each port would take a call for
//! each copy. The sockets of the ports stay for everything else: what a slow device holds back fills the send
//! buffer of its own socket then, and nobody else's.
//!
//! Only ports whose frames go around the queueing discipline take part, because that is a property of the
//! socket. The ports of a namespace have such a socket for each of their sending queues.

use super::calls::failure;
use super::tx::{prepare, write_header};
use crate::egress::{Way, check_size};
use crate::flood_program::{FLOOD_DEVICES, FloodList, FloodProgram};
use crate::flood_socket::FloodSocket;
use crate::sys::mmsg::AddressedMessages;
use crate::{PortStatus, TxFailure};
use packet::{Batch, Frame, FrameId, Offload, VNET_HDR_SIZE};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Copies of one system call.
const MAX_CALL: usize = FLOOD_DEVICES;
/// The number of copies of a frame from which on the program sends them.
const LEAST_FOR_PROGRAM: usize = 3;

/// How a port can be reached together with others.
#[derive(Clone, Debug)]
pub struct FloodTarget {
    pub(crate) socket: Arc<FloodSocket>,
    /// Sends to the device, too; `None` if there is none, or if the device has a queueing discipline that it
    /// would not go around.
    pub(crate) program: Option<Arc<FloodProgram>>,
    pub(crate) ifindex: u32,
    pub(crate) status: Arc<PortStatus>,
}

impl FloodTarget {
    /// Whether the copies of a frame for this port and others are made at once.
    pub fn copies_at_once(&self) -> bool {
        self.program.is_some()
    }
}

/// A copy that waits for the next call.
struct Copy {
    /// What the caller calls the port.
    port: usize,
    id: FrameId,
    ifindex: u32,
    mtu: u32,
    is_up: bool,
    /// The number of its group.
    group: usize,
}

/// The copies of one frame, for different ports.
struct Group {
    id: FrameId,
    copies: usize,
    /// Whether the program can send all of them.
    suits_program: bool,
}

impl Group {
    fn is_for_program(&self) -> bool {
        self.suits_program && self.copies >= LEAST_FOR_PROGRAM
    }
}

/// Groups in an order in which every port gets its frames in theirs.
#[derive(Default)]
struct Groups(Vec<Group>);

impl Groups {
    /// Puts a copy into a group of its own, behind all others, which the socket
    /// sends. Returns the group's number.
    fn add_single(&mut self, id: FrameId) -> usize {
        self.0.push(Group { id, copies: 1, suits_program: false });
        self.0.len() - 1
    }

    /// Counts a copy of a frame into a group behind `last`, that of the port's frame
    /// before. Returns the group's number.
    fn count(&mut self, last: Option<usize>, id: FrameId, suits_program: bool) -> usize {
        let first = last.map_or(0, |last| last + 1);
        let mut behind = (first..).zip(self.0.iter_mut().skip(first));
        if let Some((number, group)) = behind.find(|(_, group)| group.id == id) {
            group.copies += 1;
            group.suits_program &= suits_program;
            return number;
        }
        self.0.push(Group { id, copies: 1, suits_program });
        self.0.len() - 1
    }
}

/// Whether the frame is for everybody, or for the members of a multicast group.
fn is_for_a_group(frame: &Frame<'_>) -> bool {
    frame.bytes().first().is_some_and(|byte| byte & 1 == 1)
}

/// Collects copies for many ports and sends them together. Owned by one worker thread.
pub struct FloodSender {
    messages: AddressedMessages,
    socket: Option<Arc<FloodSocket>>,
    list: Option<FloodList>,
    copies: Vec<Copy>,
    groups: Groups,
    failures: Vec<(usize, FrameId, TxFailure)>,
}

impl Default for FloodSender {
    fn default() -> Self {
        Self {
            messages: AddressedMessages::new(MAX_CALL),
            socket: None,
            list: None,
            copies: Vec::with_capacity(MAX_CALL),
            groups: Groups::default(),
            failures: Vec::new(),
        }
    }
}

impl FloodSender {
    /// Takes a frame for the port that the caller calls `port`; false if it has to be sent by the port's
    /// own queue. The frame's bytes must not change until [`FloodSender::finish`]. The frames of a port
    /// come one after the other. `is_flooded` says that frames have several copies: only then the copies of
    /// this one are looked for.
    pub fn add(
        &mut self,
        is_flooded: bool,
        target: &FloodTarget,
        port: usize,
        batch: &mut Batch<'_>,
        id: FrameId,
    ) -> bool {
        let (takes, mtu) = (target.status.takes(), target.status.mtu());
        let frame = batch.frame_mut(id);
        // A frame that the port refuses, or that is to be cut, is left to its queue.
        let Ok(Way::Direct(mut header)) = prepare(frame, takes, mtu) else { return false };
        let has_list = is_flooded && self.has_list_of(target);
        // A sum for all copies costs less than a packet for each.
        if has_list && is_for_a_group(frame) && !header.is_gso() && packet::complete(frame).is_ok()
        {
            header = Offload::NONE;
        }
        let suits_program = has_list && header.is_complete();
        // A packet socket does not take a frame that is too long. The program would send it.
        if suits_program && check_size(frame, frame.size(), mtu).is_err() {
            return false;
        }
        write_header(frame, header);
        let is_same = self.socket.as_ref().is_none_or(|socket| Arc::ptr_eq(socket, &target.socket));
        if !is_same || self.copies.len() == MAX_CALL {
            self.flush(batch);
        }
        if self.socket.is_none() {
            self.socket = Some(Arc::clone(&target.socket));
        }
        let group = if has_list {
            let last = self.copies.last().filter(|last| last.port == port);
            self.groups.count(last.map(|last| last.group), id, suits_program)
        } else {
            self.groups.add_single(id)
        };
        let is_up = target.status.is_link_up();
        self.copies.push(Copy { port, id, ifindex: target.ifindex, mtu, is_up, group });
        true
    }

    /// Sends what was taken, and tells of each copy that was not accepted.
    pub fn finish(&mut self, batch: &Batch<'_>, mut failed: impl FnMut(usize, FrameId, TxFailure)) {
        self.flush(batch);
        self.failures.drain(..).for_each(|(port, id, failure)| failed(port, id, failure));
    }

    /// Whether this sender has a list of the program of this target.
    fn has_list_of(&mut self, target: &FloodTarget) -> bool {
        let Some(program) = &target.program else { return false };
        if self.list.is_none() {
            self.list = program.list();
        }
        self.list.as_ref().is_some_and(|list| list.is_of(program))
    }

    fn flush(&mut self, batch: &Batch<'_>) {
        let Some(socket) = self.socket.take() else { return };
        let mut copies = std::mem::take(&mut self.copies);
        let mut groups = std::mem::take(&mut self.groups);
        let is_for_program = |copy: &Copy| groups.0[copy.group].is_for_program();
        if groups.0.iter().any(Group::is_for_program) {
            copies.sort_unstable_by_key(|copy| copy.group);
            let is_same_call = |one: &Copy, next: &Copy| {
                one.group == next.group || !is_for_program(one) && !is_for_program(next)
            };
            for call in copies.chunk_by(is_same_call) {
                let is_sent = is_for_program(&call[0]) && self.run(call, batch);
                if !is_sent {
                    self.send(&socket, call, batch);
                }
            }
        } else {
            self.send(&socket, &copies, batch);
        }
        copies.clear();
        groups.0.clear();
        (self.copies, self.groups) = (copies, groups);
    }

    /// Has the program send copies of one frame. Returns false if the kernel has not run the program, and no
    /// copy was sent.
    fn run(&mut self, copies: &[Copy], batch: &Batch<'_>) -> bool {
        let Self { list, failures, .. } = self;
        let Some(list) = list else { return false };
        let id = copies[0].id;
        let frame = batch.frame(id);
        let sent =
            list.send(frame.bytes(), copies.iter().map(|copy| copy.ifindex), |place, error| {
                let copy = &copies[place];
                let bytes = frame.bytes_and_before(VNET_HDR_SIZE).unwrap_or_default();
                failures.push((copy.port, id, failure(&error, copy.is_up, copy.mtu, bytes)));
            });
        sent.is_ok()
    }

    fn send(&mut self, socket: &FloodSocket, copies: &[Copy], batch: &Batch<'_>) {
        let Self { messages, failures, .. } = self;
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the groups of frames that are for a port.
    fn count(groups: &mut Groups, frames: &[usize]) -> Vec<usize> {
        let mut last = None;
        let numbers = frames.iter().map(|frame| {
            let number = groups.count(last, FrameId::received(*frame), true);
            last = Some(number);
            number
        });
        numbers.collect()
    }

    #[test]
    fn the_frames_of_each_port_keep_their_order() {
        let mut groups = Groups::default();
        assert_eq!(count(&mut groups, &[1, 2]), [0, 1]);
        assert_eq!(count(&mut groups, &[2, 3]), [1, 2]);
        // Another order, and a frame twice.
        assert_eq!(count(&mut groups, &[2, 1, 1]), [1, 3, 4]);
        assert_eq!(count(&mut groups, &[1, 2, 3]), [0, 1, 2]);
        let copies: Vec<usize> = groups.0.iter().map(|group| group.copies).collect();
        assert_eq!(copies, [2, 4, 2, 1, 1]);
    }

    #[test]
    fn the_program_gets_frames_that_have_several_copies_and_suit_it() {
        let mut groups = Groups::default();
        for port in 0..LEAST_FOR_PROGRAM {
            assert!(groups.0.iter().all(|group| !group.is_for_program()), "{port} copies");
            groups.count(None, FrameId::received(1), true);
        }
        assert!(groups.0[0].is_for_program());
        groups.count(None, FrameId::received(1), false);
        assert!(!groups.0[0].is_for_program());
    }
}
