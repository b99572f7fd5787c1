//! Which connections a command is about: those of a zone, with a mark, a label, or some addresses and ports.
//!
//! The words are those of `ovs-appctl dpctl/flush-conntrack`: `zone=N`, then a tuple of the
//! connection's first packet (`ct_nw_src=10.0.0.1,ct_nw_proto=6,ct_tp_dst=80`) and one of its
//! answers; and `mark=VALUE/MASK` and `labels=VALUE/MASK`.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use thiserror::Error;

/// Which connections somebody asks about. Each part that is given has to fit; a filter without parts fits all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CtFilter {
    /// Only connections of this zone.
    pub zone: Option<u16>,
    /// Only connections whose mark has this value in the bits of the mask.
    pub mark: Option<Masked<u32>>,
    /// Only connections whose label has this value in the bits of the mask.
    pub label: Option<Masked<u128>>,
    /// Only connections of this IP protocol.
    pub protocol: Option<u8>,
    /// What the connection's first packet has. If this is all that a packet has of the connection
    /// ([`CtEnds::is_complete`]), and nothing is said of the answers, it may be one of the answers instead.
    pub original: CtEnds,
    /// What the connection's answers have.
    pub reply: CtEnds,
}

/// A value in the bits of a mask. The value has no other bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masked<T> {
    /// The value that the connection has to have in the bits of `mask`; its other bits are 0.
    pub value: T,
    /// The bits that are compared: all ones compare the whole field.
    pub mask: T,
}

/// The parts of a tuple that have to fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CtEnds {
    /// The source address.
    pub source: Option<IpAddr>,
    /// The destination address.
    pub destination: Option<IpAddr>,
    /// The source port of TCP, UDP or SCTP.
    pub source_port: Option<u16>,
    /// The destination port of TCP, UDP or SCTP.
    pub destination_port: Option<u16>,
    /// The identifier of an ICMP or ICMPv6 query.
    pub icmp_id: Option<u16>,
    /// The type of the ICMP or ICMPv6 message.
    pub icmp_type: Option<u8>,
    /// The code of the ICMP or ICMPv6 message.
    pub icmp_code: Option<u8>,
}

impl CtEnds {
    /// Whether addresses and ports are all given, or the addresses, the identifier and the type
    /// of a query of ICMP.
    pub fn is_complete(&self) -> bool {
        let has_ports = self.source_port.is_some() && self.destination_port.is_some();
        let has_query = self.icmp_id.is_some() && self.icmp_type.is_some();
        self.source.is_some() && self.destination.is_some() && (has_ports || has_query)
    }
}

/// Words that are not a [`CtFilter`].
#[derive(Debug, Error)]
pub enum BadCtFilter {
    /// A word is none of those that a filter has.
    #[error(
        "{0:?} selects no connections: write zone=N, mark=VALUE/MASK, labels=VALUE/MASK, or a tuple such as \
         ct_nw_src=10.0.0.1,ct_nw_proto=6,ct_tp_dst=80"
    )]
    Word(String),
    /// A value does not fit its name.
    #[error("{name}: {value:?} is not {what}")]
    Value {
        /// The name in front of the value.
        name: String,
        /// The value as it was written.
        value: String,
        /// What the value should be.
        what: &'static str,
    },
    /// There is a tuple behind that of the answers.
    #[error(
        "{0:?}: there are two tuples already, that of the first packet and that of the answers"
    )]
    Tuple(String),
}

impl CtFilter {
    /// Parses the words of a command.
    ///
    /// # Errors
    ///
    /// [`BadCtFilter`] says which word is wrong.
    pub fn parse(words: &[String]) -> Result<Self, BadCtFilter> {
        let mut filter = Self::default();
        let mut tuples = 0;
        for word in words {
            match word.split_once('=') {
                Some(("zone", value)) => filter.zone = Some(number("zone", value)?),
                Some(("mark", value)) => filter.mark = Some(masked("mark", value)?),
                Some((name @ ("labels" | "label"), value)) => {
                    filter.label = Some(masked(name, value)?);
                }
                Some((name, _)) if is_of_tuple(name) => {
                    tuples += 1;
                    filter.tuple(tuples, word)?;
                }
                // An empty first tuple leaves room for that of the answers.
                None if word.is_empty() => tuples += 1,
                _ => return Err(BadCtFilter::Word(word.clone())),
            }
        }
        Ok(filter.in_default_zone())
    }

    /// The filter as Open vSwitch reads it: one with a part of a tuple is about zone 0
    /// unless it names another zone.
    #[must_use]
    pub fn in_default_zone(self) -> Self {
        let none = CtEnds::default();
        let has_tuple = self.original != none || self.reply != none || self.protocol.is_some();
        match has_tuple {
            true => Self { zone: self.zone.or(Some(0)), ..self },
            false => self,
        }
    }

    fn tuple(&mut self, nth: usize, text: &str) -> Result<(), BadCtFilter> {
        let mut protocol = self.protocol;
        let ends = match nth {
            1 => &mut self.original,
            2 => &mut self.reply,
            _ => return Err(BadCtFilter::Tuple(text.to_owned())),
        };
        for part in text.split(',') {
            let Some((name, value)) = part.split_once('=') else {
                return Err(BadCtFilter::Word(part.to_owned()));
            };
            match name {
                "ct_nw_src" => ends.source = Some(address::<Ipv4Addr>(name, value)?),
                "ct_nw_dst" => ends.destination = Some(address::<Ipv4Addr>(name, value)?),
                "ct_ipv6_src" => ends.source = Some(address::<Ipv6Addr>(name, value)?),
                "ct_ipv6_dst" => ends.destination = Some(address::<Ipv6Addr>(name, value)?),
                "ct_nw_proto" => protocol = Some(number(name, value)?),
                "ct_tp_src" => ends.source_port = Some(number(name, value)?),
                "ct_tp_dst" => ends.destination_port = Some(number(name, value)?),
                "icmp_id" => ends.icmp_id = Some(number(name, value)?),
                "icmp_type" => ends.icmp_type = Some(number(name, value)?),
                "icmp_code" => ends.icmp_code = Some(number(name, value)?),
                _ => return Err(BadCtFilter::Word(part.to_owned())),
            }
        }
        self.protocol = protocol;
        Ok(())
    }
}

fn is_of_tuple(name: &str) -> bool {
    ["ct_nw_", "ct_ipv6_", "ct_tp_", "icmp_"].iter().any(|start| name.starts_with(start))
}

fn bad(name: &str, value: &str, what: &'static str) -> BadCtFilter {
    BadCtFilter::Value { name: name.to_owned(), value: value.to_owned(), what }
}

/// A decimal or hexadecimal number.
fn digits(text: &str) -> Option<u128> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u128::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn number<T: TryFrom<u128>>(name: &str, value: &str) -> Result<T, BadCtFilter> {
    let what = match size_of::<T>() {
        1 => "a number from 0 to 255",
        _ => "a number from 0 to 65535",
    };
    digits(value).and_then(|n| T::try_from(n).ok()).ok_or_else(|| bad(name, value, what))
}

/// `VALUE` or `VALUE/MASK`.
fn masked<T>(name: &str, text: &str) -> Result<Masked<T>, BadCtFilter>
where
    T: TryFrom<u128> + Copy + std::ops::BitAnd<Output = T> + std::ops::Not<Output = T>,
{
    let (value, mask) =
        text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
    let parse = |text| digits(text).and_then(|n| T::try_from(n).ok());
    let zero = T::try_from(0).ok();
    let mask = mask.map_or_else(|| zero.map(|zero| !zero), parse);
    match (parse(value), mask) {
        (Some(value), Some(mask)) => Ok(Masked { value: value & mask, mask }),
        _ => Err(bad(name, text, "VALUE or VALUE/MASK")),
    }
}

fn address<T: FromStr + Into<IpAddr>>(name: &str, value: &str) -> Result<IpAddr, BadCtFilter> {
    value.parse::<T>().map(Into::into).map_err(|_| bad(name, value, "an address of this kind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<CtFilter, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        CtFilter::parse(&words).map_err(|e| e.to_string())
    }

    #[test]
    fn words_select_connections() {
        assert_eq!(parse(&[]), Ok(CtFilter::default()));
        let filter = parse(&["zone=5", "mark=0xff/0xf", "labels=2"]).unwrap();
        assert_eq!(filter.zone, Some(5));
        assert_eq!(filter.mark, Some(Masked { value: 0xf, mask: 0xf }));
        assert_eq!(filter.label, Some(Masked { value: 2, mask: u128::MAX }));
        let filter = parse(&["ct_nw_src=10.0.0.1,ct_nw_proto=6,ct_tp_dst=80"]).unwrap();
        assert_eq!((filter.zone, filter.protocol), (Some(0), Some(6)));
        assert_eq!(filter.original.source, Some(Ipv4Addr::new(10, 0, 0, 1).into()));
        assert_eq!(filter.original.destination_port, Some(80));
        let filter = parse(&["zone=7", "", "ct_ipv6_dst=fe80::1,icmp_type=129"]).unwrap();
        assert_eq!((filter.zone, filter.original), (Some(7), CtEnds::default()));
        assert_eq!(filter.reply.icmp_type, Some(129));
    }

    #[test]
    fn what_selects_nothing_is_told() {
        for (words, part) in [
            (&["frob"][..], "\"frob\" selects no connections"),
            (&["zone=70000"], "zone: \"70000\" is not a number from 0 to 65535"),
            (&["ct_nw_src=fe80::1"], "ct_nw_src: \"fe80::1\" is not an address of this kind"),
            (&["ct_nw_src=1.2.3.4,frob=1"], "\"frob=1\" selects no connections"),
            (&["mark=1/x"], "mark: \"1/x\" is not VALUE or VALUE/MASK"),
            (&["", "", "ct_nw_proto=1"], "there are two tuples already"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }
}
