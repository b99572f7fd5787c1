//! Frames that `ct(...)` tracks: established connections with and without NAT, new ones, floods of new ones,
//! and two workers.
//!
//! The frames are UDP datagrams of 64 bytes, the frame check sequence included. UDP stays `+new` until it is
//! answered, as in Open vSwitch, so a connection is established here by a first packet and an answer. The
//! packets behind these are measured.

mod begun;
mod established;
mod floods;
mod two_workers;

use crate::Bench;
use anyhow::{Context, ensure};
use benches::null_port::NullSwitch;
use benches::rules::pipeline_with;
use benches::workload::{Family, MACS, Tuple};
use flow::ct_filter::CtFilter;
use flow::flow_mod::FlowMod;
use flow::text::{ParseContext, parse_flow};
use flow::types::PortNo;
use flowtable::conntrack::{CtEnd, CtTuple};
use flowtable::datapath::{CacheConfig, Datapath};
use flowtable::policy::Policy;
use packet::MAX_BATCH;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

/// Frames without tracking.
const PLAIN: &[&str] = &["ip,actions=output:2"];
/// Tracked frames that stay as they are.
const TRACKED: &[&str] = &[
    "ip,ct_state=-trk,actions=ct(table=1)",
    "table=1,ip,ct_state=+trk+new,actions=ct(commit),output:2",
    "table=1,ip,ct_state=+trk+est,actions=output:2",
];
/// Tracked frames whose source address is translated.
const TRANSLATED: &[&str] = &[
    "ip,ct_state=-trk,actions=ct(table=1,nat)",
    "table=1,ip,ct_state=+trk+new,actions=ct(commit,nat(src=192.0.2.1-192.0.2.250)),output:2",
    "table=1,ip,ct_state=+trk+est,actions=output:2",
];

/// The port where answers come in.
const ANSWERS: PortNo = PortNo(2);

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    established::run(bench)?;
    begun::run(bench)?;
    floods::run(bench)?;
    two_workers::run(bench)
}

/// A policy with these rules and three ports.
fn policy(rules: &[&str]) -> anyhow::Result<Arc<Policy>> {
    let parse = |text: &&str| parse_flow(text, &ParseContext::default());
    let rules: Vec<FlowMod> = rules.iter().map(parse).collect::<Result<_, _>>()?;
    Ok(Arc::new(pipeline_with(3, &rules)))
}

/// A switch with a datapath of its own.
fn switch(policy: &Arc<Policy>, seed: u64) -> NullSwitch {
    switch_with(policy, CacheConfig::default(), seed)
}

/// A switch with a datapath of its own that has such caches.
fn switch_with(policy: &Arc<Policy>, caches: CacheConfig, seed: u64) -> NullSwitch {
    let datapath = Datapath::new(Arc::clone(policy), caches, 1, seed);
    let mut switch = NullSwitch::new(datapath, Family::Tracked);
    // Connections expire by this clock, however long the machine takes.
    switch.use_time_on_core();
    switch
}

/// Begins the connections with the numbers 0 to `count`, and has them answered. Returns
/// the answers, in no order.
///
/// # Errors
/// Not all of them are in the table then.
fn establish(
    policy: &Arc<Policy>,
    switch: &mut NullSwitch,
    count: u32,
) -> anyhow::Result<Vec<Tuple>> {
    let flows: Vec<u32> = (0..count).collect();
    for part in flows.chunks(MAX_BATCH) {
        switch.poll_with(part.len(), |n| (Tuple::numbered(part[n]), MACS));
    }
    let mut answers = Vec::with_capacity(count as usize);
    let Ok(()) = policy.connections().for_each::<Infallible>(
        switch.now(),
        CtFilter::default(),
        |connection| {
            answers.extend(flow_of(&connection.reply));
            Ok(())
        },
    );
    ensure!(answers.len() == count as usize, "{} of {count} connections begun", answers.len());
    let mut back = MACS;
    back.rotate_left(6);
    for part in answers.chunks(MAX_BATCH) {
        switch.poll_on(ANSWERS, part.len(), |n| (part[n], back));
    }
    Ok(answers)
}

/// The frame that has a tuple; `None` if that is of IPv6.
fn flow_of(tuple: &CtTuple) -> Option<Tuple> {
    let address = |end: &CtEnd| match tuple.address(end) {
        IpAddr::V4(address) => Some(u32::from(address)),
        IpAddr::V6(_) => None,
    };
    Some(Tuple {
        src: address(&tuple.source)?,
        dst: address(&tuple.destination)?,
        sport: tuple.source.port,
        dport: tuple.destination.port,
        proto: tuple.protocol,
    })
}

/// Checks that as many connections were begun as this, and none beside them.
fn ensure_begun(policy: &Policy, count: u32) -> anyhow::Result<()> {
    let begun = policy.connections().stats().created;
    ensure!(begun == u64::from(count), "{begun} connections were begun in place of {count}");
    Ok(())
}

/// The memory of this program that is no file's, in bytes.
fn own_memory() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("/proc/self/status has no RssAnon")? << 10)
}
