//! A classifier under test, and what is measured of it.

use super::contents::Contents;
use super::noise::{shuffle, xorshift};
use benches::cpu_time::CpuTimer;
use flow::{PipelineKey, PipelineMask};
use flowtable::classifier::{Classifier, RuleId, Version};
use std::cmp::Reverse;
use std::hint::black_box;
use std::time::Duration;

/// Lookups between two looks at the clock.
const LOOKUPS: usize = 256;

/// The classifier, and what it holds.
pub(super) struct Classified<'a> {
    contents: &'a Contents,
    classifier: Classifier<u32>,
    version: Version,
    /// For each entry, its rules and when it was inserted last.
    entries: Vec<(Vec<RuleId>, u64)>,
    inserted: u64,
}

impl<'a> Classified<'a> {
    /// A classifier without rules, to be filled with `contents`.
    pub(super) fn new(contents: &'a Contents) -> Self {
        let entries = vec![(Vec::new(), 0); contents.entries.len()];
        Self {
            contents,
            classifier: Classifier::new(42),
            version: Version(1),
            entries,
            inserted: 0,
        }
    }

    /// How many rules it holds.
    pub(super) fn len(&self) -> usize {
        self.classifier.len()
    }

    /// The number of subtables, each of which costs a probe.
    pub(super) fn subtables_len(&self) -> usize {
        self.classifier.subtables_len()
    }

    /// Bytes that it occupies on the heap.
    pub(super) fn heap_size(&self) -> usize {
        self.classifier.heap_size()
    }

    /// Inserts everything. Returns million rules per second.
    pub(super) fn build(&mut self) -> f64 {
        let all: Vec<u32> = (0..self.contents.entries.len() as u32).collect();
        let rate = self.insert(&all);
        while !self.classifier.settle(1000) {}
        rate
    }

    fn insert(&mut self, entries: &[u32]) -> f64 {
        let mut count = 0;
        let time = cpu_time(|| {
            for &n in entries {
                let (priority, rules) = &self.contents.entries[n as usize];
                let (ids, order) = &mut self.entries[n as usize];
                ids.clear();
                for m in rules {
                    ids.push(self.classifier.insert(m, *priority, self.version, n));
                }
                count += rules.len();
                *order = self.inserted;
                self.inserted += 1;
            }
        });
        count as f64 / time.as_secs_f64() / 1e6
    }

    /// Deletes a tenth of the entries and inserts them again. Returns the rates of both.
    pub(super) fn churn(&mut self, round: u64) -> (f64, f64) {
        let mut entries: Vec<u32> = (0..self.contents.entries.len() as u32).collect();
        shuffle(&mut entries, 7 + round);
        entries.truncate(entries.len().div_ceil(10));
        let gone = self.version.next();
        let mut count = 0;
        let mut freed = Vec::new();
        let time = cpu_time(|| {
            for &n in &entries {
                for &id in &self.entries[n as usize].0 {
                    self.classifier.remove(id, gone);
                    count += 1;
                }
            }
            self.version = gone;
            self.classifier.purge(gone, usize::MAX, &mut freed);
        });
        assert_eq!(freed.len(), count, "every removed rule is handed back");
        self.version = self.version.next();
        let remove = count as f64 / time.as_secs_f64() / 1e6;
        (remove, self.insert(&entries))
    }

    /// Packets that get another answer than by linear search, or that do with other bits
    /// where the mask has none.
    pub(super) fn wrong(&self) -> usize {
        let contents = self.contents;
        let mut order: Vec<u32> = (0..contents.entries.len() as u32).collect();
        order.sort_by_key(|&n| {
            (Reverse(contents.entries[n as usize].0), self.entries[n as usize].1)
        });
        let expected = contents.linear_search(&order);
        let mut noise = 1;
        let answers = contents.keys.iter().map(|key| {
            let mut mask = PipelineMask::default();
            let answer = self.classifier.lookup(key, self.version, &mut mask).copied();
            let mut twin = *key;
            for (word, mask) in twin.words_mut().iter_mut().zip(mask.words()) {
                *word ^= xorshift(&mut noise) & !mask;
            }
            (answer, self.classifier.lookup(&twin, self.version, &mut mask).copied())
        });
        let is_wrong = |(answers, expected): &((Option<u32>, Option<u32>), Option<u32>)| {
            *answers != (*expected, *expected)
        };
        answers.zip(expected).filter(is_wrong).count()
    }

    /// Million lookups per second, each with a fresh mask.
    pub(super) fn lookups(&self, keys: &[PipelineKey], seconds: f64) -> f64 {
        let (mut done, mut elapsed) = (0, 0.0);
        let timer = CpuTimer::start();
        for some in keys.chunks(LOOKUPS).cycle() {
            for key in some {
                let mut mask = PipelineMask::default();
                black_box(self.classifier.lookup(key, self.version, &mut mask));
                black_box(&mask);
            }
            done += some.len();
            elapsed = timer.elapsed().as_secs_f64();
            if elapsed >= seconds {
                break;
            }
        }
        done as f64 / elapsed / 1e6
    }

    /// Bits of the masks, on average: of all fields, and of source, destination, their ports, protocol.
    pub(super) fn mean_bits(&self, keys: &[PipelineKey]) -> (f64, [f64; 5]) {
        let (mut all, mut sum) = (0u64, [0u64; 5]);
        for key in keys {
            let mut mask = PipelineMask::default();
            self.classifier.lookup(key, self.version, &mut mask);
            all += mask.words().iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
            let flow = &mask.bits.headers;
            let ports = [flow.tp_src, flow.tp_dst].map(|p| u64::from(p.get().count_ones()));
            let addrs = [flow.nw_src(), flow.nw_dst()].map(|a| u64::from(a.count_ones()));
            let proto = u64::from(flow.nw_proto.count_ones());
            let bits = [addrs[0], addrs[1], ports[0], ports[1], proto];
            sum.iter_mut().zip(bits).for_each(|(sum, bits)| *sum += bits);
        }
        let mean = |sum| sum as f64 / keys.len() as f64;
        (mean(all), sum.map(mean))
    }
}

fn cpu_time(work: impl FnOnce()) -> Duration {
    let timer = CpuTimer::start();
    work();
    timer.elapsed()
}
