//! Follows a packet through the tables and says in words what happens to it.

mod request;
mod words;

use super::names::port_names;
use crate::bridge::trace as door;
use crate::switch::OnBridge;
use control::{Refusal, Reply, TraceQuery};
use words::Words;

/// Traces the packet that the query means.
pub(super) fn trace(switch: &OnBridge<'_>, query: &TraceQuery) -> Result<Reply, Box<Refusal>> {
    let table = port_names(switch.bridge());
    let request = request::parse(query, switch.is_lenient(), &table)?;
    let trace = door::trace(*switch, &request)
        .map_err(|error| request::refuse(&error, &request.flow, &table))?;
    Ok(Reply::Trace(Words::new(switch, &trace, query).record()))
}
