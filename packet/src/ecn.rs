//! Explicit congestion notification at the end of a tunnel (RFC 6040).

use crate::checksum;
use crate::outer::{Ip, Version};
use crate::wire::ipv4;

/// The bits of TOS or traffic class that are the ECN.
pub const MASK: u8 = 0x03;
/// The sender does not know ECN.
pub const NOT_ECT: u8 = 0;
/// The sender knows ECN, and says so with one of two values.
pub const ECT_1: u8 = 1;
/// The sender knows ECN, and says so with the other one of two values.
pub const ECT_0: u8 = 2;
/// There is congestion on the way.
pub const CE: u8 = 3;

/// The packet has to be dropped: there is congestion, and only a loss tells its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the outer header has congestion experienced, and the packet's sender does not know ECN")]
pub struct Congested;

/// Gives the packet in an Ethernet frame that came out of a tunnel the ECN that follows from its own and the
/// one of the outer header (RFC 6040 §4.2). A frame without IP packet has none.
///
/// # Errors
/// The packet has to be dropped; it is unchanged.
pub fn decapsulate(frame: &mut [u8], outer: u8) -> Result<(), Congested> {
    // Outer headers without ECN say nothing, and most have none.
    if outer & MASK == NOT_ECT {
        return Ok(());
    }
    let Some(ip) = Ip::outermost(frame) else { return Ok(()) };
    let header = &mut frame[ip.start..];
    let inner = match ip.version {
        Version::V4 => header[ipv4::field::TOS] & MASK,
        Version::V6 => header[1] >> 4 & MASK,
    };
    let ecn = match (outer & MASK, inner) {
        (CE, NOT_ECT) => return Err(Congested),
        (CE, _) => CE,
        (ECT_1, ECT_0) => ECT_1,
        _ => return Ok(()),
    };
    match ip.version {
        Version::V4 => {
            let old = [header[0], header[1]];
            header[ipv4::field::TOS] = header[ipv4::field::TOS] & !MASK | ecn;
            let new = [header[0], header[1]];
            checksum::update(&mut header[ipv4::field::CHECKSUM], &old, &new);
        }
        Version::V6 => header[1] = header[1] & !(MASK << 4) | ecn << 4,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::sum;

    fn v4(tos: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, tos, 0, 20];
        frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let checksum = !sum(&frame[14..]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        frame
    }

    fn v6(class: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
        frame.extend([0x60 | class >> 4, class << 4, 0, 0, 0, 0, 59, 64]);
        frame.resize(54, 7);
        frame
    }

    /// The table of RFC 6040 §4.2, by outer ECN and then by inner ECN.
    const TABLE: [[Option<u8>; 4]; 4] = [
        [Some(NOT_ECT), Some(ECT_1), Some(ECT_0), Some(CE)],
        [Some(NOT_ECT), Some(ECT_1), Some(ECT_1), Some(CE)],
        [Some(NOT_ECT), Some(ECT_1), Some(ECT_0), Some(CE)],
        [None, Some(CE), Some(CE), Some(CE)],
    ];

    #[test]
    fn the_ecn_is_that_of_the_standard_and_the_dscp_stays() {
        for (outer, row) in (0..).zip(TABLE) {
            for (inner, expected) in (0..).zip(row) {
                for make in [v4, v6] {
                    let mut frame = make(0xb8 | inner);
                    let done = decapsulate(&mut frame, 0x28 | outer);
                    assert_eq!(done.is_ok(), expected.is_some(), "{outer} over {inner}");
                    assert_eq!(
                        frame,
                        make(0xb8 | expected.unwrap_or(inner)),
                        "{outer} over {inner}"
                    );
                }
            }
        }
        let mut arp = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1];
        assert_eq!(decapsulate(&mut arp, CE), Ok(()));
    }
}
