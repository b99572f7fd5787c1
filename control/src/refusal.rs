//! [`Refusal`], the daemon's answer to a request that it did not carry out.

use flow::text::{TextError, mark, printable, shorten};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// The kind of a refusal, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The text of a rule, match, group or setting is not valid.
    Text,
    /// The text is valid, but the state of the switch forbids the change: table full, overlap, unknown group.
    Switch,
    /// The bridge, port or entry that the request names does not exist.
    NotFound,
    /// The request would exceed a limit: too many sessions, too much text.
    Limit,
    /// The message is no request of this protocol.
    Protocol,
    /// A call to the operating system failed: no such device, no permission.
    System,
}

/// Why a request was not carried out. No part of the request has taken effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Refusal {
    /// The kind of the refusal, for programs.
    pub reason: Reason,
    /// What is wrong, for humans: lower case, without full stop, without the place.
    pub message: String,
    /// What the user can write or do instead; `None` if the daemon has no good guess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The part of the request's text that is wrong; `None` if the request has no text, or no
    /// part of it is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<TextPlace>,
    /// The error that an OpenFlow switch would send; `None` if OpenFlow has none for this case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openflow: Option<OpenFlowError>,
}

/// A part of the text of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextPlace {
    /// The name that the client gave the text ([`FlowMods::name`](crate::FlowMods::name));
    /// `None` if it gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The number of the line, from 1.
    pub line: usize,
    /// The line, without its line feed.
    pub text: String,
    /// The wrong part of the line, as byte offsets; empty if the whole line is wrong.
    pub span: Range<usize>,
}

/// An error of the OpenFlow protocol, with the numbers of OpenFlow 1.3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFlowError {
    /// The name in the specification: `OFPFMFC_OVERLAP`.
    pub name: String,
    /// The error type (`OFPET_*`): 5 is `OFPET_FLOW_MOD_FAILED`.
    pub r#type: u16,
    /// The error code, a number within the type.
    pub code: u16,
}

impl Refusal {
    /// A refusal with a message, and without hint, place and OpenFlow error.
    ///
    /// Message and hint may quote what somebody wrote: what a terminal would obey is shown by its number, and
    /// the middle of a text of more than 1,000 characters is left out.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: quoted(message.into()), hint: None, place: None, openflow: None }
    }

    /// The refusal of a line that is not valid, with the part that is wrong. `file` is the name of the file
    /// that has the line, and `line` the line's number, from 1.
    pub fn of_text(error: &TextError, file: Option<&str>, line: usize, text: &str) -> Self {
        let place = TextPlace {
            file: file.map(str::to_owned),
            line,
            text: text.to_owned(),
            span: error.span(),
        };
        let refusal = Self::new(Reason::Text, error.message()).with_place(place);
        Self { hint: error.hint().map(str::to_owned), ..refusal }
    }

    /// The same refusal with a hint.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(quoted(hint.into())), ..self }
    }

    /// The same refusal with the part of the text that is wrong.
    pub fn with_place(self, place: TextPlace) -> Self {
        Self { place: Some(place), ..self }
    }

    /// The same refusal with the error that an OpenFlow switch would send.
    pub fn with_openflow(self, error: OpenFlowError) -> Self {
        Self { openflow: Some(error), ..self }
    }

    /// The refusal for a terminal: place and message, the line with carets under the wrong part, and the hint.
    ///
    /// ```text
    /// flows.txt:12: nw_dst: "10.0.0.300" is not an IPv4 address or prefix
    ///   ip,nw_dst=10.0.0.300,actions=output:2
    ///             ^^^^^^^^^^
    /// hint: did you mean ...
    /// ```
    pub fn render(&self) -> String {
        let mut out = self.to_string();
        if let Some(place) = &self.place {
            out.push('\n');
            mark(&mut out, &place.text, place.span.clone(), 0);
        }
        if let Some(hint) = &self.hint {
            out.push_str("\nhint: ");
            out.push_str(hint);
        }
        out
    }
}

/// The largest number of characters of a message or a hint.
const MAX_MESSAGE: usize = 1000;

fn quoted(text: String) -> String {
    match printable(&text) {
        Cow::Borrowed(_) => shorten(text, MAX_MESSAGE),
        Cow::Owned(text) => shorten(text, MAX_MESSAGE),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(TextPlace { file: Some(file), line, .. }) = &self.place {
            write!(f, "{file}:{line}: ")?;
        }
        if let Some(error) = &self.openflow {
            write!(f, "{}: ", error.name)?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str, span: Range<usize>) -> Refusal {
        let place = TextPlace { file: Some("f.txt".into()), line: 12, text: text.into(), span };
        Refusal::new(Reason::Text, "no address").with_place(place)
    }

    #[test]
    fn the_caret_stands_under_the_culprit() {
        let shown = refusal("ip,nw_dst=10.0.0.300", 10..20).with_hint("look").render();
        assert_eq!(
            shown,
            "f.txt:12: no address\n  ip,nw_dst=10.0.0.300\n            ^^^^^^^^^^\nhint: look"
        );
    }

    #[test]
    fn what_somebody_wrote_does_not_reach_the_terminal_as_it_is() {
        let text = format!("\u{1b}[2J{}", "x".repeat(100_000));
        let message = format!("unknown keyword \"{text}\"");
        let place = TextPlace { file: None, line: 1, text: text.clone(), span: 0..text.len() };
        let shown = Refusal::new(Reason::Text, message).with_hint(text).with_place(place).render();
        assert!(shown.starts_with("unknown keyword \"\\u001b[2Jxxx"), "{shown}");
        assert!(!shown.contains('\u{1b}') && shown.len() < 3000, "{}", shown.len());
    }

    #[test]
    fn openflow_errors_are_named_first() {
        let error = OpenFlowError { name: "OFPFMFC_OVERLAP".into(), r#type: 5, code: 3 };
        let shown = Refusal::new(Reason::Switch, "overlaps").with_openflow(error).to_string();
        assert_eq!(shown, "OFPFMFC_OVERLAP: overlaps");
    }
}
