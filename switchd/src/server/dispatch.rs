//! Carries out requests: finds the bridge that a request is about, and the function that does what it asks for.

use super::answer::{Failure, Sender};
use super::monitor::Watch;
use super::progress::Progress;
use super::{
    bfd, bridges, cached_flows, connections, controllers, fdb, flow_dump, flow_mods, groups,
    meters, overlays, packet_out, ports, refuse, saved, status, tables, trace,
};
use crate::switch::{OnBridge, Switch};
use control::stream::StreamError;
use control::{MonitorQuery, Operation, Reason, Refusal, Reply, Request};

/// Carries out a request. `who` is the user who makes it. `text` is the text that came with it, such as a file
/// of rules; steps are counted in `progress`, and lists are written to `to`.
pub(super) fn carry_out(
    switch: &Switch,
    request: &Request,
    who: &str,
    text: &[u8],
    progress: &Progress,
    to: &mut Sender<'_>,
) -> Result<Result<Reply, Box<Refusal>>, StreamError> {
    let passage = needs_gate(&request.operation).then(|| switch.gate().enter()).transpose();
    let _passage = match passage {
        Ok(passage) => passage,
        Err(_) => return Ok(Err(refuse::handed_over())),
    };
    match dispatch(switch, request, who, text, progress, to) {
        Ok(reply) => Ok(kept(switch, &request.operation, progress).map(|()| reply)),
        Err(Failure::Refused(refusal)) => Ok(Err(refusal)),
        Err(Failure::Stream(error)) => Err(error),
    }
}

/// Whether an operation has to wait while another program prepares to take over: it changes something that was
/// handed over, or sends a packet.
fn needs_gate(operation: &Operation) -> bool {
    operation.changes_state()
        || matches!(
            operation,
            Operation::FdbFlush { .. } | Operation::PacketOut(_) | Operation::Confirm
        )
}

/// Waits until what an operation has changed is kept. A slow disk counts as progress:
/// the client goes on waiting.
fn kept(switch: &Switch, operation: &Operation, progress: &Progress) -> Result<(), Box<Refusal>> {
    if !operation.changes_state() {
        return Ok(());
    }
    switch.wait_until_kept_with(&|| progress.step()).map_err(|error| {
        let message = format!("the change is in force, but it could not be kept: {error}");
        let hint = "free the disk: writing is tried again every second";
        Box::new(Refusal::new(Reason::Switch, message).with_hint(hint))
    })
}

/// Begins to watch the bridge that the request names, or all.
pub(super) fn monitor<'a>(
    switch: &'a Switch,
    request: &'a Request,
    query: &'a MonitorQuery,
) -> Result<Watch<'a>, Box<Refusal>> {
    let named = request.bridge.as_deref().map(|name| bridges::find(switch, name)).transpose()?;
    Watch::new(switch, named.map(|bridge| bridge.bridge()), query)
}

/// What is about the whole switch, or about one bridge more than another.
fn dispatch(
    switch: &Switch,
    request: &Request,
    who: &str,
    text: &[u8],
    progress: &Progress,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let named = request.bridge.as_deref().map(|name| bridges::find(switch, name)).transpose()?;
    Ok(match &request.operation {
        Operation::AddBr { name, datapath_id, persist } => {
            bridges::add(switch, name, datapath_id.as_deref(), *persist)?
        }
        Operation::DelBr { name } => bridges::remove(switch, name)?,
        Operation::ListBr => bridges::list(switch),
        Operation::ShowConfig { format } => bridges::show_config(switch, *format, to)?,
        Operation::Save { format } => saved::save(switch, *format, to)?,
        Operation::Plan { query, history } => {
            saved::plan(switch, query, *history, text, progress, to)?
        }
        Operation::Apply { query, confirm } => {
            saved::apply(switch, query, *confirm, who, text, progress, to)?
        }
        Operation::Confirm => saved::confirm(switch)?,
        Operation::Rollback { to: number, format } => {
            saved::roll_back(switch, *number, *format, who, progress, to)?
        }
        Operation::History => saved::history(switch),
        Operation::CacheShow => status::caches(switch),
        Operation::DumpConnections { filter } => connections::dump(switch, *filter, to)?,
        Operation::FlushConnections { filter } => connections::flush(switch, *filter),
        Operation::ConnectionBuckets => connections::buckets(switch),
        Operation::ConnectionLimits => connections::limits(switch),
        Operation::SetConnectionLimits { max, default, zones } => {
            connections::set_limits(switch, *max, *default, zones)
        }
        Operation::ZoneTimeouts => connections::zone_timeouts(switch),
        Operation::AddZoneTimeouts { zone, timeouts, may_exist } => {
            connections::add_zone_timeouts(switch, *zone, timeouts, *may_exist)?
        }
        Operation::DelZoneTimeouts { zone, if_exists } => {
            connections::delete_zone_timeouts(switch, *zone, *if_exists)?
        }
        Operation::ConnectionStats => connections::stats(switch),
        Operation::Workers => status::workers(switch),
        Operation::Log { filter } => status::log(filter.as_deref())?,
        Operation::Drops => {
            let all = || switch.ports();
            status::drops(&named.map_or_else(all, |bridge| bridge.ports()))
        }
        Operation::SetSsl { files } => controllers::set_ssl(switch, files.as_ref())?,
        Operation::GetSsl => controllers::ssl(switch),
        Operation::Sync => {
            switch.settle();
            Reply::Done
        }
        operation => {
            let bridge = named.map_or_else(|| bridges::only(switch), Ok)?;
            on_bridge(&bridge, operation, who, text, progress, to)?
        }
    })
}

/// What is about one bridge.
fn on_bridge(
    switch: &OnBridge<'_>,
    operation: &Operation,
    who: &str,
    text: &[u8],
    progress: &Progress,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    Ok(match operation {
        Operation::FlowMods(mods) => flow_mods::change(switch, mods, text, progress)?,
        Operation::ReplaceFlows(mods) => flow_mods::replace(switch, mods, who, text, progress)?,
        Operation::DumpFlows(query) => flow_dump::dump(switch, query, to)?,
        Operation::DumpAggregate(query) => flow_dump::aggregate(switch, query)?,
        Operation::DumpTables => status::tables(switch),
        Operation::DumpTableDesc => tables::describe(switch),
        Operation::ModTable { table, setting } => tables::modify(switch, table, setting)?,

        Operation::GroupMods(mods) => groups::change(switch, mods, text, progress)?,
        Operation::DumpGroups(query) => groups::dump(switch, query, to)?,
        Operation::DumpGroupStats(query) => groups::dump_stats(switch, query, to)?,
        Operation::MeterMods(mods) => meters::change(switch, mods, text)?,
        Operation::DumpMeters(query) => meters::dump(switch, query, to)?,

        Operation::PacketOut(request) => packet_out::send(switch, request)?,

        Operation::Show => status::show(switch),
        Operation::DumpPorts { port } => ports::stats(switch, port.as_deref())?,
        Operation::DumpPortsDesc { port } => ports::describe(switch, port.as_deref())?,
        Operation::AddPort { spec } => ports::add(switch, spec)?,
        Operation::DelPort { port } => ports::remove(switch, port)?,
        Operation::SetPort { port, settings } => ports::set(switch, port, settings)?,
        Operation::ModPort { port, flag, on } => ports::modify(switch, port, *flag, *on)?,

        Operation::BfdShow { port } => bfd::show(switch, port.as_deref())?,
        Operation::Overlay(request) => overlays::carry_out(switch, request)?,

        Operation::FdbShow => fdb::show(switch, to)?,
        Operation::FdbFlush { port } => fdb::flush(switch, port.as_deref())?,
        Operation::FdbAdd { port, vlan, mac } => fdb::add(switch, port, *vlan, mac)?,
        Operation::FdbDel { vlan, mac } => fdb::remove(switch, *vlan, mac)?,
        Operation::FdbConfigure { ageing, entries } => fdb::configure(switch, *ageing, *entries)?,
        Operation::FdbStats => fdb::stats(switch),

        Operation::SetControllers { controllers } => controllers::set(switch, controllers)?,
        Operation::GetControllers => controllers::list(switch),
        Operation::SetFailMode { mode } => controllers::set_fail_mode(switch, mode.as_deref())?,
        Operation::SetProtocols { versions } => controllers::set_protocols(switch, versions)?,
        Operation::SetFrags(fragments) => bridges::set_fragments(switch, *fragments)?,

        Operation::DumpCachedFlows(query) => cached_flows::dump(switch, query, to)?,
        Operation::Trace(query) => trace::trace(switch, query)?,
        other => {
            let message = format!("this switch has no \"{}\"", other.name());
            return Err(Failure::Refused(Box::new(Refusal::new(Reason::Protocol, message))));
        }
    })
}
