//! Text that comes from elsewhere, for a person to read: without the characters that a terminal obeys.
//!
//! Names of rules, ports and devices and the lines of a file can have any character, and a terminal clears the
//! screen, sets its title or hides text when it is told to. So such characters are shown by their number, in
//! the notation that JSON has for them: `\u001b`.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

/// The largest number of characters of a line that [`mark`] shows.
const SHOWN: usize = 160;

/// The text with `\u001b` and the like in place of the characters that a terminal obeys, and of those that
/// change the direction of text. Line feeds and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_obeyed(c) {
            // Four digits suffice: no character that a terminal obeys is beyond U+FFFF.
            true => drop(write!(out, "\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A word of a text in quotes, for a message. A word that has quotes of its own, such as the name of a port, is
/// not quoted twice.
pub(super) fn quoted(word: &str) -> String {
    let bare = word.strip_prefix('"').and_then(|word| word.strip_suffix('"'));
    format!("{:?}", bare.unwrap_or(word))
}

/// Whether a terminal obeys the character instead of showing it. Line feed and tab do not count.
fn is_obeyed(c: char) -> bool {
    let is_direction = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\n' && c != '\t') || is_direction
}

/// The message, with its middle left out if it has more than `most` characters: messages quote words of users,
/// and a word can have a million characters.
pub fn shorten(message: String, most: usize) -> String {
    // A text never has more characters than bytes. Most messages end here.
    if message.len() <= most {
        return message;
    }
    let count = message.chars().count();
    if count <= most {
        return message;
    }
    let tail = most / 3;
    let head = most - tail;
    let start: String = message.chars().take(head).collect();
    let end: String = message.chars().skip(count - tail).collect();
    format!("{start}[... {} characters ...]{end}", count - most)
}

/// Appends a line, and below it carets under a part of it, at least `least`, both indented by two columns. Of a
/// long line only the part around the carets is shown. `span` is a range of byte offsets.
pub fn mark(out: &mut String, line: &str, span: Range<usize>, least: usize) {
    let columns = |range: Range<usize>| line.get(range).map_or(0, |part| part.chars().count());
    let start = columns(0..span.start);
    let width = columns(span).min(SHOWN).max(least);
    let skipped = (start + width.max(1)).saturating_sub(SHOWN).min(start);
    let shown = line.chars().skip(skipped).take(SHOWN);
    out.push_str("  ");
    // One column each, so that the carets stand where they should.
    out.extend(shown.map(|c| if is_obeyed(c) || c.is_control() { ' ' } else { c }));
    if width > 0 {
        out.push_str("\n  ");
        out.extend(std::iter::repeat_n(' ', start - skipped));
        out.extend(std::iter::repeat_n('^', width));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_by_its_number() {
        let check = |text: &str, expected: &str| assert_eq!(printable(text), expected);
        check("veth0 ü 漢\n\tnext", "veth0 ü 漢\n\tnext");
        check("a\u{1b}[2Jb", "a\\u001b[2Jb");
        check("\u{9b}2J\u{7f}\r\0", "\\u009b2J\\u007f\\u000d\\u0000");
        check("user\u{202e}toor", "user\\u202etoor");
    }

    #[test]
    fn every_control_character_is_covered() {
        let all: String = (0..0x1_0000).filter_map(char::from_u32).collect();
        let shown = printable(&all);
        assert!(shown.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        assert_eq!(printable(&shown), shown);
    }

    #[test]
    fn words_are_quoted_once() {
        for (word, expected) in
            [("p9", r#""p9""#), (r#""p9""#, r#""p9""#), (r#"""#, r#""\"""#), ("", r#""""#)]
        {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn long_messages_keep_their_ends() {
        assert_eq!(shorten("äöü".to_owned(), 3), "äöü");
        let long = shorten(format!("begin {} end", "x".repeat(1000)), 30);
        assert_eq!(long, "begin xxxxxxxxxxxxxx[... 980 characters ...]xxxxxx end");
    }

    #[test]
    fn a_long_line_is_shown_around_the_carets() {
        let line = format!("{}bad{}", "x,".repeat(1000), "y".repeat(1000));
        let mut out = String::new();
        mark(&mut out, &line, 2000..2003, 0);
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[0].len(), 2 + SHOWN);
        let caret = lines[1].find('^').unwrap();
        assert_eq!(&lines[0][caret..caret + 3], "bad");
    }

    #[test]
    fn carets_count_columns_and_a_wrong_span_does_no_harm() {
        let marked = |line: &str, span: Range<usize>| {
            let mut out = String::new();
            mark(&mut out, line, span, 0);
            out
        };
        assert_eq!(marked("é\u{1b}x", 3..4), "  é x\n    ^");
        assert_eq!(marked("é", 1..9), "  é");
        assert_eq!(marked("", 0..0), "  ");
        let mut out = String::new();
        mark(&mut out, "ab", 2..2, 1);
        assert_eq!(out, "  ab\n    ^", "behind the end");
    }
}
