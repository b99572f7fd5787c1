//! Sends and receives whole Ethernet frames through a packet socket at an interface (packet(7)).

use crate::LabError;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, bind, recv,
    send, sendmmsg, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use packet::wire::{EthernetFrame, ethernet};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Size of the receive buffer in bytes: an IP packet of 64 KiB with its Ethernet header and tags.
const LONGEST: usize = 66_000;

/// A socket that sends frames through one interface, and receives the frames that are sent and received there.
///
/// The kernel removes the outer VLAN tag of a received frame before this socket gets the frame.
#[derive(Debug)]
pub struct FrameSocket {
    interface: String,
    fd: OwnedFd,
    buf: Vec<u8>,
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl FrameSocket {
    /// Opens a socket at `interface` in the namespace of the calling thread.
    ///
    /// # Errors
    /// There is no such interface, or the process lacks `CAP_NET_RAW`.
    pub fn open(interface: &str) -> Result<Self, LabError> {
        Self::open_with(interface, Some(SockProtocol::EthAll))
    }

    /// As [`FrameSocket::open`], for a socket that only sends. The kernel does not copy received frames to it.
    ///
    /// # Errors
    /// As [`FrameSocket::open`].
    pub fn open_to_send(interface: &str) -> Result<Self, LabError> {
        Self::open_with(interface, None)
    }

    fn open_with(interface: &str, protocol: Option<SockProtocol>) -> Result<Self, LabError> {
        let failed = |e: nix::Error| LabError::os("open a packet socket at", interface)(e.into());
        let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .map_err(failed)?;
        // The address in the list of interfaces has no protocol, so `bind` keeps the socket's own.
        let address = link_address(interface).map_err(failed)?;
        bind(fd.as_raw_fd(), &address).map_err(failed)?;
        Ok(Self { interface: interface.to_owned(), fd, buf: vec![0; LONGEST] })
    }

    /// Sends one frame. `Ok(false)` means that the queue of the interface is full and the frame was not sent.
    ///
    /// # Errors
    /// The frame is too short or too long, or the interface is down.
    pub fn send(&self, frame: &[u8]) -> Result<bool, LabError> {
        match send(self.fd.as_raw_fd(), frame, MsgFlags::empty()) {
            Ok(_) => Ok(true),
            Err(nix::Error::ENOBUFS | nix::Error::EAGAIN) => Ok(false),
            Err(e) => Err(LabError::os("send a frame through", &self.interface)(e.into())),
        }
    }

    /// Sends frames in order with one system call, and returns how many the kernel accepted.
    ///
    /// # Errors
    /// The kernel refused the first frame for another reason than a full queue.
    pub fn send_all(&self, frames: &[Vec<u8>]) -> Result<usize, LabError> {
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(frames.len(), None);
        let slices: Vec<_> = frames.iter().map(|f| [IoSlice::new(f)]).collect();
        let addresses = vec![None; frames.len()];
        let flags = MsgFlags::empty();
        match sendmmsg(self.fd.as_raw_fd(), &mut headers, &slices, &addresses, [], flags) {
            Ok(sent) => Ok(sent.count()),
            Err(nix::Error::ENOBUFS | nix::Error::EAGAIN) => Ok(0),
            Err(e) => Err(LabError::os("send frames through", &self.interface)(e.into())),
        }
    }

    /// Sends `frames` again and again, `burst` of them with each system call, until `is_over`
    /// returns true between two bursts. Returns how many frames the kernel accepted. Frames that
    /// meet a full queue are skipped.
    ///
    /// # Errors
    /// The kernel refused a frame for another reason than a full queue.
    pub fn send_until(
        &self,
        frames: &[Vec<u8>],
        burst: usize,
        mut is_over: impl FnMut() -> bool,
    ) -> Result<u64, LabError> {
        let slices: Vec<_> = frames.iter().map(|f| [IoSlice::new(f)]).collect();
        let addresses = vec![None; burst];
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(burst, None);
        let mut accepted = 0;
        for burst in slices.chunks(burst).cycle() {
            if is_over() {
                break;
            }
            let addresses = &addresses[..burst.len()];
            let flags = MsgFlags::empty();
            match sendmmsg(self.fd.as_raw_fd(), &mut headers, burst, addresses, [], flags) {
                Ok(sent) => accepted += sent.count() as u64,
                Err(nix::Error::ENOBUFS | nix::Error::EAGAIN) => {}
                Err(e) => {
                    return Err(LabError::os("send frames through", &self.interface)(e.into()));
                }
            }
        }
        Ok(accepted)
    }

    /// Waits up to `limit` for the next frame that is sent or received at this interface;
    /// `None` if there was none.
    ///
    /// # Errors
    /// The interface was deleted.
    pub fn receive(&mut self, limit: Duration) -> Result<Option<&[u8]>, LabError> {
        let failed =
            |e: nix::Error| LabError::os("receive a frame from", &self.interface)(e.into());
        // A timeout of zero would mean no timeout (socket(7)).
        let limit = TimeVal::microseconds(limit.as_micros().max(1) as i64);
        nix::sys::socket::setsockopt(&self.fd, sockopt::ReceiveTimeout, &limit).map_err(failed)?;
        match recv(self.fd.as_raw_fd(), &mut self.buf, MsgFlags::empty()) {
            Ok(size) => Ok(Some(&self.buf[..size])),
            Err(nix::Error::EAGAIN | nix::Error::EINTR | nix::Error::ENETDOWN) => Ok(None),
            Err(e) => Err(failed(e)),
        }
    }

    /// Waits up to `limit` for a frame for which `wanted` returns true; `None` if there was
    /// none. Other frames are dropped.
    ///
    /// # Errors
    /// The interface was deleted.
    pub fn receive_matching(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, LabError> {
        let end = std::time::Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            if let Some(frame) = self.receive(left)?
                && wanted(frame)
            {
                return Ok(Some(frame.to_vec()));
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Sets the size of the receive buffer in bytes, which the kernel limits to `net.core.rmem_max`.
    ///
    /// # Errors
    /// The kernel refused the option.
    pub fn set_receive_buffer(&self, bytes: usize) -> Result<(), LabError> {
        nix::sys::socket::setsockopt(&self.fd, sockopt::RcvBuf, &bytes)
            .map_err(|e| LabError::os("enlarge the buffer at", &self.interface)(e.into()))
    }
}

fn link_address(interface: &str) -> nix::Result<LinkAddr> {
    nix::ifaddrs::getifaddrs()?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .ok_or(nix::Error::ENODEV)
}

/// An Ethernet frame with the EtherType [`EXPERIMENTAL`], padded to 60 bytes.
pub fn experimental_frame(destination: [u8; 6], source: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let size = ethernet::HEADER_SIZE + payload.len();
    let mut bytes = vec![0; size.max(ethernet::MIN_FRAME_SIZE)];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_dst_addr(destination);
    frame.set_src_addr(source);
    frame.set_ethertype(EXPERIMENTAL);
    bytes[ethernet::HEADER_SIZE..size].copy_from_slice(payload);
    bytes
}

/// The EtherType of [`experimental_frame`]: IEEE 802 Local Experimental EtherType 1, which no protocol uses.
pub const EXPERIMENTAL: u16 = 0x88b5;
