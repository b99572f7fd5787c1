//! How fast the classifier finds rules, and how few bits its masks keep, on ClassBench sets.
//!
//! ```text
//! cargo run --release -p benches --bin classifier -- DIR [SET ...]
//! ```
//!
//! One thread, no cache in front, rules expanded to masks, medians of several runs by the time on the
//! core. Every answer of a trace is compared with a linear search over the filters, and with the
//! answer for other bits where its mask has none, after building and after deleting and inserting a
//! tenth of the filters again several times. "Groups" and "churned" say what that left behind.

use benches::classbench::{Filter, Header, Set};
use benches::cpu_time::{CpuTimer, median};
use flowtable::classifier::{Classifier, RuleId, Version};
use flowtable::flow::{PipelineKey, PipelineMask};
use std::collections::HashMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

/// Runs of which the median is quoted, and how long one is at least.
const RUNS: usize = 5;
const RUN: Duration = Duration::from_millis(300);
/// Times a tenth of the filters is deleted and inserted again.
const CHURNS: usize = 4;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let Some(dir) = args.next().map(PathBuf::from) else {
        eprintln!("usage: classifier DIR [SET ...]");
        std::process::exit(2);
    };
    let mut sets: Vec<String> = args.collect();
    if sets.is_empty() {
        for family in ["acl1", "fw1", "ipc1"] {
            sets.extend([1000, 10_000, 100_000].map(|size| format!("{family}_{size}")));
        }
    }
    println!(
        "{:<12} {:>7} {:>6} | {:>6} {:>8} {:>8} | {:>6} | {:>26} | {:>7} {:>7} {:>7} | wrong",
        "set",
        "rules",
        "groups",
        "trace",
        "shuffled",
        "churned",
        "B/rule",
        "src/dst/sport/dport/proto",
        "build",
        "remove",
        "insert"
    );
    println!(
        "{:<12} {:>7} {:>6} | {:>24} | {:>6} | {:>26} | {:>23} |",
        "", "", "", "M lookups/s", "", "mean mask bits", "M rules/s"
    );
    for name in sets {
        measure(&Set::load(&dir, &name)?);
    }
    Ok(())
}

/// The table under test, and what it holds.
struct Table<'a> {
    set: &'a Set,
    classifier: Classifier<u32>,
    version: Version,
    /// For each filter, its rules and when it was inserted last.
    filters: Vec<(Vec<RuleId>, u64)>,
    inserted: u64,
}

fn measure(set: &Set) {
    let mut table = Table::new(set);
    let (build, rules) = table.build();
    let groups = table.classifier.groups_len();
    let keys: Vec<PipelineKey> = set.trace.iter().map(Header::key).collect();
    let mut shuffled = keys.clone();
    shuffle(&mut shuffled, 1);
    let expected = table.oracle();
    let mut wrong = table.wrong(&expected);
    let in_order = table.lookups(&keys);
    let in_disorder = table.lookups(&shuffled);
    let size = table.classifier.heap_size() as f64 / rules as f64;
    let bits = table.mean_bits(&keys);
    let (mut removes, mut inserts) = (Vec::new(), Vec::new());
    for round in 0..CHURNS {
        let (remove, insert) = table.churn(round as u64);
        removes.push(remove);
        inserts.push(insert);
    }
    wrong += table.wrong(&table.oracle());
    let churned = table.lookups(&keys);
    println!(
        "{:<12} {:>7} {:>3}/{:>2} | {:>6.2} {:>8.2} {:>8.2} | {:>6.0} | {:>26} | {:>7.2} {:>7.2} {:>7.2} | {}",
        set.name,
        rules,
        groups,
        table.classifier.groups_len(),
        in_order,
        in_disorder,
        churned,
        size,
        bits,
        build,
        median(removes),
        median(inserts),
        wrong
    );
}

impl<'a> Table<'a> {
    fn new(set: &'a Set) -> Self {
        let filters = vec![(Vec::new(), 0); set.filters.len()];
        Self { set, classifier: Classifier::new(42), version: Version(1), filters, inserted: 0 }
    }

    /// Inserts all filters. Returns million rules per second, and the number of rules.
    fn build(&mut self) -> (f64, usize) {
        let all: Vec<u32> = (0..self.set.filters.len() as u32).collect();
        let rate = self.insert(&all);
        while !self.classifier.settle(1000) {}
        (rate, self.classifier.len())
    }

    fn insert(&mut self, filters: &[u32]) -> f64 {
        let rules: Vec<_> =
            filters.iter().map(|&f| (f, self.set.filters[f as usize].rules())).collect();
        let count: usize = rules.iter().map(|(_, rules)| rules.len()).sum();
        let time = cpu_time(|| {
            for (f, rules) in &rules {
                let priority = self.set.priority(*f as usize);
                let (ids, order) = &mut self.filters[*f as usize];
                ids.clear();
                for m in rules {
                    ids.push(self.classifier.insert(m, priority, self.version, *f));
                }
                *order = self.inserted;
                self.inserted += 1;
            }
        });
        count as f64 / time.as_secs_f64() / 1e6
    }

    /// Deletes a tenth of the filters and inserts them again. Returns the rates of both.
    fn churn(&mut self, round: u64) -> (f64, f64) {
        let mut filters: Vec<u32> = (0..self.set.filters.len() as u32).collect();
        shuffle(&mut filters, 7 + round);
        filters.truncate(filters.len().div_ceil(10));
        let gone = self.version.next();
        let mut count = 0;
        let mut freed = Vec::new();
        let time = cpu_time(|| {
            for &f in &filters {
                for &id in &self.filters[f as usize].0 {
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
        (remove, self.insert(&filters))
    }

    /// The filter that each header of the trace gets, by linear search.
    fn oracle(&self) -> Vec<Option<u32>> {
        let mut order: Vec<usize> = (0..self.set.filters.len()).collect();
        order.sort_by_key(|&f| (std::cmp::Reverse(self.set.priority(f)), self.filters[f].1));
        let filters: Vec<(usize, Filter)> =
            order.into_iter().map(|f| (f, self.set.filters[f])).collect();
        let mut known: HashMap<Header, Option<u32>> = HashMap::new();
        let find = |h: &Header| filters.iter().find(|(_, f)| f.matches(h)).map(|(f, _)| *f as u32);
        self.set.trace.iter().map(|h| *known.entry(*h).or_insert_with(|| find(h))).collect()
    }

    /// Headers of the trace that get another answer than expected, or that do with other bits where
    /// the mask has none.
    fn wrong(&self, expected: &[Option<u32>]) -> usize {
        let mut noise = 1;
        let answers = self.set.trace.iter().map(|h| {
            let mut mask = PipelineMask::default();
            let mut key = h.key();
            let answer = self.classifier.lookup(&key, self.version, &mut mask).copied();
            for (word, mask) in key.words_mut().iter_mut().zip(mask.words()) {
                *word ^= xorshift(&mut noise) & !mask;
            }
            let twin = self.classifier.lookup(&key, self.version, &mut mask).copied();
            answer.filter(|_| answer == twin)
        });
        answers.zip(expected).filter(|(answer, expected)| answer != *expected).count()
    }

    /// Million lookups per second, each with a fresh mask.
    fn lookups(&self, keys: &[PipelineKey]) -> f64 {
        let rates = (0..RUNS).map(|_| {
            let (mut done, mut time) = (0, Duration::ZERO);
            while time < RUN {
                time += cpu_time(|| {
                    for key in keys {
                        let mut mask = PipelineMask::default();
                        black_box(self.classifier.lookup(key, self.version, &mut mask));
                        black_box(&mask);
                    }
                });
                done += keys.len();
            }
            done as f64 / time.as_secs_f64() / 1e6
        });
        median(rates.collect())
    }

    fn mean_bits(&self, keys: &[PipelineKey]) -> String {
        let mut sum = [0u64; 5];
        for key in keys {
            let mut mask = PipelineMask::default();
            self.classifier.lookup(key, self.version, &mut mask);
            let flow = &mask.flow;
            let ports = [flow.tp_src, flow.tp_dst].map(|p| u64::from(p.get().count_ones()));
            let addrs = [flow.nw_src(), flow.nw_dst()].map(|a| u64::from(a.count_ones()));
            let proto = u64::from(flow.nw_proto.count_ones());
            let bits = [addrs[0], addrs[1], ports[0], ports[1], proto];
            sum.iter_mut().zip(bits).for_each(|(sum, bits)| *sum += bits);
        }
        sum.map(|sum| format!("{:.1}", sum as f64 / keys.len() as f64)).join("/")
    }
}

fn cpu_time(work: impl FnOnce()) -> Duration {
    let timer = CpuTimer::start();
    work();
    timer.elapsed()
}

/// Fisher-Yates.
fn shuffle<E>(list: &mut [E], seed: u64) {
    let mut noise = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for last in (1..list.len()).rev() {
        list.swap(last, xorshift(&mut noise) as usize % (last + 1));
    }
}

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
