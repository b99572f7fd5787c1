//! The verbs of `ofctl`, each with its help.

use super::arguments::{
    AddZoneTp, ApplyWords, CachedFlows, Check, Completions, Composed, DelZoneTp, File, Flow,
    HexMessage, Log, MatchVersion, PcapFile, PlanWords, Trace, Words,
};
use clap::Subcommand;

// The doc comments of verbs and their options are the text of `ofctl --help`.
/// What the help of the verbs about connections says of tuples.
const TUPLE_HELP: &str = "The first TUPLE is that of a connection's first packet, the second one that of the answers. A \
    tuple has parts like ct_nw_src=10.0.0.1,ct_nw_dst=10.0.0.2,ct_nw_proto=6,ct_tp_src=1000,ct_tp_dst=80, or \
    ct_ipv6_src and ct_ipv6_dst, or icmp_type, icmp_code and icmp_id; all of those that are given have to fit. With a \
    tuple, the zone is 0 unless zone=N says another one.";

/// What the help of `add-zone-tp` says of timeouts.
const ZONE_TP_HELP: &str = "The timeouts, with their defaults: tcp_syn_sent=30, tcp_syn_recv=30, tcp_established=86400, \
    tcp_fin_wait=900, tcp_time_wait=45, tcp_close=30, udp_first=60, udp_single=60, udp_multiple=30, icmp_first=60, \
    icmp_reply=30. Those that are not given have their defaults. As in Open vSwitch, the name of a datapath (netdev) may \
    stand in front of zone=N.";

/// The verbs of `ofctl`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Add a rule
    #[command(override_usage = "ofctl add-flow [BRIDGE] RULE")]
    AddFlow(Words),
    /// Add the rules of a file: either all or, if one is refused, none; - is standard input
    #[command(override_usage = "ofctl add-flows [BRIDGE] FILE")]
    AddFlows(Words),
    /// Change the actions of the rules that MATCH covers; with --strict of the one rule
    /// with this match and priority
    #[command(override_usage = "ofctl mod-flows [BRIDGE] MATCH,actions=ACTIONS")]
    ModFlows(Words),
    /// Delete the rules that MATCH covers, or all rules; with --strict the one rule
    /// with this match and priority
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

    /// Add a meter, which limits the rate of the packets that the action meter:ID sends through it
    #[command(override_usage = "ofctl add-meter [BRIDGE] METER")]
    AddMeter(Words),
    /// Replace a meter; its counters begin anew
    #[command(override_usage = "ofctl mod-meter [BRIDGE] METER")]
    ModMeter(Words),
    /// Delete a meter, or all meters, and the rules that use them
    #[command(alias = "del-meter", override_usage = "ofctl del-meters [BRIDGE] [METER]")]
    DelMeters(Words),
    /// List a meter, or all meters, with their bands
    #[command(alias = "dump-meter", override_usage = "ofctl dump-meters [BRIDGE] [METER]")]
    DumpMeters(Words),
    /// Show the counters of a meter, or of all meters
    #[command(override_usage = "ofctl meter-stats [BRIDGE] [METER]")]
    MeterStats(Words),
    /// Show what meters of the switch can be like
    #[command(override_usage = "ofctl meter-features [BRIDGE]")]
    MeterFeatures(Words),

    /// Carry out actions on a packet, given in hexadecimal; the action TABLE sends
    /// the packet through the tables
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

    /// Have a bridge connect to these OpenFlow controllers (tcp:HOST:PORT, ssl:HOST:PORT, unix:PATH) or wait
    /// for them (ptcp:PORT:IP, pssl:PORT:IP, punix:PATH), instead of those that it has. PORT and IP can be
    /// left out. Settings stand behind a target: inactivity_probe=MS, max_backoff=MS,
    /// controller_rate_limit=N, controller_burst_limit=N, connection_mode=in-band|out-of-band
    #[command(
        override_usage = "ofctl set-controller [BRIDGE] TARGET [KEY=VALUE]... [TARGET [KEY=VALUE]...]..."
    )]
    SetController(Words),
    /// List the controllers of a bridge with their settings
    #[command(override_usage = "ofctl get-controller [BRIDGE]")]
    GetController(Words),
    /// Take all controllers of a bridge away
    #[command(override_usage = "ofctl del-controller [BRIDGE]")]
    DelController(Words),
    /// Set what a bridge does without a controller. standalone: it forwards as a learning switch; secure: it
    /// has no rules of its own
    #[command(override_usage = "ofctl set-fail-mode [BRIDGE] standalone|secure")]
    SetFailMode(Words),
    /// Show what a bridge does without a controller
    #[command(override_usage = "ofctl get-fail-mode [BRIDGE]")]
    GetFailMode(Words),
    /// Have a bridge do the default without a controller: standalone
    #[command(override_usage = "ofctl del-fail-mode [BRIDGE]")]
    DelFailMode(Words),
    /// Set which versions of OpenFlow a bridge speaks: OpenFlow10 to OpenFlow15, with commas between, or all
    #[command(override_usage = "ofctl set-protocols [BRIDGE] VERSION[,VERSION]...|all")]
    SetProtocols(Words),
    /// List the versions of OpenFlow that a bridge speaks
    #[command(override_usage = "ofctl get-protocols [BRIDGE]")]
    GetProtocols(Words),
    /// Set the files for TLS connections to controllers, in PEM format: private key and certificate of the
    /// switch, and the certificates of those who may sign the certificates of controllers
    #[command(override_usage = "ofctl set-ssl PRIVATE-KEY CERTIFICATE CA-CERT")]
    SetSsl(Words),
    /// Show the files for TLS connections
    #[command(override_usage = "ofctl get-ssl")]
    GetSsl(Words),
    /// Take the files for TLS connections away
    #[command(override_usage = "ofctl del-ssl")]
    DelSsl(Words),

    /// Print the whole switch as a file that people read and version, or write it into FILE: bridges, ports,
    /// rules, groups and static hosts
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
    /// patch:NAME,peer=NAME, vxlan:NAME,remote_ip=ADDRESS,key=N, geneve:NAME, gre:NAME
    #[command(override_usage = "ofctl add-port [BRIDGE] PORT [KEY=VALUE]...")]
    AddPort(Words),
    /// Remove a port; rules that name the port stay
    #[command(override_usage = "ofctl del-port [BRIDGE] PORT")]
    DelPort(Words),
    /// List the names of the ports
    #[command(override_usage = "ofctl list-ports [BRIDGE]")]
    ListPorts(Words),
    /// Set what the bridge does with IP fragments. normal: rules see no transport ports of them; nx-match:
    /// rules see those of first fragments; drop: the bridge drops them
    #[command(override_usage = "ofctl set-frags [BRIDGE] normal|drop|nx-match")]
    SetFrags(Words),
    /// Show what the bridge does with IP fragments
    #[command(override_usage = "ofctl get-frags [BRIDGE]")]
    GetFrags(Words),
    /// Set or clear a flag of a port (OFPPC_*): down, no-stp, no-receive,
    /// no-receive-stp, no-flood, no-forward, no-packet-in
    #[command(override_usage = "ofctl mod-port [BRIDGE] PORT \
        up|down|stp|no-stp|receive|no-receive|receive-stp|no-receive-stp|flood|no-flood|forward|no-forward|packet-in|no-packet-in")]
    ModPort(Words),
    /// Change the settings of a port: tag, vlan_mode, trunks, cvlans, qinq-ethtype and priority-tags, of
    /// which those that are not given get their defaults if one of them is; protected; storm. Without
    /// any, all get their defaults
    #[command(override_usage = "ofctl set-port [BRIDGE] PORT [KEY=VALUE]...")]
    SetPort(Words),
    /// Show how many rules each table has, and how many packets were looked up in it
    #[command(override_usage = "ofctl dump-tables [BRIDGE]")]
    DumpTables(Words),
    /// Show how each table behaves: eviction, and when controllers hear how full it is.
    /// Other switches need OpenFlow 1.4
    #[command(override_usage = "ofctl dump-table-desc [BRIDGE|SWITCH]")]
    DumpTableDesc(Words),
    /// Change how a table behaves: what happens to packets without a rule (controller, continue, drop), whether
    /// it evicts rules when it is full (evict, noevict), when controllers hear how full it is (vacancy:DOWN,UP,
    /// in per cent that are free; novacancy), its name (name:NAME), its largest number of rules (flow_limit:N
    /// or flow_limit:none), what a full table does (overflow_policy:refuse or overflow_policy:evict), and which
    /// bits group rules that are evicted (groups:FIELD,...)
    #[command(override_usage = "ofctl mod-table [BRIDGE|SWITCH] TABLE|all SETTING")]
    ModTable(Words),

    /// Show the sessions of BFD through tunnel ports: whether remote ends are up
    #[command(alias = "bfd/show", override_usage = "ofctl bfd-show [BRIDGE] [PORT]")]
    BfdShow(Words),
    /// List or change overlays: networks that machines share through tunnels. "add" takes what switchd
    /// --overlay takes: vxlan:NAME, vni=N, peer=IP for each other machine, and options of ports
    #[command(
        override_usage = "ofctl overlay list [BRIDGE]\n       ofctl overlay add [BRIDGE] vxlan:NAME vni=N peer=IP... [KEY=VALUE]...\n       ofctl overlay del [BRIDGE] NAME\n       ofctl overlay add-peer|del-peer [BRIDGE] NAME IP\n       ofctl overlay set [BRIDGE] NAME KEY=VALUE...\n       ofctl overlay add-host [BRIDGE] NAME IP MAC [vlan=N] [ip=IP[,IP]...]\n       ofctl overlay del-host [BRIDGE] NAME MAC"
    )]
    Overlay(Words),

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
    /// Show or change after how many seconds a silent host is removed, and how many hosts the
    /// MAC table has at most
    #[command(override_usage = "ofctl fdb-config [BRIDGE] [ageing=SECONDS] [entries=N]")]
    FdbConfig(Words),
    /// Show the counters of MAC learning
    #[command(override_usage = "ofctl fdb-stats [BRIDGE]")]
    FdbStats(Words),
    /// List the connections that ct(commit) has remembered: those that fit, or all
    #[command(
        override_usage = "ofctl dump-conntrack [zone=N] [mark=VALUE[/MASK]] [labels=VALUE[/MASK]] [TUPLE [TUPLE]]",
        after_help = TUPLE_HELP
    )]
    DumpConntrack(Words),
    /// Forget connections: those that fit, or all
    #[command(
        alias = "ct-flush",
        override_usage = "ofctl flush-conntrack [BRIDGE] [zone=N] [mark=VALUE[/MASK]] [labels=VALUE[/MASK]] [TUPLE [TUPLE]]",
        after_help = TUPLE_HELP
    )]
    FlushConntrack(Words),
    /// Forget the connections of a zone
    #[command(override_usage = "ofctl ct-flush-zone [BRIDGE] ZONE")]
    CtFlushZone(Words),
    /// Show how many connections there may be
    #[command(override_usage = "ofctl ct-get-maxconns")]
    CtGetMaxconns(Words),
    /// Change how many connections there may be; those that are too many stay
    #[command(override_usage = "ofctl ct-set-maxconns NUMBER")]
    CtSetMaxconns(Words),
    /// Show how many connections zones may have, and how many they have
    #[command(override_usage = "ofctl ct-get-limits [zone=N[,N]...]")]
    CtGetLimits(Words),
    /// Change how many connections zones may have; 0 is any number
    #[command(override_usage = "ofctl ct-set-limits [default=NUMBER] [zone=N,limit=NUMBER]...")]
    CtSetLimits(Words),
    /// Remove the limits of zones, so that the default limit holds
    #[command(override_usage = "ofctl ct-del-limits zone=N[,N]...")]
    CtDelLimits(Words),
    /// Show how many connections each part of the table has
    #[command(override_usage = "ofctl ct-bkts [gt=NUMBER]")]
    CtBkts(Words),
    /// Give a zone timeouts of its own for connections, in seconds
    #[command(
        override_usage = "ofctl add-zone-tp [--may-exist] zone=N TIMEOUT=SECONDS...",
        after_help = ZONE_TP_HELP
    )]
    AddZoneTp(AddZoneTp),
    /// Take the timeouts of its own from a zone, so that the defaults hold
    #[command(override_usage = "ofctl del-zone-tp [--if-exists] zone=N")]
    DelZoneTp(DelZoneTp),
    /// List the zones with timeouts of their own
    #[command(override_usage = "ofctl list-zone-tp")]
    ListZoneTp(Words),
    /// Show how many connections there are, and what became of others
    #[command(override_usage = "ofctl ct-stats")]
    CtStats(Words),
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

    /// Print each event as a line until Ctrl-C. Kinds of events are flows, groups, meters, ports, hosts,
    /// bridges and conntrack (or ct: connections that are committed and end, of no bridge); without KIND all
    /// but conntrack are printed, without BRIDGE those of every bridge. With the other words, or of another
    /// switch, print OpenFlow messages: packets with up to LEN bytes, with invalid_ttl those whose TTL has run
    /// out, too (OpenFlow 1.0 to 1.2), with resume those that controller(pause) holds, which go on at once; and
    /// with watch: changes of rules
    #[command(
        override_usage = "ofctl monitor [BRIDGE] [KIND[,KIND]...]\n       ofctl monitor [SWITCH] [LEN] [invalid_ttl] [resume] [watch:[!initial,][!add,][!delete,][!modify,][!actions,][!own,][MATCH]]..."
    )]
    Monitor(Words),

    /// Show what the switch writes into its log, and change it first if a level is given: off, error, warn,
    /// info, debug or trace, with levels of modules behind it, as the environment variable RUST_LOG takes them
    #[command(override_usage = "ofctl log [LEVEL[,MODULE=LEVEL]...]")]
    Log(Log),
    /// Print the completions of ofctl for a shell; needs no switch
    Completions(Completions),
    /// Print the manual page of ofctl, as man(1) reads it; needs no switch
    #[command(hide = true)]
    Man,
    /// Start the switch's program file again, as after an upgrade: the new program takes over from the running
    /// one without losing a frame. If it cannot, the running one goes on
    #[command(override_usage = "ofctl restart")]
    Restart(Words),

    /// Print the description of an OpenFlow switch
    #[command(override_usage = "ofctl dump-desc [SWITCH]")]
    DumpDesc(Words),
    /// Show what an OpenFlow switch can do with groups
    #[command(override_usage = "ofctl dump-group-features [SWITCH]")]
    DumpGroupFeatures(Words),
    /// Show what the tables of an OpenFlow switch can match and do; needs OpenFlow 1.3
    #[command(override_usage = "ofctl dump-table-features [SWITCH]")]
    DumpTableFeatures(Words),
    /// Show the counters of a queue, of the queues of a port, or of all queues
    #[command(override_usage = "ofctl queue-stats [SWITCH] [PORT [QUEUE]]")]
    QueueStats(Words),
    /// Show the rates of the queues of a port, or of all queues
    #[command(override_usage = "ofctl queue-get-config [SWITCH] [PORT [QUEUE]]")]
    QueueGetConfig(Words),
    /// Map Geneve options to the fields tun_metadata0 to tun_metadata63
    #[command(
        override_usage = "ofctl add-tlv-map [SWITCH] {class=CLASS,type=TYPE,len=BYTES}->tun_metadataN[,...]"
    )]
    AddTlvMap(Words),
    /// Delete mappings of Geneve options, or all
    #[command(
        override_usage = "ofctl del-tlv-map [SWITCH] [{class=CLASS,type=TYPE,len=BYTES}->tun_metadataN[,...]]"
    )]
    DelTlvMap(Words),
    /// Show which Geneve options are fields
    #[command(override_usage = "ofctl dump-tlv-map [SWITCH]")]
    DumpTlvMap(Words),
    /// Show the counters of the exporter of flow records (IPFIX) of an OpenFlow switch. A
    /// bridge of switchd has none
    #[command(override_usage = "ofctl dump-ipfix-bridge [SWITCH]")]
    DumpIpfixBridge(Words),
    /// Show the counters of the exporters of flow records (IPFIX) that rules of an OpenFlow switch name. A
    /// bridge of switchd has none
    #[command(override_usage = "ofctl dump-ipfix-flow [SWITCH]")]
    DumpIpfixFlow(Words),
    /// Send the requests of a file to an OpenFlow switch as one bundle. Lines begin
    /// with flow, group or packet-out
    #[command(override_usage = "ofctl bundle [SWITCH] FILE")]
    Bundle(Words),
    /// Print what a bridge and its controllers say to each other, until Ctrl-C
    #[command(override_usage = "ofctl snoop [SWITCH]")]
    Snoop(Words),
    /// Check that an OpenFlow switch answers
    #[command(override_usage = "ofctl probe [SWITCH]")]
    Probe(Words),
    /// Send ten echo requests with N bytes to an OpenFlow switch, by default 64, and print
    /// how long each reply takes
    #[command(override_usage = "ofctl ping [SWITCH] [N]")]
    Ping(Words),
    /// Send COUNT echo requests with N bytes to an OpenFlow switch, one after the other, and print how many it
    /// answers a second
    #[command(override_usage = "ofctl benchmark [SWITCH] N COUNT")]
    Benchmark(Words),

    /// Print an OpenFlow message; needs no switch
    OfpPrint(HexMessage),
    /// Print the OpenFlow messages of a file, which stand in it one behind the other; needs no switch
    OfpParse(File),
    /// Print the OpenFlow messages in a capture of packets; needs no switch
    OfpParsePcap(PcapFile),
    /// Print the bytes of a packet with these headers; needs no switch
    ComposePacket(Composed),
    /// Print actions that stand on standard input in hexadecimal, one list a line; needs no switch
    ParseActions(MatchVersion),
    /// Read NXM matches from standard input, one a line, and print them as a message would
    /// carry them; needs no switch
    ParseNxMatch,
    /// Read OXM matches from standard input, one a line, and print them as a message would
    /// carry them; needs no switch
    ParseOxm(MatchVersion),
    /// Parse a rule and print it as a message would carry it; needs no switch
    ParseFlow(Flow),
    /// Parse the rules of a file and print them as messages would carry them; needs no switch
    ParseFlows(File),
    /// Check a file of rules and print every error; needs no switch. Names of ports are not checked, unless
    /// --ports gives them or --socket names the switch that has them
    Check(Check),
    /// Find rules that can never match, that overlap, that loop, or whose tables, ports or groups do not exist,
    /// in a file or a bridge; exit status 1 if there are any
    #[command(override_usage = "ofctl lint [BRIDGE | FILE]")]
    Lint(Words),

    /// Explain a verb, a field, an action, or another word of rules; fields, actions, attributes, protocols,
    /// groups, buckets, meters and bands print lists of words
    #[command(override_usage = "ofctl help [VERB | WORD]")]
    Help(Words),
}

impl Verb {
    /// Whether the verb changes a switch: those that `--read-only` refuses.
    pub(crate) fn changes_something(&self) -> bool {
        match self {
            Self::AddFlow(_) | Self::AddFlows(_) | Self::ModFlows(_) | Self::DelFlows(_) => true,
            Self::ReplaceFlows(_) | Self::Bundle(_) | Self::PacketOut(_) => true,
            Self::AddGroup(_) | Self::AddGroups(_) | Self::ModGroup(_) | Self::DelGroups(_) => true,
            Self::InsertBuckets(_) | Self::RemoveBuckets(_) => true,
            Self::AddMeter(_) | Self::ModMeter(_) | Self::DelMeters(_) => true,
            Self::AddBr(_) | Self::DelBr(_) => true,
            Self::AddPort(_) | Self::DelPort(_) | Self::ModPort(_) | Self::SetPort(_) => true,
            Self::ModTable(_) | Self::SetFrags(_) | Self::AddTlvMap(_) | Self::DelTlvMap(_) => true,
            Self::SetController(_) | Self::DelController(_) => true,
            Self::SetFailMode(_) | Self::DelFailMode(_) | Self::SetProtocols(_) => true,
            Self::SetSsl(_) | Self::DelSsl(_) => true,
            Self::Apply(_) | Self::Confirm(_) | Self::Rollback(_) | Self::Restart(_) => true,
            Self::FdbFlush(_) | Self::FdbAdd(_) | Self::FdbDel(_) => true,
            Self::FlushConntrack(_) | Self::CtFlushZone(_) | Self::CtSetMaxconns(_) => true,
            Self::CtSetLimits(_) | Self::CtDelLimits(_) => true,
            Self::AddZoneTp(_) | Self::DelZoneTp(_) => true,
            Self::Overlay(words) => words.words.first().is_some_and(|word| word != "list"),
            // With words behind it, each of these changes what it shows otherwise.
            Self::FdbConfig(words) => words.words.iter().any(|word| word.contains('=')),
            Self::Log(words) => words.filter.is_some(),
            _ => false,
        }
    }

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
            Self::AddMeter(_) => "add-meter",
            Self::ModMeter(_) => "mod-meter",
            Self::DelMeters(_) => "del-meters",
            Self::DumpMeters(_) => "dump-meters",
            Self::MeterStats(_) => "meter-stats",
            Self::MeterFeatures(_) => "meter-features",
            Self::PacketOut(_) => "packet-out",
            Self::AddBr(_) => "add-br",
            Self::DelBr(_) => "del-br",
            Self::ListBr(_) => "list-br",
            Self::ShowConfig(_) => "show-config",
            Self::SetController(_) => "set-controller",
            Self::GetController(_) => "get-controller",
            Self::DelController(_) => "del-controller",
            Self::SetFailMode(_) => "set-fail-mode",
            Self::GetFailMode(_) => "get-fail-mode",
            Self::DelFailMode(_) => "del-fail-mode",
            Self::SetProtocols(_) => "set-protocols",
            Self::GetProtocols(_) => "get-protocols",
            Self::SetSsl(_) => "set-ssl",
            Self::GetSsl(_) => "get-ssl",
            Self::DelSsl(_) => "del-ssl",
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
            Self::DumpConntrack(_) => "dump-conntrack",
            Self::FlushConntrack(_) => "flush-conntrack",
            Self::CtFlushZone(_) => "ct-flush-zone",
            Self::CtGetMaxconns(_) => "ct-get-maxconns",
            Self::CtSetMaxconns(_) => "ct-set-maxconns",
            Self::CtGetLimits(_) => "ct-get-limits",
            Self::CtSetLimits(_) => "ct-set-limits",
            Self::CtDelLimits(_) => "ct-del-limits",
            Self::CtBkts(_) => "ct-bkts",
            Self::AddZoneTp(_) => "add-zone-tp",
            Self::DelZoneTp(_) => "del-zone-tp",
            Self::ListZoneTp(_) => "list-zone-tp",
            Self::CtStats(_) => "ct-stats",
            Self::BfdShow(_) => "bfd-show",
            Self::Overlay(_) => "overlay",
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
            Self::DumpDesc(_) => "dump-desc",
            Self::DumpGroupFeatures(_) => "dump-group-features",
            Self::Probe(_) => "probe",
            Self::Ping(_) => "ping",
            Self::Benchmark(_) => "benchmark",
            Self::OfpPrint(_) => "ofp-print",
            Self::OfpParse(_) => "ofp-parse",
            Self::OfpParsePcap(_) => "ofp-parse-pcap",
            Self::ComposePacket(_) => "compose-packet",
            Self::ParseActions(_) => "parse-actions",
            Self::ParseNxMatch => "parse-nx-match",
            Self::ParseOxm(_) => "parse-oxm",
            Self::Bundle(_) => "bundle",
            Self::DumpTableFeatures(_) => "dump-table-features",
            Self::DumpTableDesc(_) => "dump-table-desc",
            Self::ModTable(_) => "mod-table",
            Self::QueueStats(_) => "queue-stats",
            Self::QueueGetConfig(_) => "queue-get-config",
            Self::AddTlvMap(_) => "add-tlv-map",
            Self::DelTlvMap(_) => "del-tlv-map",
            Self::DumpTlvMap(_) => "dump-tlv-map",
            Self::DumpIpfixBridge(_) => "dump-ipfix-bridge",
            Self::DumpIpfixFlow(_) => "dump-ipfix-flow",
            Self::Snoop(_) => "snoop",
            Self::ParseFlow(_) => "parse-flow",
            Self::ParseFlows(_) => "parse-flows",
            Self::Check(_) => "check",
            Self::Lint(_) => "lint",
            Self::Help(_) => "help",
        }
    }
}
