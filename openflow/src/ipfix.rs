//! The counters of exporters of flow records (IPFIX), in Nicira's multiparts `NXST_IPFIX_BRIDGE` and
//! `NXST_IPFIX_FLOW`. They have the same body in every version of OpenFlow.

use crate::error::ErrorCode;
use crate::input::Input;
use crate::output::Encoder;

/// The counters of one exporter. `None` is a counter that the switch does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpfixStats {
    /// How many flows the exporter has seen.
    pub flows: Option<u64>,
    /// How many flows are in its cache now.
    pub current_flows: Option<u64>,
    /// How many packets were sampled.
    pub packets: Option<u64>,
    /// How many of the sampled packets are of IPv4.
    pub ipv4_packets: Option<u64>,
    /// How many of the sampled packets are of IPv6.
    pub ipv6_packets: Option<u64>,
    /// How many packets could not be sampled.
    pub errors: Option<u64>,
    /// How many packets of IPv4 could not be sampled.
    pub ipv4_errors: Option<u64>,
    /// How many packets of IPv6 could not be sampled.
    pub ipv6_errors: Option<u64>,
    /// How many packets were sent to collectors.
    pub sent: Option<u64>,
    /// How many packets could not be sent to collectors.
    pub send_errors: Option<u64>,
    /// The set of collectors that the exporter belongs to; 0 for the exporter of a whole bridge.
    pub collector_set: u32,
}

impl IpfixStats {
    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, ErrorCode> {
        let mut counter = || input.u64().map(|count| Some(count).filter(|it| *it != u64::MAX));
        let stats = Self {
            flows: counter()?,
            current_flows: counter()?,
            packets: counter()?,
            ipv4_packets: counter()?,
            ipv6_packets: counter()?,
            errors: counter()?,
            ipv4_errors: counter()?,
            ipv6_errors: counter()?,
            sent: counter()?,
            send_errors: counter()?,
            collector_set: 0,
        };
        let collector_set = input.u32()?;
        input.skip(4)?;
        Ok(Self { collector_set, ..stats })
    }

    pub(crate) fn put(&self, out: &mut Encoder) {
        let counters = [
            self.flows,
            self.current_flows,
            self.packets,
            self.ipv4_packets,
            self.ipv6_packets,
            self.errors,
            self.ipv4_errors,
            self.ipv6_errors,
            self.sent,
            self.send_errors,
        ];
        counters.into_iter().for_each(|counter| out.u64(counter.unwrap_or(u64::MAX)));
        out.u32(self.collector_set);
        out.zeros(4);
    }
}
