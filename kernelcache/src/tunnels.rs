//! The tunnel ports whose frames the programs put into tunnels and take out.
//!
//! A frame that leaves through a tunnel is wrapped in its last step, with outer headers that lie in the steps
//! behind it. A frame that comes through one is known by its outer headers: the table of tunnels says which
//! number such a frame has in its key in place of its device's. A number is never used again, so that no frame
//! is taken for one of another tunnel.
//!
//! The way to a remote end is asked for when the first flow needs it, and again at every sweep. If it has
//! changed, all flows of the port are taken out.

use crate::layout::{STEP_WORDS, WRAP_PORTS, WRAP_SIZE, WRAP_STEPS};
use crate::maps::{Maps, OuterHeaders, Step};
use crate::steps::Refusal;
use flow::key::Segment;
use flow::types::PortNo;
use flow::verdict::DpAction;
use flow::{FlowKey, FlowMask};
use flowtable::datapath::PortCounters;
use packet::TunnelKey;
use ports::tunnel::{KernelTunnel, KernelWay, Wrapping};
use ports::{DeviceHook, KernelHooks};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The numbers of tunnels in keys begin here, behind those of devices.
const FIRST_NUMBER: u32 = 1 << 31;
/// Ways that are asked for again in one sweep.
const ASKED_AGAIN: usize = 64;
/// Ways that are remembered. When there are more, all are forgotten, and the flows that depend on them.
const MAX_WAYS: usize = 4096;

/// A tunnel port whose frames the programs see, and to which they can send.
#[derive(Clone, Debug)]
pub struct TunnelPort {
    /// The port.
    pub tunnel: Arc<KernelTunnel>,
    /// Where the frames are counted that the kernel has forwarded or dropped.
    /// Nobody else writes these counters.
    pub counters: Arc<PortCounters>,
}

/// A question for the way to a remote end.
#[derive(Debug)]
pub(crate) struct Question {
    port_no: PortNo,
    remote: Ipv4Addr,
    tunnel: Arc<KernelTunnel>,
}

impl Question {
    /// Asks the kernel.
    pub(crate) fn ask(self) -> Answer {
        let way = self.tunnel.way(self.remote);
        Answer { port_no: self.port_no, remote: self.remote, way }
    }
}

/// What the kernel has answered.
#[derive(Debug)]
pub(crate) struct Answer {
    port_no: PortNo,
    remote: Ipv4Addr,
    way: Result<KernelWay, String>,
}

/// From which tunnel the frames of a flow come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The tunnel port.
    port_no: PortNo,
    /// What the frames are known by.
    outer: OuterHeaders,
    /// The device at which they are expected.
    pub(crate) device: u32,
}

/// How the frames of a flow leave through a tunnel.
#[derive(Clone, Debug)]
pub(crate) struct Departure {
    pub(crate) device: u32,
    /// Bytes of the largest frame.
    pub(crate) room: u32,
    pub(crate) wrapping: Wrapping,
}

impl Departure {
    /// The steps in whose place the outer headers lie: `struct wrapping` of `bpf/layout.h`.
    pub(crate) fn header_steps(&self) -> [Step; WRAP_STEPS] {
        let Wrapping { header, source_ports, mark, next_hop } = &self.wrapping;
        let mut bytes = [0; WRAP_STEPS * STEP_WORDS * 8];
        let (of_header, rest) = bytes.split_at_mut(WRAP_SIZE);
        let (of_ports, rest) = rest.split_at_mut(2 * WRAP_PORTS);
        of_header.copy_from_slice(header);
        for (place, port) in of_ports.chunks_exact_mut(2).zip(source_ports) {
            place.copy_from_slice(&port.to_be_bytes());
        }
        rest[..2].copy_from_slice(&(source_ports.len() as u16).to_ne_bytes());
        rest[4..8].copy_from_slice(&mark.to_ne_bytes());
        rest[8..12].copy_from_slice(&next_hop.octets());
        let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[at * 8 + i]));
        std::array::from_fn(|step| std::array::from_fn(|i| word(step * STEP_WORDS + i)))
    }
}

/// An entry of the table.
#[derive(Debug)]
struct Known {
    /// Its place in the table.
    entry: usize,
    number: u32,
    flows: usize,
}

/// The tunnel ports.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    /// Each port, or why the programs do not do its work.
    ports: HashMap<PortNo, Result<TunnelPort, String>>,
    /// Ways that flows use, or that no flow uses any more.
    ways: BTreeMap<(PortNo, Ipv4Addr), Result<KernelWay, String>>,
    /// The first way that the next sweep asks for.
    next_asked: Option<(PortNo, Ipv4Addr)>,
    /// The outer headers in the table.
    known: HashMap<(PortNo, OuterHeaders), Known>,
    /// How many numbers were used.
    numbers: u32,
    /// The unwrappers, by the numbers of their devices.
    hooks: HashMap<u32, Arc<DeviceHook>>,
}

impl Tunnels {
    pub(crate) fn add(&mut self, port_no: PortNo, port: Result<TunnelPort, String>) {
        self.ports.insert(port_no, port);
    }

    /// Forgets a port. Its flows were taken out.
    pub(crate) fn remove(&mut self, port_no: PortNo) {
        self.ports.remove(&port_no);
        self.ways.retain(|(port, _), _| *port != port_no);
        if !self.ports.values().any(Result::is_ok) {
            self.hooks.clear();
        }
    }

    /// A tunnel port, or why the programs do not do its work; `None` if it is a port of another kind.
    pub(crate) fn port(&self, port_no: PortNo) -> Option<Result<&TunnelPort, &str>> {
        self.ports.get(&port_no).map(|port| port.as_ref().map_err(String::as_str))
    }

    /// A tunnel port whose work the programs do.
    ///
    /// # Errors
    /// Why they do not.
    fn usable_port(&self, port_no: PortNo) -> Result<&TunnelPort, String> {
        self.port(port_no).unwrap_or(Err("it is no tunnel port")).map_err(str::to_owned)
    }

    /// The way of a port to a remote end.
    fn way(&mut self, port_no: PortNo, remote: Ipv4Addr) -> Result<KernelWay, String> {
        let tunnel = Arc::clone(&self.usable_port(port_no)?.tunnel);
        self.ways.entry((port_no, remote)).or_insert_with(|| tunnel.way(remote)).clone()
    }

    /// Ways that are to be asked for now, some of them in each sweep.
    pub(crate) fn questions(&mut self) -> Vec<Question> {
        let from = self.next_asked.unwrap_or((PortNo(0), Ipv4Addr::UNSPECIFIED));
        let mut keys = self.ways.range(from..).map(|(key, _)| *key);
        let asked: Vec<_> = keys.by_ref().take(ASKED_AGAIN).collect();
        self.next_asked = keys.next();
        let question = |(port_no, remote): (PortNo, Ipv4Addr)| {
            let tunnel = Arc::clone(&self.usable_port(port_no).ok()?.tunnel);
            Some(Question { port_no, remote, tunnel })
        };
        asked.into_iter().filter_map(question).collect()
    }

    /// Forgets all ways if they have become too many. Returns the ports whose flows depend on them.
    pub(crate) fn forget_ways(&mut self) -> BTreeSet<PortNo> {
        if self.ways.len() < MAX_WAYS {
            return BTreeSet::new();
        }
        let forgotten = std::mem::take(&mut self.ways);
        forgotten.into_keys().map(|(port_no, _)| port_no).collect()
    }

    /// Takes an answer. Returns the port if its flows depend on what has changed.
    pub(crate) fn answered(&mut self, answer: Answer) -> Option<PortNo> {
        let way = self.ways.get_mut(&(answer.port_no, answer.remote))?;
        let has_changed = *way != answer.way;
        *way = answer.way;
        has_changed.then_some(answer.port_no)
    }

    /// How a flow leaves that goes through a tunnel; `None` if it goes through none.
    ///
    /// # Errors
    /// Why programs cannot send it there.
    pub(crate) fn departure(&mut self, actions: &[DpAction]) -> Result<Option<Departure>, Refusal> {
        let mut outputs = actions.iter().filter_map(|action| match action {
            DpAction::Tunnel { port, key } => Some((*port, &**key)),
            _ => None,
        });
        let Some((port_no, key)) = outputs.next() else { return Ok(None) };
        self.departure_by(port_no, key).map(Some).map_err(Refusal::OutPort)
    }

    fn departure_by(&mut self, port_no: PortNo, key: &TunnelKey) -> Result<Departure, String> {
        let IpAddr::V4(remote) = key.destination else {
            return Err("the kernel cache has tunnels over IPv4 only".to_owned());
        };
        let way = self.way(port_no, remote)?;
        let wrapping = self.usable_port(port_no)?.tunnel.wrapping(key, &way)?;
        Ok(Departure { device: way.device, room: KernelTunnel::room(&way), wrapping })
    }

    /// From which tunnel the frames of a flow of the port come.
    ///
    /// # Errors
    /// Why programs cannot tell.
    pub(crate) fn origin(
        &mut self,
        port_no: PortNo,
        key: &FlowKey,
        mask: &FlowMask,
    ) -> Result<Origin, Refusal> {
        let tunnel = Arc::clone(&self.usable_port(port_no).map_err(Refusal::InPort)?.tunnel);
        let target = tunnel.target();
        let (headers, bits) = (&key.headers, &mask.bits.headers);
        let looks_at_tunnel = Segment::TUNNEL.words().any(|word| mask.words()[word] != 0);
        let from_port = match (target.remote, target.in_key) {
            (Some(IpAddr::V4(remote)), Some(id)) => Some((id, remote, None)),
            _ => None,
        };
        let (id, remote, own) = if looks_at_tunnel {
            // Frames with marks or policies are left to the switch; the rest is known by the table.
            let has_more = (headers.tun_flags.get() & bits.tun_flags.get()) != 0
                || (headers.tun_gbp_id.get() & bits.tun_gbp_id.get()) != 0
                || headers.tun_gbp_flags & bits.tun_gbp_flags != 0;
            if has_more || bits.tun_tos != 0 || bits.tun_ttl != 0 {
                return Err(Refusal::Headers);
            }
            let [remote, own] =
                [headers.tun_src.get(), headers.tun_dst.get()].map(Ipv4Addr::from_bits);
            (headers.tun_id.get(), remote, Some(own))
        } else {
            from_port.ok_or_else(|| {
                Refusal::InPort(
                    "neither the port nor the rules say from which remote end, and with which key"
                        .to_owned(),
                )
            })?
        };
        let way = self.way(port_no, remote).map_err(Refusal::InPort)?;
        let own = own.unwrap_or(match target.local {
            Some(IpAddr::V4(local)) => local,
            _ => way.source,
        });
        let (addresses, header) = tunnel.outer_words(id, remote, own);
        Ok(Origin { port_no, outer: OuterHeaders { addresses, header }, device: way.device })
    }

    /// The unwrapper of a device.
    pub(crate) fn unwrapper(&mut self, hooks: &Arc<KernelHooks>, device: u32) -> &Arc<DeviceHook> {
        self.hooks.entry(device).or_insert_with(|| hooks.unwrapper_of(device))
    }

    /// The unwrappers, which are taken off their devices when they are dropped.
    pub(crate) fn take_unwrappers(&mut self) -> HashMap<u32, Arc<DeviceHook>> {
        std::mem::take(&mut self.hooks)
    }

    /// The number that frames from there have in their key. One flow more uses it; `None` if there is no room.
    pub(crate) fn take(&mut self, maps: &Maps, origin: &Origin) -> Option<u32> {
        let place = (origin.port_no, origin.outer);
        if let Some(known) = self.known.get_mut(&place) {
            known.flows += 1;
            return Some(known.number);
        }
        let number = FIRST_NUMBER.checked_add(self.numbers)?;
        let entry = maps.put_tunnel(origin.outer, number)?;
        self.numbers += 1;
        self.known.insert(place, Known { entry, number, flows: 1 });
        Some(number)
    }

    /// One flow less uses the number of this origin.
    pub(crate) fn give_back(&mut self, maps: &Maps, origin: &Origin) {
        let place = (origin.port_no, origin.outer);
        if let Some(known) = self.known.get_mut(&place) {
            known.flows -= 1;
            if known.flows == 0 {
                maps.remove_tunnel(known.entry);
                self.known.remove(&place);
            }
        }
    }
}
