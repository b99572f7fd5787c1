//! Connections that the switch tracks.

use flow::ct_timeout::CtTimeouts;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One direction of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectionRecord {
    /// The source address of the packets.
    pub src: String,
    /// The destination address of the packets.
    pub dst: String,
    /// The source port; absent for protocols without ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// The destination port; absent for protocols without ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    /// The identifier of an ICMP query; absent for other protocols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// The type of the ICMP message; absent for other protocols.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// How many packets there were; absent unless the connection has ended and its packets were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_packets: Option<u64>,
    /// How many bytes these packets had, with their Ethernet headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_bytes: Option<u64>,
}

impl fmt::Display for DirectionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { src, dst, sport, dport, id, icmp_type, n_packets, n_bytes } = self;
        write!(f, "src={src},dst={dst}")?;
        match (id, icmp_type) {
            (Some(id), Some(kind)) => write!(f, ",id={id},type={kind},code=0")?,
            _ => {
                let (sport, dport) = (sport.unwrap_or(0), dport.unwrap_or(0));
                write!(f, ",sport={sport},dport={dport}")?;
            }
        }
        if let (Some(packets), Some(bytes)) = (n_packets, n_bytes) {
            write!(f, ",packets={packets},bytes={bytes}")?;
        }
        Ok(())
    }
}

/// A connection (`ofctl dump-conntrack`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRecord {
    /// The IP protocol, as a number.
    pub protocol: u8,
    /// The direction of the connection's first packet.
    pub orig: DirectionRecord,
    /// The direction of the answers.
    pub reply: DirectionRecord,
    /// The zone in which the connection was committed.
    pub zone: u16,
    /// The mark that rules have written.
    pub mark: u32,
    /// The label that rules have written, in hexadecimal with `0x` in front.
    pub label: String,
    /// For how many seconds the connection is kept if no packet comes.
    pub timeout: u64,
    /// The state of TCP, the one of the two ends that is further on; absent for other protocols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The helper that reads what the connection tells of other connections: `ftp`
    /// or `tftp`; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<String>,
    /// The direction of the first packet of the connection that told of this one; absent if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<DirectionRecord>,
}

impl fmt::Display for ConnectionRecord {
    /// As `ovs-appctl dpctl/dump-conntrack` prints the connection.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The protocols that dumps call by name.
        const NAMES: [(u8, &str); 8] = [
            (1, "icmp"),
            (2, "igmp"),
            (6, "tcp"),
            (17, "udp"),
            (33, "dccp"),
            (58, "icmpv6"),
            (132, "sctp"),
            (136, "udplite"),
        ];
        let Self { protocol, orig, reply, zone, mark, label, state, helper, .. } = self;
        match NAMES.iter().find(|(known, _)| known == protocol) {
            Some((_, name)) => f.write_str(name)?,
            None => write!(f, "{protocol}")?,
        }
        write!(f, ",orig=({orig}),reply=({reply})")?;
        if *zone != 0 {
            write!(f, ",zone={zone}")?;
        }
        if *mark != 0 {
            write!(f, ",mark={mark}")?;
        }
        if label != "0x0" {
            write!(f, ",labels={label}")?;
        }
        if let Some(state) = state {
            // Dumps of Open vSwitch call the end of a connection as Linux does.
            let state = if state == "FIN_WAIT_2" { "TIME_WAIT" } else { state };
            write!(f, ",protoinfo=(state={state})")?;
        }
        if let Some(helper) = helper {
            write!(f, ",helper={helper}")?;
        }
        Ok(())
    }
}

/// How many connections there may be (`ofctl ct-get-limits`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionLimitsRecord {
    /// How many there may be in all.
    pub max: u64,
    /// How many each zone may have that has no limit of its own; 0 for any number.
    pub default: u32,
    /// The zones that have connections or a limit of their own, by number.
    pub zones: Vec<ZoneLimitRecord>,
}

/// How many connections a zone may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneLimitRecord {
    /// The number of the zone, 0 to 65535.
    pub zone: u16,
    /// How many connections the zone may have, by its own limit or that of all zones; 0 for any number.
    pub limit: u32,
    /// How many connections the zone has.
    pub count: u32,
}

/// A zone with timeouts of its own for connections (`ofctl list-zone-tp`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneTimeoutsRecord {
    /// The number of the zone, 0 to 65535.
    pub zone: u16,
    /// The timeouts in seconds, by name. Those that are not there have their defaults.
    pub timeouts: CtTimeouts,
}

/// How many connections there are, and what became of others (`ofctl ct-stats`), since the switch started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStatsRecord {
    /// Connections at the moment.
    pub connections: u64,
    /// How many connections there may be.
    pub max: u64,
    /// Connections that were committed.
    pub created: u64,
    /// Connections whose time came.
    pub expired: u64,
    /// Half-open connections that had to go because the table was full.
    pub evicted: u64,
    /// Connections that were not committed because the table was full.
    pub refused_full: u64,
    /// Connections that were not committed because their source address had its share of the table.
    pub refused_source: u64,
    /// Connections that were not committed because their zone had as many as it may have.
    pub refused_zone: u64,
    /// Connections that were not committed because their port began too many at once.
    #[serde(default)]
    pub refused_port: u64,
    /// Packets that were dropped because no address and port was free for their connection.
    pub nat_exhausted: u64,
    /// Fragments that wait for the rest of their packets at the moment.
    pub fragments_waiting: u64,
    /// Packets that were put together of fragments.
    pub reassembled: u64,
    /// Fragments that were dropped because the rest of their packet did not come in time.
    pub fragments_expired: u64,
    /// Fragments that were dropped because those of their source address or port were too many.
    pub fragments_evicted: u64,
    /// Fragments that were dropped because they, or others of their packet, overlap.
    pub fragments_overlapping: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_call_states_and_protocols_as_those_of_open_vswitch_do() {
        let end = |src: &str, dst: &str| DirectionRecord {
            src: src.to_owned(),
            dst: dst.to_owned(),
            sport: Some(1),
            dport: Some(2),
            id: None,
            icmp_type: None,
            n_packets: None,
            n_bytes: None,
        };
        let connection = |protocol: u8, state: Option<&str>| ConnectionRecord {
            protocol,
            orig: end("10.0.0.1", "10.0.0.2"),
            reply: end("10.0.0.2", "10.0.0.1"),
            zone: 0,
            mark: 0,
            label: "0x0".to_owned(),
            timeout: 30,
            state: state.map(str::to_owned),
            helper: None,
            parent: None,
        };
        for (state, expected) in [
            ("SYN_SENT", "SYN_SENT"),
            ("ESTABLISHED", "ESTABLISHED"),
            ("CLOSING", "CLOSING"),
            ("FIN_WAIT_2", "TIME_WAIT"),
            ("TIME_WAIT", "TIME_WAIT"),
        ] {
            let text = connection(6, Some(state)).to_string();
            assert!(text.starts_with("tcp,orig="), "{text}");
            assert!(text.ends_with(&format!(",protoinfo=(state={expected})")), "{text}");
        }
        for (protocol, name) in [(33, "dccp"), (47, "47"), (132, "sctp"), (136, "udplite")] {
            let text = connection(protocol, None).to_string();
            assert!(text.starts_with(&format!("{name},orig=")), "{text}");
        }
    }
}
