//! A port's description while it is read, option by option, from the command line or from a file.
//!
//! Every option is read in one place, whether it comes from the command line or from a file. It is
//! checked by itself when it is given, so that the reader of a file can point at it, and together with
//! the others at the end.

use super::kind::{self, Head, Kind};
use super::port::Port;
use super::port_error::{OptionError, PortTextError};
use super::port_keys::{DEVICE, FLAGS, VLAN_KEYS, file_keys, flag_of, kind_keys, shared_keys};
use super::port_settings::{SettingsDraft, SettingsError};
use super::tunnel::{TunnelDraft, VXLAN_KEYS};
use super::word::Word;
use flow::text::parse_mac;
use flow::types::OfPort;
use flowtable::policy::ports::PortConfig;
use ports::spec::{KernelCacheUse, PortOptions, QdiscMode};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// The options of a port that have been read so far.
#[derive(Clone, Debug, Default)]
pub(super) struct PortDraft {
    head: Option<(Head, String)>,
    given: Vec<&'static str>,
    name: Option<String>,
    peer: Option<String>,
    tunnel: TunnelDraft,
    number: Option<OfPort>,
    options: PortOptions,
    config: PortConfig,
    settings: SettingsDraft,
}

impl PortDraft {
    /// Takes the device or patch that the port is made of: `veth0`, `tap:vm1`, `patch:p1`.
    pub(super) fn set_device(&mut self, text: &str) -> Result<(), PortTextError> {
        self.head = Some(kind::parse(text)?);
        Ok(())
    }

    /// The name that the port has unless an option says otherwise.
    pub(super) fn own_name(&self) -> &str {
        self.head.as_ref().map_or("", |(_, name)| name)
    }

    /// The options that were given, and `vlan_mode` if one of them implies it.
    pub(super) fn given(&self) -> impl Iterator<Item = &'static str> {
        let is_vlan = |key: &&str| VLAN_KEYS.contains(key);
        let device = std::iter::once(DEVICE);
        let mode = self.given.iter().any(is_vlan).then_some("vlan_mode");
        device.chain(self.given.iter().copied()).chain(mode)
    }

    /// Takes an option `key=value` of the command line into the draft.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), OptionError> {
        let key = self.find_key(key)?;
        if self.given.contains(&key) {
            return Err(OptionError::Twice { key });
        }
        self.given.push(key);
        match key {
            "name" => self.name = Some(read_name(key, value)?),
            "peer" => self.peer = Some(read_name(key, value)?),
            "number" => self.number = Some(read_number(value)?),
            "queues" | "shield" | "qdisc" | "slots" | "slot-size" | "kernel-cache" | "mac" => {
                set_option(&mut self.options, key, value)?;
            }
            _ if VXLAN_KEYS.contains(&key) => self.tunnel.set(key, value)?,
            _ if FLAGS.contains(&key) => {
                let expected = "true or false";
                let flag = read_flag(value).ok_or_else(|| wrong(key, value, expected))?;
                *flag_of(&mut self.config, key) = flag;
            }
            _ => self.settings.set(key, value)?,
        }
        Ok(())
    }

    /// The option that is meant: Open vSwitch's words have an underscore, most others a hyphen.
    fn find_key(&self, key: &str) -> Result<&'static str, OptionError> {
        // Open vSwitch has a column for the words of BFD.
        let column = key.strip_prefix("bfd:").map(|word| match word {
            "enable" => "bfd".to_owned(),
            word if word.starts_with("bfd_") => word.to_owned(),
            word => format!("bfd_{word}"),
        });
        let word = column.as_deref().unwrap_or(key).replace('_', "-");
        let mut keys = kind_keys().chain(shared_keys());
        keys.find(|known| known.replace('_', "-") == word)
            .ok_or_else(|| OptionError::Key { key: key.to_owned(), known: self.known() })
    }

    /// The names of the options, for messages.
    fn known(&self) -> String {
        let own = match &self.head {
            Some((head, _)) => head.keys().to_vec(),
            None => kind_keys().collect(),
        };
        let keys: Vec<&str> = own.into_iter().chain(shared_keys()).collect();
        keys.join(", ")
    }

    /// The port that all of this describes.
    pub(super) fn finish(self) -> Result<Port, PortTextError> {
        let Some((head, own_name)) = &self.head else {
            return Err(PortTextError::NoDevice);
        };
        let port = self.name.clone().unwrap_or_else(|| own_name.clone());
        let own_keys = head.keys();
        let wrong = |error| PortTextError::Option { port: own_name.clone(), error };
        if let Some(key) =
            self.given.iter().find(|key| kind_keys().any(|k| k == **key) && !own_keys.contains(key))
        {
            let (kind, known) = (head.describe(), self.known());
            return Err(wrong(OptionError::Meaningless { key: (*key).to_owned(), kind, known }));
        }
        let kind = match head.clone() {
            Head::Device(target) => Kind::Device(target),
            Head::Tunnel(_) if self.options.kernel_cache == KernelCacheUse::Peer => {
                let (key, value, expected) =
                    ("kernel-cache", "peer".to_owned(), "on or off for a tunnel port");
                return Err(wrong(OptionError::Value { key, value, expected }));
            }
            Head::Tunnel(kind) => {
                let tunnel = self.tunnel.clone().finish(kind, &port).map_err(wrong)?;
                Kind::Tunnel(Box::new(tunnel))
            }
            Head::Patch => {
                let peer = self.peer.clone().ok_or_else(|| wrong(OptionError::NoPeer))?;
                if peer == port {
                    return Err(wrong(OptionError::OwnPeer(peer)));
                }
                Kind::Patch { peer }
            }
        };
        let settings = self.settings.clone().finish().map_err(|error| wrong(error.into()))?;
        Ok(Port {
            name: port,
            kind,
            number: self.number,
            options: self.options,
            settings,
            config: self.config,
        })
    }
}

impl Port {
    /// Reads a description as the command line has it.
    ///
    /// # Errors
    /// What is wrong, and what would have worked.
    ///
    /// ```
    /// use ports::spec::QdiscMode;
    /// use switchd::desired::Port;
    /// let port = Port::parse("veth0,qdisc=honour,trunks=10,20").unwrap();
    /// assert_eq!((port.name.as_str(), port.options.qdisc), ("veth0", QdiscMode::Honour));
    /// assert_eq!(port.to_string(), "veth0,qdisc=honour,vlan_mode=trunk,trunks=10,20");
    /// ```
    pub fn parse(text: &str) -> Result<Self, PortTextError> {
        draft(text)?.finish()
    }

    /// The first option that `described` gives another value than this port has. Options that it leaves
    /// out may have any value.
    pub(super) fn contradiction(&self, described: &str) -> Result<Option<String>, PortTextError> {
        let draft = draft(described)?;
        let keys: Vec<&str> = draft.given().collect();
        let described = draft.finish()?.words();
        let ours = self.words();
        let value = |words: &[(&str, Word)], key: &str| {
            words.iter().find(|(k, _)| *k == key).map(|(_, value)| value.to_string())
        };
        let differs = |key: &&&str| value(&ours, key) != value(&described, key);
        let told = |key: &&str| match value(&ours, key) {
            Some(value) => format!("{key}={value}"),
            None => format!("no {key}"),
        };
        Ok(keys.iter().find(differs).map(told))
    }
}

/// Reads a description as the command line has it.
fn draft(text: &str) -> Result<PortDraft, PortTextError> {
    let (head, tail) = text.split_once(',').map_or((text, None), |(h, t)| (h, Some(t)));
    let mut draft = PortDraft::default();
    draft.set_device(head)?;
    let port = draft.own_name().to_owned();
    let wrong = |error| PortTextError::Option { port: port.clone(), error };
    for (key, value) in split_options(tail).map_err(wrong)? {
        draft.set(key, &value).map_err(wrong)?;
    }
    Ok(draft)
}

fn split_options(tail: Option<&str>) -> Result<Vec<(&str, String)>, OptionError> {
    let mut options: Vec<(&str, String)> = Vec::new();
    for piece in tail.into_iter().flat_map(|t| t.split(',')) {
        match (piece.split_once('='), options.last_mut()) {
            (Some((key, value)), _) => options.push((key, value.to_owned())),
            (None, Some((_, value))) if !piece.is_empty() => {
                value.push(',');
                value.push_str(piece);
            }
            _ => return Err(OptionError::NoValue { text: piece.to_owned() }),
        }
    }
    Ok(options)
}

fn wrong(key: &'static str, value: &str, expected: &'static str) -> OptionError {
    OptionError::Value { key, value: value.to_owned(), expected }
}

fn read_name(key: &'static str, value: &str) -> Result<String, OptionError> {
    match kind::is_device_name(value) {
        true => Ok(value.to_owned()),
        false => Err(OptionError::Name { key, name: value.to_owned() }),
    }
}

fn read_number(value: &str) -> Result<OfPort, OptionError> {
    let number = match value {
        local if local.eq_ignore_ascii_case("local") => Some(OfPort::LOCAL),
        digits => digits.parse().ok().map(OfPort).filter(|n| n.is_real()),
    };
    let wrong = || SettingsError::BadValue {
        key: "number",
        value: value.to_owned(),
        expected: "a number from 1 to 65279, or LOCAL",
    };
    Ok(number.ok_or_else(wrong)?)
}

fn read_flag(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn read_switch(value: &str) -> Option<bool> {
    match value {
        "on" | "true" => Some(true),
        "off" | "false" => Some(false),
        _ => None,
    }
}

fn set_option(
    options: &mut PortOptions,
    key: &'static str,
    value: &str,
) -> Result<(), OptionError> {
    let invalid = |expected| wrong(key, value, expected);
    match key {
        "queues" => {
            let queues = value.parse().ok().filter(|n| (1..=64).contains(n));
            options.queues = Some(queues.ok_or_else(|| invalid("a number from 1 to 64"))?);
        }
        "shield" => {
            options.shield = read_switch(value).ok_or_else(|| invalid("on or off"))?;
        }
        "kernel-cache" => {
            options.kernel_cache = match (value, read_switch(value)) {
                ("peer", _) => KernelCacheUse::Peer,
                (_, Some(true)) => KernelCacheUse::On,
                (_, Some(false)) => KernelCacheUse::Off,
                (_, None) => return Err(invalid("on, off or peer")),
            };
        }
        "qdisc" => {
            options.qdisc = match value {
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
        "mac" => {
            let mac = parse_mac(value).filter(|mac| mac.0[0] & 1 == 0 && mac.0 != [0; 6]);
            let expected = "the MAC address of one host, such as 02:00:00:00:00:01";
            options.mac = Some(mac.ok_or_else(|| invalid(expected))?.0);
        }
        _slot_size => {
            let size = value.parse().ok().filter(|n| (512..=1 << 20).contains(n) && n % 16 == 0);
            let expected = "a multiple of 16 from 512 to 1048576 (bytes)";
            options.slot_size = Some(size.ok_or_else(|| invalid(expected))?);
        }
    }
    Ok(())
}

impl<'de> Deserialize<'de> for PortDraft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DraftVisitor)
    }
}

struct DraftVisitor;

impl<'de> Visitor<'de> for DraftVisitor {
    type Value = PortDraft;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PortDraft, A::Error> {
        let mut draft = PortDraft::default();
        while let Some(Key(key)) = map.next_key()? {
            map.next_value_seed(OptionSeed { draft: &mut draft, key: &key })?;
        }
        Ok(draft)
    }
}

/// The name of an option. Refused when it is read, so that the file's reader points at it.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        if key != DEVICE && PortDraft::default().find_key(&key).is_err() {
            return Err(D::Error::custom(format_args!(
                "no key of a port is called \"{key}\"; there are {}",
                file_keys().join(", ")
            )));
        }
        Ok(Self(key))
    }
}

/// The value of an option, which goes into the draft at once.
struct OptionSeed<'a> {
    draft: &'a mut PortDraft,
    key: &'a str,
}

impl<'de> serde::de::DeserializeSeed<'de> for OptionSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let value = Word::deserialize(deserializer)?.to_string();
        if self.key == DEVICE {
            self.draft.set_device(&value).map_err(D::Error::custom)
        } else {
            self.draft.set(self.key, &value).map_err(D::Error::custom)
        }
    }
}
