//! Changes of every kind at once, while frames come without a pause: none is judged by an old state.
//!
//! For each kind of change a thread makes one change after the other. A frame tells, for each kind, the
//! number of the last change whose command had returned when the frame was sent. So whoever receives
//! the frame knows the states by which it may have been judged: those since these changes, up to the
//! latest ones that have begun.

use crate::fixture::{Network, Observer, port_name};
use crate::kernel_cache::{MOST, checksum, kernel, network, was_in_use};
use anyhow::{Context, bail, ensure};
use control::{Client, GroupCommand, GroupMods, Operation, PortFlag};
use lab::harness::Test;
use lab::{FrameSocket, Host};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] =
    &[("kernel_races::no_frame_is_judged_by_an_old_state_of_any_kind", all_kinds)];

/// Number of changes. `SWITCHD_CHANGES` sets another one.
const CHANGES: u32 = 1500;

const HOST: &str = "02:00:00:00:77:00";
const HOST_BYTES: [u8; 6] = [2, 0, 0, 0, 0x77, 0];
const SENDER: &str = "02:00:00:00:88:00";
const SENDER_BYTES: [u8; 6] = [2, 0, 0, 0, 0x88, 0];

/// What changes. Frames come in by port 1. A rule writes its number into their source address, a group writes
/// its own into their destination address, sends a copy to port 4, and has the switch find the host, which is
/// behind port 2 or 3.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The number that the rule writes.
    Rule,
    /// The number that the group writes.
    Group,
    /// Where the host of VLAN 10 is: at port 2, nobody knows, at port 3, nobody knows.
    Host,
    /// The VLAN of port 1: 10, or 11, whose host is at port 3.
    Vlan,
    /// A setting of port 3: whether it is protected from port 1.
    Setting,
    /// A flag of port 2: whether it forwards.
    Flag,
    /// Whether there is a port 4.
    Port,
}

const KINDS: [Kind; 7] =
    [Kind::Rule, Kind::Group, Kind::Host, Kind::Vlan, Kind::Setting, Kind::Flag, Kind::Port];

/// The numbers of changes, for each kind.
#[derive(Debug, Default)]
struct Numbers {
    /// The latest change that has begun.
    begun: [AtomicU32; KINDS.len()],
    /// The latest change whose command has returned.
    returned: [AtomicU32; KINDS.len()],
    /// The latest one that a frame has told of that has arrived.
    seen: [AtomicU32; KINDS.len()],
    /// Frames that could have been judged by one state of this kind only.
    sharp: [AtomicU64; KINDS.len()],
}

impl Numbers {
    fn total(&self) -> u32 {
        self.returned.iter().map(|number| number.load(Ordering::Relaxed)).sum()
    }

    /// The first kind whose changes were hardly tried, with their number and that of the frames that could have
    /// been judged by one state only. Ports take longer to come and go than the other kinds of changes.
    fn hardly_tried(&self) -> Option<(Kind, u32, u64)> {
        let of = |kind: Kind| {
            let returned = self.returned[kind as usize].load(Ordering::Relaxed);
            (kind, returned, self.sharp[kind as usize].load(Ordering::Relaxed))
        };
        let few =
            |&(_, returned, sharp): &(Kind, u32, u64)| returned == 0 || sharp <= returned.into();
        KINDS.map(of).into_iter().find(few)
    }
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 | number)
}

/// Makes a change of a kind. Change 0 makes the first state.
fn change(client: &mut Client, kind: Kind, number: u32) -> anyhow::Result<()> {
    let is_even = number.is_multiple_of(2);
    match kind {
        Kind::Rule => {
            let actions = format!("mod_nw_src:{},group:1", address(number));
            client.add_flow(&format!("priority=9,icmp,in_port=1,actions={actions}"))?;
        }
        Kind::Group => {
            let actions = format!("mod_nw_dst:{},output:4,normal", address(number));
            let command = if number == 0 { GroupCommand::Add } else { GroupCommand::Modify };
            let mods = GroupMods { command, ..GroupMods::default() };
            let group = format!("group_id=1,type=indirect,bucket=actions={actions}");
            client.call(Operation::GroupMods(mods), &mut group.as_bytes(), &mut |_| Ok(()))?;
        }
        Kind::Host => {
            let mac = HOST.to_owned();
            client.ask(match host_at(number) {
                Some(port) => Operation::FdbAdd { port: port.to_string(), vlan: 10, mac },
                None => Operation::FdbDel { vlan: 10, mac },
            })?;
        }
        Kind::Vlan => set_port(client, 1, &format!("tag={}", vlan(number)))?,
        Kind::Setting => set_port(client, 3, &format!("protected={}", !is_even))?,
        Kind::Flag => {
            let (port, flag) = ("2".to_owned(), PortFlag::NoForward);
            client.ask(Operation::ModPort { port, flag, on: !is_even })?;
        }
        Kind::Port if is_even => {
            let spec = format!("{},number=4,tag=99", port_name(3));
            client.ask(Operation::AddPort { spec })?;
        }
        Kind::Port => {
            client.ask(Operation::DelPort { port: port_name(3) })?;
        }
    }
    Ok(())
}

fn set_port(client: &mut Client, port: u16, settings: &str) -> anyhow::Result<()> {
    let (port, settings) = (port.to_string(), settings.to_owned());
    client.ask(Operation::SetPort { port, settings })?;
    Ok(())
}

/// The port of the host of VLAN 10 behind a change.
fn host_at(number: u32) -> Option<u16> {
    [Some(2), None, Some(3), None][number as usize % 4]
}

/// The VLAN of port 1 behind a change.
fn vlan(number: u32) -> u16 {
    if number.is_multiple_of(2) { 10 } else { 11 }
}

fn set_up(client: &mut Client) -> anyhow::Result<()> {
    client.del_flows("")?;
    // Port 4 is there already, with another VLAN than it is to have.
    client.ask(Operation::DelPort { port: port_name(3) })?;
    set_port(client, 1, "protected=true")?;
    for kind in [Kind::Vlan, Kind::Setting, Kind::Port, Kind::Group, Kind::Rule, Kind::Host] {
        change(client, kind, 0)?;
    }
    for (port, vlan, mac) in [("3", 11, HOST), ("1", 10, SENDER), ("1", 11, SENDER)] {
        let (port, mac) = (port.to_owned(), mac.to_owned());
        client.ask(Operation::FdbAdd { port, vlan, mac })?;
    }
    Ok(())
}

/// Offset of the network header.
const IP: usize = 14;
/// Offset of the numbers behind the network header: there are a header of ICMP and those of IPv4 between.
const TOLD: usize = 28;

fn frame(numbers: &Numbers) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let sum = checksum(&ip, 0);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let told = numbers.returned.iter().flat_map(|n| n.load(Ordering::SeqCst).to_be_bytes());
    let headers = [&HOST_BYTES[..], &SENDER_BYTES, &[8, 0], &ip, &[0; 8]].concat();
    headers.into_iter().chain(told).collect()
}

/// Whether a frame of [`frame`] could have arrived at a port. Other frames could.
fn judge(port: u16, frame: &[u8], numbers: &Numbers) -> anyhow::Result<()> {
    let tag = if frame[12..14] == [0x81, 0] { 4 } else { 0 };
    let Some(packet) = frame.get(IP + tag..) else { return Ok(()) };
    let is_ours = frame[..6] == HOST_BYTES && packet.len() >= TOLD + 4 * KINDS.len();
    if !is_ours || packet[..2] != [0x45, 0] {
        return Ok(());
    }
    let word = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| packet[at + i]));
    let states: Vec<RangeInclusive<u32>> = (0..KINDS.len())
        .map(|kind| {
            let told = word(TOLD + 4 * kind);
            let begun = numbers.begun[kind].load(Ordering::SeqCst);
            numbers.seen[kind].fetch_max(told, Ordering::Relaxed);
            numbers.sharp[kind].fetch_add(u64::from(told == begun), Ordering::Relaxed);
            told..=begun
        })
        .collect();
    let states_of = |kind: Kind| states[kind as usize].clone();
    let wrote = |at: usize| word(at) & 0x00ff_ffff;
    let (by_rule, by_group) = (wrote(12), wrote(16));
    let could_arrive = match port {
        4 => states_of(Kind::Port).any(|number| number.is_multiple_of(2)),
        _ => {
            let is_open = |kind| states_of(kind).any(|number: u32| number.is_multiple_of(2));
            let leads_here = |vlan: u16| match vlan {
                11 => port == 3,
                // Frames to a host that nobody knows go to all ports of the VLAN.
                _ => states_of(Kind::Host).any(|n| host_at(n).is_none_or(|at| at == port)),
            };
            is_open(if port == 2 { Kind::Flag } else { Kind::Setting })
                && states_of(Kind::Vlan).any(|number| leads_here(vlan(number)))
        }
    };
    ensure!(
        states_of(Kind::Rule).contains(&by_rule)
            && states_of(Kind::Group).contains(&by_group)
            && could_arrive,
        "port {port}: rule {by_rule}, group {by_group}, with states {states:?}"
    );
    Ok(())
}

fn receive(port: u16, host: &Host, numbers: &Numbers, is_over: &AtomicBool) -> anyhow::Result<u64> {
    let mut observer = Observer::at(host)?;
    let (mut seen, mut judged) = (0, Ok(()));
    while !is_over.load(Ordering::Relaxed) && judged.is_ok() {
        observer.find(Duration::from_millis(20), |frame| {
            seen += 1;
            judged = judge(port, frame, numbers);
            judged.is_err() || is_over.load(Ordering::Relaxed)
        })?;
    }
    judged.map(|()| seen)
}

/// How long the next change of a kind waits for a frame that tells of the last one.
const MOST_WAIT: Duration = Duration::from_millis(20);

fn make_changes(
    network: &Network,
    kind: Kind,
    numbers: &Numbers,
    is_over: &AtomicBool,
) -> anyhow::Result<()> {
    let mut client = network.client()?;
    let index = kind as usize;
    for number in 1.. {
        numbers.begun[index].store(number, Ordering::SeqCst);
        change(&mut client, kind, number).with_context(|| format!("{kind:?} {number}"))?;
        numbers.returned[index].store(number, Ordering::SeqCst);
        let returned = Instant::now();
        while numbers.seen[index].load(Ordering::Relaxed) < number {
            if is_over.load(Ordering::Relaxed) || returned.elapsed() > MOST_WAIT {
                break;
            }
            std::thread::yield_now();
        }
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

/// Sets a flag when it goes, in whatever way a thread ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn all_kinds() -> anyhow::Result<()> {
    let network = network(4)?;
    let mut client = network.client()?;
    set_up(&mut client)?;
    let changes = std::env::var("SWITCHD_CHANGES").ok().and_then(|text| text.parse().ok());
    let changes: u32 = changes.unwrap_or(CHANGES);
    let (numbers, is_over) = (Numbers::default(), AtomicBool::new(false));
    let (numbers, is_over) = (&numbers, &is_over);
    let [a, hosts @ ..] = &network.hosts[..] else { bail!("there are four hosts") };
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let receivers: Vec<_> = (2..)
            .zip(hosts)
            .map(|(port, host)| {
                scope.spawn(move || {
                    let _over = Over(is_over);
                    receive(port, host, numbers, is_over)
                })
            })
            .collect();
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // A full queue is no concern of this test.
                let _ = sender.send(&frame(numbers));
            }
        });
        let changers = KINDS.map(|kind| {
            let network = &network;
            scope.spawn(move || {
                let _over = Over(is_over);
                make_changes(network, kind, numbers, is_over)
            })
        });
        let over = Over(is_over);
        while !is_over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            let total = numbers.total();
            let is_enough = total >= changes
                && numbers.hardly_tried().is_none()
                && was_in_use(&kernel(&mut client)?, changes);
            if is_enough || total >= MOST * changes {
                break;
            }
        }
        drop(over);
        for changer in changers {
            changer.join().expect("a thread that makes changes does not panic")?;
        }
        for receiver in receivers {
            let seen = receiver.join().expect("a receiver does not panic")?;
            ensure!(seen > 0, "a host has received nothing");
        }
        Ok(())
    })?;
    let in_kernel = kernel(&mut client)?;
    ensure!(was_in_use(&in_kernel, changes), "hardly a frame was in the kernel: {in_kernel:?}");
    let hardly_tried = numbers.hardly_tried();
    ensure!(hardly_tried.is_none(), "hardly tried: {hardly_tried:?}");
    Ok(())
}
