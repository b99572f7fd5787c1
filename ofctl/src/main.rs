//! `ofctl`, the command line tool of a running `switchd`, with the verbs and the output of `ovs-ofctl`.
//!
//! `main` reads the command line, calls the function of the verb, and turns its result into the exit status:
//!
//! | status | meaning |
//! | --- | --- |
//! | 0 | the verb did its work |
//! | 1 | the request was refused or failed; `lint` or `check` found a problem |
//! | 2 | the command line is wrong; `diff-flows` or `plan --exit-code` found a difference |

mod bfd;
mod bridges;
mod cached_flows;
mod conjunctions;
mod connect;
mod connection_limits;
mod connections;
mod controllers;
mod explain;
mod failure;
mod fdb;
mod files;
mod flows;
mod groups;
mod help;
mod lint;
mod manual;
mod meters;
mod monitor;
mod offline;
mod openflow;
mod options;
mod output;
mod overlay;
mod packet_out;
mod ports;
mod restart;
mod saved;
mod socket;
mod sort;
mod status;
mod tables;
mod trace;
mod utc;
mod zone_timeouts;

use options::{Options, Verb};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::ExitCode;

/// The result of a verb that has not failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The verb did its work: exit status 0.
    Done,
    /// `diff-flows` or `plan --exit-code` found a difference: exit status 2.
    Different,
    /// `check` or `lint` found a problem and has printed it: exit status 1.
    Wrong,
}

/// The command line is wrong: exit status 2. The text says what is wrong and what to write.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let options = match Options::read(&arguments) {
        Ok(options) => options,
        Err(error) => return failure::tell_wrong_command_line(&error, &arguments),
    };
    match run(&options) {
        Ok(outcome) => failure::status(outcome),
        Err(error) if is_closed_output(&error) => ExitCode::SUCCESS,
        Err(error) => failure::tell(&error, &options.how),
    }
}

fn run(options: &Options) -> anyhow::Result<Outcome> {
    options.how.check_formats()?;
    options.how.check_read_only(&options.verb)?;
    if let Some(outcome) = openflow::run(options)? {
        return Ok(outcome);
    }
    match &options.verb {
        Verb::AddFlow(a) | Verb::ModFlows(a) => flows::change(options, a),
        Verb::AddFlows(a) => flows::add_file(options, a),
        Verb::DelFlows(a) => flows::delete(options, a),
        Verb::DumpFlows(a) => flows::dump(options, a),
        Verb::DumpAggregate(a) => flows::aggregate(options, a),
        Verb::ReplaceFlows(a) => flows::replace(options, a),
        Verb::DiffFlows(a) => flows::diff(options, a),

        Verb::AddGroup(a) | Verb::ModGroup(a) => groups::change(options, a),
        Verb::InsertBuckets(a) | Verb::RemoveBuckets(a) => groups::change(options, a),
        Verb::AddGroups(a) => groups::add_file(options, a),
        Verb::DelGroups(a) => groups::delete(options, a),
        Verb::DumpGroups(a) => groups::dump(options, a),
        Verb::DumpGroupStats(a) => groups::dump_stats(options, a),

        Verb::AddMeter(a) | Verb::ModMeter(a) => meters::change(options, a),
        Verb::DelMeters(a) => meters::delete(options, a),
        Verb::DumpMeters(a) => meters::dump(options, a),
        Verb::MeterStats(a) => meters::stats(options, a),
        Verb::MeterFeatures(a) => meters::features(options, a),

        Verb::PacketOut(a) => packet_out::send(options, a),

        Verb::AddBr(a) => bridges::add(options, a),
        Verb::DelBr(a) => bridges::remove(options, a),
        Verb::ListBr(a) => bridges::list(options, a),
        Verb::ShowConfig(a) => bridges::show_config(options, a),

        Verb::SetController(a) => controllers::set(options, a),
        Verb::GetController(a) => controllers::get(options, a),
        Verb::DelController(a) => controllers::delete(options, a),
        Verb::SetFailMode(a) => controllers::set_fail_mode(options, a),
        Verb::GetFailMode(a) => controllers::get_fail_mode(options, a),
        Verb::DelFailMode(a) => controllers::delete_fail_mode(options, a),
        Verb::SetProtocols(a) => controllers::set_protocols(options, a),
        Verb::GetProtocols(a) => controllers::get_protocols(options, a),
        Verb::SetSsl(a) => controllers::set_ssl(options, a),
        Verb::GetSsl(a) => controllers::get_ssl(options, a),
        Verb::DelSsl(a) => controllers::delete_ssl(options, a),

        Verb::Save(a) => saved::save(options, a),
        Verb::Plan(a) => saved::plan(options, a),
        Verb::Apply(a) => saved::apply(options, a),
        Verb::Confirm(a) => saved::confirm(options, a),
        Verb::Rollback(a) => saved::roll_back(options, a),
        Verb::History(a) => saved::history(options, a),

        Verb::Show(a) => ports::show(options, a),
        Verb::DumpPorts(a) => ports::dump(options, a),
        Verb::DumpPortsDesc(a) => ports::describe(options, a),
        Verb::AddPort(a) => ports::add(options, a),
        Verb::DelPort(a) => ports::remove(options, a),
        Verb::ListPorts(a) => ports::list(options, a),
        Verb::SetFrags(a) => bridges::set_fragments(options, a),
        Verb::GetFrags(a) => bridges::get_fragments(options, a),
        Verb::ModPort(a) => ports::modify(options, a),
        Verb::SetPort(a) => ports::set(options, a),
        Verb::DumpTables(a) => tables::dump(options, a),
        Verb::DumpTableDesc(a) => tables::describe(options, a),
        Verb::ModTable(a) => tables::modify(options, a),

        Verb::DumpConntrack(a) => connections::dump(options, a),
        Verb::FlushConntrack(a) => connections::flush(options, a),
        Verb::CtFlushZone(a) => connections::flush_zone(options, a),
        Verb::CtGetMaxconns(a) => connection_limits::show_max(options, a),
        Verb::CtSetMaxconns(a) => connection_limits::set_max(options, a),
        Verb::CtGetLimits(a) => connection_limits::show_zones(options, a),
        Verb::CtSetLimits(a) => connection_limits::set_zones(options, a),
        Verb::CtDelLimits(a) => connection_limits::delete_zones(options, a),
        Verb::CtBkts(a) => connections::buckets(options, a),
        Verb::AddZoneTp(a) => zone_timeouts::add(options, a),
        Verb::DelZoneTp(a) => zone_timeouts::delete(options, a),
        Verb::ListZoneTp(a) => zone_timeouts::list(options, a),
        Verb::CtStats(a) => connections::stats(options, a),
        Verb::BfdShow(a) => bfd::show(options, a),
        Verb::Overlay(a) => overlay::overlay(options, a),
        Verb::FdbShow(a) => fdb::show(options, a),
        Verb::FdbFlush(a) => fdb::flush(options, a),
        Verb::FdbAdd(a) => fdb::add(options, a),
        Verb::FdbDel(a) => fdb::delete(options, a),
        Verb::FdbConfig(a) => fdb::configure(options, a),
        Verb::Workers(a) => status::workers(options, a),
        Verb::FdbStats(a) => fdb::stats(options, a),
        Verb::CacheShow(a) => status::caches(options, a),
        Verb::DumpCachedFlows(a) => cached_flows::dump(options, a),
        Verb::Drops(a) => status::drops(options, a),
        Verb::Trace(a) => trace::trace(options, a),
        Verb::Monitor(a) => monitor::monitor(options, a),
        Verb::Restart(a) => restart::restart(options, a),

        Verb::Log(a) => status::log(options, a),
        Verb::Completions(a) => manual::completions(a.shell),
        Verb::Man => manual::page(),

        Verb::OfpPrint(a) => openflow::ofp_print(options, a),
        Verb::OfpParse(a) => openflow::ofp_parse(options, a),
        Verb::OfpParsePcap(a) => openflow::ofp_parse_pcap(options, a),
        Verb::ComposePacket(a) => openflow::compose_packet(options, a),
        Verb::ParseActions(a) => openflow::parse_actions(options, a),
        Verb::ParseNxMatch => openflow::parse_nx_match(options),
        Verb::ParseOxm(a) => openflow::parse_oxm(options, a),
        Verb::ParseFlow(a) => offline::parse_flow(options, &a.flow),
        Verb::ParseFlows(a) => offline::parse_flows(options, &a.file),
        Verb::Check(a) => offline::check(options, a),
        Verb::Lint(a) => lint::lint(options, a),
        Verb::Help(a) => help::help(options, a),

        // These go over OpenFlow only, which has refused them without a place to go to.
        Verb::DumpDesc(_)
        | Verb::DumpGroupFeatures(_)
        | Verb::QueueStats(_)
        | Verb::QueueGetConfig(_)
        | Verb::AddTlvMap(_)
        | Verb::DelTlvMap(_)
        | Verb::DumpTlvMap(_)
        | Verb::DumpIpfixBridge(_)
        | Verb::DumpIpfixFlow(_)
        | Verb::Bundle(_)
        | Verb::Snoop(_)
        | Verb::Probe(_)
        | Verb::DumpTableFeatures(_)
        | Verb::Ping(_)
        | Verb::Benchmark(_) => Err(connect::wrong_usage(options)),
    }
}

/// Whether the error is that the reader of standard output (`head`, say) is gone, which is no failure.
fn is_closed_output(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
    })
}
