//! Frames as bytes: a packet socket at one interface, to send anything and to see everything.

use crate::LabError;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, bind, recv,
    send, sendmmsg, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use packet::wire::{EthernetFrame, ethernet};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Longest frame the kernel hands over: 64 KiB of IP, with room for tags.
const LONGEST: usize = 66_000;

/// A socket that sends frames through one interface and receives what passes there.
///
/// The kernel takes the outer VLAN tag off a frame it received before this socket sees it.
#[derive(Debug)]
pub struct FrameSocket {
    interface: String,
    fd: OwnedFd,
    buf: Vec<u8>,
}

impl FrameSocket {
    /// A socket at `interface` of the calling thread's namespace.
    ///
    /// # Errors
    /// There is no such interface, or the right to raw sockets is missing.
    pub fn open(interface: &str) -> Result<Self, LabError> {
        Self::open_with(interface, Some(SockProtocol::EthAll))
    }

    /// As [`FrameSocket::open`], for a socket that only sends: the kernel spends nothing on it.
    ///
    /// # Errors
    /// As there.
    pub fn open_to_send(interface: &str) -> Result<Self, LabError> {
        Self::open_with(interface, None)
    }

    fn open_with(interface: &str, protocol: Option<SockProtocol>) -> Result<Self, LabError> {
        let failed = |e: nix::Error| LabError::os("open a packet socket at", interface)(e.into());
        let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .map_err(failed)?;
        // The address of an interface, as listed, carries no protocol: the socket keeps its own.
        let address = link_address(interface).map_err(failed)?;
        bind(fd.as_raw_fd(), &address).map_err(failed)?;
        Ok(Self { interface: interface.to_owned(), fd, buf: vec![0; LONGEST] })
    }

    /// Sends one frame. `Ok(false)` when the interface's queue is full.
    ///
    /// # Errors
    /// The kernel refused the frame: too short, too long, or the interface is down.
    pub fn send(&self, frame: &[u8]) -> Result<bool, LabError> {
        match send(self.fd.as_raw_fd(), frame, MsgFlags::empty()) {
            Ok(_) => Ok(true),
            Err(nix::Error::ENOBUFS | nix::Error::EAGAIN) => Ok(false),
            Err(e) => Err(LabError::os("send a frame through", &self.interface)(e.into())),
        }
    }

    /// Sends frames in order with one system call and returns how many were accepted.
    ///
    /// # Errors
    /// The kernel refused the first frame.
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

    /// Sends `frames` over and over, in bursts of one system call, until `is_over` says so between
    /// two bursts, and returns how many were accepted. A full queue is tried again.
    ///
    /// # Errors
    /// The kernel refused a frame for another reason.
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

    /// The next frame, sent or received by anybody at this interface, within `limit`.
    ///
    /// # Errors
    /// The interface has gone.
    pub fn receive(&mut self, limit: Duration) -> Result<Option<&[u8]>, LabError> {
        let failed =
            |e: nix::Error| LabError::os("receive a frame from", &self.interface)(e.into());
        // Zero would mean for ever.
        let limit = TimeVal::microseconds(limit.as_micros().max(1) as i64);
        nix::sys::socket::setsockopt(&self.fd, sockopt::ReceiveTimeout, &limit).map_err(failed)?;
        match recv(self.fd.as_raw_fd(), &mut self.buf, MsgFlags::empty()) {
            Ok(size) => Ok(Some(&self.buf[..size])),
            Err(nix::Error::EAGAIN | nix::Error::EINTR | nix::Error::ENETDOWN) => Ok(None),
            Err(e) => Err(failed(e)),
        }
    }

    /// Waits up to `limit` for a frame that `wanted` says yes to.
    ///
    /// # Errors
    /// The interface has gone.
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

    /// Room for received frames, as far as the kernel allows it.
    ///
    /// # Errors
    /// The kernel refused it altogether.
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

/// An Ethernet frame of an experimental type (IEEE 802 local experimental 1), padded to the
/// shortest length.
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

/// The Ethernet type of [`experimental_frame`].
pub const EXPERIMENTAL: u16 = 0x88b5;
