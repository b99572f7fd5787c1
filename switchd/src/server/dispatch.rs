//! From a request to what it does.

use super::monitor::Watch;
use super::session::Sender;
use super::{cached_flows, fdb, flow_dump, flow_mods, groups, packet_out, ports, status, trace};
use crate::switch::Switch;
use control::stream::StreamError;
use control::{MonitorQuery, Operation, Reason, Refusal, Reply, Request};
use flowtable::policy::Bridge;

/// A request that was not carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is told why, and the session goes on.
    Refused(Box<Refusal>),
    /// The client is gone.
    Stream(StreamError),
}

impl From<Box<Refusal>> for Failure {
    fn from(refusal: Box<Refusal>) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

/// Carries out a request. `text` came with it; what it streams goes to `to`.
pub(super) fn carry_out(
    switch: &Switch,
    request: &Request,
    text: &[u8],
    to: &mut Sender<'_>,
) -> Result<Result<Reply, Box<Refusal>>, StreamError> {
    if let Err(refusal) = bridge(switch, request) {
        return Ok(Err(refusal));
    }
    match dispatch(switch, &request.operation, text, to) {
        Ok(reply) => Ok(Ok(reply)),
        Err(Failure::Refused(refusal)) => Ok(Err(refusal)),
        Err(Failure::Stream(error)) => Err(error),
    }
}

/// Begins to watch the bridge that the request names, or all.
pub(super) fn monitor<'a>(
    switch: &'a Switch,
    request: &'a Request,
    query: &'a MonitorQuery,
) -> Result<Watch<'a>, Box<Refusal>> {
    let bridge = request.bridge.as_ref().map(|_| bridge(switch, request)).transpose()?;
    Watch::new(switch, bridge, query)
}

/// The bridge that a request is about: the one that it names, or the only one.
fn bridge<'a>(switch: &'a Switch, request: &Request) -> Result<Bridge<'a>, Box<Refusal>> {
    let policy = switch.policy();
    let bridges = policy.bridges();
    let known = || bridges.iter().map(|(_, name)| &**name).collect::<Vec<_>>().join(", ");
    match (request.bridge.as_deref(), &bridges[..]) {
        (Some(name), _) => policy.find_bridge(name).ok_or_else(|| {
            let message = format!("there is no bridge \"{name}\"");
            let hint = format!("this switch has {}", known());
            Box::new(Refusal::new(Reason::NotFound, message).with_hint(hint))
        }),
        (None, [(only, _)]) => Ok(policy.bridge(*only)),
        (None, []) => {
            let refusal = Refusal::new(Reason::NotFound, "this switch has no bridge");
            Err(Box::new(refusal.with_hint("add one with add-br")))
        }
        (None, _) => {
            let message = "the switch has several bridges: name one of them";
            let hint = format!("this switch has {}", known());
            Err(Box::new(Refusal::new(Reason::NotFound, message).with_hint(hint)))
        }
    }
}

fn dispatch(
    switch: &Switch,
    operation: &Operation,
    text: &[u8],
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    Ok(match operation {
        Operation::FlowMods(mods) => flow_mods::change(switch, mods, text)?,
        Operation::ReplaceFlows(mods) => flow_mods::replace(switch, mods, text)?,
        Operation::DumpFlows(query) => flow_dump::dump(switch, query, to)?,
        Operation::DumpAggregate(query) => flow_dump::aggregate(switch, query)?,
        Operation::DumpTables => status::tables(switch),

        Operation::GroupMods(mods) => groups::change(switch, mods, text)?,
        Operation::DumpGroups(query) => groups::dump(switch, query, to)?,
        Operation::DumpGroupStats(query) => groups::dump_stats(switch, query, to)?,

        Operation::PacketOut(request) => packet_out::send(switch, request)?,

        Operation::Show => status::show(switch),
        Operation::DumpPorts { port } => ports::stats(switch, port.as_deref())?,
        Operation::DumpPortsDesc { port } => ports::describe(switch, port.as_deref())?,
        Operation::AddPort { spec } => ports::add(switch, spec)?,
        Operation::DelPort { port } => ports::remove(switch, port)?,
        Operation::SetPort { port, settings } => ports::set(switch, port, settings)?,
        Operation::ModPort { port, flag, on } => ports::modify(switch, port, *flag, *on)?,

        Operation::FdbShow => fdb::show(switch, to)?,
        Operation::FdbFlush { port } => fdb::flush(switch, port.as_deref())?,
        Operation::FdbAdd { port, vlan, mac } => fdb::add(switch, port, *vlan, mac)?,
        Operation::FdbDel { vlan, mac } => fdb::remove(switch, *vlan, mac)?,
        Operation::FdbConfigure { ageing, entries } => fdb::configure(switch, *ageing, *entries)?,
        Operation::FdbStats => fdb::stats(switch),

        Operation::CacheShow => status::caches(switch),
        Operation::DumpCachedFlows(query) => cached_flows::dump(switch, query, to)?,
        Operation::Drops => status::drops(switch),
        Operation::Trace(query) => trace::trace(switch, query)?,
        Operation::Workers => status::workers(switch),
        Operation::Sync => {
            switch.sync_stats();
            Reply::Done
        }
        other => {
            let message = format!("this switch has no \"{}\"", other.name());
            return Err(Failure::Refused(Box::new(Refusal::new(Reason::Protocol, message))));
        }
    })
}
