//! The text of a request as lines, each with its file and number for messages.

use super::refuse::{self, Line};
use control::Refusal;
use flow::text::strip_comment;

/// The largest number of lines in a sample.
const SAMPLE: usize = 1024;
const JUMP: usize = 389;
/// The number of bytes after a place of a sample within which a line has to begin and end; a
/// longer line is left out.
const NEAR: usize = 2048;

/// The lines of a request's text that say something.
pub(super) struct Lines<'a> {
    text: &'a str,
    name: Option<&'a str>,
    is_file: bool,
    next: usize,
}

impl<'a> Lines<'a> {
    /// The lines of a file, or, unless `is_file`, the one line of a single rule, which may be empty. `name` is
    /// what the client calls the text.
    pub(super) fn new(
        text: &'a [u8],
        is_file: bool,
        name: Option<&'a str>,
    ) -> Result<Self, Box<Refusal>> {
        let text = refuse::utf8(text)?;
        Ok(Self { text, name, is_file, next: 1 })
    }

    /// The number of bytes that have not been read yet.
    pub(super) fn size(&self) -> usize {
        self.text.len()
    }

    /// A sample of the lines that have not been read yet, from all over the text, in no particular
    /// order, comments and empty lines included. It takes the same time for every text, because
    /// long lines are left out.
    pub(super) fn sample(&self) -> impl Iterator<Item = &'a str> {
        // A number without a common factor jumps to and fro, and meets each place once.
        let places = (0..SAMPLE).map(|n| n * JUMP % SAMPLE * self.text.len() / SAMPLE);
        places.filter_map(|place| {
            let near = &self.text.as_bytes()[place..];
            let near = &near[..near.len().min(NEAR)];
            let mut ends = near.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at);
            let (before, end) = (ends.next()?, ends.next()?);
            Some(&self.text[place + before + 1..place + end])
        })
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if !self.is_file {
            self.is_file = true;
            let text = std::mem::take(&mut self.text);
            return Some(Line { file: self.name, number: 1, text: text.trim_end_matches('\n') });
        }
        while !self.text.is_empty() {
            let (line, rest) = self.text.split_once('\n').unwrap_or((self.text, ""));
            self.text = rest;
            self.next += 1;
            if let Some(text) = strip_comment(line) {
                return Some(Line { file: self.name, number: self.next - 1, text });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], is_file: bool) -> Vec<(usize, String)> {
        let lines = Lines::new(text, is_file, None).unwrap();
        lines.map(|line| (line.number, line.text.to_owned())).collect()
    }

    #[test]
    fn lines_of_a_file_without_content_are_skipped_and_counted() {
        let expected = [(2, "a".to_owned()), (5, "c".to_owned())];
        assert_eq!(lines(b"# x\na # b\n\n  \nc", true), expected);
        assert_eq!(lines(b"", true), []);
    }

    #[test]
    fn a_sample_has_lines_from_all_over() {
        let text: String = (0..5000).map(|n| format!("rule {n}\n")).collect();
        let lines = Lines::new(text.as_bytes(), true, None).unwrap();
        let numbers = lines.sample().map(|line| line["rule ".len()..].parse().unwrap());
        let mut numbers: Vec<usize> = numbers.collect();
        assert!(numbers.len() > SAMPLE - 3 && !numbers.is_sorted());
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] < 10));
        assert!(numbers[0] < 10 && numbers.last().is_some_and(|n| *n > 4980));
        let short = Lines::new(b"a\nb\n", true, None).unwrap();
        assert!(short.sample().all(|line| line == "b"));
        assert_eq!(Lines::new(b"", true, None).unwrap().sample().count(), 0);
    }

    #[test]
    fn a_single_rule_may_be_empty_and_keeps_its_text() {
        assert_eq!(lines(b"", false), [(1, String::new())]);
        assert_eq!(lines(b"a # b\n", false), [(1, "a # b".to_owned())]);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        let refusal = Lines::new(b"a\nb\xff\n", true, None).err().unwrap();
        assert_eq!(refusal.message, "line 2 is not UTF-8 text");
    }
}
