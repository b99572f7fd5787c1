//! The requests that a client can make.

use crate::record::SslRecord;
use flow::ct_filter::CtFilter;
use flow::ct_timeout::CtTimeouts;
use flow::text::Protocols;
use flow::types::{Fragments, OfVersion};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A request of a client: an operation, and the bridge that it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The name of the bridge. `None` is the only bridge of the switch; if there are several, operations on one
    /// bridge are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The operation to carry out.
    pub operation: Operation,
}

/// An operation that the daemon carries out.
///
/// Each variant ends with the [`Reply`](crate::Reply) that answers it. *Text* says which text follows the
/// request, and *Answer* which text precedes the reply; variants without these words have no text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Adds, modifies or deletes rules in one transaction. Text: one rule
    /// a line. [`Reply::Changed`](crate::Reply::Changed)
    FlowMods(FlowMods),
    /// Replaces all rules of the bridge by those of the text, in one transaction. Text:
    /// one rule a line. [`Reply::Changed`](crate::Reply::Changed)
    ReplaceFlows(FlowMods),
    /// Lists rules. Answer: text as [`Format`] says. [`Reply::Listed`](crate::Reply::Listed)
    DumpFlows(FlowQuery),
    /// Adds up the counters of rules. [`Reply::Aggregate`](crate::Reply::Aggregate)
    DumpAggregate(FlowQuery),
    /// Lists the flow tables with their counters. [`Reply::Tables`](crate::Reply::Tables)
    DumpTables,
    /// Lists how the flow tables behave. [`Reply::TableDescs`](crate::Reply::TableDescs)
    DumpTableDesc,
    /// Changes how a flow table behaves. [`Reply::Done`](crate::Reply::Done)
    ModTable {
        /// The number or the name of the table, or `all`.
        table: String,
        /// The change, as `ofctl mod-table` takes it: `evict`, `vacancy:10,20`, `name:acl`, `flow_limit:1000`.
        setting: String,
    },

    /// Adds, modifies or deletes groups in one transaction. Text: one
    /// group a line. [`Reply::Changed`](crate::Reply::Changed)
    GroupMods(GroupMods),
    /// Lists groups. Answer: text as [`Format`] says. [`Reply::Listed`](crate::Reply::Listed)
    DumpGroups(GroupQuery),
    /// Lists groups' counters. Answer: text as [`Format`] says. [`Reply::Listed`](crate::Reply::Listed)
    DumpGroupStats(GroupQuery),
    /// Adds, modifies or deletes a meter. Text: the meter, as one line.
    /// [`Reply::Changed`](crate::Reply::Changed)
    MeterMods(MeterMods),
    /// Lists meters, their counters, or what meters can be like. Answer:
    /// text as [`Format`] says. [`Reply::Listed`](crate::Reply::Listed)
    DumpMeters(MeterQuery),

    /// Carries out actions on a packet that the request brings. [`Reply::PacketOut`](crate::Reply::PacketOut)
    PacketOut(PacketOutRequest),

    /// Adds a bridge without ports. [`Reply::Done`](crate::Reply::Done)
    AddBr {
        /// The name of the new bridge: 1 to 15 bytes, as of a network device.
        name: String,
        /// The datapath id, 16 hexadecimal digits. `None` makes one from a port's MAC
        /// address or the machine's id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        datapath_id: Option<String>,
        /// Whether `switchd --state` keeps the bridge's rules, groups, static hosts and ports.
        persist: bool,
    },
    /// Removes a bridge with its ports, rules, groups and hosts. [`Reply::Done`](crate::Reply::Done)
    DelBr {
        /// The name of the bridge, which must exist.
        name: String,
    },
    /// Lists the bridges. [`Reply::Bridges`](crate::Reply::Bridges)
    ListBr,
    /// Writes the configuration of the switch: its bridges, their ports, and all
    /// settings. Answer: the file that `switchd --config` reads, or one JSON object
    /// of the same structure. [`Reply::Listed`](crate::Reply::Listed)
    ShowConfig {
        /// The format of the reply's text: TOML or JSON.
        format: Format,
    },

    /// Writes all of the switch that can be saved: the configuration, and rules, groups
    /// and static hosts of each bridge. Answer: the file that [`Operation::Apply`] takes,
    /// or one JSON object. [`Reply::Listed`](crate::Reply::Listed)
    Save {
        /// The format of the reply's text: TOML or JSON.
        format: Format,
    },
    /// Compares the switch with a file, or with a state of the history, and changes nothing. Text: the
    /// file, empty for a state of the history. Answer: text as [`Format`] says, one difference a line,
    /// in JSON a [`PlanRecord`](crate::record::PlanRecord). [`Reply::Listed`](crate::Reply::Listed)
    Plan {
        /// The file, and how the answer is written.
        query: SavedQuery,
        /// The number of a state of the history to compare with; `None` compares with the text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history: Option<u64>,
    },
    /// Makes the switch as a file says, or leaves all as it is. Text: the file. Answer: as for
    /// [`Operation::Plan`], what was done. [`Reply::Listed`](crate::Reply::Listed)
    Apply {
        /// The file, and how the answer is written.
        query: SavedQuery,
        /// Seconds after which the change is taken back unless [`Operation::Confirm`] comes; `None` keeps it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<u32>,
    },
    /// Keeps the change that waits to be confirmed. [`Reply::Done`](crate::Reply::Done)
    Confirm,
    /// Takes back the change that waits to be confirmed; if none waits, returns to a state of the history.
    /// Answer: as for [`Operation::Apply`]. [`Reply::Listed`](crate::Reply::Listed)
    Rollback {
        /// The number of the state; `None` is the last one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<u64>,
        /// The notation of the answer.
        format: Format,
    },
    /// Lists the states that can be returned to. [`Reply::History`](crate::Reply::History)
    History,

    /// Describes the bridge and its ports. [`Reply::Switch`](crate::Reply::Switch)
    Show,
    /// Lists the counters of ports. [`Reply::PortStats`](crate::Reply::PortStats)
    DumpPorts {
        /// The name or number of a port; `None` is every port.
        port: Option<String>,
    },
    /// Lists settings and state of ports. [`Reply::Ports`](crate::Reply::Ports)
    DumpPortsDesc {
        /// The name or number of a port; `None` is every port.
        port: Option<String>,
    },
    /// Adds a port to the bridge. [`Reply::Done`](crate::Reply::Done)
    AddPort {
        /// The device and the settings of the port, as `switchd --port` takes them: `veth0`, `tap:tap0,tag=10`.
        spec: String,
    },
    /// Removes a port from its bridge. [`Reply::Done`](crate::Reply::Done)
    DelPort {
        /// The port's name or number.
        port: String,
    },
    /// Replaces the VLAN configuration of a port. A setting that the request does not
    /// name gets its default. [`Reply::Done`](crate::Reply::Done)
    SetPort {
        /// The port's name or number.
        port: String,
        /// The settings as words: `tag=10 vlan_mode=access trunks=1,2`.
        settings: String,
    },
    /// Sets or clears a flag of a port. [`Reply::Done`](crate::Reply::Done)
    ModPort {
        /// The port's name or number.
        port: String,
        /// The flag to change.
        flag: PortFlag,
        /// The flag's new value.
        on: bool,
    },

    /// Lists the sessions of BFD through tunnel ports of the bridge. [`Reply::Bfd`](crate::Reply::Bfd)
    BfdShow {
        /// The name or number of a port; `None` is every port that has a session.
        port: Option<String>,
    },
    /// Lists or changes overlays of the bridge: tunnels to several peers that make one network.
    /// [`Reply::Overlays`](crate::Reply::Overlays) for a list, else [`Reply::Done`](crate::Reply::Done)
    Overlay(OverlayRequest),

    /// Lists the entries of the bridge's MAC table. Answer: one JSON
    /// [`FdbRecord`](crate::record::FdbRecord) a line. [`Reply::Listed`](crate::Reply::Listed)
    FdbShow,
    /// Removes learned entries from the MAC table. [`Reply::Changed`](crate::Reply::Changed)
    FdbFlush {
        /// The port whose entries are removed, by name or number; `None` is every port.
        port: Option<String>,
    },
    /// Adds a static entry to the MAC table, which neither ages nor moves. [`Reply::Done`](crate::Reply::Done)
    FdbAdd {
        /// The host's port, by name or number.
        port: String,
        /// The host's VLAN, 0 (no tag) to 4095.
        vlan: u16,
        /// The host's MAC address: `02:00:00:00:00:01`.
        mac: String,
    },
    /// Removes an entry from the MAC table, learned or static. [`Reply::Done`](crate::Reply::Done)
    FdbDel {
        /// The host's VLAN, 0 (no tag) to 4095.
        vlan: u16,
        /// The host's MAC address: `02:00:00:00:00:01`.
        mac: String,
    },
    /// Shows the counters of MAC learning. [`Reply::FdbStats`](crate::Reply::FdbStats)
    FdbStats,

    /// Lists the connections of the switch. Answer: one JSON
    /// [`ConnectionRecord`](crate::record::ConnectionRecord) a line. [`Reply::Listed`](crate::Reply::Listed)
    DumpConnections {
        /// Which connections are listed.
        filter: CtFilter,
    },
    /// Forgets connections of the switch. [`Reply::Changed`](crate::Reply::Changed)
    FlushConnections {
        /// Which connections are forgotten.
        filter: CtFilter,
    },
    /// Counts connections. [`Reply::ConnectionStats`](crate::Reply::ConnectionStats)
    ConnectionStats,
    /// Counts the connections in each part of the table.
    /// [`Reply::ConnectionBuckets`](crate::Reply::ConnectionBuckets)
    ConnectionBuckets,
    /// Shows how many connections there may be, and how many there are.
    /// [`Reply::ConnectionLimits`](crate::Reply::ConnectionLimits)
    ConnectionLimits,
    /// Changes how many connections there may be. Connections that are too
    /// many stay. [`Reply::Changed`](crate::Reply::Changed)
    SetConnectionLimits {
        /// How many there may be in all; `None` leaves the number as it is.
        max: Option<u64>,
        /// How many each zone may have that has no limit of its own, 0 for any number; `None` leaves the number
        /// as it is.
        default: Option<u32>,
        /// Zones, with how many connections each may have. `None` removes the limit of its own.
        zones: Vec<(u16, Option<u32>)>,
    },

    /// Lists the zones with timeouts of their own for connections.
    /// [`Reply::ZoneTimeouts`](crate::Reply::ZoneTimeouts)
    ZoneTimeouts,
    /// Gives a zone timeouts of its own for connections. They hold for a connection from
    /// its next packet on. [`Reply::Done`](crate::Reply::Done)
    AddZoneTimeouts {
        /// The number of the zone.
        zone: u16,
        /// The timeouts. Those that are not named have their defaults.
        timeouts: CtTimeouts,
        /// Whether nothing is to happen if the zone has timeouts of its own; otherwise, that is an error.
        may_exist: bool,
    },
    /// Takes the timeouts of its own from a zone. [`Reply::Done`](crate::Reply::Done)
    DelZoneTimeouts {
        /// The number of the zone.
        zone: u16,
        /// Whether nothing is to happen if the zone has none; otherwise, that is an error.
        if_exists: bool,
    },

    /// Shows the counters of every worker's caches. [`Reply::Cache`](crate::Reply::Cache)
    CacheShow,
    /// Lists cached flows. Answer: text as [`Format`] says. [`Reply::Listed`](crate::Reply::Listed)
    DumpCachedFlows(CachedFlowQuery),
    /// Counts dropped frames by port and reason. [`Reply::Drops`](crate::Reply::Drops)
    Drops,
    /// Follows a packet through the tables without sending it. [`Reply::Trace`](crate::Reply::Trace)
    Trace(TraceQuery),
    /// Changes the limits of the bridge's MAC table. [`Reply::FdbStats`](crate::Reply::FdbStats)
    FdbConfigure {
        /// Seconds after which the entry of a silent host is removed; `None` leaves the limit as it is.
        ageing: Option<u64>,
        /// How many entries the table holds at most; `None` leaves the limit as it is.
        entries: Option<u64>,
    },
    /// Sets what the bridge does with IP fragments. [`Reply::Done`](crate::Reply::Done)
    SetFrags(Fragments),
    /// Gives the bridge these controllers instead of those that it has. [`Reply::Done`](crate::Reply::Done)
    SetControllers {
        /// The controllers, each as `switchd --controller` takes it: `tcp:10.0.0.1,max_backoff=1000`. A target
        /// may also be a place to listen at: `ptcp:6653`.
        controllers: Vec<String>,
    },
    /// Lists the controllers of the bridge. [`Reply::Controllers`](crate::Reply::Controllers)
    GetControllers,
    /// Sets what the bridge does without a controller. [`Reply::Done`](crate::Reply::Done)
    SetFailMode {
        /// `standalone` or `secure`; `None` is the default, which is `standalone`.
        mode: Option<String>,
    },
    /// Sets which versions of OpenFlow the bridge speaks. [`Reply::Done`](crate::Reply::Done)
    SetProtocols {
        /// The versions by their names, such as `OpenFlow13`; no version at all allows every version.
        versions: Vec<String>,
    },
    /// Sets the files for TLS connections of the whole switch. [`Reply::Done`](crate::Reply::Done)
    SetSsl {
        /// The files, whose paths are absolute; `None` is no TLS.
        files: Option<SslRecord>,
    },
    /// Shows the files for TLS connections. [`Reply::Ssl`](crate::Reply::Ssl)
    GetSsl,
    /// Shows what the daemon logs, and changes it first if a filter is given. [`Reply::Log`](crate::Reply::Log)
    Log {
        /// A level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or levels of modules, as the environment
        /// variable `RUST_LOG` takes them: `info,switchd::bridge=debug`. `None` changes nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
    },
    /// Shows the load of the worker threads. [`Reply::Workers`](crate::Reply::Workers)
    Workers,
    /// Subscribes to events. [`Reply::Done`](crate::Reply::Done), and behind it, until the client closes the
    /// connection, text as [`Format`] says: one event a line, in JSON an
    /// [`EventRecord`](crate::record::EventRecord). The session takes no further request. Without
    /// [`Request::bridge`], the events of every bridge are sent.
    Monitor(MonitorQuery),
    /// Waits until the counters of rules include every packet that was
    /// received before the request. [`Reply::Done`](crate::Reply::Done)
    Sync,
    /// Starts the daemon's program file again, which takes over from the running daemon
    /// without losing a frame. The reply comes when the new process forwards; the session ends
    /// with the old one. [`Reply::Restarted`](crate::Reply::Restarted)
    Restart,
}

impl Operation {
    /// The operation's name in JSON, such as `dump_flows`, for messages.
    pub fn name(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            Ok(serde_json::Value::Object(map)) => map.into_iter().map(|(name, _)| name).collect(),
            _ => String::new(),
        }
    }

    /// Whether the operation may change what `switchd --state` keeps: bridges, ports, rules, groups, meters,
    /// static hosts and the settings of bridges.
    pub fn changes_state(&self) -> bool {
        // No wildcard: whoever adds an operation has to decide.
        match self {
            Self::FlowMods(_)
            | Self::ReplaceFlows(_)
            | Self::GroupMods(_)
            | Self::MeterMods(_)
            | Self::AddBr { .. }
            | Self::DelBr { .. }
            | Self::AddPort { .. }
            | Self::DelPort { .. }
            | Self::SetPort { .. }
            | Self::ModPort { .. }
            | Self::FdbAdd { .. }
            | Self::FdbDel { .. }
            | Self::FdbConfigure { .. }
            | Self::Apply { .. }
            | Self::Rollback { .. }
            | Self::SetControllers { .. }
            | Self::SetFailMode { .. }
            | Self::SetProtocols { .. }
            | Self::SetSsl { .. }
            | Self::AddZoneTimeouts { .. }
            | Self::DelZoneTimeouts { .. }
            | Self::ModTable { .. }
            | Self::SetFrags(_) => true,
            Self::Overlay(request) => *request != OverlayRequest::List,
            Self::DumpFlows(_)
            | Self::DumpAggregate(_)
            | Self::DumpTables
            | Self::DumpTableDesc
            | Self::DumpGroups(_)
            | Self::DumpGroupStats(_)
            | Self::DumpMeters(_)
            | Self::PacketOut(_)
            | Self::ListBr
            | Self::ShowConfig { .. }
            | Self::Save { .. }
            | Self::Plan { .. }
            | Self::Confirm
            | Self::History
            | Self::Show
            | Self::DumpPorts { .. }
            | Self::DumpPortsDesc { .. }
            | Self::BfdShow { .. }
            | Self::FdbShow
            | Self::FdbFlush { .. }
            | Self::FdbStats
            | Self::DumpConnections { .. }
            | Self::FlushConnections { .. }
            | Self::ConnectionStats
            | Self::ConnectionBuckets
            | Self::ConnectionLimits
            | Self::SetConnectionLimits { .. }
            | Self::CacheShow
            | Self::DumpCachedFlows(_)
            | Self::Drops
            | Self::Trace(_)
            | Self::GetControllers
            | Self::GetSsl
            | Self::ZoneTimeouts
            | Self::Log { .. }
            | Self::Workers
            | Self::Monitor(_)
            | Self::Sync
            | Self::Restart => false,
        }
    }

    /// Whether frames of text follow the request, ended by a [`Kind::End`](crate::frame::Kind::End).
    pub fn takes_text(&self) -> bool {
        matches!(
            self,
            Self::FlowMods(_)
                | Self::ReplaceFlows(_)
                | Self::GroupMods(_)
                | Self::MeterMods(_)
                | Self::Plan { .. }
                | Self::Apply { .. }
        )
    }
}

/// A file of `ofctl save`, and how the differences to it are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedQuery {
    /// The name of the file in error messages, such as `new.toml`.
    pub name: String,
    /// The notation of the answer.
    pub format: Format,
}

/// What the lines of a text of rules do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowCommand {
    /// A line adds a rule. A rule with the same table, match and priority is replaced.
    #[default]
    Add,
    /// A line gives its actions to every rule that its match covers.
    Modify,
    /// A line gives its actions to the rule with the same match and priority.
    ModifyStrict,
    /// A line deletes every rule that its match covers. An empty line deletes every rule.
    Delete,
    /// A line deletes the rule with the same match and priority.
    DeleteStrict,
}

/// A transaction on rules. The text behind the request has the rules; either every line
/// takes effect or none does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowMods {
    /// What a line does that does not begin with a command.
    pub command: FlowCommand,
    /// Whether the text is a file. Lines of a file may begin with `add`, `modify`, `modify_strict`, `delete` or
    /// `delete_strict`, and empty lines and comments are skipped. Otherwise the text is a single rule.
    pub file: bool,
    /// The OpenFlow version (`-O`) in which the rules are read.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// The flow formats (`-F`) that may carry a rule, of those that the version has.
    #[serde(default, with = "crate::formats")]
    pub formats: Protocols,
    /// Whether text that Open vSwitch accepts and changes is accepted and changed likewise, instead of refused.
    pub lenient: bool,
    /// The name of the text in error messages, such as `flows.txt`; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The notation of an answer's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Lines as `ovs-ofctl` prints them, for humans.
    #[default]
    Text,
    /// One JSON record a line, for programs.
    Json,
}

/// A request for rules: which ones, and how they are printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowQuery {
    /// Selects rules as a deletion does: `tcp,table=1`, `cookie=0x1/-1`,
    /// `out_port=2`. Empty selects every rule.
    pub filter: String,
    /// The OpenFlow version (`-O`) in which the filter is read and the rules are printed.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// Whether a filter that Open vSwitch accepts and changes is accepted and
    /// changed likewise, instead of refused.
    #[serde(default)]
    pub lenient: bool,
    /// The notation of the rules.
    pub format: Format,
    /// Whether ports are printed with their names instead of their numbers.
    pub names: bool,
    /// In text, whether rules have `duration=`, `n_packets=` and `n_bytes=`.
    pub stats: bool,
    /// In text with `stats`, whether rules have `idle_age=` and `hard_age=`.
    pub ages: bool,
}

impl Default for FlowQuery {
    fn default() -> Self {
        Self {
            filter: String::new(),
            version: OfVersion::default(),
            lenient: false,
            format: Format::default(),
            names: false,
            stats: true,
            ages: false,
        }
    }
}

/// A request for cached flows: which ones, and how they are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedFlowQuery {
    /// A match. A cached flow is listed if packets of the match may belong to it. Empty lists every flow.
    pub filter: String,
    /// The notation of the flows.
    pub format: Format,
    /// Whether ports are printed with their names instead of their numbers.
    pub names: bool,
    /// Whether each flow comes with the reasons why it depends on its bits.
    pub why: bool,
}

/// A request for events: which ones, and how they are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorQuery {
    /// The kinds of events; an empty list is every kind but connections.
    pub kinds: Vec<EventKind>,
    /// The OpenFlow version (`-O`) in which rules and groups are printed.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// The notation of the events.
    pub format: Format,
    /// Whether ports are printed with their names instead of their numbers.
    pub names: bool,
}

/// The kind of an event, by the entry that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// `flows`: a rule was added, modified or deleted.
    Flows,
    /// `groups`: a group was added, modified or deleted.
    Groups,
    /// `meters`: a meter was added, modified or deleted.
    Meters,
    /// `ports`: a port was added, modified or deleted.
    Ports,
    /// `hosts`: an entry of a MAC table was learned, moved, added or deleted.
    Hosts,
    /// `bridges`: a bridge was added or deleted.
    Bridges,
    /// `conntrack` or `ct`: a connection was made or has ended. An empty list of kinds does not ask for it.
    Connections,
}

impl EventKind {
    /// Every kind with the word by which `ofctl monitor` names it.
    pub const NAMES: [(Self, &str); 7] = [
        (Self::Flows, "flows"),
        (Self::Groups, "groups"),
        (Self::Meters, "meters"),
        (Self::Ports, "ports"),
        (Self::Hosts, "hosts"),
        (Self::Bridges, "bridges"),
        (Self::Connections, "conntrack"),
    ];

    /// The kind that a word of [`EventKind::NAMES`], or `ct`, names; `None` for any other word.
    pub fn parse(word: &str) -> Option<Self> {
        let word = if word == "ct" { "conntrack" } else { word };
        Self::NAMES.into_iter().find(|(_, name)| *name == word).map(|(kind, _)| kind)
    }
}

/// What the lines of a text of groups do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupCommand {
    /// A line adds a group, which must not exist.
    #[default]
    Add,
    /// A line replaces a group, which must exist.
    Modify,
    /// A line replaces a group if it exists, else adds it.
    AddOrModify,
    /// A line deletes a group and the rules that use it. An empty line deletes every group.
    Delete,
    /// A line puts buckets into a group, which must exist.
    InsertBuckets,
    /// A line takes buckets out of a group, which must exist.
    RemoveBuckets,
}

/// A transaction on groups. The text behind the request has the groups; either every line
/// takes effect or none does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMods {
    /// What a line does that does not begin with a command.
    pub command: GroupCommand,
    /// Whether the text is a file. Lines of a file may begin with a command, and empty lines and comments are
    /// skipped. Otherwise the text is a single group.
    pub file: bool,
    /// The OpenFlow version (`-O`) in which the groups are read.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// Whether text that Open vSwitch accepts and changes is accepted and changed likewise, instead of refused.
    pub lenient: bool,
    /// The name of the text in error messages, such as `groups.txt`; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What the text of a meter does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterCommand {
    /// Adds a meter, which must not exist.
    #[default]
    Add,
    /// Replaces a meter, which must exist.
    Modify,
    /// Deletes a meter and the rules that use it. An empty text deletes every meter.
    Delete,
}

/// A change of one meter, or the deletion of all. The text behind the request has the meter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterMods {
    /// What the text does.
    pub command: MeterCommand,
}

/// What a list of meters tells of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterPart {
    /// Unit, flags and bands of each meter.
    #[default]
    Config,
    /// The counters of each meter.
    Stats,
    /// What meters of this switch can be like, whichever meters there are.
    Features,
}

/// A request for meters: which ones, and how they are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterQuery {
    /// What is told of the meters.
    pub part: MeterPart,
    /// The number of a meter, reserved numbers included; `None` is every meter.
    pub meter: Option<u32>,
    /// The notation of the meters.
    pub format: Format,
}

/// A packet and the actions to carry out on it, as `ofctl packet-out` takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketOutRequest {
    /// Ingress port, bytes and actions of the packet: `in_port=1,packet=ffffffffffff02...,actions=TABLE`.
    pub text: String,
    /// The OpenFlow version (`-O`) in which the text is read.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// Whether text that Open vSwitch accepts and changes is accepted and changed likewise, instead of refused.
    pub lenient: bool,
}

/// A packet to trace, and how the trace is printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceQuery {
    /// The packet as a match: `in_port=1,tcp,nw_dst=10.0.0.1`. If `packet` is given, this has only the ingress
    /// port. If `from` and `to` are given, this has the fields that do not follow from the two hosts.
    pub flow: String,
    /// The bytes of the packet in hexadecimal; `None` composes the packet from `flow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packet: Option<String>,
    /// The sending host: a MAC address of the MAC table, or an IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The receiving host, named as `from` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The states of the packet's connection that the actions `ct` find, in their order, as bits of `ct_state`.
    /// The actions behind look up the real connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ct_next: Vec<u16>,
    /// Whether each step comes with a sentence, and each lookup with the rules that lost.
    #[serde(default)]
    pub explain: bool,
    /// The OpenFlow version (`-O`) in which the trace is printed.
    #[serde(default, with = "crate::version")]
    pub version: OfVersion,
    /// Whether a flow that Open vSwitch accepts and changes is accepted and
    /// changed likewise, instead of refused.
    #[serde(default)]
    pub lenient: bool,
    /// Whether ports are printed with their names instead of their numbers.
    pub names: bool,
}

/// A request for groups: which ones, and how they are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupQuery {
    /// The number of a group; `None` is every group.
    pub group: Option<u32>,
    /// The OpenFlow version (`-O`) in which the groups are printed.
    #[serde(with = "crate::version")]
    pub version: OfVersion,
    /// The notation of the groups.
    pub format: Format,
    /// Whether ports are printed with their names instead of their numbers.
    pub names: bool,
}

/// What to do with overlays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlayRequest {
    /// Lists the overlays.
    List,
    /// Adds an overlay.
    Add {
        /// The overlay, as `switchd --overlay` takes it: `vxlan:net,vni=7,peer=192.0.2.2`.
        overlay: String,
    },
    /// Removes an overlay with all its ports.
    Del {
        /// The name of the overlay.
        name: String,
    },
    /// Adds a peer, with the options that the overlay's other peers have.
    AddPeer {
        /// The name of the overlay.
        name: String,
        /// The address of the peer.
        peer: IpAddr,
    },
    /// Gives all ports of an overlay other options.
    Set {
        /// The name of the overlay.
        name: String,
        /// The options as `key=value`. An option with an empty value gets its default.
        options: Vec<String>,
    },
    /// Says that a host is behind a peer. The host does not age.
    AddHost {
        /// The name of the overlay.
        name: String,
        /// The address of the peer.
        peer: IpAddr,
        /// The host's MAC address: `02:00:00:00:00:01`.
        mac: String,
        /// The host's VLAN; `None` is that of the frames which the peer's port sends without a tag.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
        /// The host's IP addresses, which are answered for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ips: Vec<IpAddr>,
    },
    /// Forgets a host that [`OverlayRequest::AddHost`] has added, in all VLANs, with its IP addresses.
    DelHost {
        /// The name of the overlay.
        name: String,
        /// The host's MAC address.
        mac: String,
    },
    /// Removes a peer and the hosts behind it.
    DelPeer {
        /// The name of the overlay.
        name: String,
        /// The address of the peer.
        peer: IpAddr,
    },
}

/// A flag that restricts what a port does (OpenFlow `OFPPC_*`), which `ofctl mod-port` sets and clears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortFlag {
    /// `OFPPC_PORT_DOWN`: the port neither receives nor sends, and its device is set down.
    Down,
    /// `OFPPC_NO_STP`: the port takes part in no spanning tree.
    NoStp,
    /// `OFPPC_NO_RECV`: frames that the port receives are dropped, except those of spanning trees.
    NoReceive,
    /// `OFPPC_NO_RECV_STP`: frames of spanning trees that the port receives are dropped.
    NoReceiveStp,
    /// `OFPPC_NO_FLOOD`: `FLOOD`, and floods of `NORMAL`, leave the port out.
    NoFlood,
    /// `OFPPC_NO_FWD`: frames that rules send to the port are dropped.
    NoForward,
    /// `OFPPC_NO_PACKET_IN`: table misses of the port's packets cause no packet-ins.
    NoPacketIn,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        let requests = [
            Operation::Show,
            Operation::FlowMods(FlowMods {
                command: FlowCommand::DeleteStrict,
                version: OfVersion::OpenFlow14,
                ..FlowMods::default()
            }),
            Operation::DumpPorts { port: Some("veth0".into()) },
            Operation::DumpFlows(FlowQuery::default()),
            Operation::Monitor(MonitorQuery {
                kinds: EventKind::NAMES.map(|(kind, _)| kind).into(),
                ..MonitorQuery::default()
            }),
        ];
        for operation in requests {
            let request = Request { bridge: Some("br0".into()), operation };
            let json = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request, "{json}");
        }
    }
}
