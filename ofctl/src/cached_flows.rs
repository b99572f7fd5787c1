//! The verb `dump-cached-flows`: lists the cached flows of the workers, in
//! the notation of `ovs-dpctl dump-flows`.

use crate::Outcome;
use crate::connect::call;
use crate::flows::stream;
use crate::options::{CachedFlows, Options};
use control::{CachedFlowQuery, Format, Operation};

/// Carries out the verb `dump-cached-flows`.
pub(crate) fn dump(options: &Options, arguments: &CachedFlows) -> anyhow::Result<Outcome> {
    let how = &options.how;
    let mut call = call(options, &arguments.words, 0, 1)?;
    let query = CachedFlowQuery {
        filter: call.words.first().cloned().unwrap_or_default(),
        format: if how.json { Format::Json } else { Format::Text },
        names: how.names(),
        why: arguments.why,
    };
    stream(&mut call.client, how, Operation::DumpCachedFlows(query), String::new())
}
