//! The error of a text that was refused: what is wrong, where, and what would be right.

use super::printable::{mark, printable, shorten};
use std::fmt;
use std::ops::Range;

/// The largest number of characters of a message or a hint.
const MAX_MESSAGE: usize = 400;

/// Why a text was refused.
///
/// `Display` gives one line. [`TextError::render`] also shows the text, with carets under
/// the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    message: String,
    span: Range<usize>,
    hint: Option<String>,
}

impl TextError {
    /// An error about `part`, which is a subslice of `text`. If it is not, the error is about all of `text`.
    pub(super) fn at(text: &str, part: &str, fault: impl Into<Fault>) -> Self {
        let Fault { message, hint } = fault.into();
        // Both quote words of the text.
        let quotes = |message: String| shorten(printable(&message).into_owned(), MAX_MESSAGE);
        let (message, hint) = (quotes(message), hint.map(quotes));
        let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
        let span = match start.checked_add(part.len()) {
            Some(end) if end <= text.len() => start..end,
            _ => 0..text.len(),
        };
        Self { message, span, hint }
    }

    /// What is wrong: lower case, without full stop, usually headed by the name of the field or action.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The part of the text that is wrong, as a range of byte offsets.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// What the user can write instead; `None` if there is no good guess.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The message, the text with carets under the part that is wrong, and the hint. `text` is
    /// the one that was parsed.
    ///
    /// ```text
    /// nw_dst: "10.0.0.300" is not an IPv4 address or prefix
    ///   ip,nw_dst=10.0.0.300,actions=output:2
    ///             ^^^^^^^^^^
    /// ```
    pub fn render(&self, text: &str) -> String {
        let mut out = format!("{}\n", self.message);
        mark(&mut out, text, self.span.clone(), 1);
        if let Some(hint) = &self.hint {
            out.push_str("\nhint: ");
            out.push_str(hint);
        }
        out
    }

    /// As [`TextError::render`], with file name and line number (from 1) in front: `flows.txt:12: ...`.
    pub fn render_in_file(&self, file: &str, line: usize, text: &str) -> String {
        format!("{file}:{line}: {}", self.render(text))
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TextError {}

/// An error without its place in the text, which the caller adds ([`TextError::at`]).
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Puts the name of the field or action in front of the message: `nw_dst: ...`.
    pub(super) fn of(self, name: &str) -> Self {
        Self { message: format!("{name}: {}", self.message), ..self }
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_culprit() {
        let text = "ip,nw_dst=10.0.0.300";
        let error = TextError::at(text, &text[10..], Fault::new("no address").hint("look"));
        assert_eq!(error.span(), 10..20);
        assert_eq!(
            error.render(text),
            "no address\n  ip,nw_dst=10.0.0.300\n            ^^^^^^^^^^\nhint: look"
        );
        assert!(error.render_in_file("f", 12, text).starts_with("f:12: no address\n"));
        assert_eq!(error.to_string(), "no address (look)");
    }

    #[test]
    fn a_part_of_another_text_marks_everything() {
        let error = TextError::at("abc", "elsewhere", "x");
        assert_eq!(error.span(), 0..3);
    }
}
