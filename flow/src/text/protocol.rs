//! Flow formats: the kinds of OpenFlow messages that can carry a rule
//! (`enum ofputil_protocol` of Open vSwitch).
//!
//! OpenFlow 1.0 has four formats: standard or extensible matches (NXM), each with or without a table number.
//! Every later version has one. A rule that a user adds with `-O OpenFlow10` must be one that a format of
//! OpenFlow 1.0 can carry. Each field, mask and action of the rule restricts the set of formats.

use super::value::Masked;
use crate::fields::{FieldId, prefix_len};
use crate::types::OfVersion;
use std::fmt;
use std::str::FromStr;

/// A set of flow formats, one bit each. Bit 0 is the preferred format, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols(u16);

impl Default for Protocols {
    /// [`Protocols::ANY`]: a user who names no format allows all of them.
    fn default() -> Self {
        Self::ANY
    }
}

impl Protocols {
    /// OpenFlow 1.0 with standard matches, without a table number.
    pub const OF10_STD: Self = Self(1);
    /// OpenFlow 1.0 with standard matches and a table number.
    pub(super) const OF10_STD_TID: Self = Self(1 << 1);
    /// OpenFlow 1.0 with extensible matches (NXM), without a table number.
    pub const NXM: Self = Self(1 << 2);
    /// OpenFlow 1.0 with extensible matches (NXM) and a table number.
    pub const NXM_TID: Self = Self(1 << 3);
    /// OpenFlow 1.1, whose matches are not extensible.
    pub(super) const OF11: Self = Self(1 << 4);
    /// OpenFlow 1.3, 1.4 and 1.5.
    pub const OF13_UP: Self = Self(0b111 << 6);
    /// The formats with OXM matches: OpenFlow 1.2 to 1.5.
    pub(super) const OXM: Self = Self(0b1111 << 5);
    /// All nine formats: nothing of the rule restricts the set.
    pub const ANY: Self = Self(0b1_1111_1111);

    /// The four formats of OpenFlow 1.0.
    pub(super) const OF10: Self = Self(0b1111);
    /// The formats with extensible matches, NXM or OXM.
    pub const NXM_OXM: Self = Self(0b1100 | Self::OXM.0);
    /// Every format except those of OpenFlow 1.0 with standard matches.
    pub(super) const NXM_OF11_UP: Self = Self(Self::NXM_OXM.0 | Self::OF11.0);
    /// The formats of OpenFlow 1.1 to 1.5.
    pub(super) const OF11_UP: Self = Self(Self::OXM.0 | Self::OF11.0);
    /// The formats that carry a table number.
    pub(super) const WITH_TABLE: Self =
        Self(Self::OF10_STD_TID.0 | Self::NXM_TID.0 | Self::OF11_UP.0);

    /// The formats of messages of one OpenFlow version.
    pub fn of_version(version: OfVersion) -> Self {
        match version {
            OfVersion::OpenFlow10 => Self::OF10,
            OfVersion::OpenFlow11 => Self::OF11,
            OfVersion::OpenFlow12 => Self(1 << 5),
            OfVersion::OpenFlow13 => Self(1 << 6),
            OfVersion::OpenFlow14 => Self(1 << 7),
            OfVersion::OpenFlow15 => Self(1 << 8),
        }
    }

    /// The formats of messages of several OpenFlow versions.
    pub fn of_versions(versions: impl IntoIterator<Item = OfVersion>) -> Self {
        versions.into_iter().fold(Self(0), |set, version| Self(set.0 | Self::of_version(version).0))
    }

    /// The formats that are in both sets.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the set has no format: no message can carry the rule.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The format of the set that Open vSwitch prefers, as a set of one; `None` if the set is empty.
    pub fn first(self) -> Option<Self> {
        (self.0 != 0).then(|| Self(1 << self.0.trailing_zeros()))
    }

    /// For a set of one format: whether its table number is an extension (`nx_flow_mod_table_id`), which dumps
    /// show even if the request names no table.
    pub fn has_explicit_table(self) -> bool {
        Self(Self::OF10_STD_TID.0 | Self::NXM_TID.0).contains(self)
    }

    /// For a set of one format: whether it is OpenFlow 1.0 with extensible matches.
    pub fn is_nxm(self) -> bool {
        Self(Self::NXM.0 | Self::NXM_TID.0).contains(self)
    }

    /// Whether the set has a format with standard matches (OpenFlow 1.0 or 1.1). Such a format is preferred.
    pub(super) fn has_standard(self) -> bool {
        self.0 & (0b11 | Self::OF11.0) != 0
    }

    /// For a set of one format: the OpenFlow version of its messages.
    pub(super) fn version(self) -> OfVersion {
        match self.0.trailing_zeros() {
            4 => OfVersion::OpenFlow11,
            5 => OfVersion::OpenFlow12,
            6 => OfVersion::OpenFlow13,
            7 => OfVersion::OpenFlow14,
            8 => OfVersion::OpenFlow15,
            _ => OfVersion::OpenFlow10,
        }
    }

    /// The formats that can carry a match on a field with this mask.
    pub(super) fn for_match(field: FieldId, masked: &Masked) -> Self {
        let def = field.def();
        let all = def.whole;
        let mask = masked.mask & all;
        // A match without bits of an option says that the packet has the option.
        if mask == 0 && !field.is_option() {
            Self::ANY
        } else if mask == all {
            Self::for_value(field)
        } else {
            Self::for_mask(field, mask)
        }
    }

    /// The formats that can carry an exact match on a field.
    pub(super) fn for_value(field: FieldId) -> Self {
        use FieldId::*;
        match field {
            InPort | EthSrc | EthDst | EthType | VlanTci | VlanVid | VlanPcp | DlVlan
            | DlVlanPcp | Ipv4Src | Ipv4Dst | IpProto | NwTos | IpDscp | ArpOp | ArpSpa
            | ArpTpa | TcpSrc | TcpDst | UdpSrc | UdpDst | IcmpType | IcmpCode => Self::ANY,
            InPortOxm | Metadata | MplsLabel | MplsTc | IpEcn | SctpSrc | SctpDst => {
                Self::NXM_OF11_UP
            }
            _ => Self::NXM_OXM,
        }
    }

    fn for_mask(field: FieldId, mask: u128) -> Self {
        use FieldId::*;
        match field {
            Ipv4Src | Ipv4Dst | ArpSpa | ArpTpa => {
                if prefix_len(mask, 32).is_some() {
                    Self::ANY
                } else {
                    Self::NXM_OF11_UP
                }
            }
            EthSrc | EthDst | Metadata => Self::NXM_OF11_UP,
            _ => Self::NXM_OXM,
        }
    }
}

/// The names of sets of several formats, in the order in which Open vSwitch prints them.
const SETS: [(Protocols, &str); 4] = [
    (Protocols::ANY, "any"),
    (Protocols(0b11), "OpenFlow10"),
    (Protocols(0b1100), "NXM"),
    (Protocols::OXM, "OXM"),
];

/// The names of the single formats; the format at index `n` is bit `n` of a set.
const SINGLE: [&str; 9] = [
    "OpenFlow10-table_id",
    "OpenFlow10+table_id",
    "NXM-table_id",
    "NXM+table_id",
    "OpenFlow11",
    "OXM-OpenFlow12",
    "OXM-OpenFlow13",
    "OXM-OpenFlow14",
    "OXM-OpenFlow15",
];

/// A name that no flow format has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a flow format: write any, OpenFlow10, NXM, OXM, {list}", list = SINGLE.join(", "))]
pub struct UnknownFormat(String);

/// Reads the names of formats and sets, separated by commas, in upper or lower case: `NXM+table_id,OXM`.
impl FromStr for Protocols {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let mut set = Self(0);
        for name in text.split(',') {
            let is_name = |known: &str| known.eq_ignore_ascii_case(name);
            let single = SINGLE.iter().position(|known| is_name(known)).map(|bit| Self(1 << bit));
            let several = SETS.iter().find(|(_, known)| is_name(known)).map(|(set, _)| *set);
            let found = single.or(several).ok_or_else(|| UnknownFormat(name.to_owned()))?;
            set.0 |= found.0;
        }
        Ok(set)
    }
}

/// Prints the set as Open vSwitch does: `any`, `none`, or names such as `NXM,OXM,OpenFlow11`.
impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = *self;
        let mut separator = "";
        if rest.is_empty() {
            return f.write_str("none");
        }
        for (set, name) in SETS {
            if rest.contains(set) {
                write!(f, "{separator}{name}")?;
                rest.0 &= !set.0;
                separator = ",";
            }
        }
        for (bit, name) in SINGLE.iter().enumerate() {
            if rest.0 >> bit & 1 != 0 {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_named_as_open_vswitch_names_them() {
        let check = |set: Protocols, expected: &str| assert_eq!(set.to_string(), expected);
        check(Protocols::ANY, "any");
        check(Protocols::WITH_TABLE, "OXM,OpenFlow10+table_id,NXM+table_id,OpenFlow11");
        check(Protocols::NXM_OF11_UP, "NXM,OXM,OpenFlow11");
        check(Protocols::OF10, "OpenFlow10,NXM");
        check(Protocols::OF13_UP, "OXM-OpenFlow13,OXM-OpenFlow14,OXM-OpenFlow15");
        check(Protocols::ANY.first().unwrap(), "OpenFlow10-table_id");
        let read = |text: &str| text.parse::<Protocols>();
        assert_eq!(read("any"), Ok(Protocols::ANY));
        assert_eq!(read("nxm+table_id,OpenFlow10").unwrap().to_string(), "OpenFlow10,NXM+table_id");
        assert_eq!(read("OXM-OpenFlow14").unwrap().version(), OfVersion::OpenFlow14);
        assert!(read("frob").is_err() && read("").is_err());
    }

    #[test]
    fn masks_need_newer_formats() {
        let prefix = Masked { value: 0, mask: 0xffffff00 };
        let holes = Masked { value: 0, mask: 0xff00ff00 };
        assert_eq!(Protocols::for_match(FieldId::Ipv4Src, &prefix), Protocols::ANY);
        assert_eq!(Protocols::for_match(FieldId::Ipv4Src, &holes), Protocols::NXM_OF11_UP);
        assert_eq!(Protocols::for_match(FieldId::TcpSrc, &prefix), Protocols::NXM_OXM);
        assert_eq!(Protocols::for_match(FieldId::Reg(0), &prefix), Protocols::NXM_OXM);
        let nothing = Masked { value: 0, mask: 0 };
        assert_eq!(Protocols::for_match(FieldId::Reg(0), &nothing), Protocols::ANY);
        let option = FieldId::from_name("tun_metadata7").unwrap();
        assert_eq!(Protocols::for_match(option, &nothing), Protocols::NXM_OXM);
    }
}
