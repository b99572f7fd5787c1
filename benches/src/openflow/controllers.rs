//! A hundred controllers: what they cost while they are idle, and what it costs the one that changes rules if
//! each of the others has a flow monitor and reads what the monitor tells.

use super::{Client, PeerKind, Plan, Running, flow_mods};
use crate::forwarding::processes;
use crate::generate::RuleSet;
use crate::report::{Better, Goal, Report, Table};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use openflow::{FlowMonitor, MonitorCommand, MonitorFlags, MultipartRequest, OfMessage};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The number of controllers.
const CONTROLLERS: usize = 100;
/// The rules that are added beside the controllers.
const RULES: usize = 50_000;
/// The share of the rate of flow mods that is left beside a hundred monitors.
const KEPT: f64 = 0.8;

/// Measures a hundred controllers.
///
/// # Errors
/// A switch refuses a connection or a monitor.
pub(super) fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<Vec<Goal>> {
    let mut set = flow_mods::rules(plan)?;
    set.rules.truncate(RULES);
    let about = format!("{CONTROLLERS} controllers beside one that adds {} rules", set.rules.len());
    let mut table = Table::new("controllers", &about);
    let memory = table.column("memory, idle", "KiB each", Better::Lower);
    let cpu = table.column("CPU, idle", "% of a core", Better::Lower);
    let alone = table.column("alone", "k rules/s", Better::Higher);
    let idle = table.column("beside idle", "k rules/s", Better::Higher);
    let watched = table.column("beside monitors", "k rules/s", Better::Higher);
    let kept = table.column("kept", "%", Better::Higher);
    let running = Running::start(plan, &mut table, alone)?;
    let bytes = flow_mods::plain(&set);
    running.each(plan, "controllers", |peer, row| {
        let mut changing = peer.connect()?;
        let alone_rate = rate(&mut changing, &set, &bytes)?;
        table.record(row, alone, alone_rate);
        peer.rest()?;
        let pid = [peer.pid()?];
        let before = processes::memory(&pid)?;
        let mut others = (0..CONTROLLERS).map(|_| peer.connect()).collect::<Result<Vec<_>, _>>()?;
        others.iter_mut().try_for_each(Client::barrier)?;
        let grown = processes::memory(&pid)?.saturating_sub(before);
        table.record(row, memory, grown as f64 / 1024.0 / CONTROLLERS as f64);
        let (start, used) = (Instant::now(), processes::cpu_time(&pid)?);
        std::thread::sleep(plan.duration);
        let used = processes::cpu_time(&pid)? - used;
        table.record(row, cpu, used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0);
        table.record(row, idle, rate(&mut changing, &set, &bytes)?);
        peer.rest()?;
        others.iter_mut().try_for_each(watch)?;
        let is_over = AtomicBool::new(false);
        let watched_rate = std::thread::scope(|scope| {
            scope.spawn(|| read_until(&mut others, &is_over));
            let rate = rate(&mut changing, &set, &bytes);
            is_over.store(true, Ordering::Relaxed);
            rate
        })?;
        table.record(row, watched, watched_rate);
        table.record(row, kept, watched_rate / alone_rate * 100.0);
        drop(others);
        peer.rest()
    })?;
    let ours = running.row(PeerKind::Switchd).and_then(|row| table.median(row, kept));
    let share = ours.map(|percent| percent / 100.0);
    let goals = vec![Goal::at_least("flow mods kept beside 100 flow monitors", share, KEPT)];
    report.add(table);
    Ok(goals)
}

/// Adds the rules of a set, and deletes them. Returns how many thousand were added a second.
fn rate(client: &mut Client, set: &RuleSet, bytes: &[u8]) -> anyhow::Result<f64> {
    let start = Instant::now();
    client.send_bytes(bytes)?;
    client.barrier()?;
    let rate = set.rules.len() as f64 / start.elapsed().as_secs_f64() / 1e3;
    client.send(&flow_mods::delete_all())?;
    client.barrier()?;
    Ok(rate)
}

/// Begins a flow monitor of every change, with actions, but without the rules that there are.
fn watch(client: &mut Client) -> anyhow::Result<()> {
    let flags = MonitorFlags {
        initial: false,
        add: true,
        removed: true,
        modify: true,
        instructions: true,
        no_abbrev: false,
        own: true,
    };
    let filter = Box::new(flow_mods::every_rule());
    let monitor = FlowMonitor { id: 1, command: MonitorCommand::Add, flags, filter };
    let request = MultipartRequest::FlowMonitor(vec![monitor]);
    let xid = client.send(&OfMessage::MultipartRequest(request))?;
    client.until_reply(xid, |_| {})
}

/// Reads and drops what the controllers are told.
fn read_until(clients: &mut [Client], is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let mut fds: Vec<_> =
            clients.iter().map(|client| PollFd::new(client.as_fd(), PollFlags::POLLIN)).collect();
        const STEP: Duration = Duration::from_millis(20);
        if poll(&mut fds, PollTimeout::try_from(STEP).unwrap_or(PollTimeout::ZERO)).is_err() {
            continue;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any() == Some(true)).collect();
        for (client, _) in clients.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready) {
            client.drop_some();
        }
    }
}
