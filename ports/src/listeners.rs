//! Who listens to a network device beside the switch, as tcpdump(8) does.
//!
//! The kernel shows a frame that goes around the queueing discipline to no packet socket
//! (packet(7)). So a port lets the frames that it sends pass the queueing discipline while somebody
//! listens to its device ([`crate::Port::set_listened`]).
//!
//! The kernel does not tell when somebody begins to listen. The list of the packet sockets of a network
//! namespace, `/proc/net/packet`, has to be read now and then. A program that listens to one device usually
//! makes it promiscuous, too. The kernel tells of that as of any other change of the device, which is a good
//! moment to read the list.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The inode numbers of the packet sockets by which this process receives.
static OWN: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// The list's word for a socket that receives frames of all protocols (`ETH_P_ALL`). The kernel shows sent
/// frames to no other socket.
const ALL_PROTOCOLS: &str = "0003";

/// The list of the packet sockets of one network namespace.
#[derive(Debug)]
pub struct Listeners {
    list: File,
    text: String,
}

impl Listeners {
    /// The list of the calling thread's network namespace.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn open() -> io::Result<Self> {
        Ok(Self { list: File::open("/proc/thread-self/net/packet")?, text: String::new() })
    }

    /// Reads the list. With a thousand sockets, it takes about half a millisecond.
    ///
    /// # Errors
    /// The kernel has no memory.
    pub fn read(&mut self) -> io::Result<Listened> {
        self.text.clear();
        self.list.rewind()?;
        self.list.read_to_string(&mut self.text)?;
        Ok(Listened::parse(&self.text, &own()))
    }
}

/// The devices of a network namespace that somebody else listens to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listened {
    /// Whether somebody listens to all devices at once.
    all: bool,
    /// The interface numbers of the devices that somebody listens to alone.
    devices: HashSet<u32>,
}

impl Listened {
    /// Whether somebody listens to the device with this interface number, or to all devices.
    pub fn has(&self, ifindex: u32) -> bool {
        self.all || self.devices.contains(&ifindex)
    }

    /// Reads the text of the list, without the sockets whose inode numbers are in `own`.
    fn parse(text: &str, own: &BTreeSet<u64>) -> Self {
        let mut listened = Self::default();
        for line in text.lines().skip(1) {
            let mut words = line.split_whitespace();
            // Address, references, type, protocol, device (0 is all), whether it is bound, memory, user, inode.
            let (protocol, device) = (words.nth(3), words.next());
            let (is_bound, inode) = (words.next(), words.nth(2));
            let is_own =
                inode.and_then(|inode| inode.parse().ok()).is_some_and(|i| own.contains(&i));
            if protocol != Some(ALL_PROTOCOLS) || is_bound != Some("1") || is_own {
                continue;
            }
            match device.and_then(|device| device.parse().ok()) {
                Some(0) => listened.all = true,
                Some(device) => {
                    listened.devices.insert(device);
                }
                None => {}
            }
        }
        listened
    }
}

/// Keeps a packet socket of this process, named by its inode number, from counting as a
/// listener until this is dropped.
#[derive(Debug)]
pub(crate) struct OwnSocket(u64);

impl OwnSocket {
    /// From now on, `socket` is no listener.
    ///
    /// # Errors
    /// The kernel refused to tell the inode number of the socket.
    pub(crate) fn new(socket: impl AsFd) -> io::Result<Self> {
        let inode = nix::sys::stat::fstat(socket)?.st_ino;
        own().insert(inode);
        Ok(Self(inode))
    }

    /// The inode number of the socket, by which every process that has a descriptor of the socket knows it.
    pub(crate) fn inode(&self) -> u64 {
        self.0
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        own().remove(&self.0);
    }
}

/// A thread that panicked under this lock has left a whole set behind.
fn own() -> MutexGuard<'static, BTreeSet<u64>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_those_who_hear_all_protocols_and_are_not_ourselves() {
        const HEAD: &str = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n";
        let check = |line: &str, expected: [bool; 2]| {
            let own = BTreeSet::from([101]);
            let listened = Listened::parse(&format!("{HEAD}{line}\n"), &own);
            assert_eq!([4, 5].map(|device| listened.has(device)), expected, "{line}");
        };
        check("0000000000000000 3      3    0003   4     1 0      0      100   ", [true, false]);
        check("0000000000000000 3      3    0003   0     1 0      0      100   ", [true, true]);
        check("0000000000000000 3      3    0003   4     1 0      0      101   ", [false, false]);
        check("0000000000000000 3      3    0003   4     0 0      0      100   ", [false, false]);
        check("0000000000000000 3      3    88cc   4     1 0      0      100   ", [false, false]);
        check("0000000000000000 3      3    0000   4     0 0      0      100   ", [false, false]);
        check("", [false, false]);
        check("nonsense", [false, false]);
    }
}
