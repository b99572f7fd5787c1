//! What the caches of the workers did, as the table of metrics says it.

use flow::metric::{CacheCounts, CacheMetric, MetricKind};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;

/// The counts of the workers' caches.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CacheRecord {
    /// How many flows all workers together have cached now.
    pub flows: u64,
    /// The counts of each worker, in the order of the workers' numbers. In JSON each is an object with the name
    /// of every [`CacheMetric`]; a [flag](MetricKind::Flag) is `true` or `false`. A name that is missing counts
    /// as 0, an unknown one is passed over, so that peers of different versions understand each other.
    #[serde(with = "list")]
    pub workers: Vec<CacheCounts>,
    /// What the kernel cache has and did; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelCacheRecord>,
    /// Why there is no kernel cache; `None` if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_off: Option<String>,
}

/// What the kernel cache has, and what it did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KernelCacheRecord {
    /// How many flows are in the kernel.
    pub flows: u64,
    /// How many flows there is room for.
    pub max_flows: u64,
    /// Under how many masks frames are looked up.
    pub masks: u64,
    /// How many frames the kernel has forwarded or dropped.
    pub hits: u64,
    /// How many flows were put into the kernel.
    pub installs: u64,
    /// How many flows were idle, or given up by their worker, and were taken out.
    pub evictions: u64,
    /// How many times a flow found no room.
    pub no_room: u64,
    /// How many frames came whose mark another program on the port had overwritten.
    pub unmarked: u64,
    /// How many copies of frames the switch had the kernel send to several ports with one system call.
    #[serde(default)]
    pub flood_copies: u64,
}

/// The counts of several workers as JSON.
mod list {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        workers: &[CacheCounts],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(workers.iter().map(Named))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<CacheCounts>, D::Error> {
        let workers = Vec::<Named<CacheCounts>>::deserialize(deserializer)?;
        Ok(workers.into_iter().map(|Named(counts)| counts).collect())
    }
}

/// The counts of one worker as JSON.
struct Named<C>(C);

impl Serialize for Named<&CacheCounts> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(CacheMetric::COUNT))?;
        for (metric, value) in self.0.iter() {
            match metric.kind() {
                MetricKind::Flag => map.serialize_entry(metric.name(), &(value != 0))?,
                _ => map.serialize_entry(metric.name(), &value)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Named<CacheCounts> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor)
    }
}

struct NamedVisitor;

impl<'de> Visitor<'de> for NamedVisitor {
    type Value = Named<CacheCounts>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the counts of a worker's caches by name")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut counts = CacheCounts::default();
        while let Some(name) = map.next_key::<String>()? {
            match CacheMetric::of_name(&name) {
                Some(metric) if metric.kind() == MetricKind::Flag => {
                    counts[metric] = map.next_value::<bool>()?.into();
                }
                Some(metric) => counts[metric] = map.next_value()?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Named(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_every_metric_by_its_name_and_in_order() {
        let counts = CacheCounts::from_fn(|metric| match metric {
            CacheMetric::Protecting => 1,
            metric => metric as u64 * 10,
        });
        let record = CacheRecord {
            flows: 70,
            workers: vec![counts, CacheCounts::default()],
            ..CacheRecord::default()
        };
        let json = serde_json::to_string(&record).unwrap();
        let first = "{\"hits\":0,\"probe_hits\":10,\"misses\":20,\"refused\":30,\"signatures\":40,\
            \"admissions\":50,\"signature_evictions\":60,\"flows\":70,\"max_flows\":80,\
            \"evictions\":90,\"masks\":100,\"active_masks\":110,\"restamps\":120,\
            \"retranslations\":130,\"revalidated\":140,\"learned\":150,\"learning_refused\":160,\
            \"budget_rate\":170,\"budget_burst\":180,\"budget_used\":190,\"protecting\":true}";
        assert!(json.starts_with(&format!("{{\"flows\":70,\"workers\":[{first},")), "{json}");
        assert_eq!(serde_json::from_str::<CacheRecord>(&json).unwrap(), record);
    }

    #[test]
    fn peers_of_other_versions_are_understood() {
        let read = |workers: &str| {
            let json = format!("{{\"flows\":1,\"workers\":{workers}}}");
            serde_json::from_str::<CacheRecord>(&json).map(|record| record.workers)
        };
        let mut expected = CacheCounts::default();
        expected[CacheMetric::Misses] = 3;
        assert_eq!(read("[{\"misses\":3,\"later\":{\"a\":[1]}}]").unwrap(), [expected]);
        for bad in ["[{\"misses\":true}]", "[{\"protecting\":1}]", "[7]"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
