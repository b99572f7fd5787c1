//! What stands behind the verbs of `ofctl`: words, and the options of single verbs.

use clap::{Args, ValueEnum};

/// The words behind a verb: optionally the name of a bridge, and the verb's arguments.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// See the usage above
    #[arg(value_name = "ARGUMENT", hide = true)]
    pub(crate) words: Vec<String>,
}

/// The arguments of `add-zone-tp`.
#[derive(Debug, Args)]
pub(crate) struct AddZoneTp {
    /// See the usage above
    #[arg(value_name = "ARGUMENT", hide = true)]
    pub(crate) words: Vec<String>,
    /// Do nothing if the zone has timeouts of its own already
    #[arg(long)]
    pub(crate) may_exist: bool,
}

/// The arguments of `del-zone-tp`.
#[derive(Debug, Args)]
pub(crate) struct DelZoneTp {
    /// See the usage above
    #[arg(value_name = "ARGUMENT", hide = true)]
    pub(crate) words: Vec<String>,
    /// Do nothing if the zone has no timeouts of its own
    #[arg(long)]
    pub(crate) if_exists: bool,
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
    /// The sending host: a MAC address that was learned, or an IP address. The host decides the ingress port,
    /// the VLAN and the source address; FLOW decides the other fields. Without FLOW the packet is a ping
    #[arg(long, value_name = "HOST")]
    pub(crate) from: Option<String>,
    /// The receiving host: a MAC address that was learned, or an IP address
    #[arg(long, value_name = "HOST")]
    pub(crate) to: Option<String>,
    /// The state of the packet's connection that the next ct action finds, in place of the real one: flags like
    /// trk,est,rpl. Each further --ct-next is for one more ct action
    #[arg(long, value_name = "STATE")]
    pub(crate) ct_next: Vec<String>,
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

/// The arguments of `ofp-print`.
#[derive(Debug, Args)]
pub(crate) struct HexMessage {
    /// The bytes of the message, in hexadecimal; - is standard input
    pub(crate) hex: String,
    /// How much is printed: 0 nothing of packets, 1 their headers, 3 their bytes, 5 those
    /// of the message [default: 1]
    pub(crate) verbosity: Option<u8>,
}

/// The arguments of `ofp-parse-pcap`.
#[derive(Debug, Args)]
pub(crate) struct PcapFile {
    /// A capture of packets (pcap); - is standard input
    pub(crate) file: String,
    /// The TCP ports of OpenFlow connections [default: 6653 and 6633]
    #[arg(value_name = "PORT")]
    pub(crate) ports: Vec<u16>,
}

/// The arguments of `compose-packet`.
#[derive(Debug, Args)]
pub(crate) struct Composed {
    /// The fields of the packet, as rules match them
    pub(crate) flow: String,
    /// Print the bytes in one line, as packet-out takes them
    #[arg(long)]
    pub(crate) bare: bool,
}

/// The argument of `parse-actions` and `parse-oxm`.
#[derive(Debug, Args)]
pub(crate) struct MatchVersion {
    /// The version of OpenFlow: OpenFlow13
    pub(crate) version: String,
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
    /// The port may take part in spanning trees, of which this switch has none
    Stp,
    /// The port takes part in no spanning tree
    NoStp,
    /// Frames that the port receives go through the tables
    Receive,
    /// Frames that the port receives are dropped, except those of spanning trees
    NoReceive,
    /// Frames of spanning trees that the port receives go through the tables
    ReceiveStp,
    /// Frames of spanning trees that the port receives are dropped
    NoReceiveStp,
    /// Frames that rules send to the port are sent
    Forward,
    /// Frames that rules send to the port are dropped
    NoForward,
    /// Table misses of the port's packets cause packet-ins
    PacketIn,
    /// Table misses of the port's packets cause no packet-ins
    NoPacketIn,
}
