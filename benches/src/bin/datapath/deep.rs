//! Twenty tables that each look at something and pass the packet on: with all caches, without the masks
//! that are probed behind the signatures, and without any cache.

use crate::Bench;
use benches::null_port::NullSwitch;
use benches::report::{Better, Role, Table, progress};
use benches::rules::{add, matching, output, pipeline_with};
use benches::workload::{Family, Order, Workload};
use flow::action::Action;
use flow::flow_mod::FlowMod;
use flow::types::TableId;
use flowtable::datapath::{CacheConfig, Datapath};
use packet::wire::{eth_type, ip_proto};
use std::sync::Arc;

const TABLES: u8 = 20;

pub(crate) fn run(bench: &mut Bench) {
    let (on, off) = (CacheConfig::default(), CacheConfig::OFF);
    let mut results = Table::new("deep", "twenty tables of resubmits");
    let columns = [("1,000 flows", 1_000), ("1,000,000 flows", 1_000_000)]
        .map(|(name, flows)| (results.column(name, "Mpps", Better::Higher), flows));
    let policy = Arc::new(pipeline_with(3, &rules()));
    for (name, config) in [
        ("all caches", on),
        ("no masks probed", CacheConfig { max_probes: 0, ..on }),
        ("no caches", off),
    ] {
        progress(&format!("deep: {name}"));
        let row = results.row(name, Role::Ours);
        for (column, flows) in columns {
            let config = CacheConfig { upcalls: None, ..config };
            let datapath = Datapath::new(Arc::clone(&policy), config, 1, 42);
            let mut switch = NullSwitch::new(datapath, Family::V4);
            let mut workload = Workload::numbered(flows, Order::Rotation);
            if config != off {
                switch.warm_up(&mut workload);
            }
            for _ in 0..bench.args.runs {
                results.record(row, column, switch.rate(&mut workload, bench.args.seconds));
            }
        }
    }
    bench.report.add(results);
}

fn rules() -> Vec<FlowMod> {
    let mut rules = Vec::new();
    for table in 0..TABLES {
        let actions = match table + 1 {
            TABLES => output(2),
            next => vec![Action::Resubmit { in_port: None, table: TableId::new(next) }],
        };
        // In each table one of sixteen ports is told apart.
        let port = matching(|key, mask| {
            key.headers.dl_type.set(eth_type::IPV4);
            mask.bits.headers.dl_type.set(u16::MAX);
            key.headers.nw_proto = ip_proto::UDP;
            mask.bits.headers.nw_proto = u8::MAX;
            key.headers.tp_dst.set(5000 + u16::from(table) % 16);
            mask.bits.headers.tp_dst.set(u16::MAX);
        });
        rules.push(add(table, 10, port, actions.clone()));
        rules.push(add(table, 1, matching(|_, _| {}), actions));
    }
    rules
}
