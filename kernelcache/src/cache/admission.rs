//! Which flows come into the kernel, and how.

use super::known_port::{KernelPort, KnownPort, Side};
use super::{Entry, Inner, KernelCache, REFUSED, place_of};
use crate::maps::{FlowWords, KeyWords};
use crate::steps::{self, Exit, Refusal, Way};
use crate::tunnels::Origin;
use flow::key::{Segment, VLAN_CFI};
use flow::types::PortNo;
use flow::verdict::{DpAction, DropReason};
use flowtable::datapath::{CachedFlow, KernelFlows, PortCounters};
use packet::wire::eth_type;
use parking_lot::MutexGuard;
use ports::DeviceHook;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Number of flows that a worker puts into the kernel at most behind one batch.
const MOST_AT_ONCE: usize = 64;

impl KernelCache {
    /// Whether the kernel could have a flow with this key, mask and verdict.
    ///
    /// # Errors
    /// Why it could not.
    pub fn could_hold(
        &self,
        key: &flow::FlowKey,
        mask: &flow::FlowMask,
        actions: &[DpAction],
        drop: Option<DropReason>,
        is_flood: bool,
    ) -> Result<(), Refusal> {
        let verdict = Verdict { key, mask, actions, drop, is_flood };
        self.prepare(&mut self.inner.lock(), &verdict).map(|_| ())
    }

    fn prepare(&self, inner: &mut Inner, verdict: &Verdict<'_>) -> Result<Prepared, Refusal> {
        let Verdict { key, mask, actions, drop, is_flood } = *verdict;
        if is_flood {
            return Err(Refusal::Flood);
        }
        let ingress = self.ingress(inner, key, mask)?;
        let departure = inner.tunnels.departure(actions)?;
        let narrowed;
        let mask = if ingress.origin.is_some() || departure.is_some() {
            narrowed = narrowed_for_tunnels(mask);
            &narrowed
        } else {
            mask
        };
        let exit = |port_no| {
            let exit = inner.port(port_no).and_then(KnownPort::exit).map_err(Refusal::OutPort)?;
            Ok(match (ingress.side, exit.way) {
                // The kernel hands over to a peer only what a device receives.
                (Side::Descriptor, Way::ToPeer) => Exit { way: Way::OutOfDevice, ..exit },
                _ => exit,
            })
        };
        let known: &[Segment] = if ingress.origin.is_some() { &[Segment::TUNNEL] } else { &[] };
        let words = steps::key_words(key, mask, ingress.ifindex, known)?;
        let has_ipv6_sums = self.handed.has_ipv6_sums;
        let compiled =
            steps::compile(key, mask, actions, drop, has_ipv6_sums, exit, departure.as_ref())?;
        if ingress.origin.is_some() && (departure.is_some() || !is_ip(key)) {
            return Err(Refusal::Action(
                "the kernel takes IP packets out of tunnels, and puts them into no other one",
            ));
        }
        Ok(Prepared { ingress, words, compiled })
    }

    /// Where the frames of a flow come from.
    fn ingress(
        &self,
        inner: &mut Inner,
        key: &flow::FlowKey,
        mask: &flow::FlowMask,
    ) -> Result<Ingress, Refusal> {
        let port_no = key.port_no.get();
        if let Some(port) = inner.tunnels.port(port_no) {
            let port = port.map_err(|reason| Refusal::InPort(reason.to_owned()))?;
            let counters = Arc::clone(&port.counters);
            let origin = inner.tunnels.origin(port_no, key, mask)?;
            let unwrapper = inner.tunnels.unwrapper(&self.hooks, origin.device);
            if let Some(Err(reason)) = unwrapper.attached() {
                return Err(Refusal::InPort(reason.to_owned()));
            }
            return Ok(Ingress {
                side: Side::Device,
                // The number is known once there is a flow.
                ifindex: 0,
                counters,
                executor: Some(Arc::clone(unwrapper)),
                origin: Some(origin),
            });
        }
        let known = inner.port(port_no).map_err(Refusal::InPort)?;
        let executor = known.receives().map_err(Refusal::InPort)?.map(Arc::clone);
        let KernelPort { side, ifindex, counters, .. } = &known.port;
        let counters = Arc::clone(counters);
        Ok(Ingress { side: *side, ifindex: *ifindex, counters, executor, origin: None })
    }

    fn place(&self, inner: &mut Inner, flow: &Arc<CachedFlow>, is_in_time: &dyn Fn() -> bool) {
        if inner.is_suspended {
            return;
        }
        if let Some(place) = place_of(flow.kernel_note())
            && let Some(Some(entry)) = inner.entries.get(place)
            && entry.is_live
            && Arc::ptr_eq(&entry.flow, flow)
        {
            // It may be newer than the worker knows.
            let stamp = self.maps.stamp(place).max(flow.stamp());
            if is_in_time() {
                self.maps.set_stamp(place, stamp);
            }
            return;
        }
        let era = u64::from(self.era.load(Ordering::Relaxed)) << 32;
        match self.install(inner, flow, is_in_time) {
            Ok(Some(place)) => flow.note_of_kernel(era | place as u64),
            Ok(None) => {}
            Err(refusal) => {
                tracing::debug!("a flow stays with the switch: {refusal}");
                if refusal == Refusal::Full {
                    inner.was_full = true;
                    inner.counts.no_room += 1;
                    // The thread looks for flows that are of no use any more.
                    self.wake_cleaner();
                }
                flow.note_of_kernel(era | u64::from(REFUSED));
            }
        }
    }

    /// Puts a flow into the kernel. Returns its place; `None` if another worker's flow does the same, if the
    /// programs do not see the frames of the port yet, or if it would not be in time.
    fn install(
        &self,
        inner: &mut Inner,
        flow: &Arc<CachedFlow>,
        is_in_time: &dyn Fn() -> bool,
    ) -> Result<Option<usize>, Refusal> {
        let (key, mask) = (flow.key(), flow.mask());
        let verdict = Verdict {
            key: &key,
            mask: &mask,
            actions: &flow.actions,
            drop: flow.drop,
            is_flood: flow.is_flood(),
        };
        let Prepared { ingress, words: (mut key, mask), compiled } =
            self.prepare(inner, &verdict)?;
        let Ingress { counters, executor, origin, .. } = ingress;
        if let Some(executor) = executor.filter(|executor| executor.attached().is_none()) {
            if !inner.awaited.iter().any(|waits| Arc::ptr_eq(waits, &executor)) {
                inner.awaited.push_back(executor);
            }
            self.wake_cleaner();
            return Ok(None);
        }
        if !is_in_time() {
            return Ok(None);
        }
        let in_port = verdict.key.port_no.get();
        let ports = std::iter::once(in_port).chain(compiled.sent.iter().map(|sent| sent.port_no));
        let ports = ports.collect();
        if let Some(origin) = &origin {
            let number = inner.tunnels.take(&self.maps, origin).ok_or(Refusal::Full)?;
            key[0] = number.into();
        }
        let newcomer = Newcomer { flow, key, mask, compiled, ingress: counters, origin, ports };
        let installed = self.put(inner, newcomer);
        if let (Some(origin), Ok(None) | Err(_)) = (&origin, &installed) {
            inner.tunnels.give_back(&self.maps, origin);
        }
        installed
    }

    /// Puts a flow into the kernel that it can have. Returns its place; `None` if another
    /// worker's flow does the same.
    fn put(&self, inner: &mut Inner, newcomer: Newcomer<'_>) -> Result<Option<usize>, Refusal> {
        let Newcomer { flow, key, mask, compiled, ingress, origin, ports } = newcomer;
        let egress = compiled.sent.iter().map(|sent| {
            let counters = inner.counters_of(sent.port_no).map_err(Refusal::OutPort)?;
            Ok((Arc::clone(counters), sent.growth))
        });
        let egress = egress.collect::<Result<Box<[_]>, Refusal>>()?;
        let (mask_place, version) = inner.masks.take(&self.maps, &mask).ok_or(Refusal::Full)?;
        let hash = self.maps.hash(version, &key);
        if let Some((_, place)) =
            self.maps.find(hash, |place| self.maps.key(place) == (key, version))
        {
            if self.maps.stamp(place) >= inner.generation {
                inner.masks.give_back(&self.maps, mask_place);
                return Ok(None);
            }
            let Inner { entries, retired, .. } = inner;
            if let Some(Some(entry)) = entries.get_mut(place) {
                self.retire(place, entry, retired);
            }
        }
        let program = inner.programs.take(&self.maps, compiled.steps);
        let places = self.maps.empty_entry(hash).zip(inner.free.last().copied());
        let (Some(program), Some((filed_at, place))) = (program, places) else {
            if let Some(program) = program {
                inner.programs.give_back(program);
            }
            inner.masks.give_back(&self.maps, mask_place);
            return Err(Refusal::Full);
        };
        inner.free.pop();
        let place = place as usize;
        // Read before frames find the flow, the first of which is to be counted.
        let told = self.maps.count(place);
        let words = FlowWords {
            program: program as u32,
            mask_version: version,
            max_size: compiled.max_size,
            max_total: compiled.max_total,
            key,
        };
        self.maps.put_flow(place, &words, flow.stamp());
        self.maps.file(filed_at, hash, place);
        if inner.entries.len() <= place {
            inner.entries.resize_with(place + 1, || None);
        }
        inner.entries[place] = Some(Entry {
            flow: Arc::clone(flow),
            program,
            mask: mask_place,
            filed_at,
            origin,
            ingress,
            egress,
            drop: flow.drop,
            ports,
            told,
            used: flow.used(),
            is_live: true,
        });
        inner.counts.installs += 1;
        Ok(Some(place))
    }
}

impl KernelFlows for KernelCache {
    fn offer(
        &self,
        flows: &mut dyn Iterator<Item = &Arc<CachedFlow>>,
        is_in_time: &dyn Fn() -> bool,
    ) {
        let refused = u64::from(self.era.load(Ordering::Relaxed)) << 32 | u64::from(REFUSED);
        let mut inner: Option<MutexGuard<'_, Inner>> = None;
        for flow in flows.filter(|flow| flow.kernel_note() != refused).take(MOST_AT_ONCE) {
            // Whoever holds the lock is not waited for: the flow is offered again with its next frame.
            let Some(inner) = inner.as_mut() else {
                let Some(mut locked) = self.inner.try_lock() else { return };
                self.place(&mut locked, flow, is_in_time);
                inner = Some(locked);
                continue;
            };
            self.place(inner, flow, is_in_time);
        }
    }

    fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

/// What a translation has said of a packet.
struct Verdict<'a> {
    key: &'a flow::FlowKey,
    mask: &'a flow::FlowMask,
    actions: &'a [DpAction],
    drop: Option<DropReason>,
    is_flood: bool,
}

/// Where the frames of a flow come from.
struct Ingress {
    side: Side,
    /// What the frames have in their key in place of the port; 0 if they come through a tunnel.
    ifindex: u32,
    counters: Arc<PortCounters>,
    /// What has to be attached before frames of the port find the flow; `None` if nothing has to.
    executor: Option<Arc<DeviceHook>>,
    /// The tunnel, if they come through one.
    origin: Option<Origin>,
}

/// A flow that the kernel can have.
struct Prepared {
    ingress: Ingress,
    /// The masked key and the mask.
    words: (KeyWords, KeyWords),
    compiled: steps::Compiled,
}

/// A flow that is put into the kernel.
struct Newcomer<'f> {
    flow: &'f Arc<CachedFlow>,
    /// The masked key and the mask.
    key: KeyWords,
    mask: KeyWords,
    compiled: steps::Compiled,
    ingress: Arc<PortCounters>,
    origin: Option<Origin>,
    /// The ports that it names.
    ports: Box<[PortNo]>,
}

/// The mask of a flow that comes from a tunnel or goes into one, with more bits: the kernel does that for
/// frames without tag, and of the EtherType of the flow's first frame.
fn narrowed_for_tunnels(mask: &flow::FlowMask) -> flow::FlowMask {
    let mut narrowed = *mask;
    let bits = &mut narrowed.bits.headers;
    bits.vlan_tci.set(bits.vlan_tci.get() | VLAN_CFI);
    bits.dl_type.set(u16::MAX);
    narrowed
}

fn is_ip(key: &flow::FlowKey) -> bool {
    matches!(key.headers.dl_type.get(), eth_type::IPV4 | eth_type::IPV6)
}
