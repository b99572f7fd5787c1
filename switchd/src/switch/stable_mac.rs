//! MAC addresses that stay: of patch ports, of devices that the switch makes, and of bridges
//! that need a datapath id.

use ports::netns::Netns;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// A name of this machine that outlives restarts.
const MACHINE_ID: &str = "/etc/machine-id";
/// The name that stands for the machine if it has no other.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// A locally administered MAC address: the same on this machine for the same name after every restart, and
/// hardly the same for another name or on another machine.
pub(super) fn of_name(name: &str) -> [u8; 6] {
    from_words(&[&machine(), name])
}

/// As [`of_name`], for a port of a bridge. Two switches in two network namespaces of a machine may have ports
/// and bridges of the same names, and be connected with each other: their ports get different addresses.
pub(super) fn of_port(bridge: &str, port: &str) -> [u8; 6] {
    from_words(&[&machine(), namespace(), bridge, port])
}

fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let id = read(MACHINE_ID);
    if id.is_empty() { read(HOSTNAME) } else { id }
}

/// The result of [`namespace`], once it is known.
static NAMESPACE: OnceLock<String> = OnceLock::new();

/// The number of the network namespace of the process; empty if it is the namespace of the whole machine, as
/// far as this process may know. The number stays while the namespace does.
pub(crate) fn namespace() -> &'static str {
    NAMESPACE.get_or_init(find_namespace)
}

/// Sets the result of [`namespace`] for a process that may not find it out. Later calls change nothing.
pub(crate) fn set_namespace(number: String) {
    let _ = NAMESPACE.set(number);
}

fn find_namespace() -> String {
    let of_machine = std::fs::metadata("/proc/1/ns/net").map(|file| file.ino());
    let own = Netns::current().and_then(|netns| netns.inode());
    match (own, of_machine) {
        (Ok(own), Ok(of_machine)) if own != of_machine => own.to_string(),
        _ => String::new(),
    }
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
        assert_eq!(of_port("br0", "a"), of_port("br0", "a"));
        assert_ne!(of_port("br0", "a"), of_port("br0", "b"));
        assert_ne!(of_port("br0", "a"), of_port("br1", "a"));
    }
}
