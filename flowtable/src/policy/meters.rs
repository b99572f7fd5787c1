//! Meters under versions, with their counters and the state of their buckets.

use super::gauge::Gauge;
use super::numbered::Numbered;
use super::refused::FlowModError;
use super::rule::{Removal, Rule, RuleRef};
use super::tables::{Change, Step, Tables};
use super::transaction::Transaction;
use super::{Policy, PortRef, SLICE};
use crate::classifier::Version;
use flow::meter::{BandKind, MAX_BANDS, MAX_METERS, Meter, MeterMod, MeterStats};
use flow::types::{MeterId, PortNo};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A meter with its counters, shared by all who refer to it. A modification replaces it by another one, with
/// new counters and full buckets, as in Open vSwitch.
#[derive(Debug)]
pub struct MeterEntry {
    /// The meter's unit, flags and bands.
    pub meter: Meter,
    /// The buckets of the bands.
    pub gauge: Gauge,
    created_ms: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    /// Packets and bytes that each band dropped or changed.
    bands: Box<[(AtomicU64, AtomicU64)]>,
}

/// What a meter has counted at one moment, and the state of its buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterTotals {
    /// The time when the meter was added, on the switch's monotonic clock.
    pub created: Duration,
    /// How many packets went into the meter.
    pub packets: u64,
    /// Bytes of these packets.
    pub bytes: u64,
    /// Packets and bytes that each band dropped or changed.
    pub bands: Vec<(u64, u64)>,
    /// For each band the time up to which tokens are spent, as [`Gauge::spent`] tells it.
    pub spent: Vec<u64>,
}

impl MeterEntry {
    fn new(meter: Meter, created: Duration) -> Self {
        Self {
            gauge: Gauge::new(&meter),
            created_ms: AtomicU64::new(created.as_millis() as u64),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            bands: meter.bands.iter().map(|_| Default::default()).collect(),
            meter,
        }
    }

    /// The time when the meter was added, on the switch's monotonic clock.
    pub fn created(&self) -> Duration {
        Duration::from_millis(self.created_ms.load(Ordering::Relaxed))
    }

    /// Counts packets that went into the meter.
    pub fn add(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts packets that the band with index `band` dropped or changed.
    pub fn add_to_band(&self, band: usize, packets: u64, bytes: u64) {
        if let Some((p, b)) = self.bands.get(band) {
            p.fetch_add(packets, Ordering::Relaxed);
            b.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The counters at the time `now`, of a meter that `flow_count` rules use.
    pub fn to_stats(&self, flow_count: u32, now: Duration) -> MeterStats {
        let MeterTotals { created, packets, bytes, bands, .. } = self.to_totals();
        MeterStats { flow_count, packets, bytes, duration: now.saturating_sub(created), bands }
    }

    /// The counters and the state of the buckets at this moment.
    pub fn to_totals(&self) -> MeterTotals {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Bands first: a packet that is counted meanwhile is among the meter's, and not yet
        // among those of a band.
        let bands = self.bands.iter().map(|(p, b)| (get(p), get(b))).collect();
        let (packets, bytes) = (get(&self.packets), get(&self.bytes));
        MeterTotals { created: self.created(), packets, bytes, bands, spent: self.gauge.spent() }
    }

    /// Adds what the meter has counted in another process, and takes over its age and the state of its buckets.
    /// The clocks of both processes began at the same time.
    pub fn take_over(&self, before: &MeterTotals) {
        self.created_ms.store(before.created.as_millis() as u64, Ordering::Relaxed);
        self.add(before.packets, before.bytes);
        for (band, (packets, bytes)) in before.bands.iter().enumerate() {
            self.add_to_band(band, *packets, *bytes);
        }
        self.gauge.set_spent(&before.spent);
    }
}

/// The meters of a bridge, and which rules use them.
#[derive(Debug, Default)]
pub(super) struct Meters(Numbered<MeterId, Arc<MeterEntry>>);

impl Meters {
    /// The meter with this number at a version; `None` if there is none.
    pub(super) fn get(&self, id: MeterId, version: Version) -> Option<&Arc<MeterEntry>> {
        self.0.get(id, version)
    }

    /// The meters with higher numbers than `after` at a version, in ascending order; `None` for those that it
    /// does not see.
    pub(super) fn behind(
        &self,
        after: Option<MeterId>,
        version: Version,
    ) -> impl Iterator<Item = (MeterId, Option<&Arc<MeterEntry>>)> {
        self.0.behind(after, version)
    }

    /// Takes back the addition of a meter, before its version was published.
    pub(super) fn take_back(&mut self, id: MeterId, version: Version) {
        self.0.take_back(id, version);
    }

    /// Takes back the removal of a meter, before its version was published.
    pub(super) fn restore(&mut self, id: MeterId, version: Version) {
        self.0.restore(id, version);
    }

    /// Moves at most `budget` meters into `freed` that no reader at the version `oldest` or later can see.
    pub(super) fn purge(
        &mut self,
        oldest: Version,
        budget: usize,
        freed: &mut Vec<Arc<MeterEntry>>,
    ) {
        self.0.purge(oldest, budget, |entry| freed.push(entry));
    }

    /// Number of meters that wait to be freed.
    pub(super) fn removed_len(&self) -> usize {
        self.0.removed_len()
    }

    /// Remembers which meters a rule uses.
    pub(super) fn add_user(&mut self, rule: &Rule) {
        rule.each_meter(|id| self.0.add_user(id, rule.place()));
    }

    /// Forgets a rule that is freed.
    pub(super) fn forget_user(&mut self, rule: &Rule) {
        rule.each_meter(|id| self.0.forget_user(id, rule.place()));
    }

    /// The rules that use a meter, visible or not, in order, beginning behind `after`.
    pub(super) fn users(
        &self,
        id: MeterId,
        after: Option<RuleRef>,
    ) -> impl Iterator<Item = RuleRef> {
        self.0.users(id, after)
    }

    /// Whether the bridge can have the meter beside those that the latest version sees.
    ///
    /// # Errors
    /// Why not: the first fault in the order of Open vSwitch.
    fn check(&self, request: &MeterMod, version: Version) -> Result<(), FlowModError> {
        let (meter, is_new, has_unit) = match request {
            MeterMod::Add(meter) => (meter, true, true),
            MeterMod::Modify(meter) => (meter, false, true),
            MeterMod::BadFlags { meter, is_new, has_unit, .. } => (meter, *is_new, *has_unit),
            MeterMod::Delete(_) => return Ok(()),
        };
        let id = meter.id;
        if !id.is_valid() {
            return Err(FlowModError::InvalidMeter(id));
        }
        if meter.bands.len() > MAX_BANDS {
            return Err(FlowModError::TooManyBands { meter: id, bands: meter.bands.len() });
        }
        match self.get(id, version) {
            Some(_) if is_new => return Err(FlowModError::MeterExists(id)),
            None if !is_new => return Err(FlowModError::NoSuchMeter(id)),
            None if self.0.len() >= MAX_METERS => return Err(FlowModError::TooManyMeters(id)),
            _ => {}
        }
        if !has_unit {
            return Err(FlowModError::MeterFlags(id));
        }
        if meter.bands.is_empty() {
            return Err(FlowModError::MeterWithoutBands(id));
        }
        if meter.bands.iter().any(|band| band.rate == 0) {
            return Err(FlowModError::BandWithoutRate(id));
        }
        match request {
            MeterMod::BadFlags { .. } => Err(FlowModError::MeterFlags(id)),
            _ => Ok(()),
        }
    }
}

impl Policy {
    /// Sends a packet of `size` bytes, which a worker wants to translate, through the meter
    /// [`MeterId::SLOWPATH`] of the bridge of its port. Returns whether the packet may be translated. Of a
    /// switch without such a meter, this reads one number.
    #[inline]
    pub(crate) fn admits_translation(&self, port_no: PortNo, size: u32, now: Duration) -> bool {
        self.slowpath_meters.load(Ordering::Relaxed) == 0
            || self.meter_translation(port_no, size, now)
    }

    #[cold]
    fn meter_translation(&self, port_no: PortNo, size: u32, now: Duration) -> bool {
        let Some(PortRef { bridge, .. }) = self.port_ref(port_no) else { return true };
        let entry = {
            let (tables, version) = self.tables.read();
            tables.of(bridge).meter(MeterId::SLOWPATH, version).cloned()
        };
        let Some(entry) = entry else { return true };
        entry.add(1, size.into());
        let mut is_dropped = false;
        entry.gauge.charge(now, &[size], |band, _| {
            entry.add_to_band(band, 1, size.into());
            // There is nothing to remark in front of a translation.
            is_dropped = entry.meter.bands[band].kind == BandKind::Drop;
        });
        !is_dropped
    }

    /// Notes whether some bridge has a meter [`MeterId::SLOWPATH`], after a change that was published.
    pub(super) fn count_slowpath_meters(&self, change: &Change) {
        if change.meters().any(|id| id == MeterId::SLOWPATH) {
            let (tables, version) = self.tables.read();
            let meters = tables
                .iter()
                .filter(|(_, tables)| tables.meter(MeterId::SLOWPATH, version).is_some());
            self.slowpath_meters.store(meters.count() as u64, Ordering::Relaxed);
        }
    }
}

impl Transaction<'_> {
    /// Prepares a change of a meter.
    ///
    /// # Errors
    /// Why it is refused. The transaction should be dropped then.
    pub fn apply_meter(&mut self, request: &MeterMod, now: Duration) -> Result<(), FlowModError> {
        let Some(change) = &mut self.change else { return Ok(()) };
        let version = change.version();
        let bridge = self.bridge;
        bridge.policy.tables.read().0.of(bridge.id).meters.check(request, version)?;
        match request {
            MeterMod::Delete(id) => self.delete_meters(*id, version),
            // The check has refused it.
            MeterMod::BadFlags { .. } => {}
            MeterMod::Add(meter) | MeterMod::Modify(meter) => {
                change.reserve(2);
                bridge.step(|tables| tables.put_meter(change, meter.clone(), now));
            }
        }
        Ok(())
    }

    /// Deletes a meter, or all, with the rules that use it.
    fn delete_meters(&mut self, id: MeterId, version: Version) {
        if id != MeterId::ALL {
            return self.delete_meter_slice(&[id], version);
        }
        let mut last = None;
        loop {
            let slice: Vec<MeterId> = {
                let (tables, _) = self.bridge.policy.tables.read();
                let tables = tables.of(self.bridge.id);
                tables.meters.behind(last, version).take(SLICE).map(|(id, _)| id).collect()
            };
            if slice.is_empty() {
                return;
            }
            last = slice.last().copied();
            self.delete_meter_slice(&slice, version);
        }
    }

    fn delete_meter_slice(&mut self, ids: &[MeterId], version: Version) {
        if let Some(change) = &mut self.change {
            change.reserve(ids.len());
            self.bridge.step(|tables| {
                for &id in ids {
                    if tables.meters.0.hide(id, version) {
                        change.steps.push(Step::MeterRemoved(id));
                    }
                }
            });
        }
        for &id in ids {
            self.remove_users(Removal::MeterDelete, |tables, last| {
                tables.meters.users(id, last).take(SLICE).collect()
            });
        }
    }
}

impl Tables {
    /// Adds a meter or replaces it; a replaced one keeps its age.
    fn put_meter(&mut self, change: &mut Change, meter: Meter, now: Duration) {
        let (id, version) = (meter.id, change.version());
        let created = self.meters.get(id, version).map_or(now, |old| old.created());
        if self.meters.0.hide(id, version) {
            change.steps.push(Step::MeterRemoved(id));
        }
        self.meters.0.add(id, Arc::new(MeterEntry::new(meter, created)), version);
        change.steps.push(Step::MeterAdded(id));
    }
}

impl MeterEntry {
    /// Whether packets beyond a rate are changed rather than dropped, by some band.
    pub(super) fn remarks(&self) -> bool {
        self.meter.bands.iter().any(|band| matches!(band.kind, BandKind::DscpRemark { .. }))
    }
}
