//! What is counted of the caches of a worker.

metrics! {
    /// A number about the caches of a worker. Each packet that a worker receives, and each that comes back for
    /// another pass, is in one of the first four.
    enum CacheMetric;
    /// The values of every [`CacheMetric`], of one worker or several.
    struct CacheCounts;

    Hits "hits" Counter "packets whose flow was found by their signature";
    ProbeHits "probe_hits" Counter "packets whose flow was found by probing masks";
    Misses "misses" Counter "packets whose flow was not cached, and that were translated";
    Refused "refused" Counter "packets that needed a translation and were dropped, because their port had used up its budget";

    Signatures "signatures" Gauge "signatures that there is room for";
    Admissions "admissions" Counter "signatures that were written";
    SignatureEvictions "signature_evictions" Counter "signatures that were overwritten by those of other flows";

    Flows "flows" Gauge "flows that are cached now";
    MaxFlows "max_flows" Gauge "flows that there is room for";
    Evictions "evictions" Counter "flows that were removed to make room for others";
    Masks "masks" Gauge "different masks that the cached flows have";
    ActiveMasks "active_masks" Gauge "masks that packets are probed with";

    Restamps "restamps" Counter "times that a cached flow was older than a change, and no change concerned the flow";
    Retranslations "retranslations" Counter "times that a cached flow was translated again because of a change";
    Revalidated "revalidated" Counter "times that translating a cached flow again gave the same verdict as before";

    Learned "learned" Counter "rules that the action learn has added or changed";
    LearningRefused "learning_refused" Counter "times that the action learn could not add a rule, because the table has no room for it or another change took long";

    BudgetRate "budget_rate" Setting "translations of new flows that a port may cause in a second while established traffic is protected; 0 is no limit";
    BudgetBurst "budget_burst" Setting "translations of new flows that a port may cause at once, after a time without any";
    BudgetUsed "budget_used" Counter "translations that were paid for from the budgets of ports";
    Protecting "protecting" Flag "whether established traffic is protected now, and the budgets are in force";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::MetricKind;

    #[test]
    fn names_are_those_that_collectors_take_and_differ() {
        for metric in CacheMetric::ALL {
            let name = metric.name();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            // Prometheus adds it itself.
            assert!(!name.ends_with("_total"), "{name}");
            assert_eq!(CacheMetric::of_name(name), Some(*metric));
        }
        assert_eq!(CacheMetric::of_name("hit"), None);
    }

    #[test]
    fn sentences_go_on_behind_a_colon() {
        for metric in CacheMetric::ALL {
            let help = metric.help();
            assert!(help.starts_with(|c: char| c.is_lowercase()), "{help}");
            assert!(!help.ends_with('.') && help.contains(' '), "{help}");
        }
    }

    #[test]
    fn numbers_of_workers_are_added_and_settings_are_not() {
        let one = CacheCounts::from_fn(|metric| metric as u64);
        let both = one.plus(&CacheCounts::from_fn(|_| 1));
        for (metric, value) in both.iter() {
            let expected = match metric.kind() {
                MetricKind::Counter | MetricKind::Gauge => metric as u64 + 1,
                MetricKind::Setting | MetricKind::Flag => (metric as u64).max(1),
            };
            assert_eq!(value, expected, "{}", metric.name());
        }
        assert_eq!(both[CacheMetric::Hits], 1);
        assert_eq!(CacheMetric::Protecting.kind(), MetricKind::Flag);
    }
}
