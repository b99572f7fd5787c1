//! How long the connections of a zone are kept after their last packet, by protocol and state: a timeout
//! policy, as `ovs-vsctl add-zone-tp` takes it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A state of a connection that has a timeout of its own. The names are
/// those of Open vSwitch's `CT_Timeout_Policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum CtTimeout {
    /// One end of TCP has sent SYN (`tcp_syn_sent`).
    TcpSynSent,
    /// Both ends of TCP have sent SYN, or a connection is picked up in its middle (`tcp_syn_recv`).
    TcpSynRecv,
    /// Both ends of TCP have acknowledged the other's SYN (`tcp_established`).
    TcpEstablished,
    /// One end of TCP has sent FIN (`tcp_fin_wait`).
    TcpFinWait,
    /// Both ends of TCP have sent FIN (`tcp_time_wait`).
    TcpTimeWait,
    /// Both FINs are acknowledged, or there was a reset (`tcp_close`).
    TcpClose,
    /// The first packet of UDP or of another protocol (`udp_first`).
    UdpFirst,
    /// Several packets of UDP or of another protocol, all in one direction (`udp_single`).
    UdpSingle,
    /// Packets of UDP or of another protocol in both directions (`udp_multiple`).
    UdpMultiple,
    /// A query of ICMP or ICMPv6 without answer (`icmp_first`).
    IcmpFirst,
    /// A query of ICMP or ICMPv6 with an answer (`icmp_reply`).
    IcmpReply,
}

impl CtTimeout {
    /// Every timeout; the one at index `n` has the discriminant `n`.
    pub const ALL: [Self; 11] = [
        Self::TcpSynSent,
        Self::TcpSynRecv,
        Self::TcpEstablished,
        Self::TcpFinWait,
        Self::TcpTimeWait,
        Self::TcpClose,
        Self::UdpFirst,
        Self::UdpSingle,
        Self::UdpMultiple,
        Self::IcmpFirst,
        Self::IcmpReply,
    ];

    /// The name in Open vSwitch's `CT_Timeout_Policy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TcpSynSent => "tcp_syn_sent",
            Self::TcpSynRecv => "tcp_syn_recv",
            Self::TcpEstablished => "tcp_established",
            Self::TcpFinWait => "tcp_fin_wait",
            Self::TcpTimeWait => "tcp_time_wait",
            Self::TcpClose => "tcp_close",
            Self::UdpFirst => "udp_first",
            Self::UdpSingle => "udp_single",
            Self::UdpMultiple => "udp_multiple",
            Self::IcmpFirst => "icmp_first",
            Self::IcmpReply => "icmp_reply",
        }
    }

    /// The time in seconds if nobody says otherwise, as in Open vSwitch (`lib/conntrack-tp.c`).
    pub const fn default_seconds(self) -> u32 {
        match self {
            Self::TcpSynSent | Self::TcpSynRecv | Self::TcpClose => 30,
            Self::TcpEstablished => 24 * 60 * 60,
            Self::TcpFinWait => 15 * 60,
            Self::TcpTimeWait => 45,
            Self::UdpFirst | Self::UdpSingle | Self::IcmpFirst => 60,
            Self::UdpMultiple | Self::IcmpReply => 30,
        }
    }
}

/// The timeouts that a zone has of its own, in seconds. Those that are not there have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u32>", into = "BTreeMap<String, u32>")]
pub struct CtTimeouts(BTreeMap<CtTimeout, u32>);

/// A timeout is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CtTimeoutError {
    /// There is no timeout of this name.
    #[error(
        "\"{0}\" is not a timeout: write tcp_syn_sent, tcp_syn_recv, tcp_established, tcp_fin_wait, tcp_time_wait, tcp_close, \
         udp_first, udp_single, udp_multiple, icmp_first or icmp_reply"
    )]
    Name(String),
    /// Open vSwitch has this timeout for the kernel's connection tracking, which has more states.
    #[error("{0}: only the kernel's connection tracking has this state: leave it out")]
    KernelOnly(String),
    /// The word is no number of seconds.
    #[error("{name}: \"{value}\" is not a number of seconds from 1 to 4294967295")]
    Seconds {
        /// The name of the timeout.
        name: String,
        /// What stands in place of the seconds.
        value: String,
    },
    /// The timeout is given twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// The word has no `=`.
    #[error("\"{0}\": write TIMEOUT=SECONDS, such as udp_first=10")]
    Form(String),
}

impl CtTimeouts {
    /// Parses words such as `udp_first=10`.
    ///
    /// # Errors
    ///
    /// The first word that is wrong.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, CtTimeoutError> {
        let mut all = Self::default();
        for word in words {
            let (name, value) =
                word.split_once('=').ok_or_else(|| CtTimeoutError::Form(word.to_owned()))?;
            let seconds =
                || CtTimeoutError::Seconds { name: name.to_owned(), value: value.to_owned() };
            let value = value.parse().map_err(|_| seconds())?;
            all.add(name, value)?;
        }
        Ok(all)
    }

    fn add(&mut self, name: &str, seconds: u32) -> Result<(), CtTimeoutError> {
        const KERNEL_ONLY: [&str; 5] =
            ["tcp_close_wait", "tcp_last_ack", "tcp_retransmit", "tcp_syn_sent2", "tcp_unack"];
        let Some(timeout) = CtTimeout::ALL.into_iter().find(|timeout| timeout.name() == name)
        else {
            let name = name.to_owned();
            return Err(match KERNEL_ONLY.contains(&&*name) {
                true => CtTimeoutError::KernelOnly(name),
                false => CtTimeoutError::Name(name),
            });
        };
        if seconds == 0 {
            let (name, value) = (name.to_owned(), "0".to_owned());
            return Err(CtTimeoutError::Seconds { name, value });
        }
        match self.0.insert(timeout, seconds) {
            Some(_) => Err(CtTimeoutError::Twice(timeout.name())),
            None => Ok(()),
        }
    }

    /// The timeout in seconds: that of the zone, or the default.
    pub fn seconds(&self, timeout: CtTimeout) -> u32 {
        self.0.get(&timeout).copied().unwrap_or_else(|| timeout.default_seconds())
    }

    /// Whether no timeout is given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeMap<String, u32>> for CtTimeouts {
    type Error = CtTimeoutError;

    fn try_from(words: BTreeMap<String, u32>) -> Result<Self, CtTimeoutError> {
        let mut all = Self::default();
        words.iter().try_for_each(|(name, seconds)| all.add(name, *seconds))?;
        Ok(all)
    }
}

impl From<CtTimeouts> for BTreeMap<String, u32> {
    fn from(timeouts: CtTimeouts) -> Self {
        timeouts
            .0
            .into_iter()
            .map(|(timeout, seconds)| (timeout.name().to_owned(), seconds))
            .collect()
    }
}

impl fmt::Display for CtTimeouts {
    /// As `ovs-vsctl list-zone-tp` prints them, by name: `icmp_first=1 udp_first=2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_name: BTreeMap<String, u32> = self.clone().into();
        for (n, (name, seconds)) in by_name.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}{name}={seconds}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_printed_as_they_are_parsed() {
        let words = ["udp_first=1", "icmp_reply=20"];
        let timeouts = CtTimeouts::parse(words).expect("timeouts");
        assert_eq!(timeouts.to_string(), "icmp_reply=20 udp_first=1");
        assert_eq!(CtTimeouts::parse(timeouts.to_string().split(' ')), Ok(timeouts.clone()));
        assert_eq!(timeouts.seconds(CtTimeout::UdpFirst), 1);
        assert_eq!(timeouts.seconds(CtTimeout::TcpFinWait), 900);
        let error = |word| CtTimeouts::parse([word]).expect_err(word).to_string();
        assert!(error("udp=1").contains("\"udp\" is not a timeout: write tcp_syn_sent"));
        assert_eq!(
            error("udp_first=0"),
            "udp_first: \"0\" is not a number of seconds from 1 to 4294967295"
        );
        assert_eq!(
            error("udp_first=x"),
            "udp_first: \"x\" is not a number of seconds from 1 to 4294967295"
        );
        assert!(error("tcp_unack=3").contains("only the kernel's"));
        assert!(error("udp_first").contains("write TIMEOUT=SECONDS"));
        let twice = CtTimeouts::parse(["udp_first=1", "udp_first=2"]);
        assert_eq!(twice, Err(CtTimeoutError::Twice("udp_first")));
    }
}
