//! A datapath id for a bridge whose ports have no MAC address that lasts.

/// A name of this machine that outlives restarts.
const MACHINE_ID: &str = "/etc/machine-id";

/// As if the bridge had a device with a locally administered MAC address. The same on this machine for the
/// same name, and hardly the same for others.
pub(super) fn of_name(bridge: &str) -> u64 {
    let machine = std::fs::read_to_string(MACHINE_ID).unwrap_or_default();
    from_words(&[machine.trim(), bridge])
}

fn from_words(words: &[&str]) -> u64 {
    // FNV-1a, which is defined for ever, unlike the standard library's hash.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in words.iter().flat_map(|word| word.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let folded = (hash >> 48) ^ (hash & 0xffff_ffff_ffff);
    // Locally administered, and no group address.
    (folded | 0x0200_0000_0000) & !0x0100_0000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_addresses_and_last() {
        let id = from_words(&["b08dfa6083e7567a1921a715000001fb", "br0"]);
        assert_eq!(id, from_words(&["b08dfa6083e7567a1921a715000001fb", "br0"]));
        assert_eq!(id >> 40 & 0x03, 0x02, "{id:016x}");
        assert_eq!(id >> 48, 0);
        for other in [["b08dfa6083e7567a1921a715000001fb", "br1"], ["x", "br0"], ["", "br0"]] {
            assert_ne!(from_words(&other), id);
        }
        assert_eq!(of_name("br0"), of_name("br0"));
    }
}
