//! The command line: verbs and options as the user typed them. The modules of the verbs parse the words behind
//! a verb. `verb` lists the verbs, `arguments` has what stands behind them.

mod arguments;
#[cfg(test)]
mod tests;
mod verb;

pub(crate) use arguments::{
    AddZoneTp, ApplyWords, CachedFlows, Check, Composed, DelZoneTp, File, HexMessage, Log,
    MatchVersion, PcapFile, PlanWords, PortAction, Trace, Words,
};
pub(crate) use verb::Verb;

use crate::{Usage, help};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser};
use flow::text::{Protocols, UnknownFormat};
use flow::types::OfVersion;
use openflow::PacketInForm;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// The default of `--timeout`, in seconds.
const DEFAULT_TIMEOUT: u32 = 10;

/// How many verbs the error of a misspelt verb suggests at most.
const MOST_SUGGESTIONS: usize = 3;

/// Shows and changes the rules, groups, ports and bridges of a running switchd
///
/// Verbs, rules and output are those of ovs-ofctl. BRIDGE can be left out while the switch has only one bridge.
#[derive(Debug, Parser)]
#[command(name = "ofctl", version, after_help = EXAMPLES, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Options {
    /// The verb, with its words
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// The options that all verbs have
    #[command(flatten)]
    pub(crate) how: How,
}

impl Options {
    /// Reads a command line, which begins with the program's name. The error of a misspelt verb suggests the
    /// [`MOST_SUGGESTIONS`] nearest verbs, the nearest one first. `--help` is an error for clap, too.
    pub(crate) fn read(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let arguments = || arguments.iter().filter(|argument| !is_about_log(argument));
        Self::try_parse_from(arguments()).map_err(|mut error| {
            if error.kind() == ErrorKind::DisplayHelp {
                // The help of a verb hides what has no effect on the verb. Only help pays for that.
                return help::command().try_get_matches_from(arguments()).err().unwrap_or(error);
            }
            let kind = ContextKind::SuggestedSubcommand;
            if let Some(ContextValue::Strings(verbs)) = error.get(kind) {
                // clap orders its suggestions by likeness, the least alike first.
                let nearest = verbs.iter().rev().take(MOST_SUGGESTIONS).cloned().collect();
                error.insert(kind, ContextValue::Strings(nearest));
            }
            error
        })
    }
}

/// Whether an argument is the option of ovs-ofctl that says what the program writes into its log: `-v`,
/// `-vwarn`, `--verbose=SPEC`. `ofctl` has no log, so that the option has no effect.
fn is_about_log(argument: &OsStr) -> bool {
    let argument = argument.to_string_lossy();
    argument.starts_with("-v") || argument == "--verbose" || argument.starts_with("--verbose=")
}

/// The options that all verbs have. They can stand in front of the verb, behind it and between its words.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Version of OpenFlow in which rules and groups are read and printed; of several versions the highest, and
    /// for parse-flow the lowest that can say the rule
    #[arg(short = 'O', long = "protocols", id = "protocols", global = true, value_name = "VERSION", default_value = "OpenFlow10", value_parser = versions)]
    versions: Versions,
    /// Flow formats that may carry a rule, like NXM+table_id or OpenFlow10; several with commas [default: any]
    #[arg(short = 'F', long = "flow-format", global = true, value_name = "FORMAT", default_value = "any", hide_default_value = true, value_parser = formats)]
    pub(crate) formats: Protocols,
    /// Print more of OpenFlow messages: given twice the bytes of packets, four times those of whole messages
    #[arg(short = 'm', long, global = true, action = clap::ArgAction::Count)]
    more: u8,
    /// Print ports with their names [default if the output is a terminal]
    #[arg(long, global = true)]
    names: bool,
    /// Print ports with their numbers [default if the output is no terminal]
    #[arg(long, global = true)]
    no_names: bool,
    /// Print rules with their counters and ages (the default)
    #[arg(long, global = true)]
    stats: bool,
    /// Print rules without their counters and ages
    #[arg(long, global = true)]
    no_stats: bool,
    /// dump-flows: sort rules by a field in ascending order, or by priority if no field
    /// is given; can be repeated
    #[arg(long, global = true, value_name = "FIELD", num_args = 0..=1, require_equals = true, default_missing_value = "priority")]
    pub(crate) sort: Vec<String>,
    /// dump-flows: as --sort, in descending order
    #[arg(long, global = true, value_name = "FIELD", num_args = 0..=1, require_equals = true, default_missing_value = "priority")]
    pub(crate) rsort: Vec<String>,
    /// dump-flows and trace --explain: show a conjunction as one rule, with its clauses as (a or
    /// b) and (c or d)
    #[arg(long, global = true)]
    pub(crate) conjunctions: bool,
    /// mod-flows and del-flows: change only the rule that has exactly this match and priority
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// Carry out all rules or groups of a file or none. Our own switch always does so;
    /// other switches need OpenFlow 1.3
    #[arg(long, global = true)]
    pub(crate) bundle: bool,
    /// replace-flows: send rules that do not change, too, so that their counters begin anew
    #[arg(long, global = true)]
    pub(crate) readd: bool,
    /// Refuse verbs that change something
    #[arg(long, global = true)]
    read_only: bool,
    /// monitor: the form of packet-ins: standard, nxt_packet_in or nxt_packet_in2
    /// [default: nxt_packet_in2, if the switch has it]
    #[arg(short = 'P', long, global = true, value_name = "FORMAT", value_parser = packet_in_form)]
    pub(crate) packet_in_format: Option<PacketInForm>,
    /// monitor and snoop: print in front of each message when it came (UTC)
    #[arg(long, global = true)]
    pub(crate) timestamp: bool,
    /// mod-group: add the group if it does not exist
    #[arg(long, global = true)]
    pub(crate) may_create: bool,
    /// Accept and change text that Open vSwitch accepts and silently changes, instead of refusing it
    #[arg(long, global = true)]
    pub(crate) lenient: bool,
    /// Print the answer in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Path of the control socket
    #[arg(long, global = true, value_name = "PATH", help = socket_help())]
    pub(crate) socket: Option<PathBuf>,
    /// ssl: the file with the private key of this side, in PEM
    #[arg(short = 'p', long, global = true, value_name = "FILE")]
    pub(crate) private_key: Option<PathBuf>,
    /// ssl: the file with the certificate of this side, in PEM
    #[arg(short = 'c', long, global = true, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// ssl: the file with the certificate of the authority that signs switches, in
    /// PEM; none accepts every switch
    #[arg(short = 'C', long, global = true, value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Give up if the switch has made no progress for this many seconds; 0 waits for ever
    /// [default: 10; monitor: 0]
    #[arg(short = 't', long, global = true, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
}

/// The help of `--socket`, with the path that this user gets.
fn socket_help() -> String {
    format!(
        "Path of the control socket [default: {}, by the rule {}]",
        control::socket_path().display(),
        control::path::RULE
    )
}

impl How {
    /// How long `ofctl` waits for a switch that makes no progress; `None` is for ever.
    pub(crate) fn limit(&self) -> Option<Duration> {
        let seconds = self.timeout.unwrap_or(DEFAULT_TIMEOUT);
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// How often `-m` was given.
    pub(crate) fn verbosity(&self) -> u8 {
        self.more
    }

    /// The versions of OpenFlow in which a connection may speak, the lowest one first.
    pub(crate) fn allowed_versions(&self) -> Vec<OfVersion> {
        match self.bundle {
            true => self.versions_with_bundles(),
            false => self.versions.all.clone(),
        }
    }

    /// The versions of [`How::allowed_versions`] for a connection that sends bundles. Bundles need OpenFlow
    /// 1.3: as in `ovs-ofctl`, a command line that allows only earlier versions gets 1.4.
    pub(crate) fn versions_with_bundles(&self) -> Vec<OfVersion> {
        let mut versions = self.versions.all.clone();
        if versions.iter().all(|version| *version < OfVersion::OpenFlow13) {
            versions.push(OfVersion::OpenFlow14);
        }
        versions
    }

    /// Refuses a verb that changes something, if the command line has `--read-only`.
    pub(crate) fn check_read_only(&self, verb: &Verb) -> Result<(), Usage> {
        match self.read_only && verb.changes_something() {
            true => {
                Err(Usage(format!("'{}' command does not work in read only mode", verb.name())))
            }
            false => Ok(()),
        }
    }

    /// The version of OpenFlow in which the command speaks to the switch.
    pub(crate) fn version(&self) -> OfVersion {
        self.versions.highest
    }

    /// Refuses `-O` and `-F` that have no flow format in common, with the words of `ovs-ofctl`.
    pub(crate) fn check_formats(&self) -> Result<(), Usage> {
        if !self.allowed_formats().is_empty() {
            return Ok(());
        }
        Err(Usage(format!(
            "None of the enabled OpenFlow versions ({}) supports any of the enabled flow formats ({}).  (Use -O to enable \
             additional OpenFlow versions or -F to enable additional flow formats.)",
            self.versions.names, self.formats
        )))
    }

    /// The flow formats that `-O` and `-F` allow.
    pub(crate) fn allowed_formats(&self) -> Protocols {
        self.versions.formats.and(self.formats)
    }

    /// Whether ports are printed with their names. `--no-names` wins over `--names`.
    pub(crate) fn names(&self) -> bool {
        use std::io::IsTerminal;
        !self.no_names && (self.names || std::io::stdout().is_terminal())
    }

    /// Whether rules are printed with their counters and ages.
    pub(crate) fn stats(&self) -> bool {
        !self.no_stats
    }
}

/// The versions of OpenFlow that `-O` allows.
#[derive(Clone, Debug)]
struct Versions {
    /// Their names, the lowest one first, with commas between.
    names: String,
    /// All of them, the lowest one first.
    all: Vec<OfVersion>,
    /// The highest of them, which OpenFlow uses when two peers speak several.
    highest: OfVersion,
    /// The flow formats of all of them.
    formats: Protocols,
}

/// Reads the name of a form of packet-ins: those of `ovs-ofctl`, and its older names.
fn packet_in_form(text: &str) -> Result<PacketInForm, String> {
    Ok(match text {
        "standard" | "openflow10" => PacketInForm::Standard,
        "nxt_packet_in" | "nxm" => PacketInForm::Nxt,
        "nxt_packet_in2" => PacketInForm::Nxt2,
        _ => return Err("formats are standard, nxt_packet_in and nxt_packet_in2".to_owned()),
    })
}

fn formats(text: &str) -> Result<Protocols, String> {
    text.parse().map_err(|error: UnknownFormat| error.to_string())
}

fn versions(text: &str) -> Result<Versions, String> {
    let versions: Option<Vec<OfVersion>> =
        text.split(',').map(|name| control::version::parse(name.trim())).collect();
    let all = |mut versions: Vec<OfVersion>| {
        versions.sort_unstable();
        versions.dedup();
        let highest = *versions.last()?;
        let names: Vec<_> =
            versions.iter().map(|&version| control::version::name(version)).collect();
        Some(Versions {
            names: names.join(", "),
            highest,
            formats: Protocols::of_versions(versions.iter().copied()),
            all: versions,
        })
    };
    versions.and_then(all).ok_or_else(|| {
        let names = control::version::NAMES.map(|(_, name)| name);
        format!("versions are {}", names.join(", "))
    })
}

const EXAMPLES: &str = "\
Examples:
  ofctl add-flow \"priority=100,ip,nw_dst=10.0.0.2,actions=output:2\"
  ofctl add-flow \"in_port=veth0,arp,actions=NORMAL\"
  ofctl add-flows rules.txt                     add all rules of the file, or none
  ofctl dump-flows tcp                          rules that match nothing but TCP
  ofctl --strict del-flows \"priority=100,ip,nw_dst=10.0.0.2\"
  ofctl -O OpenFlow13 add-group \"group_id=1,type=select,bucket=output:1,bucket=output:2\"
  ofctl show; ofctl dump-ports; ofctl fdb-show; ofctl drops
  ofctl trace \"in_port=1,tcp,nw_dst=10.0.0.2,tp_dst=80\" --explain
  ofctl trace tcp,tp_dst=80 --from 02:00:00:00:00:01 --to 02:00:00:00:00:02
  ofctl lint; ofctl lint rules.txt              rules that can never match, loop, ...
  ofctl dump-flows --json
  ofctl save switch.toml; ofctl plan switch.toml; ofctl apply switch.toml --confirm 60s
  ofctl monitor flows,ports                     print events as they happen
  ofctl help fields; ofctl help nw_dst          what rules can match
  ofctl help actions; ofctl help resubmit       what rules can do

Exit status: 0 done, 1 refused or failed (lint, check: problems found), 2 wrong usage (diff-flows, plan --exit-code: a difference).";
