//! Prints matches, actions, rules and groups, in the format of `ovs-ofctl` to the byte.
//! The parser reads it back.
//!
//! Dumps can have a million lines. So every function appends to a `String` and allocates no intermediate one.

mod action;
mod flow;
mod group;
mod learn;
mod matching;
mod meter;
mod packet;

pub(super) use action::{REASON_ACTION, REASONS, is_plain_controller};
pub use action::{write_action, write_actions, write_nat};
pub use flow::{FlowLine, write_flow_mod};
pub use group::{write_group, write_group_stats, write_saved_group};
pub use matching::write_match;
pub use meter::{write_meter, write_meter_features, write_meter_stats, write_saved_meter};
pub use packet::{mask_inner_headers, packet_fields, write_frame, write_packet};

use super::port::{self, NoPortNames, PortNames};
use super::words::{CT_STATES, TCP_FLAGS, TUN_FLAGS};
use crate::action::Subfield;
use crate::fields::{FieldDef, FieldId, TextForm, ones, prefix_len};
use crate::key::frag;
use crate::types::{OfPort, OfVersion, mac_of_bits};
use std::fmt::Write;

/// The settings of a dump.
#[derive(Clone, Copy)]
pub struct PrintOptions<'a> {
    /// The OpenFlow version whose actions and matches are printed: 1.0 has no `push_vlan`, and 1.3 has
    /// `set_field` for most `mod_` actions.
    pub version: OfVersion,
    /// Names to print for port numbers. The default, [`NoPortNames`], prints numbers.
    pub ports: &'a dyn PortNames,
    /// Whether rules have `duration=`, `n_packets=`, `n_bytes=` and, in some versions, their ages.
    pub stats: bool,
    /// Whether rules printed with `stats` in version 1.0 have `idle_age=` and `hard_age=`, which are a Nicira
    /// extension. `ovs-ofctl` leaves them out when it sorts rules or names ports.
    pub ages: bool,
}

impl Default for PrintOptions<'_> {
    fn default() -> Self {
        Self { version: OfVersion::default(), ports: &NoPortNames, stats: true, ages: true }
    }
}

/// `write!` to a `String`. Writing to a `String` cannot fail, so the result is dropped.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        let _ = write!($out, $($arg)*);
    };
}
pub(super) use put;

/// Appends a decimal number.
fn decimal(out: &mut String, value: u128) {
    put!(out, "{value}");
}

/// Appends a number as C's `%#x` does: zero has no prefix.
pub(super) fn hex(out: &mut String, value: u128) {
    match value {
        0 => out.push('0'),
        _ => {
            put!(out, "{value:#x}");
        }
    }
}

/// Appends an IPv4 address.
pub(super) fn ipv4(out: &mut String, address: u32) {
    let [a, b, c, d] = address.to_be_bytes();
    put!(out, "{a}.{b}.{c}.{d}");
}

/// Appends an IPv4 address and its mask: as a prefix length if possible, and nothing for a mask of all ones.
pub(super) fn ipv4_masked(out: &mut String, address: u32, mask: u32) {
    ipv4(out, address);
    if mask == u32::MAX {
        return;
    }
    out.push('/');
    match prefix_len(mask.into(), 32) {
        Some(len) => decimal(out, len.into()),
        None => ipv4(out, mask),
    }
}

/// Appends an IPv6 address as `inet_ntop` writes it.
pub(super) fn ipv6(out: &mut String, address: u128) {
    // `inet_ntop` prints deprecated IPv4-compatible addresses (RFC 4291 §2.5.5.1) with a
    // dotted end; Rust does not.
    let is_compatible = address >> 32 == 0 && address >> 16 != 0;
    if is_compatible {
        out.push_str("::");
        ipv4(out, address as u32);
    } else {
        put!(out, "{}", std::net::Ipv6Addr::from(address));
    }
}

/// Appends an IPv6 address and its mask: as a prefix length if possible, and nothing for a mask of all ones.
pub(super) fn ipv6_masked(out: &mut String, address: u128, mask: u128) {
    ipv6(out, address);
    if mask == u128::MAX {
        return;
    }
    out.push('/');
    match prefix_len(mask, 128) {
        Some(len) => decimal(out, len.into()),
        None => ipv6(out, mask),
    }
}

fn mac(out: &mut String, bits: u128) {
    put!(out, "{}", mac_of_bits(bits as u64));
}

/// Appends the MAC address in the lower 48 bits of `bits`, and its mask unless that has all 48 bits.
pub(super) fn mac_masked(out: &mut String, bits: u128, mask: u128) {
    mac(out, bits);
    if mask != ones(48) {
        out.push('/');
        mac(out, mask);
    }
}

/// Appends a value and mask of `ip_frag` as a word: `no`, `yes`, `first`, `later` or `not_later`.
pub(super) fn frag_word(out: &mut String, value: u128, mask: u128) {
    const ANY: u128 = frag::ANY as u128;
    const LATER: u128 = frag::LATER as u128;
    out.push_str(match (mask & (ANY | LATER), value & ANY != 0, value & LATER != 0) {
        (ANY, true, _) => "yes",
        (LATER, _, false) => "not_later",
        (LATER, _, true) => "later",
        (_, true, true) => "later",
        (_, true, false) => "first",
        (_, false, true) => "<error>",
        (_, false, false) => "no",
    });
}

/// Appends a value and mask of flags: `syn|ack` if the mask has all of them, else `+syn-ack`. `names` has the
/// name of each flag, from bit 0 on.
pub(super) fn flags(out: &mut String, names: &[&str], value: u128, mask: u128) {
    let all = ones(names.len() as u16);
    let is_exact = mask & all == all;
    if is_exact && value == 0 {
        out.push('0');
    }
    let mut is_first = true;
    for (bit, name) in names.iter().enumerate() {
        let is_set = value >> bit & 1 != 0;
        if is_exact {
            if is_set {
                out.push_str(if is_first { "" } else { "|" });
                out.push_str(name);
                is_first = false;
            }
        } else if mask >> bit & 1 != 0 {
            out.push(if is_set { '+' } else { '-' });
            out.push_str(name);
        }
    }
}

/// Appends a field's value and mask, both right-aligned, in the field's [`TextForm`]. A mask of all bits of the
/// value's bytes in a message is left out.
pub(super) fn value(
    out: &mut String,
    field: FieldId,
    value: u128,
    mask: u128,
    names: &dyn PortNames,
) {
    let def = field.def();
    let all = ones(8 * def.wire_len() as u16);
    if mask == 0 {
        out.push_str("ANY");
        return;
    }
    match def.form {
        TextForm::Port | TextForm::Port32 if mask == all => {
            port::write(out, OfPort(value as u16), names);
        }
        TextForm::Ipv4 => ipv4_masked(out, value as u32, mask as u32),
        TextForm::Ipv6 => ipv6_masked(out, value, mask),
        TextForm::Ethernet => mac_masked(out, value, mask),
        TextForm::Frag => frag_word(out, value, mask),
        TextForm::TcpFlags => flags(out, &TCP_FLAGS, value, mask),
        TextForm::CtState => flags(out, &CT_STATES, value, mask),
        TextForm::TunFlags => flags(out, &TUN_FLAGS, value, mask),
        TextForm::Decimal | TextForm::Hexadecimal | TextForm::Port | TextForm::Port32 => {
            match def.form {
                TextForm::Hexadecimal => hex(out, value),
                _ => decimal(out, value),
            }
            if mask != all {
                out.push('/');
                hex(out, mask);
            }
        }
    }
}

/// The name that dumps use for a field in `move`, `load` and the like: its oldest wire name.
fn wire_name(def: &'static FieldDef) -> &'static str {
    def.wire.first().map_or(def.name, |w| w.name)
}

/// Appends a subfield: `NXM_NX_REG0[0..7]`, `NXM_NX_REG0[5]`, or `NXM_NX_REG0[]` for all bits.
pub fn subfield(out: &mut String, sub: Subfield) {
    let def = sub.field.def();
    out.push_str(wire_name(def));
    if sub.offset == 0 && sub.n_bits == def.bits {
        out.push_str("[]");
    } else if sub.n_bits == 1 {
        put!(out, "[{}]", sub.offset);
    } else {
        put!(out, "[{}..{}]", sub.offset, sub.offset + sub.n_bits - 1);
    }
}

/// Appends a duration in seconds: without decimals if they are zero, with three if milliseconds suffice, else
/// with as many as it needs.
pub fn duration(out: &mut String, duration: std::time::Duration) {
    let nanos = duration.subsec_nanos();
    put!(out, "{}", duration.as_secs());
    if nanos == 0 {
    } else if nanos.is_multiple_of(1_000_000) {
        put!(out, ".{:03}", nanos / 1_000_000);
    } else {
        put!(out, ".{nanos:09}");
        out.truncate(out.trim_end_matches('0').len());
    }
    out.push('s');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow_mod::{Command, FlowMod};
    use crate::matching::Match;
    use crate::text::BridgeNames;
    use crate::types::TableId;
    use std::time::Duration;

    fn shown(f: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        f(&mut out);
        out
    }

    #[test]
    fn addresses_look_like_those_of_inet_ntop() {
        let v6 = |text: &str| {
            let bits = text.parse::<std::net::Ipv6Addr>().unwrap().into();
            shown(|out| ipv6(out, bits))
        };
        for text in
            ["::", "::1", "::ffff", "::0.1.0.0", "::1.2.3.4", "::ffff:1.2.3.4", "1::2:0:3:4:5"]
        {
            assert_eq!(v6(text), text);
        }
        assert_eq!(v6("1:0:0:2:0:0:0:3"), "1:0:0:2::3");
        assert_eq!(v6("1:0:2:3:4:5:6:7"), "1:0:2:3:4:5:6:7");
        assert_eq!(shown(|out| ipv4_masked(out, 0x0a000000, 0xff000000)), "10.0.0.0/8");
        assert_eq!(shown(|out| ipv4_masked(out, 0, 0x00ff00ff)), "0.0.0.0/0.255.0.255");
        assert_eq!(shown(|out| ipv6_masked(out, 1, 3)), "::1/::3");
    }

    #[test]
    fn the_first_table_is_told_if_it_has_a_name() {
        let ports = BridgeNames {
            tables: vec![(TableId::default(), "zero".into())],
            ..BridgeNames::default()
        };
        let rule = FlowMod::new(Command::Add, 32768, Match::any(), Vec::new());
        let line = |ports: &dyn PortNames| {
            let options =
                PrintOptions { version: OfVersion::OpenFlow10, ports, stats: false, ages: true };
            shown(|out| FlowLine::of(&rule).write(out, &options))
        };
        assert_eq!(line(&ports), "table=zero, actions=drop");
        assert_eq!(line(&NoPortNames), "actions=drop");
    }

    #[test]
    fn durations_open_up_as_needed() {
        let d = |ns| shown(|out| duration(out, Duration::from_nanos(ns)));
        assert_eq!(d(2_000_000_000), "2s");
        assert_eq!(d(1_038_000_000), "1.038s");
        assert_eq!(d(2_100_000_000), "2.100s");
        assert_eq!(d(1), "0.000000001s");
        assert_eq!(d(1_000_500_000), "1.0005s");
        assert_eq!(d(10_123_456_000), "10.123456s");
    }

    #[test]
    fn flags_are_signed_when_some_do_not_matter() {
        assert_eq!(shown(|out| flags(out, &TCP_FLAGS, 0x12, 0xfff)), "syn|ack");
        assert_eq!(shown(|out| flags(out, &TCP_FLAGS, 0x02, 0x12)), "+syn-ack");
        assert_eq!(shown(|out| flags(out, &TCP_FLAGS, 0, 0xfff)), "0");
        assert_eq!(shown(|out| flags(out, &TCP_FLAGS, 0x800, 0xfff)), "[800]");
    }

    #[test]
    fn fragment_bits_have_words() {
        for (value, mask, word) in
            [(0, 3, "no"), (1, 3, "first"), (3, 3, "later"), (1, 1, "yes"), (0, 2, "not_later")]
        {
            assert_eq!(shown(|out| frag_word(out, value, mask)), word);
        }
    }
}
