//! What the switch counts and measures of itself: each number once, with its name, its kind and a sentence.
//!
//! A table of metrics is an enum, and the values of a worker are a list with one place for each variant. The
//! worker that counts, the reply that carries the values, and the text and JSON that show them look into the
//! same table, so that a metric is added in one line of it.
//!
//! Names are lower case with underscores, and say what is counted; a name ends in `_seconds` or `_bytes` if the
//! metric is a time or a size. Prometheus takes them behind a prefix for the table (`switchd_cache_`), and
//! `_total` behind the names of counters.

#[macro_use]
mod table;

mod cache;

pub use cache::{CacheCounts, CacheMetric};

/// What the value of a metric is, which decides how those of several workers make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Events since the start: the value never becomes smaller. Those of several workers are added.
    Counter,
    /// How much there is now. The values of several workers are added.
    Gauge,
    /// What somebody has set, for each worker alike. Of several values the largest counts.
    Setting,
    /// Whether something is the case now: 1 or 0, `true` or `false` in JSON. Of several workers one is enough.
    Flag,
}

impl MetricKind {
    /// The value for two workers, or two groups of workers, from the values of each.
    pub fn join(self, a: u64, b: u64) -> u64 {
        match self {
            Self::Counter | Self::Gauge => a.wrapping_add(b),
            Self::Setting | Self::Flag => a.max(b),
        }
    }
}
