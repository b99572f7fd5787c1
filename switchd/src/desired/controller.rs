//! A controller that a bridge connects to or waits for, with the settings of its connection.
//!
//! Names and defaults of the settings are those of the table `Controller` of ovs-vswitchd.conf.db(5).

use super::bounded::Bounded;
use super::controller_target::ControllerTarget;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

/// Milliseconds of silence after which a controller is asked whether it is there; 0 never asks.
pub(super) type InactivityProbe = Bounded<0, 86_400_000>;
/// Milliseconds between two attempts to connect, at most.
pub(super) type MaxBackoff = Bounded<1000, 3_600_000>;
/// Packet-ins a second that a controller gets at most.
pub(super) type PacketInRate = Bounded<100, 1_000_000_000>;
/// Packet-ins that may wait while a controller gets them at its rate.
pub(super) type PacketInBurst = Bounded<25, 1_000_000_000>;

/// A controller of a bridge. A setting that is `None` was not given and has its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Controller {
    /// Where it is.
    pub target: ControllerTarget,
    /// Milliseconds of silence before an echo request; the connection ends after as much silence again. 0 is
    /// off. Default 5000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactivity_probe: Option<InactivityProbe>,
    /// The most milliseconds between two attempts to connect. Default 8000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_backoff: Option<MaxBackoff>,
    /// The most packet-ins a second. By default there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_rate_limit: Option<PacketInRate>,
    /// The most packet-ins that wait because of `controller_rate_limit`. Default: a quarter of that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_burst_limit: Option<PacketInBurst>,
    /// Whether the way to the controller leads through the bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_mode: Option<ConnectionMode>,
}

/// Whether the way to a controller leads through the bridge itself. The switch adds no rules for such a way, so
/// both modes mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionMode {
    /// The way leads through the bridge.
    InBand,
    /// The way does not lead through the bridge.
    OutOfBand,
}

impl Controller {
    /// A controller with default settings.
    pub fn new(target: ControllerTarget) -> Self {
        Self {
            target,
            inactivity_probe: None,
            max_backoff: None,
            controller_rate_limit: None,
            controller_burst_limit: None,
            connection_mode: None,
        }
    }

    /// The silence after which the controller is asked whether it is there, 1 second
    /// at least; `None` never asks.
    pub fn probe_interval(&self) -> Option<Duration> {
        match self.inactivity_probe.map_or(5000, Bounded::get) {
            0 => None,
            milliseconds => Some(Duration::from_millis(milliseconds.max(1000).into())),
        }
    }

    /// The longest time between two attempts to connect.
    pub fn longest_backoff(&self) -> Duration {
        Duration::from_millis(self.max_backoff.map_or(8000, Bounded::get).into())
    }

    /// The settings that are given, by name.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        fn word<T: Display>(key: &'static str, value: Option<T>) -> Option<(&'static str, String)> {
            value.map(|value| (key, value.to_string()))
        }
        let words = [
            word("inactivity_probe", self.inactivity_probe),
            word("max_backoff", self.max_backoff),
            word("controller_rate_limit", self.controller_rate_limit),
            word("controller_burst_limit", self.controller_burst_limit),
            word("connection_mode", self.connection_mode),
        ];
        words.into_iter().flatten().collect()
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        fn read<T: FromStr<Err = String>>(key: &str, value: &str) -> Result<Option<T>, String> {
            value.parse().map(Some).map_err(|why| format!("{key}: \"{value}\" {why}"))
        }
        match &*key.replace('-', "_") {
            "inactivity_probe" => self.inactivity_probe = read(key, value)?,
            "max_backoff" => self.max_backoff = read(key, value)?,
            "controller_rate_limit" => self.controller_rate_limit = read(key, value)?,
            "controller_burst_limit" => self.controller_burst_limit = read(key, value)?,
            "connection_mode" => self.connection_mode = read(key, value)?,
            _ => {
                return Err(format!(
                    "\"{key}\" is no setting of a controller; settings are inactivity_probe, max_backoff, \
                     controller_rate_limit, controller_burst_limit and connection_mode"
                ));
            }
        }
        Ok(())
    }
}

impl FromStr for Controller {
    type Err = String;

    /// Reads `TARGET[,KEY=VALUE]...`, as `switchd --controller` takes it.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(',');
        let mut controller = Self::new(words.next().unwrap_or_default().parse()?);
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| {
                format!("\"{word}\": a setting of a controller is KEY=VALUE, for example max_backoff=1000")
            })?;
            controller.set(key, value)?;
        }
        Ok(controller)
    }
}

impl Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.target)?;
        self.words().iter().try_for_each(|(key, value)| write!(f, ",{key}={value}"))
    }
}

impl ConnectionMode {
    /// The word of `ovs-vsctl`: `in-band`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InBand => "in-band",
            Self::OutOfBand => "out-of-band",
        }
    }
}

impl FromStr for ConnectionMode {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let all = [Self::InBand, Self::OutOfBand];
        let found = all.into_iter().find(|mode| mode.name() == word);
        found.ok_or_else(|| "must be in-band or out-of-band".to_owned())
    }
}

impl Display for ConnectionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_a_target_with_settings() {
        let all = "tcp:10.0.0.1:6633,inactivity_probe=0,max_backoff=1000,controller_rate_limit=100,\
                   controller_burst_limit=25,connection_mode=out-of-band";
        for text in ["ptcp:", "tcp:10.0.0.1,inactivity_probe=60000", all] {
            assert_eq!(text.parse::<Controller>().unwrap().to_string(), text);
        }
        let defaults: Controller = "tcp:10.0.0.1".parse().unwrap();
        assert_eq!(defaults.probe_interval(), Some(Duration::from_secs(5)));
        assert_eq!(defaults.longest_backoff(), Duration::from_secs(8));
        let probe = |text: &str| text.parse::<Controller>().unwrap().probe_interval();
        assert_eq!(probe("ptcp:,inactivity_probe=0"), None);
        assert_eq!(probe("ptcp:,inactivity-probe=1"), Some(Duration::from_secs(1)));
    }

    #[test]
    fn wrong_settings_are_named() {
        for (text, why) in [
            ("ptcp:,max_backoff=10", "max_backoff: \"10\" must be a number from 1000 to 3600000"),
            ("ptcp:,max_backoff", "\"max_backoff\": a setting of a controller is KEY=VALUE"),
            ("ptcp:,color=red", "\"color\" is no setting of a controller"),
            ("ptcp:,connection_mode=x", "connection_mode: \"x\" must be in-band or out-of-band"),
        ] {
            let error = text.parse::<Controller>().unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
