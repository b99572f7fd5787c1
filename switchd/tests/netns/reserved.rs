//! Reserved ports and the switches of ports, frame by frame, against what Open vSwitch made
//! of the same frames (`reserved.txt`).

use crate::fixture::{Cable, Network, Observer};
use crate::frames::BROADCAST;
use crate::rules::add_flow_13;
use crate::vlans::read;
use anyhow::{Context, ensure};
use control::{Client, Operation, PortFlag};
use lab::harness::{Test, Unsupported};
use lab::traffic::Ping;
use lab::{
    FrameSocket, Host, HostPlan, Netlink, PATIENCE, eventually, experimental_frame, has_taps,
};
use std::net::IpAddr;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("reserved::ports_do_as_in_open_vswitch", as_in_open_vswitch),
    ("reserved::the_host_itself_is_at_local", the_host_itself_is_at_local),
    ("reserved::a_learned_host_needs_no_flood", a_learned_host_needs_no_flood),
];

/// Long enough for the kernel to hand on what the switch has sent.
const MOMENT: Duration = Duration::from_millis(1);
/// Ethernet type of frames that port 4 gets back, whatever the settings.
const FENCE: u16 = 0x88b6;
/// What the table calls the ports.
const NAMES: [&str; 4] = ["1", "2", "3", "LOCAL"];
/// What the table says of a frame that does not leave.
const NOWHERE: &str = "-";

/// Hosts at ports 1 to 4, and one at LOCAL where this user may have TAP devices.
fn network() -> anyhow::Result<Network> {
    let cables = [Cable::Veth; 4];
    if !has_taps() {
        return Network::new(&cables);
    }
    let mut network = Network::with(&cables, None, &["--port", "tap:local,number=LOCAL"])?;
    network.plug(Host::on_tap(HostPlan::number(5), "local")?)?;
    Ok(network)
}

/// The ends of the cables that the table is about.
struct Ends {
    senders: Vec<FrameSocket>,
    observers: Vec<Observer>,
    /// The end of port 4, which the table is not about.
    fence: (FrameSocket, Observer),
}

impl Ends {
    fn of(network: &Network) -> anyhow::Result<Self> {
        let (mut senders, mut observers) = (Vec::new(), Vec::new());
        for host in &network.hosts {
            senders.push(host.run(|| FrameSocket::open_to_send(host.interface()))??);
            observers.push(Observer::at(host)?);
        }
        let fence = (senders.remove(3), observers.remove(3));
        Ok(Self { senders, observers, fence })
    }

    /// Sends a frame by one end, and tells in the words of the table where it comes out. Waits until
    /// it has come out as `expected`, and looks a moment longer for what is not.
    fn follow(&mut self, from: usize, frame: &[u8], expected: &str) -> anyhow::Result<String> {
        self.senders[from].send(frame)?;
        let fence = fence();
        // When the second fence is back, the batch of the first has left, and with it what came before.
        for _ in 0..2 {
            self.fence.0.send(&fence)?;
            ensure!(self.fence.1.find(PATIENCE, |got| got == fence)?, "the fence is missing");
        }
        let mut manners = vec![Vec::new(); self.observers.len()];
        let mut looked = Ok(());
        // The kernel may hand on a frame later than the switch has sent it. That it never comes out as
        // expected is not an error here, but what the caller wants to know.
        let _ = eventually("it comes out as expected", || {
            looked = self.look(frame, &mut manners);
            looked.is_err() || in_words(&manners) == expected
        });
        looked?;
        self.look(frame, &mut manners)?;
        Ok(in_words(&manners))
    }

    /// Adds how the frame comes out at each end within a moment.
    fn look(&mut self, frame: &[u8], manners: &mut [Vec<String>]) -> anyhow::Result<()> {
        for (observer, manners) in self.observers.iter_mut().zip(manners) {
            observer.find(MOMENT, |got| {
                manners.extend(manner(frame, got));
                false
            })?;
        }
        Ok(())
    }
}

/// Where frames came out, and how, in the words of the table.
fn in_words(manners: &[Vec<String>]) -> String {
    let at_port = |(name, manners)| {
        let manners: &Vec<String> = manners;
        manners.iter().map(move |manner| format!("{name}{manner}"))
    };
    let words: Vec<String> = NAMES.iter().zip(manners).flat_map(at_port).collect();
    if words.is_empty() { NOWHERE.to_owned() } else { words.join(" ") }
}

/// How a frame came out, in the words of the table: with which tags, and how much of
/// it. `None` for another frame.
fn manner(sent: &[u8], got: &[u8]) -> Option<String> {
    let (tags, payload) = read(got)?;
    let is_it = read(sent).is_some_and(|(_, sent)| payload.starts_with(&sent[..2]));
    let tags = if tags == NOWHERE { String::new() } else { format!(":{tags}") };
    let size = if got.len() < sent.len() { format!("/{}", got.len()) } else { String::new() };
    is_it.then(|| tags + &size)
}

fn fence() -> Vec<u8> {
    let mut fence = experimental_frame(BROADCAST, [2, 0, 0, 0, 0, 4], &[]);
    fence[12..14].copy_from_slice(&FENCE.to_be_bytes());
    fence
}

/// Makes a change of the table, or takes it back.
fn change(client: &mut Client, change: &str, on: bool) -> anyhow::Result<()> {
    let (port, what) = change.split_once(' ').context("a port and what it is to be")?;
    let port = port.to_owned();
    let flag = match what {
        "no-flood" => PortFlag::NoFlood,
        "no-receive" => PortFlag::NoReceive,
        "no-forward" => PortFlag::NoForward,
        "no-packet-in" => PortFlag::NoPacketIn,
        settings => {
            let settings = if on { settings.to_owned() } else { String::new() };
            client.ask(Operation::SetPort { port, settings })?;
            return Ok(());
        }
    };
    client.ask(Operation::ModPort { port, flag, on })?;
    Ok(())
}

fn as_in_open_vswitch() -> anyhow::Result<()> {
    let network = network()?;
    let mut client = network.client()?;
    let mut ends = Ends::of(&network)?;
    let has_local = ends.senders.len() == NAMES.len();
    let lines = include_str!("reserved.txt").lines().filter(|line| !line.starts_with('#'));
    for (number, line) in (0u8..).zip(lines) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [changes, rule, expected @ ..] = &columns[..] else {
            anyhow::bail!("not a line of the table: {line}");
        };
        if !has_local && changes.contains("LOCAL") {
            continue;
        }
        let changes: Vec<&str> = changes.split(", ").filter(|change| !change.is_empty()).collect();
        client.del_flows("")?;
        client.add_flow(&format!("priority=65535,dl_type={FENCE:#x},actions=in_port"))?;
        add_flow_13(&network, rule)?;
        for text in &changes {
            change(&mut client, text, true).with_context(|| line.to_owned())?;
        }
        for (from, expected) in [0, 1, 3].into_iter().zip(expected) {
            if from == 3 && !has_local {
                continue;
            }
            let place = from as u8;
            let frame = experimental_frame(BROADCAST, [2, 0, 0, 0, 1, place], &[number, place]);
            let is_there = |port: &&str| has_local || !port.contains("LOCAL");
            let mut expected = expected.split(' ').filter(is_there).collect::<Vec<_>>().join(" ");
            if expected.is_empty() {
                NOWHERE.clone_into(&mut expected);
            }
            let seen = ends.follow(from, &frame, &expected)?;
            ensure!(seen == expected, "{line}\nby {}: {seen}", NAMES[from]);
        }
        for text in &changes {
            change(&mut client, text, false)?;
        }
    }
    Ok(())
}

fn the_host_itself_is_at_local() -> anyhow::Result<()> {
    if !has_taps() {
        return Err(Unsupported::lacking(
            "TAP devices for this user (/dev/net/tun cannot be opened)",
        ));
    }
    let local = ["--port", "internal:sw0,number=LOCAL"];
    let network = Network::with(&[Cable::Veth], None, &local)?;
    let mut client = network.client()?;
    let mut netlink = Netlink::open()?;
    let index = netlink.link("sw0")?.index;
    let address = IpAddr::from([10, 0, 0, 99]);
    netlink.add_address(index, address, 24)?;
    let a = network.a();
    let reaches = |ping: Ping| anyhow::Ok(ping.run(a.namespace())?.is_complete());
    ensure!(reaches(Ping::to(address))?, "NORMAL does not lead there");
    client.del_flows("")?;
    client.add_flow("in_port=1,actions=LOCAL")?;
    client.add_flow("in_port=LOCAL,actions=output:1")?;
    ensure!(reaches(Ping::to(address))?, "rules do not lead there");
    client.add_flow("priority=40000,in_port=LOCAL,icmp,actions=drop")?;
    ensure!(!reaches(Ping::brief(address))?, "what comes from there is not matched");
    Ok(())
}

/// `no-flood` keeps away what is for everybody, and what is for hosts that nobody has heard of.
fn a_learned_host_needs_no_flood() -> anyhow::Result<()> {
    let network = network()?;
    let mut client = network.client()?;
    client.add_flow(&format!("priority=65535,dl_type={FENCE:#x},actions=in_port"))?;
    change(&mut client, "2 no-flood", true)?;
    let mut ends = Ends::of(&network)?;
    let (host, stranger) = ([2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 2]);
    let local = if has_taps() { " LOCAL" } else { "" };
    let mut leads = |from, number, destination, source, to: &str| -> anyhow::Result<()> {
        let frame = experimental_frame(destination, source, &[0, number]);
        let seen = ends.follow(from, &frame, to)?;
        ensure!(seen == to, "frame {number}: to {seen}, not to {to}");
        Ok(())
    };
    leads(0, 1, host, stranger, &format!("3{local}"))?;
    leads(1, 2, BROADCAST, host, &format!("1 3{local}"))?;
    leads(0, 3, host, stranger, "2")?;
    change(&mut client, "2 no-forward", true)?;
    leads(0, 4, host, stranger, NOWHERE)
}
