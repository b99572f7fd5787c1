//! Real tables: ClassBench sets as rules, and a pipeline of twenty tables.

use crate::{Args, Report, rate, warm_up};
use benches::classbench::{Header, Set};
use benches::classbench_like;
use benches::cpu_time::median;
use benches::null_port::NullSwitch;
use benches::rules::{add, matching, output, pipeline_with};
use benches::workload::{Family, Order, Tuple, Workload};
use flowtable::action::Action;
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::flow::extract::eth_type;
use flowtable::flow_mod::FlowMod;
use flowtable::types::TableId;
use std::sync::Arc;

/// ClassBench: headers of the trace in their order, caches warm. A miss drops.
pub(crate) fn classbench(args: &Args, report: &Report) {
    for set in sets(args) {
        let rules: Vec<FlowMod> = set
            .filters
            .iter()
            .enumerate()
            .flat_map(|(place, filter)| {
                let priority = set.priority(place);
                filter.rules().into_iter().map(move |m| add(0, priority, m, output(2)))
            })
            .collect();
        let headers = set.trace.iter().map(|&Header { src, dst, sport, dport, proto }| Tuple {
            src,
            dst,
            sport,
            dport,
            proto,
        });
        let datapath =
            Datapath::new(Arc::new(pipeline_with(3, &rules)), CacheConfig::default(), 1, 42);
        let mut switch = NullSwitch::new(datapath, Family::V4);
        let mut workload = Workload::listed(headers.collect());
        warm_up(&mut switch, &mut workload);
        let rates = (0..args.runs).map(|_| rate(&mut switch, &mut workload, args.seconds));
        let value = median(rates.collect());
        let stats = switch.datapath.stats();
        let note = format!(
            "{} rules, {} headers, {} flows, {} masks",
            rules.len(),
            workload.len(),
            stats.flows.get(),
            stats.masks.get()
        );
        report.line(&format!("classbench/{}", set.name), value, "Mpps", &note);
    }
}

fn sets(args: &Args) -> Vec<Set> {
    let Some(dir) = &args.classbench else {
        return classbench_like::sets(10_000);
    };
    let names = ["acl1_1000", "acl1_10000", "acl1_100000", "fw1_10000", "ipc1_10000"];
    let load = |name| match Set::load(dir, name) {
        Ok(set) => Some(set),
        Err(error) => {
            eprintln!("{}: {name}: {error}", dir.display());
            None
        }
    };
    names.into_iter().filter_map(load).collect()
}

/// Twenty tables that each look at something and pass the packet on: new flows and cached ones, with
/// masks probed and without, and without any cache.
pub(crate) fn deep(args: &Args, report: &Report) {
    const TABLES: u8 = 20;
    let mut rules = Vec::new();
    for table in 0..TABLES {
        let actions = match table + 1 {
            TABLES => output(2),
            next => vec![Action::Resubmit { in_port: None, table: TableId::new(next) }],
        };
        // In each table one of sixteen ports is told apart.
        let port = matching(|key, mask| {
            key.flow.dl_type.set(eth_type::IPV4);
            mask.flow.dl_type.set(u16::MAX);
            key.flow.nw_proto = 17;
            mask.flow.nw_proto = u8::MAX;
            key.flow.tp_dst.set(5000 + u16::from(table) % 16);
            mask.flow.tp_dst.set(u16::MAX);
        });
        rules.push(add(table, 10, port, actions.clone()));
        rules.push(add(table, 1, matching(|_, _| {}), actions));
    }
    let off = CacheConfig::OFF;
    let on = CacheConfig::default();
    for (name, config) in
        [("caches", on), ("no_probes", CacheConfig { max_probes: 0, ..on }), ("no_cache", off)]
    {
        for flows in [1_000, 1_000_000] {
            let pipeline = Arc::new(pipeline_with(3, &rules));
            let datapath = Datapath::new(pipeline, CacheConfig { upcalls: None, ..config }, 1, 42);
            let mut switch = NullSwitch::new(datapath, Family::V4);
            let mut workload = Workload::numbered(flows, Order::Rotation);
            if config != off {
                warm_up(&mut switch, &mut workload);
            }
            let rates = (0..args.runs).map(|_| rate(&mut switch, &mut workload, args.seconds));
            let value = median(rates.collect());
            report.line(&format!("tables=20/{name}/Rotation={flows}"), value, "Mpps", "");
        }
    }
}
