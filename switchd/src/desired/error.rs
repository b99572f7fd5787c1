//! What cannot be wanted, because something else is wanted already.

use super::port_error::PortTextError;
use flow::types::OfPort;
use std::net::IpAddr;

/// An edit that contradicts what is wanted already. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DesiredError {
    /// No device could have the bridge's name.
    #[error(
        "bridge \"{0}\": not a bridge's name: 1 to 15 bytes without \"/\", \":\", \"=\", \",\", \"%\" \
         or blanks, as for a network device"
    )]
    BridgeName(String),
    /// Two bridges have the same name.
    #[error("there is a bridge \"{0}\" already")]
    DuplicateBridge(String),
    /// A zone that has timeouts of its own gets others.
    #[error(
        "zone {0} has timeouts of its own already; take them away first (ofctl del-zone-tp zone={0}), or say --may-exist"
    )]
    DuplicateZone(u16),
    /// A zone has no timeouts of its own.
    #[error("zone {0} has no timeouts of its own (ofctl list-zone-tp lists those that do)")]
    NoZoneTimeouts(u16),
    /// A zone gets timeouts, and none is named.
    #[error("zone {0}: name a timeout, such as udp_first=10")]
    NoTimeout(u16),
    /// There are as many bridges as there can be.
    #[error("bridge \"{0}\": the switch has as many bridges as there can be; take one away first")]
    TooManyBridges(String),
    /// There are as many ports as there can be.
    #[error("port \"{0}\": the switch has as many ports as there can be; take one away first")]
    TooManyPorts(String),
    /// Two controllers of a bridge have the same target.
    #[error("bridge \"{bridge}\": controller \"{target}\" is named twice")]
    DuplicateController {
        /// The name of the bridge.
        bridge: String,
        /// The target of both controllers.
        target: String,
    },
    /// A bridge has more controllers than it can have.
    #[error("bridge \"{0}\": a bridge can have 32 controllers; name fewer")]
    TooManyControllers(String),
    /// A bridge is called as a port of another one.
    #[error("bridge \"{bridge}\": bridge \"{owner}\" has a port of that name")]
    BridgeNameTaken {
        /// The name of the bridge that was to be added.
        bridge: String,
        /// The bridge that has the port.
        owner: String,
    },
    /// There is no such bridge.
    #[error("there is no bridge \"{name}\"")]
    NoBridge {
        /// The name that no bridge has.
        name: String,
        /// The bridges that there are.
        known: Vec<String>,
    },
    /// Two ports of a bridge have the same name.
    #[error("port \"{port}\": bridge \"{bridge}\" has a port of that name already")]
    DuplicatePort {
        /// The name of the port that came second.
        port: String,
        /// The bridge that has a port of that name.
        bridge: String,
    },
    /// Ports of two bridges have the same name.
    #[error(
        "port \"{port}\": bridge \"{owner}\" has a port of that name; give this one another: name=NAME"
    )]
    PortElsewhere {
        /// The port that came second.
        port: String,
        /// The bridge of the port that came first.
        owner: String,
    },
    /// A port is called as another bridge.
    #[error("port \"{port}\": another bridge has that name; give the port another: name=NAME")]
    PortNameTaken {
        /// The name of the port that was to be added.
        port: String,
    },
    /// Two ports of a bridge have the same device.
    #[error("port \"{port}\": its device belongs to port \"{owner}\"")]
    DeviceTaken {
        /// The port that came second.
        port: String,
        /// The port that came first.
        owner: String,
    },
    /// Two tunnel ports would receive the same frames.
    #[error(
        "port \"{port}\": port \"{owner}\" is a tunnel with the same remote_ip, local_ip and key already; give this one \
         another key, or another dst_port"
    )]
    TunnelTaken {
        /// The port that came second.
        port: String,
        /// The port that came first.
        owner: String,
    },
    /// Ports of two bridges have the same device.
    #[error(
        "port \"{port}\": its device belongs to port \"{holder}\" of bridge \"{owner}\"; to move it, \
         take it away there with \"ofctl del-port {owner} {holder}\", then add it to \"{bridge}\""
    )]
    DeviceElsewhere {
        /// The port that came second.
        port: String,
        /// The port that has the device.
        holder: String,
        /// The bridge of that port.
        owner: String,
        /// The bridge that the port was to be added to.
        bridge: String,
    },
    /// Two ports of a bridge want the same number.
    #[error("port \"{port}\": number {number} belongs to port \"{owner}\"")]
    NumberTaken {
        /// The port that came second.
        port: String,
        /// The OpenFlow number that both want.
        number: OfPort,
        /// The port that came first.
        owner: String,
    },
    /// All numbers belong to ports.
    #[error("port \"{0}\": the bridge has as many ports as there are numbers")]
    NoNumber(String),
    /// Two overlays have the same name.
    #[error(
        "bridge \"{owner}\" has an overlay \"{overlay}\" already: add peers to it with \"ofctl overlay add-peer\""
    )]
    DuplicateOverlay {
        /// The name of both overlays.
        overlay: String,
        /// The bridge of the one that came first.
        owner: String,
    },
    /// A bridge has no such overlay.
    #[error("bridge \"{bridge}\" has no overlay \"{overlay}\"{}", known_overlays(.known))]
    NoOverlay {
        /// The name of the bridge.
        bridge: String,
        /// The name that none of its overlays has.
        overlay: String,
        /// The names of the overlays that it has.
        known: Vec<String>,
    },
    /// An overlay has this peer already.
    #[error("overlay \"{overlay}\": port \"{port}\" leads to peer {peer} already")]
    DuplicatePeer {
        /// The name of the overlay.
        overlay: String,
        /// The address of the peer.
        peer: IpAddr,
        /// The name of the peer's port.
        port: String,
    },
    /// An overlay has no such peer.
    #[error("overlay \"{overlay}\" has no peer {peer}")]
    NoPeer {
        /// The name of the overlay.
        overlay: String,
        /// The address that none of its peers has.
        peer: IpAddr,
    },
    /// An overlay has no other peer.
    #[error(
        "overlay \"{overlay}\": peer {peer} is the only one: remove the overlay with \"ofctl overlay del {overlay}\""
    )]
    LastPeer {
        /// The name of the overlay.
        overlay: String,
        /// The address of the peer.
        peer: IpAddr,
    },
    /// An option cannot be alike for all ports of an overlay.
    #[error(
        "overlay \"{overlay}\": {key} belongs to one peer: change it with \"ofctl del-port\" and \"ofctl add-port\""
    )]
    OptionOfPeer {
        /// The name of the overlay.
        overlay: String,
        /// The name of the option.
        key: String,
    },
    /// An overlay has as many peers as it can have.
    #[error("overlay \"{0}\" has as many peers as there can be; take one away first")]
    TooManyPeers(String),
    /// The port of an overlay's peer cannot be.
    #[error(transparent)]
    OverlayPort(PortTextError),
}

fn known_overlays(known: &[String]) -> String {
    match known {
        [] => "; it has none".to_owned(),
        known => format!("; it has {}", known.join(", ")),
    }
}
