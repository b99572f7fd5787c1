//! Parses subfields, the bits of a field that an action names:
//! `NXM_NX_REG0[0..7]`, `reg0[3]`, `reg0[]`, `reg0`.

use super::error::Fault;
use super::printable::quoted;
use super::words;
use crate::action::Subfield;
use crate::fields::FieldId;

/// Parses a subfield. Names of matches and names of OpenFlow messages are accepted.
pub(super) fn parse(text: &str) -> Result<Subfield, Fault> {
    let (name, bits) = match text.split_once('[') {
        Some((name, rest)) => match rest.strip_suffix(']') {
            Some(bits) => (name, bits),
            None => return Err(bad_range(text)),
        },
        None => (text, ""),
    };
    let field = words::field(name).ok_or_else(|| unknown(name))?;
    if field.def().wire.is_empty() {
        return Err(no_wire_name(field));
    }
    let width = field.def().bits;
    if bits.is_empty() {
        return Ok(Subfield::whole(field));
    }
    let number = |t: &str| {
        let plain = !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        t.parse::<u16>().ok().filter(|_| plain).ok_or_else(|| bad_range(text))
    };
    let (start, end) = match bits.split_once("..") {
        Some((start, end)) => (number(start)?, number(end)?),
        None => (number(bits)?, number(bits)?),
    };
    if start > end {
        return Err(Fault::new(format!("{text}: bit {start} is above bit {end}"))
            .hint(format!("write {name}[{end}..{start}]")));
    }
    if end >= width {
        return Err(Fault::new(format!("{text}: {name} has only {width} bits"))
            .hint(format!("its bits are 0..{}", width - 1)));
    }
    Ok(Subfield { field, offset: start, n_bits: end - start + 1 })
}

/// The fault of a name that no field has.
pub(super) fn unknown(name: &str) -> Fault {
    if name.is_empty() {
        return Fault::new("a field is missing");
    }
    if words::is_foreign_field(name) {
        return words::foreign_field(name);
    }
    let fault = Fault::new(format!("there is no field {}", quoted(name)));
    match words::nearest_field(name) {
        Some(near) => fault.hint(format!("did you mean {near}?")),
        None => fault,
    }
}

/// The fault of a field that only matches can use, such as `dl_vlan`, in an action: messages have
/// no name for the field.
pub(super) fn no_wire_name(field: FieldId) -> Fault {
    let fault = Fault::new(format!("{} is a field for matches, not for actions", field.def().name));
    match field {
        FieldId::DlVlan => fault.hint("use vlan_vid"),
        FieldId::DlVlanPcp => fault.hint("use vlan_pcp"),
        _ => fault,
    }
}

fn bad_range(text: &str) -> Fault {
    Fault::new(format!("{} does not name bits of a field", quoted(text)))
        .hint("write FIELD[], FIELD[BIT] or FIELD[FIRST..LAST]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_named_by_first_and_last() {
        let ok = |text, offset, n_bits| {
            let expected = Subfield { field: FieldId::Reg(0), offset, n_bits };
            assert_eq!(parse(text).ok(), Some(expected), "{text}");
        };
        ok("NXM_NX_REG0[]", 0, 32);
        ok("reg0", 0, 32);
        ok("reg0[5]", 5, 1);
        ok("reg0[8..15]", 8, 8);
        for bad in [
            "",
            "reg0[",
            "reg0[]x",
            "reg0[32]",
            "reg0[0..32]",
            "reg0[7..0]",
            "reg0[+1]",
            "rog0[]",
            "reg0[1..]",
            "reg0[..1]",
            "dl_vlan[]",
            "tun_ttl[]",
            "reg0[99999]",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
