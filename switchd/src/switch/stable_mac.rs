//! A MAC address for what has no device: a patch port, and a bridge that needs a datapath id.

/// A name of this machine that outlives restarts.
const MACHINE_ID: &str = "/etc/machine-id";

/// A locally administered MAC address: the same on this machine for the same name after every restart, and hardly
/// the same for another name or on another machine.
pub(super) fn of_name(name: &str) -> [u8; 6] {
    let machine = std::fs::read_to_string(MACHINE_ID).unwrap_or_default();
    from_words(&[machine.trim(), name])
}

fn from_words(words: &[&str]) -> [u8; 6] {
    // FNV-1a, which is defined for ever, unlike the standard library's hash.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in words.iter().flat_map(|word| word.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let [a, b, mut mac @ ..] = hash.to_be_bytes();
    mac[4] ^= a;
    mac[5] ^= b;
    // Locally administered, and no group address.
    mac[0] = (mac[0] | 0x02) & !0x01;
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_local_and_last() {
        let mac = from_words(&["b08dfa6083e7567a1921a715000001fb", "br0"]);
        assert_eq!(mac, from_words(&["b08dfa6083e7567a1921a715000001fb", "br0"]));
        assert_eq!(mac[0] & 0x03, 0x02, "{mac:x?}");
        for other in [["b08dfa6083e7567a1921a715000001fb", "br1"], ["x", "br0"], ["", "br0"]] {
            assert_ne!(from_words(&other), mac);
        }
        assert_eq!(of_name("br0"), of_name("br0"));
    }
}
