//! Frames that go to many ports at once.

use crate::fixture::{Cable, Network};
use anyhow::{Context, ensure};
use control::{Client, Operation};
use lab::harness::Test;
use lab::{FrameSocket, LinkSpec, Netlink, PATIENCE, eventually, experimental_frame};

pub(crate) const TESTS: &[Test] =
    &[("floods::every_port_gets_a_copy_and_failures_stay_with_their_port", copies_for_everybody)];

/// Ports beside those of the hosts; their other ends are nobody's.
const OTHERS: usize = 300;
const FRAMES: u64 = 20;

/// Frames that each port has sent, and frames that it could not send.
fn sent(client: &mut Client) -> anyhow::Result<Vec<(String, u64, u64)>> {
    let stats = client.port_stats()?;
    Ok(stats.into_iter().map(|p| (p.name, p.tx_packets, p.tx_dropped + p.tx_errors)).collect())
}

/// More copies than one system call carries, to network devices and a TAP device, one of which cannot send
/// frames of this length.
fn copies_for_everybody() -> anyhow::Result<()> {
    let network = Network::new(&[Cable::Veth, Cable::tap_if_possible(), Cable::Veth])?;
    let mut client = network.client()?;
    // Nothing but what the test sends: a device that comes up talks by itself.
    client.del_flows("")?;
    client.add_flow("in_port=1,dl_type=0x88b5,actions=flood")?;
    let mut netlink = Netlink::open()?;
    for i in 0..OTHERS {
        let mtu = (i == 7).then_some(600);
        let up = LinkSpec { up: true, mtu, ..LinkSpec::default() };
        netlink.create_veth(&format!("other{i}"), &up, &format!("peer{i}"), &up)?;
        client.ask(Operation::AddPort { spec: format!("other{i},slots=16") })?;
    }
    let (a, c) = (network.a(), &network.hosts[2]);
    let sender = a.run(|| FrameSocket::open_to_send(a.interface()))??;
    let mut receiver = c.run(|| FrameSocket::open(c.interface()))??;
    let payload: Vec<u8> = (0..1000).map(|i| (i * 7 % 251) as u8).collect();
    let frame = experimental_frame([0xff; 6], a.mac(), &payload);
    let before = sent(&mut client)?;
    for _ in 0..FRAMES {
        sender.send(&frame)?;
    }
    let mut counted = Vec::new();
    eventually("every port has its copies", || {
        counted = sent(&mut client).unwrap_or_default();
        for ((_, sent, failed), (_, old, old_failed)) in counted.iter_mut().zip(&before) {
            (*sent, *failed) = (*sent - old, *failed - old_failed);
        }
        counted.iter().all(|(name, sent, failed)| name == "veth1" || sent + failed == FRAMES)
    })
    .with_context(|| format!("{counted:?}"))?;
    for (name, sent, failed) in &counted {
        let expected = match name.as_str() {
            "veth1" => (0, 0),
            "other7" => (0, FRAMES),
            _ => (FRAMES, 0),
        };
        ensure!((*sent, *failed) == expected, "{name}: {sent} sent, {failed} failed");
    }
    for _ in 0..FRAMES {
        let is_ours = |bytes: &[u8]| bytes.get(12..14) == Some(&[0x88, 0xb5]);
        let received =
            receiver.receive_matching(PATIENCE, is_ours)?.context("a copy is missing")?;
        ensure!(received == frame, "a copy is not what was sent");
    }
    Ok(())
}
