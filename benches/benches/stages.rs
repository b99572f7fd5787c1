//! The stages of a frame's way, one by one: `cargo bench -p benches`.
//!
//! Names are `stage/case/parameter`; throughput is frames.

use benches::null_port::NullSwitch;
use benches::rules::{add, matching, output, pipeline_with};
use benches::workload::{Family, Order, Workload, template};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flow::extract::{Arrival, extract};
use flow::text::{ParseContext, parse_flow};
use flow::{PipelineKey, PipelineMask};
use flowtable::classifier::{Classifier, Version};
use flowtable::datapath::{CacheConfig, Datapath};
use packet::MAX_BATCH;
use packet::wire::eth_type;
use std::hint::black_box;
use std::sync::Arc;

const FAMILIES: [(&str, Family); 2] = [("ipv4", Family::V4), ("ipv6", Family::V6)];

fn extraction(c: &mut Criterion) {
    let mut group = c.benchmark_group("extract");
    group.throughput(Throughput::Elements(1));
    for (name, family) in FAMILIES {
        let frame = template(family);
        group.bench_function(BenchmarkId::new("udp", name), |b| {
            b.iter(|| extract(Arrival::default(), black_box(&frame), 1));
        });
    }
    group.finish();
}

/// The whole path between ports without I/O: fabricate, extract, look up, execute.
fn datapath(c: &mut Criterion) {
    let mut group = c.benchmark_group("datapath");
    group.throughput(Throughput::Elements(MAX_BATCH as u64));
    for (name, family) in FAMILIES {
        for flows in [1, 1_000, 10_000] {
            let policy = Arc::new(pipeline_with(2, &[add(0, 1, matching(|_, _| {}), output(2))]));
            let datapath = Datapath::new(policy, CacheConfig::default(), 1, 1);
            let mut switch = NullSwitch::new(datapath, family);
            let mut workload = Workload::numbered(flows, Order::Rotation);
            for _ in 0..flows {
                switch.poll(&mut workload);
            }
            group.bench_function(BenchmarkId::new(format!("hit_{name}"), flows), |b| {
                b.iter(|| switch.poll(&mut workload));
            });
        }
    }
    group.finish();
}

/// A table of rules that match one address each, and its worst packet: one that no rule matches.
fn classifier(c: &mut Criterion) {
    let mut group = c.benchmark_group("classifier");
    group.throughput(Throughput::Elements(1));
    for rules in [10u32, 1_000, 100_000] {
        let mut classifier = Classifier::new(1);
        for n in 0..rules {
            let m = matching(|key, mask| {
                key.headers.dl_type.set(eth_type::IPV4);
                mask.bits.headers.dl_type.set(u16::MAX);
                key.headers.nw_addrs[4..8].copy_from_slice(&n.to_be_bytes());
                mask.bits.headers.nw_addrs[4..8].fill(0xff);
            });
            classifier.insert(&m, 1 + (n % 100) as u16, Version::default(), n);
        }
        let packet = |n: u32| {
            let mut key = PipelineKey::default();
            key.headers.dl_type.set(eth_type::IPV4);
            key.headers.nw_addrs[4..8].copy_from_slice(&n.to_be_bytes());
            key
        };
        let (hit, miss) = (packet(rules / 2), packet(rules + 1));
        for (name, key) in [("hit", hit), ("miss", miss)] {
            group.bench_function(BenchmarkId::new(name, rules), |b| {
                b.iter(|| {
                    let mut mask = PipelineMask::default();
                    classifier.lookup(black_box(&key), Version::default(), &mut mask).copied()
                });
            });
        }
    }
    group.finish();
}

fn rule_text(c: &mut Criterion) {
    let context = ParseContext::default();
    let rule = "priority=1,tcp,nw_src=1.2.3.0/24,nw_dst=5.6.7.8,tp_dst=80,actions=output:2";
    let mut group = c.benchmark_group("text");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse/five_tuple", |b| b.iter(|| parse_flow(black_box(rule), &context)));
    group.finish();
}

criterion_group!(stages, extraction, datapath, classifier, rule_text);
criterion_main!(stages);
