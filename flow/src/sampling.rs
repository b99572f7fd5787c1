//! The arguments of the action `sample(...)`, which hands some packets to a collector of flow records (IPFIX).

use crate::types::OfPort;
use serde::{Deserialize, Serialize};

/// `sample(probability=N,collector_set_id=N,...)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlowSampling {
    /// How many of 65,535 packets are sampled, at least 1.
    pub probability: u16,
    /// The number of the set of collectors that get the samples.
    pub collector_set_id: u32,
    /// The observation domain that the samples name.
    pub obs_domain_id: u32,
    /// The observation point that the samples name.
    pub obs_point_id: u32,
    /// The port that the samples name; [`OfPort::NONE`] if they name none.
    pub sampling_port: OfPort,
    /// On which way through the port the samples say that the packets are.
    pub direction: SampledDirection,
}

/// On which way through a port packets are sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampledDirection {
    /// The action does not say.
    #[default]
    Unsaid,
    /// `ingress`: into the switch.
    Ingress,
    /// `egress`: out of the switch.
    Egress,
}

impl Default for FlowSampling {
    /// All numbers 0, and no port. The probability has to be set.
    fn default() -> Self {
        Self {
            probability: 0,
            collector_set_id: 0,
            obs_domain_id: 0,
            obs_point_id: 0,
            sampling_port: OfPort::NONE,
            direction: SampledDirection::Unsaid,
        }
    }
}
