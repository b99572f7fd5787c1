//! Translation of addresses (`NXAST_NAT`), which stands in front of the other actions of `NXAST_CT`.
//!
//! Behind the subtype are two bytes of zero, two of flags, and two that say which of the following there are:
//! the first and the last IPv4 address, the first and the last IPv6 address, the first and the last port. The
//! last of a pair is left out if it is the first. Zeros fill the action up to eight bytes.

use super::number::{nx, of};
use crate::error::ErrorCode;
use crate::input::{Input, VENDOR_NICIRA};
use crate::output::Encoder;
use flow::nat::{Nat, NatAddresses, NatPorts, NatRange, PortChoice};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The flags, `NX_NAT_F_*`.
mod flag {
    pub(super) const SRC: u16 = 1;
    pub(super) const DST: u16 = 2;
    pub(super) const PERSISTENT: u16 = 4;
    pub(super) const HASH: u16 = 8;
    pub(super) const RANDOM: u16 = 16;
    pub(super) const ALL: u16 = 31;
}

/// What there is, `NX_NAT_RANGE_*`.
mod present {
    pub(super) const IPV4_MIN: u16 = 1;
    pub(super) const IPV4_MAX: u16 = 2;
    pub(super) const IPV6_MIN: u16 = 4;
    pub(super) const IPV6_MAX: u16 = 8;
    pub(super) const PORT_MIN: u16 = 16;
    pub(super) const PORT_MAX: u16 = 32;
    pub(super) const ALL: u16 = 63;
}

/// Writes the action.
pub(super) fn put(out: &mut Encoder, nat: &Nat) {
    let start = out.len();
    out.u16(of::EXPERIMENTER);
    out.u16(0);
    out.u32(VENDOR_NICIRA);
    out.u16(nx::NAT);
    out.zeros(2);
    let range = nat.range().copied().unwrap_or_default();
    let kind = match nat {
        Nat::Known => 0,
        Nat::Source(_) => flag::SRC,
        Nat::Destination(_) => flag::DST,
    };
    let choice = match range.choice {
        PortChoice::Any => 0,
        PortChoice::Hash => flag::HASH,
        PortChoice::Random => flag::RANDOM,
    };
    out.u16(kind | choice | if range.is_persistent { flag::PERSISTENT } else { 0 });
    let present_at = out.len();
    let mut there = 0;
    out.u16(0);
    match range.addresses {
        Some(NatAddresses::Ipv4(first, last)) => {
            there |= present::IPV4_MIN;
            out.bytes(&first.octets());
            if last != first {
                there |= present::IPV4_MAX;
                out.bytes(&last.octets());
            }
        }
        Some(NatAddresses::Ipv6(first, last)) => {
            there |= present::IPV6_MIN;
            out.bytes(&first.octets());
            if last != first {
                there |= present::IPV6_MAX;
                out.bytes(&last.octets());
            }
        }
        None => {}
    }
    if let Some(NatPorts { first, last }) = range.ports {
        there |= present::PORT_MIN;
        out.u16(first);
        if last != first {
            there |= present::PORT_MAX;
            out.u16(last);
        }
    }
    out.set_u16(present_at, there);
    out.pad(start);
    out.set_len(start + 2, start);
}

/// Reads the action if the list begins with it.
pub(super) fn decode(list: &mut Input<'_>) -> Result<Option<Nat>, ErrorCode> {
    let mut ahead = *list;
    let (kind, len) = (ahead.u16(), ahead.u16().map(usize::from));
    let (vendor, subtype) = (ahead.u32(), ahead.u16());
    let is_nat =
        kind == Ok(of::EXPERIMENTER) && vendor == Ok(VENDOR_NICIRA) && subtype == Ok(nx::NAT);
    let Some(len) = len.ok().filter(|_| is_nat) else { return Ok(None) };
    if len > list.len() || len < 16 || !len.is_multiple_of(8) {
        return Err(ErrorCode::BadActionLength);
    }
    let mut input = list.part(len, ErrorCode::BadActionLength)?;
    input.skip(12)?;
    let (flags, there) = (input.u16()?, input.u16()?);
    let has = |bits: u16, bit: u16| bits & bit != 0;
    let is_odd = has(flags, flag::SRC) && has(flags, flag::DST)
        || has(flags, flag::HASH) && has(flags, flag::RANDOM)
        || flags & !flag::ALL != 0
        || there & !present::ALL != 0
        || has(there, present::IPV4_MAX) && !has(there, present::IPV4_MIN)
        || has(there, present::IPV6_MAX) && !has(there, present::IPV6_MIN)
        || has(there, present::PORT_MAX) && !has(there, present::PORT_MIN)
        || has(there, present::IPV4_MIN) && has(there, present::IPV6_MIN);
    let has_address = has(there, present::IPV4_MIN | present::IPV6_MIN);
    if is_odd || has(there, present::PORT_MIN) && !has_address {
        return Err(ErrorCode::BadArgument);
    }
    let addresses = if has(there, present::IPV4_MIN) {
        let first = Ipv4Addr::from(input.array::<4>()?);
        let has_last = has(there, present::IPV4_MAX);
        let last = if has_last { Ipv4Addr::from(input.array::<4>()?) } else { first };
        Some(NatAddresses::Ipv4(first, last)).filter(|_| first <= last)
    } else if has(there, present::IPV6_MIN) {
        let first = Ipv6Addr::from(input.array::<16>()?);
        let has_last = has(there, present::IPV6_MAX);
        let last = if has_last { Ipv6Addr::from(input.array::<16>()?) } else { first };
        Some(NatAddresses::Ipv6(first, last)).filter(|_| first <= last)
    } else {
        None
    };
    let ports = if has(there, present::PORT_MIN) {
        let first = input.u16()?;
        let last = if has(there, present::PORT_MAX) { input.u16()? } else { first };
        Some(NatPorts { first, last }).filter(|_| first != 0 && first <= last)
    } else {
        None
    };
    if addresses.is_some() != has_address || ports.is_some() != has(there, present::PORT_MIN) {
        return Err(ErrorCode::BadArgument);
    }
    let choice = match (has(flags, flag::HASH), has(flags, flag::RANDOM)) {
        (true, _) => PortChoice::Hash,
        (_, true) => PortChoice::Random,
        _ => PortChoice::Any,
    };
    let range = NatRange { addresses, ports, is_persistent: has(flags, flag::PERSISTENT), choice };
    match (has(flags, flag::SRC), has(flags, flag::DST)) {
        (true, _) => Ok(Some(Nat::Source(range))),
        (_, true) => Ok(Some(Nat::Destination(range))),
        _ if flags == 0 && there == 0 => Ok(Some(Nat::Known)),
        _ => Err(ErrorCode::BadArgument),
    }
}
