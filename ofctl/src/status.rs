//! What the caches did, and what was dropped.

use crate::Outcome;
use crate::connect::{call, unexpected};
use crate::options::{Options, Words};
use crate::output::{print, print_json};
use control::record::{CacheRecord, DropRecord, DropsRecord};
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
