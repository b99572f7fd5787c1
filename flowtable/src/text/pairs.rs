//! Cuts `key=value,key:value,key(value) key` into pairs.
//!
//! The grammar is Open vSwitch's: commas and blanks separate, a value may contain both within
//! balanced parentheses, and `key(value)->rest` is one pair whose value is `value)->rest`.

/// What stood between key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// Nothing: the value is empty.
    None,
    /// `:` or `=`
    Sign,
    /// `(`, and `)` at the end.
    Parentheses,
}

/// One pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    pub(super) key: &'a str,
    pub(super) delimiter: Delimiter,
    pub(super) value: &'a str,
    /// Key, delimiter and value.
    pub(super) whole: &'a str,
    /// Every parenthesis was closed.
    pub(super) is_closed: bool,
}

/// The pairs of a text.
#[derive(Clone, Debug)]
pub(super) struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_separator(b: u8) -> bool {
    b == b',' || is_blank(b)
}

/// Length of a value that ends before a byte for which `ends` holds, outside parentheses.
fn value_len(text: &[u8], ends: impl Fn(u8) -> bool) -> (usize, bool) {
    let mut level = 0u32;
    for (i, &b) in text.iter().enumerate() {
        match b {
            _ if level == 0 && ends(b) => return (i, true),
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
        let text = self.rest.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            self.rest = text;
            return None;
        }
        let ends_key = |&b: &u8| matches!(b, b':' | b'=' | b'(') || is_separator(b);
        let key_len = bytes.iter().position(ends_key).unwrap_or(bytes.len());
        let delimiter = match bytes.get(key_len) {
            Some(b':' | b'=') => Delimiter::Sign,
            Some(b'(') => Delimiter::Parentheses,
            _ => Delimiter::None,
        };
        let start = key_len + usize::from(delimiter != Delimiter::None);
        let (end, whole_end, is_closed) = match delimiter {
            Delimiter::None => (start, start, true),
            Delimiter::Sign => {
                let (len, is_closed) = value_len(&bytes[start..], is_separator);
                (start + len, start + len, is_closed)
            }
            Delimiter::Parentheses => {
                let (len, is_balanced) = value_len(&bytes[start..], |b| b == b')');
                let close = start + len;
                if bytes[close..].starts_with(b")->") {
                    let (tail, _) = value_len(&bytes[close..], is_separator);
                    (close + tail, close + tail, true)
                } else {
                    let has_end = close < bytes.len();
                    (close, close + usize::from(has_end), has_end && is_balanced)
                }
            }
        };
        self.rest = &text[whole_end..];
        Some(Pair {
            key: &text[..key_len],
            delimiter,
            value: &text[start..end],
            whole: &text[..whole_end],
            is_closed,
        })
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
    fn an_open_parenthesis_is_told() {
        assert!(!Pairs::new("resubmit(,2").next().unwrap().is_closed);
        assert!(!Pairs::new("x=(1").next().unwrap().is_closed);
        assert!(Pairs::new("x=(1)").next().unwrap().is_closed);
    }
}
