//! A large set of rules: added by flow mods one after the other, added as one bundle, and listed.
//!
//! A rate is rules by wall clock, from the first byte sent to the reply of the barrier, of the commit, or to
//! the last part of the list. The set is deleted between two measurements.

use super::{Client, Peer, PeerKind, Plan, Running, flow_mods};
use crate::forwarding::processes;
use crate::generate::RuleSet;
use crate::report::{Better, ColumnId, Goal, Report, RowId, Table};
use anyhow::ensure;
use openflow::{MultipartRequest, OfMessage};
use std::time::{Duration, Instant};

/// Flow mods a second over one connection.
const PLAIN: f64 = 300.0;
/// Flow mods a second as one bundle.
const BUNDLE: f64 = 250.0;
/// Rules a second of flow statistics.
const STATISTICS: f64 = 500.0;

/// Measures the load of a plan's set.
///
/// # Errors
/// No switch could be measured.
pub(super) fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<Vec<Goal>> {
    let set = flow_mods::rules(plan)?;
    let about = format!("{} rules of {} over one connection", set.rules.len(), set.name);
    let mut table = Table::new("load", &about);
    let unit = "k rules/s";
    let plain = table.column("flow mods", unit, Better::Higher);
    let bundle = table.column("one bundle", unit, Better::Higher);
    let statistics = table.column("statistics", unit, Better::Higher);
    let memory = table.column("for statistics", "KiB", Better::Lower);
    let cpu = table.column("CPU", "µs/flow mod", Better::Lower);
    let columns = Columns { plain, bundle, statistics, memory, cpu };
    let (bytes, bundled) = (flow_mods::plain(&set), flow_mods::bundle(&set));
    let running = Running::start(plan, &mut table, plain)?;
    running.each(plan, "load", |peer, row| {
        columns.record(&mut table, row, peer, &set, &bytes, &bundled)
    })?;
    let of = |kind, column| running.row(kind).and_then(|row| table.median(row, column));
    use PeerKind::{Ovs, Switchd};
    let (ours, theirs) = (of(Switchd, plain), of(Ovs, plain));
    let goals = vec![
        Goal::at_least("thousand flow mods a second", ours, PLAIN),
        Goal::ratio("flow mods, against OVS", ours, 10.0, theirs),
        Goal::ratio("flow mods, against OVS's bundle", ours, 3.0, of(Ovs, bundle)),
        Goal::at_least("thousand flow mods a second in a bundle", of(Switchd, bundle), BUNDLE),
        Goal::at_least(
            "thousand rules a second of statistics",
            of(Switchd, statistics),
            STATISTICS,
        ),
    ];
    report.add(table);
    Ok(goals)
}

struct Columns {
    plain: ColumnId,
    bundle: ColumnId,
    statistics: ColumnId,
    memory: ColumnId,
    /// What the switch's process takes of a processor for a flow mod, which other work
    /// on the machine hardly changes.
    cpu: ColumnId,
}

impl Columns {
    /// Measures everything once.
    fn record(
        &self,
        table: &mut Table,
        row: RowId,
        peer: &Peer,
        set: &RuleSet,
        plain: &[u8],
        bundle: &[u8],
    ) -> anyhow::Result<()> {
        let mut client = peer.connect()?;
        let rate = |time: Duration, rules: usize| rules as f64 / time.as_secs_f64() / 1e3;
        let rules = set.rules.len();
        clear(&mut client, peer)?;
        let start = Instant::now();
        client.send_bytes(bundle)?;
        let xid = client.send(&flow_mods::commit())?;
        client.until_reply(xid, |_| {})?;
        table.record(row, self.bundle, rate(start.elapsed(), rules));
        clear(&mut client, peer)?;
        let pid = peer.pid()?;
        let (start, used) = (Instant::now(), processes::cpu_time(&[pid])?);
        client.send_bytes(plain)?;
        client.barrier()?;
        table.record(row, self.plain, rate(start.elapsed(), rules));
        let used = processes::cpu_time(&[pid])? - used;
        table.record(row, self.cpu, used.as_secs_f64() * 1e6 / rules as f64);
        processes::reset_peak(pid)?;
        let before = processes::peak(pid)?;
        let (start, listed) = (Instant::now(), list(&mut client)?);
        table.record(row, self.statistics, rate(start.elapsed(), listed));
        let grown = processes::peak(pid)?.saturating_sub(before);
        table.record(row, self.memory, grown as f64 / 1024.0);
        ensure!(listed > rules / 2, "{rules} rules were added, {listed} are listed");
        clear(&mut client, peer)
    }
}

/// Deletes every rule, and waits until the switch has freed them.
fn clear(client: &mut Client, peer: &Peer) -> anyhow::Result<()> {
    client.send(&flow_mods::delete_all())?;
    client.barrier()?;
    peer.rest()
}

/// Asks for the statistics of every rule. Returns the number of rules.
fn list(client: &mut Client) -> anyhow::Result<usize> {
    let filter = Box::new(flow_mods::every_rule());
    let request = MultipartRequest::Flow { filter, nxm: false };
    let xid = client.send(&OfMessage::MultipartRequest(request))?;
    let mut rules = 0;
    client.until_reply(xid, |part| rules += entries(part))?;
    Ok(rules)
}

/// The number of entries of a part of a flow statistics reply: each begins with its length in bytes.
fn entries(part: &[u8]) -> usize {
    const HEADERS: usize = 16;
    let mut rest = part.get(HEADERS..).unwrap_or_default();
    let mut count = 0;
    while let Some(len) = rest.first_chunk().map(|len| usize::from(u16::from_be_bytes(*len)))
        && len > 0
        && let Some(behind) = rest.get(len..)
    {
        rest = behind;
        count += 1;
    }
    count
}
