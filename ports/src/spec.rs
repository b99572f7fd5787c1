//! How a user names a port: `veth0`, `tap:vm1`, `netns:blue/eth0,name=blue,qdisc=honour`.
//!
//! A description is a kind with a name, then options `key=value`, separated by commas. A piece
//! without `=` continues the value before it, so that `trunks=10,20` reads as one option. This module
//! knows the options of the ports themselves; keys that somebody else interprets (VLAN membership is
//! the switch's business) are named by the caller and handed back as text.

use std::fmt;

/// Options that this crate interprets.
const KEYS: [&str; 6] = ["name", "queues", "shield", "qdisc", "slots", "slot-size"];

/// Those of them that mean something for a TAP device, and for memory.
const TAP_KEYS: [&str; 2] = ["name", "queues"];
const DUMMY_KEYS: [&str; 1] = ["name"];

/// A port as the user described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// The port's name in the switch; the device's name unless `name=` says otherwise.
    pub name: String,
    /// What to open.
    pub target: Target,
    /// How to open it.
    pub options: PortOptions,
    /// Options that the caller of [`PortSpec::parse`] interprets, in the order given.
    pub others: Vec<(String, String)>,
}

/// What a port is to be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `NAME`: a network device of this network namespace.
    System {
        /// The device's name.
        device: String,
    },
    /// `netns:NAMESPACE/NAME`: a network device of a named network namespace.
    Netns {
        /// The namespace's name, as in `ip netns`.
        netns: String,
        /// The device's name in there.
        device: String,
    },
    /// `tap:NAME`: a TAP device, made if it does not exist.
    Tap {
        /// The device's name.
        device: String,
    },
    /// `internal:NAME`: a TAP device through which the host itself takes part.
    Internal {
        /// The device's name.
        device: String,
    },
    /// `dummy:NAME`: a port in memory.
    Dummy,
}

/// Options of a port, each with a default that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortOptions {
    /// Receive queues; one for each worker unless said otherwise.
    pub queues: Option<u8>,
    /// Keep the frames of the device from the host's own network stack.
    pub shield: bool,
    /// What to do about the device's queueing discipline.
    pub qdisc: QdiscMode,
    /// Frames that may wait in the receive ring.
    pub slots: Option<u32>,
    /// Bytes of one slot of the receive ring.
    pub slot_size: Option<u32>,
    /// Where `slots` and `slot_size` leave it open: slots for whole frames, which make TCP faster and take
    /// four times the memory. Not part of the text.
    pub large_ring: bool,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self {
            queues: None,
            shield: true,
            qdisc: QdiscMode::Auto,
            slots: None,
            slot_size: None,
            large_ring: false,
        }
    }
}

/// Whether frames pass the queueing discipline of the device they leave by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QdiscMode {
    /// If somebody configured one: bypassed only while it is `noqueue`.
    #[default]
    Auto,
    /// Never: frames go to the device directly.
    Bypass,
    /// Always.
    Honour,
}

/// A port's description is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The device's name cannot be one.
    #[error(
        "port \"{name}\": not a network device name: 1 to 15 bytes without \"/\", \":\" or blanks"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// The word before the colon is none of ours.
    #[error(
        "port \"{text}\": no kind of port is called \"{kind}\"; write NAME, netns:NAMESPACE/NAME, \
         tap:NAME, internal:NAME or dummy:NAME"
    )]
    Kind {
        /// The whole description.
        text: String,
        /// The word.
        kind: String,
    },
    /// `netns:` without a namespace and a device.
    #[error("port \"{text}\": write netns:NAMESPACE/NAME, for example netns:blue/eth0")]
    Netns {
        /// The whole description.
        text: String,
    },
    /// An option nobody knows.
    #[error("port \"{port}\": no option is called \"{key}\"; there are {known}")]
    Key {
        /// The port's name.
        port: String,
        /// What was given.
        key: String,
        /// The names of all options.
        known: String,
    },
    /// An option that this kind of port does not have.
    #[error("port \"{port}\": {key} has no meaning for {kind}; there are {known}")]
    Meaningless {
        /// The port's name.
        port: String,
        /// What was given.
        key: String,
        /// What the port is made of.
        kind: &'static str,
        /// The names of its options.
        known: String,
    },
    /// An option is given without a value.
    #[error("port \"{port}\": \"{text}\" is not an option; write key=value")]
    NoValue {
        /// The port's name.
        port: String,
        /// What was given.
        text: String,
    },
    /// An option is given twice.
    #[error("port \"{port}\": option \"{key}\" is given twice")]
    Twice {
        /// The port's name.
        port: String,
        /// The option.
        key: String,
    },
    /// An option's value is not one.
    #[error("port \"{port}\": {key}={value}: must be {expected}")]
    Value {
        /// The port's name.
        port: String,
        /// The option.
        key: String,
        /// What was given.
        value: String,
        /// What would have worked.
        expected: &'static str,
    },
}

impl PortSpec {
    /// Reads a description. Options with a key of `other_keys` are collected unread.
    ///
    /// # Errors
    /// What is wrong, and what would have worked.
    ///
    /// ```
    /// use ports::spec::{PortSpec, QdiscMode};
    /// let spec = PortSpec::parse("veth0,qdisc=honour,trunks=10,20", &["tag", "trunks"]).unwrap();
    /// assert_eq!((spec.name.as_str(), spec.options.qdisc), ("veth0", QdiscMode::Honour));
    /// assert_eq!(spec.others, [("trunks".to_owned(), "10,20".to_owned())]);
    /// ```
    pub fn parse(text: &str, other_keys: &[&str]) -> Result<Self, SpecError> {
        let (head, tail) = text.split_once(',').map_or((text, None), |(h, t)| (h, Some(t)));
        let (target, device) = parse_target(head)?;
        let mut spec =
            Self { name: device, target, options: PortOptions::default(), others: Vec::new() };
        let port = spec.name.clone();
        let mut seen: Vec<&str> = Vec::new();
        for (key, value) in split_options(&port, tail)? {
            if seen.contains(&key) {
                return Err(SpecError::Twice { port, key: key.to_owned() });
            }
            seen.push(key);
            spec.set(&port, key, value, other_keys)?;
        }
        Ok(spec)
    }

    fn set(
        &mut self,
        port: &str,
        key: &str,
        value: String,
        other_keys: &[&str],
    ) -> Result<(), SpecError> {
        let invalid = |expected| SpecError::Value {
            port: port.to_owned(),
            key: key.to_owned(),
            value: value.clone(),
            expected,
        };
        let own_keys = self.target.keys();
        let options = &mut self.options;
        match key {
            "name" => {
                check_name(&value)?;
                self.name = value;
            }
            _ if KEYS.contains(&key) && !own_keys.contains(&key) => {
                return Err(SpecError::Meaningless {
                    port: port.to_owned(),
                    key: key.to_owned(),
                    kind: self.target.kind(),
                    known: names(own_keys, other_keys),
                });
            }
            "queues" => {
                let queues = value.parse().ok().filter(|n| (1..=64).contains(n));
                options.queues = Some(queues.ok_or_else(|| invalid("a number from 1 to 64"))?);
            }
            "shield" => {
                options.shield = match value.as_str() {
                    "on" => true,
                    "off" => false,
                    _ => return Err(invalid("on or off")),
                };
            }
            "qdisc" => {
                options.qdisc = match value.as_str() {
                    "auto" => QdiscMode::Auto,
                    "bypass" => QdiscMode::Bypass,
                    "honour" => QdiscMode::Honour,
                    _ => return Err(invalid("auto, bypass or honour")),
                };
            }
            "slots" => {
                let slots = value.parse().ok().filter(|n| (16..=1 << 20).contains(n));
                options.slots = Some(slots.ok_or_else(|| invalid("a number from 16 to 1048576"))?);
            }
            "slot-size" => {
                let size =
                    value.parse().ok().filter(|n| (512..=1 << 20).contains(n) && n % 16 == 0);
                let expected = "a multiple of 16 from 512 to 1048576 (bytes)";
                options.slot_size = Some(size.ok_or_else(|| invalid(expected))?);
            }
            _ if other_keys.contains(&key) => self.others.push((key.to_owned(), value)),
            _ => {
                return Err(SpecError::Key {
                    port: port.to_owned(),
                    key: key.to_owned(),
                    known: names(own_keys, other_keys),
                });
            }
        }
        Ok(())
    }
}

impl Target {
    /// The options that it has.
    fn keys(&self) -> &'static [&'static str] {
        match self {
            Self::System { .. } | Self::Netns { .. } => &KEYS,
            Self::Tap { .. } | Self::Internal { .. } => &TAP_KEYS,
            Self::Dummy => &DUMMY_KEYS,
        }
    }

    /// What errors call it.
    fn kind(&self) -> &'static str {
        match self {
            Self::System { .. } | Self::Netns { .. } => "a network device",
            Self::Tap { .. } | Self::Internal { .. } => "a TAP device",
            Self::Dummy => "a port in memory",
        }
    }
}

/// For messages: each key once, in the spelling that comes first.
fn names(own: &[&str], others: &[&str]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for key in own.iter().chain(others) {
        if names.iter().all(|n| n.replace('-', "_") != key.replace('-', "_")) {
            names.push(key);
        }
    }
    names.join(", ")
}

fn parse_target(head: &str) -> Result<(Target, String), SpecError> {
    let Some((kind, rest)) = head.split_once(':') else {
        check_name(head)?;
        return Ok((Target::System { device: head.to_owned() }, head.to_owned()));
    };
    let device = || {
        check_name(rest)?;
        Ok(rest.to_owned())
    };
    let target = match kind {
        "tap" => Target::Tap { device: device()? },
        "internal" => Target::Internal { device: device()? },
        "dummy" => {
            device()?;
            Target::Dummy
        }
        "netns" => {
            let text = || head.to_owned();
            let (netns, device) =
                rest.split_once('/').ok_or_else(|| SpecError::Netns { text: text() })?;
            if netns.is_empty() || netns.starts_with('.') {
                return Err(SpecError::Netns { text: text() });
            }
            check_name(device)?;
            let target = Target::Netns { netns: netns.to_owned(), device: device.to_owned() };
            return Ok((target, device.to_owned()));
        }
        _ => return Err(SpecError::Kind { text: head.to_owned(), kind: kind.to_owned() }),
    };
    Ok((target, rest.to_owned()))
}

/// What the kernel's `dev_valid_name` wants, short of characters that our own syntax needs.
fn check_name(name: &str) -> Result<(), SpecError> {
    let is_valid = (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c == '=' || c.is_whitespace());
    if is_valid { Ok(()) } else { Err(SpecError::Name { name: name.to_owned() }) }
}

fn split_options<'a>(
    port: &str,
    tail: Option<&'a str>,
) -> Result<Vec<(&'a str, String)>, SpecError> {
    let mut options: Vec<(&str, String)> = Vec::new();
    for piece in tail.into_iter().flat_map(|t| t.split(',')) {
        match (piece.split_once('='), options.last_mut()) {
            (Some((key, value)), _) => options.push((key, value.to_owned())),
            (None, Some((_, value))) if !piece.is_empty() => {
                value.push(',');
                value.push_str(piece);
            }
            _ => {
                return Err(SpecError::NoValue { port: port.to_owned(), text: piece.to_owned() });
            }
        }
    }
    Ok(options)
}

impl Target {
    /// The device is made when the port is opened and missing.
    pub fn is_created(&self) -> bool {
        matches!(self, Self::Tap { .. } | Self::Internal { .. } | Self::Dummy)
    }

    /// Its frames come through a ring whose size can be chosen.
    pub fn has_ring(&self) -> bool {
        matches!(self, Self::System { .. } | Self::Netns { .. })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { device } => f.write_str(device),
            Self::Netns { netns, device } => write!(f, "netns:{netns}/{device}"),
            Self::Tap { device } => write!(f, "tap:{device}"),
            Self::Internal { device } => write!(f, "internal:{device}"),
            Self::Dummy => f.write_str("dummy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_error(text: &str, message: &str) {
        let error = PortSpec::parse(text, &["tag", "trunks"]).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }

    #[test]
    fn a_bare_name_is_a_network_device() {
        let spec = PortSpec::parse("veth0", &[]).unwrap();
        assert_eq!(spec.target, Target::System { device: "veth0".into() });
        assert_eq!((spec.name.as_str(), spec.options), ("veth0", PortOptions::default()));
    }

    #[test]
    fn kinds_come_before_a_colon() {
        let target = |text| PortSpec::parse(text, &[]).unwrap().target;
        assert_eq!(target("tap:vm1"), Target::Tap { device: "vm1".into() });
        assert_eq!(target("internal:br0"), Target::Internal { device: "br0".into() });
        assert_eq!(target("dummy:p1"), Target::Dummy);
        let blue = Target::Netns { netns: "blue".into(), device: "eth0".into() };
        assert_eq!(target("netns:blue/eth0"), blue);
    }

    #[test]
    fn options_are_read_and_foreign_ones_handed_back() {
        let text = "netns:blue/eth0,name=blue,queues=2,shield=off,qdisc=bypass,slots=64,slot-size=2048,tag=7";
        let spec = PortSpec::parse(text, &["tag"]).unwrap();
        assert_eq!(spec.name, "blue");
        assert_eq!(
            spec.options,
            PortOptions {
                queues: Some(2),
                shield: false,
                qdisc: QdiscMode::Bypass,
                slots: Some(64),
                slot_size: Some(2048),
                large_ring: false,
            }
        );
        assert_eq!(spec.others, [("tag".to_owned(), "7".to_owned())]);
    }

    #[test]
    fn errors_say_what_would_work() {
        check_error(
            "",
            "port \"\": not a network device name: 1 to 15 bytes without \"/\", \":\" or blanks",
        );
        check_error(
            "tun:x",
            "port \"tun:x\": no kind of port is called \"tun\"; write NAME, netns:NAMESPACE/NAME, \
             tap:NAME, internal:NAME or dummy:NAME",
        );
        check_error(
            "netns:eth0",
            "port \"netns:eth0\": write netns:NAMESPACE/NAME, for example netns:blue/eth0",
        );
        check_error(
            "veth0,colour=red",
            "port \"veth0\": no option is called \"colour\"; there are name, queues, shield, qdisc, \
             slots, slot-size, tag, trunks",
        );
        check_error("veth0,shield", "port \"veth0\": \"shield\" is not an option; write key=value");
        check_error("veth0,", "port \"veth0\": \"\" is not an option; write key=value");
        check_error(
            "veth0,shield=on,shield=off",
            "port \"veth0\": option \"shield\" is given twice",
        );
        check_error(
            "veth0,qdisc=none",
            "port \"veth0\": qdisc=none: must be auto, bypass or honour",
        );
        check_error(
            "tap:vm1,tag=7,shield=off",
            "port \"vm1\": shield has no meaning for a TAP device; there are name, queues, tag, trunks",
        );
        check_error("tap:vm1,queues=0", "port \"vm1\": queues=0: must be a number from 1 to 64");
        check_error(
            "veth0,slots=1",
            "port \"veth0\": slots=1: must be a number from 16 to 1048576",
        );
    }
}
