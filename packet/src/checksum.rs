//! Checksums of IP, TCP, UDP and ICMP (RFC 1071), their update when a few bytes change (RFC 1624), and the
//! CRC32c of SCTP (RFC 9260, appendix A).
//!
//! - A *sum* is a one's complement sum of 16 bits, as a host integer.
//! - A *checksum* is the complement of a sum. Headers have its bytes in network order.
//! - A *partial checksum* is what a sender leaves in the field if the device is to complete the checksum: the
//!   sum, not the complement, of the pseudo header alone.

/// The one's complement sum of `bytes`. If their number is odd, a zero byte is added.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    // The sum does not depend on byte order (RFC 1071, 2(B)). So words are added in host order, with all
    // carries in the upper half of 64 bits, and the bytes are swapped once at the end.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = words.iter().map(|w| u64::from(u32::from_ne_bytes(*w))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_ne_bytes(last));
    u16::from_be(fold(total))
}

/// The one's complement sum of two sums.
#[inline]
pub fn add(a: u16, b: u16) -> u16 {
    fold(u64::from(a) + u64::from(b))
}

/// The sum of the pseudo header of TCP, UDP or ICMPv6. `source` and `destination` are the IP addresses, of 4
/// bytes each for IPv4 (RFC 9293 §3.1) or 16 bytes each for IPv6 (RFC 8200 §8.1). `size` is the size of
/// transport header and payload in bytes.
#[inline]
pub fn pseudo_header(source: &[u8], destination: &[u8], protocol: u8, size: u32) -> u16 {
    let size = size.to_be_bytes();
    [sum(destination), sum(&size), protocol.into()].into_iter().fold(sum(source), add)
}

/// Updates the complete checksum in `field` after the bytes `old` that it covers were replaced by `new` (RFC
/// 1624, eqn. 3). The replaced bytes must begin at an even offset from the first byte that the checksum covers.
///
/// # Panics
/// If `field` has not two bytes.
#[inline]
pub fn update(field: &mut [u8], old: &[u8], new: &[u8]) {
    let current = u16::from_be_bytes([field[0], field[1]]);
    let updated = !replaced(!current, old, new);
    field.copy_from_slice(&updated.to_be_bytes());
}

/// As [`update`], for UDP (RFC 768). A checksum of zero means that the sender computed none, and stays. A
/// result of zero is written as 0xffff.
///
/// # Panics
/// If `field` has not two bytes.
#[inline]
pub fn update_udp(field: &mut [u8], old: &[u8], new: &[u8]) {
    if field == [0, 0] {
        return;
    }
    update(field, old, new);
    if field == [0, 0] {
        field.copy_from_slice(&[0xff, 0xff]);
    }
}

/// As [`update`], for a partial checksum. The replaced bytes must be a part of the pseudo header, which is all
/// that a partial checksum covers.
///
/// # Panics
/// If `field` has not two bytes.
#[inline]
pub fn update_partial(field: &mut [u8], old: &[u8], new: &[u8]) {
    let current = u16::from_be_bytes([field[0], field[1]]);
    field.copy_from_slice(&replaced(current, old, new).to_be_bytes());
}

/// The sum `current` after the bytes `old` that it covers were replaced by `new`.
#[inline]
fn replaced(current: u16, old: &[u8], new: &[u8]) -> u16 {
    add(add(current, !sum(old)), sum(new))
}

/// Adds the carries above 16 bits to the lower 16 bits, until there are none.
#[inline]
fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The checksum, with zero replaced by 0xffff. In UDP, zero means that there is no checksum (RFC 768). In the
/// other protocols, receivers accept either.
#[inline]
pub fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// The CRC32c (Castagnoli) of the bytes of all `parts` in order. SCTP headers have
/// it in little-endian byte order.
pub fn crc32c<const N: usize>(parts: [&[u8]; N]) -> u32 {
    let step = |crc: u32, byte: &u8| (crc >> 8) ^ CRC32C[usize::from(crc as u8 ^ byte)];
    !parts.iter().fold(!0, |crc, part| part.iter().fold(crc, step))
}

/// The CRC32c of each byte value.
const CRC32C: [u32; 256] = {
    // The polynomial 0x1EDC6F41 with its bits reversed.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (if crc & 1 == 1 { POLYNOMIAL } else { 0 });
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071_sums_up() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(&[0xab]), 0xab00);
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[0xff; 131_072]), 0xffff);
    }

    #[test]
    fn the_example_of_rfc_1624_is_repaired() {
        let mut field = [0xdd, 0x2f];
        update(&mut field, &[0x55, 0x55], &[0x32, 0x85]);
        assert_eq!(field, [0x00, 0x00]);
    }

    #[test]
    fn an_update_keeps_a_missing_udp_checksum_and_never_writes_zero() {
        let mut field = [0, 0];
        update_udp(&mut field, &[1, 2], &[3, 4]);
        assert_eq!(field, [0, 0]);
        let mut field = [0xdd, 0x2f];
        update_udp(&mut field, &[0x55, 0x55], &[0x32, 0x85]);
        assert_eq!(field, [0xff, 0xff]);
    }

    #[test]
    fn crc32c_has_its_check_value() {
        assert_eq!(crc32c([b"123456789"]), 0xe306_9283);
        assert_eq!(crc32c([b"1234", b"56789"]), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn sums_agree_with_those_of_pnet(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            // pnet_packet returns the complement, and skips the word at the given index.
            let theirs = !pnet_packet::util::checksum(&bytes, usize::MAX);
            prop_assert_eq!(sum(&bytes), theirs);
        }

        #[test]
        fn repairing_equals_summing_again(
            mut bytes in proptest::collection::vec(any::<u8>(), 40..60),
            new in any::<[u8; 4]>(),
            at in 0usize..10,
        ) {
            let mut field = (!sum(&bytes)).to_be_bytes();
            let old: [u8; 4] = bytes[at * 2..at * 2 + 4].try_into().unwrap();
            bytes[at * 2..at * 2 + 4].copy_from_slice(&new);
            update(&mut field, &old, &new);
            // Zero has two forms; both verify.
            prop_assert_eq!(add(sum(&bytes), u16::from_be_bytes(field)), 0xffff);
        }

        #[test]
        fn repairing_a_partial_checksum_equals_making_it(
            old in any::<[u8; 4]>(), new in any::<[u8; 4]>(), other in any::<[u8; 4]>(),
        ) {
            let mut field = pseudo_header(&old, &other, 6, 1000).to_be_bytes();
            update_partial(&mut field, &old, &new);
            let expected = pseudo_header(&new, &other, 6, 1000);
            let difference = add(u16::from_be_bytes(field), !expected);
            prop_assert!(difference == 0xffff || difference == 0);
        }
    }
}
