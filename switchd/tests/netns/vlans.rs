//! VLAN modes of ports, frame by frame, against what Open vSwitch made of the same frames (`vlans.txt`).

use crate::fixture::{Cable, Network, Observer};
use crate::frames::tagged;
use anyhow::{Context, ensure};
use control::Operation;
use lab::harness::Test;
use lab::{EXPERIMENTAL, FrameSocket, PATIENCE, experimental_frame};

pub(crate) const TESTS: &[Test] = &[("vlans::ports_do_as_in_open_vswitch", as_in_open_vswitch)];

const BROADCAST: [u8; 6] = [0xff; 6];
/// Ethernet type of frames that pass whatever the settings, behind the others.
const LAST: u16 = 0x88b6;
/// What the table says of a frame that does not leave.
const DROPPED: &str = "drop";

fn as_in_open_vswitch() -> anyhow::Result<()> {
    let network = Network::with(&[Cable::Veth; 2], None, &["--vlan-limit", "2"])?;
    let (a, b) = (network.a(), network.b());
    let mut client = network.client()?;
    client.add_flow(&format!("priority=9,dl_type={LAST:#x},actions=output:2"))?;
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut observer = Observer::at(b)?;
    let mut lines = include_str!("vlans.txt").lines().filter(|line| !line.starts_with('#'));
    let frames = lines.next().context("the frames")?;
    let tags: Vec<_> = frames.split(' ').map(parse_tags).collect::<Option<_>>().context("tags")?;
    for (number, line) in (0u8..).zip(lines) {
        let [from, to, expected] = line.splitn(3, '|').map(str::trim).collect::<Vec<_>>()[..]
        else {
            anyhow::bail!("not a line of the table: {line}");
        };
        for (port, settings) in [("veth1", from), ("veth2", to)] {
            let (port, settings) = (port.to_owned(), settings.to_owned());
            client.ask(Operation::SetPort { port, settings }).with_context(|| line.to_owned())?;
        }
        for (i, tags) in (0u8..).zip(&tags) {
            let frame = experimental_frame(BROADCAST, a.mac(), &[number, i]);
            sender.send(&tagged(&frame, tags))?;
        }
        let mut last = experimental_frame(BROADCAST, a.mac(), &[number]);
        last[12..14].copy_from_slice(&LAST.to_be_bytes());
        sender.send(&last)?;
        let mut seen = vec![DROPPED.to_owned(); tags.len()];
        let all_seen = observer.find(PATIENCE, |frame| {
            if let Some((tags, &[of, place, ..])) = read(frame)
                && of == number
                && let Some(place) = seen.get_mut(usize::from(place))
            {
                *place = tags;
            }
            *frame == last
        })?;
        ensure!(all_seen, "{line}: the last frame is missing");
        let seen = seen.join(" ");
        ensure!(seen == expected, "from ({from}) to ({to})\nexpected {expected}\n     got {seen}");
    }
    Ok(())
}

/// Reads `8100.600a+8100.0014`, or `-`.
fn parse_tags(text: &str) -> Option<Vec<(u16, u16)>> {
    let number = |text: &str| u16::from_str_radix(text, 16).ok();
    let tag = |text: &str| {
        let (tpid, tci) = text.split_once('.')?;
        Some((number(tpid)?, number(tci)?))
    };
    if text == "-" { Some(Vec::new()) } else { text.split('+').map(tag).collect() }
}

/// The tags of a frame as text, and what is behind the Ethernet type of ours.
pub(crate) fn read(frame: &[u8]) -> Option<(String, &[u8])> {
    let mut tags = Vec::new();
    let mut rest = frame.get(12..)?;
    loop {
        let (kind, behind) = rest.split_first_chunk()?;
        match u16::from_be_bytes(*kind) {
            tpid @ (0x8100 | 0x88a8) => {
                let (tci, behind) = behind.split_first_chunk()?;
                tags.push(format!("{tpid:04x}.{:04x}", u16::from_be_bytes(*tci)));
                rest = behind;
            }
            EXPERIMENTAL => {
                let tags = if tags.is_empty() { "-".to_owned() } else { tags.join("+") };
                return Some((tags, behind));
            }
            _ => return None,
        }
    }
}
