//! How a port takes part in the network, as text: `tag=10 vlan_mode=access`.
//!
//! The words are those of Open vSwitch's `Port` table, and a few of our own. What it would ignore is
//! refused: VLANs out of range, words that contradict each other. Only `trunks` beside an access
//! port's `tag` is taken and has no effect, because scripts leave it there.
//!
//! The same words stand behind a port on the command line, in `add-port` and in `set-port`. There are
//! three settings: how the port takes part in VLANs, which takes several words, whether it is
//! protected, and its storm limit. `set-port` replaces those of which a word is given, and all of them if none is.

use flow::verdict::DEFAULT_STORM_LIMIT;
use flowtable::policy::ports::{PortInfo, PriorityTags, VlanMode, VlanSet};
use packet::wire::eth_type;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The words, for messages and for those who read port descriptions.
pub const KEYS: [&str; 8] =
    ["vlan_mode", "tag", "trunks", "cvlans", "qinq-ethtype", "priority-tags", "protected", "storm"];

const MODES: &str = "access, trunk, native-tagged, native-untagged or dot1q-tunnel";

/// The settings of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// Which VLANs, and how.
    pub mode: VlanMode,
    /// When untagged frames leave with a priority tag.
    pub priority_tags: PriorityTags,
    /// No frames to and from other protected ports.
    pub protected: bool,
    /// Frames a second, of each kind, that NORMAL floods from here; `None` is any number.
    pub storm: Option<u32>,
}

impl Default for PortSettings {
    fn default() -> Self {
        Self {
            mode: VlanMode::default(),
            priority_tags: PriorityTags::default(),
            protected: false,
            storm: Some(DEFAULT_STORM_LIMIT),
        }
    }
}

/// The text is not a VLAN configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// There is no such word.
    #[error("\"{0}\" is not a setting of a port: they are {keys}", keys = KEYS.join(", "))]
    UnknownKey(String),
    /// A word has no value. What was meant can be the opposite of the default.
    #[error("{0}: write {0}=VALUE")]
    NoValue(&'static str),
    /// A word is there twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// The value is wrong.
    #[error("{key}: \"{value}\" is not {expected}")]
    BadValue {
        /// The word.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it can be set to.
        expected: &'static str,
    },
    /// Two words contradict each other.
    #[error("{key} has no meaning with vlan_mode={mode}")]
    Contradiction {
        /// The word.
        key: &'static str,
        /// The mode, given or implied.
        mode: &'static str,
    },
}

/// The words as given.
#[derive(Default)]
struct Words<'a>([Option<&'a str>; KEYS.len()]);

/// The place of a word among [`KEYS`].
fn place(key: &str) -> Result<usize, SettingsError> {
    // Open vSwitch has both spellings, and a column for the rarer words.
    let word = key.strip_prefix("other_config:").unwrap_or(key).replace('-', "_");
    let place = KEYS.iter().position(|k| k.replace('-', "_") == word);
    place.ok_or_else(|| SettingsError::UnknownKey(key.to_owned()))
}

/// Splits `key=value` words, separated by blanks.
fn split(text: &str) -> Result<Vec<(&str, &str)>, SettingsError> {
    let words = text.split_whitespace();
    words
        .map(|word| match word.split_once('=') {
            Some(pair) => Ok(pair),
            None => Err(SettingsError::NoValue(KEYS[place(word)?])),
        })
        .collect()
}

impl<'a> Words<'a> {
    fn set(&mut self, key: &str, value: &'a str) -> Result<(), SettingsError> {
        let i = place(key)?;
        match self.0[i].replace(value) {
            None => Ok(()),
            Some(_) => Err(SettingsError::Twice(KEYS[i])),
        }
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        KEYS.iter().position(|k| *k == key).and_then(|i| self.0[i]).filter(|v| !v.is_empty())
    }

    /// Refuses words that the mode does not use.
    fn refuse(&self, keys: &[&'static str], mode: &'static str) -> Result<(), SettingsError> {
        match keys.iter().find(|key| self.get(key).is_some()) {
            Some(&key) => Err(SettingsError::Contradiction { key, mode }),
            None => Ok(()),
        }
    }
}

impl FromStr for PortSettings {
    type Err = SettingsError;

    /// Reads `key=value` words, separated by blanks.
    fn from_str(text: &str) -> Result<Self, SettingsError> {
        Self::from_pairs(split(text)?)
    }
}

impl PortSettings {
    /// From words with their values, wherever they stood.
    ///
    /// # Errors
    /// A word is unknown, given twice, contradicts another, or has a value that makes no sense.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, SettingsError> {
        let mut words = Words::default();
        for (key, value) in pairs {
            words.set(key, value)?;
        }
        Ok(Self {
            mode: mode(&words)?,
            priority_tags: match words.get("priority-tags") {
                None | Some("never" | "false") => PriorityTags::Never,
                Some("if-nonzero" | "true") => PriorityTags::IfNonzero,
                Some("always") => PriorityTags::Always,
                Some(value) => {
                    return Err(bad("priority-tags", value, "never, if-nonzero or always"));
                }
            },
            protected: match words.get("protected") {
                None | Some("false") => false,
                Some("true") => true,
                Some(value) => return Err(bad("protected", value, "true or false")),
            },
            storm: match words.get("storm") {
                None => Some(DEFAULT_STORM_LIMIT),
                Some("off") => None,
                Some(value) => match value.parse() {
                    Ok(limit @ 1..=1_000_000_000) => Some(limit),
                    _ => {
                        return Err(bad("storm", value, "off or frames a second: 1 to 1000000000"));
                    }
                },
            },
        })
    }

    /// These settings after a change, as text: a setting of which no word is given stays, but no word
    /// at all is the default of everything.
    ///
    /// # Errors
    /// As [`PortSettings::from_pairs`].
    pub fn changed(self, text: &str) -> Result<Self, SettingsError> {
        let words = split(text)?;
        let (mut vlan, mut protected, mut storm) = (false, false, false);
        for (key, _) in &words {
            match KEYS[place(key)?] {
                "protected" => protected = true,
                "storm" => storm = true,
                _ => vlan = true,
            }
        }
        let new = Self::from_pairs(words)?;
        if !(vlan || protected || storm) {
            return Ok(new);
        }
        let (mode, priority_tags) =
            if vlan { (new.mode, new.priority_tags) } else { (self.mode, self.priority_tags) };
        Ok(Self {
            mode,
            priority_tags,
            protected: if protected { new.protected } else { self.protected },
            storm: if storm { new.storm } else { self.storm },
        })
    }

    /// The settings of a port.
    pub fn of(port: &PortInfo) -> Self {
        Self {
            mode: port.vlan.clone(),
            priority_tags: port.priority_tags,
            protected: port.protected,
            storm: port.storm_limit,
        }
    }

    /// Gives the settings to a port.
    pub fn apply(self, port: &mut PortInfo) {
        port.vlan = self.mode;
        port.priority_tags = self.priority_tags;
        port.protected = self.protected;
        port.storm_limit = self.storm;
    }
}

fn bad(key: &'static str, value: &str, expected: &'static str) -> SettingsError {
    SettingsError::BadValue { key, value: value.to_owned(), expected }
}

fn mode(words: &Words<'_>) -> Result<VlanMode, SettingsError> {
    const NUMBER: &str = "a VLAN: a number from 0 to 4095";
    const LIST: &str = "a list of VLANs: numbers from 0 to 4095 with commas between";
    let tag = words.get("tag").map(|t| vid(t).ok_or_else(|| bad("tag", t, NUMBER))).transpose()?;
    let list = |key: &'static str| -> Result<Option<Arc<VlanSet>>, SettingsError> {
        let Some(text) = words.get(key) else {
            return Ok(None);
        };
        let text = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        let set: Option<VlanSet> = text.split(',').map(vid).collect();
        set.map(|set| Some(Arc::new(set))).ok_or_else(|| bad(key, text, LIST))
    };
    let trunks = list("trunks")?;
    let name = words.get("vlan_mode").unwrap_or(if tag.is_some() { "access" } else { "trunk" });
    let (mode, unused): (_, &[&'static str]) = match name {
        "access" => (VlanMode::Access(tag.unwrap_or(0)), &["cvlans", "qinq-ethtype"]),
        "trunk" => {
            (trunks.map_or(VlanMode::AllVlans, VlanMode::Trunk), &["tag", "cvlans", "qinq-ethtype"])
        }
        "native-tagged" => (
            VlanMode::NativeTagged { native: tag.unwrap_or(0), trunks },
            &["cvlans", "qinq-ethtype"],
        ),
        "native-untagged" => (
            VlanMode::NativeUntagged { native: tag.unwrap_or(0), trunks },
            &["cvlans", "qinq-ethtype"],
        ),
        "dot1q-tunnel" => {
            let tpid = match words.get("qinq-ethtype") {
                None | Some("802.1ad" | "0x88a8") => eth_type::VLAN_8021AD,
                Some("802.1q" | "0x8100") => eth_type::VLAN,
                Some(value) => return Err(bad("qinq-ethtype", value, "802.1ad or 802.1q")),
            };
            let cvlans = list("cvlans")?;
            (VlanMode::Dot1qTunnel { tag: tag.unwrap_or(0), tpid, cvlans }, &["trunks"])
        }
        other => return Err(bad("vlan_mode", other, MODES)),
    };
    words.refuse(unused, mode_name(&mode))?;
    Ok(mode)
}

fn vid(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok())?.filter(|vid| *vid <= 4095)
}

fn mode_name(mode: &VlanMode) -> &'static str {
    match mode {
        VlanMode::AllVlans | VlanMode::Trunk(_) => "trunk",
        VlanMode::Access(_) => "access",
        VlanMode::NativeTagged { .. } => "native-tagged",
        VlanMode::NativeUntagged { .. } => "native-untagged",
        VlanMode::Dot1qTunnel { .. } => "dot1q-tunnel",
    }
}

impl fmt::Display for PortSettings {
    /// As it is read; nothing for a port with the default settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.mode != VlanMode::AllVlans {
            words.push(format!("vlan_mode={}", mode_name(&self.mode)));
        }
        let (tag, lists) = match &self.mode {
            VlanMode::AllVlans => (None, [("trunks", None), ("cvlans", None)]),
            VlanMode::Trunk(trunks) => (None, [("trunks", Some(trunks)), ("cvlans", None)]),
            VlanMode::Access(tag) => (Some(tag), [("trunks", None), ("cvlans", None)]),
            VlanMode::NativeTagged { native, trunks }
            | VlanMode::NativeUntagged { native, trunks } => {
                (Some(native), [("trunks", trunks.as_ref()), ("cvlans", None)])
            }
            VlanMode::Dot1qTunnel { tag, cvlans, .. } => {
                (Some(tag), [("trunks", None), ("cvlans", cvlans.as_ref())])
            }
        };
        words.extend(tag.map(|tag| format!("tag={tag}")));
        for (key, set) in lists {
            if let Some(set) = set {
                let vids: Vec<String> = set.iter().map(|vid| vid.to_string()).collect();
                words.push(format!("{key}={}", vids.join(",")));
            }
        }
        if matches!(self.mode, VlanMode::Dot1qTunnel { tpid: eth_type::VLAN, .. }) {
            words.push("qinq-ethtype=802.1q".to_owned());
        }
        match self.priority_tags {
            PriorityTags::Never => {}
            PriorityTags::IfNonzero => words.push("priority-tags=if-nonzero".to_owned()),
            PriorityTags::Always => words.push("priority-tags=always".to_owned()),
        }
        if self.protected {
            words.push("protected=true".to_owned());
        }
        match self.storm {
            Some(DEFAULT_STORM_LIMIT) => {}
            Some(limit) => words.push(format!("storm={limit}")),
            None => words.push("storm=off".to_owned()),
        }
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let settings: PortSettings = text.parse().unwrap();
        assert_eq!(settings.to_string(), expected, "{text}");
        assert_eq!(expected.parse::<PortSettings>().unwrap(), settings);
    }

    #[test]
    fn settings_are_read_as_open_vswitch_means_them() {
        check("", "");
        check("vlan_mode=trunk", "");
        check("tag=10", "vlan_mode=access tag=10");
        check("tag=10 vlan_mode=access", "vlan_mode=access tag=10");
        check("vlan_mode=access", "vlan_mode=access tag=0");
        check("trunks=20,10", "vlan_mode=trunk trunks=10,20");
        check("trunks=[10,20]", "vlan_mode=trunk trunks=10,20");
        check("vlan_mode=native-untagged tag=5", "vlan_mode=native-untagged tag=5");
        check("vlan_mode=native-tagged tag=5 trunks=7", "vlan_mode=native-tagged tag=5 trunks=7");
        check("vlan_mode=dot1q-tunnel tag=5 cvlans=7", "vlan_mode=dot1q-tunnel tag=5 cvlans=7");
        check(
            "vlan_mode=dot1q-tunnel tag=5 qinq-ethtype=802.1q",
            "vlan_mode=dot1q-tunnel tag=5 qinq-ethtype=802.1q",
        );
        check("priority-tags=always protected=true", "priority-tags=always protected=true");
        check("priority_tags=if-nonzero", "priority-tags=if-nonzero");
        check("tag= trunks=5 vlan_mode=", "vlan_mode=trunk trunks=5");
        check("other_config:priority-tags=true", "priority-tags=if-nonzero");
        check("priority_tags=always", "priority-tags=always");
    }

    #[test]
    fn a_change_replaces_the_settings_that_it_names() {
        let check = |before: &str, change: &str, after: &str| {
            let before: PortSettings = before.parse().unwrap();
            assert_eq!(before.changed(change).unwrap().to_string(), after, "{change}");
        };
        check("tag=10 protected=true", "trunks=1,2", "vlan_mode=trunk trunks=1,2 protected=true");
        check("tag=10", "protected=true", "vlan_mode=access tag=10 protected=true");
        check("tag=10", "storm=50", "vlan_mode=access tag=10 storm=50");
        check(
            "tag=10 storm=off",
            "protected=true",
            "vlan_mode=access tag=10 protected=true storm=off",
        );
        check("tag=10", "other_config:storm=50", "vlan_mode=access tag=10 storm=50");
        check("tag=10 protected=true storm=5", "", "");
    }

    fn refused(text: &str) -> String {
        text.parse::<PortSettings>().unwrap_err().to_string()
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(refused("tag=4096"), "tag: \"4096\" is not a VLAN: a number from 0 to 4095");
        assert!(refused("trunks=1,x").starts_with("trunks: \"1,x\" is not a list of VLANs"));
        assert_eq!(refused("tag=1 cvlans=2"), "cvlans has no meaning with vlan_mode=access");
        assert_eq!(refused("vlan_mode=trunk tag=2"), "tag has no meaning with vlan_mode=trunk");
        assert_eq!(refused("tag=1 tag=2"), "tag is given twice");
        assert_eq!(refused("protected"), "protected: write protected=VALUE");
        assert!(refused("vlan=1").starts_with("\"vlan\" is not a setting of a port: they are"));
        assert!(refused("vlan_mode=foo").ends_with(MODES));
    }
}
