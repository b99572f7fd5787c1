//! Sending through AF_XDP sockets (Documentation/networking/af_xdp.rst): copy mode, no receiving.
//!
//! No port uses this: it is how test networks make frames for measurements. It is here because all
//! `unsafe` code is.
//!
//! Frames lie in memory that the kernel knows (UMEM), in chunks. A ring of descriptors says which chunks
//! to send; another one tells which were sent, and only has to be emptied here.

use super::check;
use super::packet::{get, set};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a chunk: a frame, without segmentation.
const CHUNK: usize = 2048;
/// Descriptors of each ring.
const RING: u32 = 2048;

/// A socket that sends, and the frames it sends.
pub struct XdpTx {
    // Before the memory: fields are dropped in order, and the kernel uses it as long as this is open.
    fd: OwnedFd,
    tx: Mapping,
    completions: Mapping,
    offsets: libc::xdp_mmap_offsets,
    _umem: Mapping,
    lens: Vec<u32>,
}

impl XdpTx {
    /// A socket at the first queue of the device with interface number `ifindex`, with frames of 2,048
    /// bytes at most.
    ///
    /// # Errors
    /// `InvalidInput` without a frame or with one that is too long; otherwise the kernel's reason.
    /// `ResourceBusy` while another AF_XDP socket of that queue is open.
    pub fn new(ifindex: u32, frames: &[Vec<u8>]) -> io::Result<Self> {
        if frames.is_empty() || frames.iter().any(|frame| frame.len() > CHUNK) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: no memory is passed.
        let fd =
            check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: the descriptor is open, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let umem = Mapping::anonymous(frames.len() * CHUNK)?;
        for (place, frame) in frames.iter().enumerate() {
            // SAFETY: the chunk lies in the mapping, which is not shared yet, and the frame fits into it.
            unsafe {
                let chunk = umem.base.add(place * CHUNK).as_ptr();
                chunk.copy_from_nonoverlapping(frame.as_ptr(), frame.len());
            }
        }
        // SAFETY: all zero is a valid registration, of nothing.
        let mut registration: libc::xdp_umem_reg = unsafe { zeroed() };
        registration.addr = umem.base.as_ptr() as u64;
        registration.len = umem.size as u64;
        registration.chunk_size = CHUNK as u32;
        set(fd.as_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, &registration)?;
        // The kernel wants a ring for received frames to exist; it stays empty.
        for ring in [libc::XDP_UMEM_FILL_RING, libc::XDP_UMEM_COMPLETION_RING, libc::XDP_TX_RING] {
            set(fd.as_fd(), libc::SOL_XDP, ring, &RING)?;
        }
        let offsets = mmap_offsets(&fd)?;
        let map = |at: &libc::xdp_ring_offset, entry: usize, page: i64| {
            Mapping::of(&fd, at.desc as usize + RING as usize * entry, page)
        };
        let tx = map(&offsets.tx, size_of::<libc::xdp_desc>(), libc::XDP_PGOFF_TX_RING)?;
        let page = libc::XDP_UMEM_PGOFF_COMPLETION_RING as i64;
        let completions = map(&offsets.cr, size_of::<u64>(), page)?;
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: libc::XDP_COPY,
            sxdp_ifindex: ifindex,
            sxdp_queue_id: 0,
            sxdp_shared_umem_fd: 0,
        };
        let size = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
        // SAFETY: the address is a valid sockaddr_xdp of the size given, read during the call only.
        check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) })?;
        let lens = frames.iter().map(|frame| frame.len() as u32).collect();
        Ok(Self { fd, tx, completions, offsets, _umem: umem, lens })
    }

    /// Sends `count` frames from the one at `first` on, beginning again after the last, as far as there
    /// is room, and returns how many were accepted.
    ///
    /// # Errors
    /// The device is down or has gone.
    pub fn send(&mut self, first: usize, count: u32) -> io::Result<u32> {
        let (tx, completions) = (&self.offsets.tx, &self.offsets.cr);
        let sent = self.completions.word(completions.producer).load(Ordering::Acquire);
        self.completions.word(completions.consumer).store(sent, Ordering::Release);

        let producer = self.tx.word(tx.producer).load(Ordering::Relaxed);
        let consumer = self.tx.word(tx.consumer).load(Ordering::Acquire);
        let count = count.min(RING - producer.wrapping_sub(consumer));
        for n in 0..count {
            let frame = (first + n as usize) % self.lens.len();
            let slot = (producer.wrapping_add(n) % RING) as usize;
            let desc =
                libc::xdp_desc { addr: (frame * CHUNK) as u64, len: self.lens[frame], options: 0 };
            // SAFETY: the slot is one of the ring's, in the mapping and aligned, and ours: the kernel
            // reads it only after the producer has moved past it.
            unsafe {
                let ring = self.tx.base.add(tx.desc as usize).cast::<libc::xdp_desc>();
                ring.add(slot).write(desc);
            }
        }
        let target = producer.wrapping_add(count);
        self.tx.word(tx.producer).store(target, Ordering::Release);
        // A call sends a few dozen frames at most.
        while self.tx.word(tx.consumer).load(Ordering::Acquire) != target {
            // SAFETY: no memory is passed.
            let result = check(unsafe {
                let fd = self.fd.as_raw_fd();
                libc::sendto(fd, std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0)
                    as i32
            });
            match result.map_err(|e| (e.raw_os_error(), e)) {
                Ok(_) | Err((Some(libc::EAGAIN | libc::EINTR), _)) => {}
                // The device is full: what waits in the ring is sent later.
                Err((Some(libc::EBUSY | libc::ENOBUFS), _)) => break,
                Err((_, error)) => return Err(error),
            }
        }
        Ok(count)
    }
}

fn mmap_offsets(fd: &OwnedFd) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: all zero is a valid value: numbers only.
    let none: libc::xdp_mmap_offsets = unsafe { zeroed() };
    get(fd.as_fd(), libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, none)
}

/// Mapped memory, until it is dropped.
struct Mapping {
    base: NonNull<u8>,
    size: usize,
}

// SAFETY: the mapping belongs to this value alone and is not tied to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    fn anonymous(size: usize) -> io::Result<Self> {
        Self::map(size, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    fn of(fd: &OwnedFd, size: usize, page: i64) -> io::Result<Self> {
        Self::map(size, libc::MAP_SHARED | libc::MAP_POPULATE, fd.as_raw_fd(), page)
    }

    fn map(size: usize, flags: libc::c_int, fd: libc::c_int, offset: i64) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), size, access, flags, fd, offset) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, size })
    }

    /// The word at `offset`, which the kernel told.
    fn word(&self, offset: u64) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset as usize + 4 <= self.size);
        // SAFETY: it lies in the mapping, aligned, and both sides only access it atomically.
        unsafe { AtomicU32::from_ptr(self.base.add(offset as usize).cast().as_ptr()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing borrowed from it outlives this value.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size) };
    }
}
