//! Follows a packet through the tables and says in words what happens to it.
//!
//! Nothing is sent, learned or counted: translation has no side effects.

mod hosts;
mod packet;
mod rivals;
mod words;

use super::names::{port_names, shown};
use crate::switch::OnBridge;
use control::{Refusal, Reply, TraceQuery};
use flow::text::PrintOptions;
use flowtable::trace::walk;
use words::Words;

/// Traces the packet that the query means.
pub(super) fn trace(switch: &OnBridge<'_>, query: &TraceQuery) -> Result<Reply, Box<Refusal>> {
    let policy = switch.policy();
    let table = port_names(switch.bridge());
    let (in_port, frame) = packet::meant(switch, query, &table)?;
    let passes = walk(policy, in_port, &frame, switch.vlan_limit());
    let names = shown(&table, query.names);
    let options = PrintOptions { version: query.version, ports: &names, ..PrintOptions::default() };
    let words = Words::new(switch, &passes, options, query.explain);
    Ok(Reply::Trace(words.record(&passes)))
}
