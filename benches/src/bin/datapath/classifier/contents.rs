//! What a classifier is filled with, the packets that look for it, and what they should find.

use super::noise::shuffle;
use benches::classbench::{Filter, Header, Set};
use benches::generate::{Family, RuleSet};
use flow::{Match, PipelineKey};
use std::collections::HashMap;

/// How many packets are made for a set that has no trace of its own.
const PACKETS: usize = 20_000;
/// Rules that packets are compared with by linear search, about, of a made set: it costs some seconds.
const COMPARISONS: usize = 50_000_000;
/// Filters of ClassBench are compared faster.
const FILTER_COMPARISONS: usize = 2_000_000_000;

/// The rules of one set, and packets to look up among them.
pub(super) struct Contents {
    /// The name of the set: `acl1_1000`.
    pub(super) name: String,
    /// Priorities and rules, in the order in which they are inserted. The rules of one entry, a filter
    /// with port ranges, come and go together, and no packet matches two of them.
    pub(super) entries: Vec<(u16, Vec<Match>)>,
    /// The packets, as keys, in the order in which they are looked up.
    pub(super) keys: Vec<PipelineKey>,
    source: Source,
    /// How many of the packets are compared with linear search.
    compared: usize,
}

/// What the rules were made of: an oracle that does not know masks, where there is one.
enum Source {
    Filters(Vec<Filter>, Vec<Header>),
    Rules,
}

impl Contents {
    /// A ClassBench set; `all` of its trace is compared with linear search, or a part.
    pub(super) fn of_set(set: Set, all: bool) -> Self {
        let entries = (0..set.filters.len()).map(|n| (set.priority(n), set.filters[n].rules()));
        let fitting = FILTER_COMPARISONS / set.filters.len().max(1);
        Self {
            entries: entries.collect(),
            keys: set.trace.iter().map(Header::key).collect(),
            compared: if all { set.trace.len() } else { fitting.min(set.trace.len()) },
            name: set.name,
            source: Source::Filters(set.filters, set.trace),
        }
    }

    /// A set of a family.
    pub(super) fn generate(family: Family, size: usize) -> Self {
        let set = RuleSet::generate(family, size);
        let keys = set.keys(PACKETS);
        Self {
            compared: (COMPARISONS / set.rules.len().max(1)).min(keys.len()),
            entries: set.rules.into_iter().map(|(priority, m)| (priority, vec![m])).collect(),
            keys,
            name: set.name,
            source: Source::Rules,
        }
    }

    /// The packets in any order.
    pub(super) fn shuffled_keys(&self) -> Vec<PipelineKey> {
        let mut keys = self.keys.clone();
        shuffle(&mut keys, 1);
        keys
    }

    /// All rules look at IPv4 addresses, ports and protocols, and nothing else.
    pub(super) fn is_of_ip(&self) -> bool {
        matches!(self.source, Source::Filters(..))
    }

    /// How many of the packets, the first ones, have an answer to compare with.
    pub(super) fn compared_len(&self) -> usize {
        self.compared
    }

    /// The entry that each of the compared packets should get. `order` has the best one first.
    pub(super) fn linear_search(&self, order: &[u32]) -> Vec<Option<u32>> {
        match &self.source {
            Source::Filters(filters, trace) => {
                let filters: Vec<Filter> = order.iter().map(|&n| filters[n as usize]).collect();
                // Traces repeat their headers.
                let mut known = HashMap::new();
                let mut find = |header: &Header| {
                    *known
                        .entry(*header)
                        .or_insert_with(|| filters.iter().position(|filter| filter.matches(header)))
                };
                trace[..self.compared].iter().map(|h| find(h).map(|place| order[place])).collect()
            }
            Source::Rules => {
                let rules: Vec<Match> =
                    order.iter().flat_map(|&n| &self.entries[n as usize].1).copied().collect();
                let find = |key: &PipelineKey| rules.iter().position(|rule| rule.matches(key));
                let keys = self.keys[..self.compared].iter();
                keys.map(|key| find(key).map(|place| order[place])).collect()
            }
        }
    }
}
