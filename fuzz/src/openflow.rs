//! The target for OpenFlow: what a peer sends, as one connection gets it.

use flow::types::OfVersion;
use openflow::{Encoding, OfMessage, Session};
use std::time::Instant;

/// Target: gives a session arbitrary bytes behind a HELLO. The first byte chooses the version. What is decoded
/// is encoded again, in the plain form and in Nicira's, and what a session answers is decoded.
pub fn openflow(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let version = OfVersion::ALL[usize::from(*choice) % OfVersion::ALL.len()];
    let plain = Encoding::new(version);
    let mut session = Session::new(&[version]);
    session.receive(&OfMessage::Hello(vec![version]).encode(plain, 1));
    assert_eq!(session.next_message(Instant::now()), Ok(None));
    session.sent(session.unsent().len());
    // In two pieces, so that a message is cut somewhere.
    for piece in [&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]] {
        session.receive(piece);
        while let Ok(Some(incoming)) = session.next_message(Instant::now()) {
            for encoding in [plain, Encoding { nxm: true, table_id: true, ..plain }] {
                let encoded = incoming.message.encode(encoding, incoming.xid);
                let _ = OfMessage::decode(&encoded, encoding);
            }
        }
    }
    // A session answers less than it got: an error repeats the request behind a few bytes.
    const OVERHEAD: usize = 32;
    let messages = bytes.len() / 8 + 1;
    assert!(session.unsent().len() <= bytes.len() + messages * OVERHEAD);
}
