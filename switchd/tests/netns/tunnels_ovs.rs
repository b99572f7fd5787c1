//! Tunnels whose other end is the real Open vSwitch, with its userspace datapath.
//!
//! Without `ovs-vswitchd` these tests are skipped, unless `SWITCHD_REQUIRE` names `interop`.

use crate::tunnels::{REASONS, Site, TRANSFER, all_traffic, give_addresses, joined_sites};
use anyhow::{Context, ensure};
use control::{Operation, Reply};
use lab::harness::{Test, Unsupported};
use lab::traffic::{Ping, TcpTransfer};
use lab::{Feature, Netlink, OpenVswitch, eventually, has_taps};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::IpMtu;
use std::net::{IpAddr, SocketAddr, UdpSocket};

pub(crate) const TESTS: &[Test] = &[
    ("tunnels_ovs::vxlan_over_ipv4_and_ipv6", vxlan),
    ("tunnels_ovs::vxlan_at_a_network_card_that_cuts_and_merges", vxlan_wire_like),
    ("tunnels_ovs::vxlan_with_checksums_of_open_vswitch", vxlan_with_checksums),
    ("tunnels_ovs::geneve_over_ipv4_and_ipv6", geneve),
    ("tunnels_ovs::geneve_with_options_that_only_open_vswitch_knows", geneve_with_options),
    ("tunnels_ovs::geneve_with_options_both_ways", geneve_options),
    ("tunnels_ovs::gre_with_and_without_a_key", gre),
    ("tunnels_ovs::gre_with_checksums_or_sequence_numbers", gre_with_fields),
    ("tunnels_ovs::jumbo_frames", jumbo),
    ("tunnels_ovs::tcp_of_hosts_with_the_mtu_of_the_underlay", same_mtu),
];

/// The MTU of hosts whose frames leave room for every tunnel, its options, and a VLAN tag.
const ROOM: u32 = 1380;

/// How a test differs from others.
#[derive(Clone, Copy, Default)]
struct Case<'a> {
    /// The tunnel's type, which has the same name at both ends.
    kind: &'a str,
    /// Options of our port beside the remote end.
    ours: &'a str,
    /// Options of the other port beside the remote end, as `options:key=7`.
    theirs: &'a [&'a str],
    is_v6: bool,
    /// Whether the cable cuts and merges.
    is_wire_like: bool,
    /// The MTU of the hosts, [`ROOM`] if it is 0, and of the cable, 1,500 if it is 0.
    mtu: (u32, u32),
}

/// This switch on machine `a`, and Open vSwitch on machine `b`.
struct Pair {
    a: Site,
    b: Site,
    ovs: OpenVswitch,
}

impl Case<'_> {
    fn build(self) -> anyhow::Result<Pair> {
        if let Some(missing) = OpenVswitch::missing() {
            let required = std::env::var("SWITCHD_REQUIRE").unwrap_or_default();
            ensure!(!required.contains("interop"), "{missing}");
            return Err(Unsupported::lacking(format!("Open vSwitch: {missing}")));
        }
        if !has_taps() {
            return Err(Unsupported::lacking("TAP devices, which Open vSwitch needs"));
        }
        let some = |mtu: u32, default| Some(if mtu == 0 { default } else { mtu });
        let (mut a, b) = joined_sites(some(self.mtu.0, ROOM), some(self.mtu.1, 1500))?;
        // Open vSwitch reads frames before the kernel has completed their outer checksums,
        // and drops them for that.
        a.underlay.run(|| Netlink::open()?.set_offloads("under", &[(Feature::Tx, false)]))??;
        if self.is_wire_like {
            for site in [&a, &b] {
                site.underlay.run(|| Netlink::open()?.make_wire_like("under"))??;
            }
        }
        give_addresses(&a.underlay, "under", 1)?;
        let (near, far) = match self.is_v6 {
            false => ("192.0.2.1", "192.0.2.2"),
            true => ("2001:db8::1", "2001:db8::2"),
        };
        // Its tunnels need the machine's device in a bridge, which has the machine's addresses.
        let ovs = b.underlay.run(|| OpenVswitch::without_bridges(false))??;
        ovs.add_bridge("br-phy", &["under".to_owned()])?;
        ovs.add_bridge("br0", &["host".to_owned()])?;
        let (of_type, remote) =
            (format!("type={}", self.kind), format!("options:remote_ip={near}"));
        let settings = [&[of_type.as_str(), &remote][..], self.theirs].concat();
        ovs.add_port("br0", "tunnel", &settings)?;
        b.underlay.run(|| -> anyhow::Result<()> {
            let mut netlink = Netlink::open()?;
            let index = netlink.link("br-phy")?.index;
            Ok(netlink.set_up(index, true)?)
        })??;
        give_addresses(&b.underlay, "br-phy", 2)?;
        // It neither computes checksums inside of tunnels nor cuts frames.
        b.host.run(|| Netlink::open()?.set_offloads("eth0", &[(Feature::Tx, false)]))??;
        a.start(&["--port", &format!("{}:t,remote_ip={far}{}", self.kind, self.ours)])?;
        let pair = Pair { a, b, ovs };
        pair.wait_until_reached()?;
        Ok(pair)
    }

    /// Everything passes, with and without VLAN tags.
    fn passes(self) -> anyhow::Result<Pair> {
        let pair = self.build()?;
        all_traffic(&pair.a.host, &pair.b.host).with_context(|| pair.said())?;
        pair.tagged().with_context(|| pair.said())?;
        pair.a.is_conserved(&REASONS)?;
        Ok(pair)
    }
}

impl Pair {
    fn said(&self) -> String {
        let log = self.a.daemon().map(|daemon| daemon.log()).unwrap_or_default();
        let ovs = self.ovs.last_words();
        format!("{log}\nlast complaint of Open vSwitch: {ovs}")
    }

    /// Waits until the hosts reach each other. Open vSwitch drops frames until it knows the other machine, and
    /// takes its time when something has changed.
    fn wait_until_reached(&self) -> anyhow::Result<()> {
        let ping = Ping::brief(self.b.host.v4());
        eventually("the hosts reach each other", || {
            ping.run(self.a.host.namespace()).is_ok_and(|report| report.is_complete())
        })
        .with_context(|| self.said())
    }

    /// The same when the hosts' ports have VLAN 5, so that frames in the tunnel have a tag.
    fn tagged(&self) -> anyhow::Result<()> {
        let (port, settings) = ("host".to_owned(), "tag=5".to_owned());
        self.a.daemon()?.client()?.ask(Operation::SetPort { port, settings })?;
        let (a, b) = (&self.a.host, &self.b.host);
        let report = Ping::brief(b.v4()).run(a.namespace())?;
        ensure!(report.received() == 0, "host b is not in VLAN 5 yet: {report:?}");
        self.ovs.vsctl(&["set", "port", "host", "tag=5"])?;
        self.wait_until_reached()?;
        all_traffic(a, b).context("with VLAN tags in the tunnel")
    }
}

/// The same over both versions of IP.
fn over_both(case: Case<'_>) -> anyhow::Result<()> {
    for is_v6 in [false, true] {
        let version = if is_v6 { "over IPv6" } else { "over IPv4" };
        Case { is_v6, ..case }.passes().context(version)?;
    }
    Ok(())
}

fn vxlan() -> anyhow::Result<()> {
    over_both(Case { kind: "vxlan", ours: ",key=7", theirs: &["options:key=7"], ..Case::default() })
}

fn vxlan_wire_like() -> anyhow::Result<()> {
    let theirs = &["options:key=7"];
    let case =
        Case { kind: "vxlan", ours: ",key=7", theirs, is_wire_like: true, ..Case::default() };
    case.passes().map(drop)
}

fn vxlan_with_checksums() -> anyhow::Result<()> {
    let (ours, theirs) = (",key=7,csum=false", &["options:key=7", "options:csum=true"]);
    over_both(Case { kind: "vxlan", ours, theirs, ..Case::default() })
}

fn geneve() -> anyhow::Result<()> {
    let (ours, theirs) = (",key=16777215", &["options:key=16777215"]);
    over_both(Case { kind: "geneve", ours, theirs, ..Case::default() })
}

/// Open vSwitch sends an option with each frame: one without the critical bit is skipped,
/// and the others are refused.
fn geneve_with_options() -> anyhow::Result<()> {
    let theirs = &["options:key=7"];
    let case = Case { kind: "geneve", ours: ",key=7", theirs, ..Case::default() };
    let pair = case.build()?;
    let send = |kind: u8| -> anyhow::Result<()> {
        pair.ovs.ofctl("del-flows", &[])?;
        // Open vSwitch refuses to for some time after the flows that named the option have
        // gone: it frees them later.
        eventually("Open vSwitch has freed the flows", || {
            pair.ovs.ofctl("del-tlv-map", &[]).is_ok()
        })?;
        let option = format!("{{class=0x102,type={kind:#x},len=4}}->tun_metadata0");
        pair.ovs.ofctl("add-tlv-map", &[&option])?;
        let rule = "in_port=host,actions=set_field:0x01020304->tun_metadata0,output:tunnel";
        pair.ovs.ofctl("add-flow", &[rule])?;
        pair.ovs.ofctl("add-flow", &["in_port=tunnel,actions=output:host"])?;
        Ok(())
    };
    send(0x01)?;
    pair.wait_until_reached()?;
    all_traffic(&pair.a.host, &pair.b.host).with_context(|| pair.said())?;
    pair.a.is_conserved(&REASONS)?;
    send(0x81)?;
    let mut client = pair.a.daemon()?.client()?;
    let ping = Ping::brief(pair.a.host.v4());
    eventually("frames with the critical option are refused", || {
        let report = ping.run(pair.b.host.namespace());
        let Ok(Reply::Drops(drops)) = client.ask(Operation::Drops) else { return false };
        let is_refused = drops.dropped.iter().any(|drop| drop.reason == "tunnel_header");
        is_refused && report.is_ok_and(|report| report.received() == 0)
    })
    .with_context(|| pair.said())?;
    pair.a.is_conserved(&[&REASONS[..], &["tunnel_header"]].concat())
}

/// Each end sends an option as OVN does (class 0x102, type 0x80, 4 bytes) and a longer one, and takes frames
/// only with those of the other end. `ovs-ofctl` tells both.
fn geneve_options() -> anyhow::Result<()> {
    let theirs = &["options:key=7"];
    let case = Case { kind: "geneve", ours: ",key=7", theirs, ..Case::default() };
    let pair = case.build()?;
    let daemon = pair.a.daemon()?;
    let socket = daemon.socket().with_file_name("br0.mgmt");
    let map =
        "{class=0x102,type=0x80,len=4}->tun_metadata0,{class=0xffff,type=1,len=12}->tun_metadata3";
    let ours = |verb: &str, arguments: &[&str]| pair.ovs.ofctl_at(&socket, verb, arguments);
    let theirs = |verb: &str, arguments: &[&str]| pair.ovs.ofctl(verb, arguments);
    let values = ("0x30005", "0x1122334455667788990011");
    let rules = |tunnel: &str, sent: (&str, &str), wanted: (&str, &str)| {
        [
            format!(
                "in_port=host,actions=set_field:{}->tun_metadata0,set_field:{}->tun_metadata3,output:{tunnel}",
                sent.0, sent.1
            ),
            format!(
                "in_port={tunnel},tun_metadata0={},tun_metadata3={}/0xffffffffffff,actions=output:host",
                wanted.0, wanted.1
            ),
        ]
    };
    let back = ("0x50003", "0x77");
    ours("add-tlv-map", &[map])?;
    theirs("add-tlv-map", &[map])?;
    ours("del-flows", &[])?;
    theirs("del-flows", &[])?;
    let low = ("0x30005", "0x667788990011");
    for rule in rules("t", values, back) {
        ours("add-flow", &[&rule])?;
    }
    for rule in rules("tunnel", back, low) {
        theirs("add-flow", &[&rule])?;
    }
    pair.wait_until_reached()?;
    all_traffic(&pair.a.host, &pair.b.host).with_context(|| pair.said())?;
    pair.a.is_conserved(&REASONS)?;
    // Both switches print our rules alike.
    let listed = ours("dump-flows", &["--no-stats"])?;
    for part in ["tun_metadata0=0x50003", "tun_metadata3=0x77", "set_field:0x30005->tun_metadata0"]
    {
        ensure!(listed.contains(part), "{part} is not in {listed}");
    }
    let map = ours("dump-tlv-map", &[])?;
    ensure!(map == theirs("dump-tlv-map", &[])?, "{map}");
    // What a rule uses stays.
    let refused = ours("del-tlv-map", &[]);
    ensure!(refused.is_err_and(|error| format!("{error:#}").contains("NXTTMFC_INVALID_TLV_DEL")));
    // Another value is not for us.
    theirs("mod-flows", &["in_port=host,actions=set_field:0x9->tun_metadata0,output:tunnel"])?;
    let ping = Ping::brief(pair.a.host.v4());
    eventually("frames with another value miss our rule", || {
        ping.run(pair.b.host.namespace()).is_ok_and(|report| report.received() == 0)
    })?;
    Ok(())
}

fn gre() -> anyhow::Result<()> {
    over_both(Case { kind: "gre", ..Case::default() })?;
    let (ours, theirs) = (",key=4294967295", &["options:key=4294967295"]);
    over_both(Case { kind: "gre", ours, theirs, ..Case::default() })
}

/// Of a header with both, the checksum of Open vSwitch 3.1 is wrong: it is computed before the number is there.
fn gre_with_fields() -> anyhow::Result<()> {
    for (ours, theirs) in [(",csum=true", "options:csum=true"), ("", "options:seq=true")] {
        let (ours, theirs) = (format!(",key=7{ours}"), ["options:key=7", theirs]);
        let case = Case { kind: "gre", ours: &ours, theirs: &theirs, ..Case::default() };
        case.passes().with_context(|| format!("{theirs:?}"))?;
    }
    Ok(())
}

fn jumbo() -> anyhow::Result<()> {
    let theirs = &["options:key=7"];
    for kind in ["vxlan", "geneve", "gre"] {
        let case = Case { kind, ours: ",key=7", theirs, mtu: (8900, 9000), ..Case::default() };
        case.passes().context(kind)?;
    }
    Ok(())
}

/// Frames of the hosts leave no room for the tunnel. We cut TCP so that it fits, and tell who sends other
/// packets; Open vSwitch does neither, so that the large frames go one way only.
fn same_mtu() -> anyhow::Result<()> {
    let theirs = &["options:key=7"];
    for kind in ["vxlan", "geneve", "gre"] {
        let case = Case { kind, ours: ",key=7", theirs, mtu: (1500, 1500), ..Case::default() };
        let Pair { a, b, ovs } = case.build()?;
        let address = IpAddr::from(b.host.v4());
        let transfer = TcpTransfer::to(SocketAddr::new(address, 5001), TRANSFER);
        transfer.run(a.host.namespace(), b.host.namespace()).with_context(|| ovs.last_words())?;
        let ping = Ping::brief(address).with_payload(1472);
        let told = if kind == "gre" { 1458 } else { 1450 };
        let mut known = None;
        eventually("the sender knows how long its packets may be", || {
            // The answer would be too long, and does not come.
            let sent = ping.run(a.host.namespace());
            known = path_mtu(&a, address).ok();
            sent.is_ok() && known == Some(told)
        })
        .with_context(|| format!("{kind}: {known:?} is not {told}"))?;
        a.is_conserved(&[&REASONS[..], &["exceeds_path_mtu"]].concat())?;
    }
    Ok(())
}

/// The MTU of the way to an address, as far as the host of a machine has learned it.
fn path_mtu(site: &Site, address: IpAddr) -> anyhow::Result<i32> {
    let socket = site.host.run(|| UdpSocket::bind("0.0.0.0:0"))??;
    socket.connect(SocketAddr::new(address, 9))?;
    Ok(getsockopt(&socket, IpMtu)?)
}
