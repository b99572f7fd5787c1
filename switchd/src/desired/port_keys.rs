//! The names of a port's options, on the command line and in a file.

use super::port_settings::KEYS as SETTINGS_KEYS;
use super::tunnel::VXLAN_KEYS;
use flowtable::policy::ports::PortConfig;

/// The option that says what the port is made of. On the command line it has no key: it comes first.
pub(super) const DEVICE: &str = "device";

/// Options that only some kinds of port have, but for those of tunnel ports.
const DEVICE_KEYS: [&str; 9] =
    ["name", "queues", "shield", "qdisc", "slots", "slot-size", "kernel-cache", "mac", "peer"];

/// Options that only some kinds of port have.
pub(super) fn kind_keys() -> impl Iterator<Item = &'static str> {
    let of_tunnels = VXLAN_KEYS.iter().copied().filter(|key| !DEVICE_KEYS.contains(key));
    DEVICE_KEYS.into_iter().chain(of_tunnels)
}

/// Options that only make sense together.
pub(super) const VLAN_KEYS: [&str; 5] = ["vlan_mode", "tag", "trunks", "cvlans", "qinq-ethtype"];

/// The switches of a port that `mod-port` turns, too.
pub(super) const FLAGS: [&str; 7] =
    ["down", "no-stp", "no-receive", "no-receive-stp", "no-flood", "no-forward", "no-packet-in"];

/// The options that every kind of port has.
pub(super) fn shared_keys() -> impl Iterator<Item = &'static str> {
    std::iter::once("number").chain(SETTINGS_KEYS).chain(FLAGS)
}

/// The names of all options of a port in a file.
pub(super) fn file_keys() -> Vec<&'static str> {
    std::iter::once(DEVICE).chain(kind_keys()).chain(shared_keys()).collect()
}

/// The bit of a port's configuration that the option `key` sets. `key` is one of [`FLAGS`].
pub(super) fn flag_of<'a>(config: &'a mut PortConfig, key: &str) -> &'a mut bool {
    match key {
        "down" => &mut config.down,
        "no-stp" => &mut config.no_stp,
        "no-receive" => &mut config.no_recv,
        "no-receive-stp" => &mut config.no_recv_stp,
        "no-flood" => &mut config.no_flood,
        "no-forward" => &mut config.no_fwd,
        _no_packet_in => &mut config.no_packet_in,
    }
}
