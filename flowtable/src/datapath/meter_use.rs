//! A cached flow's use of a meter: its way to the buckets, and what it has counted.

use super::counters::Counter;
use crate::policy::meters::MeterEntry;
use arrayvec::ArrayVec;
use flow::meter::{BandKind, MAX_BANDS};
use std::sync::Arc;
use std::time::Duration;

/// A meter of a cached flow. The worker that owns the flow writes the counters, which
/// [`push`](Self::push) adds to those of the meter; so workers share nothing but the buckets.
#[derive(Debug)]
pub struct MeterUse {
    pub(super) entry: Arc<MeterEntry>,
    packets: Counter,
    bytes: Counter,
    /// Packets and bytes that each band dropped or changed.
    bands: Box<[(Counter, Counter)]>,
}

/// What [`MeterUse::push`] has added to the counters of the meter so far.
#[derive(Debug, Default)]
pub(super) struct Pushed {
    packets: u64,
    bytes: u64,
    bands: Vec<(u64, u64)>,
}

/// What a meter says about the packets of a batch, of which bit 0 stands for the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// The packets that are dropped.
    pub(super) dropped: u64,
    /// Packets whose drop precedence grows, with the number by which it does.
    remarked: ArrayVec<(u64, u8), MAX_BANDS>,
}

impl Judged {
    /// Whether every packet passes as it is.
    #[inline]
    pub(super) fn passes_all(&self) -> bool {
        self.dropped == 0 && self.remarked.is_empty()
    }

    /// Whether the packet with this index is dropped.
    #[inline]
    pub(super) fn drops(&self, index: usize) -> bool {
        self.dropped >> index & 1 != 0
    }

    /// By how much the drop precedence of the packet with this index grows; 0 if the packet stays as it is.
    #[inline]
    pub(super) fn prec_level(&self, index: usize) -> u8 {
        let level = self.remarked.iter().find(|(mask, _)| mask >> index & 1 != 0);
        level.map_or(0, |(_, level)| *level)
    }
}

impl MeterUse {
    pub(super) fn new(entry: Arc<MeterEntry>) -> Self {
        let bands = entry.meter.bands.iter().map(|_| Default::default()).collect();
        Self { entry, packets: Counter::default(), bytes: Counter::default(), bands }
    }

    /// Sends packets of these sizes in bytes, at most 64, through the meter, and counts them. For the owner of
    /// the flow only.
    #[inline]
    pub(super) fn charge(&self, now: Duration, sizes: &[u32]) -> Judged {
        let mut judged = Judged::default();
        self.packets.add(sizes.len() as u64);
        self.bytes.add(sizes.iter().map(|size| u64::from(*size)).sum());
        self.entry.gauge.charge(now, sizes, |band, mask| {
            match self.entry.meter.bands[band].kind {
                BandKind::Drop => judged.dropped |= mask,
                BandKind::DscpRemark { prec_level } => judged.remarked.push((mask, prec_level)),
            }
            let (packets, bytes) = &self.bands[band];
            packets.add(mask.count_ones().into());
            let chosen = sizes.iter().enumerate().filter(|(index, _)| mask >> index & 1 != 0);
            bytes.add(chosen.map(|(_, size)| u64::from(*size)).sum());
        });
        judged
    }

    /// Adds what was counted since the last call to the counters of the meter.
    pub(super) fn push(&self, pushed: &mut Pushed) {
        let since = |counter: &Counter, before: &mut u64| {
            let now = counter.get();
            now.wrapping_sub(std::mem::replace(before, now))
        };
        pushed.bands.resize(self.bands.len(), (0, 0));
        // Bands first: the meter has never counted fewer packets than its bands.
        for (index, ((packets, bytes), before)) in
            self.bands.iter().zip(&mut pushed.bands).enumerate()
        {
            let packets = since(packets, &mut before.0);
            let bytes = since(bytes, &mut before.1);
            if packets > 0 || bytes > 0 {
                self.entry.add_to_band(index, packets, bytes);
            }
        }
        let packets = since(&self.packets, &mut pushed.packets);
        let bytes = since(&self.bytes, &mut pushed.bytes);
        if packets > 0 || bytes > 0 {
            self.entry.add(packets, bytes);
        }
    }
}
