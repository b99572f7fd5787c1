//! Endpoints: the sockets that tunnel ports have in common.
//!
//! An endpoint is there as long as a tunnel port uses it. Its receive queues belong to workers, as
//! those of a port do, and give frames of all its ports; its sockets for sending are shared by the
//! send queues of its ports.

use super::bfd::{BfdInbox, BfdReceived, BfdTap};
use super::demux::{Demux, DemuxReader, Member, Pattern, RefusedCount};
use super::devices::{OwnDevices, TunnelGroup};
use super::kernel::KernelTunnel;
use super::path::{Asking, PathState};
use super::rx::TunnelRx;
use super::sockets::{SendSettings, receiving, sending};
use super::target::{TunnelKind, TunnelTarget};
use super::tx::{Lanes, TunnelTx, Work};
use crate::netlink::Sender;
use crate::netns::Netns;
use crate::rootless;
use crate::{Port, PortError, PortKind, PortStatus, Queues, RxMemory, RxQueue, Shield, TxQueue};
use crossbeam::channel::Receiver;
use packet::OptionMap;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The MTU of a tunnel port before anything is known of the way: that of an Ethernet underlay without the
/// headers of VXLAN.
const FIRST_MTU: u32 = 1450;

/// Which sockets an endpoint has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct EndpointId {
    netns: Option<String>,
    kind: TunnelKind,
    udp_port: u16,
    is_v6: bool,
}

/// The endpoints of a switch.
pub struct Endpoints {
    open: Arc<Mutex<Open>>,
    devices: Arc<OwnDevices>,
    inbox: Arc<BfdInbox>,
    received: Mutex<Option<Receiver<BfdReceived>>>,
}

impl Default for Endpoints {
    fn default() -> Self {
        let (inbox, received) = BfdInbox::new();
        let received = Mutex::new(Some(received));
        Self { open: Arc::default(), devices: Arc::default(), inbox, received }
    }
}

#[derive(Default)]
struct Open {
    endpoints: BTreeMap<EndpointId, Endpoint>,
    /// The number of endpoints that were ever opened.
    opened: u16,
}

/// The sockets of a version of IP.
struct Endpoint {
    number: u16,
    /// The number of ports that use it.
    ports: usize,
    demux: Arc<Demux>,
    strays: Arc<AtomicU64>,
    /// The receive queues, until workers have them.
    queues: Vec<Box<dyn RxQueue>>,
    /// The sockets to send from, one set for each worker, by their settings.
    senders: HashMap<SendSettings, Vec<Arc<Vec<OwnedFd>>>>,
    /// Who asks for the ways of ports, by what routing rules look at.
    asking: HashMap<Sender, Arc<Asking>>,
}

/// The receive queues of an endpoint that is new.
pub struct EndpointQueues {
    /// The number of the endpoint, which no other one of the switch has.
    pub number: u16,
    /// A queue for each worker, or a single one if the kernel would give every frame to each of several.
    pub queues: Vec<Box<dyn RxQueue>>,
}

/// That a tunnel port uses endpoints.
pub struct Membership {
    open: Arc<Mutex<Open>>,
    ids: Vec<EndpointId>,
    pattern: Pattern,
    has_group_policy: bool,
    options: Arc<OptionMap>,
    /// The number of the port while frames reach it.
    admitted: Option<u16>,
    status: Arc<PortStatus>,
    refused: Arc<RefusedCount>,
    bfd: Arc<BfdTap>,
    path: Arc<PathState>,
    in_kernel: Result<Arc<KernelTunnel>, String>,
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    // Whoever panicked has changed nothing by halves that matters: an endpoint is inserted whole.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Endpoints {
    /// The devices of the switch's ports, through which no tunnel may lead. They are for the caller
    /// to keep up to date.
    pub fn devices(&self) -> &OwnDevices {
        &self.devices
    }

    /// The control packets of BFD that tunnel ports receive and whose tap is open, for one taker:
    /// a second call returns `None`.
    pub fn take_bfd(&self) -> Option<Receiver<BfdReceived>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Opens a tunnel port of the bridge `group`, with queues for `workers` workers. With `shares_port`,
    /// another process may have the UDP port: the one that this process takes over from.
    ///
    /// # Errors
    /// The UDP port is taken, the network namespace does not exist, or the kernel refuses
    /// the sockets; nothing was changed.
    pub fn open_port(
        &self,
        target: &TunnelTarget,
        group: TunnelGroup,
        mac: [u8; 6],
        workers: usize,
        shares_port: bool,
    ) -> Result<Port, PortError> {
        let mut open = lock(&self.open);
        let status = PortStatus::new(true, FIRST_MTU, true);
        let (path, refused) = (Arc::<PathState>::default(), Arc::<RefusedCount>::default());
        let mut members = Vec::new();
        let mut lanes: [Vec<Lanes>; 2] = Default::default();
        for is_v6 in [false, true].into_iter().filter(|is_v6| target.has_version(*is_v6)) {
            let id = EndpointId {
                netns: target.netns.clone(),
                kind: target.kind,
                udp_port: target.udp_port,
                is_v6,
            };
            match open.lanes(&id, target, &self.devices, workers, shares_port) {
                Ok(opened) => {
                    lanes[usize::from(is_v6)] = opened;
                    members.push(id);
                }
                // A host without IPv6, or where it is switched off, can still have tunnels over IPv4.
                Err(PortError::Os { source, .. })
                    if is_v6
                        && !members.is_empty()
                        && matches!(
                            source.raw_os_error(),
                            Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
                        ) => {}
                Err(error) => {
                    open.close_unused();
                    return Err(error);
                }
            }
        }
        for id in &members {
            if let Some(endpoint) = open.endpoints.get_mut(id) {
                endpoint.ports += 1;
            }
        }
        let in_kernel = match lanes[0].first() {
            Some(Lanes { asking, sockets }) => {
                KernelTunnel::new(target, group, asking, sockets).map(Arc::new)
            }
            None => Err("the kernel cache has tunnels over IPv4 only".to_owned()),
        };
        let [v4, v6] = lanes.map(|lanes| lanes.into_iter());
        let (mut v4, mut v6) = (v4, v6);
        let tx = (0..workers).map(|_| -> Box<dyn TxQueue> {
            Box::new(TunnelTx {
                kind: target.kind,
                udp_port: target.udp_port,
                mark: target.mark,
                group,
                has_checksum: target.has_checksum,
                dont_fragment: target.dont_fragment,
                v4: v4.next(),
                v6: v6.next(),
                state: Arc::clone(&path),
                status: Arc::clone(&status),
                work: Work::default(),
            })
        });
        let queues = Queues { rx: Vec::new(), tx: tx.collect() };
        let membership = Membership {
            open: Arc::clone(&self.open),
            ids: members,
            pattern: Pattern { key: target.in_key, remote: target.remote, local: target.local },
            has_group_policy: target.has_group_policy,
            options: Arc::default(),
            admitted: None,
            status: Arc::clone(&status),
            refused,
            bfd: BfdTap::new(Arc::clone(&self.inbox)),
            path,
            in_kernel,
        };
        Ok(Port {
            name: target.name.clone(),
            kind: PortKind::Tunnel(target.kind),
            mac,
            ifindex: None,
            netns: None,
            status,
            shield: Shield::NotNeeded,
            kernel_hook: Err("its frames come through a tunnel".to_owned()),
            rx_memory: RxMemory::default(),
            rx_opener: None,
            warnings: Vec::new(),
            queues,
            guard: None,
            membership: Some(membership),
        })
    }
}

impl Open {
    /// The sockets for a port to send from, for each worker. Opens the endpoint if no port has.
    fn lanes(
        &mut self,
        id: &EndpointId,
        target: &TunnelTarget,
        devices: &Arc<OwnDevices>,
        workers: usize,
        shares_port: bool,
    ) -> Result<Vec<Lanes>, PortError> {
        if !self.endpoints.contains_key(id) {
            let (of, number) = (id.clone(), self.opened);
            let endpoint = in_netns(id.netns.as_deref(), move || {
                Endpoint::open(&of, number, workers, shares_port)
            })?;
            self.opened = self.opened.wrapping_add(1);
            self.endpoints.insert(id.clone(), endpoint);
        }
        let settings = SendSettings {
            kind: id.kind,
            is_v6: id.is_v6,
            dont_fragment: target.dont_fragment,
            has_checksum: target.has_checksum,
            count: target.source_ports,
        };
        let endpoint = self.endpoints.get_mut(id).expect("it was found or inserted");
        let senders = match endpoint.senders.entry(settings) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let open = move || -> io::Result<Vec<_>> {
                    (0..workers).map(|_| sending(settings).map(Arc::new)).collect()
                };
                let of = id.clone();
                place.insert(in_netns(id.netns.as_deref(), move || {
                    let what = "open the sockets to send from of";
                    open().map_err(|source| refused(&of, what, source))
                })?)
            }
        };
        let sender = Sender { source: target.local, mark: target.mark, udp_port: target.udp_port };
        let asking = match endpoint.asking.entry(sender) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(place) => {
                let (is_v6, netns, devices) = (id.is_v6, id.netns.clone(), Arc::clone(devices));
                let asking = in_netns(id.netns.as_deref(), move || {
                    Asking::open(is_v6, sender, netns.as_deref(), &devices)
                })?;
                Arc::clone(place.insert(Arc::new(asking)))
            }
        };
        let lanes = senders
            .iter()
            .map(|sockets| Lanes { sockets: Arc::clone(sockets), asking: Arc::clone(&asking) });
        Ok(lanes.collect())
    }

    /// Closes endpoints that no port uses, and returns their numbers.
    fn close_unused(&mut self) -> Vec<u16> {
        let mut closed = Vec::new();
        self.endpoints.retain(|_, endpoint| {
            if endpoint.ports == 0 {
                closed.push(endpoint.number);
            }
            endpoint.ports > 0
        });
        closed
    }
}

impl Endpoint {
    fn open(
        id: &EndpointId,
        number: u16,
        workers: usize,
        shares_port: bool,
    ) -> Result<Self, PortError> {
        let EndpointId { kind, udp_port, is_v6, .. } = *id;
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => PortError::UdpPortTaken { kind, udp_port },
            _ => refused(id, "open the sockets of", source),
        };
        if kind.is_over_udp() && !shares_port {
            // The sockets share the port among themselves, and would share it with those of any other process
            // of the user.
            drop(receiving(kind, is_v6, udp_port, false).map_err(failed)?);
        }
        let count = if kind.is_over_udp() { workers } else { 1 };
        let (demux, strays) = (Arc::<Demux>::default(), Arc::<AtomicU64>::default());
        let queue = |_| -> Result<Box<dyn RxQueue>, PortError> {
            let socket = receiving(kind, is_v6, udp_port, true).map_err(failed)?;
            let reader = DemuxReader::new(Arc::clone(&demux));
            Ok(Box::new(TunnelRx::new(kind, is_v6, socket, reader, Arc::clone(&strays))))
        };
        Ok(Self {
            number,
            ports: 0,
            queues: (0..count).map(queue).collect::<Result<_, _>>()?,
            demux,
            strays,
            senders: HashMap::new(),
            asking: HashMap::new(),
        })
    }
}

/// The kernel has refused sockets.
fn refused(id: &EndpointId, operation: &'static str, source: io::Error) -> PortError {
    let version = if id.is_v6 { " over IPv6" } else { "" };
    PortError::os(operation, &format!("{} tunnels{version}", id.kind), "CAP_NET_RAW", source)
}

/// Has sockets opened in a network namespace. Without a name, that is the one in which the switch was started.
fn in_netns<T: Send + 'static>(
    netns: Option<&str>,
    open: impl FnOnce() -> Result<T, PortError> + Send + 'static,
) -> Result<T, PortError> {
    let Some(netns) = netns else {
        let gone = |source| PortError::Os {
            operation: "open sockets in",
            object: "the network namespace in which the switch was started".to_owned(),
            source,
        };
        return rootless::outside(open).map_err(gone)?;
    };
    let enter = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => PortError::NoNetns { netns: netns.to_owned() },
        _ => PortError::os("enter network namespace", netns, "CAP_SYS_ADMIN", source),
    };
    Netns::named(netns).map_err(enter)?.run(open).map_err(enter)?
}

impl Membership {
    /// Has frames that are for this port reach it, under the number that the switch has given the port. Returns
    /// the receive queues of its endpoints, as far as workers do not have them yet.
    pub fn admit(&mut self, port: u16) -> Vec<EndpointQueues> {
        self.admitted = Some(port);
        self.tell_endpoints();
        let mut open = lock(&self.open);
        let mut queues = Vec::new();
        for id in &self.ids {
            let Some(endpoint) = open.endpoints.get_mut(id) else { continue };
            if !endpoint.queues.is_empty() {
                queues.push(EndpointQueues {
                    number: endpoint.number,
                    queues: std::mem::take(&mut endpoint.queues),
                });
            }
        }
        queues
    }

    /// Says which options of Geneve are fields, from the next received frame on.
    pub fn map_options(&mut self, options: Arc<OptionMap>) {
        if self.options != options {
            self.options = options;
            self.tell_endpoints();
        }
    }

    /// Tells the endpoints what they have to know of the port, if frames are to reach it.
    fn tell_endpoints(&self) {
        let Some(port) = self.admitted else { return };
        let open = lock(&self.open);
        for endpoint in self.ids.iter().filter_map(|id| open.endpoints.get(id)) {
            let member = Member {
                port,
                has_group_policy: self.has_group_policy,
                options: Arc::clone(&self.options),
                status: Arc::clone(&self.status),
                refused: Arc::clone(&self.refused),
                bfd: Arc::clone(&self.bfd),
            };
            endpoint.demux.insert(self.pattern, member);
        }
    }

    /// Lets no frame reach the port any more. Returns the numbers of endpoints that no port uses now: their
    /// receive queues are to be taken from the workers.
    pub fn leave(&mut self) -> Vec<u16> {
        let mut open = lock(&self.open);
        for id in self.ids.drain(..) {
            let Some(endpoint) = open.endpoints.get_mut(&id) else { continue };
            endpoint.ports -= 1;
            if self.admitted.is_some() {
                endpoint.demux.remove(&self.pattern);
            }
        }
        open.close_unused()
    }

    /// The frames that were received for the port and refused before the pipeline saw them.
    pub fn refused(&self) -> &Arc<RefusedCount> {
        &self.refused
    }

    /// Whether the port takes control packets of BFD.
    pub fn bfd(&self) -> &BfdTap {
        &self.bfd
    }

    /// The way to the remote end.
    pub fn path(&self) -> &PathState {
        &self.path
    }

    /// What programs in the kernel need to do the work of the port.
    ///
    /// # Errors
    /// Why they cannot, for a person to read.
    pub fn in_kernel(&self) -> Result<&Arc<KernelTunnel>, &str> {
        self.in_kernel.as_ref().map_err(String::as_str)
    }

    /// Datagrams that came to the port's endpoints and that no port takes.
    pub fn strays(&self) -> u64 {
        let open = lock(&self.open);
        let endpoints = self.ids.iter().filter_map(|id| open.endpoints.get(id));
        endpoints.map(|endpoint| endpoint.strays.load(Ordering::Relaxed)).sum()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}
