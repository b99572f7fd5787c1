//! What a port is made of, as users write it: `veth0`, `tap:vm1`, `netns:blue/eth0`, `patch:to-br1`.

use super::port_error::PortTextError;
use super::tunnel::{GENEVE_KEYS, GRE_KEYS, Tunnel, VXLAN_KEYS};
use ports::spec::Target;
use ports::tunnel::TunnelKind;

/// What a port is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A device, or memory, with queues of its own.
    Device(Target),
    /// `patch:NAME,peer=NAME`: one end of a cable between two bridges of this switch.
    Patch {
        /// The name of the port at the other end.
        peer: String,
    },
    /// `vxlan:NAME,remote_ip=..` and the like: a tunnel through the host's own stack.
    Tunnel(Box<Tunnel>),
}

impl Kind {
    /// The device to open, if it is one.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Device(target) => Some(target),
            Self::Tunnel(tunnel) => Some(&tunnel.target),
            Self::Patch { .. } => None,
        }
    }

    /// As it is read, for a port of this name.
    pub fn describe(&self, name: &str) -> String {
        match self {
            Self::Device(Target::Dummy) => format!("dummy:{name}"),
            Self::Device(target) => target.to_string(),
            Self::Tunnel(tunnel) => tunnel.target.to_string(),
            Self::Patch { .. } => format!("patch:{name}"),
        }
    }

    /// The name of a port that was given no other: that of its device.
    pub fn own_name(&self) -> Option<&str> {
        match self {
            Self::Device(
                Target::System { device }
                | Target::Netns { device, .. }
                | Target::Tap { device }
                | Target::Internal { device },
            ) => Some(device),
            Self::Device(Target::Dummy | Target::Tunnel(_))
            | Self::Tunnel(_)
            | Self::Patch { .. } => None,
        }
    }
}

/// What was written before the first comma. The peer of a patch port stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Device(Target),
    Patch,
    Tunnel(TunnelKind),
}

impl Head {
    /// The options that only some kinds of port have, as far as this one does.
    pub(super) fn keys(&self) -> &'static [&'static str] {
        match self {
            Self::Device(Target::System { .. } | Target::Netns { .. }) => {
                &["name", "queues", "shield", "qdisc", "slots", "slot-size", "kernel-cache"]
            }
            Self::Device(Target::Tap { .. } | Target::Internal { .. }) => {
                &["name", "queues", "mac", "kernel-cache"]
            }
            Self::Device(Target::Dummy | Target::Tunnel(_)) => &["name"],
            Self::Tunnel(TunnelKind::Vxlan) => VXLAN_KEYS,
            Self::Tunnel(TunnelKind::Geneve) => GENEVE_KEYS,
            Self::Tunnel(TunnelKind::Gre) => GRE_KEYS,
            Self::Patch => &["name", "peer"],
        }
    }

    /// What messages call a port of this kind: `a TAP device`.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Device(Target::System { .. } | Target::Netns { .. }) => "a network device",
            Self::Device(Target::Tap { .. } | Target::Internal { .. }) => "a TAP device",
            Self::Device(Target::Dummy) => "a port in memory",
            Self::Device(Target::Tunnel(_)) => "a tunnel port",
            Self::Tunnel(TunnelKind::Vxlan) => "a VXLAN port",
            Self::Tunnel(TunnelKind::Geneve) => "a Geneve port",
            Self::Tunnel(TunnelKind::Gre) => "a GRE port",
            Self::Patch => "a patch port",
        }
    }
}

/// Reads a kind with its name.
pub(super) fn parse(text: &str) -> Result<(Head, String), PortTextError> {
    let Some((kind, rest)) = text.split_once(':') else {
        check_name(text)?;
        let target = Target::System { device: text.to_owned() };
        return Ok((Head::Device(target), text.to_owned()));
    };
    let device = || {
        check_name(rest)?;
        Ok(rest.to_owned())
    };
    let head = match kind {
        "tap" => Head::Device(Target::Tap { device: device()? }),
        "internal" => Head::Device(Target::Internal { device: device()? }),
        "dummy" => device().map(|_| Head::Device(Target::Dummy))?,
        "vxlan" => device().map(|_| Head::Tunnel(TunnelKind::Vxlan))?,
        "geneve" => device().map(|_| Head::Tunnel(TunnelKind::Geneve))?,
        "gre" => device().map(|_| Head::Tunnel(TunnelKind::Gre))?,
        "patch" => device().map(|_| Head::Patch)?,
        "netns" => return parse_netns(text, rest),
        _ => {
            return Err(PortTextError::Kind { text: text.to_owned(), kind: kind.to_owned() });
        }
    };
    Ok((head, rest.to_owned()))
}

fn parse_netns(text: &str, rest: &str) -> Result<(Head, String), PortTextError> {
    let wrong = || PortTextError::Netns { text: text.to_owned() };
    let (netns, device) = rest.split_once('/').ok_or_else(wrong)?;
    if netns.is_empty() || netns.starts_with('.') {
        return Err(wrong());
    }
    check_name(device)?;
    let target = Target::Netns { netns: netns.to_owned(), device: device.to_owned() };
    Ok((Head::Device(target), device.to_owned()))
}

/// Refuses what the kernel's `dev_valid_name` refuses, and characters that our own syntax needs.
pub(super) fn check_name(name: &str) -> Result<(), PortTextError> {
    if is_device_name(name) { Ok(()) } else { Err(PortTextError::Name { name: name.to_owned() }) }
}

/// Whether a network device can have this name, and our syntax can write it. A `%` asks the kernel to choose a
/// name (`tap%d`), so that no device has one.
pub(super) fn is_device_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| "/:=,%".contains(c) || c.is_whitespace() || c.is_control())
}
