//! The system calls by which one port sends, and what a refusal says about the frames behind it.
//!
//! `sendmmsg` ends at the first datagram that the kernel refuses, and tells the reason only if this datagram
//! was the first of the call. So each refusal takes a call of its own, and few of them are paid for
//! ([`Refusals`]). A frame that is no shorter than one that was too long fails without a call, too.

use crate::refusals::Refusals;
use crate::sys::mmsg::Messages;
use crate::{PortStatus, TxFailure};
use packet::{MAX_BATCH, VNET_HDR_SIZE};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A datagram was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The number of datagrams before it, which were sent.
    pub(super) sent: usize,
    pub(super) why: TxFailure,
}

/// A socket that is bound to a device, and what the refusals since [`Calls::begin`] said.
pub(super) struct Calls {
    socket: OwnedFd,
    status: Arc<PortStatus>,
    messages: Messages,
    refusals: Refusals,
    too_long: Option<TooLong>,
}

/// A frame that was too long, as frames of its EtherType are that are no shorter.
#[derive(Clone, Copy)]
struct TooLong {
    ethertype: [u8; 2],
    /// Bytes of the datagram, with the virtio-net header.
    size: usize,
    /// The device's MTU in bytes, without the link header.
    mtu: u32,
}

impl Calls {
    pub(super) fn new(socket: OwnedFd, status: Arc<PortStatus>) -> Self {
        let messages = Messages::new(MAX_BATCH);
        Self { socket, status, messages, refusals: Refusals::default(), too_long: None }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Forgets what refusals said, before other frames are sent: the device may be up again.
    pub(super) fn begin(&mut self) {
        self.refusals.begin();
        self.too_long = None;
    }

    /// Why all frames fail until [`Calls::begin`]; `None` while the device may take some.
    pub(super) fn end(&self) -> Option<TxFailure> {
        self.refusals.end()
    }

    /// Sends datagrams, each with its virtio-net header, up to the first that is refused.
    pub(super) fn send(&mut self, datagrams: &[IoSlice<'_>]) -> Result<(), Refusal> {
        let mut sent = 0;
        while sent < datagrams.len() {
            if let Some(why) = self.end() {
                return Err(Refusal { sent, why });
            }
            let rest = &datagrams[sent..];
            let rest = match self.too_long {
                None => rest,
                Some(limit) => match rest.iter().position(|datagram| limit.applies_to(datagram)) {
                    Some(0) => return Err(Refusal { sent, why: too_long(&rest[0], limit.mtu) }),
                    Some(count) => &rest[..count],
                    None => rest,
                },
            };
            match self.messages.send(self.socket.as_fd(), rest) {
                Ok(count) => {
                    sent += count;
                    self.refusals.took();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let (is_up, mtu) = (self.status.is_link_up(), self.status.mtu());
                    let why = failure(&error, is_up, mtu, &rest[0]);
                    self.note(why, &rest[0]);
                    return Err(Refusal { sent, why });
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, why: TxFailure, datagram: &[u8]) {
        self.refusals.refused(why);
        if let TxFailure::TooLong { mtu, .. } = why {
            self.too_long = TooLong::of(datagram, mtu);
        }
    }
}

impl TooLong {
    /// The place of the EtherType in a datagram. The kernel takes a frame that is longer by a tag if the
    /// EtherType is that of 802.1Q.
    const ETHERTYPE: std::ops::Range<usize> = VNET_HDR_SIZE + 12..VNET_HDR_SIZE + 14;

    fn of(datagram: &[u8], mtu: u32) -> Option<Self> {
        let ethertype = datagram.get(Self::ETHERTYPE)?.try_into().ok()?;
        Some(Self { ethertype, size: datagram.len(), mtu })
    }

    fn applies_to(&self, datagram: &[u8]) -> bool {
        let is_segmented = datagram.get(1).is_some_and(|gso_type| *gso_type != 0);
        datagram.len() >= self.size
            && !is_segmented
            && datagram.get(Self::ETHERTYPE) == Some(&self.ethertype)
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
        libc::EMSGSIZE => too_long(bytes, mtu),
        libc::EINVAL if has_work => TxFailure::NoOffload,
        errno => TxFailure::Other(errno),
    }
}

/// The failure of a datagram that is too long for a device with this MTU.
fn too_long(datagram: &[u8], mtu: u32) -> TxFailure {
    TxFailure::TooLong { size: datagram.len().saturating_sub(VNET_HDR_SIZE) as u32, mtu }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    /// Calls over a socket that is full after some datagrams, and its other end.
    fn calls() -> (Calls, UnixDatagram) {
        let (near, far) = UnixDatagram::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        (Calls::new(near.into(), PortStatus::new(true, 1500, true)), far)
    }

    fn receive_all(far: &UnixDatagram) -> usize {
        std::iter::from_fn(|| far.recv(&mut [0; 2000]).ok()).count()
    }

    #[test]
    fn a_queue_that_is_full_twice_is_not_asked_again() {
        let (mut calls, far) = calls();
        let datagrams = vec![IoSlice::new(&[0; 70]); 2000];
        let first = calls.send(&datagrams).unwrap_err();
        assert_eq!(first.why, TxFailure::QueueFull);
        assert_eq!(calls.end(), None, "it may have room for the next one");
        let refused = Err(Refusal { sent: 0, why: TxFailure::QueueFull });
        assert_eq!(calls.send(&datagrams), refused);
        // There is room again, of which only a call could tell.
        assert_eq!(receive_all(&far), first.sent);
        assert_eq!(calls.send(&datagrams[..1]), refused);
        assert_eq!(receive_all(&far), 0);
        calls.begin();
        assert_eq!(calls.send(&datagrams[..1]), Ok(()));
        assert_eq!(receive_all(&far), 1);
    }

    #[test]
    fn frames_as_long_as_one_that_was_too_long_are_not_tried() {
        let (mut calls, far) = calls();
        let of_ethertype = |ethertype: u8, size: usize| {
            let mut bytes = vec![0; size];
            bytes[VNET_HDR_SIZE + 12] = ethertype;
            bytes
        };
        let (short, long) = (of_ethertype(8, 70), of_ethertype(8, 1600));
        let (tagged, mut segmented) = (of_ethertype(0x81, 1600), of_ethertype(8, 1600));
        segmented[1] = 1;
        let why = TxFailure::TooLong { size: 1590, mtu: 1500 };
        calls.note(why, &long);
        let datagrams = [&short, &tagged, &segmented, &long, &short].map(|b| IoSlice::new(b));
        assert_eq!(calls.send(&datagrams), Err(Refusal { sent: 3, why }));
        assert_eq!(calls.send(&datagrams[3..]), Err(Refusal { sent: 0, why }));
        let longer = of_ethertype(8, 1700);
        let its_own = TxFailure::TooLong { size: 1690, mtu: 1500 };
        assert_eq!(calls.send(&[IoSlice::new(&longer)]), Err(Refusal { sent: 0, why: its_own }));
        assert_eq!(calls.send(&datagrams[4..]), Ok(()));
        assert_eq!(receive_all(&far), 4);
    }
}
