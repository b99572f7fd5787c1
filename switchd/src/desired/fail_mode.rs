//! What a bridge does while it has no controller.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a bridge does without a controller, or while no controller is
/// connected (ovs-vswitchd.conf.db(5), `fail_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailMode {
    /// It forwards as a learning switch.
    #[default]
    Standalone,
    /// It has no rules but those that somebody gives it.
    Secure,
}

impl FailMode {
    /// The word of `ovs-vsctl set-fail-mode`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Secure => "secure",
        }
    }
}

impl FromStr for FailMode {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let all = [Self::Standalone, Self::Secure];
        let found = all.into_iter().find(|mode| mode.name() == word);
        found.ok_or_else(|| format!("\"{word}\" must be standalone or secure"))
    }
}

impl fmt::Display for FailMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
