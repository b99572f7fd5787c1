//! What all ports of this process with devices in one network namespace share: the way into it, a routing
//! socket, and the knowledge how many of their devices are in the shield's bridge.
//!
//! With a socket of its own each of a thousand ports would need one more descriptor and buffer. It
//! lives as long as one of the ports does: whoever holds it keeps the namespace alive.

use crate::PortError;
use crate::afpacket::FloodSocket;
use crate::netlink::Netlink;
use crate::netns::Netns;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The shared things of every namespace that ports have devices in, by the inode of the namespace.
static ALL: Mutex<Vec<(u64, Weak<Commons>)>> = Mutex::new(Vec::new());

/// The things that all ports of one network namespace share; the module says which.
#[derive(Debug)]
pub(crate) struct Commons {
    netns: Netns,
    inode: u64,
    control: Mutex<Control>,
    /// One for each sending queue of a port, while a port uses it.
    flood_sockets: Mutex<Vec<Weak<FloodSocket>>>,
}

/// What one port at a time uses.
#[derive(Debug)]
pub(crate) struct Control {
    /// A routing socket in the namespace.
    pub(crate) netlink: Netlink,
    /// Devices that this process has put into the shield's bridge and not freed.
    pub(crate) shielded: usize,
}

impl Commons {
    /// Those of the calling thread's network namespace.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn here() -> Result<Arc<Self>, PortError> {
        let netns = Netns::current().and_then(|netns| Ok((netns.inode()?, netns)));
        let (inode, netns) = netns.map_err(|source| PortError::Os {
            operation: "look at",
            object: "the network namespace".to_owned(),
            source,
        })?;
        let mut all = lock(&ALL);
        all.retain(|(_, commons)| commons.strong_count() > 0);
        let known = all.iter().find(|(known, _)| *known == inode);
        if let Some(commons) = known.and_then(|(_, commons)| commons.upgrade()) {
            return Ok(commons);
        }
        let control = Control { netlink: Netlink::open()?, shielded: 0 };
        let commons = Arc::new(Self {
            netns,
            inode,
            control: Mutex::new(control),
            flood_sockets: Mutex::default(),
        });
        all.push((inode, Arc::downgrade(&commons)));
        Ok(commons)
    }

    /// Runs `f` in the namespace, on this thread if it is there already.
    ///
    /// # Errors
    /// `CAP_SYS_ADMIN` is missing there; `f` did not run.
    pub(crate) fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> io::Result<R> {
        let here = Netns::current().and_then(|netns| netns.inode());
        if here.is_ok_and(|inode| inode == self.inode) { Ok(f()) } else { self.netns.run(f) }
    }

    /// The socket by which the sending queues in this place, of all ports of the namespace, send floods. To
    /// be asked for in the namespace.
    pub(crate) fn flood_socket(&self, place: usize) -> io::Result<Arc<FloodSocket>> {
        let mut sockets = lock(&self.flood_sockets);
        if sockets.len() <= place {
            sockets.resize_with(place + 1, Weak::new);
        }
        if let Some(socket) = sockets[place].upgrade() {
            return Ok(socket);
        }
        let socket = Arc::new(FloodSocket::open()?);
        sockets[place] = Arc::downgrade(&socket);
        Ok(socket)
    }

    /// The routing socket and the state of the shield, for a request or a few.
    pub(crate) fn control(&self) -> MutexGuard<'_, Control> {
        lock(&self.control)
    }
}

/// Whoever panicked has left whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
