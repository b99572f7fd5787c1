//! Meters, their counters, and what they can be like.

use serde::{Deserialize, Serialize};

/// An OpenFlow meter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterRecord {
    /// The number by which `meter:ID` names the meter, or the reserved number of a virtual meter.
    pub meter_id: u32,
    /// `kbps`, `pktps`, `burst` and `stats`, as far as the meter has the flags.
    pub flags: Vec<String>,
    /// The bands, in the order of the request.
    pub bands: Vec<BandRecord>,
    /// The meter as text, as `add-meter` takes it.
    pub text: String,
}

/// A band of a meter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandRecord {
    /// The type of the band: `drop` or `dscp_remark`.
    pub r#type: String,
    /// The rate in kilobits or packets a second.
    pub rate: u32,
    /// How much may pass at once, in kilobits or packets. `None` is what the rate allows in one second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst_size: Option<u32>,
    /// By how much the drop precedence grows; `None` if the band drops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prec_level: Option<u8>,
}

/// The counters of a meter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeterStatsRecord {
    /// The number of the meter.
    pub meter_id: u32,
    /// How many rules use the meter.
    pub flow_count: u32,
    /// How many packets went into the meter, those that it dropped included.
    pub packet_in_count: u64,
    /// Bytes of these packets, Ethernet headers included.
    pub byte_in_count: u64,
    /// Seconds since the meter was added.
    pub duration: f64,
    /// The counters of the bands, in the order of the bands.
    pub bands: Vec<BandStatsRecord>,
}

/// The counters of a band.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandStatsRecord {
    /// How many packets the band dropped or changed.
    pub packet_count: u64,
    /// Bytes of these packets.
    pub byte_count: u64,
}

/// What meters of a switch can be like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterFeaturesRecord {
    /// How many meters a bridge can have.
    pub max_meter: u32,
    /// How many bands a meter can have.
    pub max_bands: u8,
    /// The largest value of a colour; 0 if the switch has no colours.
    pub max_color: u8,
    /// The types of bands that the switch has.
    pub band_types: Vec<String>,
    /// The flags that a meter can have.
    pub capabilities: Vec<String>,
}
