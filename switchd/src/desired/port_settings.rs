//! How a port takes part in the network, as text: `tag=10 vlan_mode=access`.
//!
//! The words are those of Open vSwitch's `Port` table, and a few of our own. What it would ignore is
//! refused: VLANs out of range, words that contradict each other. Only `trunks` beside an access
//! port's `tag` is taken and has no effect, because scripts leave it there.
//!
//! The same words stand behind a port on the command line, in `add-port` and in `set-port`. There are three
//! settings: how the port takes part in VLANs, which takes several words, whether it is protected, and its
//! storm limit. `set-port` replaces each setting of which it has a word, and all of them if it has none.

use super::word::Word;
use flow::verdict::DEFAULT_STORM_LIMIT;
use flowtable::policy::ports::{PortInfo, PriorityTags, VlanMode, VlanSet};
use packet::wire::eth_type;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The words, for messages and for those who read port descriptions.
pub(super) const KEYS: [&str; 8] =
    ["vlan_mode", "tag", "trunks", "cvlans", "qinq-ethtype", "priority-tags", "protected", "storm"];

const MODES: &str = "access, trunk, native-tagged, native-untagged or dot1q-tunnel";

/// The settings of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// The VLANs that the port is in, and which of them have tags on the wire.
    pub mode: VlanMode,
    /// When untagged frames leave with a priority tag.
    pub priority_tags: PriorityTags,
    /// No frames to and from other protected ports.
    pub protected: bool,
    /// Frames a second, of each kind, that NORMAL floods from here; `None` is no limit.
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
    /// A word cannot have this value.
    #[error("{key}: \"{value}\" is not {expected}")]
    BadValue {
        /// The word, of those in `KEYS`.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it can be set to.
        expected: &'static str,
    },
    /// Two words contradict each other.
    #[error("{key} has no meaning with vlan_mode={mode}")]
    Contradiction {
        /// The word that has no meaning.
        key: &'static str,
        /// The mode, given or implied.
        mode: &'static str,
    },
}

/// What has been said about the settings of a port so far, word by word.
#[derive(Clone, Debug, Default)]
pub(super) struct SettingsDraft {
    is_given: [bool; KEYS.len()],
    mode: Option<Mode>,
    tag: Option<u16>,
    trunks: Option<Arc<VlanSet>>,
    cvlans: Option<Arc<VlanSet>>,
    tpid: Option<u16>,
    priority_tags: PriorityTags,
    protected: bool,
    storm: Option<Option<u32>>,
}

/// The values of the word `vlan_mode`, as in Open vSwitch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Trunk,
    Access,
    NativeTagged,
    NativeUntagged,
    Dot1qTunnel,
}

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

impl SettingsDraft {
    /// Takes a word with its value. An empty value is the default, as in Open vSwitch's database.
    ///
    /// # Errors
    /// The word is unknown, given twice, or its value makes no sense.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), SettingsError> {
        let i = place(key)?;
        let key = KEYS[i];
        if std::mem::replace(&mut self.is_given[i], true) {
            return Err(SettingsError::Twice(key));
        }
        let value = if value.is_empty() { None } else { Some(value) };
        match key {
            "vlan_mode" => self.mode = value.map(Mode::parse).transpose()?,
            "tag" => {
                let expected = "a VLAN: a number from 0 to 4095";
                self.tag =
                    value.map(|t| vid(t).ok_or_else(|| bad("tag", t, expected))).transpose()?;
            }
            "trunks" => self.trunks = value.map(|list| vlans("trunks", list)).transpose()?,
            "cvlans" => self.cvlans = value.map(|list| vlans("cvlans", list)).transpose()?,
            "qinq-ethtype" => {
                self.tpid = match value {
                    None => None,
                    Some("802.1ad" | "0x88a8") => Some(eth_type::VLAN_8021AD),
                    Some("802.1q" | "0x8100") => Some(eth_type::VLAN),
                    Some(value) => return Err(bad("qinq-ethtype", value, "802.1ad or 802.1q")),
                };
            }
            "priority-tags" => {
                self.priority_tags = match value {
                    None | Some("never" | "false") => PriorityTags::Never,
                    Some("if-nonzero" | "true") => PriorityTags::IfNonzero,
                    Some("always") => PriorityTags::Always,
                    Some(value) => {
                        return Err(bad("priority-tags", value, "never, if-nonzero or always"));
                    }
                };
            }
            "protected" => {
                self.protected = match value {
                    None | Some("false") => false,
                    Some("true") => true,
                    Some(value) => return Err(bad("protected", value, "true or false")),
                };
            }
            _storm => {
                self.storm = match value {
                    None => None,
                    Some("off") => Some(None),
                    Some(value) => match value.parse() {
                        Ok(limit @ 1..=1_000_000_000) => Some(Some(limit)),
                        _ => {
                            let expected = "off or frames a second: 1 to 1000000000";
                            return Err(bad("storm", value, expected));
                        }
                    },
                };
            }
        }
        Ok(())
    }

    /// The settings that these words make.
    ///
    /// # Errors
    /// Two words contradict each other.
    pub(super) fn finish(self) -> Result<PortSettings, SettingsError> {
        let (priority_tags, protected) = (self.priority_tags, self.protected);
        let storm = self.storm.unwrap_or(Some(DEFAULT_STORM_LIMIT));
        Ok(PortSettings { mode: self.vlan_mode()?, priority_tags, protected, storm })
    }

    fn vlan_mode(self) -> Result<VlanMode, SettingsError> {
        let implied = if self.tag.is_some() { Mode::Access } else { Mode::Trunk };
        let mode = self.mode.unwrap_or(implied);
        let given = [
            ("tag", self.tag.is_some()),
            ("trunks", self.trunks.is_some()),
            ("cvlans", self.cvlans.is_some()),
            ("qinq-ethtype", self.tpid.is_some()),
        ];
        let unused = |(key, is_given): &(&str, bool)| *is_given && mode.unused().contains(key);
        if let Some((key, _)) = given.into_iter().find(unused) {
            return Err(SettingsError::Contradiction { key, mode: mode.name() });
        }
        let tag = self.tag.unwrap_or(0);
        Ok(match mode {
            Mode::Trunk => self.trunks.map_or(VlanMode::AllVlans, VlanMode::Trunk),
            Mode::Access => VlanMode::Access(tag),
            Mode::NativeTagged => VlanMode::NativeTagged { native: tag, trunks: self.trunks },
            Mode::NativeUntagged => VlanMode::NativeUntagged { native: tag, trunks: self.trunks },
            Mode::Dot1qTunnel => {
                let tpid = self.tpid.unwrap_or(eth_type::VLAN_8021AD);
                VlanMode::Dot1qTunnel { tag, tpid, cvlans: self.cvlans }
            }
        })
    }
}

impl Mode {
    fn parse(text: &str) -> Result<Self, SettingsError> {
        Ok(match text {
            "trunk" => Self::Trunk,
            "access" => Self::Access,
            "native-tagged" => Self::NativeTagged,
            "native-untagged" => Self::NativeUntagged,
            "dot1q-tunnel" => Self::Dot1qTunnel,
            other => return Err(bad("vlan_mode", other, MODES)),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Trunk => "trunk",
            Self::Access => "access",
            Self::NativeTagged => "native-tagged",
            Self::NativeUntagged => "native-untagged",
            Self::Dot1qTunnel => "dot1q-tunnel",
        }
    }

    /// The words that mean nothing in this mode. `trunks` beside an access port's tag is left alone.
    fn unused(self) -> &'static [&'static str] {
        match self {
            Self::Trunk => &["tag", "cvlans", "qinq-ethtype"],
            Self::Access | Self::NativeTagged | Self::NativeUntagged => &["cvlans", "qinq-ethtype"],
            Self::Dot1qTunnel => &["trunks"],
        }
    }

    fn of(mode: &VlanMode) -> Self {
        match mode {
            VlanMode::AllVlans | VlanMode::Trunk(_) => Self::Trunk,
            VlanMode::Access(_) => Self::Access,
            VlanMode::NativeTagged { .. } => Self::NativeTagged,
            VlanMode::NativeUntagged { .. } => Self::NativeUntagged,
            VlanMode::Dot1qTunnel { .. } => Self::Dot1qTunnel,
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
        let mut draft = SettingsDraft::default();
        for (key, value) in pairs {
            draft.set(key, value)?;
        }
        draft.finish()
    }

    /// These settings after the change that `text` asks for: a setting of which the text has no word stays as
    /// it is. A text without words sets everything to its default.
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

fn vlans(key: &'static str, text: &str) -> Result<Arc<VlanSet>, SettingsError> {
    let text = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let set: Option<VlanSet> = text.split(',').map(vid).collect();
    let expected = "a list of VLANs: numbers from 0 to 4095 with commas between";
    set.map(Arc::new).ok_or_else(|| bad(key, text, expected))
}

fn vid(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok())?.filter(|vid| *vid <= 4095)
}

impl PortSettings {
    /// The words that make these settings; none for the default.
    pub fn words(&self) -> Vec<(&'static str, Word)> {
        let mut words = Vec::new();
        if self.mode != VlanMode::AllVlans {
            words.push(("vlan_mode", Word::text(Mode::of(&self.mode).name())));
        }
        let (tag, trunks, cvlans) = match &self.mode {
            VlanMode::AllVlans => (None, None, None),
            VlanMode::Trunk(trunks) => (None, Some(trunks), None),
            VlanMode::Access(tag) => (Some(*tag), None, None),
            VlanMode::NativeTagged { native, trunks }
            | VlanMode::NativeUntagged { native, trunks } => (Some(*native), trunks.as_ref(), None),
            VlanMode::Dot1qTunnel { tag, cvlans, .. } => (Some(*tag), None, cvlans.as_ref()),
        };
        let list = |set: &Arc<VlanSet>| Word::List(set.iter().map(i64::from).collect());
        words.extend(tag.map(|tag| ("tag", Word::number(tag))));
        words.extend(trunks.map(|set| ("trunks", list(set))));
        words.extend(cvlans.map(|set| ("cvlans", list(set))));
        if matches!(self.mode, VlanMode::Dot1qTunnel { tpid: eth_type::VLAN, .. }) {
            words.push(("qinq-ethtype", Word::text("802.1q")));
        }
        match self.priority_tags {
            PriorityTags::Never => {}
            PriorityTags::IfNonzero => words.push(("priority-tags", Word::text("if-nonzero"))),
            PriorityTags::Always => words.push(("priority-tags", Word::text("always"))),
        }
        if self.protected {
            words.push(("protected", Word::Flag(true)));
        }
        match self.storm {
            Some(DEFAULT_STORM_LIMIT) => {}
            Some(limit) => words.push(("storm", Word::number(limit))),
            None => words.push(("storm", Word::text("off"))),
        }
        words
    }
}

impl fmt::Display for PortSettings {
    /// As it is read; nothing for a port with the default settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> =
            self.words().iter().map(|(key, value)| format!("{key}={value}")).collect();
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
