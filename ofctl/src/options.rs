//! The command line, as typed. What the words mean is the verbs' business.

use clap::{Args, Parser, Subcommand, ValueEnum};
use flow::types::OfVersion;
use std::path::PathBuf;

/// Programs and asks a running switchd.
///
/// Verbs, rules and output are those of ovs-ofctl. BRIDGE may be left out while there is one.
#[derive(Debug, Parser)]
#[command(name = "ofctl", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Options {
    /// What to do
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// How
    #[command(flatten)]
    pub(crate) how: How,
}

/// Options of all verbs. They may stand anywhere.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Version of OpenFlow: decides how actions are named and what they may say
    #[arg(short = 'O', long = "protocols", id = "protocols", global = true, value_name = "VERSION", default_value = "OpenFlow10", value_parser = version)]
    pub(crate) version: OfVersion,
    /// Show names of ports [default: on a terminal]
    #[arg(long, global = true)]
    names: bool,
    /// Show numbers of ports [default: when the output is no terminal]
    #[arg(long, global = true)]
    no_names: bool,
    /// Show counters and ages of rules (the default)
    #[arg(long, global = true)]
    stats: bool,
    /// Leave out counters and ages of rules
    #[arg(long, global = true)]
    no_stats: bool,
    /// Sort rules by priority, or by a field; may be repeated
    #[arg(long, global = true, value_name = "FIELD", num_args = 0..=1, require_equals = true, default_missing_value = "priority")]
    pub(crate) sort: Vec<String>,
    /// Sort rules the other way round
    #[arg(long, global = true, value_name = "FIELD", num_args = 0..=1, require_equals = true, default_missing_value = "priority")]
    pub(crate) rsort: Vec<String>,
    /// Only the rule with exactly this match and priority
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// All rules of a file at once. Always so; accepted because ovs-ofctl knows it
    #[arg(long, global = true)]
    pub(crate) bundle: bool,
    /// mod-group adds a group that does not exist
    #[arg(long, global = true)]
    pub(crate) may_create: bool,
    /// Take, and alter, text that Open vSwitch takes and silently alters
    #[arg(long, global = true)]
    pub(crate) lenient: bool,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Path of the control socket [default: switchd.sock in $SWITCH_RUNDIR, else in /run/switchd for
    /// root, else in $XDG_RUNTIME_DIR/switchd]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Give up when the switch is silent for so many seconds
    #[arg(short = 't', long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) timeout: Option<u32>,
}

impl How {
    /// Whether ports are shown by name.
    pub(crate) fn names(&self) -> bool {
        use std::io::IsTerminal;
        !self.no_names && (self.names || std::io::stdout().is_terminal())
    }

    /// Whether rules are shown with their counters.
    pub(crate) fn stats(&self) -> bool {
        !self.no_stats
    }
}

/// The highest of the versions: what two peers that may speak all of them agree on.
fn version(text: &str) -> Result<OfVersion, String> {
    let versions: Option<Vec<OfVersion>> =
        text.split(',').map(|name| control::version::parse(name.trim())).collect();
    versions.and_then(|versions| versions.into_iter().max()).ok_or_else(|| {
        let names = control::version::NAMES.map(|(_, name)| name);
        format!("versions are {}", names.join(", "))
    })
}

/// Words behind a verb: a bridge, perhaps, and what the verb needs.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// See the usage above
    #[arg(value_name = "ARGUMENT", hide = true)]
    pub(crate) words: Vec<String>,
}

/// A packet to follow.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// The flow, and perhaps the packet, as `ovs-appctl ofproto/trace` takes them
    #[command(flatten)]
    pub(crate) words: Words,
    /// The packet itself, in hexadecimal digits; - is standard input. It comes in where FLOW says
    /// (in_port=1), or where its source address was learned
    #[arg(long, value_name = "HEX", conflicts_with_all = ["from", "to"])]
    pub(crate) packet: Option<String>,
    /// The host that sends it: a MAC address that was learned, or an IP address. Gives the port, the
    /// VLAN and the address; FLOW gives the rest, or it is a ping
    #[arg(long, value_name = "HOST")]
    pub(crate) from: Option<String>,
    /// The host that it is for
    #[arg(long, value_name = "HOST")]
    pub(crate) to: Option<String>,
    /// In sentences, with the rules that lost and what they lost on
    #[arg(long)]
    pub(crate) explain: bool,
}

/// What `dump-cached-flows` needs.
#[derive(Debug, Args)]
pub(crate) struct CachedFlows {
    /// The bridge, perhaps, and a match that selects flows.
    #[command(flatten)]
    pub(crate) words: Words,
    /// Tell what made each flow depend on the bits that it depends on
    #[arg(long)]
    pub(crate) why: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Add a rule
    #[command(override_usage = "ofctl add-flow [BRIDGE] RULE")]
    AddFlow(Words),
    /// Add the rules of a file, all or none; - is standard input
    #[command(override_usage = "ofctl add-flows [BRIDGE] FILE")]
    AddFlows(Words),
    /// Change the actions of the rules that match; with --strict of exactly that one
    #[command(override_usage = "ofctl mod-flows [BRIDGE] RULE")]
    ModFlows(Words),
    /// Delete the rules that match, or all; with --strict exactly that one
    #[command(override_usage = "ofctl del-flows [BRIDGE] [MATCH]")]
    DelFlows(Words),
    /// List the rules that match, or all
    #[command(override_usage = "ofctl dump-flows [BRIDGE] [MATCH]")]
    DumpFlows(Words),
    /// Add up the counters of the rules that match, or of all
    #[command(override_usage = "ofctl dump-aggregate [BRIDGE] [MATCH]")]
    DumpAggregate(Words),
    /// Make the rules those of a file; rules that stay keep their counters
    #[command(override_usage = "ofctl replace-flows [BRIDGE] FILE")]
    ReplaceFlows(Words),
    /// Compare two files of rules, or one with the switch; exit status 2 if they differ
    #[command(override_usage = "ofctl diff-flows SOURCE1 SOURCE2")]
    DiffFlows(Words),

    /// Add a group
    #[command(override_usage = "ofctl add-group [BRIDGE] GROUP")]
    AddGroup(Words),
    /// Add the groups of a file, all or none; - is standard input
    #[command(override_usage = "ofctl add-groups [BRIDGE] FILE")]
    AddGroups(Words),
    /// Replace a group; with --may-create add it if there is none
    #[command(override_usage = "ofctl mod-group [BRIDGE] GROUP")]
    ModGroup(Words),
    /// Delete a group, or all, and the rules that use them
    #[command(override_usage = "ofctl del-groups [BRIDGE] [GROUP]")]
    DelGroups(Words),
    /// Put buckets into a group
    #[command(override_usage = "ofctl insert-buckets [BRIDGE] GROUP")]
    InsertBuckets(Words),
    /// Take buckets out of a group
    #[command(override_usage = "ofctl remove-buckets [BRIDGE] GROUP")]
    RemoveBuckets(Words),
    /// List groups
    #[command(override_usage = "ofctl dump-groups [BRIDGE] [GROUP]")]
    DumpGroups(Words),
    /// List the counters of groups
    #[command(override_usage = "ofctl dump-group-stats [BRIDGE] [GROUP]")]
    DumpGroupStats(Words),

    /// Send a packet, given as hexadecimal digits; TABLE asks the rules what to do with it
    #[command(
        override_usage = "ofctl packet-out [BRIDGE] \"[in_port=PORT,][metadata=N,][regN=N,]packet=HEX,actions=ACTIONS\"\n       ofctl packet-out [BRIDGE] PORT ACTIONS HEX..."
    )]
    PacketOut(Words),

    /// Add a bridge without ports
    #[command(override_usage = "ofctl add-br NAME [datapath-id=ID]")]
    AddBr(Words),
    /// Take a bridge away, with its ports, rules, groups and hosts
    #[command(override_usage = "ofctl del-br NAME")]
    DelBr(Words),
    /// List the names of the bridges
    #[command(override_usage = "ofctl list-br")]
    ListBr(Words),
    /// Show bridges and ports with all their settings, as the file that switchd --config starts from
    #[command(override_usage = "ofctl show-config")]
    ShowConfig(Words),

    /// Show a bridge and its ports
    #[command(override_usage = "ofctl show [BRIDGE]")]
    Show(Words),
    /// Show the counters of a port, or of all
    #[command(override_usage = "ofctl dump-ports [BRIDGE] [PORT]")]
    DumpPorts(Words),
    /// Show a port, or all
    #[command(override_usage = "ofctl dump-ports-desc [BRIDGE] [PORT]")]
    DumpPortsDesc(Words),
    /// Add a port, described as for switchd: veth0, tap:vm1, netns:NAMESPACE/NAME, internal:NAME,
    /// patch:NAME,peer=NAME
    #[command(override_usage = "ofctl add-port [BRIDGE] PORT [KEY=VALUE]...")]
    AddPort(Words),
    /// Take a port away; rules that name it stay
    #[command(override_usage = "ofctl del-port [BRIDGE] PORT")]
    DelPort(Words),
    /// List the names of the ports
    #[command(override_usage = "ofctl list-ports [BRIDGE]")]
    ListPorts(Words),
    /// Change how a port behaves: up, down, flood, no-flood, receive, no-receive, forward, no-forward,
    /// packet-in, no-packet-in
    #[command(override_usage = "ofctl mod-port [BRIDGE] PORT \
        up|down|flood|no-flood|receive|no-receive|forward|no-forward|packet-in|no-packet-in")]
    ModPort(Words),
    /// Change the settings of a port: VLANs (tag, vlan_mode, trunks, cvlans, qinq-ethtype, priority-tags),
    /// protected, storm; all of them to their default if none is named
    #[command(override_usage = "ofctl set-port [BRIDGE] PORT [KEY=VALUE]...")]
    SetPort(Words),
    /// Show the counters of the tables
    #[command(override_usage = "ofctl dump-tables [BRIDGE]")]
    DumpTables(Words),

    /// List the hosts that were learned
    #[command(override_usage = "ofctl fdb-show [BRIDGE]")]
    FdbShow(Words),
    /// Forget the hosts that were learned, on a port or everywhere
    #[command(override_usage = "ofctl fdb-flush [BRIDGE] [PORT]")]
    FdbFlush(Words),
    /// Add a host that neither ages nor moves
    #[command(override_usage = "ofctl fdb-add [BRIDGE] PORT VLAN MAC")]
    FdbAdd(Words),
    /// Remove a host
    #[command(override_usage = "ofctl fdb-del [BRIDGE] VLAN MAC")]
    FdbDel(Words),
    /// Show or change the limits of learning
    #[command(override_usage = "ofctl fdb-config [BRIDGE] [ageing=SECONDS] [entries=N]")]
    FdbConfig(Words),
    /// Show the counters of learning
    #[command(override_usage = "ofctl fdb-stats [BRIDGE]")]
    FdbStats(Words),
    /// Show what the threads that move frames did
    #[command(override_usage = "ofctl workers [BRIDGE]")]
    Workers(Words),
    /// Show what the caches did
    #[command(override_usage = "ofctl cache-show [BRIDGE]")]
    CacheShow(Words),
    /// List the flows that the workers have cached, or those that packets of a match may belong to
    #[command(override_usage = "ofctl dump-cached-flows [BRIDGE] [MATCH] [--why]")]
    DumpCachedFlows(CachedFlows),
    /// Show what was not forwarded, and why
    #[command(override_usage = "ofctl drops [BRIDGE]")]
    Drops(Words),
    /// Follow a packet through the tables, without sending anything
    #[command(
        override_usage = "ofctl trace [BRIDGE] FLOW [--explain]\n       ofctl trace [BRIDGE] [FLOW] --packet HEX [--explain]\n       ofctl trace [BRIDGE] [FLOW] --from HOST --to HOST [--explain]"
    )]
    Trace(Trace),

    /// Tell what happens, a line for each event, until Ctrl-C: flows, groups, ports, hosts, bridges, or all
    /// of them; without BRIDGE in every bridge
    #[command(override_usage = "ofctl monitor [BRIDGE] [KIND[,KIND]...]")]
    Monitor(Words),

    /// Show how a rule is understood, without a switch
    ParseFlow(Flow),
    /// Show how the rules of a file are understood, without a switch
    ParseFlows(File),
    /// Look for mistakes in a file of rules, without a switch
    Check(File),
    /// Look for rules that can never match, overlap, loop or lead nowhere: in a file, or in the
    /// switch; exit status 1 if there are any
    #[command(override_usage = "ofctl lint [BRIDGE | FILE]")]
    Lint(Words),
}

impl Verb {
    /// The verb as typed.
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
            Self::Show(_) => "show",
            Self::DumpPorts(_) => "dump-ports",
            Self::DumpPortsDesc(_) => "dump-ports-desc",
            Self::AddPort(_) => "add-port",
            Self::DelPort(_) => "del-port",
            Self::FdbConfig(_) => "fdb-config",
            Self::Workers(_) => "workers",
            Self::ListPorts(_) => "list-ports",
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
            Self::ParseFlow(_) => "parse-flow",
            Self::ParseFlows(_) => "parse-flows",
            Self::Check(_) => "check",
            Self::Lint(_) => "lint",
        }
    }
}

/// A rule.
#[derive(Debug, Args)]
pub(crate) struct Flow {
    /// The rule
    pub(crate) flow: String,
}

/// A file.
#[derive(Debug, Args)]
pub(crate) struct File {
    /// Its name; - is standard input
    pub(crate) file: String,
}

/// What `mod-port` can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PortAction {
    /// Administratively up
    Up,
    /// Administratively down
    Down,
    /// FLOOD sends here
    Flood,
    /// FLOOD leaves this port out
    NoFlood,
    /// Frames that come in are forwarded
    Receive,
    /// Frames that come in are dropped
    NoReceive,
    /// Frames are sent
    Forward,
    /// Nothing is sent
    NoForward,
    /// Table misses are told to a controller
    PacketIn,
    /// Table misses are not told
    NoPacketIn,
}

const EXAMPLES: &str = "\
Examples:
  ofctl add-flow \"priority=100,ip,nw_dst=10.0.0.2,actions=output:2\"
  ofctl add-flow \"in_port=veth0,arp,actions=NORMAL\"
  ofctl add-flows rules.txt                     all of the file, or nothing
  ofctl dump-flows tcp                          rules that only tcp can match
  ofctl --strict del-flows \"priority=100,ip,nw_dst=10.0.0.2\"
  ofctl -O OpenFlow13 add-group \"group_id=1,type=select,bucket=output:1,bucket=output:2\"
  ofctl show; ofctl dump-ports; ofctl fdb-show; ofctl drops
  ofctl trace \"in_port=1,tcp,nw_dst=10.0.0.2,tp_dst=80\" --explain
  ofctl trace tcp,tp_dst=80 --from 02:00:00:00:00:01 --to 02:00:00:00:00:02
  ofctl lint; ofctl lint rules.txt              rules that are hardly meant
  ofctl dump-flows --json
  ofctl monitor flows,ports                     what happens from now on

Exit status: 0 done, 1 refused or failed (lint, check: something found), 2 wrong usage (diff-flows: different).";

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
            assert_eq!(options.how.version, OfVersion::OpenFlow13, "{words}");
            assert!(options.how.strict, "{words}");
            let Verb::AddFlow(words) = &options.verb else { panic!("{options:?}") };
            assert_eq!(words.words, ["br0", "drop"]);
        }
    }

    #[test]
    fn the_denial_wins() {
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
    fn verbs_are_called_what_they_are_called() {
        let command = Options::command();
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let name = verb.get_name();
            let needed =
                if matches!(name, "parse-flow" | "parse-flows" | "check") { " x" } else { "" };
            assert_eq!(parse(&format!("{name}{needed}")).verb.name(), name);
        }
    }

    #[test]
    fn wrong_words_are_refused() {
        for words in ["", "frob", "-O OpenFlow99 show", "show --frob", "-t 0 show"] {
            let words = std::iter::once("ofctl").chain(words.split_whitespace());
            assert!(Options::try_parse_from(words).is_err());
        }
    }
}
