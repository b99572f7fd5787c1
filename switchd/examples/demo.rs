//! `cargo demo`: what a switch does, shown in a few seconds on a network that exists only for it.
//!
//! Three hosts in namespaces of their own, two on veth pairs and one behind a TAP device (if this
//! user may have one), with this very program as the switch between them: no root, no other
//! programs. With arguments the program is that switch ([`switchd::daemon`]), without any the demo.
//!
//! Before each step stands the command that a user would type; after it, what was seen. Every step is
//! verified, and the exit status says whether all of them held. The demo speaks to the switch as
//! `ofctl` does, through its control socket.

use anyhow::{Context, bail, ensure};
use control::record::FlowRecord;
use control::{Client, Operation, OverlayRequest, Reply};
use flow::metric::{CacheCounts, CacheMetric};
use lab::traffic::{Ping, TcpTransfer, Transfer};
use lab::{Counters, Daemon, Host, HostPlan, LinkSpec, Namespace, Netlink, enter, has_taps};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

const MEGABYTE: u64 = 1_000_000;
/// Where servers listen.
const PORT: u16 = 8080;

/// What to type next.
const NEXT: &str = "\
Next:
  $ cargo build --release && export PATH=$PWD/target/release:$PATH
  $ sudo target/release/switchd --port DEVICE --port DEVICE    (or by hand with namespaces: README.md)
  $ ofctl help        (and docs/cookbook.md: VLANs, a firewall, a load balancer, virtual machines ...)";

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        return switchd::daemon::main();
    }
    show()
}

/// Shows everything and tells whether it held. The first thing in the life of the process, because it
/// moves into namespaces of its own, which the kernel refuses to a process with threads.
fn show() -> ExitCode {
    if let Err(e) = enter() {
        eprintln!("The demo builds a network in namespaces of its own, and cannot here:\n{e}");
        return ExitCode::FAILURE;
    }
    match Stage::set().and_then(|stage| stage.show()) {
        Ok(()) => {
            println!(
                "\nAll of this was measured and verified just now; the network is gone again.\n\n{NEXT}"
            );
            ExitCode::SUCCESS
        }
        Err(e) => {
            println!("    FAILED: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// The hosts, the switch and a session with it.
struct Stage {
    a: Host,
    b: Host,
    c: Host,
    client: Client,
    daemon: Daemon,
}

impl Stage {
    fn set() -> anyhow::Result<Self> {
        // The cable of the third host, and the port that goes with it.
        let (cable, port) = if has_taps() { ("tap3 ", "tap:tap3") } else { ("veth3", "veth3") };
        println!(
            "Three hosts and one switch, in network namespaces that only this process has:\n\n    \
             host a 10.0.0.1 ── veth1 ─┐\n    \
             host b 10.0.0.2 ── veth2 ─┼─ switchd\n    \
             host c 10.0.0.3 ── {cable} ─┘\n"
        );
        if !has_taps() {
            println!(
                "(/dev/net/tun is not for this user, so host c gets a veth pair, not a TAP.)\n"
            );
        }
        let a = Host::on_veth(HostPlan::number(1), "veth1")?;
        let b = Host::on_veth(HostPlan::number(2), "veth2")?;
        let c = if has_taps() { None } else { Some(Host::on_veth(HostPlan::number(3), "veth3")?) };
        command(&format!("switchd --port veth1 --port veth2 --port {port}"));
        let program = std::env::current_exe().context("find this program's own file")?;
        let ports = ["--port", "veth1", "--port", "veth2", "--port", port];
        let daemon = Daemon::start(&program, ports)?;
        let c = match c {
            Some(c) => c,
            // The device exists from now on.
            None => Host::on_tap(HostPlan::number(3), "tap3")?,
        };
        let client = daemon.client()?;
        Ok(Self { a, b, c, client, daemon })
    }

    fn show(mut self) -> anyhow::Result<()> {
        self.hosts_reach_each_other()?;
        self.the_switch_learns()?;
        self.a_rule_drops()?;
        self.a_rule_rewrites()?;
        self.rules_count()?;
        self.most_packets_are_known()?;
        self.an_overlay_joins_machines()?;
        self.the_kernel_has_no_complaints()?;
        let (status, said) = self.daemon.stop()?;
        ensure!(status.success(), "the switch ended with {status} and said: {said}");
        Ok(())
    }

    fn hosts_reach_each_other(&mut self) -> anyhow::Result<()> {
        heading(
            1,
            "Without a single rule of yours the hosts reach each other",
            "The switch starts with one rule that says \"do what every switch does\".",
        );
        command("ofctl dump-flows");
        for flow in self.client.flows("")? {
            println!("    {}", line(&flow));
        }
        for (from, to) in [(&self.a, &self.b), (&self.b, &self.c), (&self.c, &self.a)] {
            let report = Ping::to(to.v4()).run(from.namespace())?;
            let (from, to) = (name(from), name(to));
            ensure!(report.is_complete(), "{from} pings {to}: {report:?}");
            let best = report.best().unwrap_or_default();
            seen(&format!(
                "{from} pings {to}: {} of {} answers, the fastest after {:.3} ms",
                report.received(),
                report.sent,
                best.as_secs_f64() * 1e3
            ));
        }
        let neighbour = neighbour(&self.a, self.b.v4())?;
        ensure!(neighbour == mac(self.b.mac()), "a believes that b is {neighbour}");
        seen(&format!("ARP told a that {} is {neighbour}, which is b", self.b.v4()));
        for (from, to) in [(&self.a, &self.b), (&self.b, &self.c)] {
            let transfer = transfer(from, to, 250 * MEGABYTE)?;
            let (from, to) = (name(from), name(to));
            seen(&format!("{from} sends {to} {}", describe(&transfer)));
        }
        Ok(())
    }

    fn the_switch_learns(&mut self) -> anyhow::Result<()> {
        heading(
            2,
            "The switch has learned where everybody is",
            "It looks at who sends, and needs to ask nobody.",
        );
        command("ofctl fdb-show");
        let fdb = self.client.fdb()?;
        println!("     port  VLAN  MAC                Age");
        for entry in &fdb {
            let age = entry.age.map_or_else(|| "static".to_owned(), |age| age.to_string());
            println!("    {:>5} {:>5}  {} {age:>5}", entry.port, entry.vlan, entry.mac);
        }
        for (host, port) in [(&self.a, 1), (&self.b, 2), (&self.c, 3)] {
            let is_known = fdb.iter().any(|e| e.mac == mac(host.mac()) && e.port == port);
            ensure!(is_known, "{} is not known at port {port}", name(host));
        }
        seen("a, b and c are known, each at its own port");
        Ok(())
    }

    fn a_rule_drops(&mut self) -> anyhow::Result<()> {
        heading(
            3,
            "A rule forbids pings from a to b",
            "It takes effect before the command returns, and concerns nothing else.",
        );
        const RULE: &str =
            "priority=100,icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2,icmp_type=8,actions=drop";
        command(&format!("ofctl add-flow \"{RULE}\""));
        self.client.add_flow(RULE)?;
        let in_vain = Ping::brief(self.b.v4()).run(self.a.namespace())?;
        ensure!(in_vain.received() == 0, "a still reaches b: the rule does not bite");
        seen("a pings b: no answer, the rule bites");
        let reaches = |from: &Host, to: &Host| -> anyhow::Result<bool> {
            let ping = Ping { count: 1, ..Ping::to(to.v4()) };
            Ok(ping.run(from.namespace())?.is_complete())
        };
        ensure!(reaches(&self.b, &self.a)?, "b does not reach a");
        ensure!(reaches(&self.a, &self.c)?, "a does not reach c");
        seen("b pings a, and a pings c: answered, the rule concerns neither");
        self.sync()?;
        let dropped = self.client.aggregate("icmp,icmp_type=8")?.n_packets;
        ensure!(dropped == 1, "the rule dropped {dropped} packets, and one was sent");
        seen("the rule has counted the one packet that it dropped");
        command("ofctl del-flows \"icmp\"");
        self.client.del_flows("icmp")?;
        ensure!(reaches(&self.a, &self.b)?, "a does not reach b, though the rule is gone");
        seen("a pings b: answered again");
        Ok(())
    }

    fn a_rule_rewrites(&mut self) -> anyhow::Result<()> {
        heading(
            4,
            "Rules move a service to another port",
            "Clients of b call port 80, where nobody listens; the server is at port 8080.",
        );
        let client = SocketAddr::new(self.b.v4().into(), 80);
        let call = TcpTransfer {
            connect: client,
            ..TcpTransfer::to(SocketAddr::new(self.b.v4().into(), PORT), 100 * MEGABYTE)
        };
        ensure!(
            call.run(self.a.namespace(), self.b.namespace()).is_err(),
            "port 80 of b accepts connections without any rule"
        );
        seen("a calls port 80 of b: refused");
        for rule in [
            "priority=100,tcp,nw_dst=10.0.0.2,tp_dst=80,actions=mod_tp_dst:8080,NORMAL",
            "priority=100,tcp,nw_src=10.0.0.2,tp_src=8080,actions=mod_tp_src:80,NORMAL",
        ] {
            command(&format!("ofctl add-flow \"{rule}\""));
            self.client.add_flow(rule)?;
        }
        let transfer = call.run(self.a.namespace(), self.b.namespace())?;
        seen(&format!("a calls port 80 of b and sends {}", describe(&transfer)));
        Ok(())
    }

    fn rules_count(&mut self) -> anyhow::Result<()> {
        heading(
            5,
            "Every rule counts its packets",
            "The same list twice, with a transfer in between.",
        );
        command("ofctl dump-flows");
        let before = self.flows()?;
        for flow in &before {
            println!("    {}", line(flow));
        }
        let transfer = transfer(&self.b, &self.c, 100 * MEGABYTE)?;
        seen(&format!("b sends c {}", describe(&transfer)));
        command("ofctl dump-flows");
        let after = self.flows()?;
        for flow in &after {
            println!("    {}", line(flow));
        }
        let normal =
            |flows: &[FlowRecord]| flows.iter().find(|f| f.priority == 0).map_or(0, |f| f.n_bytes);
        let grown = normal(&after).saturating_sub(normal(&before));
        ensure!(grown >= transfer.bytes, "the last rule counted only {grown} bytes");
        seen(&format!("the rule with actions=NORMAL has counted {grown} bytes more"));
        Ok(())
    }

    fn most_packets_are_known(&mut self) -> anyhow::Result<()> {
        heading(
            6,
            "Rules are looked up once for each flow",
            "What was decided is kept in a cache, and the next packet of the flow finds it there.",
        );
        let before = self.cache()?;
        let transfer = transfer(&self.c, &self.a, 100 * MEGABYTE)?;
        seen(&format!("c sends a {}", describe(&transfer)));
        command("ofctl cache-show");
        let after = self.cache()?;
        let counted = |metric| after[metric] - before[metric];
        let (hits, misses) = (counted(CacheMetric::Hits), counted(CacheMetric::Misses));
        println!("    hits +{hits}, misses +{misses}");
        ensure!(misses > 0, "new flows did not go through the rules");
        ensure!(hits > 10 * misses, "the cache hardly helps");
        seen(&format!(
            "{:.2} % of the frames needed no rule to be looked at",
            100.0 * hits as f64 / (hits + misses) as f64
        ));
        Ok(())
    }

    /// The other machine is a namespace, too, at the end of a cable. Its switch ends with this step.
    fn an_overlay_joins_machines(&mut self) -> anyhow::Result<()> {
        heading(
            7,
            "An overlay makes one network of several machines",
            "Another machine has a switch and host d; a cable joins 192.0.2.1, here, with 192.0.2.2.",
        );
        let machine = Namespace::new()?;
        let up = LinkSpec { up: true, ..LinkSpec::default() };
        let far = LinkSpec { netns: Some(&machine), ..up.clone() };
        Netlink::open()?.create_veth("cable", &up, "cable", &far)?;
        let give_address = |number| -> anyhow::Result<()> {
            let mut netlink = Netlink::open()?;
            let index = netlink.link("cable")?.index;
            Ok(netlink.add_address(index, IpAddr::from([192, 0, 2, number]), 24)?)
        };
        give_address(1)?;
        machine.run(|| give_address(2))??;
        let d = machine.run(|| Host::on_veth(HostPlan::number(4), "veth4"))??;
        let overlay = "vxlan:net,vni=7,peer=192.0.2.1";
        command(&format!("switchd --port veth4 --overlay {overlay}     (there)"));
        let program = std::env::current_exe().context("find this program's own file")?;
        let ports = ["--port", "veth4", "--overlay", overlay];
        let other = machine.run(|| Daemon::start(&program, ports))??;
        command("ofctl overlay add vxlan:net vni=7 peer=192.0.2.2     (here)");
        let overlay = "vxlan:net,vni=7,peer=192.0.2.2".to_owned();
        self.client.ask(Operation::Overlay(OverlayRequest::Add { overlay }))?;
        let report = Ping::to(d.v4()).run(self.a.namespace())?;
        ensure!(report.is_complete(), "a pings d: {report:?}");
        seen(&format!("a pings d: {} of {} answers", report.received(), report.sent));
        let transfer = transfer(&self.a, &d, 50 * MEGABYTE)?;
        seen(&format!("a sends d {}", describe(&transfer)));
        ensure!(Counters::read(d.namespace())?.checksum_errors() == 0, "d found wrong checksums");
        seen("neither host has a smaller MTU: the switches cut TCP to what fits into the tunnel");
        let (status, said) = other.stop()?;
        ensure!(status.success(), "the other switch ended with {status} and said: {said}");
        Ok(())
    }

    fn the_kernel_has_no_complaints(&mut self) -> anyhow::Result<()> {
        let mut errors = 0;
        for host in [&self.a, &self.b, &self.c] {
            errors += Counters::read(host.namespace())?.checksum_errors();
        }
        println!();
        ensure!(errors == 0, "the hosts found {errors} packets with a wrong checksum");
        seen("all offloads of the kernel were on, and no host found a wrong checksum");
        Ok(())
    }

    /// The rules, when everything that was forwarded so far is counted.
    fn flows(&mut self) -> anyhow::Result<Vec<FlowRecord>> {
        self.sync()?;
        Ok(self.client.flows("")?)
    }

    fn sync(&mut self) -> anyhow::Result<()> {
        match self.client.ask(Operation::Sync)? {
            Reply::Done => Ok(()),
            other => bail!("the switch answered {other:?} to a request to finish counting"),
        }
    }

    /// What all workers' caches did, in sum.
    fn cache(&mut self) -> anyhow::Result<CacheCounts> {
        let Reply::Cache(cache) = self.client.ask(Operation::CacheShow)? else {
            bail!("the switch did not tell of its cache");
        };
        Ok(cache.workers.iter().fold(CacheCounts::default(), |sum, worker| sum.plus(worker)))
    }
}

fn heading(number: u32, title: &str, explanation: &str) {
    println!("\n{number}. {title}\n   {explanation}\n");
}

/// A command as the user would type it.
fn command(text: &str) {
    println!("  $ {text}");
}

/// Something that was verified.
fn seen(text: &str) {
    println!("    ok: {text}");
}

/// What this demo calls a host.
fn name(host: &Host) -> char {
    char::from(b'a' + host.mac()[5] - 1)
}

fn transfer(from: &Host, to: &Host, bytes: u64) -> anyhow::Result<Transfer> {
    let server = SocketAddr::new(IpAddr::from(to.v4()), PORT);
    TcpTransfer::to(server, bytes)
        .run(from.namespace(), to.namespace())
        .with_context(|| format!("{} sends {} {bytes} bytes", name(from), name(to)))
}

fn describe(transfer: &Transfer) -> String {
    format!(
        "{} MB by TCP in {:.2} s: {:.1} Gbit/s, every byte compared",
        transfer.bytes / MEGABYTE,
        transfer.elapsed.as_secs_f64(),
        transfer.gbit_per_second()
    )
}

/// A rule in the layout of `ofctl dump-flows`, without what does not matter here.
fn line(flow: &FlowRecord) -> String {
    let separator = if flow.r#match.is_empty() { "" } else { "," };
    format!(
        "n_packets={}, n_bytes={}, priority={}{separator}{} actions={}",
        flow.n_packets, flow.n_bytes, flow.priority, flow.r#match, flow.actions
    )
}

/// The MAC address that a host has learned for a neighbour by ARP.
fn neighbour(host: &Host, address: Ipv4Addr) -> anyhow::Result<String> {
    let table = host.run(|| std::fs::read_to_string("/proc/thread-self/net/arp"))??;
    let address = address.to_string();
    let words = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let entry = words.into_iter().find(|words| words.first() == Some(&address.as_str()));
    let mac = entry.as_ref().and_then(|words| words.get(3));
    Ok(mac.with_context(|| format!("{} has no neighbour {address}", name(host)))?.to_string())
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|b| format!("{b:02x}")).join(":")
}
