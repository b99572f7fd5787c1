//! Large frames at a device that does not segment them.

use crate::fixture::{experimental, host, netlink};
use etherparse::PacketBuilder;
use lab::harness::Test;
use lab::{Feature, OpenPort};
use packet::checksum::pseudo_header;
use packet::{Frame, Offload};
use ports::netlink::{Events, LinkEvent};

pub(crate) const TESTS: &[Test] = &[
    ("offloads::a_device_with_segmentation_gets_whole_frames", || {
        large_frames_pass(|_| (), Features::Heard, true)
    }),
    ("offloads::a_device_without_segmentation_gets_segments", || {
        large_frames_pass(without_tso, Features::Heard, false)
    }),
    ("offloads::frames_larger_than_the_device_takes_are_cut", || {
        large_frames_pass(with_small_gso_max_size, Features::Heard, false)
    }),
    ("offloads::a_change_that_was_not_heard_yet_costs_no_frame", || {
        large_frames_pass(without_tso, Features::NotHeard, false)
    }),
    ("offloads::a_queue_that_honours_queueing_leaves_large_frames_to_the_kernel", || {
        large_frames_pass(without_tso, Features::Honoured, false)
    }),
];

/// Whether the port knows of a change of its device's features.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Features {
    Heard,
    NotHeard,
    /// It need not, because its frames pass the queueing discipline.
    Honoured,
}

fn without_tso(device: &str) {
    netlink().set_offloads(device, &[(Feature::Tso, false)]).unwrap();
}

fn with_small_gso_max_size(device: &str) {
    let mut netlink = netlink();
    let index = netlink.link(device).unwrap().index;
    netlink.set_gso_max_size(index, 5000).unwrap();
}

/// Payload of a segment.
const MSS: usize = 1000;

/// A TCP frame of ten segments, the first byte of each of which is its number.
fn large_frame(destination: [u8; 6]) -> Frame<'static> {
    let payload: Vec<u8> = (0..10 * MSS).map(|i| (i / MSS) as u8).collect();
    let mut bytes = Vec::new();
    let (src, dst) = ([10, 0, 0, 77], [10, 0, 0, 78]);
    PacketBuilder::ethernet2([2; 6], destination)
        .ipv4(src, dst, 64)
        .tcp(9, 9, 1, 1000)
        .write(&mut bytes, &payload)
        .unwrap();
    let pseudo = pseudo_header(&src, &dst, 6, (bytes.len() - 34) as u32);
    bytes[50..52].copy_from_slice(&pseudo.to_be_bytes());
    let mut offload = Offload { gso_type: 1, gso_size: MSS as u16, ..Offload::NONE };
    offload.set_needs_checksum(34, 16);
    Frame::owned(&bytes, offload)
}

/// Sends two large frames, each behind a small one and before another, and looks at what arrives: the large
/// ones as they are, or their segments, all in order and none missing.
fn large_frames_pass(change: fn(&str), features: Features, whole: bool) -> anyhow::Result<()> {
    let host = host("p1", 1)?;
    // The observer must see what was on the wire, not what the host's end has merged.
    host.run(|| netlink().set_offloads("eth0", &[(Feature::Gro, false)]))??;
    let qdisc = if features == Features::Honoured { ",qdisc=honour" } else { "" };
    let mut port = OpenPort::open(&format!("p1{qdisc}"))?;
    let index = port.port.ifindex.expect("a network device");
    let mut far_end = host.run(|| OpenPort::open("eth0,shield=off"))??;
    let mut events = Events::open()?;
    change("p1");
    if features == Features::Heard {
        let mut netlink = netlink();
        events.drain(|event| {
            if let LinkEvent::Present(link) = event
                && link.index == index
            {
                port.port.link_changed(&netlink.link("p1").expect("it is still there"));
            }
        })?;
    }
    let small = || Frame::owned(&experimental(host.mac(), 60), Offload::NONE);
    let large = || large_frame(host.mac());
    for _ in 0..2 {
        assert_eq!(port.send(vec![small(), large(), large(), small()]), []);
        let mut seen = Vec::new();
        far_end.receive_until(|frame| {
            let is_small = frame.bytes()[12..14] == lab::EXPERIMENTAL.to_be_bytes();
            if is_small {
                seen.push("small".to_owned());
            } else if frame.bytes()[12..14] == [8, 0] {
                let tcp = frame.bytes().get(54..).unwrap_or_default();
                seen.push(format!("{} from {}", tcp.len(), tcp.first().unwrap_or(&99)));
            }
            seen.len() > 1 && is_small
        })?;
        let frames: Vec<String> = match whole {
            true => vec![format!("{} from 0", 10 * MSS)],
            false => (0..10).map(|number| format!("{MSS} from {number}")).collect(),
        };
        let frames: Vec<_> = frames.iter().chain(&frames).map(String::as_str).collect();
        assert_eq!(seen, [vec!["small"], frames, vec!["small"]].concat());
    }
    Ok(())
}
