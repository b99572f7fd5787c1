//! What the caches did, and what was dropped.

use crate::Outcome;
use crate::connect::{call, unexpected};
use crate::options::{Options, Words};
use crate::output::{print, print_json};
use control::record::{CacheRecord, DropRecord, DropsRecord, WorkerRecord};
use control::{Operation, Reply};
use flowtable::types::OfPort;
use std::fmt::Write;

/// `cache-show`
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

/// `workers`
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
        let cpu = w.cpu.map_or_else(String::new, |cpu| format!(" on processor {cpu}"));
        let average = w.frames as f64 / w.batches.max(1) as f64;
        let _ = writeln!(
            out,
            "worker {}{cpu}: busy={:.1} %, frames={}, batches={}, frames per batch={average:.1}, \
             ns per frame={:.0}, sleeps={}",
            w.worker, w.busy_percent, w.frames, w.batches, w.ns_per_frame, w.sleeps
        );
        let ranges = ["1", "2-3", "4-7", "8-15", "16-31", "32-63", "64"];
        let sizes: Vec<String> =
            ranges.iter().zip(&w.sizes).map(|(range, n)| format!("{range}:{n}")).collect();
        let _ = writeln!(out, "  batches by size: {}", sizes.join(" "));
    }
    out
}

/// `drops`
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
        let packets = worker.hits + worker.misses + worker.retranslations;
        let percent = if packets == 0 { 0.0 } else { 100.0 * worker.hits as f64 / packets as f64 };
        let _ = writeln!(
            out,
            "worker {n}: hits={} ({percent:.1} %), misses={}, retranslations={}, \
             revalidated={}, evictions={}, capacity={}",
            worker.hits,
            worker.misses,
            worker.retranslations,
            worker.revalidated,
            worker.evictions,
            worker.capacity
        );
    }
    out
}

fn render_drops(drops: &DropsRecord) -> String {
    if drops.dropped.is_empty() && drops.failed_outputs.is_empty() {
        return "nothing was dropped\n".to_owned();
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
                r.packets,
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
    fn drops_are_told_with_their_reasons() {
        assert_eq!(render_drops(&DropsRecord::default()), "nothing was dropped\n");
        let record = |reason: &str, packets| DropRecord {
            port: 1,
            name: "veth0".to_owned(),
            reason: reason.to_owned(),
            meaning: "because".to_owned(),
            packets,
        };
        let drops = DropsRecord {
            dropped: vec![record("table_miss", 3), record("runt", 12345)],
            failed_outputs: vec![record("exceeds_mtu", 1)],
        };
        insta::assert_snapshot!(render_drops(&drops));
    }
}
