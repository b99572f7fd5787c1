//! Nicira's requests to forget connections (`NXT_CT_FLUSH_ZONE`, `NXT_CT_FLUSH`).

use crate::error::ErrorCode;
use crate::group::decode_property;
use crate::input::Input;
use crate::output::Encoder;
use flow::ct_filter::{CtEnds, CtFilter};
use std::net::{IpAddr, Ipv6Addr};

/// The IP protocols whose tuples have identifiers in place of ports.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// A request to forget the connections of one zone (`NXT_CT_FLUSH_ZONE`), or
/// those that properties describe (`NXT_CT_FLUSH`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CtFlush {
    /// Every connection of a zone.
    Zone(u16),
    /// The connections that agree with all of this.
    Matching {
        /// The IP protocol; 0 for every one.
        protocol: u8,
        /// The properties with their values, in the order of the message: tuples of
        /// addresses and ports, a zone.
        properties: Vec<(u16, Vec<u8>)>,
    },
}

/// The types of properties (`NXT_CT_*`): the tuple of the first direction, that of replies, and the zone.
const PROPERTIES: std::ops::RangeInclusive<u16> = 0..=2;

/// The types of the properties inside a tuple (`NXT_CT_TUPLE_*`).
mod part {
    pub(super) const SOURCE: u16 = 0;
    pub(super) const DESTINATION: u16 = 1;
    pub(super) const SOURCE_PORT: u16 = 2;
    pub(super) const DESTINATION_PORT: u16 = 3;
    pub(super) const ICMP_ID: u16 = 4;
    pub(super) const ICMP_TYPE: u16 = 5;
    pub(super) const ICMP_CODE: u16 = 6;
}

impl CtFlush {
    /// Which connections the request is about.
    ///
    /// # Errors
    ///
    /// The error that the sender gets if a property is smaller than its type wants, or if addresses of IPv4 and
    /// of IPv6 come together.
    pub fn filter(&self) -> Result<CtFilter, ErrorCode> {
        let (protocol, properties) = match self {
            Self::Zone(zone) => {
                return Ok(CtFilter { zone: Some(*zone), ..CtFilter::default() });
            }
            Self::Matching { protocol, properties } => (*protocol, properties),
        };
        let is_icmp = matches!(protocol, ICMP | ICMPV6);
        let protocol = Some(protocol).filter(|protocol| *protocol != 0);
        let mut filter = CtFilter { protocol, ..CtFilter::default() };
        let mut is_v4 = None;
        for (kind, value) in properties {
            let value = Input::new(value, ErrorCode::BadPropertyLength);
            match kind {
                0 => filter.original = ends(value, is_icmp, &mut is_v4)?,
                1 => filter.reply = ends(value, is_icmp, &mut is_v4)?,
                _ => filter.zone = Some(number(value)?),
            }
        }
        Ok(filter.in_default_zone())
    }

    pub(crate) fn put(&self, out: &mut Encoder) {
        match self {
            Self::Zone(zone) => {
                out.zeros(6);
                out.u16(*zone);
            }
            Self::Matching { protocol, properties } => {
                out.u8(*protocol);
                out.zeros(7);
                for (kind, value) in properties {
                    let start = out.len();
                    out.u16(*kind);
                    out.u16((4 + value.len()) as u16);
                    out.bytes(value);
                    out.pad(start);
                }
            }
        }
    }

    pub(crate) fn decode_zone(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let zeros: [u8; 6] = input.array()?;
        let zone = input.u16()?;
        match (zeros == [0; 6], input.is_empty()) {
            (_, false) => Err(ErrorCode::BadLength),
            (false, _) => Err(ErrorCode::MustBeZero),
            (true, true) => Ok(Self::Zone(zone)),
        }
    }

    pub(crate) fn decode_matching(mut input: Input<'_>) -> Result<Self, ErrorCode> {
        let protocol = input.u8()?;
        let zeros: [u8; 7] = input.array()?;
        if zeros != [0; 7] {
            return Err(ErrorCode::MustBeZero);
        }
        let mut properties = Vec::new();
        while !input.is_empty() {
            let (kind, value) = decode_property(&mut input)?;
            // As in Open vSwitch, a property that is not known says nothing.
            if PROPERTIES.contains(&kind) {
                properties.push((kind, value.rest().to_vec()));
            }
        }
        Ok(Self::Matching { protocol, properties })
    }
}

/// Reads the properties of a tuple. An address or a port of zeros is none, and so is what an ICMP tuple without
/// addresses says if that is zeros only: `ovs-ofctl` sends such a tuple where its user names none. `is_v4` says
/// whether the addresses before are those of IPv4; `None` if there are none.
fn ends(
    mut input: Input<'_>,
    is_icmp: bool,
    is_v4: &mut Option<bool>,
) -> Result<CtEnds, ErrorCode> {
    let mut ends = CtEnds::default();
    // The properties inside begin at a multiple of 8 bytes, behind 4 bytes of padding.
    input.skip(4)?;
    while !input.is_empty() {
        let (kind, value) = decode_property(&mut input)?;
        let mut address = |value| -> Result<Option<IpAddr>, ErrorCode> {
            let address = Ipv6Addr::from(front::<16>(value)?);
            // IPv4 addresses are mapped into IPv6 ones (RFC 4291 §2.5.5.2).
            let v4 = address.to_ipv4_mapped().map(IpAddr::from);
            if !address.is_unspecified() && *is_v4.get_or_insert(v4.is_some()) != v4.is_some() {
                return Err(ErrorCode::BadPropertyValue);
            }
            Ok(Some(v4.unwrap_or(address.into())).filter(|address| !address.is_unspecified()))
        };
        let port = |value| number(value).map(|port| Some(port).filter(|port| *port != 0));
        match kind {
            part::SOURCE => ends.source = address(value)?,
            part::DESTINATION => ends.destination = address(value)?,
            part::SOURCE_PORT => ends.source_port = port(value)?,
            part::DESTINATION_PORT => ends.destination_port = port(value)?,
            part::ICMP_ID if is_icmp => ends.icmp_id = Some(number(value)?),
            part::ICMP_TYPE if is_icmp => ends.icmp_type = Some(front::<1>(value)?[0]),
            part::ICMP_CODE if is_icmp => ends.icmp_code = Some(front::<1>(value)?[0]),
            // As in Open vSwitch: what does not belong to the protocol, or is not known, says nothing.
            _ => {}
        }
    }
    let zeros =
        CtEnds { icmp_id: Some(0), icmp_type: Some(0), icmp_code: Some(0), ..CtEnds::default() };
    Ok(if ends == zeros { CtEnds::default() } else { ends })
}

/// The number of two bytes at the front of a property.
fn number(value: Input<'_>) -> Result<u16, ErrorCode> {
    Ok(u16::from_be_bytes(front(value)?))
}

/// The first `N` bytes of a property. Like Open vSwitch, this does not mind what follows:
/// some senders count the padding.
fn front<const N: usize>(mut input: Input<'_>) -> Result<[u8; N], ErrorCode> {
    input.array().map_err(|_| ErrorCode::BadPropertyLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ovs-ofctl 3.1 sends for words behind `ct-flush`, from behind the message's header on.
    const SENT: &[(&[&str], &str)] = &[
        (&[], "0000000000000000"),
        (
            &[
                "zone=5",
                "ct_nw_src=10.0.0.1,ct_nw_dst=10.0.0.2,ct_nw_proto=6,ct_tp_src=1000,ct_tp_dst=80",
                "ct_nw_src=1.1.1.1",
            ],
            "0600000000000000\
             0000004800000000\
             0000001400000000000000000000ffff0a00000100000000\
             0001001400000000000000000000ffff0a00000200000000\
             0002000803e80000\
             0003000800500000\
             0001002000000000\
             0000001400000000000000000000ffff0101010100000000\
             0002000800050000",
        ),
        (
            &["ct_ipv6_src=fe80::1,ct_nw_proto=58,icmp_type=128,icmp_code=1,icmp_id=10"],
            "3a00000000000000\
             0000003800000000\
             00000014fe80000000000000000000000000000100000000\
             00040008000a0000\
             0005000580000000\
             0006000501000000\
             0001002000000000\
             0004000800000000\
             0005000500000000\
             0006000500000000",
        ),
    ];

    #[test]
    fn requests_of_ovs_ofctl_select_what_their_words_say() {
        for (words, hex) in SENT {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let expected = CtFilter::parse(&words).expect("a filter");
            let request = CtFlush::decode_matching(Input::new(&bytes, ErrorCode::BadLength))
                .expect("a request");
            assert_eq!(request.filter(), Ok(expected), "{words:?}");
        }
    }

    /// The properties of a tuple with these addresses.
    fn tuple(addresses: &[(u16, &str)]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        for (kind, address) in addresses {
            let address: Ipv6Addr = address.parse().unwrap();
            bytes.extend(kind.to_be_bytes().into_iter().chain([0, 20]));
            bytes.extend(address.octets().into_iter().chain([0; 4]));
        }
        bytes
    }

    #[test]
    fn addresses_of_two_families_do_not_go_together() {
        let request = |properties| CtFlush::Matching { protocol: 6, properties };
        let check = |tuples: Vec<Vec<u8>>, is_sound: bool| {
            let filter = request((0..).zip(tuples).collect()).filter();
            assert_eq!(filter.is_ok(), is_sound, "{filter:?}");
            assert!(is_sound || filter == Err(ErrorCode::BadPropertyValue));
        };
        check(vec![tuple(&[(0, "::ffff:10.0.0.1"), (1, "::ffff:10.0.0.2")])], true);
        check(vec![tuple(&[(0, "::ffff:10.0.0.1"), (1, "fe80::2")])], false);
        check(vec![tuple(&[(0, "::ffff:10.0.0.1")]), tuple(&[(1, "fe80::2")])], false);
        check(vec![tuple(&[(0, "fe80::1"), (1, "::")]), tuple(&[(1, "fe80::2")])], true);
    }

    #[test]
    fn a_part_of_a_tuple_that_is_not_known_says_nothing() {
        let property = vec![0, 0, 0, 0, 0, 9, 0, 8, 1, 2, 3, 4];
        let request = CtFlush::Matching { protocol: 6, properties: vec![(0, property)] };
        assert_eq!(request.filter().map(|filter| filter.original), Ok(CtEnds::default()));
    }

    #[test]
    fn a_property_that_is_not_known_says_nothing() {
        let bytes = [17, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 8, 1, 2, 3, 4, 0, 2, 0, 8, 0, 5, 0, 0];
        let request = CtFlush::decode_matching(Input::new(&bytes, ErrorCode::BadLength));
        let expected = CtFlush::Matching { protocol: 17, properties: vec![(2, vec![0, 5, 0, 0])] };
        assert_eq!(request, Ok(expected));
    }

    #[test]
    fn a_property_that_is_too_small_is_an_error() {
        let property = |kind, value: &[u8]| CtFlush::Matching {
            protocol: 6,
            properties: vec![(kind, value.to_vec())],
        };
        assert_eq!(property(2, &[0]).filter(), Err(ErrorCode::BadPropertyLength));
        assert!(property(2, &[0, 5]).filter().is_ok());
        assert!(property(2, &[0, 5, 0, 0, 0, 0, 0, 0]).filter().is_ok());
        let port_of_one_byte = [0, 0, 0, 0, 0, 2, 0, 5, 9, 0, 0, 0];
        assert_eq!(property(0, &port_of_one_byte).filter(), Err(ErrorCode::BadPropertyLength));
    }
}
