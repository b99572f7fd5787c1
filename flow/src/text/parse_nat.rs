//! Parses the arguments of `nat(...)` within `ct(...)`.

use super::error::{Fault, TextError};
use super::number;
use super::pairs::{Delimiter, Pair, Pairs};
use crate::nat::{Nat, NatAddresses, NatPorts, NatRange, PortChoice};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Parses `nat` or `nat(...)`, a part of `text`.
pub(super) fn nat(text: &str, pair: &Pair<'_>) -> Result<Nat, TextError> {
    let (mut source, mut destination) = (None, None);
    let (mut is_persistent, mut is_hash, mut is_random) = (false, false, false);
    for argument in Pairs::new(pair.value) {
        let is_alone = argument.delimiter == Delimiter::None;
        let range = || range(argument.value).map_err(|f| TextError::at(text, argument.whole, f));
        match argument.key {
            "src" => source = Some(range()?),
            "dst" => destination = Some(range()?),
            "persistent" if is_alone => is_persistent = true,
            "hash" if is_alone => is_hash = true,
            "random" if is_alone => is_random = true,
            key => {
                let fault = Fault::new(format!("nat: there is no argument {key:?}"))
                    .hint("the arguments are src, dst, persistent, hash and random");
                return Err(TextError::at(text, argument.whole, fault));
            }
        }
    }
    let fault = |fault| Err(TextError::at(text, pair.whole, fault));
    let choice = match (is_hash, is_random) {
        (true, true) => {
            return fault(Fault::new("nat: a port is chosen by hash or at random, not both"));
        }
        (true, false) => PortChoice::Hash,
        (false, true) => PortChoice::Random,
        (false, false) => PortChoice::Any,
    };
    let with_flags = |range: NatRange| NatRange { is_persistent, choice, ..range };
    match (source, destination) {
        (Some(_), Some(_)) => fault(
            Fault::new("nat: src and dst cannot stand together")
                .hint("translate the source in one ct, and the destination in another"),
        ),
        (Some(range), None) => Ok(Nat::Source(with_flags(range))),
        (None, Some(range)) => Ok(Nat::Destination(with_flags(range))),
        (None, None) if is_persistent || choice != PortChoice::Any => fault(
            Fault::new("nat: persistent, hash and random need src or dst")
                .hint("write nat(src=ADDRESS,random), for example"),
        ),
        (None, None) => Ok(Nat::Known),
    }
}

/// `ADDRESS[-ADDRESS][:PORT[-PORT]]`, with brackets around an IPv6 address that ports follow. May be empty.
fn range(text: &str) -> Result<NatRange, Fault> {
    if text.is_empty() {
        return Ok(NatRange::default());
    }
    let fault = |what: &str| {
        Fault::new(format!("nat: {text:?} {what}"))
            .hint("write 192.0.2.1-192.0.2.9:1024-65535 or [2001:db8::1]-[2001:db8::9]:1024-65535")
    };
    let is_ipv6 = text.starts_with('[') || text.matches(':').count() > 1;
    let (addresses, ports) = match is_ipv6 {
        false => text.split_once(':').map_or((text, None), |(a, p)| (a, Some(p))),
        true => match text.rsplit_once(']') {
            None => (text, None),
            Some((_, "")) => (text, None),
            Some((before, behind)) => {
                let ports = behind.strip_prefix(':').ok_or_else(|| fault("is not a range"))?;
                (&text[..before.len() + 1], Some(ports))
            }
        },
    };
    let (first, last) = addresses.split_once('-').unwrap_or((addresses, addresses));
    let addresses = if is_ipv6 {
        let parse = |text: &str| {
            let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            inner.unwrap_or(text).parse::<Ipv6Addr>().map_err(|_| fault("has no IPv6 address"))
        };
        let (first, last) = (parse(first)?, parse(last)?);
        (first <= last).then_some(NatAddresses::Ipv6(first, last))
    } else {
        let parse = |text: &str| text.parse::<Ipv4Addr>().map_err(|_| fault("has no IPv4 address"));
        let (first, last) = (parse(first)?, parse(last)?);
        (first <= last).then_some(NatAddresses::Ipv4(first, last))
    };
    let Some(addresses) = addresses else {
        return Err(fault("has its last address before the first"));
    };
    let ports = ports.map(|text| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        match first <= last {
            true => Ok(NatPorts { first, last }),
            false => Err(fault("has its last port before the first")),
        }
    });
    let ports = ports.transpose()?;
    // The address of zeros is written for no address at all, which messages can say only without ports.
    let addresses = Some(addresses).filter(|a| ports.is_some() || !a.is_unspecified());
    Ok(NatRange { addresses, ports, ..NatRange::default() })
}

fn port(text: &str) -> Result<u16, Fault> {
    match number::at_most(text, u16::MAX.into()).map_err(|fault| fault.of("nat"))? as u16 {
        0 => Err(Fault::new("nat: 0 is not a port").hint("ports go from 1 to 65535")),
        port => Ok(port),
    }
}
