//! A change of any kind holds for every frame that is sent after its command has returned,
//! with the kernel cache, too.
//!
//! Each test makes one change after the other. Behind each, it sends some frames with the number of the change,
//! one after the other, so that the kernel forwards the last ones, and the next change has something to make
//! stale. Every frame that arrives has to have gone the way of its own change.

use crate::fixture::port_name;
use crate::kernel_cache::{kernel, network, totals};
use anyhow::{bail, ensure};
use control::{Client, GroupCommand, GroupMods, Operation, PortFlag};
use lab::harness::Test;
use lab::{FrameSocket, PATIENCE, eventually, experimental_frame};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("kernel_stale::groups", groups),
    ("kernel_stale::hosts", hosts),
    ("kernel_stale::vlans", vlans),
    ("kernel_stale::flags_of_ports", flags),
    ("kernel_stale::ports_that_are_deleted_and_made_again", deletion),
];

/// Number of changes. `SWITCHD_CHANGES` sets another one.
fn changes(usual: u32) -> u32 {
    std::env::var("SWITCHD_CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

const CHANGES: u32 = 40;
/// Number of frames behind each change.
const FRAMES: u32 = 8;
/// The address that the frames are for.
const HOST: [u8; 6] = [2, 0, 0, 0, 0x77, 0];
/// The address that the frames come from.
const SENDER: [u8; 6] = [2, 0, 0, 0, 0x88, 0];
/// Offset of the number in a frame.
const NUMBER: usize = 14;

/// Where the frames behind a change arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// At the host of port 2 or 3, with this source address.
    To(usize, [u8; 6]),
    Nowhere,
}

/// One kind of change.
struct Kind {
    setup: fn(&mut Client) -> anyhow::Result<()>,
    change: fn(&mut Client, u32) -> anyhow::Result<()>,
    way: fn(u32) -> Way,
    changes: u32,
}

fn run(kind: &Kind) -> anyhow::Result<()> {
    let network = network(3)?;
    let mut client = network.client()?;
    (kind.setup)(&mut client)?;
    let [a, hosts @ ..] = &network.hosts[..] else { bail!("there are three hosts") };
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let sockets: Result<Vec<_>, _> =
        hosts.iter().map(|host| host.run(|| FrameSocket::open(host.interface()))?).collect();
    let mut sockets = sockets?;
    for number in 1..=changes(kind.changes) {
        (kind.change)(&mut client, number)?;
        let dropped_before = totals(&mut client)?.2;
        for sent in 1..=FRAMES {
            let frame = experimental_frame(HOST, SENDER, &number.to_be_bytes());
            ensure!(sender.send(&frame)?, "the frame could not be sent");
            match (kind.way)(number) {
                Way::To(port, _) => {
                    let arrived = next(&mut sockets[port - 2], port, PATIENCE, kind.way)?;
                    ensure!(arrived == Some(number), "frame {sent} of {number}: {arrived:?}");
                }
                Way::Nowhere => eventually("the frame is dropped", || {
                    let totals = totals(&mut client);
                    totals.is_ok_and(|totals| totals.2 >= dropped_before + u64::from(sent))
                })?,
            }
        }
        for (socket, port) in sockets.iter_mut().zip(2..) {
            let more = next(socket, port, Duration::ZERO, kind.way)?;
            ensure!(more.is_none(), "port {port} gets one more frame of {more:?}");
        }
    }
    let in_kernel = kernel(&mut client)?;
    ensure!(in_kernel.hits > u64::from(kind.changes), "hardly in use: {in_kernel:?}");
    Ok(())
}

/// The number of the next frame that arrives at the host of a port, which has to be on its way.
fn next(
    socket: &mut FrameSocket,
    port: usize,
    limit: Duration,
    way: fn(u32) -> Way,
) -> anyhow::Result<Option<u32>> {
    let is_ours = |frame: &[u8]| frame.len() >= NUMBER + 4 && frame[12..14] == [0x88, 0xb5];
    let Some(frame) = socket.receive_matching(limit, is_ours)? else { return Ok(None) };
    let number = u32::from_be_bytes(std::array::from_fn(|i| frame[NUMBER + i]));
    let way = way(number);
    let took = Way::To(port, std::array::from_fn(|i| frame[6 + i]));
    ensure!(took == way, "a frame behind change {number} went {took:?}, not {way:?}");
    Ok(Some(number))
}

fn is_even(number: u32) -> bool {
    number.is_multiple_of(2)
}

/// Port 2 behind even changes, port 3 behind the others.
fn by_turns(number: u32) -> Way {
    Way::To(if is_even(number) { 2 } else { 3 }, SENDER)
}

/// Port 2 behind even changes.
fn at_times(number: u32) -> Way {
    if is_even(number) { Way::To(2, SENDER) } else { Way::Nowhere }
}

fn numbered_sender(number: u32) -> [u8; 6] {
    let [.., c, d] = number.to_be_bytes();
    [2, 0, 0, 0, c, d]
}

fn groups() -> anyhow::Result<()> {
    fn mod_group(client: &mut Client, command: GroupCommand, number: u32) -> anyhow::Result<()> {
        let mac = numbered_sender(number).map(|byte| format!("{byte:02x}")).join(":");
        let group = format!("group_id=1,type=indirect,bucket=actions=mod_dl_src:{mac},output:2");
        let mods = GroupMods { command, ..GroupMods::default() };
        client.call(Operation::GroupMods(mods), &mut group.as_bytes(), &mut |_| Ok(()))?;
        Ok(())
    }
    run(&Kind {
        setup: |client| {
            mod_group(client, GroupCommand::Add, 0)?;
            Ok(client.add_flow("priority=9,dl_type=0x88b5,actions=group:1")?)
        },
        change: |client, number| mod_group(client, GroupCommand::Modify, number),
        way: |number| Way::To(2, numbered_sender(number)),
        changes: CHANGES,
    })
}

/// A text for [`HOST`].
const HOST_TEXT: &str = "02:00:00:00:77:00";

fn add_host(client: &mut Client, port: &str, vlan: u16) -> anyhow::Result<()> {
    let (port, mac) = (port.to_owned(), HOST_TEXT.to_owned());
    client.ask(Operation::FdbAdd { port, vlan, mac })?;
    Ok(())
}

fn set_port(client: &mut Client, port: &str, settings: &str) -> anyhow::Result<()> {
    let (port, settings) = (port.to_owned(), settings.to_owned());
    client.ask(Operation::SetPort { port, settings })?;
    Ok(())
}

fn hosts() -> anyhow::Result<()> {
    run(&Kind {
        setup: |client| add_host(client, "2", 0),
        change: |client, number| {
            client.ask(Operation::FdbDel { vlan: 0, mac: HOST_TEXT.to_owned() })?;
            add_host(client, if is_even(number) { "2" } else { "3" }, 0)
        },
        way: by_turns,
        changes: CHANGES,
    })
}

fn vlans() -> anyhow::Result<()> {
    run(&Kind {
        setup: |client| {
            set_port(client, "2", "tag=10")?;
            set_port(client, "3", "tag=11")?;
            add_host(client, "2", 10)?;
            add_host(client, "3", 11)
        },
        change: |client, number| {
            set_port(client, "1", if is_even(number) { "tag=10" } else { "tag=11" })
        },
        way: by_turns,
        changes: CHANGES,
    })
}

fn flags() -> anyhow::Result<()> {
    run(&Kind {
        setup: |client| Ok(client.add_flow("priority=9,dl_type=0x88b5,actions=output:2")?),
        change: |client, number| {
            let (port, flag) = ("2".to_owned(), PortFlag::NoForward);
            client.ask(Operation::ModPort { port, flag, on: !is_even(number) })?;
            Ok(())
        },
        way: at_times,
        changes: CHANGES,
    })
}

fn deletion() -> anyhow::Result<()> {
    run(&Kind {
        setup: |client| Ok(client.add_flow("priority=9,dl_type=0x88b5,actions=output:2")?),
        change: |client, number| {
            let name = port_name(1);
            client.ask(match is_even(number) {
                true => Operation::AddPort { spec: format!("{name},number=2") },
                false => Operation::DelPort { port: name },
            })?;
            Ok(())
        },
        way: at_times,
        changes: CHANGES / 4,
    })
}
