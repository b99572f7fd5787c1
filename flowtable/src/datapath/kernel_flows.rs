//! Cached flows that the kernel executes beside the workers.
//!
//! Somebody above this crate may have a second place for flows, in the kernel: frames of a flow that is there
//! never reach a worker. This module is what both sides know of each other. A worker *offers* flows that were
//! hit, behind the send of a batch; whether one is taken is the other side's decision. What the kernel has
//! counted for a flow is added to the flow, so that rules, groups, timeouts and dumps need not know where a
//! frame was forwarded.
//!
//! A flow in the kernel has a stamp as it has here, and the same rule holds there: when a frame is judged, the
//! verdict is used only if the stamp is not older than the generation of that moment. The other side learns of
//! generations as a [`GenerationFollower`](crate::policy::changes::GenerationFollower).

use super::cached_flow::CachedFlow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The other place for flows.
pub trait KernelFlows: fmt::Debug + Send + Sync {
    /// Offers flows of which a frame has just come to a worker although they were cached before: flows that are
    /// not in the kernel, or are stale there, or whose frames the kernel leaves to the switch. Called by
    /// workers: it must not wait.
    ///
    /// The kernel cache calls `is_in_time` just before the kernel begins to forward frames of a flow. `false`
    /// means that frames wait in the receive queue which later frames of the flow would overtake in the kernel:
    /// then the flow is not taken.
    fn offer(
        &self,
        flows: &mut dyn Iterator<Item = &Arc<CachedFlow>>,
        is_in_time: &dyn Fn() -> bool,
    );

    /// How many frames the kernel has forwarded or dropped so far, as far as they have been counted: they are
    /// counted twice a second at least. Called by workers: it must not wait.
    fn hits(&self) -> u64;
}

/// What a cached flow knows of its part in the kernel.
#[derive(Debug, Default)]
pub(super) struct KernelShare {
    note: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    used_ms: AtomicU64,
}

impl KernelShare {
    /// Packets and bytes that the kernel has counted, as far as they were handed over.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// The time of the last packet in milliseconds; 0 if there was none.
    #[inline]
    pub(super) fn used_ms(&self) -> u64 {
        self.used_ms.load(Ordering::Relaxed)
    }
}

impl CachedFlow {
    /// Adds packets that the kernel has forwarded or dropped, the last of them at `used` on the switch's clock.
    /// For the owner of the flows in the kernel, one call at a time.
    pub fn count_in_kernel(&self, packets: u64, bytes: u64, used: Duration) {
        let share = self.kernel_share();
        share.packets.fetch_add(packets, Ordering::Relaxed);
        share.bytes.fetch_add(bytes, Ordering::Relaxed);
        share.used_ms.fetch_max(used.as_millis() as u64, Ordering::Relaxed);
    }

    /// What the owner of the flows in the kernel has noted of this flow; 0 at first.
    #[inline]
    pub fn kernel_note(&self) -> u64 {
        self.kernel_share().note.load(Ordering::Relaxed)
    }

    /// Notes something of this flow. For the owner of the flows in the kernel only.
    pub fn note_of_kernel(&self, note: u64) {
        self.kernel_share().note.store(note, Ordering::Relaxed);
    }
}
