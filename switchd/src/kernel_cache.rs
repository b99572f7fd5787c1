//! The kernel cache of a switch: whether there is one, and what the parts of the switch tell it.

use crate::port_slot::PortSlot;
use crate::switch::Switch;
use flow::FlowKey;
use flow::types::PortNo;
use flowtable::datapath::CachedFlow;
use flowtable::policy::Policy;
use flowtable::policy::xlate::Translation;
use kernelcache::{
    HandedPrograms, KernelCache, KernelCacheCounts, KernelPort, Programs, Refusal, Side, TunnelPort,
};
use ports::spec::{KernelCacheUse, PortOptions, QdiscMode, Target};
use ports::{KernelHooks, Port};
use serde::{Deserialize, Serialize};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tracing::info;

/// Whether flows go into the kernel (`--kernel-cache`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum KernelCacheMode {
    /// They do not.
    Off,
    /// They do if the kernel and the privileges of the process allow it.
    #[default]
    Auto,
    /// They do, and the switch does not start if they cannot.
    Require,
}

/// What a switch starts with: the loaded programs, or why there are none.
pub type KernelStart = Result<Programs, String>;

impl KernelCacheMode {
    /// Loads the programs, while the process has the privileges for that.
    ///
    /// # Errors
    /// They are required, and cannot be loaded.
    pub(crate) fn load(self) -> anyhow::Result<KernelStart> {
        if self == Self::Off {
            return Ok(Err("--kernel-cache is off".to_owned()));
        }
        match Programs::load() {
            Ok(programs) => Ok(Ok(programs)),
            Err(error) if self == Self::Auto => {
                Ok(Err(format!("{:#}", anyhow::Error::from(error))))
            }
            Err(error) => Err(anyhow::Error::from(error).context("--kernel-cache require")),
        }
    }
}

/// The programs of a kernel cache that are handed over, beside their descriptors.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct GivenPrograms {
    object: u64,
    processors: usize,
    has_ipv6_sums: bool,
}

impl GivenPrograms {
    /// The number of the descriptors of programs and maps.
    pub(crate) const DESCRIPTORS: usize = kernelcache::DESCRIPTORS;

    /// The programs, for this process to go on with.
    pub(crate) fn take_over(self, fds: Vec<OwnedFd>) -> KernelStart {
        let Self { object, processors, has_ipv6_sums } = self;
        let handed = HandedPrograms { object, processors, has_ipv6_sums };
        Programs::take_over(handed, fds)
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    }
}

/// The kernel cache of a switch, or why there is none.
pub(crate) struct KernelSide(Result<Arc<KernelCache>, String>);

impl KernelSide {
    /// Starts the cache, which hears of every generation of `policy` from now on and forwards nothing before
    /// [`KernelCache::resume`]. `epoch` is the zero of the switch's clock on `CLOCK_MONOTONIC`.
    pub(crate) fn start(start: KernelStart, policy: &Policy, seed: u64, epoch: Duration) -> Self {
        let started = start.and_then(|programs| {
            let lookups = Arc::clone(policy.lookups());
            let cache = KernelCache::start(programs, seed, epoch, lookups, policy.generation());
            cache.map_err(|error| format!("start its thread: {error}"))
        });
        match &started {
            Ok(cache) => {
                policy.tell_generations(Arc::<KernelCache>::clone(cache));
                info!("kernel cache: on");
            }
            Err(reason) => info!("kernel cache: off: {reason}"),
        }
        Self(started)
    }

    /// The cache, if there is one.
    pub(crate) fn cache(&self) -> Option<&Arc<KernelCache>> {
        self.0.as_ref().ok()
    }

    /// The programs for another process, and their descriptors; `None` if there is no kernel cache.
    pub(crate) fn give(&self) -> Option<(GivenPrograms, Vec<BorrowedFd<'_>>)> {
        let cache = self.cache()?;
        let HandedPrograms { object, processors, has_ipv6_sums } = cache.hand_over();
        Some((GivenPrograms { object, processors, has_ipv6_sums }, cache.descriptors()))
    }

    /// The programs that a port of this target is to have; `None` if there is no kernel cache,
    /// or none for this port.
    pub(crate) fn hooks_for(
        &self,
        target: &Target,
        options: &PortOptions,
    ) -> Option<Arc<KernelHooks>> {
        let is_wanted = side_of(target).is_some() && left_out(target, options).is_none();
        self.cache().filter(|_| is_wanted).map(|cache| Arc::clone(cache.hooks()))
    }

    /// Flows may name the port of `slot`, whose device is open, from now on.
    pub(crate) fn add_port(&self, slot: &PortSlot, port_no: PortNo, port: &Port) {
        let Some(cache) = self.cache() else { return };
        let Some(target) = slot.spec.kind.target() else { return };
        if let Target::Tunnel(_) = target {
            return cache.add_tunnel(port_no, tunnel(slot, port));
        }
        let Some(side) = side_of(target) else { return };
        let Some(ifindex) = port.ifindex else { return };
        let status = Arc::clone(&port.status);
        let counters = Arc::clone(slot.kernel_counters());
        let (receives, sends) = if let Some(reason) = left_out(target, &slot.spec.options) {
            (Err(reason.to_owned()), Err(reason.to_owned()))
        } else {
            let sends = match (side, slot.spec.options.qdisc) {
                // A TAP device without the programs is in another namespace, where the kernel does not find it
                // by its number.
                (Side::Descriptor, _) => port.kernel_hook.clone().map(|_| ()),
                (Side::Device, QdiscMode::Bypass) => {
                    Err("its frames go around the queueing discipline".to_owned())
                }
                (Side::Device, QdiscMode::Auto | QdiscMode::Honour) => Ok(()),
            };
            (port.kernel_hook.clone().map(Some), sends)
        };
        let to_peer = slot.spec.options.kernel_cache == KernelCacheUse::Peer;
        let port = KernelPort { side, ifindex, status, counters, receives, sends, to_peer };
        cache.add_port(port_no, port);
    }

    /// No flow names the port of `slot` any more.
    pub(crate) fn remove_port(&self, slot: &PortSlot) {
        if let (Some(cache), Some(port_no)) = (self.cache(), slot.port_no()) {
            cache.remove_port(port_no);
        }
    }

    /// The device of the port of `slot` has changed.
    pub(crate) fn port_changed(&self, slot: &PortSlot) {
        if let (Some(cache), Some(port_no)) = (self.cache(), slot.port_no()) {
            cache.port_changed(port_no);
        }
    }

    /// Adds what the kernel has counted to flows and ports.
    pub(crate) fn collect(&self) {
        if let Some(cache) = self.cache() {
            cache.collect();
        }
    }

    /// Whether the kernel cache forwards frames of the port of `slot`, or why it does not; `None` if there is
    /// no kernel cache.
    pub(crate) fn state_of(&self, slot: &PortSlot) -> Option<Result<(), String>> {
        let cache = self.cache()?;
        Some(match slot.port_no() {
            Some(port_no) => cache.port_refusal(port_no).map_or(Ok(()), Err),
            None => Err("a patch port has no frames of its own".to_owned()),
        })
    }
}

/// The tunnel port of `slot`, for the programs to do its work.
///
/// # Errors
/// Why they do not do it, for a person to read.
fn tunnel(slot: &PortSlot, port: &Port) -> Result<TunnelPort, String> {
    if slot.spec.options.kernel_cache != KernelCacheUse::On {
        return Err("kernel-cache=on is not given".to_owned());
    }
    let membership = port.membership.as_ref().ok_or("its sockets are closed")?;
    let tunnel = Arc::clone(membership.in_kernel()?);
    Ok(TunnelPort { tunnel, counters: Arc::clone(slot.kernel_counters()) })
}

/// At which end of its device a port of this target is, if the kernel cache can be at the
/// other; `None` if it cannot.
fn side_of(target: &Target) -> Option<Side> {
    match target {
        Target::System { .. } => Some(Side::Device),
        Target::Tap { .. } | Target::Internal { .. } => Some(Side::Descriptor),
        // The number of a device means another device in another namespace.
        Target::Netns { .. } | Target::Tunnel(_) | Target::Dummy => None,
    }
}

/// Why a port is left out of the kernel cache, if it is. A TAP device is made to be moved to the network
/// namespace of a container or a machine. The kernel does not find it there by its number, and what it sends
/// there would be lost until the switch hears of the move. So somebody has to say that the device stays.
fn left_out(target: &Target, options: &PortOptions) -> Option<&'static str> {
    match (options.kernel_cache, target) {
        (KernelCacheUse::Off, _) => Some("it has kernel-cache=off"),
        (KernelCacheUse::Auto, Target::Tap { .. }) => Some(
            "its device may move to another network namespace, and kernel-cache=on is not given",
        ),
        _ => None,
    }
}

impl Switch {
    /// What the kernel cache has and did, or why there is none.
    ///
    /// # Errors
    /// The reason, for a person to read.
    pub fn kernel_cache(&self) -> Result<KernelCacheCounts, &str> {
        let cache = self.kernel_side().0.as_ref().map_err(String::as_str)?;
        cache.collect();
        Ok(cache.counts())
    }

    /// Whether a flow is in the kernel.
    pub(crate) fn is_offloaded(&self, flow: &CachedFlow) -> bool {
        self.kernel_side().cache().is_some_and(|cache| cache.holds(flow))
    }
}

/// Whether the kernel could have the flow of a packet with this key and translation.
///
/// # Errors
/// Why it could not.
pub(crate) fn could_hold(
    cache: &KernelCache,
    key: &FlowKey,
    translation: &Translation,
) -> Result<(), Refusal> {
    let Translation { mask, actions, drop, flood, .. } = translation;
    cache.could_hold(key, mask, actions, *drop, flood.is_some())
}
