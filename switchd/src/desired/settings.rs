//! Settings of the whole switch. The same type is the command line's options and the file's `[switch]`.
//!
//! An option that was not given is `None`. Its default stands in [`Settings::defaults`] and nowhere else;
//! `--help` shows these values, too.

use super::bounded::Bounded;
use super::memory_size::MemorySize;
use super::word::Word;
use crate::worker::Poll;
use clap::Args;
use flowtable::datapath::CacheConfig;
use flowtable::overload::UpcallLimit;
use flowtable::policy::mac_table::{DEFAULT_AGEING, DEFAULT_CAPACITY};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Seconds after which the MAC table removes a host that sent no frame (`--mac-ageing`).
pub type MacAgeing = Bounded<1, 86_400>;
/// The most hosts that the MAC table of a bridge has (`--mac-entries`).
pub type MacEntries = Bounded<10, 1_000_000>;

/// The settings of the switch, as the command line or a file gives them. `None`: the option is not given and
/// has its default.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Exit with an error if the device of a port is missing or cannot be used, instead of trying again later
    #[arg(long, num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require: Option<bool>,
    /// Number of worker threads, which receive, process and send frames
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<Bounded<1, 64>>,
    /// What a worker does while no frame arrives
    #[arg(long, value_name = "HOW", value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll: Option<Poll>,
    /// Processors that the workers are bound to in turn, as a list of numbers and ranges, for example 0,2-3
    #[arg(long, value_name = "LIST")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpus>,
    /// Seconds after which the MAC table removes a host that sent no frame
    #[arg(long, value_name = "SEC")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_ageing: Option<MacAgeing>,
    /// The most hosts that the MAC table of each bridge has
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_entries: Option<MacEntries>,
    /// Memory for the receive rings of all ports together, which is divided among them. A port with ",slots="
    /// or ",slot-size=" has a ring of that size instead
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_memory: Option<MemorySize>,
    /// Entries of each worker's signature cache, four bytes each, rounded up to a power of two; 0 turns it off.
    /// There are more as soon as there are more established connections
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emc_entries: Option<Bounded<0, { 1 << 22 }>>,
    /// The most flows that each worker caches; 0 turns caching off
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_limit: Option<Bounded<0, 1_000_000>>,
    /// The most new flows a second from each port while cached traffic has to be protected from them; a tenth
    /// of it may come at once. The switch drops the other frames with reason upcall_budget. "off" sets no limit
    #[arg(long, value_name = "N|off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upcall_limit: Option<Upcalls>,
    /// Number of VLAN tags of a frame that rules can match
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan_limit: Option<Bounded<1, 2>>,
    /// Behave as Open vSwitch even where that is a fault: read every rule as ofctl --lenient does, treat the
    /// checksums of fragments and routed packets as Open vSwitch does, and recirculate where it does
    #[arg(long, num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lenient: Option<bool>,
}

/// The settings of the switch, with defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Whether the switch refuses to start if it cannot open a port. If not, it tries again later.
    pub require: bool,
    /// The number of threads that move frames, 1 at least.
    pub workers: usize,
    /// What the workers do while no frames come.
    pub poll: Poll,
    /// The processors that the workers are bound to, in turn. Empty: they run on any processor.
    pub cpus: Vec<usize>,
    /// The time after which a MAC table removes a host that sent no frame.
    pub mac_ageing: Duration,
    /// The most hosts that the MAC table of a bridge has.
    pub mac_entries: usize,
    /// Bytes of all receive rings together.
    pub ring_memory: u64,
    /// Sizes of each worker's caches.
    pub cache: CacheConfig,
    /// VLAN tags that a key holds, 1 or 2.
    pub vlan_limit: u8,
    /// Whether to do what Open vSwitch does even where that is a fault.
    pub lenient: bool,
}

impl Settings {
    /// The values of options that were not given.
    pub fn defaults() -> Self {
        let cache = CacheConfig::default();
        let within = "the caches' own defaults are within the limits";
        Self {
            require: Some(false),
            workers: Some(Bounded::of(1)),
            poll: Some(Poll::default()),
            // None of them: the kernel chooses, and there is no way to write that.
            cpu: None,
            mac_ageing: Some(Bounded::of(DEFAULT_AGEING.as_secs() as u32)),
            mac_entries: Some(Bounded::of(DEFAULT_CAPACITY as u32)),
            ring_memory: Some(MemorySize::mebibytes(256)),
            emc_entries: Some(Bounded::new(cache.emc_entries as u32).expect(within)),
            flow_limit: Some(Bounded::new(cache.max_flows as u32).expect(within)),
            upcall_limit: Some(Upcalls(cache.upcalls.map(|limit| limit.rate))),
            vlan_limit: Some(Bounded::of(1)),
            lenient: Some(false),
        }
    }

    /// These settings, and those of `others` that are not given here.
    pub(super) fn or(self, others: Self) -> Self {
        Self {
            require: self.require.or(others.require),
            workers: self.workers.or(others.workers),
            poll: self.poll.or(others.poll),
            cpu: self.cpu.or(others.cpu),
            mac_ageing: self.mac_ageing.or(others.mac_ageing),
            mac_entries: self.mac_entries.or(others.mac_entries),
            ring_memory: self.ring_memory.or(others.ring_memory),
            emc_entries: self.emc_entries.or(others.emc_entries),
            flow_limit: self.flow_limit.or(others.flow_limit),
            upcall_limit: self.upcall_limit.or(others.upcall_limit),
            vlan_limit: self.vlan_limit.or(others.vlan_limit),
            lenient: self.lenient.or(others.lenient),
        }
    }

    /// These settings, with the default of each that is not given.
    pub(crate) fn effective(&self) -> Self {
        self.clone().or(Self::defaults())
    }

    /// The settings with the default of each that is not given, in the types of their users.
    pub fn resolved(&self) -> Resolved {
        let all = self.effective();
        let every = "every setting but cpu has a default";
        let cache = CacheConfig {
            emc_entries: all.emc_entries.expect(every).get() as usize,
            max_flows: all.flow_limit.expect(every).get() as usize,
            upcalls: all.upcall_limit.expect(every).0.map(UpcallLimit::per_second),
            ..CacheConfig::default()
        };
        let ageing = all.mac_ageing.expect(every).get();
        Resolved {
            require: all.require.expect(every),
            workers: all.workers.expect(every).get() as usize,
            poll: all.poll.expect(every),
            cpus: all.cpu.map(|cpus| cpus.0).unwrap_or_default(),
            mac_ageing: Duration::from_secs(ageing.into()),
            mac_entries: all.mac_entries.expect(every).get() as usize,
            ring_memory: all.ring_memory.expect(every).bytes(),
            cache,
            vlan_limit: all.vlan_limit.expect(every).get() as u8,
            lenient: all.lenient.expect(every),
        }
    }

    /// The settings that are given, by name.
    pub fn words(&self) -> Vec<(String, String)> {
        let values = match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(map)) => map,
            // It is a structure, so it cannot be anything else.
            _ => serde_json::Map::new(),
        };
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        values.into_iter().map(|(key, value)| (key, text(value))).collect()
    }
}

/// The processors that workers are bound to, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus(pub Vec<usize>);

impl FromStr for Cpus {
    type Err = String;

    /// Reads numbers and ranges of numbers, as in `taskset --cpu-list`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n < 4096);
        let mut cpus = Vec::new();
        for piece in text.split(',') {
            let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
                _ => return Err(format!("\"{piece}\" is not a processor: write 0,2-3")),
            }
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

impl Serialize for Cpus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Word::deserialize(deserializer)?.to_string().parse().map_err(de::Error::custom)
    }
}

/// New flows a second that a port may cause; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upcalls(pub Option<u32>);

impl FromStr for Upcalls {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "off" => Ok(Self(None)),
            Ok(rate) if rate > 0 => Ok(Self(Some(rate))),
            _ => Err("must be a number of new flows a second above 0, or off".to_owned()),
        }
    }
}

impl Serialize for Upcalls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let word = self.0.map_or(Word::text("off"), Word::number);
        word.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Upcalls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Word::deserialize(deserializer)?.to_string();
        let wrong = |error| de::Error::custom(format_args!("\"{text}\": {error}"));
        text.parse().map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_numbers_and_ranges() {
        let cpus = |text: &str| text.parse::<Cpus>();
        assert_eq!(cpus("0,2-4").unwrap().0, [0, 2, 3, 4]);
        assert_eq!(cpus("3-1").unwrap_err(), "\"3-1\" is not a processor: write 0,2-3");
        assert!(cpus("").is_err());
        assert!(cpus("99999").is_err());
    }

    #[test]
    fn what_nobody_gave_has_its_default() {
        let resolved = Settings::default().resolved();
        assert_eq!(resolved, Settings::defaults().resolved());
        assert_eq!(resolved.cache, CacheConfig::default());
        assert_eq!((resolved.mac_ageing, resolved.mac_entries), (DEFAULT_AGEING, DEFAULT_CAPACITY));
        assert!(Settings::default().words().is_empty());
    }

    #[test]
    fn what_was_given_has_a_name_and_a_value() {
        let settings = Settings {
            workers: Some(Bounded::of(2)),
            cpu: Some(Cpus(vec![0, 3])),
            upcall_limit: Some(Upcalls(None)),
            lenient: Some(true),
            ..Settings::default()
        };
        let words: Vec<String> =
            settings.words().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(words, ["cpu=[0,3]", "lenient=true", "upcall-limit=off", "workers=2"]);
    }
}
