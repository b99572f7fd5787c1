//! Splits text such as `key=value,key:value,key(value) key` into pairs of key and value.
//!
//! The grammar is that of Open vSwitch (`ofputil_parse_key_value`). Commas and blanks separate pairs.
//! A value may contain commas and blanks within balanced parentheses. `key(value)->rest` is one pair,
//! and its value is `value)->rest`.

/// The delimiter between a key and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// The key stands alone, and the value is empty.
    None,
    /// The value is behind a colon or an equals sign: `key:value` or `key=value`.
    Sign,
    /// The value is in parentheses behind the key: `key(value)`.
    Parentheses,
}

/// A key and its value. All texts are subslices of the text that was split.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    pub(super) key: &'a str,
    pub(super) delimiter: Delimiter,
    pub(super) value: &'a str,
    /// Key, delimiter, value and closing parenthesis.
    pub(super) whole: &'a str,
    /// Whether every parenthesis of the pair is closed.
    pub(super) is_closed: bool,
}

/// An iterator over the pairs of a text.
#[derive(Clone, Debug)]
pub(super) struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The text behind the last pair that [`Iterator::next`] returned.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }
}

// Kinds of bytes that can end a key or a value. A set of kinds is the sum of these bits.
/// `,` or a blank.
const SEPARATOR: u8 = 1;
/// The signs `:` and `=`, behind which a value begins.
const SIGN: u8 = 2;
/// The parenthesis `(`, which opens a value.
const OPEN: u8 = 4;
/// The parenthesis `)`, which closes a value.
const CLOSE: u8 = 8;

/// The kind of each byte value; 0 for bytes that end nothing. A table makes the test of a byte a single load.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    (kinds[b',' as usize], kinds[b' ' as usize]) = (SEPARATOR, SEPARATOR);
    (kinds[b'\t' as usize], kinds[b'\r' as usize]) = (SEPARATOR, SEPARATOR);
    kinds[b'\n' as usize] = SEPARATOR;
    (kinds[b':' as usize], kinds[b'=' as usize]) = (SIGN, SIGN);
    (kinds[b'(' as usize], kinds[b')' as usize]) = (OPEN, CLOSE);
    kinds
};

fn is(b: u8, kinds: u8) -> bool {
    KINDS[usize::from(b)] & kinds != 0
}

/// The number of bytes in front of the first comma or blank.
pub(super) fn word_len(text: &str) -> usize {
    len_before(text.as_bytes(), SEPARATOR)
}

/// The number of bytes in front of the first byte whose kind is in `kinds`; the length of the
/// text if there is none.
#[inline(always)]
fn len_before(text: &[u8], kinds: u8) -> usize {
    let mut len = 0;
    while let Some(chunk) = text[len..].first_chunk() {
        let candidates = candidates(u64::from_le_bytes(*chunk), kinds);
        if candidates == 0 {
            len += chunk.len();
            continue;
        }
        len += candidates.trailing_zeros() as usize / 8;
        if is(text[len], kinds) {
            return len;
        }
        len += 1;
    }
    while len < text.len() && !is(text[len], kinds) {
        len += 1;
    }
    len
}

/// Tests eight bytes at a time. The lowest bit set in the result is the highest bit of the first byte that may
/// be of one of these kinds; bits above it mean nothing. 0 if no byte is of these kinds. Letters, digits, dots
/// and slashes are never candidates, so that most text passes in steps of eight bytes.
fn candidates(chunk: u64, kinds: u8) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Sets the highest bit of the lowest byte that is smaller than `n`. Bytes above it may be
    // set wrongly, by a borrow.
    let below = |bytes: u64, n: u8| bytes.wrapping_sub(EACH * u64::from(n)) & !bytes;
    let mut found = below(chunk, b',' + 1);
    if kinds & SIGN != 0 {
        // With the exclusive or, the bytes from `:` to `?` become the smallest ones.
        found |= below(chunk ^ (EACH * 0x3f), 0x40 - b':');
    }
    found & (EACH << 7)
}

/// The length of a value that ends in front of a byte of kind `end` outside parentheses, and whether all
/// parentheses in it are closed.
#[inline(always)]
fn value_len(text: &[u8], end: u8) -> (usize, bool) {
    let len = len_before(text, end | OPEN | CLOSE);
    match text.get(len) {
        Some(&b) if !is(b, end) => nested_value_len(text, len, end),
        _ => (len, true),
    }
}

/// As [`value_len`], for a value whose first parenthesis stands behind `len` bytes.
fn nested_value_len(text: &[u8], len: usize, end: u8) -> (usize, bool) {
    let mut level = 0u32;
    for (i, &b) in text.iter().enumerate().skip(len) {
        match b {
            _ if level == 0 && is(b, end) => return (i, true),
            b'(' => level += 1,
            b')' => level = level.saturating_sub(1),
            _ => {}
        }
    }
    (text.len(), level == 0)
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        let start = self.rest.bytes().take_while(|&b| is(b, SEPARATOR)).count();
        let text = &self.rest[start..];
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            self.rest = text;
            return None;
        }
        let key_len = len_before(bytes, SIGN | OPEN | SEPARATOR);
        let delimiter = match bytes.get(key_len) {
            Some(b':' | b'=') => Delimiter::Sign,
            Some(b'(') => Delimiter::Parentheses,
            _ => Delimiter::None,
        };
        let start = key_len + usize::from(delimiter != Delimiter::None);
        let (end, whole_end, is_closed) = match delimiter {
            Delimiter::None => (start, start, true),
            Delimiter::Sign => {
                let (len, is_closed) = value_len(&bytes[start..], SEPARATOR);
                (start + len, start + len, is_closed)
            }
            Delimiter::Parentheses => {
                let (len, is_balanced) = value_len(&bytes[start..], CLOSE);
                let close = start + len;
                if bytes[close..].starts_with(b")->") {
                    let (tail, _) = value_len(&bytes[close..], SEPARATOR);
                    (close + tail, close + tail, true)
                } else {
                    let has_end = close < bytes.len();
                    (close, close + usize::from(has_end), has_end && is_balanced)
                }
            }
        };
        let (whole, rest) = text.split_at(whole_end);
        self.rest = rest;
        let (key, value) = (&whole[..key_len], &whole[start..end]);
        Some(Pair { key, delimiter, value, whole, is_closed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let got: Vec<_> = Pairs::new(text).map(|p| (p.key, p.value)).collect();
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn commas_and_blanks_separate() {
        check("a=1, b:2\tc,,d(3)", &[("a", "1"), ("b", "2"), ("c", ""), ("d", "3")]);
        check(" , ", &[]);
    }

    #[test]
    fn parentheses_protect() {
        check("resubmit(,2),clone(a(b,c),d)", &[("resubmit", ",2"), ("clone", "a(b,c),d")]);
        check("x=f(1,2)g,y", &[("x", "f(1,2)g"), ("y", "")]);
    }

    #[test]
    fn an_arrow_behind_parentheses_belongs_to_the_value() {
        check("check_pkt_larger(9)->r[0],1", &[("check_pkt_larger", "9)->r[0]"), ("1", "")]);
    }

    #[test]
    fn every_byte_is_looked_at_wherever_it_stands() {
        for kinds in [SEPARATOR, SIGN | OPEN | SEPARATOR, SEPARATOR | OPEN | CLOSE] {
            for (b, at) in (0..=u8::MAX).flat_map(|b| (0..20).map(move |at| (b, at))) {
                for other in [b'a', b'?', b'+', 0xc3, b';'] {
                    let mut text = [other; 20];
                    text[at] = b;
                    let expected = if is(b, kinds) { at } else { text.len() };
                    assert_eq!(len_before(&text, kinds), expected, "{b:#x} at {at}");
                }
            }
        }
    }

    #[test]
    fn an_open_parenthesis_is_told() {
        assert!(!Pairs::new("resubmit(,2").next().unwrap().is_closed);
        assert!(!Pairs::new("x=(1").next().unwrap().is_closed);
        assert!(Pairs::new("x=(1)").next().unwrap().is_closed);
    }
}
