//! Meters and the requests that change them (OpenFlow `OFPT_METER_MOD`, OpenFlow 1.3.5 §7.3.4.4).
//!
//! A meter measures the packets that the action `meter:ID` sends through it, and compares their rate with that
//! of each of its *bands*. A packet beyond the rate of a band is dropped, or gets another DSCP.
//! `flowtable::policy` stores meters, and `flowtable::datapath` carries them out.

use crate::types::MeterId;
use serde::{Deserialize, Serialize};

/// The largest number of bands that a meter can have, as in the userspace datapath of Open vSwitch.
pub const MAX_BANDS: usize = 8;

/// How many meters a bridge can have: the number that Open vSwitch tells in `OFPMP_METER_FEATURES`.
pub const MAX_METERS: usize = 262_144;

/// What a meter counts against the rates of its bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterUnit {
    /// `kbps`: rates are in kilobits (1,000 bits) a second, and bursts in kilobits. Ethernet headers count.
    Kbps,
    /// `pktps`: rates are in packets a second, and bursts in packets.
    Pktps,
}

impl MeterUnit {
    /// The flag of a meter's text that names the unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kbps => "kbps",
            Self::Pktps => "pktps",
        }
    }
}

/// What becomes of the packets beyond the rate of a band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BandKind {
    /// `type=drop`: they are dropped.
    Drop,
    /// `type=dscp_remark`: the drop precedence in the DSCP of IP packets grows by `prec_level`, to 3 at
    /// most. The DSCP of a packet that has no drop precedence stays: only the DSCPs of assured
    /// forwarding have one (RFC 2597).
    DscpRemark {
        /// By how much the drop precedence grows.
        prec_level: u8,
    },
}

/// One rate of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Band {
    /// What becomes of the packets beyond the rate.
    pub kind: BandKind,
    /// The rate in the meter's unit, at least 1.
    pub rate: u32,
    /// How much may pass at once, in the meter's unit without *a second*. 0 stands for the amount that the rate
    /// allows in one second. A meter without [`Meter::has_burst`] has only zeros here.
    pub burst_size: u32,
}

impl Band {
    /// How much may pass at once, in the meter's unit without *a second*.
    pub fn burst(&self) -> u32 {
        if self.burst_size == 0 { self.rate } else { self.burst_size }
    }
}

/// A meter as a user writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Meter {
    /// The number by which `meter:ID` names the meter.
    pub id: MeterId,
    /// The unit of all rates and bursts.
    pub unit: MeterUnit,
    /// `burst`: the bands say how much may pass at once.
    pub has_burst: bool,
    /// `stats`: the user wants counters. The switch counts for every meter.
    pub has_stats: bool,
    /// The bands in the order of the request. Of the bands whose rate a packet exceeds, the one with the
    /// highest rate decides; of several with this rate, the first.
    pub bands: Vec<Band>,
}

/// A request to change meters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeterMod {
    /// `add-meter`: adds a meter. A meter with this number must not exist.
    Add(Meter),
    /// `mod-meter`: replaces unit, flags and bands of a meter, which must exist.
    Modify(Meter),
    /// A message that adds or modifies a meter, with flags that no meter can have. The switch always refuses
    /// it, but looks first for faults that Open vSwitch finds before: the meter exists already, say.
    BadFlags {
        /// The meter, apart from the flags.
        meter: Meter,
        /// Whether the message adds the meter.
        is_new: bool,
        /// Whether the flags name a unit.
        has_unit: bool,
        /// The flags as bits of `OFPMF_*`.
        flags: u16,
    },
    /// `del-meters`: deletes a meter, or every meter ([`MeterId::ALL`]), and the rules that use it. It is no
    /// error if there is none.
    Delete(MeterId),
}

/// The counters of a meter (`meter-stats`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeterStats {
    /// How many rules use the meter.
    pub flow_count: u32,
    /// How many packets went into the meter, those that it dropped included.
    pub packets: u64,
    /// Bytes of these packets, Ethernet headers included.
    pub bytes: u64,
    /// Time since the meter was added.
    pub duration: std::time::Duration,
    /// Packets and bytes that each band dropped or changed, in the order of the meter's bands. A packet counts
    /// at one band at most.
    pub bands: Vec<(u64, u64)>,
}

/// What meters of a switch can be like (`OFPMP_METER_FEATURES`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterFeatures {
    /// How many meters a bridge can have.
    pub max_meters: u32,
    /// The types of bands, one bit each: bit 1 is `drop` (`OFPMBT_DROP`), bit 2 `dscp_remark`.
    pub band_types: u32,
    /// The flags of a meter, as bits of `OFPMF_*`: `kbps`, `pktps`, `burst`, `stats` from bit 0 on.
    pub capabilities: u32,
    /// How many bands a meter can have.
    pub max_bands: u8,
    /// The largest value of a colour. 0 stands for a switch that has no colours.
    pub max_color: u8,
}

impl MeterFeatures {
    /// What meters of this switch can be like.
    pub const OF_THIS_SWITCH: Self = Self {
        max_meters: MAX_METERS as u32,
        band_types: 1 << 1 | 1 << 2,
        capabilities: 0b1111,
        max_bands: MAX_BANDS as u8,
        max_color: 0,
    };
}
