//! The command line: verbs and options as the user typed them. The modules of the verbs parse the words behind a
//! verb.

use crate::{Usage, help};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use flow::text::{Protocols, UnknownFormat};
use flow::types::OfVersion;
use std::ffi::OsString;
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
        Self::try_parse_from(arguments).map_err(|mut error| {
            if error.kind() == ErrorKind::DisplayHelp {
                // The help of a verb hides what has no effect on the verb. Only help pays for that.
                return help::command().try_get_matches_from(arguments).err().unwrap_or(error);
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

/// The options that all verbs have. They can stand in front of the verb, behind it and between its words.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Version of OpenFlow in which rules and groups are read and printed; of several versions the highest, and for
    /// parse-flow the lowest that can say the rule
    #[arg(short = 'O', long = "protocols", id = "protocols", global = true, value_name = "VERSION", default_value = "OpenFlow10", value_parser = versions)]
    versions: Versions,
    /// Flow formats that may carry a rule, like NXM+table_id or OpenFlow10; several with commas [default: any]
    #[arg(short = 'F', long = "flow-format", global = true, value_name = "FORMAT", default_value = "any", hide_default_value = true, value_parser = formats)]
    pub(crate) formats: Protocols,
    /// Be more verbose. Nothing here has more to say; the option is accepted because ovs-ofctl has it
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
    /// dump-flows: sort rules by a field in ascending order, or by priority if no field is given; can be repeated
    #[arg(long, global = true, value_name = "FIELD", num_args = 0..=1, require_equals = true, default_missing_value = "priority")]
    pub(crate) sort: Vec<String>,
    /// dump-flows: as --sort, in descending order
    #[arg(long, global = true, value_name = "FIELD", num_args = 0..=1, require_equals = true, default_missing_value = "priority")]
    pub(crate) rsort: Vec<String>,
    /// mod-flows and del-flows: change only the rule that has exactly this match and priority
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// Carry out all rules of a file or none. This is always so; the option is accepted because ovs-ofctl has it
    #[arg(long, global = true)]
    pub(crate) bundle: bool,
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
    /// Give up if the switch has made no progress for this many seconds; 0 waits for ever [default: 10; monitor: 0]
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
            "None of the enabled OpenFlow versions ({}) supports any of the enabled flow formats ({}). (Use -O to enable \
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
    /// The highest of them, which OpenFlow uses when two peers speak several.
    highest: OfVersion,
    /// The flow formats of all of them.
    formats: Protocols,
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
            formats: Protocols::of_versions(versions),
        })
    };
    versions.and_then(all).ok_or_else(|| {
        let names = control::version::NAMES.map(|(_, name)| name);
        format!("versions are {}", names.join(", "))
    })
}

/// The words behind a verb: optionally the name of a bridge, and the verb's arguments.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// See the usage above
    #[arg(value_name = "ARGUMENT", hide = true)]
    pub(crate) words: Vec<String>,
}

/// The arguments of `trace`.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Bridge, flow and packet, in the order of `ovs-appctl ofproto/trace`
    #[command(flatten)]
    pub(crate) words: Words,
    /// The bytes of the packet in hexadecimal; - is standard input. The ingress port is that of FLOW
    /// (in_port=1), or else the port where the source address was learned
    #[arg(long, value_name = "HEX", conflicts_with_all = ["from", "to"])]
    pub(crate) packet: Option<String>,
    /// The sending host: a MAC address that was learned, or an IP address. The host decides the ingress port, the
    /// VLAN and the source address; FLOW decides the other fields. Without FLOW the packet is a ping
    #[arg(long, value_name = "HOST")]
    pub(crate) from: Option<String>,
    /// The receiving host: a MAC address that was learned, or an IP address
    #[arg(long, value_name = "HOST")]
    pub(crate) to: Option<String>,
    /// Explain each step in a sentence, and name the rules that came near to matching
    #[arg(long)]
    pub(crate) explain: bool,
}

/// The arguments of `dump-cached-flows`.
#[derive(Debug, Args)]
pub(crate) struct CachedFlows {
    /// Bridge, and a match that selects flows
    #[command(flatten)]
    pub(crate) words: Words,
    /// Name the rule, action or lookup that makes each flow depend on its bits
    #[arg(long)]
    pub(crate) why: bool,
}

// The doc comments of verbs and their options are the text of `ofctl --help`.
/// The verbs of `ofctl`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Add a rule
    #[command(override_usage = "ofctl add-flow [BRIDGE] RULE")]
    AddFlow(Words),
    /// Add the rules of a file: either all or, if one is refused, none; - is standard input
    #[command(override_usage = "ofctl add-flows [BRIDGE] FILE")]
    AddFlows(Words),
    /// Change the actions of the rules that MATCH covers; with --strict of the one rule with this match and priority
    #[command(override_usage = "ofctl mod-flows [BRIDGE] MATCH,actions=ACTIONS")]
    ModFlows(Words),
    /// Delete the rules that MATCH covers, or all rules; with --strict the one rule with this match and priority
    #[command(override_usage = "ofctl del-flows [BRIDGE] [MATCH]")]
    DelFlows(Words),
    /// List the rules that MATCH covers, or all rules
    #[command(override_usage = "ofctl dump-flows [BRIDGE] [MATCH]")]
    DumpFlows(Words),
    /// Show the sums of the counters of the rules that MATCH covers, or of all rules
    #[command(override_usage = "ofctl dump-aggregate [BRIDGE] [MATCH]")]
    DumpAggregate(Words),
    /// Replace all rules by those of a file; a rule that does not change keeps its counters
    #[command(override_usage = "ofctl replace-flows [BRIDGE] FILE")]
    ReplaceFlows(Words),
    /// Compare the rules of two files, or of a file and a bridge; exit status 2 if they differ
    #[command(override_usage = "ofctl diff-flows SOURCE1 SOURCE2")]
    DiffFlows(Words),

    /// Add a group
    #[command(override_usage = "ofctl add-group [BRIDGE] GROUP")]
    AddGroup(Words),
    /// Add the groups of a file: either all or, if one is refused, none; - is standard input
    #[command(override_usage = "ofctl add-groups [BRIDGE] FILE")]
    AddGroups(Words),
    /// Replace a group; with --may-create add the group if it does not exist
    #[command(override_usage = "ofctl mod-group [BRIDGE] GROUP")]
    ModGroup(Words),
    /// Delete a group, or all groups, and the rules that use them
    #[command(override_usage = "ofctl del-groups [BRIDGE] [GROUP]")]
    DelGroups(Words),
    /// Put buckets into a group, at the place that command_bucket_id names
    #[command(override_usage = "ofctl insert-buckets [BRIDGE] GROUP")]
    InsertBuckets(Words),
    /// Take the buckets that command_bucket_id names out of a group
    #[command(override_usage = "ofctl remove-buckets [BRIDGE] GROUP")]
    RemoveBuckets(Words),
    /// List a group, or all groups, with their buckets
    #[command(override_usage = "ofctl dump-groups [BRIDGE] [GROUP]")]
    DumpGroups(Words),
    /// Show the counters of a group, or of all groups
    #[command(override_usage = "ofctl dump-group-stats [BRIDGE] [GROUP]")]
    DumpGroupStats(Words),

    /// Carry out actions on a packet, given in hexadecimal; the action TABLE sends the packet through the tables
    #[command(
        override_usage = "ofctl packet-out [BRIDGE] \"[in_port=PORT,][metadata=N,][regN=N,]packet=HEX,actions=ACTIONS\"\n       ofctl packet-out [BRIDGE] PORT ACTIONS HEX..."
    )]
    PacketOut(Words),

    /// Add a bridge without ports. With persist=off, switchd --state keeps neither its rules nor its ports
    #[command(override_usage = "ofctl add-br NAME [datapath-id=ID] [persist=off]")]
    AddBr(Words),
    /// Remove a bridge, with its ports, rules, groups and learned hosts
    #[command(override_usage = "ofctl del-br NAME")]
    DelBr(Words),
    /// List the names of the bridges
    #[command(override_usage = "ofctl list-br")]
    ListBr(Words),
    /// Print bridges and ports with all their settings, as a file that switchd --config reads
    #[command(override_usage = "ofctl show-config")]
    ShowConfig(Words),

    /// Print the whole switch as a file that people read and version, or write it into FILE: bridges, ports, rules,
    /// groups and static hosts
    #[command(override_usage = "ofctl save [FILE]")]
    Save(Words),
    /// Print what apply would do: + is added, - removed, ~ changed. Nothing is changed
    #[command(
        override_usage = "ofctl plan [--exit-code] FILE\n       ofctl plan [--exit-code] --history N"
    )]
    Plan(PlanWords),
    /// Make the switch as a file says: all of it or, if anything is refused, nothing
    #[command(override_usage = "ofctl apply FILE [--confirm TIME]")]
    Apply(ApplyWords),
    /// Keep what apply --confirm has changed
    #[command(override_usage = "ofctl confirm")]
    Confirm(Words),
    /// Take back what waits for confirm, or return to state N of the history, by default the last one
    #[command(override_usage = "ofctl rollback [N]")]
    Rollback(Words),
    /// List the last states, each with the change that ended it
    #[command(override_usage = "ofctl history")]
    History(Words),

    /// Show a bridge, and the settings and state of its ports
    #[command(override_usage = "ofctl show [BRIDGE]")]
    Show(Words),
    /// Show the counters of a port, or of all ports
    #[command(override_usage = "ofctl dump-ports [BRIDGE] [PORT]")]
    DumpPorts(Words),
    /// Show the settings and the state of a port, or of all ports
    #[command(override_usage = "ofctl dump-ports-desc [BRIDGE] [PORT]")]
    DumpPortsDesc(Words),
    /// Add a port, described as for switchd: veth0, tap:vm1, netns:NAMESPACE/NAME, internal:NAME,
    /// patch:NAME,peer=NAME
    #[command(override_usage = "ofctl add-port [BRIDGE] PORT [KEY=VALUE]...")]
    AddPort(Words),
    /// Remove a port; rules that name the port stay
    #[command(override_usage = "ofctl del-port [BRIDGE] PORT")]
    DelPort(Words),
    /// List the names of the ports
    #[command(override_usage = "ofctl list-ports [BRIDGE]")]
    ListPorts(Words),
    /// Set what the bridge does with IP fragments. normal: rules see no transport ports of them; nx-match: rules see those
    /// of first fragments; drop: the bridge drops them
    #[command(override_usage = "ofctl set-frags [BRIDGE] normal|drop|nx-match")]
    SetFrags(Words),
    /// Show what the bridge does with IP fragments
    #[command(override_usage = "ofctl get-frags [BRIDGE]")]
    GetFrags(Words),
    /// Set or clear a flag of a port (OFPPC_*): down, no-flood, no-receive, no-forward, no-packet-in
    #[command(override_usage = "ofctl mod-port [BRIDGE] PORT \
        up|down|flood|no-flood|receive|no-receive|forward|no-forward|packet-in|no-packet-in")]
    ModPort(Words),
    /// Replace the settings of a port: tag, vlan_mode, trunks, cvlans, qinq-ethtype, priority-tags, protected,
    /// storm. A setting that is not given gets its default
    #[command(override_usage = "ofctl set-port [BRIDGE] PORT [KEY=VALUE]...")]
    SetPort(Words),
    /// Show how many rules each table has, and how many packets were looked up in it
    #[command(override_usage = "ofctl dump-tables [BRIDGE]")]
    DumpTables(Words),

    /// List the hosts of the MAC table: port, VLAN, MAC address and age
    #[command(override_usage = "ofctl fdb-show [BRIDGE]")]
    FdbShow(Words),
    /// Remove learned hosts from the MAC table: those of a port, or all
    #[command(override_usage = "ofctl fdb-flush [BRIDGE] [PORT]")]
    FdbFlush(Words),
    /// Add a host to the MAC table that neither ages nor moves
    #[command(override_usage = "ofctl fdb-add [BRIDGE] PORT VLAN MAC")]
    FdbAdd(Words),
    /// Remove a host from the MAC table
    #[command(override_usage = "ofctl fdb-del [BRIDGE] VLAN MAC")]
    FdbDel(Words),
    /// Show or change after how many seconds a silent host is removed, and how many hosts the MAC table has at most
    #[command(override_usage = "ofctl fdb-config [BRIDGE] [ageing=SECONDS] [entries=N]")]
    FdbConfig(Words),
    /// Show the counters of MAC learning
    #[command(override_usage = "ofctl fdb-stats [BRIDGE]")]
    FdbStats(Words),
    /// Show the load of the worker threads, which forward frames
    #[command(override_usage = "ofctl workers [BRIDGE]")]
    Workers(Words),
    /// Show the counters of the workers' caches
    #[command(override_usage = "ofctl cache-show [BRIDGE]")]
    CacheShow(Words),
    /// List all cached flows, or those that packets of MATCH may belong to
    #[command(override_usage = "ofctl dump-cached-flows [BRIDGE] [MATCH] [--why]")]
    DumpCachedFlows(CachedFlows),
    /// Show how many frames were dropped, by port and reason
    #[command(override_usage = "ofctl drops [BRIDGE]")]
    Drops(Words),
    /// Show which rules and actions a packet meets in the tables, without sending it
    #[command(
        override_usage = "ofctl trace [BRIDGE] FLOW [--explain]\n       ofctl trace [BRIDGE] [FLOW] --packet HEX [--explain]\n       ofctl trace [BRIDGE] [FLOW] --from HOST --to HOST [--explain]"
    )]
    Trace(Trace),

    /// Print each event as a line until Ctrl-C. Kinds of events are flows, groups, ports, hosts and bridges; without
    /// KIND all are printed, without BRIDGE those of every bridge
    #[command(override_usage = "ofctl monitor [BRIDGE] [KIND[,KIND]...]")]
    Monitor(Words),

    /// Show what the switch writes into its log, and change it first if a level is given: off, error, warn, info, debug or
    /// trace, with levels of modules behind it, as the environment variable RUST_LOG takes them
    #[command(override_usage = "ofctl log [LEVEL[,MODULE=LEVEL]...]")]
    Log(Log),
    /// Print the completions of ofctl for a shell; needs no switch
    Completions(Completions),
    /// Print the manual page of ofctl, as man(1) reads it; needs no switch
    #[command(hide = true)]
    Man,
    /// Start the switch's program file again, as after an upgrade: the new program takes over from the running one without
    /// losing a frame. If it cannot, the running one goes on
    #[command(override_usage = "ofctl restart")]
    Restart(Words),

    /// Parse a rule and print it as a message would carry it; needs no switch
    ParseFlow(Flow),
    /// Parse the rules of a file and print them as messages would carry them; needs no switch
    ParseFlows(File),
    /// Check a file of rules and print every error; needs no switch. Names of ports are not checked, unless --ports
    /// gives them or --socket names the switch that has them
    Check(Check),
    /// Find rules that can never match, that overlap, that loop, or whose tables, ports or groups do not exist, in a
    /// file or a bridge; exit status 1 if there are any
    #[command(override_usage = "ofctl lint [BRIDGE | FILE]")]
    Lint(Words),

    /// Explain a verb, a field, an action, or another word of rules; fields, actions, attributes, protocols, groups and
    /// buckets print lists of words
    #[command(override_usage = "ofctl help [VERB | WORD]")]
    Help(Words),
}

impl Verb {
    /// The verb as the user types it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::AddFlow(_) => "add-flow",
            Self::AddFlows(_) => "add-flows",
            Self::ModFlows(_) => "mod-flows",
            Self::DelFlows(_) => "del-flows",
            Self::DumpFlows(_) => "dump-flows",
            Self::DumpAggregate(_) => "dump-aggregate",
            Self::ReplaceFlows(_) => "replace-flows",
            Self::DiffFlows(_) => "diff-flows",
            Self::AddGroup(_) => "add-group",
            Self::AddGroups(_) => "add-groups",
            Self::ModGroup(_) => "mod-group",
            Self::DelGroups(_) => "del-groups",
            Self::InsertBuckets(_) => "insert-buckets",
            Self::RemoveBuckets(_) => "remove-buckets",
            Self::DumpGroups(_) => "dump-groups",
            Self::DumpGroupStats(_) => "dump-group-stats",
            Self::PacketOut(_) => "packet-out",
            Self::AddBr(_) => "add-br",
            Self::DelBr(_) => "del-br",
            Self::ListBr(_) => "list-br",
            Self::ShowConfig(_) => "show-config",
            Self::Save(_) => "save",
            Self::Plan(_) => "plan",
            Self::Apply(_) => "apply",
            Self::Confirm(_) => "confirm",
            Self::Rollback(_) => "rollback",
            Self::History(_) => "history",
            Self::Show(_) => "show",
            Self::DumpPorts(_) => "dump-ports",
            Self::DumpPortsDesc(_) => "dump-ports-desc",
            Self::AddPort(_) => "add-port",
            Self::DelPort(_) => "del-port",
            Self::FdbConfig(_) => "fdb-config",
            Self::Workers(_) => "workers",
            Self::ListPorts(_) => "list-ports",
            Self::SetFrags(_) => "set-frags",
            Self::GetFrags(_) => "get-frags",
            Self::ModPort(_) => "mod-port",
            Self::SetPort(_) => "set-port",
            Self::DumpTables(_) => "dump-tables",
            Self::FdbShow(_) => "fdb-show",
            Self::FdbFlush(_) => "fdb-flush",
            Self::FdbAdd(_) => "fdb-add",
            Self::FdbDel(_) => "fdb-del",
            Self::FdbStats(_) => "fdb-stats",
            Self::CacheShow(_) => "cache-show",
            Self::DumpCachedFlows(_) => "dump-cached-flows",
            Self::Drops(_) => "drops",
            Self::Trace(_) => "trace",
            Self::Monitor(_) => "monitor",
            Self::Log(_) => "log",
            Self::Completions(_) => "completions",
            Self::Man => "man",
            Self::Restart(_) => "restart",
            Self::ParseFlow(_) => "parse-flow",
            Self::ParseFlows(_) => "parse-flows",
            Self::Check(_) => "check",
            Self::Lint(_) => "lint",
            Self::Help(_) => "help",
        }
    }
}

/// The arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanWords {
    /// A file, as save writes it; - is standard input
    pub(crate) file: Option<String>,
    /// Compare with state N of the history instead of a file
    #[arg(long, value_name = "N")]
    pub(crate) history: Option<u64>,
    /// Exit with status 2 if there is a difference
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// The arguments of `apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyWords {
    /// A file, as save writes it; - is standard input
    pub(crate) file: String,
    /// Take the change back after TIME (60s, 5m) unless confirm comes
    #[arg(long, value_name = "TIME")]
    pub(crate) confirm: Option<String>,
}

/// The argument of `log`.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// What the switch is to log from now on: debug, or info,switchd::bridge=debug
    #[arg(value_name = "LEVEL")]
    pub(crate) filter: Option<String>,
}

/// The argument of `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell that reads the completions
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// The arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A file of rules; - is standard input
    pub(crate) file: String,
    /// The names of the ports that there will be, with commas between. Any other name is an error then
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) ports: Option<Vec<String>>,
}

/// The argument of `parse-flow`.
#[derive(Debug, Args)]
pub(crate) struct Flow {
    /// The rule, as add-flow takes it
    pub(crate) flow: String,
}

/// The argument of `parse-flows` and `check`.
#[derive(Debug, Args)]
pub(crate) struct File {
    /// The path of a file with one rule a line; - is standard input
    pub(crate) file: String,
}

/// The last word of `mod-port`, which sets or clears a [`PortFlag`](control::PortFlag).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PortAction {
    /// The port receives and sends, and its device is set up
    Up,
    /// The port neither receives nor sends, and its device is set down
    Down,
    /// FLOOD, and floods of NORMAL, include the port
    Flood,
    /// FLOOD, and floods of NORMAL, leave the port out
    NoFlood,
    /// Frames that the port receives go through the tables
    Receive,
    /// Frames that the port receives are dropped
    NoReceive,
    /// Frames that rules send to the port are sent
    Forward,
    /// Frames that rules send to the port are dropped
    NoForward,
    /// Table misses of the port's packets cause packet-ins
    PacketIn,
    /// Table misses of the port's packets cause no packet-ins
    NoPacketIn,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(words: &str) -> Options {
        let argv = std::iter::once("ofctl").chain(words.split_whitespace());
        Options::try_parse_from(argv).unwrap_or_else(|e| panic!("{words}: {e}"))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn options_stand_anywhere() {
        for words in [
            "-O OpenFlow13 --strict add-flow br0 drop",
            "add-flow -OOpenFlow13 br0 drop --strict",
            "add-flow br0 --strict drop -O openflow13",
            "--protocols=OpenFlow10,OpenFlow13 --strict add-flow br0 drop",
        ] {
            let options = parse(words);
            assert_eq!(options.how.version(), OfVersion::OpenFlow13, "{words}");
            assert!(options.how.strict, "{words}");
            let Verb::AddFlow(words) = &options.verb else { panic!("{options:?}") };
            assert_eq!(words.words, ["br0", "drop"]);
        }
    }

    #[test]
    fn an_option_with_no_wins_over_the_one_without() {
        assert!(parse("dump-flows --names").how.names());
        assert!(!parse("--names dump-flows --no-names").how.names());
        assert!(parse("dump-flows --stats").how.stats());
        assert!(!parse("dump-flows --no-stats --stats").how.stats());
    }

    #[test]
    fn sorting_takes_a_field_or_none() {
        assert_eq!(parse("dump-flows --sort br0").how.sort, ["priority"]);
        assert_eq!(parse("--rsort=in_port dump-flows br0").how.rsort, ["in_port"]);
    }

    #[test]
    fn the_name_of_a_verb_is_the_word_that_users_type() {
        let command = Options::command();
        for verb in command.get_subcommands() {
            let name = verb.get_name();
            let needed = match name {
                "parse-flow" | "parse-flows" | "check" | "apply" => " x",
                "completions" => " bash",
                _ => "",
            };
            assert_eq!(parse(&format!("{name}{needed}")).verb.name(), name);
        }
    }

    /// What a page has between backticks, or indented by four blanks, and begins with `ofctl`.
    fn commands(page: &str) -> impl Iterator<Item = &str> {
        let quoted = page.split('`').skip(1).step_by(2);
        let indented = page.lines().filter_map(|line| line.strip_prefix("    "));
        quoted.chain(indented).filter_map(|code| code.strip_prefix("ofctl "))
    }

    #[test]
    fn the_pages_name_verbs_that_exist() {
        let known = Options::command();
        for (name, page) in [
            ("README.md", include_str!("../../README.md")),
            ("bridges.md", include_str!("../../docs/bridges.md")),
            ("caches.md", include_str!("../../docs/caches.md")),
            ("config.md", include_str!("../../docs/config.md")),
            ("save.md", include_str!("../../docs/save.md")),
            ("cookbook.md", include_str!("../../docs/cookbook.md")),
            ("from-ovs.md", include_str!("../../docs/from-ovs.md")),
            ("json.md", include_str!("../../docs/json.md")),
            ("ports.md", include_str!("../../docs/ports.md")),
            ("restart.md", include_str!("../../docs/restart.md")),
            ("rules.md", include_str!("../../docs/rules.md")),
            ("service.md", include_str!("../../docs/service.md")),
            ("state.md", include_str!("../../docs/state.md")),
            ("troubleshooting.md", include_str!("../../docs/troubleshooting.md")),
        ] {
            for command in commands(page) {
                let mut words = command.split_whitespace().skip_while(|word| word.starts_with('-'));
                let verb = words.next().unwrap_or_default();
                // A placeholder, or an option that stands alone.
                if verb.is_empty() || verb == "VERB" {
                    continue;
                }
                let is_known = known.find_subcommand(verb.trim_end_matches([';', ',']));
                assert!(is_known.is_some(), "{name}: ofctl {command}");
            }
        }
    }

    #[test]
    fn a_misspelt_verb_gets_the_nearest_verbs() {
        let shown = |verb: &str| {
            let error = Options::read(&["ofctl", verb].map(OsString::from)).unwrap_err();
            error.to_string().lines().take(3).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            shown("dump-flow"),
            [
                "error: unrecognized subcommand 'dump-flow'",
                "",
                "  tip: some similar subcommands exist: 'dump-flows', 'dump-cached-flows', 'add-flow'",
            ]
        );
    }

    #[test]
    fn wrong_words_are_refused() {
        for words in ["", "frob", "-O OpenFlow99 show", "show --frob", "-t x show"] {
            let words = std::iter::once("ofctl").chain(words.split_whitespace());
            assert!(Options::try_parse_from(words).is_err());
        }
    }
}
