//! Parses numbers.
//!
//! Strict parsing ([`integer`], [`at_most`]) accepts decimal numbers and hexadecimal ones with `0x`, without
//! sign, and refuses what does not fit. Lenient parsing ([`strtoull`], [`field_bytes`]) does what C's
//! `strtoull` and Open vSwitch do: octal numbers and signs are accepted.

use super::error::Fault;
use super::printable::quoted;

/// Parses a number from 0 to `max`, strictly. The hint of a text that is not a number gives these bounds.
pub(super) fn at_most(text: &str, max: u128) -> Result<u128, Fault> {
    let value = integer(text).map_err(|fault| match fault.hint {
        Some(_) => fault,
        None => fault.hint(format!("write a number from 0 to {}", in_base_of(text, max))),
    })?;
    if value > max {
        let fault = Fault::new(format!("{text} is too large"));
        return Err(fault.hint(format!("the largest value is {}", in_base_of(text, max))));
    }
    Ok(value)
}

/// Parses a decimal or hexadecimal number of up to 128 bits, strictly. Leading zeros are refused, because they
/// mean octal to some programs.
pub(super) fn integer(text: &str) -> Result<u128, Fault> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let is_octal = hex.is_none() && text.len() > 1 && text.starts_with('0');
    let value = match hex {
        Some(hex) => digits::<16>(hex),
        None => digits::<10>(text),
    };
    match value {
        Some(value) if !is_octal => Ok(value.into()),
        _ => long_or_wrong(text, hex, is_octal),
    }
}

/// The number that `text` is, if the text consists of digits only. `None` also for some numbers of 64 bits,
/// because the cheap overflow test does not tell them from longer ones.
pub(super) fn digits<const RADIX: u32>(text: &str) -> Option<u64> {
    let mut value = 0u64;
    for b in text.bytes() {
        if value >> (u64::BITS - RADIX.ilog2() - 1) != 0 {
            return None;
        }
        value = value * u64::from(RADIX) + u64::from((b as char).to_digit(RADIX)?);
    }
    (!text.is_empty()).then_some(value)
}

/// As [`integer`], for text that [`digits`] does not read: a longer number, or an error.
#[cold]
fn long_or_wrong(text: &str, hex: Option<&str>, is_octal: bool) -> Result<u128, Fault> {
    let (digits, radix) = hex.map_or((text, 10), |digits| (digits, 16));
    if digits.is_empty() || !digits.bytes().all(|b| (b as char).is_digit(radix)) {
        return Err(Fault::new(match text {
            "" => "a number is missing".to_owned(),
            _ if is_negative(text) => format!("{text} is less than 0"),
            _ => format!("{} is not a number", quoted(text)),
        }));
    }
    if is_octal {
        return Err(octal(text));
    }
    u128::from_str_radix(digits, radix).map_err(|_| Fault::new(format!("{text} is too large")))
}

/// Whether the text is a minus sign and digits.
fn is_negative(text: &str) -> bool {
    text.strip_prefix('-').and_then(digits::<10>).is_some()
}

/// The fault of a decimal number with leading zeros. The hint gives both possible meanings.
fn octal(text: &str) -> Fault {
    let plain = text.trim_start_matches('0');
    let plain = if plain.is_empty() { "0" } else { plain };
    let fault = Fault::new(format!("{text} has leading zeros, which could mean octal"));
    match u128::from_str_radix(text, 8) {
        Ok(value) if value.to_string() != plain => {
            fault.hint(format!("write {plain}, or {value} if octal was meant"))
        }
        _ => fault.hint(format!("write {plain}")),
    }
}

fn in_base_of(text: &str, value: u128) -> String {
    if text.starts_with("0x") { format!("{value:#x}") } else { value.to_string() }
}

/// The first and the last number of a range in decimal digits: `80-90`. `None` if the text is not a range, or
/// the last number is not larger than the first one.
pub(super) fn range(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (digits::<10>(first)?, digits::<10>(last)?);
    (first < last).then_some((first, last))
}

/// C's `strtoull(text, &rest, base)`: the number and the text behind it. With base 0, the prefix `0x` means
/// hexadecimal and `0` octal. `None` if the number overflows or there is no digit.
pub(super) fn strtoull(text: &str, base: u32) -> Option<(u64, &str)> {
    let body = text.trim_start_matches([' ', '\t', '\r', '\n']);
    let (negative, body) = match body.as_bytes().first() {
        Some(b'-') => (true, &body[1..]),
        Some(b'+') => (false, &body[1..]),
        _ => (false, body),
    };
    let is_hex = |s: &str| {
        let b = s.as_bytes();
        b.len() > 2 && b[0] == b'0' && b[1] | 0x20 == b'x' && b[2].is_ascii_hexdigit()
    };
    let (radix, digits) = match base {
        0 if is_hex(body) => (16, &body[2..]),
        0 if body.starts_with('0') => (8, body),
        0 => (10, body),
        _ => (base, body),
    };
    let len = digits.bytes().take_while(|&b| (b as char).is_digit(radix)).count();
    let value = u64::from_str_radix(digits.get(..len)?, radix).ok()?;
    Some((if negative { value.wrapping_neg() } else { value }, &digits[len..]))
}

/// Open vSwitch's `parse_int_string`: a number that fits into `bytes` bytes, and the text behind it. `None` if
/// it does not fit or there is no digit.
pub(super) fn field_bytes(text: &str, bytes: usize) -> Option<(u128, &str)> {
    let limit = crate::fields::ones(8 * bytes as u16);
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let mut value: u128 = 0;
        for (i, b) in hex.bytes().enumerate() {
            let Some(digit) = (b as char).to_digit(16) else {
                return Some((value, &hex[i..]));
            };
            if value >> 124 != 0 {
                return None;
            }
            value = value << 4 | digit as u128;
            if value > limit {
                return None;
            }
        }
        return Some((value, ""));
    }
    let (value, rest) = strtoull(text, 0)?;
    (value as u128 <= limit).then_some((value as u128, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_numbers_fit_or_fail() {
        assert_eq!(integer("0").unwrap(), 0);
        assert_eq!(integer("0x1F").unwrap(), 31);
        assert_eq!(at_most("65535", 65535).unwrap(), 65535);
        let error = at_most("5000", 4095).unwrap_err();
        assert_eq!(error.message, "5000 is too large");
        assert_eq!(error.hint.unwrap(), "the largest value is 4095");
        for bad in ["", "-1", "+1", " 1", "1 ", "0x", "1a", "0xg", "٣"] {
            assert!(integer(bad).is_err(), "{bad}");
        }
        assert!(integer(&"9".repeat(60)).is_err());
    }

    #[test]
    fn a_hint_gives_the_bounds() {
        let fault = at_most("-1", 65535).unwrap_err();
        assert_eq!(fault.message, "-1 is less than 0");
        assert_eq!(fault.hint.unwrap(), "write a number from 0 to 65535");
        assert_eq!(at_most("-", 255).unwrap_err().message, r#""-" is not a number"#);
        assert_eq!(at_most("0xg", 255).unwrap_err().hint.unwrap(), "write a number from 0 to 0xff");
    }

    #[test]
    fn a_range_goes_up() {
        assert_eq!(range("80-90"), Some((80, 90)));
        for other in ["90-80", "80-80", "80", "-1", "80-", "80-90-100", "a-b"] {
            assert_eq!(range(other), None, "{other}");
        }
    }

    #[test]
    fn leading_zeros_are_not_guessed() {
        assert_eq!(integer("010").unwrap_err().hint.unwrap(), "write 10, or 8 if octal was meant");
        assert_eq!(integer("00").unwrap_err().hint.unwrap(), "write 0");
    }

    #[test]
    fn lenient_numbers_are_those_of_c() {
        assert_eq!(strtoull("010", 0), Some((8, "")));
        assert_eq!(strtoull("-1", 0), Some((u64::MAX, "")));
        assert_eq!(strtoull("0x", 0), Some((0, "x")));
        assert_eq!(strtoull("12/3", 0), Some((12, "/3")));
        assert_eq!(strtoull("x", 0), None);
        assert_eq!(field_bytes("0x12345", 2), None);
        assert_eq!(field_bytes("0x1/0x2", 2), Some((1, "/0x2")));
        assert_eq!(field_bytes("-1", 2), None);
    }
}
