//! The eBPF program that sends copies of a frame to many devices (crate `kernelcache`).
//!
//! A packet socket has the kernel make a packet of its own for each copy (`afpacket/multi_tx`). The program is
//! run on one packet, and the copies share its bytes.

use crate::sys::bpf::{self, SharedWords};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lists of devices that the program has.
pub const FLOOD_LISTS: usize = 64;
/// Devices that a list has room for.
pub const FLOOD_DEVICES: usize = 256;

/// Linux's `NET_XMIT_DROP`: a device has dropped a packet, most often because its queue was full.
const NET_XMIT_DROP: i64 = 1;

/// The program, with the memory of its lists.
#[derive(Debug)]
pub struct FloodProgram {
    program: OwnedFd,
    /// [`FLOOD_DEVICES`] words for each list.
    lists: SharedWords,
    /// The places of lists that no thread has: the numbers below [`FLOOD_LISTS`] that no [`FloodList`] names.
    free: Mutex<Vec<usize>>,
    /// Copies that devices have accepted so far, from all lists.
    copies: AtomicU64,
}

impl FloodProgram {
    /// The program, of the type `BPF_PROG_TYPE_SCHED_CLS`. `lists` has the numbers of devices. The program is
    /// run with two numbers in its control block: the place of the first device in `lists`, and how many
    /// devices there are. It sends the packet to these devices, and leaves in place of each number what the
    /// kernel has returned.
    ///
    /// # Panics
    /// `lists` has less than [`FLOOD_LISTS`] times [`FLOOD_DEVICES`] words: when a list is used.
    pub fn new(program: OwnedFd, lists: SharedWords) -> Self {
        let free = Mutex::new((0..FLOOD_LISTS).rev().collect());
        Self { program, lists, free, copies: AtomicU64::new(0) }
    }

    /// A list for a thread; `None` if all are taken.
    pub(crate) fn list(self: &Arc<Self>) -> Option<FloodList> {
        let place = self.free().pop()?;
        Some(FloodList { program: Arc::clone(self), place })
    }

    /// How many copies devices have accepted so far.
    pub fn copies(&self) -> u64 {
        self.copies.load(Ordering::Relaxed)
    }

    fn free(&self) -> MutexGuard<'_, Vec<usize>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for FloodProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

/// A list of devices, which is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct FloodList {
    program: Arc<FloodProgram>,
    place: usize,
}

impl FloodList {
    /// Whether the list is one of `program`.
    pub(crate) fn is_of(&self, program: &Arc<FloodProgram>) -> bool {
        Arc::ptr_eq(&self.program, program)
    }

    /// Sends copies of a frame to devices of the calling thread's network namespace, [`FLOOD_DEVICES`] at most,
    /// and tells of each that was refused its place among `devices`.
    ///
    /// # Errors
    /// The kernel does not run the program on this frame. No copy was sent.
    pub(crate) fn send(
        &self,
        frame: &[u8],
        devices: impl Iterator<Item = u32>,
        mut refused: impl FnMut(usize, io::Error),
    ) -> io::Result<()> {
        let Self { program, place } = self;
        let first = place * FLOOD_DEVICES;
        let mut count = 0;
        for device in devices.take(FLOOD_DEVICES) {
            program.lists.at(first + count).store(device.into(), Ordering::Relaxed);
            count += 1;
        }
        bpf::run(program.as_fd(), frame, [first as u32, count as u32])?;
        let mut accepted = count;
        for i in 0..count {
            let returned = program.lists.at(first + i).load(Ordering::Relaxed) as i64;
            if let Some(error) = error_of(returned) {
                accepted -= 1;
                refused(i, error);
            }
        }
        program.copies.fetch_add(accepted as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for FloodList {
    fn drop(&mut self) {
        self.program.free().push(self.place);
    }
}

/// The error that a packet socket would have returned for a copy; `None` if the copy was sent.
fn error_of(returned: i64) -> Option<io::Error> {
    const NO_DEVICE: i64 = -(libc::EINVAL as i64);
    let errno = match returned {
        NET_XMIT_DROP => libc::ENOBUFS,
        NO_DEVICE => libc::ENODEV,
        error if error < 0 => i32::try_from(-error).unwrap_or(libc::EIO),
        _ => return None,
    };
    Some(io::Error::from_raw_os_error(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_returns_means_what_a_packet_socket_says() {
        let errno = |returned| error_of(returned).and_then(|error| error.raw_os_error());
        // NET_XMIT_SUCCESS, and NET_XMIT_CN, for which a packet socket reports no error either.
        assert_eq!((errno(0), errno(2)), (None, None));
        assert_eq!(errno(1), Some(libc::ENOBUFS));
        assert_eq!(errno(-i64::from(libc::EINVAL)), Some(libc::ENODEV));
        assert_eq!(errno(-i64::from(libc::ENETDOWN)), Some(libc::ENETDOWN));
    }
}
