//! The state and the counters of the switch as records: ports, tables, caches, workers, drops.

use crate::log;
use crate::switch::{OnBridge, PortView, RingMemory, Switch, WorkerView};
use control::record::{
    CacheRecord, DropRecord, DropsRecord, KernelCacheRecord, LogRecord, RingMemoryRecord,
    SwitchRecord, TableRecord, WorkerRecord,
};
use control::{Reason, Refusal, Reply};
use flow::metric::CacheMetric;
use flow::types::TableId;
use flow::verdict::DropReason;
use flowtable::policy::TableRef;
use flowtable::policy::tables::MAX_RULES;
use kernelcache::KernelCacheCounts;
use serde::Serialize;

/// Appends a record of a list: JSON on one line, without the line feed.
pub(super) fn write_record<T: Serialize>(out: &mut String, record: &T) {
    // Our records have no map with keys that are not text, the only thing JSON cannot hold.
    if let Ok(json) = serde_json::to_string(record) {
        out.push_str(&json);
    }
}

/// The switch and its ports.
pub(super) fn show(switch: &OnBridge<'_>) -> Reply {
    let RingMemory { used, budget } = switch.ring_memory();
    let wanted = super::controllers::wanted(switch);
    Reply::Switch(SwitchRecord {
        bridge: switch.name().to_string(),
        datapath_id: switch.datapath_id().to_string(),
        n_tables: TableId::COUNT as u16,
        ports: super::ports::records(switch),
        frags: switch.bridge().fragments(),
        fail_mode: wanted.fail_mode().to_string(),
        protocols: wanted.protocols.names().into_iter().map(str::to_owned).collect(),
        controllers: switch.controllers(&wanted.name),
        ring_memory: RingMemoryRecord { used, budget },
        waiting: super::saved::waiting(switch),
        confinement: Some(crate::confinement::record()),
    })
}

/// The flow tables of a bridge: how many rules they have, and how many packets were looked up and matched.
pub(super) fn tables(switch: &OnBridge<'_>) -> Reply {
    switch.settle();
    let snapshot = switch.bridge().snapshot();
    let tables = snapshot.tables();
    let record = |id: TableId| {
        let (n_lookups, n_matched) =
            switch.policy().lookups().get(TableRef { bridge: switch.bridge().id(), table: id });
        TableRecord {
            table: id.get(),
            n_flows: tables.len(id) as u64,
            n_lookups,
            n_matched,
            max_flows: MAX_RULES as u64,
        }
    };
    Reply::Tables((0..=u8::MAX).filter_map(TableId::new).map(record).collect())
}

/// What is logged, after `filter` has taken effect.
pub(super) fn log(filter: Option<&str>) -> Result<Reply, Box<Refusal>> {
    if let Some(filter) = filter {
        log::set_filter(filter).map_err(|error| {
            let hint = "a level (off, error, warn, info, debug, trace), and levels of modules behind it: \
                        info,switchd::bridge=debug";
            Box::new(Refusal::new(Reason::Text, error.to_string()).with_hint(hint))
        })?;
    }
    Ok(Reply::Log(LogRecord { filter: log::filter() }))
}

/// The counters of each worker's caches.
pub(super) fn caches(switch: &Switch) -> Reply {
    let workers = switch.caches();
    let flows = workers.iter().map(|counts| counts[CacheMetric::Flows]).sum();
    let (kernel, kernel_off) = match switch.kernel_cache() {
        Ok(counts) => (Some(kernel_record(&counts)), None),
        Err(reason) => (None, Some(reason.to_owned())),
    };
    Reply::Cache(CacheRecord { flows, workers, kernel, kernel_off })
}

fn kernel_record(counts: &KernelCacheCounts) -> KernelCacheRecord {
    let &KernelCacheCounts { flows, max_flows, masks, hits, .. } = counts;
    let &KernelCacheCounts { installs, evictions, no_room, unmarked, flood_copies, .. } = counts;
    KernelCacheRecord {
        flows,
        max_flows,
        masks,
        hits,
        installs,
        evictions,
        no_room,
        unmarked,
        flood_copies,
    }
}

/// The counters of each worker. `busy_percent` is about the time since the start.
pub(super) fn workers(switch: &Switch) -> Reply {
    let uptime = switch.now().as_secs_f64();
    let record = |(n, w): (usize, &WorkerView)| WorkerRecord {
        worker: n as u32,
        cpu: w.cpu.map(|cpu| cpu as u32),
        busy_percent: 100.0 * w.busy.as_secs_f64() / uptime,
        n_packets: w.frames,
        batches: w.batches,
        segments: w.segments,
        ns_per_frame: w.busy.as_nanos() as f64 / w.frames.max(1) as f64,
        sizes: w.sizes.clone(),
        sleeps: w.sleeps,
    };
    Reply::Workers(switch.workers().iter().enumerate().map(record).collect())
}

/// What these ports dropped, and why.
pub(super) fn drops(ports: &[PortView]) -> Reply {
    let mut drops = DropsRecord::default();
    for port in ports {
        let record = |(reason, packets)| record(port, reason, packets);
        drops.dropped.extend(port.totals.drops().map(record));
        drops.failed_outputs.extend(port.totals.failures().map(record));
    }
    Reply::Drops(drops)
}

fn record(port: &PortView, reason: DropReason, packets: u64) -> DropRecord {
    DropRecord {
        port: port.of_port.0,
        name: port.name.clone(),
        reason: reason.name().to_owned(),
        meaning: reason.sentence().to_owned(),
        n_packets: packets,
    }
}
