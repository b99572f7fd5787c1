//! Messages about the switch as a whole: features, configuration, description, roles, bundles.

use crate::error::ErrorCode;
use crate::input::Input;
use crate::output::Encoder;
use crate::ports::PortDesc;
use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow14};
use flow::types::{Fragments, OfVersion};

/// Bits of [`SwitchFeatures::capabilities`] (`OFPC_*`).
pub mod capability {
    /// Statistics of rules.
    pub const FLOW_STATS: u32 = 1;
    /// Statistics of tables.
    pub const TABLE_STATS: u32 = 1 << 1;
    /// Statistics of ports.
    pub const PORT_STATS: u32 = 1 << 2;
    /// Statistics of groups. OpenFlow 1.0 has no groups.
    pub const GROUP_STATS: u32 = 1 << 3;
    /// Statistics of queues.
    pub const QUEUE_STATS: u32 = 1 << 6;
    /// Matches on addresses of ARP packets. Later versions than OpenFlow 1.1 lack this bit.
    pub const ARP_MATCH_IP: u32 = 1 << 7;
    /// Bundles. Versions before OpenFlow 1.4 lack this bit.
    pub const BUNDLES: u32 = 1 << 9;
}

/// The actions of OpenFlow 1.0, from `output` to `enqueue`, as bits.
const ACTIONS_10: u32 = 0xfff;

/// What a switch is (`OFPT_FEATURES_REPLY`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchFeatures {
    /// The number by which controllers know the bridge.
    pub datapath_id: u64,
    /// How many packets the switch buffers for controllers.
    pub n_buffers: u32,
    /// The number of tables.
    pub n_tables: u8,
    /// What the switch can do: bits of [`capability`].
    pub capabilities: u32,
    /// The ports. Messages have them up to OpenFlow 1.2; later versions have a multipart of their own.
    pub ports: Vec<PortDesc>,
}

impl SwitchFeatures {
    pub(crate) fn put(&self, out: &mut Encoder, version: OfVersion) {
        out.u64(self.datapath_id);
        out.u32(self.n_buffers);
        out.u8(self.n_tables);
        out.zeros(3);
        let other = match version {
            OpenFlow10 => capability::GROUP_STATS,
            OpenFlow11 => 0,
            _ => capability::ARP_MATCH_IP,
        };
        let later = if version < OpenFlow14 { capability::BUNDLES } else { 0 };
        out.u32(self.capabilities & !(other | later));
        out.u32(if version == OpenFlow10 { ACTIONS_10 } else { 0 });
        if version <= OpenFlow12 {
            for port in &self.ports {
                let before = out.len();
                port.put(out, version);
                if out.len() > usize::from(u16::MAX) {
                    // A client that sees a full message asks for the descriptions of ports.
                    out.truncate(before);
                    break;
                }
            }
        }
    }

    pub(crate) fn decode(mut input: Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let (datapath_id, n_buffers, n_tables) = (input.u64()?, input.u32()?, input.u8()?);
        input.skip(3)?;
        let capabilities = input.u32()?;
        input.skip(4)?;
        let mut ports = Vec::new();
        while !input.is_empty() {
            ports.push(PortDesc::decode(&mut input, version)?);
        }
        Ok(Self { datapath_id, n_buffers, n_tables, capabilities, ports })
    }
}

/// The configuration of a switch (`OFPT_SET_CONFIG`, `OFPT_GET_CONFIG_REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchConfig {
    /// What happens to IP fragments; `None`: they are put together (`OFPC_FRAG_REASM`), which our own bridges
    /// do not offer.
    pub fragments: Option<Fragments>,
    /// How many bytes of a packet that no rule matches go to controllers.
    pub miss_send_len: u16,
    /// Whether controllers get packets whose TTL has run out (`OFPC_INVALID_TTL_TO_CONTROLLER`). OpenFlow 1.3
    /// and later lack it.
    pub invalid_ttl: bool,
}

/// The bit of [`SwitchConfig::invalid_ttl`].
const INVALID_TTL: u16 = 4;

impl SwitchConfig {
    pub(crate) fn put(self, out: &mut Encoder, version: OfVersion) {
        let flags = match self.fragments {
            Some(Fragments::Normal) => 0,
            Some(Fragments::Drop) => 1,
            None => 2,
            Some(Fragments::NxMatch) => 3,
        };
        let has_flag = self.invalid_ttl && version <= OpenFlow12;
        out.u16(if has_flag { flags | INVALID_TTL } else { flags });
        out.u16(self.miss_send_len);
    }

    pub(crate) fn decode(mut input: Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let (flags, miss_send_len) = (input.u16()?, input.u16()?);
        let invalid_ttl = flags & INVALID_TTL != 0 && version <= OpenFlow12;
        let fragments = match if invalid_ttl { flags & !INVALID_TTL } else { flags } {
            0 => Some(Fragments::Normal),
            1 => Some(Fragments::Drop),
            2 => None,
            3 => Some(Fragments::NxMatch),
            _ => return Err(ErrorCode::ConfigFlags),
        };
        Ok(Self { fragments, miss_send_len, invalid_ttl })
    }
}

/// Who made the switch, and what it is (`OFPST_DESC`). Each text is cut where its place in the message ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchDesc {
    /// Who made the switch, 255 bytes at most.
    pub manufacturer: String,
    /// What the switch runs on, 255 bytes at most.
    pub hardware: String,
    /// The program and its version, 255 bytes at most.
    pub software: String,
    /// The serial number.
    pub serial: String,
    /// What the user says of the bridge.
    pub datapath: String,
}

const DESC_SIZE: usize = 256;
const SERIAL_SIZE: usize = 32;

impl SwitchDesc {
    pub(crate) fn put(&self, out: &mut Encoder) {
        out.name(&self.manufacturer, DESC_SIZE);
        out.name(&self.hardware, DESC_SIZE);
        out.name(&self.software, DESC_SIZE);
        out.name(&self.serial, SERIAL_SIZE);
        out.name(&self.datapath, DESC_SIZE);
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, ErrorCode> {
        Ok(Self {
            manufacturer: input.name::<DESC_SIZE>()?,
            hardware: input.name::<DESC_SIZE>()?,
            software: input.name::<DESC_SIZE>()?,
            serial: input.name::<SERIAL_SIZE>()?,
            datapath: input.name::<DESC_SIZE>()?,
        })
    }
}

/// The role of a controller (`OFPCR_ROLE_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControllerRole {
    /// In a request: the role stays as it is. Nicira's messages lack this value.
    NoChange,
    /// The default: full access, together with others.
    #[default]
    Equal,
    /// Full access, which no other controller has as master.
    Master,
    /// Reads only: its requests to change something are refused.
    Slave,
}

impl ControllerRole {
    /// The number of the role in messages.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::NoChange => 0,
            Self::Equal => 1,
            Self::Master => 2,
            Self::Slave => 3,
        }
    }

    pub(crate) fn of_number(number: u32) -> Result<Self, ErrorCode> {
        Ok(match number {
            0 => Self::NoChange,
            1 => Self::Equal,
            2 => Self::Master,
            3 => Self::Slave,
            _ => return Err(ErrorCode::BadRole),
        })
    }
}

/// A request for a role, or the reply that confirms the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleMessage {
    /// The role that is asked for, or confirmed.
    pub role: ControllerRole,
    /// The number of the election that made the controller master or slave. Nicira's messages have none.
    pub generation: u64,
    /// Whether the message is Nicira's, which OpenFlow 1.0 and 1.1 need.
    pub is_nicira: bool,
}

impl RoleMessage {
    pub(crate) fn put(self, out: &mut Encoder) {
        let number = self.role.number();
        if self.is_nicira {
            // Nicira's numbers start with the role that is the second one of the standard.
            out.u32(u32::saturating_sub(number, 1));
            return;
        }
        out.u32(number);
        out.zeros(4);
        out.u64(self.generation);
    }

    pub(crate) fn decode(mut input: Input<'_>, is_nicira: bool) -> Result<Self, ErrorCode> {
        let number = input.u32()?;
        let number = if is_nicira { number.saturating_add(1) } else { number };
        let role = ControllerRole::of_number(number)?;
        let mut generation = 0;
        if !is_nicira {
            input.skip(4)?;
            generation = input.u64()?;
        }
        Ok(Self { role, generation, is_nicira })
    }
}

/// What happens to a bundle (`OFPBCT_*`). The reply to a request has the number behind the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleStep {
    /// A new bundle begins.
    Open,
    /// The bundle takes no more messages.
    Close,
    /// The messages of the bundle are carried out, all or none.
    Commit,
    /// The bundle is forgotten.
    Discard,
}

/// A request about a bundle, or the reply to one (`OFPT_BUNDLE_CONTROL`, OpenFlow 1.4.0 §7.3.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleControl {
    /// The number that the client gave the bundle.
    pub id: u32,
    /// What happens to the bundle.
    pub step: BundleStep,
    /// Whether this is the reply to a request.
    pub is_reply: bool,
    /// The flags of the bundle (`OFPBF_*`): 1 is atomic, 2 is ordered.
    pub flags: u16,
}

impl BundleControl {
    pub(crate) fn put(self, out: &mut Encoder) {
        out.u32(self.id);
        let step = match self.step {
            BundleStep::Open => 0,
            BundleStep::Close => 2,
            BundleStep::Commit => 4,
            BundleStep::Discard => 6,
        };
        out.u16(step + u16::from(self.is_reply));
        out.u16(self.flags);
    }

    pub(crate) fn decode(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let (id, number, flags) = (input.u32()?, input.u16()?, input.u16()?);
        let step = match number >> 1 {
            0 => BundleStep::Open,
            1 => BundleStep::Close,
            2 => BundleStep::Commit,
            3 => BundleStep::Discard,
            _ => return Err(ErrorCode::BundleBadType),
        };
        Ok(Self { id, step, is_reply: number & 1 != 0, flags })
    }
}
