//! The verbs that show counters of the whole switch: `cache-show`, `workers` and `drops`.

use crate::Outcome;
use crate::connect::{call, connect, unexpected};
use crate::options::{Log, Options, Words};
use crate::output::{print, print_json};
use control::record::{CacheRecord, DropRecord, DropsRecord, KernelCacheRecord, WorkerRecord};
use control::{Operation, Reply};
use flow::metric::{CacheCounts, CacheMetric};
use flow::types::OfPort;
use std::fmt::Write;

/// Carries out the verb `cache-show`.
pub(crate) fn caches(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let Reply::Cache(caches) = call.client.ask(Operation::CacheShow)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&caches)?,
        false => print(&render_caches(&caches))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `log`.
pub(crate) fn log(options: &Options, arguments: &Log) -> anyhow::Result<Outcome> {
    let filter = arguments.filter.clone();
    let Reply::Log(log) = connect(&options.how)?.ask(Operation::Log { filter })? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&log)?,
        false => print(&format!("{}\n", log.filter))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `workers`.
pub(crate) fn workers(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let Reply::Workers(workers) = call.client.ask(Operation::Workers)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&workers)?,
        false => print(&render_workers(&workers))?,
    }
    Ok(Outcome::Done)
}

fn render_workers(workers: &[WorkerRecord]) -> String {
    let mut out = String::new();
    for w in workers {
        let cpu = w.cpu.map_or_else(String::new, |cpu| format!(" on CPU {cpu}"));
        let average = w.n_packets as f64 / w.batches.max(1) as f64;
        let _ = writeln!(
            out,
            "worker {}{cpu}: busy={:.1} %, frames={}, batches={}, frames per batch={average:.1}, \
             segments={}, ns per frame={:.0}, sleeps={}",
            w.worker, w.busy_percent, w.n_packets, w.batches, w.segments, w.ns_per_frame, w.sleeps
        );
        let ranges = ["1", "2-3", "4-7", "8-15", "16-31", "32-63", "64"];
        let sizes: Vec<String> =
            ranges.iter().zip(&w.sizes).map(|(range, n)| format!("{range}:{n}")).collect();
        let _ = writeln!(out, "  batches by size: {}", sizes.join(" "));
    }
    out
}

/// Carries out the verb `drops`.
pub(crate) fn drops(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let Reply::Drops(drops) = call.client.ask(Operation::Drops)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&drops)?,
        false => print(&render_drops(&drops))?,
    }
    Ok(Outcome::Done)
}

fn render_caches(caches: &CacheRecord) -> String {
    let mut out = format!("cached flows: {}\n", caches.flows);
    for (n, worker) in caches.workers.iter().enumerate() {
        render_worker(&mut out, &format!("worker {n}"), worker);
    }
    if caches.workers.len() > 1 {
        let total =
            caches.workers.iter().fold(CacheCounts::default(), |sum, worker| sum.plus(worker));
        render_worker(&mut out, "total", &total);
    }
    if let Some(kernel) = &caches.kernel {
        render_kernel(&mut out, kernel);
    }
    if let Some(reason) = &caches.kernel_off {
        let _ = writeln!(out, "kernel: off ({reason})");
    }
    out
}

fn render_kernel(out: &mut String, kernel: &KernelCacheRecord) {
    let KernelCacheRecord { flows, max_flows, masks, hits, installs, evictions, .. } = kernel;
    let _ = write!(
        out,
        "kernel: {hits} packets\n  \
         flows:      {flows} of {max_flows}, {masks} masks, {installs} admissions, {evictions} evictions, {} without room\n  \
         marks:      {} unmarked packets\n  \
         floods:     {} copies\n",
        kernel.no_room, kernel.unmarked, kernel.flood_copies
    );
}

fn render_worker(out: &mut String, title: &str, w: &CacheCounts) {
    use CacheMetric::*;
    let packets = w[Hits] + w[ProbeHits] + w[Misses] + w[Refused];
    let percent = |n: u64| 100.0 * n as f64 / packets.max(1) as f64;
    let budget = match (w[BudgetRate], w[Protecting] != 0) {
        (0, _) => "no budget".to_owned(),
        (rate, is_in_force) => format!(
            "budget of a port {rate} a second and {} at once ({}), {} used",
            w[BudgetBurst],
            if is_in_force { "in force" } else { "not in force" },
            w[BudgetUsed]
        ),
    };
    let _ = write!(
        out,
        "{title}: {packets} packets\n  \
         signatures: {} hits ({:.1} %), {} places, {} admissions, {} evictions\n  \
         masks:      {} hits ({:.1} %), {} of {} masks probed\n  \
         tables:     {} misses ({:.1} %), {} refused ({:.1} %), {budget}\n  \
         flows:      {} of {}, {} evictions\n  \
         changes:    {} re-stamps, {} re-translations, {} of them with the same verdict\n",
        w[Hits],
        percent(w[Hits]),
        w[Signatures],
        w[Admissions],
        w[SignatureEvictions],
        w[ProbeHits],
        percent(w[ProbeHits]),
        w[ActiveMasks],
        w[Masks],
        w[Misses],
        percent(w[Misses]),
        w[Refused],
        percent(w[Refused]),
        w[Flows],
        w[MaxFlows],
        w[Evictions],
        w[Restamps],
        w[Retranslations],
        w[Revalidated],
    );
}

fn render_drops(drops: &DropsRecord) -> String {
    if drops.dropped.is_empty() && drops.failed_outputs.is_empty() {
        return "no frame was dropped\n".to_owned();
    }
    let mut out = String::new();
    let mut section = |title: &str, records: &[DropRecord]| {
        if records.is_empty() {
            return;
        }
        let _ = writeln!(out, "{title}:");
        let width = records.iter().map(|r| r.reason.len()).max().unwrap_or(0);
        for r in records {
            let _ = writeln!(
                out,
                "  {}({}): {:>10}  {:width$}  {}",
                OfPort(r.port),
                r.name,
                r.n_packets,
                r.reason,
                r.meaning
            );
        }
    };
    section("frames received and dropped", &drops.dropped);
    section("outputs that failed", &drops.failed_outputs);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_told_level_by_level() {
        let worker = CacheCounts::from_fn(|metric| match metric {
            CacheMetric::Hits => 970,
            CacheMetric::ProbeHits => 20,
            CacheMetric::Misses => 10,
            CacheMetric::Signatures => 131_072,
            CacheMetric::Admissions => 30,
            CacheMetric::Flows => 8,
            CacheMetric::MaxFlows => 200_000,
            CacheMetric::Masks => 3,
            CacheMetric::ActiveMasks => 1,
            CacheMetric::Restamps => 5,
            CacheMetric::Retranslations => 2,
            CacheMetric::Revalidated => 1,
            CacheMetric::BudgetRate => 50_000,
            CacheMetric::BudgetBurst => 4096,
            CacheMetric::BudgetUsed => 6,
            CacheMetric::Protecting => 1,
            _ => 0,
        });
        let caches = CacheRecord { flows: 8, workers: vec![worker], ..CacheRecord::default() };
        insta::assert_snapshot!(render_caches(&caches), @r"
        cached flows: 8
        worker 0: 1000 packets
          signatures: 970 hits (97.0 %), 131072 places, 30 admissions, 0 evictions
          masks:      20 hits (2.0 %), 1 of 3 masks probed
          tables:     10 misses (1.0 %), 0 refused (0.0 %), budget of a port 50000 a second and 4096 at once (in force), 6 used
          flows:      8 of 200000, 0 evictions
          changes:    5 re-stamps, 2 re-translations, 1 of them with the same verdict
        ");
        let two = CacheRecord { flows: 16, workers: vec![worker; 2], ..CacheRecord::default() };
        assert!(
            render_caches(&two)
                .contains("total: 2000 packets\n  signatures: 1940 hits (97.0 %), 262144")
        );
    }

    #[test]
    fn drops_are_told_with_their_reasons() {
        assert_eq!(render_drops(&DropsRecord::default()), "no frame was dropped\n");
        let record = |reason: &str, packets| DropRecord {
            port: 1,
            name: "veth0".to_owned(),
            reason: reason.to_owned(),
            meaning: "because".to_owned(),
            n_packets: packets,
        };
        let drops = DropsRecord {
            dropped: vec![record("table_miss", 3), record("runt", 12345)],
            failed_outputs: vec![record("exceeds_mtu", 1)],
        };
        insta::assert_snapshot!(render_drops(&drops));
    }
}
