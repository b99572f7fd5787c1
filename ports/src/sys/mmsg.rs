//! Many datagrams in one system call.

use super::check;
use std::io::{self, IoSlice};
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The message headers of a call, kept so that they need not be cleared for each one.
pub(crate) struct Messages(Box<[libc::mmsghdr]>);

// SAFETY: the pointers in the headers are only used during a call that has just set them.
unsafe impl Send for Messages {}

impl Messages {
    /// Room for `count` datagrams.
    pub(crate) fn new(count: usize) -> Self {
        // SAFETY: all zero is a valid message header: no address, no data, no control data.
        Self((0..count).map(|_| unsafe { zeroed() }).collect())
    }

    /// Sends the first of `datagrams`, in order, as many as the kernel takes at once without waiting.
    /// Returns how many it took.
    ///
    /// # Errors
    /// The kernel's reason to refuse the very first one.
    pub(crate) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        datagrams: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        for (message, datagram) in self.0.iter_mut().zip(datagrams) {
            // An IoSlice has the layout of an iovec; the kernel does not write through it.
            message.msg_hdr.msg_iov = (&raw const *datagram).cast::<libc::iovec>().cast_mut();
            message.msg_hdr.msg_iovlen = 1;
        }
        let count = datagrams.len().min(self.0.len()) as libc::c_uint;
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: the first `count` headers were just set to point to one valid iovec each, whose
        // bytes are borrowed for the duration of the call.
        let sent =
            check(unsafe { libc::sendmmsg(fd.as_raw_fd(), self.0.as_mut_ptr(), count, flags) })?;
        Ok(sent as usize)
    }
}

/// The message headers of a call that sends to several devices, and the addresses that they point to.
pub(crate) struct AddressedMessages {
    headers: Box<[libc::mmsghdr]>,
    addresses: Box<[libc::sockaddr_ll]>,
}

// SAFETY: the pointers in the headers are only used during a call that has just set them.
unsafe impl Send for AddressedMessages {}

impl AddressedMessages {
    /// Room for `count` datagrams.
    pub(crate) fn new(count: usize) -> Self {
        // SAFETY: all zero is a valid message header: no address, no data, no control data.
        let headers = (0..count).map(|_| unsafe { zeroed() }).collect();
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: 0,
            sll_ifindex: 0,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        Self { headers, addresses: vec![address; count].into() }
    }

    /// Sends the first of `datagrams`, each to the device with its interface number, in order, as many as
    /// the kernel takes at once without waiting. Returns how many it took.
    ///
    /// # Errors
    /// The kernel's reason to refuse the very first one.
    pub(crate) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        datagrams: &[(u32, IoSlice<'_>)],
    ) -> io::Result<usize> {
        let Self { headers, addresses } = self;
        for ((message, address), (ifindex, datagram)) in
            headers.iter_mut().zip(addresses.iter_mut()).zip(datagrams)
        {
            address.sll_ifindex = *ifindex as libc::c_int;
            message.msg_hdr.msg_name = (&raw mut *address).cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            // An IoSlice has the layout of an iovec; the kernel does not write through it.
            message.msg_hdr.msg_iov = (&raw const *datagram).cast::<libc::iovec>().cast_mut();
            message.msg_hdr.msg_iovlen = 1;
        }
        let count = datagrams.len().min(headers.len()) as libc::c_uint;
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: the first `count` headers were just set to point to one valid address and one valid iovec
        // each. The addresses live as long as `self`, the bytes are borrowed for the duration of the call.
        let sent =
            check(unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, flags) })?;
        Ok(sent as usize)
    }
}
