//! The target for what comes out of a tunnel: the header of any kind, and behind it a frame
//! whose TCP segments are merged.

use crate::Bytes;
use packet::wire::{GenevePacket, GrePacket, VxlanPacket, ethernet, geneve, ipv6, vxlan};
use packet::{Frame, Merger, Segmentation, answer_too_long, ecn, limit_segments, unfinished_work};

/// Bytes of the largest header of any kind: Geneve with all its options.
const LARGEST_HEADER: usize = geneve::HEADER_SIZE + 63 * 4;

/// Target: reads arbitrary bytes as the headers of tunnels, and as a frame that comes out of one. A header ends
/// within its datagram; a frame is as long after ECN as before; what is merged and cut again is what came; an
/// answer to a frame that is too long fits.
///
/// The first three bytes of the input choose the ECN of the outer header, the MTU of the path, and where a
/// frame begins. The rest is the datagram.
pub fn tunnel(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (tos, room, start) = (bytes.byte(), usize::from(bytes.byte()) * 8, bytes.byte());
    let datagram = bytes.0;
    headers(datagram);
    let Some(frame) = datagram.get(usize::from(start % 64)..) else { return };
    if frame.len() < ethernet::HEADER_SIZE {
        return;
    }
    let mut frame = frame.to_vec();
    let before = frame.len();
    if ecn::decapsulate(&mut frame, tos).is_err() {
        return;
    }
    assert_eq!(frame.len(), before);
    if let Some(answer) = answer_too_long(&frame, room) {
        // It goes back to the sender, and quotes the packet behind two headers.
        assert_eq!(answer[..6], frame[6..12]);
        assert!(answer.len() <= frame.len() + ipv6::HEADER_SIZE + 8);
    }
    let mut limited = Frame::owned(&frame, unfinished_work(&frame, room as u32));
    limit_segments(&mut limited, room);
    assert_eq!(limited.bytes(), frame);
    merge(&frame);
}

/// A header that is read is within the datagram, and so are its options.
fn headers(datagram: &[u8]) {
    if let Ok(header) = VxlanPacket::new_checked(datagram) {
        assert!(header.vni() < 1 << 24);
        let _ = header.group_policy();
        assert_eq!(header.payload().len(), datagram.len() - vxlan::HEADER_SIZE);
    }
    if let Ok(header) = GenevePacket::new_checked(datagram) {
        let size = header.header_size();
        assert!(header.vni() < 1 << 24 && size <= LARGEST_HEADER && size <= datagram.len());
        let mut within = geneve::HEADER_SIZE;
        for option in header.options() {
            within += option.size();
            assert!(within <= size && option.data().len() < option.size());
        }
        assert!(!header.are_options_whole() || within == size);
        let _ = header.has_unknown_critical(|_| false);
    }
    if let Ok(header) = GrePacket::new_checked(datagram) {
        assert!(header.header_size() <= datagram.len());
        let _ = (header.key(), header.sequence(), header.is_checksum_right(), header.is_plain());
    }
}

/// A frame, twice: the second one is no successor of the first, and both are as they came.
fn merge(frame: &[u8]) {
    let mut merger = Merger::default();
    let mut out = Vec::new();
    for _ in 0..2 {
        if !merger.offer(frame) {
            out.extend(merger.drain_closed().flat_map(|merged| cut(&merged)));
            out.push(frame.to_vec());
        }
    }
    merger.close_all();
    out.extend(merger.drain_closed().flat_map(|merged| cut(&merged)));
    assert_eq!(out, [frame, frame]);
}

fn cut(frame: &Frame<'_>) -> Vec<Vec<u8>> {
    if !frame.offload.is_gso() {
        return vec![frame.bytes().to_vec()];
    }
    let segmentation = Segmentation::new(frame).expect("a merged frame can be segmented");
    let segment = |n| segmentation.segment(n, Vec::new()).bytes().to_vec();
    (0..segmentation.count()).map(segment).collect()
}
