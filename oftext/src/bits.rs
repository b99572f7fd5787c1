//! Bits as names, and bytes as dumps.

use crate::put;
use std::fmt::Write;

/// Appends the names of the bits that are set, the lowest bit first, with blanks between them, and `0` if there
/// are none. `names` has pairs of a bit and its name. Bits without a name come last, as one hexadecimal number.
pub(crate) fn put_names(out: &mut String, bits: u32, names: &[(u32, &str)]) {
    if bits == 0 {
        out.push('0');
        return;
    }
    let mut rest = bits;
    let mut gap = "";
    for (bit, name) in names.iter().filter(|(bit, _)| bits & bit != 0) {
        put!(out, "{gap}{name}");
        gap = " ";
        rest &= !bit;
    }
    if rest != 0 {
        put!(out, "{gap}0x{rest:x}");
    }
}

/// How many bytes a line of a dump has.
const PER_LINE: usize = 16;

/// Appends a dump of bytes, 16 a line: offset, hexadecimal, and with `ascii` the characters.
///
/// ```
/// let mut out = String::new();
/// oftext::hex_dump(&mut out, b"OFPT", true);
/// assert_eq!(out, "00000000  4f 46 50 54                                     |OFPT            |\n");
/// ```
pub fn hex_dump(out: &mut String, bytes: &[u8], ascii: bool) {
    for (n, line) in bytes.chunks(PER_LINE).enumerate() {
        put!(out, "{:08x} ", n * PER_LINE);
        for at in 0..PER_LINE {
            // A line that ends before the other columns are printed needs no blanks.
            if at >= line.len() && !ascii {
                break;
            }
            let gap = if at == PER_LINE / 2 && line.len() >= PER_LINE / 2 { '-' } else { ' ' };
            match line.get(at) {
                Some(byte) => {
                    put!(out, "{gap}{byte:02x}");
                }
                None => {
                    put!(out, "{gap}  ");
                }
            }
        }
        if ascii {
            let shown = |byte: u8| if (b' '..0x7f).contains(&byte) { byte as char } else { '.' };
            out.push_str(" |");
            out.extend((0..PER_LINE).map(|at| line.get(at).map_or(' ', |byte| shown(*byte))));
            out.push('|');
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bits: u32, expected: &str) {
        let mut out = String::new();
        put_names(&mut out, bits, &[(1, "ONE"), (4, "FOUR")]);
        assert_eq!(out, expected);
    }

    #[test]
    fn bits_without_a_name_come_last() {
        check(0, "0");
        check(5, "ONE FOUR");
        check(0x17, "ONE FOUR 0x12");
        check(8, "0x8");
    }
}
