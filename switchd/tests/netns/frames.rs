//! Frames as bytes: what is sent on one side comes out on the other, and nothing else does.

use crate::fixture::{Cable, Network, Observer};
use anyhow::{Context, bail, ensure};
use control::record::DropRecord;
use control::{Client, Operation, Reply};
use lab::harness::Test;
use lab::traffic::Ping;
use lab::{EXPERIMENTAL, FrameSocket, Host, PATIENCE, eventually, experimental_frame};

pub(crate) const TESTS: &[Test] = &[
    ("frames::tags_are_kept_in_both_directions", tags_are_kept_in_both_directions),
    ("frames::tags_are_kept_to_and_from_a_tap", tags_are_kept_to_and_from_a_tap),
    ("frames::a_full_frame_has_room_for_one_802_1q_tag", a_full_frame_has_room_for_one_tag),
    ("frames::the_order_is_kept", the_order_is_kept),
    ("frames::runts_and_garbage_do_no_harm", runts_and_garbage_do_no_harm),
    ("frames::link_local_multicast_stays_on_its_link", link_local_multicast_stays),
    ("frames::a_learned_address_is_not_flooded", a_learned_address_is_not_flooded),
];

pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

/// `frame` with the tags in front, outermost first, each as TPID and TCI.
pub(crate) fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut bytes = frame[..12].to_vec();
    for (tpid, tci) in tags {
        bytes.extend_from_slice(&tpid.to_be_bytes());
        bytes.extend_from_slice(&tci.to_be_bytes());
    }
    bytes.extend_from_slice(&frame[12..]);
    bytes
}

fn tags_are_kept_in_both_directions() -> anyhow::Result<()> {
    keeps_tags(&[Cable::Veth, Cable::Veth])
}

fn tags_are_kept_to_and_from_a_tap() -> anyhow::Result<()> {
    keeps_tags(&[Cable::Veth, Cable::Tap])
}

fn keeps_tags(cables: &[Cable]) -> anyhow::Result<()> {
    // Identifier 0 is a priority alone; the DEI bit and the priority must survive, too.
    const STACKS: [&[(u16, u16)]; 6] = [
        &[(0x8100, 100)],
        &[(0x8100, 0xe000)],
        &[(0x8100, 0x7fff)],
        &[(0x88a8, 0xb00a)],
        &[(0x88a8, 20), (0x8100, 0x3064)],
        &[(0x8100, 7), (0x8100, 8)],
    ];
    let network = Network::new(cables)?;
    for (from, to) in [(network.a(), network.b()), (network.b(), network.a())] {
        let sender = from.run(|| FrameSocket::open_to_send(from.interface()))??;
        let mut observer = Observer::at(to)?;
        for (i, tags) in STACKS.into_iter().enumerate() {
            // Once short, and once as long as the kernel lets it be: one 802.1Q tag is free.
            let longest = 1514 + if tags[0].0 == 0x8100 { 4 } else { 0 };
            for size in [60, longest] {
                let payload = vec![i as u8 + 1; size - 14 - 4 * tags.len()];
                let frame = tagged(&experimental_frame(BROADCAST, from.mac(), &payload), tags);
                sender.send(&frame)?;
                let seen = observer.find(PATIENCE, |f| f == frame)?;
                ensure!(seen, "{} bytes with tags {tags:x?} from {}", frame.len(), from.v4());
            }
        }
    }
    Ok(())
}

/// What the MTU leaves no room for is dropped by that name, and the name is explained.
fn a_full_frame_has_room_for_one_tag() -> anyhow::Result<()> {
    const STACKS: [(&[(u16, u16)], bool); 4] = [
        (&[], true),
        (&[(0x8100, 0x6064)], true),
        (&[(0x88a8, 0x6064)], false),
        (&[(0x88a8, 20), (0x8100, 30)], false),
    ];
    for egress in [Cable::Veth, Cable::tap_if_possible()] {
        let mut network = Network::new(&[Cable::Veth, egress])?;
        let mut client = network.client()?;
        // The sender's own device has room for all of them.
        let index = network.hosts[0].netlink().link("eth0")?.index;
        network.hosts[0].netlink().set_mtu(index, 1508)?;
        let (a, b) = (network.a(), network.b());
        let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
        let mut observer = Observer::at(b)?;
        for (i, (tags, passes)) in (1u8..).zip(STACKS) {
            // 1,518 bytes with tags: what the kernel takes across a cable of 1,500.
            let payload = vec![i; 1500 - 4 * tags.len().saturating_sub(1)];
            let frame = tagged(&experimental_frame(BROADCAST, a.mac(), &payload), tags);
            let before = exceeds_mtu(&mut client)?.0;
            sender.send(&frame)?;
            if passes {
                ensure!(observer.find(PATIENCE, |f| f == frame)?, "{tags:x?} on {egress:?}");
                continue;
            }
            eventually("the frame is dropped", || {
                exceeds_mtu(&mut client).is_ok_and(|(count, _)| count == before + 1)
            })
            .with_context(|| format!("{tags:x?} on {egress:?}"))?;
            let (_, sentence) = exceeds_mtu(&mut client)?;
            ensure!(sentence.contains("802.1ad"), "{sentence}");
        }
    }
    Ok(())
}

/// How many frames the second port has not sent for their length, and what that means.
fn exceeds_mtu(client: &mut Client) -> anyhow::Result<(u64, String)> {
    let Reply::Drops(drops) = client.ask(Operation::Drops)? else { bail!("no drops") };
    let is_it = |d: &&DropRecord| d.port == 2 && d.reason == "exceeds_mtu";
    let found = drops.failed_outputs.iter().find(is_it);
    Ok(found.map(|d| (d.n_packets, d.meaning.clone())).unwrap_or_default())
}

fn the_order_is_kept() -> anyhow::Result<()> {
    const COUNT: u32 = 2_000;
    let network = Network::pair()?;
    let (a, b) = (network.a(), network.b());
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut receiver = b.run(|| FrameSocket::open(b.interface()))??;
    receiver.set_receive_buffer(8 << 20)?;
    let frames: Vec<_> =
        (0..COUNT).map(|n| experimental_frame(b.mac(), a.mac(), &n.to_be_bytes())).collect();
    // Bursts that fit every queue on the way: this is about order, not about overload.
    for burst in frames.chunks(50) {
        ensure!(sender.send_all(burst)? == burst.len());
        for frame in burst {
            let next = receiver
                .receive_matching(PATIENCE, |f| f[12..14] == EXPERIMENTAL.to_be_bytes())?
                .context("a frame is missing")?;
            ensure!(next == *frame, "expected {:?}, got {:?}", &frame[14..18], &next[14..18]);
        }
    }
    Ok(())
}

fn runts_and_garbage_do_no_harm() -> anyhow::Result<()> {
    let network = Network::new(&[Cable::Veth, Cable::tap_if_possible()])?;
    for (from, to) in [(network.a(), network.b()), (network.b(), network.a())] {
        let sender = from.run(|| FrameSocket::open_to_send(from.interface()))??;
        for frame in garbage(from, to) {
            // The sender's own kernel refuses some of it, which is just as well.
            let _ = sender.send(&frame);
        }
        // At first the garbage may still fill a queue and leave no room for a request.
        eventually("the hosts hear each other after the garbage", || {
            Ping::brief(to.v4()).run(from.namespace()).is_ok_and(|report| report.is_complete())
        })
        .with_context(|| network.daemon.log())?;
    }
    let (status, said) = network.daemon.stop()?;
    ensure!(status.success(), "{status}: {said}");
    Ok(())
}

/// Frames that lie about themselves, to a host and to everybody.
fn garbage(from: &Host, to: &Host) -> Vec<Vec<u8>> {
    const KINDS: [u16; 12] = [
        0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x8847, 0x8848, 0x8864, 0x894f, 0x0000, 0x05dc,
        0xffff,
    ];
    let mut frames: Vec<Vec<u8>> = (0..64).map(|size| vec![0xff; size]).collect();
    // A linear congruential generator (Knuth, TAOCP 2, 3.3.4) is chaos enough.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    for destination in [to.mac(), BROADCAST, [0x01, 0x00, 0x5e, 0, 0, 1]] {
        for kind in KINDS {
            for size in [0, 1, 2, 3, 4, 8, 19, 20, 21, 39, 40, 41, 60, 200, 1500] {
                let mut frame = [&destination[..], &from.mac(), &kind.to_be_bytes()].concat();
                frame.extend((0..size).map(|_| next()));
                // Let half of them pass the first look: a version and a header length that fit.
                if size % 2 == 0
                    && let Some(version) = frame.get_mut(14)
                {
                    *version = if kind == 0x86dd { 0x60 } else { 0x4f };
                }
                frames.push(frame);
            }
        }
        // Tags to the end, and tags that end in the middle.
        for size in [17, 18, 100, 1501] {
            let tags = [0x81, 0x00, 0x00, 0x01].into_iter().cycle().take(size);
            frames.push([&destination[..], &from.mac()].concat().into_iter().chain(tags).collect());
        }
    }
    frames
}

/// IEEE 802.1Q, 8.6.3: 01-80-c2-00-00-00 to -0f are not forwarded.
fn link_local_multicast_stays() -> anyhow::Result<()> {
    let network = Network::pair()?;
    let (a, b) = (network.a(), network.b());
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut observer = Observer::at(b)?;
    for last in [0x00, 0x01, 0x02, 0x03, 0x0e, 0x0f] {
        let group = [0x01, 0x80, 0xc2, 0, 0, last];
        sender.send(&experimental_frame(group, a.mac(), b"stays here"))?;
    }
    // The next address is an ordinary one, and its frame comes after all others.
    let ordinary = experimental_frame([0x01, 0x80, 0xc2, 0, 0, 0x10], a.mac(), b"passes");
    sender.send(&ordinary)?;
    let mut leaked = 0;
    let passed = observer.find(PATIENCE, |f| {
        leaked += usize::from(f.starts_with(&[0x01, 0x80, 0xc2, 0, 0]) && f[5] < 0x10);
        f == ordinary
    })?;
    ensure!(passed, "the ordinary group's frame is missing");
    ensure!(leaked == 0, "{leaked} frames left their link");
    Ok(())
}

fn a_learned_address_is_not_flooded() -> anyhow::Result<()> {
    let network = Network::new(&[Cable::Veth, Cable::Veth, Cable::Veth])?;
    let [a, b, c] = &network.hosts[..] else { anyhow::bail!("three hosts") };
    let mut observer = Observer::at(c)?;
    let sockets = [a, b].map(|h| h.run(|| FrameSocket::open_to_send(h.interface())));
    let [a_sender, b_sender] = sockets;
    let (a_sender, b_sender) = (a_sender??, b_sender??);
    // Nobody knows b, so everybody gets it.
    let unknown = experimental_frame([2, 0, 0, 0, 0, 0xbb], a.mac(), b"unknown");
    a_sender.send(&unknown)?;
    ensure!(observer.find(PATIENCE, |f| f == unknown)?, "an unknown address is flooded");
    // It speaks, and is known.
    let hello = experimental_frame(BROADCAST, [2, 0, 0, 0, 0, 0xbb], b"hello");
    b_sender.send(&hello)?;
    ensure!(observer.find(PATIENCE, |f| f == hello)?, "a broadcast is flooded");
    let known = experimental_frame([2, 0, 0, 0, 0, 0xbb], a.mac(), b"known");
    a_sender.send(&known)?;
    let last = experimental_frame(BROADCAST, a.mac(), b"last");
    a_sender.send(&last)?;
    let mut leaked = false;
    let seen = observer.find(PATIENCE, |f| {
        leaked |= f == known;
        f == last
    })?;
    ensure!(seen && !leaked, "c saw a frame between a and b");
    Ok(())
}
