//! What is wanted, as a file: TOML, written by `ofctl show-config`, read by `switchd --config`.
//!
//! What is not written has its default. Reading a file that was written gives the same again. A file
//! may also have rules, groups and static hosts of a bridge, as text ([`BridgeTexts`]);
//! [`crate::saved`] knows what they mean.

use super::error::DesiredError;
use super::port_draft::PortDraft;
use super::{
    AllowedVersions, Bridge, Controller, CtZone, DatapathId, Desired, FailMode, MacAgeing,
    MacEntries, Settings, SslFiles, TableList,
};
use flow::tlv_map::TlvMap;
use flow::types::Fragments;
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::ops::Range;
use toml::Spanned;

/// A file is not valid. The place is that of the first mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FileError {
    /// The name of the file, as it was given.
    pub file: String,
    /// The line of the mistake, counted from 1.
    pub line: usize,
    /// What is wrong, in words.
    pub message: String,
    /// What to write instead; `None` if nobody knows.
    pub hint: Option<String>,
    /// The line, without its line feed.
    pub text: String,
    /// The wrong part of `text`, as byte offsets.
    pub span: Range<usize>,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, message, hint, text, span } = self;
        let column = self.column();
        let marked = text.get(span.clone()).map_or(1, |part| part.chars().count().max(1));
        let (blanks, carets) = (" ".repeat(column - 1), "^".repeat(marked));
        write!(f, "{file}:{line}:{column}: {message}\n  {text}\n  {blanks}{carets}")?;
        match hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Reads the configuration of a file: bridges, ports and settings. Rules, groups and hosts that the file has
/// are left out.
///
/// # Errors
/// The first mistake: a key that nobody knows, a value that makes no sense, or two entries that
/// contradict each other.
pub fn read(text: &str, file: &str) -> Result<Desired, FileError> {
    read_with_tables(text, file).map(|(desired, _)| desired)
}

/// Reads a file with the texts of its bridges, in the order of the bridges.
///
/// # Errors
/// As [`read`]. The texts are not looked at.
pub fn read_with_tables(text: &str, file: &str) -> Result<(Desired, Vec<BridgeTexts>), FileError> {
    let mistake =
        |(message, place): Mistake| FileError::new(file, text, message, place.unwrap_or(0..0));
    let draft: DesiredDraft<Spanned<String>, Spanned<PortDraft>> =
        toml::from_str(text).map_err(|e| mistake((rephrase(e.message()), e.span())))?;
    draft.finish().map_err(mistake)
}

/// What a file says of a bridge beside its configuration. A text that is `None` is not in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeTexts {
    /// The name of the bridge.
    pub bridge: String,
    /// Groups, one a line.
    pub groups: Option<PlacedText>,
    /// Meters, one a line.
    pub meters: Option<PlacedText>,
    /// Rules, one a line.
    pub flows: Option<PlacedText>,
    /// Static hosts, one a line.
    pub hosts: Option<PlacedText>,
}

/// The value of a key, and where the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedText {
    /// The value without its quotes, with escapes resolved.
    pub text: String,
    /// The range of the value with its quotes, in bytes of the file; `None` if the format tells no places.
    pub place: Option<Range<usize>>,
}

/// Writes what somebody wants as a file that [`read`] reads back.
pub fn write(desired: &Desired) -> String {
    // All values are numbers, booleans, texts and lists of these under keys that are text.
    toml::to_string(desired).expect("what is wanted can be written as TOML")
}

/// serde speaks of the fields of a Rust structure, whoever wrote a file of its keys.
fn rephrase(message: &str) -> String {
    let message =
        message.replace("unknown field", "unknown key").replace("missing field", "missing key");
    message.replace('`', "\"")
}

impl FileError {
    /// A mistake at a place of `text`, the contents of the file.
    fn new(file: &str, text: &str, message: String, place: Range<usize>) -> Self {
        let start = text.floor_char_boundary(place.start);
        let end = text.floor_char_boundary(place.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line = text[line_start..].lines().next().unwrap_or("");
        let marked = text[start..end].lines().next().unwrap_or("");
        let span = start - line_start..start - line_start + marked.len();
        Self::in_line(file, text[..start].matches('\n').count() + 1, line, span, message)
    }

    /// A mistake in a line, whose number is counted from 1.
    pub(crate) fn in_line(
        file: &str,
        line: usize,
        text: &str,
        span: Range<usize>,
        message: String,
    ) -> Self {
        let (file, text) = (file.to_owned(), text.to_owned());
        Self { file, line, message, hint: None, text, span }
    }

    /// The column of the mistake in characters, counted from 1.
    pub fn column(&self) -> usize {
        let before = self.text.get(..self.span.start);
        before.map_or(0, |before| before.chars().count()) + 1
    }
}

impl<'de> Deserialize<'de> for Desired {
    /// From any format. [`read`] says where in a file a contradiction is.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let draft = DesiredDraft::<String, PortDraft>::deserialize(deserializer)?;
        let finished = draft.finish().map_err(|(message, _)| de::Error::custom(message));
        finished.map(|(desired, _)| desired)
    }
}

/// What was written, entry by entry, each of them valid by itself. `N` is a name and `P` a port, both with
/// their place if the format knows it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DesiredDraft<N, P> {
    #[serde(default)]
    switch: Settings,
    ssl: Option<SslFiles>,
    #[serde(default, rename = "ct-zone")]
    ct_zone: Vec<CtZone>,
    #[serde(default = "Vec::new")]
    bridge: Vec<BridgeDraft<N, P>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BridgeDraft<N, P> {
    name: N,
    datapath_id: Option<DatapathId>,
    mac_ageing: Option<MacAgeing>,
    mac_entries: Option<MacEntries>,
    #[serde(default)]
    frags: Fragments,
    #[serde(default = "yes")]
    persist: bool,
    #[serde(rename = "fail_mode", alias = "fail-mode")]
    fail_mode: Option<FailMode>,
    #[serde(default)]
    protocols: AllowedVersions,
    #[serde(default)]
    controller: Vec<Controller>,
    #[serde(default)]
    table: TableList,
    #[serde(default)]
    tlv_map: TlvMap,
    groups: Option<N>,
    meters: Option<N>,
    flows: Option<N>,
    hosts: Option<N>,
    #[serde(default = "Vec::new")]
    port: Vec<P>,
}

fn yes() -> bool {
    true
}

/// What is wrong, in words, and its place, if the format tells places.
type Mistake = (String, Option<Range<usize>>);

/// A value that may know where it was written.
trait Placed<T> {
    fn split(self) -> (T, Option<Range<usize>>);
}

impl<T> Placed<T> for Spanned<T> {
    fn split(self) -> (T, Option<Range<usize>>) {
        let span = self.span();
        (self.into_inner(), Some(span))
    }
}

impl Placed<Self> for String {
    fn split(self) -> (Self, Option<Range<usize>>) {
        (self, None)
    }
}

impl Placed<Self> for PortDraft {
    fn split(self) -> (Self, Option<Range<usize>>) {
        (self, None)
    }
}

impl<N: Placed<String>, P: Placed<PortDraft>> DesiredDraft<N, P> {
    /// Adds one entry after the other, as commands would. Returns the texts of the bridges, too.
    fn finish(self) -> Result<(Desired, Vec<BridgeTexts>), Mistake> {
        let mut desired = Desired { settings: self.switch, ssl: self.ssl, ..Desired::default() };
        for zone in self.ct_zone {
            desired.add_ct_zone(zone).map_err(|e| (e.to_string(), None))?;
        }
        let mut texts = Vec::new();
        for bridge in self.bridge {
            let (name, place) = bridge.name.split();
            let text = |value: Option<N>| {
                value.map(N::split).map(|(text, place)| PlacedText { text, place })
            };
            texts.push(BridgeTexts {
                bridge: name.clone(),
                groups: text(bridge.groups),
                meters: text(bridge.meters),
                flows: text(bridge.flows),
                hosts: text(bridge.hosts),
            });
            let wanted = Bridge {
                name: name.clone(),
                datapath_id: bridge.datapath_id,
                mac_ageing: bridge.mac_ageing,
                mac_entries: bridge.mac_entries,
                frags: bridge.frags,
                persist: bridge.persist,
                fail_mode: bridge.fail_mode,
                protocols: bridge.protocols,
                controllers: bridge.controller,
                tables: bridge.table,
                tlv_map: bridge.tlv_map,
                ports: Vec::new(),
            };
            let wrong = |e: DesiredError| (e.to_string(), place);
            desired.add_bridge(wanted).map_err(wrong)?;
            for port in bridge.port {
                let (draft, place) = port.split();
                let port = draft.finish().map_err(|e| (e.to_string(), place.clone()))?;
                desired.add_port(&name, port).map_err(|e| (e.to_string(), place))?;
            }
        }
        Ok((desired, texts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that can be said.
    const FULL: &str = "\
[switch]
require = true
workers = 2
poll = \"busy\"
cpu = [0, 1]
mac-ageing = 60
mac-entries = 100
emc-entries = 0
flow-limit = 1000
upcall-limit = \"off\"
vlan-limit = 2
lenient = true

[ssl]
private_key = \"/etc/switchd/key.pem\"
certificate = \"/etc/switchd/cert.pem\"
ca_cert = \"/etc/switchd/ca.pem\"

[[ct-zone]]
zone = 5

[ct-zone.timeouts]
icmp_reply = 7
udp_first = 10

[[bridge]]
name = \"br-int\"
datapath-id = \"00000000000000aa\"
mac-ageing = 30
mac-entries = 50
frags = \"nx-match\"
persist = false
fail_mode = \"secure\"
protocols = [\"OpenFlow10\", \"OpenFlow13\"]

[[bridge.controller]]
target = \"tcp:10.0.0.1:6653\"
inactivity_probe = 0
max_backoff = 1000
controller_rate_limit = 1000
controller_burst_limit = 250
connection_mode = \"out-of-band\"

[[bridge.controller]]
target = \"ptcp:6653:[::1]\"

[[bridge.port]]
device = \"netns:blue/eth0\"
name = \"blue\"
number = 7
queues = 2
shield = false
qdisc = \"honour\"
slots = 64
slot-size = 2048
kernel-cache = \"off\"
vlan_mode = \"native-tagged\"
tag = 5
trunks = [7, 9]
priority-tags = \"always\"
protected = true
storm = 500
down = true
no-stp = true
no-receive = true
no-receive-stp = true
no-flood = true
no-forward = true
no-packet-in = true

[[bridge.port]]
device = \"internal:br-int\"
number = \"LOCAL\"
mac = \"02:00:00:00:00:0a\"

[[bridge.port]]
device = \"patch:int-br-ex\"
peer = \"phy-br-ex\"
number = 1
storm = \"off\"

[[bridge]]
name = \"br-ex\"

[[bridge.port]]
device = \"patch:phy-br-ex\"
peer = \"int-br-ex\"
number = 1
vlan_mode = \"dot1q-tunnel\"
tag = 5
cvlans = [10, 11]
qinq-ethtype = \"802.1q\"

[[bridge.port]]
device = \"vxlan:vx0\"
remote_ip = \"192.0.2.2\"
local_ip = \"flow\"
key = 5
in_key = 6
out_key = \"flow\"
tos = \"inherit\"
ttl = 3
df_default = false
csum = false
dst_port = 8472
egress_pkt_mark = 7
src_ports = 4
exts = \"gbp\"
netns = \"blue\"
overlay = \"net\"
suppress = true
bfd = true
bfd_min_rx = 300
bfd_min_tx = 300
bfd_mult = 5
bfd_cpath_down = true
bfd_check_tnl_key = true
bfd_oam = true
bfd_src_ip = \"169.254.1.2\"
bfd_dst_ip = \"169.254.1.3\"
bfd_local_src_mac = \"02:00:00:00:00:01\"
bfd_local_dst_mac = \"02:00:00:00:00:02\"
bfd_remote_dst_mac = \"02:00:00:00:00:03\"
neighbours = \"10.0.0.5@02:00:00:00:00:05,fe80::1@02:00:00:00:00:06\"
number = 2
";

    #[test]
    fn what_was_written_is_read_again() {
        let desired = read(FULL, "f.toml").unwrap();
        assert_eq!(write(&desired), FULL);
        assert_eq!(read(&write(&desired), "f.toml").unwrap(), desired);
        let json = serde_json::to_string(&desired).unwrap();
        assert_eq!(serde_json::from_str::<Desired>(&json).unwrap(), desired);
    }

    #[test]
    fn every_key_can_be_written() {
        // Options that are taken only with the value that changes nothing.
        let unwritten = ["bfd_decay_min_rx", "bfd_forwarding_if_rx"];
        for key in super::super::port_keys::file_keys() {
            if unwritten.contains(&key) {
                continue;
            }
            assert!(FULL.contains(&format!("\n{key} = ")), "{key}");
        }
        for (key, _) in read(FULL, "").unwrap().settings.words() {
            assert!(FULL.contains(&format!("\n{key} = ")), "{key}");
        }
    }

    #[test]
    fn a_file_may_say_little() {
        let desired =
            read("[[bridge]]\nname = \"br0\"\nport = [{ device = \"veth0\" }]", "").unwrap();
        assert_eq!(desired.bridges[0].ports[0].number, Some(flow::types::OfPort(1)));
        assert_eq!(read("", "").unwrap(), Desired::default());
        let cpus = read("[switch]\ncpu = \"0,2-3\"", "").unwrap().settings.cpu;
        assert_eq!(cpus.unwrap().0, [0, 2, 3]);
    }

    fn check_error(text: &str, message: &str) {
        let error = read(text, "f.toml").unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }

    const BRIDGE: &str =
        "[[bridge]]\nname = \"br0\"\n[[bridge.port]]\ndevice = \"a\"\n[[bridge.port]]\n";

    #[test]
    fn mistakes_have_a_place_and_say_what_would_work() {
        check_error(
            "[switch]\nworker = 2",
            "f.toml:2:1: unknown key \"worker\", expected one of \"require\", \"workers\", \"poll\", \"cpu\", \
             \"mac-ageing\", \"mac-entries\", \"ring-memory\", \"emc-entries\", \"flow-limit\", \"upcall-limit\", \"vlan-limit\", \
             \"lenient\"\n  worker = 2\n  ^^^^^^",
        );
        check_error(
            "[switch]\n  workers = 65",
            "f.toml:2:13: 65: must be a number from 1 to 64\n    workers = 65\n              ^^",
        );
        check_error(
            "[switch]\npoll = \"never\"",
            "f.toml:2:8: unknown variant \"never\", expected one of \"busy\", \"adaptive\", \"block\"\n  \
             poll = \"never\"\n         ^^^^^^^",
        );
        check_error(
            "[[bridge]]\nname = \"a/b\"",
            "f.toml:2:8: bridge \"a/b\": not a bridge's name: \
             1 to 15 bytes without \"/\", \":\", \"=\", \",\", \"%\" \
             or blanks, as for a network device\n  name = \"a/b\"\n         ^^^^^",
        );
        check_error(
            "[[bridge]]\nname = \"a\"\ndatapath-id = \"1\"",
            "f.toml:3:15: \"1\": must be 16 hexadecimal digits, not all 0, for example 00002a1b3c4d5e6f\n  \
             datapath-id = \"1\"\n                ^^^",
        );
        check_error("[[bridge]]", "f.toml:1:1: missing key \"name\"\n  [[bridge]]\n  ^^^^^^^^^^");
        check_error(
            &format!("{BRIDGE}device = \"b\"\ntag = 4096"),
            "f.toml:7:7: tag: \"4096\" is not a VLAN: a number from 0 to 4095\n  tag = 4096\n        ^^^^",
        );
        check_error(
            &format!("{BRIDGE}device = \"b\"\ntrunks = [1, \"x\"]"),
            "f.toml:7:14: invalid type: string \"x\", expected i64\n  trunks = [1, \"x\"]\n               ^^^",
        );
    }

    #[test]
    fn mistakes_about_controllers_have_a_place() {
        check_error(
            "[[bridge]]\nname = \"a\"\ncontroller = [{ target = \"tcp\" }]",
            "f.toml:3:26: \"tcp\": must be tcp:HOST[:PORT], ssl:HOST[:PORT], unix:PATH, ptcp:[PORT][:IP], \
             pssl:[PORT][:IP] or punix:PATH\n  controller = [{ target = \"tcp\" }]\n                           ^^^^^",
        );
        check_error(
            "[[bridge]]\nname = \"a\"\nprotocols = [\"OpenFlow9\"]",
            "f.toml:3:13: \"OpenFlow9\" is no OpenFlow version: use OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13, \
             OpenFlow14, OpenFlow15\n  protocols = [\"OpenFlow9\"]\n              ^^^^^^^^^^^^^",
        );
        check_error(
            "[ssl]\nprivate_key = \"key.pem\"\ncertificate = \"/c\"\nca_cert = \"/a\"",
            "f.toml:1:1: private_key: \"key.pem\" must be a path that begins with \"/\"\n  [ssl]\n  ^^^^^",
        );
    }

    #[test]
    fn contradictions_have_the_place_of_the_second() {
        check_error(
            &format!("{BRIDGE}device = \"b\"\ntag = 1\nvlan_mode = \"trunk\""),
            "f.toml:5:1: port \"b\": tag has no meaning with vlan_mode=trunk\n  [[bridge.port]]\n  \
             ^^^^^^^^^^^^^^^",
        );
        check_error(
            &format!("{BRIDGE}device = \"b\"\nnumber = 1"),
            "f.toml:5:1: port \"b\": number 1 belongs to port \"a\"\n  [[bridge.port]]\n  ^^^^^^^^^^^^^^^",
        );
        check_error(
            &format!("{BRIDGE}tag = 1"),
            "f.toml:5:1: a port needs device=, for example device = \"veth0\"\n  [[bridge.port]]\n  \
             ^^^^^^^^^^^^^^^",
        );
        check_error(
            "[[bridge]]\nname = \"a\"\n[[bridge]]\nname = \"a\"",
            "f.toml:4:8: there is a bridge \"a\" already\n  name = \"a\"\n         ^^^",
        );
    }
}
