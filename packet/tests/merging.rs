//! Merging is undone by segmentation: whatever arrives, the segments that are cut from merged frames are the
//! frames that came, byte for byte, in the order of their connection.

use packet::{Frame, Merger, Offload, Segmentation};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

const ETHERNET: usize = 14;

/// A large TCP frame of connection `port`, and how it is segmented.
fn large(is_v6: bool, port: u8, payload: &[u8], size: u16, flags: u8) -> (Vec<u8>, Offload) {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let tcp_size = 32 + payload.len();
    if is_v6 {
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, port]);
        bytes.extend((tcp_size as u16).to_be_bytes());
        bytes.extend([6, 64]);
        bytes.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    } else {
        bytes.extend([0x08, 0, 0x45, 0]);
        bytes.extend((20 + tcp_size as u16).to_be_bytes());
        bytes.extend([0xff, 0xfd, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    }
    let tcp = bytes.len();
    bytes.extend([0, port, 0, 80, 0xff, 0xff, 0xf0, port, 0, 0, 0, 9, 0x80, flags, 0, 99]);
    bytes.extend([0, 0, 0, 0, 1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6]);
    bytes.extend(payload);
    let mut offload =
        Offload { gso_type: if is_v6 { 4 } else { 1 }, gso_size: size, ..Offload::NONE };
    offload.set_needs_checksum(tcp as u16, 16);
    (bytes, offload)
}

/// The frames that a frame is on a wire.
fn cut(frame: &Frame<'_>) -> Vec<Vec<u8>> {
    if !frame.offload.is_gso() {
        return vec![frame.bytes().to_vec()];
    }
    let segmentation = Segmentation::new(frame).expect("a merged frame can be segmented");
    (0..segmentation.count())
        .map(|n| segmentation.segment(n, Vec::new()).bytes().to_vec())
        .collect()
}

/// What comes out of the merger.
fn merged(frames: &[Vec<u8>]) -> Vec<Frame<'static>> {
    let mut merger = Merger::default();
    let mut out = Vec::new();
    for frame in frames {
        if !merger.offer(frame) {
            out.extend(merger.drain_closed());
            out.push(Frame::owned(frame, Offload::NONE));
        }
    }
    merger.close_all();
    out.extend(merger.drain_closed());
    out
}

/// Frames by connection, in their order: EtherType, addresses and ports are always at the same place here.
fn by_connection(frames: Vec<Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut map = BTreeMap::<_, Vec<_>>::new();
    for frame in frames {
        let from = ETHERNET + if frame[12] == 0x86 { 8 } else { 12 };
        let to = ETHERNET + if frame[12] == 0x86 { 44 } else { 24 };
        let key = [&frame[12..14], &frame[from..to]].concat();
        map.entry(key).or_default().push(frame);
    }
    map
}

#[test]
fn segments_become_the_frame_that_they_were_cut_from() {
    let payload: Vec<u8> = (0..40_000u32).map(|n| (n * 7) as u8).collect();
    for is_v6 in [false, true] {
        // PSH and ACK.
        let (bytes, offload) = large(is_v6, 7, &payload, 1400, 0x18);
        let segments = cut(&Frame::owned(&bytes, offload));
        assert_eq!(segments.len(), 29);
        let out = merged(&segments);
        let [frame] = &out[..] else { panic!("{} frames", out.len()) };
        assert_eq!(frame.bytes()[ETHERNET + 60..], bytes[ETHERNET + 60..]);
        assert_eq!((frame.offload.gso_size, frame.offload.gso_type), (1400, offload.gso_type));
        assert_eq!(cut(frame), segments);
    }
}

/// The checksum of a merged frame vouches for its payload, so a wrong one must not get lost in it.
#[test]
fn a_corrupted_segment_is_not_merged() {
    let (bytes, offload) = large(false, 7, &[5; 4000], 1000, 0x10);
    let mut segments = cut(&Frame::owned(&bytes, offload));
    segments[2][300] ^= 1;
    let out = merged(&segments);
    let sizes: Vec<usize> = out.iter().map(Frame::size).collect();
    assert_eq!(sizes, [66 + 2000, 66 + 1000, 66 + 1000]);
    assert_eq!(out[1].bytes(), segments[2]);
}

#[derive(Clone, Debug)]
enum Mishap {
    Flip(Index, Index, u8),
    Lose(Index),
    Repeat(Index),
    Swap(Index, Index),
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        (any::<Index>(), any::<Index>(), 0u8..8).prop_map(|(f, b, bit)| Mishap::Flip(f, b, bit)),
        any::<Index>().prop_map(Mishap::Lose),
        any::<Index>().prop_map(Mishap::Repeat),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Mishap::Swap(a, b)),
    ]
}

proptest! {
    #[test]
    fn what_is_merged_and_cut_again_is_what_came(
        streams in vec((any::<bool>(), 0u8..12, 1usize..6000, 48u16..1500, any::<u8>()), 1..12),
        mishaps in vec(mishap(), 0..6),
        seed: u8,
    ) {
        let mut frames = Vec::new();
        for (is_v6, port, size, gso_size, flags) in streams {
            let payload: Vec<u8> = (0..size).map(|n| (n as u8).wrapping_mul(seed) ^ port).collect();
            // Mostly ACK, sometimes with PSH or FIN, sometimes others.
            let flags = match flags { 0..200 => 0x10 | flags & 9, other => other };
            let (bytes, offload) = large(is_v6, port, &payload, gso_size, flags);
            let segments = cut(&Frame::owned(&bytes, offload));
            // Streams are interleaved.
            let step = usize::from(seed % 3) + 1;
            for (n, segment) in segments.into_iter().enumerate() {
                let at = (n * step).min(frames.len());
                frames.insert(frames.len() - (frames.len() - at) / 2, segment);
            }
        }
        for mishap in mishaps {
            let n = frames.len();
            match mishap {
                _ if n == 0 => {}
                Mishap::Flip(frame, byte, bit) => {
                    let frame = &mut frames[frame.index(n)];
                    let at = byte.index(frame.len().min(80));
                    frame[at] ^= 1 << bit;
                }
                Mishap::Lose(frame) => drop(frames.remove(frame.index(n))),
                Mishap::Repeat(frame) => frames.push(frames[frame.index(n)].clone()),
                Mishap::Swap(a, b) => frames.swap(a.index(n), b.index(n)),
            }
        }
        let out = merged(&frames).iter().flat_map(cut).collect();
        prop_assert_eq!(by_connection(out), by_connection(frames));
    }

    #[test]
    fn no_bytes_are_too_strange(frames in vec(vec(any::<u8>(), 0..200), 0..8)) {
        let out: Vec<_> = merged(&frames).iter().map(|frame| frame.bytes().to_vec()).collect();
        prop_assert_eq!(out, frames);
    }
}
