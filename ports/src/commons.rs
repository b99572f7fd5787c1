//! What all ports of this process with devices in one network namespace share: the way into the namespace,
//! a routing socket, and the knowledge how many of their devices are in the shield's bridge.
//!
//! A port has no routing socket of its own, so that a thousand ports do not need a thousand more
//! descriptors and buffers, and so that requests of ports that are opened or closed at the same time
//! reach the kernel together ([`Commons::ask`]). [`Commons`] lives as long as one of the ports does,
//! and keeps the namespace alive.

use crate::PortError;
use crate::combining::Combiner;
use crate::flood_socket::FloodSocket;
use crate::netlink::{
    ChainChange, DropTable, Link, LinkChange, Netlink, NetlinkError, Reply, Request,
};
use crate::netns::Netns;
use crate::shield::Member;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Groups of requests that one thread carries out before it lets the other threads know.
const GROUPS_AT_ONCE: usize = 32;

/// Requests of one thread, and the answers to them.
type Requests = Combiner<Vec<Request>, Vec<Result<Reply, NetlinkError>>>;

/// The shared things of every namespace that ports have devices in, by the inode of the namespace.
static ALL: Mutex<Vec<(u64, Weak<Commons>)>> = Mutex::new(Vec::new());

/// The things that all ports of one network namespace share; the module says which.
#[derive(Debug)]
pub(crate) struct Commons {
    netns: Netns,
    inode: u64,
    control: Mutex<Control>,
    requests: Requests,
    /// The shield's second lock; `None` if the kernel has no nftables for it.
    drop_table: Option<Mutex<DropTable>>,
    chain_changes: Combiner<Vec<ChainChange>, ()>,
    /// One for each sending queue of a port, while a port uses it.
    flood_sockets: Mutex<Vec<Weak<FloodSocket>>>,
}

/// What one port at a time uses.
#[derive(Debug)]
pub(crate) struct Control {
    /// A routing socket in the namespace.
    pub(crate) netlink: Netlink,
    /// Devices that this process has in the shield's bridge, or is about to put
    /// there, by their interface numbers.
    pub(crate) members: BTreeMap<u32, Member>,
    /// The interface number of the shield's bridge, while there are members and the bridge exists as far as
    /// this process knows.
    pub(crate) bridge: Option<u32>,
    /// Whether the ports of the shield's bridge are isolated, for want of a second lock.
    pub(crate) isolates: bool,
    /// Something about the shield could not be put right, and is to be tried again.
    pub(crate) is_out_of_order: bool,
    /// What was done about the shield and is not in the log yet.
    pub(crate) notes: Vec<String>,
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
        let drop_table = DropTable::make().map(Mutex::new);
        if let Err(error) = &drop_table {
            tracing::debug!("the shield of ports has no second lock: {error}");
        }
        let control = Control {
            netlink: Netlink::open()?,
            members: BTreeMap::new(),
            bridge: None,
            isolates: drop_table.is_err(),
            is_out_of_order: false,
            notes: Vec::new(),
        };
        let commons = Arc::new(Self {
            netns,
            inode,
            control: Mutex::new(control),
            requests: Combiner::default(),
            drop_table: drop_table.ok(),
            chain_changes: Combiner::default(),
            flood_sockets: Mutex::default(),
        });
        all.push((inode, Arc::downgrade(&commons)));
        Ok(commons)
    }

    /// What the ports of the network namespace with this inode share; `None` if no port has a device in there.
    pub(crate) fn find(inode: u64) -> Option<Arc<Self>> {
        let all = lock(&ALL);
        all.iter().find(|(known, _)| *known == inode).and_then(|(_, commons)| commons.upgrade())
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

    /// The number of the namespace, which no other namespace has at the same time.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// Carries requests out in their order, together with those of other threads. The answers are in the
    /// order of the requests. Not to be called by who holds [`Commons::control`].
    pub(crate) fn ask(&self, requests: Vec<Request>) -> Vec<Result<Reply, NetlinkError>> {
        self.requests.ask(requests, GROUPS_AT_ONCE, |groups| {
            let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
            let all: Vec<Request> = groups.into_iter().flatten().collect();
            let mut replies = self.control().netlink.ask_all(&all).into_iter();
            sizes.into_iter().map(|size| replies.by_ref().take(size).collect()).collect()
        })
    }

    /// The device called `name`; `None` if there is none.
    ///
    /// # Errors
    /// The kernel refused to tell.
    pub(crate) fn find_link(&self, name: &str) -> Result<Option<Link>, NetlinkError> {
        self.ask_for_link(Request::Find(name.to_owned()))
    }

    /// The device called `name`.
    ///
    /// # Errors
    /// [`NetlinkError::NoDevice`] if there is none.
    pub(crate) fn link(&self, name: &str) -> Result<Link, NetlinkError> {
        self.find_link(name)?.ok_or_else(|| NetlinkError::NoDevice { name: name.to_owned() })
    }

    /// The device with this interface number; `None` if there is none.
    ///
    /// # Errors
    /// The kernel refused to tell.
    pub(crate) fn link_at(&self, index: u32) -> Result<Option<Link>, NetlinkError> {
        self.ask_for_link(Request::Look(index))
    }

    fn ask_for_link(&self, request: Request) -> Result<Option<Link>, NetlinkError> {
        match self.ask(vec![request]).pop() {
            Some(Ok(Reply::Link(link))) => Ok(link),
            Some(Err(error)) => Err(error),
            other => unreachable!("not the answer to a question about a device: {other:?}"),
        }
    }

    /// Changes a device.
    ///
    /// # Errors
    /// No such device, the kernel refuses, or the privilege is missing.
    pub(crate) fn change(&self, change: LinkChange) -> Result<(), NetlinkError> {
        self.ask(vec![Request::Change(change)]).into_iter().try_for_each(|reply| reply.map(drop))
    }

    /// Changes the chains that keep devices' frames from the host's stack, together with the changes of other
    /// threads. Does nothing where the shield has no second lock.
    pub(crate) fn change_chains(&self, changes: Vec<ChainChange>) {
        let Some(table) = &self.drop_table else { return };
        self.chain_changes.ask(changes, GROUPS_AT_ONCE, |groups| {
            let count = groups.len();
            let changes: Vec<ChainChange> = groups.into_iter().flatten().collect();
            for error in lock(table).change_all(&changes) {
                // The chain of a device that was deleted went with it.
                if error.errno() != Some(libc::ENOENT) {
                    tracing::debug!("a port has no second lock: {error}");
                }
            }
            vec![(); count]
        });
    }

    /// Sets a device up or down.
    ///
    /// # Errors
    /// No such device, or the privilege is missing.
    pub(crate) fn set_up(&self, index: u32, up: bool) -> Result<(), NetlinkError> {
        self.change(LinkChange { index, up: Some(up), ..LinkChange::default() })
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
