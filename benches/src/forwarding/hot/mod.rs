//! The kernel cache where it is not alone: beside attacks and changes, with many ports and flows, and for
//! frames that it does not forward.
//!
//! Each part builds its own networks, so that those of the others take nothing of the machine's time.

mod attacks;
mod changes;
mod many;
mod misses;

use super::Plan;
use crate::report::{Goal, Report};
use anyhow::{Context, bail};
use control::record::{CacheRecord, KernelCacheRecord};
use control::{Client, Operation, Reply};
use flow::metric::CacheMetric;

/// Measures everything, adds the tables to the report, and returns the goals.
///
/// # Errors
/// There is no kernel cache here, or nothing gets through the switch.
pub fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<Vec<Goal>> {
    let mut goals = Vec::new();
    for part in [misses::measure, changes::measure, many::measure, attacks::measure] {
        let (table, more) = part(plan)?;
        report.add(table);
        goals.extend(more);
    }
    Ok(goals)
}

fn caches(client: &mut Client) -> anyhow::Result<CacheRecord> {
    match client.ask(Operation::CacheShow)? {
        Reply::Cache(caches) => Ok(caches),
        other => bail!("no caches: {other:?}"),
    }
}

fn kernel(client: &mut Client) -> anyhow::Result<KernelCacheRecord> {
    caches(client)?.kernel.context("there is no kernel cache")
}

/// Frames that workers have looked up so far.
fn looked_up(client: &mut Client) -> anyhow::Result<u64> {
    let looked_up = [CacheMetric::Hits, CacheMetric::ProbeHits, CacheMetric::Misses];
    let workers = caches(client)?.workers;
    Ok(workers.iter().flat_map(|worker| looked_up.map(|metric| worker[metric])).sum())
}
