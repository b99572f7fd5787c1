//! A tunnel port as somebody wants it: `vxlan:to-b,remote_ip=192.0.2.2,key=7`.
//!
//! The options have the names of Open vSwitch (ovs-vswitchd.conf.db(5), "Tunnel Options"). What it takes and
//! cannot do is refused: keys that do not fit into the header, ECN bits in `tos`.

use super::bfd_options::BfdDraft;
use super::kind;
use super::port_error::OptionError;
use super::word::Word;
use crate::bfd::BfdConfig;
use flow::text::parse_mac;
use flow::types::MacAddr;
use flowtable::policy::ports::{Inherited, Suppression, TunnelEgress, TunnelLocal};
use ports::spec::Target;
use ports::tunnel::{TunnelKind, TunnelTarget};
use std::net::IpAddr;
use std::sync::Arc;

/// The options that every tunnel port has.
macro_rules! tunnel_keys {
    ($($more:literal),*) => {
        &[
            "name", "remote_ip", "local_ip", "key", "in_key", "out_key", "tos", "ttl", "df_default", "csum",
            "egress_pkt_mark", "netns", "bfd", "bfd_min_rx", "bfd_min_tx", "bfd_mult", "bfd_cpath_down", "bfd_check_tnl_key", "bfd_oam",
            "bfd_src_ip", "bfd_dst_ip", "bfd_local_src_mac", "bfd_local_dst_mac", "bfd_remote_dst_mac", "bfd_decay_min_rx",
            "bfd_forwarding_if_rx", $($more),*
        ]
    };
}

/// The options of VXLAN, which are all that there are.
pub(super) const VXLAN_KEYS: &[&str] = tunnel_keys!(
    "dst_port",
    "src_ports",
    "overlay",
    "suppress",
    "neighbours",
    "kernel-cache",
    "exts"
);
/// The options of Geneve.
pub(super) const GENEVE_KEYS: &[&str] =
    tunnel_keys!("dst_port", "src_ports", "overlay", "suppress", "neighbours", "kernel-cache");
/// The options of GRE.
pub(super) const GRE_KEYS: &[&str] = tunnel_keys!();

/// The sockets, and thus UDP source ports, that a worker sends from, unless somebody wants another number. With
/// more of them, fewer frames can be sent as a group.
const SOURCE_PORTS: u8 = 8;

/// A tunnel port that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The sockets, and the frames that the port takes.
    pub target: Target,
    /// The outer headers of the frames that the port sends.
    pub egress: TunnelEgress,
    /// The name of the overlay that the port belongs to; `None` for a tunnel by itself.
    pub overlay: Option<String>,
    /// How ARP and neighbour discovery for hosts behind the port are kept from being flooded;
    /// `None` if they are flooded.
    pub suppression: Option<Suppression>,
    /// How the remote end is watched by BFD; `None` if it is not.
    pub bfd: Option<BfdConfig>,
    /// The words that describe the port, as far as they are not defaults.
    words: Vec<(&'static str, Word)>,
}

impl Tunnel {
    /// Whether the header of the tunnel carries options.
    pub fn has_options(&self) -> bool {
        self.tunnel_target().is_some_and(|target| target.kind == TunnelKind::Geneve)
    }

    /// The target, as what it is.
    pub fn tunnel_target(&self) -> Option<&TunnelTarget> {
        match &self.target {
            Target::Tunnel(target) => Some(target),
            _ => None,
        }
    }

    /// Whether one tunnel can become the other one while its sockets stay open: they differ in what is decided
    /// before a frame gets to the sockets.
    pub(super) fn has_sockets_of(&self, other: &Self) -> bool {
        self.target == other.target
    }

    /// The options that are not defaults, as the command line has them: `remote_ip=192.0.2.2,key=7`.
    pub fn options(&self) -> String {
        let words = self.words.iter().map(|(key, value)| format!("{key}={value}"));
        words.collect::<Vec<_>>().join(",")
    }

    /// The words that describe the port, as far as they are not defaults.
    pub(super) fn words(&self) -> impl Iterator<Item = (&'static str, Word)> {
        self.words.iter().cloned()
    }
}

/// A value, or `flow`: that of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Or<T> {
    Value(T),
    Flow,
}

impl<T> Or<T> {
    fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Flow => None,
        }
    }
}

/// The options of a tunnel port that have been read so far.
#[derive(Clone, Debug, Default)]
pub(super) struct TunnelDraft {
    remote: Option<Or<IpAddr>>,
    local: Option<Or<IpAddr>>,
    key: Option<Or<u64>>,
    in_key: Option<Or<u64>>,
    out_key: Option<Or<u64>>,
    tos: Option<Inherited>,
    ttl: Option<Inherited>,
    dont_fragment: Option<bool>,
    has_checksum: Option<bool>,
    udp_port: Option<u16>,
    mark: Option<u32>,
    source_ports: Option<u8>,
    has_group_policy: bool,
    netns: Option<String>,
    overlay: Option<String>,
    is_suppressing: bool,
    neighbours: Vec<(IpAddr, MacAddr)>,
    bfd: BfdDraft,
}

impl TunnelDraft {
    /// Takes an option of [`VXLAN_KEYS`], but for `name`.
    pub(super) fn set(&mut self, key: &'static str, value: &str) -> Result<(), OptionError> {
        let refuse = |expected| OptionError::Value { key, value: value.to_owned(), expected };
        match key {
            "remote_ip" => self.remote = Some(address(value).map_err(refuse)?),
            "local_ip" => self.local = Some(address(value).map_err(refuse)?),
            "key" => self.key = Some(tunnel_key(value).ok_or_else(|| refuse(KEY))?),
            "in_key" => self.in_key = Some(tunnel_key(value).ok_or_else(|| refuse(KEY))?),
            "out_key" => self.out_key = Some(tunnel_key(value).ok_or_else(|| refuse(KEY))?),
            "tos" => {
                let expected = "a multiple of 4 from 0 to 252, since ECN is always that of the packet, or inherit";
                let tos = inherited(value)
                    .filter(|tos| !matches!(tos, Inherited::Fixed(n) if n % 4 != 0));
                self.tos = Some(tos.ok_or_else(|| refuse(expected))?);
            }
            "ttl" => {
                let ttl = inherited(value).filter(|ttl| *ttl != Inherited::Fixed(0));
                self.ttl = Some(ttl.ok_or_else(|| refuse("a number from 1 to 255, or inherit"))?);
            }
            "df_default" | "csum" => {
                let flag = value.parse().map_err(|_| refuse("true or false"))?;
                let place =
                    if key == "csum" { &mut self.has_checksum } else { &mut self.dont_fragment };
                *place = Some(flag);
            }
            "dst_port" => {
                let port = value.parse().ok().filter(|port| *port != 0);
                self.udp_port = Some(port.ok_or_else(|| refuse("a UDP port from 1 to 65535"))?);
            }
            "egress_pkt_mark" => {
                let mark = number(value).and_then(|mark| u32::try_from(mark).ok());
                self.mark = Some(mark.ok_or_else(|| refuse("a number from 0 to 4294967295"))?);
            }
            "src_ports" => {
                let count = value.parse().ok().filter(|count| (1..=64).contains(count));
                self.source_ports = Some(count.ok_or_else(|| refuse("a number from 1 to 64"))?);
            }
            "exts" => {
                self.has_group_policy = match value {
                    "gbp" => true,
                    _ => return Err(refuse("gbp")),
                };
            }
            "overlay" => {
                let expected = "the name of an overlay: \
                                1 to 15 bytes without \"/\", \":\", \"=\", \",\", \"%\" or blanks";
                let name = Some(value).filter(|name| kind::is_device_name(name));
                self.overlay = Some(name.ok_or_else(|| refuse(expected))?.to_owned());
            }
            "suppress" => {
                self.is_suppressing = match value {
                    "on" | "true" => true,
                    "off" | "false" => false,
                    _ => return Err(refuse("on or off")),
                };
            }
            key if key.starts_with("bfd") => self.bfd.set(key, value)?,
            "neighbours" => {
                let expected = "a list of IP@MAC, such as 10.0.0.5@02:00:00:00:00:05";
                let neighbours = value.split(',').map(neighbour).collect::<Option<Vec<_>>>();
                self.neighbours = neighbours.ok_or_else(|| refuse(expected))?;
            }
            _netns => {
                let is_name = !value.is_empty() && !value.contains('/') && !value.starts_with('.');
                let expected = "the name of a network namespace, as \"ip netns\" lists them";
                self.netns =
                    Some(is_name.then(|| value.to_owned()).ok_or_else(|| refuse(expected))?);
            }
        }
        Ok(())
    }

    /// The tunnel port called `name` that the options describe.
    pub(super) fn finish(self, kind: TunnelKind, name: &str) -> Result<Tunnel, OptionError> {
        let remote = self.remote.ok_or(OptionError::NoRemote)?;
        let local = self.local;
        if let (Some(remote), Some(Or::Value(local))) = (remote.value(), local)
            && remote.is_ipv4() != local.is_ipv4()
        {
            let (value, expected) = (local.to_string(), "of the same version of IP as remote_ip");
            return Err(OptionError::Value { key: "local_ip", value, expected });
        }
        for (key, id) in [("key", self.key), ("in_key", self.in_key), ("out_key", self.out_key)] {
            if let Some(Or::Value(id)) = id
                && id > kind.max_key()
            {
                let expected = match kind {
                    TunnelKind::Vxlan | TunnelKind::Geneve => {
                        "a number from 0 to 16777215, since a VNI has 24 bits, or flow"
                    }
                    TunnelKind::Gre => "a number from 0 to 4294967295, or flow",
                };
                return Err(OptionError::Value { key, value: id.to_string(), expected });
            }
        }
        let is_fixed = matches!(remote, Or::Value(_));
        if self.overlay.is_some() {
            let not_flow =
                |key, expected| Err(OptionError::Value { key, value: "flow".to_owned(), expected });
            if let Some(Or::Flow) = self.key {
                return not_flow("key", "a number, since an overlay has one VNI");
            }
            if !is_fixed {
                return not_flow(
                    "remote_ip",
                    "an address, since each port of an overlay has a peer",
                );
            }
        }
        if self.bfd.is_watched && !is_fixed {
            return Err(OptionError::BfdNeedsRemote);
        }
        if !self.is_suppressing && !self.neighbours.is_empty() {
            return Err(OptionError::NeedsSuppression);
        }
        let words = self.words(kind);
        let in_key = self.in_key.or(self.key).unwrap_or(Or::Value(0));
        let out_key = self.out_key.or(self.key).unwrap_or(Or::Value(0));
        let target = TunnelTarget {
            name: name.to_owned(),
            kind,
            udp_port: self.udp_port.unwrap_or(kind.default_port()),
            remote: remote.value(),
            local: local.and_then(Or::value),
            in_key: in_key.value(),
            netns: self.netns,
            dont_fragment: self.dont_fragment.unwrap_or(true),
            has_checksum: self.has_checksum.unwrap_or(has_checksum(kind)),
            mark: self.mark.unwrap_or_default(),
            has_group_policy: self.has_group_policy,
            source_ports: self.source_ports.unwrap_or(SOURCE_PORTS),
        };
        let egress = TunnelEgress {
            key: out_key.value(),
            remote: remote.value(),
            local: match local {
                None => TunnelLocal::Any,
                Some(Or::Value(local)) => TunnelLocal::Fixed(local),
                Some(Or::Flow) => TunnelLocal::Flow,
            },
            tos: self.tos.unwrap_or(Inherited::Fixed(0)),
            ttl: self.ttl.unwrap_or(Inherited::Fixed(TunnelEgress::DEFAULT_TTL)),
            has_group_policy: self.has_group_policy,
            options: Arc::default(),
        };
        let suppression = Suppression { neighbours: self.neighbours };
        Ok(Tunnel {
            target: Target::Tunnel(Box::new(target)),
            egress,
            overlay: self.overlay,
            suppression: self.is_suppressing.then_some(suppression),
            bfd: self.bfd.config(),
            words,
        })
    }

    /// The words that say what is no default.
    fn words(&self, kind: TunnelKind) -> Vec<(&'static str, Word)> {
        let mut words = Vec::new();
        let mut add = |key, word: Option<Word>| words.extend(word.map(|word| (key, word)));
        add(
            "remote_ip",
            self.remote.map(|remote| or_word(remote, |ip| Word::text(ip.to_string()))),
        );
        add("local_ip", self.local.map(|local| or_word(local, |ip| Word::text(ip.to_string()))));
        for (key, id) in [("key", self.key), ("in_key", self.in_key), ("out_key", self.out_key)] {
            add(key, id.map(|id| or_word(id, |id| Word::Number(id as i64))));
        }
        let inherited = |value: Inherited| match value {
            Inherited::Fixed(value) => Word::number(value),
            Inherited::FromPacket => Word::text("inherit"),
        };
        add("tos", self.tos.filter(|tos| *tos != Inherited::Fixed(0)).map(inherited));
        let usual = Inherited::Fixed(TunnelEgress::DEFAULT_TTL);
        add("ttl", self.ttl.filter(|ttl| *ttl != usual).map(inherited));
        add("df_default", self.dont_fragment.filter(|flag| !flag).map(Word::Flag));
        add("csum", self.has_checksum.filter(|flag| *flag != has_checksum(kind)).map(Word::Flag));
        add(
            "dst_port",
            self.udp_port.filter(|port| *port != kind.default_port()).map(Word::number),
        );
        add("egress_pkt_mark", self.mark.filter(|mark| *mark != 0).map(Word::number));
        add(
            "src_ports",
            self.source_ports.filter(|count| *count != SOURCE_PORTS).map(Word::number),
        );
        add("exts", self.has_group_policy.then(|| Word::text("gbp")));
        add("netns", self.netns.as_deref().map(Word::text));
        add("overlay", self.overlay.as_deref().map(Word::text));
        add("suppress", self.is_suppressing.then_some(Word::Flag(true)));
        self.bfd.words().into_iter().for_each(|(key, word)| add(key, Some(word)));
        add("neighbours", neighbours_word(&self.neighbours));
        words
    }
}

const ADDRESS: &str = "an IPv4 or IPv6 address, or flow";
const NO_END: &str = "the address of a host: not 0.0.0.0 or ::, broadcast, multicast, link-local, or IPv4 mapped into IPv6";
const KEY: &str = "a number, or flow";

/// A host with its address: `10.0.0.5@02:00:00:00:00:05`.
fn neighbour(text: &str) -> Option<(IpAddr, MacAddr)> {
    let (ip, mac) = text.split_once('@')?;
    let ip: IpAddr = ip.parse().ok()?;
    let mac = parse_mac(mac).filter(|mac| !mac.is_multicast())?;
    (!ip.is_unspecified() && !ip.is_multicast()).then_some((ip, mac))
}

/// Hosts with their addresses, as an option has them; `None` if there are none.
pub(super) fn neighbours_word(neighbours: &[(IpAddr, MacAddr)]) -> Option<Word> {
    let text: Vec<String> = neighbours.iter().map(|(ip, mac)| format!("{ip}@{mac}")).collect();
    (!text.is_empty()).then(|| Word::text(text.join(",")))
}

/// Whether outer headers have a checksum unless somebody wants it otherwise. Open vSwitch has none; with it,
/// several datagrams can be sent and received at once, and devices compute it.
fn has_checksum(kind: TunnelKind) -> bool {
    kind != TunnelKind::Gre
}

fn or_word<T>(value: Or<T>, word: impl Fn(T) -> Word) -> Word {
    match value {
        Or::Value(value) => word(value),
        Or::Flow => Word::text("flow"),
    }
}

/// Reads an end of a tunnel. The error says what would be one.
fn address(value: &str) -> Result<Or<IpAddr>, &'static str> {
    if value == "flow" {
        return Ok(Or::Flow);
    }
    let address = value.parse().map_err(|_| ADDRESS)?;
    if is_end(&address) { Ok(Or::Value(address)) } else { Err(NO_END) }
}

/// Whether an address can be that of an end of a tunnel.
fn is_end(address: &IpAddr) -> bool {
    let is_of_one_host = !address.is_unspecified() && !address.is_multicast();
    is_of_one_host
        && match address {
            IpAddr::V4(address) => !address.is_broadcast(),
            // A link-local address needs an interface, and a mapped one is for sockets of both versions of IP.
            IpAddr::V6(address) => {
                !address.is_unicast_link_local() && address.to_ipv4_mapped().is_none()
            }
        }
}

fn tunnel_key(value: &str) -> Option<Or<u64>> {
    match value {
        "flow" => Some(Or::Flow),
        digits => number(digits).map(Or::Value),
    }
}

fn inherited(value: &str) -> Option<Inherited> {
    match value {
        "inherit" => Some(Inherited::FromPacket),
        digits => number(digits).and_then(|n| u8::try_from(n).ok()).map(Inherited::Fixed),
    }
}

/// A number, decimal or hexadecimal.
fn number(value: &str) -> Option<u64> {
    match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use crate::desired::{Kind, Port};

    fn check(text: &str, printed: &str) {
        let port = Port::parse(text).unwrap();
        assert!(matches!(port.kind, Kind::Tunnel(_)), "{text}");
        assert_eq!(port.to_string(), printed);
        assert_eq!(Port::parse(printed), Ok(port), "{printed}");
    }

    fn check_refused(text: &str, message: &str) {
        assert_eq!(Port::parse(text).unwrap_err().to_string(), message, "{text}");
    }

    #[test]
    fn options_are_read_and_printed() {
        check("vxlan:a,remote_ip=192.0.2.1", "vxlan:a,remote_ip=192.0.2.1");
        check("vxlan:a,name=b,remote_ip=192.0.2.1", "vxlan:b,remote_ip=192.0.2.1");
        check(
            "vxlan:a,remote-ip=2001:db8::1,key=0x10,tos=inherit,ttl=inherit,dst_port=8472,exts=gbp,tag=5",
            "vxlan:a,remote_ip=2001:db8::1,key=16,tos=inherit,ttl=inherit,dst_port=8472,exts=gbp,vlan_mode=access,tag=5",
        );
        check(
            "geneve:a,remote_ip=flow,key=flow,local_ip=flow,src_ports=4,df_default=false,csum=false",
            "geneve:a,remote_ip=flow,local_ip=flow,key=flow,df_default=false,csum=false,src_ports=4",
        );
        check(
            "gre:a,remote_ip=192.0.2.1,in_key=1,out_key=4294967295,csum=true,netns=blue,egress_pkt_mark=7,tos=8,ttl=3",
            "gre:a,remote_ip=192.0.2.1,in_key=1,out_key=4294967295,tos=8,ttl=3,csum=true,egress_pkt_mark=7,netns=blue",
        );
        check(
            "vxlan:a,remote_ip=192.0.2.1,suppress=on,neighbours=10.0.0.5@02:00:00:00:00:05,fe80::1@02:00:00:00:00:06",
            "vxlan:a,remote_ip=192.0.2.1,suppress=true,neighbours=10.0.0.5@02:00:00:00:00:05,fe80::1@02:00:00:00:00:06",
        );
        check(
            "gre:a,remote_ip=192.0.2.1,bfd:enable=true,bfd:min_rx=300,bfd:min_tx=100,bfd:mult=5",
            "gre:a,remote_ip=192.0.2.1,bfd=true,bfd_min_rx=300,bfd_mult=5",
        );
        let defaults = "geneve:a,remote_ip=192.0.2.1,tos=0,ttl=64,df_default=true,csum=true,dst_port=6081,src_ports=8";
        check(defaults, "geneve:a,remote_ip=192.0.2.1");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        check_refused(
            "vxlan:a",
            "port \"a\": a tunnel port needs remote_ip=ADDRESS, or remote_ip=flow for rules that write tun_dst",
        );
        let refused = |option: &str, expected: &str| {
            check_refused(
                &format!("vxlan:a,remote_ip=192.0.2.1,{option}"),
                &format!("port \"a\": {option}: must be {expected}"),
            );
        };
        let vni = "a number from 0 to 16777215, since a VNI has 24 bits, or flow";
        refused("key=16777216", vni);
        refused("in_key=33554432", vni);
        refused("out_key=16777216", vni);
        refused("key=x", "a number, or flow");
        refused("local_ip=::1", "of the same version of IP as remote_ip");
        refused("local_ip=0.0.0.0", super::NO_END);
        refused("ttl=0", "a number from 1 to 255, or inherit");
        refused("ttl=256", "a number from 1 to 255, or inherit");
        let tos =
            "a multiple of 4 from 0 to 252, since ECN is always that of the packet, or inherit";
        refused("tos=3", tos);
        refused("tos=256", tos);
        refused("dst_port=0", "a UDP port from 1 to 65535");
        refused("src_ports=65", "a number from 1 to 64");
        refused("exts=gpe", "gbp");
        refused("suppress=yes", "on or off");
        refused("bfd=yes", "on or off");
        refused("bfd_min_rx=9", "milliseconds: 10 to 60000");
        refused("bfd_mult=0", "a number from 1 to 255");
        let expected = "0, since intervals do not depend on traffic here: choose bfd_min_rx";
        refused("bfd_decay_min_rx=500", expected);
        refused("bfd_local_src_mac=ff:ff:ff:ff:ff:ff", "a MAC address of one host");
        check_refused(
            "vxlan:a,remote_ip=flow,bfd=on",
            "port \"a\": bfd=on needs remote_ip=ADDRESS: a session has one other end",
        );
        refused(
            "overlay=a/b",
            "the name of an overlay: 1 to 15 bytes without \"/\", \":\", \"=\", \",\", \"%\" or blanks",
        );
        check_refused(
            "vxlan:a,remote_ip=192.0.2.1,key=flow,overlay=net",
            "port \"a\": key=flow: must be a number, since an overlay has one VNI",
        );
        check_refused(
            "vxlan:a,remote_ip=flow,overlay=net",
            "port \"a\": remote_ip=flow: must be an address, since each port of an overlay has a peer",
        );
        for neighbour in ["10.0.0.5", "10.0.0.5@01:00:00:00:00:00", "0.0.0.0@02:00:00:00:00:05"] {
            let expected = "a list of IP@MAC, such as 10.0.0.5@02:00:00:00:00:05";
            refused(&format!("neighbours={neighbour}"), expected);
        }
        check_refused(
            "vxlan:a,remote_ip=192.0.2.1,neighbours=10.0.0.5@02:00:00:00:00:05",
            "port \"a\": neighbours: has a meaning together with suppress=on only",
        );
        refused("csum=yes", "true or false");
        refused("netns=../x", "the name of a network namespace, as \"ip netns\" lists them");
        check_refused(
            "gre:a,remote_ip=192.0.2.1,key=4294967296",
            "port \"a\": key=4294967296: must be a number from 0 to 4294967295, or flow",
        );
        check_refused(
            "vxlan:a,remote_ip=host",
            "port \"a\": remote_ip=host: must be an IPv4 or IPv6 address, or flow",
        );
        let error = Port::parse("gre:a,remote_ip=192.0.2.1,dst_port=1").unwrap_err().to_string();
        assert!(error.starts_with(
            "port \"a\": dst_port has no meaning for a GRE port; there are name, remote_ip"
        ));
        let wrong =
            ["0.0.0.0", "255.255.255.255", "224.0.0.1", "ff02::1", "fe80::1", "::ffff:192.0.2.1"];
        for wrong in wrong {
            check_refused(
                &format!("vxlan:a,remote_ip={wrong}"),
                &format!("port \"a\": remote_ip={wrong}: must be {}", super::NO_END),
            );
        }
        let error = Port::parse("veth0,remote_ip=192.0.2.1").unwrap_err().to_string();
        assert!(error.starts_with("port \"veth0\": remote_ip has no meaning for a network device"));
    }
}
