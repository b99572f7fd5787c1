//! Parses values of fields: `10.0.0.0/8`, `0x1000/0x1000`, `+syn-ack`, `later`.
//!
//! Strict parsing refuses values that do not fit, and one-bits that would be dropped: those outside a mask or
//! behind a prefix length (`10.0.0.1/24`), and those that the field does not have. Lenient parsing does as Open
//! vSwitch 3.1, which drops such bits, cuts numbers off and lets octets wrap.

use super::error::Fault;
use super::port::{self, PortNames};
use super::printable::quoted;
use super::{number, print, words};
use crate::fields::{FieldDef, FieldId, TextForm, ones};
use crate::key::frag;

/// A value and its mask, right-aligned. Bits of the value outside the mask may be one, and mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Masked {
    pub(super) value: u128,
    pub(super) mask: u128,
}

/// Parses `VALUE[/MASK]` of a field, or `*`, which stands for any value.
pub(super) fn parse(
    field: FieldId,
    text: &str,
    names: &dyn PortNames,
    lenient: bool,
) -> Result<Masked, Fault> {
    let def = field.def();
    if text == "*" {
        return Ok(Masked { value: 0, mask: 0 });
    }
    // An option without a value is one that the packet has, whatever it says.
    if text.is_empty() && !lenient && !field.is_option() {
        return Err(Fault::new("a value is missing"));
    }
    // In Open vSwitch, a field without a value matches anything.
    let text = if text.is_empty() { "0/0" } else { text };
    let reader = Reader { field, def, text, lenient };
    let masked = match def.form {
        TextForm::Decimal | TextForm::Hexadecimal => reader.integer(),
        TextForm::Port | TextForm::Port32 => reader.port(names),
        TextForm::Ipv4 => reader.ipv4(),
        TextForm::Ipv6 => reader.ipv6(),
        TextForm::Ethernet => reader.ethernet(),
        TextForm::Frag => reader.frag(),
        TextForm::TcpFlags => reader.flags(&TCP_FLAGS),
        TextForm::CtState => reader.flags(&CT_STATES),
        TextForm::TunFlags => reader.flags(&TUN_FLAGS),
    }?;
    reader.check_mask(masked)
}

struct Reader<'a> {
    field: FieldId,
    def: &'static FieldDef,
    text: &'a str,
    lenient: bool,
}

impl Reader<'_> {
    fn bytes_mask(&self) -> u128 {
        self.def.whole
    }

    fn check_mask(&self, masked: Masked) -> Result<Masked, Fault> {
        let Masked { value, mask } = masked;
        // As in Open vSwitch, even a mask of exactly the field's bits is refused if it is not
        // a mask of whole bytes.
        let is_partial = mask != 0 && mask != self.bytes_mask();
        if is_partial && !self.def.maskable {
            return Err(Fault::new("the field takes no mask").hint("give the value alone"));
        }
        Ok(Masked { value, mask })
    }

    fn integer(&self) -> Result<Masked, Fault> {
        if self.lenient {
            return self.lenient_integer();
        }
        let (value, mask) = split_mask(self.text);
        let max = match self.field {
            // `OFP_VLAN_NONE` of OpenFlow 1.0, which selects untagged frames.
            FieldId::DlVlan if value == "0xffff" || value == "65535" => 0xffff,
            FieldId::VlanVid => self.def.legal,
            _ => ones(self.def.bits),
        };
        let number =
            number::at_most(value, max).map_err(|fault| match number::range(self.text) {
                Some((first, last)) if u128::from(last) <= max => self.range(first, last),
                _ => fault,
            })?;
        let mask = match mask {
            Some(mask) => number::at_most(mask, self.bytes_mask())?,
            None => self.bytes_mask(),
        };
        self.check_bits(value, number, mask)?;
        Ok(Masked { value: number, mask })
    }

    /// The fault of a range of values, `80-90`, which no match can have. The hint gives matches that cover the
    /// range together, with as few rules as masks allow.
    fn range(&self, first: u64, last: u64) -> Fault {
        /// How many matches the hint gives at most.
        const MOST_SHOWN: usize = 8;
        let fault =
            Fault::new(format!("{} is a range, and a match has one value", quoted(self.text)));
        if (first, u128::from(last)) == (0, ones(self.def.bits)) {
            return fault.hint("leave it out to match every value");
        }
        let name = self.def.name;
        if !self.def.maskable {
            return fault.hint(format!("write one rule for each value, from {name}={first}"));
        }
        let (mut next, last) = (u128::from(first), u128::from(last));
        let mut matches = Vec::new();
        while next <= last && matches.len() < MOST_SHOWN {
            // The largest block of values that begins here, has a mask and ends within the range.
            let room = (last - next + 1).ilog2();
            let bits = next.trailing_zeros().min(room) as u16;
            let mask = self.bytes_mask() & !ones(bits);
            matches.push(match bits {
                0 => format!("{name}={next}"),
                _ => format!("{name}={next}/{mask:#x}"),
            });
            next += ones(bits) + 1;
        }
        let more = if next <= last { " and so on" } else { "" };
        fault.hint(format!("write a rule for each of {}{more}", matches.join(", ")))
    }

    /// Refuses a value with one-bits that would be dropped, or with bits that mean "untagged" by accident.
    fn check_bits(&self, text: &str, value: u128, mask: u128) -> Result<(), Fault> {
        if value & !mask != 0 {
            let mut kept = String::new();
            print::value(&mut kept, self.field, value & mask, mask, &port::NoPortNames);
            return Err(outside_mask(text, &kept));
        }
        match self.field {
            FieldId::NwTos if value & 3 != 0 => {
                Err(Fault::new(format!("{text} has ECN bits, which nw_tos does not match"))
                    .hint(format!("write nw_tos={},nw_ecn={}", value & 0xfc, value & 3)))
            }
            FieldId::ArpOp if value > 0xff => {
                Err(Fault::new(format!("{text} is too large")).hint("the largest value is 255"))
            }
            FieldId::VlanTci if value != 0 && value & 0x1000 == 0 && mask & 0x1000 != 0 => {
                Err(Fault::new(format!("{text} without the bit 0x1000 says \"untagged\"")).hint(
                    format!("write {:#06x} for a tagged frame, or vlan_tci=0", value | 0x1000),
                ))
            }
            FieldId::VlanVid if value != 0 && value & 0x1000 == 0 && mask & 0x1000 != 0 => {
                Err(Fault::new(format!("{text} without the bit 0x1000 says \"untagged\""))
                    .hint(format!("write dl_vlan={value}")))
            }
            _ => Ok(()),
        }
    }

    fn lenient_integer(&self) -> Result<Masked, Fault> {
        let bytes = self.def.wire_len();
        let bad = || Fault::new(format!("{:?} is not a value for {}", self.text, self.def.name));
        let (value, rest) = number::field_bytes(self.text, bytes).ok_or_else(bad)?;
        let mask = match rest.strip_prefix('/') {
            Some(rest) => match number::field_bytes(rest, bytes) {
                Some((mask, "")) => mask,
                _ => return Err(bad()),
            },
            None if rest.is_empty() => self.bytes_mask(),
            None => return Err(bad()),
        };
        // `ovs-ofctl` accepts such a flow label and Open vSwitch's switch refuses it.
        if self.field == FieldId::Ipv6Label && value & mask & !self.def.legal != 0 {
            return Err(bad());
        }
        Ok(Masked { value, mask })
    }

    fn port(&self, names: &dyn PortNames) -> Result<Masked, Fault> {
        let port = port::parse(self.text, names, self.lenient)?;
        let value = match self.def.form {
            TextForm::Port32 if port.0 >= 0xff00 => 0xffff_0000 | port.0 as u128,
            _ => port.0.into(),
        };
        Ok(Masked { value, mask: self.bytes_mask() })
    }

    fn ipv4(&self) -> Result<Masked, Fault> {
        let bad = || Fault::new(format!("{} is not an IPv4 address or prefix", quoted(self.text)));
        let (value, rest) = ipv4_and_rest(self.text.as_bytes(), self.lenient).ok_or_else(bad)?;
        let (address, rest) = self.text.split_at(self.text.len() - rest.len());
        let mask = match rest.strip_prefix('/') {
            None if rest.is_empty() => u32::MAX,
            None => return Err(bad()),
            Some(bits) if !bits.bytes().any(|b| b == b'.') => {
                prefix(bits, 32).map(|n| !low_bits(n, 32) as u32)?
            }
            Some(mask) => ipv4(mask, self.lenient).ok_or_else(bad)?,
        };
        if !self.lenient {
            self.check_bits(address, value.into(), mask.into())?;
        }
        Ok(Masked { value: value.into(), mask: mask.into() })
    }

    fn ipv6(&self) -> Result<Masked, Fault> {
        let bad = || Fault::new(format!("{} is not an IPv6 address or prefix", quoted(self.text)));
        let parse = |text: &str| text.parse::<std::net::Ipv6Addr>().map(u128::from);
        let (address, mask) = split_mask(self.text);
        let value = parse(address).map_err(|_| bad())?;
        let mask = match mask {
            None => u128::MAX,
            Some(bits) if !bits.contains(':') => prefix(bits, 128).map(|n| !low_bits(n, 128))?,
            Some(mask) => parse(mask).map_err(|_| bad())?,
        };
        if !self.lenient {
            self.check_bits(address, value, mask)?;
        }
        Ok(Masked { value, mask })
    }

    fn ethernet(&self) -> Result<Masked, Fault> {
        let bad = || Fault::new(format!("{} is not an Ethernet address", quoted(self.text)));
        let (address, mask) = split_mask(self.text);
        let value = mac(address, self.lenient).ok_or_else(bad)?;
        let mask = match mask {
            None => ones(48),
            Some(mask) => mac(mask, self.lenient).ok_or_else(bad)?.into(),
        };
        if !self.lenient {
            self.check_bits(address, value.into(), mask)?;
        }
        Ok(Masked { value: value.into(), mask })
    }

    fn frag(&self) -> Result<Masked, Fault> {
        const ALL: u8 = frag::ANY | frag::LATER;
        let (value, mask) = match self.text {
            "no" => (0, ALL),
            "yes" => (frag::ANY, frag::ANY),
            "first" => (frag::ANY, ALL),
            "later" => (ALL, ALL),
            "not_later" => (0, frag::LATER),
            _ => {
                return Err(Fault::new(format!("{} says nothing of fragments", quoted(self.text)))
                    .hint("write no, yes, first, later or not_later"));
            }
        };
        Ok(Masked { value: value.into(), mask: mask.into() })
    }

    /// Parses flags: `+syn-ack` (some of them), `syn|ack` (all), or numbers with an optional mask.
    fn flags(&self, flags: &Flags) -> Result<Masked, Fault> {
        let all = self.def.legal;
        if let Some((value, mask)) = self.text.split_once('/') {
            let (value, mask) = if self.lenient {
                let read = |t| number::field_bytes(t, 4).map(|(n, _)| n);
                let bad =
                    || Fault::new(format!("{} is not a set of {}s", quoted(self.text), flags.what));
                (read(value).ok_or_else(bad)?, read(mask).ok_or_else(bad)?)
            } else {
                let (v, m) = (number::at_most(value, all)?, number::at_most(mask, all)?);
                self.check_bits(value, v, m)?;
                (v, m)
            };
            if (value | mask) & !all != 0 {
                return Err(Fault::new(format!("{} has unknown {}s", self.text, flags.what)));
            }
            return Ok(Masked { value, mask });
        }
        if self.text.starts_with(['+', '-']) {
            return self.signed_flags(flags);
        }
        let mut value = 0;
        for part in self.text.split('|') {
            value |= match flags.bit(part) {
                Ok(bit) => bit,
                Err(_) if part.starts_with(|c: char| c.is_ascii_digit()) => {
                    number::at_most(part, all)?
                }
                Err(fault) => return Err(fault),
            };
        }
        Ok(Masked { value, mask: self.bytes_mask() })
    }

    fn signed_flags(&self, flags: &Flags) -> Result<Masked, Fault> {
        let (mut value, mut mask) = (0, 0);
        let mut rest = self.text;
        while let Some(sign) = rest.chars().next() {
            // Every piece begins with a sign: the first by the caller's test, the others by `find`.
            let end = rest[1..].find(['+', '-']).map_or(rest.len(), |i| i + 1);
            let bit = flags.bit(&rest[1..end])?;
            if mask & bit != 0 {
                let name = &rest[1..end];
                return Err(Fault::new(format!("{} {name:?} is given twice", flags.what)));
            }
            mask |= bit;
            if sign == '+' {
                value |= bit;
            }
            rest = &rest[end..];
        }
        Ok(Masked { value, mask })
    }
}

/// The fault of a value with one-bits that its mask leaves out. `kept` is the value without these bits.
pub(super) fn outside_mask(value: &str, kept: &str) -> Fault {
    Fault::new(format!("{value} has bits outside its mask"))
        .hint(format!("only {kept} would count: write that, or another mask"))
}

/// The flags of a field, for its reader.
struct Flags {
    /// The name of the flag at each bit, from bit 0 on.
    names: &'static [&'static str],
    /// What a flag is called in errors.
    what: &'static str,
    hint: &'static str,
}

const TCP_FLAGS: Flags = Flags {
    names: &words::TCP_FLAGS,
    what: "TCP flag",
    hint: "the flags are fin syn rst psh ack urg ece cwr ns; write +syn-ack or syn|ack",
};

const CT_STATES: Flags = Flags {
    names: &words::CT_STATES,
    what: "connection state",
    hint: "the states are new est rel rpl inv trk snat dnat; write +trk+est or trk|est",
};

const TUN_FLAGS: Flags = Flags {
    names: &words::TUN_FLAGS,
    what: "tunnel flag",
    hint: "the flag is oam; write +oam or -oam",
};

impl Flags {
    /// The bit of the flag with this name.
    fn bit(&self, name: &str) -> Result<u128, Fault> {
        match self.names.iter().position(|&flag| flag == name) {
            Some(bit) => Ok(1 << bit),
            None => {
                Err(Fault::new(format!("{} is not a {}", quoted(name), self.what)).hint(self.hint))
            }
        }
    }
}

/// Splits `VALUE/MASK` at the slash; the mask is `None` if there is no slash.
fn split_mask(text: &str) -> (&str, Option<&str>) {
    // Faster than `split_once`, whose search has a high fixed cost for texts of a few bytes.
    match text.bytes().position(|b| b == b'/') {
        Some(slash) => (&text[..slash], Some(&text[slash + 1..])),
        None => (text, None),
    }
}

fn prefix(text: &str, max: u16) -> Result<u16, Fault> {
    match number::digits::<10>(text) {
        Some(n) if n <= max.into() => Ok(n as u16),
        _ => Err(Fault::new(format!("{} is not a prefix length", quoted(text)))
            .hint(format!("prefixes have 0 to {max} bits"))),
    }
}

/// The mask of the bits of an address that a prefix does not cover.
fn low_bits(prefix: u16, width: u16) -> u128 {
    ones(width - prefix)
}

/// Parses an IPv4 address in dotted form; `None` if the text is none. Leniently, numbers wrap at
/// 256, as in Open vSwitch.
pub(super) fn ipv4(text: &str, lenient: bool) -> Option<u32> {
    let (value, rest) = ipv4_and_rest(text.as_bytes(), lenient)?;
    rest.is_empty().then_some(value)
}

/// The IPv4 address at the start of the text, and the text behind it; `None` if there is no address.
fn ipv4_and_rest(text: &[u8], lenient: bool) -> Option<(u32, &[u8])> {
    let (mut address, mut octets) = (0, 0);
    let (mut octet, mut start, mut end) = (0u32, 0, 0);
    loop {
        let digit = text.get(end).map_or(u8::MAX, |b| b.wrapping_sub(b'0'));
        if digit <= 9 {
            octet = octet.wrapping_mul(10).wrapping_add(digit.into());
            end += 1;
            continue;
        }
        let len = end - start;
        if len == 0 {
            return None;
        }
        let is_plain = len <= 3 && octet <= 0xff && (len == 1 || text[start] != b'0');
        if !is_plain && !lenient {
            return None;
        }
        (address, octets) = (address << 8 | octet & 0xff, octets + 1);
        if octets == 4 {
            return Some((address, &text[end..]));
        }
        if text.get(end) != Some(&b'.') {
            return None;
        }
        (octet, start, end) = (0, end + 1, end + 1);
    }
}

/// Parses a MAC address, six hexadecimal numbers with colons, into the lower 48 bits of an integer; `None` if
/// the text is none. Leniently, a number may have more than two digits and wraps at 256.
pub(super) fn mac(text: &str, lenient: bool) -> Option<u64> {
    let mut value = 0u64;
    let mut parts = text.split(':');
    for _ in 0..6 {
        let part = parts.next()?;
        let is_short = lenient || part.len() <= 2;
        if part.is_empty() || !is_short || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let octet = part.chars().filter_map(|c| c.to_digit(16));
        let octet = octet.fold(0u8, |n, digit| n.wrapping_mul(16).wrapping_add(digit as u8));
        value = value << 8 | u64::from(octet);
    }
    parts.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use port::NoPortNames;

    fn strict(field: FieldId, text: &str) -> Result<(u128, u128), String> {
        let legal = field.full_mask();
        parse(field, text, &NoPortNames, false)
            .map(|m| (m.value & m.mask, m.mask & legal))
            .map_err(|f| f.message)
    }

    fn lenient(field: FieldId, text: &str) -> Option<(u128, u128)> {
        let legal = field.full_mask();
        parse(field, text, &NoPortNames, true).map(|m| (m.value & m.mask, m.mask & legal)).ok()
    }

    #[test]
    fn addresses_have_prefixes_or_masks() {
        use FieldId::{EthDst, Ipv4Src, Ipv6Src};
        assert_eq!(strict(Ipv4Src, "10.0.0.1"), Ok((0x0a000001, 0xffffffff)));
        assert_eq!(strict(Ipv4Src, "10.0.0.0/24"), Ok((0x0a000000, 0xffffff00)));
        assert_eq!(strict(Ipv4Src, "10.0.0.0/255.255.0.0"), Ok((0x0a000000, 0xffff0000)));
        assert_eq!(strict(Ipv4Src, "0.0.0.0/0"), Ok((0, 0)));
        assert_eq!(strict(Ipv6Src, "fe80::/10"), Ok((0xfe80 << 112, 0xffc0 << 112)));
        assert_eq!(strict(Ipv6Src, "::1/::3"), Ok((1, 3)));
        assert_eq!(strict(EthDst, "01:00:00:00:00:00/01:00:00:00:00:00"), Ok((1 << 40, 1 << 40)));
        assert_eq!(strict(EthDst, "1:2:3:4:5:f"), Ok((0x01020304050f, ones(48))));
    }

    #[test]
    fn values_that_open_vswitch_alters_are_refused() {
        use FieldId::*;
        for (field, text) in [
            (Ipv4Dst, "10.0.0.300"),
            (Ipv4Dst, "10.0.0"),
            (Ipv4Dst, "10.0.0.1.2"),
            (Ipv4Dst, "10.0.0.01"),
            (Ipv4Dst, "10.0.0.0/33"),
            (Ipv4Dst, "10.0.0.1/255.0.255.0"),
            (Ipv4Dst, "10.0.0.1/24"),
            (Ipv4Dst, "10.0.0.1/255.255.255.0"),
            (Ipv4Dst, "10.0.0.1/0"),
            (ArpSpa, "10.0.0.1/8"),
            (Ipv6Dst, "fe80::1/64"),
            (Ipv6Dst, "fe80::1/ffff::"),
            (NdTarget, "fe80::1/64"),
            (Metadata, "0x15/0xf"),
            (XxReg(0), "0x15/0xf"),
            (TcpFlags, "0x3/0x1"),
            (Ipv6Dst, "fe80::/129"),
            (EthSrc, "00:00:00:00:00:100"),
            (EthSrc, "00:00:00:00:00"),
            (EthSrc, "00:00:00:00:00:03/00:00:00:00:00:01"),
            (DlVlan, "5000"),
            (DlVlan, "5/1"),
            (DlVlanPcp, "8"),
            (VlanTci, "5"),
            (VlanVid, "5"),
            (NwTos, "3"),
            (ArpOp, "256"),
            (TcpSrc, "80/0xff00"),
            (Reg(0), "0x12/0x10"),
            (TcpSrc, "65536"),
            (TcpFlags, "0x1000"),
            (TcpFlags, "+syn+syn"),
            (TcpFlags, "+sin"),
            (IpFrag, "maybe"),
            (InPort, "eth0"),
            (TcpSrc, ""),
        ] {
            assert!(strict(field, text).is_err(), "{text}");
        }
    }

    #[test]
    fn lenient_reading_alters_as_open_vswitch_does() {
        use FieldId::*;
        assert_eq!(lenient(Ipv4Dst, "10.0.0.300"), Some((0x0a00002c, 0xffffffff)));
        assert_eq!(lenient(DlVlan, "5000"), Some((5000, 0xfff)));
        assert_eq!(lenient(TcpSrc, "010"), Some((8, 0xffff)));
        assert_eq!(lenient(TcpSrc, "80/0xff00"), Some((0, 0xff00)));
        assert_eq!(lenient(Ipv4Dst, "10.0.0.1/24"), Some((0x0a000000, 0xffffff00)));
        assert_eq!(lenient(Ipv6Dst, "fe80::1/64"), Some((0xfe80 << 112, !0 << 64)));
        assert_eq!(lenient(Reg(0), "0x12/0x10"), Some((0x10, 0x10)));
        assert_eq!(lenient(TcpSrc, ""), Some((0, 0)));
        assert_eq!(lenient(TcpSrc, "65536"), None);
    }

    #[test]
    fn flags_and_fragments_have_words() {
        use FieldId::{IpFrag, TcpFlags};
        assert_eq!(strict(TcpFlags, "+syn-ack"), Ok((2, 0x12)));
        assert_eq!(strict(TcpFlags, "syn|ack"), Ok((0x12, 0xfff)));
        assert_eq!(strict(TcpFlags, "0x10/0x12"), Ok((0x10, 0x12)));
        assert_eq!(strict(TcpFlags, "+[800]"), Ok((0x800, 0x800)));
        assert_eq!(strict(IpFrag, "not_later"), Ok((0, 2)));
        assert_eq!(strict(IpFrag, "first"), Ok((1, 3)));
        assert_eq!(strict(TcpFlags, "*"), Ok((0, 0)));
    }
}
